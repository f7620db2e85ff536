"""One repository and one checkout of it: its folders, where HEAD is, what names mean.

Read-only: nothing here changes a ref, an index or a file of the user. Names that git could read
as an option, a magic pathspec, another ref or a path outside the repository are refused before
git sees them.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from self_coding.adapters.git import ZERO, Git, Settings, decode, encode, fields, run
from self_coding.adapters.paths import FOLDER
from self_coding.errors import GitNotRepositoryError, GitOperationError
from self_coding.git_safety.log import Log

#: Files in a git directory that exist while a person is in the middle of something.
_STATES = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "sequencer": "sequence of picks",
}


@dataclass(frozen=True)
class Head:
    """Where HEAD is: a commit ("" when unborn) and a branch ("" when detached)."""

    commit: str
    branch: str

    @property
    def ref(self) -> str:
        """The ref that a commit here moves: the branch, or HEAD itself when detached."""
        return f"refs/heads/{self.branch}" if self.branch else "HEAD"

    @property
    def target(self) -> str:
        """What HEAD names: the branch as a full ref, or a commit."""
        return self.ref if self.branch else self.commit


class Repository:
    """A checkout at `top` of the repository whose common git directory is `common`.

    `session` marks the operations of this object in the log; `folder` holds our own files.
    """

    def __init__(
        self,
        git: Git,
        *,
        repo_path: Path,
        object_format: str,
        main: str,
        actor: str,
        session: str,
        log: Log,
    ) -> None:
        self._git = git
        self._config_files: list[Path] = []
        self._config_stamps: list[tuple[int, int, int] | None] = []
        self.repo_path = repo_path
        self.object_format = object_format
        self.main = main
        self.actor = actor
        self.session = session
        self.log = log
        self.folder = git.common / FOLDER
        self.chain = self.folder  # of the receipts; those of a remote are in a folder of their own
        self.directory = git.directory
        self.common = git.common
        self.main_ref = f"refs/heads/{main}"
        self.zero = ZERO[object_format]  # the object id that means "no such ref"

    @property
    def git(self) -> Git:
        """Git in this checkout, with the configuration as it is now."""
        # A person may edit the configuration between two calls, and a filter that they add must not
        # run. Stamps of the files cost microseconds, `git config --list` a process.
        stamps = [_stamp(path) for path in self._config_files]
        if not stamps or stamps != self._config_stamps:
            # Without the present settings: `config --list` would show our own switches as theirs.
            settings, self._config_files = _read_settings(replace(self._git, settings=Settings()))
            self._git = replace(self._git, settings=settings)
            self._config_stamps = [_stamp(path) for path in self._config_files]
        return self._git

    @property
    def top(self) -> Path:
        """The working tree."""
        if self._git.top is None:
            raise GitOperationError(
                f"{self.repo_path} is a bare repository: it has no working tree",
                hint="work in a clone or in a linked worktree of it",
            )
        return self._git.top

    @property
    def has_tree(self) -> bool:
        """Whether there is a working tree."""
        return self._git.top is not None and self._git.top.is_dir()

    def at(self, top: Path, directory: Path) -> Repository:
        """Return the same repository seen from another of its checkouts."""
        # A shallow copy: the log, the settings and the session are the repository's, not a
        # checkout's.
        other = copy(self)
        other._git = replace(self._git, top=top, directory=directory)
        other.repo_path, other.directory = top, directory
        return other

    def onto(self, branch: str) -> Repository:
        """Return the same checkout with another branch in main's place."""
        other = copy(self)
        other.main, other.main_ref = check_branch(branch), f"refs/heads/{branch}"
        return other

    def head(self) -> Head:
        """Return where HEAD is now."""
        branch = self.head_branch()
        if branch:
            return Head(self.tips([f"refs/heads/{branch}"])[0], branch)
        return Head(self.resolve(["HEAD"])[0], "")

    def head_branch(self) -> str:
        """Return the branch HEAD names, born or not; empty when detached."""
        # Git itself reads HEAD this way, but for a symlink and for reftable; those are left to git.
        path = self.directory / "HEAD"
        text = decode(path.read_bytes()).strip() if not path.is_symlink() else ""
        prefix = "ref: refs/heads/"
        if text.startswith(prefix) and text != f"{prefix}.invalid":  # what reftable puts there
            return text[len(prefix) :]
        if text and not text.startswith("ref:"):
            return ""
        done = self._git.run("symbolic-ref", "-q", "HEAD", ok=(0, 1))
        return decode(done.stdout).strip().removeprefix("refs/heads/")

    def head_target(self) -> str:
        """Return what HEAD names: a full ref, or a commit."""
        branch = self.head_branch()
        return f"refs/heads/{branch}" if branch else self.head().commit

    def born(self) -> Head:
        """Return where HEAD is, for what needs a commit there."""
        head = self.head()
        if not head.commit:
            raise GitOperationError(
                "the repository has no commit on HEAD yet", hint="make a first commit"
            )
        return head

    def tips(self, refs: Sequence[str]) -> list[str]:
        """Return the ids that full refs hold, "" for each that does not exist.

        Read as git stores them, which costs no process; anything unusual is left to git.
        """
        # Loose refs go before packed ones: git writes a moved ref loose and packs it later.
        if (self.common / "reftable").exists():
            return self.resolve(refs)
        packed: dict[str, str] | None = None
        ids = []
        for ref in refs:
            try:
                text = decode((self.common / ref).read_bytes()).strip()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                if packed is None:
                    packed = {}
                    with suppress(FileNotFoundError):
                        for line in decode((self.common / "packed-refs").read_bytes()).splitlines():
                            if line and line[0] not in "#^":  # a comment, or what a tag points to
                                oid, name = line.split(" ", 1)
                                packed[name] = oid
                text = packed.get(ref, "")
            # A symbolic ref, or half a write of somebody else's tool.
            if text and len(text) != len(self.zero):
                return self.resolve(refs)
            ids.append(text)
        return ids

    def resolve(self, revisions: Sequence[str], kind: str = "commit") -> list[str]:
        """Return the object ids of revisions, "" for each that does not exist; one process."""
        # `cat-file --batch-check` answers one line for each, missing ones too; `rev-parse` would
        # stop at the first that is missing.
        lines = [f"{check_revision(revision)}^{{{kind}}}" for revision in revisions]
        done = self._git.run(
            "cat-file", "--batch-check=%(objectname) ok", stdin=encode("\n".join(lines) + "\n")
        )
        answers = decode(done.stdout).splitlines()
        return [line[:-3] if line.endswith(" ok") else "" for line in answers]

    def commit(self, revision: str) -> str:
        """Return the commit that `revision` names; a branch goes before a tag."""
        check_revision(revision)
        try:
            branch, other = self.resolve([f"refs/heads/{revision}", revision])
        except GitOperationError:
            if "@{" not in revision:  # git dies of a reflog that is shorter than that
                raise
            branch = other = ""
        if not branch and not other:
            raise GitOperationError(
                f"there is no commit called {revision!r}",
                hint="give a branch, a tag or a commit hash of this repository",
            )
        return branch or other

    def branch(self, name: str) -> str:
        """Return the tip of the branch `name`."""
        [tip] = self.tips([f"refs/heads/{check_branch(name)}"])
        if not tip:
            head = self.head()
            unborn = not head.commit and head.branch == name
            hint = "make a first commit" if unborn else "`git branch` lists the branches"
            raise GitOperationError(f"there is no branch called {name!r}", hint=hint)
        return tip

    def is_ancestor(self, old: str, new: str) -> bool:
        """Return whether the history of `new` contains `old`; False where one is missing."""
        # Exit status 1 is no, 128 is a commit that is not here: both mean that it is not contained.
        return self.git.run("merge-base", "--is-ancestor", old, new, ok=()).returncode == 0

    def state(self) -> str:
        """Return what a person is in the middle of here ("merge", "rebase", ...), or ""."""
        present = [name for name in _STATES if (self.directory / name).exists()]
        return _STATES[present[0]] if present else ""

    def state_mark(self) -> str:
        """Return text that is equal as long as the unfinished operation is the same one."""
        marks = []
        for name in _STATES:
            path = self.directory / name
            if path.is_file():
                marks.append(f"{name}={decode(path.read_bytes()).strip()}")
            elif path.is_dir():
                marks.append(name)
        return ";".join(marks)

    def check_idle(self, doing: str) -> None:
        """Refuse while a merge, rebase or the like is in progress here."""
        state = self.state()
        if state:
            raise GitOperationError(
                f"a {state} is in progress here; {doing} would destroy it",
                hint=f"finish or abort the {state} first",
            )

    def index_digest(self) -> str:
        """Return a digest of this checkout's raw index; "" when there is none."""
        return file_digest(self.directory / "index")

    def path(self, given: str | Path) -> str:
        """Return a caller's path, absolute or relative to `repo_path`, relative to the top.

        In a sub-directory a path that only exists relative to the top counts from there.
        """
        text = os.fspath(given)
        top = self.top
        if Path(text).is_absolute():
            # The parent alone: a link at the path itself is the file that is meant.
            parent = Path(text).parent.resolve()
            if not parent.is_relative_to(top):
                raise GitOperationError(
                    f"{text!r} is not inside the working tree", hint=f"the tree is at {top}"
                )
            return check_path((parent / Path(text).name).relative_to(top).as_posix())
        below = self.repo_path.relative_to(top).as_posix()
        if below == ".":
            return check_path(text)
        inner = check_path(f"{below}/{text}") if text else check_path(text)
        tracked = os.path.lexists(top / inner) or fields(
            self._git.run("ls-files", "-z", "--", inner).stdout
        )
        return inner if tracked or not os.path.lexists(top / text) else check_path(text)

    def checkouts(self) -> Iterable[Repository]:
        """Yield every checkout of this repository that has a working tree, this one first."""
        yield self
        main_top = self.common.parent
        if self.common.name == ".git" and self.directory != self.common and main_top.is_dir():
            yield self.at(main_top, self.common)
        folder = self.common / "worktrees"
        # The registrations are read, not `git worktree list`: it runs for every operation.
        for directory in sorted(folder.iterdir()) if folder.is_dir() else []:
            pointer = directory / "gitdir"
            # A registration without its pointer is one that git is just making, or that a crash
            # left.
            if directory == self.directory or not pointer.is_file():
                continue
            top = Path(decode(pointer.read_bytes()).strip()).parent
            if top.is_dir():
                yield self.at(top, directory)


