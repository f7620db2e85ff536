"""Bring the stored index up to the working tree: look, hash, scan, resolve, store.

Blocking. One write transaction holds the whole update, so readers see the old state or the new.
Stat, then hash, then scan: a file whose stamp is known is not opened, one whose bytes are known
is not scanned.
"""

from __future__ import annotations

import gc
import hashlib
import os
import sqlite3
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import project, store
from self_coding.codebase_indexer.parse import verdict
from self_coding.codebase_indexer.resolve import Layout, is_test
from self_coding.codebase_indexer.scan import Import, Scan, pack_imports, scan, unpack_imports
from self_coding.codebase_indexer.walk import Look, Stamp, look, settled
from self_coding.retrieval import split_identifier

_BATCH = 200  # files scanned before they are stored: each step then runs from a warm cache
_HASH_BYTES = 16 << 20  # of full text gathered in memory before it is written
_BULK = 400  # from this many changed files on, the name index is built afterwards
_NUMBERS = {scope: number for number, scope in enumerate(store.SCOPES)}
_DEAD_SHARE = 0.05


class Known(NamedTuple):
    """What is stored of one file."""

    id: int
    hash: bytes | None
    stamp: Stamp
    parsed: int | None


class Counts(NamedTuple):
    """What an update did: files read anew, files that cannot be read or parsed, the rest."""

    indexed: int
    failed: int
    skipped: int


def refresh(
    database: Database, root: Path, src_dirs: Sequence[str] | None, *, tier2: bool = False
) -> Counts:
    """Make the index say what the working tree says; cheap when nothing has changed."""
    with database.read() as connection:
        before = _meta(connection, "updates")
        seen, known = _look(connection, root, src_dirs)
        same = not seen.relisted or (_meta(connection, "view") == seen.view != "")
    if same and not _differs(seen, known) and not (tier2 and _unasked(known)):
        return _counts(0, known)
    with database.write() as connection, _no_collections():
        if _meta(connection, "updates") != before:  # somebody else was quicker
            seen, known = _look(connection, root, src_dirs)
        update = _Update(connection, root, seen, known, tier2=tier2)
        update.run()
        return update.counts()


def _look(
    connection: sqlite3.Connection, root: Path, src_dirs: Sequence[str] | None
) -> tuple[Look, dict[str, Known]]:
    known = _known(connection)
    folders = dict(connection.execute("SELECT path, stamp FROM folders").fetchall())
    folders = {store.shown(path): stamp for path, stamp in folders.items()}
    return look(root, src_dirs, known, folders, _meta(connection, "view")), known


def _known(connection: sqlite3.Connection) -> dict[str, Known]:
    rows = connection.execute("SELECT path, id, hash, mtime_ns, ctime_ns, size, parsed FROM files")
    return {
        path if isinstance(path, str) else os.fsdecode(path): Known(
            id, digest, Stamp(mtime, ctime, size), parsed
        )
        for path, id, digest, mtime, ctime, size, parsed in rows
    }


def _differs(seen: Look, known: Mapping[str, Known]) -> bool:
    if len(seen.files) != len(known):
        return True
    for path, stamp in seen.files.items():
        stored = known.get(path)
        if stored is None or stored.stamp != stamp or stamp.mtime_ns < 0:
            return True
    return False


def _unasked(known: Mapping[str, Known]) -> bool:
    return any(each.parsed is None for each in known.values())


def _counts(indexed: int, known: Mapping[str, Known]) -> Counts:
    failed = sum(each.parsed == 0 for each in known.values())
    return Counts(indexed, failed, len(known) - failed - indexed)


def _meta(connection: sqlite3.Connection, key: str) -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return "" if row is None else str(row[0])


