"""Undo and redo: an operation is taken back where everything is still as it left it.

Refs go back by compare-and-swap, files path by path; what was modified since stays and is reported.
An undo is an operation itself, so that redo is an undo of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from self_coding.adapters.git import decode
from self_coding.errors import GitOperationError, MainMovedError
from self_coding.git_safety import index, objects
from self_coding.git_safety.checkout_update import prepare_update
from self_coding.git_safety.commits import KEPT
from self_coding.git_safety.index import (
    FileTarget,
    IndexChange,
    copy_index,
    index_changes,
    revert_entries,
    stage_files,
)
from self_coding.git_safety.log import Entry, Move
from self_coding.git_safety.objects import GONE
from self_coding.git_safety.recovery import operation_lock
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.snapshots import Capture, capture_undo, load
from self_coding.git_safety.transaction import (
    CheckoutUpdate,
    Transaction,
    execute,
    retry_on_conflict,
)
from self_coding.git_safety.tree_state import exact_git
from self_coding.values.repository import FileChange, Operation, UndoPlan

#: What `undo` and `redo` each take back.
_KINDS = {
    "undo": ("rollback", "commit", "create branch", "merge", "land", "record", "redo"),
    "redo": ("undo",),
}
#: Operations that go to a commit that was there before, and commands of git's that do.
_MAKE_NO_COMMIT = ("isolate", "create branch", "rollback", "undo", "redo")
_GIT_MAKES_NO_COMMIT = ("reset", "update-ref")


def repeat(
    repo: Repository, kind: str, steps: int, *, attempt: str | None, limit: int
) -> Operation:
    """Undo or redo (`kind`) the last `steps` operations of this actor, or of one attempt."""
    if steps < 1:
        raise GitOperationError(f"cannot {kind} {steps} steps", hint="ask for one or more")
    done: list[Operation] = []
    with operation_lock(repo, kind):  # for all steps, so that what is counted is what is reversed
        entries = _reversible(repo, kind, attempt)
        if len(entries) < steps:
            of = f" of {attempt!r}" if attempt else ""
            if not entries:
                hint = "`operations` lists what was done; the steps of an attempt need its number"
                raise GitOperationError(f"there is nothing to {kind}{of}", hint=hint)
            number = f"{len(entries)} step{'' if len(entries) == 1 else 's'}"
            hint = f"nothing was changed; ask for {number} or fewer"
            raise GitOperationError(f"there is no more to {kind}{of} than {number}", hint=hint)
        for entry in entries[:steps]:
            if attempt and len(entry.operation.group) > 1:
                raise GitOperationError(
                    f"attempt {attempt} landed in one move with others, which it would take along",
                    hint="`git revert -m 1` takes its commit back alone, `undo` all of them",
                )
            try:
                moves = (move for move in entry.operation.refs if move[0] != "HEAD")
                back = tuple((ref, new, old) for ref, old, new in moves)
                # Not retried: a ref that moved on since will not come back by waiting.
                if moved := _moved(repo, back):
                    hint = "that one was left as it is; undo what came later first"
                    raise MainMovedError(moved, hint=hint)
                done.append(retry_on_conflict(partial(_reverse, repo, entry, kind, limit, back)))
            except GitOperationError as error:
                if done:
                    error.message += f"; {len(done)} of {steps} steps were done before it"
                raise
    return done[-1]


def plan(repo: Repository, *, attempt: str | None) -> UndoPlan:
    """Return what the next undo would take back, or why it would be refused; nothing is changed.

    Raises:
        GitOperationError: there is nothing to undo.
    """
    entries = _reversible(repo, "undo", attempt)
    if not entries:
        of = f" of {attempt!r}" if attempt else ""
        raise GitOperationError(f"there is nothing to undo{of}", hint="see `operations`")
    entry = entries[0]
    refs = tuple((ref, new, old) for ref, old, new in entry.operation.refs if ref != "HEAD")
    lands = entry.operation.kind == "land"  # on whichever branch
    main = next(((now, then) for ref, now, then in refs if lands or ref == repo.main_ref), None)
    files: tuple[FileChange, ...] = ()
    blocked = _moved(repo, refs)
    if main is not None and all(main):
        files = index.describe(repo, *main, diff_limit=0).files
    elif entry.data.get("way") == "files":
        paths = [path for path, *_ in json.loads(entry.data.get("files") or "[]")]
        files = tuple(FileChange(path=path, status="M") for path in paths)
    return UndoPlan(operation=entry.operation, refs=refs, files=files, blocked=blocked)


def _reversible(repo: Repository, kind: str, attempt: str | None) -> list[Entry]:
    """Return what can be undone or redone (`kind`), newest first: of an attempt, or of a person."""
    entries = []
    for entry in repo.log.recent(10_000, attempt=attempt):
        operation = entry.operation
        if operation.kind not in _KINDS[kind] or operation.undone:
            continue
        # Who names no attempt means what is theirs and to be seen. What moved the branch of an
        # attempt alone (its edit, its way back) is book-keeping to them.
        ours = entry.session == repo.session or operation.actor == repo.actor
        # A landing on another branch is as much to be seen as one on main.
        landed = operation.kind == "land" or any(ref == repo.main_ref for ref, *_ in operation.refs)
        seen = landed or entry.data.get("way") == "files" or not operation.attempt
        if attempt is not None or (ours and (seen or kind == "redo")):
            entries.append(entry)
    return entries


def _moved(repo: Repository, refs: Sequence[Move]) -> str:
    """Return which ref is no longer where an operation left it, in words; empty for none."""
    tips = repo.resolve([ref for ref, _, _ in refs]) if refs else []
    for (ref, expected, _), tip in zip(refs, tips, strict=True):
        if tip != expected:
            name = ref.removeprefix("refs/heads/")
            return f"{name} has moved since that operation (it is at {tip[:12] or 'nothing'})"
    return ""


def _describe(operation: Operation) -> str:
    """Return what was done, in words that a person knows it by."""
    of = f" of attempt {operation.attempt}" if operation.attempt else ""
    texts = {
        "land": f"the landing{of} '{operation.reason}'",
        "record": f"the edit{of} '{operation.reason}'",
        "commit": f"the commit '{operation.reason}'",
        "merge": f"the merge of {operation.reason}",
        "create branch": f"the new branch {operation.reason}",
        "rollback": f"the rollback{of} {operation.reason}",
    }
    return texts.get(operation.kind, operation.reason)  # an undo says what it has undone


def explain(repo: Repository, revision: str) -> Operation | None:
    """Return the operation that made a commit, or that wrote a reflog entry (`main@{1}`)."""
    commit = repo.commit(revision)
    if "@{" not in revision:
        entry = repo.log.made(commit, but=_MAKE_NO_COMMIT)
        if entry and entry.operation.kind == "git":
            return None if entry.operation.reason in _GIT_MAKES_NO_COMMIT else entry.operation
    else:
        done = repo.git.run("log", "-g", "-1", "--format=%gs", revision, "--", ok=(0, 128))
        if not decode(done.stdout, errors="replace").startswith("self-coding:"):
            return None
        entry = repo.log.made(commit)
    return entry.operation if entry else None


def _reverse(
    repo: Repository, entry: Entry, kind: str, limit: int, refs: tuple[Move, ...]
) -> Operation:
    operation = entry.operation
    now = capture_undo(repo, f"before {kind} of operation {operation.id}", limit=limit)
    # Before the refs move, or a `git gc` in between could take the commits.
    for _, tip, _ in refs:
        if tip:  # a commit that loses its branch stays
            repo.git.run("update-ref", f"{KEPT}/{tip}", tip)
    # HEAD is in the log beside the refs, but moves last, with the checkout.
    head_move = next((move for move in operation.refs if move[0] == "HEAD"), None)
    # A branch that HEAD is on is deleted only after HEAD has left it.
    leaving = head_move[2] if head_move else ""
    after = tuple(move for move in refs if move[0] == leaving and not move[2])
    head_to = head_move[1] if head_move and now.head.target == head_move[2] else ""
    parts: tuple[CheckoutUpdate, ...] = ()
    data: dict[str, str] = {}
    if entry.data.get("way") == "files":
        update, data = _files_back(repo, entry, now, head_to)
        parts = (update,)
    elif entry.data.get("way") == "follow":
        parts = tuple(_checkouts_back(repo, refs, now, head_to))
    done = execute(
        repo,
        Transaction(
            kind=kind,
            refs=tuple(move for move in refs if move not in after),
            after=after,
            parts=parts,
            reason=_describe(operation),
            attempt=operation.attempt,
            undo_ref=now.ref,
            reverses=operation.id,
            data={"way": entry.data.get("way", ""), **data},
        ),
    )
    # After the transaction: between the two a crash leaves an operation that can be undone twice,
    # and the second time finds the refs moved on, and refuses.
    repo.log.mark_undone(operation.id, undone=True)
    if kind == "redo" and entry.reverses is not None:
        repo.log.mark_undone(entry.reverses, undone=False)
        repo.log.mark_undone(done.operation, undone=True)
    return repo.log.one(done.operation).operation


def _checkouts_back(
    repo: Repository, refs: Sequence[Move], now: Capture, head_to: str
) -> list[CheckoutUpdate]:
    """Take each checkout that is on one of the refs along, and this one where HEAD is to move."""
    targets = {ref: new for ref, _, new in refs}
    updates = []
    for checkout in repo.checkouts():
        here = checkout.directory == repo.directory
        to = head_to if here else ""
        branch = checkout.head_branch()
        if to:
            target = targets.get(to) or repo.resolve([to])[0]
        else:
            target = targets.get(f"refs/heads/{branch}", "") if branch else ""
        if target:
            checkout.check_idle("undoing this")
            head_from = now.head.target if here else f"refs/heads/{branch}"
            current = checkout.head().commit
            prepared = prepare_update(
                checkout,
                current,
                target,
                head_from=head_from,
                head_to=to,
                strict=True,
                merge=True,
            )
            updates.append(prepared.update)
    return updates


def _files_back(
    repo: Repository, entry: Entry, now: Capture, head_to: str
) -> tuple[CheckoutUpdate, dict[str, str]]:
    """Files, index and HEAD as the operation found them, where they were not modified since."""
    repo.check_idle("undoing this")
    targets = []
    for path, before, after in json.loads(entry.data.get("files") or "[]"):
        _, mode, oid = before.split(" ") if before else ("", GONE, "")
        targets.append(FileTarget(path, mode, oid, after))
    staging, steps = stage_files(repo, targets, exact_git(repo))
    index, changes = _index_back(repo, entry)
    update = replace(
        CheckoutUpdate.at(repo, now.head.target),
        head_to=head_to,
        steps=steps,
        staging=staging,
        index=str(index),
        index_before=now.digest,
    )
    pairs = [[t.path, t.expected, s.digest] for t, s in zip(targets, steps, strict=True)]
    return update, {"files": json.dumps(pairs), "index": json.dumps(changes)}


def _index_back(repo: Repository, entry: Entry) -> tuple[Path, list[IndexChange]]:
    """Prepare the index as the operation found it, but for what was staged or committed since.

    Returns:
        Its file, and what it changes of the index as it is now.
    """
    had = objects.stages(repo.git)
    index = copy_index(repo)
    private = replace(repo.git, index=index)
    earlier = load(repo, entry.operation.undo_ref)
    [raw] = objects.read_many(repo.git, [earlier.raw_index]) if earlier.raw_index else [None]
    before: dict[str, list[str]] = {}
    if raw is not None:
        index.write_bytes(raw)
        before = objects.stages(private)
    if "index" in entry.data:
        changes = [(path, old, new) for path, old, new in json.loads(entry.data["index"])]
    else:  # written before this was kept: what is as it was committed then did not change since
        committed = {
            path: [f"{mode} {oid} 0"]
            for path, (mode, oid) in objects.entries(repo.git, earlier.head.commit).items()
        }
        changes = index_changes(before, before | {p: committed.get(p, []) for p in had | before})
    after = before | {path: new for path, _, new in changes}
    # The raw file, where it says the same: flags and intents to add are in nothing else.
    if raw is None or {path: new for path, new in after.items() if new} != had:
        index.unlink(missing_ok=True)
        index = copy_index(repo)
        private = replace(repo.git, index=index)
        revert_entries(repo, private, changes)
    return index, index_changes(had, objects.stages(private))
