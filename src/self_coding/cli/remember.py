"""Commands that look back: log, show, similar, stats, lessons, export, import."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from self_coding.cli.files import read_lines, write_file
from self_coding.cli.restore import when
from self_coding.cli.session import AT_LEAST_ONE, Session, first_line, table
from self_coding.errors import GitSafetyError, JournalError
from self_coding.values.attempts import (
    DeadEnd,
    Event,
    Lesson,
    ModificationAttempt,
    Outcome,
    Rate,
    SimilarAttempt,
    editor_output,
)
from self_coding.values.edits import Waiting

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.modification_journal import ModificationJournal


def _journal(session: Session) -> ModificationJournal:
    """The journal, its outcomes brought up to what became of them on main."""
    return _caught_up(session).journal


def _caught_up(session: Session) -> App:
    """All rooms, the journal's outcomes brought up to what became of them on main."""
    from self_coding.app import open_app

    app = open_app(session.repo)
    with suppress(GitSafetyError):  # without a main branch there is nothing to catch up with
        session.run(app.catch_up())
    return app


@click.command("log")
@click.option(
    "--limit", "-n", type=AT_LEAST_ONE, default=20, show_default=True, help="How many at the most."
)
@click.option(
    "--outcome",
    type=click.Choice([outcome.value for outcome in Outcome]),
    multiple=True,
    help="Only these.",
)
@click.pass_obj
def log_command(session: Session, limit: int, outcome: tuple[str, ...]) -> None:
    """The attempts, newest first.

    Those that have not ended come last, with what goes on with each; with --json and --outcome
    there are only those that have.
    """
    app = _caught_up(session)
    wanted = [Outcome(value) for value in outcome] or None

    async def both() -> tuple[list[ModificationAttempt], list[Waiting]]:
        open_ones = [] if wanted else await app.edit.waiting()
        return await app.journal.recent(limit, outcomes=wanted), open_ones

    found, waiting = session.run(both())
    if waiting and session.as_json:
        said = f"{len(waiting)} more have not ended: `self-coding log` without --json shows them"
        session.say(said)
    session.emit(found, _log_text(found, waiting[:limit]))


def _log_text(found: list[ModificationAttempt], waiting: list[Waiting]) -> str:
    rows = [
        [str(one.id), when(one.timestamp), one.outcome.value, first_line(one.task_description)]
        for one in found
    ]
    lines = [table(rows) or f"no attempts {'have ended ' if waiting else ''}yet"]
    for one in waiting:
        state, next_ = _open_text(one)
        lines += [f"\nattempt {one.attempt} {state}: {first_line(one.task)}", *next_]
    return "\n".join(lines)


def _open_text(one: Waiting) -> tuple[str, list[str]]:
    """How an attempt stands that has not ended, and the line that says what goes on with it."""
    drop = f"or self-coding drop {one.attempt}"
    if one.waiting == "submit":
        told = f"next: self-coding submit {one.attempt}, {drop}"
        return f"waits for its edit in {one.path}", [told]
    if one.waiting == "approval":
        return "waits for approval", [f"next: self-coding land {one.attempt}, {drop}"]
    if one.waiting == "resume":
        return "was interrupted", ["next: self-coding resume"]
    return "is under way", []


@click.command("show")
@click.argument("attempt", type=int)
@click.option("--diff", "part", flag_value="diff", help="Only its diff.")
@click.option("--output", "part", flag_value="output", help="Only its test output.")
@click.pass_obj
def show_command(session: Session, attempt: int, part: str | None) -> None:
    """All that is known of one attempt: its events, its change, what failed and why."""
    journal = _journal(session)

    async def both() -> tuple[ModificationAttempt | None, list[Event]]:
        found = await journal.get_by_id(attempt)
        return found, await journal.events(attempt) if found else []

    found, events = session.run(both())
    if found is None:
        raise JournalError(f"there is no attempt {attempt}", hint="see `self-coding log`")
    if part is not None:
        text = found.diff if part == "diff" else found.test_results
        session.emit({part: text}, text)
        return
    session.emit({"attempt": found, "events": events}, _attempt_text(found, events))


def _ending(text: str, lines: int = 20) -> str:
    """The last lines of a text, with a mark where some are left out."""
    last = text.splitlines()[-lines:]
    return "\n".join(["[...]", *last] if len(last) < len(text.splitlines()) else last)


