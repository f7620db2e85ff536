"""The gate's memory: what is kept, how long, and what is damaged."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from self_coding.gate.store import GateStore
from self_coding.gate.test_report import RunRecord, TestReport
from self_coding.values.verdicts import TestFailure, TestResult, TraceEntry

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return GateStore(tmp_path)


def record(status: int = 0) -> RunRecord:
    return RunRecord(exit_status=status)


def test_what_is_kept_is_found(store):
    """A record comes back as it was, by its key alone."""
    failure = TestFailure(path="a.py", line=3, message="E", entries=(TraceEntry("t.py", 1, "f"),))
    results = (TestResult(id="a", outcome="failed", failure=failure),)
    report = TestReport(sessions=1, results=results, probes=(("p", 1, 2, "/p"),))
    kept = replace(record(), report=report, retried=(("a", "failed"),), output="caf\udce9")
    store.keep("k", kept)
    assert store.load("k") == kept
    assert store.load("other") is None


def test_what_an_earlier_release_kept_still_loads(store, tmp_path):
    """A record that was stored before failures came in parts has none."""
    store.keep(
        "k", replace(record(), report=TestReport(results=(TestResult(id="a", outcome="x"),)))
    )
    path = tmp_path / "verdicts" / "k.json"
    data = json.loads(path.read_text())
    del data["report"]["results"][0]["failure"]
    data["report"]["told"] = []
    path.write_text(json.dumps(data))
    assert store.load("k").report.results[0].failure is None


@pytest.mark.parametrize(("status", "days", "fresh"), [(0, 6, True), (0, 8, False), (1, 2, False)])
def test_evidence_grows_old(store, tmp_path, status, days, fresh):
    """Old evidence does not count, a failure gets old sooner."""
    store.keep("k", record(status))
    past = datetime.now(UTC).timestamp() - days * 86400
    os.utime(tmp_path / "verdicts" / "k.json", (past, past))
    assert (store.load("k") is not None) is fresh


def test_damaged_evidence_is_none(store, tmp_path):
    """A torn or foreign file counts as absent."""
    store.keep("k", record())
    for content in (b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"format": 0}', b'{"format": 3}'):
        (tmp_path / "verdicts" / "k.json").write_bytes(content)
        assert store.load("k") is None


def test_the_memory_is_bounded(store, tmp_path):
    """Old evidence makes room, and no half-written file stays."""
    for number in range(205):
        store.keep(f"k{number}", record())
    assert len(list((tmp_path / "verdicts").iterdir())) == 200
