"""One repository and one checkout of it: where things lie, where HEAD is, what names mean.

Read-only: it resolves and describes. Nothing here changes a ref, an index or a file of the user.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from self_coding.adapters.git import (
    ZERO,
    Git,
    Settings,
    decode,
    encode,
    fields,
    run,
)
from self_coding.adapters.paths import FOLDER
from self_coding.errors import GitNotRepositoryError, GitOperationError
from self_coding.git_safety.log import Log
from self_coding.git_safety.names import check_branch, check_path, check_revision

#: Files in a git directory that say a person is in the middle of something.
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
        """The ref HEAD stands on, or HEAD itself."""
        return f"refs/heads/{self.branch}" if self.branch else "HEAD"


class Repository:
    """A checkout at `top` of the repository whose common git directory is `common`.

    `session` tells this object's operations from everybody else's; `folder` holds our files.
    """

    def __init__(
        self, git: Git, *, repo_path: Path, object_format: str, main: str, actor: str, session: str
    ) -> None:
        self._git = git
        self.log: Log | None = None  # opened by the first who writes into it
        self._settings = git.settings
        self._files: list[Path] = []
        self._stamps: list[tuple[int, int, int] | None] = []
        self.repo_path = repo_path
        self.object_format = object_format
        self.main = main
        self.actor = actor
        self.session = session
        self.folder = git.common / FOLDER

    @property
    def git(self) -> Git:
        """Git in this checkout, with the configuration as it is now."""
        if not self._files or [_stamp(path) for path in self._files] != self._stamps:
            self._settings, self._files = _settings(self._git)
            self._stamps = [_stamp(path) for path in self._files]
        return replace(self._git, settings=self._settings)

    @property
    def top(self) -> Path:
        """The working tree.

        Raises:
            GitOperationError: the repository is bare.
        """
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

    @property
    def directory(self) -> Path:
        """This checkout's git directory."""
        return self._git.directory

    @property
    def common(self) -> Path:
        """The repository's git directory, which all its checkouts share."""
        return self._git.common

    @property
    def zero(self) -> str:
        """The object id that stands for "no such ref"."""
        return ZERO[self.object_format]

    @property
    def main_ref(self) -> str:
        """The ref of the main branch."""
        return f"refs/heads/{self.main}"

    def at(self, top: Path, directory: Path) -> Repository:
        """The same repository seen from another of its checkouts."""
        git = replace(self._git, top=top, directory=directory)
        other = Repository(
            git,
            repo_path=top,
            object_format=self.object_format,
            main=self.main,
            actor=self.actor,
            session=self.session,
        )
        other.log = self.log
        other._settings, other._files, other._stamps = self._settings, self._files, self._stamps
        return other

    def head(self) -> Head:
        """Where HEAD is now."""
        branch = self.head_branch()
        if branch:
            return Head(self.tips([f"refs/heads/{branch}"])[0], branch)
        return Head(self.resolve(["HEAD"])[0], "")

    def head_branch(self) -> str:
        """The branch HEAD names, born or not; empty when detached."""
        path = self.directory / "HEAD"
        text = decode(path.read_bytes()).strip() if not path.is_symlink() else ""
        prefix = "ref: refs/heads/"
        if text.startswith(prefix) and text != f"{prefix}.invalid":
            return text[len(prefix) :]
        if text and not text.startswith("ref:"):
            return ""
        done = self._git.run("symbolic-ref", "-q", "HEAD", ok=(0, 1))
        return decode(done.stdout).strip().removeprefix("refs/heads/")

    def tips(self, refs: Sequence[str]) -> list[str]:
        """The ids that full refs hold, "" for each that does not exist.

        Read as git stores them, which costs no process; anything unusual is left to git.
        """
        if (self.common / "reftable").exists():
            return self.resolve(refs)
        packed: dict[str, str] | None = None
        found = []
        for ref in refs:
            text = self._loose(ref)
            if text is None:
                packed = _packed(self.common / "packed-refs") if packed is None else packed
                text = packed.get(ref, "")
            if text and len(text) != len(self.zero):
                return self.resolve(refs)
            found.append(text)
        return found

    def _loose(self, ref: str) -> str | None:
        try:
            return decode((self.common / ref).read_bytes()).strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def born(self) -> Head:
        """Where HEAD is, for what needs a commit there.

        Raises:
            GitOperationError: there is no commit yet.
        """
        head = self.head()
        if not head.commit:
            raise GitOperationError(
                "the repository has no commit on HEAD yet", hint="make a first commit"
            )
        return head

    def resolve(self, revisions: Sequence[str], kind: str = "commit") -> list[str]:
        """The object ids of revisions, "" for each that does not exist; one process for all."""
        lines = [f"{check_revision(revision)}^{{{kind}}}" for revision in revisions]
        done = self._git.run(
            "cat-file", "--batch-check=%(objectname) ok", stdin=encode("\n".join(lines) + "\n")
        )
        answers = decode(done.stdout).splitlines()
        return [line[:-3] if line.endswith(" ok") else "" for line in answers]

    def commit(self, revision: str) -> str:
        """The commit that `revision` names; a branch goes before a tag.

        Raises:
            GitOperationError: there is no such commit.
        """
        check_revision(revision)
        try:
            branch, other = self.resolve([f"refs/heads/{revision}", revision])
        except GitOperationError:
            if "@{" not in revision:  # of a reflog that ends earlier git dies
                raise
            branch = other = ""
        if not branch and not other:
            raise GitOperationError(
                f"there is no commit called {revision!r}",
                hint="give a branch, a tag or a commit hash of this repository",
            )
        return branch or other

    def branch(self, name: str) -> str:
        """The tip of the branch `name`.

        Raises:
            GitOperationError: there is no such branch.
        """
        [tip] = self.tips([f"refs/heads/{check_branch(name)}"])
        if not tip:
            head = self.head()
            unborn = not head.commit and head.branch == name
            hint = "make a first commit" if unborn else "see `git branch` for those there are"
            raise GitOperationError(f"there is no branch called {name!r}", hint=hint)
        return tip

    def state(self) -> str:
        """What a person is in the middle of here ("merge", "rebase", ...), or ""."""
        present = [name for name in _STATES if (self.directory / name).exists()]
        return _STATES[present[0]] if present else ""

    def state_mark(self) -> str:
        """Text that is equal as long as the unfinished operation is the same one."""
        marks = []
        for name in _STATES:
            path = self.directory / name
            if path.is_file():
                marks.append(f"{name}={decode(path.read_bytes()).strip()}")
            elif path.is_dir():
                marks.append(name)
        return ";".join(marks)

    def at_rest(self, doing: str) -> None:
        """Make sure that nobody is in the middle of a merge, rebase or the like here.

        Raises:
            GitOperationError: somebody is; it was left alone.
        """
        state = self.state()
        if state:
            raise GitOperationError(
                f"a {state} is in progress here; {doing} would destroy it",
                hint=f"finish or abort the {state} first",
            )

    def path(self, given: str | Path) -> str:
        """A caller's path as one of the repository: relative to `repo_path`, or absolute.

        In a sub-directory a path that only exists relative to the top counts from there.

        Raises:
            GitOperationError: it lies outside of the working tree.
        """
        text = os.fspath(given)
        top = self.top
        if Path(text).is_absolute():
            parent = Path(text).parent.resolve()
            if not parent.is_relative_to(top):
                raise GitOperationError(
                    f"{text!r} lies outside of the working tree", hint=f"it is at {top}"
                )
            return check_path((parent / Path(text).name).relative_to(top).as_posix())
        below = self.repo_path.relative_to(top).as_posix()
        if below == ".":
            return check_path(text)
        inner = check_path(f"{below}/{text}") if text else check_path(text)
        known = os.path.lexists(top / inner) or bool(self._tracked(inner))
        return inner if known or not os.path.lexists(top / text) else check_path(text)

    def _tracked(self, path: str) -> list[str]:
        return fields(self._git.run("ls-files", "-z", "--", path).stdout)

    def checkouts(self) -> Iterable[Repository]:
        """Every checkout of this repository that has a working tree, this one first."""
        yield self
        main_top = self.common.parent
        if self.common.name == ".git" and self.directory != self.common and main_top.is_dir():
            yield self.at(main_top, self.common)
        folder = self.common / "worktrees"
        for directory in sorted(folder.iterdir()) if folder.is_dir() else []:
            pointer = directory / "gitdir"
            if directory == self.directory or not pointer.is_file():
                continue
            top = Path(decode(pointer.read_bytes()).strip()).parent
            if top.is_dir():
                yield self.at(top, directory)


