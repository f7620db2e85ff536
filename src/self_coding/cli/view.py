"""What the view of an operation is: its text for people, and what else its command needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

WIDTH = 72  # characters of a task in a list
F = TypeVar("F", bound=Callable[..., str])


@dataclass(frozen=True)
class View:
    """`text` for people, `data` for --json, the exit status, and options of the view's own.

    `sarif`: its findings can be had as SARIF.
    """

    text: Callable[..., str]
    data: Callable[..., object] = lambda result, session, **options: result
    status: Callable[[Any], int] = lambda result: 0
    options: Callable[[], Sequence[click.Option]] = tuple
    sarif: bool = False


def view(**more: Any) -> Callable[[F], F]:
    """Add to a text view what else its command needs."""

    def add(text: F) -> F:
        vars(text)["more"] = more
        return text

    return add


def when(moment: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a time as people read it, in their own zone."""
    return moment.astimezone().strftime(form) if moment else "-"
