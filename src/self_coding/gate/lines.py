"""Pure: what the plugin told of lines becomes a recording, or the reason why there is none.

Whatever is broken, or comes from a run that did not go its whole way, gives a silence. It has no
part in any verdict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from self_coding.gate.census import BAD, Census
from self_coding.values.recording import Doer, Recording

_ENDED = frozenset((0, 1, 5))


def recording(census: Census, told: Sequence[object], *, timed_out: bool) -> Recording:
    """The recording of a run with this census."""
    if not census.sessions:
        return Recording(silence="no pytest reported")
    if timed_out or not census.ended or census.tampered or not _ENDED.issuperset(census.statuses):
        return Recording(silence="the run did not come to its own end")
    if set(census.collected) - census.outcomes.keys():
        return Recording(silence="tests left no result")
    try:
        return _read(told, census.sessions)
    except (TypeError, ValueError, LookupError, AttributeError):
        return Recording(silence="what was told makes no sense")


def undisturbed(
    found: Recording,
    asked: Iterable[str],
    then: Mapping[str, str],
    counted: Mapping[str, str],
) -> tuple[Recording, tuple[str, ...]]:
    """The recording of the test files whose tests ended as they did when it counted.

    Args:
        found: what was recorded.
        asked: the test files, or ids of tests, of which it was to be.
        then: test id -> outcome, while it was recorded.
        counted: the same in the run that counts.

    Returns:
        It without the others; and those of the others that failed only while they were recorded.
    """
    other = {node for node, outcome in then.items() if counted.get(node) != outcome}
    failed = {_file(node) for node in other if then[node] in BAD and counted.get(node) not in BAD}
    files = {_file(node) for node in other}
    kept = {
        doer: lines
        for doer, lines in found.lines.items()
        if doer.once or not any(f"/{doer.file}".endswith(f"/{file}") for file in files)
    }
    told = {doer.file for doer in kept if not doer.once}
    missing = frozenset(one for one in asked if one not in told and "::" not in one)
    missing = frozenset() if found.silence else missing
    return replace(found, lines=kept, left_out=missing), tuple(sorted(failed))


def _file(node: str) -> str:
    return node.split("::", 1)[0]


def _read(told: Sequence[object], sessions: int) -> Recording:
    lines: dict[Doer, dict[str, frozenset[int]]] = defaultdict(dict)
    imports: dict[Doer, set[str]] = defaultdict(set)
    files: list[str] = []
    unseen: set[str] = set()
    starting: set[Doer] = set()
    ends = 0
    for piece in told:
        if not isinstance(piece, dict):
            raise TypeError(piece)
        if "files" in piece:  # those that the pieces behind it give by number
            files = [_path(one) for one in piece["files"]]
            continue
        if "by" in piece:
            doer = _doer(piece["by"])
            mine = lines[doer]
            imports[doer].update(files[_number(at)] for at in piece["asked"])
            for path, bits in piece["ran"].items():
                ran = frozenset(_numbers(bytes.fromhex(bits)))
                mine[_path(path)] = mine.get(path, frozenset()) | ran
            continue
        ends += 1
        if piece["why"]:
            return Recording(silence=str(piece["why"]))
        for doer in map(_doer, piece["doers"]):
            lines[doer].update()
        unseen.update(map(_path, piece["unseen"]))
        starting.update(map(_doer, piece["starting"]))
    if ends < sessions:
        return Recording(silence="a session told nothing")
    return Recording(
        lines={doer: dict(ran) for doer, ran in lines.items()},
        imports={doer: frozenset(asked) for doer, asked in imports.items()},
        unseen=frozenset(unseen),
        starting=frozenset(starting),
    )


def _doer(told: list[object]) -> Doer:
    file, once = told
    return Doer(_path(file) if file else "", bool(once))


def _path(told: object) -> str:
    """A path of the tree, as the tested code would have it."""
    if (
        not isinstance(told, str)
        or "\0" in told
        or ".." in told.split("/")
        or told[:1] in ("", "/")
    ):
        raise ValueError(told)
    return told


def _number(told: object) -> int:
    if not isinstance(told, int) or told < 0:
        raise ValueError(told)
    return told


def _numbers(bits: bytes) -> Iterator[int]:
    return (8 * at + bit for at, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1)
