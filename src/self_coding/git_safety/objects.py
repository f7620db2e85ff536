"""Git objects: written as loose files without starting git, and read in batches.

A snapshot needs a blob, two trees and a commit; four processes for them would cost more than
the snapshot. The format is git's own and stable; git reads what is written here as its own.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.files import replace_file
from self_coding.adapters.git import Git, decode, encode, fields
from self_coding.errors import GitOperationError

GONE = "000000"  # the mode of a path that is not there
LINK = "160000"  # a submodule or nested repository
TREE = "40000"


@dataclass(frozen=True)
class Difference:
    """One path of two trees: modes are octal text, `GONE` on the side that lacks it."""

    path: str
    status: str
    old_mode: str
    mode: str
    old: str
    new: str

    @property
    def is_link(self) -> bool:
        """Whether one side is a submodule or nested repository."""
        return LINK in (self.old_mode, self.mode)


def object_id(kind: str, content: bytes, object_format: str) -> str:
    """Return the id git gives to this content."""
    digest = hashlib.new(object_format, f"{kind} {len(content)}\0".encode(), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def write(objects: Path, kind: str, content: bytes, object_format: str) -> str:
    """Store an object and return its id; one that is there already is not written again."""
    name = object_id(kind, content, object_format)
    target = objects / name[:2] / name[2:]
    with disk_errors(f"cannot write into {objects}"):
        # One in a pack is not seen here and is written again, loose: git takes either.
        if target.exists():
            os.utime(target)  # as git does: `git prune` spares what is young
            return name
        target.parent.mkdir(exist_ok=True)
        # Level 1, as git's own default for loose objects: they are packed, and compressed well,
        # later.
        data = zlib.compress(f"{kind} {len(content)}\0".encode() + content, 1)
        # `git gc` removes a `tmp_obj_` file that a crash leaves. The content must be on the disk
        # before any ref can name it.
        replace_file(target, data, mode=0o444, durable=True, prefix="tmp_obj_")
    return name


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn what the disk refuses inside the block into a GitOperationError."""
    try:
        yield
    except OSError as error:
        hint = "make room on the disk, or the git directory writable"
        raise GitOperationError(f"{doing}: {error}", hint=hint) from error


def write_tree(objects: Path, entries: Mapping[str, tuple[str, str]], object_format: str) -> str:
    """Store a tree of NAME: (mode, id) entries."""
    ordered = sorted(  # git sorts a folder as if its name ended in a slash
        entries.items(), key=lambda item: item[0] + ("/" if item[1][0] == TREE else "")
    )
    content = b"".join(
        f"{mode} ".encode() + encode(name) + b"\0" + bytes.fromhex(oid)
        for name, (mode, oid) in ordered
    )
    return write(objects, "tree", content, object_format)


def write_commit(
    git: Git,
    object_format: str,
    *,
    tree: str,
    parents: Iterable[str],
    message: str,
    at: float | None = None,
) -> str:
    """Store a commit of ours that no ref names yet; `at` is its time, now when None."""
    seconds = int(time.time() if at is None else at)
    identity = git.settings.identity
    name, email = (
        # What git takes out of a name as well: each of them would end the header line or the name.
        "".join(char for char in identity[key] if char not in "<>\n\0").strip(" .,:;\"'")
        or "self-coding"
        for key in ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    )
    signature = f"{name} <{email}> {seconds} {time.strftime('%z', time.localtime(seconds))}"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents if parent)]
    lines += [f"author {signature}", f"committer {signature}", "", message]
    return write(git.common / "objects", "commit", encode("\n".join(lines) + "\n"), object_format)


def differences(git: Git, old: str, new: str) -> list[Difference]:
    """Return how the tree of `new` differs from that of `old`, renames shown as two."""
    if old == new:
        return []
    done = git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)
    return parse_raw(done.stdout)


def parse_raw(data: bytes) -> list[Difference]:
    """Return the differences in raw diff output with `-z`."""
    parts = data.split(b"\0")
    differences = []
    position = 0
    while position + 1 < len(parts):
        # With --numstat in the same output, its lines come between and are not for us.
        if not parts[position].startswith(b":"):
            position += 1
            continue
        old_mode, mode, old, new, status = decode(parts[position][1:]).split(" ")
        path = decode(parts[position + 1])
        differences.append(Difference(path, status[0], old_mode, mode, old, new))
        position += 2
    return differences


def read_many(git: Git, names: Iterable[str]) -> list[bytes | None]:
    """Return the contents of objects; None for each that is missing."""
    asked = list(names)
    if not asked:
        return []
    data = git.run("cat-file", "--batch", stdin=encode("\n".join(asked) + "\n")).stdout
    contents: list[bytes | None] = []
    position = 0
    for _ in asked:
        end = data.index(b"\n", position)
        header = data[position:end].split(b" ")
        position = end + 1
        if len(header) != 3 or not header[2].isdigit():
            contents.append(None)
            continue
        # By the size that was told: a blob may hold newlines, and lines that look like a header.
        size = int(header[2])
        contents.append(data[position : position + size])
        position += size + 1
    return contents


def entries(git: Git, tree: str, paths: Iterable[str] = ()) -> dict[str, tuple[str, str]]:
    """Return mode and object id of the files in a tree; only of `paths` when some are given."""
    found = {}
    done = git.run("ls-tree", "-r", "-z", "--full-tree", tree, "--", *paths)
    for part in done.stdout.split(b"\0")[:-1]:
        facts, _, path = part.partition(b"\t")
        mode, _, oid = decode(facts).split(" ")
        found[decode(path)] = (mode, oid)
    return found


def stages(git: Git, paths: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return what an index has of each path: `MODE ID STAGE`, several where it is unmerged."""
    found: dict[str, list[str]] = {}
    for item in fields(git.run("ls-files", "-s", "-z", "--", *few(paths)).stdout):
        entry, _, path = item.partition("\t")
        found.setdefault(path, []).append(entry)
    return found


def staged(git: Git, paths: Iterable[str] = ()) -> dict[str, tuple[str, str, str]]:
    """Return mode, object id and stage of each index entry; of unmerged ones the last stage."""
    last = ((path, entries[-1].split(" ")) for path, entries in stages(git, paths).items())
    return {path: (mode, oid, stage) for path, (mode, oid, stage) in last}


def few(paths: Iterable[str]) -> tuple[str, ...]:
    """Return `paths` as arguments, or none (meaning: all) where they would be too many."""
    listed = tuple(paths)
    # The kernel bounds the arguments of a process; to list everything costs less than many
    # processes.
    return listed if len(listed) <= 400 and sum(map(len, listed)) < 60_000 else ()
