"""Pure: a patch as people and models write it, put in the form that `git apply` takes.

Understood are unified diffs with wrong counts, other line ends or other path prefixes than git's,
and "*** Begin Patch" blocks. A hunk goes where its old lines are, compared without their line
ends; where that is no place, or more than one, it is refused.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from self_coding.text import shorten, unquoted

_HUNK = re.compile(rb"@@(?!@)[ ]*(?:-(\d+)(?:,(\d+))?[ ]+\+\d+(?:,(\d+))?)?(?:.*@@)?[ ]?(.*)")
_PREFIXED = re.compile(r"[abciow12]/")
_KEPT_HEADERS = (b"old mode ", b"new mode ", b"new file mode ", b"deleted file mode ")
_MOVES = (b"rename from ", b"rename to ", b"copy from ", b"copy to ")
_V4A = re.compile(rb"\*\*\* (Update|Add|Delete) File: (.+)")
_BLANKS = 100  # blank lines in a row that may still be context


class PatchError(Exception):
    """Why a patch has no certain meaning for these files."""


@dataclass
class Hunk:
    """Lines with their tags (" ", "-", "+"), and what is said of where they are."""

    lines: list[tuple[bytes, bytes]] = field(default_factory=list)
    start: int | None = None
    anchor: bytes = b""
    at_end: bool = False
    counted: bool = True

    @property
    def old(self) -> list[bytes]:
        """The lines that it expects, with the line ends of the patch."""
        return [text for tag, text in self.lines if tag != b"+"]


@dataclass
class FilePatch:
    """What a patch says of one file; `old` or `new` is None for one that begins or goes."""

    old: str | None = None
    new: str | None = None
    headers: list[bytes] = field(default_factory=list)
    hunks: list[Hunk] = field(default_factory=list)
    is_block: bool = False  # out of a "*** Begin Patch" block, so without prefixes
    named: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether git reads it as it was meant."""
        names = [name for name in (self.old, self.new) if name is not None]
        prefixed = all(_PREFIXED.match(name) for name in names)
        if len(names) == 2 and all("/" in name for name in names):  # `diff -u old/x new/x`
            prefixed = prefixed or names[0].split("/")[0] != names[1].split("/")[0]
        return prefixed and not self.is_block and all(hunk.counted for hunk in self.hunks)


def normalized(patch: bytes) -> bytes:
    """Return the patch as it was before a shell or a mail program encoded all of it anew."""
    if patch.startswith((b"\xff\xfe", b"\xfe\xff")):  # `git diff > FILE` in PowerShell
        patch = patch.decode("utf-16", "replace").encode()
    patch = patch.removeprefix(b"\xef\xbb\xbf")
    # git's own headers never end in CRLF: where they do, no line has the end that it was made with.
    heads = [line for line in patch.split(b"\n") if line.startswith((b"--- ", b"+++ ", b"@@ "))]
    all_crlf = bool(heads) and all(line.endswith(b"\r") for line in heads)
    return patch.replace(b"\r\n", b"\n") if all_crlf else patch


def parse(patch: bytes) -> list[FilePatch]:
    """Read a patch; empty for one that only git can read, as one of binary files."""
    lines = _split(normalized(patch))
    if any(line.startswith(b"*** Begin Patch") for line in lines):
        return _blocks(lines)
    files: list[FilePatch] = []
    at = 0
    while at < len(lines):
        line, at = lines[at].rstrip(b"\r\n"), at + 1
        if line.startswith((b"GIT binary patch", b"Binary files ", b"@@@")):
            return []
        if line.startswith(b"diff --git "):
            # Both names stand in one line without quotes: they can be told apart where they agree.
            names, middle = line[11:], len(line[11:]) // 2
            old, new = _name(names[:middle]) or "", _name(names[middle + 1 :]) or ""
            agree = _PREFIXED.sub("", old, 1) == _PREFIXED.sub("", new, 1)
            files.append(FilePatch(old, new) if agree else FilePatch())
        elif line.startswith(b"--- ") and lines[at : at + 1] and lines[at].startswith(b"+++ "):
            if not files or files[-1].named or files[-1].hunks:
                files.append(FilePatch())
            files[-1].old, files[-1].new = _name(line[4:]), _name(lines[at][4:])
            files[-1].named, at = True, at + 1
        elif line.startswith(b"@@") and files:
            hunk, at = _hunk(lines, at)
            files[-1].hunks.append(hunk)
        elif line.startswith(_MOVES) and files:
            name = _name(line.split(b" ", 2)[2]) or ""
            # They come without the prefix that the other headers have.
            side, prefix = ("old", "a/") if b" from " in line else ("new", "b/")
            setattr(files[-1], side, prefix + name)
            files[-1].headers.append(line.split(b" ")[0])
        elif line.startswith(_KEPT_HEADERS) and files:
            files[-1].headers.append(line)
            if line.startswith(b"new file"):
                files[-1].old = None
            elif line.startswith(b"deleted file"):
                files[-1].new = None
    return [one for one in files if one.hunks or one.headers]


