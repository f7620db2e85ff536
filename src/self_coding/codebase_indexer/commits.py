"""The SQL of git's history, for `history` to fill and `search` to ask.

Only live commits, those that can be reached from HEAD, ever vote. Ids grow along each walk of
git's: a parent's is the lower one. The tables are among `store`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from self_coding.codebase_indexer.store import quoted
from self_coding.languages import nfkc

if TYPE_CHECKING:
    from self_coding.codebase_indexer.history import Commit

_FIRST_COMMIT = 1 << 32  # the id of the first commit that is stored; older ones come below it
_MOST_RENAMES = 8  # renames followed from a file's old name to its present one


def clear_commits(connection: sqlite3.Connection) -> None:
    """Forget every commit."""
    for table in ("commits", "touched", "renames"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - three constants
    connection.execute("INSERT INTO messages (messages) VALUES ('delete-all')")


def are_commits_mostly_dead(connection: sqlite3.Connection) -> bool:
    """Return whether fewer than half of the stored commits are live."""
    query = "SELECT total(live), count(*) FROM commits"
    live, stored = connection.execute(query).fetchone()
    return bool(live * 2 < stored)


def silence_commits(connection: sqlite3.Connection, hashes: Iterable[str]) -> None:
    """Mark commits as no longer reachable from HEAD."""
    connection.executemany("UPDATE commits SET live = 0 WHERE hash = ?", ((h,) for h in hashes))


def add_commits(
    connection: sqlite3.Connection, commits: Sequence[Commit], *, older: bool = False
) -> None:
    """Store commits, given newest first, above all others or (`older`) below them.

    A stored one becomes live again. One that touched no Python file is left out, one that only
    has renames gets no message.
    """
    relevant = [commit for commit in reversed(commits) if commit.paths or commit.renames]
    lowest, highest = connection.execute("SELECT min(id), max(id) FROM commits").fetchone()
    # History is read backwards in steps, so that older commits need room for ids below.
    first = _FIRST_COMMIT if lowest is None else lowest - len(relevant) if older else highest + 1
    for id, commit in enumerate(relevant, first):
        row = connection.execute("SELECT id FROM commits WHERE hash = ?", (commit.hash,)).fetchone()
        if row:
            connection.execute("UPDATE commits SET live = 1 WHERE id = ?", row)
            continue
        connection.execute(
            "INSERT INTO commits VALUES (?, ?, ?, 1)", (id, commit.hash, commit.time)
        )
        if commit.paths:
            title, _, body = nfkc(commit.message).partition("\n")
            connection.execute(
                "INSERT INTO messages (rowid, title, body) VALUES (?, ?, ?)", (id, title, body)
            )
        connection.executemany(
            "INSERT OR IGNORE INTO touched VALUES (?, ?)", [(id, path) for path in commit.paths]
        )
        connection.executemany(
            "INSERT OR REPLACE INTO renames VALUES (?, ?, ?)",
            [(old, id, new) for old, new in commit.renames],
        )


def commits_like(
    connection: sqlite3.Connection, words: Sequence[str], *, limit: int
) -> list[tuple[int, float]]:
    """Return (id, BM25) of the live commits whose messages are most like words, best first."""
    if not words:
        return []
    rows = connection.execute(
        "SELECT c.id, -bm25(messages, 1.0, 0.5) AS score FROM messages"
        " JOIN commits c ON c.id = messages.rowid AND c.live"
        " WHERE messages MATCH ? ORDER BY score DESC, c.id DESC LIMIT ?",
        (" OR ".join(quoted(word) for word in words), limit),
    )
    return [(id, score) for id, score in rows]


def commit_ages(connection: sqlite3.Connection) -> dict[int, int]:
    """Return how many of the live commits are younger than each, by their dates.

    So it is the same however history was read, and whichever branches were read before.
    """
    rows = connection.execute("SELECT id FROM commits WHERE live ORDER BY time DESC, id DESC")
    return {id: age for age, (id,) in enumerate(rows)}


def paths_of_commit(connection: sqlite3.Connection, id: int) -> list[str]:
    """Return the Python files of a commit, under the names they had then."""
    rows = connection.execute("SELECT path FROM touched WHERE commit_id = ?", (id,))
    return [path for (path,) in rows]


def touched_paths(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return (path, commit id) of everything that stored commits touched, live or not."""
    return connection.execute("SELECT path, commit_id FROM touched").fetchall()


def renamed_path(connection: sqlite3.Connection, path: str, since: int) -> str | None:
    """Return the name that live commits newer than `since` gave a file last, None for none."""
    name: str | None = None
    # Bounded: files that changed their names with each other make a circle.
    for _ in range(_MOST_RENAMES):
        row = connection.execute(
            "SELECT r.new, r.commit_id FROM renames r JOIN commits c ON c.id = r.commit_id"
            " WHERE r.old = ? AND r.commit_id > ? AND c.live ORDER BY r.commit_id LIMIT 1",
            (name or path, since),
        ).fetchone()
        if not row:
            break
        name, since = row
    return name
