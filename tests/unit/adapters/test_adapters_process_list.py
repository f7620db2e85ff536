"""Processes of the machine: found by name, and ended by what they carry."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from self_coding.adapters import process_list


def test_a_command_is_found_with_its_arguments_and_folder(tmp_path: Path) -> None:
    """A running command is listed by its name, with its words and where it runs."""
    with subprocess.Popen(["sleep", "60.25"], cwd=tmp_path) as child:
        try:
            # Its words are there a moment after `Popen` returns, where the machine is busy.
            for _ in range(100):
                found = list(process_list.commands("sleep"))
                if (["sleep", "60.25"], tmp_path) in found:
                    break
                time.sleep(0.05)
            assert (["sleep", "60.25"], tmp_path) in found
        finally:
            child.kill()


def test_a_marked_process_is_ended_and_no_other() -> None:
    """Only a process whose environment carries the value is ended."""
    marked = subprocess.Popen(["sleep", "60"], env={"MARK": "this-run"})
    other = subprocess.Popen(["sleep", "60"], env={"MARK": "another-run"})
    try:
        process_list.kill_marked("MARK", "this-run")
        assert marked.wait(10) == -9
        assert other.poll() is None
    finally:
        for child in (marked, other):
            child.kill()
            child.wait()
