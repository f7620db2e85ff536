"""How good the journal's memory is, as numbers that it prints itself, and what a lesson is worth.

Memory rots silently elsewhere; here the rates of junk, duplicates, stale and never-used lessons
are counted over what is stored, and each lesson's worth is the difference between the attempts
that saw it and the ones about the same files that did not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from self_coding.adapters.db import Connection, Database
from self_coding.errors import JournalError
from self_coding.modification_journal import lessons
from self_coding.modification_journal.rates import wilson
from self_coding.values.attempts import Lesson, Outcome, Rate

_SHORTEST = 3  # words of a sentence that says something
_TRIED = 3  # uses after which a lesson that never helped is junk
_LOOKED_AT = 2000  # newest lessons that are counted, and attempts that are compared


def measure(database: Database, contents: Mapping[str, str] | None = None) -> dict[str, float]:
    """The number of lessons, and the shares that are junk, duplicate, stale and never used.

    A share counts the newest 2,000. Stale needs `contents`, the sha256 of each path's content
    now; without it, it is 0.
    """
    with database.read() as connection:
        total = int(connection.execute("SELECT count(*) FROM lesson").fetchone()[0])
        rows = connection.execute(
            "SELECT id FROM lesson ORDER BY id DESC LIMIT ?", (_LOOKED_AT,)
        ).fetchall()
        found = lessons.read(connection, [int(row[0]) for row in rows])
        junk = sum(_is_junk(connection, lesson) for lesson in found)
    stale = sum(lessons.anchored(lesson, contents).freshness != "fresh" for lesson in found)
    share = 1 / len(found) if found else 0.0
    return {
        "lessons": float(total),
        "junk": junk * share,
        "duplicate": _duplicates(found) * share,
        "stale": stale * share,
        "never_used": sum(lesson.uses == 0 for lesson in found) * share,
    }


def worth(database: Database, number: int) -> dict[str, Rate]:
    """How attempts ended "with" a lesson, and "without" it where it spoke of the same files."""
    with database.read() as connection:
        found = lessons.read(connection, [number])
        if not found:
            raise JournalError(f"there is no lesson {number}", hint="`lessons` lists them")
        lesson = found[0]
        others = _others(connection, lesson)
    successes = sum(outcome == Outcome.SUCCESS for outcome in others)
    return {
        "with": wilson(lesson.successes, lesson.uses),
        "without": wilson(successes, len(others)),
    }


def _is_junk(connection: Connection, lesson: Lesson) -> bool:
    """Whether a lesson says nothing, proves nothing or has helped nobody who tried it."""
    if len(lesson.text.split()) < _SHORTEST:
        return True
    if lesson.uses >= _TRIED and not lesson.successes:
        return True
    return not any(
        connection.execute("SELECT 1 FROM attempt WHERE id = ?", (attempt,)).fetchone()
        for attempt in lesson.evidence
    )


def _duplicates(found: Sequence[Lesson]) -> int:
    """How many lessons say what an earlier one says, letter case and order of words aside."""
    said = [frozenset(lesson.text.lower().split()) for lesson in found]
    return len(said) - len(set(said))


def _others(connection: Connection, lesson: Lesson) -> list[str]:
    """How the attempts ended that touched the lesson's files and did not see it."""
    ended: dict[int, str] = {}
    for path in lesson.files:
        rows = connection.execute(
            "SELECT attempt.id, attempt.outcome FROM file "
            "JOIN attempt_file ON attempt_file.file = file.id "
            "JOIN attempt ON attempt.id = attempt_file.attempt "
            "WHERE file.path = ? ORDER BY attempt.id DESC LIMIT ?",
            (path, _LOOKED_AT),
        )
        ended |= {int(row[0]): str(row[1]) for row in rows}
    seen = connection.execute("SELECT attempt FROM lesson_use WHERE lesson = ?", (lesson.id,))
    known = {int(row[0]) for row in seen} | set(lesson.evidence)
    return [outcome for attempt, outcome in ended.items() if attempt not in known]
