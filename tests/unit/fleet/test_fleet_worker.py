"""A worker on real repositories: what it does with a job, and what ends one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from journal_stores import database
from remotes import BareRemote
from self_coding.adapters import postgres
from self_coding.app import App, open_anywhere, open_app
from self_coding.fleet import Fleet
from self_coding.fleet.worker import NotYetError, _Again
from self_coding.testing import sample_repo

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server of the tests is young; there are no others that it could have dropped."""
    monkeypatch.setattr(postgres, "GRACE", 0.0)
    yield


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(database(), open_anywhere)


def repository(tmp_path: Path, name: str) -> str:
    """A repository with a first commit of its own: others' journals are not its."""
    return str(
        sample_repo(tmp_path / name, {"name.txt": name, "test_ok.py": "def test_ok(): pass"})
    )


def app_of(fleet: Fleet, place: str) -> App:
    return open_app(place, database=fleet.queue.address)


async def stages(fleet: Fleet, place: str) -> list[str]:
    journal = app_of(fleet, place).journal
    try:
        return [await journal.stage(one.id) for one in await journal.lines()]
    finally:
        await journal.close()


async def until(true: Callable[[], object], seconds: float = 90.0) -> None:
    """Wait for what a worker is about to do."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


async def test_tasks_of_two_repositories_land_in_each(fleet: Fleet, tmp_path: Path) -> None:
    """Each job is one attempt in its repository, told by that one's journal and the list."""
    places = [repository(tmp_path, name) for name in ("one", "two")]
    for place in places:
        await fleet.submit("Add a file", repo=place, command="echo 1 > new.txt")
    said: list[str] = []
    status = await fleet.worker(slots=2, until_idle=True, say=said.append)
    assert [(one.state, one.attempt) for one in status.jobs] == [("ended", 1), ("ended", 1)]
    for place in places:
        assert await stages(fleet, place) == ["landed"]
    assert sum("attempt 1: landed" in line for line in said) == 2


