"""Pooled worktrees: attempts' own, and the gate's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from self_coding.git_safety import GitOperationError, GitSafety
from self_coding.values.verdicts import GateSettings


async def test_record_twice(repo, git) -> None:
    """Recording again without new work gives the same change."""
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x")
    assert await git.record(tree, "x") == await git.record(tree, "x")


async def test_recording_in_a_worktree_that_is_gone(repo, git) -> None:
    """A released attempt has no worktree to record from."""
    import shutil

    tree = await git.isolate("a")
    shutil.rmtree(tree.path)
    with pytest.raises(GitOperationError, match="gone"):
        await git.record(tree, "x")


async def test_isolate_on_a_branch_in_use(repo, git) -> None:
    """An attempt does not take over a branch that somebody stands on."""
    repo("checkout", "-qb", "timmy/self-edit/a")
    with pytest.raises(GitOperationError, match="checked out"):
        await git.isolate("a")


async def test_isolate_is_idempotent_and_warm(repo, git) -> None:
    """The same attempt gets the same worktree; the next one gets the same folder, clean."""
    tree = await git.isolate("a")
    assert await git.isolate("a") == tree
    assert tree.branch == "timmy/self-edit/a"
    (tree.path / "junk.txt").write_text("x")
    (tree.path / "app.py").write_text("changed\n")
    (tree.path / ".git").write_text("gitdir: /nowhere\n")
    await git.release(tree)
    other = await git.isolate("b")
    assert other.path == tree.path
    assert sorted(p.name for p in other.path.iterdir()) == [".git", "README.md", "app.py", "lib"]
    assert (other.path / "app.py").read_text() == "one = 1\n"
    assert repo("status", "--porcelain") == ""
    assert subprocess.run(["git", "status", "-sb"], cwd=other.path, capture_output=True).stdout == (
        b"## timmy/self-edit/b\n"
    )


async def test_a_straggler_does_not_get_into_the_next_attempt(repo, git) -> None:
    """A file that appears in a pooled worktree while it is free is gone when it is used."""
    tree = await git.isolate("a")
    await git.release(tree)
    (tree.path / "lib" / "straggler.py").write_text("x")
    (tree.path / "app.py").write_text("tampered\n")
    await git.isolate("b")
    assert not (tree.path / "lib" / "straggler.py").exists()
    assert (tree.path / "app.py").read_text() == "one = 1\n"


async def test_release_pins_the_full_state(repo, git) -> None:
    """What an attempt had not committed is under its ref, and a nested repository is set aside."""
    tree = await git.isolate("a")
    (tree.path / "uncommitted.txt").write_text("x")
    subprocess.run(["git", "init", "-q", str(tree.path / "inner")], check=True)
    (tree.path / "inner" / "i.txt").write_text("i")
    await git.release(tree)
    names = repo("ls-tree", "-r", "--name-only", "refs/self-coding/attempts/a")
    assert "worktree/uncommitted.txt" in names
    [aside] = (repo.path / ".git/self_coding/set-aside").iterdir()
    assert (aside / "inner" / "i.txt").read_text() == "i"
    await git.release(tree)


async def test_a_copied_repository(repo, git) -> None:
    """A copy's worktrees are its own: what happens there does not reach the original."""
    tree = await git.isolate("a")
    (tree.path / "n.py").write_text("original")
    copy = repo.path.parent / "copy"
    shutil.copytree(repo.path, copy, symlinks=True)
    other = GitSafety(copy, test_command="true")
    theirs = await other.isolate("a")
    assert copy in theirs.path.parents
    subprocess.run(["git", "add", "-A"], cwd=theirs.path, check=True)
    subprocess.run(["git", "commit", "-qm", "in the copy"], cwd=theirs.path, check=True)
    assert repo("rev-parse", tree.branch) == tree.base
    await other.record(theirs, "x")
    await other.release(theirs)
    assert (tree.path / "n.py").read_text() == "original"


async def test_an_attempt_that_worked_on_another_branch(repo, git) -> None:
    """What an agent did after switching branches in its worktree is recorded on its own branch."""
    repo("checkout", "-qb", "mine")
    tree = await git.isolate("a")
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=tree.path, check=True)
    (tree.path / "n.py").write_text("x")
    change = await git.record(tree, "n")
    assert change.paths == ("n.py",)
    assert repo("rev-parse", tree.branch) == change.head


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


