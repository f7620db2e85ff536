"""An attempt that begins from, and lands on, a branch other than the main one: real git."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from self_coding import open_app
from self_coding.app import App
from self_coding.errors import SelfCodingError
from self_coding.self_edit.editors import CallableEditor
from self_coding.testing import sample_repo

CORE = "src/calc/core.py"
TRIPLE = "\n\ndef triple(number: int) -> int:\n    return number * 3\n"


def git(repo: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=repo, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a branch `release` that has a file of its own, and main checked out."""
    made = sample_repo(tmp_path / "repository")
    git(made, "switch", "-qc", "release")
    (made / "RELEASE").write_text("1\n")
    git(made, "add", "RELEASE")
    git(made, "commit", "-qm", "begin a release")
    git(made, "switch", "-q", "main")
    return made


@pytest.fixture
def app(repo: Path) -> App:
    return open_app(repo, environ={}, test_command="python -m pytest -q")


def append(path: Path, text: str = TRIPLE) -> None:
    (path / CORE).write_text((path / CORE).read_text() + text)


async def test_it_begins_from_and_lands_on_that_branch(app: App, repo: Path) -> None:
    """The worktree has the branch's files; the branch moves, main does not; there is a receipt."""
    main, release = git(repo, "rev-parse", "main"), git(repo, "rev-parse", "release")
    begun = await app.edit.begin_edit("Add triple", base="release")
    assert (begun.lands_on, begun.worktree.base) == ("release", release)
    assert (begun.worktree.path / "RELEASE").exists()
    append(begun.worktree.path)
    [open_one] = await app.edit.waiting()
    assert open_one.lands_on == "release"
    assert (await app.edit.check_edit(begun.attempt)).success
    landed = await app.edit.submit_edit(begun.attempt, wait=100)
    assert (landed.stage, landed.lands_on) == ("landed", "release"), landed
    assert git(repo, "rev-parse", "main") == main
    assert git(repo, "rev-parse", "release") == landed.commit_hash
    assert git(repo, "show", f"release:{CORE}").endswith(TRIPLE.strip())
    assert await app.git.has_receipt(str(landed.commit_hash))
    assert await app.git.verify() == []


async def test_undo_takes_the_landing_back_there(app: App, repo: Path, tmp_path: Path) -> None:
    """A checkout on the branch follows the landing, and `undo` and `redo` after it."""
    release = git(repo, "rev-parse", "release")
    git(repo, "worktree", "add", "-q", str(tmp_path / "there"), "release")
    editor = CallableEditor(append)
    landed = await app.edit.self_edit("Add triple", editor=editor, base="release")
    assert landed.stage == "landed", landed
    there = tmp_path / "there" / CORE
    assert "triple" in there.read_text()
    await app.git.undo()
    assert git(repo, "rev-parse", "release") == release
    assert "triple" not in there.read_text()
    await app.git.redo()
    assert git(repo, "rev-parse", "release") == landed.commit_hash
    assert "triple" in there.read_text()


async def test_it_is_tested_anew_where_that_branch_has_moved(app: App, repo: Path) -> None:
    """What lands on the branch meanwhile is in the tested tree; a move of main alone is not."""
    begun = await app.edit.begin_edit("Add triple", base="release", ask=True)
    append(begun.worktree.path)
    waits = await app.edit.submit_edit(begun.attempt)
    assert waits.waiting == "approval"
    git(repo, "commit", "-q", "--allow-empty", "-m", "main moves")
    git(repo, "update-ref", "refs/heads/release", _empty_commit(repo, "release"))
    landed = await app.edit.land_edit(begun.attempt)
    assert landed.stage == "landed"
    kinds = [one.kind for one in await app.journal.events(begun.attempt)]
    assert (kinds.count("moved"), kinds.count("tested")) == (1, 2)


def _empty_commit(repo: Path, branch: str) -> str:
    return git(repo, "commit-tree", f"{branch}^{{tree}}", "-p", branch, "-m", "theirs")


async def test_a_crash_is_gone_on_with_on_that_branch(repo: Path) -> None:
    """Resumed by a process with other settings, it lands where it was begun for."""
    first = open_app(repo, environ={}, test_command="true", main_branch="release")
    begun = await first.edit.begin_edit("Add triple")
    append(begun.worktree.path)
    await first.journal.append(begun.attempt, "written", {"summary": ""})
    second = open_app(repo, environ={}, test_command="true")
    [resumed] = await second.edit.resume()
    assert (resumed.stage, resumed.lands_on) == ("landed", "release")
    assert git(repo, "rev-parse", "release") == resumed.commit_hash


@pytest.mark.parametrize(
    ("base", "told"),
    [("nowhere", "there is no branch called 'nowhere'"), ("-x", "cannot be the name of a branch")],
)
async def test_a_branch_that_is_none_is_refused(app: App, base: str, told: str) -> None:
    """Nothing is recorded of an attempt that has nowhere to begin."""
    with pytest.raises(SelfCodingError, match=told):
        await app.edit.begin_edit("Add triple", base=base)
    assert await app.journal.unfinished() == []


async def test_an_attempts_own_branch_is_no_base(app: App) -> None:
    """Nothing lands in the worktree of another attempt."""
    begun = await app.edit.begin_edit("Add triple")
    with pytest.raises(SelfCodingError, match=f"is the branch of attempt {begun.attempt}"):
        await app.edit.begin_edit("Add quadruple", base=begun.worktree.branch)


@pytest.mark.parametrize("branch", ["main", "release", "behind"])
async def test_an_edit_is_never_made_on_a_branch_that_is_there(
    app: App, repo: Path, branch: str
) -> None:
    """Neither the branch it lands on nor another one at the same commit is edited in place."""
    git(repo, "branch", "behind", "release")
    git(repo, "switch", "-q", "--detach")
    with pytest.raises(SelfCodingError, match="there is a branch called"):
        await app.edit.begin_edit("Add triple", base="release", branch=branch)


async def test_a_branch_that_is_gone_stops_nothing_else(app: App, repo: Path) -> None:
    """An interrupted landing on a branch that was deleted does not keep others from beginning."""
    begun = await app.edit.begin_edit("Add triple", base="release", ask=True)
    append(begun.worktree.path)
    await app.edit.submit_edit(begun.attempt)
    tested = [one for one in await app.journal.events(begun.attempt) if one.kind == "tested"]
    await app.journal.append(begun.attempt, "approved", {})
    keys = ("commit", "tree", "onto", "head")
    await app.journal.append(begun.attempt, "landing", {k: tested[-1].data[k] for k in keys})
    git(repo, "branch", "-D", "release")
    assert (await app.edit.begin_edit("Add quadruple")).lands_on == "main"
    with pytest.raises(SelfCodingError, match="no branch called 'release'"):
        await app.edit.resume(attempt=begun.attempt)
    [waits] = [one for one in await app.edit.waiting() if one.attempt == begun.attempt]
    assert waits.waiting == "submit"


async def test_two_branches_are_landed_on_at_once(app: App, repo: Path) -> None:
    """Attempts for two branches do not wait for each other, and each lands on its own."""
    editor = CallableEditor(append)
    one, two = await asyncio.gather(
        *(app.edit.self_edit(f"Add it to {b}", editor=editor, base=b) for b in ("main", "release"))
    )
    assert (one.stage, two.stage) == ("landed", "landed"), (one, two)
    assert git(repo, "rev-parse", "main") == one.commit_hash
    assert git(repo, "rev-parse", "release") == two.commit_hash
