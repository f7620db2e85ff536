"""Change one path of a working tree by compare-and-swap: whole, at once, or not at all.

The new content is ready beside the old before anything is touched; the two change places in one
system call; only then is the old one looked at, and if it is not what was expected, they change
back. Nobody's bytes are overwritten, whenever they were written. It refuses to follow symlinks.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from self_coding.git_safety.objects import object_id

_NOREPLACE = 1
_EXCHANGE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Step:
    """What happens to one path.

    `expected` is what must be there: "" for nothing, "blob MODE ID" for exact bytes, or
    "stat ..." for a file that was verified to be clean. `mode` is "000000" to delete; `digest`
    tells the staged new content (or is "" for a deletion).
    """

    path: str
    mode: str
    expected: str
    digest: str = ""

    @property
    def deletes(self) -> bool:
        """Whether the path goes away."""
        return self.mode == "000000"


def fingerprint(path: Path, object_format: str) -> str:
    """What is at `path` now, as `Step.expected` says it with exact bytes; "" for nothing."""
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            content, mode = os.fsencode(path.readlink()), "120000"
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
            mode = "100755" if status.st_mode & 0o100 else "100644"
        else:
            return "other"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError:
        return "unreadable"
    return f"blob {mode} {object_id('blob', content, object_format)}"


def signature(path: Path) -> str:
    """The identity and age of the file at `path`; "" for nothing."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError:
        return "unreadable"
    kind = "d" if stat.S_ISDIR(status.st_mode) else "f"
    return (
        f"stat {kind} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
        f" {status.st_mode:o}"
    )


def matches(path: Path, expected: str, object_format: str) -> bool:
    """Whether `path` is as expected."""
    if expected.startswith("stat "):
        return signature(path) == expected
    return fingerprint(path, object_format) == expected


def perform(top: Path, staging: Path, number: int, step: Step, object_format: str) -> str:
    """Carry out one step; "" when it is done (now or before a crash), else why it is not.

    `staging` holds the new content as `number`, and takes the old one in.
    """
    if any(not part or part in (".", "..") for part in step.path.split("/")):
        return "not a path inside the working tree"
    staged = staging / f"{number}"
    with _parent(top, step.path, create=not step.deletes) as parent:
        if parent is None:
            gone = step.deletes and not os.path.lexists(top / step.path)
            return "" if gone else "a file or symlink stands where its folder should be"
        name = PurePosixPath(step.path).name
        place = Path(f"/proc/self/fd/{parent}") / name
        if not place.parent.exists():
            place = top / step.path
        if step.deletes:
            return _delete(parent, name, place, staged, step, object_format)
        return _write(parent, name, place, staged, step, object_format)


def _delete(
    parent: int, name: str, place: Path, trash: Path, step: Step, object_format: str
) -> str:
    if not os.path.lexists(place):
        if os.path.lexists(trash) and not matches(trash, step.expected, object_format):
            return _back(trash, parent, name)
        return ""
    if not matches(place, step.expected, object_format):
        return "changed by somebody else since"
    problem = _rename(place, trash, parent, name, into=True)
    if problem:
        return problem
    if not matches(trash, step.expected, object_format):
        return _back(trash, parent, name)
    return ""


def _back(trash: Path, parent: int, name: str) -> str:
    """Put a displaced file of somebody else's back where it was."""
    if _renameat(-100, os.fspath(trash), parent, name, _NOREPLACE) == 0:
        return "changed by somebody else meanwhile"
    return f"changed by somebody else meanwhile; their version is kept at {trash}"


def _write(
    parent: int, name: str, place: Path, staged: Path, step: Step, object_format: str
) -> str:
    present = os.path.lexists(place)
    ready = os.path.lexists(staged) and fingerprint(staged, object_format) == step.digest
    if present and fingerprint(place, object_format) == step.digest:
        return _verify_displaced(parent, name, place, staged, step, object_format, ready=ready)
    if not ready:
        return "changed by somebody else since"
    if not present or not step.expected:
        return _write_new(parent, name, place, staged, step)
    return _write_over(parent, name, place, staged, step, object_format)


def _write_new(parent: int, name: str, place: Path, staged: Path, step: Step) -> str:
    """Put a file where nothing is, or only folders that hold nothing."""
    if step.expected:
        return "deleted by somebody else since"
    if os.path.lexists(place) and not _emptied(place):
        return "something that was not captured is in the way"
    return _rename(place, staged, parent, name, into=False)


