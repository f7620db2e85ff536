"""What a user puts into the settings of an MCP client, in each client's documented form."""

from __future__ import annotations

import json
import shlex
import sys

from self_coding.errors import ConfigError
from self_coding.values.attempts import Json

_PLACES = {
    "claude": ".mcp.json in the repository, or run:  claude mcp add self-coding -- {line}",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
    "goose": "~/.config/goose/config.yaml, under `extensions`",
}


def configuration(client: str, *, portable: bool = False) -> str:
    """The settings for one client, as text to paste; its first line says where.

    Args:
        client: "claude", "cursor", "vscode" or "goose".
        portable: start the server through `uvx`, so that the settings can be shared; by default
            it is this very installation, which needs nothing else.
    """
    if client not in _PLACES:
        raise ConfigError(f"unknown client {client!r}", hint=f"one of {', '.join(_PLACES)}")
    words = _words(portable=portable)
    place = f"# {_PLACES[client].format(line=shlex.join(words))}"
    if client == "goose":
        return f"{place}\n{_goose(words)}"
    arguments: list[Json] = list(words[1:])
    entry: dict[str, Json] = {"command": words[0], "args": arguments}
    key = "mcpServers"
    if client == "vscode":
        key, entry = "servers", {"type": "stdio", **entry}
    return f"{place}\n{json.dumps({key: {'self-coding': entry}}, indent=2)}"


def _words(*, portable: bool) -> list[str]:
    if portable:
        return ["uvx", "--from", "self-coding[mcp]", "self-coding", "mcp"]
    return [sys.executable, "-m", "self_coding", "mcp"]


def _goose(words: list[str]) -> str:
    arguments = "\n".join(f"    - {json.dumps(word)}" for word in words[1:])
    return (
        "self-coding:\n"
        "  name: self-coding\n"
        "  type: stdio\n"
        "  enabled: true\n"
        f"  cmd: {json.dumps(words[0])}\n"
        f"  args:\n{arguments}\n"
        "  timeout: 1800"
    )
