"""Real workers, killed: what one leaves another ends, once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from journal_stores import database
from self_coding.app import open_anywhere, open_app
from self_coding.fleet import Fleet
from self_coding.testing import git, sample_repo

pytestmark = pytest.mark.timeout(300)


def worker(address: str, log: Path, *more: str) -> subprocess.Popen[bytes]:
    """A process of the fleet."""
    words = [sys.executable, "-P", "-m", "self_coding", "worker", *more]
    environ = {**os.environ, "SELF_CODING_DATABASE": address}
    with log.open("ab") as out:
        return subprocess.Popen(words, cwd="/", env=environ, stdout=out, stderr=out)


async def until(true: Callable[[], object]) -> None:
    """Wait for what a process is about to do."""
    async with asyncio.timeout(120):
        while not true():
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("where", ["edit", "tests"])
async def test_a_killed_workers_attempt_is_ended_by_another(where: str, tmp_path: Path) -> None:
    """Killed while it edits or tests: the other goes on, it lands once, and nothing is left."""
    mark = tmp_path / "mark"
    # The first to come waits to be killed; tests see nothing outside, and take a while each time.
    wait = f"test -e {mark} || {{ touch {mark}; sleep 600; }}; " if where == "edit" else ""
    check = f"import time\ntime.sleep({6 if where == 'tests' else 0})\n"
    place = sample_repo(
        tmp_path / "repository",
        {"check.py": check, "self-coding.toml": 'test_command = "python3 check.py"\n'},
    )
    fleet, log = Fleet(database(), open_anywhere), tmp_path / "log"
    await fleet.submit("Add a file", repo=str(place), command=f"{wait}echo 1 > new.txt")
    first = worker(fleet.queue.address, log)
    journal = open_app(place, database=fleet.queue.address).journal
    if where == "edit":
        await until(mark.exists)
    else:
        async with asyncio.timeout(120):
            while not any(one.kind == "judged" for one in await journal.events(1)):
                await asyncio.sleep(0.1)
    second = worker(fleet.queue.address, log, "--until-idle")
    first.kill()
    first.wait()
    assert await asyncio.to_thread(second.wait, 200) == 0, log.read_text()
    told = log.read_text()
    assert [one.state for one in (await fleet.workers()).jobs] == ["ended"], told
    kinds = [one.kind for one in await journal.events(1)]
    assert (kinds.count("landed"), kinds[-1]) == (1, "ended"), told
    assert await journal.unfinished() == []
    await journal.close()
    assert (place / "new.txt").exists()


async def test_workers_on_two_machines_land_as_one_group(tmp_path: Path) -> None:
    """What waits green in two clones of a remote is stacked by one of them, and lands together."""
    files = {"check.py": "", "self-coding.toml": 'test_command = "python3 check.py"\n'}
    remote = tmp_path / "remote.git"
    git(sample_repo(tmp_path / "first", files), "clone", "-q", "--bare", ".", str(remote))
    url, log = f"file://{remote}", tmp_path / "log"
    fleet = Fleet(database(), open_anywhere)
    for n in range(4):
        await fleet.submit(f"Add {n}", repo=url, command=f"echo {n} > file{n}.txt")
    app = open_anywhere(url, tmp_path / "third", database=fleet.queue.address)
    turn = app.edit.leases.turn("main")
    await turn.take()
    # At least one of them has another's commits only from the remote.
    share = ("--slots", "2", "--until-idle", "--cache")
    crew = [worker(fleet.queue.address, log, *share, str(tmp_path / name)) for name in "ab"]
    async with asyncio.timeout(120):
        while len(await app.journal.recent_events(("landing",))) < 4:
            await asyncio.sleep(0.1)
    await turn.release()
    for one in crew:
        assert await asyncio.to_thread(one.wait, 120) == 0, log.read_text()
    landed = await app.journal.recent_events(("landed",))
    assert len(landed) == 4, log.read_text()
    assert sorted(len(one.data.get("with", ())) for one in landed) == [0, 3, 3, 3]
    assert len(git(remote, "rev-list", "refs/self-coding/receipts").splitlines()) == 2, "two pushes"
    assert git(remote, "for-each-ref", "refs/self-coding/attempts") == ""
    assert await app.git.verify() == []
    await app.journal.close()
