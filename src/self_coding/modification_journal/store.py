"""Writes and reads the journal's rows: blocking, one transaction a call.

Every change of an attempt is an appended event, and the row is brought up to date in the same
transaction. A row that cannot be read whole is read as far as it goes; it never breaks a query.
"""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from self_coding.adapters.db import Connection, Database
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


class Store:
    """The rows of one journal."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def log(self, entry: Record, embedding: Sequence[float] | None = None, model: str = "") -> int:
        """Store a finished attempt whole; its id."""
        entry.at = entry.at or now()
        entry.ended = entry.at
        found = features(entry.task, files=entry.files, diff=entry.diff, notes=entry.approach)
        with self.database.write() as connection:
            attempt = _insert(connection, entry)
            numbers = _append(connection, (attempt, 1), fold.ENDED, entry.at, fold.ended(entry))
            _fill(connection, attempt, entry, numbers)
            words.add(connection, attempt, str(entry.outcome), found)
            rates.count(connection, entry, +1)
            if embedding:
                put_vector(connection, attempt, embedding, model)
        return attempt

    def begin(self, entry: Record) -> int:
        """Store that an attempt begins; its id."""
        entry.at = now()
        with self.database.write() as connection:
            attempt = _insert(connection, entry)
            numbers = _append(connection, (attempt, 1), fold.PLANNED, entry.at, fold.planned(entry))
            _fill(connection, attempt, entry, numbers)
        return attempt

    def append(self, attempt: int, kind: str, data: dict[str, Json]) -> Event:
        """Store one more event of an attempt."""
        with self.database.write() as connection:
            entry = _load(connection, attempt)
            return _advance(connection, attempt, entry, kind, data)

    def finish(
        self,
        attempt: int,
        ending: Record,
        embedding: Sequence[float] | None = None,
        model: str = "",
    ) -> None:
        """End an attempt, once; ending it the same way again changes nothing."""
        with self.database.write() as connection:
            entry = _load(connection, attempt)
            if entry.ended is not None:
                if entry.outcome == ending.outcome:
                    return
                raise JournalError(
                    f"attempt {attempt} has ended already, as {entry.outcome}",
                    hint="a landed attempt that was reverted is re-labelled, not ended again",
                )
            data = fold.ended(ending)
            for name in ("task", "retry_count"):
                data.pop(name, None)
            _advance(connection, attempt, entry, fold.ENDED, data)
            found = features(entry.task, files=entry.files, diff=entry.diff, notes=entry.approach)
            words.add(connection, attempt, str(entry.outcome), found)
            rates.count(connection, entry, +1)
            if embedding:
                put_vector(connection, attempt, embedding, model)

    def relabel(self, attempt: int, outcome: Outcome, because: str) -> bool:
        """Give an ended attempt another outcome; False when it has it already."""
        with self.database.write() as connection:
            entry = _load(connection, attempt)
            if entry.ended is None or entry.outcome == outcome.value:
                return False
            rates.count(connection, entry, -1)
            data: dict[str, Json] = {
                "outcome": outcome.value,
                "was": entry.outcome,
                "failure_analysis": because,
            }
            _advance(connection, attempt, entry, fold.RELABELLED, data)
            rates.count(connection, entry, +1)
            words.relabel(connection, attempt, outcome.value)
        return True

    def events(self, attempt: int) -> list[Event]:
        """The events of an attempt, in their order."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT sequence, kind, at, data, blobs FROM event WHERE attempt = ? "
                "ORDER BY sequence",
                (attempt,),
            ).fetchall()
            return [
                _event(attempt, row[0], row[1], row[2], _data(connection, row[3], row[4]))
                for row in rows
            ]

    def get(self, attempts: Sequence[int]) -> dict[int, ModificationAttempt]:
        """The attempts of these ids, those that exist."""
        with self.database.read() as connection:
            return read(connection, attempts)

    def newest(
        self, limit: int, outcomes: Sequence[str] | None = None, *, open_too: bool = False
    ) -> list[ModificationAttempt]:
        """The newest attempts, newest first."""
        where = "1 = 1" if open_too else "ended IS NOT NULL"
        if outcomes is not None:
            where = f"outcome IN ({_marks(outcomes)})"
        query = f"SELECT id FROM attempt WHERE {where} ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608 - fixed text
        with self.database.read() as connection:
            ids = [row[0] for row in connection.execute(query, (*(outcomes or ()), limit))]
            return _ordered(connection, ids)

    def failures(self, limit: int) -> list[ModificationAttempt]:
        """Failures and rollbacks, newest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT id FROM attempt WHERE outcome IN ('failure', 'rollback') "
                "ORDER BY at DESC, id DESC LIMIT ?",
                (limit,),
            )
            return _ordered(connection, [row[0] for row in rows])

    def for_file(self, path: str, limit: int) -> list[ModificationAttempt]:
        """The attempts that touched a path, newest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT attempt FROM attempt_file JOIN file ON file.id = attempt_file.file "
                "WHERE path = ? ORDER BY attempt DESC LIMIT ?",
                (path, limit),
            )
            return _ordered(connection, [row[0] for row in rows])

    def unfinished(self) -> list[int]:
        """The attempts that have begun and not ended, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute("SELECT id FROM attempt WHERE ended IS NULL ORDER BY id")
            return [int(row[0]) for row in rows]

    def stage(self, attempt: int) -> str | None:
        """How far an attempt came; None where there is no such attempt."""
        with self.database.read() as connection:
            row = connection.execute(
                "SELECT stage FROM attempt WHERE id = ?", (attempt,)
            ).fetchone()
        return str(row[0]) if row else None

    def by_commit(self, commits: Iterable[str]) -> dict[str, list[int]]:
        """The attempts that landed as one of these commits."""
        found: dict[str, list[int]] = {}
        with self.database.read() as connection:
            for commit in commits:
                rows = connection.execute(
                    "SELECT id FROM attempt WHERE commit_hash = ?", (commit,)
                ).fetchall()
                if rows:
                    found[commit] = [int(row[0]) for row in rows]
        return found


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


def _ordered(connection: Connection, ids: list[int]) -> list[ModificationAttempt]:
    found = read(connection, ids)
    return [found[attempt] for attempt in ids if attempt in found]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _insert(connection: Connection, entry: Record) -> int:
    row = connection.execute(
        "INSERT INTO attempt (at, stage, task) VALUES (?, ?, ?) RETURNING id",
        (entry.at, entry.stage, entry.task),
    ).fetchone()
    return int(row[0])


def _fill(connection: Connection, attempt: int, entry: Record, numbers: Mapping[str, int]) -> None:
    """Write the fold of an attempt into its row; big texts by the number of their blob."""
    diff_blob, tests_blob = numbers.get("diff"), numbers.get("test_results")
    connection.execute(
        "UPDATE attempt SET at = ?, ended = ?, stage = ?, outcome = ?, task = ?, approach = ?, "
        "files = ?, diff = ?, diff_blob = coalesce(?, diff_blob), tests = ?, "
        "tests_blob = coalesce(?, tests_blob), analysis = ?, reflection = ?, retry_count = ?, "
        "edit = ?, editor = ?, model = ?, commit_hash = ?, facts = ? WHERE id = ?",
        (
            entry.at,
            entry.ended,
            entry.stage,
            entry.outcome,
            entry.task,
            entry.approach,
            json.dumps(entry.files),
            entry.diff if len(entry.diff) <= blobs.INLINE else "",
            diff_blob,
            entry.tests if len(entry.tests) <= blobs.INLINE else "",
            tests_blob,
            entry.analysis,
            entry.reflection,
            entry.retry_count,
            entry.edit,
            entry.editor,
            entry.model,
            entry.commit,
            json.dumps(entry.facts),
            attempt,
        ),
    )


def _load(connection: Connection, attempt: int) -> Record:
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
        files=_list(row[6]),
        diff=_big(connection, row[7], row[8]),
        tests=_big(connection, row[9], row[10]),
        analysis=row[11],
        reflection=row[12],
        retry_count=row[13],
        edit=row[14],
        editor=row[15],
        model=row[16],
        commit=row[17],
        facts=_dict(row[18]),
    )


def _advance(
    connection: Connection, attempt: int, entry: Record, kind: str, data: dict[str, Json]
) -> Event:
    """Append an event and bring the row up to date."""
    row = connection.execute(
        "SELECT coalesce(max(sequence), 0), coalesce(max(at), 0) FROM event WHERE attempt = ?",
        (attempt,),
    ).fetchone()
    sequence, at = int(row[0]) + 1, max(now(), int(row[1]))
    numbers = _append(connection, (attempt, sequence), kind, at, data)
    fold.apply(entry, kind, at, data)
    _fill(connection, attempt, entry, numbers if kind == fold.ENDED else {})
    return _event(attempt, sequence, kind, at, data)


def _append(
    connection: Connection,
    key: tuple[int, int],
    kind: str,
    at: int,
    data: Mapping[str, Json],
) -> dict[str, int]:
    """Store an event, its big texts as blobs; the numbers of those."""
    numbers = {
        key: blobs.put(connection, value)
        for key, value in data.items()
        if isinstance(value, str) and len(value) > blobs.INLINE
    }
    small = {key: value for key, value in data.items() if key not in numbers}
    connection.execute(
        "INSERT INTO event (attempt, sequence, kind, at, data, blobs) VALUES (?, ?, ?, ?, ?, ?)",
        (*key, kind, at, json.dumps(small), json.dumps(numbers) if numbers else ""),
    )
    if kind == fold.ENDED:
        _touch(connection, key[0], data)
    return numbers


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


def _data(connection: Connection, stored: object, numbers: object) -> dict[str, Json]:
    """The data of an event; {} where the row is damaged."""
    data = _dict(stored)
    for key, value in _dict(numbers).items():
        if isinstance(value, int):
            data[key] = blobs.get(connection, value)
    return data


def _event(attempt: int, sequence: int, kind: str, at: int, data: Mapping[str, Json]) -> Event:
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
    return ModificationAttempt(
        task_description=str(row[3]),
        approach=str(row[4]),
        files_modified=_list(row[5]),
        diff=_big(connection, row[6], row[7]),
        test_results=_big(connection, row[8], row[9]),
        outcome=outcome,
        failure_analysis=str(row[10]),
        reflection=str(row[11]),
        retry_count=row[12] if isinstance(row[12], int) else 0,
        id=int(row[0]),
        timestamp=record.moment(row[1]),
        embedding=_vector(connection, int(row[0])),
    )


def _vector(connection: Connection, attempt: int) -> list[float] | None:
    row = connection.execute("SELECT body FROM vector WHERE attempt = ?", (attempt,)).fetchone()
    if row is None or not isinstance(row[0], bytes) or len(row[0]) % 4:
        return None
    return list(array("f", row[0]))


def _big(connection: Connection, inline: object, number: object) -> str:
    return blobs.get(connection, number) if isinstance(number, int) else str(inline or "")


def _list(stored: object) -> list[str]:
    try:
        value = json.loads(cast("str", stored))
    except (TypeError, ValueError):
        return []
    return [str(item) for item in value] if isinstance(value, list) else []


def _dict(stored: object) -> dict[str, Json]:
    if not stored:
        return {}
    try:
        value = json.loads(cast("str", stored))
    except (TypeError, ValueError):
        return {}
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}
