"""The journal on PostgreSQL: the sibling of `store`, for more machines than one.

The index of words is a table: the newest rows of a term are read backwards from its primary key,
as SQLite's FTS5 gives them, so that candidates, rarities and order are the same on both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from self_coding.adapters.db import Sessions
from self_coding.adapters.postgres import PostgresDatabase
from self_coding.modification_journal.queries import COUNTED, Queries, candidates_of
from self_coding.modification_journal.ranking import Candidate

# The tables of `store`, in PostgreSQL's types. Texts that are compared by order say "C": a
# language's order would put a hash or a term elsewhere, and another server might have another.
_SCHEMA = """
CREATE TABLE attempt (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at bigint NOT NULL, ended bigint, stage text NOT NULL, outcome text,
  task text NOT NULL, approach text NOT NULL DEFAULT '', files text NOT NULL DEFAULT '[]',
  diff text NOT NULL DEFAULT '', diff_blob bigint,
  tests text NOT NULL DEFAULT '', tests_blob bigint,
  analysis text NOT NULL DEFAULT '', reflection text NOT NULL DEFAULT '',
  retry_count bigint NOT NULL DEFAULT 0, edit text NOT NULL DEFAULT '',
  editor text NOT NULL DEFAULT '', model text NOT NULL DEFAULT '',
  commit_hash text COLLATE "C" NOT NULL DEFAULT '', facts text NOT NULL DEFAULT '{}'
);
CREATE INDEX attempt_at ON attempt (at, id);
CREATE INDEX attempt_failed ON attempt (at, id) WHERE outcome IN ('failure', 'rollback');
CREATE INDEX attempt_open ON attempt (id) WHERE ended IS NULL;
CREATE INDEX attempt_commit ON attempt (commit_hash) WHERE commit_hash <> '';
CREATE TABLE event (
  attempt bigint NOT NULL, sequence bigint NOT NULL,
  kind text NOT NULL, at bigint NOT NULL, data text NOT NULL, blobs text NOT NULL DEFAULT '',
  PRIMARY KEY (attempt, sequence)
);
CREATE TABLE blob (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  digest bytea NOT NULL UNIQUE, body bytea NOT NULL
);
CREATE TABLE file (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  path text NOT NULL UNIQUE, attempts bigint NOT NULL DEFAULT 0
);
CREATE TABLE attempt_file (
  file bigint NOT NULL, attempt bigint NOT NULL, PRIMARY KEY (file, attempt)
);
CREATE TABLE feature (attempt bigint PRIMARY KEY, outcome text NOT NULL, words text NOT NULL);
CREATE TABLE tally (
  dimension text NOT NULL, value text NOT NULL, outcome text NOT NULL, attempts bigint NOT NULL,
  PRIMARY KEY (dimension, value, outcome)
);
CREATE TABLE vector (
  attempt bigint PRIMARY KEY, model text NOT NULL, dimension bigint NOT NULL, body bytea NOT NULL
);
CREATE TABLE lesson (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at bigint NOT NULL,
  text text NOT NULL, files text NOT NULL, symbols text NOT NULL, exception text NOT NULL,
  tests text NOT NULL, evidence text NOT NULL, anchors text NOT NULL
);
CREATE TABLE lesson_trigger (
  key text NOT NULL, lesson bigint NOT NULL, PRIMARY KEY (key, lesson)
);
CREATE TABLE lesson_use (
  lesson bigint NOT NULL, attempt bigint NOT NULL, outcome text NOT NULL, at bigint NOT NULL,
  PRIMARY KEY (lesson, attempt)
);
CREATE TABLE posting (
  term text COLLATE "C" NOT NULL, attempt bigint NOT NULL, PRIMARY KEY (term, attempt)
);
"""
MIGRATIONS = (_SCHEMA,)


class PostgresStore:
    """The database of one journal, in one schema of a PostgreSQL server."""

    def __init__(self, address: str, *, patience: float = 30.0) -> None:
        self._database = PostgresDatabase(address, migrations=MIGRATIONS, patience=patience)
        self.sessions: Sessions | None = self._database

    @contextmanager
    def read(self) -> Iterator[Queries]:
        """Open a transaction that sees one state and changes nothing."""
        with self._database.read() as connection:
            yield _PostgresQueries(connection)

    @contextmanager
    def look(self) -> Iterator[Queries]:
        """Open it for questions that each may see a state of its own, and cost one round trip."""
        with self._database.look() as connection:
            yield _PostgresQueries(connection)

    @contextmanager
    def write(self) -> Iterator[Queries]:
        """Open a transaction that is stored whole, or not at all."""
        with self._database.write() as connection:
            yield _PostgresQueries(connection)

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        self._database.close()


class _PostgresQueries(Queries):
    """The queries that only PostgreSQL answers: a table of terms."""

    given_numbers = "OVERRIDING SYSTEM VALUE"

    def go_on_after(self, table: str, number: int) -> None:
        """Number the next row of a table after this one, which was given its number."""
        sql = "SELECT setval(pg_get_serial_sequence(?, 'id'), ?)"
        self.connection.execute(sql, (table, number))

    def add_terms(self, attempt: int, terms: Iterable[str]) -> None:
        """Enter an attempt into the inverted index, under each of its terms."""
        self.connection.execute(
            "INSERT INTO posting (term, attempt) SELECT unnest(?::text[]), ?",
            (sorted(terms), attempt),
        )

    def newest_with(self, terms: Iterable[str], limit: int) -> dict[str, list[int]]:
        """Return the newest attempts that hold each term, newest first."""
        # One question for all terms: a round trip each would cost more than the ranking.
        rows = self.connection.execute(
            f"SELECT term, {_newest('?')} FROM unnest(?::text[]) AS asked (term)",  # noqa: S608
            (limit, list(terms)),
        )
        return {str(term): list(attempts) for term, attempts in rows}

    def probe(
        self, terms: Sequence[str], few: int, many: int, room: int
    ) -> tuple[int, dict[str, list[int]], dict[str, list[int]]]:
        """Return what `gather` asks first, and most often last, in one question."""
        rows = self.connection.execute(_PROBE, (few, list(terms), few, few, many, room)).fetchall()
        first = {term: attempts for _, term, attempts, _ in rows if term is not None}
        return rows[0][0], first, {term: more for _, term, _, more in rows if more}

    def scored(
        self, ids: Sequence[int], outcomes: Collection[str] | None, limit: int
    ) -> tuple[list[Candidate], dict[str, int]]:
        """Return the features of the first `limit` attempts, and how often their files changed."""
        ended = [] if outcomes is None else [*outcomes]
        rows = self.connection.execute(
            _SCORED, (list(ids), outcomes is None, ended, limit)
        ).fetchall()
        modified = {str(path): int(times) for times, path, words in rows if words is None}
        return candidates_of(rows), modified


def _newest(limit: str) -> str:
    return (
        "ARRAY(SELECT attempt FROM posting WHERE posting.term = asked.term"  # noqa: S608 - fixed text
        f" ORDER BY attempt DESC LIMIT {limit})"
    )


# With the terms that have more than was probed goes what `gather` would ask for next: those whose
# probed attempts reach furthest back are the rarest. More of them than fill the room are not sent.
_PROBE = f"""
WITH asked AS (
  SELECT term, place, {_newest("?")} AS attempts
  FROM unnest(?::text[]) WITH ORDINALITY AS asked (term, place)
), common AS (
  SELECT term, row_number() OVER (ORDER BY attempts[?], place) AS turn
  FROM asked WHERE cardinality(attempts) = ?
), many AS (
  SELECT term, turn, {_newest("?")} AS attempts FROM common AS asked WHERE turn <= 16
), filling AS (
  SELECT term, attempts, sum(cardinality(attempts)) OVER (ORDER BY turn) AS filled FROM many
)
SELECT (SELECT coalesce(max(attempt), 0) FROM feature), asked.term, asked.attempts, more.attempts
FROM (SELECT) AS always LEFT JOIN asked ON true
LEFT JOIN filling AS more ON more.term = asked.term AND filled - cardinality(more.attempts) < ?
ORDER BY place
"""  # noqa: S608
# A file comes as a row without words. Line 6 of the words has the paths (`ranking.pack`).
_SCORED = f"""
WITH chosen AS (
  SELECT feature.* FROM unnest(?::bigint[]) WITH ORDINALITY AS asked (attempt, place)
  JOIN feature USING (attempt) JOIN attempt ON id = feature.attempt
  WHERE ? OR (attempt.outcome = ANY(?::text[]) AND {COUNTED})
  ORDER BY place LIMIT ?
)
(SELECT attempt, outcome, words FROM chosen ORDER BY attempt DESC)
UNION ALL
SELECT attempts, path, NULL FROM file WHERE path IN (
  SELECT unnest(string_to_array(split_part(words, E'\n', 6), ' ')) FROM chosen
)
"""  # noqa: S608
