"""Every query of the journal, in common SQL: what one open transaction can be asked.

What SQLite alone understands, the schema and the inverted index of words, is in `store`. A row
that cannot be read whole is read as far as it goes, so that a damaged one never breaks a query.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from abc import ABC, abstractmethod
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from self_coding.adapters.db import Connection, Sessions
from self_coding.errors import JournalError
from self_coding.modification_journal.ranking import Candidate, Features, pack, terms, unpack
from self_coding.modification_journal.record import EPOCH, Record, StoredEvent, moment
from self_coding.values.attempts import UNCOUNTED, Event, Json, Lesson, ModificationAttempt, Outcome

INLINE = 1500  # characters; a longer text is compressed and stored once

COUNTED = f"stage NOT IN ({', '.join(map(repr, sorted(UNCOUNTED)))})"
# The columns of `attempt` that hold a field of the record as it is; then the others. A new one
# needs a migration in `store` and a field of `record.Record`.
_PLAIN = {
    **{name: name for name in ("at", "ended", "stage", "outcome", "task", "approach")},
    "analysis": "failure_analysis",
    "commit_hash": "commit",
    **{name: name for name in ("reflection", "retry_count", "edit", "editor", "model")},
}
_COLUMNS = f"{', '.join(_PLAIN)}, files, facts, diff, tests, diff_blob, tests_blob"
_READ = (
    f"SELECT id, (SELECT body FROM vector WHERE vector.attempt = attempt.id), {_COLUMNS}, "  # noqa: S608 - fixed text, as everywhere below
    "(SELECT body FROM blob WHERE blob.id = attempt.diff_blob), "
    "(SELECT body FROM blob WHERE blob.id = attempt.tests_blob) FROM attempt "
)
_VALUES = ", ".join("?" * (len(_PLAIN) + 4))  # but for the two blobs
_INSERT = f"INSERT INTO attempt ({_COLUMNS}) VALUES ({_VALUES}, ?, ?) RETURNING id"  # noqa: S608
# A blob's number is not given again when the row is brought up to date: the old one stays.
_UPDATE = (
    f"UPDATE attempt SET ({_COLUMNS}) = ({_VALUES}, "  # noqa: S608
    "coalesce(?, diff_blob), coalesce(?, tests_blob)) WHERE id = ?"
)
_LESSON = "text, files, symbols, exception, tests, evidence, anchors"


def now() -> int:
    """Return this moment in microseconds."""
    return time.time_ns() // 1000


class Store(Protocol):
    """The database of one journal: `store` has SQLite's, `postgres` that of a server."""

    sessions: Sessions | None  # what holds self-edits on the connection that writes

    def read(self) -> AbstractContextManager[Queries]:
        """Open a transaction that sees one state and changes nothing."""

    def look(self) -> AbstractContextManager[Queries]:
        """Open it for questions that each may see a state of its own."""

    def write(self) -> AbstractContextManager[Queries]:
        """Open a transaction that is stored whole, or not at all."""

    def close(self) -> None:
        """Close the database; the next transaction opens it again."""


