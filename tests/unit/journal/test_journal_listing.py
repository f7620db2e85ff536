"""Lists of attempts: choosing, paging, counting, and what a damaged row reads as."""

from datetime import UTC, datetime

import pytest

from self_coding.modification_journal import ModificationAttempt, ModificationJournal, Outcome


@pytest.fixture
async def journal(journal_place):
    opened = ModificationJournal(journal_place)
    yield opened
    await opened.close()


async def test_a_list_is_chosen_and_paged(journal):
    """Words, outcome, path and age narrow the list; what goes on is in it; newest first."""
    for number in range(6):
        how = Outcome.SUCCESS if number % 2 else Outcome.FAILURE
        task = f"Repair the {'parser' if number < 3 else '100%_done lexer'}"
        await journal.log_attempt(
            ModificationAttempt(task, files_modified=[f"src/m{number}.py"], outcome=how)
        )
    going = await journal.begin("Repair more", facts={"editor": "caller"})
    ids = lambda found: [one.id for one in found]  # noqa: E731
    assert ids(await journal.lines()) == [going, 6, 5, 4, 3, 2, 1]
    assert ids(await journal.lines(before=5, limit=2)) == [4, 3]
    assert ids(await journal.lines(words="PARSER repair")) == [3, 2, 1]
    assert ids(await journal.lines(words="0%_")) == [6, 5, 4]
    assert ids(await journal.lines(words="m2.py")) == [3]
    assert ids(await journal.lines(state="success")) == [6, 4, 2]
    assert ids(await journal.lines(state="open")) == [going]
    assert ids(await journal.lines(editor="caller")) == [going]
    assert ids(await journal.lines(path="src/m4.py")) == [5]
    assert ids(await journal.lines(ids=[2, 5, 99])) == [5, 2]
    assert ids(await journal.lines(ids=[])) == []
    (line,) = await journal.lines(ids=[3])
    assert (line.task, line.outcome, line.files) == ("Repair the parser", "failure", ("src/m2.py",))


async def test_a_long_list_of_files_is_cut(journal):
    """Of thousands of paths the first are shown, each whole."""
    paths = [f"src/a_rather_long_folder/module_{n}.py" for n in range(3000)]
    await journal.log_attempt(ModificationAttempt("many", files_modified=paths))
    (line,) = await journal.lines()
    assert 50 < len(line.files) < 3000
    assert line.files == tuple(paths[: len(line.files)])


async def test_days_count_what_rates_count(journal):
    """Ended attempts by day and outcome; what says nothing of its change counts nowhere."""
    day = datetime(2026, 3, 4, 12, tzinfo=UTC)
    number = (day - datetime(1970, 1, 1, tzinfo=UTC)).days
    for how in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.ROLLBACK):
        await journal.log_attempt(ModificationAttempt("t", outcome=how, timestamp=day))
    attempt = await journal.begin("called off")
    await journal.finish(attempt, Outcome.FAILURE, stage="cancelled")
    assert sorted(await journal.daily()) == [(number, "rollback", 1), (number, "success", 2)]


async def test_what_memory_showed_and_what_came_of_it(journal):
    """Ended attempts count under each thing that they were shown, the others under nothing."""
    for facts, how in (
        ({"lessons": [1], "similar": [1, 2], "warning": ""}, Outcome.SUCCESS),
        ({"lessons": [], "similar": [3], "warning": "tried before"}, Outcome.FAILURE),
        ({"lessons": [], "similar": [], "warning": ""}, Outcome.SUCCESS),
        (None, Outcome.SUCCESS),
    ):
        attempt = await journal.begin("one")
        if facts:
            await journal.append(attempt, "shown", facts)
        await journal.finish(attempt, how)
    await journal.append(await journal.begin("goes on"), "shown", {"lessons": [1]})
    told = {name: (one.successes, one.total) for name, one in (await journal.recalled()).items()}
    assert told == {"lessons": (1, 1), "similar attempts": (1, 2), "a warning": (0, 1),
                    "nothing": (2, 2)}  # fmt: skip


async def test_what_tests_refused_is_counted(journal):
    """Attempts whose tests failed by name count once each; other refusals do not."""
    assert await journal.refused_by_tests() == 0
    for failing in (["tests/test_a.py::test_a"], [], ["tests/test_b.py::test_b"]):
        attempt = await journal.begin("one")
        await journal.append(attempt, "refused", {"by": "gate", "failing": failing})
        await journal.append(attempt, "refused", {"by": "gate", "failing": failing})
    await journal.append(await journal.begin("one"), "refused", {"by": "policy"})
    assert await journal.refused_by_tests() == 2


async def test_events_of_a_kind_and_a_mark(journal):
    """The newest events of a kind come first; whatever is stored changes the mark."""
    marks = [await journal.mark()]
    first, second = await journal.begin("one"), await journal.begin("two")
    marks.append(await journal.mark())
    await journal.append(first, "approved", {"person": "A"})
    await journal.append(second, "edited", {})
    await journal.append(second, "approved", {"person": "B"})
    marks.append(await journal.mark())
    told = await journal.recent_events(["approved"])
    assert [(one.attempt, one.data) for one in told] == [(2, {"person": "B"}), (1, {"person": "A"})]
    await journal.finish(first, Outcome.SUCCESS)
    marks.append(await journal.mark())
    assert len(set(marks)) == 4
