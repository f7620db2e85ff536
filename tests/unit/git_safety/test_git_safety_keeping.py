"""Undo, the log, retention, recovery: what is kept, and what is said about it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from self_coding.errors import MainMovedError
from self_coding.git_safety import GitOperationError, GitSafety


async def test_undo_and_redo_in_steps(repo, git) -> None:
    """Several steps back and forth end where they began."""
    start = repo("rev-parse", "HEAD")
    for number in range(3):
        repo.write("app.py", f"{number}\n")
        await git.commit(f"step {number}")
    end = repo("rev-parse", "HEAD")
    await git.undo(3)
    assert repo("rev-parse", "HEAD") == start
    assert repo.read("app.py") == "2\n"
    await git.redo(3)
    assert repo("rev-parse", "HEAD") == end
    assert repo("status", "--porcelain") == ""


async def test_undo_of_a_merge(repo, git) -> None:
    """Main, branch, HEAD and files are as before the merge; redo merges again."""
    start = repo("rev-parse", "main")
    branch = await git.create_branch("try")
    repo.write("new.py")
    tip = await git.commit("new")
    merged = await git.merge_to_main(branch, require_tests=False)
    await git.undo()
    assert repo("rev-parse", "main", "try", "HEAD").split() == [start, tip, tip]
    assert repo("status", "--porcelain", "-b") == "## try"
    await git.redo()
    assert repo("rev-parse", "HEAD", "main").split() == [merged, merged]
    assert repo("branch", "--list", "try") == ""
    assert repo("status", "--porcelain") == ""


async def test_undo_of_a_new_branch(repo, git) -> None:
    """The branch is gone, HEAD is back, and edits came along."""
    await git.create_branch("try")
    repo.write("mine.txt", "mine")
    await git.undo()
    assert repo("branch", "--show-current") == "main"
    assert repo("branch", "--list", "try") == ""
    assert repo.read("mine.txt") == "mine"


async def test_undo_of_a_landing(repo, git) -> None:
    """Main and the checkout go back, however many others there are."""
    start = repo("rev-parse", "main")
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x")
    await git.land(await git.candidate(await git.record(tree, "new")), attempt="a")
    assert repo.has("new.py")
    await git.undo(attempt="a")
    assert repo("rev-parse", "main") == start
    assert not repo.has("new.py")
    assert repo("status", "--porcelain") == ""


async def test_undo_over_somebody_elses_commit(repo, git) -> None:
    """A branch that has moved on since is not taken back."""
    repo.write("new.py")
    await git.commit("new")
    theirs = repo.commit("theirs", **{"t.py": "t"})
    with pytest.raises(MainMovedError):
        await git.undo()
    assert repo("rev-parse", "HEAD") == theirs


async def test_undo_of_a_rollback_keeps_what_came_since(repo, git) -> None:
    """A file that a person changed after the rollback is theirs; the rest comes back."""
    taken = await git.snapshot(run_tests=False)
    repo.write("a.txt", "a")
    repo.write("b.txt", "b")
    await git.rollback(taken)
    repo.write("a.txt", "newer")
    done = await git.undo()
    assert (repo.read("a.txt"), repo.read("b.txt")) == ("newer", "b")
    assert done.kind == "undo"
    [operation] = [one for one in await git.operations() if one.id == done.id]
    assert operation.left == ("a.txt",)


async def test_nothing_to_undo(git) -> None:
    """With nothing done there is nothing to take back, and no step count below one."""
    for call in (git.undo(), git.redo(), git.undo(0), git.undo(attempt="nobody")):
        with pytest.raises(GitOperationError):
            await call


async def test_more_steps_than_there_are(repo, git) -> None:
    """Asked for more steps than there are, undo and redo change nothing and say how many."""
    repo.write("app.py", "1\n")
    made = await git.commit("one")
    with pytest.raises(GitOperationError, match=r"no more to undo than 1 step \("):
        await git.undo(5)
    assert repo("rev-parse", "HEAD") == made
    await git.undo()
    with pytest.raises(GitOperationError, match="no more to redo than 1 step"):
        await git.redo(2)
    assert repo("rev-parse", "HEAD") != made


async def test_a_step_that_cannot_be_taken_back(repo, git) -> None:
    """Where a later one of several steps fails, it is said how many are done."""
    repo.write("app.py", "1\n")
    await git.commit("one")
    theirs = repo.commit("theirs", **{"t.py": "t"})
    repo.write("app.py", "2\n")
    await git.commit("two")
    with pytest.raises(MainMovedError, match="1 of 2 steps were done before it"):
        await git.undo(2)
    assert repo("rev-parse", "HEAD") == theirs


async def test_undo_does_not_cross_actors(repo) -> None:
    """One agent's undo does not take back another's work."""
    one, two = repo.safety(actor="one"), repo.safety(actor="two")
    repo.write("new.py")
    await two.commit("two's")
    with pytest.raises(GitOperationError, match="nothing to undo"):
        await one.undo()


async def test_rolling_back_one_attempt_of_many(repo, git) -> None:
    """An attempt's rollback changes no path and no ref of another one."""
    trees = [await git.isolate(f"a{number}") for number in range(3)]
    for number, tree in enumerate(trees):
        (tree.path / "app.py").write_text(f"attempt {number}\n")
        (tree.path / "own.py").write_text("x")
        await git.record(tree, "work")
    before = repo("for-each-ref", "refs/heads").splitlines()
    await git.rollback(trees[1].base, attempt="a1")
    after = repo("for-each-ref", "refs/heads").splitlines()
    assert [line for line in before if "/a1" not in line] == [
        line for line in after if "/a1" not in line
    ]
    assert [(tree.path / "app.py").read_text() for tree in trees] == [
        "attempt 0\n", "one = 1\n", "attempt 2\n"
    ]  # fmt: skip
    await git.undo(attempt="a1")
    assert [(tree.path / "own.py").exists() for tree in trees] == [True, True, True]


