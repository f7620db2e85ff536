"""What judges say: findings, verdicts, test results, gate reports, receipts."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gate saw when it tested exactly the tree `tree`.

    `passed` is the verdict; `reason` says why not, or why in spite of failures ("no new
    failures: 1 known"). `tests` is empty where the command is not pytest (`understood` False):
    then the exit status alone decides. `sandbox` is the isolation level that was active:
    "bwrap", "landlock", "limits" or "none". `seconds` is wall time. `output` is capped, with a
    marked cut. `cached` is True when an earlier verdict of the same tree was reused.
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
    hung: tuple[str, ...] = ()
    import_errors: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()

    @property
    def ran(self) -> int:
        """The number of tests with an outcome; a file that cannot be collected is not a test."""
        return sum("::" in one.id for one in self.tests)


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """How the gate tests a tree: the command, its limits and how much isolation is required.

    Attributes:
        command: a shell command, run at the top of the tree; its exit status counts.
        timeout: wall seconds for the whole command.
        cpu_seconds: CPU seconds for one process; 0 takes no limit.
        memory_bytes: address space of one process; 0 takes no limit.
        processes: processes at one time (does not bind root); 0 takes no limit.
        file_bytes: size of one file written, and of the private tmp; 0 takes no limit.
        output_bytes: bytes of output kept, head and tail; the cut between them is marked.
        require_sandbox: the least isolation accepted: "bwrap", "landlock", "limits" or "none".
        sandbox: the level to use where there is a better one; "best" takes what is there.
        network: True lets the command reach the network.
        loopback: True lets it use 127.0.0.1 (bwrap: a private one, which is always there).
        carry: repository-relative paths that git ignores and tests need; read-only.
        setup_command: prepares a tree once per change of its dependency files.
        setup_network: True lets the setup command reach the network.
        baseline: compare with the base commit's result, so that only *new* failures count.
        retries: how often a new failure is run again before it counts; 0 never.
        environment: names of variables handed on beside the standard few.
    """

    command: str = "python -m pytest --tb=short -q"
    timeout: float = 600.0
    cpu_seconds: int = 0
    memory_bytes: int = 4 << 30
    processes: int = 512
    file_bytes: int = 1 << 30
    output_bytes: int = 1 << 20
    require_sandbox: str = "none"
    sandbox: str = "best"
    network: bool = False
    loopback: bool = False
    carry: tuple[str, ...] = ()
    setup_command: str = ""
    setup_network: bool = False
    baseline: bool = True
    retries: int = 2
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The evidence of one landing: which tree was tested, how, and that it is what landed.

    `number` counts from 1; `previous` is the hash of the receipt before it ("" for the first)
    and `hash` covers every other field, so that nothing can be changed or left out unseen.
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
