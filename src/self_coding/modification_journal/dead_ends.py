"""Warns of what was tried before and failed, unasked and without a model."""

from __future__ import annotations

from collections.abc import Sequence

from self_coding.adapters.db import Database
from self_coding.modification_journal import search
from self_coding.values.attempts import DeadEnd, ModificationAttempt, Outcome

_FAILED = (Outcome.FAILURE, Outcome.ROLLBACK)
_THRESHOLD = 40.0
_LONGEST = 240


def find(
    database: Database, task: str, *, diff: str = "", files: Sequence[str] = (), at: str = "plan"
) -> DeadEnd | None:
    """The failed attempt that this task or diff repeats; None when none is alike enough."""
    found = search.find(
        database, task, limit=1, diff=diff, files=files, outcomes=_FAILED, outcome_weight=0.0
    )
    if not found or found[0].score < _THRESHOLD:
        return None
    past = found[0].attempt
    return DeadEnd(
        attempt=past.id or 0,
        task=_line(past.task_description),
        because=because(past),
        score=found[0].score,
        at=at,
    )


def because(past: ModificationAttempt) -> str:
    """Why an attempt failed, in one line of its own record."""
    for text in (past.failure_analysis, past.reflection):
        if text.strip():
            return _line(text)
    return "it was rolled back" if past.outcome is Outcome.ROLLBACK else "no reason was recorded"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
