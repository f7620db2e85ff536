"""Claims: held by one, dropped with the process that holds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from self_coding.adapters.file_lock import try_lock
from self_coding.errors import StorageError


def test_one_holds_at_a_time(tmp_path: Path) -> None:
    """A second claim gets nothing until the first is given up, and leaves no file behind."""
    path = tmp_path / "deep" / "x.lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    first.release()
    first.release()
    assert not path.exists()
    second = try_lock(path)
    assert second is not None
    second.release()


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    """A claim ends with its process, however it died, and a left-over file is no claim."""
    path = tmp_path / "x.lock"
    script = (
        "import os, pathlib, signal, sys\n"
        "from self_coding.adapters.file_lock import try_lock\n"
        "held = try_lock(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", script, str(path)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert try_lock(path) is None
        child.kill()
    assert path.exists()
    again = try_lock(path)
    assert again is not None
    again.release()


def test_a_place_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    """Where no lock file can stand, the refusal is typed."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        try_lock(tmp_path / "file" / "x.lock")
    assert caught.value.hint
