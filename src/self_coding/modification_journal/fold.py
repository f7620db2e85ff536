"""An attempt is the fold of its events: pure.

`attempt` rows hold the fold for reading; folding the stored events anew gives the same row, and
a test holds that. It refuses no event: an unknown kind only moves the stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from self_coding.modification_journal.record import FOLDED, Record
from self_coding.values.attempts import Json

PLANNED, ENDED, REFLECTED, RELABELLED = "planned", "ended", "reflected", "relabelled"

_TEXTS = {
    "task": "task",
    "approach": "approach",
    "diff": "diff",
    "test_results": "tests",
    "failure_analysis": "analysis",
    "reflection": "reflection",
    "edit": "edit",
    "outcome": "outcome",
    **{name: name for name in FOLDED},
}


def fold(events: Iterable[tuple[str, int, Mapping[str, Json]]]) -> Record:
    """The attempt that these events (kind, moment, data), in order, tell of."""
    record = Record()
    for kind, at, data in events:
        apply(record, kind, at, data)
    return record


def apply(record: Record, kind: str, at: int, data: Mapping[str, Json]) -> None:
    """Bring a record up to date with one event."""
    record.at = record.at or at
    if kind in (PLANNED, ENDED):
        _take(record, data)
        record.facts |= cast("dict[str, Json]", data.get("facts") or {})
    elif kind == REFLECTED:
        record.reflection = str(data.get("reflection") or record.reflection)
    elif kind == RELABELLED:
        record.outcome = str(data["outcome"])
        record.analysis = str(data.get("failure_analysis") or record.analysis)
    if kind == ENDED:
        record.ended = at
        record.stage = str(data.get("stage") or ENDED)
    elif record.ended is None:
        record.stage = kind


def planned(record: Record) -> dict[str, Json]:
    """The data of the event that begins this record."""
    return _without_empty(
        {
            "task": record.task,
            "edit": record.edit,
            "retry_count": record.retry_count,
            "facts": dict(record.facts),
            **{name: cast("str", getattr(record, name)) for name in FOLDED},
        }
    )


def ended(record: Record) -> dict[str, Json]:
    """The data of the event that ends this record."""
    texts: dict[str, Json] = {key: getattr(record, name) for key, name in _TEXTS.items()}
    rest: dict[str, Json] = {
        "files_modified": list(record.files),
        "retry_count": record.retry_count,
        "stage": record.stage,
        "facts": dict(record.facts),
    }
    return _without_empty(texts | rest)


def _take(record: Record, data: Mapping[str, Json]) -> None:
    for key, name in _TEXTS.items():
        value = data.get(key)
        if value:
            setattr(record, name, str(value))
    files = data.get("files_modified")
    if isinstance(files, list) and files:
        record.files = [str(path) for path in files]
    count = data.get("retry_count")
    if isinstance(count, int):
        record.retry_count = count


def _without_empty(data: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in data.items() if value or key in ("task", "outcome")}
