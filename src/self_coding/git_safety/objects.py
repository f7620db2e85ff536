"""Git objects: written as loose files without starting git, and read in batches.

A snapshot needs a blob, two trees and a commit; four processes for them would cost more than
the snapshot. The format is git's own and stable; git reads what is written here as its own.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.git import Git, decode, encode
from self_coding.errors import GitOperationError

_ABSENT = "000000"
LINK = "160000"
TREE = "40000"


@dataclass(frozen=True)
class Difference:
    """One path of two trees: modes are octal text, "000000" on the side that lacks it."""

    path: str
    status: str
    old_mode: str
    mode: str
    old: str
    new: str

    @property
    def is_link(self) -> bool:
        """Whether a submodule or nested repository stands on one side."""
        return LINK in (self.old_mode, self.mode)


def object_id(kind: str, content: bytes, object_format: str) -> str:
    """The id git gives to this content."""
    digest = hashlib.new(object_format, f"{kind} {len(content)}\0".encode(), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def write(objects: Path, kind: str, content: bytes, object_format: str) -> str:
    """Store an object and return its id; one that is there already is not written again.

    Raises:
        GitOperationError: the object directory cannot be written.
    """
    name = object_id(kind, content, object_format)
    target = objects / name[:2] / name[2:]
    try:
        if target.exists():
            os.utime(target)
            return name
        target.parent.mkdir(exist_ok=True)
        spare = target.with_name(f"tmp_obj_{os.getpid()}_{name[:12]}")
        with spare.open("wb") as file:
            header = f"{kind} {len(content)}\0".encode()
            file.write(zlib.compress(header + content, 1))
            file.flush()
            os.fsync(file.fileno())
        spare.chmod(0o444)
        spare.replace(target)
    except OSError as error:
        raise GitOperationError(
            f"cannot write into {objects}: {error}",
            hint="make room on the disk, or the git directory writable",
        ) from error
    return name


def write_tree(objects: Path, entries: Mapping[str, tuple[str, str]], object_format: str) -> str:
    """Store a tree of NAME: (mode, id) entries."""
    ordered = sorted(
        entries.items(), key=lambda item: item[0] + ("/" if item[1][0] == TREE else "")
    )
    content = b"".join(
        f"{mode} ".encode() + encode(name) + b"\0" + bytes.fromhex(oid)
        for name, (mode, oid) in ordered
    )
    return write(objects, "tree", content, object_format)


def write_commit(
    git: Git, object_format: str, *, tree: str, parents: Iterable[str], message: str, at: int
) -> str:
    """Store a commit of ours."""
    who = git.settings.identity
    name = _line(who["GIT_COMMITTER_NAME"])
    zone = time.strftime("%z", time.localtime(at))
    signature = f"{name} <{_line(who['GIT_COMMITTER_EMAIL'])}> {at} {zone}"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents if parent)]
    lines += [f"author {signature}", f"committer {signature}", "", message]
    return write(git.common / "objects", "commit", encode("\n".join(lines) + "\n"), object_format)


def _line(text: str) -> str:
    return "".join(char for char in text if char not in "<>\n\0").strip(" .,:;\"'") or "self-coding"


def differences(git: Git, old: str, new: str) -> list[Difference]:
    """How the tree of `new` differs from that of `old`, renames shown as two."""
    if old == new:
        return []
    done = git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)
    return parse_raw(done.stdout)


def parse_raw(data: bytes) -> list[Difference]:
    """Raw diff output with `-z` as values."""
    parts = data.split(b"\0")
    found = []
    position = 0
    while position + 1 < len(parts):
        if not parts[position].startswith(b":"):
            position += 1
            continue
        old_mode, mode, old, new, status = decode(parts[position][1:]).split(" ")
        found.append(
            Difference(
                path=decode(parts[position + 1]),
                status=status[0],
                old_mode=old_mode,
                mode=mode,
                old=old,
                new=new,
            )
        )
        position += 2
    return found


def read_many(git: Git, names: Iterable[str]) -> list[bytes | None]:
    """The contents of objects; None for each that is missing."""
    wanted = list(names)
    if not wanted:
        return []
    done = git.run("cat-file", "--batch", stdin=encode("\n".join(wanted) + "\n"))
    contents: list[bytes | None] = []
    data, position = done.stdout, 0
    for _ in wanted:
        end = data.index(b"\n", position)
        header = data[position:end].split(b" ")
        position = end + 1
        if len(header) != 3 or not header[2].isdigit():
            contents.append(None)
            continue
        size = int(header[2])
        contents.append(data[position : position + size])
        position += size + 1
    return contents


def entries(git: Git, tree: str, paths: Iterable[str] = ()) -> dict[str, tuple[str, str]]:
    """Mode and object id of the files in a tree; only of `paths` when some are given."""
    done = git.run("ls-tree", "-r", "-z", "--full-tree", tree, "--", *paths)
    return dict(_listed(done.stdout))


def _listed(data: bytes) -> Iterable[tuple[str, tuple[str, str]]]:
    for part in data.split(b"\0"):
        if part:
            facts, _, path = part.partition(b"\t")
            mode, _, oid = decode(facts).split(" ")
            yield decode(path), (mode, oid)


def staged(git: Git, paths: Iterable[str] = ()) -> dict[str, tuple[str, str, str]]:
    """Mode, object id and stage of each index entry; unmerged ones show their last stage."""
    found = {}
    done = git.run("ls-files", "-s", "-z", "--", *few(paths))
    for part in done.stdout.split(b"\0"):
        if part:
            facts, _, path = part.partition(b"\t")
            mode, oid, stage = decode(facts).split(" ")
            found[decode(path)] = (mode, oid, stage)
    return found


def few(paths: Iterable[str]) -> tuple[str, ...]:
    """`paths` as arguments, or none (meaning: all) where they would be too many."""
    listed = tuple(paths)
    return listed if len(listed) <= 400 and sum(map(len, listed)) < 60_000 else ()
