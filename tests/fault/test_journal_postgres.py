"""A PostgreSQL server that is dead, restarted, foreign, newer, read-only or slow, and typos."""

import asyncio
import subprocess
import threading

import psycopg
import pytest

from journal_stores import address, server
from self_coding.adapters import postgres
from self_coding.app import open_app
from self_coding.errors import (
    ConfigError,
    StorageBusyError,
    StorageError,
    StorageVersionError,
)
from self_coding.modification_journal import ModificationAttempt, ModificationJournal, Outcome
from self_coding.modification_journal.postgres import PostgresStore
from self_coding.testing import sample_repo


def schema_of(place):
    return place.rpartition("schema=")[2]


def run(place, *statements):
    """Run statements in a journal's schema, past the journal."""
    with psycopg.connect(server(), autocommit=True) as raw:
        raw.execute(f"SET search_path = {schema_of(place)}")
        return [raw.execute(statement) for statement in statements][-1]


async def test_a_cut_connection_is_opened_again():
    """What comes after the server ended our session is stored as if nothing had been."""
    place = address()
    journal = ModificationJournal(place)
    await journal.begin("one")
    run(
        place,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'self-coding'",
    )
    await journal.begin("two")
    assert await journal.unfinished() == [1, 2]
    await journal.close()


async def test_a_connection_cut_in_a_transaction_stores_nothing_of_it():
    """Half a transaction is none, and the next one is whole."""
    place = address()
    store = PostgresStore(place)
    journal = ModificationJournal(place)
    number = await journal.begin("one")
    with pytest.raises(StorageError), store.write() as queries:
        queries.put_use(1, number, "success")
        run(place, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        queries.put_use(2, number, "success")
    with store.write() as queries:
        assert queries.last_users([1, 2]) == {}
    store.close()
    await journal.close()


async def test_writers_wait_for_each_other():
    """Events appended to one attempt by several processes at once are all there, in order."""
    place = address()
    journals = [ModificationJournal(place) for _ in range(4)]
    number = await journals[0].begin("one")
    await asyncio.gather(*(journals[n % 4].append(number, "edited", {"n": n}) for n in range(20)))
    events = await journals[0].events(number)
    assert [event.sequence for event in events] == list(range(1, 22))
    assert {event.data.get("n") for event in events[1:]} == set(range(20))
    for journal in journals:
        await journal.close()


async def test_several_openers_make_the_schema_once():
    """Journals that are opened for the first time at the same moment get along."""
    place = address()
    journals = [ModificationJournal(place) for _ in range(4)]
    await asyncio.gather(*(journal.begin("t") for journal in journals))
    assert len(await journals[0].unfinished()) == 4
    for journal in journals:
        await journal.close()


def test_a_lock_held_too_long_is_busy_not_damaged():
    """Whoever waits longer than its patience hears that another process writes."""
    place = address()
    holder, impatient = PostgresStore(place), PostgresStore(place, patience=0.1)
    with holder.write():
        caught = []

        def wait():
            try:
                with impatient.write():
                    pass
            except StorageError as error:
                caught.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(30)
    assert isinstance(caught[0], StorageBusyError)
    with impatient.write() as queries:  # and can write when the other has ended
        assert queries.ids() == []
    holder.close()
    impatient.close()


async def test_a_newer_schema_is_left_alone():
    """A schema of a later version is refused with the way out, and not written."""
    place = address()
    journal = ModificationJournal(place)
    await journal.begin("one")
    await journal.close()
    run(place, "UPDATE self_coding_version SET version = 99")
    with pytest.raises(StorageVersionError, match="newer") as caught:
        await ModificationJournal(place).begin("two")
    assert "upgrade" in caught.value.hint


async def test_another_programs_schema_is_left_alone():
    """A schema with tables that are not ours is refused, and gets none of ours."""
    place = address()
    run(place, f"CREATE SCHEMA {schema_of(place)}", f"CREATE TABLE {schema_of(place)}.theirs ()")
    with pytest.raises(StorageVersionError, match="another program"):
        await ModificationJournal(place).begin("one")
    tables = run(
        place,
        f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema_of(place)}'",
    )
    assert tables.fetchone()[0] == 1


