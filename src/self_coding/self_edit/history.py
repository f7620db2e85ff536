"""Pure: the events of one attempt, read as typed facts. An attempt is the fold of its events.

The dataclasses name what the data of each kind of event holds, under the keys that the journal
stores. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from self_coding.values.attempts import Event, Json
from self_coding.values.edits import EditReport, Feedback
from self_coding.values.repository import Candidate, Worktree
from self_coding.values.verdicts import Finding, Strength, TestResult, Verdict

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
Facts = dict[str, Json]
"""The data of one event."""


class Kind(StrEnum):
    """What can have happened to an attempt; the value is what the journal stores."""

    PLANNED = "planned"
    SPREAD = "spread"
    ISOLATED = "isolated"
    EDITING = "editing"
    WRITTEN = "written"
    EDITED = "edited"
    JUDGED = "judged"
    TESTED = "tested"
    CHOSEN = "chosen"
    APPROVED = "approved"
    HELD = "held"
    LANDING = "landing"
    OPENED = "opened"  # a request to merge it, which others decide
    WITHDRAWN = "withdrawn"  # no longer to land; git alone knows whether it has
    MOVED = "moved"
    LANDED = "landed"
    REFUSED = "refused"
    STOPPED = "stopped"
    RETURNED = "returned"  # a submission that came to nothing: its caller may submit again
    TRIED = "tried"  # a refused submission: its caller may correct it and submit again
    ADOPTED = "adopted"  # by another machine, which has the edit's commit and nothing else
    RESTARTED = "restarted"  # by another machine, which has nothing of the edit
    CLEANED = "cleaned"
    REFLECTED = "reflected"
    FOLLOWED = "followed"
    ENDED = "ended"


# Events that are only read back, and have no row in the table.
SHOWN, WARNED, CHECKED, MEASURED = "shown", "warned", "checked", "measured"
NOTICED = "noticed"  # somebody was told of it, or could not be
# What another attempt of the group noted of this one: with which commit it may land, and that its
# tests were red on top of what had landed.
STACKED, FOUND_RED = "stacked", "found red"
MISSED = "missed"  # the whole suite found what the affected tests had not


class RefusedBy(StrEnum):
    """Who or what refused an attempt, or stopped it; the value is what the journal stores."""

    EDITOR = "editor"
    EMPTY = "empty"
    POLICY = "policy"
    CONFLICT = "conflict"
    GATE = "gate"
    APPROVAL = "approval"
    EXPIRED = "expired"  # nobody answered in time
    MOVED = "moved"
    CHOICE = "choice"
    CANCELLED = "cancelled"
    CRASHED = "crashed"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is settled when an attempt begins; the next tries of the self-edit carry it on."""

    # Read by pydantic: two fields are stored under shorter keys.
    __pydantic_config__: ClassVar[Mapping[str, object]] = {
        "alias_generator": lambda name: {"try_index": "try", "best_of": "of"}.get(name, name)
    }

    editor: str = ""
    spec: dict[str, object] | None = None
    caller: bool = False
    leader: int = 0
    index: int = 0
    best_of: int = 1
    try_index: int = 0
    tries: int = 1
    moves: int = 0
    cost_limit: float | None = None
    ask: bool = False
    dry_run: bool = False
    branch: str = ""
    base: str = ""  # the branch that it begins from and lands on; empty in old journals: main
    spent: float = 0.0
    feedback: tuple[Feedback, ...] = ()
    signatures: tuple[str, ...] = ()
    attempts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Edited:
    """The recorded change; `left_out` names the first of `left_count` paths that it leaves out."""

    base: str = ""
    head: str = ""
    paths: tuple[str, ...] = ()
    added: int = 0
    removed: int = 0
    left_out: tuple[str, ...] = ()
    left_count: int = 0


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gate saw, and which candidate it saw.

    `failures` are failing tests that pass on the base, as the test runner reported them.
    """

    passed: bool = False
    command: str = ""
    exit_status: int | None = None
    reason_given: str = ""
    output: str = ""
    ran: int = 0
    failing: tuple[str, ...] = ()
    failures: tuple[
        TestResult, ...
    ] = ()  # those that pass on the base, as the runner reported them
    known: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    sandbox: str = ""
    timed_out: bool = False
    seconds: float = 0.0
    cached: bool = False
    environment: bool = False
    judged_by_base: str = ""
    affected: tuple[str, ...] = ()  # the test files that ran, where not all did
    commit: str = ""
    tree: str = ""
    onto: str = ""
    head: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused(GateResult):
    """Why nothing landed; refused by the gate, it holds what the gate saw.

    `final`: no further try can do better.
    """

    by: str = ""
    reason: str = ""
    hint: str = ""
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class Reflected:
    """What was learnt; `signature` is the same for the same failure on another day.

    `strength` of the tests is there where a next try, or the caller, can better them.
    """

    reflection: str = ""
    lesson: str = ""
    signature: str = ""
    failing: tuple[str, ...] = ()
    location: str = ""
    root_cause_file: str = ""
    error: str = ""
    strength: Strength | None = None


class History:
    """One attempt's events, oldest first, with the questions that are asked of them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = tuple(events)
        # What came of an earlier submission says nothing of the next: no approval, no green test.
        # A caller's attempt is written once a submission.
        starts = {Kind.RETURNED, Kind.RESTARTED, *([Kind.WRITTEN] if self._is_callers else [])}
        since = max((n for n, one in enumerate(events) if one.kind in starts), default=-1)
        self._current = tuple(
            one for n, one in enumerate(events) if n >= since or one.kind in _OF_ALL_SUBMISSIONS
        )

    @property
    def _is_callers(self) -> bool:
        facts = self.events[0].data.get("facts") if self.events else None
        return isinstance(facts, dict) and facts.get("caller") is True

    def then(self, kind: str, facts: Facts) -> History:
        """Return the history as it would be with one more event, which nobody has stored."""
        last = self.events[-1]
        event = replace(last, sequence=last.sequence + 1, kind=kind, data=facts)
        return History((*self.events, event))

    @property
    def id(self) -> int:
        """The attempt's id; 0 for an empty history."""
        return self.events[0].attempt if self.events else 0

    @property
    def last(self) -> str:
        """The kind of the newest event that belongs to the lifecycle; empty for none."""
        # The journal adds kinds of its own (relabelled, ...), which change nothing here.
        kinds = (event.kind for event in reversed(self.events))
        return next((kind for kind in kinds if kind in _KINDS), "")

    def has(self, *kinds: str) -> bool:
        """Return whether any of these has happened, since its caller last submitted."""
        return any(event.kind in kinds for event in self._current)

    def count(self, kind: str) -> int:
        """Return how often this has happened, since its caller last submitted."""
        return sum(event.kind == kind for event in self._current)

    def data(self, kind: str) -> Mapping[str, Json]:
        """Return the data of the newest event of this kind; empty when there is none."""
        newest_first = (event.data for event in reversed(self._current) if event.kind == kind)
        return next(newest_first, {})

    def text(self, kind: str, key: str) -> str:
        """Return one text out of the newest event of this kind."""
        value = self.data(kind).get(key)
        return value if isinstance(value, str) else ""

    @cached_property
    def plan(self) -> Plan:
        """What was settled when the attempt began."""
        facts = self.data(Kind.PLANNED).get("facts")
        return read(Plan, facts if isinstance(facts, dict) else {})

    @cached_property
    def report(self) -> EditReport:
        """What the editor reported."""
        return read(EditReport, self.data(Kind.WRITTEN))

    @cached_property
    def edited(self) -> Edited:
        """The recorded change."""
        return read(Edited, self.data(Kind.EDITED))

    @cached_property
    def verdict(self) -> Verdict:
        """The policy's answer, when it let the change pass or left it to a person."""
        return read(Verdict, self.data(Kind.JUDGED))

    @property
    def asks(self) -> bool:
        """Whether the plan, whoever submitted, the policy or main's tests want an approval."""
        kinds = (Kind.WRITTEN, Kind.JUDGED, Kind.TESTED)
        return self.plan.ask or any(self.data(kind).get("ask") is True for kind in kinds)

    @property
    def approved(self) -> bool:
        """Whether a person approved it, or a rule that holds for what was tested last."""
        by_rule = self.text(Kind.APPROVED, "rule")
        return self.has(Kind.APPROVED) and (not by_rule or bool(self.text(Kind.TESTED, "rule")))

    @cached_property
    def refusal(self) -> Refused:
        """Why nothing landed: the refusal, or else what stopped the attempt."""
        return read(Refused, self.data(Kind.REFUSED) or self.data(Kind.STOPPED))

    @cached_property
    def gate(self) -> GateResult:
        """What the gate saw last: a green test, or the refusal that it was."""
        if self.refusal.by == RefusedBy.GATE:
            return self.refusal
        return read(GateResult, self.data(Kind.TESTED))

    @cached_property
    def reflected(self) -> Reflected:
        """What was learnt."""
        return read(Reflected, self.data(Kind.REFLECTED))

    @cached_property
    def strength(self) -> Strength | None:
        """How strong its tests are, where that was measured."""
        asked = self.data(MEASURED)
        return read(Strength, asked) if asked else self.reflected.strength

    @property
    def task(self) -> str:
        """The task in the words in which it was asked."""
        return self.text(Kind.PLANNED, "task")

    @property
    def edit(self) -> str:
        """The self-edit that the attempt belongs to; empty for one that was only logged."""
        return self.text(Kind.PLANNED, "edit")

    @property
    def leader(self) -> int:
        """The attempt that leads this one's round: itself, unless it is one of a best-of-N."""
        return self.plan.leader or self.id

    @property
    def siblings(self) -> tuple[int, ...]:
        """The other attempts of the round that this one leads."""
        return _ids(self.data(Kind.SPREAD).get("attempts"))

    @property
    def next_try(self) -> int:
        """The leader of the try that followed this one; 0 when none did."""
        return next(iter(_ids([self.data(Kind.FOLLOWED).get("attempt")])), 0)

    @property
    def lessons(self) -> tuple[int, ...]:
        """The lessons that the editor was shown."""
        return _ids(self.data(SHOWN).get("lessons"))

    @property
    def worktrees(self) -> tuple[Worktree, ...]:
        """Every worktree the attempt was given, oldest first; the last one is in use."""
        stored = [event.data for event in self.events if event.kind == Kind.ISOLATED]
        return tuple(
            Worktree(
                path=Path(str(data.get("path", ""))),
                branch=str(data.get("branch", "")),
                base=str(data.get("base", "")),
                attempt=str(data.get("name") or self.id),
            )
            for data in stored
        )

    @property
    def next_worktree(self) -> str:
        """The name of the attempt's next worktree: when it began, its id, which one it is."""
        # Derived from stored events alone: asked again after a crash, it is the same name. With
        # the time in it, a repository whose journal was deleted does not meet its old branches.
        began = self.events[0].at if self.events else None
        stamp = f"{began:%Y%m%d-%H%M%S}-" if began else ""
        again = len(self.worktrees)
        return f"{stamp}{self.id}" + (f".{again}" if again else "")

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that was tested last, green."""
        if not self.data(Kind.TESTED):
            return None
        green = read(GateResult, self.data(Kind.TESTED))
        return Candidate(commit=green.commit, tree=green.tree, onto=green.onto, head=green.head)

    @property
    def landing_open(self) -> bool:
        """Whether main may or may not have been moved: the intent is stored, its end is not."""
        order = [event.kind for event in self._current if event.kind in _LANDING]
        return bool(order) and order[-1] in (Kind.LANDING, Kind.OPENED, Kind.WITHDRAWN)

    @property
    def intents(self) -> Mapping[str, Mapping[str, Json]]:
        """Every commit that was to land for this attempt, oldest first, with what is known of it.

        All of them: a push whose answer was lost may be carried out after the next one was made.
        """
        stored = [one.data for one in self.events if one.kind in (Kind.LANDING, STACKED)]
        return {str(data.get("commit")): data for data in stored}

    @property
    def found_red(self) -> Mapping[str, Json]:
        """What the gate saw where a group was red with this attempt and green without it."""
        kinds = [one.kind for one in self._current if one.kind in (Kind.LANDING, FOUND_RED)]
        return self.data(FOUND_RED) if kinds and kinds[-1] == FOUND_RED else {}

    @property
    def settled(self) -> bool:
        """Whether the outcome is final and only tidying is left."""
        return self.has(Kind.LANDED, Kind.HELD, Kind.REFUSED, Kind.STOPPED, Kind.ENDED)

    @property
    def correctable(self) -> bool:
        """Whether the caller can better what was refused, and submit again."""
        refused = self.has(Kind.REFUSED) and not self.has(Kind.STOPPED)
        return refused and self.plan.caller and not self.refusal.final

    @property
    def can_return(self) -> bool:
        """Whether what its caller submitted can go back to them: main has not been touched."""
        submitted = self.plan.caller and self.has(Kind.WRITTEN)
        return submitted and not self.settled and not self.landing_open

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was called off."""
        return self.text(Kind.STOPPED, "by") == RefusedBy.CANCELLED

    @property
    def size(self) -> tuple[int, int, int]:
        """What best-of-N compares: lines, files, then who came first."""
        change = self.edited
        return change.added + change.removed, len(change.paths), self.id


