"""How strong a change's tests are: told to the next try, on the record and on the receipt."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from self_coding.app import App, open_app
from self_coding.cli.views import show_attempt as shown
from self_coding.errors import EditError
from self_coding.git_safety.receipts import read_receipts, verify
from self_coding.operations import show_attempt
from self_coding.testing import SAMPLE, ScriptedEditor, sample_repo

CODE = SAMPLE["src/calc/core.py"]
TEST = SAMPLE["tests/test_core.py"]
BIG = '\n\ndef big(a: int) -> bool:\n    """Whether a is big."""\n    return a > 100\n'
WEAK = {
    "src/calc/core.py": CODE + BIG,
    "tests/test_core.py": TEST.replace("add, double", "add, big, double")
    + "\n\ndef test_big():\n    assert big(500)\n",
}
STRONG = WEAK | {
    "tests/test_core.py": WEAK["tests/test_core.py"]
    + "\n\ndef test_not_big():\n    assert [big(100), big(101)] == [False, True]\n"
}


@pytest.fixture
def app(tmp_path: Path) -> App:
    return open_app(sample_repo(tmp_path / "r"))


async def test_what_no_test_noticed_goes_to_the_next_try_and_a_landing_is_asked(app):
    """A refused green change is measured for its next try; a landed one when somebody asks."""
    editor = ScriptedEditor(WEAK, STRONG)
    answers = iter(["test the border", True])
    result = await app.edit.self_edit(
        "Add big", editor=editor, tries=2, ask=lambda _: next(answers)
    )
    assert result.success, result.message
    told = "\n".join(part.text for part in editor.assignments[1].context.parts)
    assert "No test noticed" in told and "`a > 100` became `(a >= 100)`" in told

    assert (await show_attempt(app, 2)).strength is None, "a landing is not held up by it"
    record = await show_attempt(app, 2, mutants=True)
    assert record.strength is not None
    assert (record.strength.survived, record.strength.tried) == ((), record.strength.made)
    assert "mutants noticed" in shown(await show_attempt(app, 2))
    store = app.common / "self_coding"
    assert read_receipts(store)[-1].mutants == str(record.strength)
    assert verify(store, app.top) == []
    text = await asyncio.to_thread(lambda: max(store.glob("receipts/*.json")).read_text())
    assert "mutants" not in json.loads(text), "the sealed file itself is never changed"


async def test_what_passed_no_test_is_not_measured(app):
    """A change whose tests fail has nothing to be measured by, and says so."""
    bug = {"src/calc/core.py": CODE.replace("a + b", "a - b")}
    await app.edit.self_edit("Break it", editor=ScriptedEditor(bug), tries=2)
    with pytest.raises(EditError, match="no tests that passed"):
        await show_attempt(app, 1, mutants=True)
