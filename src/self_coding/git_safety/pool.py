"""The pool of worktrees: each is kept and made to hold another commit, a tenth of making it anew.

The gate's checkouts are in our folder of the git directory, attempts' where `worktrees` wants them.
Whatever was left in one, at any depth, of any kind and with any rights, the next user finds exactly
the commit.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from self_coding.adapters.files import (
    remove_tree,
    replace_file,
    walk,
)
from self_coding.adapters.git import decode, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety.locks import copy_index_file
from self_coding.git_safety.objects import disk_errors
from self_coding.git_safety.recovery import operation_lock
from self_coding.git_safety.repository import (
    Repository,
)
from self_coding.git_safety.tree_state import (
    exact_git,
    scratch,
)
from self_coding.git_safety.user_checkouts import MARK, is_managed

_FOLDERS = "self-coding-folders"
_INDEX = "self-coding-index"
_OUTSIDE = "tests-at"  # names the folder of checkouts outside of the user's tree


@contextmanager
def checkout(
    repo: Repository, commit: str, *, exact: bool = False, mounted: bool = True
) -> Iterator[Path]:
    """Yield a folder that holds exactly `commit`, which git's list of worktrees does not show.

    Args:
        repo: the repository.
        commit: what is checked out.
        exact: byte for byte as captured, without line-end conversion.
        mounted: the tests will see it somewhere else. Where they see it in its own place, that is
            outside of the user's tree, in whose folders test tools would look for settings.
    """
    root = repo.folder / "tests"
    with disk_errors("cannot make a folder for test checkouts"):
        if not root.is_dir():
            # One of two runs that begin at once makes it: the other would remove it, still empty.
            with operation_lock(repo, "checkout"):
                if not root.is_dir():
                    remove_checkouts(repo)  # those of an earlier version
                    root.mkdir(mode=0o700)  # nobody else starts a set-uid file in there
        if not mounted:
            root = _outside(repo) or Path(tempfile.mkdtemp(prefix="self-coding-"))
            replace_file(repo.folder / _OUTSIDE, os.fsencode(root))
    # By number, not by name of the commit: a checkout that is kept costs a tenth of a new one.
    for number in range(1, 1000):  # the first that is free
        if (descriptor := _take(root / f"{number}.lock")) is not None:
            break
    else:
        raise GitOperationError("too many tests run at once", hint="wait for some of them")
    place = root / f"t{number}"
    try:
        with operation_lock(repo, "checkout"), disk_errors(f"cannot clear {place}"):
            reset(repo, place, repo.commit(commit), exact=exact)
        yield place
    finally:
        # The lock goes with it: the folder stays for the next.
        os.close(descriptor)


def remove_checkouts(repo: Repository) -> list[str]:
    """Remove the gate's checkouts that no test uses, and what git knows of folders that are gone.

    Says what was removed.
    """
    said = []
    for root in filter(None, (repo.folder / "tests", _outside(repo))):
        for lock in root.glob("*.lock"):
            descriptor = _take(lock)
            if descriptor is not None:
                place = root / f"t{lock.stem}"
                remove_tree(place)
                remove_tree(_registration(repo, place))
                # While it is held: who opened it before sees no link to it any more, and takes
                # another.
                lock.unlink()
                os.close(descriptor)
                said.append(f"removed the checkout at {place}")
        with suppress(OSError):  # one is in use
            root.rmdir()
            remove_tree(repo.folder / "submodules")
    for directory in (repo.common / "worktrees").glob("self-coding-*"):
        with suppress(OSError):
            top = Path(decode((directory / "gitdir").read_bytes()).strip()).parent
            if not top.exists() and is_managed(directory):
                remove_tree(directory)
                said.append(f"forgot the worktree at {top}")
    return said


def _take(lock: Path) -> int | None:
    """Return a descriptor that holds a checkout's lock, or None where somebody has it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # else it was removed between our open and our flock
            return descriptor
    os.close(descriptor)
    return None


def _outside(repo: Repository) -> Path | None:
    """Return the folder of checkouts outside of the user's tree, if there is one."""
    with suppress(OSError, ValueError):
        root = Path(os.fsdecode((repo.folder / _OUTSIDE).read_bytes()).strip())
        # Below /tmp anybody can make a folder of this name: only one of our own is used.
        if root.is_absolute() and root.is_dir() and root.stat().st_uid == os.getuid():
            return root
    return None


def pooled_at(repo: Repository, place: Path) -> Repository:
    """Return the repository seen from one of our worktrees, whatever its `.git` file says now."""
    return repo.at(place, _registration(repo, place))


def _registration(repo: Repository, place: Path) -> Path:
    """Return the git directory of one of our worktrees."""
    if place.parent.name == "worktrees":  # an attempt's, which people may see
        # The name is ours alone: git would call it after the last folder.
        return repo.common / "worktrees" / f"self-coding-worktrees-{place.name}"
    return place.with_name(f"{place.name}.git")


