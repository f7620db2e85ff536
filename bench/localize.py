"""Which files does a task concern? Each signal's worth on the development set.

    python bench/localize.py --set ../shared/bench/localize            # every signal switched off
    python bench/localize.py --set ... --without history,tests         # these together, beside all
    python bench/localize.py --set ... --repos psf/requests --each 10
    python bench/localize.py --set ... --summary                       # with the task told
    python bench/localize.py --set ... --made 280 --histories ../shared/bench/histories \
        --without recency                                # tasks made of the histories' commits
    python bench/localize.py --set ... --lines          # functions that 4,000 tokens hold
    python bench/localize.py --set ... --aider PYTHON   # beside aider's repository map, by the
                                                        # Python of its own environment

The set's own `score.py` asks the public API with a fresh index per task; this one keeps one index
per repository and asks each task once per table row, so that the rows differ in the signal alone.
Behind a figure of a further row stands the difference to the first, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import lines
import made
from self_coding.adapters.db import Database
from self_coding.codebase_indexer import history, ranking, search, store
from self_coding.codebase_indexer.refresh import refresh

Row = dict[str, Any]


def main() -> int:
    """Print one table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", type=Path, default=Path("../shared/bench/localize"))
    parser.add_argument("--repos", help="only these, comma-separated")
    parser.add_argument("--each", type=int, help="at most so many tasks of each repository")
    parser.add_argument("--without", help="signals to switch off together, comma-separated")
    parser.add_argument("--made", type=int, help="so many tasks made of each history instead")
    parser.add_argument("--histories", type=Path, help="a folder of further bundles for --made")
    parser.add_argument("--summary", action="store_true", help="get_summary(4000, task) instead")
    parser.add_argument("--aider", type=Path, help="the Python of an environment with aider-chat")
    parser.add_argument("--lines", action="store_true", help="functions inside of 4,000 tokens")
    chosen = parser.parse_args()
    scorer = _scorer(chosen.set)
    variants = _variants(chosen.without)
    map_of = None
    if chosen.aider:
        variants = {"all signals": dict(ranking.WEIGHTS)}
        argv = [chosen.aider, Path(__file__).with_name("repo_map.py")]
        map_of = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found: dict[str, list[Row]] = defaultdict(list)
    for row, database, root in _trees(chosen, scorer):
        if chosen.lines:
            for name, told in lines.measured(row, database, root):
                found[name].append(told)
            continue
        if chosen.summary:
            found["summary with task"].append(_summarised(row, database, root, scorer))
            continue
        for name, weights in variants.items():
            found[name].append(_asked(row, database, weights, scorer))
        if map_of and map_of.stdin and map_of.stdout:
            print(
                json.dumps({"root": str(root), "task": row["task"]}), file=map_of.stdin, flush=True
            )
            ranked, inside, taken = json.loads(map_of.stdout.readline())
            beside = {"in 4,000 tokens": _part(inside, row), **scorer.measure(ranked, row["files"])}
            told = {"repo": row["repo"], "kind": row["kind"], "cpu": taken, **beside}
            found["aider's repository map"].append(told)
            text = search.summarize(database, root, 4000, row["task"])
            ours = found["all signals"][-1]
            found["all signals"][-1] = {"in 4,000 tokens": scorer.named(text, row, root)[0], **ours}
    for line in _table(found):
        print(line)
    return 0


def _part(paths: list[str], row: Row) -> float:
    return sum(path in paths for path in row["files"]) / len(row["files"])


def _scorer(folder: Path) -> ModuleType:
    """The set's own scorer, for its measures."""
    spec = importlib.util.spec_from_file_location("localize_score", folder / "score.py")
    assert spec and spec.loader, f"no score.py in {folder}"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _variants(without: str | None) -> dict[str, dict[str, float]]:
    """Row name -> weights."""
    full = dict(ranking.WEIGHTS)
    rows = {"all signals": full}
    if without:
        off = without.split(",")
        assert set(off) <= full.keys(), f"signals are: {', '.join(full)}"
        return rows | {f"without {without}": full | dict.fromkeys(off, 0.0)}
    return rows | {f"without {name}": full | {name: 0.0} for name in full}


