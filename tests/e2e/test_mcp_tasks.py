"""The tasks extension, through the official SDK's client that declares it, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import MCPError, StdioServerParameters
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim, advertise
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict

import forked
from self_coding.testing import sample_repo

NAME = "io.modelcontextprotocol/tasks"
CORE = "src/calc/core.py"
TRIPLE = "\n\ndef triple(number: int) -> int:\n    return number * 3\n"
SLOW = "import time\n\n\ndef test_slow():\n    assert time.sleep({}) is None\n"


class Created(Result):
    """What is answered in the place of a result."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class Asked(RequestParams):
    task_id: str


class Anything(Result):
    model_config = ConfigDict(extra="allow")


class AboutTask(Request[Asked, str]):
    name_param = "taskId"


async def about(session: Any, method: str, task: str) -> dict[str, Any]:
    """Send a request about a task; return what came."""
    request = AboutTask(method=f"tasks/{method}", params=Asked(task_id=task))
    result = await session.send_request(request, Anything)
    return dict(result.model_dump(by_alias=True))


class Polls(ClientExtension):
    """A client that polls until a task is over, and keeps what it was told."""

    identifier = NAME

    def __init__(self, then: str = "") -> None:
        self.told: list[dict[str, Any]] = []
        self.created: list[Created] = []
        self._then = then

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=self._resolve)]

    async def _resolve(self, created: Created, context: ClaimContext) -> CallToolResult:
        self.created.append(created)
        if self._then:
            assert (await about(context.session, self._then, created.task_id))["resultType"]
        while True:
            task = await about(context.session, "get", created.task_id)
            self.told.append(task)
            if task["status"] == "cancelled":
                return CallToolResult(content=[], is_error=True)
            if task["status"] == "completed":
                return CallToolResult.model_validate(task["result"])
            await asyncio.sleep(1)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "repository")


def _server(repository: Path) -> StdioServerParameters:
    command, *words = forked.command("--repo", str(repository), "mcp")
    return StdioServerParameters(command=command, args=words)


async def _begun(client: Client, seconds: float = 6) -> dict[str, Any]:
    begun = (await client.call_tool("begin_edit", {"task": "Add triple"})).structured_content
    assert begun is not None
    place = Path(begun["worktree"])
    (place / CORE).write_text((place / CORE).read_text() + TRIPLE)
    (place / "tests/test_slow.py").write_text(SLOW.format(seconds))
    return begun


async def test_a_submission_is_a_task_that_ends_landed(repository: Path) -> None:
    """The task is working until its result is what the call would have answered."""
    polls = Polls()
    async with Client(_server(repository), extensions=[polls]) as client:
        begun = await _begun(client)
        result = await client.call_tool("submit_edit", {"attempt": begun["attempt"]})
        assert result.structured_content["stage"] == "landed"
        assert polls.told[0]["status"] == "working"
        last = polls.told[-1]
        assert (last["status"], last["resultType"], last["ttlMs"]) == (
            "completed",
            "complete",
            None,
        )
        shown = await client.call_tool("show_attempt", {"attempt": begun["attempt"]})
        assert shown.structured_content["attempt"]["outcome"] == "success"


async def test_a_check_is_a_task_and_lands_nothing(repository: Path) -> None:
    """A check's task ends with what the check came to, the attempt still open."""
    polls = Polls()
    async with Client(_server(repository), extensions=[polls]) as client:
        begun = await _begun(client)
        result = await client.call_tool("check_edit", {"attempt": begun["attempt"]})
        assert result.structured_content["stage"] == "checked"
        assert polls.created


async def test_a_cancelled_task_leaves_the_edit(repository: Path) -> None:
    """`tasks/cancel` stops the tests; the edit is where it was, and can be submitted again."""
    polls = Polls("cancel")
    async with Client(_server(repository), extensions=[polls]) as client:
        begun = await _begun(client, 60)
        await client.call_tool("submit_edit", {"attempt": begun["attempt"]})
        assert [one["status"] for one in polls.told] == ["cancelled"]
        [open_one] = (await client.call_tool("status", {})).structured_content["waiting"]
        assert (open_one["waiting"], open_one["worktree"]) == ("submit", begun["worktree"])
        rates = (await client.call_tool("success_rates", {})).structured_content["rates"]
        assert all(rate["total"] == 0 for rate in rates.values())


async def test_a_task_outlives_its_server(repository: Path) -> None:
    """The server of a later session answers for the task; what is no task's id is an error."""
    first, later = Polls("nothing"), Polls()
    # As if the client had died: it asks for what is not there.
    with pytest.raises(BaseExceptionGroup):
        async with Client(_server(repository), extensions=[first]) as client:
            begun = await _begun(client)
            await client.call_tool("submit_edit", {"attempt": begun["attempt"]})
    [created] = first.created
    async with Client(_server(repository), extensions=[later]) as client:
        async with asyncio.timeout(100):
            while (task := await about(client.session, "get", created.task_id))[
                "status"
            ] == "working":
                await asyncio.sleep(1)
        assert task["result"]["structuredContent"]["stage"] == "landed"
        await about(client.session, "update", created.task_id)
        await about(client.session, "cancel", created.task_id)
        ended = await about(client.session, "get", created.task_id)
        assert ended["status"] == "completed", "what has ended cannot be cancelled"
        for method in ("get", "update", "cancel"):
            with pytest.raises(MCPError, match="no such task"):
                await about(client.session, method, "bm90aGluZw==")


async def test_who_declares_nothing_gets_no_task(repository: Path) -> None:
    """Without the extension the answer says how to go on, and requests about tasks are refused."""
    async with Client(_server(repository)) as client:
        begun = await _begun(client)
        asked = {"attempt": begun["attempt"], "wait": 0}
        result = await client.call_tool("submit_edit", asked)
        assert result.structured_content["waiting"] == "process"
        with pytest.raises(MCPError, match="extension"):
            await about(client.session, "get", "x")


async def test_an_answer_that_is_there_at_once_is_no_task(repository: Path) -> None:
    """A refusal before any test comes as the result of the call itself."""
    polls = Polls()
    async with Client(_server(repository), extensions=[polls, advertise("x.example/y")]) as client:
        begun = (await client.call_tool("begin_edit", {"task": "Add triple"})).structured_content
        result = await client.call_tool("submit_edit", {"attempt": begun["attempt"]})
        assert result.is_error and "nothing is edited yet" in result.content[0].text
        assert polls.created == []
