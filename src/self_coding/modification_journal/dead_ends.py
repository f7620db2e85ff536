"""Warns of what was tried before and failed, unasked and without a model.

A past attempt is a dead end when its title says nearly the same as this task's (the share of
both titles' weighted words that is common reaches `SAME_TITLE`), or when its diff changes nearly
the same words in a file of this diff (`SAME_DIFF`). Both thresholds were fixed on the
development set; docs/explanation/journal.md has what they cost and give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from self_coding.adapters.db import Database
from self_coding.modification_journal import rows, search, words
from self_coding.modification_journal.features import Features, features
from self_coding.values.attempts import DeadEnd, ModificationAttempt, Outcome

SAME_TITLE = 0.3
SAME_DIFF = 0.7
_FAILED = (Outcome.FAILURE, Outcome.ROLLBACK)
_LOOKED_AT = 10  # most alike failures that are looked at
_TELLING = 3  # changed words below which a diff says too little
_LONGEST = 240


def find(
    database: Database, task: str, *, diff: str = "", files: Sequence[str] = (), at: str = "plan"
) -> DeadEnd | None:
    """The failed attempt that this task or diff repeats; None when none is alike enough."""
    query = features(task, files=files, diff=diff)
    with database.read() as connection:
        hits = search.ranked(
            connection, query, limit=_LOOKED_AT, outcomes=_FAILED, outcome_weight=0.0
        )
        found = {item.row: item.found for item in words.load(connection, [hit.row for hit in hits])}
        scored = [
            (max(hit.alike / SAME_TITLE, same_diff(query, found[hit.row]) / SAME_DIFF), hit)
            for hit in hits
            if hit.row in found
        ]
        score, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
        if best is None or score < 1:
            return None
        past = rows.read(connection, [best.row])[best.row]
    return DeadEnd(
        attempt=best.row,
        task=_line(past.task_description),
        because=because(past),
        score=score,
        at=at,
    )


def same_diff(query: Features, past: Features) -> float:
    """The share of both diffs' changed words that is common; 0 where no file is."""
    if not set(query.files) & set(past.files) or len(set(query.head)) < _TELLING:
        return 0.0
    mine, theirs = Counter(query.head), Counter(past.head)
    return (mine & theirs).total() / max(1, (mine | theirs).total())


def because(past: ModificationAttempt) -> str:
    """Why an attempt failed, in one line of its own record."""
    for text in (past.failure_analysis, past.reflection):
        if text.strip():
            return _line(text)
    return "it was rolled back" if past.outcome is Outcome.ROLLBACK else "no reason was recorded"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
