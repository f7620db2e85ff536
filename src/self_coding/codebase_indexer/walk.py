"""Which Python files the repository has right now, at the price of `git status`.

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

from self_coding.adapters.git import git_directories, run
from self_coding.errors import GitOperationError, IndexerError
from self_coding.languages import languages, suffixes

_RACY_NS = 50_000_000  # clocks of file systems tick this coarsely; whole seconds: see _settled
_SKIPPED = frozenset(
    (
        "__pycache__",
        "node_modules",
        "site-packages",
        "venv",
        "env",
        "build",
        "dist",
        "__pypackages__",
    )
)
_LISTING_SECONDS = 120.0


# What tells that a file was changed: times of content and of status in nanoseconds, and size.
# The first is -1 where it cannot tell yet. A plain tuple, because there is one for every file.
Stamp = tuple[int, int, int]
_UNKNOWN: Stamp = (-1, -1, -1)


class Look(NamedTuple):
    """The files as they are: `folders` and `view` are to be stored and handed in next time."""

    files: dict[str, Stamp]
    folders: dict[str, str]
    view: str
    relisted: bool


def look(
    root: Path,
    src_dirs: Sequence[str] | None,
    known: Iterable[str],
    folders: Mapping[str, str],
    view: str,
) -> Look:
    """The Python files below `root`, each with its stamp.

    Args:
        root: the folder whose files are meant; paths are relative to it.
        src_dirs: only files below these folders; None for all.
        known, folders, view: what the last look found, empty for the first.
    """
    top = str(root)
    now = _view(root, src_dirs)
    if not now.git:
        found = list(_walk(top, src_dirs))
        return Look(_stamps(top, found), {}, str(now), relisted=view != str(now))
    then = _View.read(view)
    if then.rest == now.rest and folders and _same_folders(top, folders):
        tracked = then.tracked if then.stamp == now.stamp else _tracked(top, src_dirs)[1]
        if tracked == then.tracked:
            same = str(now._replace(tracked=tracked))  # git may have written its index anew
            return Look(_stamps(top, known), dict(folders), same, relisted=False)
    started = time.time_ns()
    listed, tracked = _listed(top, src_dirs)
    fresh = _folders(top, listed, started)
    files = [path for path in listed if path.endswith(suffixes())]
    now = now._replace(tracked=tracked)
    return Look(_stamps(top, files), fresh, str(now), relisted=True)


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

    @staticmethod
    def read(text: str) -> _View:
        parts = text.split("\n")
        return _View(*parts) if len(parts) == 4 else _View("", "", "", "")


def _view(root: Path, src_dirs: Sequence[str] | None) -> _View:
    manifests = [root / each.manifest for each in languages()]
    dirs = repr((str(root), None if src_dirs is None else list(src_dirs)))
    checkout = git_directories(root)
    if checkout is None:
        return _View("", "", " ".join([dirs, *map(_brief, manifests)]))
    _, directory, common = checkout
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    places = (
        common / "info" / "exclude",
        common / "config",
        Path(home) / "git" / "ignore",
        *manifests,
    )
    return _View("git", _brief(directory / "index"), " ".join([dirs, *map(_brief, places)]))


def _brief(path: Path) -> str:
    """A file's stamp as text; one that is too young to trust is like no other."""
    try:
        found = path.stat()
    except OSError:
        return "-"
    now = time.time_ns()
    young = f".{now}" if found.st_mtime_ns + _RACY_NS >= now else ""
    return f"{found.st_mtime_ns}.{found.st_size}.{found.st_ino}{young}"


