"""Pure. Small text helpers that every room shares: shorten a text, read a diff's paths, match a
path with a glob."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

ELLIPSIS = "…"


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters; a cut ends in an ellipsis."""
    if len(text) <= limit:
        return text
    return text[: max(0, limit - 1)].rstrip() + ELLIPSIS if limit > 0 else ""


def first_line(text: str, limit: int) -> str:
    """Return the first line that is not blank, shortened to `limit` characters."""
    return shorten(next((line.strip() for line in text.splitlines() if line.strip()), ""), limit)


def cut_middle(text: str, limit: int) -> str:
    """Return the head and the tail of `text`, `limit` characters in all, and a mark between them.

    The tail gets three quarters of the room: the end of an output says how it ended.
    """
    if len(text) <= limit:
        return text
    head = limit // 4
    dropped = len(text) - limit
    return f"{text[:head]}\n[... {dropped} characters cut ...]\n{text[dropped + head :]}"


def diff_paths(diff: str) -> list[str]:
    """Return the repository-relative paths that a unified diff names, each once, in its order.

    Any text may come in: what is not a diff names nothing, and a diff may be cut anywhere. Names
    that git quotes are decoded; `/dev/null` is not a path.
    """
    names: dict[str, None] = {}
    for line in diff.splitlines():
        if line.startswith(("--- ", "+++ ")):
            names[_path(line[4:].partition("\t")[0])] = None
        elif line.startswith(("rename from ", "rename to ")):
            names[_path(line.split(" ", 2)[2])] = None
        elif line.startswith("diff --git "):
            # The only header of an empty file and of a mode change. Its two sides are separated
            # by a space, which a name may hold as well: they can be told apart where both are
            # the same name, and are therefore equally long. Renames have lines of their own.
            sides = line[11:]
            middle = len(sides) // 2
            old, new = _path(sides[:middle]), _path(sides[middle + 1 :])
            if old == new:
                names[old] = None
    return [name for name in names if name]


def move_diff(diff: str, folder: str) -> str:
    """Return a unified diff whose paths, made in `folder`, are from the folder above it."""
    out, left = [], [0, 0]  # lines of the old and the new side that the hunk still has
    for line in diff.split("\n"):
        if hunk := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
            left = [int(hunk[1] or 1), int(hunk[2] or 1)]
        elif max(left) > 0:  # a removed line may look like a header: "-- a/x" is "--- a/x"
            left[0] -= line[:1] != "+"
            left[1] -= line[:1] != "-"
        elif "/dev/null" not in line.partition("\t")[0]:
            named = r'^((?:---|\+\+\+|(?:rename|copy) (?:from|to)) "?(?:[abciow12]/)?)'
            both = r'^(diff --git "?[abciow12]/)(.* "?[abciow12]/)'
            moved = re.sub(named, lambda m: f"{m[1]}{folder}/", line)
            out.append(re.sub(both, lambda m: f"{m[1]}{folder}/{m[2]}{folder}/", moved))
            continue
        out.append(line)
    return "\n".join(out)


def _path(name: str) -> str:
    name = name.strip()
    if len(name) > 1 and name.startswith('"') and name.endswith('"'):
        name = unquoted(name[1:-1])
    if name == "/dev/null":
        return ""
    # a/ and b/ by default; c/, i/, o/, w/ and 1/, 2/ with diff.mnemonicPrefix or --no-index
    return re.sub(r"^[abciow12]/", "", name)


def unquoted(name: str) -> str:
    r"""Decode git's C-style quoting: `\303\251` are bytes of UTF-8, `\t` and `\"` characters."""
    raw = re.sub(
        rb"\\([0-7]{3}|.)",
        lambda m: (
            bytes([int(m[1], 8) & 0xFF])
            if len(m[1]) == 3
            else {b"t": b"\t", b"n": b"\n", b"r": b"\r"}.get(m[1], m[1])
        ),
        name.encode("utf-8", "surrogateescape"),
    )
    return raw.decode("utf-8", "replace")


def matches(path: str, globs: tuple[str, ...]) -> bool:
    """Return whether a path matches one of the globs: `*` within a folder, `**` over any number of
    them; letter case and Unicode composition make no difference."""
    folded = fold(path)
    return any(_pattern(fold(glob)).fullmatch(folded) is not None for glob in globs)


def fold(path: str) -> str:
    """Return a path as the most forgiving file systems compare it: without case, composed, without
    invisible characters, trailing dots and spaces, or an NTFS stream."""
    text = unicodedata.normalize("NFKC", path).casefold().replace("\\", "/")
    # HFS+ ignores these when it compares names
    text = re.sub("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]", "", text)
    parts = [re.sub(r"(?<=[^.])[. ]+$|::?\$.*$", "", part) for part in text.split("/")]
    # `git~1` is the short name that Windows gives to `.git` (CVE-2014-9390 and its successors)
    return "/".join(".git" if part in {"git~1", ".git."} else part for part in parts)


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    out = ""
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif glob.startswith("**", at):
            out, at = out + ".*", at + 2
        elif glob[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif glob[at] == "?":
            out, at = out + "[^/]", at + 1
        else:
            out, at = out + re.escape(glob[at]), at + 1
    return re.compile(out + ("(?:/.*)?" if not glob.endswith("*") else ""), re.DOTALL)
