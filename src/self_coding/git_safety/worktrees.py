"""Worktrees of attempts: kept and reset, not made anew each time.

They lie in a folder of the main working tree that git does not see, since agents' own tools refuse
to edit below `.git` and outside of the project they were started in. Nothing else of the user's
checkout is touched. An attempt's full state is pinned before its worktree is reset for the next
one; what could not be captured keeps its folder.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from self_coding.adapters.git import Git, decode, encode, fields
from self_coding.errors import GitOperationError
from self_coding.git_safety.capture import MAX_UNTRACKED_BYTES, take
from self_coding.git_safety.change import Part, Plan, carry_out, digest, log_of
from self_coding.git_safety.commits import commit_tree
from self_coding.git_safety.names import check_attempt, check_message
from self_coding.git_safety.recovery import guarded
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.scan import discard, forget, is_entry
from self_coding.git_safety.slots import (
    admin_name,
    detach,
    note_folders,
    reset,
    slot_at,
    write_pointer,
)
from self_coding.git_safety.staging import copy_index
from self_coding.git_safety.strays import marker
from self_coding.values.repository import Uncaptured, Worktree

ATTEMPTS = "refs/self-coding/attempts"
VISIBLE = ".self-coding"  # in the main working tree; ignored by a file of its own


def isolate(repo: Repository, attempt: str, base: str | None, prefix: str) -> Worktree:
    """A worktree of its own for `attempt`, on a branch of its own; the same one when asked again.

    Raises:
        GitOperationError: the name cannot be one, or there is no such base.
    """
    check_attempt(attempt)
    with guarded(repo, "isolate"):
        found = _assigned(repo, attempt)
        if found is not None:
            _stand(repo, found)
            return found
        start = repo.branch(repo.main) if base is None else repo.commit(base)
        branch = f"{prefix}/{attempt}"
        [tip] = repo.tips([f"refs/heads/{branch}"])
        if any(other.head_branch() == branch for other in repo.checkouts()):
            raise GitOperationError(
                f"the branch {branch!r} is checked out elsewhere",
                hint="choose another name for the attempt",
            )
        name = _free(repo)
        place = _place(repo, name)
        _hide(repo)
        _assign(repo, name, None, "", "")
        reset(repo, place, tip or start)
        refs = [] if tip else [(f"refs/heads/{branch}", "", start)]
        carry_out(repo, Plan(kind="isolate", refs=tuple(refs), reason=branch, attempt=attempt))
        _assign(repo, name, attempt, branch, start)
        made = Worktree(path=place, branch=branch, base=start, attempt=attempt)
        _enter(slot_at(repo, place), made)
        return made


def _stand(repo: Repository, worktree: Worktree) -> None:
    """Finish an `isolate` that a crash cut off, or mend one whose repository was moved."""
    slot = slot_at(repo, worktree.path)
    write_pointer(worktree.path, slot.directory)
    if not slot.head_branch() and slot.head().commit == worktree.base:
        _enter(slot, worktree)


def _enter(slot: Repository, worktree: Worktree) -> None:
    """Put HEAD on the attempt's branch; its record shows from where on it is this attempt's."""
    ref = f"refs/heads/{worktree.branch}"
    slot.git.run("symbolic-ref", "-m", marker(worktree.attempt), "HEAD", ref)


def _assigned(repo: Repository, attempt: str, *, without_pointer: bool = False) -> Worktree | None:
    """The worktree that stands for an attempt; also one whose `.git` file is gone, if wanted."""
    with log_of(repo).database.read() as connection:
        row = connection.execute(
            "SELECT name, branch, base FROM worktrees WHERE attempt = ?", (attempt,)
        ).fetchone()
    if row is None:
        return None
    place = _place(repo, row[0])
    bare = without_pointer and place.is_dir() and slot_at(repo, place).directory.is_dir()
    if not bare and not (place / ".git").is_file():
        return None
    return Worktree(path=place, branch=row[1], base=row[2], attempt=attempt)


def find(repo: Repository, attempt: str) -> Worktree | None:
    """The worktree that `attempt` has now, if it has one."""
    return _assigned(repo, attempt)


def _assign(repo: Repository, name: str, attempt: str | None, branch: str, base: str) -> None:
    with log_of(repo).database.write() as connection:
        connection.execute("DELETE FROM worktrees WHERE attempt = ?", (attempt,))
        connection.execute(
            "INSERT OR REPLACE INTO worktrees (name, attempt, branch, base, made)"
            " VALUES (?, ?, ?, ?, ?)",
            (name, attempt, branch, base, time.time()),
        )


def _free(repo: Repository) -> str:
    """The name of a worktree nobody uses: a warm one, else a new one."""
    with log_of(repo).database.read() as connection:
        rows = connection.execute("SELECT name, attempt FROM worktrees ORDER BY name").fetchall()
    for name, attempt in rows:
        if attempt is None and (_place(repo, name) / ".git").is_file():
            return str(name)
    taken = {name for name, _ in rows}
    for folder in filter(None, (repo.folder, _visible(repo))):
        if (folder / "worktrees").is_dir():
            taken |= {path.name for path in (folder / "worktrees").iterdir()}
    return next(f"w{number}" for number in range(1, 100_000) if f"w{number}" not in taken)


def _place(repo: Repository, name: str) -> Path:
    """Where the worktree of that name lies: in the main working tree, where agents may edit.

    One that an earlier version has made stays in the git directory, as do all where there is no
    main working tree.
    """
    hidden = repo.folder / "worktrees" / name
    folder = _visible(repo)
    return hidden if folder is None or hidden.is_dir() else folder / "worktrees" / name


def _visible(repo: Repository) -> Path | None:
    """Our folder in the main working tree; None where there can be none."""
    values = repo.git.settings.values
    bare = values.get("core.bare", "").lower() == "true" or "core.worktree" in values
    folder = repo.common.parent / VISIBLE
    if bare or repo.common.name != ".git":
        return None
    taken = any(path.is_symlink() or path.is_file() for path in (folder, folder / "worktrees"))
    return None if taken else folder


def _hide(repo: Repository) -> None:
    """Keep our folder out of git's sight, before there is anything in it to be seen."""
    folder = _visible(repo)
    if folder is None or (folder / ".gitignore").exists():
        return
    try:
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise GitOperationError(
            f"cannot make {folder}: {error.strerror}", hint="make the working tree writable"
        ) from error


