"""Going back: the plan of a rollback, and carrying out exactly that plan.

Whatever a rollback takes away was captured first. What was never captured is not touched: files
that are ignored, or were at the target, files over the size limit, nested repositories and
databases of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.checkout_update import prepare_update
from self_coding.git_safety.file_swap import fingerprint
from self_coding.git_safety.index import (
    FileTarget,
    changed_paths,
    hidden_paths,
    index_changes,
    refuse_filtered,
    stage_files,
)
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
from self_coding.git_safety.tree_state import (
    exact_git,
    ignored_under,
    present_but_uncaptured,
    reachable,
    scratch,
    unversioned_rules,
)
from self_coding.git_safety.worktrees import find, open_worktree
from self_coding.values.repository import PathChange, RollbackPlan, Snapshot, Worktree


@dataclass(frozen=True)
class RestoreTarget:
    """Where a rollback goes: a commit, a branch ("" for a detached HEAD), maybe a capture."""

    commit: str
    branch: str
    capture: Capture | None
    name: str


@dataclass(frozen=True)
class PreparedRestore:
    """A plan together with what carrying it out needs."""

    plan: RollbackPlan
    files: tuple[FileTarget, ...]
    now: Capture
    target: RestoreTarget
    moves: tuple[tuple[str, str, str], ...]


def rollback(repo: Repository, target: Snapshot | str, *, attempt: str | None, limit: int) -> str:
    """Go back, in the attempt's own worktree where it has one; return the commit HEAD is at."""
    worktree = find(repo, attempt) if attempt else None
    with operation_lock(repo, "rollback"):
        to = _target(repo, target)
        if worktree is not None:
            _rollback_worktree(repo, worktree, to.commit, limit)
        else:
            retry_on_conflict(lambda: _execute(repo, _prepare(repo, to, limit), attempt or ""))
        return to.commit


def plan_rollback(repo: Repository, target: Snapshot | str, *, limit: int) -> RollbackPlan:
    """Return exactly what `rollback` would do now; nothing is changed."""
    with operation_lock(repo, "plan rollback"):
        # By the very code that would do it, its capture included: a plan made in another way could
        # promise something else.
        prepared = _prepare(repo, _target(repo, target), limit)
        # Nothing is taken away, so that nothing needs to be kept for `undo`.
        repo.git.run("update-ref", "-d", prepared.now.ref)
        return prepared.plan


def _target(repo: Repository, target: Snapshot | str) -> RestoreTarget:
    ref = target.ref if isinstance(target, Snapshot) else target
    if isinstance(target, Snapshot) and (not ref or repo.resolve([ref]) == [""]):
        return RestoreTarget(
            repo.commit(target.commit_hash), target.branch, None, target.commit_hash
        )
    if isinstance(target, str) and not target.startswith("refs/self-coding/"):
        return RestoreTarget(repo.commit(target), "", None, target)
    capture = load(repo, ref)
    return RestoreTarget(capture.head.commit, capture.head.branch, capture, ref)


def _rollback_worktree(repo: Repository, worktree: Worktree, to: str, limit: int) -> None:
    pooled = open_worktree(repo, worktree)
    head = pooled.born()
    before = capture_undo(pooled, "attempt", limit=limit)
    ref = f"refs/heads/{worktree.branch}"
    if head.ref != ref:
        raise GitOperationError(
            f"the worktree of {worktree.attempt!r} is not on its branch {worktree.branch!r}",
            hint="switch it back to that branch, then try again",
        )
    prepared = prepare_update(pooled, head.commit, to, head_from=ref)
    execute(
        repo,
        Transaction(
            kind="rollback",
            refs=((ref, head.commit, to),) if head.commit != to else (),
            parts=(prepared.update,),
            reason=f"to {to[:12]}",
            attempt=worktree.attempt,
            undo_ref=before.ref,
            data={"way": "follow", "left": "\n".join(path for path, _ in prepared.left)},
        ),
    )


