"""The founding operations on a person's own checkout, blocking: what GitSafety's contract says.

They are thin: capture, commits, landing and restore do the work. It refuses to switch a checkout
where the contract does not ask for it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from self_coding.adapters import git
from self_coding.adapters.process import Completed
from self_coding.errors import GitOperationError, MainMovedError, MergeConflictError
from self_coding.git_safety import gating, landing
from self_coding.git_safety.capture import Capture, take
from self_coding.git_safety.change import insist, log_of
from self_coding.git_safety.describe import patch
from self_coding.git_safety.recovery import guarded
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.restore import (
    Goal,
    carry_out_rollback,
    goal_of,
    next_number,
    prepare_rollback,
)
from self_coding.values.repository import Candidate, Conflict, Moved, RollbackPlan, Snapshot
from self_coding.values.verdicts import GateSettings

SNAPSHOTS = "refs/self-coding/snap"
_ROUNDS = 20
_PACK_EVERY = 256
_MOVES_HEAD = frozenset(
    ("commit", "merge", "cherry-pick", "revert", "am", "rebase", "reset", "pull", "update-ref")
)


def snapshot(repo: Repository, settings: GateSettings | None, *, limit: int) -> Snapshot:
    """Capture the checkout; with `settings` its tests run, too, and their result is recorded."""
    with guarded(repo, "snapshot"):
        head = repo.born()
        ref = f"{SNAPSHOTS}/{next_number(repo, SNAPSHOTS)}"
        taken = take(repo, ref, max_untracked_bytes=limit)
        log_of(repo).add(
            "snapshot",
            actor=repo.actor,
            session=repo.session,
            refs=[(ref, "", taken.commit)],
            reason=head.branch,
        )
        if int(ref.rsplit("/", 1)[-1]) % _PACK_EVERY == 0:
            pack(repo)
    passed, output = True, ""
    if settings is not None:
        report = gating.run_capture(repo, settings, taken)
        passed, output = report.passed, report.output or report.reason
    return as_snapshot(taken, passed=passed, output=output)


def pack(repo: Repository) -> None:
    """Put the loose objects that our refs hold into a pack, and the refs into one file.

    Nothing becomes unreachable and nothing is copied twice: a loose object goes only when it
    is in a pack.
    """
    refs = repo.git.run("for-each-ref", "--format=%(objectname)", "refs/self-coding").stdout
    if not refs:
        return
    place = repo.common / "objects" / "pack" / "pack"
    flags = ("--revs", "--unpacked", "--non-empty", "-q")
    repo.git.run("pack-objects", *flags, str(place), stdin=refs)
    repo.git.run("prune-packed", "-q")
    repo.git.run("pack-refs", "--all")


def as_snapshot(taken: Capture, *, passed: bool = True, output: str = "") -> Snapshot:
    """A capture as the founding value."""
    return Snapshot(
        commit_hash=taken.head.commit,
        branch=taken.head.branch,
        timestamp=taken.at,
        test_status=passed,
        test_output=output,
        clean=taken.clean,
        ref=taken.ref,
        uncaptured=taken.uncaptured,
    )


def diff(repo: Repository, old: str, new: str | None) -> str:
    """The patch between two revisions, or from one to the working tree."""
    return patch(repo, repo.commit(old), repo.commit(new) if new is not None else "")


def stage(repo: Repository, path: str | Path) -> None:
    """Put one file's present content into the index."""
    from self_coding.git_safety.commits import stage_paths

    with guarded(repo, "stage"):
        stage_paths(repo, [repo.path(path)])


def goal(repo: Repository, target: Snapshot | str) -> Goal:
    """Where a rollback to `target` goes."""
    if isinstance(target, Snapshot):
        [known] = repo.resolve([target.ref]) if target.ref else [""]
        return goal_of(repo, target.commit_hash, target.branch, target.ref if known else "")
    if target.startswith("refs/self-coding/"):
        return goal_of(repo, "", "", target)
    return goal_of(repo, target, "", "")


def rollback(repo: Repository, target: Snapshot | str, *, attempt: str, limit: int) -> str:
    """Go back to a snapshot or a commit; the commit that HEAD is at afterwards."""
    with guarded(repo, "rollback"):
        to = goal(repo, target)

        def once() -> None:
            carry_out_rollback(repo, prepare_rollback(repo, to, limit=limit), attempt=attempt)

        insist(once)
        return to.commit


def plan_rollback(repo: Repository, target: Snapshot | str, *, limit: int) -> RollbackPlan:
    """Exactly what `rollback` would do now; nothing is changed."""
    with guarded(repo, "plan rollback"):
        ready = prepare_rollback(repo, goal(repo, target), limit=limit)
        repo.git.run("update-ref", "-d", ready.now.ref)
        return ready.plan


def merge_to_main(repo: Repository, branch: str, settings: GateSettings | None) -> str:
    """Merge `branch` into main by a merge commit, tested first when `settings` are given.

    Raises:
        MergeConflictError: the two do not merge. MainMovedError: main would not stand still.
        GitOperationError: the tests failed, or somebody's work is in the way.
    """
    for _ in range(_ROUNDS):
        repo.at_rest("a merge from here")
        what = landing.candidate(
            repo, repo.branch(branch), f"Merge branch '{branch}' into {repo.main}"
        )
        if isinstance(what, Conflict):
            raise MergeConflictError(
                landing.unmerged(what, branch, repo.main),
                paths=tuple(file.path for file in what.files),
                hint="nothing was changed; bring the branch up to date with main first",
            )
        if settings is not None:
            _passes(repo, settings, what, branch)
        landed = landing.merge_here(repo, branch, what)
        if not isinstance(landed, Moved):
            return landed.new
    raise MainMovedError(
        f"{repo.main} moved {_ROUNDS} times while {branch!r} was tested", hint="try again later"
    )


def _passes(repo: Repository, settings: GateSettings, what: Candidate, branch: str) -> None:
    report = gating.run_candidate(repo, replace(settings, baseline=False), what, ())
    if not report.passed:
        tail = report.output[-2000:].strip()
        raise GitOperationError(
            f"Cannot merge {branch} into {repo.main}: tests failed"
            + (f" ({report.reason})" if report.reason else "")
            + (f"\n{tail}" if tail else ""),
            hint=f"{repo.main} is where it was",
            returncode=report.exit_status,
            stderr=tail,
        )


def run_git(repo: Repository, args: tuple[str, ...], *, check: bool, timeout: float) -> Completed:
    """A caller's own git command; a commit it makes counts as made through us."""
    run = partial(
        git.run,
        args,
        cwd=repo.repo_path,
        env=repo.git.settings.identity,
        ok=(0,) if check else (),
        timeout=timeout,
    )
    if not args or args[0] not in _MOVES_HEAD or not repo.has_tree:
        return run()
    before = repo.head()
    try:
        return run()
    finally:
        after = repo.head()
        if before.branch == after.branch and before.commit != after.commit:
            log_of(repo).add(
                "git",
                actor=repo.actor,
                session=repo.session,
                refs=[(after.ref, before.commit, after.commit)],
                reason=args[0],
            )