def discover(repo_path: Path | str | None, *, main: str, actor: str = "") -> Repository:
    """The repository around `repo_path` (default: the working directory).

    Raises:
        GitNotRepositoryError: it lies in none, or git will not work in it.
    """
    path = Path(repo_path if repo_path is not None else Path.cwd()).resolve()
    if not path.is_dir():
        raise GitNotRepositoryError(f"{path} is no directory", hint="give an existing repository")
    asked = ["--is-bare-repository", "--absolute-git-dir", "--git-common-dir"]
    asked += ["--show-object-format", "--show-toplevel"]
    done = run(["rev-parse", *asked], cwd=path, ok=None, timeout=30.0)
    lines = decode(done.stdout).split("\n")
    if len(lines) < 5 or (done.returncode != 0 and lines[0] != "true"):
        said = decode(done.stderr, errors="replace").strip().splitlines()
        raise GitNotRepositoryError(
            f"{path} is not in a git repository" + (f" ({said[0]})" if said else ""),
            hint="run `git init`, or give the path of a repository",
        )
    directory = Path(lines[1]).resolve()
    top = Path(lines[4]).resolve() if done.returncode == 0 and lines[4] else None
    common = (path / lines[2]).resolve()
    if top is not None and not path.is_relative_to(top):
        raise GitNotRepositoryError(
            f"{path} is not inside its repository's working tree {top}",
            hint="its core.worktree names another place; give that one",
        )
    git = Git(directory=directory, common=common, top=top)
    return Repository(
        git,
        repo_path=path,
        object_format=lines[3] if lines[3] in ZERO else "sha1",
        main=check_branch(main),
        actor=actor,
        session=uuid.uuid4().hex,
    )


