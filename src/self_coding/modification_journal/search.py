"""Finds the past attempts like a task: bounded candidates from the inverted index, then exact.

Blocking. The rarest terms bring their newest rows; the most promising of those are scored with
all their fields by `similar`. So the work is bounded however many rows there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from self_coding.adapters.db import Connection, Database
from self_coding.modification_journal import rows, similar, words
from self_coding.modification_journal.features import Features, features, terms
from self_coding.modification_journal.feedback import Rarity, rare
from self_coding.modification_journal.vectors import Nearest
from self_coding.values.attempts import Outcome, SimilarAttempt

_TERMS = 60  # terms of a query that are looked up, the longest first
_PROBE = 64  # newest rows of each, by which its rarity is judged
_READ = 8000  # rows that are read for the rarest terms
_PER_TERM = 1500  # newest rows of one term
_SCORED = 300  # candidates whose words are scored
_NEAR = 100  # rows that are taken by their vectors
_MEANS_SOMETHING = 0.3  # cosine below which two texts have nothing to do with each other
_FILTERED = 2000  # most promising rows of which those with an asked-for outcome are taken
_RECENT = 20  # newest rows that are candidates whatever they say


def find(
    database: Database,
    task: str,
    *,
    limit: int,
    diff: str = "",
    files: Sequence[str] = (),
    outcomes: Sequence[Outcome] | None = None,
    outcome_weight: float = similar.DEFAULT.outcome,
    meaning: Meaning | None = None,
) -> list[SimilarAttempt]:
    """The attempts most like this one, best first, with the reasons."""
    query = features(task, files=files, diff=diff)
    with database.read() as connection:
        hits = ranked(
            connection,
            query,
            limit=limit,
            outcomes=outcomes,
            outcome_weight=outcome_weight,
            meaning=meaning,
        )
        attempts = rows.read(connection, [hit.row for hit in hits])
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
    meaning: Meaning | None = None,
) -> list[similar.Hit]:
    """The hits of a query, best first."""
    newest = words.last(connection)
    if not newest or limit <= 0:
        return []
    wanted = None if outcomes is None else {outcome.value for outcome in outcomes}
    candidates, rarity = gather(connection, query, newest, wanted)
    weights = replace(similar.DEFAULT, outcome=outcome_weight)
    if meaning is None:
        return similar.rank(query, candidates, rarity, newest=newest, weights=weights, limit=limit)
    hits = similar.rank(query, candidates, rarity, newest=newest, weights=weights)
    return _fused(connection, hits, meaning, wanted)[:limit]


@dataclass(frozen=True)
class Meaning:
    """A query's vector, where to compare it, and how much the cosine counts."""

    vector: Sequence[float]
    nearest: Nearest
    share: float = 0.1


def _fused(
    connection: Connection,
    hits: Sequence[similar.Hit],
    meaning: Meaning,
    wanted: Collection[str] | None,
) -> list[similar.Hit]:
    """The hits raised by their cosines, and below them what is near in meaning alone."""
    cosines = meaning.nearest.search(connection, meaning.vector, _NEAR)
    raised = [
        replace(hit, score=hit.score * (1 + meaning.share * max(0.0, cosines.get(hit.row, 0.0))))
        for hit in hits
    ]
    spoken = {hit.row for hit in hits}
    silent = words.load(connection, [row for row in cosines if row not in spoken])
    lowest = min((hit.score for hit in raised), default=1.0)
    near = [
        similar.Hit(item.row, lowest * cosines[item.row], reasons=("near in meaning",))
        for item in silent
        if cosines[item.row] > _MEANS_SOMETHING and (wanted is None or item.outcome in wanted)
    ]
    return sorted([*raised, *near], key=lambda hit: (-hit.score, -hit.row))


def gather(
    connection: Connection, query: Features, newest: int, wanted: Collection[str] | None
) -> tuple[list[similar.Candidate], Rarity]:
    """The most promising rows, and how rare the query's words and their files are."""
    probed = sorted(_probe(connection, query, newest), key=lambda term: -term.rarity)
    promise: dict[int, float] = defaultdict(float)
    room = _READ
    for term in probed:
        rows = term.rows
        if room > 0 and len(rows) == _PROBE:
            rows = words.newest(connection, term.word, min(room, _PER_TERM))
        room -= len(rows)
        for row in rows:
            promise[row] += term.rarity
    for row in range(max(1, newest - _RECENT), newest + 1):
        promise.setdefault(row, 0.0)
    for row in promise:
        age = newest - row
        promise[row] *= 1 + math.exp(-age / 200) + math.exp(-age / 8)
    best = sorted(promise, key=lambda row: (-promise[row], -row))
    if wanted is not None:
        best = words.with_outcomes(connection, best[:_FILTERED], wanted)
    loaded = words.load(connection, best[:_SCORED])
    known = _file_rarity(connection, loaded, newest)
    return loaded, Rarity(
        rows=newest, words={term.word: term.rarity for term in probed}, files=known
    )


@dataclass(frozen=True)
class _Term:
    """A term of the query: its newest rows, and how rare it is."""

    word: str
    rows: Sequence[int]
    rarity: float


def _probe(connection: Connection, query: Features, newest: int) -> Iterator[_Term]:
    """The query's terms; a common one's frequency is judged by how close its newest rows lie."""
    for word in sorted(terms(query), key=lambda word: (-len(word), word))[:_TERMS]:
        rows = words.newest(connection, word, _PROBE)
        frequency = float(len(rows))
        if len(rows) == _PROBE:
            frequency *= newest / max(1, newest - rows[-1] + 1)
        yield _Term(word, rows, rare(frequency, newest))


def _file_rarity(
    connection: Connection, candidates: Sequence[similar.Candidate], rows: int
) -> Mapping[str, float]:
    """How rare the files of the candidates are among all attempts."""
    paths = sorted({path for item in candidates for path in item.found.files})
    marks = ", ".join("?" * len(paths))
    seen = connection.execute(
        f"SELECT path, attempts FROM file WHERE path IN ({marks})",  # noqa: S608 - only marks
        paths,
    )
    return {str(path): rare(int(number), rows) for path, number in seen}
