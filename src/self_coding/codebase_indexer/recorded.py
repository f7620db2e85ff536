"""What the stored record says of a change: whose record holds, who ran it, who loaded it.

Blocking, and only reading. It leaves out a record rather than believe it: one that is older than
what its test ran, or one of a test that starts other processes, which no record follows.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.coverage import LOADED, SHARED
from self_coding.codebase_indexer.dynamic import STARTS
from self_coding.codebase_indexer.impact import Recorded
from self_coding.codebase_indexer.outline import Outline, outline

Source = Callable[[str], bytes | None]
_FORKS = re.compile(rb"\b(?:Process|Pool|ProcessPoolExecutor|get_context|Manager)\s*\(")


class _Row(NamedTuple):
    """One fact: this test file ran this body of the file, which is still `same`."""

    test: str
    path: str
    outline: bytes
    body: bytes
    same: bool


def recorded(connection: sqlite3.Connection, paths: Sequence[str], source: Source) -> Recorded:
    """What recorded coverage says of a change to `paths`; `source` gives a file as it is now."""
    if connection.execute("SELECT 1 FROM coverage LIMIT 1").fetchone() is None:
        return Recorded()
    tests = {
        store.shown(test)
        for (test,) in connection.execute("SELECT DISTINCT test FROM coverage")
        if test != SHARED
    }
    stale = _stale(connection, set(paths), source)
    whole = _whole(connection)
    if SHARED in stale:
        stale |= tests - whole
    valid = tests - stale - _leaving(connection, source)
    ran, narrow, seen = {}, set(), set()
    for path in paths:
        rows = list(_rows(connection, "c.path = ?", store.stored(path)))
        now = _outline(source, path)
        ran[path], certain = _callers(rows, now)
        if certain and SHARED not in ran[path]:
            narrow.add(path)
        if now is not None and any(row.body == LOADED for row in rows):
            seen.add(path)
    return Recorded(tests=valid, whole=whole & valid, ran=ran, narrow=narrow, seen=seen)


def _rows(connection: sqlite3.Connection, where: str, *values: object) -> Iterable[_Row]:
    rows = connection.execute(
        "SELECT c.test, c.path, c.outline, c.body, c.hash IS files.hash FROM coverage AS c"  # noqa: S608 - conditions of ours
        f" LEFT JOIN files ON files.path = c.path WHERE {where}",
        values,
    )
    for test, path, digest, body, same in rows:
        yield _Row(store.shown(test), store.shown(path), digest, body, bool(same))


def _outline(source: Source, path: str) -> Outline | None:
    text = source(path)
    return None if text is None else outline(text)


def _stale(connection: sqlite3.Connection, changed: Set[str], source: Source) -> set[str]:
    """The tests of which something else that they ran has changed since the record."""
    found: set[str] = set()
    now: dict[str, Outline | None] = {}
    for row in _rows(connection, "c.hash IS NOT files.hash"):
        if row.path in changed or row.test in found:
            continue
        if row.path not in now:
            now[row.path] = _outline(source, row.path)
        if _differs(row, now[row.path]):
            found.add(row.test)
    return found


def _differs(row: _Row, now: Outline | None) -> bool:
    """Whether what this row tells of may have changed since."""
    if now is None or now.digest != row.outline:
        return True
    return row.body != LOADED and row.body not in now.bodies


def _callers(rows: Sequence[_Row], now: Outline | None) -> tuple[set[str], bool]:
    """The tests recorded to run what may have changed in a file; whether nothing else changed.

    When the file is still as it was recorded, the change is yet to come: any line may be it.
    """
    if now is None or not rows:
        return {row.test for row in rows}, False
    certain = all(row.outline == now.digest for row in rows)
    ran = {row.test for row in rows if row.same or _differs(row, now)}
    return ran, certain


def _whole(connection: sqlite3.Connection) -> set[str]:
    """The tests whose record tells every file that they loaded.

    It does when the files that a loaded file imports without a condition were loaded too: in a
    process that had imported them before, they would be missing.
    """
    loaded: dict[str, set[str]] = defaultdict(set)
    for test, path in connection.execute(
        "SELECT test, path FROM coverage WHERE body = ?", (LOADED,)
    ):
        loaded[store.shown(test)].add(store.shown(path))
    if not loaded:
        return set()
    measured = set().union(*loaded.values())
    imports = _imports(connection, measured | loaded.keys())
    return {
        test
        for test, files in loaded.items()
        if all(imports.get(path, set()) & measured <= files for path in (files | {test}) - {SHARED})
        and (test in files or test not in measured)
    }


def _imports(connection: sqlite3.Connection, wanted: Set[str]) -> Mapping[str, set[str]]:
    """The files that each of these imports whenever it is loaded."""
    paths = {each.id: each.path for each in store.files(connection)}
    found: dict[str, set[str]] = defaultdict(set)
    for edge in store.edges(connection):
        if edge.scope == "top" and paths.get(edge.source) in wanted and edge.target in paths:
            found[paths[edge.source]].add(paths[edge.target])
    return found


def _leaving(connection: sqlite3.Connection, source: Source) -> set[str]:
    """The tests that ran code of a file which starts other processes."""
    found: set[str] = set()
    for path, known in connection.execute(
        "SELECT path, id IN (SELECT file FROM blind WHERE reason = ?) AS known FROM files"
        " WHERE known OR instr(imports, 'multiprocessing') OR instr(imports, 'concurrent.futures')",
        (STARTS,),
    ).fetchall():
        if known or _FORKS.search(source(store.shown(path)) or b""):
            rows = connection.execute(
                "SELECT DISTINCT test FROM coverage WHERE path = ? AND body <> ?", (path, LOADED)
            )
            found |= {store.shown(test) for (test,) in rows}
    return found
