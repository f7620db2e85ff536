"""Going back: the plan of a rollback, and carrying out exactly that plan.

Whatever a rollback takes away was captured first. It refuses to touch what was never captured:
files that are ignored, or were at the goal, files over the size limit, nested repositories and
databases of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters.git import decode
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.capture import Capture, load, take
from self_coding.git_safety.change import Part, Plan, carry_out, log_of
from self_coding.git_safety.describe import changed_paths, hidden_paths
from self_coding.git_safety.ignoring import ignored_under, stood_uncaptured, unversioned
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.scan import exact_git, reachable, scratch
from self_coding.git_safety.staging import GONE, Target, prepare, refuse_filtered
from self_coding.git_safety.swap import Step, fingerprint
from self_coding.values.repository import PathChange, RollbackPlan

UNDO = "refs/self-coding/undo"


@dataclass(frozen=True)
class Goal:
    """Where a rollback goes: a commit, a branch ("" for a detached HEAD), maybe a capture."""

    commit: str
    branch: str
    capture: Capture | None
    name: str


@dataclass(frozen=True)
class Prepared:
    """A plan together with what carrying it out needs."""

    plan: RollbackPlan
    targets: tuple[Target, ...]
    now: Capture
    goal: Goal
    moves: tuple[tuple[str, str, str], ...]


def goal_of(repo: Repository, commit: str, branch: str, ref: str) -> Goal:
    """The goal that a snapshot's facts, or a bare revision, describe."""
    if ref:
        capture = load(repo, ref)
        return Goal(capture.head.commit, capture.head.branch, capture, ref)
    return Goal(repo.commit(commit), branch, None, commit)


def prepare_rollback(repo: Repository, goal: Goal, *, limit: int) -> Prepared:
    """Capture the present state and work out what going back to `goal` does to each path.

    Raises:
        GitOperationError: it would destroy a merge in progress or somebody's commits.
    """
    _at_rest(repo, goal)
    number = next_number(repo, UNDO)
    now = take(repo, f"{UNDO}/{number}", max_untracked_bytes=limit, message="before a rollback")
    moves = _moves(repo, goal)
    decided = list(_decide(repo, goal, now))
    hidden = hidden_paths(repo)
    keep = {
        item.path for item in (*now.uncaptured, *(goal.capture.uncaptured if goal.capture else ()))
    }
    ignored = _ignored_at(repo, goal, [target for target, why in decided if not why])
    paths, targets = [], []
    for target, reason in decided:
        why = reason or _guard(repo, target, hidden, keep) or ignored.get(target.path, "")
        if why:
            paths.append(PathChange(path=target.path, action="keep", reason=why))
            continue
        targets.append(target)
        action = "delete" if target.mode == GONE else "write"
        paths.append(PathChange(path=target.path, action=action))
    plan = RollbackPlan(
        target=goal.name,
        branch=goal.branch,
        head_from=now.head.commit,
        head_to=goal.commit,
        paths=tuple(sorted(paths, key=lambda item: item.path)),
        uncaptured=now.uncaptured,
    )
    return Prepared(plan, tuple(targets), now, goal, moves)


def carry_out_rollback(repo: Repository, ready: Prepared, *, attempt: str = "") -> Plan:
    """Do what was planned, keeping the state before it for `undo`; what was done is returned."""
    goal, now = ready.goal, ready.now
    writer = exact_git(repo) if goal.capture else repo.git
    if not goal.capture:
        refuse_filtered(repo, [t.path for t in ready.targets if t.mode != GONE], "going back to")
    staging, steps = prepare(repo, ready.targets, writer)
    index = scratch(repo, "next-index")
    _restore_index(repo, goal, index)
    part = Part(
        top=str(repo.top),
        directory=str(repo.directory),
        steps=steps,
        staging=staging,
        index=str(index),
        index_before=now.digest,
        head_from=now.head.ref if now.head.branch else now.head.commit,
        head_to=f"refs/heads/{goal.branch}" if goal.branch else goal.commit,
    )
    plan = Plan(
        kind="rollback",
        refs=ready.moves,
        parts=(part,),
        reason=f"to {goal.name}",
        attempt=attempt,
        undo_ref=now.ref,
        data={
            "way": "files",
            "files": _files(ready, steps),
            "took": _took(ready.plan),
            "left": _left(ready.plan),
        },
    )
    carry_out(repo, plan)
    return plan


def _files(ready: Prepared, steps: Sequence[Step]) -> str:
    """Each path with what was there and what is there now, for `undo`."""
    pairs = zip(ready.targets, steps, strict=True)
    return json.dumps([[target.path, target.expected, step.digest] for target, step in pairs])


def _left(plan: RollbackPlan) -> str:
    return "\n".join([path.path for path in plan.paths if path.action == "keep"][:200])


def _took(plan: RollbackPlan) -> str:
    gone = [path.path for path in plan.paths if path.action == "delete"]
    return "\n".join(gone[:200])


def _at_rest(repo: Repository, goal: Goal) -> None:
    """A merge in progress may be rolled back within itself, never away."""
    state = repo.state_mark()
    if goal.capture and goal.capture.state == state:
        if state and repo.head() != goal.capture.head:
            repo.at_rest("a rollback")
        return
    repo.at_rest("a rollback")
    if goal.capture and goal.capture.state:
        raise GitOperationError(
            "that snapshot was taken in the middle of a merge or rebase that is over",
            hint="its files are kept: `git show REF:worktree/PATH`",
        )


