"""Lessons: one sentence each, with its trigger, its evidence, its anchors and its record of use.

Duplicates merge, contradicted lessons sink, unused ones fade; at most a few are shown. A lesson
without evidence is refused: it is worse than none. How good this memory is, is counted here as
well, because memory rots silently elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from self_coding.errors import JournalError
from self_coding.modification_journal import record
from self_coding.modification_journal.queries import Queries, Store
from self_coding.retrieval import words
from self_coding.text import shorten
from self_coding.values.attempts import Lesson, Outcome

_LONGEST = 300  # characters of a lesson; more is not a sentence any more
_ALIKE = 0.8  # share of words from which two lessons with one trigger are the same
_PULL = {"f:": 2.0, "s:": 2.0, "e:": 1.5, "t:": 3.0, "w:": 0.5}  # by kind of trigger
_SHOWN = 0.75  # pull and worth below which a lesson is not shown
_AT_MOST = 3  # lessons that are shown
_FADES = 2000  # attempts after which an unused lesson has lost most of its pull
_COUNTED = 2000  # newest lessons that quality is judged by
_SHORTEST = 3  # words of a sentence that says something
_TRIED = 3  # uses after which a lesson that never helped is junk


def learn(store: Store, lesson: Lesson) -> Lesson:
    """Store a lesson, or merge it into the one that says the same; return it as stored."""
    fresh = checked(lesson)
    with store.write() as queries:
        return put(queries, fresh)


def put(queries: Queries, lesson: Lesson) -> Lesson:
    """Store a checked lesson inside the caller's transaction; return it as stored."""
    keys = _keys(lesson)
    rows = set(queries.lessons_by_text(lesson.text))
    for key in keys:
        rows.update(queries.lessons_by_key(key))
    # Only what shares a trigger or is the same sentence can say the same.
    said = set(words(lesson.text))
    for other in queries.lessons(sorted(rows)):
        also = set(words(other.text))
        if len(said & also) >= _ALIKE * max(1, len(said | also)):
            lesson = _merged(other, lesson)
            break
    # The keys of both: what pulled either one pulls what they became.
    number = queries.put_lesson(lesson, keys | _keys(lesson))
    return queries.lessons([number])[0]


def checked(lesson: Lesson) -> Lesson:
    """Return the lesson as it may be stored: one clean sentence, with evidence."""
    text = " ".join(record.text(lesson.text, "a lesson").split())
    if not text:
        raise JournalError("a lesson needs a sentence", hint="say what to do or to avoid")
    if not lesson.evidence:
        raise JournalError(
            "a lesson needs evidence", hint="give the ids of the attempts that taught it"
        )
    return Lesson(
        text=shorten(text, _LONGEST),
        files=record.paths(lesson.files),
        symbols=tuple(record.text(name, "a symbol") for name in lesson.symbols),
        exception=record.text(lesson.exception, "an exception"),
        tests=tuple(record.text(name, "a test id") for name in lesson.tests),
        evidence=tuple(record.number(number, "evidence") for number in lesson.evidence),
        anchors=tuple(
            (record.path(record.text(path, "a path")), record.text(digest, "a content hash"))
            for path, digest in lesson.anchors
        ),
    )


def find(
    store: Store, situation: Lesson, contents: Mapping[str, str] | None, limit: int
) -> list[Lesson]:
    """Return the lessons that a situation pulls, the most useful first.

    Args:
        situation: its text, files, functions, exception and tests, in the shape of a trigger.
        contents: the sha256 of each path's content now; None leaves freshness unchecked.
    """
    pull: dict[int, float] = {}
    with store.read() as queries:
        # Bounded like every question: a situation may name hundreds of files and words, and a
        # word like "test" pulls every lesson.
        for key in sorted(_keys(situation))[:200]:
            for number in queries.lessons_by_key(key):
                pull[number] = pull.get(number, 0.0) + _PULL[key[:2]]
        stored = queries.lessons(sorted(pull, reverse=True)[:400])
        newest = queries.newest_findable()
        users = queries.last_users([one.id or 0 for one in stored])
    last_seen = {one.id: max([users.get(one.id or 0, 0), *one.evidence, 0]) for one in stored}
    scored = []
    for each in stored:
        lesson = anchored(each, contents)
        idle = max(0, newest - last_seen[lesson.id])
        score = pull[lesson.id or 0] * worth(lesson, idle)
        if score >= _SHOWN and lesson.freshness != "orphaned":
            scored.append((score, lesson.id or 0, lesson))
    scored.sort(key=lambda item: (-item[0], -item[1]))
    return [lesson for _, _, lesson in scored[: min(limit, _AT_MOST)]]


