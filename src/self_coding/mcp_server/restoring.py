"""Tools that record and look ahead: snapshot, plan_rollback. Those that change are in `asking`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.app import App
from self_coding.mcp_server.replies import Plan, Taken
from self_coding.mcp_server.tools import ADDS, READS, told

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def register(server: MCPServer[object], app: App) -> None:
    """Add the tools."""

    @server.tool(annotations=ADDS)
    @told
    async def snapshot(run_tests: bool = False) -> Taken:
        """Record the working tree, the index and HEAD, so that they can be restored."""
        taken = await app.git.snapshot(run_tests=run_tests)
        return Taken.of(taken, tested=run_tests)

    @server.tool(annotations=READS)
    @told
    async def plan_rollback(target: str) -> Plan:
        """What a rollback to TARGET (a snapshot's ref or a commit) would do; nothing is changed."""
        return Plan.of(await app.git.plan_rollback(target))
