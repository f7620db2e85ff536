"""Whose a checkout is: a person's, or a worktree that this project has made.

Ours are told by the reason for which they are locked, never by a name that anybody may choose.
"""

from __future__ import annotations

from pathlib import Path

from self_coding.git_safety.repository import Repository

MARK = "a worktree of self-coding; see `self-coding doctor`\n"  # why our worktrees are locked


def persons(repo: Repository) -> list[Repository]:
    """The checkouts that have a working tree and are no worktrees of this project's making."""
    return [here for here in repo.checkouts() if here.has_tree and not is_ours(here.directory)]


def is_ours(directory: Path) -> bool:
    """Whether this is the git directory of a worktree that this project has made."""
    try:
        return (directory / "locked").read_text(encoding="utf-8", errors="replace") == MARK
    except OSError:
        return False
