"""Read exceptions out of text lines: Python's own tracebacks and each of pytest's styles.

Pure. One pass, one line at a time, no look-ahead, so that text cut in the middle still gives what
is left of it. It does not say which exception matters; it returns them in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

_LIBRARIES = ("site-packages/", "dist-packages/", "/lib/python", ".tox/", ".nox/", "/_pytest/")
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
_GROUP_EDGE = re.compile(r"\s*+[|+ ]*\+(?:-\+)?-{4,}(?: (?:\d+|\.\.\.) -{4,})?\s*$")
_GROUP_PREFIX = re.compile(r"(?<!\s)\s*+(?:[|] )*[|+] ")
_GROUP_LINE = re.compile(r"\s*[|+]")
_NOT_A_TYPE = frozenset({"E", "Hint", "None", "True", "False"})
_LONGEST_MESSAGE = 40  # lines


@dataclass(frozen=True)
class Frame:
    """One place of a traceback; `code` is its source line where the text shows it.

    `foreign` is set once the repository's directory is known and does not hold the path.
    """

    path: str
    line: int
    function: str = ""
    code: str = ""
    foreign: bool = False

    @property
    def inside(self) -> bool:
        """Whether it can be in the repository: not a library, interpreter or made-up file."""
        if self.foreign or self.path.startswith(("../", "~")) or "<" in self.path:
            return False
        return not any(part in self.path for part in _LIBRARIES)


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An exception as the text shows it, its frames outermost first.

    `details` are the lines that explain it (pytest's `E` lines), `source` the source lines
    shown around its frames, `syntax` the place a syntax error names, and `causes` the
    exceptions it was raised from (`direct`: by `raise ... from`), or an exception group's members.
    """

    exception: str = ""
    message: str = ""
    frames: tuple[Frame, ...] = ()
    details: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    syntax: Frame | None = None
    causes: tuple[Raised, ...] = ()
    direct: bool = False

    @property
    def inside(self) -> tuple[Frame, ...]:
        """The frames that can be in the repository."""
        return tuple(frame for frame in self.frames if frame.inside)

    @property
    def is_empty(self) -> bool:
        """Whether the text said nothing that helps."""
        return not (self.exception or self.frames or self.details)


def read_exceptions(lines: Iterable[str]) -> list[Raised]:
    """Return the exceptions that `lines` show, in order; those another came from are `causes`."""
    reader = _Reader()
    for line in lines:
        reader.feed(line.rstrip())
    reader.end()
    reader.close_group()
    return reader.done


def ends_failure(line: str) -> bool:
    """Return whether the line is `path:line: SomeError`, with which pytest ends a failure."""
    place = _PLACE.match(line)
    return place is not None and _footer(place["rest"]) is not None


def _footer(text: str) -> tuple[str, str] | None:
    """Type and message behind `path:line: `; a bare assertion names no type."""
    return ("AssertionError", text) if text.startswith("assert") else split_raised(text)


def split_raised(text: str) -> tuple[str, str] | None:
    """Return the bare type and the message of `pkg.SomeError: text`; None for other text."""
    match = _RAISED.match(text)
    if match is None or match["type"] in _NOT_A_TYPE:
        return None
    return match["type"].rpartition(".")[2], (match["message"] or "").strip()


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
        is_syntax = exception.endswith(("SyntaxError", "IndentationError", "TabError"))
        if self.syntax is not None and not is_syntax:
            self.frames.append(self.syntax)
        return Raised(
            exception=exception,
            message=message,
            frames=tuple(self.frames),
            details=tuple(self.details),
            source=tuple(self.source),
            syntax=self.syntax if is_syntax else None,
        )


