"""The face: what a self-edit calls, and what happens when an operation is cut off."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from self_coding.errors import GateError
from self_coding.git_safety import (
    GitOperationError,
    file_swap,
    landing,
    locks,
    receipts,
    transaction,
)
from self_coding.git_safety.log import Log
from self_coding.values.verdicts import GateReport, GateSettings


async def test_read_and_change(repo, git) -> None:
    """Contents at a commit with None for what is absent; a change names every file with counts."""
    base = await git.get_main_commit()
    repo.write("app.py", "one = 1\ntwo = 2\n")
    repo.write("b.bin", b"\0\1")
    (repo.path / "README.md").unlink()
    head = await git.commit("x")
    found = await git.read(head, ["app.py", "README.md", "lib", "nowhere"])
    assert found == {
        "app.py": b"one = 1\ntwo = 2\n",
        "README.md": None,
        "lib": None,
        "nowhere": None,
    }
    made = await git.change(base, head)
    assert [(f.path, f.status, f.added, f.removed, f.binary) for f in made.files] == [
        ("README.md", "D", 0, 1, False),
        ("app.py", "M", 1, 0, False),
        ("b.bin", "A", 0, 0, True),
    ]
    assert "+two = 2" in made.diff
    assert (await git.change(base, base)).is_empty
    cut = await git.change(base, head, diff_limit=20)
    assert "cut here" in cut.diff


async def test_checkout_of_a_commit(repo, git) -> None:
    """A folder with exactly that commit, not in the user's tree, clean when used again."""
    commit = await git.get_main_commit()
    repo.write("app.py", "later\n")
    async with git.checkout(commit) as place:
        assert (place / "app.py").read_text() == "one = 1\n"
        assert repo.path not in place.parents
        (place / "left.txt").write_text("x")
        async with git.checkout(commit) as other:
            assert other != place
    async with git.checkout(commit) as again:
        assert again == place
        assert not (again / "left.txt").exists()
    assert repo("status", "--porcelain") == " M app.py"


@pytest.mark.parametrize("left", [b"", b"t", b"/nowhere/at/all", b"\0"])
async def test_a_torn_note_of_the_test_folder(repo, git, left, monkeypatch) -> None:
    """What a crash left of the note is no place: the tests get a folder of their own."""
    monkeypatch.chdir(repo.path)
    folder = repo.path / ".git" / "self_coding"
    folder.mkdir(exist_ok=True)
    (folder / "tests-at").write_bytes(left)
    async with git.checkout("main") as place:
        assert place.is_absolute()
        assert (place / "app.py").read_text() == "one = 1\n"
    assert repo("status", "--porcelain") == ""


async def test_test_land_and_receipt(repo, git) -> None:
    """A tested candidate lands with a receipt; main contains it then, and not before."""
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x = 1\n")
    made = await git.record(tree, "new")
    what = await git.candidate(made)
    assert not await git.contains(what.commit)
    report = await git.test(what)
    assert (report.passed, report.commit) == (True, what.commit)
    landed = await git.land(what, attempt="a")
    assert (landed.old, landed.new) == (what.onto, what.commit)
    assert await git.contains(what.commit)
    assert await git.has_receipt(what.commit)
    assert not await git.has_receipt(what.onto)


async def tested(repo, git):
    """A candidate that passed."""
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x = 1\n")
    what = await git.candidate(await git.record(tree, "new"))
    assert (await git.test(what)).passed
    return what


async def test_a_landing_of_what_another_process_tested_has_its_receipt(repo, git) -> None:
    """A test and its landing may be two processes: the crash between them costs no receipt."""
    what = await tested(repo, git)
    other = repo.safety()
    await other.land(what, attempt="a")
    assert await other.has_receipt(what.commit)
    assert await other.verify() == []


