"""Success rates and their intervals."""

import pytest

from self_coding.errors import JournalError
from self_coding.modification_journal import ModificationAttempt, ModificationJournal, Outcome


@pytest.fixture
async def journal(tmp_path):
    opened = ModificationJournal(tmp_path / "j.db")
    yield opened
    await opened.close()


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
