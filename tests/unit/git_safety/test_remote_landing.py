"""Landing at a remote, tried against bare repositories, hooks, lost answers and rivals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import remotes
from remotes import CHECKING, BareRemote, daemon, green
from self_coding.adapters import remote_git
from self_coding.errors import GitOperationError, RemoteUnreachableError
from self_coding.git_safety import receipt_ref, remote_landing
from self_coding.git_safety.receipts import Member
from self_coding.values.repository import Landed, Moved

SLOW = "#!/bin/sh\ncat > /dev/null\ntouch thinking\nsleep {seconds}\n"


@pytest.fixture
def remote(tmp_path: Path) -> BareRemote:
    return BareRemote(tmp_path)


async def test_one_push_moves_main_and_the_chain(remote) -> None:
    """What landed is on main there and here, with a receipt in the chain that both share."""
    remote.hook("pre-receive", CHECKING)
    a = remote.machine("a")
    what = await green(a, "one")
    landed = await a.land(what, attempt="1")
    assert isinstance(landed, Landed)
    assert remote.main == what.commit == await a.get_main_commit()
    assert remote.chain == [what.commit]
    assert await a.has_receipt(what.commit)
    assert await a.verify() == []
    b = remote.machine("b")
    await b.sync()
    assert await b.has_receipt(what.commit)


async def test_rivals_land_all_and_none_twice(remote) -> None:
    """Machines that push at once are told that main moved, and land after a new candidate."""
    remote.hook("pre-receive", CHECKING)
    machines = [remote.machine(name) for name in "abc"]

    async def work(number: int) -> int:
        machine, moved = machines[number], 0
        change = None
        for attempt in range(2):
            name = f"m{number}-{attempt}"
            tree = await machine.isolate(name)
            (tree.path / f"{name}.py").write_text("x = 1\n")
            change = await machine.record(tree, name)
            while True:
                what = await machine.candidate(change, name)
                assert (await machine.test(what)).passed
                if isinstance(await machine.land(what, attempt=name), Landed):
                    break
                moved += 1
        return moved

    await asyncio.gather(*map(work, range(3)))
    subjects = remote("log", "--first-parent", "--format=%s", "main").splitlines()
    assert sorted(subjects[:-1]) == sorted(f"m{n}-{k}" for n in range(3) for k in range(2))
    landed = remote("log", "--first-parent", "--reverse", "--format=%H", "main").split()[1:]
    assert remote.chain == landed
    for machine in machines:
        await machine.sync()
        assert await machine.verify() == []


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda repo, tip, what, other: "", "no receipt"),
        (lambda repo, tip, what, other: receipt_ref.entry(repo, tip, [other]), "names another"),
        (lambda repo, tip, what, other: receipt_ref.entry(repo, "", [what]), "chain is cut"),
    ],
    ids=["no receipt", "another's receipt", "a chain that is cut"],
)
async def test_a_checking_hook_refuses_what_is_not_proved(remote, forge, said) -> None:
    """Without its own receipt upon the chain nothing lands; with it the same commit does."""
    remote.hook("pre-receive", CHECKING)
    a = remote.machine("a")
    first = await green(a, "one")
    await a.land(first, attempt="1")
    what = await green(a, "two")
    repo, tips = a._repo, remote_landing.fetch(a._repo, a._remote)
    mine = Member(what.onto, what.commit, what.tree, "2")
    other = Member(first.onto, first.commit, first.tree, "1")
    entry = forge(repo, tips.chain, mine, other)
    moves = [("refs/heads/main", tips.main, what.commit)]
    moves += [(receipt_ref.RECEIPTS, tips.chain, entry)] if entry else []
    pushed = a._remote.push(repo, *moves)
    assert pushed.answer == "refused"
    assert said in pushed.said
    assert remote.main == first.commit
    assert isinstance(await a.land(what, attempt="2"), Landed)


async def test_a_hook_that_says_no_is_final(remote) -> None:
    """A refusal by the host's own rules is an error that repeats what the hook said."""
    remote.hook("pre-receive", "#!/bin/sh\necho main is closed today\nexit 1\n")
    a = remote.machine("a")
    what = await green(a, "one")
    before = remote.main
    with pytest.raises(GitOperationError, match="main is closed today"):
        await a.land(what, attempt="1")
    assert remote.main == before


