"""Answers about imports from the stored index: impact, tests, who covers a file.

Blocking, and only reading (files of the working tree, where a question needs their text): one
`Database.read()` of the caller spans a whole answer, so that all of it is of one state.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cached_property
from pathlib import Path

from self_coding.codebase_indexer import project, store
from self_coding.codebase_indexer.graph import Graph
from self_coding.codebase_indexer.impact import Facts, assess
from self_coding.codebase_indexer.packed import unpack_imports
from self_coding.codebase_indexer.resolve import Layout
from self_coding.codebase_indexer.scan import decode
from self_coding.values.code import BlindSpot, Impact

_TEST_NAME = re.compile(r"(?:test_[^/]*|[^/]*_test|tests?)\.py$")


class Snapshot:
    """What most questions about imports need, read once."""

    def __init__(self, connection: sqlite3.Connection, root: Path) -> None:
        self.connection = connection
        self.root = root
        self.files = store.files(connection)
        self.paths = {each.id: each.path for each in self.files}
        self.ids = {each.path: each.id for each in self.files}

    @cached_property
    def graph(self) -> Graph:
        """Who imports whom."""
        return Graph(self.paths, store.pairs(self.connection))

    def source(self, path: str) -> bytes | None:
        """The bytes of a file of the working tree, None when it cannot be read."""
        try:
            with open(f"{self.root}/{path}", "rb", buffering=0) as file:
                return file.read()
        except OSError:
            return None

    def tests(self) -> frozenset[str]:
        """The files that hold tests: by name, or by a test they define below a tests folder."""
        defining = store.testing(self.connection)
        return frozenset(
            each.path
            for each in self.files
            if each.is_test
            and each.path.rpartition("/")[2] not in ("conftest.py", "__init__.py")
            and (_TEST_NAME.search(each.path) or each.id in defining)
        )

    def blind_spots(self) -> list[BlindSpot]:
        """Every line that no static analysis can follow, by path and line."""
        found = [
            BlindSpot(path=self.paths[each.file], line=each.line, reason=each.reason)
            for each in store.blind_lines(self.connection)
            if each.file in self.paths
        ]
        return sorted(found, key=lambda spot: (spot.path, spot.line))


def impact(snapshot: Snapshot, paths: Sequence[str], *, blind: bool = True) -> Impact:
    """What changing `paths` can break."""
    described = project.read(_text(snapshot, "pyproject.toml"))
    layout = Layout(snapshot.ids, described.roots)
    gone = [path for path in paths if path.endswith(".py") and path not in snapshot.ids]
    data = [path for path in paths if not path.endswith(".py")]
    facts = Facts(
        tests=snapshot.tests(),
        blind=snapshot.blind_spots() if blind else (),
        reading={path: _readers(snapshot, path) for path in data},
        entries=dict.fromkeys(_files_of(snapshot, layout, described.entries), "pyproject.toml"),
        plugins=_files_of(snapshot, layout, described.plugins),
        gone={path: _importers_of_gone(snapshot, path) for path in gone},
    )
    return assess(snapshot.graph, paths, facts)


def _text(snapshot: Snapshot, path: str) -> str:
    source = snapshot.source(path)
    return "" if source is None else decode(source)


def _files_of(snapshot: Snapshot, layout: Layout, modules: Iterable[str]) -> frozenset[str]:
    return frozenset(
        snapshot.paths[file] for module in modules for file in layout.literal("", module)
    )


def _readers(snapshot: Snapshot, path: str) -> list[str]:
    """The files whose text holds the name of a data file; failing that, of its folder."""
    folder, _, name = path.rpartition("/")
    for wanted in (name, folder.rpartition("/")[2]):
        candidates = store.holders(snapshot.connection, wanted, "body") if wanted else []
        found = [
            snapshot.paths[file]
            for file in candidates
            if file in snapshot.paths and wanted in _text(snapshot, snapshot.paths[file])
        ]
        if found:
            return sorted(found)
    return []


def _importers_of_gone(snapshot: Snapshot, path: str) -> list[str]:
    """The files that import a file that is no longer there."""
    phantom = -1
    layout = Layout({**snapshot.ids, path: phantom})
    stem = path.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]
    rows = snapshot.connection.execute(
        "SELECT path, imports FROM files WHERE instr(imports, ?)", (stem,)
    )
    found = []
    for stored, imports in rows.fetchall():
        importer = store.shown(stored)
        if any(
            phantom in layout.resolve(importer, each.module, each.names)
            for each in unpack_imports(imports)
            if each.scope != "string"
        ):
            found.append(importer)
    return sorted(found)


def covering_test(snapshot: Snapshot, path: str) -> str | None:
    """The test file that covers `path`: by import, or by its name."""
    for found in _covering(snapshot, path):
        stem = path.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]
        return min(found, key=lambda test: (stem not in test.rpartition("/")[2], test))
    return None


def _covering(snapshot: Snapshot, path: str) -> Iterator[Set[str]]:
    tests = snapshot.tests()
    importing = set(snapshot.graph.importers(path)) & tests - {path}
    imported = {test for test in importing if _imports_itself(snapshot, test, path)}
    if imported:
        yield imported
    stem = path.removesuffix(".py").rpartition("/")[2]
    named = {
        test for test in tests if test.rpartition("/")[2] in (f"test_{stem}.py", f"{stem}_test.py")
    }
    if named - {path}:
        yield named - {path}


def _imports_itself(snapshot: Snapshot, test: str, path: str) -> bool:
    """Whether the test names the file in an import, and does not merely run it as a package."""
    targets = store.targets(snapshot.connection, [snapshot.ids[test]])[snapshot.ids[test]]
    return snapshot.ids.get(path) in targets
