"""Files that a person names on the command line: read as text, or written whole and over no other.

It knows nothing of what stands in them.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import click

from self_coding.adapters.files import replace_file
from self_coding.cli.session import first_line
from self_coding.errors import JournalError


def write_file(file: Path, text: str, *, force: bool) -> None:
    """Write `text` into a new `file`; one that is there is replaced only with `force`.

    Pipes and devices are written into as they are.

    Raises:
        JournalError: it is there already, or cannot be written; nothing is left behind.
    """
    target = Path(os.path.realpath(file))  # a link stays one: what it leads to is written
    try:
        if _is_stream(file):  # not `target`: what /dev/fd leads to has no name
            file.write_text(text, encoding="utf-8")
        elif force:
            replace_file(target, text)
        else:
            _create(target, text)
    except FileExistsError as error:
        hint = "nothing was written; give another name, or --force to replace it"
        raise JournalError(f"{file} is there already", hint=hint) from error
    except OSError as error:
        hint = "name a file, in a folder that is there and that you may write into"
        message = f"cannot write {first_line(str(file))}: {error.strerror}"
        raise JournalError(message, hint=hint) from error


def read_lines(file: Path) -> list[str]:
    """The lines of a text file, or of standard input where `file` is "-".

    Raises:
        JournalError: it cannot be read, or is no text.
    """
    try:
        with click.open_file(str(file), encoding="utf-8") as source:
            return list(source)
    except UnicodeDecodeError as error:
        hint = "nothing was imported; take the output of `export` as it is"
        raise JournalError(f"{file} is no text in UTF-8", hint=hint) from error
    except OSError as error:
        hint = "nothing was imported; name a file that you may read"
        raise JournalError(f"cannot read {file}: {error.strerror}", hint=hint) from error


def _is_stream(file: Path) -> bool:
    """Whether it is a pipe or a device, such as a shell gives for `>(gzip)`."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):  # a rename would put a file in their place
        raise OSError(errno.EINVAL, "it is no file")
    return not stat.S_ISREG(mode)


def _create(target: Path, text: str) -> None:
    """Exclusively, so that a file that appears meanwhile is not written over either."""
    with target.open("x", encoding="utf-8") as new:
        try:
            new.write(text)
            new.flush()
        except BaseException:
            target.unlink(missing_ok=True)
            raise
