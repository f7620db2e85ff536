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
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from self_coding.adapters.db import reading
from self_coding.errors import JournalError
from self_coding.modification_journal import attempts, lessons, record
from self_coding.modification_journal.queries import Store
from self_coding.modification_journal.record import ENDED, PLANNED, RELABELLED, StoredEvent
from self_coding.modification_journal.store import founding_table
from self_coding.values.attempts import Json, Lesson, Outcome

_LESSON = {"text", "files", "symbols", "exception", "tests", "evidence", "anchors"}
_FOUNDING_TEXTS = ("approach", "diff", "test_results", "failure_analysis", "reflection")
_FOUNDING = {
    *_FOUNDING_TEXTS,
    *("task_description", "id", "files_modified", "outcome"),
    *("retry_count", "embedding", "timestamp"),
}


@dataclass
class ImportedEvent:
    """One event of an attempt from elsewhere."""

    kind: str
    at: int
    data: dict[str, Any]


@dataclass
class ImportedAttempt:
    """An attempt from elsewhere; as a line of JSON it is what an export consists of."""

    attempt: int
    events: list[ImportedEvent]
    embedding: list[float] | None = None
    embedding_model: str | None = None


@dataclass
class ImportedLesson:
    """A lesson from elsewhere, likewise."""

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

    line_types = ImportedAttempt | ImportedLesson
    parse = TypeAdapter[ImportedAttempt | ImportedLesson](line_types).validate_json
    imported: list[ImportedAttempt] = []
    taught: list[Lesson] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = parse(line, strict=True)
            if isinstance(entry, ImportedLesson):
                taught.append(lessons.checked(entry.lesson))
                continue
            imported.append(entry)
            if not entry.events or entry.events[0].kind not in (PLANNED, ENDED):
                raise JournalError("its events do not begin an attempt")
            for event in entry.events:
                event.data = record.facts(event.data)
                if event.kind in (ENDED, RELABELLED):
                    record.outcome(event.data["outcome"])
        except (ValueError, KeyError, JournalError) as error:
            raise JournalError(
                f"line {number} is not an exported attempt: {error}",
                hint="nothing was imported; take the output of `export` as it is",
            ) from error
    return _add(store, imported, taught)


def import_founding(store: Store, path: Path) -> int:
    """Add every attempt of a founding version's database; return how many were added."""
    with reading(path) as connection:
        if table := founding_table(connection):
            name, columns = table
            stored = connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid')  # noqa: S608 - a table's own name
            rows = [dict(zip(columns, row, strict=True)) for row in stored]
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
            events: list[StoredEvent] = [
                (record.text(event.kind, "kind"), record.number(event.at, "at"), event.data)
                for event in one.events
            ]
            entry = record.fold(events)
            key = (events[0][1], entry.task)
            if key not in present:
                present[key] = queries.attempts_at(*key)
            # The second of two twins is matched with the second that is there, and so on.
            twin, met[key] = met[key], met[key] + 1
            if twin < len(present[key]):
                numbers[one.attempt] = present[key][twin]
                continue
            numbers[one.attempt] = attempts.add(queries, entry, events)
            if vector := record.vector(one.embedding):
                queries.put_vector(numbers[one.attempt], vector, one.embedding_model or "")
            added += 1
        for lesson in taught:
            evidence = tuple(numbers.get(attempt, attempt) for attempt in lesson.evidence)
            lessons.put(queries, replace(lesson, evidence=evidence))
    return added


def _founding(row: Mapping[str, object], number: int) -> ImportedAttempt:
    """Return one founding row as an attempt that was logged whole."""
    facts: dict[str, Json] = {"founding_id": _plain(row.get("id", number))}
    try:
        outcome = Outcome(_text(row.get("outcome")).rpartition(".")[2].strip().lower())
    except ValueError:
        outcome = Outcome.FAILURE
        facts["founding_outcome"] = _text(row.get("outcome"))
    moment = row.get("timestamp")
    at: int | None = None
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        at = int(moment * 1_000_000) if abs(moment) < 1e11 else None
    else:
        with suppress(ValueError):
            at = record.micros(datetime.fromisoformat(_text(moment).strip()))
    if at is None:
        facts["founding_timestamp"] = _plain(moment)
    for column, value in row.items():
        if column not in _FOUNDING:
            facts[f"founding_{column}"] = _plain(value)
    files = _text(row.get("files_modified"))
    try:
        listed = json.loads(files or "[]")
    except ValueError:
        listed = [part.strip() for part in files.replace("\n", ",").split(",")]
    retries = row.get("retry_count")
    data: dict[str, Json] = {name: _text(row.get(name)) for name in _FOUNDING_TEXTS}
    data |= {
        "task": _text(row.get("task_description")),
        "files_modified": [
            record.path(str(path))
            for path in (listed if isinstance(listed, list) else [listed])
            if str(path)
        ],
        "outcome": outcome.value,
        "retry_count": retries if isinstance(retries, int) else 0,
        "stage": ENDED,
        "facts": facts,
    }
    event = ImportedEvent(ENDED, at or number, record.facts(data))
    embedding, vector = row.get("embedding"), None
    with suppress(TypeError, ValueError, JournalError):
        if isinstance(embedding, bytes) and embedding[:1] != b"[":  # not JSON: 32-bit floats
            vector = list(array("f", embedding))
        else:
            vector = record.vector(json.loads(_text(embedding) or "[]"))
    return ImportedAttempt(number, [event], vector)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _plain(value: object) -> Json:
    return value if value is None or isinstance(value, int | float | bool) else _text(value)
