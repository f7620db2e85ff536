"""Commits of exactly what is named, and branches, without switching anything under anybody.

Ignored paths, databases of ours and paths under a configured filter are refused, and so is a
commit in the middle of a merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters import git as git_adapter
from self_coding.adapters.git import Git, decode, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.checkout_update import prepare_update
from self_coding.git_safety.index import copy_index, hidden_paths, refuse_filtered, set_entries
from self_coding.git_safety.locks import copy_index_file
from self_coding.git_safety.objects import GONE
from self_coding.git_safety.recovery import operation_lock
from self_coding.git_safety.repository import Head, Repository, check_branch, check_message
from self_coding.git_safety.transaction import (
    CheckoutUpdate,
    Transaction,
    execute,
    retry_on_conflict,
)
from self_coding.git_safety.tree_state import forget, ignored, is_entry, scratch, update_index

if TYPE_CHECKING:
    from self_coding.adapters.process import Completed

KEPT = "refs/self-coding/kept"
_MOVES_HEAD = frozenset(
    ("commit", "merge", "cherry-pick", "revert", "am", "rebase", "reset", "pull", "update-ref")
)


def create_branch(repo: Repository, name: str, base: str | None) -> str:
    """Make the branch `name` at `base` and check it out; a person's edits come along.

    Raises:
        GitOperationError: it exists, or `base` does not.
        GitDirtyWorkingDirectoryError: uncommitted work is in the way.
    """
    ref = f"refs/heads/{check_branch(name)}"

    def create() -> None:
        repo.check_idle("switching branches")
        head = repo.born()
        start = repo.branch(repo.main) if base is None else repo.commit(base)
        # For the message alone: the transaction creates the ref from nothing, or fails.
        if repo.tips([ref]) != [""]:
            raise GitOperationError(
                f"a branch called {name!r} exists already", hint="choose another name"
            )
        prepared = prepare_update(
            repo, head.commit, start, head_from=head.target, head_to=ref, strict=True
        )
        execute(
            repo,
            Transaction(
                kind="create branch",
                refs=((ref, "", start),),
                parts=(prepared.update,),
                reason=name,
                data={"way": "follow"},
            ),
        )

    with operation_lock(repo, "create branch"):
        retry_on_conflict(create)
    return name


def commit(
    repo: Repository,
    message: str,
    files: Sequence[str | Path] | None,
    *,
    allow_empty: bool = False,
) -> str:
    """Commit just `files`, or every change when None; return the commit HEAD is at afterwards."""
    text = check_message(message)
    named = None if files is None else [repo.path(file) for file in files]
    with operation_lock(repo, "commit"):
        return retry_on_conflict(lambda: _commit(repo, text, named, allow_empty=allow_empty))


def _commit(
    repo: Repository, text: bytes, named: Sequence[str] | None, *, allow_empty: bool
) -> str:
    repo.check_idle("a commit from here")
    head = repo.head()
    index_before = repo.index_digest()
    # What a person has staged; a deletion has mode `GONE`.
    if head.commit:
        # Plumbing: `git diff` obeys a user's settings, and refreshes the index.
        flags = ("--cached", "--raw", "-z", "--no-abbrev")
        listed = objects.parse_raw(repo.git.run("diff-index", *flags, head.commit, "--").stdout)
        staged = [(change.path, change.mode, change.new) for change in listed]
    else:
        staged = [(path, mode, oid) for path, (mode, oid, _) in objects.staged(repo.git).items()]
    if named is None:
        # Two indexes: the one that is committed, and the one that is left behind.
        prepared, index = _index_of_everything(repo, head)
    else:
        prepared, index = _index_of(repo, head, named, {path for path, _, _ in staged})
    try:
        _keep_staged(repo, staged, index)
        git = replace(repo.git, index=prepared)
        tree = git.text("write-tree")
        [head_tree] = repo.resolve([head.commit], "tree") if head.commit else [""]
        # Nothing to commit is no error: after a crash the commit is there already.
        if tree == head_tree and not allow_empty:
            return head.commit
        if not head.commit and not allow_empty and not repo.git.run("ls-tree", tree).stdout:
            raise GitOperationError("there is nothing to commit", hint="write a file first")
        made = commit_tree(repo, tree, [head.commit], text)
        execute(
            repo,
            Transaction(
                kind="commit",
                refs=((head.ref, head.commit, made),),
                parts=(_index_update(repo, head, index, index_before),),
                reason=decode(text, errors="replace").splitlines()[0],
            ),
        )
    finally:
        prepared.unlink(missing_ok=True)
        index.unlink(missing_ok=True)
    return made


def commit_tree(repo: Repository, tree: str, parents: Sequence[str], message: bytes) -> str:
    """Store a commit that no ref names yet; empty parents are left out."""
    text = decode(message).rstrip("\n")
    return objects.write_commit(
        repo.git, repo.object_format, tree=tree, parents=parents, message=text
    )


def _index_of_everything(repo: Repository, head: Head) -> tuple[Path, Path]:
    """Return indexes that hold every change: the one to commit, and the one to leave behind."""
    index = copy_index(repo)
    git = replace(repo.git, index=index)
    hidden = hidden_paths(repo)
    done = git.run("ls-files", "-t", "-o", "-m", "-d", "-z", "--exclude-standard")
    touched = dict.fromkeys(part[2:] for part in fields(done.stdout))
    add_files(repo, git, [p for p in touched if not p.endswith("/") and p not in hidden])
    if hidden:
        # One that was committed in spite of all stays as it is in HEAD, rather than being deleted.
        in_head = objects.entries(repo.git, head.commit, sorted(hidden)) if head.commit else {}
        set_entries(repo, git, {path: in_head.get(path, (GONE, "")) for path in sorted(hidden)})
    return index, _copy(repo, index)


def _index_of(
    repo: Repository, head: Head, named: Sequence[str], staged: set[str]
) -> tuple[Path, Path]:
    """Return indexes in which exactly the named paths differ: from HEAD's, and from the user's."""
    paths = _expand(repo, head, named)
    index = copy_index(repo)
    git = replace(repo.git, index=index)
    add_files(repo, git, paths)
    # Nothing else is staged, so the user's index with the named paths is what is committed.
    if staged <= set(paths):
        return index, _copy(repo, index)
    # Other paths are staged: the commit starts from HEAD, and the staged ones stay in the user's.
    fresh = scratch(repo, "commit-index")
    fresh_git = replace(repo.git, index=fresh)
    fresh_git.run("read-tree", head.commit or "--empty")
    entries = objects.staged(git, paths)
    set_entries(repo, fresh_git, {path: entries.get(path, (GONE, ""))[:2] for path in paths})
    return fresh, index


def _copy(repo: Repository, index: Path) -> Path:
    """Return the same index once more, to be left behind while the first is committed."""
    copy = scratch(repo, "next-index")
    copy_index_file(index, copy)
    return copy


def _keep_staged(repo: Repository, staged: Sequence[tuple[str, str, str]], index: Path) -> None:
    """Staged content that is in neither HEAD nor the next index gets a ref before it goes."""
    blobs = [item for item in staged if item[1] not in (GONE, objects.LINK)]
    if not blobs:
        return
    after = objects.staged(replace(repo.git, index=index), [path for path, _, _ in blobs])
    lost = [item for item in blobs if after.get(item[0], ("", "", ""))[1] != item[2]]
    if not lost:
        return
    entries = {f"{number:06}": (mode, oid) for number, (_, mode, oid) in enumerate(lost)}
    commit = objects.write_commit(
        repo.git,
        repo.object_format,
        tree=objects.write_tree(repo.common / "objects", entries, repo.object_format),
        parents=[],
        message="staged before a commit:\n\n" + "\n".join(path for path, _, _ in lost),
    )
    repo.git.run("update-ref", f"{KEPT}/{commit}", commit)


def _expand(repo: Repository, head: Head, named: Sequence[str]) -> list[str]:
    """Return the files that the named paths mean: themselves, or all in a folder not ignored.

    Each exists or existed, is no special file, and is not ignored.
    """
    paths: dict[str, None] = {}
    hidden = hidden_paths(repo)
    for path in named:
        place = repo.top / path
        if place.is_dir() and not place.is_symlink():
            folder = "" if path == "." else path
            listed = repo.git.run("ls-files", "-z", "-c", "-o", "--exclude-standard", "--", folder)
            inner = [name for name in fields(listed.stdout) if not name.endswith("/")]
            paths |= dict.fromkeys(name for name in inner if name not in hidden)
        elif path in hidden:
            raise GitOperationError(
                f"{path!r} is a database of this project", hint="it is never committed"
            )
        else:
            paths[path] = None
    files = [path for path in paths if not (repo.top / path).is_dir()]
    tracked = set(objects.staged(repo.git, files))
    # A file that is staged for deletion is in HEAD alone, and may be named.
    if head.commit and any(path not in tracked for path in files):
        tracked |= set(objects.entries(repo.git, head.commit, objects.few(files)))
    new = [path for path in files if path not in tracked]
    for path in new:
        place = repo.top / path
        if not place.is_symlink() and not place.is_file():
            raise GitOperationError(
                f"there is no file {path!r}, and none was tracked",
                hint="name files as they are; patterns and options mean nothing here",
            )
    refused = ignored(repo.git, new)
    if refused:
        raise GitOperationError(
            f"{refused[0]!r} is ignored by git", hint="ignored files are never committed"
        )
    return list(paths)


def add_files(repo: Repository, git: Git, paths: Sequence[str]) -> None:
    """Bring the index entries of paths up to their files, deletions too."""
    if paths:
        refuse_filtered(repo, paths, "committing")
        forget(git, [path for path in paths if not is_entry(repo.top, path)])
        update_index(git, [path for path in paths if is_entry(repo.top, path)])


def stage_file(repo: Repository, file: str | Path) -> None:
    """Put one file's present content into the user's index."""
    with operation_lock(repo, "stage"):
        path = repo.path(file)
        head = repo.head()
        paths = _expand(repo, head, [path])
        index_before = repo.index_digest()
        index = copy_index(repo)
        add_files(repo, replace(repo.git, index=index), paths)
        update = _index_update(repo, head, index, index_before)
        execute(repo, Transaction(kind="stage", parts=(update,), reason=path[:200]))


def _index_update(repo: Repository, head: Head, index: Path, before: str) -> CheckoutUpdate:
    update = CheckoutUpdate.at(repo, head.target)
    return replace(update, index=str(index), index_before=before)


def run_git(repo: Repository, args: tuple[str, ...], *, check: bool, timeout: float) -> Completed:
    """Run a caller's own git command; a commit it makes counts as made through us."""
    run = partial(
        git_adapter.run,
        args,
        cwd=repo.repo_path,
        env=repo.git.settings.identity,
        ok=(0,) if check else (),
        timeout=timeout,
    )
    if not args or args[0] not in _MOVES_HEAD or not repo.has_tree:
        return run()
    before = repo.head()
    try:
        return run()
    finally:
        # In a `finally`: a command that was ended at the time limit may have committed before.
        after = repo.head()
        if before.branch == after.branch and before.commit != after.commit:
            repo.log.add("git", refs=[(after.ref, before.commit, after.commit)], reason=args[0])
