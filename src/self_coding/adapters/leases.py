"""A claim on a piece of work that ends with the process that holds it.

The kernel drops the lock however the process dies, so there is no time-out, no heartbeat and no
stale lock to clear away. It knows nothing of what the work is.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from self_coding.errors import StorageError


class Lease:
    """A claim that is held until `release`, or until this process ends."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def release(self) -> None:
        """Give the claim up; twice is no error."""
        if self._fd < 0:
            return
        self.path.unlink(missing_ok=True)  # while it is ours: nobody can have locked this file
        os.close(self._fd)
        self._fd = -1


def claim(path: Path) -> Lease | None:
    """The claim named by `path`, or None while another process (or task) holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            if _is_at(fd, path):
                return Lease(path, fd)
            os.close(fd)  # its last holder has just removed it: begin again with the new one
    except OSError as error:
        raise StorageError(
            f"cannot claim {path}: {error}", path=str(path), hint="make its folder writable"
        ) from error


def _is_at(fd: int, path: Path) -> bool:
    """Whether the locked file is still the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