async def test_attempt_rollback_leaves_what_others_wrote(repo, git) -> None:
    """In an attempt's worktree a path that changed after the record is a conflict, and stays."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    (tree.path / "new.py").write_text("agent\n")
    await git.record(tree, "work")
    (tree.path / "app.py").write_text("a person's\n")
    await git.rollback(tree.base, attempt="a")
    assert (tree.path / "app.py").read_text() == "a person's\n"
    assert not (tree.path / "new.py").exists()
    assert (await git.operations(1))[0].left == ("app.py",)


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


async def test_explain(repo, git) -> None:
    """Commits and reflog entries are told to be ours or not."""
    theirs = repo("rev-parse", "HEAD")
    repo.write("new.py")
    ours = await git.commit("ours")
    assert (await git.explain(ours)).kind == "commit"
    assert (await git.explain("main@{0}")).kind == "commit"
    assert await git.explain(theirs) is None

    repo("reset", "-q", "--hard", theirs)
    repo("reset", "-q", "--hard", ours)
    assert await git.explain("main@{0}") is None


async def test_the_log_says_who_and_why(repo) -> None:
    """Each operation has its actor, reason and refs; raw commands that move a branch, too."""
    git = repo.safety(actor="robin")
    old = repo("rev-parse", "HEAD")
    repo.write("new.py")
    new = await git.commit("why not")
    await git._run_git("commit", "-q", "--allow-empty", "-m", "raw")
    raw, ours = (await git.operations())[:2]
    assert (ours.actor, ours.kind, ours.reason) == ("robin", "commit", "why not")
    assert ours.refs == (("refs/heads/main", old, new),)
    assert (raw.kind, raw.refs[0][1]) == ("git", new)


async def test_a_lost_log_does_not_overwrite_snapshots(repo, git) -> None:
    """When the log's file is deleted, numbers go on behind the refs that are there."""
    taken = await git.snapshot(run_tests=False)
    for path in (repo.path / ".git" / "self_coding").glob("operations.db*"):
        path.unlink()
    fresh = repo.safety()
    repo.write("new.py")
    other = await fresh.snapshot(run_tests=False)
    assert other.ref != taken.ref
    await fresh.rollback(taken)
    assert not repo.has("new.py")


