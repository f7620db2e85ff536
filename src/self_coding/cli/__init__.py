"""The command line: `self-coding COMMAND`, made from the table of operations.

An operation's command is built when it is asked for, and so is everything it imports: `--help`
reads only the table. No rule and no effect is here.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import click

from self_coding.cli.session import FAILED, Session, guarded
from self_coding.operation import GO_BACK, OPERATIONS, Caller, Operation
from self_coding.operations import LOOK_BACK, NAMES
from self_coding.text import diff_paths, move_diff

if TYPE_CHECKING:
    from self_coding.cli.view import View
    from self_coding.operation import Parameter

__all__ = ["COMMANDS", "cli", "main"]

SET_UP = "Set up"
#: Commands that are written by hand, with their section in --help; the rest are operations.
WRITTEN = {
    "rollback": GO_BACK,
    "export": LOOK_BACK,
    "import": LOOK_BACK,
    "journal": LOOK_BACK,
    "init": SET_UP,
    "doctor": SET_UP,
    "config": SET_UP,
    "demo": SET_UP,
    "install": SET_UP,
    "dashboard": LOOK_BACK,
    "mcp": SET_UP,
    "install-hooks": SET_UP,
    "remove-hooks": SET_UP,
    "hook": "",
}
#: Options of views that are settings, for this one run.
_SETTINGS = ("test_command", "main_branch", "land_as")
#: Every command that --help lists, with its section.
COMMANDS = {row.command: row.section for row in OPERATIONS.values()} | WRITTEN


class _Commands(click.Group):
    """A group whose commands are built when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # `submit 12` was the name of `submit-edit` before there was a fleet to submit to.
        numbered = args[0] == "submit" and any(word.isdigit() for word in args[1:])
        if numbered and not {"--repo", "--priority", "--tries"} & {*args}:
            args = ["submit-edit", *args[1:]]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "install":  # apart, since it loads what hooks and servers do without
            from self_coding.cli.install import install_command

            return install_command
        if cmd_name == "config":
            from self_coding.cli.config_command import config_command

            return config_command
        if cmd_name in WRITTEN:
            from self_coding.cli import commands

            command = getattr(commands, f"{cmd_name.replace('-', '_')}_command")
            assert isinstance(command, click.Command)
            return command
        row = NAMES.get(cmd_name)
        return None if row is None else _command(row)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(filter(None, COMMANDS.values())):
            rows = []
            for name in (name for name, held in COMMANDS.items() if held == section):
                # the table says it: a command is not built for a line of help
                row = NAMES.get(name)
                command = click.Command(name, help=row.description) if row else None
                command = command or self.get_command(ctx, name)
                rows.append((name, command.get_short_help_str(120) if command else ""))
            with formatter.section(section):
                formatter.write_dl(rows)


def _command(row: Operation) -> click.Command:
    """Return the command of an operation: its arguments, its view's options, its help."""
    from self_coding.cli.views import view_of

    view = view_of(row.name)
    options = [*view.options()]
    if view.sarif:
        options.append(click.Option(["--sarif"], is_flag=True, help="Print findings as SARIF."))
    parameters = [one for one in row.parameters if one.arg.only != "mcp"]
    help_ = row.description
    for one in parameters:
        if one.required or one.arg.positional:
            help_ += f"\n\n{one.name.upper()}: {one.arg.about}"
    return click.Command(
        row.command,
        params=[*map(_parameter, parameters), *options],
        callback=partial(_run, row, view, [str(one.name) for one in options]),
        help=help_,
    )


def _parameter(one: Parameter) -> click.Parameter:
    """Return an argument of an operation as click knows it."""
    several = get_origin(one.type) is list
    (kind,) = get_args(one.type) if several else (one.type,)
    choices = get_args(kind)
    form: Any = kind
    if one.arg.file:
        form = click.Path(path_type=Path, allow_dash=True)
    elif choices:
        form = click.Choice(choices)
    elif one.arg.least is not None or one.arg.most is not None:
        form = click.IntRange(one.arg.least, one.arg.most)
    if one.required or one.arg.positional:
        return click.Argument(
            [one.name],
            type=form,
            nargs=-1 if several else 1,
            required=one.required,
            default=None if one.required else one.default,
        )
    option = one.arg.option
    names = [one.name, option or f"--{one.name.replace('_', '-')}"]
    if len(option) == 2:  # a short one, beside the long one
        names.insert(1, f"--{one.name}")
    about = one.arg.about + (" ('-': standard input.)" if one.arg.file else "")
    if kind is bool:
        return click.Option(names, is_flag=True, help=about)
    shown = one.default not in (None, "")
    return click.Option(
        names, type=form, multiple=several, default=one.default, show_default=shown, help=about
    )


