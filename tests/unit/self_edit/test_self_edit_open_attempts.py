"""A submission outlives its caller: it is judged by a process of the repository's own."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from self_coding import open_app
from self_coding.app import App
from self_coding.errors import EditError
from self_coding.operations import OPERATIONS
from self_coding.self_edit.editors import CommandEditor
from self_coding.self_edit.leases import Holder
from self_coding.self_edit.open_attempts import Watcher
from self_coding.testing import ScriptedEditor, sample_repo
from self_coding.values.edits import Assignment, Begun, EditReport, Progress

CORE = "src/calc/core.py"
GOOD = "\n\ndef triple(number: int) -> int:\n    return number * 3\n"


@pytest.fixture
def app(tmp_path: Path) -> App:
    return open_app(sample_repo(tmp_path / "repository"), environ={})


async def begun(app: App, text: str = GOOD, slow: float = 0.0) -> Begun:
    handed = await app.edit.begin_edit("Add triple")
    file = handed.worktree.path / CORE
    file.write_text(file.read_text() + text)
    if slow:
        test = f"import time\n\n\ndef test_slow():\n    assert time.sleep({slow}) is None\n"
        (handed.worktree.path / "tests/test_slow.py").write_text(test)
    return handed


async def test_a_submission_goes_on_without_its_caller(app: App) -> None:
    """Waited for briefly it is under way, in a process that judges it; it lands all the same."""
    handed = await begun(app, slow=3)
    told = await app.edit.submit_edit(handed.attempt, wait=0)
    assert (told.success, told.stage, told.waiting) == (False, "testing", "process")
    while not await app.edit._is_driven(handed.attempt):
        await asyncio.sleep(0.05)
    again = await app.edit.submit_edit(handed.attempt, wait=0)
    assert again.waiting == "process", "a second submission waits for the first"
    steps: list[Progress] = []
    async with asyncio.timeout(120):
        landed = await app.edit.wait_edit(handed.attempt, on_progress=steps.append)
    assert landed.stage == "landed"
    assert "test" in [one.step for one in steps]
    kinds = [one.kind for one in await app.journal.events(handed.attempt)]
    assert kinds.count("written") == 1
    assert (await app.edit.wait_edit(handed.attempt)).stage == "landed", "asked again, it is told"
    assert list(app.edit.leases.path("x").parent.glob("*.l*")) == []


async def test_a_cancelled_call_leaves_the_judgement_alone(app: App) -> None:
    """A client that stops waiting changes nothing; a dead process is replaced by the next call."""
    handed = await begun(app, slow=4)
    call = asyncio.create_task(app.edit.submit_edit(handed.attempt, wait=100))
    edit = ""
    async with asyncio.timeout(60):
        while not (edit and (holder := app.edit.leases.holder(edit)) and len(holder.told) > 2):
            [waits] = await app.edit.waiting() or [None]
            edit = "" if waits is None else (await app.edit._known(handed.attempt)).edit
            await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    [waits] = await app.edit.waiting()
    assert (waits.waiting, f"process {holder.pid}" in waits.holder) == ("process", True)
    os.kill(holder.pid, signal.SIGKILL)
    async with asyncio.timeout(120):
        assert (await app.edit.wait_edit(handed.attempt)).stage == "landed"


async def test_dropping_ends_what_is_under_way(app: App) -> None:
    """The process that judges is stopped, and the attempt ends as cancelled."""
    handed = await begun(app, slow=60)
    await app.edit.submit_edit(handed.attempt, wait=2)
    async with asyncio.timeout(60):
        dropped = await app.edit.drop_edit(handed.attempt, "changed my mind")
    assert dropped.stage == "cancelled"
    assert await app.edit.waiting() == []
    assert (await app.journal.get_success_rate())["total"] == 0


async def test_a_check_goes_on_without_its_caller(app: App) -> None:
    """What a check came to is told to whoever waits for the attempt next."""
    handed = await begun(app, "raise RuntimeError('no')\n")
    told = await app.edit.check_edit(handed.attempt, wait=0)
    assert told.waiting == "process"
    async with asyncio.timeout(120):
        while (told := await app.edit.wait_edit(handed.attempt)).stage != "checked":
            await asyncio.sleep(0.1)  # the process has not begun yet
    assert (told.success, told.by) == (False, "gate")
    assert "would be refused: tests failed" in told.message


async def test_a_submission_beside_a_check_is_a_submission(app: App) -> None:
    """Who submits while a check runs waits for its end, and then has it landed."""
    handed = await begun(app, slow=3)
    assert (await app.edit.check_edit(handed.attempt, wait=0)).stage == "testing"
    while not await app.edit._is_driven(handed.attempt):
        await asyncio.sleep(0.05)
    async with asyncio.timeout(120):
        assert (await app.edit.submit_edit(handed.attempt, wait=100)).stage == "landed"


async def test_what_cannot_be_judged_is_told(app: App) -> None:
    """Where the gate cannot run, the caller who waits is told why; the edit goes on waiting."""
    handed = await begun(app)
    settings = "[gate]\nrequire_sandbox = 'bwrap'\nsandbox = 'none'\n"
    (app.top / "self-coding.toml").write_text(settings)
    with pytest.raises(EditError, match="sandbox level"):
        await app.edit.submit_edit(handed.attempt, wait=100)
    (app.top / "self-coding.toml").write_text("no table")
    with pytest.raises(EditError, match=r"(?s)has ended: .*self-coding\.toml cannot be read"):
        await app.edit.submit_edit(handed.attempt, wait=100)
    (app.top / "self-coding.toml").unlink()
    assert (await app.edit.submit_edit(handed.attempt, wait=100)).stage == "landed"


def test_a_watcher_is_never_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is passed on once, and after some seconds without one it says that it goes on."""
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    told: list[Progress] = []
    watcher = Watcher(told.append)
    since = __import__("datetime").datetime.now(__import__("datetime").UTC)

    def holder(*steps: str) -> Holder:
        lines = tuple(Progress(attempt=1, step=one) for one in steps)
        return Holder(pid=7, program="p", since=since, told=lines)

    watcher.look(1, None)
    clock[0] += 5
    watcher.look(1, None)
    for steps in (["a", "b"], ["a", "b"], ["a", "b", "c", "d"]):
        watcher.look(1, holder(*steps))
    clock[0] += 6
    watcher.look(1, holder("a", "b", "c", "d"))
    assert [(one.step, one.message) for one in told] == [
        ("starting", "5 s"), ("b", ""), ("c", ""), ("d", ""), ("d", "11 s"),
    ]  # fmt: skip


