"""Copy a whole journal into an empty one, on whatever database, with all its numbers.

Attempt by attempt, in transactions of a few hundred: a copy that was cut off is taken up where it
ended, and one that is repeated brings what has happened since. The source is read in one
transaction, so that its tables agree. Refs and events name attempts by their numbers, which is why
nothing is renumbered, and why a target with attempts of its own is refused (`import` adds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from self_coding.errors import JournalError
from self_coding.modification_journal.queries import Queries, Store
from self_coding.modification_journal.ranking import terms, unpack

#: A table: its key, and its other columns.
_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "blob": (("id",), ("digest", "body")),
    "file": (("id",), ("path", "attempts")),
    "attempt": (
        ("id",),
        (
            *("at", "ended", "stage", "outcome", "task", "approach", "files", "diff", "diff_blob"),
            *("tests", "tests_blob", "analysis", "reflection", "retry_count", "edit", "editor"),
            *("model", "commit_hash", "facts"),
        ),
    ),
    "event": (("attempt", "sequence"), ("kind", "at", "data", "blobs")),
    "attempt_file": (("file", "attempt"), ()),
    "feature": (("attempt",), ("outcome", "words")),
    "vector": (("attempt",), ("model", "dimension", "body")),
    "tally": (("dimension", "value", "outcome"), ("attempts",)),
    "lesson": (
        ("id",),
        ("at", "text", "files", "symbols", "exception", "tests", "evidence", "anchors"),
    ),
    "lesson_trigger": (("key", "lesson"), ()),
    "lesson_use": (("lesson", "attempt"), ("outcome", "at")),
}
_OF_ATTEMPTS = ("attempt", "event", "attempt_file", "feature", "vector")
_AFTER = ("tally", "lesson", "lesson_trigger", "lesson_use")
_ROWS = 500  # in one transaction


_LAST_EVENTS = (
    "SELECT id, max(sequence) FROM attempt LEFT JOIN event ON event.attempt = attempt.id "
    "WHERE id > ? AND id <= ? GROUP BY id"
)


def copy(source: Store, target: Store, told: Callable[[int, int], None]) -> int:
    """Make `target` what `source` is; return how many attempts were new or had gone on.

    Raises:
        JournalError: the target has attempts that are not the source's.
    """
    copied = done = 0
    with source.read() as there:
        total = int(there.connection.execute("SELECT count(*) FROM attempt").fetchone()[0])
        _check(there, target)
        _copy_table(there, target, "blob", new=True)
        _copy_table(there, target, "file")
        last = 0
        for ids in _batches(there, "attempt"):
            numbers = [int(row[0]) for row in ids]
            with target.write() as here:
                # Those that have other events at the source than at the target.
                now, before = (
                    dict(each.connection.execute(_LAST_EVENTS, (last, numbers[-1])).fetchall())
                    for each in (there, here)
                )
                changed = {int(one) for one in now if now[one] != before.get(one)}
                known = {row[0] for row in _rows(here, "feature", _between(last, numbers[-1]))}
                for table in _OF_ATTEMPTS:
                    rows = [
                        row
                        for row in _rows(there, table, _between(last, numbers[-1], table))
                        if row[_key(table).index("id" if table == "attempt" else "attempt")]
                        in changed
                    ]
                    _put(here, table, rows)
                    for row in rows if table == "feature" else ():
                        if row[0] not in known:  # the inverted index takes nothing back
                            here.add_terms(row[0], terms(unpack(row[2])))
            last = numbers[-1]
            copied, done = copied + len(changed), done + len(numbers)
            told(done, total)
        for table in _AFTER:
            _copy_table(there, target, table)
    return copied


def _check(there: Queries, target: Store) -> None:
    """Refuse a target that has attempts of its own, before anything is written into it."""
    with target.read() as here:
        for rows in _batches(here, "attempt"):
            ids = [int(row[0]) for row in rows]
            known = there.attempts(ids)
            for number, mine in here.attempts(ids).items():
                same = known.get(number)
                # How an attempt began never changes.
                if (same and (same.timestamp, same.task_description)) != (
                    mine.timestamp,
                    mine.task_description,
                ):
                    raise JournalError(
                        f"the target has attempts of its own: {number} is another one there",
                        hint="copy into an empty journal; `export` and `import` renumber",
                    )


def _key(table: str) -> tuple[str, ...]:
    return _TABLES[table][0]


def _between(after: int, last: int, table: str = "feature") -> tuple[str, tuple[int, int]]:
    name = "id" if table == "attempt" else "attempt"
    return f"{name} > ? AND {name} <= ?", (after, last)


def _rows(
    queries: Queries, table: str, where: tuple[str, Sequence[object]], limit: int | None = None
) -> list[tuple[Any, ...]]:
    """Return rows of a table in the order of its key."""
    key, rest = _TABLES[table]
    sql = f"SELECT {', '.join((*key, *rest))} FROM {table} WHERE {where[0]} "  # noqa: S608 - names of ours
    sql += f"ORDER BY {', '.join(key)}" + (f" LIMIT {limit}" if limit else "")
    return list(queries.connection.execute(sql, tuple(where[1])))


def _batches(
    queries: Queries, table: str, start: Sequence[object] = ()
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table, some hundreds at a time, behind a key."""
    key = _key(table)
    while True:
        marks = ", ".join("?" * len(key))
        where = f"({', '.join(key)}) > ({marks})" if start else "1 = 1"
        rows = _rows(queries, table, (where, start), _ROWS)
        if not rows:
            return
        yield rows
        start = rows[-1][: len(key)]


def _copy_table(there: Queries, target: Store, table: str, *, new: bool = False) -> None:
    """Copy a table row by row; only what follows the target's last number where it is `new`."""
    start: tuple[object, ...] = ()
    if new:
        with target.read() as here:
            sql = f"SELECT coalesce(max(id), 0) FROM {table}"  # noqa: S608
            start = tuple(here.connection.execute(sql).fetchone())
    for rows in _batches(there, table, start):
        with target.write() as here:
            _put(here, table, rows)


def _put(queries: Queries, table: str, rows: Sequence[Sequence[object]]) -> None:
    key, rest = _TABLES[table]
    columns = (*key, *rest)
    changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
    sql = f"INSERT INTO {table} ({', '.join(columns)}) {queries.given_numbers} VALUES "  # noqa: S608
    sql += f"({', '.join('?' * len(columns))}) ON CONFLICT ({', '.join(key)}) DO "
    queries.connection.executemany(sql + (f"UPDATE SET {changes}" if rest else "NOTHING"), rows)
    if rows and key == ("id",):
        queries.go_on_after(table, int(str(rows[-1][0])))
