"""The processes of this machine, read from `/proc` without starting anything.

Where there is no `/proc`, or a process may not be looked into, it names nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def commands(name: str) -> Iterator[tuple[list[str], Path]]:
    """Yield the arguments and the working directory of every process called `name`."""
    wanted = os.fsencode(name) + b"\n"
    for entry in _processes():
        with suppress(OSError):  # it has ended, or belongs to another user
            if (entry / "comm").read_bytes() == wanted:
                words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
                yield [os.fsdecode(word) for word in words], (entry / "cwd").readlink()


def kill_marked(variable: str, value: str) -> None:
    """End every process that has `variable` set to `value` in its environment.

    Only needed where contained code has killed its own supervisor: its children then belong to
    init, and nothing but their inherited environment tells whose they are.
    """
    wanted = f"{variable}={value}".encode()
    for entry in _processes():
        with suppress(OSError):
            # What the process was started with: it can change its own variables, not this record.
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)


def _processes() -> list[Path]:
    try:
        entries = [entry for entry in _PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return []
    return [entry for entry in entries if int(entry.name) != os.getpid()]
