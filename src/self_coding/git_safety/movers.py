"""Git commands that are about to move HEAD: `switch` and `checkout` read a branch when they begin,
and name it in HEAD when they end, with no lock held from the one to the other.

Whoever moves that branch meanwhile leaves such a checkout with the files of one commit and the
HEAD of another. We wait for them, and keep new ones from starting for the moment in which a branch
moves. We refuse to stop anybody, and take no notice of agents in worktrees of our making.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from self_coding.adapters import process, process_list
from self_coding.errors import GitOperationError, MainMovedError
from self_coding.git_safety.lock import IndexLock
from self_coding.git_safety.ours import persons
from self_coding.git_safety.repository import Repository

SHORT = 2.0  # seconds that a switch gets which needs but HEAD any more, or has just begun
_MOVES_HEAD = {"switch", "checkout", "symbolic-ref"}
_ASKS = {"-p", "--patch"}  # stays as long as somebody thinks, and moves no HEAD
_PAUSE = 0.004
_BUSY = 0.25  # seconds that a `git add` gets to end in; a commit with an editor open has longer


def wait_for_switches(tops: Collection[Path], seconds: float) -> bool:
    """Wait until no git command is on its way to another branch in these working trees.

    Args:
        tops: the tops of the working trees.
        seconds: wall seconds after which we go on all the same.

    Returns:
        Whether none is left. True where the system does not tell what runs.
    """
    deadline = time.monotonic() + seconds
    while _under_way(tops):
        if time.monotonic() > deadline or process.cancelled():
            return False
        time.sleep(_PAUSE)
    return True


@contextmanager
def hold_still(repo: Repository, refs: Collection[str], *, but: Collection[str]) -> Iterator[None]:
    """No person arrives at these refs inside the block, nor is on the way to them when it begins.

    Args:
        repo: any checkout of the repository.
        refs: the full refs that are about to move; without any, nothing is looked at.
        but: the git directories of the checkouts that move along, whose indexes are locked.

    Raises:
        MainMovedError: somebody has arrived meanwhile; plan again.
    """
    others = [here for here in persons(repo) if str(here.directory) not in but]
    if not refs or not others:
        yield
        return
    tops = {here.top for here in others}
    quiet = wait_for_switches(tops, SHORT)
    with ExitStack() as stack:
        for here in others:
            _try_lock(here, stack)
        under_way = quiet and _under_way(tops)  # first, for what has ended stands in HEAD by now
        if under_way or any(f"refs/heads/{here.head_branch()}" in refs for here in others):
            raise MainMovedError(
                "somebody switched to the branch meanwhile; nothing was changed", hint="try again"
            )
        yield


def _try_lock(here: Repository, stack: ExitStack) -> None:
    """Lock an index, so that no `git switch` begins; one that stays busy is left to its holder."""
    lock = IndexLock(here.directory, here.folder)
    with suppress(GitOperationError):
        lock.acquire(wait=_BUSY)
        stack.callback(lock.release)


def _under_way(tops: Collection[Path]) -> bool:
    return bool(tops) and any(
        place in tops and not _MOVES_HEAD.isdisjoint(words) and _ASKS.isdisjoint(words)
        for words, place in process_list.commands("git")
    )
