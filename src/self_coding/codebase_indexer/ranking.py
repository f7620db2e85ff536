"""Rank files for a task: many weak signals, each scaled to at most 1, weighted and added.

Pure: facts in, a ranking out. The weights were chosen on the development set of
`bench/localize.py`, round on purpose and fitted to no repository; `docs/explanation/relevance.md`
has what each of them is worth. Tests come last, for a task is about the code they test.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property, lru_cache
from heapq import nsmallest
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from self_coding.languages import is_source, language_of

if TYPE_CHECKING:
    from self_coding.codebase_indexer.store import File
    from self_coding.codebase_indexer.task_parser import Task

# What each signal counts, and what it says in words.
_SIGNALS = {
    "words": (0.5, "its words are those of the task"),
    "title": (0.5, "its words are those of the task's title"),
    "code": (0.25, "its words are those of the code in the task"),
    "names": (0.35, "it defines names that occur in the task"),
    "paths": (0.2, "words of the title occur in its path"),
    "definitions": (0.75, "it defines what the task names"),
    "references": (0.35, "it uses what the task names"),
    "phrases": (0.5, "it contains whole phrases of the task"),
    "mentions": (1.5, "the task names it, or shows it in a traceback"),
    "history": (1.0, "past commits like the task changed it"),
    "tests": (0.35, "tests like the task import it"),
    "recency": (0.75, "the newest commits changed it"),
}
WEIGHTS: Mapping[str, float] = {name: weight for name, (weight, _) in _SIGNALS.items()}
_AUXILIARY = 0.5  # what a file outside of the product counts
_AUXILIARY_PATH = re.compile(
    r"(?:^|/)(?:docs?|documentation|examples?|tools?|scripts?|bench|benchmarks?|asv_bench|ci|"
    r"demos?|samples?|tutorials?|contrib|dist)/|(?:^|/)setup\.py$|^testing/"
)
_SHARED = 0.7  # a name that n files define counts n ** -0.7 for each of them
_AGE = 1_500.0  # a commit that many commits ago counts half
_SHARPNESS = 2.5  # how much more the most alike commits say than the rest
_SPREAD = 0.35  # a commit's vote is shared by its files, though not evenly: files ** -0.35
_EVERYWHERE = frozenset(("__init__.py", "setup.py", "conftest.py", "main.py", "test.py", "foo.py"))
_SAME_NAME = 8  # files of one name: of more, as of an index.js in each folder, it means none
_RECENT = 500.0  # a change that many commits ago counts half
_NEXT = 5.0  # as a sign of what is changed next, a change that many commits ago counts half
_TERSE = 12.0  # a task of that many words gives half as much for it, a longer one soon nothing
_FADE = 0.8  # each frame further out in a traceback says less
_FRAMES = 40
TESTS = 10  # the tests most like the task that vote for what they import

Scores = dict[int, float]  # file id -> score; only relative, `rank` scales them


class Ranked(NamedTuple):
    """One file of a ranking, and what each signal gave for it."""

    file: File
    score: float
    parts: dict[str, float]

    def reasons(self) -> tuple[str, ...]:
        """Return what spoke for the file, strongest first; recency says nothing of the task."""
        strongest = sorted(
            self.parts.items(), key=lambda part: (part[0] == "recency", -part[1], part[0])
        )
        return tuple(f"{_SIGNALS[name][1]} ({value:.2f})" for name, value in strongest if value > 0)


def rank(
    files: Mapping[int, File],
    signals: Mapping[str, Scores],
    *,
    named: frozenset[int] = frozenset(),
    recency: Scores | None = None,
    weights: Mapping[str, float] = WEIGHTS,
    limit: int | None = None,
    among: Set[int] | None = None,
) -> list[Ranked]:
    """Return the files that any signal speaks for, best first, tests after all others.

    Args:
        files: every file of the index, by its id.
        signals: name of a weight -> its scores.
        named: tests that the task names itself; they do not come last.
        recency: what the newest commits add, unscaled, for files that a signal speaks for.
        weights: what each signal counts.
        limit: how many are wanted, all when None.
        among: the only files to rank; the others only set the scale.
    """
    totals: dict[int, float] = {}
    scaled: list[tuple[str, float, float, Scores]] = []
    for name, scores in signals.items():
        weight = weights.get(name, 0.0)
        if weight and scores:
            # The best file that is not a test sets the scale: a test may match best by far, and
            # would flatten the files the task is about.
            best = max(
                (each for id, each in scores.items() if not files[id].is_test or id in named),
                default=0.0,
            )
            share = weight / (best or max(scores.values()))
            scaled.append((name, weight, share, scores))
            for id, value in scores.items():
                totals[id] = totals.get(id, 0.0) + min(weight, value * share)
    late = weights.get("recency", 0.0)
    for id, value in recency.items() if recency and late else ():
        if id in totals:
            totals[id] += late * value

    def place(id: int) -> tuple[bool, float, str]:
        file = files[id]
        share = _AUXILIARY if is_auxiliary(file.path) else 1.0
        return file.is_test and id not in named, -totals[id] * share, file.path

    ids = totals if among is None else totals.keys() & among
    first = sorted(ids, key=place) if limit is None else nsmallest(limit, ids, key=place)
    ranked = []
    for id in first:
        parts = {
            name: min(weight, scores[id] * share)
            for name, weight, share, scores in scaled
            if id in scores
        }
        if recency and late and id in recency:
            parts["recency"] = late * recency[id]
        ranked.append(Ranked(files[id], -place(id)[1], parts))
    return ranked


@lru_cache(maxsize=1 << 16)
def is_auxiliary(path: str) -> bool:
    """Return whether a file is outside of the product: documentation, examples, tools."""
    return _AUXILIARY_PATH.search(path) is not None


class PathMatcher:
    """Finds the files that a path, a dotted module or a traceback's frame means."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = files

    @cached_property
    def _by_name(self) -> dict[str, list[File]]:
        by_name: dict[str, list[File]] = defaultdict(list)
        for file in self._files:
            by_name[file.path.rpartition("/")[2]].append(file)
        return by_name

    @cached_property
    def _by_module(self) -> dict[str, int]:
        by_module: dict[str, int] = {}
        for file in self._files:
            is_package = language_of(file.path).is_package(file.path)
            place = file.path.rpartition("/" if is_package else ".")[0]
            by_module.setdefault(file.module, file.id)
            by_module.setdefault(place.replace("/", "."), file.id)
        return by_module

    def of_path(self, path: str) -> tuple[list[File], int]:
        """Return the files that share most parts with the end of a path, and how many parts."""
        parts = path.split("/")[::-1]
        best: list[File] = []
        most = 0
        for file in self._by_name.get(parts[0], ()):
            # The end of a path is what it has in common on all machines.
            shared = 0
            for left, right in zip(parts, file.path.split("/")[::-1], strict=False):
                if left != right:
                    break
                shared += 1
            if shared > most:
                best, most = [file], shared
            elif shared == most:
                best.append(file)
        return best, most

    def named(self, path: str) -> list[File]:
        """Return the files that a path in prose means: its name alone is not enough when it has
        folders, or when every package has a file of that name."""
        files, shared = self.of_path(path)
        everywhere = path in _EVERYWHERE or len(files) > _SAME_NAME
        if shared < 2 and (everywhere or ("/" in path and _any_nested(files))):
            return []
        return files

    def of_folder(self, path: str) -> list[File]:
        """Return the module that a path without suffix means, or the files below that folder."""
        exact = [
            file for file in self._files if f"/{file.path.rpartition('.')[0]}".endswith(f"/{path}")
        ]
        return exact or [file for file in self._files if f"/{path}/" in f"/{file.path}"]

    def of_module(self, dotted: str) -> int | None:
        """Return the file of the longest prefix that is a module (of two parts at least)."""
        while "." in dotted:
            if dotted in self._by_module:
                return self._by_module[dotted]
            dotted = dotted.rpartition(".")[0]
        return None

    def named_tests(self, task: Task) -> frozenset[int]:
        """Return the tests whose path the task gives."""
        paths = [path for path in task.paths if is_source(path)]
        return frozenset(
            file.id for path in paths for file in self.of_path(path)[0] if file.is_test
        )


