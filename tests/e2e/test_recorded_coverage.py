"""The gate records what tests run: after a landing, `impact` names those that ran a body."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from self_coding.cli.doctor import examine
from self_coding.config import Layer, open_layer
from self_coding.testing import ScriptedEditor, git, write_files

TESTS = f"{sys.executable} -m pytest -q -p no:cacheprovider tests"
CORE = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"
FILES = {
    "calc/__init__.py": "",
    "calc/core.py": CORE,
    "tests/test_one.py": "from calc import core\n\ndef test_one():\n    assert core.one() == 1\n",
    "tests/test_two.py": "from calc import core\n\ndef test_two():\n    assert core.two() == 2\n",
    "tests/test_no.py": "import calc.core\n\ndef test_no():\n    assert calc.core\n",
    ".gitignore": "__pycache__/\n",
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    top = tmp_path / "repo"
    top.mkdir()
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "config", "user.name", "t")
    git(top, "config", "user.email", "t@example.invalid")
    write_files(top, FILES)
    git(top, "add", "-A")
    git(top, "commit", "--quiet", "-m", "first")
    return top


def layer(repo: Path, **settings: object) -> Layer:
    return open_layer(repo, environ={}, test_command=TESTS, **settings)


async def landed(room: Layer, old: str, new: str) -> None:
    text = git(room.top, "show", "main:calc/core.py") + "\n"
    editor = ScriptedEditor({"calc/core.py": text.replace(old, new)})
    result = await room.edit.self_edit("Change the core", editor=editor)
    assert result.success, result


async def affected(room: Layer, old: str, new: str) -> list[str]:
    """The tests to run when a text of the core changes in the working tree."""
    core = room.top / "calc/core.py"
    before = core.read_text()
    assert old in before
    core.write_text(before.replace(old, new))
    found = await room.indexer.affected_tests(["calc/core.py"])
    core.write_text(before)
    return found


async def test_one_landing_is_enough(repo: Path) -> None:
    """After one landing a changed body runs the tests that ran it, with no record made by hand."""
    room = layer(repo)
    assert len(await affected(room, "return 2", "return 1 + 1")) == 3
    await landed(room, "return 1", "return 2 - 1")
    assert await affected(room, "return 2\n", "return 1 + 1\n") == ["tests/test_two.py"]
    assert await affected(room, "return 2 - 1", "return 1") == ["tests/test_one.py"]
    assert len(await affected(room, "def two", "LIMIT = 1\ndef two")) == 3
    assert await room.indexer.unrecorded() == []


async def test_the_fast_no_asks_those_who_ran_it(repo: Path, monkeypatch) -> None:
    """The tests that run first are those that ran the changed body, and the rest still run."""
    room = layer(repo)
    await landed(room, "return 1", "return 2 - 1")
    asked, test = [], room.git.test

    async def noting(candidate, **more):
        asked.append(more)
        report = await test(candidate, **more)
        assert len(report.tests) == 3
        return report

    monkeypatch.setattr(room.git, "test", noting)
    await landed(room, "return 2\n", "return 1 + 1\n")
    assert asked == [{"first": ("tests/test_two.py",), "record": []}]


async def test_a_record_renews_itself(repo: Path) -> None:
    """The landing that makes a record stale makes the new one, of the landed text."""
    room = layer(repo)
    await landed(room, "return 1", "return 2 - 1")
    await landed(room, "return 2\n", "return one() + 1\n")
    assert await room.indexer.unrecorded() == []
    assert await affected(room, "return 2 - 1", "return 1") == [
        "tests/test_one.py",
        "tests/test_two.py",
    ]


async def test_a_refused_change_leaves_no_record(repo: Path) -> None:
    """What was recorded of a change that is refused is not kept."""
    room = layer(repo)
    broken = {"calc/core.py": CORE.replace("return 1", "return 3")}
    result = await room.edit.self_edit("Break it", editor=ScriptedEditor(broken))
    assert (result.success, result.by) == (False, "gate")
    assert len(await room.indexer.unrecorded()) == 3


async def test_recording_can_be_switched_off(repo: Path) -> None:
    """Without the setting nothing is recorded, and everything else goes on."""
    room = layer(repo, record_coverage=False)
    await landed(room, "return 1", "return 2 - 1")
    assert len(await room.indexer.unrecorded()) == 3


async def test_doctor_says_whether_the_gate_records(repo: Path) -> None:
    """Before any landing, after one, after one that told nothing, and switched off."""
    settings = f'test_command = "{TESTS}"\nmain_branch = "main"\n'

    async def told() -> tuple[str, str]:
        (repo / "self-coding.toml").write_text(settings)
        checks = {check.name: check for check in await examine(repo)}
        check = checks["recorded coverage"]
        (repo / "self-coding.toml").unlink()
        return check.state, check.told

    assert await told() == ("ok", "from the first landing on")
    await landed(layer(repo), "return 1", "return 2 - 1")
    assert await told() == ("ok", "the gate records what tests run")
    traces = "import sys\ndef test_t():\n    sys.settrace(None)\n"
    editor = ScriptedEditor({"tests/test_t.py": traces})
    result = await layer(repo).edit.self_edit("Trace", editor=editor)
    assert result.success, result
    await landed(layer(repo), "return 2\n", "return 1 + 1\n")
    state, text = await told()
    assert (state, "took the trace away" in text) == ("note", True)
    settings += "record_coverage = false\n"
    assert await told() == ("note", "off")


async def test_the_record_is_of_the_tested_tree(repo: Path) -> None:
    """A working tree that differs from what was tested is measured against the tested text."""
    room = layer(repo)
    mine = CORE.replace("return 2", "return one() + 1")
    (repo / "calc/core.py").write_text(mine)
    await landed(room, "return 1", "return 2 - 1")
    assert (repo / "calc/core.py").read_text() == mine
    assert await room.indexer.affected_tests(["calc/core.py"]) == [
        "tests/test_one.py",
        "tests/test_two.py",
    ]
