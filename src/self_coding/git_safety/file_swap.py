"""Change one path of a working tree by compare-and-swap: whole, at once, or not at all.

The new content is staged beside the old before anything is touched; the two change places in one
system call; only then is the old one compared, and if it is not what was expected, they change
back. So no one's bytes are overwritten, whenever they were written. Symlinks are not followed.
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

from self_coding.git_safety.objects import GONE, object_id

CONCURRENT = "modified concurrently"
_SINCE = "modified since it was read"
_AT_FDCWD = -100
_NOREPLACE = 1
_EXCHANGE = 2
# What renameat2 answers where the kernel or the file system lacks it: old kernels, NFS, some FUSE
# and overlay mounts. EXDEV too, since a bind mount inside the tree is another mount to it.
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV)
# By libc, as Python has no renameat2. `use_errno`: errno is then kept for each thread, where
# another call cannot overwrite it before it is read.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class FileStep:
    """What happens to one path.

    `expected` is what must be there: "" for nothing, "blob MODE ID" for exact bytes, or
    "stat ..." for a file that was verified to be clean. `mode` is `GONE` to delete; `digest`
    identifies the staged new content ("" for a deletion).
    """

    path: str
    mode: str
    expected: str
    digest: str = ""

    @property
    def deletes(self) -> bool:
        """Whether the path goes away."""
        return self.mode == GONE


def fingerprint(path: Path, object_format: str) -> str:
    """Return what is at `path` now, in the form of `FileStep.expected`; "" for nothing."""
    try:
        # lstat, here and below: a link is content of its own, whatever it leads to.
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            content, mode = os.fsencode(path.readlink()), "120000"
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
            # Git keeps of all permissions the owner's execute bit alone.
            mode = "100755" if status.st_mode & 0o100 else "100644"
        else:
            # A pipe or socket: to open it would block, or talk to somebody.
            return "other"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError:
        return "unreadable"
    return f"blob {mode} {object_id('blob', content, object_format)}"


def signature(path: Path) -> str:
    """Return identity and age of the file at `path`, without reading it; "" for nothing."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError:
        return "unreadable"
    # No ctime: the rename into the staging folder, after which we compare again, changes it.
    kind = "d" if stat.S_ISDIR(status.st_mode) else "f"
    return (
        f"stat {kind} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
        f" {status.st_mode:o}"
    )


def matches(path: Path, expected: str, object_format: str) -> bool:
    """Return whether `path` is as expected."""
    if expected.startswith("stat "):
        return signature(path) == expected
    return fingerprint(path, object_format) == expected


