"""Pooled worktrees: kept and reset to one commit, which costs a tenth of making them anew.

An attempt's worktree is in a folder of the main working tree that git does not see, since agents'
own tools refuse to edit below `.git` and outside of the project they were started in. The gate's
are in our folder of the git directory. Nothing else of the user's checkout is touched, and only
worktrees that this project has made are ever reset. An attempt's full state is pinned before its
worktree is reset for the next one; what could not be captured keeps its folder.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from self_coding.adapters.files import (
    is_part,
    remove_abandoned,
    remove_tree,
)
from self_coding.adapters.git import decode, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety.commits import KEPT, commit_tree
from self_coding.git_safety.index import copy_index
from self_coding.git_safety.objects import disk_errors
from self_coding.git_safety.pool import (
    detach,
    note_clean_folders,
    pooled_at,
    reset,
    write_pointer,
)
from self_coding.git_safety.recovery import operation_lock
from self_coding.git_safety.repository import (
    Repository,
    check_attempt,
    check_branch,
    check_message,
    check_path,
)
from self_coding.git_safety.snapshots import MAX_UNTRACKED_BYTES, create
from self_coding.git_safety.transaction import CheckoutUpdate, Transaction, execute
from self_coding.git_safety.tree_state import (
    forget,
    ignored,
    is_entry,
    update_index,
)
from self_coding.values.repository import Uncaptured, Worktree

ATTEMPTS = "refs/self-coding/attempts"
VISIBLE = ".self-coding"  # in the main working tree; ignored by a file of its own


def isolate(
    repo: Repository, attempt: str, base: str | None, branch: str, *, new: bool = False
) -> Worktree:
    """Return a worktree for `attempt` on a branch of its own; the same one when asked again.

    With `new` the branch must not be there already.
    """
    check_attempt(attempt)
    check_branch(branch)
    with operation_lock(repo, "isolate"):
        worktree = find(repo, attempt)
        if worktree is not None:
            # A crash may have cut off the first call, or the repository was moved since.
            pooled = pooled_at(repo, worktree.path)
            write_pointer(worktree.path, pooled.directory)
            # Cut off between the reset, which detaches, and the branch: only then is HEAD still at
            # the base.
            if not pooled.head_branch() and pooled.head().commit == worktree.base:
                enter_branch(pooled, worktree)
            return worktree
        start = repo.branch(repo.main) if base is None else repo.commit(base)
        ref = f"refs/heads/{branch}"
        [tip] = repo.tips([ref])
        # A branch that is there is one that a crash left only where this attempt has made it.
        made = {move[0] for e in repo.log.recent(9, attempt=attempt) for move in e.operation.refs}
        if new and tip and ref not in made:
            raise GitOperationError(
                f"there is a branch called {branch!r} already", hint="give another name"
            )
        # Two checkouts of one branch: a commit in one would show as changes in the other.
        if any(other.head_branch() == branch for other in repo.checkouts()):
            raise GitOperationError(
                f"the branch {branch!r} is checked out elsewhere",
                hint="choose another name for the attempt",
            )
        name, place = _free_place(repo)
        visible = _visible(repo)
        if visible is not None and not (visible / ".gitignore").exists():
            with disk_errors(f"cannot make {visible}"):
                visible.mkdir(exist_ok=True)  # hidden before there is anything to be seen in it
                (visible / ".gitignore").write_text("*\n", encoding="utf-8")
        # Reserved without an attempt, and assigned when all is done: what a crash cuts off is
        # a free worktree.
        repo.log.assign_worktree(name, None)
        reset(repo, place, tip or start)
        moves = () if tip else ((ref, "", start),)
        execute(repo, Transaction(kind="isolate", refs=moves, reason=branch, attempt=attempt))
        repo.log.assign_worktree(name, attempt, branch, start)
        worktree = Worktree(path=place, branch=branch, base=start, attempt=attempt)
        enter_branch(pooled_at(repo, place), worktree)
        return worktree


def isolate_note(attempt: str) -> str:
    """Return the reflog entry with which the attempt's part of its worktree's reflog begins."""
    return f"self-coding: isolate {attempt}"


def enter_branch(pooled: Repository, worktree: Worktree) -> None:
    """Put HEAD on the attempt's branch; the reflog shows from where on it is this attempt's."""
    note = isolate_note(worktree.attempt)
    pooled.git.run("symbolic-ref", "-m", note, "HEAD", f"refs/heads/{worktree.branch}")


def find(repo: Repository, attempt: str) -> Worktree | None:
    """Return the worktree that `attempt` has now, if it has one with a `.git` file."""
    worktree = _assigned(repo, attempt)
    return worktree if worktree and (worktree.path / ".git").is_file() else None


def _assigned(repo: Repository, attempt: str) -> Worktree | None:
    row = repo.log.worktree(attempt)
    if row is None:
        return None
    name, branch, base = row
    return Worktree(path=_place(repo, name), branch=branch, base=base, attempt=attempt)


def _free_place(repo: Repository) -> tuple[str, Path]:
    """Return name and place of a worktree without an attempt: one that is there, else a new one."""
    known = repo.log.worktrees()
    for name, attempt in known:
        place = _place(repo, name)
        if attempt is None and (place / ".git").is_file():
            return name, place
    taken = {name for name, _ in known}
    for folder in filter(None, (repo.folder, _visible(repo))):
        if (folder / "worktrees").is_dir():
            taken |= {path.name for path in (folder / "worktrees").iterdir()}
    new = next(f"w{number}" for number in range(1, 100_000) if f"w{number}" not in taken)
    return new, _place(repo, new)


def _place(repo: Repository, name: str) -> Path:
    """Return where the worktree of that name is: in the main working tree, where agents may edit.

    One that an earlier version has made stays in the git directory, as do all where there is no
    main working tree.
    """
    hidden = repo.folder / "worktrees" / name
    folder = _visible(repo)
    return hidden if folder is None or hidden.is_dir() else folder / "worktrees" / name


def _visible(repo: Repository) -> Path | None:
    """Return our folder in the main working tree; None where there can be none."""
    values = repo.git.settings.values
    bare = values.get("core.bare", "").lower() == "true" or "core.worktree" in values
    folder = repo.common.parent / VISIBLE
    if bare or repo.common.name != ".git":
        return None
    taken = any(path.is_symlink() or path.is_file() for path in (folder, folder / "worktrees"))
    return None if taken else folder


def open_worktree(repo: Repository, worktree: Worktree) -> Repository:
    """Return the repository seen from an attempt's worktree."""
    pooled = pooled_at(repo, worktree.path)
    if not pooled.directory.is_dir() or not worktree.path.is_dir():
        raise GitOperationError(
            f"the worktree of {worktree.attempt!r} is gone",
            hint="an editor must leave it in its place; begin again with a new attempt",
        )
    return pooled


