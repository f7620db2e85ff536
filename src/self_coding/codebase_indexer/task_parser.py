"""Read a task's text: what it names, and which words to look up in the full text.

Pure. It knows no repository, so it does not decide which of the names exist. It accepts any text
and reads a bounded part of a very long one. Ranking the matches is left to `ranking`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from self_coding.languages import suffixes
from self_coding.retrieval import split_identifier

_HEAD, _TAIL = 24_000, 8_000  # characters read of a long text: its start, and where logs end

_SUFFIX = f"(?:{'|'.join(re.escape(suffix) for suffix in suffixes())})"

# What issue templates add: comments, check boxes, dumps of installed versions.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_CHECKBOX = re.compile(r"^[ \t]*[-*] \[[ xX]\][^\n]*$", re.MULTILINE)
_VERSIONS = re.compile(r"(?:INSTALLED VERSIONS|Versions? of |show_versions\(\))", re.IGNORECASE)
_VERSION_LINE = re.compile(
    r"^[ \t>|]*+[^\w\n]{0,3}[\w.()/ -]{1,40}[^\w\n]{0,3}(?:[:=]{1,3}|[ \t])[ \t\"]{0,80}+"
    r"(?:v?\d+(?:\.\d+)+\S*|None|null|N/A|\{)[ \t\",|]*$",
    re.MULTILINE,
)
_URL = re.compile(r"\bhttps?://\S+")
_BLOB_URL = re.compile(rf"/(?:blob|tree|raw)/[^/\s]+/([\w./-]{{1,300}}{_SUFFIX})\b")
_FENCE = re.compile(
    r"^[ \t]*(```++|~~~++)[^\n]*+\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)
_CODE_LINE = ("    ", "\t", ">>>", "...", "$ ", "E  ", "In [")
_FRAME = re.compile(rf"File \"([^\"\n]+{_SUFFIX})\", line (\d+)")
_PLACE = re.compile(
    rf"(?:^|[\s(@]|file://)(?P<path>(?:[A-Za-z]:)?[\w.@+/\\-]{{1,300}}{_SUFFIX}):(?P<line>\d{{1,7}})\b"
)
_JAVA_FRAME = re.compile(
    r"\bat ([\w.]{1,200})(?:\$[\w$]{1,100})?\.[\w$<>]{1,100}\(\w{1,100}\.java:(\d{1,7})\)"
)
_PATH = re.compile(rf"(?<![\w/.\\-])(?:[\w.-]+[/\\])*[\w-]+{_SUFFIX}\b")
_FOLDER = re.compile(r"(?<![\w/.:-])(?:[A-Za-z_][\w-]*/){1,8}[A-Za-z_][\w-]*(?![\w./-])")
_DOTTED = re.compile(r"(?<![\w/.-])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_TICKED = re.compile(r"``?([^`\n]{1,200})``?")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_CALLED = re.compile(r"\b([A-Za-z_]\w*)\(")
_CODE_LIKE = re.compile(r"_|[a-z0-9][A-Z]|^[A-Z]{2,}[a-z]")
_HYPHENED = re.compile(r"(?<![\w-])-{0,2}([A-Za-z]\w*(?:[-_]\w+)+)")
_RUN = re.compile(r"[^\W_]+")
_NAME = re.compile(r"\w+")

# Keywords, built-ins and placeholders: as identifiers they say nothing.
_COMMON_NAMES = """
self cls print return import from def class if else elif for in is not and or none true false str
int float bool list dict set tuple object type len range open file line the a e i x y s f t n os
sys re np pd python test tests main name data value args kwargs foo bar __init__ __main__ __name__
__file__ module
"""
_COMMON = frozenset(_COMMON_NAMES.split())
_STOP_WORDS = """
the a an is are was were be been to of in on for and or not it its this that with as at by from if
i we you he my your our can could should would will shall do does did done have has had but so when
then than there here what which who how why also only just about into out up down some any all no
more most such via use using used get got self def return import none true false class
"""
STOP = frozenset(_STOP_WORDS.split())

# Different terms looked up of each part of a task.
_TITLE_WORDS, _PROSE_WORDS, _NAMES, _PHRASES, _MESSAGE_WORDS = 60, 90, 60, 40, 60


@dataclass(frozen=True, kw_only=True)
class Task:
    """The parts of a task's text, each in the order of the text.

    `identifiers` maps a code-like name to how plainly it was named: 1 in title or back-ticks,
    less inside pasted code. `places` are file and line of a traceback's frames, as they were
    printed there, innermost last;
    `phrases` are compound names as runs of lower-case words.
    """

    title: str
    prose: str
    code: str
    identifiers: dict[str, float]
    paths: tuple[str, ...]
    modules: tuple[str, ...]
    places: tuple[tuple[str, int], ...]
    phrases: tuple[str, ...]


class SearchTerms(NamedTuple):
    """What to look up: words of the title, of title and prose, of pasted code; names, phrases.

    A term of several words is a phrase, which is how a compound identifier is found.
    """

    title: tuple[str, ...]
    spoken: tuple[str, ...]
    code: tuple[str, ...]
    names: tuple[str, ...]
    phrases: tuple[str, ...]


def parse_task(text: str) -> Task:
    """Split a task's text into its parts."""
    if len(text) > _HEAD + _TAIL:
        text = text[:_HEAD] + "\n" + text[-_TAIL:]
    text = text.replace("\r\n", "\n").replace("\0", " ").strip()
    # A link to a file names it, though URLs say nothing as prose.
    linked = _BLOB_URL.findall(text)
    text = _CHECKBOX.sub(" ", _COMMENT.sub(" ", text))
    # Tracebacks are pasted with a fence, with an indent or with neither: look everywhere.
    places = list(_places(text))
    title, _, rest = text.partition("\n")
    dump = _VERSIONS.search(rest)
    if dump and len(_VERSION_LINE.findall(rest, dump.start())) >= 5:
        rest = rest[: rest.rfind("\n", 0, dump.start()) + 1]
    rest = _VERSION_LINE.sub(" ", rest)
    # Code is what a fence holds, and lines with a prompt or an indent that are no list.
    blocks = [match[2] for match in _FENCE.finditer(rest)]
    lines: list[str] = []
    for line in _FENCE.sub("\n", rest).split("\n"):
        is_code = line.startswith(_CODE_LINE) and not line.lstrip().startswith(("-", "*"))
        (blocks if is_code else lines).append(line)
    prose, code = "\n".join(lines), "\n".join(blocks)
    title, prose = _URL.sub(" ", title), _URL.sub(" ", prose)
    spoken = f"{title}\n{prose}"
    compounds = [*_HYPHENED.findall(spoken), *_TICKED.findall(spoken), *_DOTTED.findall(spoken)]
    runs = [[word.lower() for word in _RUN.findall(name)] for name in compounds]
    paths = [path.replace("\\", "/").removeprefix("./") for path in _PATH.findall(spoken)]
    return Task(
        title=title,
        prose=prose,
        code=code,
        identifiers=_identifiers(title, prose, code),
        paths=tuple(dict.fromkeys([*linked, *paths, *_FOLDER.findall(spoken)])),
        modules=tuple(dict.fromkeys(_DOTTED.findall(spoken))),
        places=tuple(places),
        phrases=tuple(dict.fromkeys(" ".join(run) for run in runs if 2 <= len(run) <= 4)),
    )


