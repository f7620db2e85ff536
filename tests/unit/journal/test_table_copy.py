"""A copy of a journal is the journal: every row and number, on whichever database."""

from __future__ import annotations

import pytest

from journal_stores import address
from self_coding.errors import JournalError
from self_coding.modification_journal import ModificationJournal, table_copy
from self_coding.values.attempts import Lesson, ModificationAttempt, Outcome

BIG = "+" + "x" * 5000


@pytest.fixture(params=["sqlite to sqlite", "sqlite to postgres", "postgres to sqlite"])
def pair(request, tmp_path):
    """A journal, and an empty one to copy it into."""
    kinds = request.param.split(" to ")
    places = [
        address() if kind == "postgres" else tmp_path / f"{n}.db" for n, kind in enumerate(kinds)
    ]
    return tuple(map(ModificationJournal, places))


async def fill(journal, attempts: int = 7) -> None:
    for n in range(attempts):
        number = await journal.log_attempt(
            ModificationAttempt(
                task_description=f"add a cache to reader {n}",
                approach="a dictionary",
                files_modified=["src/reader.py", f"src/other_{n}.py"],
                outcome=Outcome.FAILURE if n % 2 else Outcome.SUCCESS,
                diff=BIG if n % 3 else "+y",
                embedding=[0.5, float(n)] if n == 3 else None,
            )
        )
    await journal.begin("something else", facts={"editor": "patch"})
    lesson = await journal.learn(
        Lesson(text="close the cache before the reader", files=("src/reader.py",), evidence=(2,))
    )
    await journal.used(lesson.id, number, Outcome.SUCCESS)


async def everything(journal) -> object:
    lessons = await journal.lessons(task="cache", files=("src/reader.py",))
    return (
        await journal.export_lines(),
        await journal.success_rates(),
        await journal.success_rates("area"),
        lessons,
        await journal.find_similar("a cache for the reader"),
        await journal.get_attempts_for_file("src/reader.py"),
        await journal.unfinished(),
    )


async def test_nothing_is_lost(pair) -> None:
    """Attempts, events, big texts, embeddings, lessons with their uses, rates, what is found."""
    source, target = pair
    await fill(source)
    assert await target.copy_from(source) == 8
    assert await everything(target) == await everything(source)
    assert (await target.lessons(files=("src/reader.py",)))[0].successes == 1


async def test_the_copy_goes_on_by_itself(pair) -> None:
    """What is added to the copy gets the next number, and is found beside the rest."""
    source, target = pair
    await fill(source)
    await target.copy_from(source)
    attempt = ModificationAttempt(
        task_description="a pool of readers", diff=BIG + "new", outcome=Outcome.SUCCESS
    )
    assert await target.log_attempt(attempt) == 9
    assert (await target.find_similar("a pool of readers", 1))[0].id == 9
    assert (await target.learn(Lesson(text="drain the pool first", evidence=(9,)))).id == 2


async def test_a_copy_that_was_cut_off_is_taken_up(pair, monkeypatch) -> None:
    """It ends where its last transaction did; the next call copies the rest alone."""
    source, target = pair
    await fill(source)
    monkeypatch.setattr(table_copy, "_ROWS", 2)
    progress: list[tuple[int, int]] = []

    def cut(done: int, total: int) -> None:
        progress.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await target.copy_from(source, cut)
    assert progress == [(2, 8), (4, 8)]
    assert await target.copy_from(source) == 4
    assert await everything(target) == await everything(source)


async def test_what_has_gone_on_is_brought_up_to_date(pair) -> None:
    """An attempt that was open is ended, a lesson used once more, an outcome corrected."""
    source, target = pair
    await fill(source)
    await target.copy_from(source)
    await source.finish(8, Outcome.ROLLBACK, diff=BIG + "z", files_modified=["src/late.py"])
    await source.used(1, 8, Outcome.FAILURE)
    assert await target.copy_from(source) == 1
    assert await target.copy_from(source) == 0
    assert await everything(target) == await everything(source)


@pytest.mark.parametrize("more", [0, 9])
async def test_a_target_with_attempts_of_its_own_is_refused(pair, more) -> None:
    """Numbers would mean two things: nothing is written over them."""
    source, target = pair
    await fill(source)
    for n in range(more + 1):
        await target.log_attempt(
            ModificationAttempt(task_description=f"mine {n}", outcome=Outcome.SUCCESS)
        )
    before = await target.get_by_id(1)
    with pytest.raises(JournalError, match="of its own"):
        await target.copy_from(source)
    assert await target.get_by_id(1) == before
