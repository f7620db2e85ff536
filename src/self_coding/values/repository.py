"""What git holds: snapshots, worktrees, changes, candidates, operations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Uncaptured:
    """A path that a snapshot or a change does not hold, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """A recorded state of the repository that can be restored.

    `commit_hash` is HEAD's commit (40 or 64 hex digits), `branch` the branch HEAD was on (empty
    when detached), `timestamp` aware and in UTC. `ref` names the commit that holds the captured
    working tree and index; `uncaptured` lists what that commit does not hold.
    """

    commit_hash: str
    branch: str
    timestamp: datetime
    test_status: bool
    test_output: str
    clean: bool
    ref: str = ""
    uncaptured: tuple[Uncaptured, ...] = ()


@dataclass(frozen=True)
class Worktree:
    """The isolated checkout of one attempt: `base` is the main commit it starts from."""

    path: Path
    branch: str
    base: str
    attempt: str


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """One path of a change; `status` is A(dded), M(odified), D(eleted) or T(ype changed).

    `added` and `removed` count lines; both are 0 for a binary file. `old_mode` and `mode` are
    git's octal modes as text ("100644", "120000" for a symlink, "000000" for none).
    """

    path: str
    status: str
    added: int = 0
    removed: int = 0
    binary: bool = False
    old_mode: str = "000000"
    mode: str = "000000"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an attempt wrote: the way from commit `base` to commit `head`.

    `diff` is git's patch text, possibly cut at a marked limit; `files` is always whole. Renames
    are shown as a deletion and an addition, so that every touched path is named. `left_out` is
    what was written and is no part of it; only `record` knows that.
    """

    base: str
    head: str
    files: tuple[FileChange, ...] = ()
    diff: str = ""
    left_out: tuple[Uncaptured, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The repository-relative paths, in git's order."""
        return tuple(file.path for file in self.files)

    @property
    def added(self) -> int:
        """Lines added over all files."""
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        """Lines removed over all files."""
        return sum(file.removed for file in self.files)

    @property
    def is_empty(self) -> bool:
        """Whether the attempt changed nothing."""
        return not self.files

    def touches(self, path: str) -> bool:
        """Whether `path` is one of the changed paths."""
        return any(file.path == path for file in self.files)


@dataclass(frozen=True)
class Commit:
    """A commit as a line tells it."""

    id: str
    author: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The merge commit tested for landing, made unseen: `commit` has tree `tree`, first parent
    `onto` (main when it was made) and second parent `head` (the change's head)."""

    commit: str
    tree: str
    onto: str
    head: str


@dataclass(frozen=True, kw_only=True)
class ConflictFile:
    """One conflicting path: git's message, the marked text and both sides where there are any."""

    path: str
    message: str = ""
    merged: str = ""
    ours: str | None = None
    theirs: str | None = None


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A change that does not merge with main as it is now; nothing was left behind."""

    onto: str
    head: str
    files: tuple[ConflictFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Landed:
    """Main was moved by compare-and-swap from `old` to `new`.

    `checkout` says what became of a checkout on main: "followed", with the paths in which lines of
    the user's were merged; "left: REASON" where they conflict, and what to do; or "not on main",
    and how to have it.
    """

    old: str
    new: str
    checkout: str = "not on main"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Main was not where the candidate expected it; nothing was changed."""

    expected: str
    actual: str


@dataclass(frozen=True, kw_only=True)
class GateBypass:
    """Main's `ref` was moved, past the gate, from `old` to `new`, which an attempt made in its own
    worktree; `tip` is where it is now."""

    ref: str
    old: str
    new: str
    tip: str


@dataclass(frozen=True, kw_only=True)
class PathChange:
    """What a restore does to one path: "write", "delete", "conflict" or "keep", and why."""

    path: str
    action: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RollbackPlan:
    """Exactly what a rollback would do, path by path and ref by ref, before it does it."""

    target: str
    branch: str
    head_from: str
    head_to: str
    paths: tuple[PathChange, ...] = ()
    uncaptured: tuple[Uncaptured, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UndoPlan:
    """What an undo would take back: the operation, its refs from where they are to where they
    were, and the lines that would change. `blocked` says why it would be refused."""

    operation: Operation
    refs: tuple[tuple[str, str, str], ...] = ()
    files: tuple[FileChange, ...] = ()
    blocked: str = ""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One line of the operation log: who did what, when, why, and the refs before and after.

    `left` names the paths it would have changed and did not, because they were somebody else's;
    `group` the commits that landed with it, each an attempt's own, lowest first.
    """

    id: int
    at: datetime
    kind: str
    actor: str
    reason: str = ""
    attempt: str = ""
    refs: tuple[tuple[str, str, str], ...] = ()
    undo_ref: str = ""
    undone: bool = False
    left: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