def discover(repo_path: Path | str | None, *, main: str, actor: str = "") -> Repository:
    """Return the repository around `repo_path` (default: the working directory)."""
    path = Path(repo_path if repo_path is not None else Path.cwd()).resolve()
    if not path.is_dir():
        raise GitNotRepositoryError(f"{path} is not a directory", hint="give a repository's path")
    # Asked of git, once per object: it alone applies safe.directory and core.worktree.
    asked = ["--is-bare-repository", "--absolute-git-dir", "--git-common-dir"]
    asked += ["--show-object-format", "--show-toplevel"]
    done = run(["rev-parse", *asked], cwd=path, ok=None, timeout=30.0)
    lines = decode(done.stdout).split("\n")
    # In a bare repository git answers all but the last question, and fails at that.
    if len(lines) < 5 or (done.returncode != 0 and lines[0] != "true"):
        said = decode(done.stderr, errors="replace").strip().splitlines()
        # Git's own way out where it has one: the repository of somebody else is one to trust.
        advice = next((line.strip() for line in said if "safe.directory" in line), "")
        raise GitNotRepositoryError(
            f"{path} is not in a git repository" + (f" ({said[0]})" if said else ""),
            hint=advice or "run `git init`, or give the path of a repository",
        )
    directory = Path(lines[1]).resolve()
    top = Path(lines[4]).resolve() if done.returncode == 0 and lines[4] else None
    common = (path / lines[2]).resolve()
    if top is not None and not path.is_relative_to(top):
        raise GitNotRepositoryError(
            f"{path} is not inside its repository's working tree {top}",
            hint="its core.worktree names another folder; give that one",
        )
    session = uuid.uuid4().hex
    return Repository(
        Git(directory=directory, common=common, top=top),
        repo_path=path,
        object_format=lines[3] if lines[3] in ZERO else "sha1",
        main=check_branch(main),
        actor=actor,
        session=session,
        log=Log(common / FOLDER, actor=actor, session=session),
    )


