"""What is kept and for how long: snapshots, receipts, the log's answers, recovery, clean-up.

It refuses to delete an object: what no ref holds any more is git's own to collect.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from self_coding.adapters.git import decode
from self_coding.errors import GitOperationError
from self_coding.git_safety import founding, receipts
from self_coding.git_safety.capture import load, take
from self_coding.git_safety.change import Plan, carry_out, log_of
from self_coding.git_safety.commits import KEPT
from self_coding.git_safety.follow import follow
from self_coding.git_safety.lock import operation
from self_coding.git_safety.ours import is_ours
from self_coding.git_safety.recovery import guarded, repair
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.restore import UNDO, next_number
from self_coding.git_safety.scan import discard
from self_coding.git_safety.worktrees import find, open_worktree
from self_coding.values.repository import Operation, Snapshot
from self_coding.values.verdicts import Finding

_DAY = 86_400.0
#: Operations that go to a commit that was there before, and commands of git's that do.
_MAKE_NONE = ("isolate", "create branch", "rollback", "undo", "redo")
_GIT_MAKE_NONE = ("reset", "update-ref")
_ALWAYS = 20  # the newest snapshots, which no quota drops


def rollback(repo: Repository, target: Snapshot | str, *, attempt: str | None, limit: int) -> str:
    """Go back: in the attempt's own worktree where it has one, else in the checkout."""
    worktree = find(repo, attempt) if attempt else None
    if worktree is None:
        return founding.rollback(repo, target, attempt=attempt or "", limit=limit)
    with guarded(repo, "rollback"):
        slot = open_worktree(repo, worktree)
        to = founding.goal(repo, target).commit
        head = slot.born()
        number = next_number(repo, UNDO)
        before = take(slot, f"{UNDO}/{number}", max_untracked_bytes=limit, message="attempt")
        ref = f"refs/heads/{worktree.branch}"
        if head.ref != ref:
            raise GitOperationError(
                f"the worktree of {attempt!r} is not on its branch {worktree.branch!r}",
                hint="record() what it did, then go back",
            )
        following = follow(slot, head.commit, to, head_from=ref)
        plan = Plan(
            kind="rollback",
            refs=((ref, head.commit, to),) if head.commit != to else (),
            parts=(following.part,),
            reason=f"to {to[:12]}",
            attempt=worktree.attempt,
            undo_ref=before.ref,
            data={"way": "follow", "left": "\n".join(path for path, _ in following.left)},
        )
        carry_out(repo, plan)
        return to


def has_receipt(repo: Repository, commit: str) -> bool:
    """Whether a receipt says that `commit` landed after its tests passed."""
    wanted = repo.commit(commit)
    return any(one.landed == wanted and one.passed for one in receipts.read_receipts(repo.folder))


def verify(repo: Repository) -> list[Finding]:
    """What is wrong with the receipts, offline."""
    return receipts.verify(repo.folder, repo.common)


def contains(repo: Repository, commit: str) -> bool:
    """Whether main contains `commit`."""
    ends = repo.commit(commit), repo.branch(repo.main)
    return repo.git.run("merge-base", "--is-ancestor", *ends, ok=(0, 1)).returncode == 0


def explain(repo: Repository, entry: str) -> Operation | None:
    """The operation that made a commit, or that wrote a reflog entry (`main@{1}`)."""
    commit = repo.commit(entry)
    if "@{" not in entry:
        found = log_of(repo).made(commit, but=_MAKE_NONE)
        if found and found.operation.kind == "git" and found.operation.reason in _GIT_MAKE_NONE:
            return None
    else:
        done = repo.git.run("log", "-g", "-1", "--format=%gs", entry, "--", ok=(0, 128))
        if not decode(done.stdout, errors="replace").startswith("self-coding:"):
            return None
        found = log_of(repo).made(commit)
    return found.operation if found else None


def snapshots(repo: Repository, limit: int) -> list[Snapshot]:
    """The newest snapshots, newest first."""
    done = repo.git.run(
        "for-each-ref", "--sort=-refname", f"--count={limit}", "--format=%(refname)",
        founding.SNAPSHOTS,
    )  # fmt: skip
    found = []
    for ref in decode(done.stdout).split():
        with suppress(GitOperationError):
            found.append(founding.as_snapshot(load(repo, ref)))
    return found