async def test_an_ended_attempts_branch_goes_and_its_commits_stay(repo, git) -> None:
    """`git branch` lists no attempt that has ended; its commits are below refs/self-coding."""
    tree = await git.isolate("a")
    (tree.path / "n.py").write_text("x")
    change = await git.record(tree, "n")
    await git.release(tree)
    assert repo("branch", "--format=%(refname:short)") == "main"
    assert repo("for-each-ref", "--contains", change.head, "refs/self-coding")


@pytest.mark.parametrize("why", ["named", "checked out", "moved off"])
async def test_a_branch_that_somebody_wants_stays(repo, git, why) -> None:
    """A branch that a person named or is on is left; what only it held is kept in any case."""
    tree = await git.isolate("a", branch="mine" if why == "named" else "")
    (tree.path / "n.py").write_text("x")
    change = await git.record(tree, "n")
    if why == "moved off":
        subprocess.run(["git", "checkout", "-q", "--detach", "main"], cwd=tree.path, check=True)
    elif why == "checked out":
        repo("symbolic-ref", "HEAD", f"refs/heads/{tree.branch}")
    await git.release(tree)
    listed = repo("branch", "--format=%(refname:short)").splitlines()
    assert (tree.branch in listed) == (why != "moved off")
    if why == "moved off":
        assert repo("for-each-ref", "--contains", change.head, "refs/self-coding")


async def test_a_named_branch_must_be_new(repo, git) -> None:
    """An edit is never begun on a branch that holds something already."""
    repo("branch", "mine")
    repo.commit("two", **{"two.py": "2"})
    with pytest.raises(GitOperationError, match="'mine' already"):
        await git.isolate("a", branch="mine")
    with pytest.raises(GitOperationError):
        await git.isolate("a", branch="-f")


async def test_what_is_carried_is_there_and_no_part_of_the_edit(repo) -> None:
    """Ignored files that a setting names are copied, never recorded, and gone with the attempt."""
    repo.commit(**{".gitignore": ".env\ncache/\n"})
    repo.write(".env", "KEY=secret\n")
    repo.write("cache/deep/a", "1")
    git = repo.safety(carry=[".env", "cache", "not/there"])
    tree = await git.isolate("a")
    assert (tree.path / ".env").read_text() == "KEY=secret\n"
    assert (tree.path / "cache/deep/a").read_text() == "1"
    (tree.path / ".env").write_text("changed\n")
    assert await git.isolate("a") == tree
    assert (tree.path / ".env").read_text() == "changed\n", "asked again, nothing is replaced"
    (tree.path / "new.py").write_text("x")
    change = await git.record(tree, "new")
    assert (change.paths, change.left_out) == (("new.py",), ())
    await git.release(tree)
    plain = await repo.safety().isolate("b")
    assert plain.path == tree.path
    assert not (plain.path / ".env").exists() and not (plain.path / "cache").exists()
    assert repo.read(".env") == "KEY=secret\n"
    assert repo("grep", "secret", *repo("rev-list", "--all").split(), check=False) == ""


async def test_a_worktree_has_what_setup_made(repo) -> None:
    """What the setup command made for the same dependencies is copied, if asked, never recorded."""
    repo.commit(**{".gitignore": "made/\nlog\n", "requirements.txt": "one\n"})
    setup = "mkdir made && echo 1 > made/a && echo > open.txt && echo x > log"
    git = repo.safety(gate=GateSettings(setup_command=setup))
    early = await git.isolate("early", equip=True)
    assert not (early.path / "made").exists(), "it is the tests that prepare it, once"
    await git.test("HEAD")
    tree = await git.isolate("a", equip=True)
    assert (tree.path / "made/a").read_text() == "1\n"
    assert not (tree.path / "open.txt").exists(), "it would become a part of the edit"
    (tree.path / "made/a").write_text("mine\n")
    (tree.path / "new.py").write_text("x")
    change = await git.record(tree, "new")
    assert (change.paths, change.left_out) == (("new.py",), ())
    other = await git.isolate("b", equip=True)
    assert (other.path / "made/a").read_text() == "1\n", "a copy of its own"
    repo.commit(**{"requirements.txt": "two\n"})
    assert not ((await git.isolate("c", equip=True)).path / "made").exists()
    assert not ((await git.isolate("d")).path / "made").exists()


