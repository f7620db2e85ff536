"""The inbox: what needs a person, in which order, with which next step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from self_coding import open_app
from self_coding.operations import OPERATIONS
from self_coding.self_edit.inbox import decisions, expiry, needs
from self_coding.testing import ScriptedEditor, sample_repo
from self_coding.values.attempts import AttemptLine, Event
from self_coding.values.edits import Waiting
from self_coding.values.results import Status

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def _waits(attempt: int, waiting: str, why: str = "", days: float | None = None) -> Waiting:
    until = None if days is None else NOW + timedelta(days=days)
    return Waiting(
        attempt=attempt, task=f"task {attempt}", since=NOW, waiting=waiting, why=why, expires=until
    )


def _status(*waiting: Waiting, failing: tuple[str, ...] = ()) -> Status:
    return Status(
        repository="r", main_branch="main", commit="c", failing=[*failing], waiting=[*waiting]
    )


def test_the_most_urgent_comes_first() -> None:
    """A red main, then what a crash left, approvals, what expires, what was refused, the rest."""
    waiting = (
        _waits(1, "submit", days=9),
        _waits(2, "submit", why="red", days=9),
        _waits(3, "submit", days=1),
        _waits(4, "approval", days=1),
        _waits(5, "resume"),
        _waits(6, "process"),
    )
    items = needs(_status(*waiting, failing=("t::a", "t::b")), [], [], NOW)
    assert [(one.kind, one.attempt, one.action) for one in items] == [
        ("red main", None, "self_edit"),
        ("interrupted", 5, "wait_edit"),
        ("approval", 4, "land_edit"),
        ("expiring", 3, "submit_edit"),
        ("refused", 2, "submit_edit"),
        ("open", 1, "submit_edit"),
        ("running", 6, "wait_edit"),
    ]
    assert "2 tests failed" in items[0].title
    assert all(one.action in OPERATIONS for one in items)


def test_a_bypass_counts_until_the_next_landing() -> None:
    """What moved main past the guard is told as long as nothing has landed on top of it."""
    event = Event(
        attempt=3, sequence=9, kind="bypassed", at=NOW, data={"tip": "abc", "commits": [1]}
    )
    landed = AttemptLine(id=3, task="t", at=NOW, ended=NOW, stage="landed", commit="c1")
    later = AttemptLine(id=4, task="t", at=NOW, ended=NOW, stage="landed", commit="c2")
    assert [one.kind for one in needs(_status(), [landed], [event], NOW)] == ["bypass"]
    assert needs(_status(), [later, landed], [event], NOW) == []


def test_an_environment_that_cannot_test_is_told() -> None:
    """Where the newest attempt ended for want of what tests need, a person has to help."""
    line = AttemptLine(id=3, task="t", at=NOW, ended=NOW, stage="environment", why="no pytest")
    items = needs(_status(), [line], [], NOW)
    assert [(one.kind, one.why) for one in items] == [("environment", "no pytest")]


def test_a_limit_beyond_all_dates_is_none() -> None:
    """Days that no calendar has mean for ever, not an error."""
    assert expiry(NOW, 1e300) is None


def test_decisions_tell_who_and_when() -> None:
    """Approved, refused by a person, expired; what a gate refused is no decision."""

    def event(attempt: int, kind: str, **data: str) -> Event:
        return Event(attempt=attempt, sequence=1, kind=kind, at=NOW, data=data)

    noted = [
        event(1, "approved", person="A <a@b>"),
        event(2, "refused", by="approval", person="B <b@c>", reason="not now"),
        event(3, "refused", by="expired", reason="nobody came"),
        event(4, "refused", by="gate", reason="red"),
    ]
    lines = [AttemptLine(id=n, task=f"t{n}", at=NOW, stage="landed") for n in range(5)]
    told = [(one.attempt, one.decision, one.person, one.why) for one in decisions(noted, lines)]
    assert told == [
        (1, "approved", "A <a@b>", ""),
        (2, "refused", "B <b@c>", "not now"),
        (3, "expired", "", "nobody came"),
    ]


async def test_an_approval_is_a_queue(tmp_path: Path) -> None:
    """Proposed it waits with its size and its end; landed, it is told with the person."""
    app = open_app(sample_repo(tmp_path / "r"), environ={})
    editor = ScriptedEditor({"src/calc/more.py": "X = 1\n"})
    held = await app.edit.self_edit("Add more", editor=editor, hold=True)
    (need,) = (await OPERATIONS["inbox"](app)).needs
    assert (need.kind, need.attempt, need.action) == ("approval", held.attempt_id, "land_edit")
    assert "1 file, +1 -0; 3 tests, green" in need.why
    assert need.expires is not None
    await OPERATIONS["land_edit"](app, attempt=held.attempt_id)
    told = await OPERATIONS["inbox"](app)
    (decided,) = told.decided
    await app.journal.close()
    assert told.needs == []
    assert (decided.decision, decided.stage) == ("approved", "landed")
    assert decided.person == "Sample <sample@example.invalid>"
