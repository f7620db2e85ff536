"""Which files does a task concern? Each signal's worth on the development set.

    python bench/localize.py --set ../shared/bench/localize            # every signal switched off
    python bench/localize.py --set ... --without history,tests         # these together, beside all
    python bench/localize.py --set ... --repos psf/requests --each 10
    python bench/localize.py --set ... --summary                       # with the task told

The set's own `score.py` asks the public API with a fresh index per task; this one keeps one index
per repository and asks each task once per table row, so that the rows differ in the signal alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
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

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import (
    history,
    orientation,
    queries,
    relevance,
    store,
)
from self_coding.codebase_indexer.freshness import refresh

Row = dict[str, Any]


def main() -> int:
    """Print one table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", type=Path, default=Path("../shared/bench/localize"))
    parser.add_argument("--repos", help="only these, comma-separated")
    parser.add_argument("--each", type=int, help="at most so many tasks of each repository")
    parser.add_argument("--without", help="signals to switch off together, comma-separated")
    parser.add_argument("--summary", action="store_true", help="get_summary(4000, task) instead")
    chosen = parser.parse_args()
    scorer = _scorer(chosen.set)
    variants = _variants(chosen.without)
    found: dict[str, list[Row]] = defaultdict(list)
    for row, database, root in _trees(chosen, scorer):
        if chosen.summary:
            found["summary with task"].append(_summarised(row, database, root, scorer))
            continue
        for name, weights in variants.items():
            found[name].append(_asked(row, database, weights, scorer))
    for line in _table(found):
        print(line)
    return 0


def _scorer(folder: Path) -> ModuleType:
    """The set's own scorer, for its measures."""
    spec = importlib.util.spec_from_file_location("localize_score", folder / "score.py")
    assert spec and spec.loader, f"no score.py in {folder}"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _variants(without: str | None) -> dict[str, dict[str, float]]:
    """Row name -> weights."""
    full = dict(relevance.WEIGHTS)
    rows = {"all signals": full}
    if without:
        off = without.split(",")
        assert set(off) <= full.keys(), f"signals are: {', '.join(full)}"
        return rows | {f"without {without}": full | dict.fromkeys(off, 0.0)}
    return rows | {f"without {name}": full | {name: 0.0} for name in full}


def _trees(chosen: argparse.Namespace, scorer: ModuleType) -> Iterator[tuple[Row, Database, Path]]:
    """Each task with a working tree at its base commit and an index that is up to date."""
    tasks: dict[str, list[Row]] = defaultdict(list)
    for line in (chosen.set / "dev.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if not chosen.repos or row["repo"] in chosen.repos.split(","):
            tasks[row["repo"]].append(row)
    with tempfile.TemporaryDirectory(prefix="localize-") as folder:
        for repo, rows in sorted(tasks.items()):
            if chosen.each:
                random.Random(5).shuffle(rows)
            name = repo.replace("/", "__")
            bare, root = Path(folder, f"{name}.git"), Path(folder, name)
            bundle = chosen.set / "repos" / f"{name}.bundle"
            subprocess.run(["git", "clone", "-q", "--bare", bundle, bare], check=True)
            scorer.work_tree(bare, root)
            database = Database(
                Path(folder, f"{name}.db"),
                application=store.APPLICATION,
                migrations=store.MIGRATIONS,
                durable=False,
            )
            for row in rows[: chosen.each]:
                scorer.git(root, "checkout", "-q", "-f", "--detach", row["base_commit"])
                scorer.git(root, "clean", "-q", "-f", "-d")
                refresh(database, root, ["."], tier2=True)
                history.refresh(database, root)
                yield row, database, root


def _asked(row: Row, database: Database, weights: dict[str, float], scorer: ModuleType) -> Row:
    before = time.process_time()
    with database.read() as connection:
        ranked = queries.relevant(connection, row["task"], weights=weights)[:10]
    taken = time.process_time() - before
    measured = scorer.measure([each.file.path for each in ranked], row["files"])
    return {"repo": row["repo"], "kind": row["kind"], "cpu": taken, **measured}


def _summarised(row: Row, database: Database, root: Path, scorer: ModuleType) -> Row:
    before = time.process_time()
    text = orientation.summarise(database, root, 4000, row["task"])
    taken = time.process_time() - before
    files, symbols = scorer.named(text, row, root)
    ranked = _asked(row, database, dict(relevance.WEIGHTS), scorer)
    told = {"files named": files, "recall@10": ranked["recall@10"], "cpu": taken}
    if symbols is not None:
        told["symbols named"] = symbols
    return {"repo": row["repo"], "kind": row["kind"], **told}


def _table(found: dict[str, list[Row]]) -> Iterator[str]:
    """Markdown: all rows, then the first variant by kind and repository."""
    first = next(iter(found.values()))
    keys = [key for key in first[0] if key not in ("repo", "kind", "cpu")]
    yield f"| | n | {' | '.join(keys)} | CPU s |"
    yield "|" + "---|" * (len(keys) + 3)
    for name, rows in found.items():
        yield _line(name, rows, keys)
    for part in ("kind", "repo"):
        for value in sorted({row[part] for row in first}):
            yield _line(value, [row for row in first if row[part] == value], keys)


def _line(name: str, rows: list[Row], keys: list[str]) -> str:
    cells = []
    for key in [*keys, "cpu"]:
        values = [row[key] for row in rows if key in row]
        cells.append(f"{sum(values) / len(values):.3f}" if values else "-")
    return f"| {name} | {len(rows)} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
