"""The rows of attempts and events: how they are written and read, inside a transaction.

The caller begins and ends the transaction. A row that cannot be read whole is read as far as it
goes; it never breaks a query.
"""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, cast

from self_coding.adapters.db import Connection
from self_coding.errors import JournalError
from self_coding.modification_journal import blobs, fold, rates, record, words
from self_coding.modification_journal.features import features
from self_coding.modification_journal.record import Record
from self_coding.values.attempts import Event, Json, ModificationAttempt, Outcome

_COLUMNS = (
    "id, at, outcome, task, approach, files, diff, diff_blob, tests, tests_blob, analysis, "
    "reflection, retry_count"
)
_BIG = ("diff", "test_results")  # their blobs are shared by the event and the row


def now() -> int:
    """This moment in microseconds."""
    return time.time_ns() // 1000


def read(connection: Connection, attempts: Sequence[int]) -> dict[int, ModificationAttempt]:
    """The attempts of these ids, as the founding API hands them out."""
    found: dict[int, ModificationAttempt] = {}
    for attempt in attempts:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM attempt WHERE id = ?",  # noqa: S608 - fixed text
            (attempt,),
        ).fetchone()
        if row:
            found[attempt] = _attempt(connection, row)
    return found


def told(connection: Connection, attempt: int) -> list[tuple[str, int, dict[str, Json]]]:
    """The events of an attempt as the database has them: kind, moment, data."""
    rows = connection.execute(
        "SELECT kind, at, data, blobs FROM event WHERE attempt = ? ORDER BY sequence", (attempt,)
    ).fetchall()
    return [(str(row[0]), int(row[1]), _event_data(connection, row[2], row[3])) for row in rows]


def add(
    connection: Connection, entry: Record, events: Sequence[tuple[str, int, Mapping[str, Json]]]
) -> int:
    """Store an attempt with its whole history, inside the caller's transaction; its id."""
    kept = [_keep(connection, data) for _, _, data in events]
    attempt = insert(connection, entry, {key: value for one in kept for key, value in one.items()})
    for sequence, ((kind, at, data), numbers) in enumerate(zip(events, kept, strict=True), 1):
        _append(connection, (attempt, sequence), (kind, at, data), numbers)
    if entry.ended is not None:
        index(connection, attempt, entry)
    return attempt


def index(connection: Connection, attempt: int, entry: Record) -> None:
    """Make an attempt that has ended findable, and count it."""
    found = features(entry.task, files=entry.files, diff=entry.diff, notes=entry.approach)
    words.add(connection, attempt, str(entry.outcome), found)
    rates.count(connection, entry, +1)


def vector(connection: Connection, attempt: int) -> tuple[list[float], str] | None:
    """The vector of an attempt and the model that made it."""
    row = connection.execute(
        "SELECT body, model FROM vector WHERE attempt = ?", (attempt,)
    ).fetchone()
    if row is None or not isinstance(row[0], bytes) or len(row[0]) % 4:
        return None
    return list(array("f", row[0])), str(row[1])


def put_vector(
    connection: Connection, attempt: int, embedding: Sequence[float], model: str
) -> None:
    """Store the vector of an attempt with the model that made it."""
    connection.execute(
        "INSERT INTO vector (attempt, model, dimension, body) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (attempt) DO UPDATE SET model = excluded.model, "
        "dimension = excluded.dimension, body = excluded.body",
        (attempt, model, len(embedding), array("f", embedding).tobytes()),
    )


def ordered(connection: Connection, ids: list[int]) -> list[ModificationAttempt]:
    """The attempts of these ids, in this order."""
    found = read(connection, ids)
    return [found[attempt] for attempt in ids if attempt in found]


def marks(values: Sequence[object]) -> str:
    """As many placeholders as there are values."""
    return ", ".join("?" * len(values))


_WRITTEN = (
    "at, ended, stage, outcome, task, approach, files, diff, diff_blob, tests, tests_blob, "
    "analysis, reflection, retry_count, edit, editor, model, commit_hash, facts"
)
_INSERT = f"INSERT INTO attempt ({_WRITTEN}) VALUES ({', '.join('?' * 19)}) RETURNING id"  # noqa: S608 - fixed text
_UPDATE = (
    f"UPDATE attempt SET ({_WRITTEN}) = ("  # noqa: S608 - fixed text
    "?, ?, ?, ?, ?, ?, ?, ?, coalesce(?, diff_blob), ?, coalesce(?, tests_blob), "
    "?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?"
)


def insert(connection: Connection, entry: Record, numbers: Mapping[str, int]) -> int:
    """A new row that holds the fold of an attempt; its id."""
    return int(connection.execute(_INSERT, _values(entry, numbers)).fetchone()[0])


def fill(connection: Connection, attempt: int, entry: Record, numbers: Mapping[str, int]) -> None:
    """Bring the row of an attempt up to date; a blob that is not given anew stays."""
    connection.execute(_UPDATE, (*_values(entry, numbers), attempt))


def _values(entry: Record, numbers: Mapping[str, int]) -> tuple[object, ...]:
    """The columns of a row; big texts by the number of their blob."""
    return (
        entry.at,
        entry.ended,
        entry.stage,
        entry.outcome,
        entry.task,
        entry.approach,
        json.dumps(entry.files),
        entry.diff if len(entry.diff) <= blobs.INLINE else "",
        numbers.get("diff"),
        entry.tests if len(entry.tests) <= blobs.INLINE else "",
        numbers.get("test_results"),
        entry.analysis,
        entry.reflection,
        entry.retry_count,
        entry.edit,
        entry.editor,
        entry.model,
        entry.commit,
        json.dumps(entry.facts) if entry.facts else "{}",
    )


