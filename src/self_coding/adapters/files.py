"""Write a file in one step; nothing here makes a folder or follows a link.

The content is written under another name in the same folder, which depends on the target alone, and
is locked while it is written: what a killed process leaves there goes with the next write.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".self-coding-"


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
        fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:  # a link, or not readable: nothing that is being written here
        part.unlink(missing_ok=True)
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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
