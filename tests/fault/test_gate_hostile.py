"""The hostile corpus: what each level of the sandbox contains on this machine."""

from __future__ import annotations

import os

import pytest
from gate_hostile import PROGRAMS, attack, control, world

from self_coding.adapters import sandbox

# what a level cannot do, by design; docs/explanation/sandbox.md says so in a table
AS_ROOT = {"300 processes"}


def test_the_corpus_is_large_enough():
    """At least fifteen different programs."""
    assert len({program.name for program in PROGRAMS}) >= 15


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name.replace(" ", "-"))
def test_bubblewrap_contains(program, tmp_path, monkeypatch):
    """With bubblewrap every program is contained; root's number of processes is the exception."""
    if sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    if os.getuid() == 0 and program.name in AS_ROOT:
        pytest.skip("the kernel does not limit root's processes")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER_TOKEN", "")
    with world(tmp_path) as here:
        assert attack(program, here, "bwrap")


@pytest.mark.parametrize("level", ["bwrap", "landlock", "limits"])
def test_ordinary_work_goes_on(level, tmp_path, monkeypatch):
    """Python, the tree, temporary files and a few processes work at every level."""
    if level == "bwrap" and sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER_TOKEN", "")
    with world(tmp_path) as here:
        assert control(here, level)
