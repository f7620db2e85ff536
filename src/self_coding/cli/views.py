"""How people read the result of an operation: one text view for each that needs one.

An operation without a view is printed as its text, its lines or its JSON.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from self_coding.cli.session import (
    NOT_LANDED,
    Session,
    as_json,
    colour_diff,
    printable,
    table,
)
from self_coding.text import first_line

if TYPE_CHECKING:
    from self_coding.values.attempts import Lesson
    from self_coding.values.code import Impact, RelevantFile, SymbolUse, SymbolUsers
    from self_coding.values.edits import Begun, Progress, Question, SelfEditResult, Waiting
    from self_coding.values.repository import Operation, RollbackPlan, Snapshot
    from self_coding.values.results import AttemptRecord, Attempts, SimilarAttempts, SuccessRates
    from self_coding.values.verdicts import Finding

WIDTH = 72  # characters of a task in a list


def _plain(result: object) -> str:
    if isinstance(result, str):
        return result
    if isinstance(result, list) and all(isinstance(one, str) for one in result):
        return "\n".join(result)
    return json.dumps(as_json(result), indent=2)


@dataclass(frozen=True)
class View:
    """`text` for people, `data` for --json, the exit status, and options of the view's own."""

    text: Callable[..., str] = _plain
    data: Callable[..., object] = field(default=lambda result, session, **options: result)
    status: Callable[[Any], int] = field(default=lambda result: 0)
    options: Callable[[], Sequence[click.Option]] = tuple


def _explain_option() -> Sequence[click.Option]:
    return (click.Option(["--explain"], is_flag=True, help="Say why each one was chosen."),)


