"""Events, their fold, and what becomes of an attempt that did not end."""

import asyncio

import pytest

from self_coding.errors import JournalError
from self_coding.modification_journal import (
    ModificationAttempt,
    ModificationJournal,
    Outcome,
    fold,
    rows,
)


@pytest.fixture
async def journal(tmp_path):
    opened = ModificationJournal(tmp_path / "j.db")
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
    assert await journal.recent() == []


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
        facts={"cost": 0.5},
    )
    found = (await journal.find_similar("Teach the parser"))[0]
    assert (found.id, found.outcome, found.diff) == (number, Outcome.FAILURE, "+d" * 1000)
    assert found.failure_analysis == "because"
    assert await journal.stage(number) == "refused"
    assert await journal.unfinished() == []
    assert (await journal.rates("model"))["m1"].total == 1
    assert (await journal.rates("editor"))["ed"].total == 1
    assert (await journal.rates("area"))["p"].total == 1


async def test_the_row_is_the_fold_of_the_events(journal, tmp_path):
    """Folding what is stored anew gives the row that is stored."""
    number = await journal.begin("t", edit="e", retry_count=4, facts={"model": "m"})
    await journal.append(number, "tested", {"passed": False})
    await journal.finish(
        number,
        Outcome.SUCCESS,
        approach="a",
        files_modified=["x.py"],
        diff="d" * 5000,
        commit="c" * 40,
    )
    await journal.append(number, "cleaned")
    await journal.update_reflection(number, "learnt")
    await journal.relabel({"c" * 40: "it broke"})
    assert await journal.stage(number) == "ended"
    logged = await journal.log_attempt(ModificationAttempt("u", diff="z" * 3000, retry_count=2))
    with journal._database.read() as connection:
        for attempt in (number, logged):
            assert fold.fold(rows.told(connection, attempt)) == rows.load(connection, attempt)


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
    await journal.mark_crashed(number, "the process is gone")
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


@pytest.mark.parametrize("data", [{"x": object()}, {"x": 2**70}, {"x": b"bytes"}])
async def test_data_that_is_no_json_is_refused(journal, data):
    """An event holds JSON values only."""
    number = await journal.begin("t")
    with pytest.raises(JournalError):
        await journal.append(number, "edited", data)
    assert len(await journal.events(number)) == 1


async def test_an_unknown_attempt_is_an_error_with_a_hint(journal):
    """No event is ever stored for an attempt that does not exist."""
    for call in (journal.append(9, "edited"), journal.finish(9, Outcome.SUCCESS), journal.stage(9)):
        with pytest.raises(JournalError) as caught:
            await call
        assert caught.value.hint
    assert await journal.events(9) == []


async def test_a_big_text_is_stored_once(journal):
    """The same diff in many attempts takes the room of one, compressed."""
    text = "".join(f"+line {n}\n" for n in range(5000))
    for _ in range(5):
        await journal.log_attempt(ModificationAttempt("t", diff=text, test_results=text))
    with journal._database.read() as connection:
        count, size = connection.execute("SELECT count(*), sum(length(body)) FROM blob").fetchone()
    assert count == 1
    assert size < len(text) / 2
    assert (await journal.get_by_id(3)).test_results == text


async def test_secrets_and_control_characters_are_never_stored(journal, tmp_path):
    """Not in the row, not in an event, not in the index."""
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    number = await journal.begin(f"use {token}", facts={"env": [token]})
    await journal.append(number, "edited", {"out": {token: f"\x1b[31m{token}\x00"}})
    await journal.finish(
        number, Outcome.FAILURE, diff=f"+key = '{token}'", test_results="\x1b]0;x\x07ok"
    )
    await journal.log_attempt(ModificationAttempt("t", reflection=token, files_modified=[token]))
    assert token not in str(await journal.get_by_id(number))
    await journal.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in stored
    assert b"\x1b" not in (await journal.get_by_id(number)).test_results.encode()


async def test_rates_have_intervals(journal):
    """A rate is never more certain than its count allows."""
    assert (await journal.rates())["overall"].high == 1.0
    for n in range(10):
        await journal.log_attempt(ModificationAttempt("t", outcome=list(Outcome)[n % 2]))
    rate = (await journal.rates())["overall"]
    assert (rate.successes, rate.total, rate.rate) == (5, 10, 0.5)
    assert 0.23 < rate.low < 0.24 < 0.76 < rate.high < 0.77
    assert len(await journal.rates("period")) == 1
    with pytest.raises(JournalError):
        await journal.rates("weather")


async def test_the_loop_goes_on_while_the_journal_waits(journal, tmp_path):
    """A journal that waits for another process's lock holds nothing else up."""
    import sqlite3

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


async def test_moments_never_run_backwards(journal):
    """A clock that was set back does not disorder the events of an attempt."""
    number = await journal.begin("t")
    with journal._database.write() as connection:
        connection.execute("UPDATE event SET at = at + 3600000000")
    before = (await journal.events(number))[0].at
    assert (await journal.append(number, "edited")).at >= before
