"""The tables of git's history: past commits, the Python files they touched, their messages.

Reads and writes rows, nothing else; `history` fills them. Only live commits, those that can be
reached from HEAD, ever vote. Numbers grow along each walk of git's: a parent's is the lower one.

    commits   id, hash, time, live      live: 1 while HEAD descends from it
    touched   commit_id, path           the .py files, under the name they had then
    renames   commit_id, old, new
    messages  title, body               full text without its content; rowid is commits.id
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SCHEMA = """
CREATE TABLE commits (
    id INTEGER PRIMARY KEY, hash TEXT UNIQUE, time INTEGER, live INTEGER NOT NULL
);
CREATE TABLE touched (commit_id INTEGER, path TEXT, PRIMARY KEY (commit_id, path)) WITHOUT ROWID;
CREATE TABLE renames (
    old TEXT, commit_id INTEGER, new TEXT, PRIMARY KEY (old, commit_id)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE messages USING fts5 (
    title, body, content='', tokenize='porter unicode61'
);
"""
_REACHED = "history_reached"
_FIRST = 1 << 32  # the number of the first commit that is stored; older ones come below it
_HOPS = 8  # renames followed from a file's old name to its present one


class Commit(NamedTuple):
    """One past commit; `paths` are its .py files, `renames` pairs of (old, new)."""

    hash: str
    time: int
    message: str
    paths: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]


class Reached(NamedTuple):
    """How far history was read: up to `head`, and `back` commits down from `base`, the HEAD at
    which reading began; `more` where there are older ones. All empty before the first reading."""

    head: str = ""
    base: str = ""
    back: int = 0
    more: bool = False


def reached(connection: sqlite3.Connection) -> Reached:
    """How far history was read."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_REACHED,)).fetchone()
    if row is None:
        return Reached()
    head, base, back, more = str(row[0]).split(" ")
    return Reached(head, base, int(back), more == "more")


def note(connection: sqlite3.Connection, to: Reached) -> None:
    """Remember how far history was read."""
    told = f"{to.head} {to.base} {to.back} {'more' if to.more else 'all'}"
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_REACHED, told))


def clear(connection: sqlite3.Connection) -> None:
    """Forget every commit."""
    for table in ("commits", "touched", "renames"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - three names of ours
    connection.execute("INSERT INTO messages (messages) VALUES ('delete-all')")


def is_mostly_dead(connection: sqlite3.Connection) -> bool:
    """Whether more of the stored commits are silent than may vote."""
    query = "SELECT total(live), count(*) FROM commits"
    live, stored = connection.execute(query).fetchone()
    return bool(live * 2 < stored)


def bury(connection: sqlite3.Connection, hashes: Iterable[str]) -> None:
    """These commits are no ancestors of HEAD any more."""
    connection.executemany("UPDATE commits SET live = 0 WHERE hash = ?", ((h,) for h in hashes))


def add(connection: sqlite3.Connection, commits: Sequence[Commit], *, older: bool = False) -> None:
    """Store commits, given newest first, above all others or (`older`) below them.

    A known one becomes live again. One that touched no Python file is left out, one that only
    has renames gets no message.
    """
    counted = [commit for commit in reversed(commits) if commit.paths or commit.renames]
    lowest, highest = connection.execute("SELECT min(id), max(id) FROM commits").fetchone()
    first = _FIRST if lowest is None else lowest - len(counted) if older else highest + 1
    for number, commit in enumerate(counted, first):
        row = connection.execute("SELECT id FROM commits WHERE hash = ?", (commit.hash,)).fetchone()
        if row:
            connection.execute("UPDATE commits SET live = 1 WHERE id = ?", row)
            continue
        connection.execute(
            "INSERT INTO commits VALUES (?, ?, ?, 1)", (number, commit.hash, commit.time)
        )
        if commit.paths:
            title, _, body = commit.message.partition("\n")
            connection.execute(
                "INSERT INTO messages (rowid, title, body) VALUES (?, ?, ?)", (number, title, body)
            )
        connection.executemany(
            "INSERT OR IGNORE INTO touched VALUES (?, ?)", [(number, p) for p in commit.paths]
        )
        connection.executemany(
            "INSERT OR REPLACE INTO renames VALUES (?, ?, ?)",
            [(old, number, new) for old, new in commit.renames],
        )


def alike(
    connection: sqlite3.Connection, words: Sequence[str], *, limit: int
) -> list[tuple[int, float]]:
    """The live commits whose messages are most like these words: (number, BM25), best first."""
    if not words:
        return []
    match = " OR ".join('"' + word.replace('"', '""') + '"' for word in words)
    rows = connection.execute(
        "SELECT c.id, -bm25(messages, 1.0, 0.5) AS score FROM messages"
        " JOIN commits c ON c.id = messages.rowid AND c.live"
        " WHERE messages MATCH ? ORDER BY score DESC, c.id DESC LIMIT ?",
        (match, limit),
    )
    return [(number, score) for number, score in rows]


def ages(connection: sqlite3.Connection) -> dict[int, int]:
    """The number of each live commit -> how many of the others are younger, by their dates.

    So it is the same however history was read, and whichever branches were read before.
    """
    rows = connection.execute("SELECT id FROM commits WHERE live ORDER BY time DESC, id DESC")
    return {number: age for age, (number,) in enumerate(rows)}


def paths_of(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, list[str]]:
    """The .py files of commits, under the names they had then."""
    return {
        number: [
            path
            for (path,) in connection.execute(
                "SELECT path FROM touched WHERE commit_id = ?", (number,)
            )
        ]
        for number in numbers
    }


def touched(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """(path, commit number) of everything that was touched by stored commits, live or not."""
    return connection.execute("SELECT path, commit_id FROM touched").fetchall()


def renamed(connection: sqlite3.Connection, path: str, since: int) -> str | None:
    """The name that live commits newer than `since` gave a file last; None when they gave none."""
    now: str | None = None
    for _ in range(_HOPS):
        row = connection.execute(
            "SELECT r.new, r.commit_id FROM renames r JOIN commits c ON c.id = r.commit_id"
            " WHERE r.old = ? AND r.commit_id > ? AND c.live ORDER BY r.commit_id LIMIT 1",
            (now or path, since),
        ).fetchone()
        if not row:
            break
        now, since = row
    return now
