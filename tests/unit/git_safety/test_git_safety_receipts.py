"""Every tested landing has its receipt."""

from __future__ import annotations

import pytest

from self_coding.errors import GateError
from self_coding.git_safety import receipts
from self_coding.values.verdicts import GateReport


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
