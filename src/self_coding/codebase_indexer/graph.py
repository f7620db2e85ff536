"""The import graph as a value: dependents with distances, nearest first.

Pure: edges in, answers out. Safety questions follow every edge, whatever its scope. Three kinds
of edges stand in no import statement and are added here: an import of `a.b.c` runs the
`__init__` of `a` and `a.b`; a module needs the packages around itself; a test needs every
conftest.py above it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        above = {file: tuple(self._around(path, "__init__.py")) for file, path in paths.items()}
        for source, target in edges:
            self._importers[target].add(source)
            for package in above.get(target, ()):
                self._importers[package].add(source)
        for file, path in paths.items():
            for needed in (*above[file], *self._conftests(path)):
                self._importers[needed].add(file)

    def _around(self, path: str, name: str) -> Iterator[int]:
        """The files of this name in the folders around a file, innermost first, but for the top.

        Folders without one may lie between: whoever imports `a.b.c` runs `a` all the same.
        """
        folder = path.rpartition("/")[0]
        while folder:
            found = self._ids.get(f"{folder}/{name}")
            if found is not None:
                yield found
            folder = folder.rpartition("/")[0]

    def _conftests(self, path: str) -> Iterator[int]:
        """The conftest files that take effect for a test."""
        if is_test(path):
            yield from self._around(path, "conftest.py")
            if "conftest.py" in self._ids:
                yield self._ids["conftest.py"]

    def importers(self, path: str) -> list[str]:
        """The files that import one file directly, by path."""
        found = self._importers.get(self._ids.get(path, -1), set()) - {self._ids.get(path)}
        return sorted(self.paths[file] for file in found)

    def dependents(
        self, paths: Sequence[str], first: Mapping[str, str] | None = None
    ) -> list[Dependent]:
        """The files that import any of `paths`, directly or not, nearest first, then by path.

        Args:
            paths: the changed files; those the graph does not know have no importers.
            first: further direct dependents and what they depend on (a data file they read).
        """
        seen = {self._ids[path] for path in paths if path in self._ids}
        level = sorted(seen, key=self._path)
        near = {self._ids[path]: by for path, by in (first or {}).items() if path in self._ids}
        found: list[Dependent] = []
        distance = 0
        while level or near:
            distance += 1
            through = {file: by for file, by in near.items() if file not in seen}
            near = {}
            for target in level:
                for source in self._importers.get(target, ()):
                    if source not in seen:
                        through.setdefault(source, self.paths[target])
            seen.update(through)
            level = sorted(through, key=self._path)
            found += [
                Dependent(path=self.paths[file], distance=distance, through=through[file])
                for file in level
            ]
        return found

    def _path(self, file: int) -> str:
        return self.paths[file]
