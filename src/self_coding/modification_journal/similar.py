"""Ranks past attempts by how alike they are to a task; pure.

First every candidate is measured: BM25 over its words, its title, its paths and functions, its
changed lines. The best of those then say which files, functions and words the task is likely to
be about, and the candidates that share them rise (`feedback`). What is recent counts more; so
does what failed, in proportion to how much it is the same task. It sees only the candidates and
the rarities that it is given, and refuses to look anything up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass

from self_coding.modification_journal import feedback
from self_coding.modification_journal.features import Features

_K1, _B = 1.2, 0.6
_CLOSER = 120  # candidates that are measured in full, of those whose words were
_LETTERS = re.compile(r"[^\W_]+")
_TAG = re.compile(r"\W*([\w\- ./]{2,30}?)[\]:]")  # "[float8] ...", "docs: ..."


@dataclass(frozen=True)
class Candidate:
    """A row that may be alike: its number, how it ended, its features."""

    row: int
    outcome: str
    found: Features


@dataclass(frozen=True)
class Weights:
    """How much each measure counts. Fitted once on nine public histories, each left out in turn."""

    subject_body: float = 0.3
    subject: float = 0.5
    code: float = 1.5
    subject_code: float = 1.4
    head: float = 0.65
    title: float = 0.3
    feedback_code: float = 0.25
    row_covered: float = 7.0
    files: float = 4.0
    functions: float = 1.25
    tag: float = 0.6
    crowd: float = 0.2
    lately: float = 1.0
    just_now: float = 1.0
    outcome: float = 16.0
    rollback: float = 0.8
    given: float = 20.0
    diff: float = 0.5


@dataclass(frozen=True)
class Measures:
    """One candidate's measures; `alike` is the share of the titles' weight that is common."""

    candidate: Candidate
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Hit:
    """A ranked row: its number, its score, and why, strongest first."""

    row: int
    score: float
    alike: float = 0.0
    reasons: tuple[str, ...] = ()


DEFAULT = Weights()


def rank(
    query: Features,
    candidates: Sequence[Candidate],
    rarity: feedback.Rarity,
    *,
    newest: int,
    weights: Weights = DEFAULT,
    limit: int | None = None,
) -> list[Hit]:
    """The candidates that share anything with the query, best first, ties newest first."""
    measured = measure(query, candidates, rarity, newest=newest, weights=weights)
    scored = [(total(item.parts, weights), item) for item in measured]
    scored.sort(key=lambda pair: (-pair[0], -pair[1].candidate.row))
    return [
        Hit(
            row=item.candidate.row,
            score=score,
            alike=item.parts["alike"],
            reasons=_reasons(query, item, rarity),
        )
        for score, item in scored[:limit]
        if score > 0
    ]


def measure(
    query: Features,
    candidates: Sequence[Candidate],
    rarity: feedback.Rarity,
    *,
    newest: int,
    weights: Weights = DEFAULT,
) -> list[Measures]:
    """The candidates whose words promise most, with all their measures."""
    spoken = _spoken(query, candidates, rarity, newest)
    order = sorted(
        range(len(candidates)),
        key=lambda at: -_words_only(spoken[at], weights) * _recency(spoken[at], weights),
    )
    candidates = [candidates[at] for at in order[:_CLOSER]]
    first = _closer(query, candidates, rarity, [spoken[at] for at in order[:_CLOSER]])
    firsts = [_words_only(parts, weights) * _recency(parts, weights) for parts in first]
    given = feedback.Expectation.of(query.files, query.symbols)
    second = feedback.measures(query, [item.found for item in candidates], firsts, rarity, given)
    return [
        Measures(candidate, {**parts, **more})
        for candidate, parts, more in zip(candidates, first, second, strict=True)
    ]


def total(parts: Mapping[str, float], weights: Weights = DEFAULT) -> float:
    """One candidate's score from its measures."""
    score = _words_only(parts, weights) + weights.feedback_code * parts["feedback_code"]
    score += weights.row_covered * parts["row_covered"]
    score += weights.given * parts["given"]
    score *= _recency(parts, weights) / (1 + weights.crowd * math.log1p(parts["crowd"]))
    score *= 1 + weights.files * parts["files"]
    score *= 1 + weights.functions * parts["functions"]
    score *= 1 + weights.tag * parts["tag"]
    if parts["failed"]:
        score *= 1 + weights.outcome * parts["alike"] ** 2
        score *= weights.rollback if parts["failed"] > 1 else 1.0
    return score


def _words_only(parts: Mapping[str, float], weights: Weights) -> float:
    return (
        parts["body"]
        + weights.subject_body * parts["subject_body"]
        + weights.subject * parts["subject"]
        + weights.code * parts["code"]
        + weights.subject_code * parts["subject_code"]
        + weights.head * parts["head"]
        + weights.title * parts["title"]
        + weights.diff * parts["diff"]
    )


def _recency(parts: Mapping[str, float], weights: Weights) -> float:
    age = parts["age"]
    return 1 + weights.lately * math.exp(-age / 200) + weights.just_now * math.exp(-age / 8)


_FAILED = {"success": 0.0, "failure": 1.0, "rollback": 2.0}