async def test_the_process_has_the_settings_of_the_call(app: App, tmp_path: Path) -> None:
    """What was given with the call counts in the process that judges, too."""
    top = app.top
    given = open_app(top, environ={}, test_command="echo a, b; exit 0", land_as="squash")
    handed = await begun(given, "raise RuntimeError('no test is run')\n")
    async with asyncio.timeout(100):
        landed = await given.edit.submit_edit(handed.attempt, wait=90)
    assert landed.stage == "landed", landed
    operation = await given.git.explain(str(landed.commit_hash))
    assert operation is not None and "a, b" in landed.test_results


async def test_an_editors_work_outlives_its_call(app: App, tmp_path: Path) -> None:
    """A cancelled call leaves the editor at work, in another process; it lands all the same."""
    mark = tmp_path / "started"
    line = f"touch {mark}; sleep 3; printf 'X = 1\\n' >> {CORE}"
    editor = CommandEditor(line, shell=True)
    call = asyncio.create_task(app.edit.self_edit("Add X", editor=editor, wait=100))
    async with asyncio.timeout(60):
        while not mark.exists():
            await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    [waits] = await app.edit.waiting()
    assert waits.waiting == "process"
    async with asyncio.timeout(100):
        assert (await app.edit.wait_edit(waits.attempt)).stage == "landed"


