"""After a crash: what an operation left half done is finished or dropped, and said.

Every operation begins here, with the lock held and the repository repaired. It removes only
lock files that are provably ours.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from self_coding.errors import GitOperationError
from self_coding.git_safety.change import Part, Plan, digest, finish, head_name, tidy
from self_coding.git_safety.crossing import Standing, settle, standing
from self_coding.git_safety.lock import IndexLock, Intent, operation, tokens
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.swap import Step

_logger = logging.getLogger(__name__)
_STALE_SECONDS = 1.5
_FOLLOWED = {"land", "merge", "undo", "redo"}  # the checkouts on main move along with it


@contextmanager
def guarded(repo: Repository, kind: str) -> Iterator[None]:
    """Hold the operation lock, with whatever a crash left behind repaired first.

    A checkout whose HEAD was on its way elsewhere while main moved is put right at the end.
    """
    try:
        with operation(repo.folder, kind) as fresh:
            if fresh and (Intent(repo.folder).path.exists() or tokens(repo.folder)):
                for line in repair(repo):
                    _logger.warning("repaired after a crash: %s", line)
            before = standing(repo) if fresh and kind in _FOLLOWED else None
            yield
            if before is not None:
                settle(repo, before)
    except OSError as error:
        raise GitOperationError(
            f"{kind}: {error}",
            hint="make room on the disk, or the folder writable; recover() finishes what began",
        ) from error


def repair(repo: Repository) -> list[str]:
    """Finish or drop what a crash left; say what was done. The operation lock must be held."""
    intent = Intent(repo.folder)
    stored = intent.read()
    if stored is None:
        return _sweep(repo)
    if not stored:
        intent.clear()
        return ["an unreadable intent was dropped; nothing had been changed"]
    plan = _loaded(stored)
    if not _plausible(repo, plan):
        intent.clear()
        return ["an intent that names places outside of this repository was dropped"]
    said = _drop_locks(repo, plan, intent)
    tips = dict(zip([ref for ref, _, _ in plan.refs], _tips(repo, plan), strict=True))
    moved = all(_reached(repo, old, new, tips[ref]) for ref, old, new in plan.refs)
    if not moved:
        intent.clear()
        tidy(plan)
        return [*said, f"{plan.kind}: it had not begun; dropped"]
    said += _redo(repo, plan, intent)
    return said


def _reached(repo: Repository, old: str, new: str, tip: str) -> bool:
    """Whether a ref has been moved to `new`, by us and before anybody moved it on."""
    if tip in (old, new, "") or not new:
        return tip == new
    return repo.git.run("merge-base", "--is-ancestor", new, tip, ok=()).returncode == 0


def _tips(repo: Repository, plan: Plan) -> list[str]:
    return repo.resolve([ref for ref, _, _ in plan.refs]) if plan.refs else []


def _redo(repo: Repository, plan: Plan, intent: Intent) -> list[str]:
    """Carry on behind the refs; a checkout that somebody has worked in since keeps its index."""
    parts, locks = [], []
    with ExitStack() as stack:
        for part in plan.parts:
            here = repo.at(Path(part.top), Path(part.directory))
            lock = IndexLock(Path(part.directory), repo.folder)
            lock.acquire()
            stack.callback(lock.release)
            if part.index and digest(Path(part.directory) / "index") != part.index_before:
                part = replace(part, index="")  # noqa: PLW2901 - theirs is newer
            if part.head_to and head_name(here) != part.head_from:
                part = replace(part, head_to="")  # noqa: PLW2901 - moved already, or by them
            parts.append(part)
            locks.append(lock)
        done = finish(repo, replace(plan, parts=tuple(parts)), locks, intent)
    for ref, old, _ in plan.refs:
        if ref == repo.main_ref and plan.follows:  # a person may have switched since
            heads = {Path(part.directory): part.head_from for part in plan.parts}
            settle(repo, Standing(old, heads))
    left = f"; left alone: {', '.join(path for path, _ in done.refused)}" if done.refused else ""
    return [f"{plan.kind}: finished{left}"]


def _drop_locks(repo: Repository, plan: Plan, intent: Intent) -> list[str]:
    """Remove the lock files that our own dead processes have left, and only those."""
    said = _sweep(repo)
    since = intent.path.stat().st_mtime
    moves = (*plan.refs, *plan.after)
    names = [repo.common / f"{ref}.lock" for ref, _, _ in moves]
    names += [Path(part.directory) / "HEAD.lock" for part in plan.parts if part.head_to]
    if any(not new for _, _, new in moves):
        names += [repo.common / "packed-refs.lock", repo.common / "packed-refs.new"]
    stale = [lock for lock in names if _since(lock, since)]
    if stale:
        time.sleep(_STALE_SECONDS)  # a living git holds a ref's lock for milliseconds
    for lock in stale:
        if _since(lock, since):
            lock.unlink(missing_ok=True)
            said.append(f"removed our stale {lock}")
    return said


def _plausible(repo: Repository, plan: Plan) -> bool:
    """Whether every place in the plan is one of this repository's."""
    known = {(str(here.top), str(here.directory)) for here in repo.checkouts() if here.has_tree}
    for part in plan.parts:
        used = [Path(path) for path in (part.staging, part.index) if path]
        inside = all(
            path.is_relative_to(repo.folder) or path.parent == Path(part.top) for path in used
        )
        stray = any(".." in path.parts for path in used)
        if (part.top, part.directory) not in known or stray or not inside:
            return False
    return True


def _sweep(repo: Repository) -> list[str]:
    """Give back every index.lock of ours that a crash has left."""
    said = []
    left = tokens(repo.folder)
    for lock in (
        [checkout.directory / "index.lock" for checkout in repo.checkouts()] if left else []
    ):
        for token in left:
            if lock.exists() and token.exists() and lock.samefile(token):
                lock.unlink()
                said.append(f"removed our stale {lock}")
    for token in left:
        token.unlink(missing_ok=True)
    return said


def _since(lock: Path, since: float) -> bool:
    try:
        return lock.stat().st_mtime >= since - 0.01
    except OSError:
        return False


def _loaded(stored: Mapping[str, Any]) -> Plan:
    parts = tuple(
        Part(**{**part, "steps": tuple(Step(**step) for step in part["steps"])})
        for part in stored["parts"]
    )
    moves = {
        name: tuple((ref, old, new) for ref, old, new in stored[name]) for name in ("refs", "after")
    }
    return Plan(**{**stored, "parts": parts, **moves})
