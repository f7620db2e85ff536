"""Open the index and bring it up to the working tree: look, read, scan, resolve imports, store.

Blocking. Nearly every question finds nothing changed; then no more is read than the times of the
files, and nothing is loaded of what scans them. One write transaction holds a whole update, so
readers see the old state or the new. A file whose stamp is stored is not opened, one whose hash
is stored is not scanned.
"""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.links import declared_roots, link, read_manifests
from self_coding.codebase_indexer.store import Counts, FileRow, StoredFile
from self_coding.codebase_indexer.walk import Look, Stamp, look, settled
from self_coding.errors import (
    StorageBusyError,
    StorageDamagedError,
    StorageError,
    StorageVersionError,
)
from self_coding.languages import (
    Language,
    Scan,
    language_of,
    pack_import,
)

T = TypeVar("T")
# The schema itself is its version: an index is a cache, so that one of another schema is built anew
# and never migrated.
_FINGERPRINT = str(zlib.crc32("".join(store.MIGRATIONS).encode()))
_PATIENCE = 20  # times half a minute: as long as another process may build a very large index
_BATCH = 200  # files scanned before they are stored: each step then runs from a warm cache
_BULK = 400  # from this many changed files on, the full text is merged afterwards
_CHUNK = 1 << 20  # bytes read at once of a file that has grown since the look
_UNREAD: Stamp = (-2, 0, 0)  # like no other: for files whose parser was missing
_DEAD_FILES = 5  # dead rows of the full text that never matter
_DEAD_SHARE = 0.05  # of the live ones, from which index_all writes it anew
_DEAD_SHARE_ASKED = 0.3  # the same for a question, which is to be quick


class Cache:
    """The index's file: rebuilt where it cannot be used, if it is ours.

    A damaged index, or one of another schema, is deleted and rebuilt from the working tree. A
    file that does not carry our mark is refused, and nothing is written into it.
    """

    def __init__(self, path: Path, *, ours: bool) -> None:
        self.path = path
        self._ours = ours
        self._database: Database | None = None

    def use(self, work: Callable[[Database], T]) -> T:
        """Do `work` on the database; once more on an empty one when the old one is unusable."""
        try:
            return self._wait(work)
        except (StorageDamagedError, StorageVersionError):
            if not self._ours:
                header = b""
                with suppress(OSError), open(self.path, "rb") as file:
                    header = file.read(72)
                # SQLite keeps the application's id in the header, which damage seldom reaches.
                mark = store.APPLICATION.to_bytes(4, "big")
                if not header.startswith(b"SQLite format 3") or header[68:] != mark:
                    raise
        self._delete()
        return self._wait(work)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._database is not None:
            self._database.close()

    def _wait(self, work: Callable[[Database], T]) -> T:
        """Do `work` when no other process writes."""
        for _ in range(_PATIENCE):
            # Another process builds the same index: what it stores spares us the work.
            with suppress(StorageBusyError):
                return work(self._open())
        return work(self._open())

    def _open(self) -> Database:
        """Return the database, with the schema of this version."""
        if self._database is not None:
            return self._database
        self._database = database = Database(
            self.path,
            application=store.APPLICATION,
            migrations=store.MIGRATIONS,
            durable=False,
            page=store.PAGE,
        )
        with database.read() as connection:
            schema = store.meta(connection, "schema")
        if schema and schema != _FINGERPRINT:
            self._delete()
            return self._open()
        if not schema:
            with database.write() as connection:
                store.put_meta(connection, "schema", _FINGERPRINT)
        return database

    def _delete(self) -> None:
        self.close()
        self._database = None
        # The file last: SQLite would take a log that is left beside a new file for that file's.
        for suffix in ("-wal", "-shm", "-journal", ""):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")  # noqa: PTH108 - a name, not a path, is made


def refresh(
    database: Database, root: Path, src_dirs: Sequence[str] | None, *, parse: bool = False
) -> Counts:
    """Make the index say what the working tree says; cheap when nothing has changed.

    Args:
        database: the index.
        root: the top of the tree, below which `src_dirs` are the folders that count.
        src_dirs: None for all of it.
        parse: whether each file's own parser is asked for a verdict, too.
    """
    with database.read() as connection:
        # In the transaction of the look: the number tells later whether anybody has stored since.
        before, view = store.meta(connection, "updates"), store.meta(connection, "view")
        seen, stamps, is_same = _look(connection, root, src_dirs)
        counts, unparsed = store.counts(connection) if is_same else (None, 0)
    if counts is not None and not (parse and unparsed):
        if seen.view != view:
            # Spares the next question asking git, unless another process has updated since the
            # look. Where the file cannot be written, git is asked again.
            with suppress(StorageError), database.write() as connection:
                # The view of a tree that another process has seen later must not be replaced by
                # ours.
                if store.meta(connection, "updates") == before:
                    store.put_meta(connection, "view", seen.view)
        return counts
    with database.write() as connection, gc_paused():
        if store.meta(connection, "updates") != before:  # another process was quicker
            seen, stamps, _ = _look(connection, root, src_dirs)
        return _Update(connection, root, seen, stamps, parse=parse).run()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the collector of cycles from walking very many small values that have none.

    It would visit all of them again and again and find nothing: a tenth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _look(
    connection: sqlite3.Connection, root: Path, src_dirs: Sequence[str] | None
) -> tuple[Look, dict[str, Stamp], bool]:
    """Return the files as they are and as they are stored, and whether that is the same."""
    stamps, are_settled = store.stamps(connection)
    view = store.meta(connection, "view")
    manifests = [each for each in store.meta(connection, "manifests").split("\n") if each]
    seen = look(root, src_dirs, stamps, store.folders(connection), view, manifests)
    unread = store.meta(connection, "unread").split()
    if unread and (readable := tuple(s for s in unread if not language_of(f"a{s}").missing)):
        # A parser was installed: what was not read for want of one is read now.
        stamps = {p: _UNREAD if p.endswith(readable) else s for p, s in stamps.items()}
    return seen, stamps, are_settled and not seen.relisted and seen.files == stamps


