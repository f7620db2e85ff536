"""What `mcp --print-config` prints starts a server that answers, just as each client starts it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client import Client

import forked
from self_coding.cli.commands import CLIENTS
from self_coding.mcp_server import clients
from self_coding.testing import sample_repo


def _printed(client: str, repository: Path) -> str:
    done = forked.run("mcp", "--print-config", client, cwd=repository)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("for "), "where it goes is said on standard error"
    return done.stdout


def _command(client: str, text: str) -> list[str]:
    """The words of the command, read as the client's documentation says."""
    if client == "goose":
        lines = [line.strip().partition(": ") for line in text.splitlines()]
        fields = {name: held for name, _, held in lines}
        return [json.loads(fields["cmd"]), *json.loads(fields["args"])]
    if client == "codex":
        server = tomllib.loads(text)["mcp_servers"]["self-coding"]
        assert server["tool_timeout_sec"] == 1800, "a call lasts as long as its tests"
        assert server["startup_timeout_sec"] == 60
        for tool in ("self_edit", "submit_edit", "wait_edit"):  # a long suite wants the last one
            assert server["tools"][tool] == {"approval_mode": "approve"}
        return [server["command"], *server["args"]]
    if client == "opencode":
        entry = json.loads(text)["mcp"]["self-coding"]
        assert (entry["type"], entry["enabled"]) == ("local", True)
        return list(entry["command"])
    key = {"vscode": "servers", "zed": "context_servers"}.get(client, "mcpServers")
    entry = json.loads(text)[key]["self-coding"]
    return [entry["command"], *entry["args"]]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_repo(tmp_path_factory.mktemp("configs") / "a repository")


#: What was started, and where; most clients are given the very same words.
started: set[tuple[str, ...]] = set()


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_printed_settings_start_a_server(client: str, repository: Path) -> None:
    """Cursor and VS Code start it elsewhere, with the project's folder; the others in it."""
    command = _command(client, _printed(client, repository))
    filled = [word.replace("${workspaceFolder}", str(repository)) for word in command]
    start = repository if filled == command else repository.parent
    if (*filled, str(start)) in started:
        return
    server = StdioServerParameters(command=filled[0], args=filled[1:], cwd=start)
    async with Client(server) as session:
        names = {tool.name for tool in (await session.list_tools()).tools}
        assert {"self_edit", "begin_edit", "submit_edit", "context"} <= names
        found = await session.call_tool("relevant_files", {"task": "add two numbers"})
        assert not found.is_error, found.content
        assert "src/calc/core.py" in str(found.structured_content)
    started.add((*filled, str(start)))


def test_every_client_is_offered() -> None:
    """The command line names the clients without loading the server; the names are the same."""
    assert tuple(clients.AGENTS) == CLIENTS


def test_settings_for_a_port_that_changes_are_refused() -> None:
    """`--port 0` is for who starts the server; settings need one that stays."""
    argv = [sys.executable, "-m", "self_coding", "mcp", "--http", "--port", "0"]
    done = subprocess.run([*argv, "--print-config", "codex"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert "give --port" in done.stderr
