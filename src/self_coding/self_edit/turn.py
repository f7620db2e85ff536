"""The turn to land: whose change was tested in vain lands next, undisturbed by other self-edits.

Without it a busy main starves whoever has the slower tests. It is a courtesy between processes
of ours and decides nothing: main moves by compare-and-swap alone, whoever holds the turn.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from self_coding.adapters.file_lock import FileLock, try_lock
from self_coding.errors import StorageError

PATIENCE = 1800.0  # seconds; then without: whoever holds it may have been stopped by a person

_NEW, _OLD = 0.2, 0.02  # seconds between two looks: who has waited longer looks more often


class Turn:
    """One attempt's hold on the turn of its repository; the kernel drops it with the process.

    Args:
        path: the file that stands for the turn; None where there is nobody else.
        patience: seconds to wait for it.
    """

    def __init__(self, path: Path | None, *, patience: float = PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._lease: FileLock | None = None

    async def take(self, waits: Callable[[], None] = lambda: None) -> None:
        """Hold the turn, or have waited for it long enough; `waits` is told when it is not free.

        Whoever has waited in vain waits no second time, and where the file cannot be locked
        nobody waits.
        """
        if self._path is None or self._lease is not None:
            return
        end = time.monotonic() + self._patience
        pause = _NEW
        with suppress(StorageError):
            while (lease := try_lock(self._path)) is None and time.monotonic() < end:
                if pause == _NEW:
                    waits()
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - who looks when
                pause = max(pause * 0.95, _OLD)
            self._lease = lease
        if self._lease is None:
            self._patience = 0.0

    def release(self) -> None:
        """Give it up; without it, nothing."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None


@contextmanager
def turn_at(path: Path | None) -> Iterator[Turn]:
    """A turn, not yet held, that is given up when the block ends."""
    turn = Turn(path)
    try:
        yield turn
    finally:
        turn.release()
