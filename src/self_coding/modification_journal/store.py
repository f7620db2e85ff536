"""Writes and reads the journal's rows: blocking, one transaction a call.

Every change of an attempt is an appended event, and the row is brought up to date in the same
transaction. A row that cannot be read whole is read as far as it goes; it never breaks a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from self_coding.adapters.db import Database
from self_coding.errors import JournalError
from self_coding.modification_journal import fold, rates, rows, words
from self_coding.modification_journal.record import Record
from self_coding.values.attempts import Event, Json, ModificationAttempt, Outcome


class Store:
    """The rows of one journal."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def log(self, entry: Record, embedding: Sequence[float] | None = None, model: str = "") -> int:
        """Store a finished attempt whole; its id."""
        entry.at = entry.at or rows.now()
        entry.ended = entry.at
        with self.database.write() as connection:
            attempt = rows.add(connection, entry, [(fold.ENDED, entry.at, fold.ended(entry))])
            if embedding:
                rows.put_vector(connection, attempt, embedding, model)
        return attempt

    def begin(self, entry: Record) -> int:
        """Store that an attempt begins; its id."""
        entry.at = rows.now()
        with self.database.write() as connection:
            return rows.add(connection, entry, [(fold.PLANNED, entry.at, fold.planned(entry))])

    def append(self, attempt: int, kind: str, data: dict[str, Json]) -> Event:
        """Store one more event of an attempt."""
        with self.database.write() as connection:
            entry = rows.load(connection, attempt)
            return rows.advance(connection, attempt, entry, kind, data)

    def finish(
        self,
        attempt: int,
        ending: Record,
        embedding: Sequence[float] | None = None,
        model: str = "",
    ) -> None:
        """End an attempt, once; ending it the same way again changes nothing."""
        with self.database.write() as connection:
            entry = rows.load(connection, attempt)
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
            rows.advance(connection, attempt, entry, fold.ENDED, data)
            rows.index(connection, attempt, entry)
            if embedding:
                rows.put_vector(connection, attempt, embedding, model)

    def relabel(self, attempt: int, outcome: Outcome, because: str) -> bool:
        """Give an ended attempt another outcome; False when it has it already."""
        with self.database.write() as connection:
            entry = rows.load(connection, attempt)
            if entry.ended is None or entry.outcome == outcome.value:
                return False
            rates.count(connection, entry, -1)
            data: dict[str, Json] = {
                "outcome": outcome.value,
                "was": entry.outcome,
                "failure_analysis": because,
            }
            rows.advance(connection, attempt, entry, fold.RELABELLED, data)
            rates.count(connection, entry, +1)
            words.relabel(connection, attempt, outcome.value)
        return True

    def events(self, attempt: int) -> list[Event]:
        """The events of an attempt, in their order."""
        with self.database.read() as connection:
            history = rows.told(connection, attempt)
        return [rows.as_event(attempt, at + 1, *event) for at, event in enumerate(history)]

    def get(self, attempts: Sequence[int]) -> dict[int, ModificationAttempt]:
        """The attempts of these ids, those that exist."""
        with self.database.read() as connection:
            return rows.read(connection, attempts)

    def newest(
        self, limit: int, outcomes: Sequence[str] | None = None, *, open_too: bool = False
    ) -> list[ModificationAttempt]:
        """The newest attempts, newest first."""
        where = "1 = 1" if open_too else "ended IS NOT NULL"
        if outcomes is not None:
            where = f"outcome IN ({rows.marks(outcomes)})"
        query = f"SELECT id FROM attempt WHERE {where} ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608 - fixed text
        with self.database.read() as connection:
            ids = [row[0] for row in connection.execute(query, (*(outcomes or ()), limit))]
            return rows.ordered(connection, ids)

    def failures(self, limit: int) -> list[ModificationAttempt]:
        """Failures and rollbacks, newest first."""
        with self.database.read() as connection:
            found = connection.execute(
                "SELECT id FROM attempt WHERE outcome IN ('failure', 'rollback') "
                "ORDER BY at DESC, id DESC LIMIT ?",
                (limit,),
            )
            return rows.ordered(connection, [row[0] for row in found])

    def for_file(self, path: str, limit: int) -> list[ModificationAttempt]:
        """The attempts that touched a path, newest first."""
        with self.database.read() as connection:
            found = connection.execute(
                "SELECT attempt FROM attempt_file JOIN file ON file.id = attempt_file.file "
                "WHERE path = ? ORDER BY attempt DESC LIMIT ?",
                (path, limit),
            )
            return rows.ordered(connection, [row[0] for row in found])

    def unfinished(self) -> list[int]:
        """The attempts that have begun and not ended, oldest first."""
        with self.database.read() as connection:
            found = connection.execute("SELECT id FROM attempt WHERE ended IS NULL ORDER BY id")
            return [int(row[0]) for row in found]

    def stage(self, attempt: int) -> str | None:
        """How far an attempt came; None where there is no such attempt."""
        with self.database.read() as connection:
            row = connection.execute(
                "SELECT stage FROM attempt WHERE id = ?", (attempt,)
            ).fetchone()
        return str(row[0]) if row else None

    def by_commit(self, commits: Iterable[str]) -> dict[str, list[int]]:
        """The attempts that landed as one of these commits; a commit may be abbreviated."""
        found: dict[str, list[int]] = {}
        with self.database.read() as connection:
            for commit in commits:
                matching = connection.execute(
                    "SELECT id FROM attempt WHERE commit_hash <> '' AND commit_hash >= ? "
                    "AND commit_hash < ?",
                    (commit, commit + "g"),
                )
                numbers = [int(row[0]) for row in matching]
                if numbers:
                    found[commit] = numbers
        return found
