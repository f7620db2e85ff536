"""What the page of one attempt shows: gathered from its events, its receipt, and its like."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise

from self_coding.app import App
from self_coding.dashboard import diffs
from self_coding.dashboard.texts import within
from self_coding.errors import GitSafetyError, JournalError, SelfCodingError
from self_coding.self_edit import views
from self_coding.self_edit.history import CHECKED, GateResult, History, Kind, Refused
from self_coding.values.attempts import (
    AttemptLine,
    Event,
    ModificationAttempt,
    SimilarAttempt,
    editor_output,
)
from self_coding.values.edits import Waiting
from self_coding.values.repository import UndoPlan
from self_coding.values.verdicts import Finding, Receipt

_ASKED = 2_000  # characters of a task that its like are looked for by
_EVENTS = 80  # of a timeline; an attempt that was submitted a hundred times has more


@dataclass(frozen=True)
class Moment:
    """One line of the timeline: what happened, how long after the start, and a word on it."""

    event: Event
    after: str
    told: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class AttemptPage:
    """One attempt, as its page shows it."""

    line: AttemptLine
    attempt: ModificationAttempt
    waiting: Waiting | None
    moments: list[Moment]
    gate: GateResult
    refusal: Refused
    findings: tuple[Finding, ...]
    files: list[diffs.FileDiff]
    editor_said: str
    lesson: str
    similar: list[SimilarAttempt]
    receipt: Receipt | None
    undo: UndoPlan | None
    is_undone: bool
    checked: str

    @property
    def bars(self) -> list[tuple[float, float, str]]:
        """Where each outcome is drawn, of a thousand: start, width, look."""
        total = sum(count for _, count, _ in self.tests) or 1
        # What is one of thousands is still seen.
        widths = [max(8.0, round(1000 * count / total, 1)) for _, count, _ in self.tests]
        starts = [0.0, *accumulate(widths)]
        return [
            (start, max(1.0, width - 3), look)
            for start, width, (_, _, look) in zip(starts, widths, self.tests, strict=False)
        ]

    @property
    def tests(self) -> list[tuple[str, int, str]]:
        """The tests by outcome: name, count, and how it looks."""
        if self.receipt and self.receipt.outcomes:
            looks = {"passed": "good", "failed": "bad", "error": "bad", "xfailed": "dim"}
            return [(name, n, looks.get(name, "dim")) for name, n in self.receipt.outcomes]
        gate, red = self.gate, len(self.gate.failing)
        counts = (
            ("passed", gate.ran - red - len(gate.flaky), "good"),
            ("failed", red, "bad"),
            ("failed before as well", len(set(gate.known) - set(gate.failing)), "dim"),
            ("flaky", len(gate.flaky), "dim"),
        )
        return [(name, n, look) for name, n, look in counts if n > 0] if gate.ran else []


async def gather(app: App, number: int, undone: Collection[int]) -> AttemptPage:
    """Return all that is known of one attempt; `undone` are landings that were taken back.

    Raises:
        JournalError: there is no such attempt.
    """
    found, lines = await app.journal.get_by_id(number), await app.journal.lines(ids=[number])
    if found is None or not lines:
        raise JournalError(f"there is no attempt {number}", hint="`attempts` lists them")
    events = await app.journal.events(number)
    history, is_open = History(events), lines[0].ended is None
    waiting = [one for one in await app.edit.waiting() if one.attempt == number] if is_open else []
    diff = found.diff
    if is_open and not diff and history.edited.head:  # it is stored only when the attempt ends
        with suppress(SelfCodingError):
            diff = (await app.git.change(history.edited.base, history.edited.head)).diff
    landed = history.data(Kind.LANDED)
    receipt = undo = None
    if landed:
        at = [event.at for event in events if event.kind == Kind.LANDED][-1]
        receipt = await app.git.receipt(str(landed.get("new")), at)
        with suppress(GitSafetyError):
            undo = await app.git.plan_undo(attempt=str(number))
    similar = await app.journal.similar_attempts(found.task_description[:_ASKED], limit=6)
    return AttemptPage(
        line=lines[0],
        attempt=found,
        waiting=next(iter(waiting), None),
        moments=_moments(events),
        gate=history.gate,
        refusal=history.refusal,
        findings=history.refusal.findings or views.asked_of_person(history),
        files=diffs.files(diff),
        editor_said=editor_output(events),
        lesson=history.reflected.lesson,
        similar=[one for one in similar if one.attempt.id != number][:5],
        receipt=receipt,
        undo=undo if undo and undo.operation.kind == "land" else None,
        is_undone=number in undone,
        checked=views.checked(history).message if history.data(CHECKED) and is_open else "",
    )


def _moments(events: list[Event]) -> list[Moment]:
    """Return the timeline; of a very long one its beginning and its end."""
    if len(events) > _EVENTS:
        events = [*events[: _EVENTS // 4], *events[-3 * _EVENTS // 4 :]]
    began = events[0].at if events else None
    lasted = [(b.at - a.at).total_seconds() for a, b in pairwise(events)]
    found = []
    for event, seconds in zip(events, [*lasted, 0.0], strict=False):
        told = _told(event)
        assert began is not None
        found.append(Moment(event, within(began, event.at), told, seconds))
    return found


def _told(event: Event) -> str:
    """Return a word on an event; of those that the lifecycle knows, its own."""
    ours = {"returned": "reason", "relabelled": "failure_analysis", "warned": "text"}
    if event.kind == "approved":
        return f"by {event.data.get('person') or 'a person'}"
    if event.kind == "bypassed":
        return f"main was moved past the guard to {event.data.get('tip')}"
    if event.kind == Kind.LANDED:
        return str(event.data.get("new", ""))[:12]
    if event.kind in ours:
        return str(event.data.get(ours[event.kind], ""))
    return views.event_line(event.kind, dict(event.data))
