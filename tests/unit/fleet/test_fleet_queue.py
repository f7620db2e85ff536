"""The queue: whose job comes next, who lives, what is given back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from journal_stores import database
from self_coding.adapters import postgres
from self_coding.app import open_anywhere
from self_coding.errors import ConfigError, StorageError, StorageVersionError
from self_coding.fleet import Fleet
from self_coding.fleet.jobs import FORM
from self_coding.fleet.queue import Queue

ALL = {"form": FORM, "provides": (), "each": 0, "in_all": 0}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(database(), open_anywhere)


def folders(tmp_path: Path, *names: str) -> list[str]:
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
    return [str(tmp_path / name) for name in names]


def take(queue: Queue, **how: object) -> int | None:
    """Take the next job as worker 1 would; its number."""
    asked = ALL | how
    words = [1, asked["form"], [*asked["provides"]], asked["each"], asked["in_all"]]  # type: ignore[misc]
    with psycopg.connect(queue.at(options="-c search_path=self_coding_fleet")) as raw:
        raw.execute("INSERT INTO procrastinate_workers (id) OVERRIDING SYSTEM VALUE VALUES (1)"
                    " ON CONFLICT DO NOTHING")  # fmt: skip
        sql = "SELECT id FROM self_coding_next(%s, %s, %s::text[], %s, %s)"
        (number,) = raw.execute(sql, words).fetchone() or (None,)
    return number


async def test_turns_go_round_the_repositories(fleet: Fleet, tmp_path: Path) -> None:
    """A repository with many tasks does not keep another waiting; priority comes first."""
    many, few = folders(tmp_path, "many", "few")
    for task in range(3):
        await fleet.submit(f"m{task}", repo=many)
    await fleet.submit("f", repo=few)
    await fleet.submit("urgent", repo=many, priority=5)
    order = []
    for _ in range(5):
        order.append(take(fleet.queue))
        with psycopg.connect(fleet.queue.at(options="-c search_path=self_coding_fleet")) as raw:
            raw.execute("SELECT procrastinate_finish_job_v1(%s, 'succeeded', false)", order[-1:])
    assert order == [5, 4, 1, 2, 3]
    assert take(fleet.queue) is None


async def test_limits_and_requirements_hold_over_all_workers(fleet: Fleet, tmp_path: Path) -> None:
    """So many of one repository, so many in all; what a worker lacks it does not take."""
    one, two = folders(tmp_path, "one", "two")
    await fleet.submit("a", repo=one)
    await fleet.submit("b", repo=one)
    await fleet.submit("c", repo=two, requires=["gpu"])
    assert take(fleet.queue, each=1) == 1
    assert take(fleet.queue, each=1) is None, "one of this repository runs, two needs a gpu"
    assert take(fleet.queue, each=1, provides=("gpu", "aider"), in_all=1) is None
    assert take(fleet.queue, each=1, provides=("gpu", "aider"), in_all=2) == 3
    assert take(fleet.queue) == 2


async def test_a_job_of_a_later_form_waits_for_who_knows_it(fleet: Fleet, tmp_path: Path) -> None:
    """A worker of an older version leaves it alone, and the list says why it waits."""
    (place,) = folders(tmp_path, "r")
    await fleet.submit("a", repo=place)
    assert take(fleet.queue, form=FORM - 1) is None
    with psycopg.connect(fleet.queue.at(options="-c search_path=self_coding_fleet")) as raw:
        raw.execute("UPDATE procrastinate_jobs SET queue_name = '9' || substr(queue_name, 2)")
    assert take(fleet.queue) is None
    assert [job.said for job in (await fleet.workers()).jobs] == ["waits for a newer worker"]


async def test_jobs_of_the_dead_are_given_back(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a worker's session lives its jobs are its own; after, they wait again, once."""
    monkeypatch.setattr(postgres, "GRACE", 0.0)
    (place,) = folders(tmp_path, "r")
    await fleet.submit("a", repo=place)
    worker, other = Queue(fleet.queue.address), fleet.queue
    assert take(worker) == 1
    worker.enter(1, "host/1", 2, ["gpu"])
    assert other.requeue(2, ()) == []
    status = await fleet.workers()
    assert [(one.name, one.slots, one.provides, one.running) for one in status.workers] == [
        ("host/1", 2, ["gpu"], 1)
    ]
    assert [(one.state, one.worker) for one in status.jobs] == [("running", "host/1")]
    assert worker.requeue(1, [1]) == []
    worker.database.close()
    async with asyncio.timeout(20):  # the server ends the session in its own time
        while (await fleet.workers()).workers:
            await asyncio.sleep(0.05)
    assert other.requeue(2, ()) == [1]
    assert other.requeue(2, ()) == []
    assert [one.state for one in (await fleet.workers()).jobs] == ["waiting"]


