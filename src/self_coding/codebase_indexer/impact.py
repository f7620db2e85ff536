"""What a change can break: dependents, the tests that reach it, what cannot be seen, a risk.

Pure. A test is left out only where no import leads from it to the change and nothing on its way
imports by a computed name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from self_coding.codebase_indexer.graph import Graph
from self_coding.values.code import BlindSpot, Dependent, Impact

_CONFIGURATION = frozenset(
    (
        "pyproject.toml",
        "setup.cfg",
        "setup.py",
        "tox.ini",
        "pytest.ini",
        "noxfile.py",
        ".coveragerc",
    )
)
_HEADER = re.compile(
    r'^(?:(?:---|\+\+\+) (?:"?[ab]/)(.+?)"?\t?$|rename (?:from|to) "?(.+?)"?$'
    r'|diff --git "?a/(.+?)"? "?b/(.+?)"?$)',
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What `assess` needs besides the graph.

    `tests` are the files that hold tests; `blind` every line that cannot be followed; `reading`
    changed data file -> the files that name it; `entries` path -> what names it from outside
    Python; `plugins` files that pytest loads before any test; `gone` path that is no longer
    there -> its importers.
    """

    tests: Set[str]
    blind: Sequence[BlindSpot] = ()
    reading: Mapping[str, Sequence[str]] = field(default_factory=dict)
    entries: Mapping[str, str] = field(default_factory=dict)
    plugins: Set[str] = frozenset()
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)


def changed_paths(diff: str) -> tuple[str, ...]:
    """The paths that a unified diff touches, old and new names, in order."""
    found: dict[str, None] = {}
    for match in _HEADER.finditer(diff):
        for path in match.groups():
            if path and path != "/dev/null":
                found[_unquoted(path)] = None
    return tuple(found)


def _unquoted(path: str) -> str:
    """A path as git quotes it in a diff, with its octal escapes read."""
    if "\\" not in path:
        return path
    raw = re.sub(
        rb"\\([0-7]{3}|.)",
        lambda each: bytes([int(each[1], 8)]) if len(each[1]) == 3 else each[1],
        path.encode("utf-8", "surrogateescape"),
    )
    return raw.decode("utf-8", "surrogateescape")


def assess(graph: Graph, paths: Sequence[str], facts: Facts) -> Impact:
    """The impact of changing `paths`."""
    known = set(graph.paths.values())
    first = {reader: data for data, readers in facts.reading.items() for reader in readers}
    first.update({user: path for path, users in facts.gone.items() for user in users})
    dependents = graph.dependents(paths, first)
    reached = {each.path for each in dependents} | set(paths)
    outside = [
        Dependent(path=name, distance=1, through=path)
        for path, name in sorted(facts.entries.items())
        if path in paths
    ]
    tests = _tests(graph, paths, facts, reached)
    hidden = _hidden(paths, facts, known)
    return Impact(
        paths=tuple(paths),
        dependents=tuple(
            sorted([*dependents, *outside], key=lambda each: (each.distance, each.path))
        ),
        tests=tuple(_ordered(tests, dependents)),
        blind_spots=tuple(hidden),
        risk=_risk(paths, dependents, tests, hidden, facts),
        complete=not hidden,
    )


def _tests(graph: Graph, paths: Sequence[str], facts: Facts, reached: Set[str]) -> set[str]:
    """The tests to run: those in the closure, and those that reach a line nobody can follow."""
    set_up = any(path.rpartition("/")[2] in _CONFIGURATION for path in paths)
    if set_up or reached & facts.plugins:
        return set(facts.tests)
    by_name = {spot.path for spot in facts.blind}
    blind = {each.path for each in graph.dependents(sorted(by_name))} | by_name
    return {path for path in facts.tests if path in reached or path in blind}


def _hidden(paths: Sequence[str], facts: Facts, known: Set[str]) -> list[BlindSpot]:
    """What could hide a dependent of this change."""
    found = [
        BlindSpot(
            path=path, line=0, reason="no Python file: who reads it by a computed name is not seen"
        )
        for path in paths
        if not path.endswith(".py") and path.rpartition("/")[2] not in _CONFIGURATION
    ]
    if any(path in known or path.endswith(".py") for path in paths):
        found += facts.blind
    return found


def _ordered(tests: Iterable[str], dependents: Sequence[Dependent]) -> list[str]:
    distances = {each.path: each.distance for each in dependents}
    return sorted(tests, key=lambda path: (distances.get(path, len(distances) + 1), path))


def _risk(
    paths: Sequence[str],
    dependents: Sequence[Dependent],
    tests: Set[str],
    hidden: Sequence[BlindSpot],
    facts: Facts,
) -> float:
    """Reach, lack of tests and blindness as independent chances to go wrong, in this weight.

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
