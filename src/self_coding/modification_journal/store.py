"""The journal on SQLite: its schema as migrations that only ever add, and its index of words.

A journal on another database is a sibling of this file; every other query is in `queries`.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from self_coding.adapters.db import Connection, Database, Sessions, reading
from self_coding.errors import StorageError, StorageVersionError
from self_coding.modification_journal.queries import COUNTED, Queries, candidates_of
from self_coding.modification_journal.ranking import Candidate

APPLICATION = 0x53434A4C  # "SCJL", SQLite's application_id of a journal

# `event` is the record. `attempt` is its fold, stored for reading; `feature`, `word`, `file` and
# `tally` are what searching and counting need. lesson.shown and lesson.retired are written by
# nobody any more: they stay because migrations only ever add.
_SCHEMA = """
CREATE TABLE attempt (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL, ended INTEGER, stage TEXT NOT NULL, outcome TEXT,
  task TEXT NOT NULL, approach TEXT NOT NULL DEFAULT '', files TEXT NOT NULL DEFAULT '[]',
  diff TEXT NOT NULL DEFAULT '', diff_blob INTEGER,
  tests TEXT NOT NULL DEFAULT '', tests_blob INTEGER,
  analysis TEXT NOT NULL DEFAULT '', reflection TEXT NOT NULL DEFAULT '',
  retry_count INTEGER NOT NULL DEFAULT 0, edit TEXT NOT NULL DEFAULT '',
  editor TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '',
  commit_hash TEXT NOT NULL DEFAULT '', facts TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX attempt_at ON attempt (at, id);
CREATE INDEX attempt_failed ON attempt (at, id) WHERE outcome IN ('failure', 'rollback');
CREATE INDEX attempt_open ON attempt (id) WHERE ended IS NULL;
CREATE INDEX attempt_commit ON attempt (commit_hash) WHERE commit_hash <> '';
CREATE TABLE event (
  attempt INTEGER NOT NULL, sequence INTEGER NOT NULL,
  kind TEXT NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL, blobs TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (attempt, sequence)
) WITHOUT ROWID;
CREATE TABLE blob (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE file (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE attempt_file (
  file INTEGER NOT NULL, attempt INTEGER NOT NULL, PRIMARY KEY (file, attempt)
) WITHOUT ROWID;
CREATE TABLE feature (
  attempt INTEGER PRIMARY KEY, outcome TEXT NOT NULL, words TEXT NOT NULL
);
CREATE TABLE tally (
  dimension TEXT NOT NULL, value TEXT NOT NULL, outcome TEXT NOT NULL, attempts INTEGER NOT NULL,
  PRIMARY KEY (dimension, value, outcome)
) WITHOUT ROWID;
CREATE TABLE vector (
  attempt INTEGER PRIMARY KEY, model TEXT NOT NULL, dimension INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE lesson (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
  text TEXT NOT NULL, files TEXT NOT NULL, symbols TEXT NOT NULL, exception TEXT NOT NULL,
  tests TEXT NOT NULL, evidence TEXT NOT NULL, anchors TEXT NOT NULL,
  shown INTEGER NOT NULL DEFAULT 0, retired TEXT NOT NULL DEFAULT ''
);
CREATE TABLE lesson_trigger (
  key TEXT NOT NULL, lesson INTEGER NOT NULL, PRIMARY KEY (key, lesson)
) WITHOUT ROWID;
CREATE TABLE lesson_use (
  lesson INTEGER NOT NULL, attempt INTEGER NOT NULL, outcome TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (lesson, attempt)
) WITHOUT ROWID;
-- The inverted index: each attempt's distinct terms, nothing else (no text, no positions), for
-- nothing else is asked of it. "_" belongs to a term: whole paths are terms like p_1f2e3d4c5b6a.
CREATE VIRTUAL TABLE word USING fts5(
  terms, content='', detail=none, columnsize=0,
  tokenize="unicode61 remove_diacritics 0 tokenchars '_'"
);
"""
MIGRATIONS = (_SCHEMA,)


class SQLiteStore:
    """The database of one journal, in one file."""

    sessions: Sessions | None = None  # a file is on one machine, whose own locks do

    def __init__(self, path: Path | str, *, durable: bool = True, patience: float = 30.0) -> None:
        self._database = Database(
            path,
            application=APPLICATION,
            migrations=MIGRATIONS,
            durable=durable,
            patience=patience,
        )

    @contextmanager
    def read(self) -> Iterator[Queries]:
        """Open a transaction that sees one state and changes nothing."""
        with self._recognised(), self._database.read() as connection:
            yield _SQLiteQueries(connection)

    look = read  # a transaction costs nothing here

    @contextmanager
    def write(self) -> Iterator[Queries]:
        """Open a transaction that is stored whole, or not at all."""
        with self._recognised(), self._database.write() as connection:
            yield _SQLiteQueries(connection)

    @contextmanager
    def _recognised(self) -> Iterator[None]:
        """Say of a database that is not ours whether it is the founding version's."""
        try:
            yield
        except StorageVersionError as error:
            path = self._database.path
            is_founding = False
            with suppress(StorageError), reading(Path(path)) as connection:
                is_founding = founding_table(connection) is not None
            if is_founding:
                raise StorageVersionError(
                    f"{path} is a journal of the founding version",
                    path=path,
                    hint="take it into this version's journal with "
                    f"`self-coding import --founding {shlex.quote(path)}`; it stays as it is",
                ) from error
            raise

    def close(self) -> None:
        """Close the database; the next transaction opens it again."""
        self._database.close()


def founding_table(connection: Connection) -> tuple[str, list[str]] | None:
    """Return the name and the columns of the founding version's attempts, None if there is none."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    # By its columns: the founding version let its caller name the table.
    for (name,) in names:
        quoted = str(name).replace('"', '""')
        # asked first: a table of another kind may have no rowid to order by
        # A name cannot be bound to a `?`, so it is quoted as SQLite quotes.
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{quoted}")')]
        if {"task_description", "outcome"} <= set(columns):
            return quoted, columns
    return None


class _SQLiteQueries(Queries):
    """The queries that only SQLite answers: FTS5, without content, positions or sizes."""

    def add_terms(self, attempt: int, terms: Iterable[str]) -> None:
        """Enter an attempt into the inverted index, under each of its terms."""
        self.connection.execute(
            "INSERT INTO word (rowid, terms) VALUES (?, ?)", (attempt, " ".join(terms))
        )

    def newest_with(self, terms: Iterable[str], limit: int) -> dict[str, list[int]]:
        """Return the newest attempts that hold each term, newest first."""
        sql = "SELECT rowid FROM word WHERE word MATCH ? ORDER BY rowid DESC LIMIT ?"
        # A term in quotes is a string to FTS5, whatever operators it spells.
        quoted = {term: '"' + term.replace('"', '""') + '"' for term in terms}
        return {term: self._numbers(sql, match, limit) for term, match in quoted.items()}

    def scored(
        self, ids: Sequence[int], outcomes: Collection[str] | None, limit: int
    ) -> tuple[list[Candidate], dict[str, int]]:
        """Return the features of the first `limit` attempts, and how often their files changed."""
        execute = self.connection.execute
        if outcomes is not None:
            sql = f"SELECT id FROM attempt WHERE id IN ({_marks(ids)}) "  # noqa: S608 - fixed text, as below
            sql += f"AND outcome IN ({_marks(outcomes)}) AND {COUNTED}"
            kept = {row[0] for row in execute(sql, (*ids, *outcomes))}
            ids = [attempt for attempt in ids if attempt in kept]
        ids = ids[:limit]
        sql = f"SELECT attempt, outcome, words FROM feature WHERE attempt IN ({_marks(ids)}) "  # noqa: S608
        candidates = candidates_of(execute(f"{sql} ORDER BY attempt DESC", tuple(ids)))
        paths = {path for each in candidates for path in each.features.files}
        sql = f"SELECT path, attempts FROM file WHERE path IN ({_marks(paths)})"  # noqa: S608
        return candidates, {str(path): int(times) for path, times in execute(sql, tuple(paths))}


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
