"""The founding contract of ModificationJournal, to the letter."""

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from self_coding.errors import JournalError, SelfCodingError
from self_coding.modification_journal import ModificationAttempt, ModificationJournal, Outcome


@pytest.fixture
async def journal(journal_place):
    opened = ModificationJournal(db_path=journal_place)
    yield opened
    await opened.close()


def attempt(task, outcome=Outcome.SUCCESS, **fields):
    return ModificationAttempt(task_description=task, outcome=outcome, **fields)


async def test_an_attempt_comes_back_as_it_was_logged(journal):
    """Every founding field survives; the id and an aware moment are added."""
    before = datetime.now(UTC)
    given = ModificationAttempt(
        "Add retry",
        approach="loop",
        files_modified=["src/a.py", "b.py"],
        diff="+x\n" * 2000,
        test_results="F" * 5000,
        outcome=Outcome.ROLLBACK,
        failure_analysis="why",
        reflection="hm",
        retry_count=3,
        embedding=[0.5, -1.0],
    )
    number = await journal.log_attempt(given)
    found = await journal.get_by_id(number)
    assert number > 0
    assert before - timedelta(seconds=1) < found.timestamp < datetime.now(UTC)
    found.id = found.timestamp = None
    assert found == given


async def test_ids_are_unique_and_unknown_ones_are_none(journal):
    """Each attempt has an id of its own; an id that was never given names nothing."""
    ids = await asyncio.gather(*(journal.log_attempt(attempt(f"task {n}")) for n in range(30)))
    assert len(set(ids)) == 30
    assert await journal.get_by_id(10_000) is None


async def test_a_reflection_can_be_added(journal):
    """update_reflection says whether there is such an attempt."""
    number = await journal.log_attempt(attempt("x"))
    assert await journal.update_reflection(number, "learnt") is True
    assert (await journal.get_by_id(number)).reflection == "learnt"
    assert await journal.update_reflection(number + 1, "learnt") is False


async def test_similar_attempts_are_found_by_their_words(journal):
    """The founding examples hold, and nothing alike gives nothing."""
    await journal.log_attempt(attempt("Database optimization"))
    await journal.log_attempt(attempt("Add division method to calculator"))
    found = await journal.find_similar("Add modulo operation to calculator")
    assert found[0].task_description == "Add division method to calculator"
    assert (await journal.find_similar("database work"))[0].task_description.startswith("Database")
    assert await journal.find_similar("zebra") == []
    assert await journal.find_similar("") == []


async def test_similar_attempts_are_found_behind_hundreds_of_newer_ones(journal):
    """All attempts are searched, not only the newest."""
    await journal.log_attempt(attempt("Teach the flux capacitor to sing", Outcome.FAILURE))
    for n in range(300):
        await journal.log_attempt(attempt(f"Tidy module number {n}"))
    found = await journal.find_similar("make the flux capacitor sing", limit=1)
    assert found[0].task_description == "Teach the flux capacitor to sing"


async def test_similar_attempts_can_be_asked_by_outcome_and_limit(journal):
    """Only the asked outcomes come back, at most `limit` of them."""
    for outcome in Outcome:
        for n in range(4):
            await journal.log_attempt(attempt(f"Change parser {n}", outcome))
    wanted = [Outcome.FAILURE, Outcome.ROLLBACK]
    found = await journal.find_similar("Change parser", limit=20, include_outcomes=wanted)
    assert {one.outcome for one in found} == set(wanted)
    assert len(found) == 8
    assert len(await journal.find_similar("Change parser", limit=3)) == 3
    assert await journal.find_similar("Change parser", limit=0) == []
    assert await journal.find_similar("Change parser", include_outcomes=[]) == []


@pytest.mark.parametrize(
    "text", ['"', "* OR NOT AND", "a" * 100_000, "\x00\x1b[31m", "日本語 ключ", "😀"]
)
async def test_any_characters_may_be_asked(journal, text):
    """No text is an error for the search."""
    await journal.log_attempt(attempt(text))
    await journal.find_similar(text)


