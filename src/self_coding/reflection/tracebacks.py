"""Reads exceptions out of text lines: Python's own tracebacks and each of pytest's styles.

One pass, one line at a time, no look-ahead, so that text cut in the middle still gives what is
left of it. It refuses to say which exception matters; it returns them in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from self_coding.reflection.reports import Frame, Raised

_START = re.compile(r"\s*(?:E\s+)?(?:Exception Group )?Traceback(?: \(most recent call last\))?:$")
_CHAIN = re.compile(
    r"(?:E\s+)?(?:The above exception was the direct cause of the following exception:"
    r"|During handling of the above exception, another exception occurred:)$"
)
_NATIVE = re.compile(
    r'\s*(?:E\s+)?File "(?P<path>[^"]+)", line (?P<line>\d+)(?:,? in (?P<name>.+))?$'
)
_PLACE = re.compile(
    r"(?P<path>(?:[A-Za-z]:)?[^\s:'\"()=,<][^:'\"()=,]*\.\w{1,5}|<[^<>]+>)"
    r":(?P<line>\d+): ?(?P<rest>.*)$"
)
_SEPARATOR = re.compile(r"(?:_ ){3,}_?\s*$")
_DEFINITION = re.compile(r">?\s*(?:async\s+)?(?:def|class)\s+(\w+)")
_RAISED = re.compile(
    r"(?P<type>(?:\w+\.|<locals>\.)*(?:[A-Z_]\w*|\w+(?:error|exception|warning|exit|interrupt)"
    r"|(?<=\.)\w+))(?::\s?(?P<message>.*)|\s*)$",
    re.DOTALL,
)
_GROUP_EDGE = re.compile(r"\s*[|+ ]*\+(?:-\+)?-{4,}(?: (?:\d+|\.\.\.) -{4,})?\s*$")
_GROUP_PREFIX = re.compile(r"\s*(?:[|] )*[|+] ")
_GROUP_LINE = re.compile(r"\s*[|+]")
_NO_NAME = frozenset({"E", "Hint", "None", "True", "False"})
_LONGEST_MESSAGE = 40  # lines


def read_raised(lines: Iterable[str]) -> list[Raised]:
    """The exceptions that `lines` show, in order; those another came from are its `causes`."""
    reader = _Reader()
    for line in lines:
        reader.feed(line)
    return reader.finish()


def ends_failure(line: str) -> bool:
    """Whether the line is `path:line: SomeError`, with which pytest ends a failure."""
    found = _PLACE.match(line)
    return found is not None and _footer(found["rest"]) is not None


def _footer(text: str) -> tuple[str, str] | None:
    """Type and message behind `path:line: `; a bare assertion names no type."""
    return ("AssertionError", text) if text.startswith("assert") else split_raised(text)


def split_raised(text: str) -> tuple[str, str] | None:
    """The bare type and the message of `pkg.SomeError: text`; None where it is neither."""
    found = _RAISED.match(text)
    if found is None or found["type"] in _NO_NAME:
        return None
    return found["type"].rpartition(".")[2], (found["message"] or "").strip()


@dataclass
class _Open:
    """An exception that is still being read."""

    exception: str = ""
    message: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    syntax: Frame | None = None
    function: str = ""
    native: bool = False
    indent: int = 0

    def close(self) -> Raised:
        """What was read, with the type taken from the details where no footer gave it."""
        named = _from_details(self.details)
        message = "\n".join(self.message).strip()
        exception = self.exception
        if named is not None and (not exception or exception == named[0]):
            exception = named[0]
            message = named[1] or message
        if not exception and any(line.startswith("assert") for line in self.details[:1]):
            exception = "AssertionError"
        if exception == "AssertionError" and not message and self.details:
            message = "\n".join(self.details)
        syntax = (
            self.syntax
            if exception.endswith(("SyntaxError", "IndentationError", "TabError"))
            else None
        )
        frames = list(self.frames)
        if self.syntax is not None and syntax is None:
            frames.append(self.syntax)
        return Raised(
            exception=exception,
            message=message,
            frames=tuple(frames),
            details=tuple(self.details),
            source=tuple(self.source),
            syntax=syntax,
        )


class _Reader:
    """The state between two lines."""

    def __init__(self) -> None:
        self.done: list[Raised] = []
        self.open = _Open()
        self.chained = ""
        self.group: int | None = None

    def feed(self, line: str) -> None:
        line = line.rstrip()
        if _GROUP_EDGE.match(line) and ("+-" in line):
            self._edge()
            return
        if self.group is not None and line.strip() and not _GROUP_LINE.match(line):
            self._end()
            self._ungroup()
        if self.group is not None or line.lstrip().startswith(("| ", "+ Exception Group")):
            line = _GROUP_PREFIX.sub("", line, count=1)
        if _CHAIN.match(line):
            self._end()
            self.chained = "direct" if "direct cause" in line else "handling"
        elif _START.match(line):
            self._start(line)
        elif (found := _NATIVE.match(line)) is not None:
            self._native(found, line)
        elif line.startswith("E  ") or line == "E":
            self._detail(line)
        elif self.open.native and self.open.exception:
            self._continued(line)
        elif _SEPARATOR.match(line):
            self.open.function = ""
        elif (found := _PLACE.match(line)) is not None and not line[0].isspace():
            self._place(found)
        else:
            self._source(line)

    def finish(self) -> list[Raised]:
        """Everything read; group members and causes hang under what they led to."""
        self._end()
        self._ungroup()
        return self.done

    def _edge(self) -> None:
        """A line around a member of an exception group; a member may show no traceback."""
        self._end()
        self.open.native = True
        if self.group is None and self.done:
            self.group = len(self.done)

    def _ungroup(self) -> None:
        if self.group is None:
            return
        at, self.group = self.group, None
        members = tuple(self.done[at:])
        del self.done[at:]
        self.done[at - 1] = replace(self.done[at - 1], causes=self.done[at - 1].causes + members)

    def _start(self, line: str) -> None:
        """A traceback header; one that stands alone begins a new exception."""
        if self.open.exception or (self.open.frames and self.open.native):
            self._end()
        self.open.native = not line.startswith("E ")

    def _end(self) -> None:
        closed, self.open = self.open.close(), _Open()
        if closed.is_empty:
            return
        if self.chained and self.done:
            earlier = self.done.pop()
            causes = (*earlier.causes, replace(earlier, causes=()))
            closed = replace(closed, causes=causes, direct=self.chained == "direct")
        self.chained = ""
        self.done.append(closed)

    def _native(self, found: re.Match[str], line: str) -> None:
        frame = Frame(found["path"], int(found["line"]), (found["name"] or "").strip())
        if line.startswith("E"):
            self.open.details.append(line[1:].strip())
        if found["name"] is None:
            self.open.syntax = frame
            return
        if self.open.native and self.open.exception:
            self._end()
            self.open.native = True
        self.open.frames.append(frame)

    def _detail(self, line: str) -> None:
        if self.open.native and self.open.exception:
            self._end()
        body = line[1:]
        if not self.open.details:
            self.open.indent = len(body) - len(body.lstrip())
        shift = min(self.open.indent, len(body) - len(body.lstrip()))
        self.open.details.append(body[shift:])

    def _place(self, found: re.Match[str]) -> None:
        """`path:line:` of pytest, with `in name`, an exception, or nothing after it."""
        rest = found["rest"]
        path, number = found["path"], int(found["line"])
        if rest.startswith("in "):
            if self.open.exception or self._finished():
                self._end()
            self.open.frames.append(Frame(path, number, rest[3:].strip()))
            return
        named = _footer(rest)
        code = next((s[1:].strip() for s in reversed(self.open.source) if s[:1] == ">"), "")
        if rest and named is None:
            return
        self.open.frames.append(Frame(path, number, self.open.function, code))
        if named is not None:
            self.open.exception = self.open.exception or named[0]
            if named[1]:
                self.open.message = [named[1]]
            self._end()

    def _finished(self) -> bool:
        """Whether details already closed a short-style traceback."""
        return bool(self.open.frames and self.open.details)

    def _continued(self, line: str) -> None:
        """A further line of a native exception's message, until the text goes on elsewhere."""
        if len(self.open.message) < _LONGEST_MESSAGE:
            self.open.message.append(line)

    def _source(self, line: str) -> None:
        now = self.open
        if not line.strip():
            return
        if now.native and not line[0].isspace():
            named = split_raised(line)
            if named is not None:
                now.exception, now.message = named[0], [named[1]]
            return
        text = line.strip()
        if set(text) <= {"^", "~"}:
            return
        if (found := _DEFINITION.match(line)) is not None and not now.function:
            now.function = found[1]
        if line[0].isspace() or line[0] == ">":
            now.source.append(line)
            self._code(text)

    def _code(self, text: str) -> None:
        """The line below a frame that has none yet is its code."""
        frames = self.open.frames
        if frames and frames[-1].function and not frames[-1].code:
            frames[-1] = replace(frames[-1], code=text.lstrip("> "))


def _from_details(details: list[str]) -> tuple[str, str] | None:
    """Type and message in pytest's `E` lines; a syntax error stands below the line it names."""
    for number, line in enumerate(details):
        if number and not details[0].startswith('File "'):
            break
        if line.startswith("assert ") or line == "assert":
            return "AssertionError", "\n".join(details)
        named = split_raised(line.strip())
        if named is not None:
            rest = details[number + 1 :]
            return named[0], "\n".join([named[1], *rest]).strip()
    return None
