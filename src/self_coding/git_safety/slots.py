"""Folders that are kept and reset to one commit: worktrees of ours, nobody's checkout.

A slot is made once and then reset, which costs a tenth of a new one. It refuses to reset
anything but a worktree that this project has made.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from self_coding.adapters.git import Git, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety.lock import copy_of_index
from self_coding.git_safety.ours import MARK
from self_coding.git_safety.recovery import guarded
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.scan import discard, exact_git, scratch

_FOLDERS = "self-coding-folders"
_INDEX = "self-coding-index"


def slot_at(repo: Repository, place: Path) -> Repository:
    """The repository seen from one of our worktrees, whatever its `.git` file says now."""
    directory = repo.common / "worktrees" / admin_name(place)
    return repo.at(place, directory)


def admin_name(place: Path) -> str:
    """The name of a worktree's folder in the git directory: ours, and nobody else's."""
    return f"self-coding-{place.parent.name}-{place.name}"


def reset(repo: Repository, place: Path, commit: str, *, exact: bool = False) -> None:
    """Make one of our worktrees hold exactly `commit` and nothing else, HEAD detached there.

    Raises:
        GitOperationError: the disk is full, or git fails.
    """
    slot = slot_at(repo, place)
    if not (slot.directory / "locked").is_file() or not place.is_dir():
        _make(repo, place, commit)  # also what a crash left half-made: `locked` comes last
    (slot.directory / "index.lock").unlink(missing_ok=True)
    for state in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_MSG", "BISECT_LOG"):
        (slot.directory / state).unlink(missing_ok=True)
    for state in ("rebase-merge", "rebase-apply", "sequencer"):
        if (slot.directory / state).exists():
            discard(slot.directory / state)
    write_pointer(place, slot.directory)
    git = _forced(slot, exact=exact)
    bare = _nothing_added(slot)
    (slot.directory / _FOLDERS).unlink(missing_ok=True)
    detach(slot, commit)
    git = _own_index(git, slot)
    done = git.run("read-tree", "--reset", "-u", commit, ok=())
    if done.returncode != 0:
        (slot.directory / _INDEX).unlink(missing_ok=True)
        git.run("read-tree", "--reset", "-u", commit)
        bare = False
    if not bare:
        _remove_strays(git, place)
    (slot.directory / _INDEX).replace(slot.directory / "index")


def _own_index(git: Git, slot: Repository) -> Git:
    """Git on a copy of the slot's index, so that a lock that a crash leaves is by its name ours."""
    ours = slot.directory / _INDEX
    ours.with_name(f"{_INDEX}.lock").unlink(missing_ok=True)
    try:
        copy_of_index(slot.directory / "index", ours)
    except FileNotFoundError:
        ours.unlink(missing_ok=True)
    return replace(git, index=ours)


def note_folders(slot: Repository) -> None:
    """Note the times of a cleaned worktree's folders: they change when a name comes or goes."""
    time.sleep(0.01)  # a file that comes now must not share its folder's clock tick
    times = {}
    for folder, names, _ in os.walk(slot.top):
        names[:] = [name for name in names if not (Path(folder) / name).is_symlink()]
        times[folder] = Path(folder).lstat().st_mtime_ns
    note = {os.fsencode(folder).hex(): at for folder, at in times.items()}
    (slot.directory / _FOLDERS).write_text(json.dumps(note))