@pytest.mark.parametrize("written", [False, True])
async def test_a_crash_around_the_receipt(repo, git, monkeypatch, written) -> None:
    """Main moved and the process died: recovery adds the one receipt, and only one."""
    what = await tested(repo, git)
    seal = receipts.seal

    def crash(*args, **more):
        if written:
            seal(*args, **more)
            receipts.note(args[0], report)  # not yet removed
        raise KeyboardInterrupt

    report = GateReport(passed=True, commit=what.commit, tree=what.tree, command="true")
    with monkeypatch.context() as patched:
        patched.setattr(receipts, "seal", crash)
        with pytest.raises(KeyboardInterrupt):
            await git.land(what, attempt="a")
    assert any("finished" in line for line in await git.recover())
    assert [one.attempt for one in receipts.read_receipts(repo.path / ".git/self_coding")] == ["a"]
    assert await git.verify() == []


async def test_a_commit_that_failed_later_gets_no_receipt(repo, git) -> None:
    """What passed once and failed afterwards is not taken for tested."""
    what = await tested(repo, git)
    git.test_command = "false"
    assert not (await git.test(what)).passed
    await git.land(what)
    assert not await git.has_receipt(what.commit)


async def test_a_damaged_receipt_stops_a_landing_before_main_moves(repo, git) -> None:
    """A chain that cannot go on is told before anything is moved."""
    what = await tested(repo, git)
    await git.land(what)
    [newest] = (repo.path / ".git/self_coding/receipts").glob("*.json")
    newest.write_text("{")
    tree = await git.isolate("b")
    (tree.path / "more.py").write_text("x = 1\n")
    more = await git.candidate(await git.record(tree, "more"))
    with pytest.raises(GateError, match="damaged"):
        await git.land(more)
    assert await git.get_main_commit() == what.commit


async def test_a_commit_tested_alone_gets_no_receipt(repo, git) -> None:
    """A receipt says that the tests of main were compared; a commit by its id is not."""
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x = 1\n")
    what = await git.candidate(await git.record(tree, "new"))
    assert (await git.test(what.commit)).passed
    await git.land(what)
    assert not await git.has_receipt(what.commit)


async def test_a_landing_stands_where_its_receipt_cannot_be_written(repo, git) -> None:
    """What is in the way of the receipts stops no landing, and no later operation."""
    what = await tested(repo, git)
    (repo.path / ".git" / "self_coding" / "receipts").write_text("in the way")
    assert (await git.land(what)).new == what.commit
    assert await git.recover() == []
    assert not await git.has_receipt(what.commit)


async def test_the_founding_merge_has_a_receipt(repo, git) -> None:
    """`merge_to_main` tests, lands and says so."""
    await git.create_branch("mine")
    repo.write("new.py", "x = 1\n")
    await git.commit("new")
    assert await git.has_receipt(await git.merge_to_main("mine"))
    assert await git.verify() == []


async def test_gate_settings(repo) -> None:
    """The test command given is the gate's."""
    settings = GateSettings(command="false", timeout=5)
    assert repo.safety(gate=settings).gate == GateSettings(command="true", timeout=5)


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


async def test_stage_file(repo, git) -> None:
    """Staging one file leaves everything else; an unknown one is refused."""
    repo.write("a.py")
    repo.write("b.py")
    await git.stage_file("a.py")
    assert repo("status", "--porcelain") == "A  a.py\n?? b.py"
    with pytest.raises(GitOperationError):
        await git.stage_file("nowhere.py")


async def test_commit_of_a_folder(repo, git) -> None:
    """A folder means the files in it that are not ignored."""
    repo.write(".git/info/exclude", "*.log\n")
    repo.write("pkg/a.py")
    repo.write("pkg/sub/b.py")
    repo.write("pkg/x.log")
    repo.write("other.py")
    commit = await git.commit("pkg", ["pkg"])
    assert repo("show", "--name-only", "--format=", commit) == "pkg/a.py\npkg/sub/b.py"


