"""The queue: Procrastinate's tables, and three of ours beside them, in one schema of a server.

Procrastinate fetches, wakes, prioritises, retries and cancels. Ours say only what it cannot: which
repository's turn it is, which workers there are, which of its migrations were applied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from self_coding.adapters import postgres
from self_coding.adapters.postgres import PostgresDatabase
from self_coding.errors import ConfigError, StorageError, StorageVersionError
from self_coding.fleet.jobs import FORM
from self_coding.values.results import FleetJob, FleetWorker

if TYPE_CHECKING:
    import procrastinate

SCHEMA = "self_coding_fleet"
TASK = "attempt"  # what Procrastinate calls our one kind of job
_TABLES = """
CREATE TABLE engine (migration text NOT NULL);
CREATE TABLE worker (
  id bigint PRIMARY KEY, name text NOT NULL, slots integer NOT NULL, provides text[] NOT NULL,
  form integer NOT NULL, version text NOT NULL, since timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE turn (repository text PRIMARY KEY, at timestamptz NOT NULL);

-- The next job for a worker: of the highest priority, then of the repository with the fewest
-- running, then of the one whose turn was longest ago.
CREATE FUNCTION self_coding_next(
  asking bigint, known integer, provided text[], each integer, in_all integer
) RETURNS procrastinate_jobs LANGUAGE plpgsql AS $$
DECLARE
  one record;
  found procrastinate_jobs;
BEGIN
  -- One worker chooses at a time: two could go beyond a limit together.
  PERFORM pg_advisory_xact_lock(hashtextextended('self_coding_next' || current_schema(), 0));
  IF in_all > 0 AND in_all <= (
    SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'
  ) THEN
    RETURN NULL;
  END IF;
  FOR one IN
    WITH running AS (
      SELECT split_part(queue_name, '|', 2) AS repository, count(*) AS jobs
      FROM procrastinate_jobs WHERE status = 'doing' GROUP BY 1
    ), waiting AS (
      SELECT queue_name, split_part(queue_name, '|', 2) AS repository,
        max(priority) AS priority, min(id) AS first
      FROM procrastinate_jobs
      WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
        AND split_part(queue_name, '|', 1)::integer <= known
        AND array_remove(string_to_array(split_part(queue_name, '|', 3), ','), '') <@ provided
      GROUP BY queue_name
    )
    SELECT queue_name, repository FROM waiting
    LEFT JOIN running USING (repository) LEFT JOIN turn USING (repository)
    WHERE each = 0 OR COALESCE(jobs, 0) < each
    ORDER BY priority DESC, COALESCE(jobs, 0), turn.at NULLS FIRST, first
  LOOP
    found := procrastinate_fetch_job_v2(ARRAY[one.queue_name], asking);
    IF found.id IS NOT NULL THEN
      INSERT INTO turn VALUES (one.repository, clock_timestamp())
      ON CONFLICT (repository) DO UPDATE SET at = excluded.at;
      RETURN found;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
"""

# What was to be cancelled when its worker died still has to be: by whoever takes it. And only if
# it is still the dead one's. What was begun comes before what was not.
_GIVE_BACK = """
UPDATE procrastinate_jobs SET status = 'todo', attempts = attempts + 1, scheduled_at = NULL,
  abort_requested = false, priority = GREATEST(priority, priority % 10000 + 10000),
  args = CASE WHEN abort_requested THEN args || '{"cancelled": true}'::jsonb ELSE args END
WHERE id = ? AND status = 'doing' AND worker_id IS NOT DISTINCT FROM ? RETURNING id
"""


class Queue:
    """The queue of one server.

    Args:
        database: `postgresql://USER@HOST/DATABASE`, as the setting of that name.

    Raises:
        ConfigError: it names no PostgreSQL server, or Procrastinate is not installed.
    """

    def __init__(self, database: str) -> None:
        if not database.startswith(("postgresql://", "postgres://")):
            raise ConfigError(
                "a fleet needs a PostgreSQL server, and `database` names none",
                hint="SELF_CODING_DATABASE=postgresql://USER@HOST/DATABASE; see run-workers",
            )
        try:
            import procrastinate
        except ImportError:
            raise ConfigError(
                "a fleet needs Procrastinate", hint="pip install 'self-coding[fleet]'"
            ) from None
        self._engine = procrastinate
        parts = urlsplit(database)
        asked = dict(parse_qsl(parts.query))
        if "schema" in asked:
            raise ConfigError(
                "the address of a fleet's database names a schema",
                hint="leave out ?schema=...: each repository has its own, and so has the queue",
            )
        #: The address of the server, for the journals of its repositories.
        self.address = database
        self._parts, self._asked = parts, asked
        self._is_checked = False

    def at(self, **more: str) -> str:
        """Return the server's address with more to it."""
        return urlunsplit(
            self._parts._replace(query=urlencode(self._asked | more, quote_via=quote))
        )

    @cached_property
    def database(self) -> PostgresDatabase:
        """The queue's schema."""
        folder = Path(self._engine.schema.migrations_path)
        newest = max(one.name for one in folder.glob("*.sql"))
        stamp = f"INSERT INTO engine VALUES ('{newest}');"  # noqa: S608 - a file's name of theirs
        made = self._engine.schema.SchemaManager.get_schema()
        return PostgresDatabase(self.at(schema=SCHEMA), migrations=(made + _TABLES + stamp,))

    def connector(self, *, is_async: bool) -> Any:
        """Return Procrastinate's own connection to the schema."""
        engine = self._engine
        kind = engine.PsycopgConnector if is_async else engine.SyncPsycopgConnector
        options = {"search_path": SCHEMA} | {f"tcp_{n}": v for n, v in postgres.ALIVE.items()}
        words = " ".join(f"-c {name}={value}" for name, value in options.items())
        more = {"options": words, **postgres.ALIVE, **postgres.SETTINGS}
        return kind(conninfo=self.at(), kwargs=more, min_size=1, max_size=2, timeout=10.0)

    @contextmanager
    def open(self) -> Iterator[procrastinate.App]:
        """Open Procrastinate for one call.

        Raises:
            StorageError: the server cannot be reached.
        """
        self.check()  # first, since its errors are in words, and come at once
        app = self._engine.App(connector=self.connector(is_async=False))
        try:
            with app.open():
                yield app
        except self._engine.exceptions.ConnectorException as error:
            raise StorageError(
                f"{self.database.path}: the queue cannot be reached: {type(error).__name__}",
                path=self.database.path,
                hint="check that the server runs; nothing was stored",
            ) from None

    def check(self) -> None:
        """Bring the schema up to date; once a process.

        Raises:
            StorageVersionError: a newer version wrote it, ours or Procrastinate's.
            StorageError: the server cannot be reached, or the schema not be made.
        """
        if self._is_checked:
            return
        folder = Path(self._engine.schema.migrations_path)
        scripts = sorted(folder.glob("*.sql"))
        with self.database.write() as connection:
            (done,) = connection.execute("SELECT migration FROM engine").fetchone()
            if done > scripts[-1].name:
                raise StorageVersionError(
                    f"{self.database.path} was written by a newer Procrastinate",
                    path=self.database.path,
                    hint="`pip install -U procrastinate`; nothing was written",
                )
            for script in (one for one in scripts if one.name > done):
                connection.execute(script.read_text(encoding="utf-8"))
            connection.execute("UPDATE engine SET migration = ?", (scripts[-1].name,))
        self._is_checked = True

    def workers(self) -> list[FleetWorker]:
        """Return the workers that live."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT id, name, slots, provides, version, since, (SELECT count(*) FROM"
                " procrastinate_jobs WHERE status = 'doing' AND worker_id = worker.id)"
                " FROM worker ORDER BY since"
            ).fetchall()
        alive = self.database.holders([life(row[0]) for row in rows])
        return [
            FleetWorker(
                name=name,
                slots=slots,
                provides=list(provides),
                version=version,
                since=since,
                running=running,
            )
            for number, name, slots, provides, version, since, running in rows
            if life(number) in alive
        ]

    def jobs(self, limit: int = 1_000) -> list[FleetJob]:
        """Return the jobs: what runs, what waits, then what has ended, newest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT job.id, status::text, args, job.priority, worker.name,"
                " split_part(queue_name, '|', 1)::integer FROM procrastinate_jobs AS job"
                " LEFT JOIN worker ON worker.id = worker_id AND status = 'doing'"
                " ORDER BY status <> 'doing', status <> 'todo', job.id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [
            FleetJob(
                job=number,
                task=str(args.get("task", "")),
                repository=str(args.get("repo", "")),
                state=_STATES.get(status, status),
                edit=str(args.get("edit", "")),
                priority=priority,
                requires=list(args.get("requires", ())),
                worker=worker or "",
                attempt=args.get("attempt"),
                said=str(args.get("said", "" if form <= FORM else "waits for a newer worker")),
            )
            for number, status, args, priority, worker, form in rows
        ]

    def enter(self, number: int, name: str, slots: int, provides: Collection[str]) -> None:
        """Enter a worker; it lives as long as this connection."""
        from importlib import metadata

        version = metadata.version("self-coding")
        with self.database.read() as connection:
            known = [row[0] for row in connection.execute("SELECT id FROM worker").fetchall()]
        alive = self.database.holders(map(life, known))
        gone = [one for one in known if life(one) not in alive]
        with self.database.write() as connection:
            connection.execute("DELETE FROM worker WHERE id = ANY(?)", (gone,))
            connection.execute(
                "INSERT INTO worker (id, name, slots, provides, form, version)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (number, name, slots, [*provides], FORM, version),
            )
        self.database.claim(life(number), fresh=True)

    def requeue(self, ours: int, running: Collection[int]) -> list[int]:
        """Give the jobs of dead workers back to the queue; return their numbers.

        Args:
            ours: a worker, or 0; its own jobs but those that it is `running` count as dead: the
                database was away when one ended.
        """
        database = self.database
        with database.read() as connection:
            rows = connection.execute(
                "SELECT id, worker_id FROM procrastinate_jobs WHERE status = 'doing'"
            ).fetchall()
        if not rows or database.uptime() < postgres.GRACE:
            return []  # after a restart the living take their locks again first
        alive = {*database.holders({life(worker) for _, worker in rows})}
        dead = [
            (number, worker)
            for number, worker in rows
            if life(worker) not in alive or (worker == ours and number not in running)
        ]
        given: list[int] = []
        for job in dead:
            with database.write() as connection:
                given += connection.execute(_GIVE_BACK, job).fetchone() or ()
        return given

    def is_busy(self) -> bool:
        """Return whether a job runs somewhere, or is to be tried again in a moment."""
        with self.database.read() as connection:
            sql = "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status = 'doing'"
            sql += " OR status = 'todo' AND scheduled_at > now())"
            return bool(connection.execute(sql).fetchone()[0])

    def note(self, number: int, **facts: object) -> None:
        """Add to what a job says of itself, for whoever looks at the queue."""
        from json import dumps

        with self.database.write() as connection:
            connection.execute(
                "UPDATE procrastinate_jobs SET args = args || ?::jsonb WHERE id = ?",
                (dumps(facts), number),
            )


_STATES = {"todo": "waiting", "doing": "running", "succeeded": "ended", "aborted": "cancelled"}


def life(worker: int | None) -> str:
    """Return the name that a worker holds as long as it lives."""
    return f"worker {worker}"
