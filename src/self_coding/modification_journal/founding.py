"""Reads the founding version's database: its table is found by its columns, and nothing is lost.

The file is only read. A column that we do not know, an id, an outcome that is none of ours: all
of it is kept among the facts of the attempt.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

from self_coding.adapters.db import Connection, reading
from self_coding.errors import JournalError
from self_coding.modification_journal import fold, record
from self_coding.modification_journal.exchange import Tale
from self_coding.values.attempts import Json, Outcome

_NAMES = {
    "task_description": "task",
    "approach": "approach",
    "diff": "diff",
    "test_results": "test_results",
    "failure_analysis": "failure_analysis",
    "reflection": "reflection",
}
_READ = {*_NAMES, "id", "files_modified", "outcome", "retry_count", "embedding", "timestamp"}


def tales(path: Path) -> list[Tale]:
    """Every attempt of a founding database, oldest first."""
    with reading(path) as connection:
        table = _table(connection, path)
        cursor = connection.execute(f'SELECT * FROM "{table}" ORDER BY rowid')  # noqa: S608 - a table's own name
        columns = [str(column[0]) for column in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor]
    return [_tale(row, number) for number, row in enumerate(rows, 1)]


def _table(connection: Connection, path: Path) -> str:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in names:
        quoted = str(name).replace('"', '""')
        columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{quoted}")')}
        if {"task_description", "outcome"} <= columns:
            return quoted
    raise JournalError(
        f"{path} holds no table of attempts",
        hint="the founding version's has the columns task_description and outcome",
    )


def _tale(row: Mapping[str, object], number: int) -> Tale:
    """One row as an attempt that is logged whole."""
    outcome, odd = _outcome(row.get("outcome"))
    data: dict[str, Json] = {name: _text(row.get(column)) for column, name in _NAMES.items()}
    facts: dict[str, Json] = {"founding_id": _plain(row.get("id", number)), **odd}
    moment = _moment(row.get("timestamp"))
    if moment is None:
        facts["founding_timestamp"] = _plain(row.get("timestamp"))
    facts |= {f"founding_{key}": _plain(value) for key, value in row.items() if key not in _READ}
    retries = row.get("retry_count")
    data |= {
        "files_modified": cast("list[Json]", _files(row.get("files_modified"))),
        "outcome": outcome.value,
        "retry_count": retries if isinstance(retries, int) else 0,
        "stage": fold.ENDED,
        "facts": facts,
    }
    return Tale(
        number=number,
        events=((fold.ENDED, moment or number, record.facts(data)),),
        embedding=tuple(_vector(row.get("embedding"))),
    )


def _outcome(value: object) -> tuple[Outcome, dict[str, Json]]:
    spelled = _text(value).rpartition(".")[2].strip().lower()
    try:
        return Outcome(spelled), {}
    except ValueError:
        return Outcome.FAILURE, {"founding_outcome": _text(value)}


def _moment(value: object) -> int | None:
    """Microseconds of a stored moment: ISO text, SQLite's text, or seconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value * 1_000_000) if abs(value) < 1e11 else None
    text = _text(value).strip()
    try:
        return record.micros(datetime.fromisoformat(text))
    except ValueError:
        return None


def _files(value: object) -> list[str]:
    if not value:
        return []
    try:
        found = json.loads(_text(value))
    except ValueError:
        found = [part.strip() for part in _text(value).replace("\n", ",").split(",")]
    items = found if isinstance(found, list) else [found]
    return [record.path(str(item)) for item in items if str(item)]


def _vector(value: object) -> Sequence[float]:
    if isinstance(value, bytes):
        if value[:1] == b"[":
            value = value.decode("utf-8", "replace")
        else:
            return list(array("f", value)) if value and len(value) % 4 == 0 else []
    try:
        return record.vector(json.loads(cast("str", value))) or []
    except (TypeError, ValueError, JournalError):
        return []


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _plain(value: object) -> Json:
    return value if value is None or isinstance(value, int | float | bool) else _text(value)
