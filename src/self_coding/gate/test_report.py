"""Pure. What one run of the test command left behind: each test's outcome, and the run around it.

The plugin's report is checked line by line. One that is forged, torn or missing its end gives a
report that says so; whether that means a refusal is the judge's business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from self_coding.values.verdicts import TestFailure, TestResult, TraceEntry

KEY_BYTES = 32
BAD = frozenset({"failed", "error"})
Probe = tuple[str, int, int, str]
_WORST = ("error", "failed", "xpassed", "passed", "xfailed", "skipped")


@dataclass(frozen=True, kw_only=True)
class TestReport:
    """What a test runner reported: its sessions, whether all of them ended, and their tests.

    Attributes:
        sessions: how many began; 0 where nothing is known but the exit status.
        ended: whether all of them came to their own end.
        statuses: their exit statuses.
        collected: the ids of all tests, in order.
        results: the outcomes, by test.
        unfinished: the tests that began and have no outcome.
        tampered: what is wrong with the report itself.
        probes: the file that each import name came from: name, device, inode, path.
        replaced: the functions of the tree in whose place there is something else.
        rewritten: the tests that passed although they raised, or were never called.
        altered: functions that tests lean on and that something replaced: `name by file`.
        looked: what files of the tree have looked at to see how they are run: `what by file`.
        canaries: the tests of ours that must fail and did not.
        examples: the lines of doctests, each with `runs` or `skips` before it.
        is_foreign: whether all of it is from runners that choose their tests themselves.
    """

    __test__ = False  # pytest: a value, not a test class

    sessions: int = 0
    ended: bool = False
    statuses: tuple[int, ...] = ()
    collected: tuple[str, ...] = ()
    results: tuple[TestResult, ...] = ()
    unfinished: tuple[str, ...] = ()
    tampered: str = ""
    probes: tuple[Probe, ...] = ()
    replaced: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()
    canaries: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    is_foreign: bool = False

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome by test id."""
        return {result.id: result.outcome for result in self.results}

    @property
    def failures(self) -> tuple[str, ...]:
        """The ids that failed or could not run, in order."""
        return tuple(result.id for result in self.results if result.outcome in BAD)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run: how it ended, what it wrote, what the test runner reported.

    `complete` is False for a run of chosen tests or of the collection alone. `retried` holds the
    outcome of tests that were run again: a candidate's failures, and on the base those of them
    that it passed. `planted` lists what the run changed in the repository's own git files,
    `rewrote` the files of the tree that it wrote to,
    `foreign` the imports that were not the tested tree's, `unstable` the functions whose
    parameters make other ids at each collection; None where nobody looked. `exceeded` is the bound
    over all processes for which the run was ended, `disk_full` whether the machine has no room.
    """

    exit_status: int
    timed_out: bool = False
    output: str = ""
    complete: bool = True
    report: TestReport = field(default_factory=TestReport)
    retried: tuple[tuple[str, str], ...] = ()
    planted: tuple[str, ...] = ()
    rewrote: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unstable: tuple[str, ...] | None = None
    exceeded: str = ""
    disk_full: bool = False

    @property
    def understood(self) -> bool:
        """Whether a test runner reported to us."""
        return self.report.sessions > 0


def read(report: bytes, keys: Iterable[bytes], *, cut: bool = False) -> TestReport:
    """Return what a signed report of our plugin says.

    Args:
        report: the bytes that came back.
        keys: those that were handed out.
        cut: whether bytes are missing, because the report was longer than was read.
    """
    reading = _Reading({key[:4].hex().encode(): key for key in keys})
    wrong = "it was too long" if cut else ""
    for line in report.split(b"\n"):
        if line and not wrong:
            wrong = reading.take(line)
    # The process was ended while it wrote: what follows is missing.
    if report and not report.endswith(b"\n"):
        wrong = wrong or "its last line is torn"
    return reading.report(wrong)


def combine(one: TestReport, other: TestReport) -> TestReport:
    """Return what two reports about different tests of one run say together."""
    if not (one.sessions and other.sessions):
        return one if one.sessions or one.tampered else other
    return replace(
        one,
        sessions=one.sessions + other.sessions,
        ended=one.ended and other.ended,
        statuses=one.statuses + other.statuses,
        collected=tuple(dict.fromkeys(one.collected + other.collected)),
        results=tuple({each.id: each for each in one.results + other.results}.values()),
        unfinished=one.unfinished + other.unfinished,
        tampered=one.tampered or other.tampered,
        is_foreign=one.is_foreign and other.is_foreign,
    )


class TestCount:
    """How many tests have ended, of how many, while a report comes in; for display alone.

    `failed` are those of this run that failed so far.
    """

    def __init__(self) -> None:
        self.done = self.total = 0
        self.failed: set[str] = set()
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Read along with a report; what is not one counts as nothing."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            try:
                _, kind, value = json.loads(line.split(b" ", 2)[2])
            except (ValueError, IndexError, TypeError):
                continue
            match kind, value:
                case "hello", _:  # another run
                    self.done = self.total = 0
                    self.failed.clear()
                case "collected", list(ids):
                    self.total += len(ids)
                case "result", [str(node), when, outcome, *_]:
                    self.done += when == "call"
                    if outcome == "failed":
                        self.failed.add(node)


class _Reading:
    """What has been read of a report so far."""

    def __init__(self, keys: dict[bytes, bytes]) -> None:
        self.keys = keys
        self.lines: dict[bytes, int] = {}  # session -> lines so far; a session is named by its key
        self.statuses: dict[bytes, int] = {}  # those of the sessions that have ended
        self.collected: dict[str, None] = {}
        self.started: dict[str, None] = {}
        self.results: dict[str, TestResult] = {}
        self.probes: set[Probe] = set()
        self.states: dict[str, set[str]] = {
            name: set()
            for name in ("replaced", "rewritten", "altered", "looked", "canaries", "examples")
        }

    def take(self, line: bytes) -> str:
        """Add one line; return what is wrong with it, or nothing."""
        head, _, rest = line.partition(b" ")
        mac, _, body = rest.partition(b" ")
        key = self.keys.get(head)
        expected = hashlib.blake2b(body, digest_size=8, key=key or b"").hexdigest()
        # No constant time is needed: who could measure it is in the judged process, and has no
        # second try.
        if key is None or expected.encode() != mac:
            return "a line of it is not the plugin's"
        try:
            number, kind, value = json.loads(body)
            # the number is inside the checksum: a line that is lost, repeated or late shows here
            if number != self.lines.setdefault(head, 0) or head in self.statuses:
                return "its lines are out of order"
            self.lines[head] += 1
            if kind == "end":
                self.statuses[head] = int(value["status"])
            else:
                self._apply(kind, value)
        except (ValueError, TypeError, KeyError, AttributeError):
            return "a line of it makes no sense"
        return ""

    def _apply(self, kind: str, value: object) -> None:
        match kind, value:
            case "hello", _:
                pass
            case "collected", list(ids):
                self.collected.update(dict.fromkeys(map(str, ids)))
            # A test that has begun and has no result took the process with it.
            case "start", str(node):
                self.started[node] = None
            case "result", [str(node), str(when), str(outcome), float(seconds), str(text), parts]:
                if outcome == "failed" and when != "call":
                    outcome = "error"  # pytest's own name for a failure outside the test itself
                failure = None
                match parts:
                    case [str(path), int(line), str(said), list(entries)]:
                        calls = tuple(TraceEntry(str(p), int(n), str(f)) for p, n, f in entries)
                        failure = TestFailure(path=path, line=line, message=said, entries=calls)
                new = TestResult(
                    id=node, outcome=outcome, seconds=seconds, message=text, failure=failure
                )
                old = self.results.get(node)
                if old is not None:  # the worst counts, with the time of all phases
                    worse = min(old, new, key=lambda one: _WORST.index(one.outcome))
                    new = replace(worse, seconds=old.seconds + seconds)
                self.results[node] = new
            case "state", dict(state):
                for name, names in self.states.items():
                    names.update(map(str, state.get(name, ())))
                for name, (device, inode, path) in state["probe"].items():
                    self.probes.add((name, int(device), int(inode), str(path)))
            case _:
                raise ValueError(kind)

    def report(self, wrong: str) -> TestReport:
        """Return it all as a value; `wrong` is what is wrong with the report itself."""
        states = {name: tuple(sorted(names)) for name, names in self.states.items()}
        return TestReport(
            sessions=len(self.lines),
            ended=bool(self.lines) and self.lines.keys() == self.statuses.keys(),
            statuses=tuple(self.statuses.values()),
            collected=tuple(self.collected),
            results=tuple(self.results.values()),
            unfinished=tuple(node for node in self.started if node not in self.results),
            tampered=wrong,
            probes=tuple(sorted(self.probes)),
            replaced=states["replaced"],
            rewritten=states["rewritten"],
            altered=states["altered"],
            looked=states["looked"],
            canaries=states["canaries"],
            examples=states["examples"],
        )