def reset(repo: Repository, place: Path, commit: str, *, exact: bool = False) -> None:
    """Make one of our worktrees hold exactly `commit` and nothing else, HEAD detached there."""
    pooled = pooled_at(repo, place)
    directory = pooled.directory
    if not (directory / "locked").is_file() or not place.is_dir():
        _make(repo, place, directory, commit)  # also what a crash left half-made
    # What an editor left in the middle would make git, and our own checks, refuse.
    states = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_MSG", "BISECT_LOG")
    for name in ("index.lock", *states):
        (directory / name).unlink(missing_ok=True)
    for name in ("rebase-merge", "rebase-apply", "sequencer"):
        remove_tree(directory / name)
    write_pointer(place, directory)
    git = exact_git(pooled) if exact else pooled.git
    # A person's sparse checkout would leave out files that the tests need.
    git = replace(git, config=(*git.config, "core.sparseCheckout=false"))
    # If no folder changed since the clean-up, nothing untracked can be there: spares the walk.
    try:
        times = json.loads((directory / _FOLDERS).read_text())
        nothing_added = bool(times) and all(
            os.lstat(bytes.fromhex(folder)).st_mtime_ns == at for folder, at in times.items()
        )
    except (OSError, ValueError, AttributeError):
        nothing_added = False
    (directory / _FOLDERS).unlink(missing_ok=True)
    # HEAD first, without a branch: nothing that happens here can move a branch any more.
    detach(pooled, commit)
    # On a copy of the index, so that a lock that a crash leaves is by its name ours.
    ours = directory / _INDEX
    ours.with_name(f"{_INDEX}.lock").unlink(missing_ok=True)
    try:
        copy_index_file(directory / "index", ours)
    except FileNotFoundError:
        ours.unlink(missing_ok=True)
    git = replace(git, index=ours)
    if not nothing_added:
        listed = git.run("ls-files", "-z", ok=())
        _remove_additions(place, frozenset(fields(listed.stdout) if not listed.returncode else ()))
    # It fails where something is in the way that the index did not name: then everything goes.
    if git.run("read-tree", "--reset", "-u", commit, ok=()).returncode != 0:
        ours.unlink(missing_ok=True)
        _remove_additions(place, frozenset())
        git.run("read-tree", "--reset", "-u", commit)
    # Last: a crash before this leaves the old index, by which the next reset knows the old files.
    ours.replace(directory / "index")


def _remove_additions(place: Path, tracked: frozenset[str]) -> None:
    """Remove all that git did not put there, and let us into its folders; before git looks.

    Git sees no pipes and no sockets, and a folder without rights or 3,000 deep stops it.
    """
    folders = {parent for path in tracked for parent in PurePosixPath(path).parents}
    names = {str(folder) for folder in folders}
    start = len(str(place)) + 1

    def is_ours(entry: os.DirEntry[str]) -> bool:
        return entry.path[start:] in names

    for entry in walk(place, into=is_ours):
        path = entry.path[start:]
        if is_ours(entry) and entry.is_dir(follow_symlinks=False):
            mode = entry.stat(follow_symlinks=False).st_mode
            # Set-gid and sticky bits as well: new files would inherit a group.
            if mode & 0o7000 or mode & 0o700 != 0o700:
                Path(entry.path).chmod(0o755)
        elif path != ".git" and (path not in tracked or entry.is_dir(follow_symlinks=False)):
            remove_tree(Path(entry.path))


def _make(repo: Repository, place: Path, directory: Path, commit: str) -> None:
    """Register a new worktree: the few files that `git worktree add --no-checkout` writes."""
    # Built aside and renamed into place, so that no git ever sees half a registration.
    made = scratch(repo, "worktree")
    remove_tree(directory)
    remove_tree(place)
    inside = directory.is_relative_to(repo.common)
    # Relative, as git writes it: the repository may be moved.
    common = os.path.relpath(repo.common, directory) if inside else repo.common
    with disk_errors(f"cannot make a worktree at {place}"):
        made.mkdir(parents=True)
        place.mkdir(parents=True)
        (made / "commondir").write_bytes(os.fsencode(f"{common}\n"))
        (made / "gitdir").write_bytes(os.fsencode(f"{place / '.git'}\n"))
        (made / "HEAD").write_text(f"{commit}\n")
        (made / "locked").write_text(MARK)  # `git worktree prune` leaves it, and we know it by this
        (place / ".git").write_bytes(os.fsencode(f"gitdir: {directory}\n"))
        directory.parent.mkdir(exist_ok=True)
        shutil.move(made, directory)


def write_pointer(place: Path, directory: Path) -> None:
    """Make a worktree of ours and its registration name each other, whatever became of them."""
    pointer = place / ".git"
    content = os.fsencode(f"gitdir: {directory}\n")
    if pointer.is_symlink() or not pointer.is_file():
        remove_tree(pointer)
    # Only where it differs: a git that reads it now must not meet half of it.
    if not pointer.exists() or pointer.read_bytes() != content:
        pointer.write_bytes(content)
    back, here = directory / "gitdir", os.fsencode(f"{pointer}\n")
    if back.read_bytes() != here:  # the repository was copied or moved
        back.write_bytes(here)


def detach(pooled: Repository, commit: str) -> None:
    """Point HEAD of one of our worktrees at a commit, at once."""
    # Not by git: that is one process more for each reset, and a line is all there is to it.
    replace_file(pooled.directory / "HEAD", f"{commit}\n")


def note_clean_folders(pooled: Repository) -> None:
    """Note the times of the folders of a clean worktree: they change when a name comes or goes."""
    time.sleep(0.01)  # a file that comes now must not share its folder's clock tick
    below = (Path(entry) for entry in walk(pooled.top) if entry.is_dir(follow_symlinks=False))
    folders = (pooled.top, *below)
    times = {os.fsencode(folder).hex(): folder.lstat().st_mtime_ns for folder in folders}
    (pooled.directory / _FOLDERS).write_text(json.dumps(times))
