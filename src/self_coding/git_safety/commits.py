"""Commits of exactly what is named, and branches, without switching anything under anybody.

It refuses ignored paths, databases of ours, paths under a configured filter, and to commit in
the middle of somebody's merge.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from self_coding.adapters.git import Git, decode, encode, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.change import Part, Plan, carry_out, digest, insist
from self_coding.git_safety.describe import hidden_paths
from self_coding.git_safety.follow import follow
from self_coding.git_safety.lock import copy_of_index
from self_coding.git_safety.names import check_branch, check_message
from self_coding.git_safety.recovery import guarded
from self_coding.git_safety.repository import Head, Repository
from self_coding.git_safety.scan import forget, ignored, is_entry, scratch
from self_coding.git_safety.staging import copy_index, refuse_filtered

KEPT = "refs/self-coding/kept"


def create_branch(repo: Repository, name: str, base: str | None) -> str:
    """Make the branch `name` at `base` and stand on it; a person's edits come along.

    Raises:
        GitOperationError: it exists, or `base` does not.
        GitDirtyWorkingDirectoryError: uncommitted work is in the way.
    """
    check_branch(name)
    with guarded(repo, "create branch"):
        insist(lambda: _create_branch(repo, name, base))
    return name


def _create_branch(repo: Repository, name: str, base: str | None) -> None:
    repo.at_rest("switching branches")
    head = repo.born()
    start = repo.branch(repo.main) if base is None else repo.commit(base)
    [taken] = repo.tips([f"refs/heads/{name}"])
    if taken:
        raise GitOperationError(
            f"a branch called {name!r} exists already", hint="choose another name"
        )
    move = (f"refs/heads/{name}", "", start)
    came = head.ref if head.branch else head.commit
    following = follow(repo, head.commit, start, head_from=came, head_to=move[0], strict=True)
    carry_out(
        repo,
        Plan(
            kind="create branch",
            refs=(move,),
            parts=(following.part,),
            reason=name,
            data={"way": "follow"},
        ),
    )


def commit(
    repo: Repository,
    message: str,
    files: Sequence[str | Path] | None,
    *,
    allow_empty: bool = False,
    attempt: str = "",
) -> str:
    """Commit just `files`, or every change when None; the commit that HEAD is at afterwards.

    Raises:
        GitOperationError: a path is unknown, ignored, outside, or needs a filter.
    """
    text = check_message(message)
    named = None if files is None else [repo.path(file) for file in files]
    with guarded(repo, "commit"):
        return insist(lambda: _commit(repo, text, named, allow_empty=allow_empty, attempt=attempt))


def _commit(
    repo: Repository,
    text: bytes,
    named: Sequence[str] | None,
    *,
    allow_empty: bool,
    attempt: str,
) -> str:
    repo.at_rest("a commit from here")
    head = repo.head()
    before = digest(repo.directory / "index")
    staged = _staged(repo, head)
    prepared, index = _everything(repo, head) if named is None else _just(repo, head, named, staged)
    try:
        _keep_staged(repo, staged, index)
        tree = replace(repo.git, index=prepared).text("write-tree")
        [head_tree] = repo.resolve([head.commit], "tree") if head.commit else [""]
        if tree == head_tree and not allow_empty:
            return head.commit
        if not head.commit and not allow_empty and not _files(repo, tree):
            raise GitOperationError("there is nothing to commit", hint="write a file first")
        parents = [head.commit] if head.commit else []
        made = commit_tree(repo, tree, parents, text)
        part = Part(
            top=str(repo.top),
            directory=str(repo.directory),
            index=str(index),
            index_before=before,
            head_from=head.ref if head.branch else head.commit,
        )
        carry_out(
            repo,
            Plan(
                kind="commit",
                refs=((head.ref, head.commit, made),),
                parts=(part,),
                reason=decode(text, errors="replace").splitlines()[0],
                attempt=attempt,
            ),
        )
    finally:
        prepared.unlink(missing_ok=True)
        index.unlink(missing_ok=True)
    return made


def commit_tree(repo: Repository, tree: str, parents: Iterable[str], message: bytes) -> str:
    """A commit that no ref names yet."""
    return objects.write_commit(
        repo.git,
        repo.object_format,
        tree=tree,
        parents=parents,
        message=decode(message).rstrip("\n"),
        at=int(time.time()),
    )


def _files(repo: Repository, tree: str) -> bool:
    return bool(repo.git.run("ls-tree", tree).stdout)


def _everything(repo: Repository, head: Head) -> tuple[Path, Path]:
    """Indexes that hold every change: the one to commit, and the one to leave behind."""
    index = copy_index(repo)
    git = replace(repo.git, index=index)
    hidden = sorted(hidden_paths(repo))
    done = git.run("ls-files", "-t", "-o", "-m", "-d", "-z", "--exclude-standard")
    touched = dict.fromkeys(part[2:] for part in fields(done.stdout))
    paths = [path for path in touched if not path.endswith("/") and path not in hidden]
    _add(repo, git, paths)
    if hidden:
        _as_in(repo, git, head, hidden)
    return index, _twin(repo, index)


def _twin(repo: Repository, index: Path) -> Path:
    """The same index once more, to be left behind while the first is committed."""
    twin = scratch(repo, "next-index")
    copy_of_index(index, twin)
    return twin


def _as_in(repo: Repository, git: Git, head: Head, paths: Sequence[str]) -> None:
    """Put paths back to what HEAD has, so that they are not part of the commit."""
    known = objects.entries(repo.git, head.commit, paths) if head.commit else {}
    lines = "".join(
        f"{known[path][0]} {known[path][1]}\t{path}\0"
        if path in known
        else f"0 {repo.zero}\t{path}\0"
        for path in paths
    )
    git.run("update-index", "-z", "--index-info", stdin=encode(lines))


def _just(
    repo: Repository, head: Head, named: Sequence[str], before: Sequence[tuple[str, str, str]]
) -> tuple[Path, Path]:
    """Indexes in which exactly the named paths differ: from HEAD's, and from the user's."""
    paths = _expanded(repo, head, named)
    index = copy_index(repo)
    staged = {path for path, _, _ in before} - set(paths)
    _add(repo, replace(repo.git, index=index), paths)
    if not staged:
        return index, _twin(repo, index)
    fresh = scratch(repo, "commit-index")
    git = replace(repo.git, index=fresh)
    git.run("read-tree", head.commit or "--empty")
    entries = objects.staged(replace(repo.git, index=index), paths)
    lines = "".join(
        f"{entries[path][0]} {entries[path][1]}\t{path}\0"
        if path in entries
        else f"0 {repo.zero}\t{path}\0"
        for path in paths
    )
    git.run("update-index", "-z", "--index-info", stdin=encode(lines))
    return fresh, index


def _staged(repo: Repository, head: Head) -> list[tuple[str, str, str]]:
    """Path, mode and object id of what a person has staged; deletions have mode "000000"."""
    if not head.commit:
        found = objects.staged(repo.git)
        return [(path, mode, oid) for path, (mode, oid, _) in found.items()]
    done = repo.git.run("diff-index", "--cached", "--raw", "-z", "--no-abbrev", head.commit, "--")
    return [(change.path, change.mode, change.new) for change in objects.parse_raw(done.stdout)]


def _keep_staged(repo: Repository, staged: Sequence[tuple[str, str, str]], index: Path) -> None:
    """Staged content that is in neither HEAD nor the next index gets a ref before it goes."""
    blobs = [item for item in staged if item[1] not in ("000000", objects.LINK)]
    if not blobs:
        return
    after = objects.staged(replace(repo.git, index=index), [path for path, _, _ in blobs])
    lost = [item for item in blobs if after.get(item[0], ("", "", ""))[1] != item[2]]
    if not lost:
        return
    kept = {f"{number:06}": (mode, oid) for number, (_, mode, oid) in enumerate(lost)}
    store = repo.common / "objects"
    commit = objects.write_commit(
        repo.git,
        repo.object_format,
        tree=objects.write_tree(store, kept, repo.object_format),
        parents=[],
        message="staged before a commit:\n\n" + "\n".join(path for path, _, _ in lost),
        at=int(time.time()),
    )
    repo.git.run("update-ref", f"{KEPT}/{commit}", commit)


def _expanded(repo: Repository, head: Head, named: Sequence[str]) -> list[str]:
    """The files that the named paths mean: themselves, or all in a folder that is not ignored."""
    found: dict[str, None] = {}
    hidden = hidden_paths(repo)
    for path in named:
        place = repo.top / path
        if place.is_dir() and not place.is_symlink():
            done = repo.git.run(
                "ls-files",
                "-z",
                "-c",
                "-o",
                "--exclude-standard",
                "--",
                "" if path == "." else path,
            )
            inner = [name for name in fields(done.stdout) if not name.endswith("/")]
            found |= dict.fromkeys(name for name in inner if name not in hidden)
        elif path in hidden:
            raise GitOperationError(
                f"{path!r} is a database of this project", hint="it is never committed"
            )
        else:
            found[path] = None
    _known(repo, head, [path for path in found if not (repo.top / path).is_dir()])
    return list(found)


def _known(repo: Repository, head: Head, paths: Sequence[str]) -> None:
    """Every path exists or existed, is no special file, and is not ignored."""
    tracked = set(objects.staged(repo.git, paths))
    if head.commit and any(path not in tracked for path in paths):
        tracked |= set(objects.entries(repo.git, head.commit, objects.few(paths)))
    new = [path for path in paths if path not in tracked]
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


def _add(repo: Repository, git: Git, paths: Sequence[str]) -> None:
    """Bring the index entries of paths up to their files, deletions too."""
    if not paths:
        return
    refuse_filtered(repo, paths, "committing")
    forget(git, [path for path in paths if not is_entry(repo.top, path)])
    present = [path for path in paths if is_entry(repo.top, path)]
    data = encode("".join(f"{path}\0" for path in present))
    git.run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=data)


def stage_paths(repo: Repository, paths: Sequence[str]) -> None:
    """Put the present content of paths into the user's index; call it with the lock held."""
    head = repo.head()
    wanted = _expanded(repo, head, paths)
    before = digest(repo.directory / "index")
    index = copy_index(repo)
    _add(repo, replace(repo.git, index=index), wanted)
    part = Part(
        top=str(repo.top),
        directory=str(repo.directory),
        index=str(index),
        index_before=before,
        head_from=head.ref if head.branch else head.commit,
    )
    carry_out(repo, Plan(kind="stage", parts=(part,), reason=", ".join(paths)[:200]))
