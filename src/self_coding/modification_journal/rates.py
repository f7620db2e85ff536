"""Success rates with their intervals, from counters that are kept beside the attempts.

Counted when an attempt ends and when it is re-labelled, so that reading a rate costs nothing. An
attempt that has not ended counts nowhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from self_coding.errors import JournalError
from self_coding.modification_journal.record import Record, moment
from self_coding.values.attempts import Outcome, Rate

if TYPE_CHECKING:
    from self_coding.modification_journal.store import Store

DIMENSIONS = ("area", "editor", "model", "period")
_OVERALL = "overall"
_Z = 1.959964  # 95 %
_SOURCE_ROOTS = frozenset(("src", "lib", "source", "python"))


def wilson(successes: int, total: int) -> Rate:
    """Return a rate with its 95 % Wilson interval; an empty one spans everything."""
    if total <= 0:
        return Rate(successes=0, total=0, rate=0.0, low=0.0, high=1.0)
    share = successes / total
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z * _Z / (4 * total * total))
    centre = share + _Z * _Z / (2 * total)
    divisor = 1 + _Z * _Z / total
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / divisor)
    high = 1.0 if successes == total else min(1.0, (centre + spread) / divisor)
    return Rate(successes=successes, total=total, rate=share, low=low, high=high)


def labels(record: Record) -> list[tuple[str, str]]:
    """Return what an ended attempt is counted under, as (dimension, value)."""
    areas = set()
    for path in record.files_modified:
        folders = path.split("/")[:-1]
        if folders and folders[0] in _SOURCE_ROOTS:
            folders = folders[1:]
        areas.add("/".join(folders[:2]) or ".")
    when = moment(record.ended if record.ended is not None else record.at)
    return [
        (_OVERALL, ""),
        *(("area", area) for area in sorted(areas)),
        ("editor", record.editor or "unknown"),
        *([("model", record.model)] if record.model else []),
        ("period", f"{when.year}-{when.month:02}" if when else "unknown"),
    ]


def totals(store: Store) -> dict[str, float | int]:
    """Return the founding summary: overall, success, failure, rollback, total."""
    with store.read() as queries:
        counts = queries.counts(_OVERALL).get("", {})
    numbers = {outcome.value: counts.get(outcome.value, 0) for outcome in Outcome}
    total = sum(numbers.values())
    overall = numbers["success"] / total if total else 0.0
    return {"overall": overall, **numbers, "total": total}


def rates(store: Store, by: str | None) -> dict[str, Rate]:
    """Return the rates by one dimension, most attempts first; None gives the overall one."""
    if by is not None and by not in DIMENSIONS:
        raise JournalError(
            f"there are no rates by {by!r}", hint=f"use one of {', '.join(DIMENSIONS)}"
        )
    with store.read() as queries:
        counts = queries.counts(by or _OVERALL)
    found = {
        value: wilson(numbers.get(Outcome.SUCCESS.value, 0), sum(numbers.values()))
        for value, numbers in counts.items()
    }
    if by is None:
        return {_OVERALL: found.get("", wilson(0, 0))}
    kept = [(value, rate) for value, rate in found.items() if rate.total > 0]
    return dict(sorted(kept, key=lambda item: (-item[1].total, item[0])))
