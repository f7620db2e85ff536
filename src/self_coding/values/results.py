"""What an operation answers where one value of a service is not all of it."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Attempts that have ended, newest first, and those that have not."""

    attempts: list[ModificationAttempt]
    waiting: list[Waiting]


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
class AttemptRecord:
    """One attempt, its events, and what it waits for when it has not ended."""

    attempt: ModificationAttempt
    events: list[Event]
    waiting: Waiting | None = None


@dataclass(frozen=True, kw_only=True)
class SimilarAttempts:
    """Earlier attempts, best first, and the warning that a task is a known dead end."""

    similar: list[SimilarAttempt]
    dead_end: DeadEnd | None


@dataclass(frozen=True, kw_only=True)
class SuccessRates:
    """Success rates by name, and the quality of the memory."""

    rates: dict[str, Rate]
    quality: dict[str, float]


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
