"""After a crash, or a `git switch` that crossed a move of main: what is half done is finished.

Every operation begins with `operation_lock`, which repairs the repository first. Only lock files
that are provably ours are removed.

A person's `git switch` crosses a move of main when it has read main before the move and writes HEAD
after it, or when the landing has swapped files into a checkout that was leaving. Either way index
and files are those of one end of the move and HEAD is at the other; the next commit would carry a
landing along, or take it back. Only checkouts whose HEAD was renamed during the operation are
looked at, and only paths that are exactly as the other end has them are touched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters.files import PART, is_part, remove_abandoned, remove_tree
from self_coding.errors import GitOperationError, SelfCodingError
from self_coding.git_safety.checkout_update import prepare_update
from self_coding.git_safety.locks import IndexLock, Intent, exclusive, unreleased_tokens
from self_coding.git_safety.repository import Repository, file_digest
from self_coding.git_safety.transaction import (
    Transaction,
    cleanup,
    execute,
    publish,
    retry_on_conflict,
)
from self_coding.git_safety.user_checkouts import (
    SETTLING_WAIT,
    user_checkouts,
    wait_for_switches,
)

_logger = logging.getLogger(__name__)
_STALE_SECONDS = 1.5
_MOVE_CHECKOUTS = {"land", "merge", "undo", "redo"}  # the checkouts on main move along with it


@dataclass(frozen=True)
class _Positions:
    """Where main is, and what HEAD names in each user's checkout, by its git directory."""

    main: str
    heads: Mapping[Path, str]


@contextmanager
def operation_lock(repo: Repository, kind: str) -> Iterator[None]:
    """Hold the operation lock, with whatever a crash left behind repaired first.

    A checkout whose HEAD was on its way elsewhere while main moved is put right at the end.
    """
    try:
        with exclusive(repo.folder, kind) as outermost:
            # Two looks at files for each operation, so that the usual case costs nothing.
            if outermost and (Intent(repo.folder).path.exists() or unreleased_tokens(repo.folder)):
                for line in repair(repo):
                    _logger.warning("repaired after a crash: %s", line)
            before = None
            if outermost and kind in _MOVE_CHECKOUTS:
                # Before the operation: afterwards nobody can tell who was where when main moved.
                [main] = repo.tips([repo.main_ref])
                heads = {here.directory: here.head_target() for here in user_checkouts(repo)}
                before = _Positions(main, heads)
            yield
            if before is not None:
                # Not in a `finally`: an operation that failed has moved nothing.
                _settle_switches(repo, repo.main_ref, before)
    except OSError as error:
        raise GitOperationError(
            f"{kind}: {error}",
            hint="make room on the disk, or the folder writable; `recover` finishes what began",
        ) from error


def recover(repo: Repository) -> list[str]:
    """Finish or drop what a crash left, remove temporary files, and say so."""
    try:
        with exclusive(repo.folder, "recover"):
            return [*repair(repo), *remove_scratch(repo)]
    except OSError as error:
        raise GitOperationError(f"cannot recover: {error}", hint="make room on the disk") from error


def repair(repo: Repository) -> list[str]:
    """Finish or drop what a crash left; say what was done. The operation lock must be held."""
    intent = Intent(repo.folder)
    stored = intent.read()
    if stored is None:
        return _release_locks(repo)
    from pydantic import TypeAdapter, ValidationError  # only after a crash: it is slow to import

    try:
        # Checked, not trusted: an older or newer version, or anybody, may have written it.
        transaction = TypeAdapter(Transaction).validate_python(stored)
    except ValidationError:
        intent.clear()
        return ["an unreadable intent was dropped; nothing had been changed"]
    checkouts = {(str(one.top), str(one.directory)) for one in repo.checkouts() if one.has_tree}
    for update in transaction.parts:  # whoever can write the file must not lead us elsewhere
        paths = [Path(name) for name in (update.staging, update.index) if name]
        inside = all(
            (path.is_relative_to(repo.folder) or path.parent == Path(update.top))
            and ".." not in path.parts
            for path in paths
        )
        if not inside or (update.top, update.directory) not in checkouts:
            intent.clear()
            return ["an intent that names places outside of this repository was dropped"]
    # Locks first: our dead git would make every further step fail.
    said = _release_locks(repo) + _remove_ref_locks(repo, transaction, intent)
    # Refs move first and all together: if they have not moved, nothing else has changed.
    tips = repo.resolve([ref for ref, _, _ in transaction.refs]) if transaction.refs else []
    for (_, old, new), tip in zip(transaction.refs, tips, strict=True):
        # A tip beyond `new`: it was moved to `new` by us, and moved on since.
        moved_on = new and tip not in (old, new, "") and repo.is_ancestor(new, tip)
        # Dropping is right even where some refs stand at `new` by chance: git moves all or none.
        if tip != new and not moved_on:
            intent.clear()
            cleanup(transaction)
            return [*said, f"{transaction.kind}: it had not begun; dropped"]
    return said + _finish(repo, transaction, intent)


