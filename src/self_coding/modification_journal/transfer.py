"""Carry attempts from one journal into another: JSON lines, and the founding version's database.

All of an import is stored, or none of it. What is there already (the same task at the same
microsecond) is not added twice, so an import that was cut off can simply be repeated. A founding
file is only read, and nothing of it is lost: a column that we do not know, an id, an outcome that
is not one of ours are kept among the facts of the attempt.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from self_coding.adapters.db import reading
from self_coding.errors import JournalError
from self_coding.modification_journal import attempts, lessons, record
from self_coding.modification_journal.record import ENDED, PLANNED, RELABELLED, Told
from self_coding.modification_journal.store import Store
from self_coding.values.attempts import Json, Lesson, Outcome

_LESSON = {"text", "files", "symbols", "exception", "tests", "evidence", "anchors"}
_FOUNDING_TEXTS = {
    "task_description": "task",
    "approach": "approach",
    "diff": "diff",
    "test_results": "test_results",
    "failure_analysis": "failure_analysis",
    "reflection": "reflection",
}
_FOUNDING_REST = {"id", "files_modified", "outcome", "retry_count", "embedding", "timestamp"}


@dataclass(frozen=True)
class ImportedAttempt:
    """An attempt from elsewhere: its number there, its events, its vector and who made that."""

    number: int
    events: tuple[Told, ...]
    embedding: tuple[float, ...] = ()
    model: str = ""


@dataclass
class _EventLine:
    kind: str
    at: int
    data: dict[str, Any]


@dataclass
class _AttemptLine:
    """One exported line that is an attempt."""

    attempt: int
    events: list[_EventLine]
    embedding: list[float] | None = None
    embedding_model: str | None = None


@dataclass
class _LessonLine:
    """One exported line that is a lesson."""

    lesson: Lesson


def export_lines(store: Store) -> list[str]:
    """Return every attempt with its events, then every lesson: a JSON object each, oldest first."""
    from pydantic import TypeAdapter  # takes 0.1 s to import: only where it is used

    dump = TypeAdapter(Lesson).dump_python
    lines: list[str] = []
    with store.read() as queries:
        for attempt in queries.ids():
            history = queries.history(attempt)
            events = [{"kind": kind, "at": at, "data": data} for kind, at, data in history]
            line: dict[str, object] = {"attempt": attempt, "events": events}
            if vector := queries.vector(attempt):
                line |= {"embedding": vector[0], "embedding_model": vector[1]}
            lines.append(json.dumps(line))
        taught = queries.lessons(queries.lesson_ids())
        lines += [json.dumps({"lesson": dump(one, include=_LESSON)}) for one in taught]
    return lines


def import_lines(store: Store, lines: Iterable[str]) -> int:
    """Add exported attempts and lessons under new ids; return how many attempts were added."""
    from pydantic import TypeAdapter

    parse = TypeAdapter[_AttemptLine | _LessonLine](_AttemptLine | _LessonLine).validate_json
    imported: list[ImportedAttempt] = []
    taught: list[Lesson] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = parse(line, strict=True)
            if isinstance(entry, _LessonLine):
                taught.append(lessons.checked(entry.lesson))
            else:
                imported.append(_checked(entry))
        except (ValueError, KeyError, JournalError) as error:
            raise JournalError(
                f"line {number} is not an exported attempt: {error}",
                hint="nothing was imported; take the output of `export` as it is",
            ) from error
    return _add(store, imported, taught)


def import_founding(store: Store, path: Path) -> int:
    """Add every attempt of a founding version's database; return how many were added."""
    with reading(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            quoted = str(name).replace('"', '""')
            cursor = connection.execute(f'SELECT * FROM "{quoted}" ORDER BY rowid')  # noqa: S608 - a table's own name
            columns = [str(column[0]) for column in cursor.description]
            if {"task_description", "outcome"} <= set(columns):
                rows = [dict(zip(columns, row, strict=True)) for row in cursor]
                return _add(store, [_founding(row, n) for n, row in enumerate(rows, 1)])
    raise JournalError(
        f"{path} has no table of attempts",
        hint="the founding version's has the columns task_description and outcome",
    )


def _add(store: Store, imported: Iterable[ImportedAttempt], taught: Iterable[Lesson] = ()) -> int:
    """Add attempts from elsewhere, and the lessons that speak of them."""
    numbers: dict[int, int] = {}
    added = 0
    met: Counter[tuple[int, str]] = Counter()
    present: dict[tuple[int, str], list[int]] = {}
    with store.write() as queries:
        for one in imported:
            entry = record.fold(one.events)
            key = (one.events[0][1], entry.task)
            if key not in present:
                present[key] = queries.attempts_at(*key)
            # The second of two twins is matched with the second that is there, and so on.
            twin, met[key] = met[key], met[key] + 1
            if twin < len(present[key]):
                numbers[one.number] = present[key][twin]
                continue
            numbers[one.number] = attempts.add(queries, entry, one.events)
            if one.embedding:
                queries.put_vector(numbers[one.number], one.embedding, one.model)
            added += 1
        for lesson in taught:
            evidence = tuple(numbers.get(attempt, attempt) for attempt in lesson.evidence)
            lessons.put(queries, replace(lesson, evidence=evidence))
    return added


def _checked(entry: _AttemptLine) -> ImportedAttempt:
    events: list[Told] = [
        (record.text(one.kind, "kind"), record.number(one.at, "at"), record.facts(one.data))
        for one in entry.events
    ]
    if not events or events[0][0] not in (PLANNED, ENDED):
        raise JournalError("its events do not begin an attempt")
    for kind, _, data in events:
        if kind in (ENDED, RELABELLED):
            record.outcome(data["outcome"])
    return ImportedAttempt(
        number=record.number(entry.attempt, "attempt"),
        events=tuple(events),
        embedding=tuple(record.vector(entry.embedding) or ()),
        model=entry.embedding_model or "",
    )


def _founding(row: Mapping[str, object], number: int) -> ImportedAttempt:
    """Return one founding row as an attempt that was logged whole."""
    facts: dict[str, Json] = {"founding_id": _plain(row.get("id", number))}
    try:
        outcome = Outcome(_text(row.get("outcome")).rpartition(".")[2].strip().lower())
    except ValueError:
        outcome = Outcome.FAILURE
        facts["founding_outcome"] = _text(row.get("outcome"))
    at = _moment(row.get("timestamp"))
    if at is None:
        facts["founding_timestamp"] = _plain(row.get("timestamp"))
    for column in row.keys() - _FOUNDING_TEXTS.keys() - _FOUNDING_REST:
        facts[f"founding_{column}"] = _plain(row[column])
    retries = row.get("retry_count")
    data: dict[str, Json] = {name: _text(row.get(c)) for c, name in _FOUNDING_TEXTS.items()}
    data |= {
        "files_modified": cast("list[Json]", _files(_text(row.get("files_modified")))),
        "outcome": outcome.value,
        "retry_count": retries if isinstance(retries, int) else 0,
        "stage": ENDED,
        "facts": facts,
    }
    return ImportedAttempt(
        number=number,
        events=((ENDED, at or number, record.facts(data)),),
        embedding=tuple(_vector(row.get("embedding"))),
    )


def _moment(value: object) -> int | None:
    """Return the microseconds of a stored moment: ISO or SQLite's text, or seconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value * 1_000_000) if abs(value) < 1e11 else None
    try:
        return record.micros(datetime.fromisoformat(_text(value).strip()))
    except ValueError:
        return None


def _files(text: str) -> list[str]:
    try:
        listed = json.loads(text or "[]")
    except ValueError:
        listed = [part.strip() for part in text.replace("\n", ",").split(",")]
    items = listed if isinstance(listed, list) else [listed]
    return [record.path(str(item)) for item in items if str(item)]


def _vector(value: object) -> list[float]:
    """Return a stored embedding: JSON as text or bytes, else an array of 32-bit floats."""
    try:
        if isinstance(value, bytes) and value[:1] != b"[":
            return list(array("f", value))
        return record.vector(json.loads(_text(value) or "[]")) or []
    except (TypeError, ValueError, JournalError):
        return []


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _plain(value: object) -> Json:
    return value if value is None or isinstance(value, int | float | bool) else _text(value)
