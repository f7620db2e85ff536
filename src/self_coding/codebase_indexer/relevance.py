"""Which files a task concerns: many weak signals, each scaled to at most 1, added up.

Pure: facts in, a ranking out. The weights were chosen on the development set of
`bench/localize.py`, round on purpose and fitted to no repository; `docs/explanation/relevance.md`
has what each of them is worth. Tests come last, for a task is about the code they test.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from self_coding.codebase_indexer.evidence import File, Scores

WEIGHTS: Mapping[str, float] = {
    "words": 0.5,
    "title": 0.5,
    "code": 0.25,
    "names": 0.35,
    "paths": 0.2,
    "definitions": 0.75,
    "references": 0.35,
    "phrases": 0.5,
    "mentions": 1.5,
    "history": 1.0,
    "tests": 0.35,
    "lately": 0.75,
}
_REASONS = {
    "words": "its words are those of the task",
    "title": "its words are those of the task's title",
    "code": "its words are those of the code in the task",
    "names": "names it defines stand in the task",
    "paths": "words of the title stand in its path",
    "definitions": "it defines what the task names",
    "references": "it uses what the task names",
    "mentions": "the task names it, or shows it in a traceback",
    "history": "past commits like the task changed it",
    "tests": "tests like the task import it",
    "phrases": "it holds whole phrases of the task",
    "lately": "the newest commits changed it",
}
_ASIDE = 0.5  # what a file beside the product counts: documentation, examples, tools
_LAST = -1e6  # added to a test's score
_ASIDE_PATH = re.compile(
    r"(?:^|/)(?:docs?|documentation|examples?|tools?|scripts?|bench|benchmarks?|asv_bench|ci|"
    r"demos?|samples?|tutorials?|contrib)/|(?:^|/)setup\.py$|^testing/"
)


@dataclass
class Ranked:
    """One file of a ranking, and what each signal gave for it."""

    file: File
    score: float
    parts: dict[str, float] = field(default_factory=dict)

    def reasons(self) -> tuple[str, ...]:
        """What spoke for the file, strongest first; what says nothing of the task comes last."""
        strongest = sorted(
            self.parts.items(), key=lambda part: (part[0] == "lately", -part[1], part[0])
        )
        return tuple(f"{_REASONS[name]} ({value:.2f})" for name, value in strongest if value > 0)


def rank(
    files: Sequence[File],
    signals: Mapping[str, Scores],
    *,
    named: frozenset[int] = frozenset(),
    lately: Scores | None = None,
    weights: Mapping[str, float] = WEIGHTS,
) -> list[Ranked]:
    """The files that any signal speaks for, best first.

    Args:
        files: every file of the index.
        signals: name of a weight -> its scores.
        named: tests that the task names itself, which are therefore no afterthought.
        lately: what the newest commits add, unscaled, for files that a signal speaks for.
        weights: what each signal counts.
    """
    tests = {file.id for file in files if file.is_test and file.id not in named}
    parts: dict[int, dict[str, float]] = defaultdict(dict)
    for name, scores in signals.items():
        weight = weights.get(name, 0.0)
        if weight and scores:
            share = weight / _most(scores, tests)
            for number, value in scores.items():
                parts[number][name] = min(weight, value * share)
    for number, value in (lately or {}).items():
        if number in parts and (weight := weights.get("lately", 0.0)):
            parts[number]["lately"] = weight * value
    found = [
        Ranked(file, _placed(file, sum(given.values()), is_last=file.id in tests), given)
        for file in files
        if (given := parts.get(file.id))
    ]
    found.sort(key=lambda each: (-each.score, each.file.path))
    return found


def _most(scores: Scores, tests: set[int]) -> float:
    """The score of the best file that is no test, by which all are scaled."""
    most = max((value for number, value in scores.items() if number not in tests), default=0.0)
    return most or max(scores.values())


def is_aside(path: str) -> bool:
    """Whether a file lies beside the product: documentation, examples, tools."""
    return _ASIDE_PATH.search(path) is not None


def _placed(file: File, score: float, *, is_last: bool) -> float:
    if is_aside(file.path):
        score *= _ASIDE
    return score + _LAST if is_last else score
