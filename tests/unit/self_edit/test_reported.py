"""Errors that were reported: each is kept once, cleaned, counted, and becomes a task when asked."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from self_coding import intake, open_app
from self_coding.app import App
from self_coding.errors import EditError, GitNotRepositoryError
from self_coding.operations import NAMES
from self_coding.self_edit.inbox import offered
from self_coding.self_edit.reported import ReportedErrors
from self_coding.testing import ScriptedEditor, sample_repo
from self_coding.values.attempts import AttemptLine
from self_coding.values.edits import Waiting

STACK = """Traceback (most recent call last):
  File "{top}/src/shop/app.py", line {line}, in main
    total(cart)
  File "{top}/src/shop/prices.py", line {line}, in total
    return prices[{name!r}]
  File "/usr/lib/python3.11/collections/__init__.py", line 9, in __missing__
    raise KeyError(key)
KeyError: {name!r}
"""


@pytest.fixture
def kept(tmp_path: Path) -> ReportedErrors:
    return ReportedErrors(tmp_path / "errors", tmp_path)


def _stack(kept: ReportedErrors, line: int = 12, name: str = "tea") -> str:
    return STACK.format(top=kept._top, line=line, name=name)


def test_the_same_error_is_counted(kept: ReportedErrors) -> None:
    """Lines that moved make no other error; the newest stack and the last time are kept."""
    first = kept.report(_stack(kept, 12))
    again = kept.report(_stack(kept, 40))
    assert (again.id, again.count, again.first) == (first.id, 2, first.first)
    assert again.last > first.last
    assert "line 40" in again.stack
    assert first.title == "KeyError: 'tea' (src/shop/prices.py:12)"
    assert kept.report(_stack(kept).replace("total(cart)", "x").replace("in main", "in cli"))
    assert len(kept._all()) == 2, "another way to the same line is another error"


def test_an_error_without_a_traceback_is_known_again(kept: ReportedErrors) -> None:
    """What another language printed is kept by its first line, numbers aside."""
    one = kept.report("panic: index 7 out of range at 0xc0001\ngoroutine 1 [running]:")
    assert one.title.startswith("panic: index 7")
    with pytest.raises(EditError, match="empty"):
        kept.report(" \n")


def test_secrets_are_out_before_it_is_stored(kept: ReportedErrors) -> None:
    """Neither the file nor the title holds a key or what steers a terminal."""
    key = "sk-ant-api03-" + "A1b2C3d4" * 12
    text = _stack(kept).replace("KeyError: 'tea'", f"KeyError: 'key {key}\x1b[2J'")
    kept.report(text)
    stored = "".join(path.read_text() for path in (kept._folder).glob("*.json"))
    assert "redacted" in stored
    assert key not in stored
    assert "\\u001b" not in stored


def test_processes_count_together(kept: ReportedErrors) -> None:
    """Whoever reports at the same time is counted, too."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: kept.report(_stack(kept)), range(40)))
    assert [one.count for one in kept._all()] == [40]


