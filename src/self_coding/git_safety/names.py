"""What callers may name: branches, revisions, paths, attempts. Pure.

It refuses whatever git could read as an option, a magic pathspec, another ref or a place outside
the repository, before git sees it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from self_coding.errors import GitOperationError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_ATTEMPT_FILLER = re.compile(r"[^A-Za-z0-9_.-]+")


def check_branch(name: str) -> str:
    """`name` when it can be the name of a branch and of nothing else.

    Raises:
        GitOperationError: it is empty, looks like an option, or is no branch name.
    """
    parts = name.split("/")
    wrong = (
        name.startswith(("-", "refs/"))
        or name in ("@", "HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD")
        or _BAD_IN_REF.search(name) is not None
        or name.endswith(".")
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
        or any(len(part.encode("utf-8", "surrogateescape")) > 240 for part in parts)
    )
    if wrong:
        raise GitOperationError(
            f"{name!r} cannot be the name of a branch",
            hint="use letters, digits, '-', '_', '.' and '/', not beginning with '-'",
        )
    return name


def check_revision(revision: str) -> str:
    """`revision` when git can only read it as a revision.

    Raises:
        GitOperationError: it is empty, looks like an option or holds control characters.
    """
    if not revision or revision.startswith("-") or _CONTROL.search(revision):
        raise GitOperationError(
            f"{revision!r} cannot be a revision", hint="give a branch, a tag or a commit hash"
        )
    return revision


def check_path(path: str) -> str:
    """`path` as a repository-relative POSIX path inside the working tree.

    Raises:
        GitOperationError: it is empty, absolute, leaves the tree, or lies in `.git`.
    """
    pure = PurePosixPath(path)
    wrong = (
        not path
        or "\x00" in path
        or pure.is_absolute()
        or ".." in pure.parts
        or any(part.lower().rstrip(" .") in (".git", "git~1") for part in pure.parts)
    )
    if wrong:
        raise GitOperationError(
            f"{path!r} is no path inside the working tree",
            hint="give paths relative to the repository, outside of .git",
        )
    return pure.as_posix()


def check_attempt(name: str) -> str:
    """`name` when it can stand in a ref and a folder name.

    Raises:
        GitOperationError: it cannot.
    """
    if not name or name.startswith((".", "-")) or _ATTEMPT_FILLER.search(name) or ".." in name:
        raise GitOperationError(
            f"{name!r} cannot be the name of an attempt",
            hint="use letters, digits, '-', '_' and '.'",
        )
    return check_branch(name)


def check_message(message: str) -> bytes:
    """A commit message as bytes.

    Raises:
        GitOperationError: it is blank or holds a NUL.
    """
    if not message.strip() or "\x00" in message:
        raise GitOperationError("a commit needs a message", hint="say in words what changed")
    return message.encode("utf-8", "surrogateescape").rstrip(b"\n") + b"\n"
