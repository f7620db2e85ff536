"""`gate.tests = "affected"` on a real repository: fast where it may be, whole before it lands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from self_coding import operations
from self_coding.app import App, open_app
from self_coding.cli import views
from self_coding.testing import SAMPLE, ScriptedEditor, sample_repo

HIDDEN = (
    "from pathlib import Path\n\n\ndef test_words():\n"
    '    name = "".join(["co", "re.py"])\n'
    '    text = (Path(__file__).parents[1] / "src" / "calc" / name).read_text()\n'
    '    assert "forbidden" not in text\n'
)


@pytest.fixture
async def app(tmp_path: Path) -> App:
    others = {f"tests/test_other{n}.py": f"def test_{n}():\n    assert True\n" for n in range(6)}
    files = {**SAMPLE, **others, "tests/test_hidden.py": HIDDEN}
    command = f"{sys.executable} -m pytest -q"
    top = sample_repo(tmp_path / "r", files)
    made = open_app(top, environ={}, test_command=command, gate={"tests": "affected"})
    await made.git.test(await made.git.get_main_commit())  # what main fails is known from here on
    return made


def changed(words: str) -> ScriptedEditor:
    return ScriptedEditor({"src/calc/core.py": SAMPLE["src/calc/core.py"] + f"\n# {words}\n"})


async def test_the_whole_suite_runs_before_it_lands(app: App) -> None:
    """The attempt was tested by two files, and its receipt is of all of them."""
    result = await app.edit.self_edit("say something", editor=changed("something"))
    assert result.success, result.message
    events = await app.journal.events(result.attempt_id)
    [tested] = [one.data for one in events if one.kind == "tested"]
    assert sorted(tested["affected"]) == ["tests/test_core.py", "tests/test_report.py"]
    [receipt] = [one for one in await app.git.operations() if one.kind == "land"]
    found = await app.git.receipt(result.commit_hash, receipt.at)
    assert dict(found.outcomes)["passed"] == 10
    assert await app.git.verify() == []


async def test_a_miss_is_refused_and_counted(app: App) -> None:
    """What no affected test sees is found by all of them: nothing lands, and `stats` tells it."""
    result = await app.edit.self_edit("say it", editor=changed("forbidden"))
    assert (result.stage, result.by) == ("refused", "gate")
    assert result.failing_tests == ("tests/test_hidden.py::test_words",)
    rates = await operations.success_rates(app)
    assert rates.missed == 1
    assert "missed: 1" in views.success_rates(rates)