def _prepare(repo: Repository, target: RestoreTarget, limit: int) -> PreparedRestore:
    """Capture the present state and work out what going back does to each path."""
    # Captured first of all: the plan is made from the capture, so what goes is in it.
    _check_idle(repo, target)
    now = capture_undo(repo, "before a rollback", limit=limit)
    moves = _branch_move(repo, target)
    decided = list(_changes(repo, target, now))
    hidden = hidden_paths(repo)
    captures = (now, target.capture) if target.capture else (now,)
    uncaptured = {item.path for capture in captures for item in capture.uncaptured}
    ignored = _ignored_at(repo, target, [file for file, why in decided if not why])
    paths, files = [], []
    for file, why in decided:
        place = repo.top / file.path
        is_file = reachable(repo.top, file.path) and (place.is_symlink() or not place.is_dir())
        reason = why
        if not reason and file.path in hidden:
            reason = "a database of this project"
        elif not reason and file.path in uncaptured:
            reason = "it could not be captured"
        elif not reason and not file.expected and is_file:
            reason = "something that was not captured is there (ignored, or too large)"
        reason = reason or ignored.get(file.path, "")
        action = "keep" if reason else "delete" if file.mode == GONE else "write"
        paths.append(PathChange(path=file.path, action=action, reason=reason))
        if not reason:
            files.append(file)
    plan = RollbackPlan(
        target=target.name,
        branch=target.branch,
        head_from=now.head.commit,
        head_to=target.commit,
        paths=tuple(sorted(paths, key=lambda item: item.path)),
        uncaptured=now.uncaptured,
    )
    return PreparedRestore(plan, tuple(files), now, target, moves)


def _execute(repo: Repository, prepared: PreparedRestore, attempt: str) -> None:
    """Do what was planned; the state before it stays, for `undo`."""
    target, now, files = prepared.target, prepared.now, prepared.files
    # A capture holds bytes as they were in the files, a commit what git makes files of.
    writer = exact_git(repo) if target.capture else repo.git
    if not target.capture:
        refuse_filtered(repo, [file.path for file in files if file.mode != GONE], "going back to")
    staging, steps = stage_files(repo, files, writer)
    index = scratch(repo, "next-index")
    if target.capture and target.capture.raw_index:
        [raw] = objects.read_many(repo.git, [target.capture.raw_index])
        # The raw file, not its tree: flags and intents to add are in nothing else.
        index.write_bytes(raw or b"")
    else:
        replace(repo.git, index=index).run("read-tree", target.commit or "--empty")
    update = replace(
        CheckoutUpdate.at(repo, now.head.target),
        head_to=f"refs/heads/{target.branch}" if target.branch else target.commit,
        steps=steps,
        staging=staging,
        index=str(index),
        # As it was captured: what is staged from now on makes the whole rollback begin anew.
        index_before=now.digest,
    )
    had, has = (objects.stages(git) for git in (repo.git, replace(repo.git, index=index)))
    left = [one.path for one in prepared.plan.paths if one.action == "keep"]
    # Undo compares by these: a path that is no longer as the rollback left it stays.
    pairs = [[f.path, f.expected, s.digest] for f, s in zip(files, steps, strict=True)]
    execute(
        repo,
        Transaction(
            kind="rollback",
            refs=prepared.moves,
            parts=(update,),
            reason=f"to {target.name}",
            attempt=attempt,
            undo_ref=now.ref,
            data={
                "way": "files",
                "files": json.dumps(pairs),  # each path, what was there and what is there now
                "index": json.dumps(index_changes(had, has)),
                "left": "\n".join(left[:200]),
            },
        ),
    )


def _check_idle(repo: Repository, target: RestoreTarget) -> None:
    """A merge in progress may be rolled back within itself, never away."""
    state = repo.state_mark()
    if target.capture and target.capture.state == state:
        # The same merge goes on, but commits were made within it.
        if state and repo.head() != target.capture.head:
            repo.check_idle("a rollback")
        return
    repo.check_idle("a rollback")
    if target.capture and target.capture.state:
        raise GitOperationError(
            "that snapshot was taken in the middle of a merge or rebase that is over",
            hint="its files are kept: `git show REF:worktree/PATH`",
        )


