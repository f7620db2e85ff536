"""Take in recorded coverage: a mapping, or a data file of coverage.py.

Blocking; writes the rows that `blast` reads. It runs no test and believes the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from self_coding.codebase_indexer import coverage
from self_coding.codebase_indexer.blast import Snapshot, modules
from self_coding.errors import IndexerError


def record(snapshot: Snapshot, data: Mapping[str, Iterable[str]] | str | Path) -> int:
    """Store what tests ran; how many (test, file) facts.

    Raises:
        IndexerError: a data file that is none, or that names no test.
    """
    known = modules(snapshot)
    tests = snapshot.tests()

    def test_of(context: str) -> str:
        found = coverage.test_file(context, known, snapshot.ids)
        return found if found in tests else ""

    if isinstance(data, Mapping):
        ran: dict[str, dict[str, Iterable[bytes]]] = {}
        for context, paths in data.items():
            test = test_of(context)
            if test:
                anything = {_inside(snapshot.root, path): (coverage.ANY,) for path in paths}
                ran.setdefault(test, {}).update(anything)
    else:
        contexts = {  # what ran alone and is no test tells nothing of any test
            context: paths
            for context, paths in coverage.read_data_file(Path(data), snapshot.root).items()
            if context not in snapshot.ids or test_of(context)
        }
        called = coverage.called(contexts, test_of, snapshot.source)
        ran = {test: dict(called.get(test, {})) for test in map(test_of, contexts)}
    if not any(ran) and data:
        raise IndexerError(
            "the coverage names no test of this repository",
            hint="record it with contexts: `coverage run --context=TEST`, `--cov-context=test`",
        )
    return coverage.record(snapshot.connection, ran, snapshot.source)


def _inside(root: Path, path: str) -> str:
    given = Path(path)
    if given.is_absolute() and given.is_relative_to(root):
        given = given.relative_to(root)
    return given.as_posix()
