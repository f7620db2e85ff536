"""Pure: the plugin's report, checked line by line, becomes a census of what ran.

A report that is forged, torn or missing its end gives a census that says so; whether that means
a refusal is the judge's business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from self_coding.values.verdicts import TestFailure, TestResult, TraceEntry

KEY_BYTES = 32
_WORST = ("error", "failed", "xpassed", "passed", "xfailed", "skipped")
BAD = frozenset({"failed", "error"})
Probe = tuple[str, int, int, str]


@dataclass(frozen=True, kw_only=True)
class Census:
    """What pytest reported: `sessions` that began, whether all of them `ended`, and their tests.

    `collected` are the ids in order; `unfinished` began and have no result; `tampered` names
    what is wrong with the report itself. `probes` maps an import name to the (device, inode,
    path) it came from. `statuses` are the sessions' exit statuses.
    """

    sessions: int = 0
    ended: bool = False
    statuses: tuple[int, ...] = ()
    collected: tuple[str, ...] = ()
    results: tuple[TestResult, ...] = ()
    unfinished: tuple[str, ...] = ()
    tampered: str = ""
    probes: tuple[Probe, ...] = ()
    hooks: tuple[str, ...] = ()
    patched: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome by test id."""
        return {result.id: result.outcome for result in self.results}

    @property
    def failures(self) -> tuple[str, ...]:
        """The ids that failed or could not run, in order."""
        return tuple(result.id for result in self.results if result.outcome in BAD)


@dataclass
class _Session:
    number: int = 0
    ended: bool = False


@dataclass
class _Reading:
    """What has been read so far."""

    sessions: dict[bytes, _Session] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    collected: dict[str, None] = field(default_factory=dict)
    started: dict[str, None] = field(default_factory=dict)
    results: dict[str, TestResult] = field(default_factory=dict)
    states: dict[str, set[object]] = field(
        default_factory=lambda: {
            "probe": set(),
            "hooks": set(),
            "patched": set(),
            "replaced": set(),
            "rewritten": set(),
        }
    )


def read(report: bytes, keys: Iterable[bytes], *, cut: bool = False) -> Census:
    """The census of a report.

    Args:
        report: the bytes that came back.
        keys: those that were handed out.
        cut: whether bytes are missing, because the report was longer than was read.
    """
    known = {key[:4].hex().encode(): key for key in keys}
    reading = _Reading()
    wrong = "it was too long" if cut else ""
    for line in report.split(b"\n"):
        if line and not wrong:
            wrong = _take(reading, line, known)
    if report and not report.endswith(b"\n"):
        wrong = wrong or "its last line is torn"
    return _census(reading, wrong)


def _take(reading: _Reading, line: bytes, keys: Mapping[bytes, bytes]) -> str:
    """Add one line; what is wrong with it, or nothing."""
    head, _, rest = line.partition(b" ")
    mac, _, body = rest.partition(b" ")
    key = keys.get(head)
    if key is None or hashlib.blake2b(body, digest_size=8, key=key).hexdigest().encode() != mac:
        return "a line of it is not the plugin's"
    session = reading.sessions.setdefault(head, _Session())
    try:
        number, kind, value = json.loads(body)
        if number != session.number or session.ended:
            return "its lines are out of order"
        session.number += 1
        _apply(reading, session, kind, value)
    except (ValueError, TypeError, KeyError, AttributeError):
        return "a line of it makes no sense"
    return ""


def _apply(reading: _Reading, session: _Session, kind: str, value: object) -> None:
    match kind, value:
        case "collected", list(ids):
            reading.collected.update(dict.fromkeys(map(str, ids)))
        case "start", str(node):
            reading.started[node] = None
        case "result", [str(node), str(when), str(outcome), float(seconds), str(text), failure]:
            named = "error" if outcome == "failed" and when != "call" else outcome
            result = TestResult(
                id=node,
                outcome=named,
                seconds=seconds,
                message=text,
                failure=_failure(failure),
            )
            _add(reading.results, result)
        case "state", dict(state):
            for name, found in reading.states.items():
                given = state[name]
                if name == "probe":
                    found.update((k, int(v[0]), int(v[1]), str(v[2])) for k, v in given.items())
                else:
                    found.update(map(str, given))
        case "end", dict(end):
            session.ended = True
            reading.statuses.append(int(end["status"]))
        case "hello", _:
            pass
        case _:
            raise ValueError(kind)


def _failure(value: object) -> TestFailure | None:
    match value:
        case [str(path), int(line), str(message), list(entries)]:
            calls = tuple(TraceEntry(str(p), int(n), str(f)) for p, n, f in entries)
            return TestFailure(path=path, line=line, message=message, entries=calls)
    return None


def _add(results: dict[str, TestResult], new: TestResult) -> None:
    """Keep the worst of what one test reported, with the time of all its phases."""
    old = results.get(new.id)
    if old is None:
        results[new.id] = new
        return
    worse = min(old, new, key=lambda one: _WORST.index(one.outcome))  # old where they are equal
    results[new.id] = replace(worse, seconds=old.seconds + new.seconds)


def _census(reading: _Reading, wrong: str) -> Census:
    states = {name: sorted(found, key=str) for name, found in reading.states.items()}
    done = reading.results
    return Census(
        sessions=len(reading.sessions),
        ended=bool(reading.sessions) and all(one.ended for one in reading.sessions.values()),
        statuses=tuple(reading.statuses),
        collected=tuple(reading.collected),
        results=tuple(done.values()),
        unfinished=tuple(node for node in reading.started if node not in done),
        tampered=wrong,
        probes=tuple(probe for probe in states["probe"] if isinstance(probe, tuple)),
        hooks=tuple(map(str, states["hooks"])),
        patched=tuple(map(str, states["patched"])),
        replaced=tuple(map(str, states["replaced"])),
        rewritten=tuple(map(str, states["rewritten"])),
    )
