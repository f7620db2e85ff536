"""GitSafety over a clone of a remote: what lands, lands there, and main here only follows."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from self_coding.adapters import remote_git
from self_coding.adapters.file_lock import try_lock
from self_coding.adapters.files import remove_tree
from self_coding.adapters.remote_git import Answer
from self_coding.adapters.threads import in_thread, run_inline
from self_coding.errors import GitOperationError
from self_coding.git_safety import landing, remote_landing
from self_coding.git_safety.remote_landing import HEADS, Remote
from self_coding.git_safety.requests import Requests
from self_coding.git_safety.service import GitSafety
from self_coding.values.repository import (
    Candidate,
    Change,
    Conflict,
    Landed,
    Moved,
    Operation,
    Worktree,
)

_logger = logging.getLogger(__name__)


def clone(url: str, cache: Path, *, timeout: float = remote_git.CLONE_SECONDS) -> Path:
    """Return the clone of a remote in the folder `cache`; made where it is not there yet.

    It has the remote's own branch alone, checked out, without tags and submodules. Its remote is
    called `origin`.

    Raises:
        ConfigError: the address cannot be used, or holds a password.
        RemoteUnreachableError: it did not answer, or is cut off itself.
    """
    remote_git.check_url(url)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", url.rstrip("/").rpartition("/")[2])[:40]
    place = cache / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    end = time.monotonic() + timeout
    while (lock := try_lock(cache / f"{place.name}.lock")) is None:  # another process clones it
        if time.monotonic() > end:
            raise GitOperationError("another process is cloning it still", hint="try again later")
        time.sleep(0.1)
    try:
        if not (place / ".git").is_dir():
            part = place.with_suffix(".part")
            if part.exists():
                remove_tree(part)  # a crash cut it off
            flags = ("--single-branch", "--no-tags", "--reject-shallow", "--template=", "--quiet")
            words = ("clone", *flags, "--", url, str(part))
            done = remote_git.talk(words, cwd=cache, timeout=timeout)
            if done.returncode or done.timed_out:
                raise remote_git.unreachable(url, done)
            # Under its own name only when it is whole: nobody works in half a clone.
            part.rename(place)
    finally:
        lock.release()
    return place


class RemoteSafety(GitSafety):
    """The same services over a clone, whose main is the remote's.

    Args:
        remote: where changes land.
        given: as for `GitSafety`.
    """

    def __init__(self, *given: Any, remote: Remote, **more: Any) -> None:
        super().__init__(*given, **more)
        remote_git.check_url(remote.name)
        self._remote = remote
        # The chain of this clone's own landings, if it had any, is another one.
        self._repo.chain = self._repo.folder / "remote"
        if remote.land_by == "request":
            self.requests = Requests(self._repo, remote)

    async def address(self) -> str:
        """Return the remote's address, which others can reach as well."""
        return await in_thread(self._remote.url, self._repo)

    async def sync(self) -> None:
        """Have main here follow the remote's.

        Raises:
            GitOperationError: main here has commits of its own.
        """
        await in_thread(remote_landing.sync, self._repo, self._remote)

    async def isolate(
        self, attempt: str, base: str | None = None, branch: str = "", *, equip: bool = False
    ) -> Worktree:
        """Return a worktree on the remote's main as it is now."""
        if base is None:
            # Begun on an old main, an edit would be merged and tested twice.
            await self.sync()
        return await super().isolate(attempt, base, branch, equip=equip)

    async def record(self, worktree: Worktree, message: str) -> Change:
        """Commit what the attempt wrote, and keep the commit at the remote, too.

        A remote that takes no such ref keeps none: what dies with this machine is begun anew.
        """
        change = await super().record(worktree, message)
        if not change.is_empty:
            ref = f"{HEADS}/{worktree.attempt}"
            done = await in_thread(self._remote.push, self._repo, (ref, None, change.head))
            if done.answer is not Answer.DONE:
                _logger.warning("%s is kept in this clone alone: %s", ref, done.said)
        return change

    async def has(self, worktree: Worktree, commit: str = "") -> bool:
        """Return whether a commit of an attempt is here, or could be had from the remote."""
        here = await super().has(worktree, commit)
        if here or not commit:
            return here
        await in_thread(remote_landing.fetch_head, self._repo, self._remote, worktree.attempt)
        return await super().has(worktree, commit)

    async def candidate(
        self, change: Change | str, message: str = "", *, onto: str = ""
    ) -> Candidate | Conflict:
        """Return what would put a change onto the remote's main as it is now.

        Raises:
            GitOperationError: main was rewritten there, so that a merge would bring back what was
                taken out of it.
        """
        if not onto:
            await self.sync()
            base = change.base if isinstance(change, Change) else ""
            if base and not await in_thread(self._repo.is_ancestor, base, self._repo.main_ref):
                raise GitOperationError(
                    f"{self.main_branch} was rewritten at the remote since this edit began",
                    hint="`begin_edit(from_attempt=...)` makes its change anew on the main of now",
                )
        return await super().candidate(change, message, onto=onto)

    async def land(
        self,
        candidate: Candidate,
        *,
        attempt: str = "",
        reason: str = "",
        group: Sequence[tuple[str, Candidate]] = (),
        still: Callable[[], Coroutine[object, object, bool]] | None = None,
    ) -> Landed | Moved:
        """Move the remote's main to the candidate, with its receipt, by one push."""
        return await in_thread(
            remote_landing.land,
            self._repo,
            self._remote,
            candidate,
            group=landing.members(candidate, attempt, group),
            still=lambda: still is None or run_inline(still()),
            attempt=attempt,
            reason=reason,
            limit=self._limit,
        )

    async def landed(self, commits: Sequence[str], *, settle: bool = False) -> str:
        """Return which of these commits the remote's main holds, empty for none."""

        def work() -> str:
            if settle:
                return remote_landing.settle(self._repo, self._remote, commits)
            tips = remote_landing.fetch(self._repo, self._remote)
            return remote_landing.held(self._repo, tips, commits)

        return await in_thread(work)

    async def release(self, worktree: Worktree) -> Path | None:
        """Free a worktree; what it recorded is kept in this clone, and no longer at the remote."""
        branch = f"refs/heads/{worktree.branch}"
        [tip] = self._repo.tips([branch]) if worktree.branch else [""]
        recorded = tip if tip != worktree.base else ""
        aside = await super().release(worktree)
        name = worktree.attempt
        await in_thread(remote_landing.drop_head, self._repo, self._remote, name, recorded)
        return aside

    async def _repeat(self, kind: str, steps: int, attempt: str | None) -> Operation:
        plan = await self.plan_undo(attempt=attempt) if kind == "undo" else None
        if plan and plan.operation.kind in ("land", "follow"):
            raise GitOperationError(
                f"{self.main_branch} is at a remote, where others have this landing already",
                hint=f"take it back by a new edit: `git revert -m 1 {plan.refs[0][1][:12]}`",
            )
        return await super()._repeat(kind, steps, attempt)
