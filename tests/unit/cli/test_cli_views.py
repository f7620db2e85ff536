"""What a person reads: the last words of a refusal, events, what waits, the next command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from self_coding.cli import views
from self_coding.cli.session import printable
from self_coding.values.attempts import Event, ModificationAttempt
from self_coding.values.edits import SelfEditResult, Waiting
from self_coding.values.results import AttemptRecord, Status

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)

MANY = "\n".join(f"line {number}" for number in range(400))


@pytest.mark.parametrize(
    ("output", "last"),
    [
        ("  187 passing\n  1 failing\n\n  1) adds:\n     AssertionError: 3 == 4\n", "3 == 4"),
        ("--- FAIL: TestA (0.00s)\n    a_test.go:7: got 3\nFAIL\nFAIL\texample.org/a\n", "got 3"),
        ("cc -c a.c\na.c:3: error: expected ';'\nmake: *** [Makefile:2: a.o] Error 1\n", "Error 1"),
        ("\x1b[31mFAIL\x1b[0m a.test.ts\n", "FAIL"),
        ("\r  1%\r 50%\r100%\nexit 3\n", "exit 3"),
        ("x" * 100_000 + "\nERROR at the end\n", "ERROR at the end"),
        (b"caf\xe9 is no text\n".decode("utf-8", "surrogateescape"), "is no text"),
        (f"{MANY}\nthe last\n", "the last"),
    ],
    ids=["mocha", "go", "make", "colours", "progress", "a long line", "not UTF-8", "many lines"],
)
def test_a_refusal_shows_its_last_lines(output: str, last: str) -> None:
    """Where no test is named, what the command said at its end is there at once, in bounds and
    without what steers a terminal."""
    result = SelfEditResult(success=False, message="tests failed", by="gate", test_results=output)
    shown = printable(views.self_edit(result))
    told = [line for line in shown.splitlines() if line.startswith("  | ")]
    assert last in shown
    assert 0 < len(told) <= 15
    assert len(shown) < 6_000
    assert "[31m" not in shown and "\r" not in shown and "\x1b" not in shown


@pytest.mark.parametrize(
    ("by", "failing", "output"),
    [("gate", ("t.py::a",), "FAILED t.py::a"), ("policy", (), "green"), ("gate", (), "")],
)
def test_other_refusals_show_no_output(by: str, failing: tuple[str, ...], output: str) -> None:
    """Where a test or a rule is the reason, or nothing was said, there is no output."""
    result = SelfEditResult(
        success=False, message="no", by=by, failing_tests=failing, test_results=output
    )
    assert "  | " not in views.self_edit(result)


@pytest.mark.parametrize(
    ("seconds", "lines"),
    [
        ((0, 0, 0), ["12:00:00  one, one, one"]),
        ((0, 0, 7), ["12:00:00  one, one", "12:00:07  one"]),
        ((0, 61, 61.9), ["12:00:00  one", "12:01:01  one, one"]),
        ((0, 0.4, 86_400), ["12:00:00  one, one", "12:00:00  one"]),
    ],
    ids=["one second", "one minute", "two minutes", "the same time of another day"],
)
def test_events_of_one_second_are_one_line(seconds: tuple[float, ...], lines: list[str]) -> None:
    """Events are folded by the second in which they happened, and told with it."""
    events = [
        Event(attempt=1, sequence=at, kind="one", at=NOON + timedelta(seconds=after), data={})
        for at, after in enumerate(seconds, start=1)
    ]
    one = ModificationAttempt("t", id=1)
    shown = views.show_attempt(AttemptRecord(attempt=one, events=events))
    zone = NOON.astimezone().strftime("%H")
    assert [line.strip() for line in shown.partition("events:\n")[2].splitlines()] == [
        line.replace("12:", f"{zone}:", 1) for line in lines
    ]
    assert "try 1" in shown


def _waiting(**how: str) -> Waiting:
    return Waiting(attempt=4, task="Add triple", since=NOON, **how)


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        ([], ["nothing waits"]),
        ([_waiting(waiting="submit", path="/w/1")], ["for its edit in /w/1", "submit-edit 4"]),
        ([_waiting(waiting="approval")], ["waits for approval", "land-edit 4", "drop-edit 4"]),
        ([_waiting(waiting="resume")], ["was interrupted", "self-coding resume"]),
        ([_waiting(waiting="process", holder="process 7", progress="test")], ["process 7 (test)"]),
        ([_waiting(waiting="submit", why="tests failed")], ["refused before: tests failed"]),
    ],
    ids=["nothing", "an edit", "an approval", "interrupted", "at work", "refused before"],
)
def test_status_tells_what_waits_and_what_comes_next(
    waiting: list[Waiting], said: list[str]
) -> None:
    """`status` has main, each attempt that has not ended, for what it waits, and the command."""
    found = Status(
        repository="/r", main_branch="main", commit="c" * 40, failing=[], waiting=waiting
    )
    shown = views.status(found)
    assert shown.startswith(f"main is at {'c' * 12} in /r")
    for part in said:
        assert part in shown
    assert ("nothing waits" in shown) == (not waiting)


def test_status_says_that_main_is_red() -> None:
    """What failed on main when it was last run is counted, and the first are named."""
    failing = [f"t.py::{name}" for name in "abcd"]
    found = Status(repository="/r", main_branch="main", commit="c", failing=failing, waiting=[])
    assert "red there: 4 tests failed when last run: t.py::a, t.py::b, t.py::c" in views.status(
        found
    )


@pytest.mark.parametrize("hint", ["show_attempt(attempt=2)", ""])
def test_the_next_command_is_whole(hint: str) -> None:
    """After an empty edit the line below the reason can be typed as it stands."""
    result = SelfEditResult(
        success=False, message="nothing was changed", by="empty", attempt_id=2, hint=hint
    )
    assert views.self_edit(result).splitlines()[-1] == "next: self-coding show-attempt 2"
