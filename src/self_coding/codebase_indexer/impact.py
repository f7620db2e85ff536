"""Pure: what a change can break: dependents, the tests that reach it, what cannot be seen, a risk.

The import graph is a value: edges in, answers out. Safety questions follow every edge, whatever
its scope. A test is left out only where no import leads from it to the change and nothing on its
way imports by a computed name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from self_coding.languages import is_setting, is_source, language_of
from self_coding.values.code import BlindSpot, Dependent, Impact


class Graph:
    """Who imports whom, by path.

    Three kinds of edges are in no import statement and are added here: what an import runs on its
    way (of `a.b.c`, the packages `a` and `a.b`), the packages around a module itself, and what a
    test runner loads before a test.

    Args:
        paths: file id -> path.
        edges: (source id, target id) of every import.
    """

    def __init__(self, paths: Mapping[int, str], edges: Iterable[tuple[int, int]]) -> None:
        self.paths = paths
        self._ids = ids = {path: file for file, path in paths.items()}
        self._importers: dict[int, set[int]] = defaultdict(set)
        languages = {file: language_of(path) for file, path in paths.items()}
        packages = {
            file: [ids[each] for each in languages[file].packages(path) if each in ids]
            for file, path in paths.items()
        }
        for source, target in edges:
            self._importers[target].add(source)
            for package in packages.get(target, ()):
                self._importers[package].add(source)
        for file, path in paths.items():
            for package in packages[file]:
                self._importers[package].add(file)
            for fixture in languages[file].fixtures(path):
                if fixture in ids:
                    self._importers[ids[fixture]].add(file)

    def importers(self, path: str) -> list[str]:
        """Return the files that import one file directly, by path."""
        importers = self._importers.get(self._ids.get(path, -1), set()) - {self._ids.get(path)}
        return sorted(self.paths[file] for file in importers)

    def dependents(
        self, paths: Sequence[str], first: Mapping[str, str] | None = None
    ) -> list[Dependent]:
        """Return the files that import any of `paths`, directly or not, nearest first.

        Args:
            paths: the changed files; those the graph does not know have no importers.
            first: further direct dependents and what they depend on (a data file they read).
        """
        seen = {self._ids[path] for path in paths if path in self._ids}
        level = sorted(seen, key=self.paths.__getitem__)
        near = {self._ids[path]: by for path, by in (first or {}).items() if path in self._ids}
        dependents: list[Dependent] = []
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
            level = sorted(through, key=self.paths.__getitem__)
            dependents += [
                Dependent(path=self.paths[file], distance=distance, through=through[file])
                for file in level
            ]
        return dependents


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What `assess` needs besides the graph.

    `tests` are the files that hold tests; `blind` every line that cannot be followed; `reading`
    changed data file -> the files that name it; `entries` path -> what names it from outside the
    code; `plugins` files that the test runner loads before any test; `gone` path that is no
    longer there -> its importers.
    """

    tests: Set[str]
    blind: Sequence[BlindSpot] = ()
    reading: Mapping[str, Sequence[str]] = field(default_factory=dict)
    entries: Mapping[str, str] = field(default_factory=dict)
    plugins: Set[str] = frozenset()
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)


def assess(graph: Graph, paths: Sequence[str], facts: Facts) -> Impact:
    """Return the impact of changing `paths`."""
    first = {reader: data for data, readers in facts.reading.items() for reader in readers}
    first.update({user: path for path, users in facts.gone.items() for user in users})
    dependents = graph.dependents(paths, first)
    outside = [
        Dependent(path=name, distance=1, through=path)
        for path, name in sorted(facts.entries.items())
        if path in paths
    ]
    reached = {each.path for each in dependents} | set(paths)
    tests = set(facts.tests)
    if not (any(map(is_setting, paths)) or reached & facts.plugins):
        # Those in the closure, and those that reach a line which nobody can follow.
        spots = {spot.path for spot in facts.blind}
        blind = {each.path for each in graph.dependents(sorted(spots))} | spots
        tests = {path for path in facts.tests if path in reached or path in blind}
    hidden = [
        BlindSpot(
            path=path, line=0, reason="not source code: who reads it by a computed name is not seen"
        )
        for path in paths
        if not is_source(path) and not is_setting(path)
    ]
    if any(map(is_source, paths)):
        hidden += facts.blind
    distances = {each.path: each.distance for each in dependents}
    return Impact(
        paths=tuple(paths),
        dependents=tuple(
            sorted([*dependents, *outside], key=lambda each: (each.distance, each.path))
        ),
        tests=tuple(
            sorted(tests, key=lambda path: (distances.get(path, len(distances) + 1), path))
        ),
        blind_spots=tuple(hidden),
        risk=_risk(paths, dependents, tests, hidden, facts),
        complete=not hidden,
    )


def _risk(
    paths: Sequence[str],
    dependents: Sequence[Dependent],
    tests: Set[str],
    hidden: Sequence[BlindSpot],
    facts: Facts,
) -> float:
    """Return reach, lack of tests and blindness as independent chances to go wrong, weighted.

    Ten dependents outside the tests make half the reach. A rule of thumb, not a probability:
    it orders changes, and is fitted to nothing.
    """
    if not paths:
        return 0.0
    outside = sum(each.path not in facts.tests for each in dependents)
    reach = outside / (outside + 10)
    product = [path for path in paths if path not in facts.tests]
    untested = 1.0 if product and not tests else 0.0
    calm = (1 - 0.6 * reach) * (1 - 0.5 * untested) * (1 - 0.2 * bool(hidden))
    return round(1 - calm, 3)
