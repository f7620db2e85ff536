"""The inverted index over attempts: which rows hold a term, newest first, bounded.

Contentless FTS5: it keeps postings and nothing else, and a term's newest rows are read without
touching the rest. The features of a row, for scoring it exactly, stand in a table of their own.
This is the one module of the room whose SQL is SQLite's alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from self_coding.adapters.db import Connection
from self_coding.modification_journal.features import Features, pack, terms, unpack
from self_coding.modification_journal.similar import Candidate


def add(connection: Connection, attempt: int, outcome: str, found: Features) -> None:
    """Make an ended attempt findable."""
    connection.execute(
        "INSERT INTO feature (attempt, outcome, words) VALUES (?, ?, ?)",
        (attempt, outcome, pack(found)),
    )
    connection.execute(
        "INSERT INTO word (rowid, terms) VALUES (?, ?)", (attempt, " ".join(terms(found)))
    )


def relabel(connection: Connection, attempt: int, outcome: str) -> None:
    """Correct the outcome that searching sees."""
    connection.execute("UPDATE feature SET outcome = ? WHERE attempt = ?", (outcome, attempt))


def newest(connection: Connection, term: str, limit: int) -> list[int]:
    """The newest rows that hold a term, newest first."""
    rows = connection.execute(
        "SELECT rowid FROM word WHERE word MATCH ? ORDER BY rowid DESC LIMIT ?",
        ('"' + term.replace('"', '""') + '"', limit),
    )
    return [row[0] for row in rows]


def last(connection: Connection) -> int:
    """The newest findable attempt; 0 where there is none."""
    row = connection.execute("SELECT max(attempt) FROM feature").fetchone()
    return int(row[0] or 0)


def with_outcomes(
    connection: Connection, attempts: Sequence[int], outcomes: Collection[str]
) -> list[int]:
    """Those of these attempts that ended in one of these ways, in the order given."""
    these, ways = (", ".join("?" * len(values)) for values in (attempts, outcomes))
    rows = connection.execute(
        f"SELECT id FROM attempt WHERE id IN ({these}) AND outcome IN ({ways})",  # noqa: S608 - only marks
        (*attempts, *outcomes),
    )
    kept = {row[0] for row in rows}
    return [attempt for attempt in attempts if attempt in kept]


def load(connection: Connection, attempts: Sequence[int]) -> list[Candidate]:
    """The outcome and the features of these attempts; a damaged row is left out."""
    marks = ", ".join("?" * len(attempts))
    rows = connection.execute(
        f"SELECT attempt, outcome, words FROM feature WHERE attempt IN ({marks}) "  # noqa: S608 - only marks
        "ORDER BY attempt DESC",
        tuple(attempts),
    )
    return [
        Candidate(row[0], str(row[1]), unpack(row[2])) for row in rows if isinstance(row[2], str)
    ]
