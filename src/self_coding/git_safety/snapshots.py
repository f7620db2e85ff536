"""Snapshots: the whole state of a checkout as one commit, made without touching the checkout.

A snapshot is a commit that a ref of ours names. Its parent is HEAD, and its tree is

    .
    |-- worktree/    the working tree, byte for byte: no line ends or filters converted
    |-- index/       the tree of what was staged; absent when the index held conflicts
    |-- stages/      in its place: every side of every conflict, so that none is collected
    |-- raw-index    the index file itself, with its flags; absent when there was none
    |-- meta         JSON: head, branch, at, clean, state, uncaptured, excludes

Nothing is written into the working tree, the index, the stash or a reflog. Objects are never
deleted: what no ref holds any more is git's own to collect.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain

from self_coding.adapters.git import decode
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.commits import KEPT
from self_coding.git_safety.index import is_clean
from self_coding.git_safety.recovery import operation_lock, remove_scratch
from self_coding.git_safety.repository import Head, Repository
from self_coding.git_safety.tree_state import (
    TreeState,
    exact_git,
    read_tree_state,
    reconcile,
    scratch,
    unversioned_rules,
)
from self_coding.values.repository import Snapshot, Uncaptured

MAX_UNTRACKED_BYTES = 100 * 1024 * 1024
SNAPSHOTS = "refs/self-coding/snap"
UNDO = "refs/self-coding/undo"
_PACK_EVERY = 256
_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A captured state: `ref` names `commit`, whose tree holds `worktree` and `index`.

    `index` is "" when the index held conflicts. `raw_index` is the blob of the index file, "" when
    there was none, and `digest` its digest, which is not stored. `state` marks an unfinished merge
    or the like. `excludes` are the ignore patterns that no tree holds, None in a snapshot of an
    earlier version.
    """

    ref: str
    commit: str
    worktree: str
    index: str
    raw_index: str
    head: Head
    at: datetime
    clean: bool
    uncaptured: tuple[Uncaptured, ...] = ()
    state: str = ""
    digest: str = ""
    excludes: str | None = None

    def as_snapshot(self, *, passed: bool = True, output: str = "") -> Snapshot:
        """Return it as the public value, with the result of a test run."""
        return Snapshot(
            commit_hash=self.head.commit,
            branch=self.head.branch,
            timestamp=self.at,
            test_status=passed,
            test_output=output,
            clean=self.clean,
            ref=self.ref,
            uncaptured=self.uncaptured,
        )


def create(
    repo: Repository,
    ref: str,
    *,
    max_untracked_bytes: int = MAX_UNTRACKED_BYTES,
    message: str = "self-coding snapshot",
) -> Capture:
    """Capture the checkout and keep it under `ref`; call it with the operation lock held.

    A file that is not tracked and larger than `max_untracked_bytes` is listed as uncaptured.
    """
    return _keep(repo, ref, _look(repo, max_untracked_bytes), message)


@dataclass(frozen=True)
class _Seen:
    """A checkout as it stands: what its next capture would hold."""

    head: Head
    state: TreeState
    index: str
    stages: str
    raw: bytes

    def is_held_by(self, capture: Capture) -> bool:
        """Return whether that capture holds all of it."""
        uncaptured = {one.path: one.reason for one in capture.uncaptured}
        held = (capture.head, capture.worktree, capture.index, uncaptured)
        mine = (self.head, self.state.tree, self.index, self.state.uncaptured)
        return bool(self.index) and held == mine


def _look(repo: Repository, limit: int) -> _Seen:
    head = repo.head()
    private = exact_git(repo)
    state = read_tree_state(private, repo, limit)
    # After the tree: a file that is staged in between is then at worst in both.
    index, stages, raw = _read_index(repo)
    return _Seen(head, reconcile(repo, private, state, index), index, stages, raw)


