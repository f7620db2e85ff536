"""Saying what differs: diffs, changed paths, a change from base to head. Read-only.

It refuses to run external diff programs and text converters, and to hold an endless diff.
"""

from __future__ import annotations

import re
from contextlib import nullcontext

from self_coding.adapters.git import decode, fields
from self_coding.git_safety import objects
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.staging import touched_is_unchanged
from self_coding.values.repository import Change, FileChange

DIFF_LIMIT = 32 * 1024 * 1024
_SIDE_FILES = ("", "-wal", "-shm", "-journal", ".lock")
_PATCH = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-renames",
    "--no-relative",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--unified=3",
    "--inter-hunk-context=0",
    "--diff-algorithm=myers",
    "--submodule=short",
    "--ignore-submodules=dirty",
    "-O/dev/null",
)


def hidden_paths(repo: Repository) -> set[str]:
    """The databases of ours, and their side files, that lie in this working tree."""
    try:
        lines = decode((repo.common / "info" / "exclude").read_bytes()).splitlines()
    except OSError:
        return set()
    listed = set(lines)
    names = [line for line in lines if line.startswith("/") and f"{line}-wal" in listed]
    return {_literal(name + suffix)[1:] for name in names for suffix in _SIDE_FILES}


def _literal(pattern: str) -> str:
    """The path that an escaped gitignore pattern means."""
    return re.sub(r"\\(.)", r"\1", pattern)


def patch(repo: Repository, old: str, new: str, *, limit: int = DIFF_LIMIT) -> str:
    """The patch between two commits, or to the working tree when `new` is empty.

    It is cut at `limit` bytes, and says so.
    """
    ends = [old, new] if new else [old]
    with nullcontext(repo.git) if new else touched_is_unchanged(repo) as git:
        done = git.run("diff", *_PATCH, "-p", *ends, "--", limit=limit)
    text = done.stdout.decode("utf-8", "replace")
    if done.truncated:
        text += f"\n[... the diff was cut here, at {limit} bytes ...]\n"
    return text


def changed_paths(repo: Repository, since: str, *, untracked: bool) -> list[str]:
    """The paths whose working tree differs from the commit `since`, or from HEAD when empty."""
    found: dict[str, None] = {}
    base = since or repo.head().commit
    if base:
        with touched_is_unchanged(repo) as git:
            done = git.run("diff", "--name-only", "-z", *_PATCH, base, "--")
        found |= dict.fromkeys(fields(done.stdout))
        staged = repo.git.run(
            "diff-index", "--cached", "--name-only", "-z", "--no-renames", base, "--"
        )
        found |= dict.fromkeys(fields(staged.stdout))
    else:
        found |= dict.fromkeys(fields(repo.git.run("ls-files", "-z").stdout))
    if untracked:
        done = repo.git.run("ls-files", "-o", "-z", "--exclude-standard")
        found |= dict.fromkeys(fields(done.stdout))
    return sorted(found)


def is_clean(repo: Repository) -> bool:
    """Whether nothing is staged, changed or untracked."""
    done = repo.git.run(
        "status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=dirty"
    )
    return not done.stdout


def describe(repo: Repository, base: str, head: str, *, diff_limit: int = DIFF_LIMIT) -> Change:
    """The change from commit `base` to commit `head`, every file named."""
    counts = {}
    done = repo.git.run("diff-tree", "-r", "-z", "--numstat", "--no-renames", base, head)
    for part in fields(done.stdout):
        if part.count("\t") == 2:
            added, removed, path = part.split("\t")
            counts[path] = (added, removed)
    files = []
    for change in objects.differences(repo.git, base, head):
        added, removed = counts.get(change.path, ("0", "0"))
        files.append(
            FileChange(
                path=change.path,
                status=change.status,
                added=int(added) if added.isdigit() else 0,
                removed=int(removed) if removed.isdigit() else 0,
                binary=added == "-",
                old_mode=change.old_mode,
                mode=change.mode,
            )
        )
    diff = patch(repo, base, head, limit=diff_limit) if files and diff_limit else ""
    return Change(base=base, head=head, files=tuple(files), diff=diff)


def read(repo: Repository, commit: str, paths: list[str]) -> dict[str, bytes | None]:
    """The contents of files at a commit; None for each that is not a file there."""
    listed = objects.entries(repo.git, commit, paths) if paths else {}
    present = [path for path in paths if path in listed and listed[path][0] != objects.LINK]
    contents = objects.read_many(repo.git, [listed[path][1] for path in present])
    return dict.fromkeys(paths) | dict(zip(present, contents, strict=True))