async def test_snapshots_after_their_objects_were_collected(repo, git) -> None:
    """When old snapshots and their objects are gone, the next one captures all anew."""
    repo.write("untracked.txt", "precious")
    await git.snapshot(run_tests=False)
    for ref in repo("for-each-ref", "--format=%(refname)", "refs/self-coding").split():
        repo("update-ref", "-d", ref)
    repo("gc", "-q", "--prune=now")
    taken = await git.snapshot(run_tests=False)
    assert repo("show", f"{taken.ref}:worktree/untracked.txt") == "precious"


async def test_gc_keeps_the_newest(repo, git) -> None:
    """Retention drops the oldest refs only, and what is left can still be gone back to."""
    for number in range(5):
        repo.write("app.py", f"{number}\n")
        await git.snapshot(run_tests=False)
    said = await git.gc(keep=2, keep_days=-1)
    assert any("dropped 3" in line for line in said)
    left = await git.snapshots()
    assert len(left) == 2
    repo.write("app.py", "later\n")
    await git.rollback(left[0])
    assert repo.read("app.py") == "4\n"
    repo("fsck", "--connectivity-only")


async def test_gc_forgets_only_our_own_lost_worktrees(repo, git, tmp_path) -> None:
    """The registration of a worktree of ours that is gone goes; a person's, on a disk that is not
    mounted just now, stays, whatever it is called."""
    tree = await git.isolate("a")
    shutil.rmtree(tree.path)
    theirs = tmp_path / "self-coding-fix"
    repo("worktree", "add", "-q", str(theirs))
    theirs.rename(tmp_path / "unplugged")
    said = await git.gc(keep_days=-1)
    assert [line for line in said if "forgot" in line] == [f"forgot the worktree at {tree.path}"]
    (tmp_path / "unplugged").rename(theirs)
    assert str(theirs) in repo("worktree", "list")


async def test_gc_under_a_quota(repo, git) -> None:
    """A quota drops the oldest snapshots until it is met, and never the newest twenty."""
    for number in range(30):
        repo.write("big.bin", os.urandom(20_000))
        await git.snapshot(run_tests=False)
        del number
    await git.gc(max_bytes=100_000)
    assert len(await git.snapshots()) == 20


async def test_many_snapshots_stay_small(repo, git) -> None:
    """Snapshots of one changed file share all the rest."""
    repo.write("big.bin", os.urandom(300_000))
    before = None
    for number in range(20):
        repo.write("app.py", f"{number}\n")
        await git.snapshot(run_tests=False)
        folders = (repo.path / ".git" / "objects", repo.path / ".git" / "refs")
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        before = before or size
    assert size - before < 0.02 * 19 * 300_000


async def test_recover_says_what_it_did(repo, git) -> None:
    """A stale lock that is provably ours goes, an intent that had not begun is dropped."""
    await git.snapshot(run_tests=False)
    folder = repo.path / ".git" / "self_coding"
    token = folder / "index-lock-1-1"
    token.touch()
    os.link(token, repo.path / ".git" / "index.lock")
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "tmp" / "left").touch()
    said = await git.recover()
    assert any("index.lock" in line for line in said)
    assert any("temporary" in line for line in said)
    assert not (repo.path / ".git" / "index.lock").exists()
    assert await git.recover() == []


