"""Commands that change code: try, begin, submit, resume."""

from __future__ import annotations

import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from self_coding.cli.session import NOT_LANDED, Session, printable
from self_coding.errors import ConfigError
from self_coding.values.edits import OnProgress, Progress, Question, SelfEditResult

if TYPE_CHECKING:
    from self_coding.app import App

T = TypeVar("T")


@click.command("try")
@click.argument("task")
@click.option(
    "--patch",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The edit is this unified diff ('-' for standard input).",
)
@click.option("--with", "command", help="The edit is made by this command; {task} is replaced.")
@click.option("--editor", help="A preset or configured editor: aider, claude, codex, model, ...")
@click.option("--tries", type=click.IntRange(1, 20), help="Try again with what was learnt.")
@click.option("--best-of", type=click.IntRange(1, 8), help="Side by side; the smallest lands.")
@click.option("--ask", is_flag=True, help="Show the change and ask before it lands.")
@click.option("--propose", is_flag=True, help="Stop green before landing; `land` lands it.")
@click.option("--dry-run", is_flag=True, help="Do everything but land.")
@click.option("--test-command", help="The gate's command, instead of the configured one.")
@click.option("--main-branch", help="The branch to land on, instead of the configured one.")
@click.pass_obj
def try_command(
    session: Session,
    task: str,
    patch: Path | None,
    command: str | None,
    editor: str | None,
    tries: int | None,
    best_of: int | None,
    test_command: str | None,
    main_branch: str | None,
    *,
    ask: bool,
    propose: bool,
    dry_run: bool,
) -> None:
    """Attempt TASK in isolation; it lands when its tests pass and no rule is broken.

    Your checkout is not touched while it runs. Exit status 1: it did not land, and why is told
    and remembered.
    """
    from self_coding.app import choose_editor, open_app

    app = open_app(session.repo, test_command=test_command, main_branch=main_branch)
    made_by = choose_editor(app.settings, patch=_patch_text(patch), command=command, name=editor)
    work = app.edit.self_edit(
        task,
        editor=made_by,
        tries=tries,
        best_of=best_of,
        ask=_ask if ask else None,
        hold=propose,
        dry_run=dry_run,
        on_progress=_progress(session),
    )
    _finish(session, session.run(_after_noting(session, app, work)))


async def _after_noting(session: Session, app: App, work: Coroutine[object, object, T]) -> T:
    """Say first, and record, what moved main past the guard since the last landing."""
    from self_coding.hooks import note_bypass

    try:
        found = await note_bypass(app)
    except BaseException:
        work.close()
        raise
    if found:
        session.say(f"bypassed: {found}")
    return await work


def _patch_text(path: Path | None) -> bytes | None:
    if path is None:
        return None
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the patch {path}: {error.strerror}") from error


def _ask(question: Question) -> bool:
    """Show what would land, and ask the person at the terminal; no answer is a no."""
    click.echo(printable(question.diff), err=True)
    for finding in question.findings:
        click.echo(printable(f"broken rule: {finding}"), err=True)
    try:
        with _interruptible():
            return click.confirm(printable(question.text), default=False, err=True)
    except click.Abort:  # the input has ended, or Ctrl-C at the question
        click.echo("\nno answer", err=True)
        return False


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a question at once: asyncio's own handler waits for a loop that is blocked."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _progress(session: Session) -> OnProgress:
    def show(progress: Progress) -> None:
        line = f"[{progress.attempt}] {progress.step}"
        session.say(f"{line}: {progress.message}" if progress.message else line)

    return show


def _finish(session: Session, result: SelfEditResult) -> None:
    session.emit(result, _result_text(result))
    if not result.success:
        raise SystemExit(NOT_LANDED)


def _result_text(result: SelfEditResult) -> str:
    lines = [result.message]
    if result.warning:
        lines.append(f"warning: {result.warning}")
    lines += [f"  broken rule: {finding}" for finding in result.findings]
    lines += [f"  failing: {test}" for test in result.failing_tests]
    if result.lesson:
        lines.append(f"lesson: {result.lesson}")
    if result.checkout:
        lines.append(f"your checkout: {result.checkout}")
    if result.hint:
        lines.append(f"next: {result.hint}")
    elif result.waiting == "approval":
        number = result.attempt_id
        lines.append(f"next: self-coding land {number}, or self-coding drop {number}")
    elif result.attempt_id is not None:
        lines.append(f"next: self-coding show {result.attempt_id}")
    return "\n".join(lines)


@click.command("begin")
@click.argument("task")
@click.option("--propose", is_flag=True, help="Stop green before landing; `land` lands it.")
@click.pass_obj
def begin_command(session: Session, task: str, *, propose: bool) -> None:
    """Hand out a worktree for TASK: edit in it with your own tools, then `submit`."""
    from self_coding.app import open_app

    app = open_app(session.repo)
    begun = session.run(_after_noting(session, app, app.edit.begin_edit(task, ask=propose)))
    text = (
        f"attempt {begun.attempt}: edit in {begun.worktree.path}\n"
        f"then: self-coding submit {begun.attempt}"
    )
    session.emit(begun, text)


@click.command("submit")
@click.argument("attempt", type=int)
@click.option("--ask", is_flag=True, help="Show the change and ask before it lands.")
@click.pass_obj
def submit_command(session: Session, attempt: int, *, ask: bool) -> None:
    """Judge, test and land what was edited in the worktree of ATTEMPT."""
    from self_coding.app import open_app

    app = open_app(session.repo)
    result = session.run(
        app.edit.submit_edit(attempt, ask=_ask if ask else None, on_progress=_progress(session))
    )
    _finish(session, result)


@click.command("land")
@click.argument("attempt", type=int)
@click.pass_obj
def land_command(session: Session, attempt: int) -> None:
    """Land an ATTEMPT that waits green for approval."""
    from self_coding.app import open_app

    app = open_app(session.repo)
    _finish(session, session.run(app.edit.land_edit(attempt, on_progress=_progress(session))))


@click.command("drop")
@click.argument("attempt", type=int)
@click.option("--reason", default="", help="Why, for the journal.")
@click.pass_obj
def drop_command(session: Session, attempt: int, reason: str) -> None:
    """End an ATTEMPT that waits, for approval or for its edit; its commits are kept."""
    from self_coding.app import open_app

    result = session.run(open_app(session.repo).edit.drop_edit(attempt, reason))
    session.emit(result, _result_text(result))


@click.command("resume")
@click.pass_obj
def resume_command(session: Session) -> None:
    """Go on with the attempts that a crash interrupted."""
    from self_coding.app import open_app

    results = session.run(open_app(session.repo).edit.resume())
    session.emit(results, "\n".join(_result_text(one) for one in results) or "nothing to resume")