async def test_a_lost_answer_is_settled_by_the_fence(remote, monkeypatch) -> None:
    """A push whose answer was lost has landed, or never will: the fence tells which."""
    a = remote.machine("a")
    [what] = [await green(a, "one")]
    push = remote_landing.Remote.push
    lost = remote_landing.Pushed(answer=remote_landing.Answer.UNKNOWN)

    def done_and_lost(self, repo, *moves):
        monkeypatch.setattr(remote_landing.Remote, "push", push)
        push(self, repo, *moves)
        return lost

    def lost_on_the_way(self, repo, *moves):
        monkeypatch.setattr(remote_landing.Remote, "push", push)
        remote.late = moves
        return lost

    monkeypatch.setattr(remote_landing.Remote, "push", lost_on_the_way)
    assert isinstance(await a.land(what, attempt="1"), Moved)
    # It arrives now, much later: the chain is no longer where it expects it.
    assert a._remote.push(a._repo, *remote.late).answer == "moved"
    assert remote.main == what.onto
    monkeypatch.setattr(remote_landing.Remote, "push", done_and_lost)
    assert isinstance(await a.land(what, attempt="1"), Landed)
    assert remote.main == what.commit
    assert remote.chain == [what.commit]
    assert await a.verify() == []


@pytest.mark.parametrize("settled", [False, True], ids=["looked at main", "fenced first"])
async def test_a_killed_pusher_lands_late_or_never(remote, settled) -> None:
    """While the server still thinks main says no; fenced, the answer stays true."""
    remote.hook("pre-receive", SLOW.format(seconds=1.5))
    with daemon(remote) as url:
        a = remote.machine("a", url=url)
        words = [sys.executable, remotes.__file__, str(a.top), "one"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
        ) as pusher:
            commit = pusher.stdout.readline().strip()
            (remote.path / "thinking").unlink(missing_ok=True)
            while not (remote.path / "thinking").exists():
                await asyncio.sleep(0.02)
            os.killpg(pusher.pid, signal.SIGKILL)
        told = await a.landed([commit], settle=settled)
        await asyncio.sleep(2)
        if settled:
            assert bool(told) == (remote.main == commit)
        else:
            assert not told
            assert remote.main == commit, "it landed after main was looked at"


async def test_a_dead_link_is_told_as_unknown(remote) -> None:
    """A push that hangs is ended at its time limit, nobody claims to know, then it is settled."""
    remote.hook("pre-receive", SLOW.format(seconds=4))
    with daemon(remote) as url:
        a = remote.machine("a", url=url, seconds=1.0)
        tree = await a.isolate("one")
        (tree.path / "one.py").write_text("x = 1\n")
        remote.hook("pre-receive", "#!/bin/sh\n")
        what = await a.candidate(await a.record(tree, "one"), "one")
        assert (await a.test(what)).passed
        remote.hook("pre-receive", SLOW.format(seconds=4))
        with pytest.raises(RemoteUnreachableError, match="does not say whether"):
            await a.land(what, attempt="1")
        remote.hook("pre-receive", "#!/bin/sh\n")
        await asyncio.sleep(3)
        held = await remote.machine("a", url=url).landed([what.commit], settle=True)
        assert bool(held) == (remote.main == what.commit)


async def test_a_host_without_our_refs_is_the_weaker_mode(remote) -> None:
    """Where a host takes no refs of ours main lands alone, and the result says so."""
    remote("config", "transfer.hideRefs", "refs/self-coding")
    a = remote.machine("a", patience=0.0)
    what = await green(a, "one")
    landed = await a.land(what, attempt="1")
    assert "weaker" in landed.checkout
    assert remote.main == what.commit
    assert await a.has_receipt(what.commit)
    assert await a.landed([what.commit], settle=True) == what.commit


