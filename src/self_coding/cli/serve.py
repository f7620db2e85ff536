"""Commands for other programs: mcp, install-hooks, remove-hooks, hook."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from self_coding.cli.session import Session, table
from self_coding.errors import SelfCodingError

if TYPE_CHECKING:
    from self_coding.app import App

CLIENTS = ("claude", "cursor", "vscode", "goose", "codex", "gemini", "opencode")
KINDS = ("claude", "git")


@click.command("mcp")
@click.option("--http", is_flag=True, help="Serve streamable HTTP on loopback, not stdio.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8765, show_default=True, help="For --http."
)
@click.option(
    "--token",
    envvar="SELF_CODING_TOKEN",
    help="The token that --http clients send.  [default: a new one, printed at start]",
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
    print_config: str | None,
    *,
    http: bool,
    portable: bool,
) -> None:
    """Serve this repository to MCP clients (Claude Code, Cursor, Codex, Gemini CLI, ...)."""
    if print_config is not None:
        _print_config(session, print_config, portable=portable)
        return
    from self_coding.app import open_app
    from self_coding.mcp_server import build

    app = open_app(session.repo)
    server = build(app)
    _tell_bypass(session, app)
    if http:
        from self_coding.mcp_server.http import serve

        serve(server, port=port, token=token, say=session.say)
    else:
        server.run("stdio")


def _print_config(session: Session, client: str, *, portable: bool) -> None:
    """The settings go to standard output, so that they can be sent straight into a file."""
    from self_coding.mcp_server.clients import configuration, place

    session.say(f"for {place(client, portable=portable)}")
    click.echo(configuration(client, portable=portable))


def _tell_bypass(session: Session, app: App) -> None:
    """What moved main past the guard is told at the start; a fault of that stops no server."""
    from self_coding.hooks import note_bypass

    try:
        found = session.run(note_bypass(app))
    except SelfCodingError as error:
        session.say(f"self-coding: {error}")
        return
    if found:
        session.say(f"bypassed: {found}")


@click.command("install-hooks")
@click.option("--for", "kinds", type=click.Choice(KINDS), multiple=True, help="Only these.")
@click.pass_obj
def install_hooks_command(session: Session, kinds: tuple[str, ...]) -> None:
    """Warn agents before an edit, snapshot after it, guard main before a push."""
    from self_coding.hooks import install

    done = install(session.repo, kinds or KINDS)
    session.emit(done, table([[one.outcome, one.hook, one.place, one.hint] for one in done]))


@click.command("remove-hooks")
@click.option("--for", "kinds", type=click.Choice(KINDS), multiple=True, help="Only these.")
@click.pass_obj
def remove_hooks_command(session: Session, kinds: tuple[str, ...]) -> None:
    """Take our hooks out again; nothing else is touched."""
    from self_coding.hooks import remove

    done = remove(session.repo, kinds or KINDS)
    session.emit(done, table([[one.outcome, one.hook, one.place, one.hint] for one in done]))


@click.command("hook", hidden=True)
@click.argument("event", type=click.Choice(["pre-edit", "post-edit", "pre-push"]))
@click.argument("rest", nargs=-1)
@click.pass_obj
def hook_command(session: Session, event: str, rest: tuple[str, ...]) -> None:
    """Answer a hook call; what `install-hooks` enters."""
    from self_coding.app import open_app
    from self_coding.hooks import before_push, on_edit

    if event == "pre-push":
        given = sys.stdin.buffer.read().decode("utf-8", "replace")
        verdict = session.run(before_push(open_app(session.repo), given))
        if not verdict.allowed:
            session.say(f"refused: {verdict.reason}")
            session.say("hint: land it with `self-coding try`, or push with --no-verify")
            raise SystemExit(1)
        return
    try:
        payload = json.loads(sys.stdin.buffer.read() or b"{}")
        answer = session.run(on_edit(open_app(session.repo), event, payload))
    except (SelfCodingError, ValueError, OSError, RecursionError) as error:
        # An agent is never stopped by a fault of ours; it is told on standard error.
        session.say(f"self-coding hook: {error}")
        return
    if answer:
        click.echo(json.dumps(answer))
