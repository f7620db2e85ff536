"""Replace a file in one step; it makes no folder, follows no link and asks nobody."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(target: Path, text: str) -> None:
    """Put `text` in the place of `target`, which keeps its permissions; no reader sees half of it.

    Where that fails the old file stays, and nothing else is left behind.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".self-coding-")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            new.write(text)
        part.chmod(_mode(target))
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those that a new one gets."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
