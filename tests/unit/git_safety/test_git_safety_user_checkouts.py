"""A person's `git switch` that meets a landing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from self_coding.adapters import process_list
from self_coding.errors import GitOperationError
from self_coding.git_safety import GitSafety, landing, recovery, transaction, user_checkouts
from self_coding.values.repository import Candidate

STARTS = ("switch", "-qc", "idea")


RETURNS = ("switch", "-q", "main")


#: the hook that runs in the right moment, and the line of its input that tells it
HOOKS = {STARTS: ("reference-transaction", "refs/heads/idea"), RETURNS: ("post-index-change", "")}


pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="who is on the way is only told by /proc"
)


class Switch:
    """One `git switch` of a person, held on its way until it is let go."""

    def __init__(self, repo, words: tuple[str, ...]) -> None:
        self.there, self.go = repo.path / ".git" / "there", repo.path / ".git" / "go"
        name, line = HOOKS[words]
        hook = repo.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        wanted = f'[ "$1" = committed ] && grep -q "{line}"' if line else "true"
        hook.write_text(
            f'#!/bin/sh\nif {wanted}; then touch "{self.there}"\n'
            f'while [ -e "{self.there}" ] && [ ! -e "{self.go}" ]; do sleep 0.01; done; fi\n'
        )
        hook.chmod(0o755)
        self.process = subprocess.Popen(["git", *words], cwd=repo.path)

    async def held(self) -> None:
        while not self.there.exists():
            assert self.process.poll() is None, "the switch was not held"
            await asyncio.sleep(0.01)

    def let_go(self) -> None:
        self.go.touch()
        assert self.process.wait(20) == 0


@pytest.fixture
def begin(repo) -> Iterator[Callable[..., Switch]]:
    """Begins a switch; none outlives the test."""
    begun: list[Switch] = []

    def start(words: tuple[str, ...]) -> Switch:
        begun.append(Switch(repo, words))
        return begun[-1]

    yield start
    for one in begun:
        one.go.touch()
        with suppress(subprocess.TimeoutExpired):
            one.process.wait(5)


async def edit(git: GitSafety) -> Candidate:
    """What is to land: a file changed, one added, one deleted."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("one = 2\n")
    (tree.path / "new.py").write_text("new = 1\n")
    (tree.path / "lib" / "core.py").unlink()
    what = await git.candidate(await git.record(tree, "x"))
    assert isinstance(what, Candidate)
    return what


def agrees(repo, what: Candidate) -> bool:
    """Main is where it was landed; index and files are those of the commit HEAD is at."""
    assert repo("rev-parse", "main") == what.commit
    return repo("status", "--porcelain") == "" and repo("diff", "HEAD", "--stat") == ""


@pytest.mark.parametrize("words", [STARTS, RETURNS])
async def test_a_landing_lets_a_switch_arrive(repo, git, begin, words) -> None:
    """A switch that is under way ends as if it had been alone, and then main moves."""
    what = await edit(git)
    if words == RETURNS:
        repo("switch", "-qc", "earlier")
    switch = begin(words)
    await switch.held()
    landing_ = asyncio.ensure_future(git.land(what))
    await asyncio.sleep(2.0)
    assert repo("rev-parse", "main") == what.onto, "main moved under the switch"
    switch.let_go()
    await landing_
    assert agrees(repo, what)
    assert repo.has("new.py") == (words == RETURNS)


@pytest.mark.parametrize("words", [STARTS, RETURNS])
@pytest.mark.parametrize("dirty", [False, True])
async def test_a_switch_that_takes_too_long_is_put_right(
    repo, git, begin, monkeypatch, words, dirty
) -> None:
    """Main moves under a switch that does not end; when it has, files and HEAD agree again."""
    for name in ("SHORT_WAIT", "PLANNING_WAIT"):
        monkeypatch.setattr(user_checkouts, name, 0.0)
    what = await edit(git)
    if words == RETURNS:
        repo("switch", "-qc", "earlier")
    if dirty:
        repo.write("README.md", "# Mine\n")
        repo.write("loose.txt", "loose\n")
    switch = begin(words)
    await switch.held()
    landing_ = asyncio.ensure_future(git.land(what))
    while repo("rev-parse", "main") == what.onto:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    switch.let_go()
    await landing_
    if dirty:
        assert repo("status", "--porcelain") == " M README.md\n?? loose.txt"
        assert repo.read("README.md") == "# Mine\n"
        repo("restore", "README.md")
        (repo.path / "loose.txt").unlink()
    assert agrees(repo, what)
    assert repo.has("new.py") == (words == RETURNS)
    assert repo.has("lib/core.py") == (words == STARTS)


