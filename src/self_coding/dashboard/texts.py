"""Pure. Stored texts made fit to be looked at: what steers or hides is visible, all is bounded.

Tasks, diffs, outputs and paths come from models and strangers. Templates escape them; this module
sees to what escaping leaves: terminal sequences, characters without a shape, changes of direction,
towers of accents, lines without end.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from functools import cache

LINE, BLOCK, WIDTH = 600, 8_000, 400  # characters of a text, of a block, of a line in a block
_MARKS = 4  # accents that one letter may carry
_BREAKS = ("Zl", "Zp")  # end a line without being told so
_KEPT = "\u200d\ufe0f"  # join and colour emoji
# Printable ASCII, and what follows it without control characters or marks: most texts are that.
_PLAIN = re.compile(r"[\x20-\x7e\xa1-\xac\xae-\u02ff\u0370-\u0482]*")


def visible(text: str, keep: str = "") -> str:
    """Return a text in which every character has a shape: `␛` for ESC, `⟨U+202E⟩` for a turn."""
    if _PLAIN.fullmatch(text):
        return text
    out: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        is_mark = category in ("Mn", "Me")
        if is_mark:
            out.append(char if marks < _MARKS else "⟨more accents⟩" if marks == _MARKS else "")
        elif char in keep or char in _KEPT or not (category[0] == "C" or category in _BREAKS):
            out.append(char)
        else:
            out.append(_shape(char))
        marks = marks + 1 if is_mark else 0
    return "".join(out)


@cache
def _shape(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def line(text: str, limit: int = LINE) -> str:
    """Return a text as one visible line of at most `limit` characters."""
    # Cut first: what comes is of any size. Each character may become several.
    cut = " ".join(text[: limit * 4].split())
    shown = visible(cut[:limit])
    return f"{shown[:limit].rstrip()}…" if len(shown) > limit or len(cut) > limit else shown


def block(text: str, limit: int = BLOCK) -> str:
    """Return a text of several lines: its head and its tail where it is long, no line too wide."""
    if len(text) > limit:
        head, tail = limit // 3, limit - limit // 3
        left = len(text) - limit
        text = f"{text[:head]}\n[… {left:,} characters are left out here …]\n{text[-tail:]}"
    rows = (row if len(row) <= WIDTH else f"{row[:WIDTH]}…" for row in text.split("\n"))
    return visible("\n".join(rows), keep="\n\t")


def ago(moment: datetime | None, now: datetime) -> str:
    """Return a time as people say it: "3 min ago", "in 2 days"."""
    if moment is None:
        return "-"
    seconds = (now - moment).total_seconds()
    told = span(abs(seconds))
    if told == "now":
        return "just now"
    return f"{told} ago" if seconds > 0 else f"in {told}"


def span(seconds: float) -> str:
    """Return how long something takes, in its largest unit."""
    for size, name in ((86_400 * 365, "y"), (86_400 * 30, "mo"), (86_400, "d"), (3_600, "h")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    if seconds >= 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 1 else "now"


def exact(moment: datetime | None) -> str:
    """Return a time to the second, with its zone."""
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}" if moment else ""


def within(started: datetime, moment: datetime) -> str:
    """Return how long after the start something was: "+0.4 s", "+3 min"."""
    passed = moment - started
    if passed < timedelta(seconds=10):
        return f"+{max(0.0, passed.total_seconds()):.1f} s"
    return f"+{span(passed.total_seconds())}"