def _spoken(
    query: Features, candidates: Sequence[Candidate], rarity: feedback.Rarity, newest: int
) -> list[dict[str, float]]:
    """What the words of each candidate say."""
    found = [item.found for item in candidates]
    body, subject = frozenset(query.body), frozenset(query.subject)
    changed = frozenset(query.head)
    code = [row.places + row.names for row in found]
    mean_body = _mean([row.body for row in found])
    mean_subject = _mean([row.subject for row in found])
    mean_code = _mean(code)
    mean_head = _mean([row.head for row in found])
    measured = []
    for item, row, place in zip(candidates, found, code, strict=True):
        in_body, subject_body = _bm25(body, subject, rarity.words, row.body, mean_body)
        in_code, subject_code = _bm25(body, subject, rarity.words, place, mean_code)
        in_head, _ = _bm25(body, subject, rarity.words, row.head, mean_head)
        in_diff, _ = _bm25(changed, subject, rarity.words, row.head, mean_head)
        in_subject, _ = _bm25(subject, subject, rarity.words, row.subject, mean_subject)
        measured.append(
            {
                "body": in_body,
                "subject_body": subject_body,
                "subject": in_subject,
                "code": in_code,
                "subject_code": subject_code,
                "head": in_head,
                "title": 0.0,
                "diff": in_diff,
                "age": float(max(1, newest + 1 - item.row)),
            }
        )
    return measured


def _closer(
    query: Features,
    candidates: Sequence[Candidate],
    rarity: feedback.Rarity,
    spoken: Sequence[Mapping[str, float]],
) -> list[dict[str, float]]:
    """What the titles of the best candidates say, and how those ended."""
    found = [item.found for item in candidates]
    body, subject = frozenset(query.body), frozenset(query.subject)
    titles = _titles(query, found)
    others = feedback.counted([row.subject for row in found])
    tag = _tag(query.title)
    measured = []
    for item, parts, title in zip(candidates, spoken, titles, strict=True):
        row = item.found
        alike, covered = _titles_shared(subject, body, row, rarity, others)
        more = {
            "title": title,
            "alike": alike,
            "row_covered": covered,
            "tag": 1.0 if tag and _tag(row.title) == tag else 0.0,
            "crowd": float(len(row.files)),
            "failed": _FAILED.get(item.outcome, 1.0),
        }
        measured.append({**parts, **more})
    return measured


def _bm25(
    query: frozenset[str],
    subject: frozenset[str],
    rarity: Mapping[str, float],
    words: Sequence[str],
    mean: float,
) -> tuple[float, float]:
    """BM25 of a field for the whole query, and for the query's subject alone."""
    whole = part = 0.0
    hits = query.intersection(words)
    if hits:
        norm = _K1 * (1 - _B + _B * len(words) / mean)
        for word in hits:
            count = words.count(word)
            share = rarity.get(word, 0.0) * count * (_K1 + 1) / (count + norm)
            whole += share
            if word in subject:
                part += share
    return whole, part


def _titles_shared(
    subject: Set[str],
    body: Set[str],
    row: Features,
    rarity: feedback.Rarity,
    others: Mapping[str, int],
) -> tuple[float, float]:
    """How much of both titles' weight is common, and how much of the row's title the query has."""

    def weight(word: str) -> float:
        known = rarity.words.get(word)
        return feedback.rare(others.get(word, 0), rarity.rows) if known is None else known

    title = set(row.subject)
    common = subject & title
    if not common and not body & title:
        return 0.0, 0.0
    of_row = {word: weight(word) for word in title}
    shared = sum(of_row[word] for word in common)
    union = sum(of_row.values()) + sum(weight(word) for word in subject - title)
    known = sum(value for word, value in of_row.items() if word in body)
    return (shared / union if union else 0.0, known / max(sum(of_row.values()), 1e-9))


def _titles(query: Features, found: Sequence[Features]) -> list[float]:
    """BM25 of the titles' letter triples: it sees through endings and misspellings."""
    wanted = frozenset(_triples(query.title))
    rows = [_triples(row.title) for row in found]
    seen = feedback.counted([wanted.intersection(row) for row in rows])
    rarity = {triple: feedback.rare(number, len(found)) for triple, number in seen.items()}
    mean = _mean(rows)
    return [_bm25(wanted, frozenset(), rarity, row, mean)[0] for row in rows]


def _triples(title: str) -> list[str]:
    text = f" {' '.join(_LETTERS.findall(title.lower()))} "
    return [text[at : at + 3] for at in range(len(text) - 2)]


def _tag(title: str) -> str:
    match = _TAG.match(title)
    return match[1].lower() if match else ""


def _mean(fields: Sequence[Collection[str]]) -> float:
    return max(1.0, sum(map(len, fields)) / max(1, len(fields)))


def _reasons(query: Features, item: Measures, rarity: feedback.Rarity) -> tuple[str, ...]:
    """What spoke for a hit, in words a reader can check."""
    row, parts = item.candidate.found, item.parts
    reasons = []
    groups = (("words", set(row.body)), ("paths and functions", set(row.places + row.names)))
    for name, words in groups:
        common = sorted(set(query.body) & words, key=lambda word: -rarity.words.get(word, 0.0))
        if common:
            reasons.append(f"{name} in common: {', '.join(common[:6])}")
    same = [path for path in row.files if path in query.files]
    if same:
        reasons.append(f"the same files: {', '.join(same[:4])}")
    elif parts["files"] > 0.2:
        reasons.append(f"files that such tasks touch: {', '.join(row.files[:3])}")
    if parts["alike"] > 0.5:
        reasons.append(f"nearly the same title ({parts['alike']:.0%})")
    if parts["failed"]:
        reasons.append("it did not succeed")
    return tuple(reasons)
