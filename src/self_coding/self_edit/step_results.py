"""Pure: what a step of an attempt amounts to: the event to append."""

from __future__ import annotations

from typing import NamedTuple

from self_coding.self_edit import views
from self_coding.self_edit.history import Facts, History, Kind, RefusedBy


class StepResult(NamedTuple):
    """The event that a step amounts to."""

    kind: Kind
    facts: Facts


def refused(
    by: str, reason: str, *, hint: str = "", final: bool = False, more: Facts | None = None
) -> StepResult:
    """Return the event of an attempt that ends without landing, and why."""
    why: Facts = {"by": by, "reason": reason, "hint": hint, "final": final}
    return StepResult(Kind.REFUSED, {**(more or {}), **why})


def answered(attempt: History, answer: bool | str, person: str) -> StepResult:
    """Return what a person's answer amounts to, and to what; a no with a reason allows another
    try."""
    who: Facts = {"person": person, "shown": views.shown(attempt)}
    if answer is True:
        return StepResult(Kind.APPROVED, who)
    why = answer.strip() if isinstance(answer, str) else ""
    return refused(RefusedBy.APPROVAL, why or "it was not approved", final=not why, more=who)