@pytest.mark.parametrize("name", ["open.txt", "README.md", "../outside", "/etc/hostname"])
async def test_what_git_does_not_ignore_is_not_carried(repo, name: str) -> None:
    """A file that would become a part of the edit, or is outside, is refused by name."""
    repo.write("open.txt", "x")
    with pytest.raises(GitOperationError, match=r"not ignored by git|not inside"):
        await repo.safety(carry=[name]).isolate("a")


async def test_what_is_carried_does_not_leave_the_worktree(repo, tmp_path: Path) -> None:
    """A symlink that the tree holds leads no copy elsewhere."""
    (tmp_path / "outside").mkdir()
    repo.commit(**{".gitignore": "conf/.env\n"})
    repo.write("conf/.env", "x")
    git = repo.safety(carry=["conf/.env"])
    (repo.path / "conf").rename(repo.path / "kept")
    (repo.path / "conf").symlink_to(tmp_path / "outside")
    repo("add", "conf")
    repo("commit", "-qm", "link")
    (repo.path / "conf").unlink()
    (repo.path / "kept").rename(repo.path / "conf")
    with pytest.raises(GitOperationError):
        await git.isolate("a")
    assert [*(tmp_path / "outside").iterdir()] == []


OWN = {
    "a commit": "git commit -qam own",
    "on another branch": "git checkout -qb other && git commit -qam own",
    "on no branch": "git checkout -q --detach && git commit -qam own",
    "a soft reset": "git commit -qam own && git reset -q --soft HEAD~1",
    "a mixed reset": "git commit -qam own && git reset -q HEAD~1",
    "amended": "git commit -qam one && git commit -q --amend -m two",
    "two commits, squashed": "git commit -qm one new.py && git commit -qam two"
    " && git reset -q --soft HEAD~2 && git commit -qam both",
    "rebased": "git commit -qam own && git rebase -q --force-rebase HEAD~1",
    "a stash, popped": "git stash -q -u && git stash pop -q",
    "a branch renamed": "git commit -qam own && git branch -m mine",
    "a merge": "git checkout -qb side && git commit -qam own && git checkout -q -"
    " && git merge -q --no-ff -m merged side",
}


@pytest.mark.parametrize("how", OWN)
async def test_what_an_agent_did_with_git_is_recorded(repo, git, how) -> None:
    """However an agent commits, switches or resets in its worktree, all that it edited is in the
    change, on the attempt's branch, and the person's branches are where they were."""
    start = repo("rev-parse", "main")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    (tree.path / "new.py").write_text("agent\n")
    line = f"git config user.name x; git config user.email x@x; git add new.py; {OWN[how]}"
    subprocess.run(["sh", "-c", line], cwd=tree.path, check=True, capture_output=True)
    change = await git.record(tree, "n")
    assert change.paths == ("app.py", "new.py")
    assert repo("rev-parse", tree.branch) == change.head
    if "own" in OWN[how] and "reset" not in OWN[how]:
        assert "own" in repo("log", "--format=%s", f"main..{change.head}").splitlines()
    assert (repo("rev-parse", "main"), repo("status", "--porcelain")) == (start, "")


NESTED = {
    "without a commit": ("web", "git init -q ."),
    "with a commit": ("web", "git init -q . && git add -A && git commit -qm own"),
    "deep": ("a/b/web", "git init -q ."),
    "two": ("web", "git init -q . && mkdir in && cd in && git init -q . && echo 1 > x"),
    "a clone": ("web", "git init -q --separate-git-dir ../.git-web ."),
}


@pytest.mark.parametrize("kind", NESTED)
async def test_a_repository_made_inside_is_kept(repo, git, kind) -> None:
    """What an editor scaffolds with `git init` is in the change, or set aside as it was."""
    name, line = NESTED[kind]
    tree = await git.isolate("a")
    (tree.path / name).mkdir(parents=True)
    (tree.path / name / "work.js").write_text("an hour\n")
    (tree.path / "app.py").write_text("agent\n")
    line = f"git config --global user.name x; git config --global user.email x@x; {line}"
    env = {**os.environ, "GIT_CONFIG_GLOBAL": str(repo.path.parent / "global")}
    subprocess.run(["sh", "-c", line], cwd=tree.path / name, check=True, env=env)
    change = await git.record(tree, "n")
    await git.release(tree)
    assert "app.py" in change.paths
    aside = repo.path / ".git/self_coding/set-aside"
    kept = [one.read_text() for one in aside.rglob("work.js")] if aside.exists() else []
    kept += [repo("show", f"{change.head}:{one}") for one in change.paths if "work.js" in one]
    assert [one.strip() for one in kept] == ["an hour"]