async def test_a_planted_intent_is_dropped(repo, git, tmp_path) -> None:
    """An intent that names places outside of the repository does nothing."""
    await git.snapshot(run_tests=False)
    folder = repo.path / ".git" / "self_coding"
    victim = tmp_path / "victim.txt"
    victim.write_text("theirs")
    step = {"path": "victim.txt", "mode": "000000", "expected": "stat", "digest": ""}
    part = {
        "top": str(tmp_path), "directory": str(repo.path / ".git"), "steps": [step],
        "staging": str(tmp_path), "index": "", "index_before": "", "head_from": "",
        "head_to": "", "token": "",
    }  # fmt: skip
    plan = {
        "kind": "x", "refs": [], "after": [], "parts": [part], "reason": "", "attempt": "",
        "undo_ref": "", "reverses": None, "data": {},
    }  # fmt: skip
    (folder / "intent.json").write_text(json.dumps(plan))
    assert "dropped" in (await git.recover())[0]
    assert victim.read_text() == "theirs"
    (folder / "intent.json").write_text("{broken")
    assert "unreadable" in (await git.recover())[0]


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
async def test_files_that_git_was_told_not_to_look_at(repo, git, flag) -> None:
    """A local edit hidden by an index flag is not written over when main is followed."""
    repo("update-index", flag, "app.py")
    repo.write("app.py", "local secret\n")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    (tree.path / "README.md").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout.startswith("left: app.py")
    assert (repo.read("app.py"), repo.read("README.md")) == ("local secret\n", "agent\n")
    assert repo("ls-files", "-v", "app.py")[0] in "hS"
    assert repo("status", "--porcelain") == ""


