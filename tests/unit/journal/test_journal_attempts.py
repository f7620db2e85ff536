"""Events and what becomes of an attempt; outcomes follow main's history."""

import asyncio
import sqlite3
import subprocess
from contextlib import closing

import pytest

from self_coding.errors import JournalError
from self_coding.modification_journal import (
    ModificationAttempt,
    ModificationJournal,
    Outcome,
    attempts,
)

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)


@pytest.fixture
async def journal(journal_place):
    opened = ModificationJournal(journal_place)
    yield opened
    await opened.close()


async def test_an_attempt_exists_before_its_first_effect(journal):
    """What has begun has a row, a stage and an event, and counts nowhere yet."""
    number = await journal.begin("Do it", edit="e1", retry_count=2, facts={"editor": "me"})
    assert await journal.unfinished() == [number]
    assert await journal.stage(number) == "planned"
    assert [event.kind for event in await journal.events(number)] == ["planned"]
    assert (await journal.get_by_id(number)).task_description == "Do it"
    assert (await journal.get_success_rate())["total"] == 0
    assert await journal.find_similar("Do it") == []
    assert await journal.attempts() == []


async def test_events_are_kept_in_order_and_never_changed(journal):
    """Each event has the next number, a moment not before the last, and its data as given."""
    number = await journal.begin("t")
    data = {"a": [1, None, {"b": 1.5}], "text": "x" * 9000, "yes": True}
    first = await journal.append(number, "isolated", data)
    await journal.append(number, "edited")
    events = await journal.events(number)
    assert [event.sequence for event in events] == [1, 2, 3]
    assert events[1] == first
    assert events[1].data == data
    assert events[0].at <= events[1].at <= events[2].at
    assert await journal.stage(number) == "edited"


async def test_finishing_makes_an_attempt_findable(journal):
    """Its fold is what the founding methods read, and its rates count it."""
    number = await journal.begin("Teach the parser", facts={"model": "m1"})
    await journal.finish(
        number,
        Outcome.FAILURE,
        approach="a",
        files_modified=["src/p/a.py"],
        diff="+d" * 1000,
        test_results="r",
        failure_analysis="because",
        stage="refused",
        editor="ed",
    )
    found = (await journal.find_similar("Teach the parser"))[0]
    assert (found.id, found.outcome, found.diff) == (number, Outcome.FAILURE, "+d" * 1000)
    assert found.failure_analysis == "because"
    assert await journal.stage(number) == "refused"
    assert await journal.unfinished() == []
    assert (await journal.success_rates("model"))["m1"].total == 1
    assert (await journal.success_rates("editor"))["ed"].total == 1
    assert (await journal.success_rates("area"))["p"].total == 1


async def test_ending_twice_alike_changes_nothing(journal):
    """A repeated end is the same end; a different one is refused."""
    number = await journal.begin("t")
    await journal.finish(number, Outcome.SUCCESS)
    await journal.finish(number, Outcome.SUCCESS, diff="other")
    assert len(await journal.events(number)) == 2
    with pytest.raises(JournalError, match="ended already"):
        await journal.finish(number, Outcome.FAILURE)
    assert (await journal.get_success_rate())["total"] == 1


async def test_a_crashed_attempt_ends_as_crashed(journal):
    """Nothing that began ever vanishes."""
    number = await journal.begin("t")
    await journal.finish(
        number, Outcome.FAILURE, failure_analysis="the process is gone", stage="crashed"
    )
    assert await journal.stage(number) == "crashed"
    assert (await journal.get_by_id(number)).outcome is Outcome.FAILURE
    assert (await journal.get_recent_failures())[0].failure_analysis == "the process is gone"


@pytest.mark.parametrize("kind", ["", "planned", "ended", "relabelled"])
async def test_reserved_kinds_are_refused(journal, kind):
    """Only begin, finish and relabel make their events."""
    number = await journal.begin("t")
    with pytest.raises(JournalError):
        await journal.append(number, kind)
    assert len(await journal.events(number)) == 1


async def test_an_unknown_attempt_is_an_error_with_a_hint(journal):
    """No event is ever stored for an attempt that does not exist."""
    for call in (journal.append(9, "edited"), journal.finish(9, Outcome.SUCCESS), journal.stage(9)):
        with pytest.raises(JournalError) as caught:
            await call
        assert caught.value.hint
    assert await journal.events(9) == []


@pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)
async def test_the_loop_goes_on_while_the_journal_waits(journal, tmp_path):
    """A journal that waits for another process's lock holds nothing else up."""
    await journal.begin("t")
    holder = sqlite3.connect(tmp_path / "j.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(journal.begin("u"))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not waiting.done()
    holder.execute("ROLLBACK")
    assert await waiting == 2
    holder.close()


@pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)
async def test_moments_never_run_backwards(journal, tmp_path):
    """A clock that was set back does not disorder the events of an attempt."""
    number = await journal.begin("t")
    with closing(sqlite3.connect(tmp_path / "j.db")) as raw, raw:
        raw.execute("UPDATE event SET at = at + 3600000000")
    before = (await journal.events(number))[0].at
    assert (await journal.append(number, "edited")).at >= before


def log(*entries):
    return "".join(f"\x1e{commit}\x1f{message}\n" for commit, message in entries)


@pytest.fixture
async def landed(journal_place):
    opened = ModificationJournal(journal_place)
    for commit in (A, B):
        number = await opened.begin(f"task {commit[0]}")
        await opened.finish(number, Outcome.SUCCESS, commit=commit, files_modified=["m/x.py"])
    yield opened
    await opened.close()


async def test_a_reverted_attempt_did_not_succeed(landed):
    """It becomes a rollback with the reason, once, and every rate follows."""
    history = log((C, f'Revert "task a"\n\nThis reverts commit {A}.'), (A, "task a"))
    assert await landed.scan(history) == [1]
    assert await landed.scan(history) == []
    found = await landed.get_by_id(1)
    assert found.outcome is Outcome.ROLLBACK
    assert "reverted by cccccccccccc" in found.failure_analysis
    assert (await landed.get_success_rate())["rollback"] == 1
    assert (await landed.success_rates("area"))["m"].successes == 1
    assert [one.id for one in await landed.get_recent_failures()] == [1]
    assert (await landed.find_similar("task a", include_outcomes=[Outcome.ROLLBACK]))[0].id == 1
    assert [event.kind for event in await landed.events(1)][-1] == "relabelled"


async def test_a_revert_that_was_reverted_gives_the_outcome_back(landed):
    """The history as it is now decides, not the one of yesterday."""
    revert = (C, f"Revert\n\nThis reverts commit {A[:12]}.")
    assert await landed.scan(log(revert)) == [1]
    again = (D, f"Reapply\n\nThis reverts commit {C}.")
    assert await landed.scan(log(again, revert)) == [1]
    assert (await landed.get_by_id(1)).outcome is Outcome.SUCCESS
    assert (await landed.get_success_rate())["success"] == 2


async def test_only_a_revert_that_names_a_commit_counts(landed):
    """Talk about reverting changes nothing."""
    assert await landed.scan(log((C, "Revert the dragons\n\nreverts abc"))) == []
    assert await landed.scan("") == []
    assert await landed.scan(log((C, f"This reverts commit {D}."))) == []


async def test_searching_sees_the_new_outcome(landed):
    """A re-labelled attempt is found, and explained, as the failure that it is."""
    assert "did not succeed" not in str((await landed.similar_attempts("task a"))[0].reasons)
    await landed.scan(log((C, f"This reverts commit {A}.")))
    assert "did not succeed" in str((await landed.similar_attempts("task a"))[0].reasons)


def test_gits_own_revert_is_read(tmp_path):
    """What `git revert` writes is what is looked for, in the format that is asked for."""

    def git(*args):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *args]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    git("init", "-q")
    (tmp_path / "f").write_text("1")
    git("add", "f")
    git("commit", "-qm", "one")
    (tmp_path / "f").write_text("2")
    git("commit", "-qam", "two")
    commit = git("rev-parse", "HEAD").strip()
    git("revert", "--no-edit", "HEAD")
    undone, restored = attempts.reverted(git("log", "--format=%x1e%H%x1f%B"))
    assert list(undone) == [commit]
    assert not restored


