"""Bring the index up to the working tree: look, read, scan, resolve imports, store.

Blocking. Nearly every question finds nothing changed; then no more is read than the times of the
files, and nothing is loaded of what scans them. One write transaction holds a whole update, so
readers see the old state or the new. A file whose stamp is stored is not opened, one whose hash
is stored is not scanned.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.store import Counts, FileRow, StoredFile
from self_coding.codebase_indexer.walk import Look, Stamp, look, settled
from self_coding.errors import StorageError
from self_coding.languages import Resolver, Scan, language_of, languages, unpack_import

_BATCH = 200  # files scanned before they are stored: each step then runs from a warm cache
_BULK = 400  # from this many changed files on, the full text is merged afterwards
_CHUNK = 1 << 20  # bytes read at once of a file that has grown since the look
_DEAD_FILES = 5  # dead rows of the full text that never matter
_DEAD_SHARE = 0.05  # of the live ones, from which index_all writes it anew
_DEAD_SHARE_ASKED = 0.3  # the same for a question, which is to be quick
_SCOPES = {scope: number for number, scope in enumerate(store.SCOPES)}


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
        before, view = store.meta(connection, "updates"), store.meta(connection, "view")
        seen, stamps, is_same = _look(connection, root, src_dirs)
        counts, unparsed = store.counts(connection) if is_same else (None, 0)
    if counts is not None and not (parse and unparsed):
        if seen.view != view:
            # Spares the next question asking git, unless another process has updated since the
            # look. Where the file cannot be written, git is asked again.
            with suppress(StorageError), database.write() as connection:
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
    seen = look(root, src_dirs, stamps, store.folders(connection), view)
    return seen, stamps, are_settled and not seen.relisted and seen.files == stamps


class _Source(NamedTuple):
    """A file as it was read just now; `source` is None where it cannot be read."""

    path: str
    source: bytes | None
    error: str | None
    digest: bytes
    stamp: Stamp
    stored: StoredFile | None


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
            read = {each.manifest: _text(self.top + each.manifest) for each in languages()}
            _link(self.connection, self.changed, self.added | self.gone, read)
        self._sweep()
        store.put_meta(self.connection, "next_doc", self.next_doc)
        store.put_meta(self.connection, "next_file", self.next_file)
        store.put_meta(self.connection, "view", self.seen.view)
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
        verdicts: dict[str, tuple[int | None, str | None]] = {}
        for each in sources:
            if each.source is None:
                verdicts[each.path] = 0, each.error
            elif self.parse and (_is_new(each) or not each.stored or each.stored.parsed is None):
                reason = language_of(each.path).syntax_error(each.source)
                verdicts[each.path] = int(reason is None), reason
        scans = [
            language_of(each.path).scan(each.source or b"") if _is_new(each) else None
            for each in sources
        ]
        rows: list[FileRow] = []
        blind: list[tuple[int, int, str]] = []
        texts: list[tuple[object, ...]] = []
        for each, told in zip(sources, scans, strict=True):
            parsed, error = verdicts.get(each.path, (None, None))
            if told is not None or (self.parse and each.path in verdicts):
                self.indexed += 1
                self.failed += parsed == 0
            if told is None:
                assert each.stored is not None
                verdict = verdicts.get(each.path, each.stored[3:])
                if (each.stamp, *verdict) != each.stored[2:]:
                    store.put_facts(self.connection, each.stored.id, (*each.stamp, *verdict))
                continue
            row = self._row(each, told, parsed, error)
            rows.append(row)
            blind += [(row.id, *line) for line in told.blind]
            texts.append((row.doc, *_words(each.path, told)))
        store.put_files(self.connection, rows, blind)
        store.put_texts(self.connection, texts)

    def _read(self, path: str) -> _Source | None:
        """Return one file; None when it vanished since the look: the next look forgets it."""
        read_at = time.time_ns()
        stamp = self.seen.files[path]
        source, error = _read(self.top + path, max(0, stamp[2]))
        if source is None and error is None:
            return None
        digest = self.sha256(source).digest() if source is not None else b""
        stamp = settled(stamp, read_at)
        return _Source(path, source, error, digest, stamp, self.stored.get(path))

    def _row(self, each: _Source, told: Scan, parsed: int | None, error: str | None) -> FileRow:
        """Return what is to be stored of a file whose bytes are new."""
        if each.stored is None:
            file, imports = self.next_file, None
            self.next_file += 1
            self.added.add(each.path)
        else:
            file = each.stored.id
            imports = store.imports(self.connection, file)
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
            language_of(each.path).is_test(each.path),
            parsed,
            error,
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
                (doc, *_words(path, language_of(path).scan(_read(self.top + path)[0] or b"")))
                for doc, (path, _) in enumerate(batch, start + 1)
            ]
            docs = [(doc, file) for doc, (_, file) in enumerate(batch, start + 1)]
            store.renumber_texts(self.connection, docs)
            store.put_texts(self.connection, texts)
        self.next_doc = len(files) + 1


def _is_new(each: _Source) -> bool:
    """Return whether these bytes are not the stored ones."""
    return each.stored is None or each.stored.hash != each.digest


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


def _text(path: str) -> str:
    return (_read(path)[0] or b"").decode("utf-8", "replace")


def _read(path: str, size: int = 0) -> tuple[bytes | None, str | None]:
    """Return the bytes of a file, or why it cannot be read; (None, None) when it is gone.

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


