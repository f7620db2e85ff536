"""Commands to start with: init, doctor, demo."""

from __future__ import annotations

import click

from self_coding.cli.session import FAILED, NOT_LANDED, Session, table


@click.command("init")
@click.option("--test-command", help="Instead of the detected one.")
@click.option("--main-branch", help="Instead of the detected one.")
@click.option("--force", is_flag=True, help="Replace a self-coding.toml that is there.")
@click.pass_obj
def init_command(
    session: Session, test_command: str | None, main_branch: str | None, *, force: bool
) -> None:
    """Detect main branch and test command, and write them into self-coding.toml."""
    from self_coding.cli.detect import detect, write

    found = detect(session.repo, main_branch=main_branch, test_command=test_command)
    path = write(found, force=force)
    text = (
        f"wrote {path}\n"
        f"  main branch   {found.main_branch}\n"
        f"  test command  {found.test_command}\n"
        "next: self-coding doctor"
    )
    session.emit(found, text)


@click.command("doctor")
@click.pass_obj
def doctor_command(session: Session) -> None:
    """Check that everything self-coding needs is here, and say what to do where it is not."""
    from self_coding.cli.doctor import examine

    checks = session.run(examine(session.repo))
    rows = [[check.state, check.name, check.told] for check in checks]
    hints = [f"hint: {check.name}: {check.hint}" for check in checks if check.hint]
    session.emit(checks, "\n".join([table(rows), *hints]))
    if any(check.state == "fail" for check in checks):
        raise SystemExit(FAILED)


@click.command("demo")
@click.pass_obj
def demo_command(session: Session) -> None:
    """Watch a breaking change be refused, a good one land, and a repeated mistake be warned of."""
    from self_coding.cli.demo import play

    story = session.run(play(session.say if session.as_json else click.echo))
    verdict = "every promise was kept" if story.went_well else "this went wrong; see above"
    session.emit(story, f"\n{verdict}")
    if not story.went_well:
        raise SystemExit(NOT_LANDED)