def check_branch(name: str) -> str:
    """Return `name` when it can be the name of a branch and of nothing else."""
    parts = name.split("/")
    wrong = (
        name.startswith(("-", "refs/"))
        or name in ("@", "HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD")
        or re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//", name) is not None
        or name.endswith(".")
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
        or any(len(part.encode("utf-8", "surrogateescape")) > 240 for part in parts)
    )
    if wrong:
        raise GitOperationError(
            f"{name!r} cannot be the name of a branch",
            hint="use letters, digits, '-', '_', '.' and '/', not beginning with '-'",
        )
    return name


def check_revision(revision: str) -> str:
    """Return `revision` when git can only read it as a revision."""
    if not revision or revision.startswith("-") or re.search(r"[\x00-\x1f\x7f]", revision):
        raise GitOperationError(
            f"{revision!r} cannot be a revision", hint="give a branch, a tag or a commit hash"
        )
    return revision


def check_path(path: str) -> str:
    """Return `path` as a repository-relative POSIX path inside the working tree."""
    pure = PurePosixPath(path)
    wrong = (
        not path
        or "\x00" in path
        or pure.is_absolute()
        or ".." in pure.parts
        or any(part.lower().rstrip(" .") in (".git", "git~1") for part in pure.parts)
    )
    if wrong:
        raise GitOperationError(
            f"{path!r} is not inside the working tree",
            hint="give paths relative to the repository, outside of .git",
        )
    return pure.as_posix()