def _run(row: Operation, view: View, own: list[str], /, **values: Any) -> None:
    """Run an operation with what the command line says, and print its result."""
    from self_coding.app import open_app
    from self_coding.cli.views import ask_person, progress_line

    session: Session = click.get_current_context().obj
    extra = {name: values.pop(name, None) for name in own}
    settings = {name: extra.pop(name) for name in _SETTINGS if name in extra}
    app = open_app(session.repo, anywhere=row.anywhere, **{**session.settings, **settings})
    for one in row.parameters:
        value: Any = values.get(one.name)
        if isinstance(value, tuple):  # click's form of what is given many times
            value = list(value) or None
        if one.arg.file and value is not None:
            value = session.read(value, one.name)
            paths, here = diff_paths(value), app.top / app.folder
            # Made with --relative: its paths lead nowhere from the top, and somewhere from here.
            if not any((app.top / path).exists() for path in paths) and any(
                (here / path).exists() for path in paths
            ):
                value = move_diff(value, app.folder)
        elif one.arg.path and value:  # as git has it: from where the person is
            words = [value] if isinstance(value, str) else value
            given = [os.path.relpath(app.start.resolve() / word, app.top) for word in words]
            value = given[0] if isinstance(value, str) else given
        values[one.name] = value
    if row.effect == "lands" and not session.quiet:
        branch: str = session.run(app.git.get_current_branch(), inline=True)
        main = values.get("base") or app.settings.main_branch
        if branch != main:  # a linked worktree, say: its branch has no part
            at = f"on {branch}" if branch else "detached"
            session.say(f"this is for {main}; your checkout is {at}")
    caller = Caller(lambda step: session.say(progress_line(step)), ask_person, session.say)
    as_sarif = extra.pop("sarif", False)
    result = session.run(row(app, caller, **values), inline=row.effect == "reads")
    if as_sarif:
        from importlib import metadata

        from self_coding.cli.sarif import found_in, sarif
        from self_coding.cli.session import print_json

        print_json(sarif(found_in(result), metadata.version("self-coding")))
    else:
        session.emit(view.data(result, session, **extra), lambda: view.text(result, **extra))
    if status := view.status(result):
        raise SystemExit(status)


def _version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        from importlib import metadata

        click.echo(f"self-coding, version {metadata.version('self-coding')}")
        ctx.exit()


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--repo",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    envvar="SELF_CODING_REPO",
    help="The repository to work in.  [default: the current directory]",
)
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on standard error.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and exit.",
)
# Of the process that began this one: what it was given.
@click.option("--settings", hidden=True, default="{}", type=json.loads)
@click.pass_context
def cli(
    ctx: click.Context,
    repo: Path,
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
    settings: dict[str, Any],
) -> None:
    """Lets any agent change any git repository: nobody loses work, and what was tested lands."""
    ctx.obj = Session(repo=repo, as_json=as_json, quiet=quiet, debug=debug, settings=settings)


def main() -> None:
    """Run one command line and exit with its status: the console script."""
    if sys.platform != "linux":
        # Before anything is imported that this system may not have.
        click.echo(
            "error: self-coding runs on Linux only for now: its sandbox, locks and file swaps are"
            " those of the Linux kernel\n"
            "hint: on Windows use it in WSL 2, on macOS in a Linux container or virtual machine",
            err=True,
        )
        sys.exit(FAILED)
    # `--json` and `--debug` may come after the command too, where people write them.
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    early = [word for word in words[:end] if word in ("--json", "--debug")]
    late = [word for word in words[:end] if word not in ("--json", "--debug")]
    arguments = [*early, *late, *words[end:]]
    sys.exit(guarded(lambda: cli.main(args=arguments, standalone_mode=False)))
