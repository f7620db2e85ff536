"""Searching the journal, and the warning of a dead end."""

import pytest

from self_coding.modification_journal import (
    ModificationAttempt,
    ModificationJournal,
    Outcome,
    search,
)
from self_coding.values.attempts import Lesson


@pytest.fixture
async def journal(journal_place):
    opened = ModificationJournal(journal_place)
    for n in range(40):
        await opened.log_attempt(ModificationAttempt(f"Tidy module {n}", outcome=Outcome.SUCCESS))
    yield opened
    await opened.close()


async def test_a_repeated_failure_is_warned_of(journal):
    """The same task again names the attempt and why it failed."""
    number = await journal.log_attempt(
        ModificationAttempt(
            "Cache the parsed templates",
            outcome=Outcome.FAILURE,
            failure_analysis="the cache is shared\nbetween threads",
        )
    )
    for task in ("Cache parsed templates", "cache the parsed templates in memory"):
        warning = await journal.dead_end(task)
        assert (warning.attempt, warning.at) == (number, "plan")
        assert "shared between threads" in str(warning)
    assert await journal.dead_end("Print the invoice") is None
    assert await journal.dead_end("") is None


async def test_a_warning_says_what_to_do_instead(journal):
    """The sentence that was learnt from the failure stands in the warning, not only its number."""
    task = "Divide the bill by the number of guests"
    number = await journal.begin(task)
    await journal.finish(number, Outcome.FAILURE, failure_analysis="tests failed: test_no_guests")
    lesson = "divide by zero was not handled; guard before dividing"
    await journal.learn(Lesson(text="look elsewhere", evidence=(number + 7,)))
    await journal.learn(Lesson(text=lesson, evidence=(number,)))
    warning = str(await journal.dead_end(task))
    assert f"tests failed: test_no_guests; {lesson}" in warning
    assert "elsewhere" not in warning


async def test_a_success_is_no_dead_end(journal):
    """Only what failed or was rolled back is warned of."""
    assert await journal.dead_end("Tidy module 3") is None


@pytest.mark.parametrize(("files", "warns"), [([], False), (["a.py"], True)])
async def test_an_editor_that_changed_nothing_tried_nothing(journal, files, warns):
    """Only a change that was made and refused is a dead end, not a typo in the editor's command."""
    number = await journal.begin("Cache the parsed templates")
    await journal.finish(
        number, Outcome.FAILURE, stage="refused", files_modified=files, failure_analysis="failed"
    )
    assert bool(await journal.dead_end("Cache parsed templates")) is warns


async def test_a_repeated_diff_is_warned_of_without_a_task(journal):
    """At edit time the diff alone is enough, in the same file only."""
    diff = "--- a/m.py\n+++ b/m.py\n@@ -1 +1 @@ def f():\n-    timeout = 5\n+    timeout = None\n"
    await journal.log_attempt(
        ModificationAttempt("Wait longer", diff=diff, outcome=Outcome.ROLLBACK)
    )
    warning = await journal.dead_end(diff=diff, files=["m.py"], at="edit")
    assert (warning.task, warning.at) == ("Wait longer", "edit")
    assert "rolled back" in warning.because
    assert await journal.dead_end(diff=diff.replace("m.py", "n.py")) is None
    assert await journal.dead_end(diff=diff.replace("timeout", "retries_of_pool")) is None


def test_the_reason_is_the_attempts_own():
    """Analysis first, else the reflection, else what is certain."""
    past = ModificationAttempt("t", failure_analysis=" ", reflection="x " * 300)
    assert len(search.because(past)) == 240
    assert search.because(ModificationAttempt("t")) == "no reason was recorded"
