"""Git's history, read incrementally into the index: what was changed for which reason.

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from self_coding.adapters import git
from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.errors import GitOperationError

DEPTH = 5_000  # commits without merges; chosen on the development set
FIRST = 1_000  # of them, so many are read for the first question
STEP = 500  # and so many further back for each later one
WIDEST = 50  # a commit that touches more Python files tells nothing about any of them
_BYTES = 48 << 20
_SECONDS = 20.0
_MESSAGE = 4_000  # characters kept of one message
_STATUS = re.compile(r"\n?([ACDMRTUXB])\d*\Z")
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
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

    Without a `step`, as many as one question reads.

    No work when HEAD has not moved and `depth` commits (or all) are known.
    """
    now = head(repo_path)
    with database.read() as connection:
        known = _reached(connection)
    if now != known.head:
        known = _follow(database, repo_path, known, now)
    if known.more and known.back < depth:
        further = step or (STEP if known.back else FIRST)
        _deepen(database, repo_path, known, min(further, depth - known.back))


def _follow(database: Database, repo_path: Path, known: Reached, now: str) -> Reached:
    """Read the commits that HEAD has gained since, and silence those that it has lost.

    Where git cannot tell, or too little would be left, all is forgotten, to be read again.
    """
    anew = Reached(now, now, 0, more=bool(now))
    gone = _hashes(repo_path, f"{now}..{known.head}") if now and known.head else None
    new = _commits(repo_path, f"{known.head}..{now}", DEPTH) if gone is not None else []
    with database.write() as connection:
        if _reached(connection) != known:
            return _reached(connection)  # another process was quicker, and read the same
        store.silence_commits(connection, gone or ())
        store.add_commits(connection, new)
        known = known._replace(head=now)
        if gone is None or (known.more and store.are_commits_mostly_dead(connection)):
            store.clear_commits(connection)
            known = anew
        _put_reached(connection, known)
    return known


def _deepen(database: Database, repo_path: Path, known: Reached, count: int) -> None:
    """Read `count` commits older than those that are known, of the same walk."""
    older = _commits(repo_path, known.base, count, skip=known.back)
    same = known.base == known.head
    gone = [] if same else _hashes(repo_path, f"{known.head}..{known.base}")
    with database.write() as connection:
        if _reached(connection) != known:
            return
        if gone is None:  # git has collected where the walk began
            store.clear_commits(connection)
            _put_reached(connection, Reached())
            return
        store.add_commits(connection, older, older=True)
        store.silence_commits(connection, gone)
        _put_reached(connection, known._replace(back=known.back + count, more=len(older) == count))


def head(repo_path: Path) -> str:
    """The commit that HEAD stands at; empty outside a repository and before the first commit.

    Read from git's files where they tell, by git itself where they do not.
    """
    checkout = git.git_directories(repo_path)
    if checkout is None:
        return ""
    _, directory, common = checkout
    try:
        text = (directory / "HEAD").read_text("utf-8", "replace").strip()
        for place in (directory, common):
            if not text.startswith("ref: "):
                break
            target = place / text[5:]
            if target.is_file():
                text = target.read_text("utf-8", "replace").strip()
    except OSError:
        text = ""
    if _HASH.match(text):
        return text
    out = _git(repo_path, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    return out.decode("ascii", "replace").strip() if out else ""


def _hashes(repo_path: Path, span: str) -> list[str] | None:
    """The commits of a span; None when git cannot tell (the old HEAD was collected)."""
    out = _git(repo_path, "rev-list", "--no-merges", span, "--")
    return None if out is None else out.decode("ascii", "replace").split()


def _commits(repo_path: Path, span: str, count: int, *, skip: int = 0) -> list[Commit]:
    out = _git(repo_path, *_LOG, f"--skip={skip}", "-n", str(count), span, "--")
    return list(parse(out.decode("utf-8", "replace"))) if out else []


def parse(text: str) -> Iterator[Commit]:
    """The commits, with their Python files, out of what `git log -z` printed, newest first.

    A message may hold anything but NUL, a path as well, so the NULs alone carry the structure.
    An end that was cut off is left out.
    """
    tokens = text.split("\0")
    at, end = 0, len(tokens)
    while at + 4 < end:
        if tokens[at] or not _HASH.match(tokens[at + 1]):
            at += 1
            continue
        commit_hash, time, message = tokens[at + 1 : at + 4]
        changes, at = _changes(tokens, at + 5)
        paths, renames = _python(changes)
        seconds = int(time) if time.isdigit() else 0
        yield Commit(commit_hash, seconds, message[:_MESSAGE].strip(), paths, renames)


def _changes(tokens: Sequence[str], at: int) -> tuple[list[tuple[str, str]], int]:
    """(old name or "", name) of each changed file, and where the next commit begins."""
    changes: list[tuple[str, str]] = []
    while at + 1 < len(tokens):
        status = _STATUS.match(tokens[at])
        if not status:
            break
        if status[1] in "RC" and at + 2 < len(tokens):
            changes.append((tokens[at + 1] if status[1] == "R" else "", tokens[at + 2]))
            at += 3
        else:
            changes.append(("", tokens[at + 1]))
            at += 2
    return changes, at


def _python(
    changes: Sequence[tuple[str, str]],
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The .py files among changes; a sweep over too many keeps its renames alone."""
    paths = tuple(name for _, name in changes if name.endswith(".py"))
    renames = tuple((old, new) for old, new in changes if old and new.endswith(".py"))
    if len(paths) > WIDEST:
        return (), renames
    return paths, renames


def _git(repo_path: Path, *arguments: str) -> bytes | None:
    """What git printed; None when it failed, which costs the ranking a signal and no more."""
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
    if done.returncode and not done.timed_out:
        log.debug("history cannot be read: %s", done.stderr[:300])
        return None
    return done.stdout
