"""What the tested code must not have touched: what makes git run something, and its own source.

Configuration, attributes, hooks, and the pointer of the checkout itself, before and after a run;
and the Python files of the tree, since what ran must be what was read and what will land.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from self_coding.adapters import git

_FILES = ("config", "config.worktree", "info/attributes", "info/exclude", "objects/info/alternates")
Fingerprint = dict[str, tuple[str, bytes]]
Stamps = dict[str, tuple[int, int]]


def fingerprint(checkout: Path) -> Fingerprint:
    """Each guarded file by name: a hash of its mode and content (and the pointer's own bytes)."""
    found: Fingerprint = {}
    pointer = checkout / ".git"
    if pointer.is_file() and not pointer.is_symlink():
        found[".git"] = (_hash(pointer), pointer.read_bytes())
    directories = git.git_directories(checkout)
    if directories is None or directories.top != checkout.resolve():
        return found
    _, own, common = directories
    guarded = [common / name for name in _FILES]
    guarded += sorted((common / "hooks").glob("*"))
    if ".git" in found:
        guarded += [own / "config.worktree", own / "commondir", own / "gitdir"]
    for path in guarded:
        value = _hash(path)
        if value:
            found[str(path)] = (value, b"")
    return found


def restore_and_compare(checkout: Path, before: Fingerprint, *, trusted: bool) -> tuple[str, ...]:
    """The names of guarded files that changed; the checkout's pointer is put back at once.

    Args:
        checkout: where the tests ran.
        before: its fingerprint before they ran.
        trusted: the sandbox kept all of this out of reach, so that only somebody else can have
            changed it, which is no reason to refuse.
    """
    changed = []
    if ".git" in before:
        pointer = checkout / ".git"
        if pointer.is_symlink() or not pointer.is_file() or _hash(pointer) != before[".git"][0]:
            changed.append(".git")
            _put_back(pointer, before[".git"][1])
    if trusted:
        return tuple(changed)
    after = fingerprint(checkout)
    names = sorted(before.keys() | after.keys())
    return tuple(changed) + tuple(name for name in names if before.get(name) != after.get(name))


def stamps(checkout: Path) -> Stamps:
    """Each Python file by its relative path: inode and ctime, which nobody can set back."""
    top = f"{checkout}/"
    found: Stamps = {}
    for folder, folders, files in os.walk(checkout):
        folders[:] = [name for name in folders if name != ".git"]
        for name in files:
            if name.endswith(".py"):
                path = f"{folder}/{name}"
                with suppress(OSError):
                    status = os.lstat(path)
                    found[path[len(top) :]] = (status.st_ino, status.st_ctime_ns)
    return found


def rewritten(checkout: Path, before: Stamps) -> tuple[str, ...]:
    """The Python files that were written, replaced or removed since, also if put back."""
    after = stamps(checkout)
    return tuple(sorted(path for path, stamp in before.items() if after.get(path) != stamp))


def _put_back(pointer: Path, content: bytes) -> None:
    if pointer.is_dir() and not pointer.is_symlink():
        pointer.rename(pointer.with_name(".git.planted"))
    with suppress(FileNotFoundError):
        pointer.unlink()
    pointer.write_bytes(content)


def _hash(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
        target = str(path.readlink()).encode() if path.is_symlink() else b""
        return f"{mode:o} {hashlib.sha256(target + path.read_bytes()).hexdigest()}"
    except OSError:
        return ""
