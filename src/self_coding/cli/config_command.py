"""`self-coding config`: the settings, where they come from, and what of them is trusted."""

from __future__ import annotations

import os

import click

from self_coding.cli.session import Session, table
from self_coding.errors import ConfigError


@click.group("config", invoke_without_command=True)
@click.pass_context
def config_command(context: click.Context) -> None:
    """List the settings, with where each comes from; get one, or explain it.

    `config explain` explains all of them, `config explain NAME` one, `config get NAME` prints its
    value.
    """
    if context.invoked_subcommand is None:
        _emit_settings(context.obj, "list", "")


@config_command.command("list")
@click.pass_obj
def config_list_command(session: Session) -> None:
    """List every setting: its value, and where it comes from."""
    _emit_settings(session, "list", "")


@config_command.command("get")
@click.argument("name")
@click.pass_obj
def config_get_command(session: Session, name: str) -> None:
    """Print the value of the setting NAME."""
    _emit_settings(session, "get", name)


@config_command.command("explain")
@click.argument("name", default="")
@click.pass_obj
def config_explain_command(session: Session, name: str) -> None:
    """Say what the setting NAME means, in which unit, with an example; without NAME, all."""
    _emit_settings(session, "explain", name)


@config_command.command("trust")
@click.pass_obj
def config_trust_command(session: Session) -> None:
    """Let commands and addresses of the settings file be used here, as they stand now."""
    from self_coding.app import open_app
    from self_coding.settings import FILES

    app = open_app(session.repo)
    trusted = app.trust()
    lines = [f"trusted here: {name} = {value}" for name, value in trusted.items()]
    nothing = f"{' and '.join(FILES)} run nothing and send nothing outside the sandbox"
    session.emit(trusted, "\n".join(lines) or nothing)


def _emit_settings(session: Session, form: str, name: str) -> None:
    import difflib
    import json

    from self_coding.app import open_app
    from self_coding.settings import Settings, named, sources
    from self_coding.values.explanations import EXPLANATIONS

    app = open_app(session.repo)
    where, defaults = sources(app.top, os.environ), dict(named(Settings()))
    values = dict(named(app.settings))
    if name and name not in values:
        near = difflib.get_close_matches(name, values, cutoff=0.5)
        near += [one for one in values if one.rpartition(".")[2] == name]
        hint = f"is it {' or '.join(dict.fromkeys(near))}?" if near else "see `config list`"
        raise ConfigError(f"there is no setting {name!r}", hint=hint)
    rows, texts = [], []
    for one in [name] if name else values:
        about, example, unit = EXPLANATIONS[one]
        value, source = values[one], where.get(one, "default")
        shown, least = ("-" if x in ("", None) else json.dumps(x) for x in (value, defaults[one]))
        row = {"name": one, "value": value, "source": source, "default": defaults[one]}
        rows.append({**row, "about": about, "unit": unit, "example": example})
        allowed = EXPLANATIONS[one].allowed(one)
        facts = {
            "value": f"{shown}  (from {source})",
            "default": least,
            "unit": unit,
            "allowed": allowed,
            "example": f"{one} = {example}",
            "note": "what counts is main's own, committed" if one.startswith("policy.") else "",
        }
        lines = [f"  {key:8} {fact}" for key, fact in facts.items() if fact]
        texts.append("\n".join([f"{one}: {about}", *lines]))
    if form == "list":
        cut = [[row["name"], json.dumps(row["value"])[:60], row["source"]] for row in rows]
        texts = [table([[str(cell) for cell in row] for row in cut])]
    elif form == "get":
        value = values[name]
        texts = [value if isinstance(value, str) else json.dumps(value)]
    session.emit(rows[0] if name else rows, "\n\n".join(texts))