async def test_landing_beside_uncommitted_work(repo, git) -> None:
    """Each path follows where it is not the person's; their next commit reverts nothing."""
    repo.write("app.py", "mine\n")
    repo.write("mine.py", "mine\n")
    repo("add", "mine.py")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    (tree.path / "lib" / "core.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout == "left: app.py (uncommitted changes)"
    assert (repo.read("app.py"), repo.read("lib/core.py")) == ("mine\n", "agent\n")
    assert repo("status", "--porcelain") == " M app.py\nA  mine.py"
    repo("commit", "-qm", "mine")
    assert repo("show", "main:app.py") == "agent"


async def test_a_file_that_was_only_touched_follows(repo, git) -> None:
    """A file with another time and the same content is no uncommitted change, and no diff."""
    os.utime(repo.path / "app.py", (1, 1))
    index = (repo.path / ".git" / "index").read_bytes()
    assert await git.get_modified_files() == []
    assert await git.get_diff("main") == ""
    assert (repo.path / ".git" / "index").read_bytes() == index
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert (landed.checkout, repo.read("app.py")) == ("followed", "agent\n")
    assert repo("status", "--porcelain") == ""


async def test_landing_while_elsewhere(repo, git) -> None:
    """A person on another branch sees nothing of it."""
    repo("checkout", "-qb", "mine")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout == "not on main"
    assert repo.read("app.py") == "one = 1\n"
    assert repo("show", "main:app.py") == "agent"


async def test_sparse_checkout(repo, git) -> None:
    """Files outside of a sparse checkout stay out of it, and out of every diff."""
    repo("sparse-checkout", "set", "--no-cone", "/*", "!lib/")
    assert not repo.has("lib/core.py")
    taken = await git.snapshot(run_tests=False)
    branch = await git.create_branch("try")
    repo.write("app.py", "agent\n")
    commit = await git.commit("x")
    assert repo("show", "--name-only", "--format=", commit) == "app.py"
    await git.merge_to_main(branch, require_tests=False)
    tree = await git.isolate("a")
    (tree.path / "lib" / "core.py").write_text("agent\n")
    await git.land(await git.candidate(await git.record(tree, "x")))
    assert not repo.has("lib/core.py")
    assert repo("status", "--porcelain") == ""
    await git.rollback(taken)
    assert repo.read("app.py") == "one = 1\n"
    assert not repo.has("lib/core.py")


async def test_filemode_off(repo, git) -> None:
    """Where the file system knows no exec bit, a rollback still restores."""
    repo("config", "core.fileMode", "false")
    (repo.path / "app.py").chmod(0o755)
    taken = await git.snapshot(run_tests=False)
    repo.write("app.py", "agent\n")
    repo.write("new.py")
    (repo.path / "new.py").chmod(0o755)
    await git.rollback(taken)
    assert repo.read("app.py") == "one = 1\n"
    assert not repo.has("new.py")


async def test_private_files_stay_private(repo, git) -> None:
    """A file that only its owner may read is not opened up by a restore."""
    path = repo.write("secret.txt", "one")
    path.chmod(0o600)
    taken = await git.snapshot(run_tests=False)
    path.write_text("two")
    await git.rollback(taken)
    assert path.read_text() == "one"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_filter_in_an_included_file_does_not_run(repo, git) -> None:
    """Configuration that appears later in an included file is seen in time."""
    stolen = repo.path.parent / "stolen"
    included = repo.path.parent / "later.cfg"
    repo("config", "include.path", str(included))
    await git.snapshot(run_tests=False)
    included.write_text(f'[filter "x"]\n\tclean = "touch {stolen}; cat"\n')
    repo.write(".gitattributes", "*.py filter=x\n")
    repo.write("app.py", "agent\n")
    with pytest.raises(GitOperationError, match="filter"):
        await git.commit("x")
    await git.get_modified_files()
    assert not stolen.exists()


async def test_undecodable_repository_path(tmp_path) -> None:
    """A repository in a folder whose name is no text works."""
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    place.mkdir()
    for args in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        flags = ["-c", "user.name=p", "-c", "user.email=p@p"]
        subprocess.run(["git", *flags, *args], cwd=place, check=True)
    git = GitSafety(place, test_command="true")
    (place / "a.txt").write_text("a")
    taken = await git.snapshot()
    tree = await git.isolate("a")
    (tree.path / "b.txt").write_text("b")
    await git.land(await git.candidate(await git.record(tree, "b")))
    assert (place / "b.txt").exists()
    await git.release(tree)
    assert taken.test_status is True


async def test_cancelled_calls_leave_nothing_half_done(repo, git) -> None:
    """A cancelled call ends its git, and the next one works."""
    import asyncio

    for delay in (0.001, 0.01, 0.03, 0.06):
        repo.write("new.py", str(delay))
        call = asyncio.create_task(git.commit("x", ["new.py"]))
        await asyncio.sleep(delay)
        call.cancel()
        with pytest.raises((asyncio.CancelledError, GitOperationError)):
            await call
            raise asyncio.CancelledError
        await git.recover()
        assert not (repo.path / ".git" / "index.lock").exists()
        assert repo.read("new.py") == str(delay)
    assert len(await git.commit("x", ["new.py"])) == 40


async def test_a_repository_around_a_whole_home(repo, git, monkeypatch) -> None:
    """A home directory that is mostly untracked is not swallowed."""
    monkeypatch.setenv("HOME", str(repo.path))
    monkeypatch.setattr("self_coding.git_safety.tree_state.HOME_LIMIT", 3)
    for number in range(5):
        repo.write(f"f{number}")
    with pytest.raises(GitOperationError, match="home"):
        await git.snapshot(run_tests=False)


def test_import_is_light() -> None:
    """Importing GitSafety loads the standard library and our own modules alone."""
    code = (
        "import sys; before = set(sys.modules); import self_coding.git_safety;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(new - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(eval(done.stdout))
    assert {name for name in names if not name.startswith("_")} <= {"self_coding", "sitecustomize"}


async def test_a_commit_that_was_gone_back_to_is_not_ours(repo, git) -> None:
    """Going to a person's commit, in whatever way, does not make it a commit of ours."""
    theirs = repo("rev-parse", "HEAD")
    await git.rollback("HEAD")
    assert await git.explain(theirs) is None
    repo("checkout", "-q", "main")
    await git.create_branch("mine")
    repo.write("new.py")
    ours = await git.commit("ours")
    await git.undo()
    assert await git.explain(theirs) is None
    assert (await git.explain(ours)).kind == "commit"
    await git._run_git("reset", "-q", "--soft", ours)
    await git._run_git("reset", "-q", "--soft", theirs)
    assert await git.explain(theirs) is None


async def test_a_commit_that_an_attempt_begins_at_is_not_ours(repo, git) -> None:
    """The branch of an attempt is ours, and its reflog entry; the commit it begins at is not."""
    tree = await git.isolate("a")
    assert await git.explain("HEAD") is None
    assert (await git.explain(f"{tree.branch}@{{0}}")).kind == "isolate"