def stamp(path: str) -> Stamp | None:
    """The stamp of one file, None when it is not there or no regular file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called for every file
    except FileNotFoundError:
        return _UNKNOWN if os.path.islink(path) else None  # noqa: PTH114
    except OSError:
        return _UNKNOWN  # it is there, and cannot be read: that is for the reader to say
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def settled(found: Stamp, read_at: int) -> Stamp:
    """The stamp to store for a file that was read at `read_at` (nanoseconds of the wall clock).

    Git's racy rule: a file as young as the read may change again without its times changing, so
    it is stored as unknown and hashed again next time.
    """
    mtime, ctime, size = found
    newest = max(mtime, ctime)
    slack = _RACY_NS if newest % 1_000_000_000 else 2_000_000_000
    return found if newest + slack < read_at else (-1, ctime, size)


def _stamps(top: str, paths: Iterable[str]) -> dict[str, Stamp]:
    found = {}
    prefix = top + "/"
    status, regular = os.stat, stat.S_ISREG
    for path in paths:
        try:
            seen = status(prefix + path)
        except OSError:
            odd = stamp(prefix + path)
            if odd is not None:
                found[path] = odd
            continue
        if regular(seen.st_mode):
            found[path] = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size)
    return found


def _git(top: str, *arguments: str) -> bytes:
    try:
        return run(
            ["--literal-pathspecs", "ls-files", "-z", *arguments],
            cwd=Path(top),
            timeout=_LISTING_SECONDS,
        ).stdout
    except GitOperationError as error:
        raise IndexerError(
            f"git cannot list the files of {top}: {error.message}",
            hint="run `git ls-files` there to see why",
        ) from error


def _paths(listed: bytes) -> list[str]:
    return os.fsdecode(listed).split("\0")[:-1]


def _below(src_dirs: Sequence[str] | None) -> list[str]:
    return [] if src_dirs is None else ["--", *src_dirs]


def _tracked(top: str, src_dirs: Sequence[str] | None) -> tuple[bytes, str]:
    """What git's index lists, and its digest."""
    import hashlib  # seldom needed, and long to load

    listed = _git(top, "-c", *_below(src_dirs)) if src_dirs is None or src_dirs else b""
    return listed, hashlib.sha256(listed).hexdigest()


def _listed(top: str, src_dirs: Sequence[str] | None) -> tuple[set[str], str]:
    """Every file git sees, of any kind, and the digest of the tracked ones.

    A path ending in "/" is a folder in which git sees no file.
    """
    if src_dirs is not None and not src_dirs:
        return set(), _tracked(top, src_dirs)[1]
    tracked, digest = _tracked(top, src_dirs)
    others = _paths(_git(top, "-o", "--exclude-standard", "--directory", *_below(src_dirs)))
    whole = [path for path in others if path.endswith("/")]
    inside = _paths(_git(top, "-o", "--exclude-standard", "--", *whole)) if whole else []
    return {*_paths(tracked), *others, *inside}, digest


def _folders(top: str, listed: Iterable[str], started: int) -> dict[str, str]:
    """The folders in which a visible file could appear, with their stamps."""
    found = {""}
    for path in listed:
        folder = path.rpartition("/")[0]
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    odd = [path for path in listed if path[-1] == "/" or path.endswith(".gitignore")]
    ignoring = {path[:-11] for path in odd if f"/{path}".endswith("/.gitignore")}
    for folder in [path[:-1] for path in odd if path[-1] == "/"]:
        empty = _empty_folders(top, folder, depth=8)
        found.update(empty)
        ignoring.update(each for each in empty if os.path.exists(f"{top}/{each}/.gitignore"))  # noqa: PTH110
    return {
        folder: _folder_stamp(f"{top}/{folder}", started, ignoring=folder in ignoring)
        for folder in found
    }


def _empty_folders(top: str, folder: str, depth: int) -> list[str]:
    """The folders below one that git shows as a whole, as far as they hold no files.

    Below a repository of its own, and where an ignore file hides all, no file can appear.
    """
    try:
        with os.scandir(f"{top}/{folder}") as entries:
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return []
    found = [folder]
    names = {name for name, _ in inside}
    closed = ".git" in names or (".gitignore" in names and _hides_all(f"{top}/{folder}"))
    for name, is_folder in inside if depth and not closed else ():
        if is_folder:
            found += _empty_folders(top, f"{folder}/{name}", depth - 1)
    return found


def _hides_all(folder: str) -> bool:
    """Whether a folder's own ignore file keeps all of it out of git's sight."""
    try:
        with open(f"{folder}/.gitignore", "rb") as file:
            lines = file.read(4096).split()
    except OSError:
        return False
    return b"*" in lines and not any(line.startswith(b"!") for line in lines)


def _same_folders(top: str, folders: Mapping[str, str]) -> bool:
    return all(
        known == _folder_stamp(f"{top}/{folder}", 0, ignoring=" " in known)
        for folder, known in folders.items()
    )


def _folder_stamp(path: str, started: int, *, ignoring: bool) -> str:
    """A folder's time and that of its ignore file; "?" while too young to trust (0: trust it)."""
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
    """Every Python file below a folder that git does not keep."""
    endings = suffixes()
    starts = [""] if src_dirs is None else [each.strip("/") for each in src_dirs]
    for start in starts:
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
                if name.endswith(endings):
                    yield f"{prefix}/{name}" if prefix else name
