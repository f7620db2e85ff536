"""What a Database promises: whole transactions, one state per read, many writers."""

import asyncio
import gc
import sqlite3
import warnings

import pytest

from self_coding.adapters.db import Database
from self_coding.adapters.threads import in_thread
from self_coding.errors import StorageError

_TABLE = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"


def sqlite_file(folder):
    return Database(folder / "a" / "b" / "x.db", application=77, migrations=[_TABLE])


@pytest.fixture
def storage(tmp_path):
    opened = sqlite_file(tmp_path)
    yield opened
    opened.close()


def names(storage):
    with storage.read() as connection:
        return [row[0] for row in connection.execute("SELECT name FROM thing ORDER BY id")]


def put(storage, name):
    with storage.write() as connection:
        connection.execute("INSERT INTO thing (name) VALUES (?)", (name,))


def test_what_is_written_is_read(storage):
    """A block that ends well is stored."""
    put(storage, "a")
    assert names(storage) == ["a"]


def test_a_failed_block_leaves_nothing(storage):
    """All of a block is stored, or none of it."""
    with pytest.raises(ZeroDivisionError), storage.write() as connection:
        connection.execute("INSERT INTO thing (name) VALUES ('a')")
        raise ZeroDivisionError
    assert names(storage) == []
    put(storage, "b")
    assert names(storage) == ["b"]


def test_a_refused_statement_is_a_typed_error_and_leaves_nothing(storage):
    """The engine's own errors never come through raw, and the next block works."""
    put(storage, "a")
    with pytest.raises(StorageError), storage.write() as connection:
        connection.execute("INSERT INTO thing (name) VALUES ('b')")
        connection.execute("INSERT INTO thing (name) VALUES ('a')")
    put(storage, "c")
    assert names(storage) == ["a", "c"]


def test_closing_is_not_the_end(storage):
    """The next use opens the database again."""
    put(storage, "a")
    storage.close()
    storage.close()
    assert names(storage) == ["a"]


async def test_many_tasks_write_at_once(storage):
    """Nothing is lost between threads."""
    await asyncio.gather(*(in_thread(put, storage, str(n)) for n in range(100)))
    assert sorted(map(int, names(storage))) == list(range(100))


def test_a_read_sees_one_state(tmp_path):
    """What another one commits meanwhile is not seen inside a read."""
    mine, other = sqlite_file(tmp_path), sqlite_file(tmp_path)
    put(mine, "a")
    with mine.read() as connection:
        count = "SELECT count(*) FROM thing"
        assert connection.execute(count).fetchone() == (1,)
        put(other, "b")
        assert connection.execute(count).fetchone() == (1,)
    assert names(mine) == ["a", "b"]
    mine.close()
    other.close()


def test_a_schema_grows_by_migrations(tmp_path):
    """An older file is brought up to date, its rows kept."""
    old = Database(tmp_path / "x.db", application=77, migrations=[_TABLE])
    put(old, "a")
    old.close()
    more = "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7;"
    new = Database(tmp_path / "x.db", application=77, migrations=[_TABLE, more])
    with new.read() as connection:
        assert connection.execute("SELECT name, size FROM thing").fetchall() == [("a", 7)]
    new.close()


def test_a_migration_that_fails_changes_nothing(tmp_path):
    """A half-made schema is never left behind."""
    bad = Database(tmp_path / "x.db", application=77, migrations=[_TABLE + "CREATE NONSENSE;"])
    with pytest.raises(StorageError):
        names(bad)
    bad.close()
    raw = sqlite3.connect(tmp_path / "x.db")
    assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    raw.close()


def test_an_owner_that_is_forgotten_closes_its_connection(tmp_path):
    """No connection is left to the garbage collector's warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = sqlite_file(tmp_path)
        put(opened, "a")
        held = opened._held
        del opened
        gc.collect()
        assert held.connection is None


def test_a_replaced_file_is_noticed(tmp_path):
    """A database that was moved away is not written any more."""
    opened = sqlite_file(tmp_path)
    put(opened, "a")
    path = tmp_path / "a" / "b" / "x.db"
    path.rename(tmp_path / "moved.db")
    put(opened, "b")
    assert names(opened) == ["b"]
    opened.close()


def test_a_record_waits_for_the_disk_and_a_cache_does_not(tmp_path):
    """Durable commits survive a loss of power; SQLite's own setting says so."""
    for durable, level in ((True, 2), (False, 1)):
        opened = Database(
            tmp_path / f"{durable}.db", application=77, migrations=[_TABLE], durable=durable
        )
        with opened.read() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        opened.close()