async def test_a_user_who_may_not_make_a_schema_hears_how_it_may():
    """Without the right to create, the hint names the grant."""
    place = address()
    role = f"poor_{schema_of(place)}"
    run(place, f"CREATE ROLE {role} LOGIN PASSWORD 'secret-word'")
    poor = place.replace("postgres:@", f"{role}:secret-word@")
    with pytest.raises(StorageError) as caught:
        await ModificationJournal(poor).begin("one")
    assert "GRANT" in caught.value.hint
    assert "secret-word" not in str(caught.value) + repr(caught.value.__cause__)


async def test_a_read_only_database_can_be_read():
    """On a standby, or where writing is switched off, what is there can be seen."""
    place = address()
    role = f"reader_{schema_of(place)}"
    journal = ModificationJournal(place)
    number = await journal.log_attempt(ModificationAttempt("kept", outcome=Outcome.SUCCESS))
    await journal.close()
    schema = schema_of(place)
    run(
        place,
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
        f"ALTER ROLE {role} SET default_transaction_read_only = on",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
    )
    reader = ModificationJournal(place.replace("postgres:@", f"{role}:x@"))
    assert (await reader.get_by_id(number)).task_description == "kept"
    with pytest.raises(StorageError) as caught:
        await reader.begin("more")
    assert "name the primary" in caught.value.hint
    await reader.close()


async def test_a_server_that_is_too_old_is_refused(monkeypatch):
    """It is told which version there is and which is needed; nothing is made there."""
    place = address()
    monkeypatch.setattr(postgres, "OLDEST", 990_000)
    with pytest.raises(StorageVersionError, match=r"is PostgreSQL \d\d") as caught:
        await ModificationJournal(place).begin("one")
    assert "PostgreSQL 99 or later is needed" in caught.value.hint
    found = run(place, f"SELECT count(*) FROM pg_namespace WHERE nspname = '{schema_of(place)}'")
    assert found.fetchone()[0] == 0


@pytest.mark.parametrize(
    "place",
    [
        "postgresql://user:top-secret@127.0.0.1:9/nothing",
        "postgresql://user:top-secret@no-such-host.invalid/nothing",
        "postgresql://user:top-secret@127.0.0.1:nine/nothing",
        "postgresql://user:top-secret@127.0.0.1/x?top-secret=1",
        "postgresql://user:top%2Dsecret@127.0.0.1:9/nothing?sslmode=top-secret",
    ],
)
async def test_a_server_that_cannot_be_reached_is_one_sentence_without_the_password(place):
    """A dead server, an unknown host and a typo give our error, a hint, and no password."""
    with pytest.raises((StorageError, ConfigError)) as caught:
        await ModificationJournal(place).begin("one")
    assert caught.value.hint
    told = f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"
    assert "top-secret" not in told
    assert "top%2Dsecret" not in told


@pytest.mark.parametrize("name", ["Upper", "pg_catalog", "a-b", "x" * 70, "a;drop"])
def test_a_schema_name_is_checked(name):
    """No name of a schema becomes part of a statement unless it is a plain one."""
    with pytest.raises(ConfigError):
        ModificationJournal(f"postgresql://localhost/x?schema={name}")


async def test_clones_of_one_repository_share_a_journal(tmp_path):
    """What an agent did in one clone is known in the other, and in no other repository."""
    here, there, other = (tmp_path / name for name in ("here", "there", "other"))
    for top in (here, other):
        sample_repo(top)
    subprocess.run(["git", "commit", "-q", "--amend", "-m", "mine"], cwd=other, check=True)
    subprocess.run(["git", "clone", "-q", str(here), str(there)], check=True)
    journals = [
        open_app(top, environ={"SELF_CODING_DATABASE": server()}).journal
        for top in (here, there, other)
    ]
    number = await journals[0].begin("one")
    assert [await journal.unfinished() for journal in journals] == [[number], [number], []]
    for journal in journals:
        await journal.close()
