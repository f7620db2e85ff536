"""What the stored record says of a change: whose record holds, who ran it, who loaded it.

Blocking, and only reading. It leaves out a record rather than believe it: one that is older than
what its test ran, or one of a test that starts other processes, which no record follows.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.coverage import ANY, ASKED, ASKS, GATE, LOADED, STARTED
from self_coding.codebase_indexer.dynamic import STARTING, starting_lines
from self_coding.codebase_indexer.graph import Graph
from self_coding.codebase_indexer.impact import Recorded
from self_coding.codebase_indexer.loads import Loads
from self_coding.codebase_indexer.outline import Outline, outline
from self_coding.codebase_indexer.scan import decode
from self_coding.values.recording import FOR_ALL, Doer

Source = Callable[[str], bytes | None]


class _Row(NamedTuple):
    """One fact: this body of the file, which is still `same`, ran on behalf of this doer."""

    doer: Doer
    path: str
    hash: bytes
    outline: bytes
    body: bytes
    same: bool


def recorded(
    connection: sqlite3.Connection,
    paths: Sequence[str],
    source: Source,
    graph: Graph,
    texts: Mapping[str, bytes | None],
) -> Recorded:
    """What recorded coverage says of a change to `paths`; `source` gives a file as it is now.

    Of `texts` it gives what is in no working tree yet.
    """
    tests = known_tests(connection)
    if not tests:
        return Recorded()
    loads = Loads(connection)
    stale = _stale(connection, set(paths), source)
    whole = _whole(connection)
    valid = tests - {doer.file for doer in stale if not doer.once}
    valid -= _outgrown(connection, graph, set(paths))
    valid -= _users(_leaving(connection, source, tests, whole), graph, tests, loads)
    if FOR_ALL in stale:
        valid &= whole
    old = {doer.file for doer in stale if doer.once} - {""}
    for file in sorted(old):
        users = loads.of(file)
        if users is not None:
            valid -= users
            old.remove(file)
    whole, asking = whole & valid, loads.tests & valid
    by_gate = any(True for _ in _rows(connection, "c.path = '' AND c.body = ?", GATE))
    ran, once, narrow, told, everybody = {}, {}, set(), {}, False
    for path in paths:
        rows = list(_rows(connection, "c.path = ?", store.stored(path)))
        if path in texts:
            digest = hashlib.sha256(texts[path] or b"").digest()
            rows = [row._replace(same=row.hash == digest) for row in rows]
        now = _outline(source, path)
        doers, certain = _callers(rows, now)
        ran[path] = {doer.file for doer in doers if not doer.once}
        once[path] = {doer.file for doer in doers if doer.once} | old
        if certain and FOR_ALL not in doers:
            narrow.add(path)
        everybody = everybody or (by_gate and FOR_ALL in doers)
        if now is None or not rows:
            continue
        if any(row.body == LOADED and not row.doer.once for row in rows):
            told[path] = whole
        if FOR_ALL not in doers and loads.of(path) is not None:
            told[path] = told.get(path, set()) | asking
    shared = {file: loads.of(file) for files in once.values() for file in files}
    loading = {file: users for file, users in shared.items() if users is not None}
    return Recorded(
        tests=valid,
        asking=asking,
        ran=ran,
        once=once,
        loading=loading,
        narrow=narrow,
        told=told,
        everybody=everybody,
    )


def known_tests(connection: sqlite3.Connection) -> set[str]:
    """The test files that have a record, whether it holds or not."""
    own = "SELECT doer FROM coverage WHERE NOT once AND path = doer AND body = ?"
    return {store.shown(doer) for (doer,) in connection.execute(own, (ANY,))}


def unrecorded(
    connection: sqlite3.Connection, tests: Set[str], source: Source, graph: Graph
) -> set[str]:
    """Those of the tests that have no record, or one that no longer holds.

    Those that could not be recorded are left alone until they change.
    """
    stale = _stale(connection, set(), source)
    asked = {row.doer.file for row in _rows(connection, "c.body = ?", ASKED)}
    missing = set(tests) - known_tests(connection) - asked
    missing |= _outgrown(connection, graph, set()) & tests
    return missing | (_users(stale, graph, tests, Loads(connection)) & tests)


def _outgrown(connection: sqlite3.Connection, graph: Graph, changed: Set[str]) -> set[str]:
    """The tests that may load a file, other than what is changing, that is newer than their
    record: what is new may be imported where something else was before."""
    at: dict[int, set[str]] = defaultdict(set)
    for doer, newest in connection.execute("SELECT doer, newest FROM recorded"):
        at[newest].add(store.shown(doer))
    found: set[str] = set()
    for newest, tests in at.items():
        rows = connection.execute("SELECT path FROM files WHERE id > ?", (newest,))
        new = sorted({store.shown(path) for (path,) in rows} - changed)
        found |= tests & {each.path for each in graph.dependents(new)}
    return found


def _users(doers: Set[Doer], graph: Graph, tests: Set[str], loads: Loads) -> set[str]:
    """Whose record rests on any of these: a test itself, all that load a file, or all."""
    if FOR_ALL in doers:
        return set(tests)
    found = {doer.file for doer in doers}
    loaded = sorted({doer.file for doer in doers if doer.once})
    users = [loads.of(file) for file in loaded]
    closure = {each.path for each in graph.dependents(loaded)}
    if None in users:
        return found | closure
    return found | (closure - loads.tests) | set().union(*(each or () for each in users))


def _rows(connection: sqlite3.Connection, where: str, *values: object) -> Iterable[_Row]:
    rows = connection.execute(
        "SELECT c.doer, c.once, c.path, c.hash, c.outline, c.body, c.hash IS files.hash"  # noqa: S608 - conditions of ours
        f" FROM coverage AS c LEFT JOIN files ON files.path = c.path WHERE {where}",
        values,
    )
    for doer, once, path, digest, head, body, same in rows:
        named = Doer(store.shown(doer), bool(once))
        yield _Row(named, store.shown(path), digest, head, body, bool(same))


def _outline(source: Source, path: str) -> Outline | None:
    text = source(path)
    return None if text is None else outline(text)


def _stale(connection: sqlite3.Connection, changed: Set[str], source: Source) -> set[Doer]:
    """Those for whom something ran, other than what is changing, that has changed since."""
    found: set[Doer] = set()
    now: dict[str, Outline | None] = {}
    for row in _rows(connection, "c.hash IS NOT files.hash"):
        if row.path in changed or row.doer in found or row.body == STARTED or not row.path:
            continue
        if row.path not in now:
            now[row.path] = _outline(source, row.path)
        if _differs(row, now[row.path]):
            found.add(row.doer)
    return found


def _differs(row: _Row, now: Outline | None) -> bool:
    """Whether what this row tells of may have changed since."""
    if now is None or now.digest != row.outline:
        return True
    return row.body not in (GATE, LOADED, ASKS) and row.body not in now.bodies


def _callers(rows: Sequence[_Row], now: Outline | None) -> tuple[set[Doer], bool]:
    """For whom that ran which may have changed in a file; whether nothing else changed.

    When the file is still as it was recorded, the change is yet to come: any line may be it, also
    one that runs while the file is loaded. Who loads it must be known, then.
    """
    if now is None or not rows:
        return {row.doer for row in rows}, False
    certain = all(row.outline == now.digest for row in rows)
    if all(row.same for row in rows):
        certain = certain and any(row.body in (ANY, LOADED) for row in rows)
    ran = {row.doer for row in rows if row.same or _differs(row, now)}
    return ran, certain


def _whole(connection: sqlite3.Connection) -> set[str]:
    """The tests whose record tells every file that they loaded.

    It does when the files that a loaded file imports without a condition were loaded too: in a
    process that had imported them before, they would be missing.
    """
    loaded: dict[str, set[str]] = defaultdict(set)
    for test, path in connection.execute(
        "SELECT doer, path FROM coverage WHERE body = ? AND NOT once", (LOADED,)
    ):
        loaded[store.shown(test)].add(store.shown(path))
    if not loaded:
        return set()
    measured = set().union(*loaded.values())
    imports = _imports(connection, measured | loaded.keys())
    return {
        test
        for test, files in loaded.items()
        if all(imports.get(path, set()) & measured <= files for path in files | {test})
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


def _leaving(
    connection: sqlite3.Connection, source: Source, tests: Set[str], whole: Set[str]
) -> set[Doer]:
    """Those that started another process, or, by a record that does not tell, may have done so.

    The gate tells. Of any other record those are meant for whom a function ran that starts
    processes; the files that the `whole` of the `tests` loaded are known.
    """
    found: set[Doer] = {row.doer for row in _rows(connection, "c.body = ?", STARTED)}
    told = {row.doer for row in _rows(connection, "c.body = ?", GATE)}
    by_hand = {Doer(test, False) for test in tests} - told
    if not by_hand:
        return found
    apart = {doer.file for doer in by_hand} <= whole
    for path, lines in _starting(connection, source, recorded_only=apart).items():
        seen = _outline(source, path)
        inside = {} if seen is None else seen.bodies
        started = {body for body, where in inside.items() if not where.isdisjoint(lines)}
        loading = not lines <= frozenset().union(*inside.values())  # or while it is loaded
        if loading and not apart:
            found.add(Doer(path, True))
        rows = [
            row
            for row in _rows(connection, "c.path = ?", store.stored(path))
            if row.doer in by_hand or row.doer == FOR_ALL
        ]
        known = {row.doer for row in rows if row.body not in (ANY, LOADED)}
        found |= {
            row.doer
            for row in rows
            if loading or row.body in started or (row.body == ANY and row.doer not in known)
        }
    return found


def _starting(
    connection: sqlite3.Connection, source: Source, *, recorded_only: bool
) -> Mapping[str, set[int]]:
    """Path -> the lines that start another process, of all files or of those in a record."""
    holding = {file for word in STARTING for file in store.holders(connection, word, "body")}
    known = "SELECT id, path FROM files"
    if recorded_only:
        known = "SELECT DISTINCT files.id, path FROM coverage JOIN files USING (path)"
    found: dict[str, set[int]] = {}
    for file, path in connection.execute(known):
        if file in holding:
            shown = store.shown(path)
            found[shown] = starting_lines(decode(source(shown) or b""))
    return {path: lines for path, lines in found.items() if lines}