def record(
    repo: Repository, worktree: Worktree, message: str
) -> tuple[str, tuple[Uncaptured, ...]]:
    """Commit what the attempt wrote onto its branch; return the tip, and what is left out."""
    text = check_message(message)
    with operation_lock(repo, "record"):
        pooled = open_worktree(repo, worktree)
        head = pooled.head()
        ref = f"refs/heads/{worktree.branch}"
        [tip] = repo.tips([ref])
        current = head.commit or tip or worktree.base
        index_before = pooled.index_digest()
        index = copy_index(pooled)
        try:
            tree, left_out = _stage_everything(pooled, index)
            [before] = repo.resolve([current], "tree")
            # A merge that its caller began there ends with this commit, as its second parent.
            merging = pooled.directory / "MERGE_HEAD"
            merged = merging.read_text().split() if merging.is_file() else []
            # A merge that changes nothing still has two parents to record.
            same = tree == before and not merged
            made = current if same else commit_tree(repo, tree, [current, *merged], text)
            if made != tip or head.ref != ref:
                update = replace(
                    CheckoutUpdate.at(pooled, head.target),
                    head_to=ref,
                    index=str(index),
                    index_before=index_before,
                )
                execute(
                    repo,
                    Transaction(
                        kind="record",
                        refs=((ref, tip, made),) if made != tip else (),
                        parts=(update,),
                        reason=decode(text, errors="replace").splitlines()[0],
                        attempt=worktree.attempt,
                    ),
                )
            # Only when the commit is on the branch: after a crash it is made again, with both
            # parents.
            merging.unlink(missing_ok=True)
        finally:
            index.unlink(missing_ok=True)
    return made, left_out


