"""An attempt's history told in words."""

from __future__ import annotations

import pytest

from self_coding.self_edit import views
from self_coding.values.repository import Candidate
from self_coding.values.verdicts import GateReport, TestResult


@pytest.mark.parametrize(
    ("passed", "reason", "state"),
    [
        (True, "", "green"),
        (
            True,
            "no new failures: 1 known: a::t, fails on main too; 1 flaky: b::t",
            "no new failures (1 known: a::t, fails on main too; 1 flaky: b::t)",
        ),
        (False, "tests failed: 1 new failure: t", "red"),
    ],
)
def test_green_is_said_only_where_no_test_fails(passed: bool, reason: str, state: str) -> None:
    """What the gate let pass in spite of failures is told as that, with their number."""
    report = GateReport(
        passed=passed,
        commit="c",
        tree="t",
        command="x",
        reason=reason,
        tests=(TestResult(id="t.py::t", outcome="passed"),),
        seconds=2.0,
        sandbox="bwrap",
    )
    candidate = Candidate(commit="c", tree="t", onto="o", head="h")
    line = views.gate_line(views.gate_result(report, candidate))
    assert line == f"1 tests, {state} in 2.0 s (sandbox: bwrap)"
