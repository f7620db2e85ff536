"""Spans of a worker's jobs, and nothing where nobody collects them."""

from __future__ import annotations

import sys

import pytest

from self_coding.fleet import telemetry
from self_coding.values.edits import Progress


def test_without_opentelemetry_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same calls do nothing where the package is not there."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with telemetry.attempt("a task", 1) as span:
        span.step(Progress(attempt=1, step="tested"))
        span.ended(["landed"])


def test_a_job_is_a_span_with_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One span a job: which, how it ended, each step, and never what an editor printed."""
    trace = pytest.importorskip("opentelemetry.trace")
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    simple = pytest.importorskip("opentelemetry.sdk.trace.export")
    kept, provider = export.InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(simple.SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    with telemetry.attempt("a task", 7) as span:
        span.step(Progress(attempt=3, step="editing", message="a secret"))
        span.step(Progress(attempt=3, step="tested"))
        span.ended(["refused", "landed"])
    with pytest.raises(ValueError, match="x"), telemetry.attempt("a task", 8):
        raise ValueError("x")
    first, second = kept.get_finished_spans()
    assert dict(first.attributes) == {
        "self_coding.job": 7, "self_coding.task": "a task", "self_coding.stage": "landed"
    }  # fmt: skip
    assert [(one.name, dict(one.attributes)) for one in first.events] == [
        ("tested", {"self_coding.attempt": 3})
    ]
    assert second.attributes["self_coding.stage"] == "interrupted"
