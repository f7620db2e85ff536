"""What the tools answer, as typed replies whose schemas clients can read.

Shapes only: every text here is data from a repository or a journal, bounded in length, and is
never meant as an instruction to the client that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from self_coding.values.attempts import (
    DeadEnd,
    Event,
    ModificationAttempt,
    Rate,
    SimilarAttempt,
)
from self_coding.values.code import Impact, RelevantFile, SymbolUse, SymbolUsers
from self_coding.values.edits import SelfEditResult
from self_coding.values.repository import Operation, RollbackPlan, Snapshot

_WAITS = "`land_edit` asks the person and lands it, `drop_edit` ends it"
TEXT_LIMIT = 20_000  # characters of one text in a reply; whole texts are resources


def bounded(text: str, limit: int = TEXT_LIMIT) -> str:
    """The head and tail of a long text with a marked cut between them."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


class Edited(BaseModel):
    """How a self-edit ended, or what it waits for."""

    success: bool
    message: str
    attempt: int | None
    stage: str
    waiting: str = ""
    refused_by: str = ""
    commit: str | None = None
    files: list[str] = []
    failing_tests: list[str] = []
    findings: list[str] = []
    lesson: str = ""
    warning: str = ""
    test_output: str = ""
    checkout: str = ""
    hint: str = ""

    @classmethod
    def of(cls, result: SelfEditResult) -> Edited:
        """The reply for a result; its diff is the resource `attempt://ID/diff`."""
        return cls(
            success=result.success,
            message=result.message,
            attempt=result.attempt_id,
            stage=result.stage,
            waiting=result.waiting,
            refused_by=result.by,
            commit=result.commit_hash,
            files=list(result.files_modified),
            failing_tests=list(result.failing_tests),
            findings=[str(finding) for finding in result.findings],
            lesson=result.lesson,
            warning=result.warning,
            test_output="" if result.success else bounded(result.test_results, 6_000),
            checkout=result.checkout,
            hint=result.hint or (_WAITS if result.waiting == "approval" else ""),
        )


class Begun(BaseModel):
    """Where the caller makes its edit, and what it should know first."""

    attempt: int
    worktree: str
    branch: str
    base: str
    context: str
    warning: str = ""
    next: str


class File(BaseModel):
    """A file that a task concerns."""

    path: str
    score: float
    reasons: list[str]

    @classmethod
    def of(cls, file: RelevantFile) -> File:
        """The reply for one relevant file."""
        return cls(path=file.path, score=file.score, reasons=list(file.reasons))


class Files(BaseModel):
    """The files that a task concerns, best first."""

    files: list[File]


class Spot(BaseModel):
    """Something that static analysis cannot follow."""

    path: str
    line: int
    reason: str


class Reached(BaseModel):
    """A file that depends on a changed one."""

    path: str
    distance: int


class Blast(BaseModel):
    """What a change can break."""

    paths: list[str]
    dependents: list[Reached]
    tests: list[str]
    blind_spots: list[Spot]
    risk: float
    complete: bool

    @classmethod
    def of(cls, impact: Impact) -> Blast:
        """The reply for an impact."""
        return cls(
            paths=list(impact.paths),
            dependents=[Reached(path=d.path, distance=d.distance) for d in impact.dependents],
            tests=list(impact.tests),
            blind_spots=[
                Spot(path=spot.path, line=spot.line, reason=spot.reason)
                for spot in impact.blind_spots
            ],
            risk=impact.risk,
            complete=impact.complete,
        )


class Use(BaseModel):
    """One line that uses a symbol, and how it does."""

    path: str
    line: int
    how: str

    @classmethod
    def of(cls, use: SymbolUse) -> Use:
        """The reply for one use."""
        return cls(path=use.path, line=use.line, how=use.how)


class Users(BaseModel):
    """Who uses a symbol: `uses` are certain, `unknown` share its name; with how many of each are
    left out, and how many files that hold the word were not read."""

    definitions: list[str]
    uses: list[Use]
    unknown: list[Use]
    more_uses: int
    more_unknown: int
    unread_files: int

    @classmethod
    def of(cls, users: SymbolUsers, limit: int) -> Users:
        """The reply for the users of a symbol, at most `limit` of each kind."""
        return cls(
            definitions=list(users.definitions),
            uses=[Use.of(use) for use in users.uses[:limit]],
            unknown=[Use.of(use) for use in users.unknown[:limit]],
            more_uses=max(0, len(users.uses) - limit),
            more_unknown=max(0, len(users.unknown) - limit),
            unread_files=len(users.unread),
        )


