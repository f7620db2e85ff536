"""The import graph as a value: dependents with distances, layers, tests that reach a change.

Pure: edges in, answers out. Safety questions follow every edge, whatever its scope; who wants
only what runs at import time says so. Two kinds of edges stand in no import statement and are
added here: a module needs the `__init__` of every package around it, and a test needs every
conftest.py above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections import defaultdict

from self_coding.codebase_indexer.resolve import is_test
from self_coding.values.code import Dependent


class Graph:
    """Who imports whom, by path.

    Args:
        paths: file id -> path.
        edges: (source id, target id) of every import.
    """

    def __init__(self, paths: Mapping[int, str], edges: Iterable[tuple[int, int]]) -> None:
        self.paths = paths
        self._ids = {path: file for file, path in paths.items()}
        self._importers: dict[int, set[int]] = defaultdict(set)
        for source, target in edges:
            self._importers[target].add(source)
        for path, file in self._ids.items():
            for above in self._implied(path):
                if above != file:
                    self._importers[above].add(file)

    def _implied(self, path: str) -> Iterable[int]:
        """The package and conftest files that take effect wherever `path` does."""
        folder = path.rpartition("/")[0]
        inside_package = True
        tested = is_test(path)
        while True:
            prefix = folder + "/" if folder else ""
            package = self._ids.get(prefix + "__init__.py")
            inside_package = inside_package and package is not None
            if inside_package and package is not None:
                yield package
            if tested:
                conftest = self._ids.get(prefix + "conftest.py")
                if conftest is not None:
                    yield conftest
            if not folder or not (inside_package or tested):
                return
            folder = folder.rpartition("/")[0]

    def dependents(self, paths: Sequence[str]) -> list[Dependent]:
        """The files that import any of `paths`, directly or not, nearest first, then by path."""
        seen = {self._ids[path] for path in paths if path in self._ids}
        level = sorted(seen, key=lambda file: self.paths[file])
        found: list[Dependent] = []
        distance = 0
        while level:
            distance += 1
            through: dict[int, int] = {}
            for target in level:
                for source in self._importers.get(target, ()):
                    if source not in seen:
                        through.setdefault(source, target)
            seen.update(through)
            level = sorted(through, key=lambda file: self.paths[file])
            found += [
                Dependent(
                    path=self.paths[file], distance=distance, through=self.paths[through[file]]
                )
                for file in level
            ]
        return found
