"""One thing has one name and one first sentence: as a method, a command and an MCP tool."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
import pytest

from self_coding.app import open_app
from self_coding.cli import COMMANDS, cli
from self_coding.codebase_indexer import CodebaseIndexer
from self_coding.git_safety import GitSafety
from self_coding.mcp_server import build
from self_coding.modification_journal import ModificationJournal
from self_coding.self_edit import SelfEdit
from self_coding.testing import sample_repo

ROOT = Path(__file__).resolve().parents[2]

# command, MCP tool, method
NAMES = [
    ("try", "self_edit", SelfEdit.self_edit),
    ("begin", "begin_edit", SelfEdit.begin_edit),
    ("submit", "submit_edit", SelfEdit.submit_edit),
    ("land", "land_edit", SelfEdit.land_edit),
    ("drop", "drop_edit", SelfEdit.drop_edit),
    ("context", "context", SelfEdit.context),
    ("relevant", "relevant_files", CodebaseIndexer.relevant),
    ("impact", "impact", CodebaseIndexer.impact),
    ("users", "users", CodebaseIndexer.users_of),
    ("summary", "summary", CodebaseIndexer.get_summary),
    ("similar", "find_similar", ModificationJournal.similar),
    ("log", "attempts", ModificationJournal.recent),
    ("show", "show", ModificationJournal.get_by_id),
    ("stats", "stats", ModificationJournal.rates),
    ("snapshot", "snapshot", GitSafety.snapshot),
    ("plan-rollback", "plan_rollback", GitSafety.plan_rollback),
    ("rollback", "rollback", GitSafety.rollback),
    ("undo", "undo", GitSafety.undo),
]


def _sentence(text: str | None) -> str:
    """The first sentence, however its arguments are spelled."""
    first = inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " ")
    return first.lower().replace("_edit", "").replace(" an attempt", " attempt").rstrip(".")


def _command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


async def test_commands_and_tools_say_the_same(tmp_path: Path) -> None:
    """A command and its tool open with the same sentence, and every tool has a command."""
    tools = {tool.name: tool for tool in await build(_layer(tmp_path)).list_tools()}
    assert set(tools) == {tool for _, tool, _ in NAMES}
    for name, tool, _ in NAMES:
        told = _sentence(tools[tool].description)
        assert told == _sentence(_command(name).help), name


def _layer(tmp_path: Path):  # type: ignore[no-untyped-def]
    return open_app(sample_repo(tmp_path / "repository"), environ={})


@pytest.mark.parametrize(("name", "tool", "method"), NAMES, ids=[name for name, _, _ in NAMES])
def test_each_is_documented(name: str, tool: str, method: object) -> None:
    """Command and tool stand in the reference, and the method promises something."""
    assert f"## {name}\n" in (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    assert f"## {tool}\n" in (ROOT / "docs" / "reference" / "mcp.md").read_text("utf-8")
    assert inspect.getdoc(method)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str) -> None:
    """No command, option or argument is left unexplained."""
    command = _command(name)
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name}"
