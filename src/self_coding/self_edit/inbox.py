"""Pure: what needs a person now, each with the one next action, and what was decided before.

The command, the tool and the dashboard all show this. It reads values and judges nothing: who
waits for whom is told by the attempts themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from self_coding.self_edit.history import RefusedBy
from self_coding.values.attempts import AttemptLine, Event
from self_coding.values.edits import Waiting
from self_coding.values.results import Decision, InboxItem, ReportedError, Status

#: Kinds of events that the inbox is made of, beside the attempts that have not ended.
NOTED = ("approved", "refused", "bypassed")
SOON = timedelta(days=2)  # an edit that expires within this is told before others of its kind

#: In this order: what stops everybody, what lands or dies by a person's word, what only waits.
_ORDER = ("red main", "bypass", "environment", "interrupted", "approval", "expiring", "error",
          "refused", "open", "review", "running")  # fmt: skip
_ERRORS = 20  # reported errors that are offered at one time
_KINDS = {
    "approval": "approval",
    "review": "review",
    "resume": "interrupted",
    "process": "running",
}
_NEXT = {
    "approval": "land_edit",
    "interrupted": "wait_edit",
    "review": "resume",
    "running": "wait_edit",
    "expiring": "submit_edit",
    "refused": "submit_edit",
    "open": "submit_edit",
}


def expiry(since: datetime, days: float) -> datetime | None:
    """Return when something ends that may wait for so many days; None where dates end earlier."""
    try:
        return since + timedelta(days=days)
    except OverflowError:
        return None


def needs(
    status: Status,
    newest: Sequence[AttemptLine],
    noted: Sequence[Event],
    now: datetime,
    errors: Sequence[InboxItem] = (),
) -> list[InboxItem]:
    """Return what needs a person, most urgent first.

    Args:
        status: how the repository stands.
        newest: the newest attempts, newest first.
        noted: events of the kinds `NOTED`, newest first.
        now: this moment.
        errors: the reported errors that are `offered`.
    """
    items = [*errors]
    if status.failing:
        named = ", ".join(status.failing[:3])
        more = f" and {len(status.failing) - 3} more" if len(status.failing) > 3 else ""
        count = f"{len(status.failing)} test{'' if len(status.failing) == 1 else 's'}"
        items.append(
            InboxItem(
                kind="red main",
                title=f"{status.main_branch} is red: {count} failed when last run",
                why=f"{named}{more}",
                action="self_edit",
            )
        )
    ended = [one for one in newest if one.ended is not None]
    landed = [one.id for one in ended if one.commit]
    bypassed = next((one for one in noted if one.kind == "bypassed"), None)
    # Only while nothing has landed since: what lands later was tested on top of it.
    if bypassed and (not landed or landed[0] <= bypassed.attempt):
        commits = bypassed.data.get("commits")
        count = f"{len(commits) if isinstance(commits, list) else 1}"
        tip = str(bypassed.data.get("tip"))[:12]
        title = f"{status.main_branch} was moved past the guard: {count} untested, up to {tip}"
        items.append(
            InboxItem(kind="bypass", title=title, attempt=bypassed.attempt, since=bypassed.at,
                      action="verify")
        )  # fmt: skip
    if ended and ended[0].stage == "environment":
        items.append(
            InboxItem(
                kind="environment",
                title="the tests cannot run here",
                why=ended[0].why,
                attempt=ended[0].id,
                since=ended[0].ended,
                action="doctor",
            )
        )
    items += [_open(one, now) for one in status.waiting]
    return sorted(items, key=lambda one: _ORDER.index(one.kind))


def offered(
    errors: Sequence[ReportedError], told: Sequence[AttemptLine], waiting: Sequence[Waiting]
) -> list[InboxItem]:
    """Return the errors that wait for somebody to take them up, newest first.

    Not those that were dropped, that an attempt is at, or that none has seen since one landed.
    """
    busy = " ".join(one.task for one in waiting)
    items = []
    for one in errors:
        ended = [line.ended for line in told if one.id in line.task and line.ended]
        if one.dropped or one.id in busy or (ended and max(ended) >= one.last):
            continue
        back = "it is back after a fix; " if ended else ""
        often = "once" if one.count == 1 else f"{one.count} times"
        items.append(
            InboxItem(
                kind="error",
                title=one.task,
                why=f"{back}seen {often}, last at {one.last:%Y-%m-%d %H:%M} UTC",
                since=one.first,
                action="self_edit",
                error=one.id,
            )
        )
    return items[:_ERRORS]


def _open(one: Waiting, now: datetime) -> InboxItem:
    kind = _KINDS.get(one.waiting) or ("refused" if one.why else "open")
    if kind in ("refused", "open") and one.expires and one.expires - now < SOON:
        kind = "expiring"
    return InboxItem(
        kind=kind,
        title=one.task,
        why=one.progress or one.why or "; ".join(filter(None, (one.change, *one.asks))),
        attempt=one.attempt,
        since=one.rests or one.since,
        expires=one.expires,
        path=one.path,
        action=_NEXT[kind],
    )


def decisions(noted: Sequence[Event], lines: Sequence[AttemptLine]) -> list[Decision]:
    """Return what was approved, refused by a person or let expire, in the order of the events."""
    by_id = {one.id: one for one in lines}
    words = {RefusedBy.APPROVAL: "refused", RefusedBy.EXPIRED: "expired"}
    decided = []
    for event in noted:
        by = str(event.data.get("by", ""))
        word = "approved" if event.kind == "approved" else words.get(by)  # type: ignore[call-overload]
        line = by_id.get(event.attempt)
        if word is None or line is None:
            continue
        shown = event.data.get("shown")
        decided.append(
            Decision(
                attempt=event.attempt,
                task=line.task,
                decision=word,
                person=str(event.data.get("person", "")),
                at=event.at,
                why="" if word == "approved" else str(event.data.get("reason", "")),
                stage=line.stage,
                shown=str(shown.get("change", "")) if isinstance(shown, dict) else "",
            )
        )
    return decided
