"""What the journal remembers: attempts, their events, similar ones, lessons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


class Outcome(StrEnum):
    """How an attempt ended; the value is what is stored."""

    SUCCESS = "success"
    FAILURE = "failure"
    ROLLBACK = "rollback"


#: Stages of attempts that ended without saying anything about their change.
UNCOUNTED = frozenset({"cancelled", "environment"})
OPEN = "open"  # the stage of one that has not ended


@dataclass
class ModificationAttempt:
    """One try at a task, as the founding API hands it in and out.

    `id`, `timestamp` (aware, UTC) and `stage` are set by the journal; `stage` is "open" until it
    has ended. `embedding` is kept for the caller who gave it; nothing reads it.
    """

    task_description: str
    approach: str = ""
    files_modified: list[str] = field(default_factory=list)
    diff: str = ""
    test_results: str = ""
    outcome: Outcome = Outcome.FAILURE
    failure_analysis: str = ""
    reflection: str = ""
    retry_count: int = 0
    id: int | None = None
    timestamp: datetime | None = None
    embedding: list[float] | None = None
    stage: str = field(default="", kw_only=True, compare=False, repr=False)

    @property
    def ended_as(self) -> str:
        """Its outcome in a word, or what tells nothing of its change: "open", "environment"."""
        return self.stage if self.stage in (OPEN, *UNCOUNTED) else self.outcome.value


@dataclass(frozen=True, kw_only=True)
class AttemptLine:
    """An attempt as a list shows it: without its diff, its output and its events.

    `ended` is None while it goes on; `why` is the first of what failed, shortened.
    """

    id: int
    task: str
    at: datetime
    ended: datetime | None = None
    stage: str = ""
    outcome: str = ""
    editor: str = ""
    model: str = ""
    commit: str = ""
    tries: int = 1
    files: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One immutable line of the journal: what happened to an attempt, and its facts.

    `kind` is a stage of the self-edit's lifecycle ("planned", "isolated", ...); `data` holds
    JSON values only; `at` is aware, UTC.
    """

    attempt: int
    sequence: int
    kind: str
    at: datetime
    data: Mapping[str, Json] = field(default_factory=dict)


def editor_output(events: Iterable[Event]) -> str:
    """Return what the editor printed while it made the edit."""
    return "".join(str(event.data.get("output", "")) for event in events if event.kind == "written")


@dataclass(frozen=True, kw_only=True)
class SimilarAttempt:
    """An earlier attempt, how alike it is (higher is more) and what made it so."""

    attempt: ModificationAttempt
    score: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What test output says about a failing run; empty text and None where it says nothing.

    `location` is "path:line" of the last frame inside the repository; `related` is whether the
    change caused it, `because` what points to the file named as its cause; `signature` is the
    same for the same failure on another day.
    """

    failing_tests: tuple[str, ...] = ()
    exception: str = ""
    message: str = ""
    location: str = ""
    assertion: str = ""
    root_cause_file: str = ""
    root_cause_function: str = ""
    related: bool | None = None
    because: str = ""
    signature: str = ""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One reusable sentence with its trigger, its evidence and what came of using it.

    `freshness` is "fresh", "drifted" (the code it speaks of has changed) or "orphaned" (it is
    gone), checked when the lesson is read.
    """

    text: str
    id: int | None = None
    files: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    exception: str = ""
    tests: tuple[str, ...] = ()
    evidence: tuple[int, ...] = ()
    anchors: tuple[tuple[str, str], ...] = ()
    freshness: str = "fresh"
    uses: int = 0
    successes: int = 0


@dataclass(frozen=True, kw_only=True)
class DeadEnd:
    """A warning: this, or something very like it, was tried and failed."""

    attempt: int
    task: str
    because: str
    score: float
    at: str = "plan"

    def __str__(self) -> str:
        tried = f"this was tried: attempt {self.attempt} ({self.task!r})"
        return f"{tried}, it failed because {self.because}"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A success rate with its 95 % Wilson interval."""

    successes: int
    total: int
    rate: float
    low: float
    high: float
