"""The settings printed for each client are in that client's documented form."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib

import pytest

from self_coding.errors import ConfigError
from self_coding.mcp_server.clients import AGENTS, Start, configuration, place

FOLDER = ["--repo", "${workspaceFolder}"]
URL = "http://127.0.0.1:8765/mcp"
TOKEN = "Authorization"


@pytest.mark.parametrize(
    ("client", "file", "key", "where", "more"),
    [
        ("claude", ".mcp.json", "mcpServers", [], {"type": "stdio"}),
        ("cursor", ".cursor/mcp.json", "mcpServers", FOLDER, {"type": "stdio"}),
        ("vscode", ".vscode/mcp.json", "servers", FOLDER, {"type": "stdio"}),
        (
            "gemini",
            ".gemini/settings.json",
            "mcpServers",
            [],
            {"type": "stdio", "timeout": 1800000},
        ),
        ("cline", "~/.cline/", "mcpServers", ["--repo", "/top"], {"timeout": 1800}),
        ("windsurf", "~/.codeium/windsurf/mcp_config.json", "mcpServers", ["--repo", "/top"], {}),
        ("zed", ".zed/settings.json", "context_servers", [], {}),
    ],
)
def test_json_clients_get_one_server(
    client: str, file: str, key: str, where: list[str], more: dict[str, object]
) -> None:
    """The whole file is JSON with the server's command; where it goes is said apart from it.

    Most start servers in their project, some fill in the folder that is open, the others are told.
    """
    assert place(client).startswith(file)
    expected = {"command": sys.executable, "args": ["-m", "self_coding", *where, "mcp"], **more}
    assert json.loads(configuration(client, Start(top="/top"))) == {key: {"self-coding": expected}}


HTTP = {
    "claude": {"type": "http", "url": URL, "headers": {TOKEN: "Bearer ${SELF_CODING_TOKEN}"}},
    "cursor": {"url": URL, "headers": {TOKEN: "Bearer ${env:SELF_CODING_TOKEN}"}},
    "vscode": {"type": "http", "url": URL, "headers": {TOKEN: "Bearer ${env:SELF_CODING_TOKEN}"}},
    "gemini": {"httpUrl": URL, "headers": {TOKEN: "Bearer $SELF_CODING_TOKEN"}, "timeout": 1800000},
    "opencode": {
        "type": "remote", "url": URL, "headers": {TOKEN: "Bearer {env:SELF_CODING_TOKEN}"},
        "timeout": 1800000, "enabled": True, "oauth": False,
    },
    "cline": {
        "type": "streamableHttp", "url": URL, "timeout": 1800,
        "headers": {TOKEN: "Bearer ${env:SELF_CODING_TOKEN}"},
    },
    "windsurf": {"serverUrl": URL, "headers": {TOKEN: "Bearer ${env:SELF_CODING_TOKEN}"}},
    "zed": {"url": URL, "headers": {TOKEN: "Bearer the token"}},
}  # fmt: skip


@pytest.mark.parametrize("client", AGENTS)
def test_over_http_the_token_is_a_variable(client: str) -> None:
    """Each client gets the address in its own words, and the token by the name of a variable."""
    text = configuration(client, Start(port=8765))
    if client == "codex":
        server = tomllib.loads(text)["mcp_servers"]["self-coding"]
        assert (server["url"], server["bearer_token_env_var"]) == (URL, "SELF_CODING_TOKEN")
        assert server["startup_timeout_sec"] == 60
    elif client == "goose":
        lines = [line.strip() for line in text.splitlines()]
        assert 'type: "streamable_http"' in lines and f'uri: "{URL}"' in lines
        assert 'Authorization: "Bearer $SELF_CODING_TOKEN"' in lines
    else:
        (servers,) = json.loads(text).values()
        assert servers["self-coding"] == HTTP[client]
    assert "SELF_CODING_TOKEN" in place(client, Start(port=8765)) or client == "zed"


def test_claude_code_is_told_its_command() -> None:
    """The command of its own that enters it is said with the place, and how long it should wait."""
    line = place("claude").partition("; or run:  ")[2].partition("; ")
    expected = ["claude", "mcp", "add", "self-coding", "--", sys.executable]
    assert shlex.split(line[0]) == [*expected, "-m", "self_coding", "mcp"]
    assert "MCP_TIMEOUT=60000" in line[2]


def test_goose_gets_an_extension() -> None:
    """Goose reads YAML: an extension with its command, its words and a time limit."""
    lines = configuration("goose", Start(portable=True)).splitlines()
    assert place("goose").startswith("~/.config/goose/config.yaml")
    assert lines[:2] == ["extensions:", "  self-coding:"]
    fields = {line.split(":")[0].strip(): line.partition(": ")[2] for line in lines[2:]}
    assert json.loads(fields["args"]) == [
        "--from", "self-coding[mcp,sandbox]", "self-coding", "mcp",
    ]  # fmt: skip
    assert fields["cmd"] == '"uvx"' and fields["timeout"] == "1800"


@pytest.mark.parametrize("client", AGENTS)
def test_portable_settings_name_no_path_of_this_machine(client: str) -> None:
    """Settings that are meant to be shared start the server through uvx, sandbox included."""
    told = configuration(client, Start(portable=True)) + place(client, Start(portable=True))
    assert sys.executable not in told
    assert "self-coding[mcp,sandbox]" in told


def test_an_unknown_client_is_refused() -> None:
    """The error lists the clients that are known."""
    with pytest.raises(ConfigError, match="unknown client") as raised:
        configuration("emacs")
    assert "goose" in raised.value.hint
