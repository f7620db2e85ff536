"""Landing at a remote: one push moves main there and the chain of receipts, or neither.

Nobody believes what main shows after an answer was lost: the server may still be at work. The
chain decides. A fence moves it, and then the lost push, which expects the chain where it was, can
never be carried out; where the fence is refused, the push was. Local main only follows.

Hosts that take no refs of ours leave the weaker way: main alone is pushed, receipts stay in this
clone, and a lost answer is waited out (`Remote.patience`) before main is looked at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from self_coding.adapters import remote_git
from self_coding.adapters.remote_git import Answer, Pushed
from self_coding.errors import GitOperationError, RemoteUnreachableError
from self_coding.git_safety import landing, receipt_ref, receipts
from self_coding.git_safety.commits import KEPT
from self_coding.git_safety.receipt_ref import RECEIPTS
from self_coding.git_safety.receipts import Member
from self_coding.git_safety.recovery import operation_lock
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.snapshots import MAX_UNTRACKED_BYTES, capture_undo
from self_coding.git_safety.transaction import Transaction, execute, retry_on_conflict
from self_coding.values.repository import Candidate, Landed, Moved

SEEN = "refs/self-coding/remote"  # what was last seen of the remote
HEADS = "refs/self-coding/attempts"  # at the remote: what attempts have recorded
WEAK = "weaker: the host takes no refs of ours, so that receipts stay in this clone"
_FENCES = 20
_TIDYING = 20.0  # seconds that a remote has to answer where nothing depends on it
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """Where changes land: a remote's name or address, and how long it may take to answer.

    `patience` is how many seconds a host may work on a push whose answer was lost, where there
    can be no fence. With `land_by` "request" nothing is pushed to main: others merge at the forge.
    """

    name: str
    seconds: float = remote_git.SECONDS
    patience: float = 30.0
    forge: str = ""
    api: str = ""
    land_by: str = "push"

    def url(self, repo: Repository) -> str:
        """Return its address, whether it is named by that or as a remote of the repository."""
        return repo.git.text("remote", "get-url", self.name) if "/" not in self.name else self.name

    def push(self, repo: Repository, *moves: tuple[str, str | None, str]) -> Pushed:
        """Push from a repository, within the time there is."""
        return remote_git.push(repo.common, self.name, moves, timeout=self.seconds)


@dataclass(frozen=True)
class Tips:
    """Where main and the chain of receipts are at the remote; an empty chain has no tip."""

    main: str
    chain: str


def fetch(repo: Repository, remote: Remote) -> Tips:
    """Ask the remote where main and its chain are, and bring what is new.

    Raises:
        RemoteUnreachableError: it did not answer, or let nobody in.
    """
    seen = f"{SEEN}/{repo.main}"
    # With a star the chain may be missing: by its name alone git would fail.
    specs = [f"+{repo.main_ref}:{seen}", f"+{RECEIPTS}*:{SEEN}.receipts*"]
    remote_git.fetch(repo.common, remote.name, specs, timeout=remote.seconds)
    main, chain = repo.tips([seen, f"{SEEN}.receipts"])
    newest = receipts.read_receipts(repo.chain, 1)
    receipts.keep(repo.chain, receipt_ref.read(repo, chain, newest[-1].number if newest else 0))
    return Tips(main, chain)


def sync(repo: Repository, remote: Remote) -> Tips:
    """Fetch, and have local main follow; checkouts on it move along as with any landing.

    A main that was rewritten there is followed too, with the old one kept under a ref.

    Raises:
        GitOperationError: local main has commits that the remote's has not, or the remote cannot
            be reached.
    """
    [last] = repo.tips([f"{SEEN}/{repo.main}"])
    tips = fetch(repo, remote)
    with operation_lock(repo, "land"):
        retry_on_conflict(lambda: _follow(repo, remote, tips.main, last))
    return tips


def _follow(repo: Repository, remote: Remote, main: str, last: str) -> None:
    here = repo.branch(repo.main)
    if here == main:
        return
    if not repo.is_ancestor(here, main):
        # Somebody's own commits, unless it is what we saw there before.
        if here != last and not (last and repo.is_ancestor(here, last)):
            raise GitOperationError(
                f"{repo.main} has commits here that {remote_git.shown(remote.name)} has not",
                hint=f"push them, or keep them: `git branch mine {repo.main}`, then `git reset"
                f" --keep {SEEN}/{repo.main}`",
            )
        repo.git.run("update-ref", f"{KEPT}/{here}", here)
        text = "%s was rewritten at the remote: %s is kept as %s/%s"
        _logger.warning(text, repo.main, here[:12], KEPT, here)
    what = Candidate(commit=main, tree="", onto=here, head=main)
    prepared = landing.prepare_checkouts(repo, what)
    for one in prepared:
        if one.merged:
            capture_undo(one.repo, "before main followed the remote", limit=MAX_UNTRACKED_BYTES)
    execute(
        repo,
        Transaction(
            kind="follow",
            refs=((repo.main_ref, here, main),),
            parts=tuple(one.update for one in prepared),
            reason=remote_git.shown(remote.name),
            data={"way": "follow"},
        ),
    )


def land(
    repo: Repository,
    remote: Remote,
    what: Candidate,
    *,
    group: Sequence[Member],
    still: Callable[[], bool],
    attempt: str = "",
    reason: str = "",
    limit: int,
) -> Landed | Moved:
    """Move main at the remote from `what.onto` to `what.commit`, with the receipts of the group.

    Raises:
        GitOperationError: a hook or a rule there says no.
        RemoteUnreachableError: nobody knows whether it landed; asked again, it is found out.
    """
    tips = fetch(repo, remote)
    if not repo.is_ancestor(what.commit, tips.main):
        # In this order: who is called off after `still` was asked fences the chain, and the chain
        # was read before.
        if tips.main != what.onto or not still():
            sync(repo, remote)
            return Moved(expected=what.onto, actual=tips.main)
        receipts.note_group(repo.chain, group)
        moved = _publish(repo, remote, what, tips, group)
        if moved is not None:
            sync(repo, remote)
            return moved
    fetch(repo, remote)  # the receipts that were just pushed are here before the landing is
    told = [WEAK] if is_weak(repo) else []
    # As if it was landed here: a person's checkout follows with its uncommitted lines.
    done = landing.land(repo, what, group=group, attempt=attempt, reason=reason, limit=limit)
    if isinstance(done, Landed):
        return replace(done, checkout="; ".join((done.checkout, *told)))
    sync(repo, remote)
    return Landed(old=what.onto, new=what.commit, checkout="; ".join(("followed", *told)))


def _publish(
    repo: Repository, remote: Remote, what: Candidate, tips: Tips, group: Sequence[Member]
) -> Moved | None:
    """Push; return None once main has moved, and how it had moved where it had."""
    weak = is_weak(repo)
    main = repo.main_ref, tips.main, what.commit
    chain = RECEIPTS, tips.chain, "" if weak else receipt_ref.entry(repo, tips.chain, group)
    pushed = remote.push(repo, *((main,) if weak else (main, chain)))
    # The chain was refused for what it is, and main only because they go together.
    ours = RECEIPTS in pushed.reasons and "atomic" in pushed.reasons.get(repo.main_ref, "atomic")
    if pushed.answer is Answer.REFUSED and not weak and ours:
        _logger.warning("%s: %s", remote_git.shown(remote.name), WEAK)
        repo.log.mark("weak remote", pushed.reasons.get(RECEIPTS, "")[:200])
        pushed = remote.push(repo, main)
    if pushed.answer is Answer.DONE:
        return None
    if pushed.answer is Answer.REFUSED:
        why = pushed.said or "; ".join(pushed.reasons.values())
        hint = "its rules are the remote's own; where they ask for a review, set `land_by`"
        name = remote_git.shown(remote.name)
        raise GitOperationError(f"{name} refused the landing: {why}", hint=hint)
    if pushed.answer is Answer.UNKNOWN and settle(repo, remote, [what.commit]):
        return None
    [actual] = repo.tips([f"{SEEN}/{repo.main}"])
    return Moved(expected=what.onto, actual=actual)


def is_weak(repo: Repository) -> bool:
    """Return whether the host was found to take no refs of ours."""
    return bool(repo.log.marked("weak remote"))


def settle(repo: Repository, remote: Remote, commits: Sequence[str]) -> str:
    """Return which of these commits main at the remote holds, empty for none, once and for all.

    No push of them that was begun before can be carried out later.

    Raises:
        RemoteUnreachableError: it did not answer, so that the question is still open.
    """
    for _ in range(_FENCES):
        tips = fetch(repo, remote)
        if new := held(repo, tips, commits):
            return new
        if is_weak(repo):
            time.sleep(remote.patience)
            return held(repo, fetch(repo, remote), commits)
        pushed = remote.push(repo, (RECEIPTS, tips.chain, receipt_ref.fence(repo, tips.chain)))
        if pushed.answer is Answer.DONE:
            # Looked at again: it may have landed between the look and the fence, but not since.
            return held(repo, fetch(repo, remote), commits)
        if pushed.answer is Answer.REFUSED:
            name, why = remote_git.shown(remote.name), pushed.said or pushed.reasons.get(RECEIPTS)
            raise GitOperationError(f"{name} refused to settle a landing: {why}", hint="ask there")
        if pushed.answer is Answer.UNKNOWN:
            break
    raise RemoteUnreachableError(
        f"{remote_git.shown(remote.name)} does not say whether a landing was carried out",
        hint="nothing was lost: `resume` asks again",
    )


def held(repo: Repository, tips: Tips, commits: Sequence[str]) -> str:
    """Return the newest of these commits that main at the remote holds; empty for none."""
    return next((one for one in reversed(commits) if repo.is_ancestor(one, tips.main)), "")


def fetch_head(repo: Repository, remote: Remote, name: str) -> str:
    """Bring what an attempt has recorded at the remote; return its commit, empty for none.

    Raises:
        RemoteUnreachableError: it did not answer, or let nobody in.
    """
    seen = f"{SEEN}.attempts/{name}"
    # With a star, as for the chain: it may be missing.
    remote_git.fetch(
        repo.common, remote.name, [f"+{HEADS}/{name}*:{seen}*"], timeout=remote.seconds
    )
    [tip] = repo.tips([seen])
    return tip


def drop_head(repo: Repository, remote: Remote, name: str, recorded: str) -> None:
    """Delete what an attempt that has ended recorded at the remote; its commits are kept here.

    `recorded` is what this clone knows of it. A remote that is away keeps it: nothing waits for it.
    """
    ref, remote = f"{HEADS}/{name}", replace(remote, seconds=min(remote.seconds, _TIDYING))
    if recorded:
        pushed = remote.push(repo, (ref, recorded, ""))
        if pushed.answer is not Answer.MOVED:
            return
    # Another machine has recorded something else: whoever ends the attempt has what all did.
    with suppress(RemoteUnreachableError):
        if tip := fetch_head(repo, remote, name):
            repo.git.run("update-ref", f"{KEPT}/{tip}", tip)
            remote.push(repo, (ref, tip, ""))
