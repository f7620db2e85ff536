"""The command line: `self-coding COMMAND`. It translates words to calls, and results to text.

Commands live in the modules beside this one and are imported when one is asked for, so that
`--help` is quick. No rule and no effect stands here.
"""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from pathlib import Path

import click

from self_coding.cli.session import Session, guarded

__all__ = ["cli", "main"]

# command: (module that holds it, its section in --help)
COMMANDS = {
    "try": ("edit", "Change code"),
    "begin": ("edit", "Change code"),
    "submit": ("edit", "Change code"),
    "land": ("edit", "Change code"),
    "drop": ("edit", "Change code"),
    "resume": ("edit", "Change code"),
    "log": ("remember", "Look back"),
    "show": ("remember", "Look back"),
    "similar": ("remember", "Look back"),
    "stats": ("remember", "Look back"),
    "lessons": ("remember", "Look back"),
    "export": ("remember", "Look back"),
    "import": ("remember", "Look back"),
    "relevant": ("know", "Know the code"),
    "impact": ("know", "Know the code"),
    "users": ("know", "Know the code"),
    "summary": ("know", "Know the code"),
    "context": ("know", "Know the code"),
    "snapshot": ("restore", "Go back"),
    "plan-rollback": ("restore", "Go back"),
    "rollback": ("restore", "Go back"),
    "undo": ("restore", "Go back"),
    "redo": ("restore", "Go back"),
    "operations": ("restore", "Go back"),
    "explain": ("restore", "Go back"),
    "recover": ("restore", "Go back"),
    "gc": ("restore", "Go back"),
    "verify": ("restore", "Go back"),
    "init": ("setup", "Set up"),
    "doctor": ("setup", "Set up"),
    "demo": ("setup", "Set up"),
    "mcp": ("serve", "Set up"),
    "install-hooks": ("serve", "Set up"),
    "remove-hooks": ("serve", "Set up"),
    "hook": ("serve", ""),
}


class _Commands(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module = import_module(f"self_coding.cli.{found[0]}")
        command = getattr(module, cmd_name.replace("-", "_") + "_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = dict.fromkeys(section for _, section in COMMANDS.values() if section)
        for section in sections:
            names = [name for name, (_, held) in COMMANDS.items() if held == section]
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                rows.append((name, command.get_short_help_str(120) if command else ""))
            with formatter.section(section):
                formatter.write_dl(rows)


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
@click.version_option(version=metadata.version("self-coding"), prog_name="self-coding")
@click.pass_context
def cli(ctx: click.Context, repo: Path, *, as_json: bool, quiet: bool, debug: bool) -> None:
    """Lets any agent change any git repository: nobody loses work, and what was tested lands."""
    ctx.obj = Session(repo=repo, as_json=as_json, quiet=quiet, debug=debug)


def main() -> None:
    """The console script: run one command line and exit with its status."""
    sys.exit(guarded(lambda: cli.main(args=_hoisted(sys.argv[1:]), standalone_mode=False)))


def _hoisted(arguments: list[str]) -> list[str]:
    """`--json` and its like may stand after the command too, where people write them."""
    flags = {"--json", "--debug"}
    until = arguments.index("--") if "--" in arguments else len(arguments)
    early, rest = arguments[:until], arguments[until:]
    moved = [word for word in early if word in flags]
    return [*moved, *(word for word in early if word not in flags), *rest]
