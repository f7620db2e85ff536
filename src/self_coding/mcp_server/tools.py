"""The tools, made from the table of operations.

Nothing here knows a single operation: arguments, descriptions and hints are those of the table,
answers those of `answers`. An error of ours reaches the client as words, with its hint.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

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
from mcp_types import CallToolResult, Tool, ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from self_coding.app import open_app
from self_coding.errors import SelfCodingError
from self_coding.mcp_server.answers import ANSWERS
from self_coding.mcp_server.bounds import Answers
from self_coding.operation import OPERATIONS, Caller, Operation, spoken
from self_coding.operations import NAMES

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.edits import Progress

CANNOT_ASK = "declined: this client cannot ask its person; use the command line instead"
NOT_ANSWERED = "declined: the question was not answered; where nobody can, use the command line"
_REST = 500  # entries beyond the limit of a list that can still be read
_PATIENCE = 45.0  # seconds; clients give up after 60 when nobody sets it otherwise
_REPO, _WHERE = "repo", "A path in another repository."
_CALL = "call_context"  # the parameter that the SDK fills with the context of a call
_CONFIRMED = "confirmation"  # the parameter that it fills with the person's answer

Arguments = dict[str, Any]
_HINTS = {
    effect: ToolAnnotations(
        read_only_hint=effect == "reads",
        destructive_hint=effect in ("lands", "restores"),
        idempotent_hint=effect == "reads",
        open_world_hint=effect == "lands",
    )
    for effect in ("reads", "adds", "lands", "restores")
}


class Confirm(BaseModel):
    """The person's answer."""

    go_ahead: bool = Field(description="Do it?")


class Server(MCPServer[object]):
    """A server that also answers to the tools' old names, without listing them."""

    async def list_tools(self) -> list[Tool]:
        """List the tools; their schemas lack what tells a model nothing but costs it tokens."""
        return [
            tool.model_copy(update={"input_schema": _plain(tool.input_schema)})
            for tool in await super().list_tools()
        ]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool by its name, or by a name it had."""
        row = NAMES.get(name)
        try:
            return await super().call_tool(row.name if row else name, arguments, context)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                said = "; ".join(
                    f"{'.'.join(map(str, one['loc']))}: {one['msg'][0].lower()}{one['msg'][1:]}"
                    for one in cause.errors()
                )
                raise ToolError(f"{said}\nhint: the tool's schema says what it takes") from error
            if isinstance(cause, ToolError):  # ours, in which the SDK only says whose it is
                raise cause from error
            raise


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without the titles that repeat a name, and without null for "not given"."""
    properties = {}
    for name, whole in schema["properties"].items():
        forms = [one for one in whole.get("anyOf", ()) if one != {"type": "null"}]
        told = {**whole, **forms[0]} if len(forms) == 1 else dict(whole)
        for key in ("title", *(("anyOf",) if forms else ())):
            told.pop(key, None)
        if told.get("default", "") in (None, ""):
            told.pop("default", None)
        properties[name] = told
    return {**{k: v for k, v in schema.items() if k != "title"}, "properties": properties}