def open_worktree(repo: Repository, worktree: Worktree) -> Repository:
    """The repository seen from an attempt's worktree.

    Raises:
        GitOperationError: it is not there any more.
    """
    slot = slot_at(repo, worktree.path)
    if not slot.directory.is_dir() or not worktree.path.is_dir():
        raise GitOperationError(
            f"the worktree of {worktree.attempt!r} is gone",
            hint="whoever edits has to leave it in its place; begin again with a new attempt",
        )
    return slot


def record(
    repo: Repository, worktree: Worktree, message: str
) -> tuple[str, tuple[Uncaptured, ...]]:
    """Commit what the attempt wrote onto its branch; the branch's tip, and what is left out."""
    text = check_message(message)
    with guarded(repo, "record"):
        slot = open_worktree(repo, worktree)
        head = slot.head()
        ref = f"refs/heads/{worktree.branch}"
        [tip] = repo.tips([ref])
        current = head.commit or tip or worktree.base
        before_add = digest(slot.directory / "index")
        index = copy_index(slot)
        try:
            tree, left = _all_of(slot, index)
            [before] = repo.resolve([current], "tree")
            made = current if tree == before else commit_tree(repo, tree, [current], text)
            part = Part(
                top=str(slot.top),
                directory=str(slot.directory),
                index=str(index),
                index_before=before_add,
                head_from=head.ref if head.branch else head.commit,
                head_to=ref,
            )
            if made != tip or head.ref != ref:
                plan = Plan(
                    kind="record",
                    refs=((ref, tip, made),) if made != tip else (),
                    parts=(part,),
                    reason=decode(text, errors="replace").splitlines()[0],
                    attempt=worktree.attempt,
                )
                carry_out(repo, plan)
        finally:
            index.unlink(missing_ok=True)
    return made, left