async def test_the_success_rate_counts_every_outcome(journal):
    """overall is success over total, and 0.0 for an empty journal."""
    empty = {"overall": 0.0, "success": 0, "failure": 0, "rollback": 0, "total": 0}
    assert await journal.get_success_rate() == empty
    outcomes = [Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, Outcome.ROLLBACK]
    for outcome in outcomes:
        await journal.log_attempt(attempt("t", outcome))
    expected = {"overall": 0.5, "success": 2, "failure": 1, "rollback": 1, "total": 4}
    assert await journal.get_success_rate() == expected


async def test_recent_failures_are_newest_first(journal):
    """Failures and rollbacks only, newest first, at most the limit."""
    for n in range(9):
        await journal.log_attempt(attempt(f"t{n}", list(Outcome)[n % 3]))
    found = await journal.get_recent_failures(limit=3)
    assert [one.task_description for one in found] == ["t8", "t7", "t5"]


async def test_attempts_for_a_file_are_exact_and_newest_first(journal):
    """A path is the whole path, whatever way it is spelled."""
    for n in range(3):
        await journal.log_attempt(attempt(f"t{n}", files_modified=["src/a.py", "src/a.py"]))
    await journal.log_attempt(attempt("other", files_modified=["src/aa.py", "a.py"]))
    found = await journal.get_attempts_for_file("./src/a.py", limit=2)
    assert [one.task_description for one in found] == ["t2", "t1"]
    assert await journal.get_attempts_for_file("src/%") == []


async def test_entries_outlive_the_instance(journal_place):
    """What one instance has logged, the next one reads."""
    first = ModificationJournal(journal_place)
    number = await first.log_attempt(attempt("kept"))
    await first.close()
    second = ModificationJournal(str(journal_place))
    assert (await second.get_by_id(number)).task_description == "kept"
    await second.close()


def test_several_event_loops_may_use_one_journal(journal_place):
    """The journal is bound to no loop."""
    opened = ModificationJournal(journal_place)
    ids = [asyncio.run(opened.log_attempt(attempt(f"t{n}"))) for n in range(3)]
    assert asyncio.run(opened.get_success_rate())["total"] == len(ids) == 3
    asyncio.run(opened.close())


async def test_the_default_place_is_the_git_common_directory(tmp_path, monkeypatch):
    """Inside a repository the journal lies where no clean-up of the working tree reaches it."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    opened = ModificationJournal()
    assert opened.db_path == tmp_path / ".git" / "self_coding" / "journal.db"
    assert not opened.db_path.exists()
    await opened.log_attempt(attempt("t"))
    await opened.close()
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path, check=True, capture_output=True
    )
    assert status.stdout == b""


async def test_outside_a_repository_the_users_data_home_is_used(tmp_path, monkeypatch):
    """Without a repository the journal lies in the user's data directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert ModificationJournal().db_path == tmp_path / "data" / "self-coding" / "journal.db"


async def test_a_journal_inside_the_working_tree_stays_out_of_gits_sight(tmp_path):
    """The founding tests put it there: it is no change, and a forced clean does not take it."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    opened = ModificationJournal(db_path=tmp_path / "journal.db")
    await opened.log_attempt(attempt("t"))
    subprocess.run(["git", "clean", "-fdq"], cwd=tmp_path, check=True)
    assert (await opened.get_success_rate())["total"] == 1
    await opened.close()


@pytest.mark.parametrize(
    "bad",
    [
        ModificationAttempt(task_description=None),
        ModificationAttempt("t", outcome="maybe"),
        ModificationAttempt("t", retry_count=2**70),
        ModificationAttempt("t", files_modified="a.py"),
        ModificationAttempt("t", files_modified=[1]),
        ModificationAttempt("t", embedding=[float("nan")]),
        ModificationAttempt("t", timestamp="yesterday"),
        "no attempt",
    ],
)
async def test_what_cannot_be_stored_is_refused_whole(journal, bad):
    """A typed error with a hint, and not a row."""
    with pytest.raises(JournalError) as caught:
        await journal.log_attempt(bad)
    assert caught.value.hint
    assert (await journal.get_success_rate())["total"] == 0


async def test_the_constructor_touches_nothing(tmp_path):
    """A place that cannot be made is an error of the first use, not of the constructor."""
    (tmp_path / "file").write_text("x")
    opened = ModificationJournal(tmp_path / "file" / "j.db")
    with pytest.raises(SelfCodingError):
        await opened.get_by_id(1)
    assert Path(tmp_path / "file").read_text() == "x"
