#!/usr/bin/env python3
"""What an agent's session costs it: limits of clients, silence, calls, tokens, CPU, many at once.

python bench/agents.py                          # a suite of 20 s, a client that gives up after 8
python bench/agents.py --suite 180 --limit 60 --clients 8
python bench/agents.py --tokens DJANGO django/db/models/query.py --hooks DJANGO CLICK

The clients are those of the official SDK over stdio; each has a server of its own. Prints a table,
each figure beside its bound; exit status 1 when one is over. Tokens are those of o200k where
tiktoken has its vocabulary, else characters by four; CPU seconds are the least of five.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from self_coding.testing import git, sample_repo
from startup import BASELINE, cpu_seconds

GOOD = "\n\ndef triple(number: int) -> int:\n    return number * 3\n"
BAD = "raise RuntimeError('broken on purpose')\n"
CORE = "src/calc/core.py"
SILENCE = 6  # seconds
TOKENS = {"impact": 2_500, "list": 3_000}
START, HOOK = 0.8, 0.3  # CPU seconds

Row = tuple[str, bool, object]  # what was measured, whether it is within its bound, the value
Rows = AsyncIterator[Row]


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


async def outlives(folder: Path, suite: float, limit: float) -> Rows:
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
    watch = Watch()
    async with Client(server(repository)) as client:
        open_ones = (await call(client, "status"))["waiting"]
        told, calls = await follow(client, "wait_edit", begun["attempt"], limit, watch)
    how = f"a suite of {suite:g} s, its client gone after {limit:g}"
    named = [one["waiting"] for one in open_ones] == ["process"]
    yield how, gave_up and named and told["stage"] == "landed", f"{told['stage']}, {calls} calls"
    yield "longest silence, s", watch.silence <= SILENCE, round(watch.silence, 1)


async def defaults(folder: Path, suite: float, limit: float) -> Rows:
    """A client with a limit of so many seconds, and nothing set: it does what answers tell it."""
    repository, watch = made(folder, suite), Watch()
    async with Client(server(repository)) as client:
        begun = await call(client, "begin_edit", task="Add triple")
        edit(begun, GOOD)
        told, calls = await follow(client, "submit_edit", begun["attempt"], limit, watch)
    how = f"a suite of {suite:g} s, a client's limit of {limit:g} s, defaults"
    yield how, told["stage"] == "landed", f"{told['stage']}, {calls} calls, 0 timed out"
    yield "longest silence in it, s", watch.silence <= SILENCE, round(watch.silence, 1)
    counted = f"{watch.counted} of {watch.messages}"
    yield "messages with counts", watch.counted >= suite / SILENCE / 2, counted


async def follow(
    client: Client, tool: str, attempt: int, limit: float, watch: Watch
) -> tuple[dict[str, Any], int]:
    """Call, then wait_edit as long as the answer says so, all within the limit of the client."""
    told: dict[str, Any] = {"waiting": "process"}
    wait = {"wait": int(limit * 0.75)} if limit < 60 else {}  # at 60 the server's own is right
    calls, watch.last = 0, time.monotonic()
    while told["waiting"] == "process":
        result = await client.call_tool(
            tool,
            {"attempt": attempt, **wait},
            read_timeout_seconds=limit,
            progress_callback=watch,
        )
        told, calls, tool = dict(result.structured_content or {}), calls + 1, "wait_edit"
    return told, calls


async def corrects(folder: Path) -> Rows:
    """From a red submission to the landed correction."""
    repository = sample_repo(folder)
    async with Client(server(repository)) as client:
        begun = await call(client, "begin_edit", task="Add triple")
        edit(begun, BAD)
        told = await call(client, "submit_edit", attempt=begun["attempt"])
        assert told["stage"] == "refused", told
        steps = []
        while told["stage"] != "landed":
            file = Path(told["worktree"]) / CORE
            file.write_text(file.read_text().replace(BAD, GOOD))
            told = await call(client, "submit_edit", attempt=begun["attempt"])
            steps += ["edit", "submit"]
        rates = await call(client, "success_rates")
    overall = rates["rates"]["overall"]
    yield "calls from a red submission to its landing", len(steps) == 2, ", ".join(steps)
    counts = f"{overall['successes']} of {overall['total']}"
    yield "in the rates", counts == "1 of 1", counts


async def together(folder: Path, clients: int) -> Rows:
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
    landed = stages.count("landed")
    told = f"{landed} landed, {len(left)} open, {time.monotonic() - began:.0f} s"
    yield f"{clients} clients, half of them gone early", landed == clients and not left, told


async def tokens(repository: Path, path: str) -> Rows:
    """The size of the answers about one file of a repository."""
    async with Client(server(repository)) as client:
        for tool, arguments in (
            ("impact", {"paths": [path]}),
            ("context", {"task": f"change {path}"}),
            ("relevant_files", {"task": f"change {path}"}),
            ("status", {}),
        ):
            result = await client.call_tool(tool, arguments)
            shown = "\n".join(
                getattr(one, "text", "") or f"{one.name} {one.uri}" for one in result.content
            )
            whole = json.dumps(result.structured_content, separators=(",", ":"))
            size = max(counted(shown), counted(whole))  # clients show the one or the other
            bound = TOKENS.get(tool, 4_000)
            yield f"tokens of {tool}, {repository.name}/{path}", size <= bound, size
        listed = (await client.list_tools()).tools
        seen = [[one.name, one.description, one.input_schema] for one in listed]
        size = counted(json.dumps(seen, separators=(",", ":")))
        texts = [one for tool in listed for one in tool.input_schema["properties"].values()]
        told = sum(bool(one.get("description")) for one in texts)
        yield f"tokens of the list of {len(listed)} tools", size <= TOKENS["list"], size
        yield "parameters described", told == len(texts), f"{told} of {len(texts)}"


def counted(text: str) -> int:
    """Count tokens, by the vocabulary where there is one."""
    try:
        import tiktoken

        return len(tiktoken.get_encoding("o200k_base").encode(text))
    except (ImportError, OSError):
        return len(text) // 4


def starts(repositories: list[Path]) -> Iterator[Row]:
    """CPU of `initialize` with `tools/list`, and of the hooks around an edit of a file."""
    for top in repositories:
        tracked = git(top, "ls-files", "*.py").splitlines()
        file = max(tracked, key=lambda name: (top / name).stat().st_size)
        before = (top / file).read_text()
        ours = {
            "initialize and tools/list": ("-m", "self_coding", "mcp"),
            "hook before an edit": ("-m", "self_coding", "hook", "pre-edit"),
            "hook after an edit": ("-m", "self_coding", "hook", "post-edit"),
        }
        try:
            for name, words in ours.items():
                spent = []
                for turn in range(6):  # the first one fills caches
                    (top / file).write_text(f"{before}# {name} {turn}\n")
                    spent.append(cpu_seconds(words, top, file))
                bound = START if words[-1] == "mcp" else HOOK
                least = min(spent[1:])
                yield f"CPU s of {name}, {len(tracked)} files", least <= bound, round(least, 2)
        finally:
            (top / file).write_text(before)
    yield (
        "CPU s of `import pydantic, click`, to compare",
        True,
        round(cpu_seconds(BASELINE, top), 2),
    )


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    """What was asked for, trial by trial."""
    suite, limit = arguments.suite, arguments.limit
    trials: dict[str, Callable[[Path], Rows]] = {
        "outlives": lambda at: outlives(at, suite, limit),
        "defaults": lambda at: defaults(at, suite, limit),
        "corrects": corrects,
        "together": lambda at: together(at, arguments.clients),
    }

    async def all_of(trial: Rows) -> list[Row]:
        return [row async for row in trial]

    for name, trial in trials.items():
        if name in arguments.trials.split(","):
            with tempfile.TemporaryDirectory(prefix="agents-") as folder:
                yield from asyncio.run(all_of(trial(Path(folder) / "repository")))
    if arguments.tokens:
        where, path = arguments.tokens
        yield from asyncio.run(all_of(tokens(Path(where), path)))
    if arguments.hooks:
        yield from starts(arguments.hooks)


def main() -> int:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--suite", type=float, default=20)
    parser.add_argument("--limit", type=float, default=8)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--trials", default="outlives,defaults,corrects,together")
    parser.add_argument("--tokens", nargs=2, metavar=("REPOSITORY", "PATH"))
    parser.add_argument("--hooks", nargs="+", type=Path, metavar="REPOSITORY")
    over = 0
    print("| figure | measured | |\n|---|---|---|", flush=True)
    for name, is_met, value in rows(parser.parse_args()):
        over += not is_met
        print(f"| {name} | {value} | {'' if is_met else 'over'} |", flush=True)
    return int(over > 0)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
