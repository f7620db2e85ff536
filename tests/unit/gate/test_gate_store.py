"""The gate's memory, and the guard over git's own files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from self_coding.gate import integrity as gate_integrity
from self_coding.gate.census import Census
from self_coding.gate.evidence import Evidence
from self_coding.gate.store import GateStore
from self_coding.values.verdicts import TestFailure, TestResult, TraceEntry

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return GateStore(tmp_path)


def evidence(status: int = 0) -> Evidence:
    return Evidence(tree="t", exit_status=status)


def test_what_is_kept_is_found(store):
    """Evidence comes back as it was, by its key alone."""
    failure = TestFailure(path="a.py", line=3, message="E", entries=(TraceEntry("t.py", 1, "f"),))
    results = (TestResult(id="a", outcome="failed", failure=failure),)
    census = Census(sessions=1, results=results, probes=(("p", 1, 2, "/p"),))
    kept = replace(evidence(), census=census, retried=(("a", "failed"),))
    store.keep("k", kept)
    assert store.load("k") == kept
    assert store.load("other") is None


def test_what_an_earlier_release_kept_still_loads(store, tmp_path):
    """Evidence that was stored before failures came in parts has none."""
    store.keep("k", replace(evidence(), census=Census(results=(TestResult(id="a", outcome="x"),))))
    path = tmp_path / "verdicts" / "k.json"
    data = json.loads(path.read_text())
    del data["census"]["results"][0]["failure"]
    data["census"]["told"] = []
    path.write_text(json.dumps(data))
    assert store.load("k").census.results[0].failure is None


@pytest.mark.parametrize(("status", "days", "fresh"), [(0, 6, True), (0, 8, False), (1, 2, False)])
def test_evidence_grows_old(store, tmp_path, status, days, fresh):
    """Old evidence does not count, a failure gets old sooner."""
    store.keep("k", evidence(status))
    past = datetime.now(UTC).timestamp() - days * 86400
    os.utime(tmp_path / "verdicts" / "k.json", (past, past))
    assert (store.load("k") is not None) is fresh


def test_damaged_evidence_is_none(store, tmp_path):
    """A torn or foreign file counts as absent."""
    store.keep("k", evidence())
    for content in (b"", b"{", b"\xff\xfe"):
        (tmp_path / "verdicts" / "k.json").write_bytes(content)
        assert store.load("k") is None


def test_the_memory_is_bounded(store, tmp_path):
    """Old evidence makes room, and no half-written file stays."""
    for number in range(205):
        store.keep(f"k{number}", evidence())
    assert len(list((tmp_path / "verdicts").iterdir())) == 200


def test_quarantine_has_a_last_day(tmp_path):
    """A test is set aside until its day; a damaged list sets nothing aside."""
    clock = [NOON]
    store = GateStore(tmp_path, lambda: clock[0])
    store.quarantine("a", until=NOON + timedelta(days=1), reason="r")
    store.quarantine("b", until=NOON + timedelta(days=3), reason="r")
    assert store.quarantined() == ("a", "b")
    clock[0] = NOON + timedelta(days=2)
    assert store.quarantined() == ("b",)
    assert store.release("b")
    assert not store.release("b")
    assert store.quarantined() == ()
    for text in ("", "[]", '{"a": 1}', '{"a": {"until": "soon"}}'):
        (tmp_path / "quarantine.json").write_text(text)
        assert store.quarantined() == ()


@pytest.fixture
def checkout(tmp_path):
    git = tmp_path / ".git"
    for name in ("hooks", "info", "objects/info"):
        (git / name).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text("[core]\n")
    return tmp_path


def test_an_untouched_repository_is_untouched(checkout):
    """Without a change nothing is reported."""
    before = gate_integrity.fingerprint(checkout)
    assert gate_integrity.restore_and_compare(checkout, before, trusted=False) == ()


@pytest.mark.parametrize(
    "name",
    ["config", "config.worktree", "info/attributes", "hooks/pre-push", "objects/info/alternates"],
)
def test_each_file_that_makes_git_run_something_is_guarded(checkout, name):
    """A change of any of them is reported; a trusted sandbox makes it somebody else's."""
    before = gate_integrity.fingerprint(checkout)
    (checkout / ".git" / name).write_text("[core]\nfsmonitor = evil\n")
    changed = gate_integrity.restore_and_compare(checkout, before, trusted=False)
    assert [one.endswith(name) for one in changed] == [True]
    assert gate_integrity.restore_and_compare(checkout, before, trusted=True) == ()


def test_a_mode_is_a_change(checkout):
    """A hook that becomes executable is a change."""
    hook = checkout / ".git" / "hooks" / "pre-push"
    hook.write_text("x")
    before = gate_integrity.fingerprint(checkout)
    hook.chmod(0o755)
    assert gate_integrity.restore_and_compare(checkout, before, trusted=False)