_KINDS = frozenset(Kind)
_OF_ALL_SUBMISSIONS = frozenset({Kind.PLANNED, Kind.SPREAD, Kind.ISOLATED, SHOWN})
_LANDING = frozenset({Kind.LANDING, Kind.OPENED, Kind.WITHDRAWN, Kind.MOVED, Kind.LANDED})


def read(form: type[T], data: Mapping[str, Json]) -> T:
    """Build `form` from stored data; a missing or mistyped value becomes its default.

    A journal outlives the version that wrote it, so nothing that it holds may be an error here.
    """
    from pydantic import ValidationError

    known = dict(data)
    try:
        value: T = _adapter(form).validate_python(known)
    except ValidationError as error:
        for problem in error.errors():
            known.pop(str(problem["loc"][0]), None)
        value = _adapter(form).validate_python(known)
    return value


def facts_of(value: object) -> Facts:
    """Return the data under which `value` is stored."""
    facts: Facts = _adapter(type(value)).dump_python(value, mode="json", by_alias=True)
    return facts


def _adapter(form: type) -> TypeAdapter[Any]:
    if form not in _adapters:
        from pydantic import TypeAdapter  # here, since importing self_coding must not load it

        _adapters[form] = TypeAdapter(form)
    return _adapters[form]


_adapters: dict[type, TypeAdapter[Any]] = {}


def _ids(value: Json) -> tuple[int, ...]:
    return tuple(one for one in value if isinstance(one, int)) if isinstance(value, list) else ()
