"""What was found by trying to make it lose a file, and stays found."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

from self_coding.errors import SelfCodingError
from self_coding.git_safety import GitSafety


def blob(text: str) -> str:
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


async def test_an_editor_that_saves_all_the_time(repo, git) -> None:
    """Files saved in place and by rename while rollbacks run are never the ones that get lost."""
    taken = await git.snapshot(run_tests=False)
    saved, stop = [], threading.Event()

    def editor() -> None:
        while not stop.is_set():
            text = f"version {len(saved)}\n"
            if len(saved) % 2:
                repo.write("app.py", text)
            else:
                repo.write(".saving", text)
                os.replace(repo.path / ".saving", repo.path / "app.py")
            saved.append(text)
            time.sleep(0.002)

    thread = threading.Thread(target=editor)
    thread.start()
    try:
        for _ in range(6):
            try:
                await git.rollback(taken)
            except SelfCodingError:
                continue
    finally:
        stop.set()
        thread.join()
    known = repo("rev-list", "--objects", "--all", "--no-object-names").split()
    kept = (repo.path / ".git" / "self-coding-set-aside").rglob("*")
    aside = [path.read_text() for path in kept if path.is_file()]
    assert repo.read("app.py") == saved[-1] or blob(saved[-1]) in known or saved[-1] in aside


async def test_files_and_folders_change_places(repo, git) -> None:
    """A folder that became a file, and a file that became a folder, come back, and forth again."""
    taken = await git.snapshot(run_tests=False)
    shutil.rmtree(repo.path / "lib")
    repo.write("lib", "now a file")
    (repo.path / "app.py").unlink()
    repo.write("app.py/inside", "x")
    await git.rollback(taken)
    assert repo.read("lib/core.py").startswith("def")
    assert repo.read("app.py") == "one = 1\n"
    await git.undo()
    assert (repo.read("lib"), repo.read("app.py/inside")) == ("now a file", "x")


async def test_a_commit_where_a_file_became_a_folder(repo, git) -> None:
    """The same change can be committed."""
    (repo.path / "app.py").unlink()
    repo.write("app.py/inside", "x")
    await git.commit("all")
    assert repo("ls-files", "app.py") == "app.py/inside"
    assert repo("status", "--porcelain") == ""


async def test_an_ignored_file_inside_a_folder_in_the_way(repo, git) -> None:
    """A folder with an ignored file in it is not removed to make room."""
    repo.write(".git/info/exclude", "*.secret\n")
    taken = await git.snapshot(run_tests=False)
    (repo.path / "app.py").unlink()
    repo.write("app.py/k.secret", "key")
    await git.rollback(taken)
    assert repo.read("app.py/k.secret") == "key"
    assert (await git.operations(1))[0].left == ("app.py",)


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


async def test_intent_to_add_and_split_index(repo, git) -> None:
    """Unusual indexes come back as they were."""
    repo.write("n.py", "n")
    repo("add", "-N", "n.py")
    repo("update-index", "--split-index")
    before = repo("status", "--porcelain")
    taken = await git.snapshot(run_tests=False)
    repo.write("n.py", "changed")
    repo("add", "n.py")
    await git.rollback(taken)
    assert (repo.read("n.py"), repo("status", "--porcelain")) == ("n", before)


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


async def test_a_tag_with_the_name_of_main(repo, git) -> None:
    """`main` is the branch, whatever else has that name."""
    repo("tag", "main")
    tip = repo.commit("two", **{"two.py": "2"})
    await git.create_branch("try")
    assert repo("rev-parse", "HEAD") == tip


async def test_staged_content_that_a_commit_replaces(repo, git) -> None:
    """A staged version that is not what gets committed stays under a ref."""
    repo.write("app.py", "staged version\n")
    repo("add", "app.py")
    repo.write("app.py", "later version\n")
    await git.commit("later", ["app.py"])
    repo("gc", "-q", "--prune=now")
    known = repo("rev-list", "--objects", "--all", "--no-object-names").split()
    assert blob("staged version\n") in known


async def test_an_attempt_that_worked_on_another_branch(repo, git) -> None:
    """What an agent did after switching branches in its worktree is recorded on its own branch."""
    repo("checkout", "-qb", "mine")
    tree = await git.isolate("a")
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=tree.path, check=True)
    (tree.path / "n.py").write_text("x")
    change = await git.record(tree, "n")
    assert change.paths == ("n.py",)
    assert repo("rev-parse", tree.branch) == change.head


async def test_staging_at_the_last_moment(repo, git, monkeypatch) -> None:
    """What a person stages just before we take the index is not written over."""
    from self_coding.git_safety.locks import IndexLock

    acquire, late = IndexLock.acquire, iter(["late.py"])

    def staged_late(self: IndexLock, *wait: float) -> None:
        for name in late:
            repo.write(name, "staged late")
            repo("add", name)
        acquire(self, *wait)

    monkeypatch.setattr(IndexLock, "acquire", staged_late)
    repo.write("new.py")
    commit = await git.commit("new", ["new.py"])
    assert repo("show", "--name-only", "--format=", commit) == "new.py"
    assert repo("status", "--porcelain") == "A  late.py"


async def test_an_old_foreign_lock_survives_recovery(repo, git) -> None:
    """A ref's lock that was there before our crashed operation is not ours to remove."""
    await git.snapshot(run_tests=False)
    main = repo("rev-parse", "main")
    lock = repo.write(".git/refs/heads/main.lock", "theirs")
    os.utime(lock, (1, 1))
    plan = {
        "kind": "land", "refs": [["refs/heads/main", main, "1" * 40]], "after": [], "parts": [],
        "reason": "", "attempt": "", "undo_ref": "", "reverses": None, "data": {}, "key": "k",
    }  # fmt: skip
    repo.write(".git/self_coding/intent.json", json.dumps(plan))
    assert "had not begun" in (await git.recover())[0]
    assert lock.exists()