def recover(repo: Repository) -> list[str]:
    """Finish or drop what a crash left, and say so."""
    try:
        with operation(repo.folder, "recover"):
            return [*repair(repo), *_drop_scratch(repo)]
    except OSError as error:
        raise GitOperationError(f"cannot recover: {error}", hint="make room on the disk") from error


def _drop_scratch(repo: Repository) -> list[str]:
    """Temporary files of dead processes: the operation lock is ours, so nobody uses them."""
    removed = 0
    ours = repo.common / "refs" / "self-coding"
    locks = [*(repo.folder / "capture").glob("*/index.lock"), *ours.rglob("*.lock")]
    for lock in [*locks, *(repo.common / "worktrees").glob("*/self-coding-index.lock")]:
        removed += 1
        lock.unlink(missing_ok=True)
    for folder in ("tmp", "staging"):
        for path in (repo.folder / folder).glob("*"):
            removed += 1
            if path.is_dir() and not path.is_symlink():
                discard(path)
            else:
                path.unlink(missing_ok=True)
    return [f"removed {removed} temporary files"] if removed else []


def gc(repo: Repository, *, keep: int, keep_days: float, max_bytes: int | None) -> list[str]:
    """Drop what is beyond its retention; the objects are left to git's own collection."""
    said = []
    with guarded(repo, "gc"):
        oldest = time.time() - keep_days * _DAY
        for prefix in (founding.SNAPSHOTS, UNDO, KEPT):
            dropped = _drop_refs(repo, prefix, keep, oldest)
            if dropped:
                said.append(f"dropped {dropped} of {prefix}")
        if max_bytes is not None:
            said += _shrink(repo, max_bytes)
        said += _drop_scratch(repo)
        said += _drop_lost(repo)
        founding.pack(repo)
    return said


def held_bytes(repo: Repository) -> int:
    """Bytes on the disk that only our refs hold."""
    theirs = ("--branches", "--tags", "--remotes", "HEAD")
    done = repo.git.run(
        "rev-list", "--objects", "--disk-usage", "--glob=refs/self-coding", "--not", *theirs
    )
    return int(done.stdout)


def _shrink(repo: Repository, most: int) -> list[str]:
    """Drop the oldest snapshots until ours hold no more than `most` bytes; the newest stay."""
    dropped = 0
    keep = len(_listed(repo, founding.SNAPSHOTS)) + len(_listed(repo, UNDO))
    while held_bytes(repo) > most and keep > _ALWAYS:
        keep = max(_ALWAYS, keep // 2)
        for prefix in (founding.SNAPSHOTS, UNDO):
            dropped += _drop_refs(repo, prefix, keep, time.time() + _DAY)
    return [f"dropped {dropped} snapshots to stay under {most} bytes"] if dropped else []


def _drop_refs(repo: Repository, prefix: str, keep: int, oldest: float) -> int:
    lines = _listed(repo, prefix)
    gone = [(ref, oid) for ref, oid, at in lines[keep:] if float(at or 0) < oldest]
    command = b"".join(f"delete {ref}\0{oid}\0".encode() for ref, oid in gone)
    if command:
        repo.git.run("update-ref", "-z", "--stdin", stdin=command)
    return len(gone)


def _listed(repo: Repository, prefix: str) -> list[list[str]]:
    """Name, commit and time of each of our refs below `prefix`, newest first."""
    form = "--format=%(refname) %(objectname) %(creatordate:unix)"
    done = repo.git.run("for-each-ref", "--sort=-refname", form, prefix)
    return [line.split(" ") for line in decode(done.stdout).splitlines()]


def _drop_lost(repo: Repository) -> list[str]:
    """Registrations of our test worktrees whose folder is gone, such as after a reboot."""
    said = []
    for directory in (repo.common / "worktrees").glob("self-coding-*"):
        with suppress(OSError):
            top = Path(decode((directory / "gitdir").read_bytes()).strip()).parent
            if not top.exists() and is_ours(directory):
                discard(directory)
                said.append(f"forgot the worktree at {top}")
    return said
