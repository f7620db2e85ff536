"""Undo and redo: an operation is taken back where everything is still as it left it.

Refs go back by compare-and-swap, files path by path; what somebody has changed since stays and
is reported. An undo is an operation itself, so that redo is an undo of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from self_coding.errors import GitOperationError, MainMovedError
from self_coding.git_safety import objects
from self_coding.git_safety.capture import Capture, load, take
from self_coding.git_safety.change import Part, Plan, carry_out, insist, log_of
from self_coding.git_safety.commits import KEPT
from self_coding.git_safety.follow import follow
from self_coding.git_safety.log import Entry, Move
from self_coding.git_safety.recovery import guarded
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.restore import UNDO, next_number
from self_coding.git_safety.scan import exact_git, scratch
from self_coding.git_safety.staging import GONE, Target, copy_index, prepare, set_entries
from self_coding.values.repository import Operation

_TAKES_BACK = ("rollback", "commit", "create branch", "merge", "land", "record", "redo")


def undo(repo: Repository, steps: int, attempt: str | None, *, limit: int) -> Operation:
    """Take back the last `steps` operations of this actor, or of one attempt.

    Raises:
        GitOperationError: there are not that many (none is undone), or a ref has moved since.
    """
    return _repeat(repo, steps, attempt, _TAKES_BACK, "undo", limit)


def redo(repo: Repository, steps: int, attempt: str | None, *, limit: int) -> Operation:
    """Do again what the last `steps` undos took back.

    Raises:
        GitOperationError: there are not that many (none is redone), or a ref has moved since.
    """
    return _repeat(repo, steps, attempt, ("undo",), "redo", limit)


def _repeat(
    repo: Repository, steps: int, attempt: str | None, kinds: Sequence[str], kind: str, limit: int
) -> Operation:
    if steps < 1:
        raise GitOperationError(f"cannot {kind} {steps} steps", hint="ask for one or more")
    done: list[Operation] = []
    with guarded(repo, kind):  # for all steps, so that what is counted is what is reversed
        entries = _open(repo, attempt, kinds)
        if len(entries) < steps:
            raise _too_few(len(entries), attempt, kind)
        for entry in entries[:steps]:
            try:
                done.append(_reverse(repo, entry, kind, limit))
            except GitOperationError as error:
                if done:
                    error.message += f"; {len(done)} of {steps} steps were done before it"
                raise
    return done[-1]


def _open(repo: Repository, attempt: str | None, kinds: Sequence[str]) -> list[Entry]:
    """The operations that can be reversed, newest first: of the attempt, or of this actor."""
    found = []
    for entry in log_of(repo).recent(10_000, attempt=attempt):
        operation = entry.operation
        mine = entry.session == repo.session or operation.actor == repo.actor
        if operation.kind in kinds and not operation.undone and (attempt is not None or mine):
            found.append(entry)
    return found


def _too_few(count: int, attempt: str | None, kind: str) -> GitOperationError:
    of = f" of {attempt!r}" if attempt else ""
    if not count:
        hint = "see operations() for what was done"
        return GitOperationError(f"there is nothing to {kind}{of}", hint=hint)
    number = f"{count} step{'' if count == 1 else 's'}"
    hint = f"nothing was changed; ask for {number} or fewer"
    return GitOperationError(f"there is no more to {kind}{of} than {number}", hint=hint)


@dataclass(frozen=True)
class _Back:
    """The way back of one operation in the checkout."""

    part: Part
    files: str = ""
    left: tuple[str, ...] = ()


def _reverse(repo: Repository, entry: Entry, kind: str, limit: int) -> Operation:
    operation = entry.operation
    refs = tuple((ref, new, old) for ref, old, new in operation.refs if ref != "HEAD")
    _still_there(repo, refs)
    return insist(lambda: _reverse_once(repo, entry, kind, limit, refs))


def _reverse_once(
    repo: Repository, entry: Entry, kind: str, limit: int, refs: tuple[Move, ...]
) -> Operation:
    operation = entry.operation
    head_move = next((move for move in operation.refs if move[0] == "HEAD"), None)
    now = take(
        repo,
        f"{UNDO}/{next_number(repo, UNDO)}",
        max_untracked_bytes=limit,
        message=f"before {kind} of operation {operation.id}",
    )
    _keep(repo, refs)
    before, after = _split(refs, head_move)
    parts, files = _parts(repo, entry, now, refs, head_move)
    plan = Plan(
        kind=kind,
        refs=before,
        after=after,
        parts=parts,
        reason=f"operation {operation.id} ({operation.kind})",
        attempt=operation.attempt,
        undo_ref=now.ref,
        reverses=operation.id,
        data={"way": entry.data.get("way", ""), "files": files},
    )
    done = carry_out(repo, plan)
    log = log_of(repo)
    log.mark_undone(operation.id, undone=True)
    if kind == "redo" and entry.reverses is not None:
        log.mark_undone(entry.reverses, undone=False)
        log.mark_undone(done.operation, undone=True)
    found = log.one(done.operation)
    assert found is not None
    return found.operation


def _still_there(repo: Repository, refs: Sequence[Move]) -> None:
    tips = repo.resolve([ref for ref, _, _ in refs]) if refs else []
    for (ref, expected, _), tip in zip(refs, tips, strict=True):
        if tip != expected:
            raise MainMovedError(
                f"{ref.removeprefix('refs/heads/')} has moved since that operation"
                f" (it is at {tip[:12] or 'nothing'})",
                hint="that one was left as it is; undo what came later first",
            )


def _keep(repo: Repository, refs: Sequence[Move]) -> None:
    """Keep-refs for the commits that lose a branch."""
    for _, tip, _ in refs:
        if tip:
            repo.git.run("update-ref", f"{KEPT}/{tip}", tip)


def _split(
    refs: Sequence[Move], head_move: Move | None
) -> tuple[tuple[Move, ...], tuple[Move, ...]]:
    """A branch that HEAD stands on is deleted only after HEAD has left it."""
    leaving = head_move[2] if head_move else ""
    after = tuple(move for move in refs if move[0] == leaving and not move[2])
    return tuple(move for move in refs if move not in after), after


def _parts(
    repo: Repository, entry: Entry, now: Capture, refs: Sequence[Move], head_move: Move | None
) -> tuple[tuple[Part, ...], str]:
    way = entry.data.get("way", "")
    name = now.head.ref if now.head.branch else now.head.commit
    head_to = head_move[1] if head_move and name == head_move[2] else ""
    if way == "files":
        part, files = _files_back(repo, entry, now, name, head_to)
        return (part,), files
    if way != "follow":
        return (), ""
    parts = []
    for checkout in repo.checkouts():
        here = checkout.directory == repo.directory
        to = head_to if here else ""
        commits = _way_of(repo, checkout, refs, to)
        if commits is None:
            continue
        checkout.at_rest("undoing this")
        stands = name if here else f"refs/heads/{checkout.head_branch()}"
        following = follow(checkout, *commits, head_from=stands, head_to=to, strict=True)
        parts.append(following.part)
    return tuple(parts), ""


def _way_of(
    repo: Repository, checkout: Repository, refs: Sequence[Move], head_to: str
) -> tuple[str, str] | None:
    """From which commit to which a checkout must go when the refs move back."""
    branch = checkout.head_branch()
    moved = {ref: new for ref, _, new in refs}
    if head_to:
        current = checkout.head().commit
        target = moved.get(head_to) or repo.resolve([head_to])[0]
        return (current, target) if target else None
    ref = f"refs/heads/{branch}"
    if branch and moved.get(ref):
        return checkout.head().commit, moved[ref]
    return None


def _files_back(
    repo: Repository, entry: Entry, now: Capture, name: str, head_to: str
) -> tuple[Part, str]:
    """The files, index and HEAD as the operation found them, where nobody changed them since."""
    repo.at_rest("undoing this")
    targets = []
    for path, before, after in json.loads(entry.data.get("files") or "[]"):
        _, mode, oid = before.split(" ") if before else ("", GONE, "")
        targets.append(Target(path, mode, oid, after))
    staging, steps = prepare(repo, targets, exact_git(repo))
    earlier = load(repo, entry.operation.undo_ref)
    part = Part(
        top=str(repo.top),
        directory=str(repo.directory),
        steps=steps,
        staging=staging,
        index=_index_back(repo, entry, earlier, now),
        index_before=now.digest,
        head_from=name,
        head_to=head_to,
    )
    files = [[t.path, t.expected, s.digest] for t, s in zip(targets, steps, strict=True)]
    return part, json.dumps(files)


def _index_back(repo: Repository, entry: Entry, earlier: Capture, now: Capture) -> str:
    """The index before the operation; what was staged since is carried over."""
    left_with = entry.data.get("index", "")
    if earlier.indexed and (not left_with or now.index == left_with):
        [raw] = objects.read_many(repo.git, [earlier.indexed])
        index = scratch(repo, "next-index")
        index.write_bytes(raw or b"")
        return str(index)
    index = copy_index(repo)
    if earlier.index and left_with:
        here = objects.staged(replace(repo.git, index=index))
        changes = objects.differences(repo.git, left_with, earlier.index)
        entries = {
            change.path: (change.mode, change.new)
            for change in changes
            if here.get(change.path, (GONE, change.old, ""))[:2] == (change.old_mode, change.old)
        }
        set_entries(repo, index, entries)
    return str(index)
