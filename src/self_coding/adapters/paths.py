"""Where our files are, and how they stay out of git's sight.

The databases belong in the repository's git common directory, where no clean-up of a working
tree reaches them. A database that the caller puts inside the working tree is entered into
`info/exclude`. Nothing else of the repository is ever written from here.
"""

from __future__ import annotations

import os
from pathlib import Path

from self_coding.adapters.git import git_directories

FOLDER = "self_coding"
SIDE_FILES = ("", "-wal", "-shm", "-journal", ".lock")


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
