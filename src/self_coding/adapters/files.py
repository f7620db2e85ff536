"""Write a file in one step, remove a folder for certain; nothing here follows a link.

The content is written under another name in the same folder, which depends on the target alone, and
is locked while it is written: what a killed process leaves there goes with the next write.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

PART = ".self-coding-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # ioctls of Linux's file systems
_UNCHANGEABLE = 0x10 | 0x20  # immutable, append-only


def replace_file(
    target: Path,
    content: str | bytes,
    *,
    mode: int | None = None,
    durable: bool = False,
    prefix: str = PART,
) -> None:
    """Put `content` in the place of `target`, at once; a reader sees the old file or the new one.

    Where that fails the old file stays, and nothing else is left behind.

    Args:
        target: the file, in a folder that exists.
        content: the new content; text is written as UTF-8.
        mode: its permissions; None keeps those of the old file, or the process's default.
        durable: True waits until the content is on the disk.
        prefix: of the name under which it is written before it is renamed.
    """
    with _written(target, content, prefix, durable=durable) as part:
        if mode is None:
            with suppress(FileNotFoundError):
                mode = stat.S_IMODE(target.stat().st_mode)
        if mode is not None:
            part.chmod(mode)
        part.replace(target)


def create_file(target: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file that is not there yet, whole or not at all.

    Raises:
        FileExistsError: it is there; it stays as it is.
    """
    with _written(target, content, PART, durable=durable) as part:
        target.hardlink_to(part)  # a link, unlike a rename, refuses to replace


def is_part(path: Path) -> bool:
    """Return whether this is the name of a file of ours that was still being written."""
    return re.fullmatch(re.escape(PART) + "[0-9a-f]{16}", path.name) is not None


def remove_abandoned(part: Path, *, wait: bool = False) -> bool:
    """Remove a part that no living process writes; return whether it is gone.

    `wait` lets a living process end first.
    """
    try:
        # NONBLOCK: opening a pipe that somebody put there would wait for its writer.
        fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:  # a link, or not readable: nothing that is being written here
        part.unlink(missing_ok=True)
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        # The name may be another writer's by now; only the file that was locked is abandoned.
        if _is_at(fd, part):
            part.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


@contextmanager
def _written(target: Path, content: str | bytes, prefix: str, *, durable: bool) -> Iterator[Path]:
    """Yield the locked part that holds `content`; remove it where it is still there at the end."""
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    part = target.with_name(prefix + name)  # same folder: rename is atomic there
    while True:
        try:
            # Never opened where it exists: it may be a link that somebody put there.
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            remove_abandoned(part, wait=True)
            continue
        fcntl.flock(fd, fcntl.LOCK_EX)
        if _is_at(fd, part):  # else taken for abandoned between our open and our flock
            break
        os.close(fd)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
            if durable:
                file.flush()
                # Of the content alone: should the rename be lost with the power, the old file is
                # still whole.
                os.fsync(fd)
        yield part
    finally:
        if _is_at(fd, part):  # after a rename the name may be another writer's already
            with suppress(OSError):
                part.unlink()
        os.close(fd)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:
        return False


def remove_tree(top: Path) -> None:
    """Remove a folder whatever is in it: any depth, any modes, and what root made unchangeable.

    A link or a file in its place is removed; nothing there is no error.
    """
    if not os.path.lexists(top):
        return
    # Below PATH_MAX no path names a folder, and recursion ends at Python's limit: one descriptor
    # walks down by names and up by `..`. A link is never followed: nothing else works here now.
    # The parent is the caller's, who may have come by a link.
    here = os.open(top.parent, _FOLDER & ~os.O_NOFOLLOW)
    trail: list[tuple[str, list[str]]] = []
    pending = [top.name]
    try:
        if top.is_symlink() or not top.is_dir():
            _insist(partial(os.unlink, top.name, dir_fd=here), top.name, here)
            return
        while pending or trail:
            name = ".."
            if pending:
                name = pending.pop()
                trail.append((name, pending))
                with suppress(OSError):  # another user's
                    # A folder without rights cannot be opened, not even by its owner.
                    os.chmod(name, 0o700, dir_fd=here)
            below = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
            if name == "..":
                name, pending = trail.pop()
                _insist(partial(os.rmdir, name, dir_fd=here), name, here)
                continue
            with os.scandir(here) as entries:
                # Read to its end first: readdir promises nothing of a folder that changes
                # meanwhile.
                found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
            pending = [name for name, is_folder in found.items() if is_folder]
            for name in found.keys() - {*pending}:
                _insist(partial(os.unlink, name, dir_fd=here), name, here)
    finally:
        os.close(here)


def _insist(call: Callable[[], None], name: str, folder: int) -> None:
    """Do what removes an entry of a folder, also where root has made one of them unchangeable."""
    try:
        call()
    except PermissionError:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with suppress(OSError):  # a link or a socket has no such flags
            entry = os.open(name, flags, dir_fd=folder)
            try:
                _make_changeable(entry)
            finally:
                os.close(entry)
        with suppress(OSError):
            _make_changeable(folder)
        call()


def _make_changeable(fd: int) -> None:
    [flags] = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, bytes(struct.calcsize("l"))))
    if flags & _UNCHANGEABLE:
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags & ~_UNCHANGEABLE))


def walk(
    top: Path, into: Callable[[os.DirEntry[str]], bool] = lambda _: True
) -> Iterator[os.DirEntry[str]]:
    """Yield every entry below a folder, whatever its depth; links are not followed."""
    pending = [str(top)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:  # no name is that long
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False) and into(entry):
                    pending.append(entry.path)
