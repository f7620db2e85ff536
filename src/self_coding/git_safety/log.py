"""The operation log: who did what to which ref, when and why, and whether it was taken back.

Rows are only added, but for the `undone` mark. All SQL of this package is here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any

from self_coding.adapters.db import Database
from self_coding.values.repository import Operation

_APPLICATION = 0x5C0D0005
_MIGRATIONS = (
    """
    CREATE TABLE operations (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        actor TEXT NOT NULL,
        session TEXT NOT NULL,
        reason TEXT NOT NULL,
        attempt TEXT NOT NULL,
        undo_ref TEXT NOT NULL,
        undone INTEGER NOT NULL DEFAULT 0,
        reverses INTEGER,
        data TEXT NOT NULL
    );
    CREATE TABLE moves (
        operation INTEGER NOT NULL REFERENCES operations(id) ON DELETE CASCADE,
        ref TEXT NOT NULL,
        old TEXT NOT NULL,
        new TEXT NOT NULL
    );
    CREATE INDEX moves_operation ON moves(operation);
    CREATE INDEX moves_new ON moves(new);
    CREATE INDEX operations_attempt ON operations(attempt, id);
    CREATE TABLE worktrees (
        name TEXT PRIMARY KEY,
        attempt TEXT UNIQUE,
        branch TEXT NOT NULL DEFAULT '',
        base TEXT NOT NULL DEFAULT '',
        made REAL NOT NULL
    );
    CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
    """
    ALTER TABLE operations ADD COLUMN plan TEXT;
    CREATE UNIQUE INDEX operations_plan ON operations(plan);
    """,
)

_COLUMNS = (
    "SELECT id, at, kind, actor, session, reason, attempt, undo_ref, undone, reverses, data"
    " FROM operations"
)

