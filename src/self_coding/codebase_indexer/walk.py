"""Which source files the repository has right now, at the price of `git status`.

Git's view: tracked files, and untracked ones that are not ignored. Git is asked only when
something that could change its answer has changed: its index, an ignore file, or a folder in
which a file appeared or vanished. Without git, every folder is walked. Files are never read here.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from self_coding.adapters.paths import git_directories
from self_coding.errors import GitOperationError, IndexerError
from self_coding.languages import is_manifest, suffixes, top_manifests, unread_languages

_RACY_NS = 50_000_000  # clocks of file systems tick this coarsely; whole seconds: see `settled`
_SKIPPED = frozenset(
    [
        "__pycache__",
        "__pypackages__",
        "node_modules",
        "site-packages",
        "venv",
        "env",
        "build",
        "dist",
    ]
)
_LISTING_SECONDS = 120.0
_DEEPEST = 8  # levels of empty folders that are watched for a first file

# What tells that a file was changed: times of content and of status in nanoseconds, and size.
# The first is -1 where it cannot tell yet. A plain tuple, because there is one for every file.
Stamp = tuple[int, int, int]


class Look(NamedTuple):
    """The files as they are: all but `files` is to be stored and handed in next time."""

    files: dict[str, Stamp]
    folders: dict[str, str]
    view: str
    relisted: bool
    manifests: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # languages that are there and not read


class _View(NamedTuple):
    """What the list of files depends on besides the folders themselves.

    `stamp` is that of git's index, which changes more often than what it lists: `tracked`
    is the digest of that. `rest` are the ignore files and settings.
    """

    git: str
    stamp: str
    rest: str
    tracked: str = ""

    def __str__(self) -> str:
        return "\n".join(self)


def look(
    root: Path,
    src_dirs: Sequence[str] | None,
    known: Iterable[str],
    folders: Mapping[str, str],
    view: str,
    manifests: Sequence[str] = (),
) -> Look:
    """Return the source files below `root`, each with its stamp.

    Args:
        root: the folder whose files are meant; paths are relative to it.
        src_dirs: only files below these folders; None for all.
        known, folders, view, manifests: what the last look found, empty for the first.
    """
    top = str(root)
    now = _view(root, src_dirs, manifests)
    if not now.git:
        walked = list(_walk(top, src_dirs))
        found = tuple(sorted({*top_manifests(), *filter(is_manifest, walked)}))
        files = _stamps(top, [path for path in walked if path.endswith(suffixes())])
        now = _view(root, src_dirs, found)
        others = unread_languages(walked)
        return Look(files, {}, str(now), relisted=view != str(now), manifests=found, others=others)
    parts = view.split("\n")
    then = _View(*parts) if len(parts) == 4 else _View("", "", "")
    are_same = then.rest == now.rest and bool(folders)
    if are_same and all(
        stored == _folder_stamp(f"{top}/{folder}", 0, ignoring=" " in stored)
        for folder, stored in folders.items()
    ):
        tracked = then.tracked if then.stamp == now.stamp else _tracked(top, src_dirs)[1]
        # `git status` and the like refresh git's index, and so change its time without its list.
        if tracked == then.tracked:  # git may have written its index anew
            view = str(now._replace(tracked=tracked))
            stamps = _stamps(top, known)
            return Look(stamps, dict(folders), view, relisted=False, manifests=tuple(manifests))
    # Before git lists: a folder that changes from here on is too young to be trusted.
    started = time.time_ns()
    listed, tracked = _listed(top, src_dirs)
    endings = suffixes()
    files = _stamps(top, [path for path in listed if path.endswith(endings)])
    fresh = _folders(top, listed, started)
    found = tuple(sorted({*top_manifests(), *filter(is_manifest, listed)}))
    rest = _view(root, src_dirs, found).rest
    view = str(now._replace(rest=rest, tracked=tracked))
    others = unread_languages(listed)
    return Look(files, fresh, view, relisted=True, manifests=found, others=others)


def _view(root: Path, src_dirs: Sequence[str] | None, manifests: Sequence[str]) -> _View:
    places = [root / each for each in manifests]
    checkout = git_directories(root)
    if checkout is not None:
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
        info, config = checkout.common / "info", checkout.common / "config"
        places += [info / "exclude", config, Path(home) / "git" / "ignore"]
    # The root as well: a repository that was moved is another one to the stamps.
    dirs = repr((str(root), None if src_dirs is None else list(src_dirs), suffixes(), "others"))
    rest = " ".join([dirs, *map(_brief, places)])
    if checkout is None:
        return _View("", "", rest)
    return _View("git", _brief(checkout.directory / "index"), rest)


def _brief(path: Path) -> str:
    """Return a file's stamp as text; one that is too young to trust is like no other."""
    try:
        status = path.stat()
    except OSError:
        return "-"
    now = time.time_ns()
    young = f".{now}" if status.st_mtime_ns + _RACY_NS >= now else ""
    return f"{status.st_mtime_ns}.{status.st_size}.{status.st_ino}{young}"


def settled(now: Stamp, read_at: int) -> Stamp:
    """Return the stamp to store for a file that was read at `read_at` (nanoseconds, wall clock).

    Git's racy rule: a file as young as the read may change again without its times changing, so
    it is stored as unknown and hashed again next time.
    """
    mtime, ctime, size = now
    newest = max(mtime, ctime)
    # A time in whole seconds is one of a file system that keeps no more (FAT rounds to two).
    slack = _RACY_NS if newest % 1_000_000_000 else 2_000_000_000
    return now if newest + slack < read_at else (-1, ctime, size)


