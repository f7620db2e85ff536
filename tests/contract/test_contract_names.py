"""One operation has one name and one first sentence: in Python, on the command line, over MCP."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
import pytest

import self_coding.operations
from self_coding import open_app
from self_coding.app import App
from self_coding.cli import COMMANDS, WRITTEN, cli, views
from self_coding.mcp_server import build
from self_coding.mcp_server.answers import ANSWERS
from self_coding.operations import OPERATIONS
from self_coding.testing import sample_repo
from self_coding.values import results

ROOT = Path(__file__).resolve().parents[2]
TOOLS = [name for name, row in OPERATIONS.items() if row.tool]
#: Methods whose names are older than the table, and stay.
FOUNDING = {"get_summary": "code_summary", "get_by_id": "show_attempt"}


def _sentence(text: str | None) -> str:
    """The first sentence, however the lines break."""
    return inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " ")


def _command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    return open_app(sample_repo(tmp_path_factory.mktemp("names") / "repository"), environ={})


async def test_the_tools_are_the_table(app: App) -> None:
    """Every operation that MCP offers is a tool of its name, with its description and arguments."""
    # Named, not asked: some are offered only where a server has the journals.
    served = open_app(app.top, environ={}, database="postgresql://localhost/journals")
    tools = {tool.name: tool for tool in await build(served).list_tools()}
    assert list(tools) == TOOLS
    for name in TOOLS:
        row, tool = OPERATIONS[name], tools[name]
        assert tool.description == row.description
        offered = {one.name: one.arg.about for one in row.parameters if one.arg.only != "cli"}
        schema = tool.input_schema["properties"]
        told = {key: value["description"] for key, value in schema.items()}
        assert told.pop("repo"), "every tool can be told which repository it is for"
        assert told == offered
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == (row.effect == "reads")
        assert bool(tool.annotations.destructive_hint) == (row.effect in ("lands", "restores"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_command_is_the_operation(name: str) -> None:
    """Every operation is a command of its name, with dashes, that opens with its sentence."""
    row = OPERATIONS[name]
    command = _command(row.command)
    assert row.command == name.replace("_", "-")
    assert _sentence(command.help) == _sentence(row.description)
    if row.command not in WRITTEN:
        offered = {one.name for one in row.parameters if one.arg.only != "mcp"}
        assert offered <= {parameter.name for parameter in command.params}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_method_has_the_operations_name(name: str, app: App) -> None:
    """The service method behind an operation has its name, or one of the founding names."""
    service, _, method = OPERATIONS[name].method.partition(".")
    found = getattr(getattr(app, service), method)
    assert inspect.iscoroutinefunction(found)
    assert inspect.getdoc(found)
    assert FOUNDING.get(method, method) == name, "give the service a method of the same name"
    assert getattr(self_coding.operations, name) is OPERATIONS[name].call


@pytest.mark.parametrize(
    ("old", "name"),
    [(old, name) for name, row in OPERATIONS.items() for old in row.old_names],
)
async def test_old_names_are_accepted(old: str, name: str, app: App) -> None:
    """For one release an old name means the same command and the same tool, and is not listed."""
    assert _command(old).name == OPERATIONS[name].command
    assert old not in COMMANDS
    server = build(app)
    assert old not in [tool.name for tool in await server.list_tools()]
    if name == "attempts":
        answer = await server.call_tool(old, {})
        assert answer.structured_content == {"attempts": [], "waiting": [], "has_more": False}


def test_what_was_shipped_is_still_accepted() -> None:
    """The names of the first release are commands and tools yet."""
    shipped = {
        "try", "begin", "submit", "land", "drop", "resume", "log", "show", "similar", "stats",
        "lessons", "export", "import", "relevant", "impact", "users", "summary", "context",
        "snapshot", "plan-rollback", "rollback", "undo", "redo", "operations", "explain",
        "recover", "gc", "verify", "init", "doctor", "demo", "mcp", "install-hooks",
        "remove-hooks", "hook",
    }  # fmt: skip
    for name in shipped:
        assert _command(name)
    tools = {
        "self_edit", "begin_edit", "submit_edit", "land_edit", "drop_edit", "context",
        "relevant_files", "impact", "users", "summary", "find_similar", "attempts", "show",
        "stats", "snapshot", "plan_rollback", "rollback", "undo",
    }  # fmt: skip
    names = {old: row for row in OPERATIONS.values() for old in (row.name, *row.old_names)}
    assert all(names[tool].tool for tool in tools)


def test_views_and_answers_are_of_operations() -> None:
    """None is left of an operation that is gone, and none that MCP needs is missing."""
    helpers = {"ask_person", "plain", "progress_line", "view", "view_of", "when"}
    functions = inspect.getmembers(views, inspect.isfunction)
    own = {name for name, one in functions if one.__module__ == views.__name__}
    assert {name for name in own if not name.startswith("_")} - helpers <= set(OPERATIONS)
    assert set(ANSWERS) <= set(TOOLS)
    for name in TOOLS:
        row = OPERATIONS[name]
        composed = hasattr(results, row.call.__annotations__["return"])
        if composed or row.question:
            assert name in ANSWERS, f"{name} needs a row of ANSWERS in mcp_server/answers.py"


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_is_documented(name: str) -> None:
    """Command and tool have their headings in the reference."""
    row = OPERATIONS[name]
    todo = "run: python docs/generate.py"
    pages = ROOT / "docs" / "reference"
    assert f"## {row.command}\n" in (pages / "cli.md").read_text("utf-8"), todo
    if row.tool:
        assert f"## {name}\n" in (pages / "mcp.md").read_text("utf-8"), todo


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str) -> None:
    """No command, option or argument is left unexplained."""
    command = _command(name)
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name}"
        elif not command.hidden:
            assert parameter.make_metavar(click.Context(command)).strip("[].") in command.help
