"""Finds the past attempts like a task: bounded candidates from the inverted index, then exact.

Blocking. The rarest terms bring their newest rows; the most promising of those are scored with
all their fields by `similar`. So the work is bounded however many rows there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from self_coding.adapters.db import Connection, Database
from self_coding.modification_journal import similar, store, words
from self_coding.modification_journal.features import Features, features, terms
from self_coding.values.attempts import Outcome, SimilarAttempt

_TERMS = 40  # terms of a query that are looked up
_PER_TERM = 1500  # newest rows of one term
_SCORED = 300  # candidates that are scored with all their fields


def find(
    database: Database,
    task: str,
    *,
    limit: int,
    diff: str = "",
    files: Sequence[str] = (),
    outcomes: Sequence[Outcome] | None = None,
    outcome_weight: float = 2.0,
) -> list[SimilarAttempt]:
    """The attempts most like this one, best first, with the reasons."""
    query = features(task, files=files, diff=diff)
    with database.read() as connection:
        hits = ranked(connection, query, outcomes=outcomes, outcome_weight=outcome_weight)[:limit]
        attempts = store.read(connection, [hit.row for hit in hits])
    return [
        SimilarAttempt(
            attempt=attempts[hit.row],
            score=hit.score,
            reasons=tuple(f"{name} ({share:.0%})" for name, share in hit.reasons),
        )
        for hit in hits
        if hit.row in attempts
    ]


def ranked(
    connection: Connection,
    query: Features,
    *,
    outcomes: Sequence[Outcome] | None = None,
    outcome_weight: float = 2.0,
) -> list[similar.Hit]:
    """The hits of a query, best first."""
    newest = words.last(connection)
    if not newest:
        return []
    wanted = None if outcomes is None else {outcome.value for outcome in outcomes}
    weights: dict[int, float] = defaultdict(float)
    idf: dict[str, float] = {}
    for term in sorted(terms(query), key=lambda term: (-len(term), term))[:_TERMS]:
        rows = words.newest(connection, term, _PER_TERM)
        if not rows:
            continue
        frequency = float(len(rows))
        if len(rows) == _PER_TERM:
            frequency *= newest / max(1, newest - rows[-1] + 1)
        idf[term] = math.log(1 + (newest - frequency + 0.5) / (frequency + 0.5))
        for row in rows:
            weights[row] += idf[term]
    best = sorted(weights, key=lambda row: (-weights[row], -row))[
        : _SCORED * (1 if wanted is None else 5)
    ]
    loaded = words.load(connection, best)
    if wanted is not None:
        loaded = {row: item for row, item in loaded.items() if item[0] in wanted}
    chosen = similar.Weights(outcome=outcome_weight)
    return similar.rank(query, loaded, idf, newest=newest, weights=chosen)