def _keep(repo: Repository, ref: str, seen: _Seen, message: str) -> Capture:
    head, state, index = seen.head, seen.state, seen.index
    stages, raw = seen.stages, seen.raw
    clean = bool(index) and all(c.status == "M" or c.is_link for c in state.changes)
    if clean:
        [head_tree] = repo.resolve([head.commit], "tree") if head.commit else [""]
        # Bytes that differ may still be the same to git, by its line-end conversion: ask it.
        clean = index == head_tree and (state.tree == index or is_clean(repo, state.differing))
    store = repo.common / "objects"
    blob = objects.write(store, "blob", raw, repo.object_format) if raw else ""
    capture = Capture(
        ref=ref,
        commit="",
        worktree=state.tree,
        index=index,
        raw_index=blob,
        head=head,
        at=datetime.now(UTC),
        clean=clean,
        uncaptured=tuple(Uncaptured(path, why) for path, why in sorted(state.uncaptured.items())),
        state=repo.state_mark(),
        digest=hashlib.sha256(raw).hexdigest() if raw else "",
        excludes=unversioned_rules(repo),
    )
    meta = {
        "head": head.commit,
        "branch": head.branch,
        "at": capture.at.isoformat(),
        "clean": capture.clean,
        "state": capture.state,
        "uncaptured": [[item.path, item.reason] for item in capture.uncaptured],
        "excludes": capture.excludes,
    }
    # ASCII: paths that are not UTF-8 are lone surrogates in there, which only escapes can hold.
    data = json.dumps(meta, ensure_ascii=True, indent=1).encode()
    parts = {
        "worktree": (objects.TREE, state.tree),
        "meta": ("100644", objects.write(store, "blob", data, repo.object_format)),
    }
    if index:
        parts["index"] = (objects.TREE, index)
    elif raw:
        parts["stages"] = (objects.TREE, stages)
    if blob:
        parts["raw-index"] = ("100644", blob)
    commit = objects.write_commit(
        repo.git,
        repo.object_format,
        tree=objects.write_tree(store, parts, repo.object_format),
        parents=[head.commit],
        message=message,
        at=capture.at.timestamp(),
    )
    # Only the ref makes it a snapshot; until then all of it is loose objects that gc may take.
    repo.git.run("update-ref", "--no-deref", ref, commit)
    return replace(capture, commit=commit)


