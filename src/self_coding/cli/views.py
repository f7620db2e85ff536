"""How people read the result of an operation: the view of `attempts` is the function `attempts`.

`view` adds what else a command needs: its own options, another value for --json, an exit status.
An operation without a view is printed as its text, its lines or its JSON.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from self_coding.cli import incoming_views
from self_coding.cli.session import (
    NOT_LANDED,
    Session,
    as_json,
    colour_diff,
    printable,
    table,
)
from self_coding.cli.view import WIDTH, View, view, when
from self_coding.operation import spoken
from self_coding.text import cut_middle, first_line

if TYPE_CHECKING:
    from self_coding.values.attempts import Lesson
    from self_coding.values.code import Impact, RelevantFile, SymbolUsers
    from self_coding.values.edits import Begun, Context, Progress, Question, SelfEditResult, Waiting
    from self_coding.values.repository import Operation, RollbackPlan, Snapshot, UndoPlan
    from self_coding.values.results import (
        AttemptRecord,
        Attempts,
        Inbox,
        SimilarAttempts,
        Status,
        SuccessRates,
    )
    from self_coding.values.verdicts import Finding

_LISTED = 10  # of a kind; `show` has the rest


def view_of(name: str) -> View:
    """Return the view of an operation."""
    text: Any = globals().get(name) or getattr(incoming_views, name, plain)
    return View(text, **vars(text).get("more", {}))


def plain(result: object) -> str:
    """Return a result that has no view as its text, its lines or its JSON."""
    if isinstance(result, str):
        return result
    if isinstance(result, list) and all(isinstance(one, str) for one in result):
        return "\n".join(result)
    return json.dumps(as_json(result), indent=2)


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


def drop_edit(result: SelfEditResult) -> str:
    """Return how a self-edit ended, and what comes next."""
    lines = [result.message]
    if result.warning:
        lines.append(f"warning: {result.warning}")
    for what, rows in (("broken rule", result.findings), ("failing", result.failing_tests)):
        lines += [f"  {what}: {row}" for row in rows[:_LISTED]]
        lines += [f"  ... and {len(rows) - _LISTED} more"] if len(rows) > _LISTED else []
    if result.by == "gate" and not result.failing_tests:  # no test was named: its own last words
        words = click.unstyle(result.test_results).rstrip().splitlines()[-15:]
        lines += [f"  | {cut_middle(line, 300)}" for line in words]
    if result.lesson:
        lines.append(f"lesson: {result.lesson}")
    if result.checkout:
        lines.append(f"your checkout: {result.checkout}")
    number, hint = result.attempt_id, spoken(result.hint, calls=False)
    if result.waiting == "process":
        wait = f"self-coding wait-edit {number}"
        lines.append(f"next: {wait}; self-coding drop-edit {number} ends it")
    elif result.waiting == "submit" and result.success:  # a check that was green
        lines.append(f"next: self-coding submit-edit {number}")
    elif result.waiting == "submit":
        correct = hint or f"correct it in {result.worktree}"
        lines.append(f"next: {correct}; then self-coding submit-edit {number} again")
    elif hint:
        lines.append(f"next: {hint}")
    elif result.waiting == "approval":
        lines.append(f"next: self-coding land-edit {number}, or self-coding drop-edit {number}")
    elif number is not None:
        lines.append(f"next: self-coding show-attempt {number}")
    return "\n".join(lines)


def _landed(result: SelfEditResult) -> int:
    return 0 if result.success else NOT_LANDED


def _settings_options() -> Sequence[click.Option]:
    return (
        click.Option(["--test-command"], help="The gate's command, not the configured one."),
        click.Option(["--main-branch"], help="The branch to land on, not the configured one."),
        _squash(),
    )


def _squash() -> click.Option:
    return click.Option(
        ["--squash", "land_as"], flag_value="squash", help="Land as one commit (see `land_as`)."
    )


@view(status=_landed, options=lambda: (_squash(),), sarif=True)
def submit_edit(result: SelfEditResult) -> str:
    """Return what `drop_edit` returns; not to land is a status of its own."""
    return drop_edit(result)


land_edit = check_edit = wait_edit = submit_edit


@view(status=_landed, options=_settings_options, sarif=True)
def self_edit(result: SelfEditResult) -> str:
    """Return what `drop_edit` returns; the gate can be told otherwise."""
    return drop_edit(result)


def begin_edit(begun: Begun) -> str:
    """Return where to edit, and what comes next."""
    edit = f"attempt {begun.attempt}: edit in {begun.worktree.path}"
    marked = f"\nconflicts are marked in: {', '.join(begun.conflicts)}" if begun.conflicts else ""
    return f"{edit}{marked}\nthen: self-coding submit-edit {begun.attempt}"


def resume(results: list[SelfEditResult]) -> str:
    """Return how each attempt ended."""
    return "\n".join(map(drop_edit, results)) or "nothing to resume"


# -- look back --------------------------------------------------------------------------------


def _ended(result: Attempts, session: Session) -> object:
    if result.waiting and session.as_json:
        session.say(
            f"{len(result.waiting)} more have not ended: "
            "`self-coding attempts` without --json shows them"
        )
    if result.has_more and session.as_json:
        session.say(_older(result))
    return result.attempts


def _older(result: Attempts) -> str:
    return f"there are older ones: self-coding attempts -n {2 * len(result.attempts)}"


@view(data=_ended)
def attempts(result: Attempts) -> str:
    """Return a line for each attempt; those that have not ended with what comes next."""
    rows = []
    for one in result.attempts:
        task = first_line(one.task_description, WIDTH)
        rows.append([str(one.id), when(one.timestamp), one.ended_as, task])
    lines = [table(rows) or f"no attempts {'have ended ' if result.waiting else ''}yet"]
    lines += [_older(result)] if result.has_more else []
    return "\n".join([*lines, *map(_open_line, result.waiting)])


def _open_line(one: Waiting) -> str:
    """Return how an attempt stands that has not ended, and what goes on with it."""
    number = one.attempt
    drop = f"or self-coding drop-edit {number}"
    state, following = {
        "submit": (
            f"waits for its edit in {one.path}",
            f"\nnext: self-coding submit-edit {number}, {drop}",
        ),
        "approval": ("waits for approval", f"\nnext: self-coding land-edit {number}, {drop}"),
        "review": ("waits for its request to be merged", "\nnext: self-coding resume looks"),
        "resume": ("was interrupted", "\nnext: self-coding resume"),
        "process": (
            f"is worked on by {one.holder} ({one.progress})",
            f"\nnext: self-coding wait-edit {number}, {drop}",
        ),
    }[one.waiting]
    why = f"\nrefused before: {first_line(one.why, 200)}" if one.why else ""
    return f"\nattempt {number} {state}: {first_line(one.task, WIDTH)}{why}{following}"


def status(result: Status) -> str:
    """Return main, red or not, and each attempt that has not ended with what comes next."""
    lines = [f"{result.main_branch} is at {result.commit[:12]} in {result.repository}"]
    if result.failing:
        named = ", ".join(result.failing[:3])
        lines.append(f"red there: {len(result.failing)} tests failed when last run: {named}")
    waiting = [f"{_open_line(one)}\n  since {when(one.since)}" for one in result.waiting]
    return "\n".join([*lines, *(waiting or ["nothing waits"])])


def inbox(result: Inbox) -> str:
    """Return what needs a person, each with the next command, and what was decided lately."""
    lines = []
    for one in result.needs:
        of = f"attempt {one.attempt}: " if one.attempt else ""
        lines.append(f"{one.kind}  {of}{first_line(one.title, WIDTH)}")
        if one.why:
            lines.append(f"  {first_line(one.why, 200)}")
        until = f", expires {when(one.expires)}" if one.expires else ""
        lines += [f"  since {when(one.since)}{until}"] if one.since else []
        command = one.action.replace("_", "-")
        if one.kind == "red main":
            command += ' "Make the tests of main pass"'
        elif one.error:
            command += f' "Fix error {one.error}", or self-coding drop-error {one.error}'
        elif one.attempt is not None and one.kind not in ("environment", "bypass"):
            drop = "" if one.kind == "running" else f", or self-coding drop-edit {one.attempt}"
            command += f" {one.attempt}{drop}"
        lines += [f"  next: self-coding {command}", ""]
    lines = lines or ["nothing needs you", ""]
    if result.decided:
        rows = [
            [str(one.attempt), one.decision, when(one.at), one.person or "-", one.stage, one.why]
            for one in result.decided
        ]
        lines += ["decided:", table([[*row[:-1], first_line(row[-1], WIDTH)] for row in rows])]
    return "\n".join(lines).rstrip()


def _part(record: AttemptRecord, session: Session, part: str | None = None) -> object:
    return record if part is None else {part: show_attempt(record, part)}


def _part_options() -> Sequence[click.Option]:
    return (
        click.Option(["--diff", "part"], flag_value="diff", help="Only its diff."),
        click.Option(["--output", "part"], flag_value="output", help="Only its test output."),
    )


@view(data=_part, options=_part_options, sarif=True)
def show_attempt(record: AttemptRecord, part: str | None = None) -> str:
    """Return one attempt, or one part of it."""
    from self_coding.values.attempts import editor_output

    one = record.attempt
    if part is not None:
        return one.diff if part == "diff" else one.test_results
    lines = [
        f"attempt {one.id}: {first_line(one.task_description, WIDTH)}",
        f"{one.ended_as}, {when(one.timestamp)}, try {one.retry_count + 1}",
    ]
    output, strength = editor_output(record.events).splitlines(), record.strength
    sections = (
        ("approach", one.approach),
        ("files", "\n".join(one.files_modified)),
        ("the editor said", "\n".join([*(["[...]"] if len(output) > 20 else []), *output[-20:]])),
        ("what failed", one.failure_analysis),
        ("reflection", one.reflection),
        ("mutants", "\n".join([str(strength), *strength.survived]) if strength else ""),
    )
    for heading, text in sections:
        if text:
            lines += ["", f"{heading}:", *(f"  {line}" for line in text.splitlines())]
    if record.events:
        lines += ["", "events:"]
        for second, events in groupby(record.events, lambda one: one.at.replace(microsecond=0)):
            kinds = ", ".join(event.kind for event in events)
            lines.append(f"  {when(second, '%H:%M:%S')}  {kinds}")
    if record.waiting:
        lines.append(_open_line(record.waiting))
    if one.diff:
        rest = f"`self-coding show-attempt {one.id} --diff` and `--output` show the rest"
        lines += ["", rest]
    return "\n".join(lines)


def _explain_option() -> Sequence[click.Option]:
    return (click.Option(["--explain"], is_flag=True, help="Say why each one was chosen."),)


@view(options=_explain_option)
def similar_attempts(result: SimilarAttempts, *, explain: bool) -> str:
    """Return a line for each earlier attempt, a warning first."""
    rows = []
    for one in result.similar:
        task = first_line(one.attempt.task_description, WIDTH)
        row = [str(one.attempt.id), one.attempt.ended_as, task]
        rows.append([*row, f"{one.score:.2f}: {'; '.join(one.reasons)}"] if explain else row)
    lines = [f"warning: {result.dead_end}"] if result.dead_end else []
    lines.append(table(rows) or "nothing alike was tried")
    return "\n".join(lines)


def success_rates(result: SuccessRates) -> str:
    """Return a line for each rate, and the quality of the memory."""
    shown = {f"shown {name}": rate for name, rate in result.shown.items()}
    rates, recalled = (
        table(
            [
                [
                    name,
                    f"{r.rate:.0%}",
                    f"[{r.low:.0%}, {r.high:.0%}]",
                    f"{r.successes} of {r.total}",
                ]
                for name, r in listed.items()
            ]
        )
        for listed in (result.rates, shown)
    )
    memory = ", ".join(f"{name} {value:.2f}" for name, value in result.quality.items())
    missed = f"missed: {result.missed} of {result.red} refused by tests, beyond their affected ones"
    told = [rates or "no attempts yet", recalled, f"memory: {memory}", missed if result.red else ""]
    return "\n".join(filter(None, told))


def lessons(learnt: list[Lesson]) -> str:
    """Return each lesson with its evidence."""
    lines = [
        f"{one.text}\n  {one.freshness}; from attempts {', '.join(map(str, one.evidence))}; "
        f"used {one.uses} times, {one.successes} of them well"
        for one in learnt
    ]
    return "\n".join(lines) or "no lesson yet"


# -- know the code ----------------------------------------------------------------------------


@view(options=_explain_option)
def relevant_files(files: list[RelevantFile], *, explain: bool) -> str:
    """Return the paths, a line with score and reasons for each, or the code that matters."""
    if not files:
        return "nothing in the code matches these words"
    if any(file.spans for file in files):
        found = [(span.score, file.path, span) for file in files for span in file.spans]
        return "\n\n".join(
            f"{path}:{span.start}-{span.end} {span.symbol} ({'; '.join(span.reasons)})\n{span.code}"
            for _, path, span in sorted(found, key=lambda each: -each[0])
        )
    if not explain:
        return "\n".join(file.path for file in files)
    return table([[f"{file.score:.2f}", file.path, "; ".join(file.reasons)] for file in files])


def impact(blast: Impact) -> str:
    """Return dependents, tests and blind spots of a change."""
    if not blast.paths:
        return "nothing is changed"
    lines = [f"risk {blast.risk:.2f}: {', '.join(blast.paths)}"]
    lines.append(f"\ndependents ({len(blast.dependents)}):")
    lines += [f"  {one.distance}  {one.path}" for one in blast.dependents]
    lines.append(f"\ntests to run ({len(blast.tests)}):")
    lines += [f"  {path}" for path in blast.tests]
    if blast.blind_spots:
        lines.append(f"\nblind spots ({len(blast.blind_spots)}): static analysis cannot see past")
        lines += [f"  {spot.path}:{spot.line}  {spot.reason}" for spot in blast.blind_spots]
    if not blast.complete:
        lines.append("\nonly the full suite is safe")
    return "\n".join(lines)


def symbol_users(users: SymbolUsers) -> str:
    """Return the lines that use a symbol."""
    lines = [f"{users.symbol} is defined in {', '.join(users.definitions)}"]
    for title, uses, more in (
        ("uses", users.uses, users.more_uses),
        ("may be uses", users.unknown, users.more_unknown),
    ):
        count = len(uses) + more
        if count:
            lines.append(f"\n{title} ({count}):")
            lines += [f"  {use.path}:{use.line}  {use.how}" for use in uses]
        if more:
            lines.append(f"  ... {more} more: --limit {count} shows them")
    if users.left_out:
        lines.append(f"\nnot read: what is written in {', '.join(users.left_out)}")
    if users.unread:
        lines.append(f"\n{len(users.unread)} more files hold the word and were not read")
    return "\n".join(lines)


@view(data=lambda text, session: {"summary": text})
def code_summary(text: str) -> str:
    """Return the text; JSON has it by name."""
    return text


def context(shown: Context) -> str:
    """Return what an editor would be shown."""
    return shown.text


# -- go back ----------------------------------------------------------------------------------


def snapshot(taken: Snapshot) -> str:
    """Return the ref, and what the snapshot does not hold."""
    lines = [f"{taken.ref}  (HEAD {taken.commit_hash[:12]} on {taken.branch or 'no branch'})"]
    if taken.test_output or not taken.test_status:
        lines.append("tests passed" if taken.test_status else "tests failed")
    lines += [f"not captured: {one.path}: {one.reason}" for one in taken.uncaptured]
    return "\n".join(lines)


def plan_rollback(plan: RollbackPlan) -> str:
    """Return what a rollback does, path by path."""
    head = f"HEAD {plan.head_from[:12]} -> {plan.head_to[:12]}"
    lines = [f"{head} on {plan.branch or 'no branch'}"]
    lines += [f"  {one.action:8} {one.path}  {one.reason}".rstrip() for one in plan.paths]
    lines += [f"  stays    {one.path}  not captured: {one.reason}" for one in plan.uncaptured]
    return "\n".join(lines)


def operations(done: list[Operation]) -> str:
    """Return a line for each operation."""
    rows = [
        [str(one.id), when(one.at), one.kind, one.actor, "undone" if one.undone else "", one.reason]
        for one in done
    ]
    return table(rows) or "nothing yet"


def explain(result: Any) -> str:
    """Return whose doing it is."""
    one = result.operation
    if one is None:
        return "not ours"
    refs = ", ".join(f"{ref} {old[:9]} -> {new[:9]}" for ref, old, new in one.refs)
    return f"ours: operation {one.id} ({one.kind}) {refs}".rstrip() + f" by {one.actor}"


@view(status=lambda findings: int(bool(findings)), sarif=True)
def verify(findings: list[Finding]) -> str:
    """Return what is wrong with receipts."""
    return "\n".join(map(str, findings)) or "every receipt holds"


def plan_undo(plan: UndoPlan) -> str:
    """Return what an undo would take back, or why it would be refused."""
    one = plan.operation
    lines = [f"{one.kind} of {when(one.at)}: {first_line(one.reason, WIDTH)}"]
    lines += [f"  {ref}: {now[:12]} -> {then[:12] or 'gone'}" for ref, now, then in plan.refs]
    lines += [f"  {file.path}  +{file.added} -{file.removed}" for file in plan.files[:50]]
    lines += [f"  and {len(plan.files) - 50} more files"] if len(plan.files) > 50 else []
    lines.append(f"it would be refused: {plan.blocked}" if plan.blocked else "nothing was changed")
    return "\n".join(lines)


def undo(operation: Operation) -> str:
    """Return what was undone."""
    return f"undone: {operation.reason}"


def redo(operation: Operation) -> str:
    """Return what was done again."""
    return f"done again: {operation.reason}"


def recover(done: list[str]) -> str:
    """Return what was repaired."""
    return "\n".join(done) or "nothing to repair"


def gc(done: list[str]) -> str:
    """Return what was forgotten."""
    return "\n".join(done) or "nothing to forget"