async def test_a_job_that_cannot_be_done_says_why(
    fleet: Fleet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No repository, no such editor: the job has failed, with what is wrong and what to do."""
    (tmp_path / "empty").mkdir()
    await fleet.submit("a", repo=str(tmp_path / "empty"), command="true")
    await fleet.submit("b", repo=repository(tmp_path, "r"), editor="nobody")
    status = await fleet.worker(until_idle=True)
    assert "Traceback" not in capfd.readouterr().err
    told = {one.task: (one.state, one.said) for one in status.jobs}
    assert told["a"][0] == told["b"][0] == "failed"
    assert "not in a git repository" in told["a"][1] or "repository" in told["a"][1]
    assert "there is no editor 'nobody'" in told["b"][1]


async def test_a_running_job_is_called_off_where_it_runs(fleet: Fleet, tmp_path: Path) -> None:
    """Its attempt ends as cancelled, its command is killed, and the worker goes on."""
    place, mark = repository(tmp_path, "r"), tmp_path / "mark"
    done = await fleet.submit("a", repo=place, command=f"touch {mark}; sleep 600")
    working = asyncio.create_task(fleet.worker())
    await until(mark.exists)
    assert (await fleet.cancel(done.job)).state == "running"
    await fleet.submit("b", repo=place, command="echo 1 > new.txt")
    async with asyncio.timeout(90):
        while {one.state for one in (await fleet.workers()).jobs} != {"cancelled", "ended"}:
            await asyncio.sleep(0.2)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await stages(fleet, place) == ["landed", "cancelled"]


async def test_what_a_worker_leaves_another_ends(fleet: Fleet, tmp_path: Path) -> None:
    """A worker that is told to stop leaves its attempt as it is; the next one goes on with it."""
    place, mark = repository(tmp_path, "r"), tmp_path / "mark"
    first = f"test -e {mark} || {{ touch {mark}; sleep 600; }}; echo 1 > new.txt"
    await fleet.submit("a", repo=place, command=first)
    working = asyncio.create_task(fleet.worker())
    await until(mark.exists)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [one.state for one in (await fleet.workers()).jobs] == ["waiting"]
    assert await stages(fleet, place) == ["editing"]
    await fleet.worker(until_idle=True)
    assert await stages(fleet, place) == ["landed"]


async def test_what_the_dead_had_begun_comes_first(fleet: Fleet, tmp_path: Path) -> None:
    """Who asks for work gives back first what a dead worker has left, whatever else waits."""
    place = repository(tmp_path, "r")
    await fleet.submit("begun", repo=place, command="echo 1 > one.txt")
    await fleet.submit("new", repo=place, command="echo 2 > two.txt", priority=9)
    with psycopg.connect(fleet.queue.at(options="-c search_path=self_coding_fleet")) as raw:
        raw.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = 1")
    said: list[str] = []
    await fleet.worker(until_idle=True, say=said.append)
    ended = [line for line in said if "landed" in line]
    assert ended == ["job 1: attempt 1: landed", "job 2: attempt 2: landed"], said


def test_who_may_not_take_over_yet_asks_again_when_it_may() -> None:
    """After a restart of the server it is in vain to ask sooner, each time with all services."""
    asked = datetime.now(UTC)
    told = _Again().get_retry_decision(exception=NotYetError("it is held", 7.5), job=None)  # type: ignore[arg-type]
    assert told is not None
    assert told.retry_at is not None
    assert timedelta(seconds=7.5) < told.retry_at - asked < timedelta(seconds=10)


async def test_an_attempt_that_is_proposed_waits_for_a_person(fleet: Fleet, tmp_path: Path) -> None:
    """The job has ended, the attempt waits green, and whoever approves it lands it."""
    place = repository(tmp_path, "r")
    await fleet.submit("a", repo=place, command="echo 1 > new.txt", propose=True)
    status = await fleet.worker(until_idle=True)
    assert [one.state for one in status.jobs] == ["ended"]
    app = app_of(fleet, place)
    assert [one.waiting for one in await app.edit.waiting()] == ["approval"]
    assert (await app.edit.land_edit(1)).success
    await app.journal.close()


async def test_another_workers_clone_goes_on_with_the_head_that_was_pushed(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Work at a remote is taken over by a machine that has only what was pushed; it lands there."""
    remote, mark = BareRemote(tmp_path), tmp_path / "mark"
    edit = f"echo . >> {mark}; echo 'two = 2' > two.py"
    tests = f"python3 -c \"import os, time; time.sleep(0 if os.path.exists('{mark}.go') else 600)\""
    done = await fleet.submit("Add two", repo=remote.url, command=edit)
    opened = partial(open_anywhere, test_command=tests)
    first = asyncio.create_task(Fleet(fleet.queue.address, opened).worker(cache=tmp_path / "one"))
    await until(lambda: "refs/self-coding/attempts/" in remote("for-each-ref"))
    await asyncio.sleep(1)  # while it judges, or tests
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    Path(f"{mark}.go").touch()
    quick = Fleet(fleet.queue.address, partial(open_anywhere, test_command="true"))
    status = await quick.worker(cache=tmp_path / "two", until_idle=True)
    assert [(one.job, one.state) for one in status.jobs] == [(done.job, "ended")], status
    assert mark.read_text() == ".\n", "the edit was not made again"
    assert "two.py" in remote("ls-tree", "--name-only", "main")


async def test_a_remote_that_does_not_answer_is_tried_again(fleet: Fleet, tmp_path: Path) -> None:
    """The job waits, says why to whoever works, and is done when the remote is back."""
    said: list[str] = []
    away = tmp_path / "away"
    await fleet.submit("Add two", repo=f"file://{away}/remote.git", command="echo > two.py")
    quick = Fleet(fleet.queue.address, partial(open_anywhere, test_command="true"))
    working = asyncio.create_task(quick.worker(cache=tmp_path / "one", say=said.append))
    await until(lambda: any("tried again" in line for line in said))
    away.mkdir()
    remote = BareRemote(away)
    async with asyncio.timeout(120):
        while (await fleet.workers()).jobs[0].state != "ended":
            await asyncio.sleep(0.2)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert "two.py" in remote("ls-tree", "--name-only", "main")
