"""What a user puts into the settings of an MCP client, in each client's documented form."""

from __future__ import annotations

import json
import shlex
import sys

from self_coding.errors import ConfigError

_PLACES = {
    "claude": ".mcp.json in the repository, or run:  claude mcp add self-coding -- {line}",
    "cursor": ".cursor/mcp.json in the repository; with `mcpServers` already there, add to it",
    "vscode": ".vscode/mcp.json in the repository; with `servers` already there, add to it",
    "goose": "~/.config/goose/config.yaml; with `extensions` already there, add to it",
    "codex": "~/.codex/config.toml: add it with >>",
    "gemini": ".gemini/settings.json in the repository, or run:  gemini mcp add self-coding {line}",
    "opencode": "opencode.json in the repository; with `mcp` already there, add to it",
}
CLIENTS = tuple(_PLACES)
#: These start servers in a folder of their own and fill in the one that is open.
_OPEN_FOLDER = {"cursor": "${workspaceFolder}", "vscode": "${workspaceFolder}"}
_SECONDS = 1800  # a self-edit lasts as long as its edit and its tests


def configuration(client: str, *, portable: bool = False) -> str:
    """Return the settings for one client, as the whole text of its file.

    Args:
        client: one of `CLIENTS`.
        portable: start the server through `uvx`, so that the settings can be shared; by default
            it is this very installation, which needs nothing else.
    """
    first, *rest = words = _words(client, portable=portable)
    if client == "codex":  # without the last two tables `codex exec` calls nothing that lands
        return (
            "[mcp_servers.self-coding]\n"
            f"command = {json.dumps(first)}\n"
            f"args = {json.dumps(rest)}\n"
            f"tool_timeout_sec = {_SECONDS}\n\n"
            '[mcp_servers.self-coding.tools.self_edit]\napproval_mode = "approve"\n\n'
            '[mcp_servers.self-coding.tools.submit_edit]\napproval_mode = "approve"'
        )
    if client == "goose":
        arguments = "\n".join(f"      - {json.dumps(word)}" for word in rest)
        return (
            "extensions:\n"
            "  self-coding:\n"
            "    name: self-coding\n"
            "    description: Change code so that only what was tested lands\n"
            "    type: stdio\n"
            "    enabled: true\n"
            f"    cmd: {json.dumps(first)}\n"
            f"    args:\n{arguments}\n"
            f"    timeout: {_SECONDS}"
        )
    limit = {"timeout": _SECONDS * 1000}
    plain = {"type": "stdio", "command": first, "args": rest}
    key, entry = {
        "opencode": ("mcp", {"type": "local", "command": words, "enabled": True, **limit}),
        "gemini": ("mcpServers", {**plain, **limit}),
        "vscode": ("servers", plain),
    }.get(client, ("mcpServers", plain))
    return json.dumps({key: {"self-coding": entry}}, indent=2)


def place(client: str, *, portable: bool = False) -> str:
    """Return where the settings go; for some clients also the command that puts them there."""
    words = _words(client, portable=portable)
    return _PLACES[client].format(line=shlex.join(words))


def _words(client: str, *, portable: bool) -> list[str]:
    if client not in _PLACES:
        raise ConfigError(f"unknown client {client!r}", hint=f"one of {', '.join(_PLACES)}")
    folder = _OPEN_FOLDER.get(client, "")
    where = ["--repo", folder] if folder else []
    if portable:
        return ["uvx", "--from", "self-coding[mcp]", "self-coding", *where, "mcp"]
    return [sys.executable, "-m", "self_coding", *where, "mcp"]
