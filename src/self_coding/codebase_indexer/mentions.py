"""What a task's text names: its title, prose, code, paths, modules, identifiers and frames.

Pure: text in, a `Mentions` out. It knows no repository, so it decides nothing about which of the
names exist. It never fails on any text, and reads a bounded part of a very long one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD, _TAIL = 24_000, 8_000  # characters read of a long text: its start, and where logs end

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_URL = re.compile(r"\bhttps?://\S+")
_BLOB_URL = re.compile(r"/(?:blob|tree|raw)/[^/\s]+/([\w./-]+\.py)\b")
_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)
_VERSIONS = re.compile(r"(?:INSTALLED VERSIONS|Versions? of |show_versions\(\))", re.IGNORECASE)
_VERSION_LINE = re.compile(
    r"^[ \t>|]*\W{0,3}[\w.()/ -]{1,40}\W{0,3}(?:[:=]{1,3}|[ \t])[ \t\"]*"
    r"(?:v?\d+(?:\.\d+)+\S*|None|null|N/A|\{)[ \t\",|]*$",
    re.MULTILINE,
)
_CHECKBOX = re.compile(r"^[ \t]*[-*] \[[ xX]\][^\n]*$", re.MULTILINE)
_FRAME = re.compile(r"File \"([^\"\n]+\.py)\", line (\d+)(?:, in ([\w.<>]+))?")
_PYTEST_FRAME = re.compile(r"^[ \t>]*([\w./\\-]+\.py):(\d+):", re.MULTILINE)
_PATH = re.compile(r"(?<![\w/.\\-])(?:[\w.-]+[/\\])*[\w-]+\.py\b")
_FOLDER = re.compile(r"(?<![\w/.:-])(?:[A-Za-z_][\w-]*/){1,8}[A-Za-z_][\w-]*(?![\w./-])")
_DOTTED = re.compile(r"(?<![\w/.-])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_TICKED = re.compile(r"``?([^`\n]{1,200})``?")
_NAME = re.compile(r"[A-Za-z_]\w*")
_CALLED = re.compile(r"\b([A-Za-z_]\w*)\(")
_CODE_LIKE = re.compile(r"_|[a-z0-9][A-Z]|^[A-Z]{2,}[a-z]")
_HYPHENED = re.compile(r"(?<![\w-])-{0,2}([A-Za-z]\w*(?:[-_]\w+)+)")
_WORD = re.compile(r"[^\W_]+")

_COMMON_NAMES = """
self cls print return import from def class if else elif for in is not and or none true false str
int float bool list dict set tuple object type len range open file line the a e i x y s f t n os
sys re np pd python test tests main name data value args kwargs foo bar __init__ __main__ __name__
__file__ module
"""
_COMMON = frozenset(_COMMON_NAMES.split())  # keywords, built-ins, placeholders: they tell nothing


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One line of a traceback: the file as it was printed there, and the function."""

    path: str
    function: str = ""


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """A task's text taken apart; every part keeps the order of the text.

    `identifiers` maps a code-like name to how plainly it was named: 1 in title or back-ticks,
    less inside pasted code. `phrases` are compound names as runs of words, lower-case.
    """

    title: str
    prose: str
    code: str
    identifiers: dict[str, float]
    paths: tuple[str, ...]
    modules: tuple[str, ...]
    frames: tuple[Frame, ...]
    phrases: tuple[tuple[str, ...], ...]


def read(task: str) -> Mentions:
    """Take a task's text apart; any characters may stand in it."""
    text = task if len(task) <= _HEAD + _TAIL else task[:_HEAD] + "\n" + task[-_TAIL:]
    text = text.replace("\r\n", "\n").replace("\0", " ").strip()
    linked = tuple(_BLOB_URL.findall(text))
    text = _CHECKBOX.sub(" ", _COMMENT.sub(" ", text))
    frames = tuple(_frames(text))
    title, _, rest = text.partition("\n")
    prose, code = _split_code(_without_versions(rest))
    title, prose = _URL.sub(" ", title), _URL.sub(" ", prose)
    spoken = f"{title}\n{prose}"
    return Mentions(
        title=title,
        prose=prose,
        code=code,
        identifiers=_identifiers(title, prose, code),
        paths=tuple(dict.fromkeys([*linked, *_paths(spoken)])),
        modules=tuple(dict.fromkeys(_DOTTED.findall(spoken))),
        frames=frames,
        phrases=_phrases(spoken),
    )


def _without_versions(text: str) -> str:
    """Drop the dump of installed versions that issue templates ask for."""
    found = _VERSIONS.search(text)
    if found and len(_VERSION_LINE.findall(text, found.start())) >= 5:
        start = text.rfind("\n", 0, found.start()) + 1
        text = text[:start]
    return _VERSION_LINE.sub(" ", text)


def _split_code(text: str) -> tuple[str, str]:
    """Prose and pasted code: fenced blocks, and lines that a prompt or an indent marks."""
    code = [match.group(2) for match in _FENCE.finditer(text)]
    prose: list[str] = []
    for line in _FENCE.sub("\n", text).split("\n"):
        indented = line.startswith(("    ", "\t", ">>>", "...", "$ ", "E  ", "In ["))
        (code if indented and not line.lstrip().startswith(("-", "*")) else prose).append(line)
    return "\n".join(prose), "\n".join(code)


def _frames(text: str) -> Iterator[Frame]:
    for match in _FRAME.finditer(text):
        yield Frame(path=match.group(1).replace("\\", "/"), function=match.group(3) or "")
    for match in _PYTEST_FRAME.finditer(text):
        yield Frame(path=match.group(1).replace("\\", "/"))


def _paths(text: str) -> Iterator[str]:
    for match in _PATH.findall(text):
        yield match.replace("\\", "/").removeprefix("./")
    yield from _FOLDER.findall(text)


def _identifiers(title: str, prose: str, code: str) -> dict[str, float]:
    found: dict[str, float] = {}

    def note(names: list[str], weight: float) -> None:
        for name in names:
            if len(name) > 2 and name.lower() not in _COMMON:
                found[name] = max(found.get(name, 0.0), weight)

    for text, weight in ((title, 1.0), (prose, 0.7)):
        for ticked in _TICKED.findall(text):
            note(_NAME.findall(ticked), weight)
        note([name for name in _NAME.findall(text) if _CODE_LIKE.search(name)], weight)
        note(_CALLED.findall(text), weight)
        for dotted in _DOTTED.findall(text):
            note(dotted.split("."), weight)
    note([name for name in _NAME.findall(code) if _CODE_LIKE.search(name)], 0.4)
    note(_CALLED.findall(code), 0.4)
    for dotted in _DOTTED.findall(code):
        note(dotted.split("."), 0.4)
    return found


def _phrases(text: str) -> tuple[tuple[str, ...], ...]:
    """Compound names as runs of words: `--import-mode`, `unused_import`, `assert.rewrite`."""
    runs: dict[tuple[str, ...], None] = {}
    names = [*_HYPHENED.findall(text), *_TICKED.findall(text), *_DOTTED.findall(text)]
    for name in names:
        run = tuple(word.lower() for word in _WORD.findall(name))
        if 2 <= len(run) <= 4:
            runs[run] = None
    return tuple(runs)