def bring(
    repo: Repository, worktree: Worktree, sources: Mapping[str, Path], *, strict: bool = True
) -> None:
    """Copy files, or folders, to where they are named in a worktree that lacks them.

    What git does not ignore would become a part of the edit: it stays away.

    Raises:
        GitOperationError: there is such a one, and `strict`.
    """
    pooled = open_worktree(repo, worktree)
    asked = {check_path(name.rstrip("/")): source for name, source in sources.items()}
    paths = {f"{one}/" if place.is_dir() else one: place for one, place in asked.items()}
    present = [path for path, source in paths.items() if source.exists()]
    hidden = ignored(pooled.git, present)
    for path in sorted({*present} - {*hidden}) if strict else ():
        raise GitOperationError(
            f"{path} is not ignored by git: carried along, it would become a part of the edit",
            hint="add it to .gitignore, or take it out of the setting `carry`",
        )
    for path in hidden:
        target = pooled.top / path
        leads_out = not target.parent.resolve().is_relative_to(pooled.top.resolve())
        if os.path.lexists(target) or leads_out:  # by a symlink that the tree holds
            continue
        # Copied elsewhere first, so that a crash leaves it whole or not at all.
        part = repo.folder / "tmp" / f"carry-{uuid.uuid4().hex}"
        with disk_errors(f"cannot copy {path}"):
            part.parent.mkdir(exist_ok=True)
            if path.endswith("/"):
                shutil.copytree(paths[path], part, symlinks=True)
            else:
                shutil.copy2(paths[path], part)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(part, target)


def carry(repo: Repository, worktree: Worktree, earlier: Worktree, head: str) -> tuple[str, ...]:
    """Apply the change of an earlier worktree, uncommitted; return the paths that conflict.

    `head` is what was recorded there; without one it is what was pinned when it was given back.
    Conflicts are marked in the files, as a merge marks them.
    """
    with operation_lock(repo, "carry"):
        pooled = open_worktree(repo, worktree)
        kept = f"{ATTEMPTS}/{earlier.attempt}"
        [there] = repo.resolve([head or kept])
        if not there:
            raise GitOperationError(
                f"nothing is kept of {earlier.attempt!r}", hint="begin without an earlier attempt"
            )
        tree = repo.git.text("rev-parse", f"{there}^{{tree}}" if head else f"{there}:worktree")
        onto = pooled.head().commit
        # As one commit on the base it was made from, so that git finds that base by itself.
        change = commit_tree(repo, tree, [earlier.base], b"carried over")
        words = ("merge-tree", "--write-tree", "--name-only", "-z", onto, change)
        done = repo.git.run(*words, ok=(0, 1))
        merged, *rest = decode(done.stdout).split("\0")
        pooled.git.run("read-tree", "--reset", "-u", merged)
        pooled.git.run("read-tree", "-m", onto)  # nothing is staged: it stands there as if edited
        return tuple(rest[: rest.index("")]) if done.returncode else ()


