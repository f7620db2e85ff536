"""Pure: the transition table of a self-edit. `decide(attempt)` names the next step.

The runner performs the step it names, appends the step's event and asks again; recovery asks
the same question of a stored history. Nothing here has an effect, reads a clock or remembers.

A process may die between any two events, before or after the effect of the step between them. So
each step recognises its own finished work, and the two that cannot (an edit, a landing) store
their intent first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from self_coding.self_edit.history import History, Kind, RefusedBy


class Step(StrEnum):
    """The next action on an attempt. The second group waits for another party."""

    FAN_OUT = "fan out"  # begin the other attempts of a best-of-N round
    ISOLATE = "isolate"
    EDIT = "edit"
    RECORD = "record"
    JUDGE = "judge"
    TEST = "test"
    CHOOSE = "choose"  # this is the smallest green one
    YIELD = "yield"  # another one was chosen, or the self-edit was called off
    APPROVE = "approve"
    ALLOW = "allow"  # a rule of the policy approves
    HOLD = "hold"  # a dry run ends here
    INTEND = "intend"  # store what is about to land
    SWAP = "swap"  # move main
    SETTLE = "settle"  # called off in the middle of landing: did it land?
    GIVE_UP = "give up"  # main keeps moving
    KEEP = "keep"  # a refused edit stays with its caller, to be corrected
    CLEAN = "clean"
    REFLECT = "reflect"
    NEXT_TRY = "next try"
    END = "end"

    SUBMIT = "submit"  # the caller makes the edit
    FOLLOW = "follow"  # others merge the request, or close it
    WAIT = "wait"  # the other attempts of the round come first


def decide(attempt: History, siblings: Sequence[History] = ()) -> Step | None:
    """Return the next step of the attempt; None when it has ended."""
    # A cancelled sibling cancels the round, but not what may have moved main already: whether it
    # landed must be found out and recorded.
    called_off = any(one.cancelled for one in siblings)
    if called_off and not attempt.settled and not attempt.landing_open:
        return Step.YIELD
    rule = _TABLE[attempt.last]
    return rule(attempt, siblings) if callable(rule) else rule


def why_no_more(attempt: History, siblings: Sequence[History] = ()) -> str:
    """Return why no further try follows this round; empty when one does."""
    round_ = (attempt, *siblings)
    if any(one.has(Kind.LANDED, Kind.HELD) for one in round_):
        return "it landed"
    for one in round_:
        if one.refusal.final or one.refusal.by == RefusedBy.MOVED or one.has(Kind.STOPPED):
            return one.refusal.reason or one.refusal.by
    plan = attempt.plan
    if plan.try_index + 1 >= plan.tries:
        return "no tries left"
    if plan.cost_limit is not None and spent(attempt, siblings) >= plan.cost_limit:
        return f"the budget of {plan.cost_limit:g} is spent"
    # An editor that fails in the same way twice would do so a third time.
    marks = [one.reflected.signature for one in round_]
    if all(mark and mark in plan.signatures for mark in marks):
        return "the same failure came twice"
    return ""


def spent(attempt: History, siblings: Sequence[History] = ()) -> float:
    """Return what all tries up to and with this round have cost, in the editor's currency."""
    return attempt.plan.spent + sum(one.report.cost or 0.0 for one in (attempt, *siblings))


def _planned(attempt: History, siblings: Sequence[History]) -> Step:
    leads = attempt.leader == attempt.id
    return Step.FAN_OUT if leads and attempt.plan.best_of > 1 else Step.ISOLATE


def _isolated(attempt: History, siblings: Sequence[History]) -> Step:
    return Step.SUBMIT if attempt.plan.caller else Step.EDIT


def _tested(attempt: History, siblings: Sequence[History]) -> Step:
    if attempt.plan.best_of <= 1 or attempt.has(Kind.CHOSEN):
        return _green(attempt, siblings)
    # The round is decided when one of it landed, or a person said no to one.
    decided = (one.has(Kind.LANDED, Kind.HELD) for one in siblings)
    declined = (one.refusal.by in _DECLINED for one in siblings)
    if any(decided) or any(declined):
        return Step.YIELD
    # Choose when all others are out of the race, or wait green for the choice as well.
    green = [one for one in siblings if one.last == Kind.TESTED and not one.has(Kind.CHOSEN)]
    at_rest = all(one.settled or one in green for one in siblings)
    if not at_rest or len(siblings) + 1 < attempt.plan.best_of:
        return Step.WAIT
    running = [attempt, *(one for one in siblings if not one.settled)]
    # The same answer in every process of the round, since sizes are stored: nobody is asked.
    return Step.CHOOSE if min(running, key=lambda one: one.size) is attempt else Step.WAIT


_DECLINED = (RefusedBy.APPROVAL, RefusedBy.EXPIRED)


def _green(attempt: History, siblings: Sequence[History]) -> Step:
    if attempt.plan.dry_run:
        return Step.HOLD
    if not attempt.asks or attempt.approved:
        return Step.INTEND
    return Step.ALLOW if attempt.text(Kind.TESTED, "rule") else Step.APPROVE


def _moved(attempt: History, siblings: Sequence[History]) -> Step:
    return Step.GIVE_UP if attempt.count(Kind.MOVED) > attempt.plan.moves else Step.TEST


def _stopped(attempt: History, siblings: Sequence[History]) -> Step:
    # Between the intent to land and its end, git alone knows whether main moved.
    return Step.SETTLE if attempt.landing_open else Step.CLEAN


def _refused(attempt: History, siblings: Sequence[History]) -> Step:
    return Step.REFLECT if attempt.correctable else Step.CLEAN


def _reflected(attempt: History, siblings: Sequence[History]) -> Step:
    if attempt.correctable:
        return Step.KEEP
    if attempt.leader != attempt.id or attempt.has(Kind.LANDED, Kind.HELD):
        return Step.END
    # A leader without success ends last, since the next try is told about the whole round.
    if not all(one.has(Kind.ENDED) for one in siblings):
        return Step.WAIT
    return Step.END if why_no_more(attempt, siblings) else Step.NEXT_TRY


_Rule = Callable[[History, Sequence[History]], Step]

_TABLE: dict[str, Step | _Rule | None] = {
    Kind.PLANNED: _planned,
    Kind.SPREAD: Step.ISOLATE,
    Kind.ISOLATED: _isolated,
    Kind.EDITING: Step.ISOLATE,  # died while editing: a fresh worktree, the edit anew
    Kind.WRITTEN: Step.RECORD,
    Kind.EDITED: Step.JUDGE,
    Kind.JUDGED: Step.TEST,
    Kind.TESTED: _tested,
    Kind.CHOSEN: _green,
    Kind.APPROVED: Step.INTEND,
    # Done again after a crash: the swap compares, so a landing that happened is found as done.
    Kind.LANDING: Step.SWAP,
    Kind.OPENED: Step.FOLLOW,
    Kind.WITHDRAWN: Step.SETTLE,
    Kind.MOVED: _moved,
    Kind.LANDED: Step.CLEAN,
    Kind.HELD: Step.CLEAN,
    Kind.REFUSED: _refused,
    Kind.STOPPED: _stopped,
    Kind.RETURNED: Step.SUBMIT,
    Kind.TRIED: Step.SUBMIT,
    Kind.ADOPTED: Step.JUDGE,
    Kind.RESTARTED: Step.ISOLATE,
    Kind.CLEANED: Step.REFLECT,
    Kind.REFLECTED: _reflected,
    Kind.FOLLOWED: Step.END,
    Kind.ENDED: None,
}