def _attempt_text(one: ModificationAttempt, events: list[Event]) -> str:
    lines = [
        f"attempt {one.id}: {first_line(one.task_description)}",
        f"{one.outcome.value}, {when(one.timestamp)}, try {one.retry_count + 1}",
    ]
    sections = (
        ("approach", one.approach),
        ("files", "\n".join(one.files_modified)),
        ("the editor said", _ending(editor_output(events))),
        ("what failed", one.failure_analysis),
        ("reflection", one.reflection),
    )
    for heading, text in sections:
        if text:
            lines += ["", f"{heading}:", *(f"  {line}" for line in text.splitlines())]
    if events:
        lines += ["", "events:"]
        lines += [f"  {when(event.at)}  {event.kind}" for event in events]
    if one.diff:
        lines += ["", f"`self-coding show {one.id} --diff` and `--output` show the rest"]
    return "\n".join(lines)


@click.command("similar")
@click.argument("task")
@click.option(
    "--limit", "-n", type=AT_LEAST_ONE, default=5, show_default=True, help="How many at the most."
)
@click.option("--explain", is_flag=True, help="Say what makes each one alike.")
@click.pass_obj
def similar_command(session: Session, task: str, limit: int, *, explain: bool) -> None:
    """Earlier attempts at something like TASK, and whether it is a known dead end."""
    journal = _journal(session)

    async def both() -> tuple[list[SimilarAttempt], DeadEnd | None]:
        return await journal.similar(task, limit=limit), await journal.dead_end(task)

    found, dead_end = session.run(both())
    told = {"similar": found, "dead_end": dead_end}
    session.emit(told, _similar_text(found, dead_end, explain=explain))


def _similar_text(found: list[SimilarAttempt], dead_end: DeadEnd | None, *, explain: bool) -> str:
    rows = []
    for one in found:
        attempt = one.attempt
        row = [str(attempt.id), attempt.outcome.value, first_line(attempt.task_description)]
        rows.append([*row, f"{one.score:.2f}: {'; '.join(one.reasons)}"] if explain else row)
    lines = [f"warning: {dead_end}"] if dead_end else []
    lines.append(table(rows) or "nothing alike was tried")
    return "\n".join(lines)


@click.command("stats")
@click.option(
    "--by", type=click.Choice(["area", "editor", "model", "period"]), help="Rates for each."
)
@click.pass_obj
def stats_command(session: Session, by: str | None) -> None:
    """Success rates with their 95 % intervals, and how good the memory itself is."""
    journal = _journal(session)

    async def both() -> tuple[dict[str, Rate], dict[str, float]]:
        return await journal.rates(by), dict(await journal.quality())

    rates, quality = session.run(both())
    rows = [
        [name, f"{r.rate:.0%}", f"[{r.low:.0%}, {r.high:.0%}]", f"{r.successes} of {r.total}"]
        for name, r in rates.items()
    ]
    memory = ", ".join(f"{name} {value:.2f}" for name, value in quality.items())
    text = f"{table(rows) or 'no attempts yet'}\nmemory: {memory}"
    session.emit({"rates": rates, "quality": quality}, text)


@click.command("lessons")
@click.argument("task", default="")
@click.option(
    "--limit", "-n", type=AT_LEAST_ONE, default=3, show_default=True, help="How many at the most."
)
@click.pass_obj
def lessons_command(session: Session, task: str, limit: int) -> None:
    """What was learnt that bears on TASK."""
    found: list[Lesson] = session.run(_journal(session).lessons(task=task, limit=limit))
    lines = [
        f"{one.text}\n  {one.freshness}; from attempts {', '.join(map(str, one.evidence))}; "
        f"used {one.uses} times, {one.successes} of them well"
        for one in found
    ]
    session.emit(found, "\n".join(lines) or "no lesson yet")


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--force", is_flag=True, help="Replace a FILE that is there.")
@click.pass_obj
def export_command(session: Session, file: Path, *, force: bool) -> None:
    """Write the whole journal as JSON lines to FILE ('-': standard output)."""
    lines = session.run(_journal(session).export_lines())
    text = "".join(f"{line}\n" for line in lines)
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    write_file(file, text, force=force)
    count = sum(not line.startswith('{"lesson"') for line in lines)
    told = {"exported": count, "file": str(file)}
    session.emit(told, f"{_attempts(count)} written to {file}")


def _attempts(count: int) -> str:
    return f"{count} attempt{'' if count == 1 else 's'}"


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, allow_dash=True))
@click.option("--founding", is_flag=True, help="FILE is a database of the founding version.")
@click.pass_obj
def import_command(session: Session, file: Path, *, founding: bool) -> None:
    """Add attempts from FILE: JSON lines of `export`, or a founding database."""
    journal = _journal(session)
    if founding:
        count = session.run(journal.import_founding(file))
    else:
        count = session.run(journal.import_lines(read_lines(file)))
    session.emit({"imported": count}, f"{_attempts(count)} imported")