def _trees(chosen: argparse.Namespace, scorer: ModuleType) -> Iterator[tuple[Row, Database, Path]]:
    """Each task with a working tree at its base commit and an index that is up to date."""
    bundles = sorted((chosen.set / "repos").glob("*.bundle"))
    if chosen.made and chosen.histories:
        bundles += sorted(chosen.histories.glob("*.bundle"))
    with tempfile.TemporaryDirectory(prefix="localize-") as folder:
        for bundle in bundles:
            repo = bundle.stem.replace("__", "/")
            if chosen.repos and repo not in chosen.repos.split(","):
                continue
            bare, root = Path(folder, f"{bundle.stem}.git"), Path(folder, bundle.stem)
            subprocess.run(["git", "clone", "-q", "--bare", bundle, bare], check=True)
            scorer.work_tree(bare, root)
            rows = made.tasks(bare, repo, chosen.made) if chosen.made else _given(chosen, repo)
            database = Database(
                Path(folder, f"{bundle.stem}.db"),
                application=store.APPLICATION,
                migrations=store.MIGRATIONS,
                durable=False,
            )
            for row in rows:
                scorer.git(root, "checkout", "-q", "-f", "--detach", row["base_commit"])
                scorer.git(root, "clean", "-q", "-f", "-d")
                refresh(database, root, ["."], parse=True)
                history.refresh(database, root, step=history.DEPTH)
                yield row, database, root


def _given(chosen: argparse.Namespace, repo: str) -> list[Row]:
    """The set's tasks of one repository."""
    lines = (chosen.set / "dev.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["repo"] == repo]
    if chosen.each:
        random.Random(5).shuffle(rows)
    return rows[: chosen.each]


def _asked(row: Row, database: Database, weights: dict[str, float], scorer: ModuleType) -> Row:
    before = time.process_time()
    with database.read() as connection:
        ranked = search.rank_files(connection, row["task"], weights=weights)[:10]
    taken = time.process_time() - before
    measured = scorer.measure([each.file.path for each in ranked], row["files"])
    return {"repo": row["repo"], "kind": row["kind"], "cpu": taken, **measured}


def _summarised(row: Row, database: Database, root: Path, scorer: ModuleType) -> Row:
    before = time.process_time()
    text = search.summarize(database, root, 4000, row["task"])
    taken = time.process_time() - before
    files, symbols = scorer.named(text, row, root)
    ranked = _asked(row, database, dict(ranking.WEIGHTS), scorer)
    told = {"files named": files, "recall@10": ranked["recall@10"], "cpu": taken}
    if symbols is not None:
        told["symbols named"] = symbols
    return {"repo": row["repo"], "kind": row["kind"], **told}


def _table(found: dict[str, list[Row]]) -> Iterator[str]:
    """Markdown: all rows, then every variant by kind and repository."""
    first = next(iter(found.values()))
    keys = [key for key in first[0] if key not in ("repo", "kind", "cpu")]
    yield f"| | n | {' | '.join(keys)} | CPU s |"
    yield "|" + "---|" * (len(keys) + 3)
    yield from _lines("", found, keys)
    shown = dict(list(found.items())[: 2 if len(found) == 2 else 1])
    for part in ("kind", "repo"):
        for value in sorted({row[part] for row in first}):
            kept = {
                name: [row for row in rows if row[part] == value] for name, rows in shown.items()
            }
            yield from _lines(value, kept, keys)


def _lines(part: str, found: dict[str, list[Row]], keys: list[str]) -> Iterator[str]:
    first = next(iter(found.values()))
    for name, rows in found.items():
        label = f"{part}, {name}" if part and len(found) > 1 else part or name
        yield _line(label, rows, first, keys)


def _line(name: str, rows: list[Row], first: list[Row], keys: list[str]) -> str:
    cells = []
    for key in [*keys, "cpu"]:
        values = [row[key] for row in rows if key in row]
        cell = f"{sum(values) / len(values):.3f}" if values else "-"
        if rows is not first and key in ("recall@5", "mrr", "functions"):
            cell += _beside([row[key] - other[key] for row, other in zip(rows, first, strict=True)])
        cells.append(cell)
    return f"| {name} | {len(rows)} | {' | '.join(cells)} |"


def _beside(differences: list[float]) -> str:
    """The mean difference to the first row, and half of its 95 % interval."""
    number = len(differences)
    mean = sum(differences) / number
    spread = math.sqrt(sum((each - mean) ** 2 for each in differences)) / number
    return f" ({mean:+.3f} ± {1.96 * spread:.3f})"


if __name__ == "__main__":
    sys.exit(main())
