"""The working tree, read byte for byte through a private index that lives on between snapshots.

A private git directory, in which every conversion is off, is kept beside the repository's own.
Nothing is written anywhere else. Which files are ignored, now or at another time, is asked here
too: of git, never by matching patterns ourselves.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from self_coding.adapters.files import remove_tree, replace_file
from self_coding.adapters.git import Git, decode, encode, environment, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.objects import Difference, disk_errors
from self_coding.git_safety.repository import Repository

HOME_LIMIT = 2000  # untracked files above which a repository around a home is not captured
CLOCK_SLACK = 2.0  # seconds: clocks of file systems are coarser than ours, and may lag behind
_CARRIED = (
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.excludesfile",
)


@dataclass
class TreeState:
    """The working tree as the private index holds it.

    `tree` is its tree, `untracked` the paths that git does not track, `uncaptured` the paths that
    the tree does not hold and why, `changes` how it differs from the user's index.
    """

    tree: str
    untracked: frozenset[str]
    uncaptured: dict[str, str]
    changes: tuple[Difference, ...] = ()

    @property
    def differing(self) -> list[str]:
        """The only paths that may not be as the user's index has them."""
        return [*(change.path for change in self.changes), *self.uncaptured]


def exact_git(repo: Repository) -> Git:
    """Return git with a private directory for this checkout in which nothing is converted."""
    # One private index per checkout: an index knows the files of one working tree.
    key = hashlib.sha256(os.fsencode(repo.directory)).hexdigest()[:16]
    private = repo.folder / "capture" / key
    version, extension = "0", ""
    if repo.object_format != "sha1":
        version, extension = "1", f"[extensions]\n\tobjectformat = {repo.object_format}\n"
    try:
        exclude = (repo.common / "info" / "exclude").read_bytes()
    except OSError:
        exclude = b""
    contents = {
        "HEAD": b"ref: refs/heads/none\n",
        "config": encode(
            f"[core]\n\trepositoryformatversion = {version}\n\tbare = false\n{extension}"
        ),
        # It outranks every .gitattributes of the tree, so that nothing there can ask for a
        # conversion.
        "info/attributes": b"* -text -eol -filter -ident -working-tree-encoding -crlf\n",
        "info/exclude": exclude,
    }
    with disk_errors(f"cannot write into {private}"):
        for name in ("refs", "objects", "info"):
            (private / name).mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            path = private / name
            if not path.exists() or path.read_bytes() != data:
                replace_file(path, data)
        (private / "index.lock").unlink(missing_ok=True)  # no other process works here
    git = repo.git
    carried = [
        f"{key}={git.settings.values[key]}" for key in _CARRIED if key in git.settings.values
    ]
    return replace(
        git,
        directory=private,
        common=private,
        index=private / "index",
        # New objects go where the repository finds them; refs and config stay private.
        objects=repo.common / "objects",
        config=("core.autocrlf=false", "core.eol=lf", "core.bare=false", *carried),
    )


def read_tree_state(private: Git, repo: Repository, limit: int) -> TreeState:
    """Bring the private index up to the working tree and store what is new as objects."""
    assert private.index is not None
    # Kept between snapshots: with it git compares times, without it it reads every file.
    if not private.index.exists():
        _seed(private, repo)
    state = _read(private, repo, limit)
    if state is None:  # objects that only old snapshots held are gone: read everything anew
        private.index.unlink(missing_ok=True)
        _seed(private, repo)
        state = _read(private, repo, limit)
    if state is None:
        raise GitOperationError("the captured tree could not be stored", hint="see `git fsck`")
    return state


def _seed(private: Git, repo: Repository) -> None:
    """First time: what the user tracks is captured even where it is ignored."""
    tracked = fields(repo.git.run("ls-files", "-z").stdout)
    update_index(private, sorted({p for p in tracked if _is_file(repo.top, p)}), {})