class _Source(NamedTuple):
    """A file as it was read just now; `source` is None where it cannot be read."""

    path: str
    language: Language
    source: bytes | None
    digest: bytes
    stamp: Stamp
    stored: StoredFile | None
    link: str  # where the file is that has this path as another name

    @property
    def is_new(self) -> bool:
        """Whether these bytes are not the stored ones."""
        return self.stored is None or self.stored.hash != self.digest


class _Update:
    """One update inside one write transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        root: Path,
        seen: Look,
        stamps: Mapping[str, Stamp],
        *,
        parse: bool,
    ) -> None:
        from hashlib import sha256  # long to load, and not needed when nothing has changed

        self.sha256 = sha256
        self.connection = connection
        self.top = f"{root}/"
        self.seen = seen
        self.parse = parse
        self.gone = stamps.keys() - seen.files.keys()
        self.dirty = [p for p, now in seen.files.items() if stamps.get(p) != now or now[0] < 0]
        few = len(self.dirty) + len(self.gone) < _BATCH and not parse
        self.stored = store.stored_files(connection, [*self.dirty, *self.gone] if few else None)
        for path in self.dirty:
            if stamps.get(path) == _UNREAD:  # the same bytes say more now
                self.stored[path] = self.stored[path]._replace(hash=None)
        self.next_doc = int(store.meta(connection, "next_doc") or 1)
        self.next_file = int(store.meta(connection, "next_file") or 1)
        self.indexed = 0
        self.failed = 0
        self.changed: dict[int, tuple[str, str]] = {}  # id -> path and imports, where these are new
        self.added: set[str] = set()

    def run(self) -> Counts:
        """Store what was seen and is not stored, and count it."""
        dirty = self.dirty
        if self.parse:
            # Asked for a verdict, a file is parsed once, though its text has not changed.
            rest = self.stored.keys() - self.gone - set(dirty)
            dirty = [*dirty, *sorted(path for path in rest if self.stored[path].parsed is None)]
        is_bulk = len(dirty) >= _BULK
        store.set_bulk(self.connection, is_bulk=is_bulk)
        store.forget_files(self.connection, [self.stored[path].id for path in self.gone])
        for start in range(0, len(dirty), _BATCH):
            self._update_batch(dirty[start : start + _BATCH])
        if is_bulk:
            store.set_bulk(self.connection, is_bulk=False)
        if self.changed or self.added or self.gone or self.seen.relisted:
            if self.seen.relisted:
                store.put_meta(self.connection, "others", ", ".join(self.seen.others))
                store.put_meta(self.connection, "manifests", "\n".join(self.seen.manifests))
                declared = read_manifests(
                    lambda path: _read_if_any(self.top + path), self.seen.manifests
                )
                changed = declared != declared_roots(self.connection)
                store.put_meta(self.connection, "declared", json.dumps(declared))
            else:
                changed = False
            link(self.connection, self.changed, self.added | self.gone, anew=changed)
        self._sweep()
        store.put_meta(self.connection, "next_doc", self.next_doc)
        store.put_meta(self.connection, "next_file", self.next_file)
        store.put_meta(self.connection, "view", self.seen.view)
        ends = {f".{path.rpartition('.')[2]}" for path in self.seen.files}
        unread = sorted(each for each in ends if language_of(f"a{each}").missing)
        store.put_meta(self.connection, "unread", " ".join(unread))
        updates = int(store.meta(self.connection, "updates") or 0)
        store.put_meta(self.connection, "updates", updates + 1)
        if self.seen.relisted:
            store.put_folders(self.connection, self.seen.folders)
        failed = store.counts(self.connection)[0].failed
        indexed = max(0, self.indexed - self.failed)
        return Counts(indexed, failed, len(self.seen.files) - failed - indexed)

    def _update_batch(self, paths: Sequence[str]) -> None:
        """Read a batch of files, each step for all of them, so that it runs from a warm cache."""
        sources = [source for path in paths if (source := self._read(path)) is not None]
        verdicts: dict[str, int | None] = {}
        for each in sources:
            if each.source is None:
                verdicts[each.path] = 0
            elif self.parse and (each.is_new or not each.stored or each.stored.parsed is None):
                error = each.language.syntax_error(each.source, each.path)
                verdicts[each.path] = int(error is None)
        new = [each for each in sources if each.is_new]
        scans = {each.path: each.language.scan(each.source or b"", each.path) for each in new}
        rows: list[FileRow] = []
        blind: list[store.Blind] = []
        texts: list[tuple[object, ...]] = []
        for each in sources:
            told = scans.get(each.path)
            if told is not None or (self.parse and each.path in verdicts):
                self.indexed += 1
                self.failed += verdicts.get(each.path) == 0
            if told is None:
                assert each.stored is not None
                facts = (each.stamp, verdicts.get(each.path, each.stored.parsed))
                if facts != (each.stored.stamp, each.stored.parsed):
                    store.put_facts(self.connection, each.stored.id, (*facts[0], facts[1]))
                continue
            row = self._row(each, told, verdicts.get(each.path))
            rows.append(row)
            blind += [(row.id, *line) for line in told.blind]
            texts.append((row.doc, *_words(each.path, told)))
        store.put_files(self.connection, rows, blind)
        store.put_texts(self.connection, texts)

    def _read(self, path: str) -> _Source | None:
        """Return one file; None when it vanished since the look: the next look forgets it."""
        read_at = time.time_ns()
        stamp = self.seen.files[path]
        try:
            source: bytes | None = _read(self.top + path, max(0, stamp[2]))
        except FileNotFoundError:
            if not os.path.islink(self.top + path):  # noqa: PTH114
                return None
            source = None  # a link to nothing
        except OSError:
            source = None
        link = ""
        if os.path.islink(self.top + path):  # noqa: PTH114
            link = os.path.relpath(*map(os.path.realpath, (self.top + path, self.top)))
        digest = b""
        if source is not None:
            digest = self.sha256(source + os.fsencode(link)).digest()
        stamp = settled(stamp, read_at)
        return _Source(path, language_of(path), source, digest, stamp, self.stored.get(path), link)

    def _row(self, each: _Source, told: Scan, parsed: int | None) -> FileRow:
        """Return what is to be stored of a file whose bytes are new."""
        if each.link:
            line = pack_import(each.link, ("link",), kind="string")
            told = told._replace(imports=f"{told.imports}\n{line}".lstrip())
        if each.stored is None:
            file, imports = self.next_file, None
            self.next_file += 1
            self.added.add(each.path)
        else:
            file = each.stored.id
            imports = store.imports(self.connection, file)
            store.forget_blind(self.connection, file)
        if imports != told.imports:
            self.changed[file] = (each.path, told.imports)
        doc = self.next_doc
        self.next_doc += 1
        return FileRow(
            file,
            store.encode_path(each.path),
            each.digest,
            *each.stamp,
            doc,
            told.lines,
            each.language.is_test(each.path),
            parsed,
            told.symbols,
            told.imports,
        )

    def _sweep(self) -> None:
        """Write the full text anew when too much of it is dead: rows of files as they were.

        Dead rows match nothing, but count in how rare a word is. A question tolerates more of
        them than `index_all`, which has the time.
        """
        live = len(self.seen.files)
        dead = self.next_doc - 1 - live
        if dead <= max(_DEAD_FILES, live * (_DEAD_SHARE if self.parse else _DEAD_SHARE_ASKED)):
            return
        store.clear_texts(self.connection)
        files = list(store.paths(self.connection).items())
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            texts = [
                (doc, *_words(path, language_of(path).scan(_read_if_any(self.top + path), path)))
                for doc, (path, _) in enumerate(batch, start + 1)
            ]
            docs = [(doc, file) for doc, (_, file) in enumerate(batch, start + 1)]
            store.renumber_texts(self.connection, docs)
            store.put_texts(self.connection, texts)
        self.next_doc = len(files) + 1


def _words(path: str, told: Scan) -> tuple[str, ...]:
    """Return the text of one file as the full text has it, in the order of `store.FIELDS`.

    The tokenizer of the database splits at "_" alone. A name is given whole, as one word by
    which its definitions are found, and in the parts that `split_identifier` makes of it; the
    text itself goes in as it is.
    """
    shown = store.readable(path.rpartition(".")[0])
    if not told.names:
        return shown, "", told.docstrings, told.text
    parts = exact = " ".join(told.names)  # all at once: steps for each name cost more than it
    if not parts.islower():
        parts = " ".join([name if name.islower() else _parts(name) for name in told.names])
    return shown, f"{store.whole(exact)} {parts}", told.docstrings, told.text


@lru_cache(maxsize=50_000)
def _parts(name: str) -> str:
    from self_coding.retrieval import split_identifier  # not loaded when nothing has changed

    return " ".join(split_identifier(name))


def _read(path: str, size: int = 0) -> bytes:
    """Return the bytes of a file; `size` is what it likely has: one call then reads all of it."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        source = os.read(file, size + 1)
        while more := len(source) > size and os.read(file, _CHUNK):
            source += more
        return source
    finally:
        os.close(file)


def _read_if_any(path: str) -> bytes:
    try:
        return _read(path)
    except OSError:
        return b""
