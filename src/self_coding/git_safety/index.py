"""Prepare what comes next beside the user's tree and index, and describe what differs.

Git writes the new files, so that line ends and encodings are what a checkout would give; programs
that the configuration names as filters do not run. Nothing here writes into a working tree or
replaces an index.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from self_coding.adapters.git import Git, decode, encode, fields
from self_coding.adapters.paths import SIDE_FILES
from self_coding.errors import GitOperationError
from self_coding.git_safety import objects
from self_coding.git_safety.file_swap import FileStep, fingerprint
from self_coding.git_safety.locks import copy_index_file
from self_coding.git_safety.objects import GONE, disk_errors
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.tree_state import scratch
from self_coding.values.repository import Change, FileChange

DIFF_LIMIT = 32 * 1024 * 1024
# A user's diff settings must not change what is parsed, nor start a program of theirs.
_PATCH = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-renames",
    "--no-relative",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--unified=3",
    "--inter-hunk-context=0",
    "--diff-algorithm=myers",
    "--submodule=short",
    "--ignore-submodules=dirty",
    "-O/dev/null",
)
# Git knows the functions of many languages, but only of files whose attributes say which; the
# repository's own outrank these. Of JavaScript it knows none.
_FUNCTIONS = (
    f"core.attributesFile={Path(__file__).with_name('functions.attributes')}",
    "diff.self-coding-script.xfuncname="
    "!^[ \t]*(if|for|while|switch|catch|return|else|do|await|throw|new|expect)[ (]\n"
    # What the first group holds is told: all of the line.
    "^[ \t]*(((export |default |declare |async |static |public |private |protected |readonly |get "
    "|set )*(function[ *]|class |[A-Za-z_$#][A-Za-z0-9_$]*[ ]*\\([^();]*\\)[^;=()]*\\{)"
    "|[A-Za-z_$][A-Za-z0-9_$.]* *= *(async )?function).*)$"
    "|^(export )?(const|let|var) [A-Za-z0-9_$]+ *= *(async )?"
    "(function|\\(?[A-Za-z0-9_$, ]*\\)? *=>).*$",
)


@dataclass(frozen=True)
class FileTarget:
    """What a path shall become: a mode (`GONE`: nothing) and a blob, and what is there now.

    `content` stands in for the blob and is written as it is, without conversion.
    """

    path: str
    mode: str
    oid: str
    expected: str
    content: bytes | None = None


def stage_files(
    repo: Repository, targets: Sequence[FileTarget], writer: Git, *, attributes: str = ""
) -> tuple[str, tuple[FileStep, ...]]:
    """Write the new contents into a staging folder; return it with the steps that use it.

    `writer` is the git that converts: the checkout's own, or the exact one. `attributes` is a tree
    to read the attributes from, where they change too.
    """
    ours = repo.folder / "staging"
    with disk_errors("cannot make a staging folder"):
        ours.mkdir(parents=True, exist_ok=True)
        if ours.stat().st_dev == repo.top.stat().st_dev:
            folder = Path(tempfile.mkdtemp(dir=ours))
        else:  # only on one file system can files be exchanged
            folder = Path(tempfile.mkdtemp(prefix=".self-coding-staging-", dir=repo.top))
    files = folder / "files"
    written = {t.path: (t.mode, t.oid) for t in targets if t.mode != GONE and t.content is None}
    if written:
        files.mkdir()
        # An index of the new files alone, in which `checkout-index` writes all that are named.
        index = scratch(repo, "staging-index")
        git = replace(writer, index=index)
        try:
            if attributes:
                git.run("read-tree", attributes)
                git = replace(git, top=files)
            else:
                set_entries(repo, git, written)
            # Git writes the files: line ends, encodings and symlinks as a checkout would.
            names = encode("".join(f"{path}\0" for path in written))
            # Into another folder, so it overwrites nothing; without --force it would refuse to.
            git.run("checkout-index", "-q", f"--prefix={files}/", "-z", "--stdin", stdin=names)
        finally:
            index.unlink(missing_ok=True)
    steps = []
    for number, target in enumerate(targets):
        digest = ""
        if target.mode != GONE:
            staged = folder / f"{number}"
            with disk_errors(f"cannot prepare {target.path!r}"):
                if target.content is None:
                    (files / target.path).rename(staged)
                else:
                    staged.write_bytes(target.content)
                    staged.chmod(0o755 if target.mode == "100755" else 0o644)
            # Of the file as it came out, not of the blob: the two differ by line ends.
            digest = fingerprint(staged, repo.object_format)
        steps.append(FileStep(target.path, target.mode, target.expected, digest))
    return str(folder), tuple(steps)


def copy_index(repo: Repository) -> Path:
    """Return a copy of the checkout's index to prepare the next one in."""
    copy = scratch(repo, "next-index")
    with disk_errors("cannot copy the index"):
        try:
            copy_index_file(repo.directory / "index", copy)
        except FileNotFoundError:
            replace(repo.git, index=copy).run("read-tree", "--empty")
        except OSError:
            copy.unlink(missing_ok=True)
            raise
    return copy