def _read(private: Git, repo: Repository, limit: int) -> TreeState | None:
    # The private index lives on, so that git compares stat data and reads only what changed.
    done = private.run("ls-files", "-t", "-o", "-m", "-d", "-z", "--exclude-standard")
    tags: dict[str, str] = {}
    for part in fields(done.stdout):
        # A deleted path is listed as modified ("C"), too; "R" (removed) is the one that counts.
        tags[part[2:]] = "R" if tags.get(part[2:]) == "R" else part[0]
    untracked = frozenset(path for path, tag in tags.items() if tag == "?")
    # A dotfiles repository around a whole home: a snapshot would copy the disk into `.git`.
    if len(untracked) > HOME_LIMIT and repo.top in (Path("/"), Path("~").expanduser()):
        raise GitOperationError(
            f"{repo.top} holds {len(untracked)} untracked files and is a whole home or disk",
            hint="ignore what is not the repository's, then try again",
        )
    uncaptured: dict[str, str] = {}
    touched: list[str] = []
    for path in tags:
        reason = _why_uncaptured(repo.top / path, path, untracked=path in untracked, limit=limit)
        if reason:
            uncaptured[path] = reason
        if not path.endswith("/") and (not reason or path not in untracked):
            touched.append(path)
    gone = {path for path in touched if path in uncaptured or not is_entry(repo.top, path)}
    forget(private, sorted(gone))
    update_index(private, [path for path in touched if path not in gone], uncaptured)
    # Fails where an object is missing that an entry of the private index names: `gc` dropped the
    # snapshot that held it.
    done = private.run("write-tree", ok=())
    if done.returncode != 0:
        return None
    return TreeState(decode(done.stdout).strip(), untracked, uncaptured)


def _is_file(top: Path, path: str) -> bool:
    if not reachable(top, path):
        return False
    mode = (top / path).lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _why_uncaptured(path: Path, name: str, *, untracked: bool, limit: int) -> str:
    """Return why a path cannot be captured, or ""."""
    if name.endswith("/"):
        return "a nested repository; its content is its own"
    try:
        status = path.lstat()
    except OSError:
        return ""
    if stat.S_ISREG(status.st_mode):
        if untracked and status.st_size > limit:
            return f"larger than {limit} bytes"
        # Asked before git is: it would stop at the first path that it may not read.
        return "" if os.access(path, os.R_OK) else "unreadable"
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and not untracked):
        return ""
    return "not a file"


def update_index(git: Git, paths: Sequence[str], uncaptured: dict[str, str] | None = None) -> None:
    """Put the present content of paths into an index, deletions too.

    `uncaptured` takes the paths that git refuses, with its reason; None raises instead.
    """
    if not paths:
        return
    # --replace: a file where a folder was, or the other way around, is no error.
    command = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
    data = encode("\0".join(paths) + "\0")
    if uncaptured is None:
        git.run(*command, stdin=data)
        return
    done = git.run(*command, stdin=data, ok=())
    if done.returncode == 0:
        return
    if len(paths) > 1:  # git stops at the first path that it refuses: find it by halves
        middle = len(paths) // 2
        update_index(git, paths[:middle], uncaptured)
        update_index(git, paths[middle:], uncaptured)
        return
    said = decode(done.stderr, errors="replace").strip().splitlines()
    if "unable to write" in " ".join(said).lower() or "no space" in " ".join(said).lower():
        raise GitOperationError(
            f"cannot store {paths[0]!r}: {said[0]}", hint="make room on the disk"
        )
    uncaptured[paths[0]] = said[0] if said else "git could not read it"


def reachable(top: Path, path: str) -> bool:
    """Return whether something is at `path`, and not behind a symlink on the way."""
    place = top
    # `lexists` alone would follow a symlink in the middle, out of the tree.
    for part in path.split("/")[:-1]:
        place /= part
        if place.is_symlink() or not place.is_dir():
            return False
    return os.path.lexists(top / path)


def is_entry(top: Path, path: str) -> bool:
    """Return whether an index can hold what is at `path`: a file, link or nested repository."""
    place = top / path
    folder = place.is_dir() and not place.is_symlink() and not (place / ".git").exists()
    return reachable(top, path) and not folder


def forget(git: Git, paths: Iterable[str]) -> None:
    """Take paths out of an index, whatever is on the disk."""
    data = "".join(f"{path}\0" for path in paths)
    if data:
        git.run("update-index", "--force-remove", "-z", "--stdin", stdin=encode(data))


def reconcile(repo: Repository, private: Git, state: TreeState, index: str) -> TreeState:
    """Add what is tracked though ignored; drop what has become ignored since it was captured.

    `index` is the tree of the user's index, "" where it holds conflicts.
    """
    git = repo.git
    if index == state.tree:
        return state
    changes: tuple[Difference, ...] = ()
    if index:
        changes = tuple(objects.differences(git, index, state.tree))
        extra = [change.path for change in changes if change.status == "A"]
        missing = [change.path for change in changes if change.status == "D" and not change.is_link]
    else:
        ours = set(fields(private.run("ls-files", "-z").stdout))
        theirs = set(fields(git.run("ls-files", "-z").stdout))
        extra, missing = sorted(ours - theirs), sorted(theirs - ours)
    # The private index has held it since before it was ignored; the rules of now decide.
    gone = ignored(private, [path for path in extra if path not in state.untracked], "--no-index")
    back = [p for p in missing if p not in state.uncaptured and _is_file(repo.top, p)]
    for path in set(missing) - set(back):
        if reachable(repo.top, path) and not (repo.top / path).is_dir():
            state.uncaptured.setdefault(path, "not a file")
    if not gone and not back:
        return replace(state, changes=changes)
    forget(private, gone)
    update_index(private, back, state.uncaptured)
    tree = private.text("write-tree")
    changes = tuple(objects.differences(git, index, tree)) if index else ()
    return replace(state, tree=tree, changes=changes)