@contextmanager
def _no_collections() -> Iterator[None]:
    """Nothing made here is cyclic, and the collector would walk all of it again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Taken(NamedTuple):
    """A file whose text is to be stored."""

    path: str
    file: int
    doc: int
    told: Scan


class _Update:
    """One update inside one write transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        root: Path,
        seen: Look,
        known: dict[str, Known],
        *,
        tier2: bool,
    ) -> None:
        self.connection = connection
        self.top = str(root) + "/"
        self.seen = seen
        self.known = known
        self.tier2 = tier2
        self.doc = int(_meta(connection, "next_doc") or 1)
        self.indexed = 0
        self.failed = 0
        self.changed: dict[int, tuple[str, list[Import]]] = {}
        self.added: set[str] = set()
        self.removed: set[str] = set()

    def run(self) -> None:
        """Do all of it."""
        dirty = [path for path, stamp in self.seen.files.items() if self._dirty(path, stamp)]
        bulk = len(dirty) >= _BULK
        self.connection.execute("PRAGMA secure_delete=OFF")
        if bulk:
            self.connection.execute("DROP INDEX symbols_name")
            self._words_option("automerge", 0)
        self._words_option("hashsize", _HASH_BYTES)
        self._forget(self.known.keys() - self.seen.files.keys())
        for start in range(0, len(dirty), _BATCH):
            taken = [self._take(path) for path in dirty[start : start + _BATCH]]
            self._store([each for each in taken if each is not None])
        if bulk:
            self.connection.execute("CREATE INDEX symbols_name ON symbols (name)")
            self._words_option("automerge", 4)
        self._link()
        self._remember()

    def _words_option(self, name: str, value: int) -> None:
        self.connection.execute("INSERT INTO words (words, rank) VALUES (?,?)", (name, value))

    def counts(self) -> Counts:
        """What was done."""
        bad = self.connection.execute("SELECT count(*) FROM files WHERE parsed = 0").fetchone()[0]
        total = len(self.seen.files)
        indexed = max(0, self.indexed - self.failed)
        return Counts(indexed, bad, total - bad - indexed)

    def _dirty(self, path: str, stamp: Stamp) -> bool:
        stored = self.known.get(path)
        if stored is None or stored.stamp != stamp or stamp.mtime_ns < 0:
            return True
        return self.tier2 and stored.parsed is None

    def _forget(self, paths: Iterable[str]) -> None:
        for path in paths:
            file = self.known[path].id
            self._drop(file)
            self.connection.execute("DELETE FROM edges WHERE source = ?", (file,))
            self.connection.execute("DELETE FROM files WHERE id = ?", (file,))
            self.removed.add(path)

    def _drop(self, file: int) -> None:
        self.connection.execute("DELETE FROM symbols WHERE file = ?", (file,))
        self.connection.execute("DELETE FROM blind WHERE file = ?", (file,))

    def _take(self, path: str) -> _Taken | None:
        """Read one file; None when what it holds is stored already, or it is gone."""
        stamp = self.seen.files[path]
        read_at = time.time_ns()
        source, error = _read(self.top + path)
        if source is None and error is None:
            return None  # it vanished between the look and the read: the next look forgets it
        digest = hashlib.sha256(source).digest() if source is not None else b""
        stored = self.known.get(path)
        keep = settled(stamp, read_at)
        if stored is not None and stored.hash == digest:
            self._touch(stored, keep, source, error)
            return None
        parsed, reason = self._verdict(source, error)
        told = scan(source or b"")
        self.indexed += 1
        self.failed += parsed == 0
        file = stored.id if stored is not None else None
        values = (store.stored(path), digest, *keep, self.doc, told.lines, is_test(path), parsed)
        taken = _Taken(
            path, self._enter(file, (*values, reason, pack_imports(told.imports))), self.doc, told
        )
        if file is None:
            self.added.add(path)
        self.changed[taken.file] = (path, told.imports)
        self.doc += 1
        return taken

    def _enter(self, file: int | None, values: tuple[object, ...]) -> int:
        """Write one row of `files`, and its id back."""
        if file is not None:
            self._drop(file)
            self.connection.execute(
                "UPDATE files SET path=?, hash=?, mtime_ns=?, ctime_ns=?, size=?, doc=?, lines=?,"
                " is_test=?, parsed=?, error=?, imports=? WHERE id=?",
                (*values, file),
            )
            return file
        cursor = self.connection.execute(
            "INSERT INTO files (path, hash, mtime_ns, ctime_ns, size, doc, lines, is_test, parsed,"
            " error, imports) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            values,
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _touch(self, stored: Known, keep: Stamp, source: bytes | None, error: str | None) -> None:
        """The bytes are known: only the stamp, and tier 2 when it was not asked yet."""
        parsed, reason = stored.parsed, None
        if self.tier2 and parsed is None:
            parsed, reason = self._verdict(source, error)
            self.connection.execute(
                "UPDATE files SET parsed=?, error=? WHERE id=?", (parsed, reason, stored.id)
            )
            self.indexed += 1
            self.failed += parsed == 0
        if keep != stored.stamp:
            self.connection.execute(
                "UPDATE files SET mtime_ns=?, ctime_ns=?, size=? WHERE id=?", (*keep, stored.id)
            )

    def _verdict(self, source: bytes | None, error: str | None) -> tuple[int | None, str | None]:
        if source is None:
            return 0, error
        if not self.tier2:
            return None, None
        reason = verdict(source)
        return (1, None) if reason is None else (0, reason)

    def _store(self, taken: Sequence[_Taken]) -> None:
        """Write what a batch of files told."""
        many = self.connection.executemany
        many(
            "INSERT INTO symbols VALUES (?,?,?,?,?)",
            [(file, *each) for _, file, _, told in taken for each in told.symbols],
        )
        many(
            "INSERT INTO blind VALUES (?,?,?)",
            [(file, *each) for _, file, _, told in taken for each in told.blind],
        )
        many(
            "INSERT INTO words (rowid, path, names, refs, docs, body) VALUES (?,?,?,?,?,?)",
            [(doc, *_fields(path, told)) for path, _, doc, told in taken],
        )

    def _link(self) -> None:
        """Resolve the imports of what changed, and of what a new or vanished file may concern."""
        declared = project.read(_text(self.top + "pyproject.toml")).roots
        known = _meta(self.connection, "declared")
        if not (self.changed or self.added or self.removed or "\n".join(declared) != known):
            return
        paths = {
            store.shown(path): file
            for path, file in self.connection.execute("SELECT path, id FROM files")
        }
        layout = Layout(paths, declared)
        again = self.changed
        roots = store.readable("\n".join(sorted(layout.roots())))
        if self.added or self.removed or roots != _meta(self.connection, "roots"):
            everything = roots != _meta(self.connection, "roots")
            again = self._concerned(everything=everything)
            self.connection.executemany(
                "UPDATE files SET module=? WHERE id=?",
                [
                    (store.readable(layout.module(path)), file)
                    for path, file in paths.items()
                    if everything or path in self.added
                ],
            )
            self._put("roots", roots)
            self._put("declared", "\n".join(declared))
        self.connection.executemany(
            "INSERT OR REPLACE INTO edges VALUES (?,?)",
            [(file, _targets(layout, file, path, found)) for file, (path, found) in again.items()],
        )

    def _concerned(self, *, everything: bool) -> dict[int, tuple[str, list[Import]]]:
        """The files whose imports a new or vanished file can change the meaning of."""
        if everything and len(self.changed) == len(self.seen.files):
            return self.changed
        stems = {_stem(path) for path in self.added | self.removed}
        found = dict(self.changed)
        rows = self.connection.execute("SELECT id, path, imports FROM files")
        for file, path, imports in rows:
            if file not in found and (everything or any(stem in imports for stem in stems)):
                found[file] = (store.shown(path), unpack_imports(imports))
        return found

    def _remember(self) -> None:
        self._put("next_doc", self.doc)
        self._put("updates", int(_meta(self.connection, "updates") or 0) + 1)
        if self.seen.relisted:
            self._put("view", self.seen.view)
            self.connection.execute("DELETE FROM folders")
            self.connection.executemany(
                "INSERT INTO folders VALUES (?,?)",
                [(store.stored(path), stamp) for path, stamp in self.seen.folders.items()],
            )

    def _put(self, key: str, value: object) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))


