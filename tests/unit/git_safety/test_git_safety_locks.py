"""One operation at a time, and a person at the index."""

from __future__ import annotations

import subprocess
import sys

import pytest

from self_coding.git_safety import GitOperationError, locks


async def test_a_person_at_the_index(repo, git, monkeypatch) -> None:
    """While a person's git holds the index, we wait, then refuse, and leave their lock."""
    monkeypatch.setattr("self_coding.git_safety.locks.INDEX_WAIT_SECONDS", 0.2)
    lock = repo.write(".git/index.lock", "theirs")
    repo.write("new.py")
    with pytest.raises(GitOperationError, match=r"index\.lock"):
        await git.commit("x", ["new.py"])
    assert lock.read_text() == "theirs"
    lock.unlink()
    assert len(await git.commit("x", ["new.py"])) == 40


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


def test_a_lock_that_became_another_programs_stays(tmp_path) -> None:
    """A person who removed our lock and took it: giving ours back leaves theirs."""
    lock = locks.IndexLock(tmp_path, tmp_path)
    lock.acquire()
    lock.lock.unlink()
    lock.lock.write_text("theirs")
    lock.release()
    assert lock.lock.read_text() == "theirs"
