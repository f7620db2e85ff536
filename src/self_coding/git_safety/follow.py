"""Take a checkout from one commit to another, path by path, around whatever a person is doing.

A path moves only where its staged entry and its file are exactly the old commit's. It refuses to
merge, to overwrite and to stash: what cannot move is left, and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters.git import encode, fields
from self_coding.errors import GitDirtyWorkingDirectoryError
from self_coding.git_safety import objects
from self_coding.git_safety.change import Part, digest
from self_coding.git_safety.describe import hidden_paths
from self_coding.git_safety.objects import Difference
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.staging import (
    GONE,
    Target,
    copy_index,
    prepare,
    refuse_filtered,
    set_entries,
    touched_is_unchanged,
)
from self_coding.git_safety.swap import Step, fingerprint, signature


@dataclass(frozen=True)
class Following:
    """How a checkout will move: the prepared part, and the paths that stay, with the reason."""

    part: Part
    left: tuple[tuple[str, str], ...] = ()

    @property
    def reason(self) -> str:
        """The paths that stay, as one line."""
        shown = [f"{path} ({why})" for path, why in self.left[:5]]
        more = len(self.left) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def follow(
    repo: Repository,
    old: str,
    new: str,
    *,
    head_from: str,
    head_to: str = "",
    strict: bool = False,
) -> Following:
    """Prepare to take this checkout's index and files from commit `old` to commit `new`.

    Args:
        repo: the checkout.
        old: the commit it stands on.
        new: the commit it shall stand on.
        head_from: what HEAD names now, as a full ref or a commit.
        head_to: what HEAD shall name; "" leaves it.
        strict: refuse where anything would have to stay.

    Raises:
        GitDirtyWorkingDirectoryError: `strict`, and a person's work is in the way.
    """
    part = Part(
        top=str(repo.top), directory=str(repo.directory), head_from=head_from, head_to=head_to
    )
    changes = objects.differences(repo.git, old, new)
    if not changes:
        return Following(part)
    before = digest(repo.directory / "index")
    signatures = {change.path: signature(repo.top / change.path) for change in changes}
    targets, entries, left = _sort_out(repo, changes, signatures)
    if strict and left:
        raise _in_the_way(Following(part, tuple(left)))
    refuse_filtered(repo, [t.path for t in targets if t.mode != GONE], "checking out")
    whole = new if any(c.path.rsplit("/", 1)[-1] == ".gitattributes" for c in changes) else ""
    staging, steps = prepare(repo, targets, repo.git, whole=whole)
    blocked = _blocked(repo, steps)
    if strict and blocked:
        raise _in_the_way(Following(part, tuple(blocked)))
    steps = tuple(_without(step, blocked) for step in steps)
    index = copy_index(repo)
    flags = flagged(repo, objects.few(change.path for change in changes))
    set_entries(repo, index, entries)
    _flag_again(repo, index, {path: flag for path, flag in flags.items() if path in entries})
    part = replace(part, steps=steps, staging=staging, index=str(index), index_before=before)
    return Following(part, (*left, *blocked))


def _without(step: Step, blocked: Sequence[tuple[str, str]]) -> Step:
    """A blocked step expects what cannot be, so that it is refused again when it is due."""
    return replace(step, expected="blocked") if step.path in dict(blocked) else step


def _sort_out(
    repo: Repository, changes: Sequence[Difference], signatures: dict[str, str]
) -> tuple[list[Target], dict[str, tuple[str, str]], list[tuple[str, str]]]:
    """What moves, which index entries follow, and what is left with its reason."""
    paths = objects.few(change.path for change in changes)
    staged = objects.staged(repo.git, paths)
    dirty = set(_dirty(repo, paths))
    flags = flagged(repo, paths)
    hidden = hidden_paths(repo)
    targets: list[Target] = []
    entries: dict[str, tuple[str, str]] = {}
    left: list[tuple[str, str]] = []
    for change in changes:
        found = staged.get(change.path, (GONE, "", "0"))
        if found[:2] == (change.mode, change.new) and change.mode != GONE:
            continue
        if change.status == "A" and found[0] == GONE:
            was_old = True
        else:
            was_old = found == (change.old_mode, change.old, "0")
        if not was_old:
            left.append((change.path, "staged"))
            continue
        entries[change.path] = (change.mode, change.new)
        if change.is_link:
            continue
        if change.path in flags:
            if flags[change.path] != "skip-worktree" or signature(repo.top / change.path):
                left.append((change.path, flags[change.path]))
        elif change.path in hidden:
            left.append((change.path, "a database of this project"))
        elif change.path in dirty:
            left.append((change.path, "uncommitted changes"))
        else:
            expected = "" if change.status == "A" else signatures[change.path]
            targets.append(Target(change.path, change.mode, change.new, expected))
    return targets, entries, left


def flagged(repo: Repository, paths: Sequence[str]) -> dict[str, str]:
    """The paths whose files a person has told git not to look at."""
    found = {}
    for item in fields(repo.git.run("ls-files", "-v", "-z", "--", *paths).stdout):
        if item[0] in "Ss":
            found[item[2:]] = "skip-worktree"
        elif item[0].islower():
            found[item[2:]] = "assume-unchanged"
    return found


def _flag_again(repo: Repository, index: Path, flags: dict[str, str]) -> None:
    git = replace(repo.git, index=index)
    for kind in ("skip-worktree", "assume-unchanged"):
        names = encode("".join(f"{path}\0" for path, flag in flags.items() if flag == kind))
        if names:
            git.run("update-index", f"--{kind}", "-z", "--stdin", stdin=names, ok=())


def _dirty(repo: Repository, paths: Sequence[str]) -> list[str]:
    names = (
        "diff", "--name-only", "-z", "--no-ext-diff", "--no-textconv", "--no-renames",
        "--no-relative", "--ignore-submodules=all", "--", *paths,
    )  # fmt: skip
    if not repo.git.run(*names).stdout:
        return []
    with touched_is_unchanged(repo) as git:
        return fields(git.run(*names).stdout)


def _blocked(repo: Repository, steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Files that would be added where something untracked or ignored is."""
    leaving = {step.path for step in steps if step.deletes}
    moving = {step.path for step in steps}
    blocked = []
    for step in steps:
        if step.deletes:
            continue
        reason = _in_a_parent(repo.top, step.path, leaving)
        if not step.expected and not reason:
            reason = _in_place(repo, step, leaving)
        if reason:
            blocked.append((step.path, reason))
    return [item for item in blocked if item[0] in moving]


def _in_a_parent(top: Path, path: str, leaving: set[str]) -> str:
    parts = path.split("/")
    for count in range(1, len(parts)):
        folder = "/".join(parts[:count])
        place = top / folder
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return "" if folder in leaving else f"{folder} is no folder"
    return ""


def _in_place(repo: Repository, step: Step, leaving: set[str]) -> str:
    place = repo.top / step.path
    if place.is_dir() and not place.is_symlink():
        for found in place.rglob("*"):
            if not found.is_dir() or found.is_symlink():
                inner = found.relative_to(repo.top).as_posix()
                if inner not in leaving:
                    return f"{inner} is in the way"
        return ""
    if not signature(place) or fingerprint(place, repo.object_format) == step.digest:
        return ""
    return "an untracked or ignored file is there"


def _in_the_way(following: Following) -> GitDirtyWorkingDirectoryError:
    return GitDirtyWorkingDirectoryError(
        f"uncommitted work is in the way: {following.reason}",
        hint="commit it or move it aside; nothing was changed",
    )
