"""Read git's history into the index, incrementally: what was changed for which reason.

One `git log` reads what is new since the last HEAD; what HEAD no longer descends from is marked
and never votes. The newest `DEPTH` commits are enough (more adds nothing measurable). Indexing
reads them all; a question that comes before that reads `FIRST` of them, and each next one `STEP`
more, so that no question waits for a long history. No hook, pager, filter, replacement of ours or
network is used; a repository without git, or whose git fails, simply has no history.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from self_coding.adapters import git
from self_coding.adapters.db import Database
from self_coding.adapters.paths import git_directories
from self_coding.codebase_indexer import commits, store
from self_coding.errors import GitOperationError
from self_coding.languages import is_source

DEPTH = 5_000  # commits without merges; chosen on the development set
FIRST = 1_000  # of them, so many are read for the first question
STEP = 500  # and so many further back for each later one
WIDEST = 50  # a commit that touches more source files says nothing about any of them
_BYTES = 48 << 20
_SECONDS = 20.0
_MESSAGE = 4_000  # characters kept of one message
_STATUS = re.compile(r"\n?([ACDMRTUXB])\d*\Z")
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
# NULs tell the parts of a commit from each other and from the paths that follow (-z).
_FORMAT = "--format=%x00%H%x00%ct%x00%B%x00"
_CONFIG = (
    *git.QUIET, "protocol.allow=never", "log.showRoot=true", "log.follow=false",
    "diff.renameLimit=200",
)  # fmt: skip
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_FLUSH": "0",  # else git writes each commit by itself, to be read by itself
}
# Paths are relative to `repo_path`, which may be a folder of the repository, as in the index.
_LOG = (
    "log", "--no-merges", "--no-color", "--no-ext-diff", "--no-textconv", "--no-show-signature",
    "-z", "--name-status", "-M", "--relative", "--encoding=UTF-8", _FORMAT,
)  # fmt: skip

log = logging.getLogger(__name__)


class Commit(NamedTuple):
    """One past commit; `paths` are its Python files, `renames` pairs of (old, new)."""

    hash: str
    time: int
    message: str
    paths: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]


class Reached(NamedTuple):
    """How far history was read: up to `head`, and `back` commits down from `base`, the HEAD at
    which reading began; `more` if there are older ones. All empty before the first reading."""

    head: str = ""
    base: str = ""
    back: int = 0
    more: bool = False


def _reached(connection: sqlite3.Connection) -> Reached:
    """Return how far history was read."""
    stored = store.meta(connection, "history_reached")
    if not stored:
        return Reached()
    head, base, back, more = stored.split(" ")
    return Reached(head, base, int(back), more == "more")


def _put_reached(connection: sqlite3.Connection, reached: Reached) -> None:
    """Store how far history was read."""
    more = "more" if reached.more else "all"
    text = f"{reached.head} {reached.base} {reached.back} {more}"
    store.put_meta(connection, "history_reached", text)


def refresh(database: Database, repo_path: Path, *, depth: int = DEPTH, step: int = 0) -> None:
    """Bring the stored history up to the present HEAD, and up to `step` commits further back.

    Without a `step`, as many as one question reads. There is no work if HEAD has not moved and
    `depth` commits (or all) are known.
    """
    now = head(repo_path)
    with database.read() as connection:
        reached = _reached(connection)
    if now != reached.head:
        reached = _follow(database, repo_path, reached, now)
    if reached.more and reached.back < depth:
        further = step or (STEP if reached.back else FIRST)
        _deepen(database, repo_path, reached, min(further, depth - reached.back))


def _follow(database: Database, repo_path: Path, reached: Reached, now: str) -> Reached:
    """Read the commits that HEAD has gained since, and silence those that it has lost.

    If git cannot say, or too little would be left, all is forgotten, to be read again.
    """
    # Git runs before the write lock is taken: nobody waits for a slow `git log`.
    # A rebase or a switch: commits that HEAD has no more, which must not vote for files.
    gone = _hashes(repo_path, f"{now}..{reached.head}") if now and reached.head else None
    new = _commits(repo_path, f"{reached.head}..{now}", DEPTH) if gone is not None else []
    with database.write() as connection:
        if _reached(connection) != reached:
            # Another process was quicker, and read the same.
            return _reached(connection)
        commits.silence_commits(connection, gone or ())
        commits.add_commits(connection, new)
        if gone is None or (reached.more and commits.are_commits_mostly_dead(connection)):
            commits.clear_commits(connection)
            reached = Reached(now, now, 0, more=bool(now))
        else:
            reached = reached._replace(head=now)
        _put_reached(connection, reached)
    return reached


def _deepen(database: Database, repo_path: Path, reached: Reached, count: int) -> None:
    """Read `count` commits older than those that are stored, of the same walk."""
    # `back` counts from the commit at which the first reading began; HEAD may have moved since.
    older = _commits(repo_path, reached.base, count, skip=reached.back)
    moved = reached.base != reached.head
    gone = _hashes(repo_path, f"{reached.head}..{reached.base}") if moved else []
    with database.write() as connection:
        if _reached(connection) != reached:
            return
        if gone is None:  # git has collected the commit at which the walk began
            commits.clear_commits(connection)
            reached = Reached()
        else:
            commits.add_commits(connection, older, older=True)
            commits.silence_commits(connection, gone)
            reached = reached._replace(back=reached.back + count, more=len(older) == count)
        _put_reached(connection, reached)


def head(repo_path: Path) -> str:
    """Return the commit of HEAD; empty outside a repository and before the first commit.

    A process costs more than all else a question does, so git's files are read first: a loose ref
    is right there. Packed refs, reftables and symbolic chains are left to git.
    """
    checkout = git_directories(repo_path)
    if checkout is None:
        return ""
    text = ""
    with suppress(OSError):
        text = (checkout.directory / "HEAD").read_text("utf-8", "replace").strip()
        # A linked worktree has refs of its own, such as those of a bisect; the rest are the
        # repository's.
        for directory in (checkout.directory, checkout.common):
            ref = directory / text.removeprefix("ref: ")
            if text.startswith("ref: ") and ref.is_file():
                text = ref.read_text("utf-8", "replace").strip()
    if _HASH.match(text):
        return text
    out = _git(repo_path, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    return out.decode("ascii", "replace").strip() if out else ""


def _hashes(repo_path: Path, span: str) -> list[str] | None:
    """Return the commits of a span; None if git cannot say (the old HEAD was collected)."""
    out = _git(repo_path, "rev-list", "--no-merges", span, "--")
    return None if out is None else out.decode("ascii", "replace").split()


def _commits(repo_path: Path, span: str, count: int, *, skip: int = 0) -> list[Commit]:
    out = _git(repo_path, *_LOG, f"--skip={skip}", "-n", str(count), span, "--")
    return list(parse(out.decode("utf-8", "replace"))) if out else []


def parse(text: str) -> Iterator[Commit]:
    """Return the commits that `git log -z` printed, with their source files, newest first.

    A message may hold anything but NUL, a path as well, so the NULs alone carry the structure.
    An end that was cut off is left out.
    """
    tokens = text.split("\0")
    at, end = 0, len(tokens)
    while at + 4 < end:
        # Not at the head of a commit: go on to the next, rather than lose all that follows.
        if tokens[at] or not _HASH.match(tokens[at + 1]):
            at += 1
            continue
        commit_hash, time, message = tokens[at + 1 : at + 4]
        at += 5
        paths: list[str] = []
        renames: list[tuple[str, str]] = []
        while at + 1 < end and (status := _STATUS.match(tokens[at])):
            is_pair = status[1] in "RC" and at + 2 < end  # an old name comes before the new one
            old, path = tokens[at + 1], tokens[at + 1 + is_pair]
            at += 2 + is_pair
            if is_source(path):
                paths.append(path)
                if is_pair and status[1] == "R":
                    renames.append((old, path))
        yield Commit(
            hash=commit_hash,
            time=int(time) if time.isdigit() else 0,
            message=message[:_MESSAGE].strip(),
            # What touches everything, as a reformatting does, tells nothing of what belongs
            # together.
            paths=tuple(paths) if len(paths) <= WIDEST else (),
            renames=tuple(renames),
        )


def _git(repo_path: Path, *arguments: str) -> bytes | None:
    """Return what git printed; None if it failed: a missing signal is no reason to fail."""
    try:
        done = git.run(
            arguments,
            cwd=repo_path,
            config=_CONFIG,
            env=_ENVIRONMENT,
            ok=None,
            timeout=_SECONDS,
            limit=_BYTES,
        )
    except GitOperationError as error:
        log.debug("history cannot be read: %s", error)
        return None
    # A reading that took too long is used as far as it came.
    if done.returncode and not done.timed_out:
        log.debug("history cannot be read: %s", done.stderr[:300])
        return None
    return done.stdout
