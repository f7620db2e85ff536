"""Files that a person names: whole or not at all, and never over another one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from self_coding.cli.commands import write_file
from self_coding.errors import JournalError


@pytest.mark.parametrize(
    "name", ["folder", ".", "", "x" * 300, "none/file", "notes.md/file", "socket"]
)
@pytest.mark.parametrize("force", [False, True], ids=["new", "forced"])
def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, force: bool
) -> None:
    """A name that can be no file is told in a sentence, and no part of a file stays behind."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("notes.md").write_text("mine")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(JournalError, match=r"cannot write|exists already") as told:
            write_file(Path(name), "text", force=force)
    assert told.value.hint
    assert sorted(os.listdir()) == ["folder", "notes.md", "socket"]
    assert Path("notes.md").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True], ids=["new", "forced"])
def test_a_text_that_cannot_be_encoded_leaves_nothing(tmp_path: Path, force: bool) -> None:
    """What fails half-way leaves no file where none was."""
    with pytest.raises(UnicodeEncodeError):
        write_file(tmp_path / "new", "\udc80", force=force)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    """What a shell gives for `>(gzip)` exists already, and takes the text."""
    reading, writing = os.pipe()
    write_file(Path(f"/dev/fd/{writing}"), "text", force=False)
    os.close(writing)
    with os.fdopen(reading) as seen:
        assert seen.read() == "text"
