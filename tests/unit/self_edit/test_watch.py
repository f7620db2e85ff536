"""Watching: the affected tests run as files change, and whoever broke them is named."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from self_coding import open_app
from self_coding.app import App
from self_coding.errors import GitOperationError
from self_coding.self_edit.watch import Watch
from self_coding.testing import ScriptedEditor, git, sample_repo
from self_coding.values.results import Watched

CORE = "src/calc/core.py"
TESTS = f"{sys.executable} -m pytest -q -p no:cacheprovider"


@pytest.fixture
def app(tmp_path: Path) -> App:
    return open_app(sample_repo(tmp_path / "repository"), environ={}, test_command=TESTS)


def _break(app: App, name: str = CORE, old: str = "a + b", new: str = "a - b") -> None:
    file = app.top / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def _look(app: App, since: str = "HEAD") -> Watched:
    look = await app.edit.watch(since=since, once=True)
    assert look is not None
    return look


async def test_an_uncommitted_change_is_to_blame(app: App) -> None:
    """Green at HEAD, red now: it is the change that nobody has committed; the checkout stays."""
    _break(app)
    before = git(app.top, "status", "--porcelain")
    look = await _look(app)
    assert look.changed == [CORE]
    (broken,) = look.broken
    assert (broken.by, len(broken.tests)) == ("edit", 3)
    assert broken.what == f"your uncommitted change of {CORE}"
    assert git(app.top, "status", "--porcelain") == before
    assert git(app.top, "for-each-ref", "refs/self-coding") == ""


async def test_only_affected_tests_run(app: App) -> None:
    """A change of the report runs the report's test alone; of nothing, none."""
    assert str(await _look(app)) == "nothing has changed"
    _break(app, "src/calc/report.py", '"""Words about sums."""', '"""Words."""')
    look = await _look(app)
    assert (look.files, look.ran, look.is_green) == (["tests/test_report.py"], 1, True)
    assert str(look).startswith("green: 1 tests of 1 test file in ")


async def test_the_commit_that_broke_it_is_found(app: App) -> None:
    """Among commits that did no harm the one that did is named, with who made it."""
    for number in range(3):
        (app.top / f"note{number}.txt").write_text("x\n")
        git(app.top, "add", "-A")
        git(app.top, "commit", "-qm", f"Note {number}")
        if number == 1:
            _break(app)
            git(app.top, "commit", "-qam", "Simplify add")
    bad = git(app.top, "log", "--format=%H", "--grep=Simplify")
    look = await _look(app, since="HEAD~4")
    (broken,) = look.broken
    assert (broken.by, broken.commit) == ("commit", bad)
    assert broken.what == f"commit {bad[:12]} by Sample: Simplify add"
    assert "  broken by commit " in str(look)


async def test_the_attempt_that_broke_it_is_found(app: App) -> None:
    """A landing that let a break through is named by its attempt."""
    loose = open_app(app.top, environ={}, test_command="true")
    text = (app.top / CORE).read_text().replace("a + b", "a - b")
    done = await loose.edit.self_edit("Simplify add", editor=ScriptedEditor({CORE: text}))
    assert done.success
    (broken,) = (await _look(app, since="HEAD~1")).broken
    assert (broken.by, broken.attempt) == ("attempt", done.attempt_id)


async def test_two_breaks_have_two_names(app: App) -> None:
    """What a commit broke and what the edit on top of it broke are told apart."""
    _break(app, CORE, "add(a, a)", "add(a, a) + 1")
    git(app.top, "commit", "-qam", "Double more")
    _break(app, "src/calc/report.py", " = {add", " is {add")
    look = await _look(app, since="HEAD~1")
    assert {one.by: one.tests for one in look.broken} == {
        "edit": ["tests/test_report.py::test_line"],
        "commit": ["tests/test_core.py::test_double"],
    }


async def test_what_was_always_red_is_nobodys(app: App) -> None:
    """A test that fails in the oldest commit looked at is told as that."""
    (app.top / "tests/test_old.py").write_text(
        "import calc.core\n\ndef test_old():\n    assert 0\n"
    )
    git(app.top, "add", "-A")
    git(app.top, "commit", "-q", "--amend", "--no-edit")
    _break(app, CORE, '"""Sums."""', '"""All sums."""')
    (broken,) = (await _look(app)).broken
    assert (broken.by, broken.tests) == ("before", ["tests/test_old.py::test_old"])


async def test_a_fix_is_seen(app: App) -> None:
    """Red tests run again at the next change, and nothing runs where nothing changes."""
    watch = Watch(app.edit.services)
    _break(app)
    first = await watch.look()
    assert first is not None
    assert not first.is_green
    assert await watch.look() is None
    _break(app, CORE, "a - b", "a + b")
    fixed = await watch.look()
    assert fixed is not None
    assert fixed.is_green
    git(app.top, "commit", "-q", "--allow-empty", "-m", "Nothing")
    assert await watch.look() is None, "a commit of what was there is no change"


async def test_an_unknown_revision_is_told(app: App) -> None:
    """A revision that is none is an error in words."""
    with pytest.raises(GitOperationError):
        await _look(app, since="no-such")


def test_it_watches_until_it_is_interrupted(app: App) -> None:
    """A change is told while it runs; Ctrl-C ends it quietly, with the last look's status."""
    argv = [sys.executable, "-m", "self_coding", "--repo", str(app.top), "watch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            assert run.stderr is not None
            assert run.stderr.readline() == "nothing has changed\n"
            _break(app)
            assert run.stderr.readline().startswith("red, 3 failed: 3 tests of 2 test files")
            assert "your uncommitted change" in run.stderr.readline()
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 1
    assert out.startswith("red, 3 failed")
    assert "Traceback" not in err
    assert "error" not in err


async def test_a_watch_that_is_called_off_returns(app: App) -> None:
    """In Python cancelling it ends it, with the last look."""
    looks: list[Watched] = []
    task = asyncio.create_task(app.edit.watch(on_look=looks.append))
    while not looks:
        await asyncio.sleep(0.05)
    task.cancel()
    assert await task == looks[0]
