"""Take in recorded coverage: a mapping, a data file of coverage.py, or what the gate recorded.

Blocking; writes the rows that `blast` reads. It runs no test and believes the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path

from self_coding.codebase_indexer import coverage
from self_coding.codebase_indexer.blast import Snapshot, modules
from self_coding.codebase_indexer.recorded import known_tests
from self_coding.errors import IndexerError
from self_coding.values.recording import FOR_ALL, Doer, Recording

Told = Mapping[str, Iterable[str]] | str | Path


def record(snapshot: Snapshot, data: Told) -> int:
    """Store what tests ran; how many facts.

    Raises:
        IndexerError: a data file that is none, or that names no test.
    """
    known = modules(snapshot)
    tests = snapshot.tests()

    def test_of(context: str) -> str:
        found = coverage.test_file(context, known, snapshot.ids)
        return found if found in tests else ""

    if isinstance(data, Mapping):
        ran: dict[Doer, dict[str, Set[bytes]]] = {}
        for context, paths in data.items():
            test = test_of(context)
            if test:
                anything = {_inside(snapshot.root, path): {coverage.ANY} for path in paths}
                ran.setdefault(Doer(test, False), {test: {coverage.ANY}}).update(anything)
    else:
        ran = _of_data_file(snapshot, coverage.read_data_file(Path(data), snapshot.root), test_of)
    if not any(doer.file for doer in ran) and data:
        raise IndexerError(
            "the coverage names no test of this repository",
            hint="record it with contexts: `coverage run --context=TEST`, `--cov-context=test`",
        )
    return coverage.record(snapshot.connection, ran, snapshot.source)


def _of_data_file(
    snapshot: Snapshot,
    told: Mapping[str, Mapping[str, Iterable[int]]],
    test_of: Callable[[str], str],
) -> dict[Doer, dict[str, Set[bytes]]]:
    contexts = {  # what ran alone and is no test, or none any more, tells nothing of any test
        context: paths
        for context, paths in told.items()
        if test_of(context) or not context.endswith(".py")
    }
    called = coverage.called(contexts, test_of, snapshot.source)
    ran: dict[Doer, dict[str, Set[bytes]]] = {}
    for test in map(test_of, contexts):
        doer = Doer(test, False) if test else FOR_ALL
        ran[doer] = dict(called.get(doer, {}))
        if test:
            ran[doer][test] = {*ran[doer].get(test, ()), coverage.ANY}
    return ran


def remember(snapshot: Snapshot, recording: Recording, sources: Mapping[str, bytes | None]) -> int:
    """Store what the gate recorded of a tree whose files were `sources`; how many facts.

    A run of some tests tells of an import or a shared fixture only what those tests had of it, so
    what others had stays, as long as any of them has a record.
    """

    def source(path: str) -> bytes | None:
        """As it was tested; with the line ends of the working tree, where nothing else differs."""
        tested, now = sources.get(path), snapshot.source(path)
        same = tested is not None and now is not None and _plain(tested) == _plain(now)
        return now if same else tested

    tests = snapshot.tests()
    ran: dict[Doer, dict[str, Set[bytes]]] = {}
    for doer, paths in coverage.done(recording, source).items():
        if doer.once or doer.file in tests:
            known = doer if doer.file in snapshot.ids else FOR_ALL
            mine = ran.setdefault(known, {})
            mine.update({path: {*mine.get(path, ()), *bodies} for path, bodies in paths.items()})
    told = {doer.file for doer in recording.lines if not doer.once}
    others = known_tests(snapshot.connection) - told
    users = snapshot.graph.dependents
    kept = {
        doer
        for doer in ran
        if doer.once
        and others
        and (not doer.file or others & {doer.file, *(each.path for each in users([doer.file]))})
    }
    return coverage.record(snapshot.connection, ran, source, kept=kept)


def _plain(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n")


def _inside(root: Path, path: str) -> str:
    given = Path(path)
    if given.is_absolute() and given.is_relative_to(root):
        given = given.relative_to(root)
    return given.as_posix()
