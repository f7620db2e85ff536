"""The SQL of the index: its tables, and the small functions that read and write them.

That of git's history is in `commits`.

One SQLite file, a cache: rebuilt from the working tree whenever it is missing, damaged or of
another schema. Nothing here reads the working tree or decides what is out of date.

Rows of `words` are never changed: a changed file gets a new row, and rows that are no longer in
`files.doc` are dead. Every reader joins through `files.doc`; when many are dead all are rewritten.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from self_coding.languages import Symbol, nfkc, unpack_symbols

APPLICATION = 0x5C1DE8
PAGE = 16_384  # bytes; a page of the full text ("pgsz" below) fits into one of the file
FIELDS = ("path", "names", "docs", "body")
Blind = tuple[int, int, str]  # file, line, reason
_HASH_BYTES = 2 << 20  # of full text gathered before it is written: what caches hold
_JOINT = "\ue000"  # for "_" in a whole name: as good as a letter, and in no identifier
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID; -- "view", "roots", "next_doc"...
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path UNIQUE, -- relative to the repository, with "/"
    hash BLOB, mtime_ns INTEGER, -- -1: hash again (git's racy rule)
    ctime_ns INTEGER, size INTEGER, doc INTEGER, -- the row of `words` with this version's text
    lines INTEGER, is_test INTEGER, -- a test, or what supports one
    parsed INTEGER, -- what its parser said: 1, 0, NULL: not asked yet
    symbols TEXT, imports TEXT -- heads, import statements and where a link leads, packed
);
CREATE TABLE links (
    file INTEGER PRIMARY KEY, module TEXT, -- its dotted name
    targets BLOB -- the ids of the files it imports, 32 bits each
);
CREATE TABLE blind (file INTEGER, line INTEGER, reason TEXT); -- what analysis cannot follow
CREATE INDEX blind_file ON blind (file);
-- rowid = files.doc; names: what the file defines, whole and in parts; body: the text; all NFKC
CREATE VIRTUAL TABLE words USING fts5(
    path, names, docs, body, content='', tokenize='unicode61 remove_diacritics 0'
);
INSERT INTO words (words, rank) VALUES ('pgsz', 16000);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, col); -- a view: how many rows hold a word
CREATE TABLE folders (path PRIMARY KEY, stamp TEXT) WITHOUT ROWID; -- where a new file would show
"""
HISTORY_SCHEMA = """
CREATE TABLE commits (
    id INTEGER PRIMARY KEY, hash TEXT UNIQUE, time INTEGER,
    live INTEGER NOT NULL -- 1 while HEAD descends from it
);
CREATE TABLE touched ( -- the source files of commits, under the name they had then
    commit_id INTEGER, path TEXT, PRIMARY KEY (commit_id, path)
) WITHOUT ROWID;
CREATE TABLE renames (
    old TEXT, commit_id INTEGER, new TEXT, PRIMARY KEY (old, commit_id)
) WITHOUT ROWID;
-- rowid = commits.id
CREATE VIRTUAL TABLE messages USING fts5(
    title, body, content='', tokenize='porter unicode61'
);
"""
MIGRATIONS = (SCHEMA, HISTORY_SCHEMA)


class File(NamedTuple):
    """One indexed file."""

    id: int
    path: str
    module: str
    is_test: bool
    lines: int


class FileRow(NamedTuple):
    """A row of `files`, in the order of its columns."""

    id: int
    path: str | bytes
    hash: bytes
    mtime_ns: int
    ctime_ns: int
    size: int
    doc: int
    lines: int
    is_test: bool
    parsed: int | None
    symbols: str
    imports: str


class StoredFile(NamedTuple):
    """What an update asks of a stored file; its stamp is `walk.Stamp`."""

    id: int
    hash: bytes | None
    stamp: tuple[int, int, int]
    parsed: int | None


class Counts(NamedTuple):
    """What an update did: files read anew, files that cannot be read or parsed, the rest."""

    indexed: int
    failed: int
    skipped: int


