"""Which words of a task to look up in the full text, and which of them belong together.

Pure: a `Mentions` in, search terms out; the full text itself ranks (BM25 over weighted fields). A
term of several words is looked for as a phrase, which is how a compound identifier is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from self_coding.codebase_indexer.mentions import Mentions
from self_coding.retrieval import split_identifier

# what one occurrence counts in path, names, docstrings, body
EVERYWHERE = (4.0, 2.0, 1.5, 1.0)
IN_PATH = (1.0, 0.0, 0.0, 0.0)
IN_NAMES = (0.0, 1.0, 0.0, 0.0)
IN_BODY = (0.0, 0.0, 0.0, 1.0)

_TITLE, _PROSE = 60, 90  # different words looked up of each part
_NAMED, _PHRASED, _COMMIT = 60, 40, 60
_RUN = re.compile(r"[^\W_]+")
_NAME = re.compile(r"\w+")

_STOP_WORDS = """
the a an is are was were be been to of in on for and or not it its this that with as at by from if
i we you he my your our can could should would will shall do does did done have has had but so when
then than there here what which who how why also only just about into out up down some any all no
more most such via use using used get got self def return import none true false class
"""
STOP = frozenset(_STOP_WORDS.split())


class Query(NamedTuple):
    """What to look up: words of the title, of title and prose, of pasted code; names, phrases."""

    title: tuple[str, ...]
    spoken: tuple[str, ...]
    code: tuple[str, ...]
    names: tuple[str, ...]
    phrases: tuple[str, ...]


def query(task: Mentions) -> Query:
    """The search terms of a task; common words are left out unless nothing else is there."""
    for stop in (STOP, frozenset[str]()):
        title = _words(task.title, _TITLE, stop)
        prose = _words(task.prose, _PROSE, stop)
        code = _words(task.code, _PROSE, stop)
        if title or prose or code:
            break
    return Query(
        title=tuple(title),
        spoken=tuple(dict.fromkeys([*title, *prose])),
        code=tuple(code),
        names=tuple(dict.fromkeys(_spaced(name) for name in _first(task.identifiers, _NAMED))),
        phrases=tuple(" ".join(run) for run in task.phrases[:_PHRASED]),
    )


def message_words(task: Mentions) -> list[str]:
    """The words by which past commits' messages are searched."""
    runs = _RUN.findall(f"{task.title} {task.prose} {task.code}".lower())
    telling = (word for word in dict.fromkeys(runs) if len(word) > 1 and word not in STOP)
    return _first(telling, _COMMIT)


def _words(text: str, most: int, stop: frozenset[str]) -> list[str]:
    """The different words of a text: runs of letters and digits, and the parts of camelCase."""
    found: dict[str, None] = {}
    for name in _NAME.findall(text):
        runs = [run.lower() for run in _RUN.findall(name)]
        for word in (*runs, *split_identifier(name)):
            if len(word) > 1 and word not in stop:
                found[word] = None
        if len(found) >= most:
            break
    return list(found)


def _spaced(name: str) -> str:
    """An identifier as the full text's tokens: apart at underscores, camelCase whole."""
    return name.replace("_", " ").strip()


def _first(items: Iterable[str], most: int) -> list[str]:
    return [item for item, _ in zip(items, range(most), strict=False)]