async def test_rates_have_intervals(journal):
    """A rate is never more certain than its count allows."""
    assert (await journal.success_rates())["overall"].high == 1.0
    for n in range(10):
        await journal.log_attempt(ModificationAttempt("t", outcome=list(Outcome)[n % 2]))
    rate = (await journal.success_rates())["overall"]
    assert (rate.successes, rate.total, rate.rate) == (5, 10, 0.5)
    assert 0.23 < rate.low < 0.24 < 0.76 < rate.high < 0.77
    assert len(await journal.success_rates("period")) == 1
    with pytest.raises(JournalError):
        await journal.success_rates("weather")


@pytest.mark.parametrize("stage", ["cancelled", "environment"])
async def test_what_proves_nothing_of_a_change_is_not_counted(journal, stage):
    """An attempt that was called off is no failure: no rate, no dead end, no similar attempt."""
    task = "Round the totals of the invoice to cents"
    number = await journal.begin(task, facts={"editor": "me"})
    await journal.finish(number, Outcome.FAILURE, failure_analysis="it ended", stage=stage)
    assert (await journal.get_success_rate())["total"] == 0
    assert await journal.get_recent_failures() == []
    assert await journal.dead_end(task=task) is None
    assert await journal.find_similar(task) == []
    assert [one.id for one in await journal.attempts()] == [number]
    failed = await journal.begin(task)
    await journal.finish(failed, Outcome.FAILURE, failure_analysis="the tests failed")
    assert (await journal.dead_end(task=task)).attempt == failed
    assert (await journal.get_success_rate())["total"] == 1


async def test_a_refused_try_is_known_before_its_attempt_ends(journal):
    """It warns like a failure and counts nowhere; in the end the attempt is what it came to."""
    number = await journal.begin("Teach the parser commas")
    tried = {"diff": "+x\n" * 2000, "test_results": "E 1", "failure_analysis": "tests failed: t"}
    tried |= {"outcome": "failure", "files_modified": ["a.py"]}
    for _ in range(2):
        await journal.append(number, "tried", tried)
    assert await journal.unfinished() == [number]
    warning = await journal.dead_end("Teach the parser commas")
    assert (warning.attempt, warning.because) == (number, "tests failed: t")
    shown = await journal.get_by_id(number)
    assert (shown.diff, shown.test_results) == (tried["diff"], "E 1")
    assert [one.id for one in await journal.get_attempts_for_file("a.py")] == [number]
    assert await journal.get_recent_failures() == []
    assert (await journal.get_success_rate())["total"] == 0
    await journal.append(number, "written")
    await journal.finish(number, Outcome.SUCCESS, diff="+y\n", files_modified=["b.py"])
    landed = await journal.get_by_id(number)
    assert (landed.diff, landed.test_results, landed.failure_analysis) == ("+y\n", "", "")
    assert landed.files_modified == ["b.py"]
    assert await journal.dead_end("Teach the parser commas") is None
    [found] = await journal.similar_attempts("Teach the parser commas")
    assert found.attempt.id == number
    assert await journal.get_success_rate() == {
        "overall": 1.0, "success": 1, "failure": 0, "rollback": 0, "total": 1,
    }  # fmt: skip


async def test_what_was_undone_did_not_succeed(journal):
    """A landing that `undo` took back is a rollback in every rate until `redo` lands it again."""
    number = await journal.begin("t", facts={"editor": "me"})
    await journal.finish(number, Outcome.SUCCESS, stage="landed", commit=A)
    assert await journal.follow_undo({A: "t"}, ()) == [number]
    assert (await journal.success_rates())["overall"].successes == 0
    assert (await journal.get_success_rate())["rollback"] == 1
    assert (await journal.get_by_id(number)).failure_analysis == "undone: t"
    assert await journal.follow_undo({A: "t"}, ()) == []
    assert await journal.follow_undo({}, {A}) == [number]
    assert (await journal.success_rates("editor"))["me"].successes == 1


async def test_what_a_person_reverted_stays_reverted(journal):
    """That no undo of ours took a landing back does not make its revert undone."""
    number = await journal.begin("t")
    await journal.finish(number, Outcome.SUCCESS, stage="landed", commit=A)
    await journal.scan(f"\x1e{B}\x1fRevert\n\nThis reverts commit {A}.")
    assert await journal.follow_undo({}, {A}) == []
    assert (await journal.get_success_rate())["rollback"] == 1
