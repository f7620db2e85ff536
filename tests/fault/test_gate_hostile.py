"""The hostile corpus: what each level of the sandbox contains on this machine."""

from __future__ import annotations

import pytest
from gate_hostile import PROGRAMS, attack, control, world

from self_coding.adapters import sandbox


def test_the_corpus_is_large_enough():
    """At least fifteen different programs."""
    assert len({program.name for program in PROGRAMS}) >= 15


@pytest.mark.parametrize("level", ["bwrap", "landlock"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name.replace(" ", "-"))
def test_a_program_is_contained(program, level, tmp_path, monkeypatch):
    """Whatever the program tries, at either level: nothing outside of its tree notices."""
    if level == "bwrap" and sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER_TOKEN", "")
    with world(tmp_path) as here:
        assert attack(program, here, level)


@pytest.mark.parametrize("level", ["bwrap", "landlock", "limits"])
def test_ordinary_work_goes_on(level, tmp_path, monkeypatch):
    """Python, the tree, temporary files and a few processes work at every level."""
    if level == "bwrap" and sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER_TOKEN", "")
    with world(tmp_path) as here:
        assert control(here, level)