async def test_a_restart_of_the_server_gives_nothing_back(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just after its start no worker is taken for dead: all have lost their locks."""
    monkeypatch.setattr(postgres, "GRACE", 3600.0)
    await fleet.submit("a", repo=folders(tmp_path, "r")[0])
    assert take(fleet.queue) == 1
    assert fleet.queue.requeue(2, ()) == []


async def test_a_waiting_job_can_be_called_off(fleet: Fleet, tmp_path: Path) -> None:
    """It never begins; calling it off again, or one that there is not, says so."""
    done = await fleet.submit("a", repo=folders(tmp_path, "r")[0])
    assert (await fleet.cancel(done.job)).state == "cancelled"
    assert take(fleet.queue) is None
    with pytest.raises(ConfigError, match="job 1 has ended: cancelled"):
        await fleet.cancel(done.job)
    with pytest.raises(ConfigError, match="no job 7"):
        await fleet.cancel(7)


async def test_the_schema_is_made_once_and_a_newer_engine_is_refused(fleet: Fleet) -> None:
    """Many may be first; a schema that a newer Procrastinate wrote is left alone."""
    others = [Fleet(fleet.queue.address, open_anywhere) for _ in range(4)]
    await asyncio.gather(*(one.workers() for one in others))
    with psycopg.connect(fleet.queue.at(options="-c search_path=self_coding_fleet")) as raw:
        raw.execute("UPDATE engine SET migration = '99.00.00_01_x.sql'")
    with pytest.raises(StorageVersionError, match="newer Procrastinate"):
        await fleet.workers()


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        ("", ConfigError, "names none"),
        ("journal.db", ConfigError, "names none"),
        ("postgresql://u:hunter2@h/d?schema=x", ConfigError, "names a schema"),
        ("postgresql://u:hunter2@127.0.0.1:1/d", StorageError, "127.0.0.1/d"),
        ("postgresql://u:hunter2@127.0.0.1:port/d", StorageError, "invalid integer"),
        ("postgresql://u:hunter2@127.0.0.1/d?nonsense=1", StorageError, "cannot be read"),
    ],
)
async def test_an_unusable_server_is_one_sentence_without_the_password(
    place: str, error: type[Exception], said: str, tmp_path: Path
) -> None:
    """Wrong, dead or misspelt: what is wrong and what to do, never the password."""
    with pytest.raises(error, match=said) as told:
        await Fleet(place, open_anywhere).submit("a", repo=str(tmp_path))
    assert "hunter2" not in str(told.value)
    assert told.value.hint  # type: ignore[attr-defined]


async def test_who_may_make_no_schema_hears_how_it_may(fleet: Fleet, tmp_path: Path) -> None:
    """A user without rights is told which one is missing."""
    with psycopg.connect(fleet.queue.at(), autocommit=True) as raw:
        raw.execute("DROP ROLE IF EXISTS nobody_much")
        raw.execute("CREATE ROLE nobody_much LOGIN")
    place = fleet.queue.address.replace("postgres:@", "nobody_much@")
    with pytest.raises(StorageError, match="permission denied") as told:
        await Fleet(place, open_anywhere).submit("a", repo=str(tmp_path))
    assert "GRANT CREATE" in told.value.hint


async def test_a_read_only_server_takes_no_task(fleet: Fleet, tmp_path: Path) -> None:
    """As of a standby: it is said before anything is stored, with the way out."""
    await fleet.workers()
    with psycopg.connect(fleet.queue.at(), autocommit=True) as raw:
        raw.execute(f"ALTER DATABASE {raw.info.dbname} SET default_transaction_read_only = on")
    with pytest.raises(StorageError, match="read-only") as told:
        await Fleet(fleet.queue.address, open_anywhere).submit("a", repo=str(tmp_path))
    assert "name the primary" in told.value.hint
