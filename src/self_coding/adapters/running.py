"""What runs on this machine just now, as far as the system tells us: other people's commands too.

Read from `/proc`, without starting anything. It refuses to signal, and where there is no `/proc`,
or a process is none of ours to look into, it names nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = "/proc"


def commands(name: str) -> Iterator[tuple[list[str], Path]]:
    """The arguments and the working directory of every process called `name`."""
    wanted = os.fsencode(name) + b"\n"
    try:
        with os.scandir(_PROC) as entries:
            numbers = [entry.name for entry in entries if entry.name.isdigit()]
    except OSError:
        return
    for number in numbers:
        try:
            if _read(f"{_PROC}/{number}/comm") == wanted:
                words = _read(f"{_PROC}/{number}/cmdline").split(b"\0")[:-1]
                place = Path(f"{_PROC}/{number}/cwd").readlink()
                yield [os.fsdecode(word) for word in words], place
        except OSError:  # it has ended, or belongs to somebody else
            continue


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