class Queries(ABC):
    """One open transaction of the journal."""

    given_numbers = ""  # what lets an INSERT say the number of a row

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def go_on_after(self, table: str, number: int) -> None:  # noqa: B027 - most need not be told
        """Number the next row of a table after this one, which was given its number."""

    @abstractmethod
    def add_terms(self, attempt: int, terms: Iterable[str]) -> None:
        """Enter an attempt into the inverted index, under each of its terms."""

    @abstractmethod
    def newest_with(self, terms: Iterable[str], limit: int) -> dict[str, list[int]]:
        """Return the newest attempts that hold each term, newest first."""

    def probe(
        self, terms: Sequence[str], few: int, many: int, room: int
    ) -> tuple[int, dict[str, list[int]], dict[str, list[int]]]:
        """Return the newest attempt that can be found, the `few` newest that hold each term.

        And, where it costs no question more, the `many` newest of the rarest terms that have more,
        as many as fill the `room`.
        """
        return self.newest_findable(), self.newest_with(terms, few), {}

    @abstractmethod
    def scored(
        self, ids: Sequence[int], outcomes: Collection[str] | None, limit: int
    ) -> tuple[list[Candidate], dict[str, int]]:
        """Return the features of the first `limit` attempts, newest first; how often each of their
        files was modified. With `outcomes` only of those that ended in one of these ways."""

    # ------------------------------------------------------------------ attempts

    def insert(self, record: Record, blobs: Mapping[str, int]) -> int:
        """Store a new attempt; return its id."""
        return int(self.connection.execute(_INSERT, _row(record, blobs)).fetchone()[0])

    def update(self, attempt: int, record: Record, blobs: Mapping[str, int]) -> None:
        """Bring the row of an attempt up to date; a blob that is not given anew stays."""
        self.connection.execute(_UPDATE, (*_row(record, blobs), attempt))

    def record(self, attempt: int) -> Record:
        """Return the record of an attempt.

        Raises:
            JournalError: there is no such attempt.
        """
        row = self.connection.execute(f"{_READ} WHERE id = ?", (attempt,)).fetchone()
        if row is None:
            raise JournalError(f"there is no attempt {attempt}", hint="`attempts` lists them")
        return _record(row[2:])

    def attempts(self, ids: Sequence[int]) -> dict[int, ModificationAttempt]:
        """Return the attempts of these ids, those that exist."""
        listed = self._attempts(f"WHERE id IN ({_marks(ids)})", *ids) if ids else []
        return {attempt.id or 0: attempt for attempt in listed}

    def newest(
        self, limit: int, outcomes: Collection[Outcome] | None = None
    ) -> list[ModificationAttempt]:
        """Return the newest attempts that have ended, newest first."""
        where = ended = "ended IS NOT NULL"
        if outcomes is not None and not outcomes:
            return []
        if outcomes:
            # Written out, not bound: SQLite uses a partial index (of failures and rollbacks)
            # only for the very condition that the index was made with.
            where = f"outcome IN ({', '.join(repr(str(one)) for one in sorted(set(outcomes)))})"
            where += f" AND {COUNTED} AND {ended}"
        return self._attempts(f"WHERE {where} ORDER BY at DESC, id DESC LIMIT ?", limit)

    def attempts_for_file(self, path: str, limit: int) -> list[ModificationAttempt]:
        """Return the attempts that modified a path, newest first."""
        return self._attempts(
            "WHERE id IN (SELECT attempt FROM attempt_file JOIN file "
            "ON file.id = attempt_file.file WHERE path = ? ORDER BY attempt DESC LIMIT ?) "
            "ORDER BY id DESC",
            *(path, limit),
        )

    def unfinished(self, edit: str = "") -> list[int]:
        """Return the attempts that have begun and not ended, oldest first; of one self-edit."""
        sql = "SELECT id FROM attempt WHERE ended IS NULL AND (? = '' OR edit = ?) ORDER BY id"
        return self._numbers(sql, edit, edit)

    def stage(self, attempt: int) -> str | None:
        """Return how far an attempt came; None where there is no such attempt."""
        row = self._first("SELECT stage FROM attempt WHERE id = ?", attempt)
        return str(row[0]) if row else None

    def landed_as(self, commit: str) -> list[int]:
        """Return the attempts that landed as a commit, whose hash may be abbreviated."""
        return self._numbers(
            "SELECT id FROM attempt WHERE commit_hash <> '' AND commit_hash >= ? "
            "AND commit_hash < ?",
            *(commit, commit + "g"),  # "g" sorts behind every hexadecimal digit
        )

    def attempts_at(self, at: int, task: str) -> list[int]:
        """Return the attempts at a task that began at a moment."""
        return self._numbers(
            "SELECT id FROM attempt WHERE at = ? AND task = ? ORDER BY id", at, task
        )

    def ids(self) -> list[int]:
        """Return every attempt, oldest first."""
        return self._numbers("SELECT id FROM attempt ORDER BY id")

    # -------------------------------------------------------------------- events

    def append(
        self, attempt: int, sequence: int, event: StoredEvent, blobs: Mapping[str, int]
    ) -> Event:
        """Store an event, its big texts by their numbers."""
        kind, at, data = event
        small = {name: value for name, value in data.items() if name not in blobs}
        self.connection.execute(
            "INSERT INTO event (attempt, sequence, kind, at, data, blobs) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (attempt, sequence, kind, at, json.dumps(small), json.dumps(blobs) if blobs else ""),
        )
        return _event(attempt, sequence, event)

    def last_event(self, attempt: int) -> tuple[int, int]:
        """Return the number and the moment of an attempt's last event; zeros where it has none."""
        row = self._first(
            "SELECT coalesce(max(sequence), 0), coalesce(max(at), 0) FROM event WHERE attempt = ?",
            attempt,
        )
        return int(row[0]), int(row[1])

    def history(self, attempt: int) -> list[StoredEvent]:
        """Return the events of an attempt, in their order."""
        rows = self.connection.execute(
            "SELECT kind, at, data, blobs FROM event WHERE attempt = ? ORDER BY sequence",
            (attempt,),
        ).fetchall()
        history: list[StoredEvent] = []
        for kind, at, stored, blobs in rows:
            data = _loaded(stored, dict)
            for name, number in _loaded(blobs, dict).items():
                row = self._first("SELECT body FROM blob WHERE id = ?", number)
                data[name] = _text("", number, row and row[0])
            history.append((str(kind), int(at), data))
        return history

    def events(self, attempt: int) -> list[Event]:
        """Return the events of an attempt as callers see them."""
        return [_event(attempt, at, event) for at, event in enumerate(self.history(attempt), 1)]

    def keep(self, data: Mapping[str, Json]) -> dict[str, int]:
        """Store the big texts of an event, each once however often it comes; their numbers."""
        numbers = {}
        for name, value in data.items():
            if not isinstance(value, str) or len(value) <= INLINE:
                continue
            # Level 1, the fastest: a durable write waits for this.
            raw = value.encode("utf-8")
            # By content: the same diff comes in the event, in the row and often in the next try.
            digest = hashlib.blake2b(raw, digest_size=16).digest()
            row = self._first("SELECT id FROM blob WHERE digest = ?", digest) or self._first(
                "INSERT INTO blob (digest, body) VALUES (?, ?) RETURNING id",
                *(digest, zlib.compress(raw, 1)),
            )
            numbers[name] = int(row[0])
        return numbers

    def put_vector(self, attempt: int, embedding: Sequence[float], model: str) -> None:
        """Store the embedding that a caller gave with an attempt."""
        self.connection.execute(
            "INSERT INTO vector (attempt, model, dimension, body) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (attempt) DO UPDATE SET model = excluded.model, "
            "dimension = excluded.dimension, body = excluded.body",
            (attempt, model, len(embedding), array("f", embedding).tobytes()),
        )

    def vector(self, attempt: int) -> tuple[list[float], str] | None:
        """Return the embedding of an attempt and the model that made it."""
        row = self._first("SELECT body, model FROM vector WHERE attempt = ?", attempt)
        floats = _floats(row[0]) if row else None
        return (floats, str(row[1])) if floats else None

    # ----------------------------------------------------- searching and counting

    def put_features(self, attempt: int, outcome: str, features: Features) -> None:
        """Make an attempt findable by its words; by those of its first try, where it had more."""
        known = self._first("SELECT 1 FROM feature WHERE attempt = ?", attempt)
        self.connection.execute(
            "INSERT INTO feature (attempt, outcome, words) VALUES (?, ?, ?) "
            "ON CONFLICT (attempt) "
            "DO UPDATE SET outcome = excluded.outcome, words = excluded.words",
            (attempt, outcome, pack(features)),
        )
        if known is None:  # the inverted index cannot take anything back
            self.add_terms(attempt, terms(features))

    def touch(self, attempt: int, paths: Iterable[str]) -> None:
        """Store which paths an attempt has modified."""
        for path in paths:
            if self._first(
                "SELECT 1 FROM attempt_file JOIN file ON file.id = attempt_file.file "
                "WHERE attempt = ? AND path = ?",
                *(attempt, path),
            ):
                continue  # in an earlier try
            row = self._first(
                "INSERT INTO file (path, attempts) VALUES (?, 1) "
                "ON CONFLICT (path) DO UPDATE SET attempts = file.attempts + 1 RETURNING id",
                path,
            )
            self.connection.execute(
                "INSERT INTO attempt_file (file, attempt) VALUES (?, ?)", (row[0], attempt)
            )

    def relabel_features(self, attempt: int, outcome: str) -> None:
        """Correct the outcome that searching sees."""
        self.connection.execute(
            "UPDATE feature SET outcome = ? WHERE attempt = ?", (outcome, attempt)
        )

    def newest_findable(self) -> int:
        """Return the newest attempt that can be found; 0 where there is none."""
        return int(self._first("SELECT max(attempt) FROM feature")[0] or 0)

    def count(self, labels: Iterable[tuple[str, str]], outcome: str | None, step: int) -> None:
        """Add `step` to the number of attempts under each label (dimension, value)."""
        self.connection.executemany(
            "INSERT INTO tally (dimension, value, outcome, attempts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (dimension, value, outcome) "
            "DO UPDATE SET attempts = tally.attempts + excluded.attempts",
            [(dimension, value, outcome, step) for dimension, value in labels],
        )

    def counts(self, dimension: str) -> dict[str, dict[str, int]]:
        """Return the number of attempts by value and outcome."""
        numbers: dict[str, dict[str, int]] = defaultdict(dict)
        for value, outcome, attempts in self.connection.execute(
            "SELECT value, outcome, attempts FROM tally WHERE dimension = ?", (dimension,)
        ):
            numbers[str(value)][str(outcome)] = int(attempts)
        return dict(numbers)

    def lessons(self, numbers: Iterable[int]) -> list[Lesson]:
        """Return the lessons of these numbers, with what came of their uses."""
        asked = list(numbers)
        if not asked:
            return []
        rows = self.connection.execute(
            f"SELECT id, {_LESSON}, "  # noqa: S608
            "(SELECT count(*) FROM lesson_use WHERE lesson = lesson.id), (SELECT count(*) "
            "FROM lesson_use WHERE lesson = lesson.id AND outcome = 'success') "
            f"FROM lesson WHERE id IN ({_marks(asked)})",
            tuple(asked),
        )
        listed = {int(row[0]): _lesson(int(row[0]), row[1:8], row[8:]) for row in rows}
        return [listed[number] for number in asked if number in listed]

    def lesson_ids(self) -> list[int]:
        """Return every lesson, oldest first."""
        return self._numbers("SELECT id FROM lesson ORDER BY id")

    def lessons_by_key(self, key: str) -> list[int]:
        """Return the newest lessons that a trigger's key pulls."""
        return self._numbers(
            "SELECT lesson FROM lesson_trigger WHERE key = ? ORDER BY lesson DESC LIMIT 200", key
        )

    def lessons_by_text(self, text: str) -> list[int]:
        """Return the lessons that say exactly this."""
        return self._numbers("SELECT id FROM lesson WHERE text = ?", text)

    def put_lesson(self, lesson: Lesson, keys: Iterable[str]) -> int:
        """Store a lesson, over the one of its id if it has one; return its number."""
        values = (
            lesson.text,
            *map(json.dumps, (lesson.files, lesson.symbols)),
            lesson.exception,
            *map(json.dumps, (lesson.tests, lesson.evidence, lesson.anchors)),
        )
        if lesson.id is None:
            row = self._first(
                f"INSERT INTO lesson (at, {_LESSON}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",  # noqa: S608
                *(now(), *values),
            )
        else:
            row = self._first(
                f"UPDATE lesson SET ({_LESSON}) = (?, ?, ?, ?, ?, ?, ?) WHERE id = ? RETURNING id",  # noqa: S608
                *(*values, lesson.id),
            )
        number = int(row[0])
        self.connection.executemany(
            "INSERT INTO lesson_trigger (key, lesson) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(key, number) for key in keys],
        )
        return number

    def put_use(self, lesson: int, attempt: int, outcome: str) -> None:
        """Store that a lesson was shown to an attempt, and how that ended."""
        self.connection.execute(
            "INSERT INTO lesson_use (lesson, attempt, outcome, at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (lesson, attempt) DO UPDATE SET outcome = excluded.outcome",
            (lesson, attempt, outcome, now()),
        )

    def last_users(self, lessons: Sequence[int]) -> dict[int, int]:
        """Return the newest attempt that each of these lessons was shown to, if there is one."""
        if not lessons:
            return {}
        sql = f"SELECT lesson, max(attempt) FROM lesson_use WHERE lesson IN ({_marks(lessons)}) "  # noqa: S608
        rows = self.connection.execute(f"{sql} GROUP BY lesson", tuple(lessons))
        return {int(lesson): int(attempt) for lesson, attempt in rows}

    def _first(self, sql: str, *values: object) -> Any:
        return self.connection.execute(sql, values).fetchone()

    def _numbers(self, sql: str, *values: object) -> list[int]:
        return [row[0] for row in self.connection.execute(sql, values)]

    def _attempts(self, where: str, *values: object) -> list[ModificationAttempt]:
        rows = self.connection.execute(_READ + where, values)
        return [_record(row[2:]).attempt(int(row[0]), _floats(row[1])) for row in rows]


