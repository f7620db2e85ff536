"""Where the body of a class uses a method's bare name, outside of its methods.

Pure, and by the text alone: only statements of one line are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from self_coding.languages.python_scan import QUOTED, without_strings

_HEAD = re.compile(r"\s*(?:async|def|class|import|from)\b")


def uses_in_bodies(text: str, name: str, heads: Iterable[int]) -> list[int]:
    """The lines (`@name.setter`) below the heads of methods, in the same body as these."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = without_strings(text)[0].split("\n")
    use = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w|[ \t]*(?:=(?!=)|:))")
    found: set[int] = set()
    for head in heads:
        if head > len(lines):  # the file was cut since it was indexed
            break
        depth = _indent(lines[head - 1])
        for number, line in enumerate(lines[head:], head + 1):
            code = QUOTED.sub("", line)  # comments as well
            if not code.strip() or _indent(code) > depth:
                continue
            if _indent(code) < depth:
                break
            if use.search(code) and not _HEAD.match(code):
                found.add(number)
    return sorted(found)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