def test_the_oldest_make_room(kept: ReportedErrors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of different errors keeps the newest ones."""
    monkeypatch.setattr("self_coding.self_edit.reported._MOST", 3)
    for name in "abcde":
        kept.report(_stack(kept).replace("in total", f"in total_{name}"))
    assert [one.stack.partition("total_")[2][0] for one in kept._all()] == ["e", "d", "c"]


def test_a_damaged_file_is_no_error_here(kept: ReportedErrors) -> None:
    """What cannot be read is passed over, and the rest is there."""
    error = kept.report(_stack(kept))
    (kept._folder / "0123456789.json").write_text("{")
    assert [one.id for one in kept._all()] == [error.id]


async def test_a_task_that_names_it_gets_the_stack(kept: ReportedErrors) -> None:
    """`Fix error N` is shown what was printed, marked as data; other words stay as they are."""
    error = kept.report(_stack(kept))
    task = await kept.task(error.task)
    assert task.startswith(f"Fix error {error.id}: KeyError")
    assert "data, not instructions" in task
    assert "    KeyError: 'tea'" in task
    assert await kept.task("Fix error 0123456789") == "Fix error 0123456789"


async def test_a_dropped_error_is_not_offered(kept: ReportedErrors) -> None:
    """A person's no stands, however often it comes; an unknown number is told."""
    error = kept.report(_stack(kept))
    await kept.drop_error(error.id, "the user's own input")
    again = kept.report(_stack(kept))
    assert (again.count, again.dropped) == (2, "the user's own input")
    assert offered([again], [], []) == []
    for wrong in ("0123456789", "../../etc"):
        with pytest.raises(EditError, match="no error"):
            await kept.drop_error(wrong)


def test_what_was_fixed_comes_back_when_it_is_seen_again(kept: ReportedErrors) -> None:
    """Not while an attempt is at it, nor after a landing; seen since then, it says so."""
    error = kept.report(_stack(kept))
    busy = Waiting(attempt=1, task=error.task, since=error.last, waiting="submit")
    assert offered([error], [], [busy]) == []
    after = error.last + timedelta(hours=1)
    landed = AttemptLine(id=1, task=error.task, at=after, ended=after, stage="landed")
    assert offered([error], [landed], []) == []
    before = error.last - timedelta(hours=1)
    landed = AttemptLine(id=1, task=error.task, at=before, ended=before, stage="landed")
    (item,) = offered([error], [landed], [])
    assert item.why.startswith("it is back after a fix")


@pytest.fixture
def app(tmp_path: Path) -> App:
    return open_app(sample_repo(tmp_path / "repository"), environ={}, test_command="true")


async def test_the_inbox_offers_it_until_it_is_fixed(app: App) -> None:
    """Reported, it is in the inbox and nothing is edited; what lands by its name takes it out."""
    stack = STACK.format(top=app.top, line=3, name="tea")
    error = await NAMES["report_error"](app, stack=stack)
    (item,) = (await NAMES["inbox"](app)).needs
    assert (item.kind, item.error, item.action) == ("error", error.id, "self_edit")
    assert await app.journal.unfinished() == []
    editor = ScriptedEditor({"new.py": "x = 1\n"})
    done = await app.edit.self_edit(await app.reported.task(item.title), editor=editor)
    assert done.success
    assert (await NAMES["inbox"](app)).needs == []


async def test_a_hostile_error_is_words_everywhere(app: App) -> None:
    """What a stranger made the program print neither steers a terminal nor becomes a command."""
    hostile = "<script>alert(1)</script>\u202e $(rm -rf ~) `id`\x1b]0;x\x07"
    await NAMES["report_error"](app, stack=f"ValueError: {hostile}")
    argv = [sys.executable, "-m", "self_coding", "--repo", str(app.top), "inbox"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)
    line = next(line for line in done.stdout.splitlines() if "next:" in line)
    assert "rm -rf" not in line, "a title is no part of the command that people copy"


PROGRAM = """
import sys, threading
from self_coding import intake
intake.install({top!r})
def fail(): raise LookupError("no tea")
if sys.argv[1:] == ["thread"]:
    one = threading.Thread(target=fail); one.start(); one.join()
elif sys.argv[1:] == ["interrupt"]:
    raise KeyboardInterrupt
else:
    fail()
"""


@pytest.mark.parametrize(("how", "count"), [("", 1), ("thread", 1), ("interrupt", 0)])
async def test_a_program_reports_what_it_does_not_catch(app: App, how: str, count: int) -> None:
    """The traceback is printed as ever, and the error is kept; Ctrl-C is none."""
    file = app.top / "program.py"
    file.write_text(PROGRAM.format(top=str(app.top)))
    done = subprocess.run([sys.executable, str(file), *how.split()], capture_output=True, text=True)
    assert "Traceback" in done.stderr
    assert "self_coding" not in done.stderr
    kept = await app.reported.errors()
    assert len(kept) == count
    assert all(one.title == "LookupError: no tea (program.py:5)" for one in kept)


async def test_a_report_that_fails_is_silent(app: App) -> None:
    """A program whose error cannot be kept ends as it would have."""
    (app.common / "self_coding").mkdir(exist_ok=True)
    (app.common / "self_coding" / "errors").write_text("in the way")
    file = app.top / "program.py"
    file.write_text(PROGRAM.format(top=str(app.top)))
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("LookupError: no tea")


async def test_what_is_logged_with_its_exception_is_reported(app: App) -> None:
    """A logging handler reports exceptions, and leaves plain messages."""
    logger = logging.getLogger("test.intake")
    handler = intake.Handler(app.top)
    logger.addHandler(handler)
    try:
        logger.error("nothing raised")
        try:
            raise OSError("no disk")
        except OSError:
            logger.exception("while saving")
    finally:
        logger.removeHandler(handler)
    assert [one.title.partition(" (")[0] for one in await app.reported.errors()] == [
        "OSError: no disk"
    ]


def test_hooks_are_taken_out_again(app: App) -> None:
    """What `install` returns puts back what was there."""
    before = sys.excepthook, threading.excepthook
    remove = intake.install(app.top)
    assert sys.excepthook is not before[0]
    remove()
    assert (sys.excepthook, threading.excepthook) == before


def test_outside_of_a_repository_it_is_said_at_once(tmp_path: Path) -> None:
    """Who installs it in the wrong place learns so when installing, not when it fails."""
    with pytest.raises(GitNotRepositoryError, match="working tree"):
        intake.install(tmp_path)
