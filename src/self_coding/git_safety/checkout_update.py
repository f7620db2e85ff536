"""Prepare to take a checkout from one commit to another, around whatever a person is doing there.

A path moves only where its staged entry and its file are exactly the old commit's. Nothing is
merged, overwritten or stashed: what cannot move is left, and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from self_coding.adapters.git import encode, fields
from self_coding.errors import GitDirtyWorkingDirectoryError
from self_coding.git_safety import objects
from self_coding.git_safety.file_swap import FileStep, fingerprint, signature
from self_coding.git_safety.index import (
    FileTarget,
    copy_index,
    hidden_paths,
    refreshed_index,
    refuse_filtered,
    set_entries,
    stage_files,
)
from self_coding.git_safety.objects import GONE, Difference
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.transaction import CheckoutUpdate


@dataclass(frozen=True)
class PreparedUpdate:
    """How a checkout will move, and the paths that stay, with the reason."""

    update: CheckoutUpdate
    left: tuple[tuple[str, str], ...] = ()

    @property
    def reason(self) -> str:
        """The paths that stay, as one line."""
        shown = [f"{path} ({why})" for path, why in self.left[:5]]
        more = len(self.left) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def prepare_update(
    repo: Repository,
    old: str,
    new: str,
    *,
    head_from: str,
    head_to: str = "",
    strict: bool = False,
) -> PreparedUpdate:
    """Prepare to take this checkout's index and files from commit `old` to commit `new`.

    `head_from` is what HEAD names now, `head_to` what it shall name ("" leaves it).

    Raises:
        GitDirtyWorkingDirectoryError: `strict`, and a path would have to stay.
    """
    unchanged = replace(CheckoutUpdate.at(repo, head_from), head_to=head_to)
    changes = objects.differences(repo.git, old, new)
    if not changes:
        return PreparedUpdate(unchanged)
    # Before git looks at the files: a file that is written in between then fails its comparison.
    index_before = repo.index_digest()
    signatures = {change.path: signature(repo.top / change.path) for change in changes}
    paths = objects.few(change.path for change in changes)
    flags = _flagged(repo, paths)
    targets, entries, left = _sort(repo, changes, signatures, flags)
    if strict and left:
        raise _in_the_way(PreparedUpdate(unchanged, tuple(left)))
    refuse_filtered(repo, [t.path for t in targets if t.mode != GONE], "checking out")
    changes_attributes = any(c.path.rsplit("/", 1)[-1] == ".gitattributes" for c in changes)
    staging, steps = stage_files(
        repo, targets, repo.git, attributes=new if changes_attributes else ""
    )
    blocked = _blocked(repo, steps)
    if strict and blocked:
        raise _in_the_way(PreparedUpdate(unchanged, tuple(blocked.items())))
    # A blocked step expects what cannot be, so that it is refused again when it is due.
    steps = tuple(replace(s, expected="blocked") if s.path in blocked else s for s in steps)
    # A copy with the changed entries alone: what else is staged stays staged.
    index = copy_index(repo)
    git = replace(repo.git, index=index)
    set_entries(repo, git, entries)
    for kind in ("skip-worktree", "assume-unchanged"):  # a new entry has lost these flags
        flagged = [path for path, flag in flags.items() if flag == kind and path in entries]
        if flagged:
            names = encode("".join(f"{path}\0" for path in flagged))
            git.run("update-index", f"--{kind}", "-z", "--stdin", stdin=names, ok=())
    update = replace(
        unchanged, steps=steps, staging=staging, index=str(index), index_before=index_before
    )
    return PreparedUpdate(update, (*left, *blocked.items()))


def _sort(
    repo: Repository,
    changes: Sequence[Difference],
    signatures: Mapping[str, str],
    flags: Mapping[str, str],
) -> tuple[list[FileTarget], dict[str, tuple[str, str]], list[tuple[str, str]]]:
    """Return the files that move, the index entries that follow, and what is left with why."""
    paths = objects.few(change.path for change in changes)
    staged = objects.staged(repo.git, paths)
    names = (
        "diff", "--name-only", "-z", "--no-ext-diff", "--no-textconv", "--no-renames",
        "--no-relative", "--ignore-submodules=all", "--", *paths,
    )  # fmt: skip
    dirty = set(fields(repo.git.run(*names).stdout))
    if dirty:  # or only touched: a refreshed index tells, and costs a copy
        with refreshed_index(repo) as git:
            dirty = set(fields(git.run(*names).stdout))
    hidden = hidden_paths(repo)
    targets: list[FileTarget] = []
    entries: dict[str, tuple[str, str]] = {}
    left: list[tuple[str, str]] = []
    for change in changes:
        path = change.path
        # Staged already as the new commit has it: a person, or a crash of ours, was here first.
        entry = staged.get(path, (GONE, "", "0"))
        if entry[:2] == (change.mode, change.new) and change.mode != GONE:
            continue
        # Three versions count: the old commit's, the staged one and the file. All must agree.
        added = change.status == "A" and entry[0] == GONE
        if not added and entry != (change.old_mode, change.old, "0"):
            left.append((path, "staged"))
            continue
        entries[path] = (change.mode, change.new)
        if change.is_link:
            continue
        if path in flags:
            if flags[path] != "skip-worktree" or signature(repo.top / path):
                left.append((path, flags[path]))
        elif path in hidden:
            left.append((path, "a database of this project"))
        elif path in dirty:
            left.append((path, "uncommitted changes"))
        else:
            expected = "" if change.status == "A" else signatures[path]
            targets.append(FileTarget(path, change.mode, change.new, expected))
    return targets, entries, left


def _flagged(repo: Repository, paths: Sequence[str]) -> dict[str, str]:
    """Return the paths whose files a person has told git not to look at."""
    flags = {}
    for item in fields(repo.git.run("ls-files", "-v", "-z", "--", *paths).stdout):
        if item[0] in "Ss":
            flags[item[2:]] = "skip-worktree"
        elif item[0].islower():
            flags[item[2:]] = "assume-unchanged"
    return flags


def _blocked(repo: Repository, steps: Sequence[FileStep]) -> dict[str, str]:
    """Return the files that cannot come because something untracked or ignored is there."""
    leaving = {step.path for step in steps if step.deletes}
    blocked = {}
    for step in steps:
        if step.deletes:
            continue
        place = repo.top / step.path
        # From the top down: the first file in the place of a folder decides.
        for folder in [*PurePosixPath(step.path).parents][-2::-1]:
            above = repo.top / folder
            if above.is_symlink() or (above.exists() and not above.is_dir()):
                if str(folder) not in leaving:
                    blocked[step.path] = f"{folder} is not a folder"
                break
        if step.expected or step.path in blocked:
            continue
        if place.is_dir() and not place.is_symlink():
            for item in place.rglob("*"):
                inner = item.relative_to(repo.top).as_posix()
                if (not item.is_dir() or item.is_symlink()) and inner not in leaving:
                    blocked[step.path] = f"{inner} is in the way"
                    break
        elif signature(place) and fingerprint(place, repo.object_format) != step.digest:
            blocked[step.path] = "an untracked or ignored file is there"
    return blocked


def _in_the_way(prepared: PreparedUpdate) -> GitDirtyWorkingDirectoryError:
    return GitDirtyWorkingDirectoryError(
        f"uncommitted work is in the way: {prepared.reason}",
        hint="commit it or move it aside; nothing was changed",
    )