def _split(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _name(raw: bytes) -> str | None:
    name = raw.decode("utf-8", "surrogateescape").rstrip("\r\n").partition("\t")[0].rstrip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = unquoted(name[1:-1])
    return None if name == "/dev/null" else name


def _hunk(lines: list[bytes], at: int) -> tuple[Hunk, int]:
    """Read the hunk whose header is just before `at`; return it and where it ends.

    Its counts are believed as long as the lines bear them out.
    """
    header = _HUNK.match(lines[at - 1].rstrip(b"\r\n"))
    start, old_count, new_count, _ = header.groups() if header else (None,) * 4
    hunk = Hunk(start=int(start) if start else None)
    old = int(old_count or 1) if start else -1
    new = int(new_count or 1) if start else -1
    while at < len(lines):
        tag, text = lines[at][:1], lines[at][1:]
        if tag == b"\\" and hunk.lines:
            last_tag, last = hunk.lines[-1]
            hunk.lines[-1] = last_tag, last.rstrip(b"\r\n")
        elif _ends_hunk(lines, at, old, new):
            break
        else:
            if tag in b"\r\n":
                tag, text = b" ", lines[at]  # an empty line of context, its blank stripped
            hunk.lines.append((tag, text))
            old -= tag != b"+"
            new -= tag != b"-"
        at += 1
    hunk.counted = (old, new) == (0, 0)
    return hunk, at


def _ends_hunk(lines: list[bytes], at: int, old: int, new: int) -> bool:
    """Return whether a hunk that still expects `old` and `new` lines ends before line `at`."""
    line = lines[at]
    if (old, new) != (0, 0) and not line.strip(b"\r\n"):
        ahead = range(at + 1, min(at + _BLANKS, len(lines)))
        following = (one for one in ahead if lines[one].strip(b"\r\n"))
        after = next(following, len(lines))
        return after == len(lines) or _ends_hunk(lines, after, -1, -1)
    if line[:1] not in b"+- " or not line.strip(b"\r\n"):
        return True
    if line == b"-- \n" and not any(lines[one][:1] in b"+- " for one in range(at + 1, len(lines))):
        return True  # the signature of a mail
    if line.startswith(b"--- ") and lines[at + 1 : at + 2] and (old, new) != (1, 1):
        heads = lines[at + 1].startswith(b"+++ ")
        if heads and lines[at + 2 : at + 3] and lines[at + 2].startswith(b"@@"):
            return True
    if (old, new) != (0, 0):
        return False
    # All that was counted is there. Prose may follow; more changed lines show a wrong count.
    while at < len(lines) and lines[at].startswith(b" "):
        at += 1
    changed = at < len(lines) and lines[at][:1] in b"+-"
    return not changed or lines[at].startswith((b"-- \n", b"--- ", b"---\n"))


def _blocks(lines: list[bytes]) -> list[FilePatch]:
    files: list[FilePatch] = []
    inside = False
    for line in lines:
        bare = line.rstrip(b"\r\n")
        if bare.startswith((b"*** Begin Patch", b"*** End Patch")):
            inside = bare.startswith(b"*** Begin")
        if not inside:
            continue
        if heading := _V4A.fullmatch(bare):
            name = heading[2].strip().decode("utf-8", "surrogateescape")
            adds, deletes = heading[1] == b"Add", heading[1] == b"Delete"
            one = FilePatch(None if adds else name, None if deletes else name, is_block=True)
            one.hunks.extend([Hunk()] * adds)
            files.append(one)
        elif bare.startswith(b"*** Move to: ") and files:
            files[-1].new = bare[13:].strip().decode("utf-8", "surrogateescape")
        elif bare.startswith(b"*** End of File") and files and files[-1].hunks:
            files[-1].hunks[-1].at_end = True
        # Another heading, text before the first file, or the body of one that is deleted.
        elif bare.startswith(b"*** ") or not files or files[-1].new is None:
            continue
        elif bare.startswith(b"@@"):
            files[-1].hunks.append(Hunk(anchor=bare.strip(b"@ \t")))
        elif bare[:1] in (b"+", b"-", b" ", b""):
            if not files[-1].hunks:
                files[-1].hunks.append(Hunk())
            files[-1].hunks[-1].lines.append((line[:1], line[1:]) if bare else (b" ", line))
        else:
            name = files[-1].old or files[-1].new or ""
            raise PatchError(f"{name}: a line begins with none of '+', '-' and ' ': {_say(bare)}")
    return files


def render(
    files: Iterable[FilePatch],
    read: Callable[[str], bytes | None],
    known: Callable[[], Iterable[str]],
) -> bytes:
    """Return the patch as git takes it with `--unidiff-zero`.

    Args:
        files: the patch.
        read: the content of a file; None for one that is not there.
        known: the paths of all files.

    Raises:
        PatchError: it does not fit, or its meaning is not certain.
    """
    files = list(files)
    placed = [(one, *_place(one, read, known)) for one in files]
    shifts = {shift for one, _, shift in placed if one.old is not None}
    shift = next(iter(shifts)) if len(shifts) == 1 else None
    parts = []
    for one, path, own in placed:
        by = own if one.old is not None or shift is None else shift
        old = path
        new = None if one.new is None else _shifted(one.new, by)
        content = b"" if old is None else read(old)
        if content is None:
            raise PatchError(f"{old} does not exist")
        parts.append(_rendered(one, old, new, content))
    return b"".join(parts)


_Shift = tuple[int, str]  # how many leading folders a name loses, and what is put before it


def _shifted(name: str, shift: _Shift) -> str:
    strip, prefix = shift
    return prefix + name.split("/", strip)[-1]


def _place(
    one: FilePatch, read: Callable[[str], bytes | None], known: Callable[[], Iterable[str]]
) -> tuple[str | None, _Shift]:
    """Return the path of the file that is patched, and how the patch's names lead to it."""
    name = one.old or one.new or ""
    same = one.old is not None and one.new is not None
    bare = one.is_block or (same and (one.old or "").split("/")[0] == (one.new or "").split("/")[0])
    strips = [0, 1] if bare else [1, 0]
    if "/" not in name or one.is_block:
        strips = [0]
    if one.old is None:
        return None, (strips[0] if _PREFIXED.match(name) else 0, "")
    for strip in strips:
        if read(path := _shifted(name, (strip, ""))) is not None:
            return path, (strip, "")
    # Made in a sub-folder: sure where one file alone has such a path.
    short = _shifted(name, (strips[0], ""))
    paths = [path for path in known() if path.endswith(f"/{short}")]
    if len(paths) == 1:
        return paths[0], (strips[0], paths[0].removesuffix(short))
    several = f"; it may be any of {', '.join(sorted(paths)[:3])}" if paths else ""
    raise PatchError(f"{short} does not exist{several}")


def _rendered(one: FilePatch, old: str | None, new: str | None, content: bytes) -> bytes:
    sides = old or new or "", new or old or ""
    out = [b"diff --git %s %s\n" % (_quoted("a/" + sides[0]), _quoted("b/" + sides[1]))]
    out += [line + b"\n" for line in one.headers if line.startswith(_KEPT_HEADERS)]
    modes = [line for line in one.headers if line.startswith((b"new file", b"deleted file"))]
    if old is None and not modes:
        out.append(b"new file mode 100644\n")
    copies = b"copy" in one.headers
    if old is not None and new is not None and old != new:
        word = b"copy" if copies else b"rename"
        out += [b"%s from %s\n" % (word, _quoted(old)), b"%s to %s\n" % (word, _quoted(new))]
    if new is None and not one.hunks:  # a block that deletes says nothing of what was there
        one.hunks = [Hunk([(b"-", line) for line in _split(content)], start=1)]
    body = _hunks(one, sides[0], _split(content) if content else [])
    if new is None and not modes:
        out.append(b"deleted file mode 100644\n")
    if body:
        out.append(b"--- %s\n" % (_quoted("a/" + old) if old else b"/dev/null"))
        out.append(b"+++ %s\n" % (_quoted("b/" + new) if new else b"/dev/null"))
    return b"".join(out + body)


def _hunks(one: FilePatch, path: str, content: list[bytes]) -> list[bytes]:
    keys = [line.rstrip(b"\r\n") for line in content]
    # Who writes a patch seldom sees the byte order mark: one that names none keeps it.
    hidden = bool(keys) and keys[0].startswith(BOM_UTF8)
    hidden = hidden and not any(
        text.startswith(BOM_UTF8) for hunk in one.hunks for _, text in hunk.lines
    )
    if hidden:
        keys[0] = keys[0].removeprefix(BOM_UTF8)
    out: list[bytes] = []
    after = shift = 0
    for number, hunk in enumerate(one.hunks, 1):
        at = _position(hunk, keys, after, f"{path}: hunk {number}")
        expected = hunk.old
        lines = _with_ends(hunk, content[at : at + len(expected)], content, at)
        if hidden and at == 0:
            lines = _with_mark(lines)
        old = sum(tag != b"+" for tag, _ in lines)
        new = sum(tag != b"-" for tag, _ in lines)
        first = at + (old > 0), at + shift + (new > 0)
        out.append(b"@@ -%d,%d +%d,%d @@\n" % (first[0], old, first[1], new))
        for tag, text in lines:
            out.append(tag + text)
            if not text.endswith(b"\n"):
                out.append(b"\n\\ No newline at end of file\n")
        after, shift = at + old, shift + new - old
    return out


def _position(hunk: Hunk, keys: list[bytes], after: int, name: str) -> int:
    """Return the line, counted from 0, at which the hunk's old lines are."""
    old = [text.rstrip(b"\r\n") for text in hunk.old]
    if not old:
        if keys:
            raise PatchError(f"{name} has no line that says where it belongs")
        return 0
    last = len(keys) - len(old)
    starts = (at for at in range(after, last + 1) if keys[at] == old[0])
    places = [at for at in starts if keys[at : at + len(old)] == old]
    if hunk.start is not None and hunk.start - 1 in places:
        return hunk.start - 1
    if hunk.at_end:
        places = [at for at in places if at == last]
    if hunk.anchor and len(places) > 1:
        anchors = [at for at, key in enumerate(keys) if key.strip() == hunk.anchor]
        places = [at for at in places if len(anchors) == 1 and at > anchors[0]][:1]
    if len(places) == 1:
        return places[0]
    if places:
        raise PatchError(f"{name} fits at {len(places)} places; give it more lines around")
    wrong = next((line for line in old if line not in keys), old[0])
    raise PatchError(f"{name} does not fit: there is no {_say(wrong)} where it expects it")


def _with_ends(
    hunk: Hunk, there: list[bytes], content: list[bytes], at: int
) -> list[tuple[bytes, bytes]]:
    """Return the hunk with the line ends of the file; a new line has those of its neighbour."""
    if hunk.old == there:  # it knows the line ends: what it adds is meant as it is
        return hunk.lines
    usual = next((_end(line) for line in [*there, *content] if _end(line)), b"\n")
    out: list[tuple[bytes, bytes]] = []
    gone: deque[bytes] = deque()
    before, old = usual, iter(there)
    for tag, text in hunk.lines:
        if tag == b"+":
            before = gone.popleft() if gone else before
            out.append((tag, text.rstrip(b"\r\n") + before))
            continue
        line = next(old)
        before = _end(line) or before
        if tag == b"-":
            gone.append(before)
        else:
            gone.clear()
        out.append((tag, line))
    marked = any(not text.endswith(b"\n") for _, text in hunk.lines)
    if there and not _end(there[-1]):
        return _without_last_end(out, hunk.lines, marked=marked)
    if marked and hunk.lines[-1][0] == b"+" and at + len(there) == len(content):
        # A file gets the final line end that it had, unless taking that away is the change.
        taken = all(text.endswith(b"\n") for text in hunk.old)
        out[-1] = (b"+", out[-1][1].rstrip(b"\r\n")) if taken else out[-1]
    return out


def _with_mark(lines: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Leave the byte order mark at the beginning of the file, whatever line comes first now."""
    first = next((number for number, (tag, _) in enumerate(lines) if tag != b"-"), -1)
    out: list[tuple[bytes, bytes]] = []
    for number, (tag, text) in enumerate(lines):
        meant = text.removeprefix(BOM_UTF8)
        meant = BOM_UTF8 + meant if number == first else meant
        if tag == b" " and meant != text:
            out += [(b"-", text), (b"+", meant)]
        else:
            out.append((tag, text if tag == b"-" else meant))
    return out


def _without_last_end(
    out: list[tuple[bytes, bytes]], meant: list[tuple[bytes, bytes]], *, marked: bool
) -> list[tuple[bytes, bytes]]:
    """Fit lines to a file without a final line end: the last new line has none either."""
    end = next((_end(text) for _, text in out if _end(text)), b"\n")
    last_new = max((n for n, (tag, _) in enumerate(out) if tag != b"-"), default=-1)
    lines: list[tuple[bytes, bytes]] = []
    for number, (tag, text) in enumerate(out):
        if number == last_new and tag == b"+" and not (marked and meant[number][1].endswith(b"\n")):
            lines.append((tag, text.rstrip(b"\r\n")))
        elif tag == b" " and not _end(text) and number != last_new:
            lines += [(b"-", text), (b"+", text + end)]
        else:
            lines.append((tag, text))
    return lines


def _end(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]


def _quoted(name: str) -> bytes:
    """Return a path as git writes it into a header, in quotes whatever it holds."""
    raw = name.encode("utf-8", "surrogateescape")
    return b'"%s"' % re.sub(rb'[\x00-\x1f"\\\x7f]', lambda one: b"\\%03o" % one[0][0], raw)


def _say(line: bytes) -> str:
    return repr(shorten(line.decode("utf-8", "replace"), 100))
