"""Tools that look back: find_similar, attempts, show, stats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from self_coding.app import App
from self_coding.errors import JournalError
from self_coding.mcp_server.replies import (
    Attempt,
    Attempts,
    Happened,
    Share,
    Shown,
    Similar,
    Stats,
    bounded,
)
from self_coding.mcp_server.tools import READS, told
from self_coding.values.attempts import editor_output

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def register(server: MCPServer[object], app: App) -> None:
    """Add the tools."""

    @server.tool(annotations=READS)
    @told
    async def find_similar(task: str, limit: int = 5) -> Similar:
        """Earlier attempts at something like TASK, and whether it is a known dead end."""
        found = await app.journal.similar(task, limit=limit)
        return Similar.of(found, await app.journal.dead_end(task))

    @server.tool(annotations=READS)
    @told
    async def attempts(limit: int = 20) -> Attempts:
        """The attempts, newest first."""
        await app.catch_up()
        found = await app.journal.recent(limit)
        return Attempts(attempts=[Attempt.of(one) for one in found])

    @server.tool(annotations=READS)
    @told
    async def show(attempt: int) -> Shown:
        """All that is known of one attempt: its events, its change, what failed and why."""
        found = await app.journal.get_by_id(attempt)
        if found is None:
            raise JournalError(f"there is no attempt {attempt}", hint="`attempts` lists them")
        events = await app.journal.events(attempt)
        return Shown(
            attempt=Attempt.of(found),
            events=[Happened.of(event) for event in events],
            diff=bounded(found.diff),
            test_output=bounded(found.test_results),
            editor_output=bounded(editor_output(events)),
        )

    @server.tool(annotations=READS)
    @told
    async def stats(by: Literal["", "area", "editor", "model", "period"] = "") -> Stats:
        """Success rates with their 95 % intervals, and how good the memory itself is."""
        await app.catch_up()
        rates = await app.journal.rates(by or None)
        memory = dict(await app.journal.quality())
        return Stats(rates={name: Share.of(rate) for name, rate in rates.items()}, memory=memory)
