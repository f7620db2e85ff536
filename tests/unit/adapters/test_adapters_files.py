"""Files are written whole, and a killed writer leaves nothing for good."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from self_coding.adapters.files import PART, create_file, replace_file

_KILLED = """
import os, sys
from pathlib import Path
from self_coding.adapters.files import create_file, replace_file
Path.replace = Path.hardlink_to = lambda *a: os._exit(9)
{}(Path(sys.argv[1]), "half")
"""


def kill_in(function: str, target: Path) -> Path:
    """Let a process die before it puts the file in place; return what it left."""
    argv = [sys.executable, "-c", _KILLED.format(function), str(target)]
    assert subprocess.run(argv, check=False).returncode == 9
    [part] = target.parent.glob(f"{PART}*")
    return part


@pytest.mark.parametrize("function", ["replace_file", "create_file"])
def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path, function) -> None:
    """However often a writer is killed, the next one leaves the file alone in its folder."""
    target = tmp_path / "note.json"
    assert kill_in(function, target) == kill_in("replace_file", target)
    {"replace_file": replace_file, "create_file": create_file}[function](target, "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]
    assert target.read_text() == "whole"


@pytest.mark.parametrize("plant", [os.link, os.symlink])
def test_a_planted_part_leads_nowhere(tmp_path, plant) -> None:
    """The name is known beforehand: a link that lies there is not written through."""
    target, victim = tmp_path / "a", tmp_path / "victim"
    victim.write_text("precious")
    part = kill_in("replace_file", target)
    part.unlink()
    plant(victim, part)
    replace_file(target, "new")
    assert (target.read_text(), victim.read_text(), part.exists()) == ("new", "precious", False)


def test_writers_of_one_file_at_once(tmp_path) -> None:
    """Each of many writers succeeds, and the file is one of theirs, whole."""
    target = tmp_path / "a"
    contents = [f"{number}" * 5000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: replace_file(target, text), contents * 20))
    assert target.read_text() in contents
    assert list(tmp_path.iterdir()) == [target]


def test_create_file_replaces_nothing(tmp_path) -> None:
    """A file that is there stays, and the refusal leaves nothing beside it."""
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(FileExistsError):
        create_file(target, "new")
    assert (target.read_text(), list(tmp_path.iterdir())) == ("old", [target])


def test_a_refused_write_leaves_the_old_file(tmp_path) -> None:
    """A folder in the place of the target is an error, and no part stays."""
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        replace_file(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
