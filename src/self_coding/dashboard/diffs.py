"""Pure. A unified diff as rows that a page can show: numbered, coloured, bounded.

Any text may come in; what is not a diff gives no rows, and nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from self_coding.dashboard.texts import WIDTH, visible
from self_coding.text import diff_paths

ROWS = 900  # shown of one diff; the rest is in the plain text
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")


@dataclass
class Row:
    """One line: `kind` is "add", "del", "same" or "hunk"; `changed` is the part that differs."""

    kind: str
    text: str
    old: int | None = None
    new: int | None = None
    changed: tuple[int, int] | None = None

    @property
    def parts(self) -> tuple[str, str, str]:
        """The text before, in and after the part that differs."""
        start, end = self.changed or (len(self.text), len(self.text))
        return self.text[:start], self.text[start:end], self.text[end:]


@dataclass
class FileDiff:
    """One file of a diff; `left_out` counts the lines that are not shown."""

    path: str
    rows: list[Row] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    left_out: int = 0
    note: str = ""


def files(diff: str, most: int = ROWS) -> list[FileDiff]:
    """Return the files of a unified diff with their lines, `most` rows in all."""
    found: list[FileDiff] = []
    shown = 0
    for chunk in re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE):
        paths = diff_paths(chunk[:4000])
        if not paths or not chunk.startswith("diff --git "):
            continue
        one = FileDiff(paths[-1])
        for row in _rows(chunk, one):
            one.added += row.kind == "add"
            one.removed += row.kind == "del"
            if shown < most:
                one.rows.append(row)
                shown += 1
            else:
                one.left_out += 1
        _mark_changes(one.rows)
        found.append(one)
    return found


def _rows(chunk: str, file: FileDiff) -> Iterator[Row]:
    old = new = 0
    for text in chunk.split("\n")[1:]:
        if hunk := _HUNK.match(text):
            old, new = int(hunk[1]), int(hunk[2])
            yield Row("hunk", _shown(hunk[3].strip()))
        elif not old and not new:  # the head of the file
            if text.startswith(("new file", "deleted file", "rename ", "Binary files", "old mode")):
                file.note = _shown(text.replace(" file mode 100644", " file"))
        elif text.startswith("+"):
            yield Row("add", _shown(text[1:]), new=new)
            new += 1
        elif text.startswith("-"):
            yield Row("del", _shown(text[1:]), old=old)
            old += 1
        elif text.startswith(" ") or not text:
            if text:
                yield Row("same", _shown(text[1:]), old, new)
            old, new = old + 1, new + 1


def _shown(text: str) -> str:
    cut = text if len(text) <= WIDTH else f"{text[:WIDTH]}…"
    return visible(cut, keep="\t")


def _mark_changes(rows: list[Row]) -> None:
    """Mark what differs where as many lines came as went, and the two are much alike."""
    at = 0
    while at < len(rows):
        gone = _run(rows, at, "del")
        came = _run(rows, at + gone, "add")
        if gone == came:
            for before, after in zip(rows[at:], rows[at + gone : at + gone + came], strict=False):
                a, b = before.text, after.text
                head = tail = 0
                while head < min(len(a), len(b)) and a[head] == b[head]:
                    head += 1
                while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
                    tail += 1
                # Else all of it is new, which colours say already.
                if head + tail > max(len(a), len(b)) // 3:
                    before.changed = (head, len(a) - tail)
                    after.changed = (head, len(b) - tail)
        at += max(1, gone + came)


def _run(rows: list[Row], at: int, kind: str) -> int:
    end = at
    while end < len(rows) and rows[end].kind == kind:
        end += 1
    return end - at