async def test_a_person_who_comes_back_to_main_after_the_plan(repo, git, monkeypatch) -> None:
    """Whoever has switched to main before it moves follows it."""
    what = await edit(git)
    repo("switch", "-qc", "earlier")
    before = landing.prepare_checkouts

    def returning(*arguments: object) -> object:
        found = before(*arguments)
        repo("switch", "-q", "main")
        return found

    monkeypatch.setattr(landing, "prepare_checkouts", returning)
    await git.land(what)
    assert agrees(repo, what)
    assert repo.read("app.py") == "one = 2\n"
    assert "follow" not in {one.kind for one in await git.operations()}  # with main, not behind it


async def test_what_a_person_does_on_another_branch_stays(repo, git) -> None:
    """A checkout that stays on its branch is not looked at, whatever of main is staged there."""
    what = await edit(git)
    repo("switch", "-qc", "earlier")
    repo("checkout", what.commit, "--", "app.py")
    await git.land(what)
    assert repo("status", "--porcelain") == "M  app.py"


async def test_a_switch_cannot_begin_while_main_moves(repo, git, monkeypatch) -> None:
    """For the moment in which main moves, a switch is told to try again, and later it may."""
    what = await edit(git)
    repo("switch", "-qc", "earlier")
    move, told = transaction.move_refs, []

    def moving(*arguments: object) -> None:
        if not told:
            done = subprocess.run(
                ["git", "switch", "-q", "main"], cwd=repo.path, capture_output=True, text=True
            )
            told.append(done.stderr)
        move(*arguments)

    monkeypatch.setattr(transaction, "move_refs", moving)
    await git.land(what)
    assert "index.lock" in told[0]
    repo("switch", "-q", "main")
    assert agrees(repo, what)


@pytest.mark.parametrize("before", ["swap_files", "publish_index"])
async def test_a_person_who_leaves_main_after_a_crash(repo, git, monkeypatch, before) -> None:
    """A branch that is started between a crash and its repair gets nothing of what was landing."""
    what = await edit(git)

    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transaction, before, crash)
        with pytest.raises(KeyboardInterrupt):
            await git.land(what)
    repo("branch", "idea", what.onto)
    repo("symbolic-ref", "HEAD", "refs/heads/idea")
    assert any("finished" in line for line in await git.recover())
    assert agrees(repo, what)
    assert repo.read("app.py") == "one = 1\n"


async def test_an_index_that_somebody_holds_stops_no_landing(repo, git) -> None:
    """A commit whose message is being written on another branch is left alone, and main moves."""
    what = await edit(git)
    repo("switch", "-qc", "earlier")
    lock = repo.write(".git/index.lock", "")
    await git.land(what)
    assert lock.exists()
    lock.unlink()
    assert agrees(repo, what)


def test_one_who_only_asks_is_not_waited_for(repo) -> None:
    """`git checkout -p` stays as long as somebody thinks; it moves no HEAD."""
    repo.write("app.py", "one = 3\n")
    with subprocess.Popen(
        ["git", "checkout", "-p"], cwd=repo.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as asking:
        assert asking.stdout is not None
        asking.stdout.readline()
        assert any(words[1:] == ["checkout", "-p"] for words, _ in process_list.commands("git"))
        assert user_checkouts.wait_for_switches({repo.path}, 0.0)
        asking.kill()


async def test_what_cannot_be_put_right_is_said(repo, git, begin, monkeypatch, caplog) -> None:
    """A landing stands, also where the checkout behind it cannot be brought in line."""
    monkeypatch.setattr(user_checkouts, "SHORT_WAIT", 0.0)
    monkeypatch.setattr(user_checkouts, "PLANNING_WAIT", 0.0)
    what = await edit(git)
    repo("switch", "-qc", "earlier")

    def full(*arguments: object, **more: object) -> None:
        raise GitOperationError("the disk is full")

    monkeypatch.setattr(recovery, "prepare_update", full)
    switch = begin(RETURNS)
    await switch.held()
    landing_ = asyncio.ensure_future(git.land(what))
    while repo("rev-parse", "main") == what.onto:
        await asyncio.sleep(0.01)
    switch.let_go()
    assert (await landing_).new == repo("rev-parse", "main") == what.commit
    assert "may hold files of two commits: the disk is full" in caplog.text
