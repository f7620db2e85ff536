"""The settings printed for each client are in that client's form."""

from __future__ import annotations

import json
import sys

import pytest

from self_coding.errors import ConfigError
from self_coding.mcp_server.clients import configuration


@pytest.mark.parametrize(
    ("client", "key"), [("claude", "mcpServers"), ("cursor", "mcpServers"), ("vscode", "servers")]
)
def test_json_clients_get_one_server(client: str, key: str) -> None:
    """Below a first line that says where it goes stands JSON with the server's command."""
    place, _, text = configuration(client).partition("\n")
    assert place.startswith("# ")
    entry = json.loads(text)[key]["self-coding"]
    assert [entry["command"], *entry["args"]] == [sys.executable, "-m", "self_coding", "mcp"]
    assert entry.get("type") == ("stdio" if client == "vscode" else None)


def test_goose_gets_an_extension() -> None:
    """Goose reads YAML with the command and its words."""
    text = configuration("goose", portable=True)
    assert 'cmd: "uvx"' in text
    assert '    - "mcp"' in text


def test_portable_settings_name_no_path_of_this_machine() -> None:
    """Settings that are meant to be shared start the server through uvx."""
    assert sys.executable not in configuration("claude", portable=True)


def test_an_unknown_client_is_refused() -> None:
    """The error lists the clients that are known."""
    with pytest.raises(ConfigError, match="unknown client") as raised:
        configuration("emacs")
    assert "goose" in raised.value.hint