def worth(lesson: Lesson, idle: int = 0) -> float:
    """Return how much a lesson deserves to be shown, 1 for a new one.

    What came of its uses raises or sinks it; code that has drifted, and attempts that went by
    without it being learnt anew or used (`idle`), fade it.
    """
    # Laplace's rule: a new lesson is worth one, and a single failure does not sink it.
    earned = (lesson.successes + 1.0) / (lesson.uses + 2.0) * 2
    fresh = 0.5 if lesson.freshness == "drifted" else 1.0
    return earned * fresh * (0.4 + 0.6 * math.exp(-idle / _FADES))


def used(store: Store, lesson: int, attempt: int, outcome: Outcome) -> None:
    """Store that a lesson was shown to an attempt, and how that ended."""
    with store.write() as queries:
        if not queries.lessons([lesson]):
            raise JournalError(f"there is no lesson {lesson}", hint="`lessons` lists them")
        queries.put_use(lesson, attempt, outcome.value)


def quality(store: Store, contents: Mapping[str, str] | None = None) -> dict[str, float]:
    """Return the number of lessons, and the shares that are junk, duplicate, stale, never used.

    A share counts the newest 2,000. Stale needs `contents`, the sha256 of each path's content
    now; without it, it is 0.
    """
    with store.read() as queries:
        numbers = queries.lesson_ids()
        counted = queries.lessons(numbers[-_COUNTED:])
        # junk says nothing, has helped nobody who tried it, or proves nothing
        junk = sum(
            len(lesson.text.split()) < _SHORTEST
            or (lesson.uses >= _TRIED and not lesson.successes)
            or all(queries.stage(attempt) is None for attempt in lesson.evidence)
            for lesson in counted
        )
    stale = sum(anchored(lesson, contents).freshness != "fresh" for lesson in counted)
    sentences = {frozenset(lesson.text.lower().split()) for lesson in counted}
    share = 1 / len(counted) if counted else 0.0
    return {
        "lessons": float(len(numbers)),
        "junk": junk * share,
        "duplicate": (len(counted) - len(sentences)) * share,
        "stale": stale * share,
        "never_used": sum(lesson.uses == 0 for lesson in counted) * share,
    }


def anchored_paths(store: Store) -> list[str]:
    """Return the files that the lessons which `quality` counts are anchored in."""
    with store.read() as queries:
        counted = queries.lessons(queries.lesson_ids()[-_COUNTED:])
    return sorted({path for lesson in counted for path, _ in lesson.anchors})


def anchored(lesson: Lesson, contents: Mapping[str, str] | None) -> Lesson:
    """Return the lesson with its freshness, checked against the files as they are now."""
    if contents is None or not lesson.anchors:
        return lesson
    current = [contents.get(path) for path, _ in lesson.anchors]
    if not any(current):
        state = "orphaned"
    elif current == [digest for _, digest in lesson.anchors]:
        state = "fresh"
    else:
        state = "drifted"
    return replace(lesson, freshness=state)


def _keys(lesson: Lesson) -> set[str]:
    """Return the keys by which a situation pulls a lesson; a situation has them as well."""
    keys = {f"f:{path}" for path in lesson.files} | {f"s:{name.lower()}" for name in lesson.symbols}
    keys |= {f"t:{name}" for name in lesson.tests}
    keys |= {f"w:{word}" for word in words(lesson.text) if len(word) > 3}
    return keys | ({f"e:{lesson.exception.rpartition('.')[2]}"} if lesson.exception else set())


def _merged(old: Lesson, new: Lesson) -> Lesson:
    """Return two lessons as one: the shorter sentence, both evidences, the newest anchors."""
    return Lesson(
        id=old.id,
        # Of two that say the same, the shorter one costs every later prompt less.
        text=min(old.text, new.text, key=len),
        files=tuple(dict.fromkeys(old.files + new.files)),
        symbols=tuple(dict.fromkeys(old.symbols + new.symbols)),
        exception=new.exception or old.exception,
        tests=tuple(dict.fromkeys(old.tests + new.tests)),
        evidence=tuple(dict.fromkeys(old.evidence + new.evidence)),
        anchors=tuple((dict(old.anchors) | dict(new.anchors)).items()),
    )
