"""Many at once: processes that land side by side, and a person who commits meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

LANDER = """
import asyncio, sys
from self_coding.git_safety import GitSafety
from self_coding.values.repository import Landed

async def main(place, name, count):
    git = GitSafety(place, test_command="true")
    for number in range(count):
        tree = await git.isolate(f"{name}-{number}")
        (tree.path / f"{name}-{number}.py").write_text(name)
        change = await git.record(tree, name)
        while True:
            what = await git.candidate(change)
            landed = await git.land(what, attempt=tree.attempt)
            if isinstance(landed, Landed):
                break
        await git.release(tree)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def sh(place: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "repo"
    made.mkdir()
    sh(made, "init", "-q", "-b", "main")
    sh(made, "config", "user.name", "P")
    sh(made, "config", "user.email", "p@p")
    (made / "app.py").write_text("one\n")
    sh(made, "add", "-A")
    sh(made, "commit", "-qm", "one")
    return made


def start(place: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", LANDER, str(place), name, str(count)], stderr=subprocess.PIPE
    )


def test_git_landings_side_by_side(place: Path) -> None:
    """Three processes land three attempts each while a person commits: all of it is there."""
    (place / "untracked.txt").write_text("mine")
    landers = [start(place, name, 3) for name in ("one", "two", "three")]
    commits = []
    number = 0
    while any(lander.poll() is None for lander in landers):
        number += 1
        (place / f"person-{number}.txt").write_text(str(number))
        for _ in range(100):  # as a person would: git is busy, try again
            added = subprocess.run(
                ["git", "add", f"person-{number}.txt"], cwd=place, capture_output=True
            )
            if added.returncode == 0:
                break
            time.sleep(0.02)
        done = subprocess.run(
            ["git", "commit", "-qm", f"person {number}", "--", f"person-{number}.txt"],
            cwd=place,
            capture_output=True,
        )
        if done.returncode == 0:
            commits.append((sh(place, "rev-parse", "HEAD"), f"person-{number}.txt"))
        time.sleep(0.15)
    assert [(lander.communicate()[1], lander.returncode) for lander in landers] == [(b"", 0)] * 3
    files = sh(place, "ls-tree", "-r", "--name-only", "main").splitlines()
    assert {f"{n}-{i}.py" for n in ("one", "two", "three") for i in range(3)} <= set(files)
    assert commits
    for commit, name in commits:
        sh(place, "merge-base", "--is-ancestor", commit, "main")
        assert name in files
    assert (place / "untracked.txt").read_text() == "mine"
    sh(place, "fsck", "--connectivity-only")
    assert list((place / ".git").glob("*.lock")) == []
    for line in sh(place, "status", "--porcelain").splitlines():
        assert line.split(" ", 1)[1].startswith(("untracked.txt", "person-", " person-"))


def test_git_a_child_of_a_killed_process_keeps_the_lock(place: Path) -> None:
    """The operation lock lasts until the last git process of a killed holder has ended."""
    holder = (
        "import os, signal, sys; from pathlib import Path\n"
        "from self_coding.git_safety.locks import exclusive\n"
        "from self_coding.adapters.git import held_descriptors\n"
        "import subprocess\n"
        "with exclusive(Path(sys.argv[1]), 'test'):\n"
        "    subprocess.Popen(['sleep', '1.2'], stdout=-3, pass_fds=held_descriptors.get())\n"
        "    print('held', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    folder = place / ".git" / "self_coding"
    child = subprocess.Popen(
        [sys.executable, "-c", holder, str(folder)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    child.communicate()
    from self_coding.errors import GitOperationError
    from self_coding.git_safety.locks import exclusive

    with (
        pytest.raises(GitOperationError, match="test by process"),
        exclusive(folder, "x", wait=0.2),
    ):
        pass
    with exclusive(folder, "x", wait=10):
        pass
