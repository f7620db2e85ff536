"""Lessons: one sentence each, with its trigger, its evidence, its anchors and its record of use.

Blocking. Duplicates merge, contradicted lessons sink, unused ones fade; at most a few short ones
are shown. A lesson without evidence is refused: it is worse than none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from self_coding.adapters.db import Connection, Database
from self_coding.errors import JournalError
from self_coding.modification_journal import record
from self_coding.modification_journal.rows import now
from self_coding.retrieval import words as words_of
from self_coding.values.attempts import Lesson, Outcome

LONGEST = 300  # characters of a lesson; more is no sentence any more
_ALIKE = 0.8  # share of words from which two lessons with one trigger are the same
_COLUMNS = "id, text, files, symbols, exception, tests, evidence, anchors"


def learn(database: Database, lesson: Lesson) -> Lesson:
    """Store a lesson, or merge it into the one that says the same; as stored."""
    fresh = checked(lesson)
    with database.write() as connection:
        return put(connection, fresh)


def put(connection: Connection, lesson: Lesson) -> Lesson:
    """Store a checked lesson inside the caller's transaction; as stored."""
    twin = _twin(connection, lesson, _keys(lesson))
    if twin is None:
        number = _insert(connection, lesson)
    else:
        lesson = _merged(twin, lesson)
        number = twin.id or 0
        _update(connection, number, lesson)
    for key in _keys(lesson):
        connection.execute(
            "INSERT INTO lesson_trigger (key, lesson) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (key, number),
        )
    return read(connection, [number])[0]


def find(
    database: Database,
    *,
    task: str = "",
    files: Sequence[str] = (),
    symbols: Sequence[str] = (),
    exception: str = "",
    tests: Sequence[str] = (),
    contents: Mapping[str, str] | None = None,
    limit: int = 3,
) -> list[Lesson]:
    """The lessons whose trigger this situation pulls, the most useful first."""
    asked = Lesson(
        text=task,
        files=tuple(record.path(path) for path in files),
        symbols=tuple(symbols),
        exception=exception,
        tests=tuple(tests),
    )
    keys = _keys(asked)
    pulled: dict[int, float] = {}
    with database.read() as connection:
        for key in sorted(keys)[:200]:
            rows = connection.execute(
                "SELECT lesson FROM lesson_trigger WHERE key = ? ORDER BY lesson DESC LIMIT 200",
                (key,),
            ).fetchall()
            for row in rows:
                pulled[row[0]] = pulled.get(row[0], 0.0) + _PULL.get(key[:2], 1.0)
        found = read(connection, sorted(pulled, reverse=True)[:400])
        idle = {lesson.id: _idle(connection, lesson) for lesson in found}
    checked_now = [anchored(lesson, contents) for lesson in found]
    scored = [
        (pulled[lesson.id or 0] * worth(lesson, idle[lesson.id]), lesson) for lesson in checked_now
    ]
    kept = [item for item in scored if item[0] >= _SHOWN and item[1].freshness != "orphaned"]
    kept.sort(key=lambda item: (-item[0], -(item[1].id or 0)))
    return [lesson for _, lesson in kept[: min(limit, 3)]]


_PULL = {"f:": 2.0, "s:": 2.0, "e:": 1.5, "t:": 3.0, "w:": 0.5}
_SHOWN = 0.75
_FADES = 2000  # attempts after which an unused lesson has lost most of its pull


def worth(lesson: Lesson, idle: int = 0) -> float:
    """How much a lesson deserves to be shown, 1 for a new one.

    What came of its uses raises or sinks it; code that has drifted, and attempts that went by
    without it being learnt anew or used (`idle`), fade it.
    """
    earned = (lesson.successes + 1.0) / (lesson.uses + 2.0) * 2
    fresh = 0.5 if lesson.freshness == "drifted" else 1.0
    return earned * fresh * (0.4 + 0.6 * math.exp(-idle / _FADES))


def _idle(connection: Connection, lesson: Lesson) -> int:
    """How many attempts went by since a lesson was taught or used."""
    last = connection.execute(
        "SELECT max(attempt) FROM lesson_use WHERE lesson = ?", (lesson.id,)
    ).fetchone()[0]
    newest = connection.execute("SELECT max(id) FROM attempt").fetchone()[0]
    return max(0, int(newest or 0) - max(int(last or 0), *lesson.evidence, 0))


def used(database: Database, lesson: int, attempt: int, outcome: Outcome) -> None:
    """Record that a lesson was shown to an attempt, and how that ended."""
    with database.write() as connection:
        if not read(connection, [lesson]):
            raise JournalError(f"there is no lesson {lesson}", hint="`lessons` lists them")
        connection.execute(
            "INSERT INTO lesson_use (lesson, attempt, outcome, at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (lesson, attempt) DO UPDATE SET outcome = excluded.outcome",
            (lesson, attempt, outcome.value, now()),
        )


