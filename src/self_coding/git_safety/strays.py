"""Whether main was moved to a commit that an attempt made in its own worktree, past the gate.

The worktree's own record of HEAD tells what was made there. A commit that came there from
elsewhere, as by a fast-forward to main, was not made there. It refuses to move anything back.
"""

from __future__ import annotations

from itertools import dropwhile, takewhile

from self_coding.adapters.git import decode
from self_coding.git_safety.change import log_of
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.slots import slot_at
from self_coding.values.repository import Strayed, Worktree

_WENT = ("checkout:", "reset:", "branch:", "rebase (start)", "rebase (finish)")
"""How entries begin that go to a commit and make none."""


def marker(attempt: str) -> str:
    """The entry with which the attempt's part of its worktree's record begins."""
    return f"self-coding: isolate {attempt}"


def strayed(repo: Repository, worktree: Worktree) -> Strayed | None:
    """How main was moved to what was made in the worktree; None: it was not.

    A commit that main was moved to through us is none of those.
    """
    [tip] = repo.tips([repo.main_ref])
    if not tip or tip == worktree.base:
        return None
    made = _made(repo, worktree)
    ours = {new for _, new, *_ in log_of(repo).moves(repo.main_ref)} if made else set()
    stray = made - ours - {worktree.base}
    places = _places(repo, tip, worktree.base)
    at = list(dropwhile(lambda place: place not in stray, places))
    below = next(dropwhile(lambda place: place in stray, at), worktree.base)
    return Strayed(ref=repo.main_ref, old=below, new=at[0], tip=tip) if at else None


def _places(repo: Repository, tip: str, base: str) -> list[str]:
    """Where main was since it was at `base`, newest first."""
    known = [commit for commit, _ in _record(repo, repo.main_ref)]
    return list(dict.fromkeys([tip, *takewhile(lambda commit: commit != base, known)]))


def _made(repo: Repository, worktree: Worktree) -> set[str]:
    """The commits that the attempt made in its worktree, as far as it was not hidden."""
    slot = slot_at(repo, worktree.path)
    if not slot.directory.is_dir():
        return set()
    begin = marker(worktree.attempt)
    mine = takewhile(lambda entry: entry[1] != begin, _record(slot, "HEAD"))
    return {commit for commit, said in mine if not _went(said)}


def _went(said: str) -> bool:
    return said.startswith(_WENT) or "fast-forward" in said.lower()


def _record(repo: Repository, ref: str) -> list[tuple[str, str]]:
    """Commit and message of each entry of a ref's reflog, newest first; none where it has none."""
    done = repo.git.run("log", "-g", "-z", "--format=%H %gs", ref, "--", ok=(0, 128))
    lines = decode(done.stdout, errors="replace").split("\0")
    return [(line[:commit], line[commit + 1 :]) for line in lines if (commit := line.find(" ")) > 0]
