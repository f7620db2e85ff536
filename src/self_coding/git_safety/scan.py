"""Looking at a working tree byte for byte, through a private index that lives on.

A private git directory in which every conversion is off stands beside the repository's own. It
refuses to write anywhere else, and to store what is not a file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters.git import Git, decode, encode, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.objects import Difference
from self_coding.git_safety.repository import Repository

_EXACT = "* -text -eol -filter -ident -working-tree-encoding -crlf\n"
_HOME_LIMIT = 2000
_CARRIED = (
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.excludesfile",
)


@dataclass
class Scan:
    """One look at the working tree through the private index."""

    worktree: str
    fresh: frozenset[str]
    uncaptured: dict[str, str]
    changes: tuple[Difference, ...] = ()


def exact_git(repo: Repository) -> Git:
    """Git with a private directory for this checkout in which no conversion takes place."""
    key = hashlib.sha256(os.fsencode(repo.directory)).hexdigest()[:16]
    private = repo.folder / "capture" / key
    wanted = {
        "HEAD": "ref: refs/heads/none\n",
        "config": _private_config(repo.object_format),
        "info/attributes": _EXACT,
        "info/exclude": _exclude(repo),
    }
    try:
        for name in ("refs", "objects", "info"):
            (private / name).mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            path = private / name
            data = encode(text)
            if not path.exists() or path.read_bytes() != data:
                spare = path.with_name(path.name + ".new")
                spare.write_bytes(data)
                spare.replace(path)
        (private / "index.lock").unlink(missing_ok=True)  # nobody but us works here
    except OSError as error:
        raise GitOperationError(
            f"cannot write into {private}: {error}",
            hint="make room on the disk, or the git directory writable",
        ) from error
    git = repo.git
    carried = [
        f"{key}={git.settings.values[key]}" for key in _CARRIED if key in git.settings.values
    ]
    return replace(
        git,
        directory=private,
        common=private,
        index=private / "index",
        objects=repo.common / "objects",
        config=("core.autocrlf=false", "core.eol=lf", "core.bare=false", *carried),
    )


def _private_config(object_format: str) -> str:
    if object_format == "sha1":
        return "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
    return (
        "[core]\n\trepositoryformatversion = 1\n\tbare = false\n"
        f"[extensions]\n\tobjectformat = {object_format}\n"
    )


def _exclude(repo: Repository) -> str:
    try:
        return decode((repo.common / "info" / "exclude").read_bytes())
    except OSError:
        return ""


def look(private: Git, repo: Repository, limit: int) -> Scan:
    """Bring the private index up to the working tree and store what is new as objects."""
    assert private.index is not None
    if not private.index.exists():
        _seed(private, repo)
    scan = _scanned(private, repo, limit)
    if scan is None:  # objects that only old snapshots held are gone: look at everything anew
        private.index.unlink(missing_ok=True)
        _seed(private, repo)
        scan = _scanned(private, repo, limit)
    if scan is None:
        raise GitOperationError("the captured tree could not be stored", hint="see `git fsck`")
    return scan


def _scanned(private: Git, repo: Repository, limit: int) -> Scan | None:
    done = private.run("ls-files", "-t", "-o", "-m", "-d", "-z", "--exclude-standard")
    tags: dict[str, str] = {}
    for part in fields(done.stdout):
        tags[part[2:]] = "R" if tags.get(part[2:]) == "R" else part[0]
    _not_a_home(repo.top, sum(tag == "?" for tag in tags.values()))
    uncaptured: dict[str, str] = {}
    wanted: list[str] = []
    for path, tag in tags.items():
        reason = _why_not(repo.top / path, path, untracked=tag == "?", limit=limit)
        if reason:
            uncaptured[path] = reason
        if not path.endswith("/") and (not reason or tag != "?"):
            wanted.append(path)
    gone = {path for path in wanted if path in uncaptured or not is_entry(repo.top, path)}
    forget(private, sorted(gone))
    _update(private, [path for path in wanted if path not in gone], uncaptured)
    done = private.run("write-tree", ok=())
    if done.returncode != 0:
        return None
    return Scan(
        worktree=decode(done.stdout).strip(),
        fresh=frozenset(path for path, tag in tags.items() if tag == "?"),
        uncaptured=uncaptured,
    )


def _not_a_home(top: Path, untracked: int) -> None:
    """A repository around a whole home directory or disk is not swallowed.

    Raises:
        GitOperationError: it is one, and nearly all of it is untracked.
    """
    if untracked > _HOME_LIMIT and top in (Path("/"), Path("~").expanduser()):
        raise GitOperationError(
            f"{top} holds {untracked} untracked files and is a whole home or disk",
            hint="ignore what is not the repository's, then try again",
        )


def _seed(private: Git, repo: Repository) -> None:
    """First time: what the user tracks is captured even where it is ignored."""
    tracked = repo.git.run("ls-files", "-z").stdout
    present = [path for path in fields(tracked) if _is_file(repo.top, path)]
    _update(private, sorted(set(present)), {})


def _is_file(top: Path, path: str) -> bool:
    if not reachable(top, path):
        return False
    mode = (top / path).lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _why_not(path: Path, name: str, *, untracked: bool, limit: int) -> str:
    """Why a path cannot be captured, or ""."""
    if name.endswith("/"):
        return "a nested repository; its content is its own"
    try:
        status = path.lstat()
    except OSError:
        return ""
    if stat.S_ISREG(status.st_mode):
        if untracked and status.st_size > limit:
            return f"larger than {limit} bytes"
        return "" if os.access(path, os.R_OK) else "unreadable"
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and not untracked):
        return ""
    return "not a file"


def _update(private: Git, paths: Sequence[str], uncaptured: dict[str, str]) -> None:
    """Put the present content of paths into the private index, one by one where git balks."""
    if not paths:
        return
    command = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
    done = private.run(*command, stdin=encode("\0".join(paths) + "\0"), ok=())
    if done.returncode == 0:
        return
    if len(paths) == 1:
        said = decode(done.stderr, errors="replace").strip().splitlines()
        if "unable to write" in " ".join(said).lower() or "no space" in " ".join(said).lower():
            raise GitOperationError(
                f"cannot store {paths[0]!r}: {said[0]}", hint="make room on the disk"
            )
        uncaptured[paths[0]] = said[0] if said else "git could not read it"
        return
    middle = len(paths) // 2
    _update(private, paths[:middle], uncaptured)
    _update(private, paths[middle:], uncaptured)


def reachable(top: Path, path: str) -> bool:
    """Whether something is at `path`, and not behind a symlink on the way."""
    place = top
    for part in path.split("/")[:-1]:
        place /= part
        if place.is_symlink() or not place.is_dir():
            return False
    return os.path.lexists(top / path)


def is_entry(top: Path, path: str) -> bool:
    """Whether something that an index can hold is at `path`: no folder, but a nested repository."""
    place = top / path
    folder = place.is_dir() and not place.is_symlink() and not (place / ".git").exists()
    return reachable(top, path) and not folder


def forget(private: Git, paths: Iterable[str]) -> None:
    """Take paths out of an index, whatever is on the disk."""
    data = "".join(f"{path}\0" for path in paths)
    if data:
        private.run("update-index", "--force-remove", "-z", "--stdin", stdin=encode(data))


def reconcile(repo: Repository, private: Git, scan: Scan, index: str) -> Scan:
    """Add what is tracked though ignored; drop what has become ignored since it was captured."""
    git = repo.git
    if index == scan.worktree:
        return scan
    changes: tuple[Difference, ...] = ()
    if index:
        changes = tuple(objects.differences(git, index, scan.worktree))
        extra = [change.path for change in changes if change.status == "A"]
        missing = [change.path for change in changes if change.status == "D" and not change.is_link]
    else:
        ours = set(fields(private.run("ls-files", "-z").stdout))
        theirs = set(fields(git.run("ls-files", "-z").stdout))
        extra, missing = sorted(ours - theirs), sorted(theirs - ours)
    old = [path for path in extra if path not in scan.fresh]
    gone = _ignored(private, old)
    back = [p for p in missing if p not in scan.uncaptured and _is_file(repo.top, p)]
    for path in set(missing) - set(back):
        place = repo.top / path
        if reachable(repo.top, path) and not place.is_dir():
            scan.uncaptured.setdefault(path, "not a file")
    if not gone and not back:
        return replace(scan, changes=changes)
    forget(private, gone)
    _update(private, back, scan.uncaptured)
    worktree = private.text("write-tree")
    changes = tuple(objects.differences(git, index, worktree)) if index else ()
    return replace(scan, worktree=worktree, changes=changes)


def _ignored(private: Git, paths: Sequence[str]) -> list[str]:
    return ignored(private, paths, "--no-index")


def ignored(git: Git, paths: Sequence[str], *flags: str) -> list[str]:
    """Those of `paths` that git ignores."""
    if not paths:
        return []
    data = encode("".join(f"./{path}\0" for path in paths))  # "./": no magic, no option
    env = {"GIT_LITERAL_PATHSPECS": "0"}  # check-ignore refuses to work with it
    done = git.run("check-ignore", *flags, "-z", "--stdin", stdin=data, ok=(0, 1), env=env)
    return [path[2:] for path in fields(done.stdout)]


def scratch(repo: Repository, name: str) -> Path:
    """A path for a temporary file of ours, in a folder of this process."""
    folder = repo.folder / "tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GitOperationError(f"cannot write into {folder}: {error}") from error
    return folder / f"{name}-{os.getpid()}-{time.monotonic_ns()}"


def discard(path: Path) -> None:
    """Remove a folder of ours, whatever its permissions."""

    def allow(function: object, name: str, _: object) -> None:
        with suppress(OSError):
            Path(name).parent.chmod(0o700)
            Path(name).chmod(0o700)
            if Path(name).is_dir():
                shutil.rmtree(name, ignore_errors=True)
            else:
                Path(name).unlink(missing_ok=True)

    shutil.rmtree(path, onerror=allow)