def _finish(repo: Repository, transaction: Transaction, intent: Intent) -> list[str]:
    """Carry on behind the refs; a checkout that was worked in since keeps its index."""
    parts, locks = [], []
    with ExitStack() as stack:
        for update in transaction.parts:
            here = repo.at(Path(update.top), Path(update.directory))
            lock = IndexLock(Path(update.directory), repo.folder)
            lock.acquire()
            stack.callback(lock.release)
            # A person committed or staged after the crash: their index is newer than ours.
            # Publishing ours over it would unstage, or take back, what they have staged since.
            theirs = update.index and here.index_digest() != update.index_before
            moved = update.head_to and here.head_target() != update.head_from
            parts.append(
                replace(
                    update,
                    index="" if theirs else update.index,
                    head_to="" if moved else update.head_to,
                )
            )
            locks.append(lock)
        done = publish(repo, replace(transaction, parts=tuple(parts)), locks, intent)
    for ref, old, _ in transaction.refs:
        if old and transaction.moves_checkouts:  # a person may have switched since
            heads = {Path(update.directory): update.head_from for update in transaction.parts}
            _settle_switches(repo, ref, _Positions(old, heads))
    left = f"; left alone: {', '.join(path for path, _ in done.refused)}" if done.refused else ""
    return [f"{transaction.kind}: finished{left}"]


def _release_locks(repo: Repository) -> list[str]:
    """Give back every index.lock of ours that a crash has left."""
    tokens = unreleased_tokens(repo.folder)
    said = []
    locks = [one.directory / "index.lock" for one in repo.checkouts()] if tokens else []
    for lock in locks:
        for token in tokens:
            # The same inode, so the lock was linked from our token; age or a process id would be a
            # guess.
            if lock.exists() and token.exists() and lock.samefile(token):
                lock.unlink()
                said.append(f"removed our stale {lock}")
    for token in tokens:
        token.unlink(missing_ok=True)
    return said


def _remove_ref_locks(repo: Repository, transaction: Transaction, intent: Intent) -> list[str]:
    """Remove the lock files that our own killed git has left on refs, and only those.

    They bear no mark. Ours are those on the refs of the transaction that are younger than its
    intent and still there after a living git would long have let go.
    """
    # The intent is written before the refs are locked; file systems' clocks tick that coarsely.
    since = intent.path.stat().st_mtime - 0.01
    moves = (*transaction.refs, *transaction.after)
    names = [repo.common / f"{ref}.lock" for ref, _, _ in moves]
    names += [Path(part.directory) / "HEAD.lock" for part in transaction.parts if part.head_to]
    if any(not new for _, _, new in moves):
        # A deleted ref is taken out of the packed ones as well, for which git locks them.
        names += [repo.common / "packed-refs.lock", repo.common / "packed-refs.new"]

    def is_stale(lock: Path) -> bool:
        try:
            return lock.stat().st_mtime >= since
        except OSError:
            return False

    stale = [lock for lock in names if is_stale(lock)]
    if stale:
        time.sleep(_STALE_SECONDS)  # a living git holds a ref's lock for milliseconds
    stale = [lock for lock in stale if is_stale(lock)]
    for lock in stale:
        lock.unlink(missing_ok=True)
    return [f"removed our stale {lock}" for lock in stale]


def remove_scratch(repo: Repository) -> list[str]:
    """Remove temporary files of dead processes; call it with the operation lock held."""
    removed = [*(repo.folder / "capture").glob("*/index.lock")]
    removed += (repo.common / "refs" / "self-coding").rglob("*.lock")
    removed += (repo.common / "worktrees").glob("*/self-coding-index.lock")
    # With the lock held no operation of ours is at work, so what is in there is of a dead one.
    for folder in ("tmp", "staging"):
        removed += (repo.folder / folder).glob("*")
    for path in removed:
        remove_tree(path)
    # The gate stores results without the operation lock; its files have locks of their own.
    parts = [path for level in ("", "*/") for path in repo.folder.glob(f"{level}{PART}*")]
    removed += [part for part in parts if is_part(part) and remove_abandoned(part)]
    return [f"removed {len(removed)} temporary files"] if removed else []


def _settle_switches(repo: Repository, ref: str, before: _Positions) -> None:
    """Behind an operation, its lock still held: where `ref` has moved, put right who crossed it.

    What cannot be put right is left and logged: the operation itself has been done.
    """
    [main] = repo.tips([ref])
    if not main or not before.main or main == before.main:
        return
    checkouts = [here for here in user_checkouts(repo) if here.directory in before.heads]
    # A switch that read main before it moved writes HEAD only at its end.
    wait_for_switches({here.top for here in checkouts}, SETTLING_WAIT)
    for here in checkouts:
        if here.head_target() != before.heads[here.directory]:
            try:
                retry_on_conflict(lambda here=here: _settle(here, before.main, main))  # type: ignore[misc]
            except (SelfCodingError, OSError) as error:
                _logger.warning("%s may hold files of two commits: %s", here.top, error)


def _settle(here: Repository, old: str, new: str) -> None:
    """Take what is still at the other end of main's move to the commit that HEAD is at."""
    head = here.head()
    # Elsewhere, or in the middle of a merge or rebase: nothing there is of this move.
    if head.commit not in (old, new) or here.state():
        return
    other = old if head.commit == new else new
    update = prepare_update(here, other, head.commit, head_from=head.target).update
    transaction = Transaction(
        kind="follow", parts=(update,), reason=f"{head.branch or head.target} was switched to"
    )
    changes_index = update.index and file_digest(Path(update.index)) != update.index_before
    if update.steps or changes_index:
        execute(here, transaction)
    else:
        cleanup(transaction)
