# ruff: noqa: D102 - each method is documented where it is implemented
"""What a self-edit needs of the rooms below it: the methods it calls, and no others.

The services of floor 4 have these methods, and so have the fakes that the crash schedules are
run on. Nothing is implemented here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from self_coding.values.attempts import (
    DeadEnd,
    Event,
    Failure,
    Json,
    Lesson,
    ModificationAttempt,
    Outcome,
    SimilarAttempt,
)
from self_coding.values.code import Impact, RelevantFile
from self_coding.values.repository import (
    Candidate,
    Change,
    Conflict,
    Landed,
    Moved,
    Strayed,
    Worktree,
)
from self_coding.values.verdicts import GateReport, Verdict

Files = Mapping[str, bytes | None]


class Repository(Protocol):
    """Isolates, tests and lands; the only one that moves main."""

    async def get_main_commit(self) -> str: ...
    async def isolate(self, attempt: str, base: str | None = None) -> Worktree: ...
    async def record(self, worktree: Worktree, message: str) -> Change: ...
    async def strayed(self, worktree: Worktree) -> Strayed | None: ...
    async def change(self, base: str, head: str) -> Change: ...
    async def read(self, commit: str, paths: Sequence[str]) -> dict[str, bytes | None]: ...
    async def candidate(self, change: Change) -> Candidate | Conflict: ...
    async def test(self, candidate: Candidate, *, first: Sequence[str] = ()) -> GateReport: ...
    async def land(
        self, candidate: Candidate, *, attempt: str = "", reason: str = ""
    ) -> Landed | Moved: ...
    async def contains(self, commit: str) -> bool: ...
    async def release(self, worktree: Worktree) -> None: ...


class Index(Protocol):
    """Knows the code."""

    async def relevant(self, task: str, limit: int = 5) -> list[RelevantFile]: ...
    async def get_summary(self, max_tokens: int = 4000, task: str | None = None) -> str: ...
    async def impact(
        self, paths: Sequence[str] | None = None, diff: str | None = None
    ) -> Impact: ...
    async def has_test_coverage(self, path: str) -> bool: ...


class Journal(Protocol):
    """Remembers: attempts, their events, lessons."""

    async def begin(
        self,
        task: str,
        *,
        edit: str = "",
        retry_count: int = 0,
        facts: Mapping[str, Json] | None = None,
    ) -> int: ...
    async def append(
        self, attempt: int, kind: str, data: Mapping[str, Json] | None = None
    ) -> Event: ...
    async def events(self, attempt: int) -> list[Event]: ...
    async def finish(
        self,
        attempt: int,
        outcome: Outcome,
        *,
        approach: str = "",
        files_modified: Sequence[str] = (),
        diff: str = "",
        test_results: str = "",
        failure_analysis: str = "",
        reflection: str = "",
        stage: str = "ended",
        editor: str = "",
        model: str = "",
        commit: str = "",
    ) -> None: ...
    async def unfinished(self) -> list[int]: ...
    async def similar(
        self, task: str, *, limit: int = 5, diff: str = ""
    ) -> list[SimilarAttempt]: ...
    async def dead_end(
        self, task: str = "", *, diff: str = "", files: Sequence[str] = (), at: str = "plan"
    ) -> DeadEnd | None: ...
    async def lessons(
        self,
        *,
        task: str = "",
        files: Sequence[str] = (),
        contents: Mapping[str, str] | None = None,
    ) -> list[Lesson]: ...
    async def learn(self, lesson: Lesson) -> Lesson: ...
    async def used(self, lesson: int, attempt: int, outcome: Outcome) -> None: ...


class Reflection(Protocol):
    """Explains an attempt from its evidence."""

    async def analyse(
        self,
        attempt: ModificationAttempt,
        *,
        importers: Mapping[str, Collection[str]] | None = None,
    ) -> Failure: ...
    async def lesson(self, attempt: ModificationAttempt, failure: Failure) -> Lesson | None: ...
    async def reflect_with_context(
        self, attempt: ModificationAttempt, similar_attempts: list[ModificationAttempt]
    ) -> str: ...


class Judge(Protocol):
    """The policy as the base commit states it."""

    @property
    def asks(self) -> bool:
        """Whether broken rules are a question to a person, and not a refusal."""
        ...

    def judge(
        self, change: Change, *, before: Files, after: Files, covered: frozenset[str]
    ) -> Verdict: ...


class Rules(Protocol):
    """Reads a policy out of the settings files of a commit."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that settings are read from."""
        ...

    def read(self, files: Files) -> Judge: ...


@dataclass(frozen=True)
class Rooms:
    """The services a self-edit works with."""

    repository: Repository
    index: Index
    journal: Journal
    reflection: Reflection
    rules: Rules