async def test_absolute_paths(repo, git, tmp_path) -> None:
    """An absolute path inside means its file, one outside is refused."""
    path = repo.write("a.py")
    await git.commit("a", [path])
    assert repo("ls-files", "a.py") == "a.py"
    with pytest.raises(GitOperationError, match="not inside"):
        await git.commit("b", [tmp_path / "b.py"])


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


async def test_without_renameat2(repo, git, monkeypatch) -> None:
    """On a file system that cannot exchange names, going back and forth works all the same."""
    monkeypatch.setattr(file_swap, "rename", lambda *args: errno.ENOSYS)
    taken = await git.snapshot(run_tests=False)
    repo.write("app.py", "agent\n")
    repo.write("new.py", "new")
    (repo.path / "README.md").unlink()
    (repo.path / "link").symlink_to("x")
    await git.rollback(taken)
    assert repo("status", "--porcelain") == ""
    await git.undo()
    assert (repo.read("app.py"), repo.read("new.py")) == ("agent\n", "new")
    assert (repo.path / "link").is_symlink()
    assert not repo.has("README.md")


def test_a_busy_lock_says_who(tmp_path) -> None:
    """Waiting too long names the operation and the process that holds the lock."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from self_coding.git_safety.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'landing'):\n"
        "    print('held', flush=True); time.sleep(20)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(GitOperationError, match=f"landing by process {holder.pid}"),
            locks.exclusive(tmp_path, "x", wait=0.1),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with locks.exclusive(tmp_path, "x", wait=1) as fresh, locks.exclusive(tmp_path, "y") as again:
        assert (fresh, again) == (True, False)


async def test_git_is_missing(repo, git, monkeypatch) -> None:
    """Without git on PATH the error says so."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitOperationError, match="cannot run"):
        await git.is_clean()


async def test_a_conflicted_index_is_captured(repo, git) -> None:
    """All sides of a conflict survive a collection once a snapshot was taken."""
    repo("checkout", "-qb", "other")
    repo.commit("theirs", **{"app.py": "theirs\n"})
    repo("checkout", "-q", "main")
    repo.commit("ours", **{"app.py": "ours\n"})
    repo("merge", "other", check=False)
    stages = [line.split()[1] for line in repo("ls-files", "-u").splitlines()]
    taken = await git.snapshot(run_tests=False)
    known = repo("rev-list", "--objects", "--no-object-names", taken.ref).split()
    assert len(stages) == 3
    assert set(stages) <= set(known)


async def test_cancelling_a_call_that_waits(repo, git) -> None:
    """A call that waits for the lock is cancelled at once."""
    import asyncio
    import time

    folder = repo.path / ".git" / "self_coding"
    with locks.exclusive(folder, "long"):
        call = asyncio.get_running_loop().create_task(_alone(git.snapshot(run_tests=False)))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.monotonic() - started < 5


async def _alone(call: object) -> object:
    """Await with a context in which this test does not hold the lock."""
    locks._held.set(frozenset())
    return await call  # type: ignore[misc]


@pytest.mark.parametrize("when", ["prepare_checkouts", "move_refs"])
async def test_a_person_who_leaves_main_during_a_landing(repo, git, monkeypatch, when) -> None:
    """A branch that a person starts meanwhile gets nothing of what lands, and main moves."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("one = 2\n")
    what = await git.candidate(await git.record(tree, "x"))
    room = landing if when == "prepare_checkouts" else transaction
    before = getattr(room, when)

    def switching(*arguments: object) -> object:
        found = before(*arguments)
        if repo("branch", "--show-current") == "main":
            repo("branch", "idea", what.onto)
            repo("symbolic-ref", "HEAD", "refs/heads/idea")  # as `checkout -b`, without its lock
        return found

    monkeypatch.setattr(room, when, switching)
    landed = await git.land(what)
    assert repo("rev-parse", "main") == what.commit == landed.new
    assert repo("status", "--porcelain") == ""
    assert repo("rev-parse", "idea") == what.onto
    assert repo.read("app.py") == "one = 1\n"
