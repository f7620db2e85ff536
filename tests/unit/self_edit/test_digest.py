"""A period in Markdown, and the budgets of a day."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from self_coding import open_app
from self_coding.app import App
from self_coding.errors import ConfigError, EditError
from self_coding.operations import NAMES
from self_coding.self_edit.digest import digest
from self_coding.testing import ScriptedEditor, sample_repo
from self_coding.values.attempts import AttemptLine, Event
from self_coding.values.results import Inbox, InboxItem

NOW = datetime(2026, 1, 8, tzinfo=UTC)
AGO = NOW - timedelta(days=7)


def _line(id: int, stage: str, outcome: str, task: str = "t", why: str = "") -> AttemptLine:
    ended = None if stage == "isolated" else NOW
    return AttemptLine(
        id=id,
        task=task,
        at=AGO,
        ended=ended,
        stage=stage,
        outcome=outcome,
        why=why,
        commit="c" * 40,
    )


def test_each_attempt_is_told_once() -> None:
    """Landed, refused, undone, under way: the numbers add up, and each is where it belongs."""
    lines = [
        _line(1, "landed", "success", "Add tea"),
        _line(2, "refused", "failure", "Drop tea", why="tests failed: t::a"),
        _line(3, "landed", "rollback", "Sell tea"),
        _line(4, "isolated", ""),
    ]
    learnt = {"lesson": "Tea is hot."}
    noted = [
        Event(attempt=1, sequence=1, kind="reflected", at=NOW, data=learnt),
        Event(attempt=2, sequence=1, kind="reflected", at=NOW, data=learnt),
        Event(attempt=2, sequence=2, kind="bypassed", at=AGO - timedelta(days=1)),
    ]
    red = InboxItem(kind="red main", title="main is red", why="t::a", action="self_edit")
    told = digest(
        AGO, NOW, lines=lines, noted=noted, inbox=Inbox(needs=[red], decided=[]), cost=1.5
    )
    assert (told.attempts, told.landed, told.refused, told.undone) == (4, 1, 1, 1)
    assert (told.bypasses, told.is_red) == (0, True)
    assert "4 attempts: 1 landed, 1 did not, 1 under way, 1 undone, cost 1.50." in told.text
    assert "- 1 `Add tea` cccccccccccc" in told.text
    assert "- 2 `Drop tea`: `tests failed: t::a`" in told.text
    assert "- `Tea is hot.` (2 times)" in told.text
    assert told.text.index("## Landed") < told.text.index("## Did not land")


def test_hostile_words_are_no_markup() -> None:
    """A task neither links, mentions, breaks out of its span nor adds lines."""
    hostile = "`x` <img src=x> @everyone [a](b)\u202e\n# heading"
    lines = [_line(1, "landed", "success", hostile)]
    told = digest(AGO, NOW, lines=lines, noted=[], inbox=Inbox(needs=[], decided=[]), cost=0)
    (row,) = [line for line in told.text.splitlines() if line.startswith("- 1 ")]
    assert row.count("`") == 2
    assert "# heading" not in told.text
    assert "\u202e" not in told.text


@pytest.fixture
def app(tmp_path: Path) -> App:
    return open_app(sample_repo(tmp_path / "repository"), environ={}, test_command="true")


async def test_the_command_tells_the_period(app: App) -> None:
    """`digest` counts what began in its days, with what it cost, as text and as JSON."""
    editor = ScriptedEditor({"new.py": "x = 1\n"}, cost=0.25)
    await app.edit.self_edit("Add it", editor=editor)
    argv = [sys.executable, "-m", "self_coding", "--repo", str(app.top), "digest"]
    done = subprocess.run([*argv, "-d", "2"], capture_output=True, text=True)
    assert "1 attempts: 1 landed, 0 did not, 0 under way, cost 0.25." in done.stdout
    assert "`Add it` by `scripted`" in done.stdout
    for wrong in ("0", "nan", "1e300"):
        done = subprocess.run([*argv, "-d", wrong], capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr) == (3, False), wrong


async def test_a_day_has_its_budget(app: App) -> None:
    """When it is used up nothing begins, by whichever way, and it says what was used."""
    limited = open_app(app.top, environ={}, test_command="true", day_cost=0.4, day_attempts=3)
    dear = ScriptedEditor({"a.py": "x = 1\n"}, {"a.py": "x = 2\n"}, cost=0.25)
    assert (await limited.edit.self_edit("One", editor=dear)).success
    assert (await limited.edit.self_edit("Two", editor=dear)).success
    with pytest.raises(EditError, match=r"day_cost is 0\.4, 0\.5 was used"):
        await NAMES["begin_edit"](limited, task="Three")
    few = open_app(app.top, environ={}, test_command="true", day_attempts=2)
    with pytest.raises(EditError, match="day_attempts is 2, 2 was used"):
        await few.edit.begin_edit("Three")
    assert (await app.journal.spent(datetime.now(UTC) + timedelta(hours=1))) == (0, 0.0)
    with pytest.raises(ConfigError, match="day_cost"):
        open_app(app.top, environ={}, day_cost=-1)


async def test_further_tries_stop_at_the_days_budget(app: App) -> None:
    """What is left of the day bounds the tries of a self-edit that has begun."""
    limited = open_app(app.top, environ={}, test_command="false", day_cost=0.4)
    dear = ScriptedEditor({"a.py": "x = 1\n"}, {"a.py": "x = 2\n"}, {"a.py": "3\n"}, cost=0.25)
    done = await limited.edit.self_edit("One", editor=dear, tries=5)
    assert len(done.attempts) == 2
