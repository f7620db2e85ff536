"""Choose the functions and lines that a task concerns, packed into a budget of tokens.

Pure: ranked files and their texts in, spans out. A passage is a function, or lines between
functions. Each is given the chance that a change for the task touches it, by weights fitted to
commits of the development set (`bench/localize.py --lines`) and rounded; what promises most for
its length comes first, until the budget is used up.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import exp, log, log2
from typing import TYPE_CHECKING, NamedTuple

from self_coding.codebase_indexer.task_parser import STOP, Task
from self_coding.languages import Body, language_of
from self_coding.retrieval import estimate_tokens, split_identifier
from self_coding.values.code import CodeSpan

if TYPE_CHECKING:
    from self_coding.codebase_indexer.ranking import Ranked

FILES = 15  # of a ranking, whose passages are looked at
_WORD = re.compile(r"[^\W\d_][^\W_]*(?:_+[^\W_]+)*")
_ENDINGS = ("ing", "ed", "es", "s", "e")  # what the forms of an English word differ in
_GAP = 24  # lines of a piece of what stands between functions
_LONG = 60  # lines: of a longer function pieces count
_FRAME = 8  # tokens that a span's heading takes
_IN_NAME = 2  # occurrences that one in a function's name is worth
_SATURATED, _LENGTH = 1.2, 0.75  # BM25's constants
_DENSE = 0.6  # chance / tokens ** 0.6 decides what is taken first
_LEAST = 20  # tokens: nothing is shorter
_FADE = 0.8  # each frame further out in a traceback says less
_BIAS = -10.0
_WEIGHTS = {  # of what speaks for a passage, and how that is said
    "frame": (5.0, "the traceback goes through it"),
    "exact": (1.8, "the task names it"),
    "title": (1.6, "its words are those of the title"),
    "both": (2.8, ""),  # the words of a file that is likely itself
    "prose": (0.8, "its words are those of the task"),
    "named": (0.5, "its name is in the task"),
    "covered": (0.75, "its name is in the task"),
    "mentioned": (1.4, "the task names its file"),
    "recent": (1.2, "the newest commits changed its file"),
    "file": (1.2, "its file is likely"),
    "rank": (0.5, ""),
    "length": (0.3, ""),
    "between": (-1.2, ""),
    "test": (-2.0, ""),
}


class Passage(NamedTuple):
    """Some lines of one file, from 1, with their words; `name` is the function's, dotted."""

    path: str
    start: int
    end: int
    name: str
    text: str
    tokens: int
    words: Counter[str]


def pack(
    task: Task, ranked: Sequence[Ranked], texts: Mapping[str, str], max_tokens: int
) -> dict[str, tuple[CodeSpan, ...]]:
    """Return the spans of each file that together take at most `max_tokens`.

    Args:
        task: what is to be done.
        ranked: files, best first.
        texts: what stands in those that can be read, by path.
        max_tokens: the budget, headings included.
    """
    held = [(place, each) for place, each in enumerate(ranked) if each.file.path in texts]
    found = [
        (one, place, each)
        for place, each in held
        for one in cut(each.file.path, texts[each.file.path])
    ]
    signals = _signals(task, found)
    totals = [
        _BIAS + sum(weight * each[name] for name, (weight, _) in _WEIGHTS.items())
        for each in signals
    ]
    chances = [1 / (1 + exp(-total)) for total in totals]
    density = [
        chance / one.tokens**_DENSE for chance, (one, _, _) in zip(chances, found, strict=True)
    ]
    left = max_tokens
    spans: dict[str, list[CodeSpan]] = defaultdict(list)
    for at in sorted(range(len(found)), key=lambda at: -density[at]):
        one = found[at][0]
        if one.tokens <= left:
            left -= one.tokens
            told = [
                (-weight * signals[at][name], said)
                for name, (weight, said) in _WEIGHTS.items()
                if said and signals[at][name] > 0
            ]
            span = CodeSpan(
                start=one.start,
                end=one.end,
                symbol=one.name,
                score=round(chances[at], 4),
                reasons=tuple(dict.fromkeys(said for _, said in sorted(told)))[:3],
                code=one.text,
            )
            spans[one.path].append(span)
        if left < _LEAST:
            break
    return {path: tuple(sorted(each, key=lambda span: span.start)) for path, each in spans.items()}


def cut(path: str, text: str) -> Iterator[Passage]:
    """Yield the functions of a file, and the pieces of what is between them, in order."""
    lines = text.split("\n")
    at = 1
    for body in [*sorted(language_of(path).bodies(text, path)), Body(len(lines) + 1, 0, "")]:
        yield from _pieces(path, lines, range(at, body.start, _GAP), body.start - 1, "")
        at = max(at, body.start)
        yield from _pieces(path, lines, range(at, body.end + 1, _LONG), body.end, body.name)
        at = max(at, body.end + 1)