class Text(BaseModel):
    """One text about the repository."""

    text: str


class Attempt(BaseModel):
    """One attempt as the journal remembers it."""

    id: int | None
    task: str
    outcome: str
    at: str
    files: list[str]
    why: str = ""
    lesson: str = ""

    @classmethod
    def of(cls, attempt: ModificationAttempt) -> Attempt:
        """The reply for one attempt; texts are quoted data."""
        return cls(
            id=attempt.id,
            task=bounded(attempt.task_description, 2_000),
            outcome=attempt.outcome.value,
            at=attempt.timestamp.isoformat() if attempt.timestamp else "",
            files=list(attempt.files_modified),
            why=bounded(attempt.failure_analysis, 2_000),
            lesson=bounded(attempt.reflection, 2_000),
        )


class Attempts(BaseModel):
    """Attempts, newest first."""

    attempts: list[Attempt]


class Alike(BaseModel):
    """An earlier attempt and what makes it alike."""

    attempt: Attempt
    score: float
    reasons: list[str]


class Similar(BaseModel):
    """Earlier attempts, best first, and whether the task is a known dead end."""

    similar: list[Alike]
    warning: str = ""

    @classmethod
    def of(cls, found: Sequence[SimilarAttempt], dead_end: DeadEnd | None) -> Similar:
        """The reply for a search of the journal."""
        alike = [
            Alike(attempt=Attempt.of(one.attempt), score=one.score, reasons=list(one.reasons))
            for one in found
        ]
        return cls(similar=alike, warning=str(dead_end or ""))


class Happened(BaseModel):
    """One event of an attempt."""

    kind: str
    at: str

    @classmethod
    def of(cls, event: Event) -> Happened:
        """The reply for one event."""
        return cls(kind=event.kind, at=event.at.isoformat())


class Shown(BaseModel):
    """All that is known of one attempt."""

    attempt: Attempt
    events: list[Happened]
    diff: str
    test_output: str
    editor_output: str


class Share(BaseModel):
    """A success rate with its 95 % interval."""

    successes: int
    total: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, rate: Rate) -> Share:
        """The reply for one rate."""
        return cls(
            successes=rate.successes, total=rate.total, rate=rate.rate, low=rate.low, high=rate.high
        )


class Stats(BaseModel):
    """Success rates, and how good the memory itself is."""

    rates: dict[str, Share]
    memory: dict[str, float]


class Taken(BaseModel):
    """A snapshot, and what it does not hold."""

    ref: str
    commit: str
    branch: str
    tests_passed: bool | None = None
    uncaptured: list[str] = []

    @classmethod
    def of(cls, snapshot: Snapshot, *, tested: bool) -> Taken:
        """The reply for one snapshot."""
        return cls(
            ref=snapshot.ref,
            commit=snapshot.commit_hash,
            branch=snapshot.branch,
            tests_passed=snapshot.test_status if tested else None,
            uncaptured=[f"{one.path}: {one.reason}" for one in snapshot.uncaptured],
        )


class Step(BaseModel):
    """What happens to one path."""

    path: str
    action: str
    reason: str = ""


class Plan(BaseModel):
    """Exactly what a rollback would do, or did."""

    target: str
    branch: str
    head_from: str
    head_to: str
    paths: list[Step]
    done: bool = False
    message: str = ""

    @classmethod
    def of(cls, plan: RollbackPlan, *, done: bool = False, message: str = "") -> Plan:
        """The reply for a plan."""
        steps = [Step(path=one.path, action=one.action, reason=one.reason) for one in plan.paths]
        return cls(
            target=plan.target,
            branch=plan.branch,
            head_from=plan.head_from,
            head_to=plan.head_to,
            paths=steps,
            done=done,
            message=message,
        )


class Done(BaseModel):
    """An operation on the repository."""

    done: bool
    message: str
    operation: int | None = None
    kind: str = ""
    refs: list[str] = []

    @classmethod
    def of(cls, operation: Operation, message: str) -> Done:
        """The reply for one operation."""
        refs = [f"{ref}: {old} -> {new}" for ref, old, new in operation.refs]
        return cls(
            done=True, message=message, operation=operation.id, kind=operation.kind, refs=refs
        )
