"""The rows of the journal: texts, hints, order."""

import re
import sqlite3
from contextlib import closing

import pytest

from self_coding.cli import COMMANDS
from self_coding.errors import JournalError
from self_coding.modification_journal import ModificationAttempt, ModificationJournal


@pytest.fixture
async def journal(journal_place):
    opened = ModificationJournal(journal_place)
    yield opened
    await opened.close()


@pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)
async def test_a_big_text_is_stored_once(journal, tmp_path):
    """The same diff in many attempts takes the room of one, compressed."""
    text = "".join(f"+line {n}\n" for n in range(5000))
    for _ in range(5):
        await journal.log_attempt(ModificationAttempt("t", diff=text, test_results=text))
    with closing(sqlite3.connect(tmp_path / "j.db")) as raw:
        count, size = raw.execute("SELECT count(*), sum(length(body)) FROM blob").fetchone()
    assert count == 1
    assert size < len(text) / 2
    assert (await journal.get_by_id(3)).test_results == text


async def test_an_unknown_attempt_is_answered_with_a_command_that_exists(journal):
    """The hint names a command, and the command line has it."""
    with pytest.raises(JournalError) as caught:
        await journal.append(9, "edited")
    named = re.findall(r"`([\w-]+)", caught.value.hint)
    assert named
    assert set(named) <= set(COMMANDS)
