"""How a command line tells its results and its errors."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from self_coding.app import open_app
from self_coding.cli import cli
from self_coding.cli.session import (
    FAILED,
    INTERRUPTED,
    as_json,
    colour_diff,
    guarded,
    printable,
    table,
)
from self_coding.errors import SelfCodingError
from self_coding.testing import sample_repo
from self_coding.values.attempts import ModificationAttempt, Outcome


@dataclass
class _Thing:
    outcome: Outcome
    path: Path
    at: datetime
    names: tuple[str, ...]


def test_values_become_plain_json() -> None:
    """Dataclasses, enums, paths, times and tuples are written as JSON knows them."""
    thing = _Thing(Outcome.SUCCESS, Path("a/b"), datetime(2026, 1, 2, tzinfo=UTC), ("x",))
    expected = {
        "outcome": "success",
        "path": "a/b",
        "at": "2026-01-02T00:00:00+00:00",
        "names": ["x"],
    }
    assert as_json({"thing": thing}) == {"thing": expected}


def test_a_terminal_is_never_steered() -> None:
    """Escape sequences and lone surrogates of stored texts are shown as marks."""
    assert printable("a\x1b[31mb\udcffc\n") == "a�[31mb?c\n"


def test_columns_are_aligned() -> None:
    """Every column but the last is as wide as its widest cell."""
    assert table([["a", "long", "x"], ["bb", "y", "zz"]]) == "a   long  x\nbb  y     zz"
    assert table([]) == ""


def _fails(error: BaseException) -> object:
    def start() -> object:
        raise error

    return start


def test_an_error_tells_the_next_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours is two lines, what happened and what to do; the status is 3."""
    monkeypatch.setattr("sys.argv", ["self-coding"])
    assert guarded(_fails(SelfCodingError("it broke", hint="mend it"))) == FAILED
    assert capsys.readouterr().err == "error: it broke\nhint: mend it\n"


def test_an_error_is_json_when_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --json the error is an object on standard output."""
    monkeypatch.setattr("sys.argv", ["self-coding", "--json"])
    guarded(_fails(SelfCodingError("it broke", hint="mend it")))
    told = json.loads(capsys.readouterr().out)
    assert told == {"error": {"slug": "error", "message": "it broke", "hint": "mend it"}}


def test_a_bug_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a bug gives no traceback, unless --debug is there."""
    monkeypatch.setattr("sys.argv", ["self-coding"])
    assert guarded(_fails(KeyError("x"))) == FAILED
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["self-coding", "--debug"])
    with pytest.raises(KeyError):
        guarded(_fails(KeyError("x")))


def _interrupted_in_click() -> click.Abort:
    """What click makes of a Ctrl-C while a command runs."""
    error = click.Abort()
    error.__cause__ = KeyboardInterrupt()
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (_interrupted_in_click(), "interrupted"),
        (click.Abort(), "no answer"),
    ],
    ids=["Ctrl-C", "Ctrl-C in a command", "at a question"],
)
def test_an_interrupt_says_what_became_of_the_work(
    error: BaseException, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, and a question without an answer, end with status 130 and a sentence."""
    assert guarded(_fails(error)) == INTERRUPTED
    assert told in capsys.readouterr().err


def test_a_wrong_command_line_has_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error is told by click, with its own status."""
    assert guarded(_fails(click.UsageError("no such option"))) == 2
    assert "no such option" in capsys.readouterr().err


def test_the_status_of_a_command_is_handed_on() -> None:
    """What a command returns as a number is the exit status; anything else is success."""
    assert guarded(lambda: 1) == 1
    assert guarded(lambda: "text") == 0


def test_a_diff_is_coloured_after_it_was_made_harmless() -> None:
    """Added and removed lines get colours; escape sequences of the diff itself stay marks."""
    coloured = colour_diff(printable("+a\x1b[31m\n-b\n c"))
    assert coloured == "\x1b[32m+a�[31m\x1b[0m\n\x1b[31m-b\x1b[0m\n c"


def test_a_list_says_that_there_are_older_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond the limit a list names the command for more, beside JSON on standard error."""
    app = open_app(sample_repo(tmp_path / "repository"), environ={})
    for number in range(3):
        asyncio.run(app.journal.log_attempt(ModificationAttempt(f"Change {number}")))
    for flags in ([], ["--json"]):
        words = ["--repo", str(app.top), *flags, "attempts", "-n", "2"]
        cli.main(args=words, standalone_mode=False)
        shown = capsys.readouterr()
        told = shown.err if flags else shown.out
        assert "there are older ones: self-coding attempts -n 4" in told
    assert len(json.loads(shown.out)) == 2
