"""New contents made ready beside the working tree, and the index that goes with them.

Git writes the files, so that line ends and encodings are what a checkout would give; programs
that the configuration names as filters do not run. It refuses to write into a working tree.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters.git import Git, encode, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety.lock import copy_of_index
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.scan import scratch
from self_coding.git_safety.swap import Step, fingerprint

GONE = "000000"


@dataclass(frozen=True)
class Target:
    """What a path shall become: a mode ("000000": nothing) and a blob, and what is there now."""

    path: str
    mode: str
    oid: str
    expected: str


def prepare(
    repo: Repository, targets: Sequence[Target], writer: Git, *, whole: str = ""
) -> tuple[str, tuple[Step, ...]]:
    """Write the new contents into a staging folder; the folder and the steps that use it.

    Args:
        repo: the checkout that will change.
        targets: the paths that will change.
        writer: the git that converts: the checkout's own, or the exact one.
        whole: a tree to read the attributes from, where they change too.

    Raises:
        GitOperationError: the disk is full; nothing was changed.
    """
    folder = Path(_folder(repo))
    files = folder / "files"
    written = [target for target in targets if target.mode != GONE]
    if written:
        files.mkdir()
        index = scratch(repo, "staging-index")
        git = replace(writer, index=index)
        lines = "".join(f"{target.mode} {target.oid}\t{target.path}\0" for target in written)
        try:
            if whole:
                git.run("read-tree", whole)
                git = replace(git, top=files)
            else:
                git.run("update-index", "-z", "--index-info", stdin=encode(lines))
            names = encode("".join(f"{target.path}\0" for target in written))
            git.run("checkout-index", "-q", f"--prefix={files}/", "-z", "--stdin", stdin=names)
        finally:
            index.unlink(missing_ok=True)
    steps = tuple(_step(repo, folder, number, target) for number, target in enumerate(targets))
    return str(folder), steps


def _step(repo: Repository, folder: Path, number: int, target: Target) -> Step:
    if target.mode == GONE:
        return Step(target.path, GONE, target.expected)
    made = folder / "files" / target.path
    try:
        made.rename(folder / f"{number}")
    except OSError as error:
        raise GitOperationError(
            f"cannot prepare {target.path!r}: {error}", hint="nothing was changed"
        ) from error
    new = fingerprint(folder / f"{number}", repo.object_format)
    return Step(target.path, target.mode, target.expected, new)


def _folder(repo: Repository) -> str:
    """A new folder on the file system of the working tree."""
    ours = repo.folder / "staging"
    try:
        ours.mkdir(parents=True, exist_ok=True)
        if ours.stat().st_dev == repo.top.stat().st_dev:
            return tempfile.mkdtemp(dir=ours)
        return tempfile.mkdtemp(prefix=".self-coding-staging-", dir=repo.top)
    except OSError as error:
        raise GitOperationError(
            f"cannot make a staging folder: {error}", hint="make room on the disk"
        ) from error


def copy_index(repo: Repository) -> Path:
    """A copy of the checkout's index to prepare the next one in."""
    copy = scratch(repo, "next-index")
    try:
        copy_of_index(repo.directory / "index", copy)
    except FileNotFoundError:
        replace(repo.git, index=copy).run("read-tree", "--empty")
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise GitOperationError(f"cannot copy the index: {error}") from error
    return copy


@contextmanager
def touched_is_unchanged(repo: Repository) -> Iterator[Git]:
    """Git whose `diff` looks into files that were only touched, instead of naming them.

    It does so by refreshing the index, which is a copy here: reading writes nothing of a person's.
    """
    copy = copy_index(repo)
    try:
        yield replace(repo.git, index=copy, config=(*repo.git.config, "diff.autoRefreshIndex=true"))
    finally:
        copy.unlink(missing_ok=True)


def set_entries(repo: Repository, index: Path, entries: Mapping[str, tuple[str, str]]) -> None:
    """Put PATH: (mode, id) into a prepared index; mode "000000" takes the path out."""
    if not entries:
        return
    gone = [path for path, (mode, _) in entries.items() if mode == GONE]
    lines = "".join(f"0 {repo.zero}\t{path}\0" for path in gone)
    lines += "".join(
        f"{mode} {oid}\t{path}\0" for path, (mode, oid) in entries.items() if mode != GONE
    )
    replace(repo.git, index=index).run("update-index", "-z", "--index-info", stdin=encode(lines))


def refuse_filtered(repo: Repository, paths: Iterable[str], doing: str) -> None:
    """Stop where a path's content could only be had by running a configured filter.

    Raises:
        GitOperationError: naming the paths and the filters.
    """
    drivers = repo.git.settings.filters
    names = list(paths)
    if not drivers or not names:
        return
    data = encode("".join(f"{name}\0" for name in names))
    parts = fields(repo.git.run("check-attr", "-z", "--stdin", "filter", stdin=data).stdout)
    found = {parts[i]: parts[i + 2] for i in range(0, len(parts) - 2, 3) if parts[i + 2] in drivers}
    if found:
        path, name = next(iter(found.items()))
        raise GitOperationError(
            f"{doing} {path!r} needs the filter {name!r}, which is not run from here",
            hint="do that path with git itself",
        )