async def test_a_group_lands_with_one_push(remote) -> None:
    """Two attempts, tested at the top, are two merge commits, two receipts and one push."""
    remote.hook("pre-receive", CHECKING)
    a = remote.machine("a")
    one, other = await green(a, "one"), await green(a, "two")
    upon = await a.candidate(other.head, "add two", onto=one.commit)
    top = type(one)(commit=upon.commit, tree=upon.tree, onto=one.onto, head=upon.head)
    assert (await a.test(top)).passed
    landed = await a.land(top, attempt="2", group=[("1", one), ("2", upon)])
    assert (landed.old, landed.new) == (one.onto, upon.commit)
    assert remote.chain == [one.commit, upon.commit]
    assert await a.verify() == []
    now = datetime.now(UTC)
    first, second = [await a.receipt(c, now) for c in (one.commit, upon.commit)]
    assert (first.top, second.top) == (upon.commit, "")


async def test_a_rewritten_main_loses_nothing(remote) -> None:
    """Main was force-pushed: the old one is kept, and no merge brings back what was taken out."""
    a = remote.machine("a")
    tree = await a.isolate("one")
    old = await a.get_main_commit()
    (tree.path / "one.py").write_text("x = 1\n")
    change = await a.record(tree, "one")
    root = remote("commit-tree", "-m", "anew", f"{old}^{{tree}}")
    remote("update-ref", "refs/heads/main", root)
    with pytest.raises(GitOperationError, match="rewritten at the remote"):
        await a.candidate(change, "one")
    assert await a.get_main_commit() == root
    assert a._repo.tips([f"refs/self-coding/kept/{old}"]) == [old]


async def test_commits_of_a_persons_own_main_are_in_the_way(remote) -> None:
    """Local commits that the remote has not are neither landed along nor thrown away."""
    a = remote.machine("a")
    (a.top / "mine.py").write_text("x = 1\n")
    mine = await a.commit("mine", ["mine.py"])
    what = remote("commit-tree", "-m", "theirs", "-p", "main", "main^{tree}")
    remote("update-ref", "refs/heads/main", what)
    with pytest.raises(GitOperationError, match="has commits here"):
        await a.isolate("one")
    assert await a.get_main_commit() == mine


async def test_what_is_done_at_a_remote_is_not_undone_here(remote) -> None:
    """Undo of a landing that others have already is refused, and says how to take it back."""
    a = remote.machine("a")
    await a.land(await green(a, "one"), attempt="1")
    with pytest.raises(GitOperationError, match="git revert"):
        await a.undo()


class Died(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_dies_at_any_word_to_the_remote(remote, monkeypatch, when) -> None:
    """Killed before or after any command that reaches the remote, it lands once when it is back."""
    remote.hook("pre-receive", CHECKING)
    a, talk = remote.machine("a"), remote_git.talk
    point, died = 0, True
    while died:
        point += 1
        calls, died = 0, False
        what = await green(a, f"n{point}")

        def dying(args, **how):
            nonlocal calls, died
            calls += 1
            if calls == point and when == "before":  # noqa: B023
                died = True
                raise Died
            done = talk(args, **how)
            if calls == point:  # noqa: B023
                died = True
                raise Died
            return done

        with monkeypatch.context() as patched, contextlib.suppress(Died):
            patched.setattr(remote_git, "talk", dying)
            assert isinstance(await a.land(what, attempt=f"{point}"), Landed)
        back = remote.machine("a")
        await back.recover()
        if not await back.landed([what.commit]):
            assert isinstance(await back.land(what, attempt=f"{point}"), Landed)
        await back.sync()
        assert remote.main == what.commit == await back.get_main_commit()
        assert await back.verify() == []
    landed = remote("log", "--first-parent", "--reverse", "--format=%H", "main").split()[1:]
    assert remote.chain == landed, "each has one receipt"
    assert point > 3, "a landing speaks to the remote that often"
