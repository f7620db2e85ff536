"""Where our files lie, and how they stay out of git's sight.

The databases belong in the repository's git common directory, where no clean-up of a working
tree reaches them. A database that the caller puts inside the working tree is entered into
`info/exclude`. Nothing else of the repository is ever written from here.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "self_coding"
_SIDE_FILES = ("", "-wal", "-shm", "-journal", ".lock")


def git_directories(path: Path) -> tuple[Path, Path] | None:
    """The top of the working tree that holds `path`, and its git common directory.

    Read from the file system alone, without starting git. None outside any repository and in a
    bare one. Honours linked worktrees (`.git` is a file) and `commondir`.
    """
    resolved = path.resolve()
    for top in (resolved, *resolved.parents):
        git = top / ".git"
        directory = _pointed(git) if git.is_file() else git
        if directory is not None and (directory / "HEAD").exists():
            return top, _common(directory)
    return None


def database_path(repo_path: Path, name: str) -> Path:
    """Where the database `name` of the repository around `repo_path` lies by default."""
    found = git_directories(repo_path)
    folder = found[1] / FOLDER if found else data_home() / "self-coding"
    return folder / name


def data_home() -> Path:
    """The user's data directory (XDG), for what belongs to no repository."""
    configured = os.environ.get("XDG_DATA_HOME", "")
    return Path(configured) if configured else Path.home() / ".local" / "share"


def hide(path: Path) -> None:
    """Keep a database that lies in a working tree out of `git status`, `add` and `clean`.

    Adds anchored lines to the repository's `info/exclude`; outside a working tree, and when the
    lines are there already, nothing is written.
    """
    target = path.absolute()
    parent = target.parent.resolve()
    found = git_directories(parent)
    if found is None or parent.is_relative_to(found[1]):
        return
    top, common = found
    inside = _escaped((parent / target.name).relative_to(top).as_posix())
    _add_lines(common / "info" / "exclude", [f"/{inside}{suffix}" for suffix in _SIDE_FILES])


def _pointed(git_file: Path) -> Path | None:
    """The directory that a `.git` file names."""
    try:
        text = git_file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return None
    return (git_file.parent / text[8:].strip()).resolve() if text.startswith("gitdir: ") else None


def _common(directory: Path) -> Path:
    try:
        text = (directory / "commondir").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return directory
    return (directory / text.strip()).resolve()


def _escaped(path: str) -> str:
    """`path` as a literal gitignore pattern."""
    return "".join("\\" + char if char in "\\*?[]#! " else char for char in path)


def _add_lines(exclude: Path, lines: list[str]) -> None:
    try:
        present = exclude.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        present = ""
    missing = [line for line in lines if line not in present.splitlines()]
    if not missing:
        return
    exclude.parent.mkdir(parents=True, exist_ok=True)
    start = "" if not present or present.endswith("\n") else "\n"
    with exclude.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(start + "\n".join(missing) + "\n")
