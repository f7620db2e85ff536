"""Export and import as JSON lines, and the founding version's database."""

import json
import sqlite3
import struct
from datetime import UTC, datetime

import pytest

from self_coding.errors import JournalError, StorageVersionError
from self_coding.modification_journal import (
    Lesson,
    ModificationAttempt,
    ModificationJournal,
    Outcome,
)


@pytest.fixture
async def pair(tmp_path):
    both = ModificationJournal(tmp_path / "a.db"), ModificationJournal(tmp_path / "b.db")
    yield both
    for one in both:
        await one.close()


async def told(journal):
    await journal.log_attempt(
        ModificationAttempt("A", diff="d" * 4000, embedding=[0.5, 2.0], outcome=Outcome.SUCCESS)
    )
    number = await journal.begin("B", facts={"model": "m"})
    await journal.append(number, "tested", {"output": "o" * 4000})
    await journal.finish(number, Outcome.SUCCESS, commit="c" * 40, files_modified=["x.py"])
    await journal.scan(f"\x1e{'d' * 40}\x1fThis reverts commit {'c' * 40}.")
    await journal.begin("open")
    await journal.learn(Lesson(text="Do this first", files=("x.py",), evidence=(number,)))


async def test_what_is_exported_can_be_imported(pair):
    """Attempts, events, vectors, outcomes, rates and lessons arrive whole."""
    mine, other = pair
    await told(mine)
    lines = await mine.export_lines()
    assert await other.import_lines(f"{line}\n" for line in lines) == 3
    assert await other.export_lines() == lines
    assert await other.get_success_rate() == await mine.get_success_rate()
    assert await other.success_rates("model") == await mine.success_rates("model")
    assert (await other.get_by_id(1)).embedding == [0.5, 2.0]
    assert (await other.find_similar("A"))[0].diff == "d" * 4000
    assert await other.unfinished() == [3]


async def test_importing_again_adds_nothing(pair):
    """An import that was cut off can be repeated."""
    mine, other = pair
    await told(mine)
    await other.log_attempt(ModificationAttempt("own"))
    lines = await mine.export_lines()
    assert await other.import_lines(lines) == 3
    assert await other.import_lines(lines) == 0
    lesson = (await other.lessons(files=["x.py"]))[0]
    assert lesson.evidence == (3,)
    assert (await other.get_by_id(3)).task_description == "B"


async def test_twins_are_counted_when_importing(pair):
    """Two attempts of one moment and task are two, also when one of them is there already."""
    mine, other = pair
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    for _ in range(2):
        await mine.log_attempt(ModificationAttempt("twin", timestamp=moment))
    lines = await mine.export_lines()
    assert await other.import_lines(lines[:1]) == 1
    assert await other.import_lines(lines) == 1
    assert (await other.get_success_rate())["total"] == 2


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"attempt": 1, "events": []}',
        '{"attempt": 1, "events": [{"kind": "ended", "at": 1, "data": {"outcome": "odd"}}]}',
        '{"attempt": 1, "events": [{"kind": "x", "at": "then", "data": {}}]}',
        '{"lesson": {"text": "no evidence"}}',
    ],
)
async def test_a_bad_line_imports_nothing_at_all(pair, line):
    """The line's number is told, and what stood before it is not stored either."""
    mine, other = pair
    await told(mine)
    lines = await mine.export_lines()
    with pytest.raises(JournalError, match="line 2"):
        await other.import_lines([lines[0], line])
    assert (await other.get_success_rate())["total"] == 0


FOUNDING = (
    "CREATE TABLE modification_journal (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT, "
    "task_description TEXT NOT NULL, approach TEXT, files_modified TEXT, diff TEXT, "
    "test_results TEXT, outcome TEXT, failure_analysis TEXT, reflection TEXT, "
    "retry_count INTEGER, embedding {kind}, mood TEXT)"
)


def founding(path, kind, embedding):
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE before (name TEXT PRIMARY KEY, outcome TEXT) WITHOUT ROWID")
    raw.execute(FOUNDING.format(kind=kind))
    row = "INSERT INTO modification_journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    when = "2025-03-04T05:06:07.890123"
    rest = ("d" * 3000, "tests", "success", "f", "r", 2, embedding, "good")
    raw.execute(row, (7, when, "First", "a", json.dumps(["x.py", "y.py"]), *rest))
    raw.execute(row, (9, when, "First", "a", json.dumps(["x.py", "y.py"]), *rest))
    raw.execute(row, (12, "2025-03-05 00:00:00+02:00", "Old", *[None] * 10))
    raw.execute(
        row, (13, "never", "Odd", None, "not json.py", *[None] * 2, "Outcome.ROLLBACK", *[None] * 5)
    )
    raw.commit()
    raw.close()


async def test_a_founding_database_is_recognised(tmp_path):
    """Opened as a journal it says what it is, and the command that takes it in; others do not."""
    old = tmp_path / "old journal.db"
    founding(old, "TEXT", "[]")
    before = old.read_bytes()
    for ask in (
        ModificationJournal(db_path=old).get_success_rate,
        ModificationJournal(db_path=old).unfinished,
    ):
        with pytest.raises(StorageVersionError, match="of the founding version") as caught:
            await ask()
        assert f"self-coding import --founding '{old}'" in caught.value.hint
    assert old.read_bytes() == before
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (outcome TEXT)")
    other.close()
    with pytest.raises(StorageVersionError, match="of another program"):
        await ModificationJournal(db_path=tmp_path / "other.db").unfinished()


@pytest.mark.parametrize(
    ("kind", "embedding"), [("TEXT", "[0.5, 1.0]"), ("BLOB", struct.pack("2f", 0.5, 1.0))]
)
async def test_a_founding_database_is_imported_losslessly(pair, tmp_path, kind, embedding):
    """Every row and column arrives, an unknown column too; the file is only read."""
    mine, _ = pair
    founding(tmp_path / "f.db", kind, embedding)
    before = (tmp_path / "f.db").read_bytes()
    assert await mine.import_founding(tmp_path / "f.db") == 4
    first, twin, old, odd = [await mine.get_by_id(n) for n in (1, 2, 3, 4)]
    assert first == ModificationAttempt(
        "First", "a", ["x.py", "y.py"], "d" * 3000, "tests", Outcome.SUCCESS, "f", "r", 2, 1,
        datetime(2025, 3, 4, 5, 6, 7, 890123, UTC), [0.5, 1.0],
    )  # fmt: skip
    assert twin.task_description == "First"
    assert old.timestamp == datetime(2025, 3, 4, 22, tzinfo=UTC)
    assert (odd.outcome, odd.files_modified) == (Outcome.ROLLBACK, ["not json.py"])
    facts = (await mine.events(1))[0].data["facts"]
    assert facts == {"founding_id": 7, "founding_mood": "good"}
    assert (await mine.events(4))[0].data["facts"]["founding_timestamp"] == "never"
    assert (tmp_path / "f.db").read_bytes() == before
    assert await mine.import_founding(tmp_path / "f.db") == 0
    assert [one.id for one in await mine.get_attempts_for_file("x.py")] == [2, 1]