async def test_a_young_lock_of_a_crashed_operation_goes(repo, git) -> None:
    """A lock on the very ref that a crashed operation was moving, and not older, is ours."""
    await git.snapshot(run_tests=False)
    main = repo("rev-parse", "main")
    plan = {
        "kind": "land", "refs": [["refs/heads/main", main, "1" * 40]], "after": [], "parts": [],
        "reason": "", "attempt": "", "undo_ref": "", "reverses": None, "data": {}, "key": "k",
    }  # fmt: skip
    repo.write(".git/self_coding/intent.json", json.dumps(plan))
    lock = repo.write(".git/refs/heads/main.lock", "ours")
    await git.recover()
    assert not lock.exists()


def test_swap_puts_a_strangers_bytes_back(tmp_path) -> None:
    """When the displaced file is not the expected one, the two change back."""
    from self_coding.git_safety import file_swap

    top, staging = tmp_path / "top", tmp_path / "staging"
    top.mkdir()
    staging.mkdir()
    (top / "a").write_text("theirs")
    (staging / "0").write_text("ours")
    digest = file_swap.fingerprint(staging / "0", "sha1")
    real = file_swap.matches
    calls = iter([True])  # the look before the exchange is deceived: they were quicker

    def deceived(path, expected, kind):
        return next(calls, None) or real(path, expected, kind)

    file_swap.matches = deceived
    try:
        expected = f"blob 100644 {blob('earlier')}"
        step = file_swap.FileStep("a", "100644", expected, digest)
        assert "concurrently" in file_swap.FileSwap(top, staging / "0", step, "sha1").execute()
        assert (top / "a").read_text() == "theirs"
        calls = iter([True])
        gone = file_swap.FileStep("a", "000000", expected)
        assert "concurrently" in file_swap.FileSwap(top, staging / "1", gone, "sha1").execute()
        assert (top / "a").read_text() == "theirs"
    finally:
        file_swap.matches = real


def test_swap_does_not_follow_symlinks(tmp_path) -> None:
    """A path behind a symlink is neither written nor deleted."""
    from self_coding.git_safety import file_swap

    top, staging, outside = (tmp_path / name for name in ("top", "staging", "outside"))
    for folder in (top, staging, outside):
        folder.mkdir()
    (top / "lib").symlink_to(outside)
    (outside / "theirs").write_text("theirs")
    (staging / "0").write_text("ours")
    digest = file_swap.fingerprint(staging / "0", "sha1")
    step = file_swap.FileStep("lib/new", "100644", "", digest)
    assert "symlink" in file_swap.FileSwap(top, staging / "0", step, "sha1").execute()
    gone = file_swap.FileStep("lib/theirs", "000000", f"blob 100644 {blob('theirs')}")
    assert "symlink" in file_swap.FileSwap(top, staging / "1", gone, "sha1").execute()
    assert [path.name for path in outside.iterdir()] == ["theirs"]


async def test_landing_on_a_staged_edit(repo, git) -> None:
    """A path that a person has staged keeps what they staged, and their file."""
    repo.write("app.py", "staged\n")
    repo("add", "app.py")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout == "left: app.py (staged)"
    assert (repo.read("app.py"), repo("show", ":app.py")) == ("staged\n", "staged")


async def test_rollback_does_not_take_another_sessions_landing_off_main(repo, git) -> None:
    """What somebody else landed meanwhile stays landed."""
    taken = await git.snapshot(run_tests=False)
    other = repo.safety()
    tree = await other.isolate("a")
    (tree.path / "new.py").write_text("x")
    landed = await other.land(await other.candidate(await other.record(tree, "x")))
    with pytest.raises(SelfCodingError, match="not made through this"):
        await git.rollback(taken)
    assert repo("rev-parse", "main") == landed.new
    assert repo.has("new.py")


async def test_a_database_that_git_tracks(repo, git) -> None:
    """Even one that was committed before it was hidden is not rewound."""
    from self_coding.adapters.paths import hide

    repo.commit("oops", **{"journal.db": "old rows"})
    taken = await git.snapshot(run_tests=False)
    hide(repo.path / "journal.db")
    repo.write("journal.db", "new rows")
    assert await git.commit("all") == taken.commit_hash
    await git.rollback(taken)
    assert repo.read("journal.db") == "new rows"
