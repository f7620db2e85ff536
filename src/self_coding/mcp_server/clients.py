"""The agents that we know: where each keeps its settings, and what stands there for our server."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self_coding.adapters import settings_text
from self_coding.adapters.settings_text import Entry
from self_coding.errors import ConfigError
from self_coding.values.attempts import Json

TOKEN = "SELF_CODING_TOKEN"  # noqa: S105 - the name of the variable
NAME = "self-coding"
_SECONDS = 1800  # a self-edit lasts as long as its edit and its tests
_START = 60  # seconds: a busy machine starts slowly, and the first start of an installation is slow


@dataclass(frozen=True)
class Client:
    """One agent.

    `path` leads to its table of servers. `project` is its file in a repository ("" where it has
    none), `user` the one in the home. It is here when one of `signs` is: a command, or a folder
    of the home. `limits` are its names for our time limits, with their values. `variable` is how
    it writes the value of a variable ("" where it fills in none), `folder` the repository that is
    open, where it starts servers elsewhere ("." stands for a path that is written out).
    """

    title: str
    path: tuple[str, ...]
    project: str
    user: str
    signs: tuple[str, ...]
    limits: dict[str, Json]
    variable: str = ""
    folder: str = ""
    form: str = "json"
    type: str = "http"
    url: str = "url"
    say: str = ""


_SERVERS = ("mcpServers",)
_OPEN = "${workspaceFolder}"
_MILLISECONDS: dict[str, Json] = {"timeout": _SECONDS * 1000}
AGENTS = {
    "claude": Client(
        "Claude Code", _SERVERS, ".mcp.json", ".claude.json", ("claude", ".claude"), {},
        "${%s}", say="start it with MCP_TIMEOUT=60000 and MCP_TOOL_TIMEOUT=1800000 (milliseconds)",
    ),
    "codex": Client(
        "Codex", ("mcp_servers",), ".codex/config.toml", ".codex/config.toml", ("codex", ".codex"),
        {"startup_timeout_sec": _START, "tool_timeout_sec": _SECONDS},
        form="toml", type="", say="in a repository it reads the file once the folder is trusted",
    ),
    "gemini": Client(
        "Gemini CLI", _SERVERS, ".gemini/settings.json", ".gemini/settings.json",
        ("gemini", ".gemini"), _MILLISECONDS, "$%s", type="", url="httpUrl",
    ),
    "opencode": Client(
        "OpenCode", ("mcp",), "opencode.json", ".config/opencode/opencode.json",
        ("opencode", ".config/opencode"), _MILLISECONDS, "{env:%s}", type="remote",
    ),
    "goose": Client(
        "Goose", ("extensions",), "", ".config/goose/config.yaml", ("goose", ".config/goose"),
        {"timeout": _SECONDS}, "$%s", form="yaml", type="streamable_http", url="uri",
    ),
    "cursor": Client(
        "Cursor", _SERVERS, ".cursor/mcp.json", ".cursor/mcp.json", ("cursor", ".cursor"), {},
        "${env:%s}", _OPEN, type="",
    ),
    "vscode": Client(
        "VS Code", ("servers",), ".vscode/mcp.json", ".config/Code/User/mcp.json",
        ("code", ".config/Code"), {}, "${env:%s}", _OPEN,
    ),
    "cline": Client(
        "Cline", _SERVERS, "", ".cline/data/settings/cline_mcp_settings.json", ("cline", ".cline"),
        {"timeout": _SECONDS}, "${env:%s}", ".", type="streamableHttp",
    ),
    "windsurf": Client(
        "Windsurf", _SERVERS, "", ".codeium/windsurf/mcp_config.json",
        ("windsurf", ".codeium/windsurf"), {}, "${env:%s}", ".", type="", url="serverUrl",
    ),
    "zed": Client(
        "Zed", ("context_servers",), ".zed/settings.json", ".config/zed/settings.json",
        ("zed", ".config/zed"), {}, type="",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """How a server is reached: by a command, or over HTTP at `port`.

    `portable` starts it through `uvx`, so that the settings can be shared; by default it is this
    very installation, which needs nothing else. `top` is the repository of a client that cannot
    say which one is open.
    """

    portable: bool = False
    port: int = 0
    top: str = "."


def named(client: str) -> Client:
    """Return a client by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if client not in AGENTS:
        raise ConfigError(f"unknown client {client!r}", hint=f"one of {', '.join(AGENTS)}")
    return AGENTS[client]


