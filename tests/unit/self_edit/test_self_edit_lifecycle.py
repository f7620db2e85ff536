"""The transition table: which step follows which history."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from self_coding.self_edit.history import History, Kind
from self_coding.self_edit.lifecycle import _TABLE, Step, decide, why_no_more
from self_coding.values.attempts import Event, Json

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Told = str | tuple[str, dict[str, Json]]


def history(*told: Told, attempt: int = 1, **plan: Json) -> History:
    """A history that begins with `planned` and goes on as told."""
    first: Told = ("planned", {"task": "t", "edit": "e", "facts": {"of": 1, "tries": 1, **plan}})
    events = []
    for number, one in enumerate((first, *told), start=1):
        kind, data = (one, {}) if isinstance(one, str) else one
        events.append(Event(attempt=attempt, sequence=number, kind=kind, at=AT, data=data))
    return History(events)


GREEN = ("isolated", "editing", "written", "edited", "judged", "tested")


@pytest.mark.parametrize(
    ("told", "step"),
    [
        ((), Step.ISOLATE),
        (("isolated",), Step.EDIT),
        (("isolated", "shown"), Step.EDIT),
        (("isolated", "editing"), Step.ISOLATE),
        (GREEN[:3], Step.RECORD),
        (GREEN[:4], Step.JUDGE),
        (GREEN[:5], Step.TEST),
        (GREEN, Step.INTEND),
        ((*GREEN, "approved"), Step.INTEND),
        ((*GREEN, "landing"), Step.SWAP),
        ((*GREEN, "landing", "moved"), Step.GIVE_UP),
        ((*GREEN, "landing", "landed"), Step.CLEAN),
        ((*GREEN, "landing", "stopped"), Step.SETTLE),
        ((*GREEN, "stopped"), Step.CLEAN),
        (("refused",), Step.CLEAN),
        ((*GREEN, "returned"), Step.SUBMIT),
        (("refused", "cleaned"), Step.REFLECT),
        (("refused", "cleaned", "reflected"), Step.END),
        (("refused", "cleaned", "reflected", "followed"), Step.END),
        (("refused", "cleaned", "reflected", "ended"), None),
        (("refused", "cleaned", "reflected", "ended", "relabelled"), None),
    ],
)
def test_what_follows(told: tuple[str, ...], step: Step | None) -> None:
    """Each event is followed by the step that the table names; foreign events change nothing."""
    assert decide(history(*told)) is step


def test_every_kind_of_event_has_its_row() -> None:
    """No history can be stored that the table has no answer for."""
    assert set(_TABLE) == set(Kind)


def test_a_caller_is_waited_for() -> None:
    """Where the caller edits, nothing happens between isolation and its submission."""
    assert decide(history("isolated", caller=True)) is Step.SUBMIT


@pytest.mark.parametrize(
    ("plan", "judged", "step"),
    [
        ({"ask": True}, {}, Step.APPROVE),
        ({}, {"ask": True}, Step.APPROVE),
        ({"dry_run": True, "ask": True}, {}, Step.HOLD),
        ({}, {}, Step.INTEND),
    ],
)
def test_green_is_asked_about_held_or_landed(
    plan: dict[str, Json], judged: dict[str, Json], step: Step
) -> None:
    """A green attempt lands unless somebody wants to be asked, or it is a dry run."""
    told = ("isolated", "written", "edited", ("judged", judged), "tested")
    assert decide(history(*told, **plan)) is step


def test_an_approval_outlives_a_moved_main() -> None:
    """Who approved a change is not asked again because main has moved."""
    told = (*GREEN, "approved", "landing", "moved", "tested")
    assert decide(history(*told, ask=True, moves=3)) is Step.INTEND


def test_nothing_of_a_returned_submission_counts_for_the_next() -> None:
    """An approval, a test or a moved main of one submission says nothing of the one after it."""
    first = (*GREEN, "approved", "landing", "moved", "returned")
    again = history(*first, "written", "edited", "judged", "tested", ask=True, caller=True)
    assert decide(again) is Step.APPROVE
    assert (again.count(Kind.MOVED), again.landing_open, len(again.worktrees)) == (0, False, 1)
    assert history(*first, "written", caller=True).candidate is None


def test_moves_are_bounded() -> None:
    """A candidate is made anew as often as the plan says, and no more."""
    assert decide(history(*GREEN, "moved", moves=1)) is Step.TEST
    assert decide(history(*GREEN, "moved", "tested", "moved", moves=1)) is Step.GIVE_UP


def sized(attempt: int, lines: int, *more: Told, **plan: Json) -> History:
    edited: Told = ("edited", {"added": lines, "paths": ["a"]})
    told = ("isolated", "written", edited, "judged", "tested", *more)
    return history(*told, attempt=attempt, of=2, leader=1 if attempt > 1 else 0, **plan)


def test_the_smallest_green_one_is_chosen() -> None:
    """Of several green attempts the one with the fewest lines lands; the others wait for it."""
    small, large = sized(2, 3), sized(1, 5)
    assert decide(small, [large]) is Step.CHOOSE
    assert decide(large, [small]) is Step.WAIT
    chosen = sized(2, 3, "chosen")
    assert decide(chosen, [large]) is Step.INTEND
    assert decide(large, [chosen]) is Step.WAIT
    assert decide(large, [sized(2, 3, "chosen", "landed")]) is Step.YIELD


def test_the_next_smallest_follows_a_failure() -> None:
    """When the chosen one cannot land after all, the next smallest is chosen."""
    failed = sized(2, 3, "chosen", ("refused", {"by": "moved"}))
    assert decide(sized(1, 5), [failed]) is Step.CHOOSE


def test_the_choice_waits_for_all() -> None:
    """Nothing is chosen while another attempt of the round is still at work."""
    working = history("isolated", attempt=2, of=2, leader=1)
    assert decide(sized(1, 5), [working]) is Step.WAIT
    assert decide(sized(1, 5), []) is Step.WAIT


def test_a_no_to_one_is_a_no_to_the_round() -> None:
    """When a person refuses the chosen one, the others are not offered in its place."""
    refused = sized(2, 3, "chosen", ("refused", {"by": "approval", "final": True}))
    assert decide(sized(1, 5), [refused]) is Step.YIELD


def test_calling_off_one_calls_off_the_round() -> None:
    """Once an attempt was cancelled, the ones beside it go no further."""
    cancelled = history(("stopped", {"by": "cancelled"}), attempt=2, of=2, leader=1)
    assert decide(sized(1, 5), [cancelled]) is Step.YIELD
    assert decide(sized(1, 5, "chosen", "landing"), [cancelled]) is Step.SWAP


def test_the_leader_begins_the_round_and_ends_it() -> None:
    """The leader begins the others first, and ends last, since it begins the next try."""
    assert decide(history(of=2)) is Step.FAN_OUT
    assert decide(history(of=2, leader=1, attempt=2)) is Step.ISOLATE
    over = history("refused", "cleaned", "reflected", of=2, tries=2)
    other = history("refused", "cleaned", attempt=2, of=2, leader=1)
    ended = history("refused", "ended", attempt=2, of=2, leader=1)
    assert decide(over, [other]) is Step.WAIT
    assert decide(over, [ended]) is Step.NEXT_TRY


def over(by: str, signature: str = "", *, final: bool = False, **plan: Json) -> History:
    refused: Told = ("refused", {"by": by, "final": final, "reason": "because"})
    reflected: Told = ("reflected", {"signature": signature})
    return history("isolated", refused, "cleaned", reflected, **plan)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (over("gate", tries=2), ""),
        (over("gate", tries=1), "no tries left"),
        (over("gate", tries=3, **{"try": 2}), "no tries left"),
        (over("gate", "x", tries=9, signatures=["x"]), "the same failure came twice"),
        (over("gate", "y", tries=9, signatures=["x"]), ""),
        (over("gate", tries=9, cost_limit=2.0, spent=2.0), "the budget of 2 is spent"),
        (over("gate", tries=9, cost_limit=2.0, spent=1.5), ""),
        (over("approval", tries=9, final=True), "because"),
        (over("approval", tries=9), ""),
        (over("moved", tries=9), "because"),
    ],
)
def test_when_to_stop_trying(one: History, why: str) -> None:
    """A further try follows a failure until tries, budget, or a person or repetition end it."""
    assert why_no_more(one) == why


def test_no_try_follows_a_cancelled_one() -> None:
    """A self-edit that was called off begins nothing more, however it stood."""
    told = ("refused", "cleaned", ("stopped", {"by": "cancelled"}), "cleaned", "reflected")
    assert decide(history(*told, tries=5)) is Step.END


def test_worktrees_are_named_after_time_and_attempt() -> None:
    """A worktree's name derives from the attempt alone, and a second one has its own."""
    assert history(attempt=7).next_worktree == "20260102-030405-7"
    assert history("isolated", attempt=7).next_worktree == "20260102-030405-7.1"


def test_an_empty_history_tells_nothing() -> None:
    """Asking about an attempt that is not there is no error."""
    empty = History([])
    assert (empty.id, empty.last, empty.task, empty.edit) == (0, "", "", "")
    assert empty.candidate is None
    assert not empty.settled
