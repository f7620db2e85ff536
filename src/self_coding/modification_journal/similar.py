"""Ranks past attempts by how alike they are to a task; pure.

A weighted sum of BM25 over each field, raised for what is recent and for what failed. It sees
only the candidates it is given and the rarity of each term; it refuses to look anything up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from self_coding.modification_journal.features import Features

_K1, _B = 1.2, 0.6


@dataclass(frozen=True)
class Hit:
    """A ranked row: its number, its score, and what spoke for it (name, share), strongest first."""

    row: int
    score: float
    reasons: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Weights:
    """How much each field counts; `outcome` multiplies whatever did not succeed."""

    subject: float = 0.3
    subject_only: float = 0.5
    paths: float = 0.9
    head: float = 0.35
    outcome: float = 2.0
    rollback: float = 0.8


def rank(
    query: Features,
    rows: Mapping[int, tuple[str, Features]],
    idf: Mapping[str, float],
    *,
    newest: int,
    weights: Weights | None = None,
) -> list[Hit]:
    """The rows that share anything with the query, best first."""
    chosen = weights or Weights()
    averages = _averages([found for _, found in rows.values()])
    hits = []
    for row, (outcome, found) in rows.items():
        parts = _parts(query, found, idf, averages, chosen)
        total = sum(parts.values())
        if total <= 0:
            continue
        age = max(0, newest - row)
        factor = 1 + math.exp(-age / 300) + 0.6 * math.exp(-age / 8)
        if outcome != "success":
            factor *= chosen.outcome
        if outcome == "rollback":
            factor *= chosen.rollback
        reasons = sorted(parts.items(), key=lambda item: -item[1])
        shares = tuple((name, part / total) for name, part in reasons if part > 0)
        hits.append(Hit(row, total * factor, shares))
    return sorted(hits, key=lambda hit: (-hit.score, -hit.row))


def _averages(rows: Sequence[Features]) -> tuple[float, float, float, float]:
    count = max(1, len(rows))
    return (
        max(1.0, sum(len(row.body) for row in rows) / count),
        max(1.0, sum(len(row.subject) for row in rows) / count),
        max(1.0, sum(len(row.places) + len(row.names) for row in rows) / count),
        max(1.0, sum(len(row.head) for row in rows) / count),
    )


def _parts(
    query: Features,
    row: Features,
    idf: Mapping[str, float],
    averages: tuple[float, float, float, float],
    weights: Weights,
) -> dict[str, float]:
    body = set(query.body)
    subject = set(query.subject)
    code = row.places + row.names
    return {
        "the same words": _bm25(body, row.body, idf, averages[0])
        + weights.subject * _bm25(subject, row.body, idf, averages[0]),
        "the same subject": weights.subject_only * _bm25(subject, row.subject, idf, averages[1]),
        "paths and functions": weights.paths
        * (_bm25(body, code, idf, averages[2]) + _bm25(subject, code, idf, averages[2])),
        "the changed lines": weights.head * _bm25(body, row.head, idf, averages[3]),
    }


def _bm25(
    query: set[str], document: Sequence[str], idf: Mapping[str, float], average: float
) -> float:
    counts = Counter(document)
    norm = _K1 * (1 - _B + _B * len(document) / average)
    total = 0.0
    for word in query & counts.keys():
        count = counts[word]
        total += idf.get(word, 0.0) * count * (_K1 + 1) / (count + norm)
    return total
