"""Measures the journal; each figure of docs/explanation/journal.md: `python bench/journal.py WHAT`.

    retrieval DATA [--without WEIGHT] [--mixed] [--no-outcome]   nDCG@5 over a replayed history
    ablation DATA                            the same, with each idea taken out
    dead-ends DATA                           precision and recall of the warning
    scale ROWS [--folder F] [--database A]   CPU ms of search, rate, failures, file at ROWS rows
                                             (over 100,000, the rest are variations of the first);
                                             on PostgreSQL at the address A, copied there first
    log [ROWS or DATA]                       CPU ms of one durable log_attempt
    writers [PROCESSES ROWS]                 rows lost with many processes writing at once
    kill [TIMES]                             acknowledged rows lost when a writer is killed

DATA is a folder of REPO.rows.jsonl and REPO.queries.jsonl, as the development benchmark has
them: rows in order of logging, each query asked just before its own row is logged. All times are
CPU time of this process (user and system), so a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import math
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path

from self_coding.modification_journal import (
    ModificationAttempt,
    ModificationJournal,
    Outcome,
    attempts,
    search,
)
from self_coding.modification_journal.postgres import PostgresStore
from self_coding.modification_journal.queries import candidates_of, now
from self_coding.modification_journal.ranking import DEFAULT, Weights, features, measure
from self_coding.modification_journal.record import ENDED, from_attempt
from self_coding.modification_journal.store import SQLiteStore


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ------------------------------------------------------------------ replay of real histories


def histories(data: Path, only: str = ""):
    for path in sorted(data.glob("*.rows.jsonl")):
        name = path.name.removesuffix(".rows.jsonl")
        if not only or name in only.split(","):
            lines = path.read_text().rstrip("\n").split("\n")
            asked = collections.defaultdict(list)
            for line in (data / f"{name}.queries.jsonl").read_text().rstrip("\n").split("\n"):
                query = json.loads(line)
                asked[query["i"]].append(query)
            yield name, [json.loads(line) for line in lines], asked


def as_attempt(row: dict) -> ModificationAttempt:
    """A row as the product would be handed it: hunk headers name the functions."""
    path = row["files"][0] if row["files"] else "x.py"
    diff = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n{row['diff']}\n"
    diff += "".join(f"@@ -1 +1 @@ def {name}(\n" for name in row["syms"])
    return ModificationAttempt(
        row["task"], files_modified=row["files"], diff=diff, outcome=Outcome(row["out"])
    )


def ndcg(ranked: list[str], gains: dict[str, float]) -> float:
    reached = sum(gains.get(row, 0.0) / math.log2(at + 2) for at, row in enumerate(ranked[:5]))
    ideal = sorted(gains.values(), reverse=True)[:5]
    return reached / sum(gain / math.log2(at + 2) for at, gain in enumerate(ideal))


def fresh_store(folder: str) -> SQLiteStore:
    return SQLiteStore(Path(folder) / "journal.db", durable=False)


def scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def replay(data: Path, only: str, mixed: bool, ask):
    """Log every history, and call ask(store, text, query, ids) at each query."""
    streams = list(histories(data, only))
    if mixed:  # one journal for all histories, row by row in turn
        longest = max(len(log) for _, log, _ in streams)
        order = [(s, at) for at in range(longest) for s in streams if at < len(s[1])]
        groups = [order]
    else:
        groups = [[(stream, at) for at in range(len(stream[1]))] for stream in streams]
    for group in groups:
        with scratch() as folder:
            store = fresh_store(folder)
            ids: dict[int, tuple[str, str]] = {}
            for (name, log, asked), at in group:
                row = log[at]
                for query in asked.get(row["i"], ()):
                    ask(store, f"{query['q']}\n{query['body']}".strip(), query, name, ids)
                ids[attempts.log(store, as_attempt(row))] = (name, str(row["i"]))
            store.close()


def retrieval(data: Path, only: str, variants: dict[str, Weights], mixed: bool = False):
    """The scores of each variant by query set, and the CPU time of the first.

    The measures are taken once, with the weights as they are; a variant weighs them anew.
    """
    scores = {name: collections.defaultdict(list) for name in variants}

    def ask(store, text, query, name, ids):
        with store.read() as queries:
            begun = cpu()
            if not queries.newest_findable():
                return
            asked = features(text)
            measured = measure(asked, *search.gather(queries, asked))
            for at, (variant, weights) in enumerate(variants.items()):
                best = sorted((-one.total(weights), -one.candidate.row) for one in measured)[:5]
                if not at:
                    scores[variant]["cpu"].append(cpu() - begun)
                ranked = [ids[-row] for score, row in best if score < 0]
                own = [row if repo == name else "" for repo, row in ranked]
                scores[variant][query["set"]].append(ndcg(own, query["rel"]))

    replay(data, only, mixed, ask)
    return scores


def report(name: str, scores) -> None:
    means = {kind: statistics.mean(scores[kind]) for kind in "ABC" if scores[kind]}
    parts = "  ".join(f"{kind} {value:.4f}" for kind, value in means.items())
    print(f"{name:28s} {parts}  mean {statistics.mean(means.values()):.4f}", flush=True)


def ablation(data: Path, only: str) -> None:
    variants = {"everything": DEFAULT}
    for field in fields(Weights):
        variants[f"without {field.name}"] = replace(DEFAULT, **{field.name: 0.0})
    for name, scores in retrieval(data, only, variants).items():
        report(name, scores)


def warnings(data: Path, only: str) -> None:
    """A warning is right when the attempt it names is among the query's relevant rows.

    Set B: the same task again after a revert; each query has one, so recall is over all of them.
    Sets A and C are ordinary tasks: what is said there and is not relevant counts as wrong.
    """
    counts = collections.Counter()

    def ask(store, text, query, name, ids):
        said = search.dead_end(store, features(text))
        counts["asked", query["set"]] += 1
        if said is not None:
            right = ids[said.attempt][1] in query["rel"]
            counts["right" if right else "wrong", query["set"]] += 1

    replay(data, only, False, ask)
    right, wrong = (sum(counts[kind, s] for s in "ABC") for kind in ("right", "wrong"))
    b = counts["right", "B"], counts["wrong", "B"], counts["asked", "B"]
    print(f"set B alone: precision {b[0] / max(1, b[0] + b[1]):.3f}, recall {b[0] / b[2]:.3f}")
    print(f"A, B and C:  precision {right / max(1, right + wrong):.3f} ({right + wrong} warnings)")


# ------------------------------------------------------------------------------------ scale


class Invented:
    """Attempts of an invented code base: names follow Zipf's law, like real ones."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        make = self.random
        self.words = [
            "".join(make.choices("abcdefghijklmnopqrstuvwxyz", k=make.randint(3, 9)))
            for _ in range(40_000)
        ]
        total = 0.0
        self.cumulative = []
        for rank in range(len(self.words)):
            total += 1 / (rank + 8)
            self.cumulative.append(total)
        self.paths = [f"src/{self.pick(1)[0]}/{'_'.join(self.pick(2))}.py" for _ in range(8000)]

    def pick(self, count: int) -> list[str]:
        return self.random.choices(self.words, cum_weights=self.cumulative, k=count)

    def task(self) -> str:
        return " ".join(self.pick(8)) + "\n" + " ".join(self.pick(self.random.randint(5, 60)))

    def attempt(self) -> ModificationAttempt:
        make = self.random
        paths = make.choices(self.paths, k=make.randint(1, 4))
        diff = "".join(f"--- a/{path}\n+++ b/{path}\n" for path in paths)
        for _ in range(make.randint(1, 6)):
            diff += f"@@ -1 +1 @@ def {'_'.join(self.pick(2))}(\n"
            diff += "".join(f"+    {' '.join(self.pick(6))}\n" for _ in range(6))
        return ModificationAttempt(
            self.task(),
            files_modified=paths,
            diff=diff,
            test_results=" ".join(self.pick(150)),
            outcome=make.choices(list(Outcome), weights=[8, 1, 1])[0],
        )


