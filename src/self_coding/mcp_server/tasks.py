"""The tasks extension of the protocol (2026-07-28): what outlives its call is a task to poll for.

A client that declares the extension gets a handle in the place of an answer that says "under way".
A task is an attempt of the journal, so every later server knows it, too: its id says which. Nothing
is pushed: `notifications/tasks` may be left out, and the SDK's subscriptions know no tasks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcp import MCPError
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    RequestParams,
    TextContent,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from self_coding.errors import SelfCodingError
from self_coding.operation import OPERATIONS, Caller
from self_coding.operations import NAMES

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from self_coding.app import App
    from self_coding.mcp_server.tools import Tools
    from self_coding.values.attempts import Event

_NAME = "io.modelcontextprotocol/tasks"
_AT_ONCE = 2  # seconds that an answer may take without becoming a task
_POLL_MS = 5000
_LASTING = {
    row.name for row in OPERATIONS.values() if any(p.name == "wait" for p in row.parameters)
}


class TaskParams(RequestParams):
    """What each request about a task names."""

    task_id: str


@dataclass(frozen=True)
class Handle:
    """What a task's id says: the attempt, what was asked of it, and when."""

    repo: str
    attempt: int
    tool: str
    created: str

    @property
    def id(self) -> str:
        """The id, which fits into a header."""
        return base64.urlsafe_b64encode(json.dumps(astuple(self)).encode()).decode()

    @property
    def at(self) -> datetime:
        """When it was created."""
        return datetime.fromisoformat(self.created)


class Tasks(Extension):
    """Answers with tasks where the client declares that it knows them."""

    identifier = _NAME

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._cancelled: set[str] = set()

    def methods(self) -> Sequence[MethodBinding]:
        """Return the requests about a task."""
        versions = frozenset(MODERN_PROTOCOL_VERSIONS)
        asked = {"get": self._get, "update": self._update, "cancel": self._cancel}
        return [MethodBinding(f"tasks/{n}", TaskParams, do, versions) for n, do in asked.items()]

    async def intercept_tool_call(
        self,
        params: CallToolRequestParams,
        ctx: ServerRequestContext[Any, Any],
        call_next: CallNext,
    ) -> HandlerResult:
        """Return a task for what takes longer than a moment and goes on without its call."""
        row, capabilities = NAMES.get(params.name), ctx.session.client_capabilities
        declared = capabilities is not None and _NAME in (capabilities.extensions or {})
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        if row is None or row.name not in _LASTING or not declared or not modern:
            return await call_next(ctx)
        now, given = datetime.now(UTC).isoformat(), params.arguments or {}
        params.arguments = {**given, "wait": _AT_ONCE}  # the handler is given this very object
        result = await call_next(ctx)
        told = result.structured_content if isinstance(result, CallToolResult) else None
        if not told or told.get("waiting") != "process":
            return result
        # As a path from the root: another server may have begun elsewhere.
        top = str(self._tools.at(given.get("repo")).top)
        handle = Handle(top, int(told["attempt"]), row.name, now)
        return {**_task(handle, "working", told["message"]), "resultType": "task"}

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        """Tell how a task stands; ended, with the answer that its call would have had."""
        handle, app, events = await self._known(ctx, params)
        since = [one for one in events if one.at >= handle.at]
        if handle.id in self._cancelled or any(
            one.kind in ("returned", "stopped") and one.data.get("by") == "cancelled"
            for one in since
        ):
            return _task(handle, "cancelled")
        # A check leaves nothing behind but its end, so that waiting alone would not begin it again.
        unchecked = handle.tool == "check_edit" and not any(one.kind == "checked" for one in since)
        row = OPERATIONS["check_edit" if unchecked else "wait_edit"]
        asked = {"attempt": handle.attempt, "wait": 0}
        try:
            answer = await self._tools.run(row, app, Caller(), asked)
        except ToolError as error:
            said = TextContent(type="text", text=str(error))
            answer = CallToolResult(content=[said], is_error=True)
        told = answer.structured_content or {}
        if told.get("waiting") == "process":
            return _task(handle, "working", told["message"])
        result = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {**_task(handle, "completed", told.get("message", "")), "result": result}

    async def _update(
        self, ctx: ServerRequestContext[Any, Any], params: TaskParams
    ) -> HandlerResult:
        """Take note of answers; no task ever asks, since questions come before it."""
        await self._known(ctx, params)
        return {}

    async def _cancel(
        self, ctx: ServerRequestContext[Any, Any], params: TaskParams
    ) -> HandlerResult:
        """Stop the work; a caller's edit stays in its worktree, and what has ended has ended."""
        handle, app, _ = await self._known(ctx, params)
        self._cancelled.add(handle.id)  # first: a look meanwhile would go on with it
        stopped = False
        try:
            stopped = await app.edit.stop_edit(handle.attempt)
        except SelfCodingError as error:
            raise MCPError(INTERNAL_ERROR, error.message) from error
        finally:
            if not stopped:
                self._cancelled.discard(handle.id)
        return {}

    async def _known(
        self, ctx: ServerRequestContext[Any, Any], params: TaskParams
    ) -> tuple[Handle, App, list[Event]]:
        """Return the task that a request names, its repository and the attempt's events.

        Raises:
            MCPError: there is no such task, or the client has not declared the extension.
        """
        require_client_extension(ctx, _NAME)
        try:
            handle = Handle(*json.loads(base64.urlsafe_b64decode(params.task_id)))
            app = self._tools.at(handle.repo)
            events = await app.journal.events(handle.attempt)
            if events and handle.tool in _LASTING and handle.at.tzinfo:
                return handle, app, events
        except (ValueError, TypeError, AttributeError, RecursionError, SelfCodingError) as error:
            raise MCPError(INVALID_PARAMS, "there is no such task") from error
        raise MCPError(INVALID_PARAMS, "there is no such task")


def _task(handle: Handle, status: str, message: str = "") -> dict[str, Any]:
    """Return a task as it goes over the wire."""
    return {
        "taskId": handle.id,
        "status": status,
        **({"statusMessage": message} if message else {}),
        "createdAt": handle.created,
        "lastUpdatedAt": datetime.now(UTC).isoformat(),
        "ttlMs": None,  # it is an attempt, which the journal keeps
        "pollIntervalMs": _POLL_MS,
    }
