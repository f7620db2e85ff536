"""What an earlier attempt changed, in a worktree on main as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_coding import open_app
from self_coding.git_safety import GitSafety
from self_coding.testing import sample_repo

CORE = "src/calc/core.py"


@pytest.fixture
def git(tmp_path: Path) -> GitSafety:
    return open_app(sample_repo(tmp_path / "repository"), environ={}).git


async def test_a_change_is_carried_onto_a_newer_main(git: GitSafety) -> None:
    """Recorded or only left in a worktree that was given back, it stands there as if edited."""
    first = await git.isolate("1")
    (first.path / "new.py").write_text("one = 1\n")
    (first.path / CORE).unlink()
    change = await git.record(first, "a change")
    (first.path / "late.py").write_text("two = 2\n")
    await git.release(first)
    (git.repo_path / "other.py").write_text("other = 3\n")
    await git.commit("main moves", ["other.py"])
    for name, head, more in (("2", change.head, set()), ("3", "", {"late.py"})):
        place = await git.isolate(name)
        assert await git.carry(place, first, head) == ()
        carried = await git.record(place, "carried")
        assert set(carried.paths) == {"new.py", CORE} | more
        assert (place.path / "other.py").exists()


async def test_conflicts_are_marked_and_named(git: GitSafety) -> None:
    """Where main has changed the same lines, both are in the file, and the path is told."""
    first = await git.isolate("1")
    (first.path / CORE).write_text("mine = 1\n")
    change = await git.record(first, "a change")
    (git.repo_path / CORE).write_text("theirs = 2\n")
    await git.commit("main moves", [CORE])
    place = await git.isolate("2")
    assert await git.carry(place, first, change.head) == (CORE,)
    text = (place.path / CORE).read_text()
    assert "<<<<<<<" in text and "mine = 1" in text and "theirs = 2" in text


async def test_main_merged_into_a_worktree_is_no_part_of_the_change(git: GitSafety) -> None:
    """A caller that resolves a conflict by merging main is judged for its own lines alone."""
    place = await git.isolate("1")
    (place.path / CORE).write_text("mine = 1\n")
    await git.record(place, "a change")
    (git.repo_path / CORE).write_text("theirs = 2\n")
    (git.repo_path / "other.py").write_text("other = 3\n")
    await git.commit("main moves", [CORE, "other.py"])
    worktree = GitSafety(place.path)
    assert (await worktree._run_git("merge", "main", check=False)).returncode
    (place.path / CORE).write_text("mine = 1\ntheirs = 2\n")
    change = await git.record(place, "resolved")
    assert change.base == await git.get_main_commit()
    assert change.paths == (CORE,)
    candidate = await git.candidate(change)
    assert not hasattr(candidate, "files"), "it merges"