def _link(
    connection: sqlite3.Connection,
    changed: Mapping[int, tuple[str, str]],
    moved: Set[str],
    manifests: Mapping[str, str],
) -> None:
    """Resolve imports into edges between files, and store them.

    Resolved are those that changed, those that may name a file that appeared or vanished, and
    all of them when the source roots or a package changed.

    Args:
        connection: inside a transaction; `files` is up to date already.
        changed: id -> path and imports of the files whose imports are new.
        moved: the paths that appeared or vanished.
        manifests: the texts of the files that may declare source roots.
    """
    declared = {each: each.project(manifests[each.manifest]).roots for each in languages()}
    spelled = "\n".join(root for roots in declared.values() for root in roots)
    if not (changed or moved or spelled != store.meta(connection, "declared")):
        return
    paths = store.paths(connection)
    resolvers = {
        each: each.resolver({p: id for p, id in paths.items() if p.endswith(each.suffixes)}, roots)
        for each, roots in declared.items()
    }
    roots = sorted(root for each in resolvers.values() for root in each.roots())
    discovered = store.readable("\n".join(roots))
    again = dict(changed)
    everything = discovered != store.meta(connection, "roots") or any(
        language_of(path).is_package(path) for path in moved
    )
    if (everything or moved) and len(changed) < len(paths):
        stems = {language_of(path).stem(path) for path in moved}
        for file, path, imports in store.all_imports(connection):
            if file not in again and (everything or any(stem in imports for stem in stems)):
                again[file] = (path, imports)
    store.put_meta(connection, "roots", discovered)
    store.put_meta(connection, "declared", spelled)
    targets = {each: _Targets(resolver) for each, resolver in resolvers.items()}
    store.put_links(
        connection,
        [
            (file, resolvers[language].module(path), targets[language].of(file, path, imports))
            for file, (path, imports) in again.items()
            for language in [language_of(path)]
        ],
    )


class _Targets:
    """The edges of files as they are stored, from their packed imports.

    Most lines are in many files and mean the same in all of them, so each is resolved once.
    """

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.same: dict[str, tuple[int, ...]] = {}  # of lines that mean the same in every file
        self.own: set[str] = set()  # the lines whose meaning depends on the file

    def of(self, file: int, path: str, imports: str) -> bytes:
        """Return the edges of one file."""
        edges: set[int] = set()
        for line in imports.split("\n") if imports else ():
            same = self.same.get(line)
            edges.update(self._resolve(path, line) if same is None else same)
        edges.difference_update(range(file << 3, file + 1 << 3))  # a file does not import itself
        return array("I", sorted(edges)).tobytes()

    def _resolve(self, path: str, line: str) -> Iterable[int]:
        scope, module, names = unpack_import(line)
        number = _SCOPES[scope]
        if scope == "string":
            return [target << 3 | number for target in self.resolver.literal(path, module)]
        if line not in self.own:
            same = self.resolver.anywhere(module, names)
            if same is not None:
                edges = self.same[line] = tuple([target << 3 | number for target in same])
                return edges
            self.own.add(line)
        return [target << 3 | number for target in self.resolver.resolve(path, module, names)]
