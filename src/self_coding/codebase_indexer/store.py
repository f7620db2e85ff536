"""The index's tables, and the small functions that read and write them.

One SQLite file, a cache: rebuilt from the working tree whenever it is missing, damaged or of an
older schema. Nothing here reads the working tree or decides what is out of date.

    meta      key, value            "view": what the file list was read from; "roots"; "next_doc"
    files     id, path              path is repository-relative with "/"
              hash, mtime_ns, ctime_ns, size      mtime_ns -1: to be hashed again (git's racy rule)
              doc                   the row of `words` that holds this version's text
              lines, is_test        is_test: a test, a conftest, or a helper below a tests folder
              parsed, error         tier 2's verdict: 1, 0 with the reason, NULL for not asked yet
              symbols, imports      heads and import statements as text (packed)
    links     file, module          what resolving made of a file: its dotted name, and whom it
              targets               imports, 32 bits each: target id << 3 | number in SCOPES
    blind     file, line, reason                what no static analysis can follow
    words     path, names, docs, body           full text (FTS5, contentless), rowid = files.doc
              names: what the file defines, whole and in parts (fields); body: the text
              itself, which FTS5 splits at "_" alone
    terms     term, doc, col, offset            every token of `words` (fts5vocab "instance")
    folders   path, stamp           where a new file would show
    commits   id, hash, time, live  past commits; live: 1 while HEAD descends from it
    touched   commit_id, path       their Python files, under the name they had then
    renames   commit_id, old, new
    messages  title, body           full text of their messages (contentless), rowid = commits.id

Rows of `words` are never changed: a changed file gets a new row, and rows that are no longer in
`files.doc` are dead. Every reader joins through `files.doc`; when many are dead all are rewritten.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from self_coding.codebase_indexer.packed import Symbol, unpack_symbols, whole

APPLICATION = 0x5C1DE8
PAGE = 16_384  # bytes; a page of the full text ("pgsz" below) fits into one of the file
SCOPES = ("top", "conditional", "function", "typing", "string", "data")
FIELDS = ("path", "names", "docs", "body")
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path UNIQUE, hash BLOB, mtime_ns INTEGER, ctime_ns INTEGER,
    size INTEGER, doc INTEGER, lines INTEGER, is_test INTEGER, parsed INTEGER, error TEXT,
    symbols TEXT, imports TEXT
);
CREATE TABLE links (file INTEGER PRIMARY KEY, module TEXT, targets BLOB);
CREATE TABLE blind (file INTEGER, line INTEGER, reason TEXT);
CREATE INDEX blind_file ON blind (file);
CREATE VIRTUAL TABLE words USING fts5(
    path, names, docs, body, content='', tokenize='unicode61 remove_diacritics 0'
);
INSERT INTO words (words, rank) VALUES ('pgsz', 16000);
CREATE VIRTUAL TABLE terms USING fts5vocab(words, instance);
CREATE TABLE folders (path PRIMARY KEY, stamp TEXT) WITHOUT ROWID;
"""
HISTORY_SCHEMA = """
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
MIGRATIONS = (SCHEMA, HISTORY_SCHEMA)


class File(NamedTuple):
    """One indexed file; `parsed` is None where tier 2 has not looked yet."""

    id: int
    path: str
    module: str
    is_test: bool
    lines: int
    parsed: bool | None


class Edge(NamedTuple):
    """File `source` imports file `target`; `scope` is a word of `SCOPES`."""

    source: int
    target: int
    scope: str


class Blind(NamedTuple):
    """A line of a file that no static analysis can follow."""

    file: int
    line: int
    reason: str


def meta(connection: sqlite3.Connection, key: str) -> str:
    """One fact about the index itself, empty when it was never stored."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return "" if row is None else str(row[0])