def _branch_move(repo: Repository, target: RestoreTarget) -> tuple[tuple[str, str, str], ...]:
    """How the target's branch must move: not at all, or back over our own commits only."""
    ref = f"refs/heads/{target.branch}"
    [tip] = repo.resolve([ref]) if target.branch else [target.commit]
    if tip == target.commit:
        return ()
    if not tip:
        return ((ref, "", target.commit),)
    if not target.commit:
        raise GitOperationError(
            f"the snapshot was taken before the first commit of {target.branch!r}",
            hint="its files are kept under its ref",
        )
    # A branch that moves under another checkout makes its index and files look like changes there.
    elsewhere = [
        other
        for other in repo.checkouts()
        if other.directory != repo.directory and other.head_branch() == target.branch
    ]
    if not elsewhere and _moved_by_us(repo, ref, target.commit, tip):
        return ((ref, tip, target.commit),)
    why = (
        f"is checked out at {elsewhere[0].top}"
        if elsewhere
        else (
            f"has commits since the snapshot that were not made through this GitSafety"
            f" (it is at {tip[:12]} now)"
        )
    )
    raise GitOperationError(
        f"going back would take commits off a branch: {target.branch!r} {why}",
        hint=f"`rollback` to {target.commit[:12]} goes to the commit and leaves the branch alone",
    )


def _moved_by_us(repo: Repository, ref: str, old: str, tip: str) -> bool:
    """Return whether every move of `ref` from `old` to `tip` was of this session or actor."""
    current = tip
    for before, after, session, actor in repo.log.moves(ref):
        if after != current:
            continue
        if session != repo.session and (not actor or actor != repo.actor):
            return False
        current = before
        if current == old:
            return True
    return False


def _changes(
    repo: Repository, target: RestoreTarget, now: Capture
) -> Iterable[tuple[FileTarget, str]]:
    """Yield each path that differs from the target, what it shall become, and why it may not."""
    if target.capture:
        for change in objects.differences(repo.git, now.worktree, target.capture.worktree):
            present = _expected(repo, change.path, change.old_mode, change.old)
            why = "a nested repository" if change.is_link else ""
            yield FileTarget(change.path, change.mode, change.new, present), why
        return
    wanted = objects.entries(repo.git, target.commit)
    present_now = objects.entries(repo.git, now.worktree)
    # A bare commit says nothing of untracked files: only what differs in tracked ones goes back.
    touched = {c.path for c in objects.differences(repo.git, now.head.commit, target.commit)}
    touched |= set(changed_paths(repo, now.head.commit, untracked=False))
    for path in sorted(touched):
        mode, oid = wanted.get(path, (GONE, ""))
        expected = _expected(repo, path, *present_now[path]) if path in present_now else ""
        why = "a submodule" if mode == objects.LINK else ""
        if mode != GONE or expected:
            yield FileTarget(path, mode, oid, expected), why


def _expected(repo: Repository, path: str, mode: str, oid: str) -> str:
    """Return what must be at `path` now: the captured blob, with the mode that the disk shows."""
    if mode == GONE:
        return ""
    captured = f"blob {mode} {oid}"
    if repo.git.settings.values.get("core.filemode") != "false" or mode == "120000":
        return captured
    shown = fingerprint(repo.top / path, repo.object_format)
    return shown if shown.endswith(oid) else captured


def _ignored_at(
    repo: Repository, target: RestoreTarget, files: Sequence[FileTarget]
) -> dict[str, str]:
    """Return the files that would go though they did not come later, and why each stays."""
    gone = {file.path: file.expected.split(" ")[-1] for file in files if file.mode == GONE}
    tree, rules = target.commit, None
    kept: dict[str, str] = {}
    if target.capture:
        tree, rules = target.capture.worktree, target.capture.excludes
        old = present_but_uncaptured(repo, tree, target.capture.at, gone)
        kept = dict.fromkeys(old, "it was there, and the snapshot does not hold it")
    rules = unversioned_rules(repo) if rules is None else rules
    ignored = ignored_under(repo, tree, rules, list(gone))
    return kept | dict.fromkeys(ignored, "it was ignored there")