def _packed(path: Path) -> dict[str, str]:
    """The refs in git's packed-refs file."""
    try:
        lines = decode(path.read_bytes()).splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(" ", 1) for line in lines if line and line[0] not in "#^")
    return {name: oid for oid, name in pairs}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _usual_files(git: Git) -> list[Path]:
    """Where configuration is read from, whether it is there or not."""
    home = Path(os.environ.get("HOME") or "/")
    at_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git" / "config"
    given = [os.environ.get(name) for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")]
    local = [git.common / "config", git.directory / "config.worktree"]
    return [*local, home / ".gitconfig", at_home, *(Path(name) for name in given if name)]


def _settings(git: Git) -> tuple[Settings, list[Path]]:
    """The effective configuration, and every file that it depends on, missing ones too."""
    values = {}
    files = dict.fromkeys(_usual_files(git))
    parts = decode(git.run("config", "--list", "--show-origin", "-z").stdout).split("\0")
    for origin, entry in zip(parts[::2], parts[1::2], strict=False):
        key, _, value = entry.partition("\n")
        values[key] = value
        source = (git.top or git.directory) / origin.removeprefix("file:")
        files[source] = None
        if key.startswith("include") and key.endswith(".path"):
            files[source.parent / Path(value).expanduser()] = None
    return Settings(values), list(files)
