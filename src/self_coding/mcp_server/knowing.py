"""Tools that ask the index: relevant_files, impact, users, summary, context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.app import App
from self_coding.mcp_server.replies import Blast, File, Files, Text, Users
from self_coding.mcp_server.tools import READS, told

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def register(server: MCPServer[object], app: App) -> None:
    """Add the tools."""

    @server.tool(annotations=READS)
    @told
    async def relevant_files(task: str, limit: int = 5) -> Files:
        """The files that a task concerns, best first.

        `task` is text: a sentence, a bug report, a traceback.
        """
        found = await app.indexer.relevant(task, limit=limit)
        return Files(files=[File.of(file) for file in found])

    @server.tool(annotations=READS)
    @told
    async def impact(paths: list[str] | None = None, diff: str = "") -> Blast:
        """What a change of PATHS can break: dependents, tests, blind spots.

        Give `paths`, or the `diff`; with neither, what is uncommitted now.
        """
        if diff:
            return Blast.of(await app.indexer.impact(diff=diff))
        chosen = paths or await app.git.get_modified_files()
        return Blast.of(await app.indexer.impact(paths=chosen))

    @server.tool(annotations=READS)
    @told
    async def users(symbol: str, path: str = "", limit: int = 50) -> Users:
        """Who uses SYMBOL, a function, class or `Class.method`; what is not certain is apart.

        `path` is the file that defines it, where several do; `limit` holds for each list.
        """
        return Users.of(await app.indexer.users_of(symbol, path or None), max(limit, 0))

    @server.tool(annotations=READS)
    @told
    async def summary(max_tokens: int = 4000, task: str = "") -> Text:
        """The code in a few thousand tokens: modules, classes, functions."""
        return Text(text=await app.indexer.get_summary(max_tokens, task=task or None))

    @server.tool(annotations=READS)
    @told
    async def context(task: str, max_tokens: int = 4000) -> Text:
        """All that an editor would be shown for TASK: code, past attempts, lessons."""
        return Text(text=(await app.edit.context(task, max_tokens=max_tokens)).text)
