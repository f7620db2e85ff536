"""GitSafety: snapshots, isolation, landing and rollback of one repository, as async calls.

Each method gathers its arguments, awaits one blocking call in a thread and returns a value.
Nothing of a person's is ever lost through it, and main moves only by compare-and-swap.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters.threads import in_thread, run_inline
from self_coding.git_safety import (
    commits,
    index,
    landing,
    pool,
    receipts,
    recovery,
    restore,
    snapshots,
    trial,
    undo,
    worktrees,
)
from self_coding.git_safety.repository import discover
from self_coding.values.repository import (
    Candidate,
    Change,
    Conflict,
    GateBypass,
    Landed,
    Moved,
    Operation,
    RollbackPlan,
    Snapshot,
    UndoPlan,
    Worktree,
)
from self_coding.values.verdicts import Finding, GateReport, GateSettings, Receipt, Strength

if TYPE_CHECKING:
    from self_coding.gate.readiness import Readiness
    from self_coding.git_safety.requests import Requests

TEST_COMMAND = "python -m pytest --tb=short -q"
BRANCH_PREFIX = "timmy/self-edit"


@dataclass(frozen=True)
class GitResult:
    """What a git command of the caller's answered, as text."""

    returncode: int
    stdout: str
    stderr: str


class GitSafety:
    """Safe git operations on the repository around `repo_path`.

    Args:
        repo_path: a path in the repository; the working directory when None.
        main_branch: the branch that changes land on.
        test_command: the shell command that tests a tree.
        branch_prefix: the prefix of the branches of attempts.
        land_as: how a change gets onto main: "merge", "squash" or "rebase".
        gate: how the gate tests; its command is `test_command`.
        actor: who acts, for the operation log.
        carry: what git ignores and worktrees of attempts are given, as a `.env` file.
        max_untracked_bytes: larger untracked files are listed by a snapshot, not captured.

    Raises:
        GitNotRepositoryError: `repo_path` is not in a git repository.
    """

    def __init__(
        self,
        repo_path: str | Path | None = None,
        main_branch: str = "main",
        test_command: str = TEST_COMMAND,
        *,
        branch_prefix: str = BRANCH_PREFIX,
        land_as: str = "merge",
        gate: GateSettings | None = None,
        actor: str = "",
        carry: Sequence[str] = (),
        max_untracked_bytes: int = snapshots.MAX_UNTRACKED_BYTES,
    ) -> None:
        self._repo = discover(repo_path, main=main_branch, actor=actor)
        self.repo_path = self._repo.repo_path
        self.main_branch = main_branch
        self.test_command = test_command
        self._prefix = branch_prefix
        self._land_as = land_as
        self._gate = gate
        self._carried = tuple(carry)
        self._limit = max_untracked_bytes

    def onto(self, branch: str) -> GitSafety:
        """Return the same services with another branch in main's place: what lands, lands there."""
        other = copy(self)
        if branch not in ("", self.main_branch):
            other._repo, other.main_branch = self._repo.onto(branch), branch
        return other

    requests: Requests | None = None  # where others merge what would land

    @property
    def gate(self) -> GateSettings:
        """How the gate tests, with `test_command` as it is now."""
        return replace(self._gate or GateSettings(), command=self.test_command)

    @property
    def top(self) -> Path:
        """The top of the working tree; a bare repository has none, which raises."""
        return self._repo.top

    async def address(self) -> str:
        """Return where others find the repository that changes land in."""
        return str(self.top)

    async def is_clean(self) -> bool:
        """Return whether nothing is staged, changed or untracked; ignored files do not count."""
        return await in_thread(index.is_clean, self._repo)

    async def get_current_branch(self) -> str:
        """Return the branch HEAD is on; empty when it is detached."""
        return await in_thread(self._repo.head_branch)

    async def get_current_commit(self) -> str:
        """Return the commit HEAD is at."""
        return (await in_thread(self._repo.born)).commit

    async def person(self) -> str:
        """Return the name under which the person here commits; the actor's where git has none."""

        def work() -> str:
            done = self._repo.git.run("var", "GIT_COMMITTER_IDENT", ok=(0, 1, 128))
            name = done.stdout.decode("utf-8", "replace").rpartition(">")[0]
            return f"{name}>" if name else self._repo.actor

        return await in_thread(work)

    async def get_main_commit(self) -> str:
        """Return the commit the main branch is at."""
        return await in_thread(self._repo.branch, self.main_branch)

    async def snapshot(self, run_tests: bool = True) -> Snapshot:
        """Capture working tree, index and HEAD; with `run_tests` their tests' result, too.

        A failing test run is recorded in the snapshot, not raised.
        """

        def work() -> Snapshot:
            capture = snapshots.snapshot(self._repo, limit=self._limit)
            if not run_tests:
                return capture.as_snapshot()
            report = landing.run_gate_on_capture(self._repo, self.gate, capture)
            return capture.as_snapshot(passed=report.passed, output=report.output or report.reason)

        return await in_thread(work)

    async def snapshot_changes(self) -> Snapshot | None:
        """Take a snapshot, without tests; None where the newest one holds all that stands here."""

        def work() -> Snapshot | None:
            capture = snapshots.snapshot_changes(self._repo, limit=self._limit)
            return capture.as_snapshot() if capture else None

        return await in_thread(work)

    async def create_branch(self, name: str, base: str | None = None) -> str:
        """Create the branch `name` from `base` (default: main), check it out, return its name."""
        return await in_thread(commits.create_branch, self._repo, name, base)

    async def commit(
        self,
        message: str,
        files: Sequence[str | Path] | None = None,
        allow_empty: bool = False,
    ) -> str:
        """Commit just `files`, or every change when None; return the commit HEAD is at then."""
        return await in_thread(commits.commit, self._repo, message, files, allow_empty=allow_empty)

    async def get_diff(self, from_hash: str, to_hash: str | None = None) -> str:
        """Return the patch from one revision to another, or to the working tree when None."""

        def work() -> str:
            new = self._repo.commit(to_hash) if to_hash is not None else ""
            return index.patch(self._repo, self._repo.commit(from_hash), new)

        return await in_thread(work)

    async def get_modified_files(self, since_hash: str | None = None) -> list[str]:
        """Return the paths that differ from `since_hash`, or that are uncommitted when None."""

        def work() -> list[str]:
            commit = self._repo.commit(since_hash) if since_hash is not None else ""
            return index.changed_paths(self._repo, commit, untracked=True)

        return await in_thread(work)

    async def stage_file(self, path: str | Path) -> None:
        """Put one file's present content into the index."""
        await in_thread(commits.stage_file, self._repo, path)

    async def rollback(self, target: Snapshot | str, *, attempt: str | None = None) -> str:
        """Go back to a snapshot (or its ref), or to a commit; return the commit HEAD is at then.

        All there is now is captured first, and `undo` brings it back. With an `attempt` that has
        a worktree, only what that attempt wrote there goes back.
        """
        return await in_thread(
            restore.rollback, self._repo, target, attempt=attempt, limit=self._limit
        )

    async def merge_to_main(self, branch: str, require_tests: bool = True) -> str:
        """Merge `branch` into main with a merge commit, check main out, delete the branch.

        Raises GitOperationError ("Cannot merge ...: tests failed"); main is where it was then.
        """
        settings = self.gate if require_tests else None
        return await in_thread(landing.merge_to_main, self._repo, branch, settings)

    async def _run_git(self, *args: str, check: bool = True, timeout: float = 30.0) -> GitResult:  # noqa: ASYNC109
        """Run a git command of the caller's in the repository.

        Raises:
            GitOperationError: a non-zero exit with `check`, or a timeout.
        """
        done = await in_thread(commits.run_git, self._repo, args, check=check, timeout=timeout)
        return GitResult(done[1], *(data.decode("utf-8", "replace") for data in done[2:4]))

    async def isolate(
        self, attempt: str, base: str | None = None, branch: str = "", *, equip: bool = False
    ) -> Worktree:
        """Return a worktree of its own for `attempt`; the same one when asked again.

        Its branch has a name of ours and goes when the worktree is given back; a `branch` that
        the caller names stays. With `equip` it gets a copy of what the gate's setup command has
        made for the same dependencies.
        """
        name = branch or f"{self._prefix}/{attempt}"

        def work() -> Worktree:
            repo = self._repo
            worktree = worktrees.isolate(repo, attempt, base, name, new=bool(branch))
            worktrees.bring(repo, worktree, {name: repo.top / name for name in self._carried})
            if equip:
                worktrees.bring(repo, worktree, self._prepared(worktree), strict=False)
            return worktree

        return await in_thread(work)

    def _prepared(self, worktree: Worktree) -> dict[str, Path]:
        """Return what the gate's setup command has made for the dependencies of a worktree."""
        if not self.gate.setup_command:
            return {}
        return landing.gate_of(self._repo, self.gate).made_by_setup(worktree.path)

    async def record(self, worktree: Worktree, message: str) -> Change:
        """Commit what the attempt wrote in its worktree onto its branch.

        What git ignores is not committed, but named. What came of main itself by a merge in the
        worktree is no part of the change.
        """

        def work() -> Change:
            repo = self._repo
            head, left = worktrees.record(repo, worktree, message)
            base, words = worktree.base, ("merge-base", repo.main_ref, head)
            common = "" if head == base else repo.git.run(*words, ok=(0, 1, 128)).stdout.decode()
            if common and repo.is_ancestor(base, common.strip()):
                base = common.strip()
            ours = {name.rstrip("/") for name in (*self._carried, *self._prepared(worktree))}
            left = tuple(one for one in left if one.path.rstrip("/") not in ours)
            return replace(index.describe(repo, base, head), left_out=left)

        return await in_thread(work)

    async def record_late(self, worktree: Worktree, message: str, head: str) -> Change | None:
        """Commit what an attempt wrote after `head` was recorded; None: nothing, or it is gone."""

        def work() -> Change | None:
            repo = self._repo
            if worktrees.find(repo, worktree.attempt) is None:
                return None  # given back, it may be another attempt's by now
            tip, _ = worktrees.record(repo, worktree, message)
            return None if tip == head else index.describe(repo, head, tip)

        return await in_thread(work)

    async def carry(self, worktree: Worktree, earlier: Worktree, head: str) -> tuple[str, ...]:
        """Apply an earlier worktree's change, recorded as `head`; return the paths that conflict.

        It stays uncommitted; an empty `head` is what was pinned when the worktree was given back.
        """
        return await in_thread(worktrees.carry, self._repo, worktree, earlier, head)

    async def gate_bypass(self, worktree: Worktree) -> GateBypass | None:
        """Return how main was moved, past the gate, to a commit made in the worktree, if so."""
        return await in_thread(landing.gate_bypass, self._repo, worktree)

    async def change(self, base: str, head: str, diff_limit: int = index.DIFF_LIMIT) -> Change:
        """Return the change from commit `base` to commit `head`."""

        def work() -> Change:
            ends = self._repo.commit(base), self._repo.commit(head)
            return index.describe(self._repo, *ends, diff_limit=diff_limit)

        return await in_thread(work)

    async def read(self, commit: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Return the contents of files at a commit; None for each that is not there."""
        return await in_thread(lambda: index.read(self._repo, self._repo.commit(commit), paths))

    async def candidate(
        self, change: Change | str, message: str = "", *, onto: str = ""
    ) -> Candidate | Conflict:
        """Return what would put a change onto main as it is now, made unseen; or the conflict.

        It is made as `land_as` says; `message` is the commit's, `onto` stands in main's place.
        """
        head = change.head if isinstance(change, Change) else change
        return await in_thread(landing.candidate, self._repo, head, message, self._land_as, onto)

    @asynccontextmanager
    async def checkout(self, commit: str) -> AsyncIterator[Path]:
        """Yield a folder that holds exactly `commit`, for as long as the block lasts."""
        context = pool.checkout(self._repo, commit)
        path = await in_thread(context.__enter__)
        try:
            yield path
        finally:
            await in_thread(context.__exit__, None, None, None)

    async def test(
        self,
        candidate: Candidate | str,
        *,
        first: Sequence[str] = (),
        strict: bool = False,
        ask: bool = False,
        whole: bool = True,
    ) -> GateReport:
        """Run the gate on a candidate or a commit; the user's checkout is not touched.

        Args:
            candidate: what is tested.
            first: test files that run before all, for a fast no.
            strict: no expectation of main's tests may change.
            ask: what main's tests refuse is put to a person, and decides nothing here.
            whole: all tests run even where `gate.tests` is "affected".
        """
        how = {"strict": strict, "ask": ask, "whole": whole or self.gate.tests == "all"}
        run, gate, order = landing.run_gate, self.gate, tuple(first)
        return await in_thread(run, self._repo, gate, candidate, order, **how)

    async def strength(self, base: str, commit: str, tests: Sequence[str]) -> Strength | None:
        """Measure how many mutants of the lines that a tested commit changes its tests notice.

        A landing's receipt has it from then on. Without `tests`, the files that reach its change,
        all run.
        """
        return await in_thread(landing.strength, self._repo, self.gate, base, commit, tuple(tests))

    @property
    def trials(self) -> trial.Trials:
        """What runs tests without judging."""
        return trial.Trials(self._repo, self.gate, self._limit)

    async def failing_on_main(self) -> tuple[str, ...]:
        """Return the tests that failed when the gate last ran main as it is; nothing is run."""
        repo = self._repo
        gate = landing.gate_of(repo, self.gate)
        return await in_thread(lambda: gate.known_failures(repo.branch(repo.main)))

    async def readiness(self) -> Readiness:
        """Return what main's tests have here and what they lack, found by listing them."""
        from self_coding.gate.readiness import readiness

        repo = self._repo
        gate = landing.gate_of(repo, self.gate)
        return await in_thread(lambda: readiness(gate, repo.branch(repo.main)))

    async def land(
        self,
        candidate: Candidate,
        *,
        attempt: str = "",
        reason: str = "",
        group: Sequence[tuple[str, Candidate]] = (),
        still: Callable[[], Coroutine[object, object, bool]] | None = None,
    ) -> Landed | Moved:
        """Move main to the candidate by compare-and-swap; a checkout on main follows if it can.

        A candidate that passed `test`, here or in a process that has ended, gets its receipt.
        `group` are all that land with it, each attempt with its candidate, the lowest first;
        `still` is asked at the last moment whether they may land.
        """
        return await in_thread(
            landing.land,
            self._repo,
            candidate,
            attempt=attempt,
            reason=reason,
            group=landing.members(candidate, attempt, group),
            limit=self._limit,
            still=lambda: still is None or run_inline(still()),
        )

    async def landed(self, commits: Sequence[str], *, settle: bool = False) -> str:
        """Return which of these commits main holds; with `settle` none comes there later."""
        work = landing.settled if settle else landing.contained
        return await in_thread(work, self._repo, tuple(commits))

    async def has(self, worktree: Worktree, commit: str = "") -> bool:
        """Return whether a commit of an attempt can be had here; without one, its worktree."""
        if not commit:
            return await in_thread(worktrees.find, self._repo, worktree.attempt) is not None
        return await in_thread(self._repo.resolve, [commit]) != [""]

    async def has_receipt(self, commit: str) -> bool:
        """Return whether `commit` is a landing that was tested."""

        def work() -> bool:
            landed = self._repo.commit(commit)
            kept = receipts.read_receipts(self._repo.chain)
            return any(one.landed == landed and one.passed for one in kept)

        return await in_thread(work)

    async def receipt(self, landed: str, at: datetime) -> Receipt | None:
        """Return the receipt of the landing at `landed` that was recorded at a moment, if any."""
        return await in_thread(receipts.find, self._repo.chain, landed, at)

    async def verify(self) -> list[Finding]:
        """Return what is wrong with the receipts of all landings, and with their signed notes.

        Nothing when every one holds.
        """
        from self_coding.git_safety import attestations

        repo = self._repo
        return await in_thread(
            lambda: receipts.verify(repo.chain, repo.common) + attestations.check(repo)
        )

    async def release(self, worktree: Worktree) -> Path | None:
        """Pin its full state, then free the worktree; return the folder of what no ref can hold."""
        return await in_thread(worktrees.release, self._repo, worktree, limit=self._limit)

    async def plan_rollback(self, target: Snapshot | str) -> RollbackPlan:
        """Return exactly what `rollback` would do now; nothing is changed."""
        return await in_thread(restore.plan_rollback, self._repo, target, limit=self._limit)

    async def plan_undo(self, *, attempt: str | None = None) -> UndoPlan:
        """Return what `undo` would take back now, or why it would be refused."""
        return await in_thread(lambda: undo.plan(self._repo, attempt=attempt))

    async def undo(self, steps: int = 1, *, attempt: str | None = None) -> Operation:
        """Take back the last operations of this actor, or of one attempt."""
        return await self._repeat("undo", steps, attempt)

    async def redo(self, steps: int = 1, *, attempt: str | None = None) -> Operation:
        """Do again what the last undos took back."""
        return await self._repeat("redo", steps, attempt)

    async def _repeat(self, kind: str, steps: int, attempt: str | None) -> Operation:
        return await in_thread(
            undo.repeat, self._repo, kind, steps, attempt=attempt, limit=self._limit
        )

    async def operations(self, limit: int = 50) -> list[Operation]:
        """Return what was done to this repository through us, newest first."""
        return [entry.operation for entry in await in_thread(self._repo.log.recent, limit)]

    async def explain(self, entry: str) -> Operation | None:
        """Return the operation of ours that made a commit or a reflog entry; None: not ours."""
        return await in_thread(undo.explain, self._repo, entry)

    async def snapshots(self, limit: int = 1000) -> list[Snapshot]:
        """Return the snapshots that can be gone back to, newest first."""
        return await in_thread(snapshots.snapshots, self._repo, limit)

    async def recover(self) -> list[str]:
        """Repair what a crash left behind, and say what was repaired."""
        return await in_thread(recovery.recover, self._repo)

    async def gc(self, *, keep: int = 1000, keep_days: float = 30.0) -> list[str]:
        """Drop snapshots beyond the newest `keep` that are older than `keep_days`, and tidy up."""
        said = await in_thread(snapshots.gc, self._repo, keep=keep, keep_days=keep_days)
        return said + await in_thread(pool.remove_checkouts, self._repo)
