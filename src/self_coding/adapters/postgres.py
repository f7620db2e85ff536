"""PostgreSQL behind the same small door as SQLite: whole transactions, migrations, typed errors.

One schema a journal. Who writes holds the schema's advisory lock for the transaction, which makes
writing as orderly as SQLite's BEGIN IMMEDIATE: what is read inside is still true at the commit.
A claim is a session's advisory lock on the very connection that writes: whoever loses the one has
lost the other. No text of an error carries a password. Needs `psycopg` (`pip install
'self-coding[postgres]'`).
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from self_coding.errors import ConfigError, StorageBusyError, StorageError, StorageVersionError

if TYPE_CHECKING:
    from types import ModuleType

    import psycopg

SCHEMA = "self_coding"  # where the address names none
OLDEST = 130_000  # PostgreSQL 13
# Seconds after the server's start in which nobody claims what another may have held: a restart
# frees every lock, and the living take theirs again first.
GRACE = 12.0
_RESTART = 10.0  # seconds that a holder waits for a server that is gone
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# Both ends notice within seconds that the other is gone: by default neither does for hours.
ALIVE = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
SETTINGS = {"tcp_user_timeout": "10000", "connect_timeout": "10"}
_inherited: list[Any] = []  # a parent process's: never used here, never closed


class PostgresDatabase:
    """One schema of ours, opened when first used.

    Args:
        address: `postgresql://USER@HOST/DATABASE?schema=NAME`, with whatever else libpq takes.
        migrations: SQL scripts; script number n brings the schema from version n to n + 1.
        patience: seconds that another process's transaction is waited for.

    Raises:
        ConfigError: the address names a schema that cannot be one, or psycopg is missing.
    """

    def __init__(self, address: str, *, migrations: Sequence[str], patience: float = 30.0) -> None:
        try:
            import psycopg
        except ImportError:
            raise ConfigError(
                "a PostgreSQL address needs psycopg", hint="pip install 'self-coding[postgres]'"
            ) from None
        self._driver: ModuleType = psycopg
        parts = urlsplit(address)
        if parts.netloc.count("@") > 1:  # libpq would take the password's end for the host
            raise ConfigError(
                "the address of the database has an @ too many",
                hint="write an @ in a password as %40, or leave the password to ~/.pgpass",
            )
        asked = dict(parse_qsl(parts.query))
        self.schema = asked.pop("schema", SCHEMA)
        if not _NAME.fullmatch(self.schema) or self.schema.startswith("pg_"):
            raise ConfigError(
                f"{self.schema!r} cannot be the name of a schema",
                hint="small letters, digits and _, at most 63, and not pg_...",
            )
        self._address = urlunsplit(parts._replace(query=urlencode(asked, quote_via=quote)))
        self._password = unquote(parts.password or "")
        host = parts.hostname or asked.get("host", "localhost")
        #: What messages call it: never with a user's password.
        self.path = f"postgresql://{host}{parts.path}?schema={self.schema}"
        self._migrations = tuple(migrations)
        self._patience = patience
        self._program = asked.get("application_name", "self-coding")
        self._lock = threading.RLock()
        self._session = _Session()
        self._claims: dict[int, str] = {}  # each with the start of the server that gave it
        self._lost: set[int] = set()
        weakref.finalize(self, self._session.close)  # must not hold `self`, or it would never run

    @contextmanager
    def read(self) -> Iterator[PostgresConnection]:
        """Open a transaction to read from; its statements see one state of the database."""
        with self._lock, self._translated():
            begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            connection = self._begin(begin).connection
            try:
                yield PostgresConnection(connection)
            finally:
                with suppress(self._driver.Error):  # the block's own error is the one to tell
                    connection.execute("COMMIT")

    @contextmanager
    def look(self) -> Iterator[PostgresConnection]:
        """Open it for single questions, each of one round trip; they may see different states."""
        with self._lock, self._translated():
            yield _Look(self._begin)

    @contextmanager
    def write(self) -> Iterator[PostgresConnection]:
        """Open a transaction that writes: all of the block is stored, or none of it."""
        with self._lock, self._translated():
            # Two statements in one message: the lock costs no round trip of its own.
            connection = self._begin(f"BEGIN; {self._take_lock}").connection
            try:
                if self._lost:
                    raise StorageError(
                        f"{self.path}: the lease was lost with its connection",
                        path=self.path,
                        hint="`resume` goes on with the attempt where nobody else has taken it up",
                    )
                yield PostgresConnection(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(self._driver.Error):
                    connection.execute("ROLLBACK")
                raise

    def claim(self, name: str, *, fresh: bool = False) -> bool:
        """Hold a name until `unclaim`, or until this connection ends; False where another does.

        Whoever loses it cannot write any more, except after a restart of the server, when it is
        taken again before anybody else may.

        Args:
            name: of what is held.
            fresh: nobody can have held it before.

        Raises:
            StorageError: a pooler is in between, whose sessions are not ours to hold.
        """
        key = self._key(name)
        with self._lock, self._translated():
            if key in self._claims:
                return False
            connection = self._begin("SELECT 1").connection
            row = connection.execute(
                "SELECT pg_backend_pid(), pg_postmaster_start_time()::text, CASE WHEN %s OR"
                " clock_timestamp() - pg_postmaster_start_time() > make_interval(secs => %s)"
                " THEN pg_try_advisory_lock(%s) ELSE false END",
                (fresh, GRACE, key),
            ).fetchone()
            assert row is not None
            pid, began, held = row
            # A pooler tells its clients a number of its own for the server's process.
            if pid != connection.info.backend_pid:
                self._session.close()
                raise StorageError(
                    f"{self.path} is reached through a pooler, which parts a lease from its"
                    " connection",
                    path=self.path,
                    hint="give the server's own address, past pgbouncer",
                )
            if held:
                self._claims[key] = began
            return bool(held)

    def unclaim(self, name: str) -> None:
        """Give a name up."""
        key = self._key(name)
        with self._lock, suppress(self._driver.Error):
            held = self._claims.pop(key, None) is not None and key not in self._lost
            self._lost.discard(key)
            if held and self._session.is_open and self._session.connection is not None:
                self._session.connection.execute("SELECT pg_advisory_unlock(%s)", (key,))

    def holds(self, name: str) -> bool:
        """Return whether a claim of ours still stands, as far as the server says.

        Raises:
            StorageError: the server cannot be asked.
        """
        key = self._key(name)
        with self._lock, self._translated():
            self._begin("SELECT 1")
            return key in self._claims and key not in self._lost

    def holders(self, names: Iterable[str]) -> dict[str, str]:
        """Return those of the names that somebody holds, and what its program calls itself."""
        keys = {self._key(name): name for name in names}
        with self.read() as connection:
            rows = connection.execute(
                "SELECT (classid::bigint << 32) | objid::bigint, application_name FROM pg_locks"
                " JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND objsubid = 1"
                # A lock is of one database, and the list is of all that the server has.
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND granted AND (classid::bigint << 32) | objid::bigint = ANY(?)",
                ([*keys],),
            )
            return {keys[key]: str(program) for key, program in rows}

    def uptime(self) -> float:
        """Return the seconds since the server was started."""
        with self.read() as connection:
            sql = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
            return float(connection.execute(sql).fetchone()[0])

    def close(self) -> None:
        """Close the connection, and lose what it claims; the next use opens it again."""
        with self._lock:
            self._lost |= self._claims.keys()
            self._session.close()

    def _key(self, name: str) -> int:
        digest = hashlib.blake2b(f"{self.schema}/{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)

    def _claim_again(self, connection: psycopg.Connection[Any]) -> None:
        """Take again what the last session held, where nobody can have had it meanwhile."""
        for key in self._claims.keys() - self._lost:
            row = connection.execute(
                # Not after a cut link: another may have held it, and given it up again.
                "SELECT CASE WHEN pg_postmaster_start_time()::text <> %s AND"
                " clock_timestamp() - pg_postmaster_start_time() < make_interval(secs => %s)"
                " THEN pg_try_advisory_lock(%s) ELSE false END, pg_postmaster_start_time()::text",
                (self._claims[key], GRACE, key),
            ).fetchone()
            if row and row[0]:
                self._claims[key] = row[1]
            else:
                self._lost.add(key)

    @property
    def _take_lock(self) -> str:
        # "SCJL" and the schema: two numbers of 32 bits, so that no other program's lock is meant.
        name = zlib.crc32(self.schema.encode()) - (1 << 31)
        return f"SELECT pg_advisory_xact_lock({0x53434A4C}, {name})"

    def _begin(self, statement: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """Run a first statement, on a new connection where the server has ended the old one."""
        session = self._session
        if session.is_open:
            try:
                return self._start(statement, values)
            except self._driver.OperationalError as error:
                if isinstance(error, self._driver.errors.LockNotAvailable):
                    raise
                # Else nothing was begun: the server was restarted, or the link was cut.
        session.close()
        end = time.monotonic() + (_RESTART if self._claims else 0.0)
        while not session.is_open:
            try:
                session.connection, session.pid = self._open(), os.getpid()
            except self._driver.OperationalError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.3)
        assert session.connection is not None
        self._claim_again(session.connection)
        return self._start(statement, values)

    def _start(self, statement: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        connection = self._session.connection
        assert connection is not None
        try:
            return connection.execute(statement, values or None)
        except self._driver.OperationalError:
            with suppress(self._driver.Error):
                connection.execute("ROLLBACK")
            raise

    def _open(self) -> psycopg.Connection[Any]:
        options = {"search_path": self.schema, "lock_timeout": f"{self._patience * 1000:.0f}"}
        options |= {f"tcp_{name}": value for name, value in ALIVE.items()}
        words = " ".join(f"-c {name}={value}" for name, value in options.items())
        connection = self._driver.connect(
            self._address,
            autocommit=True,
            options=words,
            application_name=self._program,
            **ALIVE,
            **SETTINGS,
        )
        try:
            if connection.info.server_version < OLDEST:
                raise StorageVersionError(
                    f"{self.path} is PostgreSQL {connection.info.server_version // 10_000}",
                    path=self.path,
                    hint=f"PostgreSQL {OLDEST // 10_000} or later is needed",
                )
            if self._version(connection) != len(self._migrations):
                self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection  # type: ignore[no-any-return]

    def _version(self, connection: psycopg.Connection[Any]) -> int:
        """Return the schema's version, 0 where there is none of ours.

        Raises:
            StorageVersionError: a newer version wrote it, or another program.
        """
        found = connection.execute(
            "SELECT to_regclass(%s), (SELECT count(*) FROM pg_class JOIN pg_namespace"
            " ON relnamespace = pg_namespace.oid WHERE nspname = %s)",
            (f"{self.schema}.self_coding_version", self.schema),
        ).fetchone()
        if found is None or found[0] is None:
            if found and found[1]:
                raise StorageVersionError(
                    f"the schema {self.schema!r} belongs to another program",
                    path=self.path,
                    hint="name another with ?schema=NAME; nothing was written into this one",
                )
            return 0
        row = connection.execute("SELECT version FROM self_coding_version").fetchone()
        version = int(row[0]) if row else 0
        if version > len(self._migrations):
            raise StorageVersionError(
                f"{self.path} was written by a newer version (schema {version})",
                path=self.path,
                hint="upgrade self-coding; nothing was written into this schema",
            )
        return version

    def _migrate(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            connection.execute(self._take_lock)
            # Asked again under the lock: another process may have migrated meanwhile.
            version = self._version(connection)
            if version == 0:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.schema}")
                connection.execute("CREATE TABLE self_coding_version (version integer NOT NULL)")
                connection.execute("INSERT INTO self_coding_version VALUES (0)")
            for script in self._migrations[version:]:
                connection.execute(script)
            connection.execute(
                "UPDATE self_coding_version SET version = %s", (len(self._migrations),)
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours, without a password."""
        errors = self._driver.errors
        try:
            yield
        except self._driver.Error as error:
            said = (error.diag.message_primary or str(error)).strip().splitlines() or [""]
            text = said[0].replace(self._password, "...") if self._password else said[0]
            kind = StorageError
            hint = "see the server's log; nothing was stored"
            if isinstance(error, errors.LockNotAvailable):
                kind, hint = StorageBusyError, "another process writes; try again"
            elif isinstance(error, errors.InsufficientPrivilege):
                hint = f"GRANT CREATE on the database, or CREATE SCHEMA {self.schema} for this user"
            elif isinstance(error, errors.ReadOnlySqlTransaction):
                hint = "the database is read-only, as a standby is: name the primary"
            elif isinstance(error, errors.DiskFull):
                hint = "the server's disk is full; nothing was stored"
            elif isinstance(error, self._driver.OperationalError) and "option" in text:
                # libpq's words for what it cannot make out of the address
                hint = "postgresql://USER@HOST:PORT/DATABASE"
            elif isinstance(error, self._driver.OperationalError):
                hint = "check that the server runs, and the address, user and password"
            elif (
                isinstance(error, self._driver.ProgrammingError)
                and self._session.connection is None
            ):
                # libpq repeats what it cannot read, and with it what may be a password
                text, hint = "the address cannot be read", "postgresql://USER@HOST/DATABASE"
            raise kind(f"{self.path}: {text}", path=self.path, hint=hint) from None