def _pieces(path: str, lines: list[str], starts: range, last: int, name: str) -> Iterator[Passage]:
    for first in starts:
        start, end = first, min(first + starts.step - 1, last)
        while start <= end and not lines[end - 1].strip():
            end -= 1
        while start <= end and not lines[start - 1].strip():
            start += 1
        if start <= end:
            text = "\n".join(lines[start - 1 : end])
            tokens = estimate_tokens(text) + _FRAME
            yield Passage(path, start, end, name, text, tokens, _count(text))


def _count(text: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for word, times in Counter(_WORD.findall(text)).items():
        for part in _roots(word):
            counts[part] += times
    return counts


@lru_cache(maxsize=1 << 15)
def _roots(name: str) -> tuple[str, ...]:
    """Return the roots of an identifier's words, and the whole of it."""
    roots = []
    for word in split_identifier(name):
        ends = (each for each in _ENDINGS if word.endswith(each) and len(word) > len(each) + 2)
        roots.append(word[: -len(next(ends, "")) or None])
    return (*roots, name.replace("_", "").lower()) if len(roots) > 1 else tuple(roots)


def asked_words(text: str) -> Counter[str]:
    """Return the telling words of a part of the task."""
    return Counter(
        {word: times for word, times in _count(text).items() if word not in STOP and len(word) > 1}
    )


def _signals(task: Task, found: Sequence[tuple[Passage, int, Ranked]]) -> list[dict[str, float]]:
    """Return what speaks for each passage, by the names of `_WEIGHTS`."""
    title, prose = asked_words(task.title), asked_words(task.prose)
    query = {*title, *prose, *asked_words(task.code)}
    holders: Counter[str] = Counter()
    for one, _, _ in found:
        holders.update(query & one.words.keys())
    many = len(found)
    rare = {word: log(1 + (many - holders[word] + 0.5) / (holders[word] + 0.5)) for word in query}
    usual = sum(one.tokens for one, _, _ in found) / max(1, many)
    score = _bm25(rare, usual)
    by_title = _scaled([score(one, title) for one, _, _ in found])
    by_prose = _scaled([score(one, prose) for one, _, _ in found])
    best = max((each.score for _, _, each in found if not each.file.is_test), default=1.0)
    all_title = sum(rare[word] for word in title) or 1.0
    frames = _frames(task)
    signals = []
    for (one, place, ranked), titled, spoken in zip(found, by_title, by_prose, strict=True):
        own = {*_roots(one.name.rpartition(".")[2])} if one.name else set()
        likely = min(1.0, ranked.score / best) if best > 0 else 0.0
        signals.append(
            {
                "frame": frames(one),
                "exact": task.identifiers.get(one.name.rpartition(".")[2], 0.0),
                "title": titled,
                "prose": spoken,
                "both": titled * likely,
                "named": sum(rare[word] for word in own & title.keys()) / all_title,
                "covered": len(own & query) / len(own) if own else 0.0,
                "mentioned": ranked.parts.get("mentions", 0.0),
                "recent": ranked.parts.get("recency", 0.0),
                "file": 0.0 if ranked.file.is_test else likely,
                "rank": 1 / (1 + place),
                "length": log2(one.tokens),
                "between": float(not one.name),
                "test": 2.0 if one.name.startswith("tests.") else float(ranked.file.is_test),
            }
        )
    return signals


def _bm25(rare: Mapping[str, float], usual: float) -> Callable[[Passage, Counter[str]], float]:
    def score(one: Passage, asked: Counter[str]) -> float:
        name = {root for part in one.name.split(".") if part for root in _roots(part)}
        total = 0.0
        for word, times in asked.items():
            if held := one.words.get(word, 0) + (_IN_NAME if word in name else 0):
                length = 1 - _LENGTH + _LENGTH * one.tokens / usual
                share = held * (1 + _SATURATED) / (held + _SATURATED * length)
                total += rare[word] * min(times, 2) * share
        return total

    return score


def _scaled(scores: list[float]) -> list[float]:
    best = max(scores, default=0.0) or 1.0
    return [each / best for each in scores]


def _frames(task: Task) -> Callable[[Passage], float]:
    """Return what says how near to the innermost frame of the task's traceback a passage is."""
    near = [(path.split("/"), line) for path, line in reversed(task.places)]

    def score(one: Passage) -> float:
        own = one.path.split("/")
        for place, (parts, line) in enumerate(near):
            # The end of a path is what it has in common on all machines.
            shared = min(len(parts), len(own), 2)
            if one.start <= line <= one.end and parts[-shared:] == own[-shared:]:
                return _FADE**place
        return 0.0

    return score
