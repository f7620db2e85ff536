"""Snapshots hold everything, touch nothing, and are kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

BYTES = {
    "autocrlf": ("a.txt", b"one\r\ntwo\nthree\r\n", "* text=auto\n", ("core.autocrlf", "true")),
    "eol": ("a.txt", b"one\r\ntwo\n", "*.txt text eol=crlf\n", None),
    "filter": ("a.dat", b"raw bytes", "*.dat filter=up\n", ("filter.up.clean", "tr a-z A-Z")),
    "encoding": (
        "a.txt", "äöü\n".encode("utf-16"), "*.txt working-tree-encoding=UTF-16\n", None
    ),
    "lfs": ("a.bin", b"\x00\x01real content", "*.bin filter=lfs\n", ("filter.lfs.clean", "false")),
}  # fmt: skip


@pytest.mark.parametrize("kind", BYTES)
async def test_bytes_are_exact(repo, kind) -> None:
    """Whatever conversion is configured, a rollback brings back exactly the bytes there were."""
    name, content, attributes, setting = BYTES[kind]
    repo.commit("attributes", **{".gitattributes": attributes})
    if setting:
        repo("config", *setting)
    path = repo.write(name, content)
    git = repo.safety()
    taken = await git.snapshot(run_tests=False)
    path.write_bytes(b"agent")
    await git.rollback(taken)
    assert path.read_bytes() == content


async def test_odd_names_and_kinds(repo, git) -> None:
    """Symlinks, exec bits, spaces, newlines and undecodable names come back."""
    names = [" lead", "tab\there", "new\nline", "-dash", ":(top)x", "*", "caf\u00e9", '"q"']
    for name in names:
        repo.write(name, name)
    raw = os.fsencode(repo.path) + b"/b\xffad"
    Path(os.fsdecode(raw)).write_text("undecodable")
    (repo.path / "link").symlink_to("/nowhere/at all")
    (repo.path / "app.py").chmod(0o755)
    taken = await git.snapshot(run_tests=False)
    for name in names:
        (repo.path / name).unlink()
    os.unlink(raw)
    (repo.path / "link").unlink()
    (repo.path / "app.py").chmod(0o644)
    await git.rollback(taken)
    assert all(repo.read(name) == name for name in names)
    assert Path(os.fsdecode(raw)).read_text() == "undecodable"
    assert os.readlink(repo.path / "link") == "/nowhere/at all"
    assert os.access(repo.path / "app.py", os.X_OK)


async def test_too_large_untracked_files(repo) -> None:
    """A file over the limit is listed with the reason, and never deleted by a restore."""
    git = repo.safety(max_untracked_bytes=1000)
    repo.write("before.bin", b"b" * 2000)
    taken = await git.snapshot(run_tests=False)
    assert [(item.path, "larger" in item.reason) for item in taken.uncaptured] == [
        ("before.bin", True)
    ]
    repo.write("before.bin", b"s")
    repo.write("after.bin", b"a" * 3000)
    await git.rollback(taken)
    assert repo.read("before.bin") == "s"
    assert repo.has("after.bin")


async def test_special_files(repo, git) -> None:
    """Pipes and sockets are left alone, even where a tracked file was."""
    (repo.path / "app.py").unlink()
    os.mkfifo(repo.path / "app.py")
    os.mkfifo(repo.path / "pipe")
    taken = await git.snapshot(run_tests=False)
    assert [item.path for item in taken.uncaptured] == ["app.py"]
    repo.write("new.py")
    await git.rollback(taken)
    assert (repo.path / "pipe").is_fifo()
    assert (repo.path / "app.py").is_fifo()
    assert not repo.has("new.py")


async def test_snapshot_touches_nothing(repo, git) -> None:
    """Working tree, index, stash and reflog are the same bytes after a snapshot."""
    repo.write("app.py", "edited\n")
    repo.write("new.txt", "new")
    repo("add", "new.txt")

    def state() -> tuple[object, ...]:
        files = sorted(path for path in repo.path.rglob("*") if ".git" not in path.parts)
        stats = [(path, path.lstat().st_mtime_ns, path.lstat().st_ino) for path in files]
        index = (repo.path / ".git" / "index").read_bytes()
        return stats, index, repo("reflog", "--all"), repo("stash", "list")

    before = state()
    await git.snapshot(run_tests=False)
    assert state() == before


async def test_snapshot_survives_gc(repo, git) -> None:
    """What a snapshot holds outlives `git gc --prune=now`, staged content included."""
    repo.write("app.py", "staged only\n")
    repo("add", "app.py")
    repo.write("app.py", "on disk\n")
    repo.write("new.txt", "untracked")
    taken = await git.snapshot(run_tests=False)
    repo("reset", "-q", "--hard")
    (repo.path / "new.txt").unlink()
    repo("reflog", "expire", "--expire=now", "--all")
    repo("gc", "-q", "--prune=now")
    await git.rollback(taken)
    assert (repo.read("app.py"), repo.read("new.txt")) == ("on disk\n", "untracked")
    assert repo("show", ":app.py") == "staged only"


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


async def test_a_lost_log_does_not_overwrite_snapshots(repo, git) -> None:
    """When the log's file is deleted, numbers go on behind the refs that are there."""
    taken = await git.snapshot(run_tests=False)
    for path in (repo.path / ".git" / "self_coding").glob("operations.db*"):
        path.unlink()
    fresh = repo.safety()
    repo.write("new.py")
    other = await fresh.snapshot(run_tests=False)
    assert other.ref != taken.ref
    await fresh.rollback(taken)
    assert not repo.has("new.py")