def _all_of(slot: Repository, index: Path) -> tuple[str, tuple[Uncaptured, ...]]:
    """Stage every change of the attempt's worktree in `index`; its tree, and what is left out:
    ignored files, nested repositories and special files."""
    git = replace(slot.git, index=index)
    done = git.run("ls-files", "-t", "-o", "-m", "-d", "-z", "--exclude-standard")
    found = dict.fromkeys(part[2:] for part in fields(done.stdout))
    paths = [path for path in found if not path.endswith("/")]
    left = dict.fromkeys(found.keys() - set(paths), "a repository of its own")
    forget(git, [path for path in paths if not is_entry(slot.top, path)])
    wanted = [p for p in paths if is_entry(slot.top, p) and not _special(slot.top / p)]
    if wanted:
        data = encode("".join(f"{path}\0" for path in wanted))
        git.run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=data)
    left |= {path: "not a file" for path in paths if _special(slot.top / path)}
    return git.text("write-tree"), _named(left | dict.fromkeys(_ignored(git), "ignored"))


def _ignored(git: Git) -> list[str]:
    """What git ignores there; a folder that is ignored as a whole stands for what is in it."""
    shown = ("--directory", "--no-empty-directory")
    return fields(git.run("ls-files", "-o", "-i", "--exclude-standard", *shown, "-z").stdout)


def _named(left: dict[str, str]) -> tuple[Uncaptured, ...]:
    """Each path and why it is left out, without what lies in a folder that is named itself."""
    found: list[Uncaptured] = []
    for path, why in sorted(left.items()):
        if not (found and found[-1].path.endswith("/") and path.startswith(found[-1].path)):
            found.append(Uncaptured(path, why))
    return tuple(found)


def _special(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir() or path.is_symlink())


def release(repo: Repository, worktree: Worktree, *, limit: int = MAX_UNTRACKED_BYTES) -> str:
    """Pin the attempt's full state, then give its worktree back; the ref it is kept under.

    Which worktree that is, the attempt's name tells; one that has none is done with already.
    """
    check_attempt(worktree.attempt)
    ref = f"{ATTEMPTS}/{worktree.attempt}"
    with guarded(repo, "release"):
        found = _assigned(repo, worktree.attempt, without_pointer=True)
        if found is None:
            return ref
        # A repository that an editor made in the place of our pointer is in no snapshot.
        foreign = (found.path / ".git").is_dir()
        slot = open_worktree(repo, found)
        [earlier] = repo.resolve([ref])
        if earlier:
            repo.git.run("update-ref", f"{ATTEMPTS}-earlier/{worktree.attempt}/{earlier}", earlier)
        kept = take(slot, ref, max_untracked_bytes=limit, message=f"attempt {worktree.attempt}")
        log_of(repo).add(
            "release",
            actor=repo.actor,
            session=repo.session,
            refs=[(ref, earlier, kept.commit)],
            reason=found.branch,
            attempt=found.attempt,
        )
        commit = kept.head.commit or found.base
        detach(slot, commit)
        whole = not kept.uncaptured and not foreign
        if whole:
            reset(repo, found.path, commit)
            note_folders(slot)
        _give_back(repo, found, whole=whole)
    return ref


def _give_back(repo: Repository, worktree: Worktree, *, whole: bool) -> None:
    """Free the slot; one that holds what no snapshot has is set aside instead."""
    name = worktree.path.name
    with log_of(repo).database.write() as connection:
        if whole:
            connection.execute(
                "UPDATE worktrees SET attempt = NULL, branch = '', base = '' WHERE name = ?",
                (name,),
            )
        else:
            connection.execute("DELETE FROM worktrees WHERE name = ?", (name,))
    if not whole:
        aside = repo.folder / "set-aside"
        aside.mkdir(parents=True, exist_ok=True)
        target = aside / f"{worktree.attempt}-{time.time_ns()}"
        shutil.move(worktree.path, target)
        if not (target / ".git").is_dir():
            (target / ".git").unlink(missing_ok=True)
        discard(repo.common / "worktrees" / admin_name(worktree.path))