def _stamps(top: str, paths: Iterable[str]) -> dict[str, Stamp]:
    """Return the stamps of those that are regular files, or links to nothing."""
    stamps = {}
    prefix = top + "/"
    status, regular = os.stat, stat.S_ISREG  # looked up once: this is the loop over every file
    for path in paths:
        try:
            seen = status(prefix + path)
        except FileNotFoundError:
            # Git tracks a link that leads nowhere; without an entry it would be new at every look.
            if os.path.islink(prefix + path):  # noqa: PTH114
                stamps[path] = (-1, -1, -1)
        except OSError:
            stamps[path] = (-1, -1, -1)  # it is there, and cannot be read: the reader says so
        else:
            if regular(seen.st_mode):
                stamps[path] = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size)
    return stamps


def _list(top: str, *arguments: str) -> bytes:
    from self_coding.adapters import git  # seldom needed, and long to load

    try:
        return git.run(
            ["--literal-pathspecs", "ls-files", "-z", *arguments],
            cwd=Path(top),
            timeout=_LISTING_SECONDS,
        ).stdout
    except GitOperationError as error:
        raise IndexerError(
            f"git cannot list the files of {top}: {error.message}",
            hint="run `git ls-files` there to see why",
        ) from error


def _tracked(top: str, src_dirs: Sequence[str] | None) -> tuple[bytes, str]:
    """Return what git's index lists, and its digest."""
    import hashlib  # seldom needed, and long to load

    # An empty list of folders is none of them; without paths git would list everything.
    below = ["--", *src_dirs] if src_dirs else []
    listed = _list(top, "-c", *below) if src_dirs is None or src_dirs else b""
    return listed, hashlib.sha256(listed).hexdigest()


def _listed(top: str, src_dirs: Sequence[str] | None) -> tuple[set[str], str]:
    """Return every file git sees, of any kind, and the digest of the tracked ones.

    A path ending in "/" is a folder in which git sees no file.
    """
    tracked, digest = _tracked(top, src_dirs)
    if src_dirs is not None and not src_dirs:
        return set(), digest
    below = ["--", *src_dirs] if src_dirs else []
    others = _list(top, "-o", "--exclude-standard", "--directory", *below)
    if b"/\0" in others:  # git shows a folder as a whole: which files are in it?
        folders = [path for path in os.fsdecode(others).split("\0") if path.endswith("/")]
        others += _list(top, "-o", "--exclude-standard", "--", *folders)
    return set(os.fsdecode(tracked + others).split("\0")) - {""}, digest


def _folders(top: str, listed: Iterable[str], started: int) -> dict[str, str]:
    """Return the folders in which a visible file could appear, with their stamps."""
    folders = {""}
    for path in listed:
        folder = path.rpartition("/")[0]
        while folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    odd = [path for path in listed if path.endswith(("/", ".gitignore"))]
    ignoring = {path[:-11] for path in odd if f"/{path}".endswith("/.gitignore")}
    for folder in [path[:-1] for path in odd if path[-1] == "/"]:
        empty = _empty_folders(top, folder, _DEEPEST)
        folders.update(empty)
        ignoring.update(each for each in empty if os.path.exists(f"{top}/{each}/.gitignore"))  # noqa: PTH110
    return {
        folder: _folder_stamp(f"{top}/{folder}", started, ignoring=folder in ignoring)
        for folder in folders
    }


def _empty_folders(top: str, folder: str, depth: int) -> list[str]:
    """Return the folders below one that git shows as a whole, as far as they hold no files.

    Below a repository of its own, and where an ignore file hides all, no file can appear.
    """
    try:
        with os.scandir(f"{top}/{folder}") as entries:
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return []
    names = {name for name, _ in inside}
    closed = ".git" in names
    if ".gitignore" in names:
        try:
            with open(f"{top}/{folder}/.gitignore", "rb") as file:
                rules = file.read(4096).split()
        except OSError:
            rules = []
        closed = closed or (b"*" in rules and not any(rule.startswith(b"!") for rule in rules))
    folders = [folder]
    for name, is_folder in inside if depth and not closed else ():
        if is_folder:
            folders += _empty_folders(top, f"{folder}/{name}", depth - 1)
    return folders


def _folder_stamp(path: str, started: int, *, ignoring: bool) -> str:
    """Return a folder's time and that of its ignore file; "?" while too young to trust.

    `started` is when the listing began; with 0 the times are trusted.
    """
    try:
        seen = os.stat(path).st_mtime_ns  # noqa: PTH116 - called for every folder
        if started and seen + _RACY_NS >= started:
            return "?"
        if not ignoring:
            return str(seen)
        ignore = os.stat(path + "/.gitignore")  # noqa: PTH116
    except OSError:
        return "gone"
    if started and ignore.st_mtime_ns + _RACY_NS >= started:
        return "?"
    return f"{seen} {ignore.st_mtime_ns} {ignore.st_size}"


def _walk(top: str, src_dirs: Sequence[str] | None) -> Iterable[str]:
    """Return every source file below a folder that git does not keep."""
    endings = suffixes()
    for start in [""] if src_dirs is None else [each.strip("/") for each in src_dirs]:
        for folder, inside, names in os.walk(f"{top}/{start}" if start else top):
            inside[:] = [
                name
                for name in sorted(inside)
                if name not in _SKIPPED
                and not name.startswith(".")
                and not os.path.exists(f"{folder}/{name}/pyvenv.cfg")  # noqa: PTH110
            ]
            prefix = folder[len(top) + 1 :]
            for name in names:
                if name.endswith(endings) or is_manifest(f"{prefix}/{name}".lstrip("/")):
                    yield f"{prefix}/{name}" if prefix else name
