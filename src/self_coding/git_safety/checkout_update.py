"""Prepare to take a checkout from one commit to another, around whatever a person is doing there.

A path moves where its staged entry and its file are exactly the old commit's, or, if wanted, where
what they have of a person's merges with the change without a conflict. Nothing is overwritten or
stashed: what cannot move is left, and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from self_coding.adapters.git import encode, fields
from self_coding.errors import GitDirtyWorkingDirectoryError
from self_coding.git_safety import objects
from self_coding.git_safety.file_merge import (
    DATABASE,
    STAGED,
    UNCOMMITTED,
    advice,
    merge_file,
    merge_staged,
    mergeable,
)
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

_DIFFERING = (  # names the files that differ from their index entry, of the paths that follow
    "diff", "--name-only", "-z", "--no-ext-diff", "--no-textconv", "--no-renames",
    "--no-relative", "--ignore-submodules=all", "--",
)  # fmt: skip


@dataclass(frozen=True)
class PreparedUpdate:
    """How the checkout `repo` will move from commit `old`: what changes there, the paths that stay
    with the reason, and those in which the change was merged with a person's."""

    repo: Repository
    old: str
    update: CheckoutUpdate
    changes: Mapping[str, Difference] = field(default_factory=dict)
    left: tuple[tuple[str, str], ...] = ()
    merged: tuple[str, ...] = ()

    def outcome(self, refused: Sequence[tuple[str, str]], before: str) -> str:
        """Return what became of the checkout, in words.

        `refused` are the paths that could not be swapped in the end, `before` is the ref of the
        capture that has what was merged as it was.
        """
        known = {path for path, _ in self.left}
        late = [(path, why) for path, why in refused if path in self.changes and path not in known]
        left = [*self.left, *late]
        kept = [path for path in self.merged if path not in {path for path, _ in late}]
        said = [f"left: {_reasons(left)}" if left else "followed"]
        if kept:
            shown = f"`git show {before}:worktree/{kept[0]}`"
            said.append(f"merged with your changes: {_listed(kept)} (as it was: {shown})")
        said.append(advice(self.repo, self.old, [(self.changes[p], why) for p, why in left]))
        return "; ".join(filter(None, said))


def _reasons(left: Iterable[tuple[str, str]]) -> str:
    return _listed([f"{path} ({why})" for path, why in left])


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(items[:5]) + more


def prepare_update(
    repo: Repository,
    old: str,
    new: str,
    *,
    head_from: str,
    head_to: str = "",
    strict: bool = False,
    merge: bool = False,
) -> PreparedUpdate:
    """Prepare to take this checkout's index and files from commit `old` to commit `new`.

    `head_from` is what HEAD names now, `head_to` what it shall name ("" leaves it). `merge` merges
    the change with a person's in the same file.

    Raises:
        GitDirtyWorkingDirectoryError: `strict`, and a path would have to stay.
    """
    unchanged = replace(CheckoutUpdate.at(repo, head_from), head_to=head_to)
    changes = objects.differences(repo.git, old, new)
    if not changes:
        return PreparedUpdate(repo, old, unchanged)
    # Before git looks at the files: a file that is written in between then fails its comparison.
    index_before = repo.index_digest()
    signatures = {change.path: signature(repo.top / change.path) for change in changes}
    paths = objects.few(change.path for change in changes)
    flags, listed = _flags(repo, changes)
    flags |= _outside(repo, [change.path for change in changes if change.status == "A"])
    dirty = set(fields(repo.git.run(*_DIFFERING, *paths).stdout))
    if dirty:  # some are only touched: a refreshed copy of the index tells which
        with refreshed_index(repo) as git:
            dirty = set(fields(git.run(*_DIFFERING, *paths).stdout))
    targets, entries, left, merged = _sort(repo, changes, signatures, flags, dirty, merge=merge)
    for path, why in _displaced(changes, entries, listed).items():
        del entries[path]
        targets = [target for target in targets if target.path != path]
        left.append((path, why))
    if strict and left:
        raise _in_the_way(left)
    written = [t.path for t in targets if t.mode != GONE and t.content is None]
    refuse_filtered(repo, written, "checking out")
    changes_attributes = any(c.path.rsplit("/", 1)[-1] == ".gitattributes" for c in changes)
    staging, steps = stage_files(
        repo, targets, repo.git, attributes=new if changes_attributes else ""
    )
    blocked = _blocked(repo, steps)
    if strict and blocked:
        raise _in_the_way(blocked.items())
    # A blocked step expects what cannot be, so that it is refused again when it is due.
    steps = tuple(replace(s, expected="blocked") if s.path in blocked else s for s in steps)
    # A copy with the changed entries alone: what else is staged stays staged.
    index = copy_index(repo)
    git = replace(repo.git, index=index)
    set_entries(repo, git, entries)
    for kind in ("skip-worktree", "assume-unchanged"):  # a new entry has lost these flags
        flagged = [p for p in flags if flags[p] == kind and entries.get(p, (GONE, ""))[0] != GONE]
        if flagged:
            names = encode("".join(f"{path}\0" for path in flagged))
            git.run("update-index", f"--{kind}", "-z", "--stdin", stdin=names, ok=())
    update = replace(
        unchanged, steps=steps, staging=staging, index=str(index), index_before=index_before
    )
    by_path = {change.path: change for change in changes}
    left += blocked.items()
    return PreparedUpdate(repo, old, update, by_path, tuple(left), merged)


