"""Pure. What judges say: findings, verdicts, test results, gate reports, receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

from self_coding.errors import ConfigError

_SAID = 160  # characters of what a compiler says


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One broken rule: its name, where, and what was seen there.

    `rule` is a stable kebab-case name (`test-removed`, `protected-path`); `line` is 1-based in
    the new file, or in the old file where the line is gone; 0 means the whole file.
    """

    rule: str
    path: str = ""
    line: int = 0
    message: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{self.rule}: {place + ': ' if place else ''}{self.message}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer of the rules about a change, before anything ran."""

    findings: tuple[Finding, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether no rule is broken."""
        return not self.findings

    @property
    def reasons(self) -> tuple[str, ...]:
        """The findings as text, one line each."""
        return tuple(str(finding) for finding in self.findings)


@dataclass(frozen=True)
class TraceEntry:
    """One call on the way to a failure; `path` is relative to the tree, absolute outside of it."""

    path: str
    line: int
    function: str


@dataclass(frozen=True, kw_only=True)
class TestFailure:
    """Where a test failed and why, as the test runner had it: never parsed from text.

    `path` and `line` are where the exception was raised as the runner shows it, relative to the
    tree or absolute outside of it; `message` is the exception with its type; `entries` are the
    calls on the way there, outermost first, without those of the test runner itself.
    """

    __test__ = False  # pytest: a value, not a test class

    path: str
    line: int
    message: str
    entries: tuple[TraceEntry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """The outcome of one test: "passed", "failed", "error", "skipped", "xfailed" or "xpassed".

    `message` is the end of the runner's own text about it; `failure` is there where the runner
    reported it in parts.
    """

    __test__ = False

    id: str
    outcome: str
    seconds: float = 0.0
    message: str = ""
    failure: TestFailure | None = None


BASE_JUDGE = "base-judge"
"""The rule of a finding that the base's own tests make: a person may approve it."""


def with_causes(ids: Iterable[str], results: Iterable[TestResult]) -> list[str]:
    """Return ids of failures; what is no test, but could not be built or collected, with why."""
    said = {
        one.id: one.failure.message.partition("\n")[0][:_SAID]
        for one in results
        if one.outcome == "error" and one.failure and "::" not in one.id
    }
    return [f"{node} ({said[node]})" if said.get(node) else node for node in ids]


@dataclass(frozen=True, kw_only=True)
class BaseFailure:
    """A test of the base that says no to the candidate's code, and that the base itself passes.

    `id` is empty where the run as a whole failed. `exception` is the type's name, `message` the
    exception with its type, `output` the last lines that a person needs; `path` and `line` are
    where it was raised, in the base's own test or in the candidate's code.
    """

    id: str = ""
    exception: str = ""
    message: str = ""
    output: str = ""
    path: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gate saw when it tested exactly the tree `tree`.

    `passed` is the verdict; `reason` says why not, or why in spite of failures ("no new failures:
    1 known: tests/test_a.py::test_a, fails on main too"). `tests` is empty where the command is
    not pytest (`understood` False): then the exit status alone decides. `sandbox` is the isolation
    level that was active: "bwrap", "landlock", "limits" or "none". `seconds` is wall time.
    `output` is capped, with a marked cut. `cached` is True when an earlier verdict of the same
    tree was reused. `environment` is True where the machine or main itself is why it did not
    pass, and not the change. `affected` are the test files that were run where not all were.
    """

    passed: bool
    commit: str
    tree: str
    command: str
    exit_status: int | None = None
    reason: str = ""
    output: str = ""
    tests: tuple[TestResult, ...] = ()
    understood: bool = False
    findings: tuple[Finding, ...] = ()
    new_failures: tuple[str, ...] = ()
    known_failures: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    sandbox: str = "none"
    timed_out: bool = False
    seconds: float = 0.0
    cached: bool = False
    limits: str = ""
    environment: bool = False
    judged_by_base: str = ""
    base_failures: tuple[BaseFailure, ...] = ()
    affected: tuple[str, ...] = ()

    @property
    def judged_in_words(self) -> str:
        """How the base judged, as receipts have it: "ran", "ran; 2 expectations changed"."""
        refused = sum(one.rule == BASE_JUDGE for one in self.findings)
        changed = len(self.base_failures) - refused
        words = [self.judged_by_base]
        words += [f"{changed} expectations changed"] if changed > 0 else []
        words += [f"{refused} refused"] if refused else []
        return "; ".join(words)

    @property
    def ran(self) -> int:
        """The number of tests with an outcome; a file that cannot be collected is not a test."""
        return sum("::" in one.id for one in self.tests)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How some tests ended, which nobody judged; the command's own text where it names no test.

    `reason` says why the run was ended, where it was.
    """

    failing: tuple[str, ...] = ()
    ran: int = 0
    output: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How many mutants of a change's lines its tests notice: small changes of its code.

    `made` could be tried, `tried` were in the time there was; `survived` says where nothing failed
    although the code was another. `reason` says why none was tried.
    """

    made: int = 0
    tried: int = 0
    survived: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        """In words, as receipts have it: "4 of 5 mutants noticed"."""
        more = f" (of {self.made} that there are)" if self.made > self.tried else ""
        noticed = self.tried - len(self.survived)
        return self.reason or f"{noticed} of {self.tried} mutants noticed{more}"


_WEEK = 7 * 24 * 3600
_HUGE = 1 << 50  # more than any machine has, and a number that every limit of the kernel takes
N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Limit:
    """One number that bounds a run of the gate: everything that is known of it.

    Attributes:
        least: the least that Python and pytest need to start; below it every change would be
            refused, or the number be rounded to no limit at all.
        most: the largest number accepted.
        doc: what it bounds, in one sentence.
        optional: 0 means that there is no limit.
        rlimits: the resource limits that it sets in the sandbox, each with a factor.
        unit: how a report calls it; empty where no report names it.
        scale: what `unit` counts in.
    """

    least: int
    most: int
    doc: str
    optional: bool = False
    rlimits: tuple[tuple[str, int], ...] = ()
    unit: str = ""
    scale: int = 1

    @property
    def range(self) -> str:
        """The values it may have, in words."""
        return f"{'0 (no limit), or ' if self.optional else ''}{self.least} to {self.most}"


def _bounded(default: N, limit: Limit) -> N:
    """Return a field of `GateSettings` with its row of the table of limits."""
    return field(default=default, metadata={"limit": limit})


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """How the gate tests a tree: the command, its limits and how much isolation is required.

    A limit is one row below: validation, sandbox, reports and docs are made from it.

    Attributes:
        command: a shell command, run at the top of the tree; its exit status counts.
        require_sandbox: the least isolation accepted: "bwrap", "landlock", "limits" or "none".
        sandbox: the level to use where there is a better one; "best" takes what is there.
        network: True lets the command reach the network.
        loopback: True lets it use 127.0.0.1 (bwrap: a private one, which is always there).
        python: the interpreter of the tests; empty looks for one (see the page on the sandbox).
        readable: folders outside the repository that the tests may read, `~` expanded.
        carry: repository-relative paths that git ignores and tests need; read-only.
        setup_command: prepares a tree once per change of its dependency files.
        setup_network: True lets the setup command reach the network.
        baseline: compare with the base commit's result, so that only *new* failures count.
        environment: names of variables handed on beside the standard few.
        base_judge: run the base's tests on the candidate's code, too, where any of them changes.
        judging: globs of further paths that judge (fixtures elsewhere, a runner); with `!` before
            it, of paths that are code although they look like tests. The last match counts.
        tests: what an attempt is tested with: "all", or "affected", the tests that its change can
            reach, where these are known; then all run once for the attempts that land together.
    """

    command: str = "python -m pytest --tb=short -q"
    timeout: float = _bounded(600.0, Limit(1, _WEEK, "wall seconds for the command", unit="s"))
    cpu_seconds: int = _bounded(
        0,
        Limit(
            1,
            _WEEK,
            "CPU seconds of one process",
            optional=True,
            rlimits=(("RLIMIT_CPU", 1),),
            unit="CPU s",
        ),
    )
    memory_bytes: int = _bounded(
        8 << 30,
        Limit(
            64 << 20,
            _HUGE,
            "bytes of data that one process, and all of a run together, may hold",
            optional=True,
            rlimits=(("RLIMIT_DATA", 1),),
            unit="MiB memory",
            scale=1 << 20,
        ),
    )
    processes: int = _bounded(
        512,
        Limit(
            1,
            1 << 22,
            "processes and threads of a run at one time",
            optional=True,
            rlimits=(("RLIMIT_NPROC", 1),),
            unit="processes",
        ),
    )
    file_bytes: int = _bounded(
        4 << 30,
        Limit(
            1 << 20,
            _HUGE,
            "bytes of one file, of all files that a run adds, and of its temporary folder",
            optional=True,
            rlimits=(("RLIMIT_FSIZE", 1),),
            unit="MiB a file",
            scale=1 << 20,
        ),
    )
    output_bytes: int = _bounded(
        1 << 20, Limit(1 << 10, 1 << 30, "bytes of output kept, head and tail; the cut is marked")
    )
    mutant_seconds: float = field(
        default=60.0,
        repr=False,  # no part of what a kept verdict depends on
        metadata={
            "limit": Limit(
                1, _WEEK, "wall seconds for measuring how strong tests are", optional=True
            )
        },
    )
    retries: int = _bounded(
        2, Limit(0, 100, "how often a new failure is run again before it counts; 0 never")
    )
    require_sandbox: str = "none"
    sandbox: str = "best"
    network: bool = False
    loopback: bool = False
    python: str = ""
    readable: tuple[str, ...] = ()
    carry: tuple[str, ...] = ()
    setup_command: str = ""
    setup_network: bool = False
    baseline: bool = True
    environment: tuple[str, ...] = ()
    base_judge: bool = True
    judging: tuple[str, ...] = ()
    tests: str = field(default="all", repr=False)  # a kept verdict is of all tests in any case

    def check(self) -> None:
        """Refuse a number that no run could keep, or that would mean no limit.

        Raises:
            ConfigError: it names the setting and its range.
        """
        if self.tests not in ("all", "affected"):
            raise ConfigError(
                f"self-coding setting gate.tests: {self.tests!r} is no choice of tests",
                hint='it must be "all" or "affected"',
            )
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            # NaN is in no range, so the comparison must be the positive one
            if not (limit.least <= value <= limit.most or (value == 0 and limit.optional)):
                raise ConfigError(
                    f"self-coding setting gate.{name}: {value} is out of range",
                    hint=f"it must be {limit.range}",
                )

    @property
    def rlimits(self) -> dict[str, int]:
        """The resource limits of the sandbox, by name."""
        return {
            name: int(getattr(self, setting)) * factor
            for setting, limit in LIMITS.items()
            for name, factor in limit.rlimits
            if getattr(self, setting)
        }

    @property
    def limits_in_words(self) -> str:
        """The limits as reports and receipts name them."""
        words = [
            f"{getattr(self, name) / limit.scale:.15g} {limit.unit}"
            for name, limit in LIMITS.items()
            if limit.unit and getattr(self, name)
        ]
        return ", ".join([*words, "network" if self.network else "no network"])


LIMITS: Mapping[str, Limit] = {
    one.name: one.metadata["limit"] for one in fields(GateSettings) if "limit" in one.metadata
}


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The evidence of one landing: which tree was tested, how, and that it is what landed.

    `number` counts from 1; `previous` is the hash of the receipt before it ("" for the first)
    and `hash` covers every other field, so that nothing can be changed or left out unseen;
    `judged_by_base` is how main's own tests judged the code, and missing in older ones; `mutants`
    is how strong its tests were found to be, later: it is kept beside the chain. `top` is the
    last commit of the group that it landed with, whose tests spoke for all of them; empty where
    `commit` itself was tested.
    """

    number: int
    previous: str
    hash: str
    at: str
    commit: str
    tree: str
    onto: str
    landed: str
    command: str
    exit_status: int | None
    passed: bool
    reason: str
    sandbox: str
    limits: str
    understood: bool
    outcomes: tuple[tuple[str, int], ...]
    tests_hash: str
    output_hash: str
    failures: tuple[str, ...] = ()
    attempt: str = ""
    judged_by_base: str = ""
    mutants: str = ""
    top: str = ""
