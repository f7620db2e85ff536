"""What the first hits say about a task: the files, functions and words it is likely about; pure.

A task names few files, but the past attempts most like it touched some: candidates that touched
the same ones rise. This is relevance feedback over attempts instead of words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from self_coding.modification_journal.features import Features

_TEACHERS = 10  # first hits that are listened to
_SHARPNESS = 3  # how much more the best of them is listened to
_NEW_WORDS = 25


@dataclass(frozen=True)
class Rarity:
    """How rare each thing is: of the query's words and of paths exactly, of the rest as seen."""

    rows: int
    words: Mapping[str, float]
    files: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Expectation:
    """How likely a task touches each of these things, between 0 and 1."""

    files: Mapping[str, float]
    functions: Mapping[str, float]

    @classmethod
    def of(cls, files: Iterable[str], functions: Iterable[str]) -> Expectation:
        """What is certain, because the caller said it."""
        return cls(dict.fromkeys(files, 1.0), dict.fromkeys(functions, 1.0))


def measures(
    query: Features,
    found: Sequence[Features],
    firsts: Sequence[float],
    known: Rarity,
    given: Expectation,
) -> list[dict[str, float]]:
    """For each candidate: files, functions (shares in common), feedback_code, given."""
    teachers = _teachers(firsts)
    files = _expected([row.files for row in found], teachers)
    functions = _expected([row.symbols for row in found], teachers)
    file_rarity = _rarity([row.files for row in found], known.rows) | dict(known.files)
    function_rarity = _rarity([row.symbols for row in found], known.rows)
    code = [row.places + row.names for row in found]
    words = _new_words(query, found, teachers, known.rows)
    mean = max(1.0, sum(map(len, code)) / max(1, len(code)))
    shares_files = _shares([row.files for row in found], files, file_rarity)
    shares_functions = _shares([row.symbols for row in found], functions, function_rarity)
    given_files = _shares([row.files for row in found], given.files, file_rarity)
    given_functions = _shares([row.symbols for row in found], given.functions, function_rarity)
    return [
        {
            "files": shares_files[at],
            "functions": shares_functions[at],
            "feedback_code": _weighed(code[at], words, mean),
            "given": (given_files[at] + given_functions[at]) / 2,
        }
        for at in range(len(found))
    ]


def rare(seen: float, rows: int) -> float:
    """The rarity of something that `seen` of the rows have."""
    return math.log(1 + max(0.0, rows - seen + 0.5) / (seen + 0.5))


def counted(rows: Iterable[Iterable[str]]) -> Counter[str]:
    """How many rows hold each thing."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(set(row))
    return counts


def _rarity(rows: Sequence[Sequence[str]], total: int) -> dict[str, float]:
    return {name: rare(number, total) for name, number in counted(rows).items()}


def _teachers(firsts: Sequence[float]) -> list[tuple[int, float]]:
    """The best of the first ranking, with weights that sum to 1."""
    order = sorted(range(len(firsts)), key=lambda at: (-firsts[at], at))[:_TEACHERS]
    if not order or firsts[order[0]] <= 0:
        return []
    weights = [(firsts[at] / firsts[order[0]]) ** _SHARPNESS for at in order]
    return [(at, weight / sum(weights)) for at, weight in zip(order, weights, strict=True)]


def _expected(
    rows: Sequence[Sequence[str]], teachers: Sequence[tuple[int, float]]
) -> dict[str, float]:
    expected: dict[str, float] = {}
    for at, weight in teachers:
        for name in set(rows[at]):
            expected[name] = expected.get(name, 0.0) + weight
    return expected


def _shares(
    rows: Sequence[Sequence[str]], expected: Mapping[str, float], rarity: Mapping[str, float]
) -> list[float]:
    """The weighted share of each row's things and the expected ones that is common to both."""
    if not expected:
        return [0.0] * len(rows)
    wanted = {name: weight * rarity.get(name, 1.0) for name, weight in expected.items()}
    everything = sum(wanted.values())
    shares = []
    for row in rows:
        names = set(row)
        common = sum(wanted[name] for name in names if name in wanted)
        if common <= 0:
            shares.append(0.0)
            continue
        own = sum(rarity.get(name, 1.0) for name in names)
        shares.append(common / (own + everything - common + 1e-9))
    return shares


def _new_words(
    query: Features, found: Sequence[Features], teachers: Sequence[tuple[int, float]], rows: int
) -> dict[str, float]:
    """The words that the teachers have and the query has not, the most telling, weighed."""
    expected = _expected([row.subject + row.places + row.names for row in found], teachers)
    asked = set(query.body)
    wanted = frozenset(expected.keys() - asked)
    counts = counted(wanted.intersection(row.body + row.places + row.names) for row in found)
    weighed = {
        word: weight * rare(counts[word], rows)
        for word, weight in expected.items()
        if word in wanted
    }
    return dict(sorted(weighed.items(), key=lambda item: (-item[1], item[0]))[:_NEW_WORDS])


def _weighed(words: Sequence[str], weights: Mapping[str, float], mean: float) -> float:
    norm = 1.2 * (0.4 + 0.6 * len(words) / mean)
    total = 0.0
    for word in weights.keys() & set(words):
        count = words.count(word)
        total += weights[word] * count * 2.2 / (count + norm)
    return total