def load(connection: Connection, attempt: int) -> Record:
    """The record of an attempt as its row has it; JournalError where there is none."""
    row = connection.execute(
        "SELECT at, ended, stage, outcome, task, approach, files, diff, diff_blob, tests, "
        "tests_blob, analysis, reflection, retry_count, edit, editor, model, commit_hash, facts "
        "FROM attempt WHERE id = ?",
        (attempt,),
    ).fetchone()
    if row is None:
        raise JournalError(
            f"there is no attempt {attempt}", hint="`self-coding journal` lists them"
        )
    return Record(
        at=row[0],
        ended=row[1],
        stage=row[2],
        outcome=row[3],
        task=row[4],
        approach=row[5],
        files=_texts(row[6]),
        diff=_big(connection, row[7], row[8]),
        tests=_big(connection, row[9], row[10]),
        analysis=row[11],
        reflection=row[12],
        retry_count=row[13],
        edit=row[14],
        editor=row[15],
        model=row[16],
        commit=row[17],
        facts=_object(row[18]),
    )


def advance(
    connection: Connection, attempt: int, entry: Record, kind: str, data: dict[str, Json]
) -> Event:
    """Append an event and bring the row up to date."""
    row = connection.execute(
        "SELECT coalesce(max(sequence), 0), coalesce(max(at), 0) FROM event WHERE attempt = ?",
        (attempt,),
    ).fetchone()
    sequence, at = int(row[0]) + 1, max(now(), int(row[1]))
    numbers = _keep(connection, data)
    _append(connection, (attempt, sequence), (kind, at, data), numbers)
    fold.apply(entry, kind, at, data)
    fill(connection, attempt, entry, numbers if kind == fold.ENDED else {})
    return as_event(attempt, sequence, kind, at, data)


def _keep(connection: Connection, data: Mapping[str, Json]) -> dict[str, int]:
    """Store the big texts of an event; the number of each."""
    return {
        key: blobs.put(connection, value)
        for key, value in data.items()
        if isinstance(value, str) and len(value) > blobs.INLINE
    }


def _append(
    connection: Connection,
    key: tuple[int, int],
    event: tuple[str, int, Mapping[str, Json]],
    numbers: Mapping[str, int],
) -> None:
    """Store an event, its big texts by their numbers."""
    kind, at, data = event
    small = {name: value for name, value in data.items() if name not in numbers}
    connection.execute(
        "INSERT INTO event (attempt, sequence, kind, at, data, blobs) VALUES (?, ?, ?, ?, ?, ?)",
        (*key, kind, at, json.dumps(small), json.dumps(numbers) if numbers else ""),
    )
    if kind == fold.ENDED:
        _touch(connection, key[0], data)


def _touch(connection: Connection, attempt: int, data: Mapping[str, Json]) -> None:
    """Enter the paths that an attempt has modified."""
    for path in cast("list[str]", data.get("files_modified") or []):
        row = connection.execute(
            "INSERT INTO file (path, attempts) VALUES (?, 1) "
            "ON CONFLICT (path) DO UPDATE SET attempts = file.attempts + 1 RETURNING id",
            (path,),
        ).fetchone()
        connection.execute(
            "INSERT INTO attempt_file (file, attempt) VALUES (?, ?)", (row[0], attempt)
        )


def _event_data(connection: Connection, stored: object, numbers: object) -> dict[str, Json]:
    """The data of an event; {} where the row is damaged."""
    data = _object(stored)
    for key, value in _object(numbers).items():
        if isinstance(value, int):
            data[key] = blobs.get(connection, value)
    return data


def as_event(attempt: int, sequence: int, kind: str, at: int, data: Mapping[str, Json]) -> Event:
    """An event as callers see it."""
    return Event(
        attempt=attempt,
        sequence=sequence,
        kind=str(kind),
        at=record.moment(at) or record.EPOCH,
        data=dict(data),
    )


def _attempt(connection: Connection, row: tuple[Any, ...]) -> ModificationAttempt:
    """An attempt from its row; what is damaged in it reads as empty."""
    try:
        outcome = Outcome(row[2])
    except ValueError:
        outcome = Outcome.FAILURE
    found = vector(connection, int(row[0]))
    return ModificationAttempt(
        task_description=str(row[3]),
        approach=str(row[4]),
        files_modified=_texts(row[5]),
        diff=_big(connection, row[6], row[7]),
        test_results=_big(connection, row[8], row[9]),
        outcome=outcome,
        failure_analysis=str(row[10]),
        reflection=str(row[11]),
        retry_count=row[12] if isinstance(row[12], int) else 0,
        id=int(row[0]),
        timestamp=record.moment(row[1]),
        embedding=found[0] if found else None,
    )


def _big(connection: Connection, inline: object, number: object) -> str:
    return blobs.get(connection, number) if isinstance(number, int) else str(inline or "")


def _texts(stored: object) -> list[str]:
    try:
        value = json.loads(cast("str", stored))
    except (TypeError, ValueError):
        return []
    return [str(item) for item in value] if isinstance(value, list) else []


def _object(stored: object) -> dict[str, Json]:
    if not stored:
        return {}
    try:
        value = json.loads(cast("str", stored))
    except (TypeError, ValueError):
        return {}
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}
