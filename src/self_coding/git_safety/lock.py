"""One operation at a time: the lock, the intent that outlives a crash, and a person's index.lock.

The kernel drops the lock when its holder and the holder's git processes are gone. It refuses to
break anybody's lock: a lock file is removed only where it is provably ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeAlias

from self_coding.adapters import process
from self_coding.adapters.git import held_descriptors
from self_coding.errors import GitOperationError

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

WAIT_SECONDS = 120.0
INDEX_WAIT_SECONDS = 5.0
_held: ContextVar[frozenset[str]] = ContextVar("self_coding_git_lock", default=frozenset())


@contextmanager
def operation(folder: Path, kind: str, *, wait: float = WAIT_SECONDS) -> Iterator[bool]:
    """Hold the repository's operation lock; True when it was not held by this call chain already.

    Raises:
        GitOperationError: somebody else held it for longer than `wait`; the message says who.
    """
    key = str(folder)
    if key in _held.get():
        yield False
        return
    descriptor = _locked(folder, kind, wait)
    token = _held.set(_held.get() | {key})
    fds = held_descriptors.set((*held_descriptors.get(), descriptor))
    try:
        yield True
    finally:
        held_descriptors.reset(fds)
        _held.reset(token)
        os.close(descriptor)


def _locked(folder: Path, kind: str, wait: float) -> int:
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise GitOperationError(
            f"cannot open {path}: {error}", hint="make the git directory writable"
        ) from error
    deadline = time.monotonic() + wait
    pause = 0.005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if process.cancelled():
                os.close(descriptor)
                raise GitOperationError(f"{kind} was cancelled while it waited") from None
            if time.monotonic() > deadline:
                owner = _owner(path)
                os.close(descriptor)
                raise GitOperationError(
                    f"another operation is running in this repository: {owner}",
                    hint="wait for it, or end that process; its lock goes with it",
                ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        else:
            break
    _sign(descriptor, kind)
    return descriptor


def _sign(descriptor: int, kind: str) -> None:
    """Write who holds the lock; a full disk must not stop the operation here."""
    note = json.dumps({"pid": os.getpid(), "operation": kind, "since": time.time()}).encode()
    with suppress(OSError):
        os.pwrite(descriptor, note + b" " * max(0, 200 - len(note)), 0)


def _owner(path: Path) -> str:
    try:
        note = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        seconds = time.time() - float(note["since"])
        return f"{note['operation']} by process {note['pid']} for {seconds:.0f} s"
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown process"


class Intent:
    """What an operation is about to change, stored before it changes it and removed after.

    A file of this kind that outlives its operation tells the next one what to finish.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "intent.json"

    def read(self) -> dict[str, Json] | None:
        """The intent of an operation that did not finish, if there is one."""
        try:
            loaded = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def write(self, data: dict[str, Json]) -> None:
        """Store it, whole or not at all."""
        spare = self.path.with_suffix(".new")
        try:
            spare.write_text(json.dumps(data), encoding="utf-8")
            spare.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                spare.unlink()
            raise GitOperationError(
                f"cannot write {self.path}: {error}",
                hint="make room on the disk; nothing was changed",
            ) from error

    def clear(self) -> None:
        """The operation is over."""
        self.path.unlink(missing_ok=True)


class IndexLock:
    """A checkout's `index.lock`, the one lock that a person's git respects.

    It is a hard link to a file of ours, so that after a crash it is provably ours.
    """

    def __init__(self, directory: Path, folder: Path) -> None:
        self.index = directory / "index"
        self.lock = directory / "index.lock"
        self.token = folder / f"index-lock-{os.getpid()}-{time.monotonic_ns()}"

    def acquire(self, wait: float = INDEX_WAIT_SECONDS) -> None:
        """Take it, waiting a little for a git command that is just finishing.

        Raises:
            GitOperationError: somebody else holds it; their lock was left alone.
        """
        self.token.touch()
        deadline = time.monotonic() + wait
        while True:
            try:
                os.link(self.token, self.lock)
            except FileExistsError:
                if time.monotonic() > deadline:
                    self.token.unlink(missing_ok=True)
                    raise _index_busy(self.lock) from None
                time.sleep(0.02)
            except OSError as error:
                self.token.unlink(missing_ok=True)
                raise GitOperationError(
                    f"cannot take {self.lock}: {error}", hint="make the git directory writable"
                ) from error
            else:
                return

    def publish(self, prepared: Path) -> None:
        """Make a copy of `prepared` the index, at once, and give the lock back."""
        try:
            copy_of_index(prepared, self.lock)
            self.lock.replace(self.index)
        except OSError as error:
            raise GitOperationError(
                f"cannot write {self.index}: {error}", hint="make room on the disk"
            ) from error
        self.token.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the lock back with the index as it was."""
        if drop_if_ours(self.lock, self.token):
            self.token.unlink(missing_ok=True)


def copy_of_index(index: Path, copy: Path) -> None:
    """Write a copy of an index that is as old as it is.

    A younger one would take a file that was changed in the index's own tick of the clock, and kept
    its size, for clean: git looks into files that are no older than the index.

    Raises:
        OSError: there is no such index, or no room.
    """
    with index.open("rb") as file:
        made = os.fstat(file.fileno())
        copy.write_bytes(file.read())
    os.utime(copy, ns=(made.st_atime_ns, made.st_mtime_ns))


def tokens(folder: Path) -> list[Path]:
    """The tokens of index locks that were not given back."""
    return sorted(folder.glob("index-lock-*"))


def drop_if_ours(lock: Path, token: Path) -> bool:
    """Remove `lock` when it is the very file `token`, that is: ours; False when that fails."""
    try:
        if lock.samefile(token):
            lock.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _index_busy(lock: Path) -> GitOperationError:
    try:
        age = f"{time.time() - lock.stat().st_mtime:.0f} s old"
    except OSError:
        age = "just gone"
    return GitOperationError(
        f"another git command is at work here: {lock} exists ({age})",
        hint="let it finish; if no git command runs any more, remove that file",
    )
