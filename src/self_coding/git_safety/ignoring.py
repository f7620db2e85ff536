"""What was ignored at another time: git's own rules, read from a tree and from a snapshot's note.

A file that was ignored when a snapshot was taken is not in it, and what is not in it looks like a
file of later. It refuses to touch the working tree, and to match a pattern by itself: git does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from self_coding.adapters.git import Git, decode, environment
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.scan import discard, ignored, scratch

_NAME = ".gitignore"
_SLACK = 2.0  # seconds: clocks of file systems are coarser than ours, and may lag behind


def unversioned(repo: Repository) -> str:
    """The patterns that no tree holds: the user's own excludes file, then `info/exclude`."""
    values = repo.git.settings.values
    home = environment().get("XDG_CONFIG_HOME") or "~/.config"
    own = values.get("core.excludesfile", f"{home}/git/ignore")
    lines: list[str] = []
    for path in (_expanded(repo, own), repo.common / "info" / "exclude"):
        try:
            text = decode(path.read_bytes()).removeprefix("\ufeff")
        except OSError:
            continue
        lines += [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    return "".join(f"{line}\n" for line in lines)  # of two that match, git takes the later one


def _expanded(repo: Repository, name: str) -> Path:
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # a home that nobody has
        return Path(name)
    return path if path.is_absolute() or not repo.has_tree else repo.top / path


def ignored_under(repo: Repository, tree: str, rules: str, paths: Sequence[str]) -> frozenset[str]:
    """Those of `paths` that git ignores where `tree` is checked out and `rules` are excluded.

    Raises:
        GitOperationError: the rules cannot be laid out, such as on a full disk.
    """
    if not paths:
        return frozenset()
    names = {f"{parent}{_NAME}" for path in paths for parent in _parents(path)}
    found = objects.entries(repo.git, tree, objects.few(names)) if tree else {}
    wanted = {n: oid for n, (mode, oid) in found.items() if n in names and mode.startswith("100")}
    contents = dict(zip(wanted, objects.read_many(repo.git, wanted.values()), strict=True))
    folder = scratch(repo, "rules")
    try:
        return frozenset(ignored(_laid_out(repo, folder, rules, contents), paths, "--no-index"))
    except OSError as error:
        raise GitOperationError(
            f"cannot write into {folder}: {error}", hint="make room on the disk"
        ) from error
    finally:
        discard(folder)


def _parents(path: str) -> Iterable[str]:
    """The folders above a path, each with its slash; the top is ""."""
    parts = path.split("/")
    return ("".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts)))


def _laid_out(
    repo: Repository, folder: Path, rules: str, contents: Mapping[str, bytes | None]
) -> Git:
    """Git in an empty repository of ours that has these ignore files and no others."""
    directory, top = folder / "git", folder / "tree"
    for place in (directory / "refs", directory / "objects", top):
        place.mkdir(parents=True)
    (directory / "HEAD").write_text("ref: refs/heads/none\n")
    (folder / "excludes").write_bytes(rules.encode("utf-8", "surrogateescape"))
    for name, content in contents.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content or b"")
    case = repo.git.settings.values.get("core.ignorecase", "false")
    config = (f"core.excludesFile={folder / 'excludes'}", f"core.ignorecase={case}")
    return Git(directory, directory, top, config=("core.bare=false", *config))


def stood_uncaptured(
    repo: Repository, tree: str, at: datetime, blobs: Mapping[str, str]
) -> frozenset[str]:
    """Those of `blobs` (path to content) that were there at `at` although `tree` has them not.

    Rules that are gone cannot be asked, such as those of a folder that ignored itself. But what
    nobody has touched since, with a content that the snapshot holds nowhere, did not come later.
    """
    limit = at.timestamp() - _SLACK
    old = {path for path in blobs if _changed(repo.top / path) < limit}
    known = {oid for _, oid in objects.entries(repo.git, tree).values()} if old else set()
    return frozenset(path for path in old if blobs[path] not in known)


def _changed(place: Path) -> float:
    """When the file last changed in any way, its name among it."""
    try:
        return place.lstat().st_ctime
    except OSError:
        return float("inf")
