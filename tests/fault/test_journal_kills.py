"""Writers that are killed, and writers beside each other: what was acknowledged is there."""

import asyncio
import subprocess
import sys
import time

import pytest

from self_coding.modification_journal import ModificationJournal, Outcome

_WRITER = """
import asyncio, sys
from self_coding.modification_journal import ModificationAttempt, ModificationJournal
async def main(path, count):
    journal = ModificationJournal(path)
    for n in range(count):
        number = await journal.begin(f"task {n}")
        print("begun", number, flush=True)
        await journal.finish(number, "success", diff="+x" * 2000, files_modified=["a.py"])
        print("ended", number, flush=True)
        logged = await journal.log_attempt(ModificationAttempt(f"log {n}", outcome="failure"))
        print("logged", logged, flush=True)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def start(path, count):
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), str(count)], stdout=subprocess.PIPE, text=True
    )


async def killed_once(path, lines, pause):
    """Kill a writer after so many acknowledgements; check each of them."""
    child = start(path, 100_000)
    said = [child.stdout.readline() for _ in range(lines)]
    time.sleep(pause)
    child.kill()
    said += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    journal = ModificationJournal(path)
    open_ = set(await journal.unfinished())
    for line in said:
        kind, _, number = line.strip().partition(" ")
        if not number:
            continue
        found = await journal.get_by_id(int(number))
        assert found is not None, line
        if kind == "ended":
            assert int(number) not in open_
            assert found.diff == "+x" * 2000
    for number in open_:
        await journal.finish(number, Outcome.FAILURE, stage="crashed")
    assert await journal.unfinished() == []
    rate = await journal.get_success_rate()
    assert rate["total"] == len(await journal.attempts(100_000))
    await journal.close()


async def test_nothing_acknowledged_is_lost_when_a_writer_is_killed(tmp_path):
    """Whatever the journal has answered is stored, whole, and what was open ends as crashed."""
    for turn in range(4):
        await killed_once(tmp_path / "j.db", 1 + 5 * turn, turn / 1000)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost_in_two_hundred_kills(tmp_path):
    """The same, two hundred times."""
    for turn in range(200):
        await killed_once(tmp_path / "j.db", 1 + turn % 23, (turn % 7) / 1500)


def together(path, processes, count):
    children = [start(path, count) for _ in range(processes)]
    said = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * processes
    numbers = [line.split()[1] for one in said for line in one.splitlines() if "logged" in line]
    assert len(set(numbers)) == processes * count
    journal = ModificationJournal(path)
    assert asyncio.run(journal.get_success_rate())["total"] == 2 * processes * count
    asyncio.run(journal.close())


def test_many_processes_write_at_once_and_lose_nothing(tmp_path):
    """A new file, many first openers, no error, every row there."""
    together(tmp_path / "new" / "j.db", 4, 25)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_processes_write_a_thousand_rows_each(tmp_path):
    """8 x 1,000 rows (500 begun and ended, 500 logged): none lost, no error surfaced."""
    together(tmp_path / "j.db", 8, 500)


async def test_a_forked_child_does_not_disturb_its_parent(tmp_path):
    """A process that forks goes on writing; so may the child."""
    journal = ModificationJournal(tmp_path / "j.db")
    await journal.begin("parent")
    script = (
        "import asyncio, os, sys, warnings\n"
        "from self_coding.adapters.db import Database\n"
        "d = Database(sys.argv[1], application=5, migrations=['CREATE TABLE t (a);'])\n"
        "def put():\n"
        "    with d.write() as c:\n"
        "        c.execute('INSERT INTO t VALUES (1)')\n"
        "put()\n"
        "child = os.fork()\n"
        "put()\n"
        "if child:\n"
        "    os.waitpid(child, 0)\n"
        "    put()\n"
        "    with d.read() as c:\n"
        "        print(c.execute('SELECT count(*) FROM t').fetchone()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "f.db")],
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
    )
    assert done.stdout.strip() == "4"
    await journal.close()


async def test_an_outcome_may_be_given_as_text(tmp_path):
    """The stored value of an outcome is as good as the outcome."""
    journal = ModificationJournal(tmp_path / "j.db")
    number = await journal.begin("t")
    await journal.finish(number, "rollback")
    assert (await journal.get_by_id(number)).outcome is Outcome.ROLLBACK
    await journal.close()
