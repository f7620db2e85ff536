"""What `mcp --print-config` prints starts a server that answers, just as each client starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client import Client

from self_coding.testing import sample_repo


def _printed(client: str, repository: Path) -> str:
    argv = [sys.executable, "-m", "self_coding", "mcp", "--print-config", client]
    done = subprocess.run(argv, cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("for "), "where it goes is said on standard error"
    return done.stdout


def _command(client: str, text: str) -> list[str]:
    """The words of the command, read as the client's documentation says."""
    if client == "goose":
        lines = [line.strip() for line in text.splitlines()]
        cmd = next(line.removeprefix("cmd: ") for line in lines if line.startswith("cmd: "))
        return [json.loads(cmd), *(json.loads(line[2:]) for line in lines if line[:2] == "- ")]
    entry = json.loads(text)["servers" if client == "vscode" else "mcpServers"]["self-coding"]
    assert entry["type"] == "stdio"
    return [entry["command"], *entry["args"]]


@pytest.mark.parametrize("client", ["claude", "cursor", "vscode", "goose"])
async def test_the_printed_settings_start_a_server(client: str, tmp_path: Path) -> None:
    """Claude Code and Goose start it in the project; the others elsewhere, with its folder."""
    repository = sample_repo(tmp_path / "a repository")
    command = _command(client, _printed(client, repository))
    filled = [word.replace("${workspaceFolder}", str(repository)) for word in command]
    start = repository if filled == command else tmp_path
    server = StdioServerParameters(command=filled[0], args=filled[1:], cwd=start)
    async with Client(server) as session:
        names = {tool.name for tool in (await session.list_tools()).tools}
        assert {"self_edit", "begin_edit", "submit_edit", "context"} <= names
        found = await session.call_tool("relevant_files", {"task": "add two numbers"})
        assert not found.is_error, found.content
        assert "src/calc/core.py" in str(found.structured_content)
