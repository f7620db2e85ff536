"""Commands that go back: snapshot, rollback, undo, redo, and the log of what we did."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from self_coding.cli.session import AT_LEAST_ONE, Session, table
from self_coding.values.repository import Operation, RollbackPlan

if TYPE_CHECKING:
    from self_coding.git_safety import GitSafety


def _git(session: Session) -> GitSafety:
    from self_coding.app import open_app

    return open_app(session.repo).git


@click.command("snapshot")
@click.option("--tests", is_flag=True, help="Run the tests on it, too.")
@click.pass_obj
def snapshot_command(session: Session, *, tests: bool) -> None:
    """Record the working tree, the index and HEAD, so that they can be restored."""
    taken = session.run(_git(session).snapshot(run_tests=tests))
    lines = [f"{taken.ref}  (HEAD {taken.commit_hash[:12]} on {taken.branch or 'no branch'})"]
    if tests:
        lines.append("tests passed" if taken.test_status else "tests failed")
    lines += [f"not captured: {one.path}: {one.reason}" for one in taken.uncaptured]
    session.emit(taken, "\n".join(lines))


@click.command("plan-rollback")
@click.argument("target")
@click.pass_obj
def plan_rollback_command(session: Session, target: str) -> None:
    """What a rollback to TARGET (a snapshot's ref or a commit) would do; nothing is changed."""
    plan = session.run(_git(session).plan_rollback(target))
    session.emit(plan, _plan_text(plan))


def _plan_text(plan: RollbackPlan) -> str:
    head = f"HEAD {plan.head_from[:12]} -> {plan.head_to[:12]}"
    lines = [f"{head} on {plan.branch or 'no branch'}"]
    lines += [f"  {one.action:8} {one.path}  {one.reason}".rstrip() for one in plan.paths]
    lines += [f"  stays    {one.path}  not captured: {one.reason}" for one in plan.uncaptured]
    return "\n".join(lines)


@click.command("rollback")
@click.argument("target")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def rollback_command(session: Session, target: str, *, dry_run: bool, yes: bool) -> None:
    """Go back to TARGET, a snapshot's ref or a commit; `undo` takes it back.

    What the working tree holds now is captured first.
    """
    git = _git(session)
    plan = session.run(git.plan_rollback(target))
    if dry_run:
        session.emit(plan, _plan_text(plan))
        return
    if not yes:
        session.say(_plan_text(plan))
        click.confirm("Do this?", abort=True, err=True)
    commit = session.run(git.rollback(target))
    session.emit({"commit": commit, "plan": plan}, f"at {commit[:12]}; `self-coding undo` reverts")


@click.command("undo")
@click.option("--steps", "-n", default=1, show_default=True, help="How many operations.")
@click.option("--attempt", type=int, help="Only operations of this attempt.")
@click.pass_obj
def undo_command(session: Session, steps: int, attempt: int | None) -> None:
    """Take back what self-coding last did here: a rollback, a landing."""
    name = None if attempt is None else str(attempt)
    done = session.run(_git(session).undo(steps, attempt=name))
    session.emit(done, f"undone: {_line(done)}")


@click.command("redo")
@click.option("--steps", "-n", default=1, show_default=True, help="How many operations.")
@click.option("--attempt", type=int, help="Only operations of this attempt.")
@click.pass_obj
def redo_command(session: Session, steps: int, attempt: int | None) -> None:
    """Do again what `undo` has taken back."""
    name = None if attempt is None else str(attempt)
    done = session.run(_git(session).redo(steps, attempt=name))
    session.emit(done, f"done again: {_line(done)}")


def _line(operation: Operation) -> str:
    refs = ", ".join(f"{ref} {old[:9]} -> {new[:9]}" for ref, old, new in operation.refs)
    return f"operation {operation.id} ({operation.kind}) {refs}".rstrip()


@click.command("operations")
@click.option(
    "--limit", "-n", type=AT_LEAST_ONE, default=20, show_default=True, help="How many at the most."
)
@click.pass_obj
def operations_command(session: Session, limit: int) -> None:
    """What self-coding did to this repository: who, when, why, refs before and after."""
    found = session.run(_git(session).operations(limit))
    rows = [
        [str(one.id), when(one.at), one.kind, one.actor, "undone" if one.undone else "", one.reason]
        for one in found
    ]
    session.emit(found, table(rows) or "nothing yet")


@click.command("explain")
@click.argument("revision")
@click.pass_obj
def explain_command(session: Session, revision: str) -> None:
    """Say whether a commit or reflog entry (HEAD@{1}) is self-coding's doing."""
    found = session.run(_git(session).explain(revision))
    text = f"ours: {_line(found)} by {found.actor}" if found else "not ours"
    session.emit({"ours": found is not None, "operation": found}, text)


@click.command("recover")
@click.pass_obj
def recover_command(session: Session) -> None:
    """Repair what a crash left behind, and go on with what it interrupted."""
    from self_coding.app import open_app
    from self_coding.hooks import note_bypass

    app = open_app(session.repo)

    async def everything() -> list[str]:
        repaired = [*await app.git.recover(), *await app.edit.recover()]
        past = await note_bypass(app)
        return [*repaired, f"bypassed: {past}"] if past else repaired

    done = session.run(everything())
    session.emit(done, "\n".join(done) or "nothing to repair")


@click.command("gc")
@click.pass_obj
def gc_command(session: Session) -> None:
    """Forget snapshots and attempts that are past their retention."""
    told = session.run(_git(session).gc())
    session.emit(told, "\n".join(told) or "nothing to forget")


@click.command("verify")
@click.pass_obj
def verify_command(session: Session) -> None:
    """Check the receipts of all landings: the tested tree is the landed tree."""
    findings = session.run(_git(session).verify())
    session.emit(findings, "\n".join(map(str, findings)) or "every receipt holds")
    if findings:
        raise SystemExit(1)


def when(moment: datetime | None) -> str:
    """A time as people read it, in their own zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else "-"
