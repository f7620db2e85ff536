"""Spans and metrics of a worker's attempts, where OpenTelemetry is installed; else nothing.

Only its API is used: whoever runs the worker says where to, as `opentelemetry-instrument` does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self_coding.values.edits import Progress

_NAME = "self_coding"


class Span:
    """One attempt at a job: its steps as events, how it ended."""

    def __init__(self, span: Any = None) -> None:
        self._span = span
        self.stages: Sequence[str] = ()

    def step(self, progress: Progress) -> None:
        """Note a step as it happens; never what an editor prints."""
        if self._span is not None and progress.step != "editing":
            self._span.add_event(progress.step, {"self_coding.attempt": progress.attempt})

    def ended(self, stages: Sequence[str]) -> None:
        """Note how the attempts ended."""
        self.stages = stages


@contextmanager
def attempt(task: str, job: int) -> Iterator[Span]:
    """Measure one job: a span, a count by how it ended, its seconds."""
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        yield Span()
        return
    meter, began = metrics.get_meter(_NAME), time.monotonic()
    with trace.get_tracer(_NAME).start_as_current_span(
        "attempt", attributes={"self_coding.job": job, "self_coding.task": task[:200]}
    ) as span:
        told, how = Span(span), "interrupted"
        try:
            yield told
            how = told.stages[-1] if told.stages else "had ended"
        finally:
            span.set_attribute("self_coding.stage", how)
            meter.create_counter("self_coding.attempts").add(1, {"stage": how})
            seconds = time.monotonic() - began
            meter.create_histogram("self_coding.attempt.seconds", "s").record(seconds)