def _moves(repo: Repository, goal: Goal) -> tuple[tuple[str, str, str], ...]:
    """How the snapshot's branch must move: not at all, or back over our own commits only."""
    if not goal.branch:
        return ()
    ref = f"refs/heads/{goal.branch}"
    [tip] = repo.resolve([ref])
    if tip == goal.commit:
        return ()
    if not tip:
        if not goal.commit:
            return ()
        return ((ref, "", goal.commit),)
    if not goal.commit:
        raise GitOperationError(
            f"the snapshot was taken before the first commit of {goal.branch!r}",
            hint="its files are kept under its ref",
        )
    elsewhere = [
        other
        for other in repo.checkouts()
        if other.directory != repo.directory and other.head_branch() == goal.branch
    ]
    if elsewhere or not _ours(repo, ref, goal.commit, tip):
        where = (
            f"is checked out at {elsewhere[0].top}"
            if elsewhere
            else (
                f"has commits since the snapshot that were not made through this GitSafety"
                f" (it is at {tip[:12]} now)"
            )
        )
        raise GitOperationError(
            f"going back would take commits off a branch: {goal.branch!r} {where}",
            hint=f"rollback({goal.commit[:12]!r}) goes to the commit and leaves the branch alone",
        )
    return ((ref, tip, goal.commit),)


def _ours(repo: Repository, ref: str, old: str, tip: str) -> bool:
    """Whether every move of `ref` from `old` to `tip` was made by this session or actor."""
    current = tip
    for before, after, session, actor, _ in log_of(repo).moves(ref):
        if after != current:
            continue
        if session != repo.session and (not actor or actor != repo.actor):
            return False
        current = before
        if current == old:
            return True
    return False


def _decide(repo: Repository, goal: Goal, now: Capture) -> Iterable[tuple[Target, str]]:
    """Each path that differs from the goal, what it shall become, and why it may not."""
    if goal.capture:
        for change in objects.differences(repo.git, now.worktree, goal.capture.worktree):
            present = _present(repo, change.path, change.old_mode, change.old)
            why = "a nested repository" if change.is_link else ""
            yield Target(change.path, change.mode, change.new, present), why
        return
    wanted = objects.entries(repo.git, goal.commit)
    standing = objects.entries(repo.git, now.worktree)
    touched = {
        change.path for change in objects.differences(repo.git, now.head.commit, goal.commit)
    }
    touched |= set(changed_paths(repo, now.head.commit, untracked=False))
    for path in sorted(touched):
        mode, oid = wanted.get(path, (GONE, ""))
        expected = _present(repo, path, *standing[path]) if path in standing else ""
        why = "a submodule" if mode == objects.LINK else ""
        if mode != GONE or expected:
            yield Target(path, mode, oid, expected), why


def _present(repo: Repository, path: str, mode: str, oid: str) -> str:
    """What must be at `path` now: the captured blob, with the mode that the disk shows."""
    if mode == GONE:
        return ""
    captured = f"blob {mode} {oid}"
    if repo.git.settings.values.get("core.filemode") != "false" or mode == "120000":
        return captured
    shown = fingerprint(repo.top / path, repo.object_format)
    return shown if shown.endswith(oid) else captured


def _guard(repo: Repository, target: Target, hidden: set[str], keep: set[str]) -> str:
    """Why a path must stay as it is, or ""."""
    if target.path in hidden:
        return "a database of this project"
    if target.path in keep:
        return "it could not be captured"
    if not target.expected and _exists(repo.top, target.path):
        return "something that was not captured is there (ignored, or too large)"
    return ""


def _ignored_at(repo: Repository, goal: Goal, targets: Sequence[Target]) -> dict[str, str]:
    """The files that would go though they are no work of later, and why each stays."""
    gone = [target.path for target in targets if target.mode == GONE]
    tree, rules = goal.commit, None
    kept: dict[str, str] = {}
    if goal.capture:
        tree, rules = goal.capture.worktree, goal.capture.excludes
        blobs = {t.path: t.expected.split(" ")[-1] for t in targets if t.mode == GONE}
        old = stood_uncaptured(repo, tree, goal.capture.at, blobs)
        kept = dict.fromkeys(old, "it was there, and the snapshot does not hold it")
    rules = unversioned(repo) if rules is None else rules
    there = ignored_under(repo, tree, rules, gone)
    return kept | dict.fromkeys(there, "it was ignored there")


def _exists(top: Path, path: str) -> bool:
    """Whether a file or symlink is at `path` itself, not behind a symlink on the way."""
    place = top / path
    return reachable(top, path) and (place.is_symlink() or not place.is_dir())


def _restore_index(repo: Repository, goal: Goal, index: Path) -> None:
    if goal.capture and goal.capture.indexed:
        [raw] = objects.read_many(repo.git, [goal.capture.indexed])
        index.write_bytes(raw or b"")
        return
    git = replace(repo.git, index=index)
    if goal.commit:
        git.run("read-tree", goal.commit)
    else:
        git.run("read-tree", "--empty")


def next_number(repo: Repository, prefix: str) -> str:
    """A name below `prefix` that sorts by time and is not taken: refs are never reused."""
    log = log_of(repo)
    number = int(log.marked("number") or 0) + 1
    if repo.tips([f"{prefix}/{number:08d}"]) != [""]:  # the log was lost, the refs were not
        known = repo.git.run("for-each-ref", "--format=%(refname:lstrip=3)", "refs/self-coding")
        names = decode(known.stdout).split()
        number = max((int(name) for name in names if name.isdigit()), default=0) + 1
    log.mark("number", str(number))
    return f"{number:08d}"
