"""Merge what landed with what a person has staged or not even staged yet.

Only regular files that exist on all three sides are merged, and only where nothing conflicts.
`git merge-file` also calls it a conflict where the two merely touch. Here both are kept: it is a
person's own file, of which there is a copy, and left alone their next commit would take the
landing back.
"""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Iterable, Sequence

from self_coding.adapters.files import remove_tree
from self_coding.adapters.git import encode, fields
from self_coding.git_safety import objects
from self_coding.git_safety.index import FileTarget
from self_coding.git_safety.objects import Difference
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.tree_state import scratch

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_HUNK = re.compile(rb"(?m)^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_REGULAR = ("100644", "100755")
#: Values of the `merge` attribute under which lines may be merged; others want a program or none.
_BY_LINE = ("unspecified", "set", "text", "union")

#: Why a path is left. No commit takes up by itself what is `_UNSEEN`.
STAGED = "staged"
UNCOMMITTED = "uncommitted changes"
DATABASE = "a database of this project"
_UNSEEN = ("skip-worktree", "assume-unchanged", DATABASE)

Side = tuple[str, bytes]  # mode and content


def mergeable(repo: Repository, changes: Iterable[Difference]) -> set[str]:
    """Return the paths whose lines may be merged: regular files, without filter or merge driver."""
    paths = [c.path for c in changes if c.old_mode in _REGULAR and c.mode in _REGULAR]
    if not paths:
        return set()
    names = encode("".join(f"{path}\0" for path in paths))
    done = repo.git.run("check-attr", "-z", "--stdin", "merge", "filter", stdin=names)
    parts = fields(done.stdout)
    programs = repo.git.settings.filters
    refused = {
        path
        for path, kind, value in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        if (value in programs if kind == "filter" else value not in _BY_LINE)
    }
    return set(paths) - refused


def merge_staged(
    repo: Repository, change: Difference, mode: str, oid: str
) -> tuple[str, str] | None:
    """Return mode and id of the staged entry with what landed; None where the two conflict."""
    if mode not in _REGULAR:
        return None
    old, mine, new = objects.read_many(repo.git, [change.old, oid, change.new])
    if old is None or mine is None or new is None:
        return None
    merged = _merge(repo, (change.old_mode, old), (mode, mine), (change.mode, new))
    if merged is None:
        return None
    return merged[0], objects.write(repo.common / "objects", "blob", merged[1], repo.object_format)


def merge_file(repo: Repository, change: Difference) -> FileTarget | None:
    """Return a person's file with what landed.

    None where the two conflict. The bytes of the working tree are merged, not those that git would
    store: line ends that git converts stay as they are.
    """
    place = repo.top / change.path
    try:
        status = place.lstat()
        # Behind a linked folder the file is not the one that git tracks.
        if not stat.S_ISREG(status.st_mode) or place.parent.resolve() != place.parent:
            return None
        content = place.read_bytes()
    except OSError:
        return None
    mode = on_disk = "100755" if status.st_mode & 0o100 else "100644"
    # On such a file system the bit means nothing: git keeps the one it had.
    if repo.git.settings.values.get("core.filemode") == "false":
        mode = change.old_mode
    # Both sides as a checkout would write them, since the third is a file as it is.
    words = ("cat-file", "--filters", f"--path={change.path}")
    old, new = (repo.git.run(*words, oid).stdout for oid in (change.old, change.new))
    merged = _merge(repo, (change.old_mode, old), (mode, content), (change.mode, new))
    blob = objects.object_id("blob", content, repo.object_format)
    if merged is None:
        return None
    # Their exact bytes are expected: what they save from now on is not written over.
    return FileTarget(change.path, merged[0], "", f"blob {on_disk} {blob}", merged[1])


def _merge(repo: Repository, old: Side, mine: Side, new: Side) -> Side | None:
    content = _merge_lines(repo, old[1], mine[1], new[1])
    # Of two modes: whoever changed it has changed it to the other one.
    mode = new[0] if mine[0] == old[0] else mine[0]
    return None if content is None else (mode, content)


def _merge_lines(repo: Repository, old: bytes, mine: bytes, new: bytes) -> bytes | None:
    ends = _line_end(mine)
    if ends and _line_end(old) == _line_end(new) not in (b"", ends):
        # An editor of theirs has changed every line end: the landing follows.
        old, new = (one.replace(b"\r\n", b"\n").replace(b"\n", ends) for one in (old, new))
    if mine == old:
        return new
    if new in (mine, old):
        return mine
    folder = scratch(repo, "merge")
    folder.mkdir()
    try:
        files = [folder / name for name in ("mine", "old", "new")]
        for file, content in zip(files, (mine, old, new), strict=True):
            file.write_bytes(content)
        done = repo.git.run("merge-file", "-p", "-q", *map(str, files), ok=())
        # The exit status is the number of conflicts.
        if not 0 < done.returncode < 128:  # clean, or, from 128 on, not text
            return None if done.returncode else done.stdout
        words = ("diff", "--no-index", "-U0", "--no-color", "--no-ext-diff", "--no-textconv")
        diffs = [
            repo.git.run(*words, str(files[1]), str(side), ok=(0, 1)).stdout
            for side in (files[2], files[0])
        ]
    finally:
        remove_tree(folder)
    return _merge_touching(old, (new, mine), diffs)


def _merge_touching(old: bytes, sides: Sequence[bytes], diffs: Sequence[bytes]) -> bytes | None:
    """Return `old` with the hunks of both sides; None where two of them are about the same lines.

    At the end of the file what landed comes first and a person's lines after it, unless a line is
    in both: then the two may be one thing, done twice.
    """
    base = _LINE.findall(old)
    hunks: list[tuple[int, int, int, list[bytes]]] = []  # start and stop in `base`, side, lines
    for side, (content, diff) in enumerate(zip(sides, diffs, strict=True)):
        lines = _LINE.findall(content)
        for match in _HUNK.finditer(diff):
            start, removed, there, added = (int(one) if one else 1 for one in match.groups())
            start -= 1 if removed else 0  # an empty range is named by the line before it
            there -= 1 if added else 0
            hunks.append((start, start + removed, side, lines[there : there + added]))
    merged: list[bytes] = []
    done, before = 0, None
    for start, stop, side, lines in sorted(hunks, key=lambda one: one[:3]):
        if before is not None and before[2] != side and before[:2] == (start, stop):
            if before[3] == lines:
                continue
            shared = {*map(bytes.strip, before[3])} & {*map(bytes.strip, lines)} - {b""}
            if start < len(base) or stop > start or shared:
                return None
        if start < done:
            return None
        merged += [*base[done:start], *lines]
        done, before = stop, (start, stop, side, lines)
    merged += base[done:]
    # A last line without an end must not become the beginning of another.
    return None if any(line[-1:] != b"\n" for line in merged[:-1]) else b"".join(merged)


def _line_end(content: bytes) -> bytes:
    """Return the end that all lines have; nothing where they differ or there are none."""
    lines, crlf = content.count(b"\n"), content.count(b"\r\n")
    return b"" if not lines or 0 < crlf < lines else b"\r\n" if crlf else b"\n"


def advice(repo: Repository, old: str, left: Iterable[tuple[Difference, str]]) -> str:
    """Return what a person's next commit would do to what has landed, and the command against it.

    `left` are the paths that main has moved under, each with the reason.
    """
    by_commit: dict[str, list[str]] = {"git commit": [], "git commit -a": []}
    both: list[str] = []
    deleted: list[str] = []
    taken: list[str] = []
    for change, why in left:
        if why in _UNSEEN or (change.mode == objects.GONE and not why.endswith(STAGED)):
            continue  # no commit takes it up by itself
        path = shlex.quote(change.path)
        by_commit["git commit" if why.endswith(STAGED) else "git commit -a"].append(path)
        group = taken if change.old_mode == objects.GONE else both
        (deleted if change.mode == objects.GONE else group).append(path)
    said = [
        f"`{command}` would take the landing back in {', '.join(paths[:5])}"
        for command, paths in by_commit.items()
        if paths
    ]
    there = f"cd {shlex.quote(str(repo.top))} && "
    if both:
        names = " ".join(both)
        said.append(
            f"to have both: `{there}p=$(mktemp) && git diff --binary {old[:12]} -- {names} >$p"
            f" && git checkout HEAD -- {names} && git apply -3 $p`"
        )
    if deleted:
        said.append(f"against it: `{there}git rm --cached -- {' '.join(deleted)}`")
    if taken:
        names = " ".join(taken)
        said.append(f"to have it, move yours away, then `{there}git checkout HEAD -- {names}`")
    return "; ".join(said)