def candidates_of(rows: Iterable[Sequence[Any]]) -> list[Candidate]:
    """Return the candidates of rows of `feature`: attempt, outcome, words."""
    return [
        Candidate(row[0], str(row[1]), unpack(row[2])) for row in rows if isinstance(row[2], str)
    ]


def _row(record: Record, blobs: Mapping[str, int]) -> tuple[object, ...]:
    """Return the columns of a record; big texts by the number of their blob."""
    return (
        *(getattr(record, field) for field in _PLAIN.values()),
        json.dumps(record.files_modified),
        json.dumps(record.facts),
        record.diff if len(record.diff) <= INLINE else "",
        record.test_results if len(record.test_results) <= INLINE else "",
        blobs.get("diff"),
        blobs.get("test_results"),
    )


def _record(columns: Sequence[Any]) -> Record:
    files, facts, diff, tests, diff_blob, tests_blob, diff_body, tests_body = columns[-8:]
    return Record(
        **dict(zip(_PLAIN.values(), columns[:-8], strict=True)),
        files_modified=[str(path) for path in _loaded(files, list)],
        facts=_loaded(facts, dict),
        diff=_text(diff, diff_blob, diff_body),
        test_results=_text(tests, tests_blob, tests_body),
    )


def _event(attempt: int, sequence: int, event: StoredEvent) -> Event:
    kind, at, data = event
    when = moment(at) or EPOCH
    return Event(attempt=attempt, sequence=sequence, kind=kind, at=when, data=dict(data))