def _nothing_added(slot: Repository) -> bool:
    """Whether every folder is as it was when the worktree was cleaned."""
    try:
        note = json.loads((slot.directory / _FOLDERS).read_text())
        return bool(note) and all(
            os.lstat(bytes.fromhex(folder)).st_mtime_ns == at for folder, at in note.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def _forced(slot: Repository, *, exact: bool) -> Git:
    config = ["core.sparseCheckout=false"]
    if exact:
        git = exact_git(slot)
        return replace(git, index=slot.directory / "index", config=(*git.config, *config))
    return replace(slot.git, config=tuple(config))


def write_pointer(place: Path, directory: Path) -> None:
    """Make a worktree of ours and its registration name each other, whatever became of them."""
    pointer = place / ".git"
    wanted = os.fsencode(f"gitdir: {directory}\n")
    if pointer.is_symlink() or (pointer.is_dir() and not pointer.is_symlink()):
        discard(pointer) if pointer.is_dir() and not pointer.is_symlink() else pointer.unlink()
    if not pointer.exists() or pointer.read_bytes() != wanted:
        pointer.write_bytes(wanted)
    back, here = directory / "gitdir", os.fsencode(f"{pointer}\n")
    if back.read_bytes() != here:  # the repository was copied or moved
        back.write_bytes(here)


def _make(repo: Repository, place: Path, commit: str) -> None:
    """Register a new worktree: the few files that `git worktree add --no-checkout` writes."""
    directory = repo.common / "worktrees" / admin_name(place)
    made = scratch(repo, "worktree")
    for old in (directory, place):
        if old.exists():
            discard(old)
    try:
        made.mkdir(parents=True)
        place.mkdir(parents=True)
        (made / "commondir").write_text("../..\n")
        (made / "gitdir").write_bytes(os.fsencode(f"{place / '.git'}\n"))
        (made / "HEAD").write_text(f"{commit}\n")
        (made / "locked").write_text(MARK)
        (place / ".git").write_bytes(os.fsencode(f"gitdir: {directory}\n"))
        directory.parent.mkdir(exist_ok=True)
        made.rename(directory)
    except OSError as error:
        raise GitOperationError(
            f"cannot make a worktree at {place}: {error}", hint="make room on the disk"
        ) from error


def detach(slot: Repository, commit: str) -> None:
    """Point HEAD of one of our worktrees at a commit, at once."""
    spare = slot.directory / "HEAD.self-coding"
    spare.write_text(f"{commit}\n")
    spare.replace(slot.directory / "HEAD")


def _remove_strays(git: Git, place: Path) -> None:
    """Remove what is not part of the commit, ignored or not."""
    for path in fields(git.run("ls-files", "-o", "-z", "--directory").stdout):
        target = place / path.rstrip("/")
        if target.is_dir() and not target.is_symlink():
            discard(target)
        else:
            with suppress(FileNotFoundError):
                target.unlink()


@contextmanager
def checkout(repo: Repository, commit: str, *, exact: bool = False) -> Iterator[Path]:
    """A folder outside of any working tree that holds exactly `commit`, for as long as it is held.

    Args:
        repo: the repository.
        commit: what to check out.
        exact: byte for byte as captured, without line-end conversion.
    """
    root = _test_root(repo)
    descriptor, place = _claim(root)
    try:
        with guarded(repo, "checkout"):
            reset(repo, place, repo.commit(commit), exact=exact)
        yield place
    finally:
        os.close(descriptor)


def _test_root(repo: Repository) -> Path:
    """The folder of the gate's worktrees: outside the user's tree, whose settings tools find."""
    note = repo.folder / "tests-at"
    with suppress(OSError):
        root = Path(os.fsdecode(note.read_bytes()).strip())
        if root.is_absolute() and root.is_dir() and root.stat().st_uid == os.getuid():
            return root
    try:
        repo.folder.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(prefix="self-coding-"))
        whole = note.with_name(f"{note.name}.{root.name}")  # half a path would be another place
        whole.write_bytes(os.fsencode(root))
        whole.replace(note)
    except OSError as error:
        raise GitOperationError(
            f"cannot make a folder for test worktrees: {error}", hint="make room on the disk"
        ) from error
    return root


def _claim(root: Path) -> tuple[int, Path]:
    """The first of the gate's worktrees that nobody uses, locked."""
    for number in range(1, 1000):
        descriptor = os.open(root / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return descriptor, root / f"t{number}"
    raise GitOperationError("too many tests run at once", hint="wait for some of them")
