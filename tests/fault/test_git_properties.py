"""Hypothesis: whatever a person has and does, an attempt and its rollback leave it alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from self_coding.git_safety import GitSafety

TRACKED = ["a.py", "b.txt", "lib/c.py", "data/d.bin"]
NAMES = [*TRACKED, "new", "lib/new", "-dash", "sp ace", "x.log", "build/out", "n\new", "caf\udcff"]
CONTENT = st.binary(max_size=40) | st.sampled_from([b"one\r\ntwo\n", b"\xff\xfe", b"", b"x" * 5000])
ACTION = st.tuples(
    st.sampled_from(["write", "delete", "stage", "ignore"]), st.sampled_from(NAMES), CONTENT
)


def sh(place: Path, *args: str) -> None:
    subprocess.run(["git", *args], cwd=place, check=True, capture_output=True)


def template() -> Path:
    place = Path(tempfile.mkdtemp()) / "template"
    place.mkdir()
    sh(place, "init", "-q", "-b", "main")
    sh(place, "config", "user.name", "P")
    sh(place, "config", "user.email", "p@p")
    for name in TRACKED:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(name.encode() + b"\n")
    (place / ".gitignore").write_text("*.log\nbuild/\n")
    (place / ".gitattributes").write_text("*.txt text=auto eol=crlf\n")
    sh(place, "add", "-A")
    sh(place, "commit", "-qm", "one")
    return place


TEMPLATE = template()


def act(place: Path, actions: list[tuple[str, str, bytes]]) -> None:
    for kind, name, content in actions:
        path = place / name
        if kind == "delete":
            path.unlink(missing_ok=True)
        elif kind == "ignore":
            (place / ".gitignore").write_bytes(
                b"*.log\nbuild/\n" + os.fsencode(name).replace(b"\n", b"") + b"\n"
            )
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            if kind == "stage":
                subprocess.run(["git", "add", "--", f"./{name}"], cwd=place, capture_output=True)


def everything(place: Path) -> dict[str, bytes]:
    """Every byte of the working tree, and of the index; without the attempts' own worktrees."""
    found = {}
    for folder, names, files in os.walk(place):
        names[:] = [name for name in names if name not in (".git", ".self-coding")]
        for name in files:
            path = Path(folder) / name
            found[str(path.relative_to(place))] = path.read_bytes() if path.is_file() else b""
    found["(index)"] = subprocess.run(
        ["git", "ls-files", "-s"], cwd=place, capture_output=True, check=True
    ).stdout
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTION, max_size=8), st.lists(ACTION, max_size=6), st.lists(ACTION, max_size=6))
def test_git_an_attempt_leaves_everything_else(
    mine: list[tuple[str, str, bytes]],
    agents: list[tuple[str, str, bytes]],
    later: list[tuple[str, str, bytes]],
) -> None:
    """Attempt writes, person writes, rollback: every byte the attempt did not write is the same."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "repo"
        shutil.copytree(TEMPLATE, place)
        act(place, mine)

        async def attempt() -> None:
            git = GitSafety(place, test_command="true")
            tree = await git.isolate("one")
            act(tree.path, [a for a in agents if a[0] != "stage"])
            await git.record(tree, "agent")
            act(place, later)
            before = everything(place)
            (tree.path / "theirs.txt").write_bytes(b"a person's, in the attempt's worktree")
            await git.rollback(tree.base, attempt="one")
            assert everything(place) == before
            assert (tree.path / "theirs.txt").exists()
            await git.release(tree)
            assert everything(place) == before

        asyncio.run(attempt())


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTION, max_size=8), st.lists(ACTION, max_size=8))
def test_git_rollback_is_exact_and_undoable(
    mine: list[tuple[str, str, bytes]], later: list[tuple[str, str, bytes]]
) -> None:
    """Rollback gives the snapshot's bytes, undo the later ones; ignored files never change."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "repo"
        shutil.copytree(TEMPLATE, place)
        act(place, mine)

        async def there_and_back() -> None:
            git = GitSafety(place, test_command="true")
            at_snapshot = everything(place)
            taken = await git.snapshot(run_tests=False)
            assert everything(place) == at_snapshot
            act(place, later)
            now = everything(place)
            plan = await git.plan_rollback(taken)
            assert everything(place) == now
            await git.rollback(taken)
            back = everything(place)
            for change in plan.paths:
                kept = change.action == "keep"
                wanted = now if kept else at_snapshot
                assert back.get(change.path) == wanted.get(change.path), change
            touched = {change.path for change in plan.paths}
            for path in (set(back) | set(now)) - touched - {"(index)"}:
                assert back.get(path) == now.get(path), path
            assert back["(index)"] == at_snapshot["(index)"]
            await git.undo()
            assert everything(place) == now

        asyncio.run(there_and_back())
