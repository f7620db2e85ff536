"""The tools, made from the table of operations.

Nothing here knows a single operation: arguments, descriptions and hints are those of the table,
answers those of `answers`. An error of ours reaches the client as words, with its hint.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import (
    AcceptedElicitation,
    CancelledElicitation,
    Context,
    Elicit,
    ElicitationResult,
    MCPServer,
    Resolve,
)
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from self_coding.errors import SelfCodingError
from self_coding.mcp_server.answers import ANSWERS
from self_coding.operation import OPERATIONS, Caller, Operation, Parameter
from self_coding.operations import NAMES

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.edits import Progress

CannotAsk = "declined: this client cannot ask its person; use the command line instead"
NotAnswered = "declined: the question was not answered; where nobody can, use the command line"
_CALL = "call_context"  # the parameter that the SDK fills with the context of a call
_CONFIRMED = "confirmation"  # the parameter that it fills with the person's answer

_HINTS = {
    "reads": ToolAnnotations(read_only_hint=True, open_world_hint=False),
    "adds": ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False),
    "lands": ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=True),
    "restores": ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False),
}


class Confirm(BaseModel):
    """The person's answer."""

    go_ahead: bool = Field(description="Do it?")


class Server(MCPServer[object]):
    """A server that also answers to the tools' old names, without listing them."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool by its name, or by a name it had."""
        row = NAMES.get(name)
        return await super().call_tool(row.name if row else name, arguments, context)


def register(server: MCPServer[object], app: App) -> None:
    """Add a tool for each operation that MCP offers."""
    for row in OPERATIONS.values():
        if row.tool:
            server.add_tool(
                _tool(row, app),
                name=row.name,
                description=row.description,
                annotations=_HINTS[row.effect],
            )


def _tool(row: Operation, app: App) -> Callable[..., Awaitable[Any]]:
    """Return the function that the SDK registers: its signature is all that it looks at."""
    answer = ANSWERS.get(row.name)
    offered = [one for one in row.parameters if one.arg.only != "cli"]

    async def tool(**arguments: Any) -> Any:
        context: Context[object, object] = arguments.pop(_CALL)
        confirmation = arguments.pop(_CONFIRMED, None)
        arguments = _given(arguments)
        if row.question and not (
            isinstance(confirmation, AcceptedElicitation) and confirmation.data.go_ahead
        ):
            assert answer is not None
            return answer.declined(_why_not(context, confirmation), arguments)
        try:
            async with _caller(context) as caller:
                result = await row(app, caller, **arguments)
        except SelfCodingError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            raise ToolError(f"{error.message}{hint}") from error
        return answer.of(result) if answer else result

    tool.__name__ = row.name
    annotations: dict[str, Any] = {one.name: _annotation(one) for one in offered}
    annotations[_CALL] = Context[object, object]
    if row.question:
        ask = _question(row, app, offered)
        annotations[_CONFIRMED] = Annotated[ElicitationResult[Confirm], Resolve(ask)]
    _sign(tool, annotations, offered, answer.form if answer else row.result)
    return tool


def _question(row: Operation, app: App, offered: list[Parameter]) -> Callable[..., Any]:
    """Return the resolver that asks the person, where the client can ask; else it declines."""

    async def ask(**arguments: Any) -> Confirm | Elicit[Confirm]:
        context: Context[object, object] = arguments.pop(_CALL)
        if not _can_ask(context):
            return Confirm(go_ahead=False)
        assert row.question is not None
        try:
            return Elicit(await row.question(app, **_given(arguments)), Confirm)
        except SelfCodingError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            raise ToolError(f"{error.message}{hint}") from error

    annotations: dict[str, Any] = {one.name: one.type for one in offered}
    annotations[_CALL] = Context[object, object]
    _sign(ask, annotations, offered, Any)
    ask.__qualname__ = f"ask_{row.name}"
    return ask


def _sign(
    function: Callable[..., Any],
    annotations: dict[str, Any],
    offered: list[Parameter],
    result: Any,
) -> None:
    """Give a function of any keywords the signature that the SDK reads."""
    defaults = {one.name: one.default for one in offered}
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=defaults.get(name, inspect.Parameter.empty),
        )
        for name, annotation in annotations.items()
    ]
    function.__annotations__ = {**annotations, "return": result}
    vars(function)["__signature__"] = inspect.Signature(parameters, return_annotation=result)


def _annotation(one: Parameter) -> Any:
    limits = {"ge": one.arg.least, "le": one.arg.most}
    bounds: Any = {name: value for name, value in limits.items() if value is not None}
    form = one.type | None if one.default is None else one.type
    return Annotated[form, Field(description=one.arg.about, **bounds)]


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a client sends for "nothing": models fill in every argument they see."""
    return {name: value for name, value in arguments.items() if value not in (None, "", [])}


def _can_ask(context: Context[object, object]) -> bool:
    capabilities = context.client_capabilities
    return capabilities is not None and capabilities.elicitation is not None


def _why_not(context: Context[object, object], confirmation: object) -> str:
    if not _can_ask(context):
        return CannotAsk
    cancelled = isinstance(confirmation, CancelledElicitation)
    return NotAnswered if cancelled else "declined by the person"


@asynccontextmanager
async def _caller(context: Context[object, object]) -> AsyncIterator[Caller]:
    """Yield a caller whose progress reaches the client in order, none of it late."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    async def pump() -> None:
        number = 0
        while (line := await lines.get()) is not None:
            number += 1
            await context.report_progress(number, message=line)

    def progress(step: Progress) -> None:
        lines.put_nowait(f"{step.step}: {step.message}" if step.message else step.step)

    pumping = asyncio.create_task(pump())
    try:
        yield Caller(progress, say=lines.put_nowait)
        lines.put_nowait(None)
        await pumping
    finally:
        pumping.cancel()
