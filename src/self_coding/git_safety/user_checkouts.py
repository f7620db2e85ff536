"""The checkouts of people, and git commands there that are about to move HEAD.

`git switch` and `git checkout` read a branch when they begin and name it in HEAD when they end,
with no lock held from the one to the other. Whoever moves that branch meanwhile leaves such a
checkout with the files of one commit and the HEAD of another. We wait for those commands, and keep
new ones from starting for the moment in which a branch moves. No command is stopped, and commands
of agents in worktrees of our making are not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from self_coding.adapters import process, process_list
from self_coding.errors import GitOperationError, MainMovedError
from self_coding.git_safety.locks import IndexLock
from self_coding.git_safety.repository import Repository

SHORT_WAIT = 2.0  # seconds for a switch that needs only HEAD any more, or has just begun
PLANNING_WAIT = 5.0  # seconds that a switch gets to end in before we plan around it
SETTLING_WAIT = 10.0  # a checkout of many files takes seconds
MARK = "a worktree of self-coding; see `self-coding doctor`\n"  # why our worktrees are locked
_MOVES_HEAD = {"switch", "checkout", "symbolic-ref"}
_INTERACTIVE = {"-p", "--patch"}  # runs as long as a person thinks, and moves no HEAD
_BUSY_WAIT = 0.25  # seconds that a `git add` gets to end in; a commit with an editor open has more


def user_checkouts(repo: Repository) -> list[Repository]:
    """Return the checkouts with a working tree that are not worktrees of this project's making."""
    return [here for here in repo.checkouts() if here.has_tree and not is_managed(here.directory)]


def is_managed(directory: Path) -> bool:
    """Return whether this is the git directory of a worktree that this project has made.

    Recognised by the reason for which it is locked, never by a name, which anybody may choose.
    """
    try:
        return (directory / "locked").read_text(encoding="utf-8", errors="replace") == MARK
    except OSError:
        return False


def wait_for_switches(tops: Collection[Path], seconds: float) -> bool:
    """Wait until no git command is on its way to another branch in these working trees.

    Returns whether none is left; True where the system does not tell what runs.
    """
    deadline = time.monotonic() + seconds
    while _switching(tops):
        if time.monotonic() > deadline or process.cancelled():
            return False
        time.sleep(0.004)
    return True


@contextmanager
def no_arrivals(repo: Repository, refs: Collection[str], *, but: Collection[str]) -> Iterator[None]:
    """Make sure that inside the block no user's checkout arrives at these refs.

    `but` are the git directories of the checkouts that move along, whose indexes are locked.

    Raises:
        MainMovedError: a checkout has arrived meanwhile; plan again.
    """
    others = [here for here in user_checkouts(repo) if str(here.directory) not in but]
    if not refs or not others:
        yield
        return
    tops = {here.top for here in others}
    # A switch that began before takes no lock any more, and writes HEAD at its end.
    quiet = wait_for_switches(tops, SHORT_WAIT)
    with ExitStack() as stack:
        for here in others:  # `git switch` takes the index lock first, so none begins now
            lock = IndexLock(here.directory, here.folder)
            with suppress(GitOperationError):  # one that stays busy is left to its holder
                lock.acquire(wait=_BUSY_WAIT)
                stack.callback(lock.release)
        # Processes first, HEADs second: a switch that ends in between has written HEAD by then.
        switching = quiet and _switching(tops)
        if switching or any(f"refs/heads/{here.head_branch()}" in refs for here in others):
            raise MainMovedError(
                "a checkout was switched to the branch meanwhile; nothing was changed",
                hint="try again",
            )
        yield


def _switching(tops: Collection[Path]) -> bool:
    return bool(tops) and any(
        # Anywhere among the words: options such as `-c x=y` come before the command.
        place in tops and not _MOVES_HEAD.isdisjoint(words) and _INTERACTIVE.isdisjoint(words)
        for words, place in process_list.commands("git")
    )
