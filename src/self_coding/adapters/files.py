"""Replace a file in one step; nothing here makes a folder or follows a link."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def replace_file(
    target: Path,
    content: str | bytes,
    *,
    mode: int | None = None,
    durable: bool = False,
    prefix: str = ".self-coding-",
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
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    part = target.with_name(f"{prefix}{os.urandom(8).hex()}")  # same folder: rename is atomic there
    try:
        with part.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            part.chmod(mode)
        else:
            with suppress(FileNotFoundError):
                part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
