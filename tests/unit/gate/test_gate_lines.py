"""What the plugin told of lines is read, or it is a silence; it is never an error."""

from __future__ import annotations

from dataclasses import replace

import pytest

from self_coding.gate.census import Census
from self_coding.gate.lines import recording, undisturbed
from self_coding.values.recording import Doer, Recording
from self_coding.values.verdicts import TestResult

CENSUS = Census(
    sessions=1,
    ended=True,
    statuses=(0,),
    collected=("t.py::a",),
    results=(TestResult(id="t.py::a", outcome="passed"),),
)
END = {"why": "", "doers": [["t.py", 0]], "unseen": ["u.py"], "starting": [["t.py", 0]]}
PIECE = {"by": ["a.py", 1], "ran": {"b.py": "0601"}, "asked": []}
FILES = {"files": ["d.py", "e.py"]}
T = Doer("t.py", False)


def test_pieces_become_lines() -> None:
    """Bits are line numbers; pieces of one doer are joined; a test without lines is there."""
    more = {"by": ["a.py", 1], "ran": {"b.py": "08", "c.py": "02"}, "asked": [1]}
    found = recording(CENSUS, [PIECE, FILES, more, END], timed_out=False)
    assert found.silence == ""
    assert found.lines == {
        Doer("a.py", True): {"b.py": frozenset([1, 2, 3, 8]), "c.py": frozenset([1])},
        T: {},
    }
    assert (found.unseen, found.starting) == ({"u.py"}, {T})
    assert found.imports[Doer("a.py", True)] == {"e.py"}
    assert found.paths == {"a.py", "b.py", "c.py", "e.py", "t.py", "u.py"}


@pytest.mark.parametrize(
    "told",
    [
        [],
        [PIECE],
        ["x", END],
        [PIECE | {"by": ["a.py"]}, END],
        [PIECE | {"by": ["../a.py", 1]}, END],
        [PIECE | {"ran": {"/etc/passwd": "01"}}, END],
        [PIECE | {"ran": {"a\0.py": "01"}}, END],
        [PIECE | {"ran": {"b.py": "xyz"}}, END],
        [PIECE | {"ran": []}, END],
        [FILES, PIECE | {"asked": [2]}, END],
        [FILES, PIECE | {"asked": [-1]}, END],
        [{"files": ["../d.py"]}, PIECE, END],
        [{"why": ""}],
        [END | {"why": "a reason"}],
    ],
)
def test_what_is_broken_is_a_silence(told: list[object]) -> None:
    """Nothing, nonsense, and paths that lead elsewhere tell nothing at all."""
    found = recording(CENSUS, told, timed_out=False)
    assert found.silence and not found.lines and not found.unseen


@pytest.mark.parametrize(
    "changed",
    [
        {"sessions": 0},
        {"ended": False},
        {"tampered": "a line"},
        {"statuses": (2,)},
        {"collected": ("t.py::a", "t.py::b")},
        {"sessions": 2},
    ],
)
def test_a_run_that_was_not_whole_is_a_silence(changed: dict[str, object]) -> None:
    """A run without its end, without a result, or with a session that told nothing."""
    assert recording(replace(CENSUS, **changed), [PIECE, END], timed_out=False).silence


def test_a_timed_out_run_is_a_silence() -> None:
    """What was ended from outside tells nothing."""
    assert recording(CENSUS, [PIECE, END], timed_out=True).silence


def test_who_ends_otherwise_is_left_out() -> None:
    """Test files that end otherwise when it counts have no record; work done once stays."""
    once = Doer("tests/u.py", True)
    files = ["tests/t.py", "tests/u.py", "tests/v.py", "tests/w.py"]
    found = Recording(lines={once: {}} | {Doer(file, False): {} for file in files[:3]})
    then = {"t.py::a": "failed", "u.py::a": "passed", "v.py::a": "failed"}
    counted = {"t.py::a": "passed", "u.py::a": "failed", "v.py::a": "failed"}
    kept, disturbed = undisturbed(found, [*files, "x.py::a"], then, counted)
    assert kept.lines.keys() == {once, Doer("tests/v.py", False)}
    assert kept.left_out == {"tests/t.py", "tests/u.py", "tests/w.py"}
    assert disturbed == ("t.py",)
