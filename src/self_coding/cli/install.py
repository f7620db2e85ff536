"""`install`: enter our server and hooks where each agent looks for them, or take them out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from self_coding.cli.commands import CLIENTS
from self_coding.cli.session import FAILED, Session, printable, table
from self_coding.errors import ConfigError, GitNotRepositoryError, MissingExtraError

if TYPE_CHECKING:
    from self_coding.adapters.settings_files import Change
    from self_coding.adapters.settings_text import Entry
    from self_coding.mcp_server.clients import Start


@dataclass(frozen=True)
class Entered:
    """What became of one file: "installed", "removed", "already there", "absent", "refused"."""

    agent: str
    what: str
    file: str
    outcome: str
    hint: str = ""


@click.command("install")
@click.argument("agents", nargs=-1, type=click.Choice(CLIENTS), metavar="[AGENTS]...")
@click.option(
    "--scope", type=click.Choice(["project", "user"]), default="project", show_default=True,
    help="For this repository, or for all that the agent works in.",
)  # fmt: skip
@click.option("--remove", is_flag=True, help="Take it out again: files are as they were.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--portable", is_flag=True, help="Start the server through uvx, to be shared.")
@click.option("--no-hooks", is_flag=True, help="Only the server.")
@click.pass_obj
def install_command(
    session: Session,
    agents: tuple[str, ...],
    scope: str,
    *,
    remove: bool,
    yes: bool,
    portable: bool,
    no_hooks: bool,
) -> None:
    """Enter server and hooks into the settings of AGENTS (default: those on this machine).

    The change of each file is shown first. What stands there stays: a file is added to, or refused.
    """
    from self_coding.adapters.paths import FOLDER, git_directories
    from self_coding.adapters.settings_files import LEDGER, apply
    from self_coding.mcp_server.clients import AGENTS, Start, found

    home, directories = Path.home(), git_directories(session.repo)
    in_project = scope == "project"
    if directories is None and in_project:
        raise GitNotRepositoryError(
            f"{session.repo.resolve()} is in no working tree of a git repository",
            hint="run it inside one, or use --scope user",
        )
    top = session.repo.resolve() if directories is None else directories.top
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local/state", "self-coding")
    ledger = (directories.common / FOLDER if directories and in_project else state) / LEDGER
    chosen = list(agents) or found(home)
    if not chosen:
        raise ConfigError("no agent is seen on this machine", hint=f"name one: {', '.join(AGENTS)}")
    files = [
        (agent, *one)
        for agent in chosen
        for one in _files(
            agent, top if in_project else None, home, Start(portable, top=str(top)), not no_hooks
        )
    ]
    done, changes = _planned(files, ledger, top if in_project else None, remove=remove)
    if changes and not yes:
        many = f"{len(changes)} file{'s' if len(changes) > 1 else ''}"
        click.confirm(f"Change {many}?", abort=True, err=True)
    for number, change in changes:
        apply(change, ledger, remove=remove)
        done[number] = replace(done[number], outcome="removed" if remove else "installed")
    if changes and not remove and not portable and directories is not None:
        from self_coding.app import open_app
        from self_coding.mcp_server import opening

        with suppress(MissingExtraError):  # now, so that the agent's first start is a fast one
            opening.recorded(open_app(top), opening.cache())
    session.emit(done, table([[x.outcome, x.agent, x.what, x.file, x.hint] for x in done]))
    if any(row.outcome == "refused" for row in done):
        raise SystemExit(FAILED)


def _planned(
    files: list[tuple[str, str, Path | None, list[Entry]]],
    ledger: Path,
    top: Path | None,
    *,
    remove: bool,
) -> tuple[list[Entered], list[tuple[int, Change]]]:
    """Return what becomes of each file, and the changes with the row of each; none leads out of
    `top`."""
    from self_coding.adapters.settings_files import adding, removing
    from self_coding.hooks import install as hooks
    from self_coding.mcp_server.clients import AGENTS

    done: list[Entered] = []
    changes: list[tuple[int, Change]] = []
    for agent, what, file, entries in files:
        row = Entered(agent, what, str(file or ""), "absent" if remove else "already there")
        try:
            if file is None:
                raise ConfigError("", hint="it has no file in a repository: --scope user")
            # A committed link to a home's settings would let a clone write there.
            if top and hooks.leads_out(file, top):
                raise ConfigError("", hint=f"{file} leads out of the repository")
            plan = removing if remove else adding
            change = plan(file, AGENTS[agent].form, entries, ledger, hooks.MARK)
            if change.before != change.after:
                changes.append((len(done), change))
                click.echo(printable(change.diff), err=True)
        except ConfigError as error:
            hint = " ".join(filter(None, [error.message, error.hint]))
            row = replace(row, outcome="refused" if file else "left alone", hint=hint)
        done.append(row)
    return done, changes


def _files(
    agent: str,
    top: Path | None,
    home: Path,
    start: Start,
    with_hooks: bool,
) -> Iterator[tuple[str, Path | None, list[Entry]]]:
    """Yield each file of an agent with what goes into it; None where it has none in `top`."""
    from self_coding.hooks import install as hooks
    from self_coding.mcp_server.clients import AGENTS, entry

    client, held = AGENTS[agent], hooks.AGENTS.get(agent)
    server: Path | None = top / client.project if top else home / client.user
    if top and not client.project:
        server = None
    ours = hooks.entries(agent) if held and with_hooks else []
    its = (top / held.project if top else home / held.user) if held else None
    if ours and its == server:
        yield "server, hooks", server, [entry(agent, start), *ours]
        return
    yield "server", server, [entry(agent, start)]
    if ours:
        yield "hooks", its, ours