def checked(lesson: Lesson) -> Lesson:
    """The lesson as it may be stored: one clean sentence, with evidence."""
    text = " ".join(record.text(lesson.text, "a lesson").split())
    if not text:
        raise JournalError("a lesson needs a sentence", hint="say what to do or to avoid")
    if not lesson.evidence:
        raise JournalError(
            "a lesson needs evidence", hint="give the ids of the attempts that taught it"
        )
    return Lesson(
        text=text if len(text) <= LONGEST else text[: LONGEST - 1] + "…",
        files=tuple(record.paths(lesson.files)),
        symbols=tuple(record.text(name, "a symbol") for name in lesson.symbols),
        exception=record.text(lesson.exception, "an exception"),
        tests=tuple(record.text(name, "a test id") for name in lesson.tests),
        evidence=tuple(record.number(number, "evidence") for number in lesson.evidence),
        anchors=tuple(
            (record.path(record.text(path, "a path")), record.text(digest, "a content hash"))
            for path, digest in lesson.anchors
        ),
    )


def _keys(lesson: Lesson) -> set[str]:
    keys = {f"f:{path}" for path in lesson.files} | {f"s:{name.lower()}" for name in lesson.symbols}
    keys |= {f"t:{name}" for name in lesson.tests}
    keys |= {f"w:{word}" for word in words_of(lesson.text) if len(word) > 3}
    return keys | ({f"e:{lesson.exception.rpartition('.')[2]}"} if lesson.exception else set())


def _twin(connection: Connection, lesson: Lesson, keys: Iterable[str]) -> Lesson | None:
    """The stored lesson that says the same."""
    rows: set[int] = set()
    for key in keys:
        rows |= {
            row[0]
            for row in connection.execute(
                "SELECT lesson FROM lesson_trigger WHERE key = ? ORDER BY lesson DESC LIMIT 200",
                (key,),
            )
        }
    rows |= {
        row[0] for row in connection.execute("SELECT id FROM lesson WHERE text = ?", (lesson.text,))
    }
    mine = set(words_of(lesson.text))
    for other in read(connection, sorted(rows)):
        theirs = set(words_of(other.text))
        if len(mine & theirs) >= _ALIKE * max(1, len(mine | theirs)):
            return other
    return None


def _merged(old: Lesson, new: Lesson) -> Lesson:
    """One lesson of two: the shorter sentence, both triggers, both evidences, newest anchors."""
    anchors = dict(old.anchors) | dict(new.anchors)
    return Lesson(
        text=min(old.text, new.text, key=len),
        files=tuple(dict.fromkeys(old.files + new.files)),
        symbols=tuple(dict.fromkeys(old.symbols + new.symbols)),
        exception=new.exception or old.exception,
        tests=tuple(dict.fromkeys(old.tests + new.tests)),
        evidence=tuple(dict.fromkeys(old.evidence + new.evidence)),
        anchors=tuple(anchors.items()),
    )


def _values(lesson: Lesson) -> tuple[str, ...]:
    return (
        lesson.text,
        json.dumps(lesson.files),
        json.dumps(lesson.symbols),
        lesson.exception,
        json.dumps(lesson.tests),
        json.dumps(lesson.evidence),
        json.dumps(lesson.anchors),
    )


def _insert(connection: Connection, lesson: Lesson) -> int:
    row = connection.execute(
        "INSERT INTO lesson (at, text, files, symbols, exception, tests, evidence, anchors) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (now(), *_values(lesson)),
    ).fetchone()
    return int(row[0])


def _update(connection: Connection, number: int, lesson: Lesson) -> None:
    connection.execute(
        "UPDATE lesson SET text = ?, files = ?, symbols = ?, exception = ?, tests = ?, "
        "evidence = ?, anchors = ? WHERE id = ?",
        (*_values(lesson), number),
    )


def read(connection: Connection, numbers: Sequence[int]) -> list[Lesson]:
    """The lessons of these numbers, with what came of their uses."""
    found = []
    for number in numbers:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM lesson WHERE id = ?",  # noqa: S608 - fixed text
            (number,),
        ).fetchone()
        if row is None:
            continue
        uses = connection.execute(
            "SELECT count(*), coalesce(sum(outcome = 'success'), 0) FROM lesson_use "
            "WHERE lesson = ?",
            (number,),
        ).fetchone()
        found.append(_lesson(row, int(uses[0]), int(uses[1])))
    return found


def _lesson(row: tuple[Any, ...], uses: int, successes: int) -> Lesson:
    return Lesson(
        id=int(row[0]),
        text=str(row[1]),
        files=_strings(row[2]),
        symbols=_strings(row[3]),
        exception=str(row[4]),
        tests=_strings(row[5]),
        evidence=tuple(item for item in _items(row[6]) if isinstance(item, int)),
        anchors=tuple(
            (str(item[0]), str(item[1]))
            for item in _items(row[7])
            if isinstance(item, list) and len(item) == 2
        ),
        uses=uses,
        successes=successes,
    )


def _items(stored: object) -> list[object]:
    try:
        value = json.loads(str(stored))
    except ValueError:
        return []
    return value if isinstance(value, list) else []


def _strings(stored: object) -> tuple[str, ...]:
    return tuple(str(item) for item in _items(stored))


def anchored(lesson: Lesson, contents: Mapping[str, str] | None) -> Lesson:
    """The lesson with its freshness, checked against the files as they are now."""
    if contents is None or not lesson.anchors:
        return lesson
    now_there = [contents.get(path) for path, _ in lesson.anchors]
    if not any(now_there):
        state = "orphaned"
    elif all(now == then for now, (_, then) in zip(now_there, lesson.anchors, strict=True)):
        state = "fresh"
    else:
        state = "drifted"
    return replace(lesson, freshness=state)
