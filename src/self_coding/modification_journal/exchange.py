"""Carries a journal into another one, as JSON lines: events with their moments, and lessons.

All of an import is stored, or none of it. What is there already (the same task at the same
microsecond) is not added twice, so an import that was cut off can simply be repeated.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from self_coding.adapters.db import Connection, Database
from self_coding.errors import JournalError
from self_coding.modification_journal import fold, lessons, record, rows
from self_coding.modification_journal.store import Store
from self_coding.values.attempts import Json, Lesson

_Told = tuple[str, int, dict[str, Json]]  # an event's kind, moment and data


@dataclass(frozen=True)
class Tale:
    """An attempt from elsewhere: its number there, its events, its vector and who made that."""

    number: int
    events: tuple[_Told, ...]
    embedding: tuple[float, ...] = ()
    model: str = ""


def export_lines(database: Database) -> list[str]:
    """Every attempt with its events, then every lesson; one JSON object a line, oldest first."""
    with database.read() as connection:
        ids = [int(row[0]) for row in connection.execute("SELECT id FROM attempt ORDER BY id")]
        known = connection.execute("SELECT id FROM lesson ORDER BY id").fetchall()
        taught = lessons.read(connection, [int(row[0]) for row in known])
        return [
            *(json.dumps(_attempt_line(connection, attempt)) for attempt in ids),
            *(json.dumps(_lesson_line(lesson)) for lesson in taught),
        ]


def import_lines(target: Store, lines: Iterable[str]) -> int:
    """Add exported attempts and lessons under new ids; how many attempts were added."""
    tales: list[Tale] = []
    taught: list[Lesson] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if "lesson" in entry:
                taught.append(_lesson(entry["lesson"]))
            else:
                tales.append(_tale(entry))
        except (ValueError, TypeError, KeyError, AttributeError, JournalError) as error:
            raise JournalError(
                f"line {number} is no exported attempt: {error}",
                hint="nothing was imported; take the output of `export` as it is",
            ) from error
    return add(target, tales, taught)


def add(target: Store, tales: Iterable[Tale], taught: Iterable[Lesson] = ()) -> int:
    """Add attempts from elsewhere, and the lessons that speak of them."""
    numbers: dict[int, int] = {}
    added = 0
    seen: Counter[tuple[int, str]] = Counter()
    had: dict[tuple[int, str], list[int]] = {}
    with target.database.write() as connection:
        for tale in tales:
            entry = fold.fold(tale.events)
            key = (tale.events[0][1], entry.task)
            if key not in had:
                had[key] = _present(connection, key)
            at, seen[key] = seen[key], seen[key] + 1
            if at < len(had[key]):
                numbers[tale.number] = had[key][at]
                continue
            numbers[tale.number] = rows.add(connection, entry, tale.events)
            if tale.embedding:
                rows.put_vector(connection, numbers[tale.number], tale.embedding, tale.model)
            added += 1
        for lesson in taught:
            evidence = tuple(numbers.get(attempt, attempt) for attempt in lesson.evidence)
            lessons.put(connection, replace(lesson, evidence=evidence))
    return added


def _present(connection: Connection, key: tuple[int, str]) -> list[int]:
    rows = connection.execute("SELECT id FROM attempt WHERE at = ? AND task = ? ORDER BY id", key)
    return [int(row[0]) for row in rows]


def _attempt_line(connection: Connection, attempt: int) -> dict[str, Json]:
    events: list[Json] = [
        {"kind": kind, "at": at, "data": data} for kind, at, data in rows.told(connection, attempt)
    ]
    line: dict[str, Json] = {"attempt": attempt, "events": events}
    vector = rows.vector(connection, attempt)
    if vector is not None:
        line |= {"embedding": list(vector[0]), "embedding_model": vector[1]}
    return line


def _lesson_line(lesson: Lesson) -> dict[str, Json]:
    return {
        "lesson": {
            "text": lesson.text,
            "files": list(lesson.files),
            "symbols": list(lesson.symbols),
            "exception": lesson.exception,
            "tests": list(lesson.tests),
            "evidence": list(lesson.evidence),
            "anchors": [list(anchor) for anchor in lesson.anchors],
        }
    }


def _tale(entry: dict[str, Json]) -> Tale:
    told = []
    for event in cast("list[dict[str, Json]]", entry["events"]):
        kind = record.text(event["kind"], "kind")
        data = record.facts(cast("dict[str, Json]", event["data"]))
        told.append((kind, record.number(event["at"], "at"), data))
    if not told or told[0][0] not in (fold.PLANNED, fold.ENDED):
        raise JournalError("its events do not begin an attempt")
    for kind, _, data in told:
        if kind in (fold.ENDED, fold.RELABELLED):
            record.outcome(data["outcome"])
    return Tale(
        number=record.number(entry["attempt"], "attempt"),
        events=tuple(told),
        embedding=tuple(record.vector(entry.get("embedding")) or ()),
        model=str(entry.get("embedding_model") or ""),
    )


def _lesson(entry: dict[str, Json]) -> Lesson:
    def texts(name: str) -> tuple[str, ...]:
        return tuple(str(item) for item in cast("list[Json]", entry.get(name) or []))

    return lessons.checked(
        Lesson(
            text=str(entry["text"]),
            files=texts("files"),
            symbols=texts("symbols"),
            exception=str(entry.get("exception") or ""),
            tests=texts("tests"),
            evidence=tuple(cast("list[int]", entry.get("evidence") or [])),
            anchors=tuple(
                (str(anchor[0]), str(anchor[1]))
                for anchor in cast("list[list[str]]", entry.get("anchors") or [])
            ),
        )
    )
