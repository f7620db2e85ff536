"""Where a repository's files are and ours among them, and how ours stay out of git's sight.

Read from the file system alone: most questions to the index need no more of git, and load no more.
The databases belong in the repository's git common directory, where no clean-up of a working
tree reaches them. A database that the caller puts inside the working tree is entered into
`info/exclude`. Nothing else of the repository is ever written from here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

FOLDER = "self_coding"
SIDE_FILES = ("", "-wal", "-shm", "-journal", ".lock")


class GitDirectories(NamedTuple):
    """A checkout: the top of its working tree, its git directory, and the repository's."""

    top: Path
    directory: Path
    common: Path


def git_directories(path: Path) -> GitDirectories | None:
    """Return the checkout that holds `path`, or None outside any and in a bare repository.

    Read from the file system alone, without starting git. Honours linked worktrees (`.git` is a
    file) and `commondir`.
    """
    resolved = path.resolve()
    for top in (resolved, *resolved.parents):
        git = top / ".git"
        directory = read_pointer(git) if git.is_file() else git
        if directory is not None and (directory / "HEAD").exists():
            common = _line(directory / "commondir")
            shared = directory if common is None else (directory / common).resolve()
            return GitDirectories(top, directory, shared)
    return None


def read_pointer(git_file: Path) -> Path | None:
    """Return the git directory that a `.git` file names, or None where it names none."""
    text = _line(git_file)
    if text is None or not text.startswith("gitdir: "):
        return None
    return (git_file.parent / text.removeprefix("gitdir: ").strip()).resolve()


def _line(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return None


def database_path(repo_path: Path, name: str) -> Path:
    """Return the default path of the database `name` for the repository around `repo_path`."""
    checkout = git_directories(repo_path)
    folder = checkout.common / FOLDER if checkout else data_home() / "self-coding"
    return folder / name


def data_home() -> Path:
    """Return the user's data directory (XDG), for what belongs to no repository."""
    configured = os.environ.get("XDG_DATA_HOME", "")
    return Path(configured) if configured else Path.home() / ".local" / "share"


def hide(path: Path) -> None:
    """Keep a database in a working tree out of `git status`, `add` and `clean`.

    Adds anchored lines to the repository's `info/exclude`. Outside a working tree, and when the
    lines are there already, nothing is written.
    """
    target = path.absolute()
    parent = target.parent.resolve()
    checkout = git_directories(parent)
    if checkout is None or parent.is_relative_to(checkout.common):
        return
    inside = (parent / target.name).relative_to(checkout.top).as_posix()
    literal = "".join("\\" + char if char in "\\*?[]#! " else char for char in inside)
    exclude = checkout.common / "info" / "exclude"
    try:
        present = exclude.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        present = ""
    lines = present.splitlines()
    missing = [f"/{literal}{suffix}" for suffix in SIDE_FILES if f"/{literal}{suffix}" not in lines]
    if not missing:
        return
    exclude.parent.mkdir(parents=True, exist_ok=True)
    start = "" if not present or present.endswith("\n") else "\n"
    with exclude.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(start + "\n".join(missing) + "\n")
