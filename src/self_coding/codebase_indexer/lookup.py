"""Look words up in the full text, and score no more files than can come first.

What a common word matches is most of a large tree, and to score a file costs ten times what it
costs to find it. So the rare words choose the files that are scored, and the rest is bounded: a
word adds at most (k1 + 1) times its inverse document frequency to BM25, whatever a file has of it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence, Set
from functools import cached_property
from math import log
from typing import NamedTuple

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.ranking import PathMatcher, Scores

ROOMS = (2_000, 8_000, 20_000)  # rows that the rare words may choose; if that is too few, all
_CHEAP = 12_000  # rows of one field: as many are scored whatever words choose
_NEAR = 4_000  # files that are scored later, because of one field
_HOPE = 0.35  # the share of the bounds, above which trials mostly failed
_MOST = 2.2  # k1 + 1 of FTS5's bm25()
_LEAST_IDF = 1e-6  # of a word that half of all rows have, as FTS5 has it
_PLAIN = re.compile(r"[A-Za-z0-9]+")  # what the tokenizer takes for one word


class Lookup(NamedTuple):
    """Words or phrases, what an occurrence counts in each of `store.FIELDS`, the only field."""

    terms: tuple[str, ...]
    weights: tuple[float, ...]
    field: str = ""


class Corpus:
    """What a ranking needs of all files, for as long as the index stays as it is."""

    def __init__(self, files: Sequence[store.File], live: Mapping[int, int]) -> None:
        self.files = files
        self.live = live
        self.by_id = {file.id: file for file in files}
        self.present = {file.path: file.id for file in files}
        self.tests = frozenset(file.id for file in files if file.is_test)
        self.code = frozenset(self.by_id) - self.tests
        self.matcher = PathMatcher(files)
        self._counts: dict[str, dict[str, int]] = {}

    @cached_property
    def rows(self) -> dict[int, int]:
        """The row of the full text that each file has."""
        return {file: row for row, file in self.live.items()}

    def counts(self, connection: sqlite3.Connection, word: str) -> dict[str, int]:
        """Return how many rows hold a plain word in each field."""
        word = word.lower()
        if word not in self._counts:
            self._counts[word] = store.frequencies(connection, word)
        return self._counts[word]


class Scored(NamedTuple):
    """The scores of the `chosen` files by the names of lookups.

    Of lookups that are not in `bounds` all files are scored, of the others no file that was not
    chosen has more than the bound.
    """

    scores: dict[str, Scores]
    bounds: dict[str, float]
    chosen: set[int]

    def further(
        self, least: float, more: float, weights: Mapping[str, float], tests: Set[int]
    ) -> list[int] | None:
        """Return the files that were not chosen and may score `least`; None if any file may.

        Args:
            least: the score to reach.
            more: what a file may have besides the lookups.
            weights: what each lookup counts.
            tests: files that set no scale.
        """
        partly: dict[int, float] = {}
        for name, values in self.scores.items():
            weight = weights.get(name, 0.0)
            best = max((each for file, each in values.items() if file not in tests), default=0.0)
            bound = self.bounds.get(name, 0.0)
            if bound > best:  # a better one elsewhere would set another scale for all
                return None
            if bound:
                more += weight * bound / best
            elif name not in self.bounds:
                for file, value in values.items() if best else ():
                    if file not in self.chosen:
                        partly[file] = partly.get(file, 0.0) + weight * value / best
        near = [file for file, value in partly.items() if value + more >= least]
        return None if more >= least or len(near) > _NEAR else near


class Search:
    """Scores the files of one state of the index by some lookups."""

    def __init__(
        self, connection: sqlite3.Connection, corpus: Corpus, lookups: Mapping[str, Lookup]
    ) -> None:
        self._connection = connection
        self._corpus = corpus
        self._lookups = lookups

    def everything(self) -> Scored:
        """Score all files that hold any of the terms."""
        return Scored(self._score(self._lookups, ""), {}, set(self._corpus.by_id))

    def bounded(self, room: int, files: Collection[int]) -> Scored | None:
        """Score the files that hold a rare term, and some `files`; None if that spares nothing."""
        terms = {term for each in self._lookups.values() for term in each.terms}
        often = {
            term: sum(self._corpus.counts(self._connection, term).values())
            for term in terms
            if _PLAIN.fullmatch(term)
        }
        rare, held = terms - often.keys(), 0
        for term in sorted(often, key=lambda term: (often[term], term)):
            held += often[term]
            if held > room:
                break
            rare.add(term)
        if not rare or rare == terms:
            return None
        for each in self._lookups.values():
            adding = [(self._most(each, term), term in rare) for term in each.terms]
            common = sum(most for most, is_rare in adding if not is_rare)
            if not each.field and common > _HOPE * sum(most for most, _ in adding):
                return None
        rows = store.rows_holding(self._connection, rare)
        rows |= {self._corpus.rows[file] for file in files}
        cheap = {
            name: each
            for name, each in self._lookups.items()
            if each.field and sum(self._held(each, term) for term in each.terms) <= _CHEAP
        }
        dear = {name: each for name, each in self._lookups.items() if name not in cheap}
        scores = self._score(dear, json.dumps([*rows])) | self._score(cheap, "")
        chosen = {self._corpus.live[row] for row in rows if row in self._corpus.live}
        bounds = {
            name: sum(self._most(each, term) for term in each.terms if term not in rare)
            for name, each in dear.items()
        }
        return Scored({name: scores[name] for name in self._lookups}, bounds, chosen)

    def add(self, scored: Scored, files: Collection[int]) -> None:
        """Score further files, and count them as chosen."""
        scored.chosen.update(files)
        dear = {name: self._lookups[name] for name in scored.bounds}
        rows = json.dumps([self._corpus.rows[file] for file in files])
        for name, more in self._score(dear, rows).items() if files else ():
            scored.scores[name].update(more)

    def add_tests(self, scored: Scored, name: str, least: float) -> None:
        """Score by one lookup all tests, unless no other one can have more than `least`."""
        if scored.bounds.get(name, 0.0) > least:
            rows = [self._corpus.rows[file] for file in self._corpus.tests - scored.chosen]
            more = self._score({name: self._lookups[name]}, json.dumps(rows))[name]
            scored.scores[name].update(more)

    def _score(self, lookups: Mapping[str, Lookup], among: str) -> dict[str, Scores]:
        # Of a task that is a title alone several are the same.
        different = {
            each: store.match_words(self._connection, self._corpus.live, *each, among)
            for each in {*lookups.values()}
        }
        return {name: dict(different[each]) for name, each in lookups.items()}

    def _most(self, lookup: Lookup, term: str) -> float:
        """Return the most that a common term adds to the score of a file."""
        held = self._held(lookup, term)
        # FTS5 counts the rows of files that went, too: at most 30 % and five, as `refresh` leaves.
        idf = log((len(self._corpus.live) * 1.3 + 6 - held) / (held + 0.5)) if held else 0.0
        return _MOST * max(idf, _LEAST_IDF)

    def _held(self, lookup: Lookup, term: str) -> int:
        """Return how many rows hold a plain word in its field, or a lower bound for all fields."""
        counts = self._corpus.counts(self._connection, term) if _PLAIN.fullmatch(term) else {}
        return counts.get(lookup.field, 0) if lookup.field else max(counts.values(), default=0)
