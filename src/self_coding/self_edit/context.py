"""What an editor is shown: code, dependents, tests, earlier attempts, lessons, a warning.

One value within a token budget, each part with its source. What the journal remembers goes in
as quoted data with its origin, never as an instruction. Gathering reads; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from self_coding.retrieval import CHARACTERS_PER_TOKEN, estimate_tokens, fit
from self_coding.self_edit.abreast import both
from self_coding.self_edit.learning import known_lessons
from self_coding.self_edit.rooms import Rooms
from self_coding.values.attempts import DeadEnd, Lesson, SimilarAttempt
from self_coding.values.code import Impact, RelevantFile
from self_coding.values.edits import Context, Feedback, Part

FILES = 8
CHANGED = 3  # how many of them are taken to be edited, for what depends on them
SIMILAR = 3
LESSONS = 3
_QUOTED = 600  # characters of one remembered text
_SMALL = 120  # tokens: below this a part says nothing


async def gather(
    rooms: Rooms, task: str, *, max_tokens: int = 4000, feedback: Sequence[Feedback] = ()
) -> Context:
    """All that is known about a task before anybody edits, within `max_tokens`."""
    code, past = await both(_of_code(rooms, task, max_tokens), _of_the_past(rooms, task))
    files, impact, summary = code
    similar, warning = past
    lessons = await known_lessons(rooms, task, [file.path for file in files], limit=LESSONS)
    return compose(
        files=files,
        impact=impact,
        similar=similar,
        lessons=lessons,
        warning=warning,
        feedback=feedback,
        summary=summary,
        max_tokens=max_tokens,
    )


async def _of_code(
    rooms: Rooms, task: str, max_tokens: int
) -> tuple[list[RelevantFile], Impact, str]:
    files = await rooms.index.relevant(task, limit=FILES)
    paths = [file.path for file in files[:CHANGED]]
    impact = await rooms.index.impact(paths=paths) if paths else Impact(paths=())
    return files, impact, await rooms.index.get_summary(max_tokens, task=task)


async def _of_the_past(rooms: Rooms, task: str) -> tuple[list[SimilarAttempt], DeadEnd | None]:
    similar = await rooms.journal.similar(task, limit=SIMILAR)
    return similar, await rooms.journal.dead_end(task, at="plan")


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
    """Pure: the parts that fit into the budget, most important first; the values stay whole."""
    wanted = [
        ("What failed before in this self-edit", _tries(feedback), "journal: this self-edit"),
        ("Warning", [quote(str(warning))] if warning else [], "journal: dead ends"),
        ("Lessons", [_lesson(one) for one in lessons], "journal: lessons, quoted"),
        ("Files that seem to matter", [_file(one) for one in files], "index: relevance"),
        ("What depends on them", _dependents(impact), "index: import graph"),
        ("Tests that reach them", list(impact.tests[:12]), "index: test selection"),
        ("Similar attempts", [_similar(one) for one in similar], "journal: quoted"),
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
        parts=tuple(_fitted(wanted, max_tokens)),
    )


def quote(words: str, limit: int = _QUOTED) -> str:
    """A remembered text as quoted data: every line marked, bounded, never read as an order."""
    short = words if len(words) <= limit else words[:limit].rstrip() + " …"
    return "\n".join(f"> {line}" for line in short.splitlines())


def _fitted(wanted: Iterable[tuple[str, list[str], str]], budget: int) -> Iterable[Part]:
    left = budget
    for heading, lines, source in wanted:
        frame = estimate_tokens(f"## {heading}\n({source})\n\n\n\n")
        room = left - frame
        if not lines or room <= 0:
            continue
        kept = fit(lines, room) or _shortened(lines[0], room)
        if kept:
            text = "\n".join(kept)
            left -= frame + estimate_tokens(text)
            yield Part(heading=heading, text=text, source=source)


def _shortened(line: str, room: int) -> list[str]:
    """The head of one long text, if there is room for something worth reading."""
    if room < _SMALL:
        return []
    cut = line[: room * CHARACTERS_PER_TOKEN]
    return [cut.rsplit("\n", 1)[0] if "\n" in cut else cut]


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
    known = f" (from attempts {', '.join(map(str, lesson.evidence[:3]))}; {lesson.freshness})"
    return quote(lesson.text) + known


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


def _similar(similar: SimilarAttempt) -> str:
    attempt = similar.attempt
    because = f"\nbecause: {attempt.failure_analysis}" if attempt.failure_analysis else ""
    said = f"attempt {attempt.id}, {attempt.outcome.value}: {attempt.task_description}{because}"
    return quote(said)