@contextmanager
def refreshed_index(repo: Repository) -> Iterator[Git]:
    """Yield git whose `diff` reads files that were only touched, instead of naming them changed.

    It does so by refreshing the index, which is a copy here: reading writes nothing of a person's.
    """
    copy = copy_index(repo)
    try:
        yield replace(repo.git, index=copy, config=(*repo.git.config, "diff.autoRefreshIndex=true"))
    finally:
        copy.unlink(missing_ok=True)


#: Of each path what the index has before and after, as `objects.stages` says it.
IndexChange = tuple[str, list[str], list[str]]


def index_changes(
    before: Mapping[str, list[str]], after: Mapping[str, list[str]]
) -> list[IndexChange]:
    """Return the paths of which two indexes have something else."""
    paths = sorted({*before, *after})
    pairs = ((path, before.get(path, []), after.get(path, [])) for path in paths)
    return [(path, old, new) for path, old, new in pairs if old != new]


def revert_entries(repo: Repository, git: Git, changes: Iterable[IndexChange]) -> None:
    """Take changes of an index back, but for the paths that changed again since."""
    now = objects.stages(git)
    back = {path: old for path, old, new in changes if now.get(path, []) == new}
    kept = now.keys() - back.keys()
    above = {str(folder) for path in kept for folder in PurePosixPath(path).parents}
    gone, come = "", ""
    for path, old in back.items():
        # Git makes room without a word: `a` and `a/b` cannot both be in an index.
        folders = {str(folder) for folder in PurePosixPath(path).parents}
        if not old or (path not in above and kept.isdisjoint(folders)):
            gone += f"0 {repo.zero}\t{path}\0"
            come += "".join(f"{entry}\t{path}\0" for entry in old)
    if gone:
        git.run("update-index", "-z", "--index-info", stdin=encode(gone + come))


def set_entries(repo: Repository, git: Git, entries: Mapping[str, tuple[str, str]]) -> None:
    """Put PATH: (mode, id) into an index; mode `GONE` takes the path out."""
    if not entries:
        return
    # Removals first: `a` must be gone before `a/b` can come.
    gone = "".join(f"0 {repo.zero}\t{path}\0" for path, item in entries.items() if item[0] == GONE)
    come = "".join(
        f"{mode} {oid}\t{path}\0" for path, (mode, oid) in entries.items() if mode != GONE
    )
    git.run("update-index", "-z", "--index-info", stdin=encode(gone + come))


def refuse_filtered(repo: Repository, paths: Iterable[str], doing: str) -> None:
    """Refuse where a path's content needs a configured filter, which is a program."""
    drivers = repo.git.settings.filters
    names = list(paths)
    if not drivers or not names:
        return
    # A filter is switched off by name (adapters/git.py), and then its paths would be taken as they
    # are: a large file in the place of its pointer, or the other way around.
    data = encode("".join(f"{name}\0" for name in names))
    # Attributes of the files as they are now, as git itself would go by.
    parts = fields(repo.git.run("check-attr", "-z", "--stdin", "filter", stdin=data).stdout)
    for path, name in zip(parts[::3], parts[2::3], strict=False):
        if name in drivers:
            raise GitOperationError(
                f"{doing} {path!r} needs the filter {name!r}, which is not run from here",
                hint="do that path with git itself",
            )


