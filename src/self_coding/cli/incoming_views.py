"""How people read the results of the operations of `incoming`, as `views` has it of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.cli.view import view, when
from self_coding.text import first_line

if TYPE_CHECKING:
    from self_coding.values.results import Digest, ReportedError, Watched


def report_error(error: ReportedError) -> str:
    """Return an error, how often it came, and what can be done about it."""
    often = "once" if error.count == 1 else f"{error.count} times"
    head = f"error {error.id}: {error.title}\nseen {often}, last {when(error.last)}"
    if error.dropped:
        return f"{head}\nnot offered any more: {first_line(error.dropped, 200)}"
    return f'{head}\nnext: self-coding self-edit "Fix error {error.id}"'


drop_error = report_error


@view(status=lambda look: int(not look.is_green))
def watch(look: Watched) -> str:
    """Return the last look in words."""
    return str(look)


def digest(told: Digest) -> str:
    """Return the Markdown."""
    return told.text.rstrip()
