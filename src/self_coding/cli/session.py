"""One run of the command line: which repository, which form of output, how it ends.

Exit status: 0 done, 1 an attempt did not land, 2 a wrong command line, 3 self-coding could not do
its work (a `SelfCodingError`), 130 interrupted. It knows no service; commands bring their own.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from self_coding.errors import ConfigError, SelfCodingError

if TYPE_CHECKING:
    from self_coding.values.attempts import Json

T = TypeVar("T")

NOT_LANDED = 1
FAILED = 3
INTERRUPTED = 130
_NOWHERE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # to write to


@dataclass(frozen=True)
class Session:
    """The global options of one command line."""

    repo: Path
    as_json: bool = False
    debug: bool = False
    quiet: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def emit(self, value: object, text: str | Callable[[], str]) -> None:
        """Print a result: as JSON when asked for, else as the text for people."""
        if self.as_json:
            print_json(value)
        else:
            lines = printable(text if isinstance(text, str) else text())
            click.echo(colour_diff(lines) if lines.startswith("diff --git ") else lines)

    def say(self, line: str) -> None:
        """Print one line of progress, on standard error so that results can be piped."""
        if not self.quiet:
            click.echo(printable(line), err=True)

    def run(self, work: Coroutine[object, object, T], *, inline: bool = False) -> T:
        """Run the async part of a command; SIGTERM cancels it as Ctrl-C does.

        `inline`: it waits for nothing but blocking calls, and so needs no event loop.
        """
        import signal

        if inline:
            from self_coding.adapters.threads import run_inline

            signal.signal(signal.SIGTERM, signal.default_int_handler)
            return run_inline(work)
        import asyncio

        async def stoppable() -> T:
            task = asyncio.current_task()
            assert task is not None
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            return await work

        try:
            return asyncio.run(stoppable())
        except asyncio.CancelledError as error:
            raise KeyboardInterrupt from error

    def read(self, file: Path, what: str) -> str:
        """Return the text of a file, or of standard input for "-"; any bytes survive."""
        try:
            with click.open_file(str(file), "rb") as source:
                data: bytes = source.read()
        except OSError as error:
            raise ConfigError(
                f"cannot read the {what} {file}: {error.strerror}", hint="name a file that exists"
            ) from error
        return data.decode("utf-8", "surrogateescape")


def as_json(value: object) -> Json:
    """Return any value of ours as plain JSON: dataclasses by field, paths and enums as text.

    By hand, since the import of pydantic takes longer than most commands.
    """
    if isinstance(value, Enum):
        return as_json(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    import json

    click.echo(json.dumps(as_json(value), indent=2))


def printable(text: str) -> str:
    """Return `text` without what could steer a terminal; undecodable bytes of names become �."""
    encoded = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in encoded)


def colour_diff(diff: str) -> str:
    """Return a printable diff in colours, which click leaves out where no terminal is."""
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return "\n".join(
        click.style(line, fg=colours[line[0]]) if line[:1] in colours else line
        for line in diff.split("\n")
    )


def table(rows: list[list[str]]) -> str:
    """Return rows as aligned columns; the last column is as wide as it likes."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = (
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def report(error: SelfCodingError, *, as_json_text: bool) -> None:
    """Print an error: what happened, and what to do next."""
    if as_json_text:
        print_json({"error": {"slug": error.slug, "message": error.message, "hint": error.hint}})
        return
    click.echo(printable(f"error: {error.message}"), err=True)
    if error.hint:
        from self_coding.operation import spoken

        click.echo(printable(f"hint: {spoken(error.hint, calls=False)}"), err=True)


def guarded(start: Callable[[], object]) -> int:
    """Run a command line to its exit status; no traceback reaches the user without --debug."""
    debug, wants_json = "--debug" in sys.argv, "--json" in sys.argv
    try:
        ended = start()
    except SelfCodingError as error:
        if debug:
            raise
        report(error, as_json_text=wants_json)
        return FAILED
    except click.ClickException as error:
        if wants_json:
            context = error.ctx if isinstance(error, click.UsageError) else None
            hint = f"see `{context.command_path} --help`" if context else ""
            report(SelfCodingError(error.format_message(), hint=hint), as_json_text=True)
        else:
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        at_a_question = isinstance(error, click.Abort) and error.__cause__ is None
        what = "\nno answer" if at_a_question else "interrupted"
        click.echo(f"{what}; nothing of yours was changed, see `self-coding attempts`", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        with suppress(OSError):  # `| head` went away: not an error, and not a second one at exit
            sys.stdout.close()
        return 0
    except Exception as error:
        if debug:
            raise
        said = f"unexpected {type(error).__name__}: {error}"
        hint = "this is a bug in self-coding; run again with --debug and report what it prints"
        if getattr(error, "errno", None) in _NOWHERE and not getattr(error, "filename", None):
            said = f"the output cannot be written: {error}"
            hint = "make room there, or send it elsewhere; what was done before it is done"
            wants_json = False
            with suppress(OSError):
                sys.stdout.close()
        report(SelfCodingError(said, hint=hint), as_json_text=wants_json)
        return FAILED
    return ended if isinstance(ended, int) else 0
