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
from self_coding.codebase_indexer.outline import outline
from self_coding.errors import IndexerError

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
) -> dict[str, set[str]]:
    """Test file -> the files whose function bodies it ran.

    Args:
        ran: context -> path -> lines.
        name: the test file of a context, "" for none (work done for all).
        source: the bytes of a path, None when it is gone.
    """
    bodies: dict[str, frozenset[int] | None] = {}
    found: dict[str, set[str]] = defaultdict(set)
    for context, paths in ran.items():
        test = name(context)
        for path, lines in paths.items():
            if path not in bodies:
                text = source(path)
                seen = outline(text) if text is not None else None
                bodies[path] = None if seen is None else seen.bodies
            inside = bodies[path]
            if inside is not None and not inside.isdisjoint(lines):
                found[test].add(path)
    return dict(found)


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
    connection: sqlite3.Connection,
    ran: Mapping[str, Iterable[str]],
    source: Callable[[str], bytes | None],
) -> int:
    """Store what each test file ran, in place of what was known of these test files."""
    hashes = {
        store.shown(path): digest
        for path, digest in connection.execute("SELECT path, hash FROM files")
    }
    outlines: dict[str, bytes] = {}
    stored = 0
    for test, paths in ran.items():
        connection.execute("DELETE FROM coverage WHERE test = ?", (store.stored(test),))
        for path in {*paths, *([test] if test else [])}:
            if path not in hashes:
                continue
            if path not in outlines:
                text = source(path)
                seen = outline(text) if text is not None else None
                outlines[path] = b"" if seen is None else seen.digest
            connection.execute(
                "INSERT INTO coverage VALUES (?,?,?,?)",
                (store.stored(test), store.stored(path), hashes[path], outlines[path]),
            )
            stored += 1
    return stored