async def test_snapshots_after_their_objects_were_collected(repo, git) -> None:
    """When old snapshots and their objects are gone, the next one captures all anew."""
    repo.write("untracked.txt", "precious")
    await git.snapshot(run_tests=False)
    for ref in repo("for-each-ref", "--format=%(refname)", "refs/self-coding").split():
        repo("update-ref", "-d", ref)
    repo("gc", "-q", "--prune=now")
    taken = await git.snapshot(run_tests=False)
    assert repo("show", f"{taken.ref}:worktree/untracked.txt") == "precious"


async def test_gc_keeps_the_newest(repo, git) -> None:
    """Retention drops the oldest refs only, and what is left can still be gone back to."""
    for number in range(5):
        repo.write("app.py", f"{number}\n")
        await git.snapshot(run_tests=False)
    said = await git.gc(keep=2, keep_days=-1)
    assert any("dropped 3" in line for line in said)
    left = await git.snapshots()
    assert len(left) == 2
    repo.write("app.py", "later\n")
    await git.rollback(left[0])
    assert repo.read("app.py") == "4\n"
    repo("fsck", "--connectivity-only")


async def test_gc_forgets_only_our_own_lost_worktrees(repo, git, tmp_path) -> None:
    """The registration of a worktree of ours that is gone goes; a person's, on a disk that is not
    mounted just now, stays, whatever it is called."""
    tree = await git.isolate("a")
    shutil.rmtree(tree.path)
    theirs = tmp_path / "self-coding-fix"
    repo("worktree", "add", "-q", str(theirs))
    theirs.rename(tmp_path / "unplugged")
    said = await git.gc(keep_days=-1)
    assert [line for line in said if "forgot" in line] == [f"forgot the worktree at {tree.path}"]
    (tmp_path / "unplugged").rename(theirs)
    assert str(theirs) in repo("worktree", "list")


async def test_many_snapshots_stay_small(repo, git) -> None:
    """Snapshots of one changed file share all the rest."""
    repo.write("big.bin", os.urandom(300_000))
    before = None
    for number in range(20):
        repo.write("app.py", f"{number}\n")
        await git.snapshot(run_tests=False)
        folders = (repo.path / ".git" / "objects", repo.path / ".git" / "refs")
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        before = before or size
    assert size - before < 0.02 * 19 * 300_000
