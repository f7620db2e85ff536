"""Searching the journal, and the warning of a dead end."""

import random

import psycopg
import pytest

from journal_stores import address
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


async def test_a_warning_says_what_to_do_and_not_how_the_run_went(journal):
    """The lesson and the test to run stand in it; of a reflection alone its advice."""
    told = (
        "## What went well\n- The tests caught it.\n\n## What could be improved\n- Guard the zero."
    )
    past = ModificationAttempt("Cache the rates", outcome=Outcome.FAILURE, reflection=told)
    number = await journal.log_attempt(past)
    assert (await journal.dead_end("Cache the rates")).because == "Guard the zero."
    lesson = Lesson(text="divide by zero in rate.", tests=("t.py::a",), evidence=(number,))
    await journal.learn(lesson)
    warning = await journal.dead_end("Cache the rates")
    assert warning.because == "divide by zero in rate; run t.py::a first"


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


async def test_both_databases_rank_alike_to_the_last_digit(tmp_path, monkeypatch):
    """The same attempts give the same answers, however many rows the rare words bring."""
    monkeypatch.setattr(search, "_PROBE", 8)  # so that a few hundred attempts are many
    monkeypatch.setattr(search, "_PER_TERM", 30)
    monkeypatch.setattr(search, "_READ", 100)
    monkeypatch.setattr(search, "_SCORED", 20)
    rng = random.Random(5)
    words = [f"word{n}" for n in range(30)]
    weights = [1 / (n + 1) for n in range(30)]
    journals = ModificationJournal(tmp_path / "a.db"), ModificationJournal(address())
    for n in range(250):
        task = " ".join(rng.choices(words, weights, k=5))
        files = [f"src/{rng.choice(words)}.py", f"docs/a {n % 7}.md"]
        one = ModificationAttempt(task, files_modified=files, outcome=rng.choice([*Outcome]))
        for journal in journals:
            await journal.log_attempt(one)
    for n in range(40):
        task = " ".join(rng.choices(words, k=4))
        outcomes = [None, (Outcome.FAILURE,), ()][n % 3]
        found = [await one.similar_attempts(task, outcomes=outcomes) for one in journals]
        one, other = ([(hit.attempt.id, hit.score, hit.reasons) for hit in hits] for hits in found)
        assert one == other
        assert bool(one) == (outcomes != ())
        assert await journals[0].dead_end(task) == await journals[1].dead_end(task)
    for journal in journals:
        await journal.close()


async def test_a_search_asks_a_server_three_questions(monkeypatch):
    """Each question is a round trip to another machine."""
    journal = ModificationJournal(address())
    for n in range(100):
        await journal.log_attempt(ModificationAttempt(f"Tidy {n}", outcome=Outcome.SUCCESS))
    asked = []
    send = psycopg.Connection.execute

    def counted(self, *given, **more):
        asked.append(given)
        return send(self, *given, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    assert await journal.find_similar("Tidy 7")
    assert len(asked) == 3
    await journal.close()
