#!/usr/bin/env python3
"""What an agent's session costs it: limits of clients, silence, calls, tokens, many at once.

python bench/agents.py                    # a suite of 20 s, a client that gives up after 8
python bench/agents.py --suite 180 --limit 60 --clients 8

The clients are those of the official SDK over stdio; each has a server of its own. Tokens are
counted as characters by four.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from self_coding.testing import sample_repo

GOOD = "\n\ndef triple(number: int) -> int:\n    return number * 3\n"
BAD = "raise RuntimeError('broken on purpose')\n"
CORE = "src/calc/core.py"


def server(repository: Path) -> StdioServerParameters:
    """The server of one client."""
    words = ["-m", "self_coding", "--repo", str(repository), "mcp"]
    return StdioServerParameters(command=sys.executable, args=words)


def made(folder: Path, seconds: float) -> Path:
    """A repository whose suite takes so many seconds, a test a second."""
    repository = sample_repo(folder)
    tests = "\n".join(
        f"def test_{number}():\n    time.sleep({seconds / 20})\n" for number in range(20)
    )
    (repository / "tests" / "test_slow.py").write_text(f"import time\n\n\n{tests}")
    for words in (["add", "-A"], ["commit", "-qm", "a slow suite"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    return repository


class Watch:
    """Progress as it comes: the longest silence, and whether it was counted."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.silence, self.counted, self.messages = 0.0, 0, 0

    async def __call__(self, done: float, total: float | None, message: str | None) -> None:
        now = time.monotonic()
        self.silence, self.last = max(self.silence, now - self.last), now
        self.messages += 1
        self.counted += total is not None


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool; an error of the tool is one of ours."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return dict(result.structured_content or {})


def edit(begun: dict[str, Any], text: str) -> None:
    """Add text to a file of the worktree."""
    file = Path(begun["worktree"]) / CORE
    file.write_text(file.read_text() + text)


async def outlives(folder: Path, suite: float, limit: float) -> dict[str, object]:
    """A client that gives up before the suite has ended; another one finds the landing."""
    repository = made(folder, suite)
    async with Client(server(repository)) as client:
        begun = await call(client, "begin_edit", task="Add triple")
        edit(begun, GOOD)
        gave_up = False
        try:
            await client.call_tool(
                "submit_edit",
                {"attempt": begun["attempt"], "wait": 3600},
                read_timeout_seconds=limit,
            )
        except MCPError:
            gave_up = True
    watch, calls = Watch(), 0
    async with Client(server(repository)) as client:
        told: dict[str, Any] = {"waiting": "process"}
        open_one = (await call(client, "status"))["waiting"]
        watch.last = time.monotonic()
        while told["waiting"] == "process":
            result = await client.call_tool(
                "wait_edit",
                {"attempt": begun["attempt"], "wait": max(1, int(limit * 0.75))},
                read_timeout_seconds=limit,
                progress_callback=watch,
            )
            told, calls = dict(result.structured_content or {}), calls + 1
    return {
        "suite, s": suite,
        "client gives up after, s": limit,
        "gave up": gave_up,
        "status names it": [one["waiting"] for one in open_one],
        "ended as": told["stage"],
        "further calls": calls,
        "longest silence, s": round(watch.silence, 1),
        "messages": watch.messages,
        "with counts": watch.counted,
    }


async def corrects(folder: Path) -> dict[str, object]:
    """From a red submission to the landed correction."""
    repository = sample_repo(folder)
    async with Client(server(repository)) as client:
        begun = await call(client, "begin_edit", task="Add triple")
        edit(begun, BAD)
        red = await call(client, "submit_edit", attempt=begun["attempt"])
        file = Path(begun["worktree"]) / CORE
        file.write_text(file.read_text().replace(BAD, GOOD))
        landed = await call(client, "submit_edit", attempt=begun["attempt"])
        rates = await call(client, "success_rates")
    overall = rates["rates"]["overall"]
    return {
        "red": red["stage"],
        "corrected": landed["stage"],
        "steps from red to landed": "edit, submit",
        "rates": f"{overall['successes']} of {overall['total']}",
    }


async def together(folder: Path, clients: int) -> dict[str, object]:
    """Clients side by side, each with an edit of its own; half of them die in the middle."""
    repository = made(folder, 2)

    async def one(number: int) -> str:
        async with Client(server(repository)) as client:
            begun = await call(client, "begin_edit", task=f"Add number {number}")
            (Path(begun["worktree"]) / f"src/calc/n{number}.py").write_text(f"N = {number}\n")
            wait = 0 if number % 2 else 600
            told = await call(client, "submit_edit", attempt=begun["attempt"], wait=wait)
        while told["waiting"] == "process":
            async with Client(server(repository)) as client:
                told = await call(client, "wait_edit", attempt=begun["attempt"])
        return str(told["stage"])

    began = time.monotonic()
    stages = await asyncio.gather(*map(one, range(clients)))
    async with Client(server(repository)) as client:
        left = (await call(client, "status"))["waiting"]
    return {
        "clients": clients,
        "landed": stages.count("landed"),
        "left open": len(left),
        "seconds": round(time.monotonic() - began, 1),
    }


async def tokens(repository: Path, path: str) -> dict[str, object]:
    """The size of the answers about one file of a repository."""
    sizes: dict[str, object] = {"repository": repository.name}
    async with Client(server(repository)) as client:
        for tool, arguments in (
            ("impact", {"paths": [path]}),
            ("context", {"task": f"change {path}"}),
            ("relevant_files", {"task": f"change {path}"}),
            ("status", {}),
        ):
            result = await client.call_tool(tool, arguments)
            sizes[tool] = sum(len(getattr(one, "text", "")) for one in result.content) // 4
        listed = (await client.list_tools()).tools
        seen = [[one.name, one.description, one.input_schema] for one in listed]
        sizes["tool list"] = len(json.dumps(seen)) // 4
    return sizes


def main() -> None:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", type=float, default=20)
    parser.add_argument("--limit", type=float, default=8)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--tokens", nargs=2, metavar=("REPOSITORY", "PATH"))
    arguments = parser.parse_args()
    if arguments.tokens:
        where, path = arguments.tokens
        print(json.dumps(asyncio.run(tokens(Path(where), path)), indent=2))
        return
    trials: dict[str, Callable[[Path], Any]] = {
        "outlives": lambda at: outlives(at, arguments.suite, arguments.limit),
        "corrects": corrects,
        "together": lambda at: together(at, arguments.clients),
    }
    for name, trial in trials.items():
        with tempfile.TemporaryDirectory(prefix="agents-") as folder:
            print(name, json.dumps(asyncio.run(trial(Path(folder) / "repository")), indent=2))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
