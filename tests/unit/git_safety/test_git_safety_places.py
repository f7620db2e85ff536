"""Where attempts' worktrees lie: where agents' tools may edit, and where git does not look."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from self_coding.git_safety import GitSafety


async def test_a_worktree_lies_in_the_project_and_out_of_gits_sight(repo, git) -> None:
    """Agents refuse to edit below `.git`, and outside of their project; git adds nothing of it."""
    tree = await git.isolate("a")
    assert tree.path == repo.path / ".self-coding" / "worktrees" / "w1"
    (tree.path / "app.py").write_text("two = 2\n")
    assert repo("status", "--porcelain", "--untracked-files=all") == ""
    repo("add", "-A")
    assert repo("diff", "--cached", "--name-only") == ""


async def test_a_clean_up_of_the_checkout_spares_an_edit(repo, git) -> None:
    """`git clean -fdx` takes ignored files, and not a worktree that is being edited."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("two = 2\n")
    repo("clean", "-fdxq")
    assert (tree.path / "app.py").read_text() == "two = 2\n"
    await git.isolate("b")
    assert repo("status", "--porcelain") == "", "the file that hides it was written again"


async def test_a_snapshot_and_a_rollback_leave_it_alone(repo, git) -> None:
    """The person's snapshot does not hold the worktree, and going back does not touch it."""
    before = await git.snapshot(run_tests=False)
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("two = 2\n")
    later = await git.snapshot(run_tests=False)
    assert later.uncaptured == ()
    await git.rollback(before.ref)
    assert (tree.path / "app.py").read_text() == "two = 2\n"
    assert (await git.record(tree, "two")).paths == ("app.py",)


async def test_from_a_linked_worktree_it_lies_in_the_main_one(repo, git, tmp_path) -> None:
    """All checkouts of a repository share its attempts' worktrees."""
    repo("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = GitSafety(tmp_path / "linked", test_command="true")
    assert (await linked.isolate("a")).path.parent == repo.path / ".self-coding" / "worktrees"


async def test_without_a_main_working_tree_it_lies_in_the_git_directory(repo, tmp_path) -> None:
    """A bare repository with linked worktrees gets no folder beside it."""
    bare = tmp_path / "project" / ".git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repo.path), str(bare)], check=True)
    linked = tmp_path / "linked"
    subprocess.run(["git", "worktree", "add", "-q", "-b", "x", str(linked)], cwd=bare, check=True)
    tree = await GitSafety(linked, test_command="true").isolate("a")
    assert tree.path.parent == bare / "self_coding" / "worktrees"
    assert not (tmp_path / "project" / ".self-coding").exists()


@pytest.mark.parametrize("kind", ["link", "file", "link inside"])
async def test_a_taken_place_is_not_used(repo, git, tmp_path, kind: str) -> None:
    """Where something else has our folder's name, nothing is written through it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ours = repo.path / ".self-coding"
    if kind == "link":
        ours.symlink_to(elsewhere)
    elif kind == "file":
        ours.write_text("theirs\n")
    else:
        ours.mkdir()
        (ours / "worktrees").symlink_to(elsewhere)
    tree = await git.isolate("a")
    assert tree.path.parent == repo.path / ".git" / "self_coding" / "worktrees"
    assert list(elsewhere.iterdir()) == []


async def test_a_worktree_of_an_earlier_version_is_used_on(repo, git) -> None:
    """One that was made in the git directory stays there, with the attempt that has it."""
    ours = repo.path / ".self-coding"
    ours.write_text("in the way\n")
    old = await git.isolate("a")
    (old.path / "app.py").write_text("two = 2\n")
    ours.unlink()
    again = await git.isolate("a")
    assert again.path == old.path
    assert (await git.record(again, "two")).paths == ("app.py",)
    await git.release(again)
    new: Path = (await git.isolate("b")).path
    assert new == old.path, "a warm one is taken first, wherever it lies"


async def test_a_worktree_without_its_git_file_is_given_back(repo, git) -> None:
    """What an editor did that deleted `.git` is kept, and the worktree serves the next attempt."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("two = 2\n")
    (tree.path / ".git").unlink()
    await git.release(tree)
    assert repo("show", "refs/self-coding/attempts/a:worktree/app.py") == "two = 2"
    again = await git.isolate("b")
    assert again.path == tree.path
    assert (again.path / "app.py").read_text() == "one = 1\n"
    assert len(repo("worktree", "list").splitlines()) == 2


async def test_a_repository_in_the_place_of_the_git_file_is_set_aside(repo, git) -> None:
    """Commits that an editor made in a repository of its own are not thrown away."""
    tree = await git.isolate("a")
    (tree.path / ".git").unlink()
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "own", "--no-gpg-sign")):
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        subprocess.run(["git", *identity, *words], cwd=tree.path, check=True)
    await git.release(tree)
    [aside] = (repo.path / ".git/self_coding/set-aside").iterdir()
    done = subprocess.run(["git", "log", "--format=%s"], cwd=aside, capture_output=True, text=True)
    assert done.stdout == "own\n"
    assert not tree.path.exists()
    assert len(repo("worktree", "list").splitlines()) == 1
