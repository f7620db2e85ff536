"""What an operation answers where one value of a service is not all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # not for checkers alone: schemas of answers read it
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from self_coding.values.attempts import (
        DeadEnd,
        Event,
        ModificationAttempt,
        Rate,
        SimilarAttempt,
    )
    from self_coding.values.edits import Waiting
    from self_coding.values.repository import Operation, RollbackPlan
    from self_coding.values.verdicts import Strength


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Attempts that have ended, newest first, and those that have not.

    `has_more`: there are older ones than were asked for.
    """

    attempts: list[ModificationAttempt]
    waiting: list[Waiting]
    has_more: bool = False


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a repository stands: its main branch, and what has not ended, newest first.

    `failing` are the tests that failed when the gate last ran main as it is now.
    """

    repository: str
    main_branch: str
    commit: str
    failing: list[str]
    waiting: list[Waiting]


@dataclass(frozen=True, kw_only=True)
class InboxItem:
    """Something that needs a person, since when, and the operation that goes on with it.

    `kind` is "red main", "bypass", "environment", "interrupted", "approval", "expiring" (a
    caller's edit that is soon given up), "error" (an uncaught one of the project's own program,
    whose number is `error`), "refused" (one that waits to be corrected), "open" (one that was
    never submitted), "review" or "running". `path` is the worktree of an edit.
    """

    kind: str
    title: str
    action: str
    why: str = ""
    attempt: int | None = None
    since: datetime | None = None
    expires: datetime | None = None
    path: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of an attempt that waited for approval: "approved", "refused" or "expired".

    `person` says who decided, where it was recorded ("rule: ..." for a rule of the policy), `shown`
    what they were shown; `stage` is how far the attempt is now.
    """

    attempt: int
    task: str
    decision: str
    person: str
    at: datetime
    why: str
    stage: str
    shown: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportedError:
    """An uncaught error of the project's own program: when it was seen first and last, how often.

    `stack` is what it printed, without secrets; `dropped` why it is offered no more.
    """

    id: str
    title: str
    stack: str
    first: datetime
    last: datetime
    count: int = 1
    dropped: str = ""

    @property
    def task(self) -> str:
        """The words by which it becomes a task; whoever makes the edit is shown the stack."""
        return f"Fix error {self.id}: {self.title}"


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """What needs a person, most urgent first, and what was decided lately, newest first."""

    needs: list[InboxItem]
    decided: list[Decision]


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """Tests that fail, and what broke them.

    `by` is "edit" (what is not committed), "attempt", "commit" or "before" (it failed already in
    the oldest commit that was looked at); `what` names it in words.
    """

    tests: list[str]
    by: str
    what: str
    commit: str = ""
    attempt: int | None = None


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One look at the tests that a change affects.

    `files` are test files, `ran` is how many tests ran; `changed` are the paths that differ.
    """

    changed: list[str]
    files: list[str]
    ran: int = 0
    broken: list[Breakage]
    seconds: float = 0.0
    reason: str = ""

    @property
    def is_green(self) -> bool:
        """Whether no test failed, and the run came to its end."""
        return not self.broken and not self.reason

    def __str__(self) -> str:
        """In words: what ran and how it ended, then what broke what."""
        if not self.files:
            return "no test is affected" if self.changed else "nothing has changed"
        files = f"{len(self.files)} test file{'' if len(self.files) == 1 else 's'}"
        count = sum(len(one.tests) for one in self.broken)
        state = "green" if self.is_green else f"red, {count} failed"
        lines = [f"{state}: {self.ran} tests of {files} in {self.seconds:g} s"]
        lines += [self.reason] if self.reason else []
        for one in self.broken:
            lines += [f"  broken by {one.what}", *(f"    {test}" for test in one.tests[:10])]
            lines += [f"    and {len(one.tests) - 10} more"] if len(one.tests) > 10 else []
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Digest:
    """A period in numbers, and in Markdown: `text`.

    `refused` are attempts that ended without landing; `cost` is what editors reported; `is_red`:
    tests of main failed when last run.
    """

    text: str
    attempts: int
    landed: int
    refused: int
    undone: int
    bypasses: int
    cost: float
    is_red: bool


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """One attempt, its events, and what it waits for when it has not ended.

    `strength` is that of its tests, where it was measured.
    """

    attempt: ModificationAttempt
    events: list[Event]
    waiting: Waiting | None = None
    strength: Strength | None = None


@dataclass(frozen=True, kw_only=True)
class SimilarAttempts:
    """Earlier attempts, best first, and the warning that a task is a known dead end."""

    similar: list[SimilarAttempt]
    dead_end: DeadEnd | None


@dataclass(frozen=True, kw_only=True)
class SuccessRates:
    """Success rates by name, and the quality of the memory.

    Of the newest 500 attempts `red` were refused by tests, `missed` of them by tests that their
    changes were not known to affect; `shown` is how those ended that were shown lessons, similar
    attempts, a warning, or nothing.
    """

    rates: dict[str, Rate]
    quality: dict[str, float]
    missed: int = 0
    red: int = 0
    shown: dict[str, Rate] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """The commit that HEAD is at after a rollback, and what was done."""

    commit: str
    plan: RollbackPlan


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The operation of ours that made a commit or a reflog entry, if one did."""

    ours: bool
    operation: Operation | None


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A task that was handed to the fleet: the number of its job; `edit` names the self-edit."""

    job: int
    edit: str
    repository: str


@dataclass(frozen=True, kw_only=True)
class FleetWorker:
    """A worker that lives: how many attempts it drives at a time, what it provides."""

    name: str
    slots: int
    provides: list[str]
    version: str
    since: datetime
    running: int = 0


@dataclass(frozen=True, kw_only=True)
class FleetJob:
    """A job: `state` is "waiting", "running", "ended", "failed" or "cancelled".

    `attempt` is where the repository's journal tells what came of it; `said` is what kept a worker
    from it.
    """

    job: int
    task: str
    repository: str
    state: str
    edit: str = ""
    priority: int = 0
    requires: list[str]
    worker: str = ""
    attempt: int | None = None
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class FleetStatus:
    """The workers that live; the jobs that run, that wait, and that have ended lately."""

    workers: list[FleetWorker]
    jobs: list[FleetJob]
