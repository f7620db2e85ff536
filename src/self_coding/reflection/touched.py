"""Reads a unified diff for what it touched: files, functions, lines, words.

Only what blame needs. It refuses to apply or to judge a diff, and reads a cut one as far as it
goes; a function is named by the nearest definition above a changed line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(?P<start>\d+)(?:,\d+)? @@ ?(?P<head>.*)$")
_DEFINITION = re.compile(r"(?P<indent>\s*)(?:async\s+)?(?:def|class)\s+(?P<name>\w+)")
_WORD = re.compile(r"[A-Za-z_]\w+")
MODULE = "<module>"


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """One run of changed lines: the function they lie in, their new line numbers, their words."""

    function: str
    first: int
    last: int
    words: frozenset[str]
    text: str = ""


@dataclass
class _Open:
    """A hunk that is being read."""

    head: str
    line: int
    above: list[str] = field(default_factory=list)
    changed: list[tuple[int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    function: str | None = None

    def feed(self, raw: str) -> None:
        mark, text = raw[:1], raw[1:]
        self.lines.append(raw)
        if mark in "+-" and mark:
            if self.function is None and text.strip():
                self.function = self._enclosing(text)
            self.changed.append((self.line, text))
        self.above.append(text)
        if mark != "-":
            self.line += 1

    def _enclosing(self, text: str) -> str:
        """The definition that a changed line lies in; its own name where it is one."""
        own = _DEFINITION.match(text)
        if own is not None:
            return own["name"]
        depth = _indent(text)
        for line in reversed(self.above):
            found = _DEFINITION.match(line)
            if found is not None and len(found["indent"]) < depth:
                return found["name"]
            if line.strip():
                depth = min(depth, _indent(line) + (found is None))
        found = _DEFINITION.match(self.head)
        return found["name"] if found is not None and _indent(text) else MODULE

    def close(self) -> Hunk | None:
        if not self.changed:
            return None
        words = frozenset(word for _, text in self.changed for word in _WORD.findall(text))
        return Hunk(
            function=self.function or MODULE,
            first=self.changed[0][0],
            last=self.changed[-1][0],
            words=words,
            text="\n".join(self.lines),
        )


def touched(diff: str) -> dict[str, tuple[Hunk, ...]]:
    """For each file of the diff (its new path, or the old one where it is gone), its hunks."""
    found: dict[str, list[Hunk]] = {}
    path, old = "", ""
    opened: _Open | None = None
    for line in [*diff.split("\n"), "diff --git"]:
        if line.startswith(("diff --git", "--- ", "@@ ")) or (line.startswith("+++ ") and old):
            _close(opened, found.setdefault(path, []) if path else [])
            opened = None
        if line.startswith("--- "):
            old = _path(line[4:])
        elif line.startswith("+++ ") and old:
            path, old = _path(line[4:]) or old, ""
        elif (start := _HUNK.match(line)) is not None and path:
            opened = _Open(start["head"], int(start["start"]))
        elif opened is not None and (not line or line[0] in "+- "):
            opened.feed(line)
    return {name: tuple(hunks) for name, hunks in found.items()}


def _close(opened: _Open | None, into: list[Hunk]) -> None:
    hunk = opened.close() if opened is not None else None
    if hunk is not None:
        into.append(hunk)


def _path(text: str) -> str:
    name = text.partition("\t")[0].strip().strip('"')
    return "" if name == "/dev/null" else re.sub(r"^[abciow]/", "", name)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def functions(hunks: Iterable[Hunk]) -> tuple[str, ...]:
    """The functions that hunks lie in, each once, in order."""
    return tuple(dict.fromkeys(hunk.function for hunk in hunks))
