"""The tree by which the base judges: the candidate's code under the base's judging material.

It is made in git's objects alone, by an index of its own, and is a commit like any other then.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from self_coding.adapters import git
from self_coding.gate.material import Material, divide, is_divided

_GIT_SECONDS = 60.0
_GONE = "000000"
_FILE = ("100644", "100755")
_WHO = "self-coding gate <gate> 0 +0000"


@dataclass(frozen=True, kw_only=True)
class MixedTree:
    """The candidate's code under the base's judging material.

    `changed` are the paths that differ, `judging` those of them that are put back; both trees and
    the commit are empty where nothing is to be judged.
    """

    changed: tuple[str, ...]
    judging: tuple[str, ...]
    commit: str = ""
    tree: str = ""


class _Entry(NamedTuple):
    """A path that differs: mode and object of both sides."""

    path: str
    old_mode: str
    mode: str
    old: str
    new: str


def mix(top: Path, base: str, candidate: str, material: Material) -> MixedTree:
    """Return the mixed tree; none where nothing that judges differs, or where nothing else does.

    Args:
        top: the repository.
        base: the base's commit or tree.
        candidate: the candidate's.
        material: what judges.
    """
    back, divided, others = [], {}, 0
    args = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", base, candidate)
    listed = tuple(git.fields(git.encode(_git(top, *args))))
    for head, path in zip(listed[::2], listed[1::2], strict=True):
        entry = _Entry(path, *head.removeprefix(":").split(" ")[:4])
        whole = material.judges(entry.path)
        if not whole and is_divided(entry.path) and {entry.old_mode, entry.mode} <= {*_FILE, _GONE}:
            old, new = (
                _git(top, "cat-file", "blob", oid) if mode != _GONE else None
                for mode, oid in ((entry.old_mode, entry.old), (entry.mode, entry.new))
            )
            wanted = divide(entry.path, old, new)
            if wanted == new:
                others += 1
            elif wanted == old or wanted is None:
                back.append(entry)
            else:
                divided[entry] = wanted
        elif whole:
            back.append(entry)
        else:
            others += 1
    judging = tuple(sorted(entry.path for entry in (*back, *divided)))
    if not divided and (not back or not others):  # it is the candidate's tree, or the base's
        return MixedTree(changed=listed[1::2], judging=judging)
    lines = [f"{_GONE} {entry.new}\t{entry.path}" for entry in back if entry.mode != _GONE]
    # removed first: a folder of the candidate may lie where the base has a file
    lines += [f"{e.old_mode} {e.old}\t{e.path}" for e in back if e.old_mode != _GONE]
    for entry, text in divided.items():
        oid = _git(top, "hash-object", "-w", "--stdin", stdin=git.encode(text)).strip()
        lines.append(f"{entry.mode} {oid}\t{entry.path}")
    with tempfile.TemporaryDirectory(prefix="self-coding-") as folder:
        # An index of its own: nothing of the person's is read or written.
        env = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git(top, "read-tree", candidate, env=env)
        stdin = git.encode("\0".join(lines) + "\0")
        _git(top, "update-index", "--replace", "-z", "--index-info", stdin=stdin, env=env)
        tree = _git(top, "write-tree", env=env).strip()
    # Always the same commit for a tree: asking again adds nothing to the repository.
    body = f"tree {tree}\nauthor {_WHO}\ncommitter {_WHO}\n\n".encode()
    commit = _git(top, "hash-object", "-t", "commit", "-w", "--stdin", stdin=body).strip()
    return MixedTree(changed=listed[1::2], judging=judging, commit=commit, tree=tree)


def _git(top: Path, *args: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> str:
    done = git.run(args, cwd=top, stdin=stdin, env=env, timeout=_GIT_SECONDS)
    return git.decode(done.stdout)
