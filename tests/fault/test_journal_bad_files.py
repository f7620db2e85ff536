"""Files that are no journal, or no whole one: a typed error with a hint, and not a byte changed."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from self_coding.errors import (
    JournalError,
    StorageBusyError,
    StorageDamagedError,
    StorageError,
    StorageVersionError,
)
from self_coding.modification_journal import (
    ModificationAttempt,
    ModificationJournal,
    Outcome,
    attempts,
)
from self_coding.modification_journal.store import APPLICATION, MIGRATIONS, SQLiteStore


@pytest.fixture
async def journal(tmp_path):
    opened = ModificationJournal(tmp_path / "j.db")
    for n in range(60):
        await opened.log_attempt(
            ModificationAttempt(
                f"Change parser number {n}",
                files_modified=[f"src/m{n}.py"],
                diff=f"+line {n}\n" * 300,
                outcome=list(Outcome)[n % 3],
            )
        )
    await opened.close()
    yield opened
    await opened.close()


async def refused(path, kind):
    """The error of the first use; the file must be as it was."""
    before = path.read_bytes()
    opened = ModificationJournal(path)
    with pytest.raises(kind) as caught:
        await opened.log_attempt(ModificationAttempt("t"))
    with pytest.raises(kind):
        await opened.find_similar("t")
    await opened.close()
    assert path.read_bytes() == before
    assert caught.value.hint
    assert sorted(path.parent.iterdir()) == [path]


async def test_a_foreign_database_is_left_alone(tmp_path):
    """Nothing is written into what is not ours."""
    other = sqlite3.connect(tmp_path / "x.db")
    other.execute("CREATE TABLE theirs (a)")
    other.commit()
    other.close()
    await refused(tmp_path / "x.db", StorageVersionError)


async def test_a_newer_schema_is_left_alone(tmp_path):
    """A file that a newer version has written is not touched."""
    newer = sqlite3.connect(tmp_path / "x.db")
    newer.execute("CREATE TABLE attempt (a)")
    newer.execute(f"PRAGMA application_id={APPLICATION}")
    newer.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    newer.commit()
    newer.close()
    await refused(tmp_path / "x.db", StorageVersionError)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00"])
async def test_what_is_no_database_is_left_alone(tmp_path, content):
    """A text file, or a mere head of a database, is damage, not an empty journal."""
    (tmp_path / "x.db").write_bytes(content)
    await refused(tmp_path / "x.db", StorageDamagedError)


async def test_a_truncated_journal_is_left_alone(tmp_path, journal):
    """Half a file is reported as damaged."""
    path = tmp_path / "j.db"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageDamagedError):
        for number in range(1, 61):
            await journal.get_by_id(number)
    assert path.stat().st_size == len(content) // 2


async def test_a_directory_is_no_journal(tmp_path):
    """A path that cannot be a file is a typed error."""
    opened = ModificationJournal(tmp_path)
    with pytest.raises(StorageError) as caught:
        await opened.get_by_id(1)
    assert caught.value.hint


async def test_one_bad_row_never_breaks_a_query(tmp_path, journal):
    """A row of nonsense reads as far as it goes, and every other row is as it was."""
    raw = sqlite3.connect(tmp_path / "j.db")
    raw.execute(
        "UPDATE attempt SET at = 'yesterday', files = '{', outcome = 'odd', facts = 'x', "
        "retry_count = 'many' WHERE id = 5"
    )
    raw.execute("UPDATE event SET data = '[', blobs = '{\"diff\": 99999}' WHERE attempt = 6")
    raw.execute("UPDATE blob SET body = x'00' WHERE id = 7")
    raw.execute("DELETE FROM blob WHERE id = 8")
    raw.execute("UPDATE feature SET words = x'ff' WHERE attempt = 9")
    raw.execute("UPDATE feature SET words = 'short' WHERE attempt = 10")
    raw.commit()
    raw.close()
    bad = await journal.get_by_id(5)
    assert (bad.timestamp, bad.files_modified, bad.outcome) == (None, [], Outcome.FAILURE)
    assert len(await journal.events(6)) == 1
    assert "damaged" in (await journal.get_by_id(7)).diff
    assert "missing" in (await journal.get_by_id(8)).diff
    assert len(await journal.find_similar("Change parser number", limit=100)) >= 57
    assert len(await journal.attempts(100)) == 60
    await journal.get_recent_failures(100)
    assert (await journal.get_by_id(11)).diff == "+line 10\n" * 300


async def test_damage_in_one_page_leaves_other_rows_readable(tmp_path, journal):
    """What does not lie in the broken page is still read."""
    path = tmp_path / "j.db"
    raw = sqlite3.connect(path)
    root = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'blob'").fetchone()[0]
    size = raw.execute("PRAGMA page_size").fetchone()[0]
    raw.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    with pytest.raises(StorageDamagedError):
        await journal.get_by_id(3)
    assert (await journal.get_success_rate())["total"] == 60
    assert len(await journal.events(999)) == 0


async def test_a_lock_is_never_taken_for_damage(tmp_path, journal):
    """A writer that does not let go is reported as busy; when it lets go, writing works."""
    holder = sqlite3.connect(tmp_path / "j.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    impatient = SQLiteStore(tmp_path / "j.db", patience=0.05)
    with pytest.raises(StorageBusyError), impatient.write():
        pass
    assert (await journal.get_by_id(1)).task_description == "Change parser number 0"
    holder.execute("ROLLBACK")
    with impatient.write() as queries:
        assert queries.stage(1) == "ended"
    holder.close()
    impatient.close()


def test_a_full_disk_stores_nothing_and_says_so(tmp_path):
    """An attempt that does not fit leaves no half of it, and the journal goes on after."""
    store = SQLiteStore(tmp_path / "j.db")
    attempts.log(store, ModificationAttempt("t", outcome=Outcome.SUCCESS))
    with store.read() as queries:
        pages = queries.connection.execute("PRAGMA page_count").fetchone()[0]
        queries.connection.execute(f"PRAGMA max_page_count={pages + 1}")
    big = ModificationAttempt("t", diff=os.urandom(200_000).hex(), outcome=Outcome.SUCCESS)
    with pytest.raises(StorageError) as caught:
        attempts.log(store, big)
    assert "full" in caught.value.hint
    with store.read() as queries:
        assert len(queries.newest(9)) == 1
        queries.connection.execute("PRAGMA max_page_count=1000000")
        assert queries.connection.execute("SELECT count(*) FROM blob").fetchone() == (0,)
    assert attempts.log(store, big) == 2
    store.close()


_READER = """
import concurrent.futures.thread, urllib.parse  # later, the interpreter may be out of reach
import asyncio, os, sys
from self_coding.errors import StorageError
from self_coding.modification_journal import ModificationAttempt, ModificationJournal
async def main():
    journal = ModificationJournal(sys.argv[1])
    if os.geteuid() == 0:  # root may write anything
        os.setgid(65534)
        os.setuid(65534)
    print((await journal.get_success_rate())["total"], len(await journal.find_similar("parser")))
    try:
        await journal.log_attempt(ModificationAttempt("t"))
    except StorageError as error:
        print(error.hint)
    await journal.close()
asyncio.run(main())
"""


def test_a_read_only_journal_can_be_read(journal):
    """Reading needs no right to write; writing is a typed error with a hint."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "j.db"
        shutil.copy(journal.db_path, target)
        target.chmod(0o444)
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", _READER, str(target)],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        Path(folder).chmod(0o755)
        assert done.stdout.splitlines()[0] == "60 5", done.stderr
        assert "read-only" in done.stdout.splitlines()[1]
        assert sorted(os.listdir(folder)) == ["j.db"]


async def test_a_founding_database_that_is_none_is_refused(tmp_path, journal):
    """An import of the wrong file adds nothing."""
    (tmp_path / "text").write_text("x" * 5000)
    with pytest.raises(StorageDamagedError):
        await journal.import_founding(tmp_path / "text")
    with pytest.raises(StorageError):
        await journal.import_founding(tmp_path / "nothing")
    empty = sqlite3.connect(tmp_path / "e.db")
    empty.execute("CREATE TABLE t (a)")
    empty.close()
    with pytest.raises(JournalError):
        await journal.import_founding(tmp_path / "e.db")
    assert (await journal.get_success_rate())["total"] == 60
