"""The MCP server when something goes wrong: clients that die, nonsense, two servers, no extra."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp import MCPError, StdioServerParameters
from mcp.client import Client

import forked
from self_coding import open_app
from self_coding.testing import sample_repo

#: A client in a process of its own, so that it can be killed in the middle of a call.
CLIENT = """\
import asyncio, sys
from mcp import StdioServerParameters
from mcp.client import Client

async def call():
    argv = ["-m", "self_coding", "--repo", sys.argv[1], "mcp"]
    server = StdioServerParameters(command=sys.executable, args=argv)
    async with Client(server, mode="legacy") as client:
        await client.call_tool("self_edit", {"task": "Add triple", "editor": "slow"})

asyncio.run(call())
"""
PARTS = {
    "one.py": "def triple(n):\n    return 3 * n\n",
    "two.py": "def quadruple(n):\n    return 4 * n\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "repository")


def _server(repository: Path) -> StdioServerParameters:
    argv = ["-m", "self_coding", "--repo", str(repository), "mcp"]
    return StdioServerParameters(command=sys.executable, args=argv)


def _main(repository: Path) -> str:
    argv = ["git", "rev-parse", "main"]
    return subprocess.run(argv, cwd=repository, capture_output=True, text=True).stdout.strip()


def _command(repository: Path, *words: str) -> object:
    done = forked.run("--json", *words, cwd=repository)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return json.loads(done.stdout)


def _until(true: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def _running(words: str) -> bool:
    return bool(subprocess.run(["pgrep", "-f", words], capture_output=True).stdout)


def test_a_client_that_dies_leaves_its_edit(repository: Path, tmp_path: Path) -> None:
    """Kill the client while an editor runs: the server ends, the edit goes on and lands."""
    mark = tmp_path / "started"
    (repository / "self-coding.toml").write_text(
        f"[editors]\nslow = \"sh -c 'touch {mark}; sleep 5; echo X = 1 >> src/calc/core.py'\"\n"
    )
    open_app(repository).trust()
    before = _main(repository)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(repository)], stderr=subprocess.DEVNULL
    )
    try:
        _until(mark.exists, "the editor has not started")
        client.send_signal(signal.SIGKILL)
        client.wait(10)
        _until(lambda: not _running(f"{repository} mcp"), "the server outlived its client")
    finally:
        client.kill()
    [waits] = _command(repository, "status")["waiting"]
    landed = _command(repository, "wait-edit", str(waits["attempt"]))
    assert landed["stage"] == "landed"
    assert _main(repository) == landed["commit_hash"] != before


async def test_nonsense_does_not_end_the_server(repository: Path) -> None:
    """Wrong, missing, huge and unknown arguments are errors in words; the next call is answered."""
    calls: list[tuple[str, dict[str, object]]] = [
        ("no_such_tool", {}),
        ("begin_edit", {}),
        ("begin_edit", {"task": 7}),
        ("begin_edit", {"task": "x" * 100_000}),
        ("begin_edit", {"task": "\x00"}),
        ("submit_edit", {"attempt": 99_999}),
        ("submit_edit", {"attempt": 10**30}),
        ("submit_edit", {"attempt": "one"}),
        ("self_edit", {"task": "x", "patch": "no diff"}),
        ("self_edit", {"task": "x", "editor": "nobody"}),
        ("self_edit", {"task": "x", "patch": "x", "tries": -1}),
        ("relevant_files", {"task": "x", "limit": -5}),
        ("summary", {"max_tokens": -1}),
        ("impact", {"paths": ["../../etc/passwd"]}),
        ("show", {"attempt": -1}),
        ("find_similar", {"task": "", "limit": 10**30}),
        ("plan_rollback", {"target": "--output=/tmp/x"}),
        ("stats", {"by": "; drop table attempt"}),
    ]
    async with Client(_server(repository)) as client:
        for tool, arguments in calls:
            try:
                result = await client.call_tool(tool, arguments)
            except MCPError as error:
                told = str(error)
            else:
                told = str(result.content)
            assert "Traceback" not in told and "unexpected" not in told, (tool, arguments, told)
        assert (await client.call_tool("attempts", {})).structured_content is not None


def test_lines_that_are_no_messages_do_not_end_the_server(repository: Path) -> None:
    """Bytes that are not JSON-RPC are passed over; a request after them is answered."""
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"},
        },
    }
    given = b"\xff\xfe{]\n\n[1,2\n" + json.dumps(hello).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, "-m", "self_coding", "mcp"],
        cwd=repository, input=given, capture_output=True, timeout=150,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    (answer,) = [one for one in answers if one.get("id") == 1]
    assert answer["result"]["serverInfo"]["name"] == "self-coding"


async def _edit(repository: Path, name: str, barrier: asyncio.Barrier) -> dict[str, object]:
    async with Client(_server(repository)) as client:
        begun = await client.call_tool("begin_edit", {"task": f"Add {name}"})
        assert begun.structured_content is not None, begun.content
        worktree = Path(str(begun.structured_content["worktree"]))
        (worktree / "src" / "calc" / name).write_text(PARTS[name])
        await barrier.wait()
        arguments = {"attempt": begun.structured_content["attempt"]}
        result = await client.call_tool("submit_edit", arguments, read_timeout_seconds=100)
        assert result.structured_content is not None, result.content
        return dict(result.structured_content)


@pytest.mark.timeout(180)
async def test_two_servers_on_one_repository_both_land(repository: Path) -> None:
    """Two clients, each with its own server, submit at once: both land, each on a tested tree."""
    barrier = asyncio.Barrier(2)
    both = await asyncio.gather(*(_edit(repository, name, barrier) for name in PARTS))
    assert [one["success"] for one in both] == [True, True], both
    argv = ["git", "ls-tree", "--name-only", "main:src/calc"]
    shown = subprocess.run(argv, cwd=repository, capture_output=True, text=True)
    assert {*PARTS} <= {*shown.stdout.split()}
    assert _command(repository, "verify") == []
    events = [[event["kind"] for event in _shown(repository, one["attempt"])] for one in both]
    assert sum("moved" in kinds for kinds in events) <= 1
    assert all(kinds.count("tested") == kinds.count("moved") + 1 for kinds in events)


def _shown(repository: Path, attempt: object) -> list[dict[str, object]]:
    shown = _command(repository, "show", str(attempt))
    assert isinstance(shown, dict)
    return list(shown["events"])


def test_without_the_extra_one_sentence_is_said(repository: Path, tmp_path: Path) -> None:
    """Where `mcp` is not installed, the command names the extra that brings it."""
    hidden = tmp_path / "hidden" / "mcp"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('No module named mcp')\n")
    path = os.pathsep.join([str(hidden.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "self_coding", "mcp"],
        cwd=repository, env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert "self-coding[mcp]" in done.stderr
    assert "Traceback" not in done.stderr
