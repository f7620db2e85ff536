"""What is read of a working tree."""

from __future__ import annotations

import pytest

from self_coding.git_safety import GitOperationError


async def test_nested_repository_and_submodule(repo, make) -> None:
    """Nested repositories are neither captured, nor changed, nor deleted."""
    inner = make("repo/vendor/inner")
    inner.commit("inner", **{"i.txt": "i"})
    empty = make("repo/vendor/empty")
    empty.write("e.txt", "e")
    git = repo.safety()
    taken = await git.snapshot(run_tests=False)
    assert {item.path for item in taken.uncaptured} >= {"vendor/inner/"}
    inner.write("i.txt", "edited")
    inner.write("new.txt", "new")
    await git.rollback(taken)
    assert (inner.read("i.txt"), inner.read("new.txt"), empty.read("e.txt")) == (
        "edited",
        "new",
        "e",
    )


async def test_a_repository_around_a_whole_home(repo, git, monkeypatch) -> None:
    """A home directory that is mostly untracked is not swallowed."""
    monkeypatch.setenv("HOME", str(repo.path))
    monkeypatch.setattr("self_coding.git_safety.tree_state.HOME_LIMIT", 3)
    for number in range(5):
        repo.write(f"f{number}")
    with pytest.raises(GitOperationError, match="home"):
        await git.snapshot(run_tests=False)


async def test_tracked_though_ignored_then_untracked(repo, git) -> None:
    """A file that git tracks although it is ignored is captured; once untracked it is left."""
    repo.write(".gitignore", "*.log\n")
    repo.write("keep.log", "tracked")
    repo("add", "-f", ".gitignore", "keep.log")
    repo("commit", "-qm", "keep")
    repo.write("keep.log", "edited")
    taken = await git.snapshot(run_tests=False)
    repo.write("keep.log", "agent")
    await git.rollback(taken)
    assert repo.read("keep.log") == "edited"
    repo("rm", "-q", "--cached", "keep.log")
    repo("commit", "-qm", "untrack")
    repo.write("keep.log", "precious")
    await git.rollback(taken.commit_hash)
    assert repo.read("keep.log") == "precious"