def found(home: Path) -> list[str]:
    """Return the agents that are on this machine."""
    return [
        name
        for name, client in AGENTS.items()
        if any(shutil.which(sign) for sign in client.signs[:1])
        or any((home / sign).is_dir() for sign in client.signs[1:])
    ]


def entry(client: str, start: Start) -> Entry:
    """Return what stands for our server in a client's settings."""
    held = named(client)
    value: dict[str, Any] = {}
    if start.port:
        value |= {"type": held.type} if held.type else {}
        value |= {held.url: f"http://127.0.0.1:{start.port}/mcp"}
        token = held.variable % TOKEN if held.variable else "the token"
        header = {"Authorization": f"Bearer {token}"}
        value |= {"bearer_token_env_var": TOKEN} if client == "codex" else {"headers": header}
    else:
        first, *rest = words = _words(held, start)
        value = {"command": first, "args": rest}
        if client in ("claude", "cursor", "vscode", "gemini"):
            value = {"type": "stdio", **value}
        elif client == "opencode":
            value = {"type": "local", "command": words}
        elif client == "goose":
            value = {"type": "stdio", "cmd": first, "args": rest}
    own: dict[str, Callable[[], dict[str, Json]]] = {
        # without these `codex exec` calls nothing that lands
        "codex": lambda: {
            "tools": {
                name: {"approval_mode": "approve"}
                for name in ("self_edit", "submit_edit", "wait_edit")
            }
        },
        "opencode": lambda: {"enabled": True, **({"oauth": False} if start.port else {})},
        "goose": lambda: {
            "name": NAME,
            "description": "Change code so that only what was tested lands",
            "enabled": True,
            **({"env_keys": [TOKEN]} if start.port else {}),
        },
    }
    return Entry(held.path, NAME, value | held.limits | own.get(client, dict)())


def configuration(client: str, start: Start = Start()) -> str:
    """Return the settings for one client, as the whole text of its file."""
    held, what = named(client), entry(client, start)
    if held.form == "toml":
        return settings_text.toml(what).rstrip()
    if held.form == "yaml":
        return f"{held.path[0]}:\n{settings_text.yaml(what)}".rstrip()
    return json.dumps({held.path[0]: {NAME: what.value}}, indent=2)


def place(client: str, start: Start = Start()) -> str:
    """Return where the settings go; for some clients also the command that puts them there."""
    held = named(client)
    where = f"{held.project} in the repository" if held.project else f"~/{held.user}"
    if client == "codex":
        where = "~/.codex/config.toml"
    line = shlex.join(_words(held, start))
    runs = {"claude": f"claude mcp add {NAME} -- {line}", "gemini": f"gemini mcp add {NAME} {line}"}
    parts = [f"{where}, or run:  self-coding install {client}"]
    parts += [f"or run:  {runs[client]}"] if client in runs and not start.port else []
    parts += [f"with {TOKEN} in its environment"] if start.port else []
    if start.port and not held.variable and client != "codex":
        parts[-1] = "with the token in its place: this client fills in no variables"
    return "; ".join([*parts, held.say] if held.say else parts)


def _words(client: Client, start: Start) -> list[str]:
    folder = start.top if client.folder == "." else client.folder
    where = ["--repo", folder] if folder else []
    if start.portable:
        return ["uvx", "--from", "self-coding[mcp,sandbox]", "self-coding", *where, "mcp"]
    return [sys.executable, "-m", "self_coding", *where, "mcp"]
