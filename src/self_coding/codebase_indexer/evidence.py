"""What else than its words speaks for a file: names it defines, paths named, past commits, tests.

Pure: plain data in, file id -> score out. Every score is relative; `relevance` scales and adds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import sqrt
from typing import NamedTuple, Protocol

from self_coding.codebase_indexer.mentions import Mentions

_SHARED = 0.7  # a name that n files define counts n ** -0.7 for each of them
_AGE = 1_500.0  # a commit that many commits ago counts half
_SHARPNESS = 2.5  # how much more the most alike commits say than the rest
_SPREAD = 0.35  # a commit's vote is shared by its files, though not evenly: files ** -0.35
_EVERYWHERE = frozenset(("__init__.py", "setup.py", "conftest.py", "main.py", "test.py", "foo.py"))
_LATELY = 500.0  # a change that many commits ago counts half
_NEXT = 5.0  # as a sign of what is changed next, a change that many commits ago counts half
_TERSE = 12.0  # a task of that many words gives half as much for it, a longer one soon nothing
_FADE = 0.8  # each frame further out in a traceback says less
_FRAMES = 40
_TESTS = 10  # the tests most like the task that vote for what they import

Scores = dict[int, float]


class File(Protocol):
    """What is known of one file of the index."""

    @property
    def id(self) -> int:
        """The number that scores are kept under."""

    @property
    def path(self) -> str:
        """The repository-relative path, with "/"."""

    @property
    def module(self) -> str:
        """The dotted name it is imported by."""

    @property
    def is_test(self) -> bool:
        """Whether it is a test or helps one."""


class Vote(NamedTuple):
    """A past commit whose message is like a task: how alike, how many commits ago, its files."""

    score: float
    age: int
    paths: tuple[str, ...]


class Definition(NamedTuple):
    """A name of the task and the files that define a class or function of that name."""

    name: str
    weight: float
    files: frozenset[int]


def of_definitions(definitions: Iterable[Definition]) -> Scores:
    """Files that define what the task names; a name that few define says more."""
    scores: Scores = defaultdict(float)
    for each in definitions:
        for file in each.files:
            scores[file] += each.weight * len(each.files) ** -_SHARED
    return scores


class Places:
    """Finds the files that a path, a dotted module or a traceback's frame means."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = files

    @cached_property
    def _by_name(self) -> dict[str, list[File]]:
        found: dict[str, list[File]] = defaultdict(list)
        for file in self._files:
            found[file.path.rpartition("/")[2]].append(file)
        return found

    @cached_property
    def _by_module(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for file in self._files:
            found.setdefault(file.module, file.id)
            found.setdefault(_dotted(file.path), file.id)
        return found

    def of_path(self, path: str) -> tuple[list[File], int]:
        """The files whose paths share most of their end with this one, and how many parts."""
        parts = path.split("/")[::-1]
        best: list[File] = []
        shared = 0
        for file in self._by_name.get(parts[0], ()):
            length = _common(parts, file.path.split("/")[::-1])
            if length > shared:
                best, shared = [file], length
            elif length == shared:
                best.append(file)
        return best, shared

    def named(self, path: str) -> list[File]:
        """The files that a path in prose means: its name alone is not enough when it has folders,
        or when every package has a file of that name."""
        found, shared = self.of_path(path)
        if shared < 2 and (path in _EVERYWHERE or ("/" in path and _nested(found))):
            return []
        return found

    def of_folder(self, path: str) -> list[File]:
        """The module that a path without ending means, or the files below that folder."""
        exact = [file for file in self._files if f"/{file.path[:-3]}".endswith(f"/{path}")]
        return exact or [file for file in self._files if f"/{path}/" in f"/{file.path}"]

    def of_module(self, dotted: str) -> int | None:
        """The file of the longest prefix that is a module (of two parts at least)."""
        while "." in dotted:
            if dotted in self._by_module:
                return self._by_module[dotted]
            dotted = dotted.rpartition(".")[0]
        return None


def _nested(files: Iterable[File]) -> bool:
    return any("/" in file.path for file in files)


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


def of_mentions(task: Mentions, places: Places) -> Scores:
    """Files that the task names by path or module, or whose lines stand in its traceback."""
    scores: Scores = defaultdict(float)
    for path in task.paths:
        if path.endswith(".py"):
            found, weight = places.named(path), 1.0
        else:
            found, weight = places.of_folder(path), 0.8
        for file in found:
            scores[file.id] += weight / len(found)
    for dotted in task.modules:
        module = places.of_module(dotted)
        if module is not None:
            scores[module] += 0.7
    for number, weight in _traced(task, places).items():
        scores[number] += weight
    return {number: min(weight, 1.5) for number, weight in scores.items()}


def _traced(task: Mentions, places: Places) -> Scores:
    """The files of traceback frames, the innermost first in rank."""
    scores: Scores = {}
    weight = 1.0
    for frame in reversed(task.frames[-_FRAMES:]):
        found, shared = places.of_path(frame.path)
        found = [file for file in found if not file.is_test]
        elsewhere = shared < 2 and "/" in frame.path and _nested(found)
        if not 1 <= len(found) <= 2 or elsewhere:
            continue
        for file in found:
            scores.setdefault(file.id, weight)
        weight *= _FADE
    return scores


def of_votes(votes: Sequence[Vote], present: Mapping[str, int]) -> Scores:
    """Files that past commits with messages like the task have touched."""
    scores: Scores = defaultdict(float)
    for vote in votes:
        files = [present[path] for path in vote.paths if path in present]
        for file in files:
            scores[file] += vote.score**_SHARPNESS * len(files) ** -_SPREAD
    return scores


def aged(score: float, age: int) -> float:
    """A past commit's likeness, less for an old one."""
    return score / (1 + age / _AGE)


def best_tests(lexical: Mapping[int, float], tests: frozenset[int]) -> dict[int, float]:
    """The tests whose words are most like the task."""
    ranked = sorted(
        (number for number in tests if lexical.get(number, 0.0) > 0),
        key=lambda number: (-lexical[number], number),
    )
    return {number: lexical[number] for number in ranked[:_TESTS]}


def of_tests(tests: Mapping[int, float], imports: Mapping[int, Sequence[int]]) -> Scores:
    """Files that the tests most like the task import."""
    scores: Scores = defaultdict(float)
    for test, likeness in tests.items():
        targets = imports.get(test, ())
        for target in targets:
            scores[target] += likeness * likeness / sqrt(len(targets))
    return scores


def changes(touched: Iterable[tuple[str, int]], ages: Mapping[int, int]) -> dict[str, float]:
    """How much each path was changed by past commits that have an age; a late one counts more."""
    worth = {number: 1 / (1 + age / _LATELY) for number, age in ages.items()}
    found: dict[str, float] = defaultdict(float)
    for path, number in touched:
        if number in worth:
            found[path] += worth[number]
    return found


def lately(ages: Mapping[int, int], words: int) -> Scores:
    """How likely each file is changed next, were nothing known but the newest commits.

    What they touched is often touched again; the more words a task has, the less that tells.

    Args:
        ages: file id -> how many commits ago it was touched last.
        words: how many different words the task has.
    """
    told = 1 / (1 + (words / _TERSE) ** 3)
    return {file: told / (1 + age / _NEXT) for file, age in ages.items()}