def _lesson(number: int, row: Sequence[Any], uses: Sequence[Any]) -> Lesson:
    return Lesson(
        id=number,
        text=str(row[0]),
        files=tuple(map(str, _loaded(row[1], list))),
        symbols=tuple(map(str, _loaded(row[2], list))),
        exception=str(row[3]),
        tests=tuple(map(str, _loaded(row[4], list))),
        evidence=tuple(one for one in _loaded(row[5], list) if isinstance(one, int)),
        anchors=tuple(
            (str(one[0]), str(one[1]))
            for one in _loaded(row[6], list)
            if isinstance(one, list) and len(one) == 2
        ),
        uses=int(uses[0]),
        successes=int(uses[1]),
    )


def _text(inline: object, blob: object, body: object) -> str:
    """Return a text from its own row, or out of its blob; a gap that says so where it is gone."""
    if not isinstance(blob, int) or not blob:
        return str(inline or "")
    if not body:
        return "[this text is missing from the journal]"
    try:
        return zlib.decompress(body).decode("utf-8")  # type: ignore[arg-type]
    except (zlib.error, UnicodeDecodeError, TypeError):
        return "[this text is damaged in the journal]"


_Container = TypeVar("_Container", dict[str, Any], list[Any])


def _loaded(stored: object, kind: type[_Container]) -> _Container:
    """Return stored JSON; an empty container where it is damaged."""
    try:
        value = json.loads(str(stored)) if stored else kind()
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


def _floats(body: object) -> list[float] | None:
    return list(array("f", body)) if isinstance(body, bytes) and not len(body) % 4 else None


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