def check_attempt(name: str) -> str:
    """Return `name` when it can be part of a ref and of a folder name."""
    odd = not name or name.startswith((".", "-")) or re.search(r"[^A-Za-z0-9_.-]", name)
    if odd or ".." in name:
        raise GitOperationError(
            f"{name!r} cannot be the name of an attempt",
            hint="use letters, digits, '-', '_' and '.'",
        )
    return check_branch(name)


def check_message(message: str) -> bytes:
    """Return a commit message as bytes."""
    if not message.strip() or "\x00" in message:
        raise GitOperationError("a commit needs a message", hint="say in words what changed")
    return message.encode("utf-8", "surrogateescape").rstrip(b"\n") + b"\n"


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes; "" when there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read_settings(git: Git) -> tuple[Settings, list[Path]]:
    """Read the effective configuration, and list every file that it depends on, missing ones too.

    As long as none of these files changes, git need not be asked again.
    """
    home = Path(os.environ.get("HOME") or "/")
    at_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git" / "config"
    files = [git.common / "config", git.directory / "config.worktree", home / ".gitconfig", at_home]
    named = [os.environ.get(name) for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")]
    files += [Path(name) for name in named if name]
    values = {}
    parts = decode(git.run("config", "--list", "--show-origin", "-z").stdout).split("\0")
    for origin, entry in zip(parts[::2], parts[1::2], strict=False):
        key, _, value = entry.partition("\n")
        values[key] = value
        source = (git.top or git.directory) / origin.removeprefix("file:")
        files.append(source)
        if key.startswith("include") and key.endswith(".path"):
            files.append(source.parent / Path(value).expanduser())
    return Settings(values), list(dict.fromkeys(files))