def load(repo: Repository, ref: str) -> Capture:
    """Return a capture by its ref or commit."""
    [commit] = repo.resolve([ref])
    parts = {}
    if commit:
        for part in repo.git.run("ls-tree", "-z", commit).stdout.split(b"\0")[:-1]:
            facts, _, name = part.partition(b"\t")
            parts[decode(name)] = decode(facts).split(" ")[2]
    if "meta" not in parts or "worktree" not in parts:
        raise GitOperationError(
            f"there is no snapshot {ref!r}",
            hint=f"`gc` may have dropped it; `git for-each-ref {SNAPSHOTS}` lists the others",
        )
    # Written by us, but any process of the user's can write objects and refs: read like input.
    [content] = objects.read_many(repo.git, [parts["meta"]])
    try:
        meta = json.loads(content or b"")
        return Capture(
            ref=ref,
            commit=commit,
            worktree=parts["worktree"],
            index=parts.get("index", ""),
            raw_index=parts.get("raw-index", ""),
            head=Head(meta["head"], str(meta["branch"])),
            at=datetime.fromisoformat(meta["at"]),
            clean=bool(meta["clean"]),
            uncaptured=tuple(Uncaptured(str(path), why) for path, why in meta["uncaptured"]),
            state=str(meta["state"]),
            excludes=str(meta["excludes"]) if "excludes" in meta else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise GitOperationError(f"snapshot {ref!r} is damaged: {error}") from error


def _read_index(repo: Repository) -> tuple[str, str, bytes]:
    """Return the tree of what is staged, or in its place that of all stages, and the raw index."""
    try:
        raw = (repo.directory / "index").read_bytes()
    except FileNotFoundError:
        return repo.git.text("mktree"), "", b""
    copy = scratch(repo, "index")
    copy.write_bytes(raw)  # write-tree stores its cache in the index, which is a person's
    try:
        git = replace(repo.git, index=copy)
        done = git.run("write-tree", ok=(0, 128))
        if done.returncode == 0:
            return decode(done.stdout).strip(), "", raw
        # There are conflicts: the raw index alone keeps none of their sides from `git gc`.
        stages = {}
        for number, entry in enumerate(chain.from_iterable(objects.stages(git).values())):
            mode, oid, _ = entry.split(" ")
            # A submodule's commit is in another repository's objects: a tree of ours cannot hold
            # it.
            if mode != objects.LINK:
                stages[f"{number:06}"] = (mode, oid)
        return "", objects.write_tree(repo.common / "objects", stages, repo.object_format), raw
    finally:
        copy.unlink(missing_ok=True)


def next_ref(repo: Repository, prefix: str) -> str:
    """Return a ref below `prefix` that sorts by time and is not taken: refs are never reused."""
    # Numbers, not times: two snapshots of one second must sort, and a clock may go back.
    number = int(repo.log.marked("number") or 0) + 1
    if repo.tips([f"{prefix}/{number:08d}"]) != [""]:  # the log was lost, the refs were not
        listed = repo.git.run("for-each-ref", "--format=%(refname:lstrip=3)", "refs/self-coding")
        names = decode(listed.stdout).split()
        number = max((int(name) for name in names if name.isdigit()), default=0) + 1
    repo.log.mark("number", str(number))
    return f"{prefix}/{number:08d}"


def capture_undo(repo: Repository, message: str, *, limit: int) -> Capture:
    """Capture what an operation is about to take away, for `undo`."""
    return create(repo, next_ref(repo, UNDO), max_untracked_bytes=limit, message=message)


def snapshot(repo: Repository, *, limit: int) -> Capture:
    """Take a snapshot for the user, and log it."""
    with operation_lock(repo, "snapshot"):
        head = repo.born()
        return _take(repo, _look(repo, limit), head)


def snapshot_changes(repo: Repository, *, limit: int) -> Capture | None:
    """Take a snapshot where the newest one does not hold the checkout as it stands."""
    with operation_lock(repo, "snapshot"):
        head, seen = repo.born(), _look(repo, limit)
        newest = _list(repo, SNAPSHOTS, "--count=1")
        with suppress(GitOperationError):  # a damaged one holds nothing
            if newest and seen.is_held_by(load(repo, newest[0][0])):
                return None
        return _take(repo, seen, head)


def _take(repo: Repository, seen: _Seen, head: Head) -> Capture:
    capture = _keep(repo, next_ref(repo, SNAPSHOTS), seen, "self-coding snapshot")
    repo.log.add("snapshot", refs=[(capture.ref, "", capture.commit)], reason=head.branch)
    # A repository of thousands of loose refs and objects is slow for the person's own git.
    if int(capture.ref.rsplit("/", 1)[-1]) % _PACK_EVERY == 0:
        _pack(repo)
    return capture


def snapshots(repo: Repository, limit: int) -> list[Snapshot]:
    """Return the newest snapshots, newest first; damaged ones are left out."""
    taken = []
    for ref, _, _ in _list(repo, SNAPSHOTS)[:limit]:
        with suppress(GitOperationError):
            taken.append(load(repo, ref).as_snapshot())
    return taken


def gc(repo: Repository, *, keep: int, keep_days: float) -> list[str]:
    """Drop the refs beyond their retention, and temporary files; say what was dropped."""
    said = []
    with operation_lock(repo, "gc"):
        # Both limits must be passed: the newest stay whatever their age, the young whatever their
        # number.
        oldest = time.time() - keep_days * _DAY
        for prefix in (SNAPSHOTS, UNDO, KEPT):
            beyond = _list(repo, prefix)[keep:]
            gone = [(ref, oid) for ref, oid, at in beyond if float(at or 0) < oldest]
            if gone:
                # With its old value: a ref that another process has moved meanwhile stays.
                command = b"".join(f"delete {ref}\0{oid}\0".encode() for ref, oid in gone)
                repo.git.run("update-ref", "-z", "--stdin", stdin=command)
                said.append(f"dropped {len(gone)} of {prefix}")
        said += remove_scratch(repo)
        _pack(repo)
    return said


def _list(repo: Repository, prefix: str, *flags: str) -> list[list[str]]:
    """Return name, commit and time of each of our refs below `prefix`, newest first."""
    form = "--format=%(refname) %(objectname) %(creatordate:unix)"
    done = repo.git.run("for-each-ref", "--sort=-refname", *flags, form, prefix)
    return [line.split(" ") for line in decode(done.stdout).splitlines()]


def _pack(repo: Repository) -> None:
    """Put the loose objects that our refs hold into a pack, and the refs into one file.

    Nothing becomes unreachable and nothing is copied twice: a loose object goes only when it
    is in a pack.
    """
    refs = repo.git.run("for-each-ref", "--format=%(objectname)", "refs/self-coding").stdout
    if refs:
        place = repo.common / "objects" / "pack" / "pack"
        # Not `git gc` or `repack -d`: those drop what is unreachable, which may be a person's lost
        # work.
        flags = ("--revs", "--unpacked", "--non-empty", "-q")
        repo.git.run("pack-objects", *flags, str(place), stdin=refs)
        repo.git.run("prune-packed", "-q")
        repo.git.run("pack-refs", "--all")
