"""Events as earlier versions stored them are read as before, and stored under the same keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from self_coding.self_edit import views
from self_coding.self_edit.history import Edited, GateResult, History, Plan, Refused, facts_of, read
from self_coding.values.attempts import Event, Json, Outcome
from self_coding.values.edits import EditReport, Feedback
from self_coding.values.repository import Candidate
from self_coding.values.verdicts import Finding

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FEEDBACK: dict[str, Json] = {
    "attempt": 6,
    "by": "gate",
    "reason": "tests failed: t.py::a",
    "failing": ["t.py::a"],
    "output": "E assert",
    "lesson": "mind the gap",
}
PLAN: dict[str, Json] = {
    "editor": "sh",
    "spec": {"kind": "command", "words": ["/bin/sh", "-c", "true"], "shell": True, "digest": "d"},
    "caller": False,
    "leader": 0,
    "index": 0,
    "of": 2,
    "try": 1,
    "tries": 3,
    "moves": 5,
    "cost_limit": None,
    "ask": True,
    "dry_run": False,
    "branch": "",
    "base": "",
    "spent": 0.5,
    "feedback": [FEEDBACK],
    "signatures": ["gate:t.py::a"],
    "attempts": [6],
}
GATE: dict[str, Json] = {
    "passed": True,
    "command": "pytest",
    "exit_status": 0,
    "reason_given": "",
    "output": "1 passed",
    "ran": 1,
    "failing": [],
    "known": [],
    "flaky": [],
    "findings": [],
    "sandbox": "bwrap",
    "timed_out": False,
    "seconds": 0.25,
    "cached": False,
    "environment": False,
}
FINDING: dict[str, Json] = {"rule": "r", "path": "a.py", "line": 2, "message": "m"}
ENDS: dict[str, Json] = {"commit": "c", "tree": "t", "onto": "o", "head": "h"}
WRITTEN: dict[str, Json] = {
    "summary": "sh: done",
    "output": "done",
    "seconds": 1.5,
    "cost": 0.25,
    "tokens": None,
    "model": "",
    "whole": False,
}
OLD: list[tuple[str, dict[str, Json]]] = [
    ("planned", {"task": "Add X", "edit": "abc", "retry_count": 1, "facts": PLAN}),
    ("spread", {"attempts": [8]}),
    ("isolated", {"path": "/w/7", "branch": "timmy/7", "base": "b", "name": "20260102-7"}),
    ("shown", {"lessons": [4, 5], "similar": [6], "files": ["a.py"], "warning": "was tried"}),
    ("editing", {"editor": "sh"}),
    ("written", WRITTEN),
    ("edited", {"base": "b", "head": "h", "paths": ["a.py"], "added": 3, "removed": 1}),
    (
        "judged",
        {"findings": [{"rule": "r", "path": "a.py", "line": 2, "message": "m"}], "ask": True},
    ),
    ("tested", {**GATE, **ENDS}),
    ("chosen", {"lines": 4, "files": 1, "of": 2}),
    ("approved", {}),
    ("landing", ENDS),
    ("landed", {"old": "o", "new": "c", "checkout": "followed"}),
    ("cleaned", {}),
    ("reflected", {"reflection": "went well", "lesson": "", "signature": "", "failing": []}),
    ("ended", {"outcome": "success", "stage": "landed"}),
]


def history(*rows: tuple[str, dict[str, Json]]) -> History:
    return History(
        [
            Event(attempt=7, sequence=n, kind=kind, at=AT, data=data)
            for n, (kind, data) in enumerate(rows, start=1)
        ]
    )


def test_an_old_landing_is_read_as_it_was_stored() -> None:
    """Each fact of an attempt that an earlier version landed is where it was."""
    old = history(*OLD)
    assert (old.task, old.edit, old.leader, old.siblings) == ("Add X", "abc", 7, (8,))
    assert (old.plan.best_of, old.plan.try_index, old.plan.tries) == (2, 1, 3)
    assert old.plan.feedback == (
        Feedback(
            attempt=6,
            by="gate",
            reason="tests failed: t.py::a",
            failing_tests=("t.py::a",),
            output="E assert",
            lesson="mind the gap",
        ),
    )
    assert old.worktrees[0].path == Path("/w/7")
    assert (old.lessons, old.report.cost, old.size) == ((4, 5), 0.25, (4, 1, 7))
    assert old.verdict.findings == (Finding(rule="r", path="a.py", line=2, message="m"),)
    assert old.candidate == Candidate(commit="c", tree="t", onto="o", head="h")
    result = views.result_of(old, attempts=(6, 7, 8))
    assert (result.success, result.commit_hash, result.checkout) == (True, "c", "followed")
    assert result.message.startswith("attempt 7 landed: 1 file, +3 -1; 1 tests, green in 0.2 s")
    assert (result.warning, result.reflection) == ("was tried", "went well")
    assert views.outcome_of(old) is Outcome.SUCCESS


def test_an_old_refusal_is_read_as_it_was_stored() -> None:
    """What the gate saw and why it refused are told from the one event that holds both."""
    why: dict[str, Json] = {"by": "gate", "reason": "tests failed: t", "hint": "", "final": False}
    left: dict[str, Json] = {"left_out": ["x (ignored)"], "left_count": 3}
    red: dict[str, Json] = {**GATE, "passed": False, "failing": ["t"], **why}
    old = history(*OLD[:6], ("edited", {**left, "paths": ["a.py"]}), ("refused", red))
    assert old.gate.failing == ("t",)
    assert views.feedback_of(old).failing_tests == ("t",)
    assert views.why_not(old) == "tests failed: t\nleft out: x (ignored) and 2 more"
    assert views.signature_of(old, "") == "gate:t"


@pytest.mark.parametrize(
    ("form", "stored"),
    [
        (Plan, PLAN | {"feedback": [FEEDBACK | {"survivors": []}]}),
        (GateResult, GATE | ENDS | {"failures": [], "judged_by_base": "", "affected": []}),
        (EditReport, WRITTEN),
    ],
)
def test_facts_are_stored_under_the_keys_they_had(form: type, stored: dict[str, Json]) -> None:
    """What is read and stored again is the same JSON, key by key."""
    assert facts_of(read(form, stored)) == stored


def test_what_a_row_should_not_hold_is_not_an_error() -> None:
    """Unknown keys and mistyped values are passed over; the rest of the row is read."""
    odd: dict[str, Json] = {"paths": "a.py", "added": {"x": 1}, "removed": 2, "new": True}
    assert read(Edited, odd) == Edited(removed=2)
    assert read(Refused, {"by": None, "reason": "r"}) == Refused(reason="r")
    assert read(Plan, {"feedback": [{"attempt": []}], "try": 2}) == Plan(try_index=2)
