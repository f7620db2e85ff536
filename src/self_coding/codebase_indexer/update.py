"""Bring the stored index up to the working tree: hash, scan, resolve, store.

Blocking; `freshness` calls it when something has changed. One write transaction holds the whole
update, so readers see the old state or the new. Stat, then hash, then scan: a file whose stamp is
known is not opened, one whose bytes are known is not scanned.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.fields import fields
from self_coding.codebase_indexer.linking import link
from self_coding.codebase_indexer.quiet import no_collections
from self_coding.codebase_indexer.resolve import is_test
from self_coding.codebase_indexer.scan import Scan, scan
from self_coding.codebase_indexer.store import Counts, Known
from self_coding.codebase_indexer.walk import Look, Stamp, settled

_BATCH = 200  # files scanned before they are stored: each step then runs from a warm cache
_HASH_BYTES = 2 << 20  # of full text gathered before it is written: what caches hold
_CHUNK = 1 << 20  # read at once of a file that has grown since the look
_BULK = 400  # from this many changed files on, the name index is built afterwards
_DEAD_FILES = 5  # dead rows of the full text that never matter
_DEAD_SHARE = 0.05  # of the live ones, from which index_all writes it anew
_DEAD_SHARE_ASKED = 0.3  # the same for a question, which is to be quick
_NEW_WORDS = "INSERT INTO words (rowid, path, names, docs, body) VALUES (?,?,?,?,?)"
_COLUMNS = (
    "path, hash, mtime_ns, ctime_ns, size, doc, lines, is_test, parsed, error, symbols, imports"
)
_NEW_FILES = f"INSERT INTO files (id, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
_NEW_VERSION = f"UPDATE files SET {_COLUMNS.replace(',', '=?,')}=? WHERE id=?"  # noqa: S608


def update(
    connection: sqlite3.Connection,
    root: Path,
    seen: Look,
    stamps: Mapping[str, Stamp],
    *,
    tier2: bool,
) -> Counts:
    """Store what was seen and is not stored (`stamps` is), inside the caller's transaction."""
    with no_collections():
        return _Update(connection, root, seen, stamps, tier2=tier2).run()  # gone when it wakes


class _Source(NamedTuple):
    """A file as it was read just now; `source` is None where it cannot be read."""

    path: str
    source: bytes | None
    error: str | None
    digest: bytes
    keep: Stamp
    stored: Known | None

    @property
    def is_new(self) -> bool:
        """Whether these bytes are not the stored ones."""
        return self.stored is None or self.stored.hash != self.digest


class _Taken(NamedTuple):
    """A file whose text is to be stored."""

    path: str
    file: int
    doc: int
    told: Scan
    columns: tuple[object, ...]
    is_new: bool


Verdict = tuple[int | None, str | None]


