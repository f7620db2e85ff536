"""The pool of worktrees: what was left in one never reaches the next user."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from self_coding.git_safety import pool
from self_coding.git_safety.user_checkouts import MARK


async def test_checkout_of_a_commit(repo, git) -> None:
    """A folder with exactly that commit, out of git's sight, clean when used again."""
    commit = await git.get_main_commit()
    repo.write("app.py", "later\n")
    async with git.checkout(commit) as place:
        assert (place / "app.py").read_text() == "one = 1\n"
        assert repo.path / ".git/self_coding" in place.parents
        assert place.parent.stat().st_mode & 0o777 == 0o700
        assert len(repo("worktree", "list").splitlines()) == 1
        told = subprocess.run(["git", "log", "-1", "--format=%H"], cwd=place, capture_output=True)
        assert told.stdout.decode().strip() == commit
        (place / "left.txt").write_text("x")
        async with git.checkout(commit) as other:
            assert other != place
    async with git.checkout(commit) as again:
        assert again == place
        assert not (again / "left.txt").exists()
    assert repo("status", "--porcelain") == " M app.py"


async def test_two_first_checkouts_at_once(git, monkeypatch) -> None:
    """Runs that begin at once in a new repository do not meet in making its folder."""
    commit, look = await git.get_main_commit(), pool.remove_checkouts
    monkeypatch.setattr(pool, "remove_checkouts", lambda repo: (time.sleep(0.2), look(repo)))

    async def run() -> Path:
        async with git.checkout(commit) as place:
            await asyncio.sleep(0.1)
            return place

    one, other = await asyncio.gather(run(), run())
    assert one.parent == other.parent


@pytest.mark.parametrize("left", [b"", b"t", b"/nowhere/at/all", b"\0"])
async def test_a_torn_note_of_the_test_folder(repo, git, left, monkeypatch) -> None:
    """What a crash left of the note is no place: the tests get a folder of their own."""
    monkeypatch.chdir(repo.path)
    folder = repo.path / ".git" / "self_coding"
    folder.mkdir(exist_ok=True)
    (folder / "tests-at").write_bytes(left)
    with pool.checkout(git._repo, "main", mounted=False) as place:
        assert place.is_absolute() and repo.path not in place.parents
        assert (place / "app.py").read_text() == "one = 1\n"
        told = subprocess.run(["git", "describe", "--always"], cwd=place, capture_output=True)
        assert told.returncode == 0, "git works there"
    with pool.checkout(git._repo, "main", mounted=False) as again:
        assert again == place
    assert await git.gc() == [f"removed the checkout at {place}"]
    assert not place.parent.exists()
    assert repo("status", "--porcelain") == ""


async def test_gc_removes_checkouts_that_no_test_uses(repo, git) -> None:
    """Only the free ones go, and what an earlier version registered with git goes with them."""
    async with git.checkout("main") as used:
        async with git.checkout("main") as free:
            pass
        old = repo.path / ".git/worktrees/self-coding-self-coding-x-t1"
        old.mkdir(parents=True)
        (old / "gitdir").write_text(f"{repo.path.parent}/gone/t1/.git\n")
        (old / "locked").write_text(MARK)
        said = await git.gc()
        assert f"removed the checkout at {free}" in said and not free.exists()
        assert not old.exists()
        assert (used / "app.py").exists()
    async with git.checkout("main") as again:
        assert (again / "app.py").exists()


HOSTILE = {
    "deep": "for _ in range(3000):\n    os.mkdir('d' * 20); os.chdir('d' * 20)",
    "pipes": "os.mkfifo('lib/pipe'); os.unlink('app.py'); os.mkfifo('app.py')",
    "socket": "import socket; socket.socket(socket.AF_UNIX).bind('lib/socket')",
    "modes": "os.chmod('app.py', 0o4777); os.mkdir('new'); os.chmod('new', 0);"
    " os.chmod('lib', 0o7000)",
    "links": "import shutil; shutil.rmtree('lib'); os.symlink('/', 'lib')",
    "repository": "os.unlink('.git'); os.makedirs('.git/x'); os.makedirs('lib/.git/objects')",
    "pipe for pointer": "os.unlink('.git'); os.mkfifo('.git')",
    "immutable": "open('stone', 'w').close(); os.mkdir('hard'); open('hard/x', 'w').close()\n"
    "if os.getuid() == 0:\n    os.system('chattr +i stone hard hard/x app.py lib')",
}


@pytest.mark.parametrize("program", HOSTILE.values(), ids=HOSTILE)
async def test_nothing_of_a_run_reaches_the_next_candidate(repo, git, program) -> None:
    """Whatever a run leaves in a checkout, the next one finds exactly the commit."""
    async with git.checkout("main") as place:
        before = state(place)
        subprocess.run([sys.executable, "-c", f"import os\n{program}"], cwd=place, check=True)
    async with git.checkout("main") as again:
        assert again == place
        assert state(again) == before


def state(folder: Path) -> list[tuple[str, int]]:
    """Every name below a folder and its mode."""
    return sorted((str(one.relative_to(folder)), one.lstat().st_mode) for one in folder.rglob("*"))
