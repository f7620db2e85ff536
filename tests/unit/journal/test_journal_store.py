"""A journal of the first version opens unchanged: its rows are read as they were written."""

import json
import sqlite3
import zlib
from contextlib import closing

import pytest

from self_coding.modification_journal import ModificationJournal, Outcome
from self_coding.modification_journal.store import APPLICATION, MIGRATIONS

AT = 1_796_009_368_501_391
DIFF = "--- a/src/x.py\n+++ b/src/x.py\n@@ -1 +1 @@ def f(\n+return 1\n"
TASK = "Teach the parser\n\nIt is old."
ENDED = {
    "approach": "short",
    "diff": DIFF,
    "outcome": "success",
    "commit": "c" * 40,
    "files_modified": ["src/x.py"],
    "stage": "ended",
}
ROWS = {
    "attempt": [
        (
            *(1, AT, AT + 9, "ended", "rollback", TASK, "short", '["src/x.py"]', DIFF, None),
            *("", None, "broke", "", 0, "e1", "m", "x", "c" * 40, '{"editor": "m"}'),
        ),
        (
            *(2, AT + 20, AT + 20, "ended", "success", "Big", "", "[]", "", 1),
            *("", None, "", "", 0, "", "", "", "", "{}"),
        ),
    ],
    "event": [
        (1, 1, "planned", AT, json.dumps({"task": TASK, "facts": {"editor": "m"}}), ""),
        (1, 2, "tested", AT + 1, '{"passed": true}', ""),
        (1, 3, "ended", AT + 9, json.dumps(ENDED), ""),
        (1, 4, "relabelled", AT + 10, '{"outcome": "rollback", "was": "success"}', ""),
        (2, 1, "ended", AT + 20, '{"task": "Big", "outcome": "success"}', '{"diff": 1}'),
    ],
    "blob": [(1, b"digest", zlib.compress(b"d" * 1600))],
    "file": [(1, "src/x.py", 1)],
    "attempt_file": [(1, 1)],
    "feature": [
        (1, "rollback", "teach the parser it is old short\nteach the parser\nsrc x\nf\nreturn 1\n")
    ],
    "tally": [("overall", "", "rollback", 1), ("overall", "", "success", 1)],
    "vector": [(2, "", 2, b"\x00\x00\x00?\x00\x00\x80?")],
    "lesson": [(1, AT, "Do this first", '["src/x.py"]', "[]", "", "[]", "[1]", "[]", 3, "old")],
    "lesson_trigger": [("f:src/x.py", 1)],
    "lesson_use": [(1, 1, "success", AT + 30)],
}


@pytest.fixture
def path(tmp_path):
    with closing(sqlite3.connect(tmp_path / "old.db")) as raw, raw:
        raw.executescript(MIGRATIONS[0])
        raw.execute(f"PRAGMA application_id={APPLICATION}")
        raw.execute("PRAGMA user_version=1")
        for table, rows in ROWS.items():
            raw.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        raw.execute("INSERT INTO word (rowid, terms) VALUES (1, 'teach parser old x f')")
    return tmp_path / "old.db"


async def test_an_old_journal_is_read_as_it_was_written(path):
    """Attempts, events, big texts, vectors, rates, lessons and the index of words are all there."""
    journal = ModificationJournal(path)
    first, big = await journal.get_by_id(1), await journal.get_by_id(2)
    assert (first.task_description, first.approach, first.diff) == (TASK, "short", DIFF)
    assert (first.outcome, first.failure_analysis) == (Outcome.ROLLBACK, "broke")
    assert (big.diff, big.embedding) == ("d" * 1600, [0.5, 1.0])
    kinds = [event.kind for event in await journal.events(1)]
    assert kinds == ["planned", "tested", "ended", "relabelled"]
    assert (await journal.get_success_rate())["total"] == 2
    assert [one.id for one in await journal.find_similar("the parser")] == [1]
    assert (await journal.dead_end("Teach the parser")).attempt == 1
    assert [one.id for one in await journal.get_attempts_for_file("src/x.py")] == [1]
    lesson = (await journal.lessons(files=["src/x.py"]))[0]
    assert (lesson.text, lesson.evidence, lesson.successes) == ("Do this first", (1,), 1)
    await journal.close()


async def test_reading_an_old_journal_changes_no_row(path):
    """What was stored stays as it is, the columns that nothing reads any more as well."""
    journal = ModificationJournal(path)
    await journal.export_lines()
    await journal.close()
    with closing(sqlite3.connect(path)) as raw:
        for table, rows in ROWS.items():
            stored = raw.execute(f"SELECT * FROM {table}").fetchall()
            assert [row[: len(rows[0])] for row in stored] == rows  # later columns come after
        assert raw.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


async def test_an_old_journal_goes_on(path):
    """New attempts follow the old ones, and a revert that was reverted is undone in both."""
    journal = ModificationJournal(path)
    number = await journal.begin("Teach the parser again")
    assert number == 3
    revert, again = f"This reverts commit {'c' * 40}.", f"This reverts commit {'d' * 40}."
    log = f"\x1e{'e' * 40}\x1fReapply\n\n{again}\x1e{'d' * 40}\x1fRevert\n\n{revert}"
    assert await journal.scan(log) == [1]
    assert (await journal.get_by_id(1)).outcome is Outcome.SUCCESS
    await journal.close()
