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


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """The outcome of one test: "passed", "failed", "error", "skipped", "xfailed" or "xpassed"."""

    __test__ = False  # pytest: a value, not a test class

    id: str
    outcome: str
    seconds: float = 0.0
    message: str = ""


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