class _Reader:
    """The state between two lines."""

    def __init__(self) -> None:
        self.done: list[Raised] = []
        self.open = _Open()
        self.chained = ""
        self.group: int | None = None  # where in `done` the members of an exception group begin

    def feed(self, line: str) -> None:
        if _GROUP_EDGE.match(line) and "+-" in line:  # around a member of an exception group
            self.end()
            self.open.native = True  # a member may show no traceback
            if self.group is None and self.done:
                self.group = len(self.done)
            return
        # Bars stand in front of an exception group's members; a line without one ends the group.
        if self.group is not None and line.strip() and not _GROUP_LINE.match(line):
            self.end()
            self.close_group()
        if self.group is not None or line.lstrip().startswith(("| ", "+ Exception Group")):
            line = _GROUP_PREFIX.sub("", line, count=1)
        current = self.open
        if _CHAIN.match(line):
            self.end()
            self.chained = "direct" if "direct cause" in line else "handling"
        elif _START.match(line):
            if current.exception or (current.frames and current.native):
                self.end()  # a header without a chain line above it begins a new exception
            self.open.native = not line.startswith("E ")
        elif (frame := _NATIVE.match(line)) is not None:
            if line.startswith("E"):
                current.details.append(line[1:].strip())
            place = Frame(frame["path"], int(frame["line"]), (frame["name"] or "").strip())
            if frame["name"] is None:
                current.syntax = place
                return
            if current.native and current.exception:
                self.end()
                self.open.native = True
            self.open.frames.append(place)
        else:
            self._pytest(line)

    def _pytest(self, line: str) -> None:
        """Take a line that is no traceback of Python's own: one of pytest's, or of a message."""
        current = self.open
        if line.startswith("E  ") or line == "E":
            if current.native and current.exception:
                self.end()
            body = line[1:]
            depth = len(body) - len(body.lstrip())
            if not self.open.details:
                self.open.indent = depth
            self.open.details.append(body[min(self.open.indent, depth) :])
        elif current.native and current.exception:
            if len(current.message) < _LONGEST_MESSAGE:  # a message of several lines
                current.message.append(line)
        elif _SEPARATOR.match(line):
            current.function = ""
        elif (place := _PLACE.match(line)) is not None and not line[0].isspace():
            self._place(place)
        else:
            self._source(line)

    def close_group(self) -> None:
        """Hang the members of an exception group under the exception that they follow."""
        if self.group is None:
            return
        at, self.group = self.group, None
        members = tuple(self.done[at:])
        del self.done[at:]
        self.done[at - 1] = replace(self.done[at - 1], causes=self.done[at - 1].causes + members)

    def end(self) -> None:
        """Close the exception that is being read; what it was raised from becomes its cause."""
        closed, self.open = self.open.close(), _Open()
        if closed.is_empty:
            return
        if self.chained and self.done:
            earlier = self.done.pop()
            causes = (*earlier.causes, replace(earlier, causes=()))
            closed = replace(closed, causes=causes, direct=self.chained == "direct")
        self.chained = ""
        self.done.append(closed)

    def _place(self, match: re.Match[str]) -> None:
        """`path:line:` of pytest, with `in name`, an exception, or nothing after it."""
        rest, path, number = match["rest"], match["path"], int(match["line"])
        if rest.startswith("in "):
            # Details below frames close a traceback of the short style.
            if self.open.exception or (self.open.frames and self.open.details):
                self.end()
            self.open.frames.append(Frame(path, number, rest[3:].strip()))
            return
        named = _footer(rest)
        if rest and named is None:
            return
        code = next((s[1:].strip() for s in reversed(self.open.source) if s[:1] == ">"), "")
        self.open.frames.append(Frame(path, number, self.open.function, code))
        if named is not None:
            self.open.exception = self.open.exception or named[0]
            if named[1]:
                self.open.message = [named[1]]
            self.end()

    def _source(self, line: str) -> None:
        current, text = self.open, line.strip()
        if not text:
            return
        if current.native and not line[0].isspace():
            named = split_raised(line)
            if named is not None:
                current.exception, current.message = named[0], [named[1]]
            return
        if set(text) <= {"^", "~"}:
            return
        if (definition := _DEFINITION.match(line)) is not None and not current.function:
            current.function = definition[1]
        if line[0].isspace() or line[0] == ">":
            current.source.append(line)
            frames = current.frames
            if frames and frames[-1].function and not frames[-1].code:
                frames[-1] = replace(frames[-1], code=text.lstrip("> "))


def _from_details(details: list[str]) -> tuple[str, str] | None:
    """Type and message in pytest's `E` lines; a syntax error is below the line it names."""
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