def _write_over(
    parent: int, name: str, place: Path, staged: Path, step: Step, object_format: str
) -> str:
    """Put a file where the expected one is."""
    if not matches(place, step.expected, object_format):
        return "changed by somebody else since"
    _keep_permissions(place, staged, step)
    code = _renameat(-100, os.fspath(staged), parent, name, _EXCHANGE)
    if code in _UNSUPPORTED or code == errno.EXDEV:
        return _replace_slowly(parent, name, place, staged, step, object_format)
    if code:
        return os.strerror(code)
    return _verify_displaced(parent, name, place, staged, step, object_format, ready=False)


def _emptied(place: Path) -> bool:
    """Remove folders that hold nothing any more; False when something is in there."""
    if place.is_symlink() or not place.is_dir():
        return False
    for folder, _, files in os.walk(place, topdown=False):
        if files:
            return False
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return True


def _verify_displaced(
    parent: int,
    name: str,
    place: Path,
    staged: Path,
    step: Step,
    object_format: str,
    *,
    ready: bool,
) -> str:
    """After the exchange: the displaced file must be the expected one, else they change back."""
    if ready or not os.path.lexists(staged):
        return ""  # the content was there already, or there was nothing to displace
    if matches(staged, step.expected, object_format):
        return ""
    code = _renameat(-100, os.fspath(staged), parent, name, _EXCHANGE)
    if code:
        return f"changed by somebody else meanwhile; their version is kept at {staged}"
    return "changed by somebody else meanwhile"


def _keep_permissions(place: Path, staged: Path, step: Step) -> None:
    """A private file stays private: only the owner's execute bit is git's business."""
    if step.mode == "120000" or place.is_symlink():
        return
    with suppress(OSError):
        bits = stat.S_IMODE(place.lstat().st_mode)
        if step.mode == "100755":
            bits |= (bits & 0o444) >> 2
        else:
            bits &= ~0o111
        staged.chmod(bits)


def _rename(place: Path, staged: Path, parent: int, name: str, *, into: bool) -> str:
    """Move without replacing: the present file into the staging folder, or the new one out."""
    if into:
        code = _renameat(parent, name, -100, os.fspath(staged), _NOREPLACE)
    else:
        code = _renameat(-100, os.fspath(staged), parent, name, _NOREPLACE)
    if code in _UNSUPPORTED or code == errno.EXDEV:
        return _move_slowly(place, staged, into=into)
    if code == errno.EEXIST:
        return "changed by somebody else meanwhile"
    return os.strerror(code) if code else ""


def _move_slowly(place: Path, staged: Path, *, into: bool) -> str:
    """The same across file systems, or without renameat2: by link, else by copy."""
    source, target = (place, staged) if into else (staged, place)
    if os.path.lexists(target):
        return "changed by somebody else meanwhile"
    try:
        if into:
            shutil.move(os.fspath(source), os.fspath(target))
        else:
            beside = target.with_name(f".{target.name}.self-coding-{os.getpid()}"[-200:])
            shutil.copy2(source, beside, follow_symlinks=False)
            os.link(beside, target, follow_symlinks=False)
            beside.unlink()
            source.unlink()
    except FileExistsError:
        return "changed by somebody else meanwhile"
    except OSError as error:
        return str(error)
    return ""


def _replace_slowly(
    parent: int, name: str, place: Path, staged: Path, step: Step, object_format: str
) -> str:
    """Exchange where the file system cannot: the old one is set aside first."""
    aside = staged.with_name(staged.name + ".old")
    problem = _rename(place, aside, parent, name, into=True)
    if problem:
        return problem
    if not matches(aside, step.expected, object_format):
        _move_slowly(place, aside, into=False)
        return "changed by somebody else meanwhile"
    return _rename(place, staged, parent, name, into=False)


@contextmanager
def _parent(top: Path, path: str, *, create: bool) -> Iterator[int | None]:
    """A descriptor of the path's folder, reached without following any symlink."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in PurePosixPath(path).parts[:-1]:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
            try:
                following = os.open(part, flags, dir_fd=current)
            except OSError:
                yield None
                return
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def prune(top: Path, paths: Iterator[str]) -> None:
    """Remove the folders that deletions have left empty."""
    for path in paths:
        parent = PurePosixPath(path).parent
        while str(parent) != ".":
            if (top / parent).is_symlink():
                break
            try:
                (top / parent).rmdir()
            except OSError:
                break
            parent = parent.parent


def _renameat(old_dir: int, old: str, new_dir: int, new: str, flags: int) -> int:
    """`renameat2`: 0, or the error number."""
    function = getattr(_libc, "renameat2", None)
    if function is None:
        return errno.ENOSYS
    result = function(old_dir, os.fsencode(old), new_dir, os.fsencode(new), flags)
    return ctypes.get_errno() if result else 0