def _stage_everything(pooled: Repository, index: Path) -> tuple[str, tuple[Uncaptured, ...]]:
    """Stage every change in `index`; return its tree, and what is left out with the reason."""
    git = replace(pooled.git, index=index)
    done = git.run("ls-files", "-t", "-o", "-m", "-d", "-z", "--exclude-standard")
    left = {}
    present, gone = [], []
    for path in dict.fromkeys(part[2:] for part in fields(done.stdout)):
        place = pooled.top / path
        if is_part(place) and remove_abandoned(place):
            continue  # a killed editor of ours left it
        if path.endswith("/"):
            left[path] = "a repository of its own"
        elif not is_entry(pooled.top, path):
            gone.append(path)
        elif place.exists() and not (place.is_file() or place.is_dir() or place.is_symlink()):
            left[path] = "not a file"
        else:
            present.append(path)
    forget(git, gone)
    update_index(git, present)
    # A folder that is ignored as a whole is named in the place of what is in it.
    shown = ("--directory", "--no-empty-directory")
    ignored = git.run("ls-files", "-o", "-i", "--exclude-standard", *shown, "-z")
    left |= dict.fromkeys(fields(ignored.stdout), "ignored")
    named: list[Uncaptured] = []
    for path, why in sorted(left.items()):
        if not (named and named[-1].path.endswith("/") and path.startswith(named[-1].path)):
            named.append(Uncaptured(path, why))
    return git.text("write-tree"), tuple(named)


def release(
    repo: Repository, worktree: Worktree, *, limit: int = MAX_UNTRACKED_BYTES
) -> Path | None:
    """Pin the attempt's full state, then give its worktree back.

    Return the folder that was set aside because it holds what no ref can; None: there is none.

    Which worktree that is, the attempt's name tells; one that has none is done with already.
    """
    attempt = check_attempt(worktree.attempt)
    ref = f"{ATTEMPTS}/{attempt}"
    with operation_lock(repo, "release"):
        assigned = _assigned(repo, attempt)
        if assigned is None:
            return None
        pooled = pooled_at(repo, assigned.path)
        if not assigned.path.is_dir() or not pooled.directory.is_dir():
            if not (assigned.path / ".git").is_file():
                return None
            open_worktree(repo, assigned)
        # A repository that an editor made in the place of our pointer is in no snapshot.
        foreign = (assigned.path / ".git").is_dir()
        [earlier] = repo.resolve([ref])
        if earlier:
            repo.git.run("update-ref", f"{ATTEMPTS}-earlier/{attempt}/{earlier}", earlier)
        # Everything the attempt left, ignored files aside, is under a ref before anything is reset.
        pinned = create(pooled, ref, max_untracked_bytes=limit, message=f"attempt {attempt}")
        moves = [(ref, earlier, pinned.commit)]
        repo.log.add("release", refs=moves, reason=assigned.branch, attempt=attempt)
        commit = pinned.head.commit or assigned.base
        # Before anything is removed, as its branch could be moved by whatever fails from here on.
        detach(pooled, commit)
        if pinned.uncaptured or foreign:
            # Keep the folder of a worktree that holds what no snapshot has.
            repo.log.forget_worktree(assigned.path.name)
            aside = repo.folder / "set-aside" / f"{attempt}-{time.time_ns()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            # Moved, not copied: it may be what did not fit into a snapshot for its size.
            shutil.move(assigned.path, aside)
            if not foreign:
                (aside / ".git").unlink(missing_ok=True)
            remove_tree(pooled.directory)
            _drop_branch(repo, assigned)
            return aside
        reset(repo, assigned.path, commit)
        _drop_branch(repo, assigned)
        note_clean_folders(pooled)
        repo.log.assign_worktree(assigned.path.name, None)
    return None


def _drop_branch(repo: Repository, ended: Worktree) -> None:
    """Take the branch that we named after an ended attempt out of `git branch`.

    Its commits stay below `refs/self-coding/`. A branch that a person named, or is on, stays.
    """
    ref = f"refs/heads/{ended.branch}"
    [tip] = repo.tips([ref])
    in_use = any(other.head_branch() == ended.branch for other in repo.checkouts())
    if not tip or in_use or not ended.branch.endswith(f"/{ended.attempt}"):
        return
    pin = f"{ATTEMPTS}/{ended.attempt}"
    if not repo.is_ancestor(tip, pin):
        repo.git.run("update-ref", f"{KEPT}/{tip}", tip)
    # By compare-and-swap: one that has moved since was moved by somebody who wants it.
    repo.git.run("update-ref", "-d", ref, tip, ok=())