class _Update:
    """One update inside one write transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        root: Path,
        seen: Look,
        stamps: Mapping[str, Stamp],
        *,
        tier2: bool,
    ) -> None:
        self.connection = connection
        self.top = str(root) + "/"
        self.seen = seen
        self.tier2 = tier2
        self.gone = stamps.keys() - seen.files.keys()
        self.dirty = [p for p, now in seen.files.items() if stamps.get(p) != now or now[0] < 0]
        few = len(self.dirty) + len(self.gone) < _BATCH and not tier2
        self.known = store.known(connection, [*self.dirty, *self.gone] if few else None)
        self.doc = int(store.meta(connection, "next_doc") or 1)
        self.next_file = store.next_file(connection)
        self.indexed = 0
        self.failed = 0
        self.changed: dict[int, tuple[str, str]] = {}  # whose imports are new
        self.added: set[str] = set()
        self.removed: set[str] = set()

    def run(self) -> Counts:
        """Do all of it, and say what was done."""
        dirty = [*self.dirty, *self._unasked_files()] if self.tier2 else self.dirty
        bulk = len(dirty) >= _BULK
        self.connection.execute("PRAGMA secure_delete=OFF")
        if bulk:
            self._words_option("automerge", 0)
        self._words_option("hashsize", _HASH_BYTES)
        self._forget(self.gone)
        for start in range(0, len(dirty), _BATCH):
            self._take(dirty[start : start + _BATCH])
        if bulk:
            self._words_option("automerge", 4)
        if self.changed or self.added or self.removed or self.seen.relisted:
            pyproject = _text(self.top + "pyproject.toml")
            link(self.connection, self.changed, self.added, self.removed, pyproject)
        self._sweep()
        self._remember()
        return self._counts()

    def _words_option(self, name: str, value: int) -> None:
        self.connection.execute("INSERT INTO words (words, rank) VALUES (?,?)", (name, value))

    def _counts(self) -> Counts:
        bad = self.connection.execute("SELECT count(*) FROM files WHERE parsed = 0").fetchone()[0]
        total = len(self.seen.files)
        indexed = max(0, self.indexed - self.failed)
        return Counts(indexed, bad, total - bad - indexed)

    def _unasked_files(self) -> list[str]:
        """The files that have not changed and whose verdict is wanted now."""
        rest = self.known.keys() - self.gone - set(self.dirty)
        return sorted(path for path in rest if self.known[path].parsed is None)

    def _forget(self, paths: Iterable[str]) -> None:
        for path in paths:
            file = self.known[path].id
            self._drop(file)
            self.connection.execute("DELETE FROM links WHERE file = ?", (file,))
            self.connection.execute("DELETE FROM files WHERE id = ?", (file,))
            self.removed.add(path)

    def _drop(self, file: int) -> None:
        self.connection.execute("DELETE FROM blind WHERE file = ?", (file,))

    def _take(self, paths: Sequence[str]) -> None:
        """Read a batch of files, each step for all of them, so that it runs from a warm cache."""
        sources = [source for path in paths if (source := self._read(path)) is not None]
        asked = [each for each in sources if self.tier2 and self._unasked(each)]
        verdicts = {each.path: _verdict(each) for each in asked}
        scans = [scan(each.source or b"") if each.is_new else None for each in sources]
        taken: list[_Taken] = []
        for each, told in zip(sources, scans, strict=True):
            parsed = verdicts.get(each.path, (0, each.error) if each.error else (None, None))
            if each.path in verdicts or told is not None:
                self.indexed += 1
                self.failed += parsed[0] == 0
            if told is None:
                self._touch(each, parsed)
            else:
                taken.append(self._enter(each, parsed, told))
        self._store(taken)

    def _read(self, path: str) -> _Source | None:
        """One file; None when it vanished since the look: the next look forgets it."""
        read_at = time.time_ns()
        stamp = self.seen.files[path]
        source, error = _read(self.top + path, max(0, stamp[2]))
        if source is None and error is None:
            return None
        digest = hashlib.sha256(source).digest() if source is not None else b""
        keep = settled(stamp, read_at)
        return _Source(path, source, error, digest, keep, self.known.get(path))

    def _unasked(self, each: _Source) -> bool:
        return each.is_new or each.stored is None or each.stored.parsed is None

    def _enter(self, each: _Source, parsed: Verdict, told: Scan) -> _Taken:
        """What is to be stored of a file whose bytes are new."""
        if each.stored is None:
            file, known = self.next_file, None
            self.next_file += 1
            self.added.add(each.path)
        else:
            file = each.stored.id
            known = store.imports(self.connection, file)
            self._drop(file)
        if known != told.imports:
            self.changed[file] = (each.path, told.imports)
        columns = (
            *(store.stored(each.path), each.digest, *each.keep, self.doc),
            *(told.lines, is_test(each.path), *parsed, told.symbols, told.imports),
        )
        self.doc += 1
        return _Taken(each.path, file, self.doc - 1, told, columns, is_new=each.stored is None)

    def _touch(self, each: _Source, parsed: Verdict) -> None:
        """The bytes are known: only the stamp, and the verdict when it was asked now."""
        assert each.stored is not None
        if parsed[0] is not None:
            self.connection.execute(
                "UPDATE files SET parsed=?, error=? WHERE id=?", (*parsed, each.stored.id)
            )
        if each.keep != each.stored.stamp:
            self.connection.execute(
                "UPDATE files SET mtime_ns=?, ctime_ns=?, size=? WHERE id=?",
                (*each.keep, each.stored.id),
            )

    def _store(self, taken: Sequence[_Taken]) -> None:
        """Write what a batch of files told."""
        many = self.connection.executemany
        many(_NEW_FILES, [(each.file, *each.columns) for each in taken if each.is_new])
        many(_NEW_VERSION, [(*each.columns, each.file) for each in taken if not each.is_new])
        many(
            "INSERT INTO blind VALUES (?,?,?)",
            [(each.file, *line) for each in taken for line in each.told.blind],
        )
        many(_NEW_WORDS, [(each.doc, *fields(each.path, each.told)) for each in taken])

    def _sweep(self) -> None:
        """Write the full text anew when too much of it is dead: rows of files as they were.

        Dead rows match nothing, but count in how rare a word is. A question tolerates more of
        them than `index_all`, which has the time.
        """
        live = len(self.seen.files)
        dead = self.doc - 1 - live
        if dead <= max(_DEAD_FILES, live * (_DEAD_SHARE if self.tier2 else _DEAD_SHARE_ASKED)):
            return
        self.connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
        self.doc = 1
        rows = self.connection.execute("SELECT id, path FROM files").fetchall()
        for start in range(0, len(rows), _BATCH):
            batch = []
            for file, stored in rows[start : start + _BATCH]:
                path = store.shown(stored)
                source, _ = _read(self.top + path)
                batch.append((self.doc, file, *fields(path, scan(source or b""))))
                self.doc += 1
            self.connection.executemany(
                "UPDATE files SET doc=? WHERE id=?", [(doc, file) for doc, file, *_ in batch]
            )
            self.connection.executemany(_NEW_WORDS, [(doc, *texts) for doc, _, *texts in batch])

    def _remember(self) -> None:
        store.put_meta(self.connection, "next_doc", self.doc)
        store.put_meta(self.connection, "next_file", self.next_file)
        store.put_meta(
            self.connection, "updates", int(store.meta(self.connection, "updates") or 0) + 1
        )
        store.put_meta(self.connection, "view", self.seen.view)
        if self.seen.relisted:
            self.connection.execute("DELETE FROM folders")
            self.connection.executemany(
                "INSERT INTO folders VALUES (?,?)",
                [(store.stored(path), stamp) for path, stamp in self.seen.folders.items()],
            )


def _verdict(each: _Source) -> Verdict:
    if each.source is None:
        return 0, each.error
    from self_coding.codebase_indexer.parse import verdict  # tier 1 does without

    reason = verdict(each.source)
    return (1, None) if reason is None else (0, reason)


def _text(path: str) -> str:
    source, _ = _read(path)
    return source.decode("utf-8", "replace") if source is not None else ""


def _read(path: str, size: int = 0) -> tuple[bytes | None, str | None]:
    """The bytes of a file, or why it cannot be read; (None, None) when it is gone.

    `size` is what it likely has: one call then reads all of it.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return (None, "a link to nothing") if os.path.islink(path) else (None, None)  # noqa: PTH114
    except OSError as error:
        return None, error.strerror or str(error)
    try:
        source = os.read(file, size + 1)
        while more := len(source) > size and os.read(file, _CHUNK):
            source += more
        return source, None
    except OSError as error:
        return None, error.strerror or str(error)
    finally:
        os.close(file)
