"""Real self-edits, really killed: a small part of the campaign in bench/kills.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from self_coding.app import open_app
from self_coding.testing import sample_repo, write_files

CAMPAIGN = Path(__file__).parents[2] / "bench" / "kills.py"


@pytest.mark.timeout(240)
def test_killed_and_resumed_nothing_is_lost() -> None:
    """A process killed with SIGKILL loses nothing and lands at most once; the next one ends it."""
    argv = [sys.executable, str(CAMPAIGN), "--kills", "3", "--jobs", "1", "--only", "moved"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=230)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 lost, 0 half-landed, 0 twice, 0 stuck" in done.stdout


async def test_a_half_made_worktree_is_made_anew(tmp_path: Path) -> None:
    """A worktree that a crash left half-made does not stand in the way of the next attempt."""
    repo = sample_repo(tmp_path / "repo")
    safety = open_app(repo, environ={}, test_command="true").git
    await safety.release(await safety.isolate("one"))
    (made,) = (repo / ".git" / "worktrees").iterdir()
    for name in ("commondir", "gitdir", "locked", "index"):
        (made / name).unlink(missing_ok=True)
    worktree = await safety.isolate("two")
    write_files(worktree.path, {"src/calc/two.py": "TWO = 2\n"})
    assert (await safety.record(worktree, "add two")).paths == ("src/calc/two.py",)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills() -> None:
    """A hundred kills over all scenarios find nothing lost, half-landed, landed twice or stuck."""
    argv = [sys.executable, str(CAMPAIGN), "--kills", "100", "--seed", "3"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
