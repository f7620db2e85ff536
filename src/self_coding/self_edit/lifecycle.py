"""Pure: the transition table of a self-edit. `decide(history)` names the next step.

The runner performs the step it names, appends the step's event and asks again; recovery asks
the same question of a stored history. Nothing here has an effect, reads a clock or remembers.

What stands between two events may have happened or not when a process died there: so each step
finds its own work done, and the two that cannot (an edit, a landing) store their intent first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from self_coding.self_edit.history import By, History, Kind, flag, number, text, texts
from self_coding.values.attempts import Event


class Step(StrEnum):
    """The next action on an attempt. The second group waits for somebody else."""

    SPREAD = "spread"  # begin the other attempts of a best-of-N round
    ISOLATE = "isolate"
    EDIT = "edit"
    RECORD = "record"
    JUDGE = "judge"
    TEST = "test"
    CHOOSE = "choose"  # this is the smallest green one
    GIVE_WAY = "give way"  # another one was chosen, or the self-edit was called off
    APPROVE = "approve"
    HOLD = "hold"  # a dry run ends here
    INTEND = "intend"  # store what is about to land
    SWAP = "swap"  # move main
    SETTLE = "settle"  # stopped in the middle of landing: did it land?
    GIVE_UP = "give up"  # main keeps moving
    CLEAN = "clean"
    REFLECT = "reflect"
    FOLLOW = "follow"  # begin the next try
    END = "end"

    SUBMIT = "submit"  # the caller makes the edit
    WAIT = "wait"  # the other attempts of the round come first


def decide(history: Sequence[Event], others: Sequence[Sequence[Event]] = ()) -> Step | None:
    """The next step of the attempt with this history; None when it has ended.

    Args:
        history: the attempt's events, oldest first.
        others: the histories of the attempts that stand beside it in a best-of-N round.
    """
    mine = History(history)
    beside = [History(other) for other in others]
    if not mine.settled and not mine.landing_open and any(other.cancelled for other in beside):
        return Step.GIVE_WAY
    rule = _TABLE[mine.last]
    return rule(mine, beside) if callable(rule) else rule


def why_no_more(mine: History, beside: Sequence[History] = ()) -> str:
    """Why no further try follows this round, in words; empty when one does."""
    round_ = (mine, *beside)
    if any(one.has(Kind.LANDED, Kind.HELD) for one in round_):
        return "it landed"
    stop = next((one for one in round_ if _final(one)), None)
    if stop is not None:
        return text(stop.refusal, "reason") or text(stop.refusal, "by")
    plan = mine.plan
    if mine.tried + 1 >= number(plan, "tries"):
        return "no tries left"
    budget = plan.get("cost_limit")
    if isinstance(budget, int | float) and spent(mine, beside) >= budget:
        return f"the budget of {budget:g} is spent"
    known = texts(plan, "signatures")
    if all(one.signature and one.signature in known for one in round_):
        return "the same failure came twice"
    return ""


def spent(mine: History, beside: Sequence[History] = ()) -> float:
    """What all tries up to and with this round have cost."""
    before = mine.plan.get("spent")
    carried = float(before) if isinstance(before, int | float) else 0.0
    return carried + sum(one.cost for one in (mine, *beside))


def _final(one: History) -> bool:
    """Whether this end is one that no further try can better."""
    final = flag(one.refusal, "final") or text(one.refusal, "by") == By.MOVED
    return final or one.has(Kind.STOPPED)


def _planned(mine: History, beside: Sequence[History]) -> Step:
    leads = mine.leader == mine.attempt
    return Step.SPREAD if leads and mine.of > 1 else Step.ISOLATE


def _isolated(mine: History, beside: Sequence[History]) -> Step:
    return Step.SUBMIT if flag(mine.plan, "caller") else Step.EDIT


def _tested(mine: History, beside: Sequence[History]) -> Step:
    if mine.of == 1 or mine.has(Kind.CHOSEN):
        return _green(mine, beside)
    if any(_decided(other) for other in beside):
        return Step.GIVE_WAY
    if len(beside) + 1 < mine.of or not all(_at_rest(other) for other in beside):
        return Step.WAIT
    waiting = [other for other in beside if not other.settled]
    smallest = min([mine, *waiting], key=lambda one: one.size)
    return Step.CHOOSE if smallest is mine else Step.WAIT


def _decided(other: History) -> bool:
    """Whether the round is decided by this one: it landed, or a person said no to it."""
    return other.has(Kind.LANDED, Kind.HELD) or text(other.refusal, "by") == By.APPROVAL


def _at_rest(other: History) -> bool:
    """Whether this one is out of the race, or waits green for the choice."""
    chosen = other.has(Kind.CHOSEN)
    return other.settled or (other.last == Kind.TESTED and not chosen)


def _green(mine: History, beside: Sequence[History]) -> Step:
    if flag(mine.plan, "dry_run"):
        return Step.HOLD
    asks = any(flag(told, "ask") for told in (mine.plan, *map(mine.data, _ASKING)))
    return Step.APPROVE if asks and not mine.has(Kind.APPROVED) else Step.INTEND


_ASKING = (Kind.WRITTEN, Kind.JUDGED)  # who submits may ask, and so may the policy


def _moved(mine: History, beside: Sequence[History]) -> Step:
    return Step.GIVE_UP if mine.count(Kind.MOVED) > number(mine.plan, "moves") else Step.TEST


def _stopped(mine: History, beside: Sequence[History]) -> Step:
    return Step.SETTLE if mine.landing_open else Step.CLEAN


def _reflected(mine: History, beside: Sequence[History]) -> Step:
    if mine.leader != mine.attempt or mine.has(Kind.LANDED, Kind.HELD):
        return Step.END
    if not all(other.has(Kind.ENDED) for other in beside):
        return Step.WAIT
    return Step.END if why_no_more(mine, beside) else Step.FOLLOW


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
    Kind.LANDING: Step.SWAP,
    Kind.MOVED: _moved,
    Kind.LANDED: Step.CLEAN,
    Kind.HELD: Step.CLEAN,
    Kind.REFUSED: Step.CLEAN,
    Kind.STOPPED: _stopped,
    Kind.CLEANED: Step.REFLECT,
    Kind.REFLECTED: _reflected,
    Kind.FOLLOWED: Step.END,
    Kind.ENDED: None,
}
