"""Reads a unified diff as evidence: which paths, which functions, what the first lines say.

Pure, and liberal: any text may come in, and what is no diff yields nothing. It refuses to judge
a change; that is `policy`'s work.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r'^(?:\+\+\+|---) "?(?:[abciow12]/)?([^\t\n"]+)', re.MULTILINE)
_GIT = re.compile(r'^diff --git "?a/(.+?)"? "?b/', re.MULTILINE)
_CHANGED = re.compile(r"^[-+](?![-+]{2} )[ \t]*(.*)$", re.MULTILINE)
_NAMED = re.compile(
    r"\b(?:def|class|func|function|fn|interface|struct|trait|enum|impl|module)\s+"
    r"(?:\([^)]*\)\s*)?([A-Za-z_$][\w$.]*)"
)
_LONGEST = 400  # characters of one line that are read; a minified file is no evidence


def paths(diff: str) -> list[str]:
    """The repository-relative paths that a diff names, each once, in its order."""
    named = [*_GIT.findall(diff), *_HEADER.findall(diff)]
    return list(dict.fromkeys(path.strip() for path in named if path.strip() != "/dev/null"))


def symbols(diff: str) -> list[str]:
    """The functions and classes that a diff touches: its hunk headers' and those it defines."""
    found: dict[str, None] = {}
    for match in _NAMED.finditer(diff):
        begin = diff.rfind("\n", 0, match.start()) + 1
        near = match.start() - begin < _LONGEST
        if near and (diff[begin] in "+-" or diff.startswith("@@", begin)):
            found.setdefault(match[1])
    return list(found)


def head(diff: str, limit: int = 600) -> str:
    """The first changed lines of a diff, without its headers, at most `limit` characters."""
    taken: list[str] = []
    room = limit
    for match in _CHANGED.finditer(diff):
        line = match[1][:_LONGEST]
        if line:
            taken.append(line[:room])
            room -= len(line) + 1
        if room <= 0:
            break
    return "\n".join(taken)