def _targets(layout: Layout, file: int, path: str, imports: Iterable[Import]) -> bytes:
    """The edges of one file as they are stored."""
    found: set[int] = set()
    for scope, module, names in imports:
        number = _NUMBERS[scope]
        targets = (
            layout.literal(path, module)
            if scope == "string"
            else layout.resolve(path, module, names)
        )
        for target in targets:
            if target != file:
                found.add(target << 3 | number)
    return array("I", sorted(found)).tobytes()


def _text(path: str) -> str:
    source, _ = _read(path)
    return source.decode("utf-8", "replace") if source is not None else ""


def _fields(path: str, told: Scan) -> tuple[str, ...]:
    """The text of one file as the full text takes it in: one string a field."""
    names = " ".join([_split_words(name) for _, _, name, _ in told.symbols])
    camel = [_camel(names) for _, _, names in told.imports if names]
    refs = " ".join(filter(None, camel))
    return _plain(path), names, refs, told.docstrings, told.text


def _read(path: str) -> tuple[bytes | None, str | None]:
    """The bytes of a file, or why it cannot be read; (None, None) when it is gone."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(), None
    except FileNotFoundError:
        return (None, "a link to nothing") if os.path.islink(path) else (None, None)  # noqa: PTH114
    except OSError as error:
        return None, error.strerror or str(error)


@lru_cache(maxsize=50_000)
def _split_words(name: str) -> str:
    """`retrieval.words` of one identifier; the common kind of name needs no pattern."""
    bare = name.replace("_", "")
    if bare.islower() and bare.isascii() and bare.isalpha():
        return name if bare == name else f"{name.replace('_', ' ')} {bare}"
    parts = split_identifier(name)
    return " ".join([*parts, bare.lower()] if len(parts) > 1 else parts)


@lru_cache(maxsize=50_000)
def _camel(names: tuple[str, ...]) -> str:
    """The words of those names that have capitals inside."""
    return " ".join([_split_words(name) for name in names if not name.islower()])


def _plain(path: str) -> str:
    """A path as text that can be encoded."""
    return path.removesuffix(".py").encode("utf-8", "replace").decode("utf-8")


def _stem(path: str) -> str:
    folder, _, name = path.removesuffix(".py").rpartition("/")
    return folder.rpartition("/")[2] if name == "__init__" else name
