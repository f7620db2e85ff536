"""Snapshots: the whole state of a checkout as one commit, made without touching the checkout.

The working tree is captured byte for byte by a private git directory in which every conversion
is off and whose index lives on between snapshots; the index, HEAD and what could not be captured
lie beside it. It refuses to write into the working tree, the index, the stash or a reflog.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from self_coding.adapters.git import decode
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.describe import is_clean
from self_coding.git_safety.ignoring import unversioned
from self_coding.git_safety.repository import Head, Repository
from self_coding.git_safety.scan import Scan, exact_git, look, reconcile, scratch
from self_coding.values.repository import Uncaptured

MAX_UNTRACKED_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A captured state: `ref` names `commit`, whose tree holds `worktree` and `index`.

    `index` is "" when the index held conflicts. `indexed` is the blob of the raw index, "" when
    there was none. `state` marks an unfinished merge or the like. `digest` is that of the raw
    index, and is not stored. `excludes` are the ignore patterns that no tree holds, None in a
    snapshot of an earlier version.
    """

    ref: str
    commit: str
    worktree: str
    index: str
    indexed: str
    head: Head
    at: datetime
    clean: bool
    uncaptured: tuple[Uncaptured, ...] = ()
    state: str = ""
    digest: str = ""
    excludes: str | None = None


def take(
    repo: Repository,
    ref: str,
    *,
    max_untracked_bytes: int = MAX_UNTRACKED_BYTES,
    message: str = "self-coding snapshot",
    more: dict[str, str] | None = None,
) -> Capture:
    """Capture the checkout and keep it under `ref`; call it with the operation lock held.

    Args:
        repo: the checkout.
        ref: the keep-ref, below `refs/self-coding/`.
        max_untracked_bytes: a larger untracked file is listed as uncaptured.
        message: the commit's subject.
        more: further trees to keep beside it, by name.

    Raises:
        GitOperationError: the object directory cannot be written, or git fails.
    """
    head = repo.head()
    private = exact_git(repo)
    scan = look(private, repo, max_untracked_bytes)
    index, raw = _index_tree(repo)
    scan = reconcile(repo, private, scan, index)
    now = datetime.now(UTC)
    clean = _is_clean(repo, scan, index, head)
    uncaptured = tuple(Uncaptured(path, why) for path, why in sorted(scan.uncaptured.items()))
    store = repo.common / "objects"
    blob = objects.write(store, "blob", raw, repo.object_format) if raw else ""
    capture = Capture(
        ref=ref,
        commit="",
        worktree=scan.worktree,
        index=index,
        indexed=blob,
        head=head,
        at=now,
        clean=clean,
        uncaptured=uncaptured,
        state=repo.state_mark(),
        digest=hashlib.sha256(raw).hexdigest() if raw else "",
        excludes=unversioned(repo),
    )
    parts = {"worktree": (objects.TREE, scan.worktree)}
    parts |= {name: (objects.TREE, tree) for name, tree in (more or {}).items()}
    parts["meta"] = ("100644", objects.write(store, "blob", _meta(capture), repo.object_format))
    if index:
        parts["index"] = (objects.TREE, index)
    elif raw:
        parts["stages"] = (objects.TREE, _stages(repo))
    if blob:
        parts["raw-index"] = ("100644", blob)
    commit = objects.write_commit(
        repo.git,
        repo.object_format,
        tree=objects.write_tree(store, parts, repo.object_format),
        parents=[head.commit],
        message=message,
        at=int(now.timestamp()),
    )
    repo.git.run("update-ref", "--no-deref", ref, commit)
    return replace(capture, commit=commit)


def load(repo: Repository, ref: str) -> Capture:
    """A capture by its ref or commit.

    Raises:
        GitOperationError: there is none, or it is damaged.
    """
    [commit] = repo.resolve([ref])
    listed = _parts(repo, commit) if commit else {}
    if "meta" not in listed or "worktree" not in listed:
        raise GitOperationError(
            f"there is no snapshot {ref!r}", hint="it may have been removed by gc; see snapshots()"
        )
    [content] = objects.read_many(repo.git, [listed["meta"]])
    try:
        meta = json.loads(content or b"")
        return Capture(
            ref=ref,
            commit=commit,
            worktree=listed["worktree"],
            index=listed.get("index", ""),
            indexed=listed.get("raw-index", ""),
            head=Head(meta["head"], _text(meta["branch"])),
            at=datetime.fromisoformat(meta["at"]),
            clean=bool(meta["clean"]),
            uncaptured=tuple(Uncaptured(_text(p), why) for p, why in meta["uncaptured"]),
            state=_text(meta["state"]),
            excludes=_text(meta["excludes"]) if "excludes" in meta else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise GitOperationError(f"snapshot {ref!r} is damaged: {error}") from error


def _index_tree(repo: Repository) -> tuple[str, bytes]:
    """The tree of what is staged ("" when there are conflicts) and the raw index."""
    try:
        raw = (repo.directory / "index").read_bytes()
    except FileNotFoundError:
        return repo.git.text("mktree"), b""
    copy = scratch(repo, "index")
    copy.write_bytes(raw)
    try:
        done = replace(repo.git, index=copy).run("write-tree", ok=(0, 128))
        return (decode(done.stdout).strip() if done.returncode == 0 else ""), raw
    finally:
        copy.unlink(missing_ok=True)


def _is_clean(repo: Repository, scan: Scan, index: str, head: Head) -> bool:
    """Whether nothing is staged, changed or untracked; ignored files do not count."""
    if not index or any(c.status != "M" and not c.is_link for c in scan.changes):
        return False
    [head_tree] = repo.resolve([head.commit], "tree") if head.commit else [""]
    if index != head_tree:
        return False
    if scan.worktree == index:
        return True
    return is_clean(repo)


def _stages(repo: Repository) -> str:
    """A tree that keeps every side of every conflict from being collected."""
    listed = repo.git.run("ls-files", "-s", "-z").stdout
    kept = {}
    for number, part in enumerate(part for part in listed.split(b"\0") if part):
        mode, oid, _ = decode(part.partition(b"\t")[0]).split(" ")
        if mode != objects.LINK:
            kept[f"{number:06}"] = (mode, oid)
    return objects.write_tree(repo.common / "objects", kept, repo.object_format)


def _meta(capture: Capture) -> bytes:
    facts = {
        "head": capture.head.commit,
        "branch": capture.head.branch,
        "at": capture.at.isoformat(),
        "clean": capture.clean,
        "state": capture.state,
        "uncaptured": [[item.path, item.reason] for item in capture.uncaptured],
        "excludes": capture.excludes,
    }
    return json.dumps(facts, ensure_ascii=True, indent=1).encode()


def _text(value: object) -> str:
    return str(value)


def _parts(repo: Repository, commit: str) -> dict[str, str]:
    found = {}
    for part in repo.git.run("ls-tree", "-z", commit).stdout.split(b"\0"):
        if part:
            facts, _, name = part.partition(b"\t")
            found[decode(name)] = decode(facts).split(" ")[2]
    return found
