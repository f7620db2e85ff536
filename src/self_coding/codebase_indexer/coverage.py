"""Recorded coverage: which functions of which files ran, and on whose behalf, on a real run.

Reads coverage.py's data files (contexts needed) without needing coverage.py, and what the gate
recorded; the rows are kept by `store`. It never runs a test.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Set
from contextlib import closing
from pathlib import Path

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.outline import Outline, outline
from self_coding.errors import IndexerError
from self_coding.values.recording import FOR_ALL, Doer, Recording

Calls = Mapping[Doer, Mapping[str, Set[bytes]]]  # doer -> path -> digests of bodies
Source = Callable[[str], bytes | None]
ANY = b""  # the body that is recorded where nobody said which
LOADED = b"loaded"  # the "body" of a file that was imported while its doer ran
ASKED = b"asked"  # the "body" of a test file that was to be recorded and could not be
GATE = b"gate"  # the "body" of a test file, or of no file for all, whose record the gate made
STARTED = b"started"  # the "body" of a doer that started another process
ASKS = b"asks"  # the "body" of a file that its doer asked for by an import, loaded or not


def read_data_file(path: Path, root: Path) -> dict[str, dict[str, frozenset[int]]]:
    """Context -> repository-relative path -> the lines that ran, from a coverage.py data file.

    Raises:
        IndexerError: it is no such file.
    """
    try:
        found_file = path.is_file()
    except OSError:  # no file can have such a name, or its folder may not be entered
        found_file = False
    if not found_file:
        raise IndexerError(
            f"there is no file {path}", hint="give the data file that `coverage run` wrote"
        )
    found: dict[str, dict[str, frozenset[int]]] = defaultdict(dict)
    top = str(root) + "/"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as data:
            contexts = dict(data.execute("SELECT id, context FROM context").fetchall())
            files = dict(data.execute("SELECT id, path FROM file").fetchall())
            for file, context, bits in data.execute(
                "SELECT file_id, context_id, numbits FROM line_bits"
            ):
                _add(found[contexts[context]], top, files[file], _lines(bits))
            for file, context, start, end in data.execute(
                "SELECT file_id, context_id, fromno, tono FROM arc"
            ):
                lines = frozenset(line for line in (start, end) if line > 0)
                _add(found[contexts[context]], top, files[file], lines)
    except (sqlite3.Error, KeyError) as error:
        raise IndexerError(
            f"{path} is no coverage data file: {error}",
            hint="run the tests with `coverage run --context=...` or `pytest --cov-context=test`",
        ) from error
    return dict(found)


def _add(context: dict[str, frozenset[int]], top: str, path: str, lines: frozenset[int]) -> None:
    if path.startswith(top):
        inside = path[len(top) :]
        context[inside] = context.get(inside, frozenset()) | lines


def _lines(bits: bytes) -> frozenset[int]:
    return frozenset(
        8 * index + bit for index, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1
    )


def called(
    ran: Mapping[str, Mapping[str, Iterable[int]]],
    name: Callable[[str], str],
    source: Source,
) -> Calls:
    """Which function bodies each context's test file ran, and which files it loaded.

    What was loaded is told only where the record knows it of each test: where nothing ran outside
    the tests' contexts, as when every test file has a process of its own.

    Args:
        ran: context -> path -> lines.
        name: the test file of a context, "" for work done for all.
        source: the bytes of a path, None when it is gone.
    """
    outlines: dict[str, Outline | None] = {}
    found: dict[Doer, dict[str, set[bytes]]] = defaultdict(dict)
    apart = not any(paths for context, paths in ran.items() if not name(context))
    for context, paths in ran.items():
        test = name(context)
        doer = Doer(test, False) if test else FOR_ALL
        for path, lines in paths.items():
            if path not in outlines:
                outlines[path] = outlined(source, path)
            bodies = _bodies(outlines[path], frozenset(lines), loads=apart)
            if bodies:
                found[doer].setdefault(path, set()).update(bodies)
    return found


def done(recording: Recording, source: Source) -> Calls:
    """Which function bodies ran on whose behalf, and who asked for which file, by the gate.

    A file whose import nobody saw may have run any of its functions, for anybody.
    """
    outlines: dict[str, Outline | None] = {}
    found: dict[Doer, dict[str, set[bytes]]] = {FOR_ALL: {"": {GATE}}}
    for doer, paths in recording.lines.items():
        mine = found.setdefault(doer, {})
        if doer.file:
            mine[doer.file] = {LOADED} if doer.once else {ANY, GATE}
        for path, lines in paths.items():
            if path not in outlines:
                outlines[path] = outlined(source, path)
            bodies = _bodies(outlines[path], lines, loads=True)
            if LOADED in bodies and doer != Doer(path, True):
                bodies |= {ASKS}  # in some other way than by an import
            unknown = {ANY} if outlines[path] is None else set()
            mine.setdefault(path, set()).update((bodies - {LOADED}) | unknown)
    for doer in found.keys() & recording.imports.keys():
        for path in recording.imports[doer]:
            found[doer].setdefault(path, set()).add(ASKS)
    found |= {Doer(test, False): {test: {ASKED}} for test in recording.left_out}
    for path in recording.unseen:
        found[FOR_ALL].setdefault(path, set()).add(ANY)
    for doer in recording.starting:
        found.setdefault(doer, {}).setdefault(doer.file, set()).add(STARTED)
    return found


def outlined(source: Source, path: str) -> Outline | None:
    """The outline of a file; None where it is gone or cannot be parsed."""
    text = source(path)
    return None if text is None else outline(text)


def _bodies(seen: Outline | None, lines: frozenset[int], *, loads: bool) -> set[bytes]:
    """The bodies that some of these lines belong to; LOADED for lines outside all of them."""
    if seen is None:
        return {LOADED} if loads and lines else set()
    found = {body for body, inside in seen.bodies.items() if not inside.isdisjoint(lines)}
    if loads and not lines <= frozenset().union(*seen.bodies.values()):
        found.add(LOADED)
    return found


def test_file(context: str, modules: Mapping[str, str], paths: Iterable[str]) -> str:
    """The test file that a test id or a coverage context names; "" for none.

    Understands `tests/test_a.py::test_b|run`, a path, and the dotted `tests.test_a.TestB.test_c`
    of coverage's own dynamic contexts, also with leading packages left out.
    """
    context = context.partition("|")[0].partition("::")[0].strip()
    if context in paths or not context:
        return context
    dotted = context
    while dotted:
        if dotted in modules:
            return modules[dotted]
        near = [path for module, path in modules.items() if module.endswith("." + dotted)]
        if len(near) == 1:
            return near[0]
        dotted = dotted.rpartition(".")[0]
    return ""


def record(
    connection: sqlite3.Connection, ran: Calls, source: Source, *, kept: Container[Doer] = ()
) -> int:
    """Store what ran on whose behalf, in place of what was known of these doers; how many facts.

    Of the doers in `kept` this is not all: what was known of them stays.
    """
    rows = connection.execute("SELECT path, hash FROM files")
    hashes = {store.shown(path): digest for path, digest in rows}
    facts: dict[str, tuple[bytes, bytes]] = {}
    stored, newest = 0, store.next_file(connection) - 1
    for doer, paths in ran.items():
        mine = (store.stored(doer.file), doer.once)
        if doer not in kept:
            connection.execute("DELETE FROM coverage WHERE doer = ? AND once = ?", mine)
        if not doer.once:
            connection.execute("INSERT OR REPLACE INTO recorded VALUES (?,?)", (mine[0], newest))
        for path, bodies in paths.items():
            if path and path not in hashes:
                continue
            if path not in facts:
                facts[path] = _facts(hashes.get(path, b""), source(path))
            connection.executemany(
                "INSERT OR REPLACE INTO coverage VALUES (?,?,?,?,?,?)",
                [(*mine, store.stored(path), *facts[path], body) for body in bodies],
            )
            stored += len(bodies)
    return stored


def _facts(known: bytes, text: bytes | None) -> tuple[bytes, bytes]:
    """The digest of a file as it was recorded, and that of its outline."""
    seen = outline(text) if text is not None else None
    digest = known if text is None else hashlib.sha256(text).digest()
    return digest, b"" if seen is None else seen.digest