Move = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An operation as it is stored: the public part, and what undoing it needs."""

    operation: Operation
    session: str
    reverses: int | None = None
    data: Mapping[str, str] = field(default_factory=dict)


class Log:
    """The operation log of one repository, with the worktrees that attempts have.

    What is added is of `actor` (who acts) and `session` (this object).
    """

    def __init__(self, folder: Path, *, actor: str, session: str) -> None:
        self._actor = actor
        self._session = session
        self._database = Database(  # opened by its first use
            folder / "operations.db",
            application=_APPLICATION,
            migrations=_MIGRATIONS,
            # It may lose its last lines at a power loss: refs and receipts are what counts, and
            # they are git's and files of their own.
            durable=False,
        )

    def add(
        self,
        kind: str,
        *,
        refs: Sequence[Move] = (),
        reason: str = "",
        attempt: str = "",
        undo_ref: str = "",
        reverses: int | None = None,
        data: Mapping[str, str] | None = None,
        plan: str = "",
    ) -> int:
        """Store one operation and return its number; one with the same `plan` is stored once."""
        values = (
            datetime.now(UTC).timestamp(),
            kind,
            self._actor,
            self._session,
            _storable(reason),
            attempt,
            undo_ref,
            reverses,
            json.dumps(dict(data or {})),
            plan or None,
        )
        with self._database.write() as connection:
            # Repeated after a crash: the first line stays, and its number is the answer.
            stored = connection.execute(
                "SELECT id FROM operations WHERE plan = ?", (plan,)
            ).fetchone()
            if stored is not None:
                return int(stored[0])
            cursor = connection.execute(
                "INSERT INTO operations"
                " (at, kind, actor, session, reason, attempt, undo_ref, reverses, data, plan)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            number = int(cursor.lastrowid or 0)
            connection.executemany(
                "INSERT INTO moves VALUES (?, ?, ?, ?)",
                [(number, *map(_storable, move)) for move in refs],
            )
        return number

    def recent(self, limit: int, *, attempt: str | None = None) -> list[Entry]:
        """Return the newest operations, newest first."""
        where, values = ("", ()) if attempt is None else (" WHERE attempt = ?", (attempt,))
        return self._entries(f"{where} ORDER BY id DESC LIMIT ?", (*values, limit))

    def one(self, number: int) -> Entry:
        """Return the operation `number`, which must be stored."""
        return self._entries(" WHERE id = ?", (number,))[0]

    def made(self, commit: str, *, but: Sequence[str] = ()) -> Entry | None:
        """Return the operation that first moved a ref to `commit`, of any kind but some."""
        entries = self._entries(
            # The first one: later moves to the same commit, by undo or rollback, did not make it.
            " WHERE id = (SELECT min(m.operation) FROM moves m JOIN operations o"
            " ON o.id = m.operation WHERE m.new = ? AND instr(?, '|' || o.kind || '|') = 0)",
            (commit, f"|{'|'.join(but)}|"),
        )
        return entries[0] if entries else None

    def moves(self, ref: str) -> list[tuple[str, str, str, str]]:
        """Return old, new, session and actor of each move of `ref`, newest first."""
        return self._rows(
            "SELECT m.old, m.new, o.session, o.actor FROM moves m"
            " JOIN operations o ON o.id = m.operation WHERE m.ref = ? ORDER BY o.id DESC",
            _storable(ref),
        )

    def mark_undone(self, number: int, *, undone: bool) -> None:
        """Note that an operation was taken back, or done again."""
        self._write("UPDATE operations SET undone = ? WHERE id = ?", int(undone), number)

    def mark(self, name: str, value: str) -> None:
        """Remember one value by name."""
        self._write("INSERT OR REPLACE INTO marks VALUES (?, ?)", name, value)

    def marked(self, name: str) -> str:
        """Return the value remembered by name, or ""."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", name)
        return str(rows[0][0]) if rows else ""

    def worktree(self, attempt: str) -> tuple[str, str, str] | None:
        """Return name, branch and base of the worktree that an attempt has."""
        rows = self._rows("SELECT name, branch, base FROM worktrees WHERE attempt = ?", attempt)
        return rows[0] if rows else None

    def worktrees(self) -> list[tuple[str, str | None]]:
        """Return each worktree's name, and its attempt (None: it is free)."""
        return self._rows("SELECT name, attempt FROM worktrees ORDER BY name")

    def assign_worktree(
        self, name: str, attempt: str | None, branch: str = "", base: str = ""
    ) -> None:
        """Give a worktree to an attempt, or set it free with None."""
        with self._database.write() as connection:
            # An attempt has one worktree at most: the column is unique, and a crash may have left
            # another row.
            connection.execute("DELETE FROM worktrees WHERE attempt = ?", (attempt,))
            connection.execute(
                "INSERT OR REPLACE INTO worktrees (name, attempt, branch, base, made)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, attempt, branch, base, datetime.now(UTC).timestamp()),
            )

    def forget_worktree(self, name: str) -> None:
        """Forget a worktree, whose folder is no longer in its place."""
        self._write("DELETE FROM worktrees WHERE name = ?", name)

    def _entries(self, rest: str, values: Sequence[object]) -> list[Entry]:
        with self._database.read() as connection:
            rows = connection.execute(_COLUMNS + rest, tuple(values)).fetchall()
            return [_entry(connection, row) for row in rows]

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with self._database.read() as connection:
            return [tuple(row) for row in connection.execute(statement, values)]

    def _write(self, statement: str, *values: object) -> None:
        with self._database.write() as connection:
            connection.execute(statement, values)


def _entry(connection: Connection, row: Row) -> Entry:
    refs = connection.execute(
        "SELECT ref, old, new FROM moves WHERE operation = ?", (row[0],)
    ).fetchall()
    data = json.loads(row[10])
    left = f"{data.get('refused', '')}\n{data.get('left', '')}".split("\n")
    operation = Operation(
        id=row[0],
        at=datetime.fromtimestamp(row[1], UTC),
        kind=row[2],
        actor=row[3],
        reason=row[5],
        attempt=row[6],
        refs=tuple((ref, old, new) for ref, old, new in refs),
        undo_ref=row[7],
        undone=bool(row[8]),
        left=tuple(filter(None, left)),
        group=tuple(landed for _, landed, *_ in json.loads(data.get("group", "[]"))),
    )
    return Entry(operation=operation, session=row[4], reverses=row[9], data=data)


def _storable(text: str) -> str:
    """Return text that SQLite can hold; undecodable bytes are shown, not lost."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
