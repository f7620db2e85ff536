"""Commands that are more than one operation: they write files, serve, set up, ask first."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from self_coding.cli.session import FAILED, NOT_LANDED, Session, table
from self_coding.errors import ConfigError, JournalError, SelfCodingError

if TYPE_CHECKING:
    from self_coding.hooks.install import Entered

CLIENTS = (
    "claude", "codex", "gemini", "opencode", "goose",
    "cursor", "vscode", "cline", "windsurf", "zed",
)  # fmt: skip
HOOKS = ("claude", "git")
_LOOKS = 4  # at the tests: what one finds missing is set, and the next may find something else


# -- go back ----------------------------------------------------------------------------------


@click.command("rollback")
@click.argument("target")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def rollback_command(session: Session, target: str, *, dry_run: bool, yes: bool) -> None:
    """Go back to TARGET: restore a snapshot or a commit; `undo` takes it back.

    What the working tree holds now is captured first.
    """
    from self_coding.app import open_app
    from self_coding.cli.views import plan_rollback
    from self_coding.operations import NAMES

    app = open_app(session.repo)
    plan = session.run(app.git.plan_rollback(target))
    if dry_run:
        session.emit(plan, plan_rollback(plan))
        return
    if not yes:
        session.say(plan_rollback(plan))
        click.confirm("Do this?", abort=True, err=True)
    done = session.run(NAMES["rollback"](app, target=target))
    session.emit(done, f"at {done.commit[:12]}; `self-coding undo` reverts")


# -- the journal in a file --------------------------------------------------------------------


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--force", is_flag=True, help="Replace a FILE that exists.")
@click.pass_obj
def export_command(session: Session, file: Path, *, force: bool) -> None:
    """Write the whole journal as JSON lines to FILE ('-': standard output)."""
    from self_coding.app import open_app

    app = open_app(session.repo)
    session.run(app.catch_up())
    lines = session.run(app.journal.export_lines())
    text = "".join(f"{line}\n" for line in lines)
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    write_file(file, text, force=force)
    count = sum(not line.startswith('{"lesson"') for line in lines)
    summary = {"exported": count, "file": str(file)}
    session.emit(summary, f"{_attempts(count)} written to {file}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, allow_dash=True))
@click.option("--founding", is_flag=True, help="FILE is a database of the founding version.")
@click.pass_obj
def import_command(session: Session, file: Path, *, founding: bool) -> None:
    """Add attempts from FILE: JSON lines of `export`, or a founding database."""
    from self_coding.app import open_app

    journal = open_app(session.repo).journal
    if founding:
        count = session.run(journal.import_founding(file))
    else:
        hint = "nothing was imported; take the output of `export`, from a file that you may read"
        try:
            with click.open_file(str(file), encoding="utf-8") as source:
                lines = list(source)
        except UnicodeDecodeError as error:
            raise JournalError(f"{file} is not text in UTF-8", hint=hint) from error
        except OSError as error:
            raise JournalError(f"cannot read {file}: {error.strerror}", hint=hint) from error
        count = session.run(journal.import_lines(lines))
    session.emit({"imported": count}, f"{_attempts(count)} imported")


@click.group("journal")
def journal_command() -> None:
    """Move the journal from one database to another."""


@journal_command.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.pass_obj
def journal_copy_command(session: Session, source: str, target: str) -> None:
    """Copy the journal FROM into TO, whole and with all its numbers.

    FROM and TO are a file, an address (postgresql://USER@HOST/DATABASE) or '.', the file beside
    this repository. TO is empty, or what an earlier copy left: then only what is new is copied.
    """
    from self_coding.app import open_app

    app = open_app(session.repo)
    places = []
    for name in (source, target):
        if name != "." and "://" not in name and not Path(name).parent.is_dir():
            raise JournalError(f"there is no folder for {name}", hint="name a file or an address")
        places.append(app.journal_at("" if name == "." else name))
    here, there = places
    if here.db_path and not here.db_path.is_file():
        raise JournalError(f"there is no journal in {here.db_path}", hint="see `journal copy -h`")
    if source == target or (here.db_path and here.db_path == there.db_path):
        raise JournalError("FROM and TO are one journal", hint="name two")
    said = 0.0

    def told(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > 1:
            said = time.monotonic()
            session.say(f"{done} of {total} attempts")

    count = session.run(there.copy_from(here, told))
    session.emit({"copied": count}, f"{_attempts(count)} copied")


def _attempts(count: int) -> str:
    return f"{count} attempt{'' if count == 1 else 's'}"


def write_file(file: Path, text: str, *, force: bool) -> None:
    """Write `text` into a new `file`; an existing one is replaced only with `force`.

    Pipes and devices, such as a shell gives for `>(gzip)`, are written into as they are.

    Raises:
        JournalError: it exists already, or cannot be written; nothing is left behind.
    """
    from self_coding.adapters.files import replace_file

    data = text.encode("utf-8")  # first: what cannot be encoded must leave nothing behind
    target = Path(os.path.realpath(file))  # a link stays one: what it leads to is written
    try:
        mode = file.stat().st_mode if file.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):  # a rename would put a file in their place
            raise OSError(errno.EINVAL, "it is not a file")
        if not stat.S_ISREG(mode):  # not `target`: what /dev/fd leads to has no name
            file.write_bytes(data)
        elif force:
            replace_file(target, text)
        else:
            with target.open("xb") as new:  # nor over one that appears meanwhile
                try:
                    new.write(data)
                    new.flush()
                except BaseException:
                    target.unlink(missing_ok=True)
                    raise
    except FileExistsError as error:
        hint = "nothing was written; give another name, or --force to replace it"
        raise JournalError(f"{file} exists already", hint=hint) from error
    except OSError as error:
        hint = "name a file in an existing folder that you may write into"
        shown = str(file) if len(str(file)) < 100 else f"{str(file)[:99]}…"
        raise JournalError(f"cannot write {shown}: {error.strerror}", hint=hint) from error


# -- set up -----------------------------------------------------------------------------------


@click.command("init")
@click.option("--test-command", help="Instead of the detected one.")
@click.option("--main-branch", help="Instead of the detected one.")
@click.option("--branch-prefix", default="", help="Of the branches of edits: PREFIX/NUMBER.")
@click.option("--force", is_flag=True, help="Replace a self-coding.toml that exists.")
@click.pass_obj
def init_command(
    session: Session,
    test_command: str | None,
    main_branch: str | None,
    branch_prefix: str,
    *,
    force: bool,
) -> None:
    """Detect main branch and test command, and write them into self-coding.toml."""
    from self_coding.app import open_app
    from self_coding.cli.setup import (
        Check,
        detect,
        detect_more,
        examine_tests,
        how_to_prove,
        write_settings,
    )

    detected = detect(session.repo, main_branch=main_branch, test_command=test_command)
    path = write_settings(detected, force=force, branch_prefix=branch_prefix)
    checks: list[Check] = []
    try:
        session.run(open_app(session.repo).git.get_main_commit())
        for _ in range(_LOOKS if detected.test_command else 0):
            session.say("looking for the tests ...")
            checks = session.run(examine_tests(open_app(session.repo)))
            more = detect_more(detected, checks)
            if more == detected:
                break
            detected = more
            write_settings(detected, force=True, branch_prefix=branch_prefix)
    except SelfCodingError as error:  # before the first commit, say
        checks = [Check("tests", "fail", error.message, error.hint)]
    lines = [
        f"wrote {path}",
        f"  main branch   {detected.main_branch}",
        f"  test command  {detected.test_command or 'none found'}",
        *(f"  gate.{name}  {', '.join(value)}" for name, value in detected.gate.items()),
    ]
    shown = [one for one in checks if (one.name, one.state) != ("test command", "ok")]
    lines += [f"{one.state:5} {one.name}: {one.told}" for one in shown]
    lines += [f"hint: {one.name}: {one.hint}" for one in checks if one.hint]
    if not detected.test_command:
        lines.append(f"next: {how_to_prove(detected.top)}")
    else:
        lines.append(
            f"next: commit it, for policy is read from commits: git add {path.name} && "
            'git commit -m "Set up self-coding"'
        )
        done = any(one.state == "fail" for one in checks)
        lines.append("then: self-coding doctor" if done else "then: self-coding doctor --run")
    session.emit({**vars(detected), "checks": checks}, "\n".join(lines))


@click.command("doctor")
@click.option("--run", is_flag=True, help="Run main's tests once, too.")
@click.pass_obj
def doctor_command(session: Session, *, run: bool) -> None:
    """Check that everything self-coding needs is here, and say what to do where it is not."""
    from self_coding.cli.setup import examine

    checks = session.run(examine(session.repo, run=run))
    rows = [[check.state, check.name, check.told] for check in checks]
    hints = [f"hint: {check.name}: {check.hint}" for check in checks if check.hint]
    session.emit(checks, "\n".join([table(rows), *hints]))
    if any(check.state == "fail" for check in checks):
        raise SystemExit(FAILED)


@click.command("demo")
@click.pass_obj
def demo_command(session: Session) -> None:
    """Watch a break and a cheat be refused, a good change land, a repeated mistake be warned of."""
    from self_coding.cli.demo import play

    story = session.run(play(session.say if session.as_json else click.echo))
    verdict = "every promise was kept" if story.went_well else "this went wrong; see above"
    session.emit(story, f"\n{verdict}")
    if not story.went_well:
        raise SystemExit(NOT_LANDED)


@click.command("dashboard")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Where to listen.  [default: any free]"
)
@click.option("--no-open", is_flag=True, help="Only print the address.")
@click.pass_obj
def dashboard_command(session: Session, port: int, *, no_open: bool) -> None:
    """Show what needs you, what happened and why, in your browser; it can approve and undo."""
    from self_coding.app import open_app
    from self_coding.cli.setup import examine
    from self_coding.dashboard.server import serve

    app = open_app(session.repo)
    # Without a screen the "browser" would be one that takes this terminal.
    has_screen = sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    serve(
        app,
        port=port,
        examine=lambda: examine(app.top),
        browse=bool(has_screen) and not no_open,
        say=session.say,
    )


@click.command("mcp")
@click.option("--http", is_flag=True, help="Serve streamable HTTP on loopback, not stdio.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True,
    help="For --http; 0: a free one, told at start.",
)  # fmt: skip
@click.option(
    "--token",
    envvar="SELF_CODING_TOKEN",
    help="The token that --http clients send; others may see it here, so rather use "
    "SELF_CODING_TOKEN or --token-file.  [default: a new one, printed at start]",
)
@click.option(
    "--token-file",
    type=click.File(encoding="utf-8"),
    help="The file that holds the token; '-' is standard input.",
)
@click.option(
    "--print-config", type=click.Choice(CLIENTS), help="Print what to put into a client's settings."
)
@click.option("--portable", is_flag=True, help="In --print-config: start it through uvx.")
@click.pass_obj
def mcp_command(
    session: Session,
    port: int,
    token: str | None,
    token_file: TextIO | None,
    print_config: str | None,
    *,
    http: bool,
    portable: bool,
) -> None:
    """Serve this repository to MCP clients (Claude Code, Cursor, Codex, Gemini CLI, ...)."""
    if print_config is not None:
        from self_coding.mcp_server.clients import Start, configuration, place

        if http and not port:
            raise ConfigError("settings need a port that stays", hint="give --port")
        start = Start(portable, port if http else 0, str(session.repo.resolve()))
        # only the settings go to standard output, so that they can be sent into a file
        session.say(f"for {place(print_config, start)}")
        click.echo(configuration(print_config, start))
        return
    from self_coding.app import open_app

    app = open_app(session.repo)
    if http:
        from self_coding.mcp_server import build
        from self_coding.mcp_server.http import serve

        token = token if token_file is None else token_file.read().strip()
        serve(build(app), port=port, token=token, say=session.say)
    else:
        from self_coding.mcp_server import opening

        opening.serve(app)


# -- hooks ------------------------------------------------------------------------------------

_FOR = click.option("--for", "kinds", type=click.Choice(HOOKS), multiple=True, help="Only these.")


@click.command("install-hooks")
@_FOR
@click.pass_obj
def install_hooks_command(session: Session, kinds: tuple[str, ...]) -> None:
    """Warn agents before an edit, snapshot after it, guard main before a push."""
    from self_coding.hooks.install import install

    _emit_hooks(session, install(session.repo, kinds or HOOKS))


@click.command("remove-hooks")
@_FOR
@click.pass_obj
def remove_hooks_command(session: Session, kinds: tuple[str, ...]) -> None:
    """Take our hooks out again; nothing else is touched."""
    from self_coding.hooks.install import remove

    _emit_hooks(session, remove(session.repo, kinds or HOOKS))


def _emit_hooks(session: Session, done: list[Entered]) -> None:
    session.emit(done, table([[one.outcome, one.hook, one.place, one.hint] for one in done]))


@click.command("hook", hidden=True)
@click.argument("event", type=click.Choice(["pre-edit", "post-edit", "pre-push"]))
@click.argument("rest", nargs=-1)
@click.pass_obj
def hook_command(session: Session, event: str, rest: tuple[str, ...]) -> None:
    """Answer a hook call; what `install-hooks` enters."""
    import json

    from self_coding.app import open_app

    if event == "pre-push":
        from self_coding.hooks.main_guard import before_push

        given = sys.stdin.buffer.read().decode("utf-8", "replace")
        verdict = session.run(before_push(open_app(session.repo), given))
        if not verdict.allowed:
            session.say(f"refused: {verdict.reason}")
            session.say("hint: land it with `self-coding self-edit`, or push with --no-verify")
            raise SystemExit(1)
        return
    from self_coding.hooks.events import on_edit

    try:
        payload = json.loads(sys.stdin.buffer.read() or b"{}")
        answer = session.run(on_edit(open_app(session.repo), event, payload), inline=True)
    except (SelfCodingError, ValueError, OSError, RecursionError) as error:
        # An agent is never stopped by a fault of ours; standard error says what it was.
        session.say(f"self-coding hook: {error}")
        return
    if answer:
        click.echo(json.dumps(answer))
