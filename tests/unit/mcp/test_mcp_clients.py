"""The settings printed for each client are in that client's documented form."""

from __future__ import annotations

import json
import shlex
import sys

import pytest

from self_coding.errors import ConfigError
from self_coding.mcp_server.clients import configuration, place

FOLDER = ["--repo", "${workspaceFolder}"]


@pytest.mark.parametrize(
    ("client", "file", "key", "where"),
    [
        ("claude", ".mcp.json", "mcpServers", []),
        ("cursor", ".cursor/mcp.json", "mcpServers", FOLDER),
        ("vscode", ".vscode/mcp.json", "servers", FOLDER),
    ],
)
def test_json_clients_get_one_server(client: str, file: str, key: str, where: list[str]) -> None:
    """The whole file is JSON with the server's command; where it goes is said apart from it.

    Claude Code starts servers in its project; the others fill in the folder that is open.
    """
    assert place(client).startswith(f"{file} ")
    command = {"command": sys.executable, "args": ["-m", "self_coding", *where, "mcp"]}
    assert json.loads(configuration(client)) == {key: {"self-coding": {"type": "stdio", **command}}}


def test_claude_code_is_told_its_command() -> None:
    """The one command that installs it is said with the place."""
    line = place("claude").partition("run:  ")[2]
    expected = ["claude", "mcp", "add", "self-coding", "--", sys.executable]
    assert shlex.split(line) == [*expected, "-m", "self_coding", "mcp"]


def test_goose_gets_an_extension() -> None:
    """Goose reads YAML: an extension with its command, its words and a time limit."""
    lines = configuration("goose", portable=True).splitlines()
    assert place("goose").startswith("~/.config/goose/config.yaml")
    assert lines[:2] == ["extensions:", "  self-coding:"]
    fields = [line.split(":")[0].strip() for line in lines[2:] if not line.startswith("      ")]
    assert fields == ["name", "description", "type", "enabled", "cmd", "args", "timeout"]
    arguments = [json.loads(line.strip()[2:]) for line in lines if line.startswith("      - ")]
    assert arguments == ["--from", "self-coding[mcp]", "self-coding", "mcp"]
    assert '    cmd: "uvx"' in lines


@pytest.mark.parametrize("client", ["claude", "cursor", "vscode", "goose"])
def test_portable_settings_name_no_path_of_this_machine(client: str) -> None:
    """Settings that are meant to be shared start the server through uvx."""
    told = configuration(client, portable=True) + place(client, portable=True)
    assert sys.executable not in told


def test_an_unknown_client_is_refused() -> None:
    """The error lists the clients that are known."""
    with pytest.raises(ConfigError, match="unknown client") as raised:
        configuration("emacs")
    assert "goose" in raised.value.hint
