"""What an attempt teaches: explained from its evidence, kept as a lesson, anchored in the code.

It never changes how an attempt ended: where nothing can be learnt, that is what is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from self_coding.errors import SelfCodingError, StorageError
from self_coding.self_edit import account
from self_coding.self_edit.history import By, History, Kind, numbers, text, texts
from self_coding.self_edit.rooms import Repository, Rooms
from self_coding.values.attempts import Failure, Json, Lesson, ModificationAttempt, Outcome
from self_coding.values.edits import Context

Facts = dict[str, Json]
_UNTOLD = (By.CHOICE, By.CANCELLED, By.CRASHED, By.ERROR)  # ends that hold no lesson


async def reflect(rooms: Rooms, mine: History) -> tuple[str, Facts]:
    """Explain the attempt from its evidence and keep what can be learnt from it."""
    if text(mine.refusal, "by") in _UNTOLD or mine.has(Kind.HELD):
        return Kind.REFLECTED, {}
    try:
        return Kind.REFLECTED, await _learnt(rooms, mine)
    except StorageError:
        raise
    except SelfCodingError as error:  # what landed has landed, explained or not
        return Kind.REFLECTED, {"error": str(error)}


async def _learnt(rooms: Rooms, mine: History) -> Facts:
    attempt = account.attempt_of(mine, await diff_of(rooms.repository, mine))
    failure = Failure()
    if text(mine.refusal, "by") == By.GATE:
        importers = await _importers(rooms, attempt.files_modified)
        failure = await rooms.reflection.analyse(attempt, importers=importers)
    learnt = await _lesson(rooms, mine, attempt, failure)
    similar = await rooms.journal.similar(attempt.task_description, limit=3)
    past = [one.attempt for one in similar if one.attempt.id != mine.attempt]
    words = await rooms.reflection.reflect_with_context(attempt, past)
    outcome = Outcome.SUCCESS if mine.has(Kind.LANDED) else Outcome.FAILURE
    for shown in numbers(mine.data("shown"), "lessons"):
        await rooms.journal.used(shown, mine.attempt, outcome)
    return {
        "reflection": words,
        "lesson": learnt.text if learnt else "",
        "signature": account.signature_of(mine, failure.signature),
        "failing": list(failure.failing_tests),
        "location": failure.location,
        "root_cause_file": failure.root_cause_file,
    }


async def _lesson(
    rooms: Rooms, mine: History, attempt: ModificationAttempt, failure: Failure
) -> Lesson | None:
    """The attempt's lesson as the journal keeps it; None where it teaches nothing."""
    if mine.has(Kind.LANDED):
        return None
    lesson = await rooms.reflection.lesson(attempt, failure)
    if lesson is None:
        return None
    base = text(mine.data(Kind.EDITED), "base")
    held = await digests(rooms.repository, base, lesson.files) if base else {}
    return await rooms.journal.learn(replace(lesson, anchors=tuple(held.items())))


async def _importers(rooms: Rooms, paths: Sequence[str]) -> dict[str, set[str]]:
    """For each changed path and what depends on it, who imports it."""
    found: dict[str, set[str]] = {path: set() for path in paths}
    for path in paths[:20]:
        for one in (await rooms.index.impact(paths=[path])).dependents:
            by = path if one.distance == 1 else one.through or path
            found.setdefault(by, set()).add(one.path)
    return found


async def known_lessons(
    rooms: Rooms, task: str, files: Sequence[str], *, limit: int = 3
) -> list[Lesson]:
    """The lessons that bear on a task, checked against main: none whose code is gone."""
    found = await rooms.journal.lessons(task=task, files=files)
    anchored = sorted({path for lesson in found for path, _ in lesson.anchors})
    if anchored:
        main = await rooms.repository.get_main_commit()
        held = await digests(rooms.repository, main, anchored)
        found = await rooms.journal.lessons(task=task, files=files, contents=held)
    return found[:limit]


async def digests(repository: Repository, commit: str, paths: Sequence[str]) -> dict[str, str]:
    """The sha256 of each file of a commit; a path that is not there is left out."""
    contents = await repository.read(commit, list(paths))
    return {
        path: hashlib.sha256(data).hexdigest()
        for path, data in contents.items()
        if data is not None
    }


async def diff_of(repository: Repository, mine: History) -> str:
    """The attempt's diff; empty where it recorded no edit."""
    edited = mine.data(Kind.EDITED)
    if not texts(edited, "paths"):
        return ""
    return (await repository.change(text(edited, "base"), text(edited, "head"))).diff


def shown_facts(context: Context) -> Facts:
    """What the journal keeps of a context: which lessons, which warning, which attempts."""
    return {
        "lessons": [one.id for one in context.lessons if one.id is not None],
        "similar": [one.attempt.id for one in context.similar if one.attempt.id is not None],
        "files": [one.path for one in context.files],
        "warning": str(context.warning) if context.warning else "",
    }
