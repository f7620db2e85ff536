"""Tools that a person confirms: land_edit, rollback, undo.

The question is asked before the tool runs, in whatever way the client can; a client that cannot
ask its person declines, and is told so.
"""

# No `from __future__ import annotations` here: the questions are local functions that the
# annotations of the tools name, so those must be evaluated where they stand.

from typing import Annotated

from mcp.server.mcpserver import (
    AcceptedElicitation,
    CancelledElicitation,
    Elicit,
    ElicitationResult,
    MCPServer,
    Resolve,
)
from pydantic import BaseModel, Field

from self_coding.app import App
from self_coding.mcp_server.replies import Done, Edited, Plan
from self_coding.mcp_server.tools import LANDS, RESTORES, Asked, progress_to, told

UNASKED = "declined: this client cannot ask its person; use the command line instead"
UNANSWERED = "declined: the question was not answered; where nobody can, use the command line"


class Confirm(BaseModel):
    """The person's answer."""

    go_ahead: bool = Field(description="Do it?")


def _question(context: Asked, message: str) -> Confirm | Elicit[Confirm]:
    """Ask where the client can ask; decline where it cannot."""
    capabilities = context.client_capabilities
    if capabilities is None or capabilities.elicitation is None:
        return Confirm(go_ahead=False)
    return Elicit(message, Confirm)


def _agreed(answer: ElicitationResult[Confirm]) -> bool:
    return isinstance(answer, AcceptedElicitation) and answer.data.go_ahead


def _declined(context: Asked, answer: ElicitationResult[Confirm]) -> str:
    capabilities = context.client_capabilities
    if capabilities is None or capabilities.elicitation is None:
        return UNASKED
    return UNANSWERED if isinstance(answer, CancelledElicitation) else "declined by the person"


def register(server: MCPServer[object], app: App) -> None:
    """Add the tools."""
    _register_approval(server, app)
    _register_restores(server, app)


def _register_approval(server: MCPServer[object], app: App) -> None:
    async def may_land(context: Asked, attempt: int) -> Confirm | Elicit[Confirm]:
        found = await app.journal.get_by_id(attempt)
        task = found.task_description[:200] if found else "unknown"
        return _question(context, f"Land attempt {attempt} on main? Task: {task}")

    @server.tool(annotations=LANDS)
    @told
    async def land_edit(
        attempt: int,
        context: Asked,
        answer: Annotated[ElicitationResult[Confirm], Resolve(may_land)],
    ) -> Edited:
        """Land an attempt that waits green for approval.

        The person is asked first. The tree that lands is the one that was tested; if main has
        moved, it is tested anew.
        """
        if not _agreed(answer):
            return Edited(
                success=False,
                message=_declined(context, answer),
                attempt=attempt,
                stage="waiting",
                waiting="approval",
                hint="it still waits: `land_edit` asks again, `drop_edit` ends it",
            )
        async with progress_to(context) as progress:
            return Edited.of(await app.edit.land_edit(attempt, on_progress=progress))


def _register_restores(server: MCPServer[object], app: App) -> None:
    async def may_rollback(context: Asked, target: str) -> Confirm | Elicit[Confirm]:
        plan = await app.git.plan_rollback(target)
        touched = sum(one.action in ("write", "delete") for one in plan.paths)
        return _question(context, f"Roll back to {target}: {touched} paths change. Go ahead?")

    async def may_undo(context: Asked, steps: int = 1) -> Confirm | Elicit[Confirm]:
        return _question(context, f"Take back the last {steps} operation(s) of self-coding?")

    @server.tool(annotations=RESTORES)
    @told
    async def rollback(
        target: str,
        context: Asked,
        answer: Annotated[ElicitationResult[Confirm], Resolve(may_rollback)],
    ) -> Plan:
        """Go back to TARGET, a snapshot's ref or a commit; `undo` takes it back.

        The person is shown the plan and asked first; what is there now is captured.
        """
        plan = await app.git.plan_rollback(target)
        if not _agreed(answer):
            return Plan.of(plan, message=_declined(context, answer))
        commit = await app.git.rollback(target)
        return Plan.of(plan, done=True, message=f"at {commit}")

    @server.tool(annotations=RESTORES)
    @told
    async def undo(
        context: Asked,
        answer: Annotated[ElicitationResult[Confirm], Resolve(may_undo)],
        steps: int = 1,
    ) -> Done:
        """Take back what self-coding last did here: a rollback, a landing."""
        if not _agreed(answer):
            return Done(done=False, message=_declined(context, answer))
        return Done.of(await app.git.undo(steps), "undone")
