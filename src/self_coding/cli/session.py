"""One run of the command line: which repository, which form of output, how it ends.

Exit status: 0 done, 1 an attempt did not land, 2 a wrong command line, 3 this layer could not do
its work (a `SelfCodingError`), 130 interrupted. It knows no room; commands bring their own.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TypeVar

import click

from self_coding.errors import SelfCodingError
from self_coding.values.attempts import Json

T = TypeVar("T")

NOT_LANDED = 1
FAILED = 3
INTERRUPTED = 130
AT_LEAST_ONE = click.IntRange(min=1)  # for options that bound a number


@dataclass(frozen=True)
class Session:
    """The global options of one command line."""

    repo: Path
    as_json: bool = False
    debug: bool = False
    quiet: bool = False

    def emit(self, value: object, text: str) -> None:
        """Print a result: as JSON when asked for, else as the text for people."""
        click.echo(json.dumps(as_json(value), indent=2) if self.as_json else printable(text))

    def say(self, line: str) -> None:
        """One line of progress, on standard error so that results can be piped."""
        if not self.quiet:
            click.echo(printable(line), err=True)

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run the async part of a command; SIGTERM cancels it as Ctrl-C does."""
        return asyncio.run(_stoppable(work))


async def _stoppable(work: Coroutine[object, object, T]) -> T:
    """Await `work`; a polite kill becomes a cancellation, so that everything is cleaned up."""
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def as_json(value: object) -> Json:
    """Any value of ours as plain JSON: dataclasses by field, paths and enums as text."""
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
    return value.isoformat() if isinstance(value, datetime) else str(value)


def printable(text: str) -> str:
    """`text` without what could steer a terminal; undecodable bytes of names shown as �."""
    encoded = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in encoded)


def table(rows: list[list[str]]) -> str:
    """Rows as aligned columns; the last column is as wide as it likes."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = (
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def first_line(text: str, limit: int = 72) -> str:
    """The first line of a text, cut at `limit` characters with a mark."""
    line = next((part for part in text.splitlines() if part.strip()), "").strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def report(error: SelfCodingError, *, as_json_text: bool) -> None:
    """Tell an error: what happened, and what to do next."""
    if as_json_text:
        told: Json = {"slug": error.slug, "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"error": told}, indent=2))
        return
    click.echo(printable(f"error: {error.message}"), err=True)
    if error.hint:
        click.echo(printable(f"hint: {error.hint}"), err=True)


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
            report(SelfCodingError(error.format_message(), hint=_usage(error)), as_json_text=True)
        else:
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort) as error:
        at_a_question = isinstance(error, click.Abort) and error.__cause__ is None
        what = "\nno answer" if at_a_question else "interrupted"
        click.echo(f"{what}; nothing of yours was changed, see `self-coding log`", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except Exception as error:
        if debug:
            raise
        bug = SelfCodingError(
            f"unexpected {type(error).__name__}: {error}",
            hint="this is a bug in self-coding; run again with --debug and report what it prints",
        )
        report(bug, as_json_text=wants_json)
        return FAILED
    return ended if isinstance(ended, int) else 0


def _usage(error: click.ClickException) -> str:
    """Where the right command line is described."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see `{context.command_path} --help`" if context else ""


def _silence_stdout() -> None:
    """A reader that went away (`| head`) is no error, and no second one at exit."""
    with suppress(OSError):
        sys.stdout.close()
