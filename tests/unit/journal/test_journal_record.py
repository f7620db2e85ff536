"""What is stored of an attempt: cleaned before, folded from its events after."""

import pytest

from self_coding.errors import JournalError
from self_coding.modification_journal import (
    ModificationAttempt,
    ModificationJournal,
    Outcome,
)
from self_coding.modification_journal.record import fold
from self_coding.modification_journal.store import SQLiteStore


@pytest.fixture
async def journal(journal_place):
    opened = ModificationJournal(journal_place)
    yield opened
    await opened.close()


@pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)
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
    await journal.scan(f"\x1e{'d' * 40}\x1fThis reverts commit {'c' * 40}.")
    assert await journal.stage(number) == "ended"
    logged = await journal.log_attempt(ModificationAttempt("u", diff="z" * 3000, retry_count=2))
    await journal.close()
    store = SQLiteStore(tmp_path / "j.db")
    with store.read() as queries:
        for attempt in (number, logged):
            assert fold(queries.history(attempt)) == queries.record(attempt)
    store.close()


@pytest.mark.parametrize("data", [{"x": object()}, {"x": 2**70}, {"x": b"bytes"}])
async def test_data_that_is_no_json_is_refused(journal, data):
    """An event holds JSON values only."""
    number = await journal.begin("t")
    with pytest.raises(JournalError):
        await journal.append(number, "edited", data)
    assert len(await journal.events(number)) == 1


@pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)
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
