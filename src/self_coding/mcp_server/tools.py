"""How every tool is registered: its hints, and errors told as words instead of a crash."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from self_coding.errors import SelfCodingError
from self_coding.values.edits import OnProgress, Progress

P = ParamSpec("P")
T = TypeVar("T")

Asked = Context[object, object]

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
LANDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=True)
RESTORES = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)


def told(tool: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """`tool`, its `SelfCodingError` told to the client: what happened, and what to do next."""

    @functools.wraps(tool)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await tool(*args, **kwargs)
        except SelfCodingError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            raise ToolError(f"{error.message}{hint}") from error

    wrapped.__doc__ = inspect.getdoc(tool)  # clients read it as it stands: no indentation
    return wrapped


@asynccontextmanager
async def progress_to(context: Asked) -> AsyncIterator[OnProgress]:
    """A callback whose lines reach the client as progress, in order, none of them late."""
    lines: asyncio.Queue[Progress | None] = asyncio.Queue()

    async def pump() -> None:
        number = 0
        while (step := await lines.get()) is not None:
            number += 1
            text = f"{step.step}: {step.message}" if step.message else step.step
            await context.report_progress(number, message=text)

    pumping = asyncio.create_task(pump())
    try:
        yield lines.put_nowait
        lines.put_nowait(None)
        await pumping
    finally:
        pumping.cancel()
