"""Read a diff for what it touched: runs of changed lines, each with the function that holds it.

Pure. The function is told by indentation and by the line that git puts behind a hunk's second `@@`,
so that a language needs no more than a line that looks like a definition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from self_coding.reflection.tracebacks import Frame

MODULE = "<module>"
WORD = re.compile(r"[A-Za-z_]\w+")
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(?P<start>\d+)(?:,\d+)? @@ ?(?P<head>.*)$")
_DEFINITION = re.compile(
    r"(?P<indent>\s*)(?:"
    r"(?:(?:async|export|default|pub(?:\([a-z]{1,9}\))?|unsafe|const|static)\s+)*"
    r"(?:def|(?P<kind>class)|fn|function\*?|func(?:\s*\([^()\n]{0,80}\))?)\s+(?P<name>\w+)"
    # A method of Java or TypeScript: words, its name, arguments, an opening brace.
    r"|(?!(?:if|else|for|while|switch|catch|do|try|return|new|synchronized|match|loop|let)\b)"
    r"(?:[\w<>\[\],.?@]{1,80}\s{1,9}){0,6}(?!let\b)(?P<method>[A-Za-z_]\w{0,80})\s?\([^;{}\n]{0,200}\)"
    r"[^;{}()=\n]{0,80}\{\s*(?://.*)?$"
    # A function that JavaScript gives a name to.
    r"|(?:(?:export|const|let|var)\s{1,9}){0,2}(?:[\w$]{1,80}\.){0,9}(?P<given>[\w$]{1,80})"
    r"\s{0,9}=\s{0,9}(?:async\s{1,9})?(?:function\b|\(?[\w$, ]{0,200}\)?\s{0,9}=>))"
)
_BESIDE = ("indent", "kind")


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """One run of changed lines: their function, their new line numbers, their words, their text.

    `exact` is unset where only a class, or nothing, is known to hold them: a diff shows three lines
    around a change, and git the last unindented one above it.
    """

    function: str
    exact: bool = True
    first: int
    last: int
    words: frozenset[str]
    text: str = ""

    def holds(self, frame: Frame) -> bool:
        """Return whether a frame of the same file is on the changed lines."""
        return self.first <= frame.line <= self.last


@dataclass
class _OpenHunk:
    """A hunk that is being read."""

    head: str
    line: int
    above: list[str] = field(default_factory=list)
    changed: list[tuple[int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    function: str | None = None
    exact: bool = True

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
        """The definition that holds a changed line; its own name where it is one."""
        own = _DEFINITION.match(text)
        if own is not None:
            return _name(own)
        depth = _indent(text)
        for line in reversed(self.above):
            definition = _DEFINITION.match(line)
            if definition is not None and len(definition["indent"]) < depth:
                self.exact = not definition["kind"]
                return _name(definition)
            if line.strip():
                depth = min(depth, _indent(line) + (definition is None))
        # Git puts the nearest definition above the hunk behind its second `@@`.
        head = _DEFINITION.match(self.head)
        named = head is not None and _indent(text) and _name(head)
        self.exact = bool(named and head and not head["kind"])
        return named or MODULE

    def close(self) -> Hunk | None:
        if not self.changed:
            return None
        return Hunk(
            function=self.function or MODULE,
            exact=self.exact and bool(self.function),
            first=self.changed[0][0],
            last=self.changed[-1][0],
            words=frozenset(word for _, text in self.changed for word in WORD.findall(text)),
            text="\n".join(self.lines),
        )


def read_hunks(diff: str) -> dict[str, tuple[Hunk, ...]]:
    """Return the hunks of each file of a diff, by its new path, or the old one where it is gone."""
    hunks: dict[str, list[Hunk]] = {}
    path, old = "", ""
    current: _OpenHunk | None = None
    for line in [*diff.split("\n"), "diff --git"]:
        if line.startswith(("diff --git", "--- ", "@@ ")) or (line.startswith("+++ ") and old):
            ended = hunks.setdefault(path, []) if path else []
            if current is not None and (hunk := current.close()) is not None:
                ended.append(hunk)
            current = None
        if line.startswith("--- "):
            old = _path(line[4:])
        elif line.startswith("+++ ") and old:
            path, old = _path(line[4:]) or old, ""
        elif (start := _HUNK.match(line)) is not None and path:
            current = _OpenHunk(start["head"], int(start["start"]))
        elif current is not None and (not line or line[0] in "+- "):
            current.feed(line)
    return {name: tuple(many) for name, many in hunks.items()}


def _path(text: str) -> str:
    name = text.partition("\t")[0].strip().strip('"')
    return "" if name == "/dev/null" else re.sub(r"^[abciow]/", "", name)


def _name(definition: re.Match[str]) -> str:
    return next(text for key, text in definition.groupdict().items() if text and key not in _BESIDE)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