def hidden_paths(repo: Repository) -> set[str]:
    """Return the databases of ours, and their side files, that are in this working tree."""
    try:
        lines = decode((repo.common / "info" / "exclude").read_bytes()).splitlines()
    except OSError:
        return set()
    listed = set(lines)
    names = [line for line in lines if line.startswith("/") and f"{line}-wal" in listed]
    literal = [re.sub(r"\\(.)", r"\1", name)[1:] for name in names]  # as `paths.hide` escaped it
    return {name + suffix for name in literal for suffix in SIDE_FILES}


def patch(repo: Repository, old: str, new: str, *, limit: int = DIFF_LIMIT) -> str:
    """Return the patch between two commits, or to the working tree when `new` is empty.

    It is cut at `limit` bytes, with a mark.
    """
    ends = [old, new] if new else [old]
    # Between commits no file is looked at, so that no copy of the index is needed.
    with nullcontext(repo.git) if new else refreshed_index(repo) as git:
        # Not where files are looked at: a person's attributes tell how those are converted.
        told = replace(git, config=(*git.config, *_FUNCTIONS)) if new else git
        done = told.run("diff", *_PATCH, "-p", *ends, "--", limit=limit)
    text = done.stdout.decode("utf-8", "replace")
    if done.truncated:
        text += f"\n[... the diff was cut here, at {limit} bytes ...]\n"
    return text


def changed_paths(repo: Repository, since: str, *, untracked: bool) -> list[str]:
    """Return the paths whose working tree differs from the commit `since`, or HEAD when empty."""
    base = since or repo.head().commit
    if base:
        with refreshed_index(repo) as git:
            changed = fields(git.run("diff", "--name-only", "-z", *_PATCH, base, "--").stdout)
        names = ("diff-index", "--cached", "--name-only", "-z", "--no-renames", base, "--")
        changed += fields(repo.git.run(*names).stdout)
    else:
        changed = fields(repo.git.run("ls-files", "-z").stdout)
    if untracked:
        changed += fields(repo.git.run("ls-files", "-o", "-z", "--exclude-standard").stdout)
    return sorted(set(changed))


def is_clean(repo: Repository, paths: Iterable[str] = ()) -> bool:
    """Return whether nothing is staged, changed or untracked; of `paths` only, if there are any."""
    flags = ("--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=dirty")
    return not repo.git.run("status", *flags, "--", *objects.few(paths)).stdout


def describe(repo: Repository, base: str, head: str, *, diff_limit: int = DIFF_LIMIT) -> Change:
    """Return the change from commit `base` to commit `head`, every file named."""
    flags = ("-r", "-z", "--raw", "--numstat", "--no-renames", "--no-abbrev")
    done = repo.git.run("diff-tree", *flags, base, head)
    counts = {}
    for part in fields(done.stdout):  # the numbers come last: a path with tabs cannot win
        if part.count("\t") >= 2:
            added, removed, path = part.split("\t", 2)
            counts[path] = (added, removed)
    files = []
    for change in objects.parse_raw(done.stdout):
        added, removed = counts.get(change.path, ("0", "0"))
        files.append(
            FileChange(
                path=change.path,
                status=change.status,
                added=int(added) if added.isdigit() else 0,
                removed=int(removed) if removed.isdigit() else 0,
                binary=added == "-",
                old_mode=change.old_mode,
                mode=change.mode,
            )
        )
    diff = patch(repo, base, head, limit=diff_limit) if files and diff_limit else ""
    return Change(base=base, head=head, files=tuple(files), diff=diff)


def read(repo: Repository, commit: str, paths: Sequence[str]) -> dict[str, bytes | None]:
    """Return the contents of files at a commit; None for each that is not a file there."""
    listed = objects.entries(repo.git, commit, paths) if paths else {}
    present = [path for path in paths if path in listed and listed[path][0] != objects.LINK]
    contents = objects.read_many(repo.git, [listed[path][1] for path in present])
    return dict.fromkeys(paths) | dict(zip(present, contents, strict=True))