def ignored(git: Git, paths: Sequence[str], *flags: str) -> list[str]:
    """Return those of `paths` that git ignores."""
    if not paths:
        return []
    data = encode("".join(f"./{path}\0" for path in paths))  # "./": no magic, no option
    env = {"GIT_LITERAL_PATHSPECS": "0"}  # check-ignore refuses to work with it
    done = git.run("check-ignore", *flags, "-z", "--stdin", stdin=data, ok=(0, 1), env=env)
    return [path[2:] for path in fields(done.stdout)]


def unversioned_rules(repo: Repository) -> str:
    """Return the ignore patterns that no tree holds: the user's own, then `info/exclude`."""
    home = environment().get("XDG_CONFIG_HOME") or "~/.config"
    name = repo.git.settings.values.get("core.excludesfile", f"{home}/git/ignore")
    own = Path(name)
    with suppress(RuntimeError):  # the home of a user who does not exist
        own = own.expanduser()
        own = own if own.is_absolute() or not repo.has_tree else repo.top / own
    lines: list[str] = []
    for path in (own, repo.common / "info" / "exclude"):
        with suppress(OSError):
            text = decode(path.read_bytes()).removeprefix("\ufeff")
            lines += [line for line in text.split("\n") if line.strip() and line[0] != "#"]
    return "".join(f"{line}\n" for line in lines)  # of two that match, git takes the later one


def ignored_under(repo: Repository, tree: str, rules: str, paths: Sequence[str]) -> frozenset[str]:
    """Return those of `paths` that git ignores where `tree` is checked out, with `rules` excluded.

    A file that was ignored when a snapshot was taken is not in it, and so looks like a file that
    came later.
    """
    if not paths:
        return frozenset()
    names = set()
    for path in paths:
        parts = path.split("/")
        names |= {"/".join((*parts[:depth], ".gitignore")) for depth in range(len(parts))}
    listed = objects.entries(repo.git, tree, objects.few(names)) if tree else {}
    oids = {n: oid for n, (mode, oid) in listed.items() if n in names and mode.startswith("100")}
    contents = dict(zip(oids, objects.read_many(repo.git, oids.values()), strict=True))
    # Git in an empty repository of ours that has these ignore files and no others.
    folder = scratch(repo, "rules")
    directory, top = folder / "git", folder / "tree"
    try:
        with disk_errors(f"cannot write into {folder}"):
            for place in (directory / "refs", directory / "objects", top):
                place.mkdir(parents=True)
            (directory / "HEAD").write_text("ref: refs/heads/none\n")
            (folder / "excludes").write_bytes(encode(rules))
            for name, content in contents.items():
                (top / name).parent.mkdir(parents=True, exist_ok=True)
                (top / name).write_bytes(content or b"")
        case = repo.git.settings.values.get("core.ignorecase", "false")
        config = (f"core.excludesFile={folder / 'excludes'}", f"core.ignorecase={case}")
        # Without the user's settings: their excludes of today are not those of the snapshot.
        git = Git(directory, directory, top, config=("core.bare=false", *config))
        return frozenset(ignored(git, paths, "--no-index"))
    finally:
        remove_tree(folder)


def present_but_uncaptured(
    repo: Repository, tree: str, at: datetime, blobs: Mapping[str, str]
) -> frozenset[str]:
    """Return those of `blobs` (path to content) that were there at `at` although not in `tree`.

    Rules that are gone cannot be asked, such as those of a folder that ignored itself. But a file
    that has not changed since, with a content that the snapshot holds nowhere, did not come later.
    """
    limit = at.timestamp() - CLOCK_SLACK
    old = set()
    for path in blobs:
        with suppress(OSError):
            # ctime: it also moves when the file is renamed, and no program can set it back
            if (repo.top / path).lstat().st_ctime < limit:
                old.add(path)
    held = {oid for _, oid in objects.entries(repo.git, tree).values()} if old else set()
    return frozenset(path for path in old if blobs[path] not in held)


def scratch(repo: Repository, name: str) -> Path:
    """Return an unused path for a temporary file of ours."""
    folder = repo.folder / "tmp"
    with disk_errors(f"cannot write into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{os.getpid()}-{time.monotonic_ns()}"
