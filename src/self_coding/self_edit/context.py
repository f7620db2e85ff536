"""What an editor is shown about a task, and what is learnt from how the attempt went.

A context is one value within a token budget, each part with its source. What the journal
remembers goes in as quoted data with its origin, never as an instruction. What is learnt is kept
as a lesson, anchored in the code that it speaks of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from self_coding.errors import GitOperationError, SelfCodingError, StorageError
from self_coding.languages import language_of
from self_coding.retrieval import CHARACTERS_PER_TOKEN, estimate_tokens, fit
from self_coding.self_edit.history import Facts, History, Kind, Reflected, RefusedBy
from self_coding.self_edit.ports import Services
from self_coding.self_edit.views import attempt_of, commit_message, new_dependency, signature_of
from self_coding.text import shorten
from self_coding.values.attempts import Failure, Outcome
from self_coding.values.code import Impact, RelevantFile
from self_coding.values.edits import Context, Feedback, Section
from self_coding.values.verdicts import Strength

_FILES = 8
_CHANGED = 3  # how many of them are taken to be edited, for what depends on them
_DEPENDENTS = 12
_SIMILAR = 3
_LESSONS = 3
_SURVIVORS = 10
_LATE = 20  # paths
_TRACED = 20  # changed files whose importers are looked up
_CODE = 0.8  # of the budget: what a change touches predicts best whether it will be right
_QUOTED = 600  # characters of one remembered text
_SMALL = 120  # tokens: below this a section says nothing
_NOTHING_TO_LEARN = (*(RefusedBy.CHOICE, RefusedBy.CANCELLED, RefusedBy.CRASHED, RefusedBy.ERROR),)


async def gather(
    services: Services, task: str, *, max_tokens: int = 4000, feedback: Sequence[Feedback] = ()
) -> Context:
    """Return all that is known about a task before it is edited, within `max_tokens`."""
    index, journal = services.index, services.journal
    room = int(max_tokens * _CODE)
    files = await index.relevant_files(task, limit=_FILES, spans=room > 0, max_tokens=room)
    paths = [file.path for file in files[:_FILES]]
    # What will be changed is not known yet: the best guesses stand for it.
    changed = paths[:_CHANGED]
    impact = await index.impact(paths=changed) if changed else Impact(paths=())
    lessons = await journal.lessons(task=task, files=paths)
    if anchored := sorted({path for lesson in lessons for path, _ in lesson.anchors}):
        # Asked again with the code on main: a lesson whose code has changed is stale.
        main = await services.repository.get_main_commit()
        digests = await _digests(services, main, anchored)
        lessons = await journal.lessons(task=task, files=paths, contents=digests)
    sources = [file.path for file in files if file.spans]
    commit = await services.repository.get_main_commit() if sources else ""
    texts = await services.repository.read(commit, sources) if sources else {}
    context = Context(
        files=tuple(replace(file, spans=()) for file in files[:_FILES]),
        code=tuple(shown_code(files, texts)),
        dependents=impact.dependents,
        tests=impact.tests,
        blind_spots=impact.blind_spots,
        similar=tuple(await journal.similar_attempts(task, limit=_SIMILAR)),
        lessons=tuple(lessons[:_LESSONS]),
        warning=await journal.dead_end(task, at="plan"),
        feedback=tuple(feedback),
    )
    # The summary is for orientation: it has the room that is left, and never less than a few lines.
    left = max_tokens - estimate_tokens(fit_parts(context, max_tokens).text) - _SMALL // 4
    summary = await index.get_summary(max(left, _SMALL), task=task)
    return fit_parts(replace(context, summary=summary), max_tokens)


def shown_code(files: Sequence[RelevantFile], main: Mapping[str, bytes | None]) -> list[str]:
    """Pure: return the spans of files, most likely first, as main has them; others not at all."""
    spans = sorted(
        ((file.path, span) for file in files for span in file.spans),
        key=lambda each: -each[1].score,
    )
    shown = []
    for path, span in spans:
        text = language_of(path).decode(main.get(path) or b"")
        # The index speaks of the working tree, which may hold what main does not.
        if (at := f"\n{text}\n".find(f"\n{span.code}\n")) >= 0:
            start = text.count("\n", 0, at) + 1 if at else 1
            end = start + span.end - span.start
            why = f" {span.symbol}" if span.symbol else ""
            why += f": {span.reasons[0]}" if span.reasons else ""
            shown.append(f"{path}:{start}-{end}{why}\n{span.code}")
    return shown


def fit_parts(context: Context, max_tokens: int) -> Context:
    """Pure: add the parts that fit into the budget, most important first."""
    left, parts = max_tokens, []
    for heading, lines, source in _sections(context):
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
            parts.append(Section(heading=heading, text=text, source=source))
    return replace(context, parts=tuple(parts))


def _sections(context: Context) -> list[tuple[str, list[str], str]]:
    """Return what there is to say: heading, lines, source, most important first."""
    tries = []
    # The newest first: where the room ends, the oldest are left out.
    for one in reversed(context.feedback):
        tries.append(f"Attempt {one.attempt} was refused by {one.by}:\n{quote(one.reason)}")
        if one.failing_tests:
            tries.append(f"Failing tests: {', '.join(one.failing_tests[:10])}")
        if one.survivors:
            tries.append("No test noticed these changes of the code, made on purpose:")
            tries += [quote(text) for text in one.survivors[:_SURVIVORS]]
        if one.lesson:
            tries.append(f"Lesson:\n{quote(one.lesson)}")
        if one.output:
            tries.append(f"Test output:\n{quote(one.output, 2000)}")
    lessons = [
        f"{quote(one.text)} (from attempts {', '.join(map(str, one.evidence[:3]))}; "
        f"{one.freshness})"
        for one in context.lessons
    ]
    files = [
        ": ".join(filter(None, (f"- {f.path}", ", ".join(f.reasons[:3])))) for f in context.files
    ]
    dependents = [f"- {one.path} ({one.distance} away)" for one in context.dependents[:_DEPENDENTS]]
    if len(context.dependents) > _DEPENDENTS:
        dependents.append(f"- and {len(context.dependents) - _DEPENDENTS} more")
    dependents += [
        f"- cannot be followed: {one.path}:{one.line} {one.reason}"
        for one in context.blind_spots[:3]
    ]
    similar = []
    for attempt in (one.attempt for one in context.similar):
        because = f"\nbecause: {attempt.failure_analysis}" if attempt.failure_analysis else ""
        told = f"{attempt.ended_as}: {attempt.task_description}{because}"
        similar.append(quote(f"attempt {attempt.id}, {told}"))
    warning = [quote(str(context.warning))] if context.warning else []
    return [
        ("What failed before in this self-edit", tries, "journal: this self-edit"),
        ("Warning", warning, "journal: dead ends"),
        ("Lessons", lessons, "journal: lessons, quoted"),
        ("Files that seem to matter", files, "index: relevance"),
        ("Code", list(context.code), "git: main, by the index's relevance"),
        ("What depends on them", dependents, "index: import graph"),
        ("Tests that reach them", list(context.tests[:12]), "index: test selection"),
        ("Similar attempts", similar, "journal: quoted"),
        ("Codebase", [context.summary] if context.summary else [], "index: summary"),
    ]


def quote(text: str, limit: int = _QUOTED) -> str:
    """Return a remembered text as data: bounded and marked line by line, never an instruction."""
    return "\n".join(f"> {line}" for line in shorten(text, limit).splitlines())


def shown_facts(context: Context) -> Facts:
    """Return what the journal keeps of a context: which lessons, which warning, which attempts."""
    return {
        "lessons": [one.id for one in context.lessons if one.id is not None],
        "similar": [one.attempt.id for one in context.similar if one.attempt.id is not None],
        "files": [one.path for one in context.files],
        "warning": str(context.warning or ""),
    }


async def reflect(services: Services, attempt: History, diff: str) -> Reflected:
    """Explain the attempt from its evidence and keep what can be learnt from it.

    It never changes how an attempt ended: what has landed has landed, explained or not.
    """
    refusal = attempt.refusal
    if refusal.by in _NOTHING_TO_LEARN or refusal.environment or attempt.has(Kind.HELD):
        return Reflected()
    again = attempt.correctable or attempt.plan.try_index + 1 < attempt.plan.tries
    strength: Strength | None = None
    try:
        # Where it landed nobody waits for the answer, and it would cost more than the tests did.
        if again and not attempt.has(Kind.LANDED):
            strength = await tests_strength(services, attempt)
        return replace(await _reflect(services, attempt, diff), strength=strength)
    except StorageError:
        raise
    except SelfCodingError as error:
        return Reflected(error=str(error), strength=strength)


async def tests_strength(services: Services, attempt: History) -> Strength | None:
    """Measure how strong the tests of a change are that passed them; None where that says nothing.

    Raises:
        SelfCodingError: its commit is gone, or its tests cannot be run any more.
    """
    gate = attempt.gate
    if not gate.commit or gate.exit_status != 0:
        return None
    impact = await services.index.impact(paths=list(attempt.edited.paths))
    return await services.repository.strength(gate.onto, gate.commit, impact.tests)


async def late_edit(services: Services, attempt: History) -> Facts:
    """Record what a caller wrote after the last submission, which nobody has judged; else empty."""
    edited = [one.data for one in attempt.events if one.kind == Kind.EDITED]
    if not attempt.plan.caller or not edited:
        return {}
    place, message = attempt.worktrees[-1], commit_message(attempt)
    try:
        late = await services.repository.record_late(place, message, str(edited[-1]["head"]))
    except GitOperationError:
        return {}  # what no commit can hold is kept with all else, when the worktree is given back
    return {"late": {"head": late.head, "paths": [*late.paths[:_LATE]]}} if late else {}


async def _reflect(services: Services, attempt: History, diff: str) -> Reflected:
    journal, reflection = services.journal, services.reflection
    described, failure = attempt_of(attempt, diff), Failure()
    landed = attempt.has(Kind.LANDED)
    if attempt.refusal.by == RefusedBy.GATE:
        importers: dict[str, set[str]] = {path: set() for path in attempt.edited.paths}
        for path in attempt.edited.paths[:_TRACED]:
            for one in (await services.index.impact(paths=[path])).dependents:
                imported = path if one.distance == 1 else one.through or path
                importers.setdefault(imported, set()).add(one.path)
        failure = await reflection.analyse(
            described, importers=importers, new_failures=attempt.refusal.failures
        )
    lesson = None if landed else await reflection.lesson(described, failure)
    if lesson and (lacking := new_dependency(diff, attempt.refusal.output)):
        lesson = replace(lesson, text=lacking)  # no line of the change is to blame
    if lesson is not None:
        # Anchored in the files as they were before the edit: those are what main still has.
        base = attempt.edited.base
        digests = await _digests(services, base, lesson.files) if base else {}
        lesson = await journal.learn(replace(lesson, anchors=tuple(digests.items())))
    similar = await journal.similar_attempts(attempt.task, limit=_SIMILAR)
    past = [one.attempt for one in similar if one.attempt.id != attempt.id]
    said = await reflection.reflect_with_context(described, past, failure=failure)
    for lesson_shown in attempt.lessons:
        await journal.used(lesson_shown, attempt.id, Outcome.SUCCESS if landed else Outcome.FAILURE)
    return Reflected(
        reflection=said,
        lesson=lesson.text if lesson else "",
        signature=signature_of(attempt, failure.signature),
        failing=failure.failing_tests,
        location=failure.location,
        root_cause_file=failure.root_cause_file,
    )


async def _digests(services: Services, commit: str, paths: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of each file that the commit has."""
    contents = await services.repository.read(commit, list(paths))
    return {
        path: hashlib.sha256(data).hexdigest()
        for path, data in contents.items()
        if data is not None
    }