def fill(folder: Path, count: int) -> SQLiteStore:
    """A journal of `count` invented attempts, made 1,000 to a transaction."""
    store = fresh_store(str(folder))
    made = Invented()
    with store.read() as queries:
        have = queries.newest_findable()
    for begin in range(have, count, 1000):
        entries = [from_attempt(made.attempt()) for _ in range(min(1000, count - begin))]
        with store.write() as queries:
            for entry in entries:
                entry.at = entry.ended = now()
                attempts.add(queries, entry, [(ENDED, entry.at, entry.finished())])
        if (begin // 1000) % 50 == 49:
            print(f"  {begin + 1000} rows", file=sys.stderr, flush=True)
    return store


def multiply(store: SQLiteStore, count: int) -> None:
    """Grow a journal quickly: new rows with the words of old ones, a quarter of them changed.

    Only what searching and counting read is written; the texts of these rows are short.
    """
    made = Invented(seed=3)
    with store.read() as queries:
        have = queries.newest_findable()
        sql = "SELECT attempt, outcome, words FROM feature WHERE attempt <= ?"
        old = candidates_of(queries.connection.execute(sql, (min(have, 5000),)).fetchall())
    for begin in range(have, count, 5000):
        with store.write() as queries:
            for row in range(begin + 1, min(begin + 5000, count) + 1):
                past = made.random.choice(old)
                body = [*past.features.body]
                for at in made.random.sample(range(len(body)), len(body) // 4):
                    body[at] = made.random.choice(made.words)
                changed = replace(past.features, body=tuple(body), title=" ".join(body[:8]))
                queries.connection.execute(
                    "INSERT INTO attempt (id, at, ended, stage, outcome, task) "
                    "VALUES (?, ?, ?, 'ended', ?, ?)",
                    (row, row, row, past.outcome, " ".join(body)),
                )
                queries.put_features(row, past.outcome, changed)
        if begin % 100_000 == 0:
            print(f"  {begin} rows", file=sys.stderr, flush=True)


def timed(name: str, calls) -> None:
    spent = []
    for call in calls:
        begun = cpu()
        call()
        spent.append(1000 * (cpu() - begun))
    spent.sort()
    p95 = spent[int(0.95 * (len(spent) - 1))]
    print(f"{name:22s} p50 {statistics.median(spent):8.2f}  p95 {p95:8.2f} CPU ms", flush=True)


def on_postgres(source: SQLiteStore, address: str) -> PostgresStore:
    """The same journal on a server; how long its copy takes, and the round trips of a search."""
    import psycopg

    from self_coding.modification_journal import table_copy

    target = PostgresStore(address)
    begun, started = cpu(), time.monotonic()
    rows = table_copy.copy(source, target, lambda *_: None)
    wall = time.monotonic() - started
    print(f"copied {rows} attempts: {cpu() - begun:.0f} CPU s, {wall:.0f} s", flush=True)
    trips = 0
    plain = psycopg.Connection.execute

    def counted(*args, **more):
        nonlocal trips
        trips += 1
        return plain(*args, **more)

    psycopg.Connection.execute = counted
    search.find(target, features(Invented(seed=2).task()), 5)
    psycopg.Connection.execute = plain
    print(f"round trips of one find_similar, begin and commit included: {trips}", flush=True)
    return target


def scale(count: int, folder: str, address: str = "") -> None:
    with scratch() as own:
        store = fill(Path(folder or own), min(count, 100_000))
        multiply(store, count)
        if address:
            store = on_postgres(store, address)
        made = Invented(seed=2)
        tasks = [made.task() for _ in range(200)]
        short = [t.split("\n")[0] for t in tasks]

        def find(text: str) -> None:
            search.find(store, features(text), 5)

        def for_file(path: str) -> None:
            with store.read() as queries:
                queries.attempts_for_file(path, 10)

        def failures() -> None:
            with store.read() as queries:
                queries.newest(10, (Outcome.FAILURE, Outcome.ROLLBACK))

        timed("find_similar", [lambda t=t: find(t) for t in tasks])
        timed("find_similar, a line", [lambda t=t: find(t) for t in short])
        timed("dead_end", [lambda t=t: search.dead_end(store, features(t)) for t in tasks[:100]])
        timed("success rate", [lambda: attempts.totals(store)] * 100)
        timed("recent failures", [failures] * 100)
        timed("attempts for a file", [lambda p=p: for_file(p) for p in made.paths[:200]])
        entries = [made.attempt() for _ in range(200)]
        timed("log", [lambda e=e: attempts.log(store, e) for e in entries])
        store.close()


# ---------------------------------------------------------------------------- writers, kills


def log(count: int, data: Path | None) -> None:
    with scratch() as folder:
        journal = ModificationJournal(Path(folder) / "journal.db")
        made = Invented()
        if data is None:
            attempts = [made.attempt() for _ in range(count)]
        else:
            attempts = [as_attempt(row) for _, history, _ in histories(data) for row in history]
        count = len(attempts)

        async def all_of_them() -> None:
            for attempt in attempts:
                await journal.log_attempt(attempt)

        begun = cpu()
        asyncio.run(all_of_them())
        print(f"log_attempt, durable: {1000 * (cpu() - begun) / count:.3f} CPU ms a row")
        asyncio.run(journal.close())


_WRITER = """
import asyncio, sys
from self_coding.modification_journal import ModificationAttempt, ModificationJournal
async def main(path, count):
    journal = ModificationJournal(path)
    for n in range(count):
        number = await journal.begin(f"task {n}")
        print("B", number, flush=True)
        await journal.finish(number, "success", diff="+x" * 900, files_modified=["a.py"])
        print("E", number, flush=True)
        print("L", await journal.log_attempt(ModificationAttempt(f"log {n}")), flush=True)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

_LOGGER = """
import asyncio, sys
from self_coding.modification_journal import ModificationAttempt, ModificationJournal
async def main(path, count):
    journal = ModificationJournal(path)
    for n in range(count):
        await journal.log_attempt(ModificationAttempt(f"task {n}", files_modified=["a.py"]))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def writers(processes: int, count: int) -> None:
    with scratch() as folder:
        path = str(Path(folder) / "journal.db")
        begun = time.monotonic()
        running = [
            subprocess.Popen([sys.executable, "-c", _LOGGER, path, str(count)])
            for _ in range(processes)
        ]
        failed = sum(one.wait() != 0 for one in running)
        journal = ModificationJournal(path)
        stored = asyncio.run(journal.get_success_rate())["total"]
        asyncio.run(journal.close())
        wall = time.monotonic() - begun
        print(f"{processes} processes x {count}: {stored} stored, {failed} failed, {wall:.1f} s")


def kill(times: int) -> None:
    """Kill a writer at a random moment; whatever it had acknowledged must be there."""
    lost = unaccounted = acknowledged = 0
    pick = random.Random(3)
    with scratch() as folder:
        path = str(Path(folder) / "journal.db")
        for _ in range(times):
            child = subprocess.Popen(
                [sys.executable, "-c", _WRITER, path, "100000"],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert child.stdout is not None
            seen = [child.stdout.readline() for _ in range(pick.randint(1, 30))]
            time.sleep(pick.random() / 200)
            child.send_signal(signal.SIGKILL)
            seen += child.stdout.read().splitlines()
            child.wait()
            lines = [line.split() for line in seen if len(line.split()) == 2]
            acknowledged += len(lines)
            a, b = asyncio.run(_missing(path, lines))
            lost += a
            unaccounted += b
    print(f"{times} kills: {acknowledged} acknowledged, {lost} lost, {unaccounted} unaccounted for")


async def _missing(path: str, lines: list[list[str]]) -> tuple[int, int]:
    journal = ModificationJournal(path)
    open_ = set(await journal.unfinished())
    lost = 0
    for kind, number in lines:
        lost += await journal.get_by_id(int(number)) is None
        lost += kind == "E" and int(number) in open_
    for number in open_:
        await journal.finish(number, Outcome.FAILURE, stage="crashed")
    rest = len(await journal.unfinished())
    await journal.close()
    return lost, rest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what")
    parser.add_argument("values", nargs="*")
    parser.add_argument("--repos", default="")
    parser.add_argument("--without", default="")
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--no-outcome", action="store_true")
    parser.add_argument("--folder", default="")
    parser.add_argument("--database", default="")
    given = parser.parse_args()
    data = Path(given.values[0]) if given.values else Path()
    numbers = [int(value) for value in given.values if value.isdigit()]
    if given.what == "retrieval":
        changed = {given.without: 0.0} if given.without else {}
        if given.no_outcome:
            changed["outcome"] = 0.0
        weights = {"find_similar": replace(DEFAULT, **changed)}
        scores = retrieval(data, given.repos, weights, given.mixed)["find_similar"]
        report("find_similar", scores)
        spent = sorted(1000 * one for one in scores["cpu"])
        p95 = spent[len(spent) * 19 // 20]
        print(f"CPU ms a query: p50 {statistics.median(spent):.1f}, p95 {p95:.1f}")
    elif given.what == "ablation":
        ablation(data, given.repos)
    elif given.what == "dead-ends":
        warnings(data, given.repos)
    elif given.what == "scale":
        scale(numbers[0] if numbers else 100_000, given.folder, given.database)
    elif given.what == "log":
        log(numbers[0] if numbers else 3000, data if data.name and data.is_dir() else None)
    elif given.what == "writers":
        writers(*(numbers or [8, 1000]))
    elif given.what == "kill":
        kill(numbers[0] if numbers else 200)
    else:
        parser.error(f"nothing is called {given.what!r}")


if __name__ == "__main__":
    main()