async def test_a_killed_editors_process_is_gone_on_with(app: App, tmp_path: Path) -> None:
    """With the process killed in the middle of the edit, the next one makes it anew."""
    mark = tmp_path / "runs"
    line = f"echo x >> {mark}; test $(wc -l < {mark}) = 2 || sleep 60; echo 'X = 1' >> {CORE}"
    told = await app.edit.self_edit("Add X", editor=CommandEditor(line, shell=True), wait=0)
    assert (told.stage, told.waiting) == ("testing", "process")
    async with asyncio.timeout(60):
        while not mark.exists():
            await asyncio.sleep(0.05)
    edit = (await app.edit._known(int(told.attempt_id or 0))).edit
    holder = app.edit.leases.holder(edit)
    assert holder is not None
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(holder.pid, number)
        await asyncio.sleep(1)
    [waits] = await app.edit.waiting()
    assert waits.waiting == "resume", "neither signal ends the attempt"
    async with asyncio.timeout(100):
        assert (await app.edit.wait_edit(waits.attempt)).stage == "landed"
    assert mark.read_text() == "x\nx\n"


async def test_dropping_ends_an_editor_at_work(app: App, tmp_path: Path) -> None:
    """Only `drop_edit` stops the editor; what it started is gone, too."""
    mark = tmp_path / "started"
    line = f"touch {mark}; sleep 8; touch {mark}.survived"
    told = await app.edit.self_edit("Add X", editor=CommandEditor(line, shell=True), wait=0)
    async with asyncio.timeout(60):
        while not mark.exists():
            await asyncio.sleep(0.05)
        dropped = await app.edit.drop_edit(int(told.attempt_id or 0))
    assert dropped.stage == "cancelled"
    await asyncio.sleep(8)
    assert not Path(f"{mark}.survived").exists()
    assert (await app.journal.get_success_rate())["total"] == 0


async def test_a_second_try_is_waited_for(app: App, tmp_path: Path) -> None:
    """Waiting does not end with the first try where another one follows."""
    mark = tmp_path / "tries"
    again = f"test $(wc -l < {mark}) = 2 && echo 'X = 1' >> {CORE} || echo ! >> {CORE}"
    editor = CommandEditor(f"echo x >> {mark}; {again}", shell=True)
    async with asyncio.timeout(100):
        told = await app.edit.self_edit("Add X", editor=editor, tries=2, wait=90)
    assert (told.stage, len(told.attempts)) == ("landed", 2)


async def test_a_landing_is_not_asked_for_what_does_not_wait_for_it(app: App) -> None:
    """The question names the branch; of an attempt that waits for its edit nothing is asked."""
    question = OPERATIONS["land_edit"].question
    assert question is not None
    handed = await begun(app)
    with pytest.raises(EditError, match="does not wait for approval"):
        await question(app, attempt=handed.attempt)
    proposed = await app.edit.begin_edit("Add quadruple", ask=True)
    (proposed.worktree.path / "README.md").write_text("more\n")
    assert (await app.edit.submit_edit(proposed.attempt)).waiting == "approval"
    asked = await question(app, attempt=proposed.attempt)
    assert asked == f"Land attempt {proposed.attempt} on main? Task: Add quadruple"


class Endless(ScriptedEditor):
    """An editor that has begun, and does not end."""

    def __init__(self) -> None:
        super().__init__({})
        self.begun = asyncio.Event()

    async def edit(self, assignment: Assignment) -> EditReport:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize(
    "how", ["its call", "two at once", "another try", "an edit", "a checked edit"]
)
async def test_a_call_off_counts_nowhere(app: App, how: str) -> None:
    """Whatever a person calls off, and when, is no failure: no rate counts it, no lesson, warning
    or dead end comes of it, and `resume` has nothing to do."""
    task = "Round the totals of the invoice to cents"
    if how in ("an edit", "a checked edit"):
        handed = await app.edit.begin_edit(task)
        if how == "a checked edit":
            (handed.worktree.path / "src/calc/core.py").write_text("raise OSError\n")
            assert not (await app.edit.check_edit(handed.attempt)).success
        await app.edit.drop_edit(handed.attempt, "no more")
    else:
        editor = Endless()
        more = {"two at once": {"best_of": 2}, "another try": {"tries": 3}}.get(how, {})
        call = asyncio.create_task(app.edit.self_edit(task, editor=editor, **more))
        await editor.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert (await app.journal.get_success_rate())["total"] == 0
    assert await app.journal.get_recent_failures() == []
    assert await app.journal.dead_end(task=task) is None
    assert await app.journal.find_similar(task) == []
    assert await app.journal.lessons() == []
    assert (await app.edit.waiting(), await app.edit.resume()) == ([], [])
