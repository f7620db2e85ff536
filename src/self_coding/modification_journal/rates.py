"""Success rates, kept as counters beside the attempts, with Wilson intervals.

Counted when an attempt ends and when it is re-labelled, so that reading one costs nothing. An
attempt that has not ended counts nowhere.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from self_coding.adapters.db import Connection, Database
from self_coding.errors import JournalError
from self_coding.modification_journal.record import Record, moment
from self_coding.values.attempts import Outcome, Rate

DIMENSIONS = ("area", "editor", "model", "period")
_OVERALL = "overall"
_Z = 1.959964  # 95 %
_SOURCE_ROOTS = frozenset(("src", "lib", "source", "python"))


def wilson(successes: int, total: int) -> Rate:
    """The rate with its 95 % Wilson interval; an empty one spans everything."""
    if total <= 0:
        return Rate(successes=0, total=0, rate=0.0, low=0.0, high=1.0)
    share = successes / total
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z * _Z / (4 * total * total))
    centre = share + _Z * _Z / (2 * total)
    divisor = 1 + _Z * _Z / total
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / divisor)
    high = 1.0 if successes == total else min(1.0, (centre + spread) / divisor)
    return Rate(successes=successes, total=total, rate=share, low=low, high=high)


def area(path: str) -> str:
    """The part of the code that a path lies in: its first two folders, below a source root."""
    folders = path.split("/")[:-1]
    if folders and folders[0] in _SOURCE_ROOTS:
        folders = folders[1:]
    return "/".join(folders[:2]) or "."


def count(connection: Connection, entry: Record, step: int) -> None:
    """Count an ended attempt in (+1) or out (-1), under everything it belongs to."""
    connection.executemany(
        "INSERT INTO tally (dimension, value, outcome, attempts) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (dimension, value, outcome) "
        "DO UPDATE SET attempts = tally.attempts + excluded.attempts",
        [(dimension, value, entry.outcome, step) for dimension, value in _labels(entry)],
    )


def totals(database: Database) -> dict[str, float | int]:
    """The founding summary: overall, success, failure, rollback, total."""
    counts = _counts(database, _OVERALL).get("", {})
    numbers = {outcome.value: counts.get(outcome.value, 0) for outcome in Outcome}
    total = sum(numbers.values())
    overall = numbers["success"] / total if total else 0.0
    return {"overall": overall, **numbers, "total": total}


def rates(database: Database, by: str | None) -> dict[str, Rate]:
    """Rates by one dimension, most attempts first; None gives the one over everything."""
    if by is None:
        return {_OVERALL: _rate(_counts(database, _OVERALL).get("", {}))}
    if by not in DIMENSIONS:
        raise JournalError(
            f"there are no rates by {by!r}", hint=f"use one of {', '.join(DIMENSIONS)}"
        )
    found = {value: _rate(counts) for value, counts in _counts(database, by).items()}
    kept = [(value, rate) for value, rate in found.items() if rate.total > 0]
    return dict(sorted(kept, key=lambda item: (-item[1].total, item[0])))


def _labels(entry: Record) -> Iterable[tuple[str, str]]:
    yield _OVERALL, ""
    for folder in sorted({area(path) for path in entry.files}):
        yield "area", folder
    yield "editor", entry.editor or "unknown"
    if entry.model:
        yield "model", entry.model
    when = moment(entry.ended if entry.ended is not None else entry.at)
    yield "period", f"{when.year}-{when.month:02}" if when else "unknown"


def _counts(database: Database, dimension: str) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    with database.read() as connection:
        for value, outcome, number in connection.execute(
            "SELECT value, outcome, attempts FROM tally WHERE dimension = ?", (dimension,)
        ):
            counts[str(value)][str(outcome)] = int(number)
    return dict(counts)


def _rate(counts: dict[str, int]) -> Rate:
    return wilson(counts.get(Outcome.SUCCESS.value, 0), sum(counts.values()))
