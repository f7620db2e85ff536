"""One path is changed by compare-and-swap, and no bytes of others are lost."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time

from self_coding.errors import SelfCodingError
from self_coding.git_safety import file_swap


async def test_folder_replaced_by_a_symlink_to_outside(repo, git, tmp_path) -> None:
    """What lies behind a symlink is not ours to restore into."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "core.py").write_text("theirs")
    taken = await git.snapshot(run_tests=False)
    (repo.path / "lib" / "core.py").unlink()
    (repo.path / "lib").rmdir()
    (repo.path / "lib").symlink_to(outside)
    await git.rollback(taken)
    assert (outside / "core.py").read_text() == "theirs"
    assert repo.read("lib/core.py").startswith("def core")
    assert not (repo.path / "lib").is_symlink()


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


async def test_private_files_stay_private(repo, git) -> None:
    """A file that only its owner may read is not opened up by a restore."""
    path = repo.write("secret.txt", "one")
    path.chmod(0o600)
    taken = await git.snapshot(run_tests=False)
    path.write_text("two")
    await git.rollback(taken)
    assert path.read_text() == "one"
    assert path.stat().st_mode & 0o777 == 0o600


def blob(text: str) -> str:
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


async def test_an_editor_that_saves_all_the_time(repo, git) -> None:
    """Files saved in place and by rename while rollbacks run are never the ones that get lost."""
    taken = await git.snapshot(run_tests=False)
    saved, stop = [], threading.Event()

    def editor() -> None:
        while not stop.is_set():
            text = f"version {len(saved)}\n"
            if len(saved) % 2:
                repo.write("app.py", text)
            else:
                repo.write(".saving", text)
                os.replace(repo.path / ".saving", repo.path / "app.py")
            saved.append(text)
            time.sleep(0.002)

    thread = threading.Thread(target=editor)
    thread.start()
    try:
        for _ in range(6):
            try:
                await git.rollback(taken)
            except SelfCodingError:
                continue
    finally:
        stop.set()
        thread.join()
    known = repo("rev-list", "--objects", "--all", "--no-object-names").split()
    kept = (repo.path / ".git" / "self-coding-set-aside").rglob("*")
    aside = [path.read_text() for path in kept if path.is_file()]
    assert repo.read("app.py") == saved[-1] or blob(saved[-1]) in known or saved[-1] in aside


async def test_files_and_folders_change_places(repo, git) -> None:
    """A folder that became a file, and a file that became a folder, come back, and forth again."""
    taken = await git.snapshot(run_tests=False)
    shutil.rmtree(repo.path / "lib")
    repo.write("lib", "now a file")
    (repo.path / "app.py").unlink()
    repo.write("app.py/inside", "x")
    await git.rollback(taken)
    assert repo.read("lib/core.py").startswith("def")
    assert repo.read("app.py") == "one = 1\n"
    await git.undo()
    assert (repo.read("lib"), repo.read("app.py/inside")) == ("now a file", "x")


async def test_an_ignored_file_inside_a_folder_in_the_way(repo, git) -> None:
    """A folder with an ignored file in it is not removed to make room."""
    repo.write(".git/info/exclude", "*.secret\n")
    taken = await git.snapshot(run_tests=False)
    (repo.path / "app.py").unlink()
    repo.write("app.py/k.secret", "key")
    await git.rollback(taken)
    assert repo.read("app.py/k.secret") == "key"
    assert (await git.operations(1))[0].left == ("app.py",)


def test_swap_puts_a_strangers_bytes_back(tmp_path) -> None:
    """When the displaced file is not the expected one, the two change back."""
    from self_coding.git_safety import file_swap

    top, staging = tmp_path / "top", tmp_path / "staging"
    top.mkdir()
    staging.mkdir()
    (top / "a").write_text("theirs")
    (staging / "0").write_text("ours")
    digest = file_swap.fingerprint(staging / "0", "sha1")
    real = file_swap.matches
    calls = iter([True])  # the look before the exchange is deceived: they were quicker

    def deceived(path, expected, kind):
        return next(calls, None) or real(path, expected, kind)

    file_swap.matches = deceived
    try:
        expected = f"blob 100644 {blob('earlier')}"
        step = file_swap.FileStep("a", "100644", expected, digest)
        assert "concurrently" in file_swap.FileSwap(top, staging / "0", step, "sha1").execute()
        assert (top / "a").read_text() == "theirs"
        calls = iter([True])
        gone = file_swap.FileStep("a", "000000", expected)
        assert "concurrently" in file_swap.FileSwap(top, staging / "1", gone, "sha1").execute()
        assert (top / "a").read_text() == "theirs"
    finally:
        file_swap.matches = real


def test_swap_does_not_follow_symlinks(tmp_path) -> None:
    """A path behind a symlink is neither written nor deleted."""
    from self_coding.git_safety import file_swap

    top, staging, outside = (tmp_path / name for name in ("top", "staging", "outside"))
    for folder in (top, staging, outside):
        folder.mkdir()
    (top / "lib").symlink_to(outside)
    (outside / "theirs").write_text("theirs")
    (staging / "0").write_text("ours")
    digest = file_swap.fingerprint(staging / "0", "sha1")
    step = file_swap.FileStep("lib/new", "100644", "", digest)
    assert "symlink" in file_swap.FileSwap(top, staging / "0", step, "sha1").execute()
    gone = file_swap.FileStep("lib/theirs", "000000", f"blob 100644 {blob('theirs')}")
    assert "symlink" in file_swap.FileSwap(top, staging / "1", gone, "sha1").execute()
    assert [path.name for path in outside.iterdir()] == ["theirs"]