def _any_nested(files: Iterable[File]) -> bool:
    return any("/" in file.path for file in files)


def score_mentions(task: Task, matcher: PathMatcher) -> Scores:
    """Score files that the task names by path or module, or that its traceback shows."""
    scores: Scores = defaultdict(float)
    for path in task.paths:
        is_file = is_source(path)
        files = matcher.named(path) if is_file else matcher.of_folder(path)
        for file in files:
            scores[file.id] += (1.0 if is_file else 0.8) / len(files)
    for dotted in task.modules:
        module = matcher.of_module(dotted)
        if module is not None:
            scores[module] += 0.7
    # Of a traceback the innermost frame says most; each file counts by its first one only.
    shown: Scores = {}
    weight = 1.0
    for path, _ in reversed(task.places[-_FRAMES:]):
        files, shared = matcher.of_path(path)
        files = [file for file in files if not file.is_test]
        # Sharing no more than its name, a path with folders is that of another project.
        elsewhere = shared < 2 and "/" in path and _any_nested(files)
        if 1 <= len(files) <= 2 and not elsewhere:
            for file in files:
                shown.setdefault(file.id, weight)
            weight *= _FADE
    for id, weight in shown.items():
        scores[id] += weight
    return {id: min(weight, 1.5) for id, weight in scores.items()}