def meta(connection: sqlite3.Connection, key: str) -> str:
    """Return one fact about the index itself, empty when it was never stored."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return "" if row is None else str(row[0])


def put_meta(connection: sqlite3.Connection, key: str, value: object) -> None:
    """Store one fact about the index itself."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))


def files(connection: sqlite3.Connection) -> list[File]:
    """Return every indexed file, by path."""
    rows = connection.execute(
        "SELECT id, path, module, is_test, lines FROM files JOIN links ON links.file = id"
    )
    all_files = [
        File(id, decode_path(path), module, bool(is_test), lines)
        for id, path, module, is_test, lines in rows
    ]
    return sorted(all_files, key=lambda file: file.path)


def paths(connection: sqlite3.Connection) -> dict[str, int]:
    """Return path -> id of every file."""
    rows = connection.execute("SELECT path, id FROM files").fetchall()
    return {decode_path(path): file for path, file in rows}


def pairs(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Return (source, target) of every import edge."""
    rows = connection.execute("SELECT file, targets FROM links")
    return [(source, target) for source, blob in rows for target in array("I", blob)]


def links(connection: sqlite3.Connection) -> dict[int, bytes]:
    """Return the imported files of every file, packed (see `links` above)."""
    return dict(connection.execute("SELECT file, targets FROM links").fetchall())


def targets(connection: sqlite3.Connection, source: int) -> set[int]:
    """Return the files that one file imports."""
    row = connection.execute("SELECT targets FROM links WHERE file = ?", (source,)).fetchone()
    return set(array("I", row[0])) if row else set()


def imports(connection: sqlite3.Connection, file: int) -> str:
    """Return the import statements of one file, packed."""
    row = connection.execute("SELECT imports FROM files WHERE id = ?", (file,)).fetchone()
    return str(row[0])


def all_imports(connection: sqlite3.Connection, holding: str = "") -> list[tuple[int, str, str]]:
    """Return id, path and packed imports of the files whose imports hold a word."""
    query = "SELECT id, path, imports FROM files WHERE instr(imports, ?) OR ?1 = ''"
    rows = connection.execute(query, (holding,)).fetchall()
    return [(file, decode_path(path), imports) for file, path, imports in rows]


def heads(connection: sqlite3.Connection, file: int) -> str:
    """Return the heads of one file, packed."""
    row = connection.execute("SELECT symbols FROM files WHERE id = ?", (file,)).fetchone()
    return str(row[0])


def symbols(connection: sqlite3.Connection) -> dict[int, str]:
    """Return the heads of every file, packed."""
    return dict(connection.execute("SELECT id, symbols FROM files").fetchall())


def definitions(
    connection: sqlite3.Connection, name: str, live: Mapping[int, int]
) -> dict[int, list[Symbol]]:
    """Return every class or function of exactly this name, by file; `live` is `versions()`."""
    files = holders(connection, whole(name), "names", live=live)
    packed = {file: heads(connection, file) for file in files}
    return {
        file: [each for each in unpack_symbols(text) if each.name == name]
        for file, text in packed.items()
        if f"\t{name}\t" in text
    }


def testing(connection: sqlite3.Connection) -> set[int]:
    """Return the files that define something named like a test."""
    rows = connection.execute(
        "SELECT id FROM files WHERE instr(symbols, '\ttest') OR instr(symbols, '\tTest')"
    )
    return {file for (file,) in rows}


def blind_lines(connection: sqlite3.Connection) -> list[Blind]:
    """Return file, line and reason of every line that no static analysis can follow."""
    return connection.execute("SELECT file, line, reason FROM blind").fetchall()


def versions(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the live rows of the full text: rowid of `words` -> file id."""
    return dict(connection.execute("SELECT doc, id FROM files").fetchall())


def holders(
    connection: sqlite3.Connection,
    term: str,
    field: str = "",
    *,
    live: Mapping[int, int],
    starts: bool = False,
) -> list[int]:
    """Return the files whose text (or one field of it) holds a word, or several side by side.

    `live` is `versions()`: a join would look through all files for each row. With `starts`, the
    last word may go on.
    """
    query = f"{f'{field} : ' if field else ''}{quoted(term)}{' *' if starts else ''}"
    rows = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
    return [live[row] for (row,) in rows if row in live]


def whole(names: str) -> str:
    """Return the words by which the full text has exactly these names (but for capitals): one for
    each, where there are spaces between them."""
    return _JOINT + names.replace("_", _JOINT).replace(" ", f" {_JOINT}")


def quoted(term: str) -> str:
    """Return a term as an FTS5 string, whatever characters it holds."""
    return '"' + nfkc(readable(term)).replace('"', '""').replace("\0", " ") + '"'


def readable(text: str) -> str:
    """Return a text without the halves of characters that a file name may hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def decode_path(path: str | bytes) -> str:
    """Return a stored path as text."""
    return path if isinstance(path, str) else os.fsdecode(path)


def encode_path(path: str) -> str | bytes:
    """Return a path as it is stored: text, or bytes where its name is not UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


# --- What `refresh` asks and writes.


def stamps(connection: sqlite3.Connection) -> tuple[dict[str, tuple[int, int, int]], bool]:
    """Return the stamp of each file, and whether none of them is to be hashed again anyway."""
    rows = connection.execute("SELECT path, mtime_ns, ctime_ns, size FROM files").fetchall()
    by_path = {
        path if isinstance(path, str) else os.fsdecode(path): (mtime, ctime, size)
        for path, mtime, ctime, size in rows
    }
    lowest = connection.execute("SELECT min(mtime_ns) FROM files").fetchone()[0]
    return by_path, lowest is None or lowest >= 0


def folders(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the stamp of each folder in which a new file would show."""
    rows = connection.execute("SELECT path, stamp FROM folders").fetchall()
    return {decode_path(path): stamp for path, stamp in rows}


def put_folders(connection: sqlite3.Connection, stamps: Mapping[str, str]) -> None:
    """Replace all folders."""
    connection.execute("DELETE FROM folders")
    rows = [(encode_path(path), stamp) for path, stamp in stamps.items()]
    connection.executemany("INSERT INTO folders VALUES (?,?)", rows)


def counts(connection: sqlite3.Connection) -> tuple[Counts, int]:
    """Return what is counted when nothing has changed, and how many files were never parsed."""
    asked = "SELECT count(*), total(parsed = 0), total(parsed IS NULL) FROM files"
    total, failed, unparsed = connection.execute(asked).fetchone()
    return Counts(0, int(failed), total - int(failed)), int(unparsed)


def stored_files(
    connection: sqlite3.Connection, paths: Iterable[str] | None = None
) -> dict[str, StoredFile]:
    """Return what is stored of each file, or of those among `paths`."""
    every = "SELECT path, id, hash, mtime_ns, ctime_ns, size, parsed FROM files"
    if paths is None:
        rows = connection.execute(every).fetchall()
    else:
        one = every + " WHERE path = ?"
        rows = [row for path in paths for row in connection.execute(one, (encode_path(path),))]
    return {
        decode_path(path): StoredFile(id, digest, (mtime, ctime, size), parsed)
        for path, id, digest, mtime, ctime, size, parsed in rows
    }


def set_bulk(connection: sqlite3.Connection, *, is_bulk: bool) -> None:
    """Let this update merge the full text bit by bit, or, a large one, not at all."""
    connection.execute("PRAGMA secure_delete=OFF")
    for option in (("hashsize", _HASH_BYTES), ("automerge", 0 if is_bulk else 4)):
        connection.execute("INSERT INTO words (words, rank) VALUES (?,?)", option)


def forget_files(connection: sqlite3.Connection, files: Iterable[int]) -> None:
    """Remove files; their text stays as dead rows."""
    for file in files:
        forget_blind(connection, file)
        connection.execute("DELETE FROM links WHERE file = ?", (file,))
        connection.execute("DELETE FROM files WHERE id = ?", (file,))


def forget_blind(connection: sqlite3.Connection, file: int) -> None:
    """Remove the lines of a file that cannot be followed."""
    connection.execute("DELETE FROM blind WHERE file = ?", (file,))


def put_files(
    connection: sqlite3.Connection, rows: Sequence[FileRow], blind: Iterable[Blind]
) -> None:
    """Store new files and new versions of files, and the lines that cannot be followed."""
    connection.executemany("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)
    connection.executemany("INSERT INTO blind VALUES (?,?,?)", blind)


def put_facts(connection: sqlite3.Connection, file: int, facts: Sequence[object]) -> None:
    """Store stamp and `parsed` of a file whose bytes are the stored ones."""
    query = "UPDATE files SET mtime_ns=?, ctime_ns=?, size=?, parsed=? WHERE id=?"
    connection.execute(query, (*facts, file))


def put_texts(connection: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> None:
    """Add rows of the full text: the number of the row, then `FIELDS`."""
    query = "INSERT INTO words (rowid, path, names, docs, body) VALUES (?,?,?,?,?)"
    # As Python normalises identifiers: other spellings of a name are the same name.
    normal = ([nfkc(each) if isinstance(each, str) else each for each in row] for row in rows)
    connection.executemany(query, normal)


def renumber_texts(connection: sqlite3.Connection, docs: Iterable[tuple[int, int]]) -> None:
    """Store which row of the full text each file has: pairs of (row, file)."""
    connection.executemany("UPDATE files SET doc=? WHERE id=?", docs)


def clear_texts(connection: sqlite3.Connection) -> None:
    """Remove the whole full text."""
    # FTS5's own way: a plain DELETE would need the text of each row, which is not stored.
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')")


def put_links(connection: sqlite3.Connection, rows: Iterable[tuple[int, str, bytes]]) -> None:
    """Store the dotted names and the edges of files."""
    connection.executemany(
        "INSERT OR REPLACE INTO links VALUES (?,?,?)",
        ((file, readable(module), blob) for file, module, blob in rows),
    )


# --- The full text, for `search`.


def match_words(
    connection: sqlite3.Connection,
    live: Mapping[int, int],
    terms: Sequence[str],
    weights: Sequence[float],
    field: str = "",
    among: str = "",
) -> dict[int, float]:
    """Return file id -> weighted BM25 of the files that hold any of the terms (words or phrases).

    `live` is `versions()`. `weights` is what an occurrence counts in each of `FIELDS`, `field` the
    only one to look into, `among` the only rows to score, as JSON. A file that has the terms only
    in fields that count nothing is left out.
    """
    if not terms:
        return {}
    query = " OR ".join(quoted(term) for term in terms)
    score = f"-bm25(words, {', '.join(str(float(weight)) for weight in weights)})"
    # To score a row costs ten times what it costs to find it. "+" keeps SQLite from asking the
    # full text for each of those rows by itself.
    only = " AND +rowid IN (SELECT value FROM json_each(?2))" if among else ""
    rows = connection.execute(
        f"SELECT rowid, {score} FROM words WHERE words MATCH ?1{only}",  # noqa: S608 - numbers
        (f"{field} : ({query})" if field else query, *([among] if among else ())),
    )
    return {live[row]: value for row, value in rows if value > 0 and row in live}


def frequencies(connection: sqlite3.Connection, word: str) -> dict[str, int]:
    """Return how many rows hold a word in each of `FIELDS`, dead ones as well."""
    query = "SELECT col, doc FROM vocabulary WHERE term = ?"
    return dict(connection.execute(query, (word,)).fetchall())


def rows_holding(connection: sqlite3.Connection, terms: Iterable[str]) -> set[int]:
    """Return the rows of the full text, dead ones as well, that hold one of some terms."""
    query = " OR ".join(quoted(term) for term in terms)
    rows = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,))
    return {row for (row,) in rows}
