"""What a client asks at first is answered from a record, exactly as the SDK would answer it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

import forked
from self_coding.testing import sample_repo

INFO = {"name": "a client", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def _hello(version: str, **other: object) -> dict[str, object]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": INFO, **other}
    return {"id": 0, "method": "initialize", "params": params}


DONE: dict[str, object] = {"method": "notifications/initialized"}
LIST: dict[str, object] = {"id": 1, "method": "tools/list"}
CALL: dict[str, object] = {
    "id": "call",
    "method": "tools/call",
    "params": {"name": "attempts", "arguments": {}},
}
MODERN: dict[str, object] = {"id": 1, "method": "tools/list", "params": {"_meta": META}}
DISCOVER: dict[str, object] = {"id": 2, "method": "server/discover", "params": {"_meta": META}}
CONVERSATIONS: dict[str, list[object]] = {
    **{
        version: [_hello(version), DONE, LIST, {"id": 2, "method": "ping"}]
        for version in ("2025-11-25", "1999-01-01")
    },
    "lists": [
        _hello("2025-11-25"),
        DONE,
        *(
            {"id": method, "method": f"{method}/list", "params": {}}
            for method in ("prompts", "resources", "resources/templates")
        ),
    ],
    "before initialized": [_hello("2025-06-18"), LIST, DONE, LIST],
    "before initialize": [LIST, _hello("2025-06-18"), DONE],
    "twice": [_hello("2025-06-18"), DONE, _hello("2025-11-25"), LIST],
    "a call, then a list": [_hello("2025-11-25"), DONE, LIST, CALL, {**LIST, "id": 9}],
    "a cursor": [_hello("2025-11-25"), DONE, {**LIST, "params": {"cursor": "x"}}],
    "unsound": [_hello("2025-06-18", clientInfo=7), _hello("2025-06-18", capabilities=[]), DONE],
    "no method": [_hello("2025-11-25"), DONE, {"id": 5}, {"id": 6, "method": "no/such"}],
    "modern": [DISCOVER, MODERN, {"id": 3, "method": "ping", "params": {"_meta": META}}],
    "modern without its envelope": [MODERN, LIST],
    "modern after a handshake": [_hello("2025-11-25"), DONE, MODERN],
    "a handshake after modern": [MODERN, _hello("2025-11-25"), DONE, LIST],
    "a version of nobody": [
        {**MODERN, "params": {"_meta": {**META, "io.modelcontextprotocol/protocolVersion": "x"}}}
    ],
    "no messages": ["nonsense", [1], 7, None, _hello("2025-06-18"), DONE, LIST],
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_repo(tmp_path_factory.mktemp("opening") / "repository")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A cache that holds the record."""
    made = tmp_path_factory.mktemp("cache")
    _talk(["-m", "self_coding", "mcp"], repository, made, [_hello("2025-11-25")])
    return made


def _talk(
    words: list[str], repository: Path, cache: Path, said: list[object]
) -> tuple[list[dict[str, object]], str]:
    """Say everything to a server, and return its answers by id once all are there."""
    process = subprocess.Popen(
        [sys.executable, *words], cwd=repository, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    answers = _said(said, process.stdin, process.stdout)
    rest, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    return [*answers, *map(json.loads, rest.splitlines())], errors


def _said(said: list[object], given: TextIO, told: TextIO) -> list[dict[str, object]]:
    answers = []
    for one in said:
        message = {"jsonrpc": "2.0", **one} if isinstance(one, dict) else one
        given.write(json.dumps(message) + "\n")
        given.flush()
        if isinstance(one, dict) and "id" in one and "method" in one:
            answers.append(json.loads(told.readline()))
    return answers


def _talk_to_the_sdk(repository: Path, said: list[object]) -> list[dict[str, object]]:
    """Say everything to the SDK alone, as the server was before there was a record."""
    (its_in, given), (told, its_out), errors = os.pipe(), os.pipe(), os.open(os.devnull, os.O_RDWR)
    server = forked.start(["sdk"], [its_in, its_out, errors], cwd=repository)
    for one in (its_in, its_out, errors):
        os.close(one)
    with open(told) as out:
        with open(given, "w") as into:
            answers = _said(said, into, out)
        answers += map(json.loads, out)
    assert forked.ended(server) == 0
    return answers


@pytest.mark.parametrize("said", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_the_answers_are_those_of_the_sdk(
    repository: Path, cache: Path, said: list[object]
) -> None:
    """Whatever a client says, it is answered as if the SDK had been there from the start."""
    ours, _ = _talk(["-m", "self_coding", "mcp"], repository, cache, said)
    assert ours == _talk_to_the_sdk(repository, said)


@pytest.mark.parametrize("said", [[_hello("2025-11-25"), DONE, LIST], [DISCOVER, MODERN]])
def test_the_sdk_is_not_loaded_to_list_the_tools(
    repository: Path, cache: Path, said: list[object]
) -> None:
    """A session that only looks at the tools imports nothing of the SDK."""
    words = ["-X", "importtime", "-m", "self_coding", "mcp"]
    answers, errors = _talk(words, repository, cache, said)
    assert "submit_edit" in json.dumps(answers)
    assert "self_coding.mcp_server.opening" in errors
    assert not [name for name in ("mcp.server", "mcp_types", "pydantic") if f" {name}\n" in errors]


@pytest.mark.parametrize("state", ["damaged", "of another kind", "not a folder", "read-only"])
def test_a_cache_in_any_state_costs_time_alone(
    repository: Path, cache: Path, tmp_path: Path, state: str
) -> None:
    """A record that cannot be read or written is asked for again; the client sees no difference."""
    folder = tmp_path / "self-coding"
    (record,) = cache.rglob("opening-*.json")
    if state == "not a folder":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / record.name).write_text("{" if state == "damaged" else "[]")
        folder.chmod(0o500 if state == "read-only" else 0o700)
    said = [_hello("2025-11-25"), DONE, LIST]
    held, _ = _talk(["-m", "self_coding", "mcp"], repository, cache, said)
    again, _ = _talk(["-m", "self_coding", "mcp"], repository, tmp_path, said)
    folder.chmod(0o700)
    assert again == held
    if state in ("damaged", "of another kind"):
        assert (folder / record.name).read_text() == record.read_text()
