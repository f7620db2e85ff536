"""An exclusive lock on a file, which ends with the process that holds it.

The kernel drops the lock however the process dies, so there is no time-out, no heartbeat and no
stale lock to clear away.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from self_coding.errors import StorageError


class FileLock:
    """A lock that is held until `release`, or until this process ends."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def write(self, data: bytes) -> None:
        """Add to what the file says of its holder; a full disk is no reason to stop the work."""
        with suppress(OSError):
            os.write(self._fd, data)

    def release(self) -> None:
        """Give the lock up; calling it twice does nothing more."""
        if self._fd < 0:
            return
        # Unlink before close: while the lock is ours no other process can have locked this file.
        self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


def try_lock(path: Path) -> FileLock | None:
    """Lock the file `path`; None while another process (or task) holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # flock, not lockf: those of POSIX are dropped when any descriptor of the file is
            # closed, by whatever part of this process.
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            try:
                if os.path.samestat(os.fstat(fd), path.stat()):
                    os.truncate(fd, 0)  # what a holder that died has written
                    return FileLock(path, fd)
            except FileNotFoundError:
                pass
            # The last holder removed the file between our open and our flock: this lock is on an
            # inode that no one else can find. Begin again with the file that is there now.
            os.close(fd)
    except OSError as error:
        raise StorageError(
            f"cannot lock {path}: {error}", path=str(path), hint="make its folder writable"
        ) from error


def is_locked(path: Path) -> bool:
    """Return whether anybody holds the lock `path`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two who look do not see each other.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
