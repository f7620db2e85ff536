"""What a crash leaves is finished or dropped."""

from __future__ import annotations

import json
import os

import pytest

from self_coding.git_safety import GitOperationError, landing, transaction
from self_coding.git_safety.log import Log


@pytest.fixture
def cut_off(monkeypatch):
    """Ends the next operation before its index is published, as a crash would."""

    def cut(room: object, name: str) -> None:
        real = getattr(room, name)

        def crash(*args: object, **more: object) -> None:
            monkeypatch.setattr(room, name, real)
            raise KeyboardInterrupt

        monkeypatch.setattr(room, name, crash)

    return cut


@pytest.mark.parametrize(
    ("room", "where"),
    [
        (transaction, "swap_files"),
        (transaction, "move_head"),
        (transaction, "publish_index"),
        (Log, "add"),
    ],
)
def test_a_cut_off_merge_is_finished(repo, cut_off, room, where) -> None:
    """Wherever a merge stops behind the moved ref, the next start finishes it."""
    import asyncio

    git = repo.safety()
    branch = asyncio.run(git.create_branch("try"))
    repo.write("new.py")
    asyncio.run(git.commit("new"))
    repo("checkout", "-q", "main")
    repo.write("mine.txt", "mine")
    cut_off(room, where)
    with pytest.raises(KeyboardInterrupt):
        landing.merge_to_main(git._repo, branch, None)
    said = asyncio.run(repo.safety().recover())
    assert any("finished" in line for line in said)
    assert repo("status", "--porcelain", "-b") == "## main\n?? mine.txt"
    assert repo.has("new.py")
    assert repo("branch", "--list", "try") == ""
    assert [one.kind for one in asyncio.run(git.operations())].count("merge") == 1


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


@pytest.mark.parametrize("moved", ["no", "there", "beyond"])
async def test_an_intent_of_an_earlier_version(repo, git, moved) -> None:
    """An intent as earlier versions stored it, with a key that is gone, is finished or dropped.

    It is finished, too, where a person has committed on top of what had landed.
    """
    await git.snapshot(run_tests=False)
    old = repo("rev-parse", "main")
    repo("checkout", "-q", "--detach")
    new = repo.commit("landed", **{"app.py": "one = 2\n"})
    repo("checkout", "-q", "main")
    part = {
        "top": str(repo.path), "directory": str(repo.path / ".git"), "steps": [], "staging": "",
        "index": "", "index_before": "", "head_from": "refs/heads/main", "head_to": "",
        "token": "/gone",
    }  # fmt: skip
    plan = {
        "kind": "land", "refs": [["refs/heads/main", old, new]], "parts": [part], "after": [],
        "reason": "earlier", "attempt": "a", "undo_ref": "", "reverses": None,
        "data": {"way": "follow"}, "key": "k",
    }  # fmt: skip
    repo.write(".git/self_coding/intent.json", json.dumps(plan))
    if moved != "no":
        repo("update-ref", "refs/heads/main", new)
    if moved == "beyond":
        later = repo("commit-tree", "-p", new, "-m", "later", f"{new}^{{tree}}")
        repo("update-ref", "refs/heads/main", later)
    said = await git.recover()
    assert said[0] == ("land: it had not begun; dropped" if moved == "no" else "land: finished")
    assert not repo.has(".git/self_coding/intent.json")
    assert [one.reason for one in await git.operations()].count("earlier") == (moved != "no")


@pytest.mark.parametrize("stored", ["{}", "[]", "{", '{"kind": 3}', '{"kind": "x", "refs": 1}'])
async def test_an_unreadable_intent_is_dropped(repo, git, stored) -> None:
    """What a torn disk left of an intent stops no further operation."""
    await git.snapshot(run_tests=False)
    repo.write(".git/self_coding/intent.json", stored)
    assert "unreadable" in (await git.recover())[0]
    assert not repo.has(".git/self_coding/intent.json")


async def test_what_is_staged_after_a_crash_stays(repo, git, monkeypatch) -> None:
    """An index that a person has changed between the crash and its repair is not replaced."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("one = 2\n")
    what = await git.candidate(await git.record(tree, "x"))

    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transaction, "swap_files", crash)
        with pytest.raises(KeyboardInterrupt):
            await git.land(what)
    repo.write("late.py")
    repo("add", "late.py")
    assert (await git.recover())[0] == "land: finished"
    assert repo("ls-files", "late.py") == "late.py"


async def test_a_refused_operation_leaves_no_intent(repo, git, monkeypatch) -> None:
    """What was refused before anything moved is not taken up by the next operation."""
    monkeypatch.setattr("self_coding.git_safety.locks.INDEX_WAIT_SECONDS", 0.1)
    repo.write("new.py")
    lock = repo.write(".git/index.lock", "")
    with pytest.raises(GitOperationError, match="at work here"):
        await git.commit("new", ["new.py"])
    assert not repo.has(".git/self_coding/intent.json")
    assert list((repo.path / ".git" / "self_coding").glob("index-lock-*")) == []
    assert lock.exists()


async def test_half_written_files_of_ours_go(repo, git) -> None:
    """What a killed process was writing into our folder goes, and no attempt commits it."""
    part = ".self-coding-0123456789abcdef"
    tree = await git.isolate("a")
    folder = repo.path / ".git" / "self_coding"
    (folder / "passed").mkdir(exist_ok=True)
    left = [folder / part, folder / "passed" / part, tree.path / part]
    for path in left:
        path.write_text("half")
    (tree.path / "new.py").write_text("x\n")
    change = await git.record(tree, "x")
    assert [file.path for file in change.files] == ["new.py"]
    await git.recover()
    assert not any(path.exists() for path in left)
