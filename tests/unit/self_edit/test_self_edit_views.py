"""An attempt's history told in words."""

from __future__ import annotations

import pytest

from self_coding.self_edit import views
from self_coding.self_edit.history import GateResult
from self_coding.values.repository import Candidate
from self_coding.values.verdicts import GateReport, TestFailure, TestResult


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


@pytest.mark.parametrize(
    ("path", "line", "output", "module"),
    [
        ("pyproject.toml", 'dependencies = ["tabulate>=0.9"]', "No module named 'tabulate'",
         "tabulate"),
        ("pyproject.toml", '"pyyaml",', "ModuleNotFoundError: No module named 'yaml'", "yaml"),
        ("requirements-dev.txt", "typing_extensions", "No module named 'typing_extensions.x'",
         "typing_extensions.x"),
        ("setup.cfg", "    tabulate", "No module named 'tabulate'", "tabulate"),
        ("requirements/test.txt", "python-dateutil==2", "No module named 'dateutil.tz'",
         "dateutil.tz"),
        ("a/package.json", '"left-pad": "1"', "Error: Cannot find module 'left-pad'", "left-pad"),
        ("package.json", '"@scope/pad": "1"', "Cannot find package '@scope/pad' imported from /x",
         "@scope/pad"),
        ("go.mod", "require github.com/a/b v0.1.5",
         "a.go:3:8: no required module provides package github.com/a/b/c; to add it:",
         "github.com/a/b/c"),
        ("go.mod", "\tgithub.com/a/b v0.1.5",
         "missing go.sum entry for module providing package github.com/a/b (imported by demo)",
         "github.com/a/b"),
        ("go.mod", "\tgithub.com/a/b v0.1.5",
         'a.go:3:8: github.com/a/b@v0.1.5: Get "https://proxy.example/a/b.zip": dial tcp: lookup',
         "github.com/a/b"),
        ("Cargo.toml", 'unicode-width = "0.1"',
         "error: failed to get `unicode-width` as a dependency of package `demo v0.1.0 (/x)`",
         "unicode-width"),
        ("Cargo.toml", 'unicode-width = "0.1"',
         "error: no matching package named `unicode-width` found", "unicode-width"),
        ("a/Cargo.toml", 'unicode-width = "0.1"',
         "error[E0432]: unresolved import `unicode_width`", "unicode_width"),
    ],
)  # fmt: skip
def test_a_new_dependency_is_named(path: str, line: str, output: str, module: str) -> None:
    """Tests that lack what the change itself adds are told from broken ones, with the way out."""
    diff = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n+{line}\n"
    told = views.new_dependency(diff, f"E   {output}\n")
    added = (
        f"tests cannot import {module}, which this change adds to {path}: set gate.setup_command"
    )
    assert told.startswith(added)


@pytest.mark.parametrize(
    ("path", "line", "output"),
    [
        ("pyproject.toml", '"tabulate"', "assert 1 == 2"),
        ("pyproject.toml", '"tabulate-more"', "No module named 'tabulate'"),
        ("src/a.py", "import tabulate", "No module named 'tabulate'"),
        ("package.json", '"x": 1', "Cannot find module './tabulate'"),
        ("package.json", '"pad": 1', "Cannot find module '../src/pad'"),
        (
            "go.mod",
            "require github.com/a/b v1.0.0",
            "no required module provides package github.com/a/c; to add it:",
        ),
        ("Cargo.toml", 'serde = "1"', "error[E0432]: unresolved import `crate::serde`"),
    ],
)
def test_other_failures_are_no_new_dependency(path: str, line: str, output: str) -> None:
    """A module that is missing for another reason gets no such hint."""
    assert views.new_dependency(f"--- a/{path}\n+++ b/{path}\n+{line}\n", output) == ""


def test_what_was_not_built_is_named_with_why():
    """A folder or a file is no test: the compiler's first line says what is wrong with it."""
    failures = tuple(
        TestResult(id=name, outcome="error", failure=TestFailure(path="m.go", line=3, message=said))
        for name, said in ((".", "m.go:3: v is not used\nmore"), ("m_test.go::TestA", "no"))
    )
    gate = GateResult(passed=False, failing=(".", "m_test.go::TestA"), failures=failures)
    assert views.why_red(gate) == "tests failed: . (m.go:3: v is not used), m_test.go::TestA"
