"""SQLite behind one small Database: whole transactions, numbered migrations, typed errors.

WAL, `BEGIN IMMEDIATE` for whatever writes, a long busy wait, one connection per process behind
a lock. A file that is not ours, is newer than we are, or is damaged is refused before anything
is written into it. It holds no SQL of any room: tables belong to the service that owns them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from self_coding.adapters.paths import hide
from self_coding.errors import (
    StorageBusyError,
    StorageDamagedError,
    StorageError,
    StorageVersionError,
)

_BUSY_SECONDS = 30.0


class Connection(Protocol):
    """What common SQL needs of an open transaction, whatever the database behind it."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """Run one statement, `?` for each value; return a cursor over tuples."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run one statement for each row of values."""


class Sessions(Protocol):
    """Holds names on the connection that writes the journal: both end together."""

    def claim(self, name: str, *, fresh: bool = False) -> bool:
        """Hold a name; False where another does. `fresh`: nobody can have held it before."""

    def unclaim(self, name: str) -> None:
        """Give a name up."""

    def holds(self, name: str) -> bool:
        """Return whether a claim of ours still stands."""

    def holders(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return those of the names that somebody holds, and who."""


class Database:
    """One SQLite file of ours, opened when first used and closed with its owner.

    Args:
        path: the file; its folder is made when missing.
        application: SQLite's application_id, the mark by which the file is known to be ours.
        migrations: SQL scripts; script number n brings the schema from version n to n + 1.
        durable: True waits for the disk at each commit (a record); False may lose the last
            commits at a power loss, never the file (a cache).
        patience: seconds that another process's transaction is waited for.
        page: bytes a page of a file that is new; large ones suit what is written in bulk.

    A file that may not be written can still be read; writing it is a StorageError.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        application: int,
        migrations: Sequence[str],
        durable: bool = True,
        patience: float = _BUSY_SECONDS,
        page: int = 4096,
    ) -> None:
        self.path = str(path)
        self._application = application
        self._migrations = tuple(migrations)
        self._durable = durable
        self._patience = patience
        self._page = page
        # One connection for all threads: SQLite serialises writers anyway, and each costs its own
        # cache. Reentrant, as a transaction may call what reads.
        self._lock = threading.RLock()
        self._held = _Held()
        weakref.finalize(self, self._held.close)  # must not hold `self`, or it would never run

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction to read from; its statements see one state of the file."""
        with self._lock, self._translated():
            connection = self._connection()
            connection.execute("BEGIN")  # without it each statement would see a state of its own
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):  # the block's own error is the one to tell
                    connection.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that writes: all of the block is stored, or none of it."""
        with self._lock, self._translated():
            connection = self._connection()
            # Immediate: a transaction that begins by reading and writes later is refused at once
            # when another process wrote in between, however long the busy timeout.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            # A connection must not be used across a fork, and one to a file that was replaced
            # writes into nothing.
            self._held.close()

    def _connection(self) -> sqlite3.Connection:
        """Return the open connection; a new one after a fork or when the file was replaced."""
        held = self._held
        if held.connection is None or held.identity != (os.getpid(), _identity(self.path)):
            held.close()
            held.connection = self._open()
            held.identity = (os.getpid(), _identity(self.path))
        return held.connection

    def _open(self) -> sqlite3.Connection:
        path = Path(self.path)
        # Asked in this order: a file that another process makes between the two is writable.
        read_only = path.is_file() and not (
            os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        )
        target = self.path
        if read_only:
            # Where no side file was left, SQLite must be told that nobody writes: it could not
            # make one either.
            lone = "" if Path(f"{path}-wal").exists() else "&immutable=1"
            target = f"{path.absolute().as_uri()}?mode=ro{lone}"
        else:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                hide(path)
            except OSError as error:
                raise StorageError(
                    f"cannot make the folder of {self.path}: {error}",
                    path=self.path,
                    hint="give another db_path, or make the folder writable",
                ) from error
        connection = sqlite3.connect(
            target,
            uri=read_only,
            timeout=self._patience,
            isolation_level=None,  # transactions are begun and ended here, not by the module
            check_same_thread=False,  # a lock of ours keeps the threads apart
        )
        try:
            version = self._check(connection)
            if not read_only:
                self._prepare(connection)
            elif version < len(self._migrations):
                raise StorageError(
                    f"{self.path} must be brought up to date and may not be written",
                    path=self.path,
                    hint="make the file and its folder writable once",
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> int:
        """Refuse a file that is not ours, or that a newer version wrote; return its version."""
        connection.execute("BEGIN")  # one state: another process may be making the file right now
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = _version(connection)
        used = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        connection.execute("COMMIT")
        if used and application != self._application:
            raise StorageVersionError(
                f"{self.path} is a database of another program",
                path=self.path,
                hint="give another db_path; nothing was written into this one",
            )
        if version > len(self._migrations):
            raise StorageVersionError(
                f"{self.path} was written by a newer version (schema {version})",
                path=self.path,
                hint="upgrade self-coding; nothing was written into this file",
            )
        return version

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Set the file's modes and bring its schema up to date."""
        deadline = time.monotonic() + self._patience
        fresh = connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
        if fresh:
            connection.execute(f"PRAGMA page_size={self._page}")
        while fresh:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                # The busy timeout does not cover this one: while another process holds the file
                # it is refused at once.
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")
        if _version(connection) == len(self._migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Asked again under the lock: another process may have migrated meanwhile. One
            # statement at a time, because `executescript` would commit before it begins.
            for script in self._migrations[_version(connection) :]:
                statement = ""
                for line in script.splitlines(keepends=True):
                    statement += line
                    if sqlite3.complete_statement(statement):
                        connection.execute(statement)
                        statement = ""
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={self._application}")
            connection.execute(f"PRAGMA user_version={len(self._migrations)}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn sqlite's errors into ours; a lock is never taken for damage."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _typed(error, self.path) from error


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """Open a SQLite file that is not ours, to read; not a byte of it is changed."""
    if not path.is_file():
        raise StorageError(f"there is no file {path}", path=str(path), hint="check the path")
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    try:
        yield connection
    except sqlite3.DatabaseError as error:
        raise _typed(error, str(path)) from error
    finally:
        connection.close()


_inherited: list[sqlite3.Connection] = []  # a parent process's: never used here, never closed


class _Held:
    """The connection, kept apart so that closing it needs no Database alive."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        self.identity: tuple[int, tuple[int, int] | None] = (0, None)

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None and self.identity[0] != os.getpid():
            _inherited.append(connection)  # closing it here would end the parent's locks
        elif connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of the file, so that a replaced file is noticed."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _typed(error: sqlite3.DatabaseError, path: str) -> StorageError:
    # The low byte is the kind; the rest says where it happened. A lock is never taken for damage.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = f"{path}: {error}"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return StorageBusyError(text, path=path, hint="another process writes; try again")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageDamagedError(text, path=path, hint="move the file away, then try again")
    return StorageError(text, path=path, hint=_HINTS.get(code, "see `self-coding doctor`"))


_HINTS = {
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only",
    sqlite3.SQLITE_FULL: "the disk is full; nothing was stored",
    sqlite3.SQLITE_IOERR: "the disk refused; nothing was stored",
    sqlite3.SQLITE_CANTOPEN: "check the path and its permissions",
    sqlite3.SQLITE_PERM: "check the path and its permissions",
}
