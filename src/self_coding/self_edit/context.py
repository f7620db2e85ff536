"""What an editor is shown about a task, and what is learnt from how the attempt went.

A context is one value within a token budget, each part with its source. What the journal
remembers goes in as quoted data with its origin, never as an instruction. What is learnt is kept
as a lesson, anchored in the code that it speaks of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from self_coding.errors import SelfCodingError, StorageError
from self_coding.retrieval import CHARACTERS_PER_TOKEN, estimate_tokens, fit
from self_coding.self_edit.history import History, Kind, Reflected, RefusedBy
from self_coding.self_edit.ports import Services
from self_coding.self_edit.views import attempt_of, signature_of
from self_coding.text import shorten
from self_coding.values.attempts import (
    DeadEnd,
    Failure,
    Lesson,
    ModificationAttempt,
    Outcome,
    SimilarAttempt,
)
from self_coding.values.code import Impact, RelevantFile
from self_coding.values.edits import Context, Feedback, Section

_FILES = 8
_CHANGED = 3  # how many of them are taken to be edited, for what depends on them
_SIMILAR = 3
_LESSONS = 3
_TRACED = 20  # changed files whose importers are looked up
_QUOTED = 600  # characters of one remembered text
_SMALL = 120  # tokens: below this a section says nothing
_NOTHING_TO_LEARN = (*(RefusedBy.CHOICE, RefusedBy.CANCELLED, RefusedBy.CRASHED, RefusedBy.ERROR),)


async def gather(
    services: Services, task: str, *, max_tokens: int = 4000, feedback: Sequence[Feedback] = ()
) -> Context:
    """Return all that is known about a task before it is edited, within `max_tokens`."""
    index, journal = services.index, services.journal
    files = await index.relevant(task, limit=_FILES)
    paths = [file.path for file in files]
    changed = paths[:_CHANGED]
    return compose(
        files=files,
        impact=await index.impact(paths=changed) if changed else Impact(paths=()),
        summary=await index.get_summary(max_tokens, task=task),
        similar=await journal.similar(task, limit=_SIMILAR),
        warning=await journal.dead_end(task, at="plan"),
        lessons=await _lessons(services, task, paths),
        feedback=feedback,
        max_tokens=max_tokens,
    )


def compose(
    *,
    files: Sequence[RelevantFile] = (),
    impact: Impact = Impact(paths=()),  # noqa: B008 - a frozen value
    similar: Sequence[SimilarAttempt] = (),
    lessons: Sequence[Lesson] = (),
    warning: DeadEnd | None = None,
    feedback: Sequence[Feedback] = (),
    summary: str = "",
    max_tokens: int = 4000,
) -> Context:
    """Pure: fit what is known into the budget, most important first; the values stay complete."""
    sections = [
        ("What failed before in this self-edit", _tries(feedback), "journal: this self-edit"),
        ("Warning", [quote(str(warning))] if warning else [], "journal: dead ends"),
        ("Lessons", [_lesson(one) for one in lessons], "journal: lessons, quoted"),
        ("Files that seem to matter", [_file(one) for one in files], "index: relevance"),
        ("What depends on them", _dependents(impact), "index: import graph"),
        ("Tests that reach them", list(impact.tests[:12]), "index: test selection"),
        ("Similar attempts", [_attempt(one) for one in similar], "journal: quoted"),
        ("Codebase", [summary] if summary else [], "index: summary"),
    ]
    return Context(
        files=tuple(files),
        summary=summary,
        dependents=impact.dependents,
        tests=impact.tests,
        blind_spots=impact.blind_spots,
        similar=tuple(similar),
        lessons=tuple(lessons),
        warning=warning,
        feedback=tuple(feedback),
        parts=tuple(_fit(sections, max_tokens)),
    )


def quote(words: str, limit: int = _QUOTED) -> str:
    """Return a remembered text as data: bounded and marked line by line, never an instruction."""
    return "\n".join(f"> {line}" for line in shorten(words, limit).splitlines())


def _fit(sections: Iterable[tuple[str, list[str], str]], budget: int) -> Iterable[Section]:
    left = budget
    for heading, lines, source in sections:
        frame = estimate_tokens(f"## {heading}\n({source})\n\n\n\n")
        room = left - frame
        if not lines or room <= 0:
            continue
        kept = fit(lines, room)
        if not kept and room >= _SMALL:  # the head of one long text is still worth reading
            head = lines[0][: room * CHARACTERS_PER_TOKEN]
            kept = [head.rsplit("\n", 1)[0] if "\n" in head else head]
        if kept:
            text = "\n".join(kept)
            left -= frame + estimate_tokens(text)
            yield Section(heading=heading, text=text, source=source)


def _tries(feedback: Sequence[Feedback]) -> list[str]:
    lines = []
    for one in reversed(feedback):
        lines.append(f"Attempt {one.attempt} was refused by {one.by}:\n{quote(one.reason)}")
        if one.failing_tests:
            lines.append(f"Failing tests: {', '.join(one.failing_tests[:10])}")
        if one.lesson:
            lines.append(f"Lesson:\n{quote(one.lesson)}")
        if one.output:
            lines.append(f"Test output:\n{quote(one.output, 2000)}")
    return lines


def _lesson(lesson: Lesson) -> str:
    origin = ", ".join(map(str, lesson.evidence[:3]))
    return f"{quote(lesson.text)} (from attempts {origin}; {lesson.freshness})"


def _file(file: RelevantFile) -> str:
    reasons = f": {', '.join(file.reasons[:3])}" if file.reasons else ""
    return f"- {file.path}{reasons}"


def _dependents(impact: Impact) -> list[str]:
    lines = [f"- {one.path} ({one.distance} away)" for one in impact.dependents[:12]]
    more = len(impact.dependents) - len(lines)
    if more > 0:
        lines.append(f"- and {more} more")
    lines += [f"- cannot be followed: {s.path}:{s.line} {s.reason}" for s in impact.blind_spots[:3]]
    return lines


def _attempt(similar: SimilarAttempt) -> str:
    attempt = similar.attempt
    because = f"\nbecause: {attempt.failure_analysis}" if attempt.failure_analysis else ""
    return quote(
        f"attempt {attempt.id}, {attempt.outcome.value}: {attempt.task_description}{because}"
    )


async def reflect(services: Services, attempt: History, diff: str) -> Reflected:
    """Explain the attempt from its evidence and keep what can be learnt from it.

    It never changes how an attempt ended: what has landed has landed, explained or not.
    """
    if attempt.refusal.by in _NOTHING_TO_LEARN or attempt.has(Kind.HELD):
        return Reflected()
    try:
        return await _reflect(services, attempt, attempt_of(attempt, diff))
    except StorageError:
        raise
    except SelfCodingError as error:
        return Reflected(error=str(error))


async def _reflect(
    services: Services, attempt: History, described: ModificationAttempt
) -> Reflected:
    failure, landed = Failure(), attempt.has(Kind.LANDED)
    if attempt.refusal.by == RefusedBy.GATE:
        importers = await _importers(services, attempt.edited.paths)
        failure = await services.reflection.analyse(described, importers=importers)
    lesson = None if landed else await services.reflection.lesson(described, failure)
    if lesson is not None:
        base = attempt.edited.base
        digests = await _digests(services, base, lesson.files) if base else {}
        lesson = replace(lesson, anchors=tuple(digests.items()))
        lesson = await services.journal.learn(lesson)
    similar = await services.journal.similar(attempt.task, limit=_SIMILAR)
    past = [one.attempt for one in similar if one.attempt.id != attempt.id]
    reflection = await services.reflection.reflect_with_context(described, past)
    outcome = Outcome.SUCCESS if landed else Outcome.FAILURE
    for shown in attempt.shown.lessons:
        await services.journal.used(shown, attempt.id, outcome)
    return Reflected(
        reflection=reflection,
        lesson=lesson.text if lesson else "",
        signature=signature_of(attempt, failure.signature),
        failing=failure.failing_tests,
        location=failure.location,
        root_cause_file=failure.root_cause_file,
    )


async def _importers(services: Services, paths: Sequence[str]) -> dict[str, set[str]]:
    """Return for each changed path, and for what depends on it, who imports it."""
    importers: dict[str, set[str]] = {path: set() for path in paths}
    for path in paths[:_TRACED]:
        for one in (await services.index.impact(paths=[path])).dependents:
            imported = path if one.distance == 1 else one.through or path
            importers.setdefault(imported, set()).add(one.path)
    return importers


async def _lessons(services: Services, task: str, files: Sequence[str]) -> list[Lesson]:
    """Return the lessons for a task whose code is still on main as it was."""
    lessons = await services.journal.lessons(task=task, files=files)
    anchored = sorted({path for lesson in lessons for path, _ in lesson.anchors})
    if anchored:
        main = await services.repository.get_main_commit()
        digests = await _digests(services, main, anchored)
        lessons = await services.journal.lessons(task=task, files=files, contents=digests)
    return lessons[:_LESSONS]


async def _digests(services: Services, commit: str, paths: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of each file that the commit has."""
    contents = await services.repository.read(commit, list(paths))
    return {
        path: hashlib.sha256(data).hexdigest()
        for path, data in contents.items()
        if data is not None
    }