def when(moment: datetime | None) -> str:
    """Return a time as people read it, in their own zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else "-"


def progress_line(step: Progress) -> str:
    """Return one step of a self-edit as a line."""
    line = f"[{step.attempt}] {step.step}"
    return f"{line}: {step.message}" if step.message else line


def ask_person(question: Question) -> bool:
    """Show what would land, and ask the person at the terminal; no answer is a no."""
    click.echo(colour_diff(printable(question.diff)), err=True)
    for finding in question.findings:
        click.echo(printable(f"broken rule: {finding}"), err=True)
    # asyncio's own handler of Ctrl-C waits for the loop, which the question blocks
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(printable(question.text), default=False, err=True)
    except click.Abort:  # the input has ended, or Ctrl-C at the question
        click.echo("\nno answer", err=True)
        return False
    finally:
        signal.signal(signal.SIGINT, before)


# -- change code ------------------------------------------------------------------------------


def result_text(result: SelfEditResult) -> str:
    """Return how a self-edit ended, and what comes next."""
    lines = [result.message]
    if result.warning:
        lines.append(f"warning: {result.warning}")
    lines += [f"  broken rule: {finding}" for finding in result.findings]
    lines += [f"  failing: {test}" for test in result.failing_tests]
    if result.lesson:
        lines.append(f"lesson: {result.lesson}")
    if result.checkout:
        lines.append(f"your checkout: {result.checkout}")
    number = result.attempt_id
    if result.hint:
        lines.append(f"next: {result.hint}")
    elif result.waiting == "approval":
        lines.append(f"next: self-coding land-edit {number}, or self-coding drop-edit {number}")
    elif number is not None:
        lines.append(f"next: self-coding show-attempt {number}")
    return "\n".join(lines)


def _landed(result: SelfEditResult) -> int:
    return 0 if result.success else NOT_LANDED


def _begun(begun: Begun) -> str:
    edit = f"attempt {begun.attempt}: edit in {begun.worktree.path}"
    return f"{edit}\nthen: self-coding submit-edit {begun.attempt}"


def _resumed(results: list[SelfEditResult]) -> str:
    return "\n".join(map(result_text, results)) or "nothing to resume"


def _settings_options() -> Sequence[click.Option]:
    return (
        click.Option(["--test-command"], help="The gate's command, not the configured one."),
        click.Option(["--main-branch"], help="The branch to land on, not the configured one."),
    )


# -- look back --------------------------------------------------------------------------------


def _attempts(result: Attempts) -> str:
    rows = [
        [
            str(one.id),
            when(one.timestamp),
            one.outcome.value,
            first_line(one.task_description, WIDTH),
        ]
        for one in result.attempts
    ]
    none = f"no attempts {'have ended ' if result.waiting else ''}yet"
    lines = [table(rows) or none]
    for one in result.waiting:
        state, following = _waiting(one)
        lines += [f"\nattempt {one.attempt} {state}: {first_line(one.task, WIDTH)}", *following]
    return "\n".join(lines)


def _waiting(one: Waiting) -> tuple[str, list[str]]:
    """Return what an attempt waits for, and the line that says what comes next."""
    drop = f"or self-coding drop-edit {one.attempt}"
    if one.waiting == "submit":
        following = [f"next: self-coding submit-edit {one.attempt}, {drop}"]
        return f"waits for its edit in {one.path}", following
    if one.waiting == "approval":
        return "waits for approval", [f"next: self-coding land-edit {one.attempt}, {drop}"]
    if one.waiting == "resume":
        return "was interrupted", ["next: self-coding resume"]
    return "is under way", []


def _ended_attempts(result: Attempts, session: Session) -> object:
    if result.waiting and session.as_json:
        session.say(
            f"{len(result.waiting)} more have not ended: "
            "`self-coding attempts` without --json shows them"
        )
    return result.attempts


def _record(record: AttemptRecord, part: str | None = None) -> str:
    from self_coding.values.attempts import editor_output

    one = record.attempt
    if part is not None:
        return one.diff if part == "diff" else one.test_results
    lines = [
        f"attempt {one.id}: {first_line(one.task_description, WIDTH)}",
        f"{one.outcome.value}, {when(one.timestamp)}, try {one.retry_count + 1}",
    ]
    output = editor_output(record.events).splitlines()
    sections = (
        ("approach", one.approach),
        ("files", "\n".join(one.files_modified)),
        ("the editor said", "\n".join([*(["[...]"] if len(output) > 20 else []), *output[-20:]])),
        ("what failed", one.failure_analysis),
        ("reflection", one.reflection),
    )
    for heading, text in sections:
        if text:
            lines += ["", f"{heading}:", *(f"  {line}" for line in text.splitlines())]
    if record.events:
        lines += ["", "events:"]
        lines += [f"  {when(event.at)}  {event.kind}" for event in record.events]
    if one.diff:
        rest = f"`self-coding show-attempt {one.id} --diff` and `--output` show the rest"
        lines += ["", rest]
    return "\n".join(lines)


def _part(record: AttemptRecord, session: Session, part: str | None = None) -> object:
    return record if part is None else {part: _record(record, part)}


def _part_options() -> Sequence[click.Option]:
    return (
        click.Option(["--diff", "part"], flag_value="diff", help="Only its diff."),
        click.Option(["--output", "part"], flag_value="output", help="Only its test output."),
    )


def _similar(result: SimilarAttempts, *, explain: bool) -> str:
    rows = []
    for one in result.similar:
        task = first_line(one.attempt.task_description, WIDTH)
        row = [str(one.attempt.id), one.attempt.outcome.value, task]
        rows.append([*row, f"{one.score:.2f}: {'; '.join(one.reasons)}"] if explain else row)
    lines = [f"warning: {result.dead_end}"] if result.dead_end else []
    lines.append(table(rows) or "nothing alike was tried")
    return "\n".join(lines)


def _rates(result: SuccessRates) -> str:
    rows = [
        [name, f"{r.rate:.0%}", f"[{r.low:.0%}, {r.high:.0%}]", f"{r.successes} of {r.total}"]
        for name, r in result.rates.items()
    ]
    memory = ", ".join(f"{name} {value:.2f}" for name, value in result.quality.items())
    return f"{table(rows) or 'no attempts yet'}\nmemory: {memory}"


def _lessons(lessons: list[Lesson]) -> str:
    lines = [
        f"{one.text}\n  {one.freshness}; from attempts {', '.join(map(str, one.evidence))}; "
        f"used {one.uses} times, {one.successes} of them well"
        for one in lessons
    ]
    return "\n".join(lines) or "no lesson yet"


# -- know the code ----------------------------------------------------------------------------


def _relevant(files: list[RelevantFile], *, explain: bool) -> str:
    if not files:
        return "nothing in the code matches these words"
    if not explain:
        return "\n".join(file.path for file in files)
    return table([[f"{file.score:.2f}", file.path, "; ".join(file.reasons)] for file in files])


def _impact(impact: Impact) -> str:
    if not impact.paths:
        return "nothing is changed"
    lines = [f"risk {impact.risk:.2f}: {', '.join(impact.paths)}"]
    lines.append(f"\ndependents ({len(impact.dependents)}):")
    lines += [f"  {one.distance}  {one.path}" for one in impact.dependents]
    lines.append(f"\ntests to run ({len(impact.tests)}):")
    lines += [f"  {path}" for path in impact.tests]
    if impact.blind_spots:
        lines.append(f"\nblind spots ({len(impact.blind_spots)}): static analysis cannot see past")
        lines += [f"  {spot.path}:{spot.line}  {spot.reason}" for spot in impact.blind_spots]
    if not impact.complete:
        lines.append("\nonly the full suite is safe")
    return "\n".join(lines)


def _users(users: SymbolUsers) -> str:
    lines = [f"{users.symbol} is defined in {', '.join(users.definitions)}"]
    lines += _uses("uses", users.uses, users.more_uses)
    lines += _uses("may be uses", users.unknown, users.more_unknown)
    if users.unread:
        lines.append(f"\n{len(users.unread)} more files hold the word and were not read")
    return "\n".join(lines)


def _uses(title: str, uses: Sequence[SymbolUse], more: int) -> list[str]:
    count = len(uses) + more
    if not count:
        return []
    lines = [f"\n{title} ({count}):", *(f"  {use.path}:{use.line}  {use.how}" for use in uses)]
    return [*lines, f"  ... {more} more: --limit {count} shows them"] if more else lines


# -- go back ----------------------------------------------------------------------------------


def _snapshot(taken: Snapshot) -> str:
    lines = [f"{taken.ref}  (HEAD {taken.commit_hash[:12]} on {taken.branch or 'no branch'})"]
    if taken.test_output or not taken.test_status:
        lines.append("tests passed" if taken.test_status else "tests failed")
    lines += [f"not captured: {one.path}: {one.reason}" for one in taken.uncaptured]
    return "\n".join(lines)


def plan_text(plan: RollbackPlan) -> str:
    """Return what a rollback does, path by path."""
    head = f"HEAD {plan.head_from[:12]} -> {plan.head_to[:12]}"
    lines = [f"{head} on {plan.branch or 'no branch'}"]
    lines += [f"  {one.action:8} {one.path}  {one.reason}".rstrip() for one in plan.paths]
    lines += [f"  stays    {one.path}  not captured: {one.reason}" for one in plan.uncaptured]
    return "\n".join(lines)


def _line(operation: Operation) -> str:
    refs = ", ".join(f"{ref} {old[:9]} -> {new[:9]}" for ref, old, new in operation.refs)
    return f"operation {operation.id} ({operation.kind}) {refs}".rstrip()


def _operations(operations: list[Operation]) -> str:
    rows = [
        [str(one.id), when(one.at), one.kind, one.actor, "undone" if one.undone else "", one.reason]
        for one in operations
    ]
    return table(rows) or "nothing yet"


def _explained(result: Any) -> str:
    one = result.operation
    return f"ours: {_line(one)} by {one.actor}" if one else "not ours"


def _findings(findings: list[Finding]) -> str:
    return "\n".join(map(str, findings)) or "every receipt holds"


VIEWS = {
    "self_edit": View(result_text, status=_landed, options=_settings_options),
    "begin_edit": View(_begun),
    "submit_edit": View(result_text, status=_landed),
    "land_edit": View(result_text, status=_landed),
    "drop_edit": View(result_text),
    "resume": View(_resumed),
    "attempts": View(_attempts, _ended_attempts),
    "show_attempt": View(_record, _part, options=_part_options),
    "similar_attempts": View(_similar, options=_explain_option),
    "success_rates": View(_rates),
    "lessons": View(_lessons),
    "relevant_files": View(_relevant, options=_explain_option),
    "impact": View(_impact),
    "symbol_users": View(_users),
    "code_summary": View(data=lambda text, session: {"summary": text}),
    "context": View(lambda context: str(context.text)),
    "snapshot": View(_snapshot),
    "plan_rollback": View(plan_text),
    "undo": View(lambda done: f"undone: {_line(done)}"),
    "redo": View(lambda done: f"done again: {_line(done)}"),
    "operations": View(_operations),
    "explain": View(_explained),
    "recover": View(lambda done: "\n".join(done) or "nothing to repair"),
    "gc": View(lambda done: "\n".join(done) or "nothing to forget"),
    "verify": View(_findings, status=lambda findings: int(bool(findings))),
}
