"""Finds the past attempts like a task: bounded candidates from the inverted index, then exact.

Blocking. The rarest terms bring their newest rows; the most promising of those are scored with
all their fields by `similar`. So the work is bounded however many rows there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from self_coding.adapters.db import Connection, Database
from self_coding.modification_journal import similar, store, words
from self_coding.modification_journal.features import Features, features, terms
from self_coding.modification_journal.feedback import Rarity, rare
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
    outcome_weight: float = similar.DEFAULT.outcome,
) -> list[SimilarAttempt]:
    """The attempts most like this one, best first, with the reasons."""
    query = features(task, files=files, diff=diff)
    with database.read() as connection:
        hits = ranked(
            connection, query, limit=limit, outcomes=outcomes, outcome_weight=outcome_weight
        )
        attempts = store.read(connection, [hit.row for hit in hits])
    return [
        SimilarAttempt(attempt=attempts[hit.row], score=hit.score, reasons=hit.reasons)
        for hit in hits
        if hit.row in attempts
    ]


def ranked(
    connection: Connection,
    query: Features,
    *,
    limit: int,
    outcomes: Sequence[Outcome] | None = None,
    outcome_weight: float = similar.DEFAULT.outcome,
) -> list[similar.Hit]:
    """The hits of a query, best first."""
    newest = words.last(connection)
    if not newest or limit <= 0:
        return []
    wanted = None if outcomes is None else {outcome.value for outcome in outcomes}
    candidates, rarity = gather(connection, query, newest, wanted)
    weights = replace(similar.DEFAULT, outcome=outcome_weight)
    return similar.rank(query, candidates, rarity, newest=newest, weights=weights, limit=limit)


def gather(
    connection: Connection, query: Features, newest: int, wanted: Collection[str] | None
) -> tuple[list[similar.Candidate], Rarity]:
    """The most promising rows, and how rare the query's words and their files are."""
    promise: dict[int, float] = defaultdict(float)
    rarity: dict[str, float] = {}
    for term in sorted(terms(query), key=lambda term: (-len(term), term))[:_TERMS]:
        rows = words.newest(connection, term, _PER_TERM)
        if not rows:
            rarity[term] = rare(0, newest)
            continue
        frequency = float(len(rows))
        if len(rows) == _PER_TERM:
            frequency *= newest / max(1, newest - rows[-1] + 1)
        rarity[term] = math.log(1 + (newest - frequency + 0.5) / (frequency + 0.5))
        for row in rows:
            promise[row] += rarity[term]
    for row in promise:
        promise[row] *= 1 + math.exp((row - newest) / 300)
    best = sorted(promise, key=lambda row: (-promise[row], -row))
    wide = _SCORED if wanted is None else 5 * _SCORED
    loaded = words.load(connection, sorted(best[:wide], reverse=True))
    if wanted is not None:
        loaded = [item for item in loaded if item.outcome in wanted]
    known = _file_rarity(connection, loaded, newest)
    return loaded, Rarity(rows=newest, words=rarity, files=known)


def _file_rarity(
    connection: Connection, candidates: Sequence[similar.Candidate], rows: int
) -> Mapping[str, float]:
    """How rare the files of the candidates are among all attempts."""
    paths = {path for item in candidates for path in item.found.files}
    known = {}
    for path in paths:
        row = connection.execute("SELECT attempts FROM file WHERE path = ?", (path,)).fetchone()
        if row:
            known[path] = rare(int(row[0]), rows)
    return known
