"""How well each file's words answer a task's words: BM25 over weighted fields.

Pure: postings in, scores by file out. Fields of a file are its body, its definitions' names, its
docstrings and the words of its path; they share one length. Words that stand in most files are
left out, for they cost most and tell least.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log, sqrt

from self_coding.codebase_indexer.mentions import Mentions
from self_coding.codebase_indexer.store import File, Postings
from self_coding.retrieval import words

BODY, NAMES, DOCS, PATH = 1.0, 2.0, 1.5, 4.0  # what one occurrence in a field counts
_K1, _B = 1.2, 0.75  # the usual constants of BM25
_TITLE, _PROSE, _CODE = 2.0, 1.0, 0.5  # what a word of each part of the task counts
_MOST = 160  # different words of one task that are looked up
_SEEN = 3  # a word repeated more often in the task counts no more
_HYPHENED = re.compile(r"\w+(?:-\w+)+")

STOP = frozenset(
    "the a an is are was were be been to of in on for and or not it its this that with as at by "
    "from if i we you he my your our can could should would will shall do does did done have has "
    "had but so when then than there here what which who how why also only just about into out "
    "up down some any all no more most such via use using used get got".split()
)


@dataclass(frozen=True)
class Query:
    """The words to look up, with their weights in the whole task and in its title alone."""

    weights: Mapping[str, float]
    title: Mapping[str, float]


@dataclass
class Scores:
    """File id -> score, for the whole task, the title alone, and the names of definitions."""

    whole: dict[int, float] = field(default_factory=dict)
    title: dict[int, float] = field(default_factory=dict)
    names: dict[int, float] = field(default_factory=dict)


def query(task: Mentions) -> Query:
    """The words of a task; common English is left out unless nothing else is there."""
    title = _weighted(_tally(task.title), 1.0)
    whole: dict[str, float] = {}
    parts = ((task.title, _TITLE), (task.prose, _PROSE), (task.code, _CODE))
    for text, weight in parts:
        for word, counted in _weighted(_tally(text), weight).items():
            if word in whole or len(whole) < _MOST:
                whole[word] = whole.get(word, 0.0) + counted
    telling = {word: weight for word, weight in whole.items() if word not in STOP}
    if not telling:
        return Query(whole, title)
    return Query(telling, {word: weight for word, weight in title.items() if word in telling})


def _tally(text: str) -> Counter[str]:
    tally = Counter(word for word in words(text) if len(word) > 1)
    for hyphened in _HYPHENED.findall(text):
        tally[hyphened.replace("-", "").replace("_", "").lower()] += 1
    return tally


def _weighted(tally: Mapping[str, int], weight: float) -> dict[str, float]:
    return {word: weight * sqrt(min(count, _SEEN)) for word, count in tally.items()}


@lru_cache(maxsize=65_536)
def path_words(path: str) -> tuple[str, ...]:
    """The words of a path without its ending."""
    return tuple(words(path.removesuffix(".py").replace("/", " ")))


def score(files: Sequence[File], asked: Query, postings: Mapping[str, Postings]) -> Scores:
    """BM25 of every file that holds any of the asked words."""
    if not files:
        return Scores()
    found = Scores()
    share = _length_share(files)
    paths = _paths(files, asked.weights)
    for word, weight in asked.weights.items():
        entry = postings.get(word)
        in_paths = paths.get(word, ())
        if entry is None and not in_paths:
            continue
        counts = _field_counts(entry, in_paths)
        _add(found.whole, counts, weight * _idf(len(counts), len(files)), share)
        titled = asked.title.get(word)
        if titled:
            _add(found.title, counts, titled * _idf(len(counts), len(files)), share)
        if entry is not None and entry.names:
            _add(found.names, entry.names, weight * _idf(len(entry.names), len(files)), share)
    return found


def _length_share(files: Sequence[File]) -> dict[int, float]:
    """BM25's length term of each file."""
    lengths = {file.id: file.body + file.names + file.docs for file in files}
    mean = sum(lengths.values()) / len(lengths) or 1.0
    return {number: _K1 * (1 - _B + _B * size / mean) for number, size in lengths.items()}


def _paths(files: Sequence[File], asked: Iterable[str]) -> dict[str, list[int]]:
    wanted = set(asked)
    found: dict[str, list[int]] = {}
    for file in files:
        for word in wanted.intersection(path_words(file.path)):
            found.setdefault(word, []).append(file.id)
    return found


def _field_counts(entry: Postings | None, in_paths: Iterable[int]) -> dict[int, float]:
    counts: dict[int, float] = {}
    if entry is not None:
        counts.update(entry.body)
        for number, count in entry.names.items():
            counts[number] = counts.get(number, 0.0) + NAMES * count
        for number, count in entry.docs.items():
            counts[number] = counts.get(number, 0.0) + DOCS * count
    for number in in_paths:
        counts[number] = counts.get(number, 0.0) + PATH
    return counts


def _idf(holding: int, of: int) -> float:
    return log(1 + (of - holding + 0.5) / (holding + 0.5))


def _add(
    scores: dict[int, float],
    counts: Mapping[int, float],
    weight: float,
    share: Mapping[int, float],
) -> None:
    weight *= _K1 + 1
    get = scores.get
    for number, count in counts.items():
        scores[number] = get(number, 0.0) + weight * count / (count + share[number])