class Tools:
    """Runs operations for calls, in the repository that each names; what answers leave out is kept.

    Args:
        app: the services over the repository that the server was started in.
        kept: makes the answers.
    """

    def __init__(self, app: App, kept: Answers) -> None:
        self._own, self._kept = app, kept
        self._opened: dict[str, App] = {}

    def register(self, server: MCPServer[object]) -> None:
        """Add a tool for each operation that MCP offers."""
        has_server = self._own.settings.database.startswith("postgres")
        for row in OPERATIONS.values():
            if row.tool is True or (row.tool == "server" and has_server):
                server.add_tool(
                    self._tool(row),
                    name=row.name,
                    title=row.name.replace("_", " ").capitalize(),
                    description=row.description,
                    annotations=_HINTS[row.effect],
                )

    def at(self, where: str | None) -> App:
        """Return the services over the repository that a call names: the server's own, or not."""
        if not where or where == str(self._own.top):
            return self._own
        if where not in self._opened:
            self._opened[where] = open_app(where, environ=self._own.environ)
        return self._opened[where]

    async def run(
        self, row: Operation, app: App, caller: Caller, given: Arguments
    ) -> CallToolResult:
        """Run an operation; return what the client is told of its result."""
        answer = ANSWERS.get(row.name)
        limits = {}
        if answer and answer.limited:
            # More than was asked for costs next to nothing, and is then a resource to read on in.
            limit: Any = next(one for one in row.parameters if one.name == "limit")
            asked = int(given.get("limit", limit.default))
            limits = dict.fromkeys(answer.limited, asked)
            given = {**given, "limit": min(asked + _REST, limit.arg.most)}
        with _errors_in_words():
            result = await row(app, caller, **given)
        if answer is None:
            return self._kept.result(result)
        elsewhere = "" if app is self._own else f"?repo={quote(str(app.top), safe='')}"
        links = {name: f"{uri}{elsewhere}" for name, uri in answer.links(result).items()}
        return self._kept.result(answer.of(result), answer.budget, links, limits)

    def _tool(self, row: Operation) -> Callable[..., Awaitable[Any]]:
        """Return the function that the SDK registers; of its signature the SDK makes the schema."""
        answer = ANSWERS.get(row.name)
        offered = [one for one in row.parameters if one.arg.only != "cli"]

        async def ask(**arguments: Any) -> Confirm | Elicit[Confirm]:
            """Ask the person where the client can; a client that cannot declines."""
            if row.question is None or not _can_ask(arguments.pop(_CALL)):
                return Confirm(go_ahead=False)
            with _errors_in_words():
                there = self.at(arguments.pop(_REPO, None))
                return Elicit(await row.question(there, **_given(arguments)), Confirm)

        async def tool(**arguments: Any) -> Any:
            context: Context[object, object] = arguments.pop(_CALL)
            reply = arguments.pop(_CONFIRMED, None)
            with _errors_in_words():
                there = self.at(arguments.pop(_REPO, None))
            given = _given(arguments)
            confirmed = isinstance(reply, AcceptedElicitation) and reply.data.go_ahead
            if answer and row.question and not confirmed:
                with _errors_in_words():
                    await row.question(
                        there, **given
                    )  # where there is nothing to ask, that is told
                cancelled = isinstance(reply, CancelledElicitation)
                why = NOT_ANSWERED if cancelled else "declined by the person"
                why = why if _can_ask(context) else CANNOT_ASK
                return self._kept.result(answer.declined(why, given))
            async with _caller(context) as caller:
                return await self.run(row, there, caller, given)

        hints: dict[str, Any] = {}
        for one in offered:
            bounds: Any = {"ge": one.arg.least, "le": one.arg.most}
            form = one.type | None if one.default is None else one.type
            hints[one.name] = Annotated[form, Field(description=one.arg.about, **bounds)]
        hints[_REPO] = Annotated[str | None, Field(description=_WHERE)]
        # The question is a resolver, so that the SDK can carry it over two requests where the
        # protocol has it so (2026-07-28), and asks before the tool runs in any case.
        hints[_CALL] = Context[object, object]
        defaults = {one.name: one.default for one in offered} | {_REPO: None}
        tool.__name__, ask.__qualname__ = row.name, f"ask_{row.name}"
        _sign(ask, hints, defaults, Any)
        if row.question:
            hints[_CONFIRMED] = Annotated[ElicitationResult[Confirm], Resolve(ask)]
        form = answer.form if answer else row.result
        _sign(tool, hints, defaults, Annotated[CallToolResult, form])
        return tool


def _sign(
    function: Callable[..., Any], hints: dict[str, Any], defaults: dict[str, object], result: Any
) -> None:
    """Give a function of any keywords the signature that the SDK reads."""
    # The SDK reads both: arguments from the signature, what it injects from the annotations.
    kind, none = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    parameters = [
        inspect.Parameter(name, kind, annotation=hint, default=defaults.get(name, none))
        for name, hint in hints.items()
    ]
    function.__annotations__ = {**hints, "return": result}
    vars(function)["__signature__"] = inspect.Signature(parameters, return_annotation=result)


@contextmanager
def _errors_in_words() -> Iterator[None]:
    """Raise an error of ours as what the client shows its model: the message and the hint."""
    try:
        yield
    except SelfCodingError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        raise ToolError(spoken(f"{error.message}{hint}", calls=True)) from error


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a client sends for "nothing": models fill in every argument they see."""
    return {name: value for name, value in arguments.items() if value not in (None, "", [])}


def _can_ask(context: Context[object, object]) -> bool:
    capabilities = context.client_capabilities
    return capabilities is not None and capabilities.elicitation is not None


@asynccontextmanager
async def _caller(context: Context[object, object]) -> AsyncIterator[Caller]:
    """Yield a caller whose progress reaches the client in order, none of it late."""
    lines: asyncio.Queue[tuple[str, int, int] | None] = asyncio.Queue()

    async def pump() -> None:
        value = 0.0
        while (line := await lines.get()) is not None:
            message, done, total = line
            # It has to rise with each message: by the tests that have ended, or a little.
            value = max(value + 0.001, float(done))
            await context.report_progress(value, total or None, message=message)

    def progress(step: Progress) -> None:
        line = f"{step.step}: {step.message}" if step.message else step.step
        lines.put_nowait((line, step.done, step.total))

    # One task sends, since progress is reported by a callback that cannot await.
    pumping = asyncio.create_task(pump())
    try:
        yield Caller(progress, say=lambda line: lines.put_nowait((line, 0, 0)), patience=_PATIENCE)
        lines.put_nowait(None)
        await pumping  # a line that comes after the answer would belong to no request
    finally:
        pumping.cancel()
