"""Search-and-replace edits as a model proposes them: planned, applied exactly or not at all.

Pure: file contents come in as text and go out as text. It refuses a search text that does not
occur exactly once, a path that leads out of the worktree or was not planned, and Python that
does not parse; each refusal says what to do instead, since a model reads it.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

MOST_FILES = 12
_LONGEST_HINT = 200


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


def path_problem(path: str) -> str:
    """Why `path` may not be edited; empty where it may, as far as its text tells."""
    pure = PurePosixPath(path)
    if not path.strip() or path != path.strip() or "\0" in path or "\\" in path:
        return f"{path!r} is no path"
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path:
        return f"{path!r} must be relative to the top of the repository, without '..'"
    if any(part.lower() in (".git", ".git ", ".git.") for part in pure.parts):
        return f"{path!r} lies in git's own directory"
    return ""


def plan_problem(plan: Plan) -> str:
    """What is wrong with a plan, in words its author can act on; empty when nothing is."""
    if not plan.files:
        return "files must name at least one file to change or create"
    if len(plan.files) > MOST_FILES:
        return f"name at most {MOST_FILES} files; do less at once"
    if not plan.approach.strip():
        return "approach must say in words what will be done"
    return next((wrong for wrong in map(path_problem, plan.files) if wrong), "")


def apply(contents: Mapping[str, str | None], edits: Sequence[Replacement]) -> Applied:
    """Make all edits, in order, or none.

    Args:
        contents: the planned files with line ends as "\\n"; None for one that does not exist.
        edits: what to replace with what.
    """
    now = dict(contents)
    for edit in edits:
        problem = _problem(now, edit)
        if problem:
            return Applied({}, problem)
        before = now[edit.path] or ""
        now[edit.path] = (
            before.replace(edit.search, edit.replace, 1) if edit.search else edit.replace
        )
    changed = {
        path: text for path, text in now.items() if text is not None and text != contents[path]
    }
    if not changed:
        return Applied({}, "the edits change nothing; send the edits that do the task")
    wrong = next((bad for path, text in changed.items() if (bad := syntax_problem(path, text))), "")
    return Applied({} if wrong else changed, wrong)


def _problem(now: Mapping[str, str | None], edit: Replacement) -> str:
    """Why one edit cannot be made on the files as they are now."""
    if edit.path not in now:
        return f"{edit.path!r} was not planned; edit only {', '.join(sorted(now))}"
    before = now[edit.path]
    if before is None or not edit.search:
        return _creation_problem(before, edit)
    count = before.count(edit.search)
    if count == 1:
        return ""
    if count > 1:
        return (
            f"the search text occurs {count} times in {edit.path}; copy more lines around it: "
            f"{_shown(edit.search)}"
        )
    near = _nearest(before, edit)
    return f"the search text does not occur in {edit.path}: {_shown(edit.search)}{near}"


def _creation_problem(before: str | None, edit: Replacement) -> str:
    if before is None and edit.search:
        return f"{edit.path} does not exist; create it with an empty search text"
    if before:
        return f"{edit.path} exists; say with a search text which part of it to replace"
    return ""


def _nearest(before: str, edit: Replacement) -> str:
    """The line of the file that is most like the first line that was searched for."""
    first = next((line for line in edit.search.splitlines() if line.strip()), "")
    near = difflib.get_close_matches(first, before.splitlines()[:4000], n=1, cutoff=0.7)
    return f"; the nearest line of the file is {_shown(near[0])}" if near else ""


def syntax_problem(path: str, text: str) -> str:
    """Why a Python file would not parse; empty for any other file."""
    if not path.endswith((".py", ".pyi")):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f" at line {line}" if line else ""
        return f"after the edits {path} is no valid Python{place}: {_shown(str(error))}"
    return ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_HINT else text[:_LONGEST_HINT] + " ...")