def score_definitions(definitions: Iterable[tuple[float, frozenset[int]]]) -> Scores:
    """Score files by (weight of a name, files that define it); a name that few define says more."""
    scores: Scores = defaultdict(float)
    for weight, files in definitions:
        for file in files:
            scores[file] += weight * len(files) ** -_SHARED
    return scores


def score_votes(votes: Iterable[tuple[float, Sequence[str]]], present: Mapping[str, int]) -> Scores:
    """Score files by (likeness of a past commit's message to the task, paths it touched)."""
    scores: Scores = defaultdict(float)
    for likeness, paths in votes:
        files = [present[path] for path in paths if path in present]
        for file in files:
            scores[file] += likeness**_SHARPNESS * len(files) ** -_SPREAD
    return scores


def discount_age(score: float, age: int) -> float:
    """Return a past commit's likeness, less for an old one."""
    return score / (1 + age / _AGE)


def best_tests(words: Mapping[int, float], tests: frozenset[int]) -> dict[int, float]:
    """Return the tests whose words are most like the task, none that is half as like as the best.

    Others would say next to nothing (likeness counts squared), and may be anywhere in the tree.
    """
    ranked = sorted((id for id in tests & words.keys()), key=lambda id: (-words[id], id))
    return {id: words[id] for id in ranked[:TESTS] if words[id] > words[ranked[0]] / 2}


def score_tests(tests: Mapping[int, float], imports: Mapping[int, Sequence[int]]) -> Scores:
    """Score files that the tests most like the task import."""
    scores: Scores = defaultdict(float)
    for test, likeness in tests.items():
        targets = imports.get(test, ())
        for target in targets:
            scores[target] += likeness * likeness / sqrt(len(targets))
    return scores


def score_changes(touched: Iterable[tuple[str, int]], ages: Mapping[int, int]) -> dict[str, float]:
    """Return how much past commits that have an age changed each path; a late one counts more."""
    worth = {commit: 1 / (1 + age / _RECENT) for commit, age in ages.items()}
    changes: dict[str, float] = defaultdict(float)
    for path, commit in touched:
        if commit in worth:
            changes[path] += worth[commit]
    return changes


def score_recency(ages: Mapping[int, int], words: int) -> Scores:
    """Score files by how many commits ago each was touched last, for a task of so many words."""
    # What was changed last is often changed next; the more words a task has, the less that says.
    trust = 1 / (1 + (words / _TERSE) ** 3)
    return {file: trust / (1 + age / _NEXT) for file, age in ages.items()}
