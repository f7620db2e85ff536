"""Settings and commands by which fewer tests run."""

import pytest
from audit_case import rules

from self_coding.audit.commands import is_narrowing, options


@pytest.mark.parametrize(
    "text",
    [
        "-k slow",
        "-m 'not net'",
        "--ignore=a",
        "--deselect a::b",
        "-p no:warnings",
        "--setup-plan",
        "--co",
        "-o addopts=",
        "--lf",
        "-kslow",
    ],
)
def test_narrowing_options_are_known(text: str) -> None:
    """Options that take tests away are known in each spelling."""
    assert any(is_narrowing(option) for option in options(text))


@pytest.mark.parametrize(
    "text",
    [
        "-ra",
        "-x",
        "--maxfail=1",
        "-p no:logging",
        "-q",
        "-n 2",
        "--tb=short",
        "--cov=a",
        "--strict-markers",
        "-p xdist",
        "--durations=5",
        "--import-mode=importlib",
    ],
)
def test_other_options_are_free(text: str) -> None:
    """Options that only report, or run side by side, are no finding."""
    assert not any(is_narrowing(option) for option in options(text))


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("90", "80", ["coverage-lowered"]),
        ("90", "95", []),
        ("90.5", "", ["coverage-lowered"]),
        ("1.2.3", "1.2.3", []),
        ("", "0", []),
    ],
)
def test_the_bound_of_coverage_may_only_rise(old: str, new: str, broken: list[str]) -> None:
    """A bound that falls or goes is a finding, and one that is no number is no traceback."""
    sides = ({".coveragerc": f"[report]\nfail_under = {bound}\n"} for bound in (old, new))
    assert rules(*sides) == broken


JOB = "    permissions:\n      contents: read\n"
OPEN = f"on: push\npermissions:\n  contents: {{}}\njobs:\n  a:\n{JOB}"


@pytest.mark.parametrize(("top", "broken"), [("read", []), ("write", ["pipeline-power"])])
def test_a_permission_may_be_given_up(top: str, broken: list[str]) -> None:
    """A job's own bounds may go where the bounds of the whole pipeline grant no writing."""
    path, before = ".github/workflows/a.yml", OPEN.format(top)
    after = before.replace(JOB, "    steps: []\n")
    assert rules({path: before}, {path: after}) == broken