class FileSwap:
    """One step in one working tree; its new content is `staged`, which takes the old one in."""

    def __init__(self, top: Path, staged: Path, step: FileStep, object_format: str) -> None:
        self.top = top
        self.staged = staged
        self.step = step
        self.object_format = object_format
        self.name = PurePosixPath(step.path).name
        self.place = top / step.path

    def execute(self) -> str:
        """Carry the step out; "" when it is done (now or before a crash), else why it is not."""
        step = self.step
        # The intent is a file that others may write: a step of it must not name `.git/..` or a
        # place outside.
        if any(not part or part in (".", "..") for part in step.path.split("/")):
            return "not a path inside the working tree"
        with _open_parent(self.top, step.path, create=not step.deletes) as parent:
            if parent is None:
                # What shall go and has no folder to be in is gone: after a crash this step is done
                # again.
                gone = step.deletes and not os.path.lexists(self.place)
                return "" if gone else "a file or symlink is in the place of its folder"
            self.parent = parent
            # Through the descriptor: a folder that is exchanged for a symlink now cannot lead us
            # out of the tree.
            # Where /proc is not mounted the path by its names is all there is.
            if Path(f"/proc/self/fd/{parent}").exists():
                self.place = Path(f"/proc/self/fd/{parent}") / self.name
            return self._delete() if step.deletes else self._write()

    def _delete(self) -> str:
        # The look before the move spares an innocent file the detour; the one after it decides.
        if os.path.lexists(self.place):
            if not self._is_expected(self.place):
                return _SINCE
            problem = self._move_in(self.staged)
            if problem:
                return problem
        # Neither here nor there: an earlier run has deleted it, and its staging folder is cleared.
        elif not os.path.lexists(self.staged):
            return ""
        # Compared only now, out of reach of whoever writes to the path. After a crash between
        # the move and this comparison we come here, too.
        if self._is_expected(self.staged):
            return ""
        if rename(_AT_FDCWD, os.fspath(self.staged), self.parent, self.name, _NOREPLACE):
            return f"{CONCURRENT}; their version is kept at {self.staged}"
        return CONCURRENT

    def _write(self) -> str:
        step = self.step
        present = os.path.lexists(self.place)
        # By content, not by a note of progress: after a crash only what is on the disk is certain.
        ready = os.path.lexists(self.staged) and self._fingerprint(self.staged) == step.digest
        if present and self._fingerprint(self.place) == step.digest:
            # Written before a crash, then `staged` is what was displaced; or by someone else.
            return "" if ready else self._check_displaced()
        if not ready or (present and step.expected and not self._is_expected(self.place)):
            return _SINCE
        if step.expected:
            return self._exchange() if present else "deleted since it was read"
        # Git knows no empty folders, so one in the way of a new file holds nothing of anybody's.
        if present and not _remove_empty_folders(self.place):
            return "something that was not captured is in the way"
        return self._move_out()

    def _exchange(self) -> str:
        """Put the new file in the place of the old one, and look at that only then."""
        if self.step.mode != "120000" and not self.place.is_symlink():
            # A private file stays private: only the owner's execute bit is git's business.
            with suppress(OSError):
                bits = stat.S_IMODE(self.place.lstat().st_mode)
                executable = bits | (bits & 0o444) >> 2
                self.staged.chmod(executable if self.step.mode == "100755" else bits & ~0o111)
        # RENAME_EXCHANGE: at no moment is the path missing, and no byte is overwritten.
        code = rename(_AT_FDCWD, os.fspath(self.staged), self.parent, self.name, _EXCHANGE)
        if code not in _UNSUPPORTED:
            return os.strerror(code) if code else self._check_displaced()
        # Without an exchange the path is missing for a moment, between a move in and a move out;
        # still no byte is overwritten, as both refuse to replace.
        aside = self.staged.with_name(self.staged.name + ".old")
        problem = self._move_in(aside)
        if problem:
            return problem
        if not self._is_expected(aside):
            # It was theirs: back to its place, unless they have made another one meanwhile.
            _link_or_copy(aside, self.place)
            return CONCURRENT
        return self._move_out()

    def _check_displaced(self) -> str:
        """After the exchange: the displaced file must be the expected one, or they change back."""
        if not os.path.lexists(self.staged) or self._is_expected(self.staged):
            return ""
        if rename(_AT_FDCWD, os.fspath(self.staged), self.parent, self.name, _EXCHANGE):
            # The way back failed, as the path has been changed once more: say where the bytes are.
            return f"{CONCURRENT}; their version is kept at {self.staged}"
        return CONCURRENT

    def _move_in(self, target: Path) -> str:
        """Move the present file to `target` in the staging folder, replacing nothing."""
        # RENAME_NOREPLACE: `os.rename` would silently replace a file that has just come.
        code = rename(self.parent, self.name, _AT_FDCWD, os.fspath(target), _NOREPLACE)
        if code not in _UNSUPPORTED:
            return _problem(code)
        # Our own staging folder, in which nobody else makes names: a look is enough here.
        if os.path.lexists(target):
            return CONCURRENT
        try:
            shutil.move(os.fspath(self.place), os.fspath(target))
        except OSError as error:
            return str(error)
        return ""

    def _move_out(self) -> str:
        """Move the new file from the staging folder to its place, replacing nothing."""
        code = rename(_AT_FDCWD, os.fspath(self.staged), self.parent, self.name, _NOREPLACE)
        return _link_or_copy(self.staged, self.place) if code in _UNSUPPORTED else _problem(code)

    def _fingerprint(self, path: Path) -> str:
        return fingerprint(path, self.object_format)

    def _is_expected(self, path: Path) -> bool:
        return matches(path, self.step.expected, self.object_format)


def _problem(code: int) -> str:
    """Return the error number of a move that replaces nothing as text, "" for success."""
    return CONCURRENT if code == errno.EEXIST else os.strerror(code) if code else ""


def _link_or_copy(source: Path, target: Path) -> str:
    """Move across file systems, or without renameat2; `link` refuses to replace, as rename does."""
    if os.path.lexists(target):
        return CONCURRENT
    try:
        # Whole before it has its name: a reader of the target never sees half a file.
        beside = target.with_name(f".{target.name}.self-coding-{os.getpid()}"[-200:])
        shutil.copy2(source, beside, follow_symlinks=False)
        os.link(beside, target, follow_symlinks=False)
        beside.unlink()
        source.unlink()
    except FileExistsError:
        return CONCURRENT
    except OSError as error:
        return str(error)
    return ""


def _remove_empty_folders(place: Path) -> bool:
    """Remove folders that hold no file; False where there is one."""
    if place.is_symlink() or not place.is_dir():
        return False
    # From below, as `rmdir` takes empty folders only; a file that comes meanwhile makes it fail.
    for folder, _, files in os.walk(place, topdown=False):
        if files:
            return False
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return True


@contextmanager
def _open_parent(top: Path, path: str, *, create: bool) -> Iterator[int | None]:
    """Open the path's folder without following a symlink; None where there is none."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    # The top itself may be reached through a link, a user's own; only what is below must not be
    # one.
    current = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in PurePosixPath(path).parts[:-1]:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
            # Descend by descriptors with O_NOFOLLOW: checking a path first and opening it later
            # leaves a gap in which a folder can become a symlink.
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


def prune(top: Path, path: str) -> None:
    """Remove the folders that the deletion of `path` has left empty."""
    # Upwards, until one holds something or is a link: what is behind that is not ours.
    for parent in PurePosixPath(path).parents:
        if str(parent) == "." or (top / parent).is_symlink():
            return
        try:
            (top / parent).rmdir()
        except OSError:
            return


def rename(old_dir: int, old: str, new_dir: int, new: str, flags: int) -> int:
    """Call `renameat2`; 0, or the error number."""
    function = getattr(_libc, "renameat2", None)
    if function is None:
        return errno.ENOSYS
    result = function(old_dir, os.fsencode(old), new_dir, os.fsencode(new), flags)
    return ctypes.get_errno() if result else 0