def _places(text: str) -> Iterator[tuple[str, int]]:
    """Yield file and line of the frames of a pasted stack trace, innermost last."""
    for path, line in _FRAME.findall(text):
        yield path.replace("\\", "/"), int(line)
    others = [
        (match["path"].replace("\\", "/"), int(match["line"])) for match in _PLACE.finditer(text)
    ]
    yield from (each for each in others if each[0].endswith(".py"))
    # All but Python's begin with the innermost frame.
    yield from (each for each in reversed(others) if not each[0].endswith((".py", ".java")))
    for dotted, line in reversed(_JAVA_FRAME.findall(text)):
        yield f"{dotted.replace('.', '/')}.java", int(line)


def _identifiers(title: str, prose: str, code: str) -> dict[str, float]:
    weights: dict[str, float] = {}

    def note(names: Iterable[str], weight: float) -> None:
        for name in names:
            if len(name) > 2 and name.lower() not in _COMMON:
                weights[name] = max(weights.get(name, 0.0), weight)

    for text, weight, ticked in (
        (title, 1.0, _TICKED.findall(title)),
        (prose, 0.7, _TICKED.findall(prose)),
        (code, 0.4, []),
    ):
        note(_IDENTIFIER.findall(" ".join(ticked)), weight)
        note((name for name in _IDENTIFIER.findall(text) if _CODE_LIKE.search(name)), weight)
        note(_CALLED.findall(text), weight)
        for dotted in _DOTTED.findall(text):
            note(dotted.split("."), weight)
    return weights


def search_terms(task: Task) -> SearchTerms:
    """Return the terms to look up; common words are left out unless there is nothing else."""
    for stop in (STOP, frozenset[str]()):
        title = _words(task.title, _TITLE_WORDS, stop)
        prose = _words(task.prose, _PROSE_WORDS, stop)
        code = _words(task.code, _PROSE_WORDS, stop)
        if title or prose or code:
            break
    # The full text splits at underscores alone, so camelCase stays whole.
    names = [name.replace("_", " ").strip() for name in islice(task.identifiers, _NAMES)]
    return SearchTerms(
        title=tuple(title),
        spoken=tuple(dict.fromkeys([*title, *prose])),
        code=tuple(code),
        names=tuple(dict.fromkeys(names)),
        phrases=task.phrases[:_PHRASES],
    )


def message_words(task: Task) -> list[str]:
    """Return the words by which past commits' messages are searched."""
    runs = dict.fromkeys(_RUN.findall(f"{task.title} {task.prose} {task.code}".lower()))
    telling = (word for word in runs if len(word) > 1 and word not in STOP)
    return list(islice(telling, _MESSAGE_WORDS))


def _words(text: str, most: int, stop: frozenset[str]) -> list[str]:
    """Return the different runs of letters and digits of a text, and the parts of camelCase."""
    words: dict[str, None] = {}
    for name in _NAME.findall(text):
        runs = [run.lower() for run in _RUN.findall(name)]
        for word in (*runs, *split_identifier(name)):
            if len(word) > 1 and word not in stop:
                words[word] = None
        if len(words) >= most:
            break
    return list(words)