def put_meta(connection: sqlite3.Connection, key: str, value: object) -> None:
    """Store one fact about the index itself."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))


def files(connection: sqlite3.Connection) -> list[File]:
    """Every indexed file, by path."""
    rows = connection.execute(
        "SELECT id, path, module, is_test, lines, parsed FROM files JOIN links ON links.file = id"
    )
    found = [
        File(id, shown(path), module, bool(is_test), lines, None if ok is None else bool(ok))
        for id, path, module, is_test, lines, ok in rows
    ]
    return sorted(found, key=lambda file: file.path)


def edges(connection: sqlite3.Connection) -> list[Edge]:
    """Every import edge between files, as resolved (`graph` adds the packages' parents)."""
    rows = connection.execute("SELECT file, targets FROM links")
    return [
        Edge(source, packed >> 3, SCOPES[packed & 7])
        for source, targets in rows
        for packed in array("I", targets)
    ]


def pairs(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """(source, target) of every import edge."""
    rows = connection.execute("SELECT file, targets FROM links")
    return [(source, packed >> 3) for source, blob in rows for packed in array("I", blob)]


def imports(connection: sqlite3.Connection, file: int) -> str:
    """The import statements of one file, packed."""
    row = connection.execute("SELECT imports FROM files WHERE id = ?", (file,)).fetchone()
    return str(row[0])


def starred(connection: sqlite3.Connection) -> dict[int, str]:
    """The (packed) import statements of the files that import all names of a module."""
    rows = connection.execute("SELECT id, imports FROM files WHERE instr(imports, char(9) || '*')")
    return dict(rows.fetchall())


def targets(connection: sqlite3.Connection, sources: Iterable[int]) -> dict[int, list[int]]:
    """The files that each of a few files imports, each once."""
    found: dict[int, list[int]] = {}
    for source in sources:
        row = connection.execute("SELECT targets FROM links WHERE file = ?", (source,)).fetchone()
        packed = array("I", row[0]) if row else ()
        found[source] = sorted({each >> 3 for each in packed})
    return found


def links(connection: sqlite3.Connection) -> dict[int, bytes]:
    """The imported files of every file, packed (see `links` above)."""
    return dict(connection.execute("SELECT file, targets FROM links").fetchall())


def heads(connection: sqlite3.Connection, file: int) -> str:
    """The heads of one file, packed."""
    row = connection.execute("SELECT symbols FROM files WHERE id = ?", (file,)).fetchone()
    return str(row[0])


def symbols(connection: sqlite3.Connection) -> dict[int, str]:
    """The heads of every file, packed."""
    return dict(connection.execute("SELECT id, symbols FROM files").fetchall())


def definitions(connection: sqlite3.Connection, name: str) -> dict[int, list[Symbol]]:
    """Every class or function of exactly this name, by file."""
    found: dict[int, list[Symbol]] = {}
    for file in holders(connection, whole(name), "names"):
        row = connection.execute("SELECT symbols FROM files WHERE id = ?", (file,)).fetchone()
        if f"\t{name}\t" in row[0]:
            found[file] = [each for each in unpack_symbols(row[0]) if each.name == name]
    return found


def testing(connection: sqlite3.Connection) -> set[int]:
    """The files that define something named like a test."""
    rows = connection.execute(
        "SELECT id FROM files WHERE instr(symbols, '\ttest') OR instr(symbols, '\tTest')"
    )
    return {file for (file,) in rows}


def blind_lines(connection: sqlite3.Connection) -> list[Blind]:
    """Every line that no static analysis can follow."""
    return [Blind(*row) for row in connection.execute("SELECT * FROM blind ORDER BY file, line")]


def versions(connection: sqlite3.Connection) -> dict[int, int]:
    """The live rows of the full text: rowid of `words` -> file id."""
    return dict(connection.execute("SELECT doc, id FROM files").fetchall())


def holders(connection: sqlite3.Connection, term: str, field: str = "") -> list[int]:
    """The files whose text (or one field of it) holds a word, or several side by side.

    Rows are told live from dead here: a join would look through all files for each row.
    """
    query = f"{field} : {quoted(term)}" if field else quoted(term)
    live = versions(connection)
    rows = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
    return [live[row] for (row,) in rows if row in live]


def quoted(term: str) -> str:
    """A term as an FTS5 string, whatever characters it holds."""
    return '"' + readable(term).replace('"', '""').replace("\0", " ") + '"'


def readable(text: str) -> str:
    """A text without the halves of characters that a file name may hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Known(NamedTuple):
    """What is stored of one file; its stamp is `walk.Stamp`."""

    id: int
    hash: bytes | None
    stamp: tuple[int, int, int]
    parsed: int | None


class Counts(NamedTuple):
    """What an update did: files read anew, files that cannot be read or parsed, the rest."""

    indexed: int
    failed: int
    skipped: int


def next_file(connection: sqlite3.Connection) -> int:
    """The lowest id above those of all files that there are or were."""
    highest = connection.execute("SELECT coalesce(max(id), 0) FROM files").fetchone()[0]
    return max(int(highest) + 1, int(meta(connection, "next_file") or 1))


def known(connection: sqlite3.Connection, paths: Iterable[str] | None = None) -> dict[str, Known]:
    """What is stored of each file, or of those among `paths`."""
    every = "SELECT path, id, hash, mtime_ns, ctime_ns, size, parsed FROM files"
    if paths is None:
        rows = connection.execute(every).fetchall()
    else:
        one = every + " WHERE path = ?"
        rows = [row for path in paths for row in connection.execute(one, (stored(path),))]
    return {
        shown(path): Known(id, digest, (mtime, ctime, size), parsed)
        for path, id, digest, mtime, ctime, size, parsed in rows
    }


def stamps(connection: sqlite3.Connection) -> tuple[dict[str, tuple[int, int, int]], bool]:
    """The stamp of each file, and whether none of them is to be hashed again anyway."""
    rows = connection.execute("SELECT path, mtime_ns, ctime_ns, size FROM files").fetchall()
    found = {
        path if isinstance(path, str) else os.fsdecode(path): (mtime, ctime, size)
        for path, mtime, ctime, size in rows
    }
    lowest = connection.execute("SELECT min(mtime_ns) FROM files").fetchone()[0]
    return found, lowest is None or lowest >= 0


def counts(connection: sqlite3.Connection) -> tuple[Counts, int]:
    """What is counted when nothing has changed, and how many files tier 2 was not asked about."""
    asked = "SELECT count(*), total(parsed = 0), total(parsed IS NULL) FROM files"
    total, failed, unasked = connection.execute(asked).fetchone()
    return Counts(0, int(failed), total - int(failed)), int(unasked)


def shown(path: str | bytes) -> str:
    """A stored path as text."""
    return path if isinstance(path, str) else os.fsdecode(path)


def stored(path: str) -> str | bytes:
    """A path as it is stored: text, or bytes where its name is no UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


# --- Git's history, for `history` to fill and `search` to ask. Only live commits, those that can
# be reached from HEAD, ever vote. Ids grow along each walk of git's: a parent's is the lower one.

_FIRST_COMMIT = 1 << 32  # the id of the first commit that is stored; older ones come below it
_MOST_RENAMES = 8  # renames followed from a file's old name to its present one


class Commit(NamedTuple):
    """One past commit; `paths` are its Python files, `renames` pairs of (old, new)."""

    hash: str
    time: int
    message: str
    paths: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]


class HistoryReached(NamedTuple):
    """How far history was read: up to `head`, and `back` commits down from `base`, the HEAD at
    which reading began; `more` if there are older ones. All empty before the first reading."""

    head: str = ""
    base: str = ""
    back: int = 0
    more: bool = False


def history_reached(connection: sqlite3.Connection) -> HistoryReached:
    """Return how far history was read."""
    stored = meta(connection, "history_reached")
    if not stored:
        return HistoryReached()
    head, base, back, more = stored.split(" ")
    return HistoryReached(head, base, int(back), more == "more")


def put_history_reached(connection: sqlite3.Connection, reached: HistoryReached) -> None:
    """Store how far history was read."""
    more = "more" if reached.more else "all"
    put_meta(connection, "history_reached", f"{reached.head} {reached.base} {reached.back} {more}")


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
            title, _, body = commit.message.partition("\n")
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


# --- The full text, for `search`.


def match_words(
    connection: sqlite3.Connection,
    live: Mapping[int, int],
    terms: Sequence[str],
    weights: Sequence[float],
    field: str = "",
) -> dict[int, float]:
    """Return file id -> weighted BM25 of the files that hold any of the terms.

    A file that holds them only in fields that count nothing is left out.

    Args:
        connection: the index.
        live: `versions()`; a join would look through all files for each row.
        terms: words, or phrases of several.
        weights: what an occurrence counts in each of `FIELDS`.
        field: the only field to look into.
    """
    if not terms:
        return {}
    query = " OR ".join(quoted(term) for term in terms)
    score = f"-bm25(words, {', '.join(str(float(weight)) for weight in weights)})"
    rows = connection.execute(
        f"SELECT rowid, {score} FROM words WHERE words MATCH ?",  # noqa: S608 - only numbers
        (f"{field} : ({query})" if field else query,),
    )
    return {live[row]: value for row, value in rows if value > 0 and row in live}
