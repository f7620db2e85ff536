"""Pure: search-and-replace edits as a model proposes them, applied exactly or not at all.

File contents come in as text and go out as text. Refused are a search text that does not occur
exactly once, a path that leads out of the worktree or was not planned, and Python that does not
parse; each refusal says what to do instead, since a model reads it.
"""

from __future__ import annotations

import ast
import bisect
import difflib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from self_coding.text import shorten

_MOST_FILES = 12
_QUOTED = 200  # characters of a text that an objection quotes
_LINE_END = re.compile(r"(?:(?<!\r)\r++)?\n|\r")  # a run of them is tried once


@dataclass(frozen=True)
class Plan:
    """What a model means to do: the approach in words, and the files it must read and change.

    `files` are paths from the top of the repository; one that does not exist yet is created.
    """

    approach: str
    files: list[str]


@dataclass(frozen=True)
class Replacement:
    """One edit: `search` is copied from the file exactly and occurs once; empty for a new file."""

    path: str
    search: str
    replace: str


@dataclass(frozen=True)
class Edits:
    """All edits of one reply, applied in order, and what they do in one sentence."""

    summary: str
    edits: list[Replacement]


@dataclass(frozen=True)
class Applied:
    """The new contents of the files that changed, or why nothing was applied."""

    files: Mapping[str, str]
    problem: str = ""


def plan_problem(plan: Plan) -> str:
    """Return what is wrong with a plan, in words its author can act on; empty for nothing."""
    if not plan.files:
        return "files must name at least one file to change or create"
    if len(plan.files) > _MOST_FILES:
        return f"name at most {_MOST_FILES} files; do less at once"
    if not plan.approach.strip():
        return "approach must say in words what will be done"
    return next(filter(None, map(path_problem, plan.files)), "")


def path_problem(path: str) -> str:
    """Return why `path` may not be edited, as far as its text tells; empty when it may."""
    pure = PurePosixPath(path)
    if not path.strip() or path != path.strip() or "\0" in path or "\\" in path:
        return f"{path!r} is not a path"
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path:
        return f"{path!r} must be relative to the top of the repository, without '..'"
    if any(part.lower() in (".git", ".git ", ".git.") for part in pure.parts):
        return f"{path!r} is in git's own directory"
    return ""


def apply(contents: Mapping[str, str | None], edits: Sequence[Replacement]) -> Applied:
    """Make all edits, in order, or none.

    Args:
        contents: the planned files with the line ends that they have; None for one that does not
            exist. Edits are matched whatever their line ends, and each line keeps its own.
        edits: what to replace with what.
    """
    now = dict(contents)
    for asked in edits:
        edit = Replacement(asked.path, unified(asked.search), unified(asked.replace))
        before = now.get(edit.path) or ""
        search = edit.search.removesuffix("\n")
        seen = unified(before)
        # A model cannot see that a file ends without a line feed, and copies one along.
        if search and edit.search not in seen and seen.endswith(search):
            edit = Replacement(edit.path, search, edit.replace.removesuffix("\n"))
        if problem := _edit_problem(now, edit):
            return Applied({}, problem)
        now[edit.path] = _replaced(before, edit) if edit.search else edit.replace
    changed = {
        path: text for path, text in now.items() if text is not None and text != contents[path]
    }
    if not changed:
        return Applied({}, "the edits change nothing; send the edits that do the task")
    for path, text in changed.items():
        if problem := syntax_problem(path, text):
            return Applied({}, problem)
    return Applied(changed)


def unified(text: str) -> str:
    """Return the text as a model sees it: every line ends in a plain line feed."""
    return _LINE_END.sub("\n", text)


def _replaced(before: str, edit: Replacement) -> str:
    """Make one edit that fits; new lines get the line end of the line they stand for."""
    ends = [(match.start(), match.group()) for match in _LINE_END.finditer(before)]
    # Where the n-th line end is once each has shrunk to one character, and so every offset.
    shrunk, removed = [], [0]
    for at, end in ends:
        shrunk.append(at - removed[-1])
        removed.append(removed[-1] + len(end) - 1)
    start = unified(before).index(edit.search)
    stop = start + len(edit.search)
    first, last = bisect.bisect_left(shrunk, start), bisect.bisect_left(shrunk, stop)
    head, tail = before[: start + removed[first]], before[stop + removed[last] :]
    old = [end for _, end in ends[first:last]]
    # Within one line there is no end to keep: that of this line, or of the one before the last.
    around = ends[last : last + 1] or ends[max(0, first - 1) : first]
    usual = around[0][1] if around else "\n"
    lines, new = edit.replace.split("\n"), []
    # `autojunk` would take a line that occurs often for no anchor.
    matcher = difflib.SequenceMatcher(None, edit.search.split("\n"), lines, autojunk=False)
    for _, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        for offset in range(new_to - new_from):
            at = min(old_from + offset, max(old_from, old_to - 1), len(old) - 1)
            end = old[at] if old else usual
            new.append("\r\n" if end.startswith("\r\r") else end)
    new[-1] = ""  # the last line's end is the first character of the tail
    return head + "".join(line + end for line, end in zip(lines, new, strict=True)) + tail


def _edit_problem(now: Mapping[str, str | None], edit: Replacement) -> str:
    """Return why one edit cannot be made on the files as they are now."""
    path = edit.path
    if path not in now:
        return f"{path!r} was not planned; edit only {', '.join(sorted(now))}"
    before = now[path]
    if before is None:
        missing = f"{path} does not exist; create it with an empty search text"
        return missing if edit.search else ""
    if not edit.search:
        present = f"{path} exists; say with a search text which part of it to replace"
        return present if before else ""
    before = unified(before)
    count, quoted = before.count(edit.search), repr(shorten(edit.search, _QUOTED))
    if count == 1:
        return ""
    if count > 1:
        return (
            f"the search text occurs {count} times in {path}; copy more lines around it: {quoted}"
        )
    first = next((line for line in edit.search.splitlines() if line.strip()), "")
    near = difflib.get_close_matches(first, before.splitlines()[:4000], n=1, cutoff=0.7)
    hint = f"; the nearest line of the file is {shorten(near[0], _QUOTED)!r}" if near else ""
    return f"the search text does not occur in {path}: {quoted}{hint}"


def syntax_problem(path: str, text: str) -> str:
    """Return why a Python file would not parse; empty for any other file."""
    if not path.endswith((".py", ".pyi")):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f" at line {line}" if line else ""
        reason = shorten(str(error), _QUOTED)
        return f"after the edits {path} is not valid Python{place}: {reason!r}"
    return ""