def _flags(repo: Repository, changes: Sequence[Difference]) -> tuple[dict[str, str], set[str]]:
    """Return the paths that a person has told git not to look at, and all index entries in reach.

    Git's `diff` would call the former unchanged.
    """
    # Where a folder of an added path is none, a file may be staged in its place.
    above = {
        str(folder)
        for change in changes
        if change.status == "A"
        for folder in [*PurePosixPath(change.path).parents][:-1]
        if not (repo.top / folder).is_dir()
    }
    flags, listed = {}, set()
    paths = objects.few([*(change.path for change in changes), *above])
    for item in fields(repo.git.run("ls-files", "-v", "-z", "--", *paths).stdout):
        listed.add(item[2:])
        if item[0] in "Ss":
            flags[item[2:]] = "skip-worktree"
        elif item[0].islower():
            flags[item[2:]] = "assume-unchanged"
    return flags, listed


def _outside(repo: Repository, added: Iterable[str]) -> dict[str, str]:
    """Return the added files that a sparse checkout does not want, with the flag that says so.

    Git 2.39 tells nobody what its patterns mean for a new path: the folder's other files do.
    """
    found: dict[str, str] = {}
    if not (repo.directory / "info" / "sparse-checkout").exists():
        return found
    for path in added:
        for folder in [*PurePosixPath(path).parents][:-1]:
            there = fields(repo.git.run("ls-files", "-v", "-z", "--", f"{folder}/").stdout)
            if there and all(item[0] in "Ss" for item in there):
                found[path] = "skip-worktree"
            if there:
                break
    return found


def _displaced(
    changes: Sequence[Difference], entries: Mapping[str, tuple[str, str]], listed: Set[str]
) -> dict[str, str]:
    """Return the added files for which a file would leave the index that a person has staged."""
    # `update-index` makes room without a word: `a` and `a/b` cannot both be in an index.
    kept = {path for path in listed if entries.get(path, ("", ""))[0] != GONE}
    above = {str(folder): path for path in kept for folder in PurePosixPath(path).parents}
    found = {}
    for change in changes:
        if change.status == "A" and entries.get(change.path, (GONE, ""))[0] != GONE:
            folders = [str(one) for one in PurePosixPath(change.path).parents]
            there = above.get(change.path) or next((one for one in folders if one in kept), "")
            if there:
                found[change.path] = f"{there} is {STAGED}"
    return found


def _sort(
    repo: Repository,
    changes: Sequence[Difference],
    signatures: Mapping[str, str],
    flags: Mapping[str, str],
    dirty: Set[str],
    *,
    merge: bool,
) -> tuple[list[FileTarget], dict[str, tuple[str, str]], list[tuple[str, str]], tuple[str, ...]]:
    """Return the files that move, the index entries that follow, what is left with why, and the
    paths that are merged."""
    paths = objects.few(change.path for change in changes)
    staged = objects.staged(repo.git, paths)
    hidden = hidden_paths(repo)
    missing = (GONE, "", "0")
    # Three versions count: the old commit's, the staged one and the file. All agree, or merge.
    at_old = {
        c.path
        for c in changes
        if staged.get(c.path, missing) == (c.old_mode, c.old, "0")
        or (c.status == "A" and c.path not in staged)
    }
    theirs = [c for c in changes if merge and (c.path in dirty or c.path not in at_old)]
    by_line = mergeable(repo, theirs)
    targets: list[FileTarget] = []
    entries: dict[str, tuple[str, str]] = {}
    left: list[tuple[str, str]] = []
    merged: list[str] = []
    for change in changes:
        path = change.path
        mode, oid, stage = staged.get(path, missing)
        # Staged already as the new commit has it: a person, or a crash of ours, was here first.
        if mode == change.mode and oid in (change.new, ""):
            continue
        entry: tuple[str, str] | None = (change.mode, change.new)
        # Something else is staged: only a merge by line can keep both.
        if path not in at_old:
            clean = path in by_line and stage == "0"
            entry = merge_staged(repo, change, mode, oid) if clean else None
        if entry is None:
            left.append((path, STAGED))
            continue
        entries[path] = entry
        # The files of a submodule are its own repository's.
        if change.is_link:
            continue
        if path in flags:
            if flags[path] != "skip-worktree" or signature(repo.top / path):
                left.append((path, flags[path]))
        elif path in hidden:
            left.append((path, DATABASE))
        elif path in dirty or path not in at_old:
            target = merge_file(repo, change) if path in by_line else None
            if target is None:
                left.append((path, UNCOMMITTED))
            else:
                targets.append(target)
                merged.append(path)
        else:
            expected = "" if change.status == "A" else signatures[path]
            # By size, time and inode, read before git compared: a later save fails this comparison.
            targets.append(FileTarget(path, change.mode, change.new, expected))
    return targets, entries, left, tuple(merged)


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
        # The very content that is to come is in nobody's way.
        elif signature(place) and fingerprint(place, repo.object_format) != step.digest:
            blocked[step.path] = "an untracked or ignored file is there"
    return blocked


def _in_the_way(left: Iterable[tuple[str, str]]) -> GitDirtyWorkingDirectoryError:
    return GitDirtyWorkingDirectoryError(
        f"uncommitted work is in the way: {_reasons(left)}",
        hint="commit it or move it aside; nothing was changed",
    )
