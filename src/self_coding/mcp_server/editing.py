"""Tools that change code: self_edit, begin_edit, submit_edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.app import App, choose_editor
from self_coding.mcp_server.replies import Begun, Edited, bounded
from self_coding.mcp_server.tools import ADDS, LANDS, Asked, progress_to, told

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def register(server: MCPServer[object], app: App) -> None:
    """Add the tools."""
    _register_self_edit(server, app)
    _register_own_edit(server, app)


def _register_self_edit(server: MCPServer[object], app: App) -> None:
    @server.tool(annotations=LANDS)
    @told
    async def self_edit(
        task: str,
        context: Asked,
        patch: str = "",
        editor: str = "",
        tries: int = 1,
        best_of: int = 1,
        propose: bool = False,
    ) -> Edited:
        """Attempt TASK in isolation; it lands when its tests pass and no rule is broken.

        The edit is `patch`, a unified diff, or is made by `editor`: a configured one or a preset
        (aider, claude, codex, gemini, opencode, goose, model). With `propose` it stops before
        landing and waits for `land_edit`.
        """
        made_by = choose_editor(
            app.settings, patch=patch.encode() if patch else None, name=editor or None
        )
        async with progress_to(context) as progress:
            result = await app.edit.self_edit(
                task,
                editor=made_by,
                tries=tries,
                best_of=best_of,
                hold=propose,
                on_progress=progress,
            )
        return Edited.of(result)


def _register_own_edit(server: MCPServer[object], app: App) -> None:
    @server.tool(annotations=ADDS)
    @told
    async def begin_edit(task: str, propose: bool = False) -> Begun:
        """Hand out a worktree for TASK: edit in it with your own tools, then `submit_edit`.

        With `propose` a green change stops before landing and waits for `land_edit`.
        """
        begun = await app.edit.begin_edit(task, ask=propose)
        return Begun(
            attempt=begun.attempt,
            worktree=str(begun.worktree.path),
            branch=begun.worktree.branch,
            base=begun.worktree.base,
            context=bounded(begun.context.text),
            warning=str(begun.context.warning or ""),
            next=f"edit files under the worktree only, then submit_edit(attempt={begun.attempt})",
        )

    @server.tool(annotations=LANDS)
    @told
    async def submit_edit(attempt: int, context: Asked, summary: str = "") -> Edited:
        """Judge, test and land what was edited in the worktree of ATTEMPT.

        `summary` says in words what was done, for the journal.
        """
        async with progress_to(context) as progress:
            result = await app.edit.submit_edit(attempt, summary=summary, on_progress=progress)
        return Edited.of(result)

    @server.tool(annotations=ADDS)
    @told
    async def drop_edit(attempt: int, reason: str = "") -> Edited:
        """End an attempt that waits, for approval or for its edit; its commits are kept."""
        return Edited.of(await app.edit.drop_edit(attempt, reason))
