"""Recorded coverage: which test files ran the functions of which files, as seen on a real run.

Reads coverage.py's data files (contexts needed) without needing coverage.py; the rows are kept
by `store`. It never runs a test.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.outline import Outline, outline
from self_coding.errors import IndexerError

Calls = Mapping[str, Mapping[str, Iterable[bytes]]]  # test file -> path -> digests of bodies
ANY = b""  # the body that is recorded where nobody said which
LOADED = b"loaded"  # the "body" of a file that was imported while this test file ran
SHARED = ""  # the test under which work at import time, done for all tests, is recorded


def read_data_file(path: Path, root: Path) -> dict[str, dict[str, frozenset[int]]]:
    """Context -> repository-relative path -> the lines that ran, from a coverage.py data file.

    Raises:
        IndexerError: it is no such file.
    """
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
    source: Callable[[str], bytes | None],
) -> Calls:
    """Which function bodies each test file ran, and which files it loaded.

    What was loaded is told only where the record knows it of each test: where nothing ran outside
    the tests' contexts, as when every test file has a process of its own.

    Args:
        ran: context -> path -> lines.
        name: the test file of a context, SHARED for work done for all.
        source: the bytes of a path, None when it is gone.
    """
    outlines: dict[str, Outline | None] = {}
    found: dict[str, dict[str, set[bytes]]] = defaultdict(dict)
    apart = not any(paths for context, paths in ran.items() if name(context) == SHARED)
    for context, paths in ran.items():
        test = name(context)
        for path, lines in paths.items():
            if path not in outlines:
                text = source(path)
                outlines[path] = outline(text) if text is not None else None
            bodies = _bodies(outlines[path], frozenset(lines), loads=apart)
            if bodies:
                found[test].setdefault(path, set()).update(bodies)
    return found


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
    connection: sqlite3.Connection, ran: Calls, source: Callable[[str], bytes | None]
) -> int:
    """Store what each test file ran, in place of what was known of these test files."""
    rows = connection.execute("SELECT path, hash FROM files")
    hashes = {store.shown(path): digest for path, digest in rows}
    digests: dict[str, bytes] = {}
    stored = 0
    for test, paths in ran.items():
        connection.execute("DELETE FROM coverage WHERE test = ?", (store.stored(test),))
        own = {test: {ANY}} if test else {}
        for path, bodies in {**{path: set(seen) for path, seen in paths.items()}, **own}.items():
            if path not in hashes:
                continue
            if path not in digests:
                text = source(path)
                seen = outline(text) if text is not None else None
                digests[path] = b"" if seen is None else seen.digest
            facts = (store.stored(test), store.stored(path), hashes[path], digests[path])
            connection.executemany(
                "INSERT INTO coverage VALUES (?,?,?,?,?)", [(*facts, body) for body in bodies]
            )
            stored += len(bodies)
    return stored
