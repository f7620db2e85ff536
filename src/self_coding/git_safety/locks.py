"""One operation at a time: the operation lock, the intent that outlives a crash, `index.lock`.

No lock of another program is ever broken: a lock file is removed only where it is provably ours.
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
from typing import Any

from self_coding.adapters import process
from self_coding.adapters.files import replace_file
from self_coding.adapters.git import held_descriptors
from self_coding.errors import GitOperationError
from self_coding.git_safety.objects import disk_errors

WAIT_SECONDS = 120.0
INDEX_WAIT_SECONDS = 5.0
# By call chain, not by process: flock would let a second task of this process wait for the first
# for ever, while a nested operation of the same task must pass.
_held: ContextVar[frozenset[str]] = ContextVar("self_coding_git_lock", default=frozenset())


@contextmanager
def exclusive(folder: Path, kind: str, *, wait: float = WAIT_SECONDS) -> Iterator[bool]:
    """Hold the operation lock; yields False when this call chain holds it already."""
    key = str(folder)
    if key in _held.get():
        yield False
        return
    descriptor = _acquire(folder, kind, wait)
    token = _held.set(_held.get() | {key})
    # Git processes inherit the descriptor, and the kernel drops the lock with the last copy of it:
    # after we are killed, no one starts while a git of ours still writes.
    fds = held_descriptors.set((*held_descriptors.get(), descriptor))
    try:
        yield True
    finally:
        held_descriptors.reset(fds)
        _held.reset(token)
        os.close(descriptor)


def _acquire(folder: Path, kind: str, wait: float) -> int:
    path = folder / "lock"
    with disk_errors(f"cannot open {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        # Never unlinked: who waits on a removed file would hold a lock that nobody else can see.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + wait
    pause = 0.005
    while True:
        try:  # flock, not a lock file: the kernel releases it however the holder dies
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            # A thread cannot be interrupted in a blocking flock, so it polls, and looks whether it
            # is still wanted.
            if process.cancelled():
                os.close(descriptor)
                raise GitOperationError(f"{kind} was cancelled while it waited") from None
            if time.monotonic() > deadline:
                os.close(descriptor)
                owner = "an unknown process"
                with suppress(OSError, ValueError, KeyError, TypeError):
                    note = json.loads(path.read_text(encoding="utf-8", errors="replace"))
                    seconds = time.time() - float(note["since"])
                    owner = f"{note['operation']} by process {note['pid']} for {seconds:.0f} s"
                raise GitOperationError(
                    f"another operation is running in this repository: {owner}",
                    hint="wait for it, or end that process; its lock goes with it",
                ) from None
            time.sleep(pause)
            # Most operations last milliseconds: quick at first, then cheap for who waits behind
            # tests.
            pause = min(pause * 1.5, 0.1)
    holder = json.dumps({"pid": os.getpid(), "operation": kind, "since": time.time()}).encode()
    with suppress(OSError):  # a full disk must not stop the operation here
        # Blanks over what a longer note before it has left: truncating first would show a reader an
        # empty file.
        os.pwrite(descriptor, holder + b" " * max(0, 200 - len(holder)), 0)
    return descriptor


class Intent:
    """What an operation is about to change, stored before it changes it and removed after.

    An intent that outlives its operation tells the next one what to finish.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "intent.json"

    def read(self) -> dict[str, Any] | None:
        """Return the intent of an operation that did not finish; empty when it is unreadable."""
        try:
            loaded = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            # Not None: something had begun, and whoever recovers must say that it cannot be read.
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def write(self, data: dict[str, Any]) -> None:
        """Store it, whole or not at all."""
        with disk_errors(f"nothing was changed; cannot write {self.path}"):
            replace_file(self.path, json.dumps(data))

    def clear(self) -> None:
        """Remove it: the operation is over."""
        self.path.unlink(missing_ok=True)


class IndexLock:
    """A checkout's `index.lock`, the one lock that a person's git respects.

    It is a hard link to a file of ours (`token`), so that after a crash it is provably ours.
    """

    def __init__(self, directory: Path, folder: Path) -> None:
        self.index = directory / "index"
        self.lock = directory / "index.lock"
        self.token = folder / f"index-lock-{os.getpid()}-{time.monotonic_ns()}"

    def acquire(self, wait: float | None = None) -> None:
        """Take it, waiting a little for a git command that is just finishing."""
        # Touched before the link: from here on a crash leaves a token that names the lock as ours.
        self.token.touch()
        deadline = time.monotonic() + (INDEX_WAIT_SECONDS if wait is None else wait)
        try:
            with disk_errors(f"cannot take {self.lock}"):
                while True:
                    with suppress(FileExistsError):  # as git's own O_EXCL
                        os.link(self.token, self.lock)
                        return
                    if time.monotonic() > deadline:
                        made = time.time()
                        # It may have gone between the failed link and this look.
                        with suppress(FileNotFoundError):
                            made = self.lock.stat().st_mtime
                        raise GitOperationError(
                            f"another git command is at work here: {self.lock} exists"
                            f" ({time.time() - made:.0f} s old)",
                            hint="let it finish; if no git command runs, remove that file",
                        )
                    time.sleep(0.02)
        except BaseException:
            self.token.unlink(missing_ok=True)
            raise

    def publish(self, prepared: Path) -> None:
        """Make a copy of `prepared` the index, at once, and give the lock back."""
        with disk_errors(f"cannot write {self.index}"):
            # Written into the lock itself and renamed, as git does: readers see the old or the new.
            copy_index_file(prepared, self.lock)
            self.lock.replace(self.index)
        self.token.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the lock back with the index as it was."""
        try:
            # Only while it is still our file: somebody may have removed it by hand, and another git
            # have taken it since.
            if self.lock.samefile(self.token):
                self.lock.unlink()
        except FileNotFoundError:
            pass
        except OSError:
            return  # the token stays, so that recovery can tell whose lock it is
        self.token.unlink(missing_ok=True)


def copy_index_file(index: Path, copy: Path) -> None:
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


def unreleased_tokens(folder: Path) -> list[Path]:
    """Return the tokens of index locks that were not given back."""
    return sorted(folder.glob("index-lock-*"))