class _Session:
    """The connection, kept apart so that closing it needs no PostgresDatabase alive."""

    def __init__(self) -> None:
        self.connection: psycopg.Connection[Any] | None = None
        self.pid = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection of this process that nobody has closed."""
        connection = self.connection
        return connection is not None and not connection.closed and self.pid == os.getpid()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None and self.pid != os.getpid():
            _inherited.append(connection)  # closing it here would end the parent's session
        elif connection is not None:
            connection.close()


class PostgresConnection:
    """An open transaction that takes the same SQL as SQLite's: `?` for each value."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """Run one statement; return a cursor over tuples."""
        # Without values it may be a script of several statements, sent as it is.
        return self._connection.execute(*((_spelled(sql), values) if values else (sql,)))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run one statement for each row of values, all in one batch."""
        cursor = self._connection.cursor()
        cursor.executemany(_spelled(sql), rows)
        return cursor


class _Look(PostgresConnection):
    """No transaction: each statement by itself, on a new connection where the old one has ended."""

    def __init__(self, ask: Callable[[str, Sequence[Any]], Any]) -> None:
        self._ask = ask

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """Run one statement; return a cursor over tuples."""
        return self._ask(*((_spelled(sql), values) if values else (sql, ())))


@lru_cache(256)
def _spelled(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
