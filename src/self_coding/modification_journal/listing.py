"""Lists of attempts as pages show them: without diffs, outputs and events, whose sizes vary.

A page of ten thousand attempts costs what its own lines cost. What cannot be read is left empty.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from self_coding.modification_journal.queries import COUNTED, Queries
from self_coding.modification_journal.record import EPOCH, moment
from self_coding.text import first_line
from self_coding.values.attempts import AttemptLine, Event

_DAY = 86_400_000_000  # microseconds
_LOOKED_AT = 500  # newest attempts in which events are looked for: of kinds there is no index
#: What of memory an attempt may be shown, as its event names it and as people do.
_RECALLED = {"lessons": "lessons", "similar": "similar attempts", "warning": "a warning"}
_NOTHING = "nothing"
_COLUMNS = (
    "id, at, ended, stage, outcome, editor, model, commit_hash, retry_count, "
    # cut by the database: a task may have 32,000 characters, an analysis more
    "substr(task, 1, 600), substr(analysis, 1, 400), substr(files, 1, 4000)"
)


def lines(
    queries: Queries,
    *,
    words: str = "",
    state: str = "",
    editor: str = "",
    path: str = "",
    before: int | None = None,
    ids: Collection[int] | None = None,
    since: int = 0,
    limit: int = 50,
) -> list[AttemptLine]:
    """Return attempts, newest first; every argument narrows the choice."""
    where, values = ["1 = 1"], list[object]()
    for word in words.split()[:8]:
        plain = word.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_")
        pattern = f"%{plain}%"
        columns = [f"lower({one}) LIKE ? ESCAPE '!'" for one in ("task", "analysis", "files")]
        where.append(f"({' OR '.join(columns)})")
        values += [pattern] * len(columns)
    if state == "open":
        where.append("ended IS NULL")
    elif state:
        where.append("(stage = ? OR outcome = ?)")
        values += [state, state]
    if editor:
        where.append("editor = ?")
        values.append(editor)
    if path:
        where.append(
            "id IN (SELECT attempt FROM attempt_file JOIN file ON file.id = attempt_file.file "
            "WHERE path = ?)"
        )
        values.append(path)
    if since:
        where.append("at >= ?")
        values.append(since)
    if before is not None:
        where.append("id < ?")
        values.append(before)
    if ids is not None:
        where.append(f"id IN ({', '.join('?' * len(ids)) or 'NULL'})")
        values += ids
    rows = queries.connection.execute(
        f"SELECT {_COLUMNS} FROM attempt WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",  # noqa: S608 - fixed text
        (*values, limit),
    )
    return [_line(row) for row in rows]


def _line(row: Sequence[Any]) -> AttemptLine:
    files: object = ()
    with suppress(ValueError):
        text = str(row[11])
        # Cut within a name, the list ends with the name before.
        files = json.loads(text if text.endswith("]") else f"{text.rpartition(',')[0]}]")
    return AttemptLine(
        id=int(row[0]),
        at=moment(row[1]) or EPOCH,
        ended=moment(row[2]),
        stage=str(row[3]),
        outcome=str(row[4] or ""),
        editor=str(row[5]),
        model=str(row[6]),
        commit=str(row[7]),
        tries=row[8] + 1 if isinstance(row[8], int) else 1,
        task=str(row[9]),
        why=first_line(str(row[10]), 200),
        files=tuple(map(str, files)) if isinstance(files, list) else (),
    )


def of_edit(queries: Queries, edit: str) -> list[int]:
    """Return the attempts of a self-edit, oldest first."""
    sql = "SELECT id FROM attempt WHERE edit = ? ORDER BY id"
    return [int(row[0]) for row in queries.connection.execute(sql, (edit,)).fetchall()]


def daily(queries: Queries) -> list[tuple[int, str, int]]:
    """Return (day since 1970, outcome, attempts) of all that rates count."""
    rows = queries.connection.execute(
        f"SELECT ended / {_DAY}, outcome, count(*) FROM attempt "  # noqa: S608 - fixed text
        f"WHERE ended IS NOT NULL AND {COUNTED} GROUP BY 1, 2 ORDER BY 1"
    )
    return [(int(day), str(outcome), int(count)) for day, outcome, count in rows]


def recent_events(queries: Queries, kinds: Collection[str], limit: int) -> list[Event]:
    """Return the newest events of some kinds among the newest attempts, newest first."""
    newest = int(queries.connection.execute("SELECT max(id) FROM attempt").fetchone()[0] or 0)
    rows = queries.connection.execute(
        "SELECT attempt, sequence, kind, at, data FROM event WHERE attempt > ? "  # noqa: S608
        f"AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY at DESC LIMIT ?",
        (newest - _LOOKED_AT, *kinds, limit),
    ).fetchall()
    events = []
    for attempt, sequence, kind, at, stored in rows:
        data: object = {}
        with suppress(ValueError):
            data = json.loads(str(stored))
        events.append(
            Event(
                attempt=int(attempt),
                sequence=int(sequence),
                kind=str(kind),
                at=moment(at) or EPOCH,
                data=data if isinstance(data, dict) else {},
            )
        )
    return events


def refused_by_tests(queries: Queries) -> int:
    """Return how many of the newest attempts were refused since tests failed."""
    # Counted in the text: what failed may be long, and each event would have to be read for it.
    row = queries.connection.execute(
        "SELECT count(DISTINCT attempt) FROM event "
        "WHERE attempt > (SELECT max(id) FROM attempt) - ?"
        " AND kind IN ('refused', 'found red') AND data NOT LIKE ? AND data LIKE ?",
        (_LOOKED_AT, '%"failing": []%', '%"failing": %'),
    ).fetchone()
    return int(row[0])


def recalled(queries: Queries) -> dict[str, tuple[int, int]]:
    """Return of the newest ended attempts, by what of memory they were shown, how many there are
    and how many of them succeeded."""
    rows = queries.connection.execute(
        "SELECT attempt.id, outcome, data FROM attempt "  # noqa: S608 - fixed text
        "LEFT JOIN event ON event.attempt = attempt.id AND kind = 'shown' "
        "WHERE attempt.id > (SELECT max(id) FROM attempt) - ? "
        f"AND ended IS NOT NULL AND {COUNTED}",
        (_LOOKED_AT,),
    )
    how: dict[int, tuple[set[str], bool]] = {}
    for number, outcome, stored in rows:
        facts: object = {}
        with suppress(ValueError):
            facts = json.loads(str(stored or "{}"))
        held = {name for name in _RECALLED if isinstance(facts, dict) and facts.get(name)}
        how.setdefault(int(number), (set(), outcome == "success"))[0].update(held)
    counted: dict[str, tuple[int, int]] = {}
    for held, is_good in how.values():
        for name in held or {""}:
            good, total = counted.get(_RECALLED.get(name, _NOTHING), (0, 0))
            counted[_RECALLED.get(name, _NOTHING)] = (good + is_good, total + 1)
    return {name: counted[name] for name in (*_RECALLED.values(), _NOTHING) if name in counted}


def spent(queries: Queries, since: int) -> tuple[int, float]:
    """Return how many attempts began since a moment, and what their editors say they cost."""
    began = queries.connection.execute(
        "SELECT count(*) FROM attempt WHERE at >= ?", (since,)
    ).fetchone()
    rows = queries.connection.execute(
        "SELECT data FROM event WHERE kind = 'written' AND attempt IN "
        "(SELECT id FROM attempt WHERE at >= ?)",
        (since,),
    )
    total = 0.0
    for (stored,) in rows:
        with suppress(ValueError, AttributeError, TypeError):
            total += float(json.loads(str(stored)).get("cost") or 0.0)
    return int(began[0]), total


def mark(queries: Queries) -> str:
    """Return a text that is another one whenever an attempt has begun, gone on or ended."""
    row = queries.connection.execute(
        "SELECT (SELECT max(id) FROM attempt), (SELECT count(*) FROM attempt WHERE ended IS NULL), "
        "(SELECT count(*) FROM event WHERE attempt IN "
        "(SELECT id FROM attempt WHERE ended IS NULL)), (SELECT sum(attempts) FROM tally)"
    ).fetchone()
    return "/".join(str(value) for value in row)
