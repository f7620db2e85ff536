"""An editor that is the caller itself: it is handed the worktree and says when it has done.

`begin_edit` stops before the edit and `submit_edit` goes on after it, so nothing is ever called
here; the module exists so that the journal names this kind like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

from self_coding.errors import EditError
from self_coding.values.attempts import Json
from self_coding.values.edits import Assignment, EditReport


class CallerEditor:
    """Stands for whoever called `begin_edit`."""

    name = "caller"

    def spec(self) -> Mapping[str, Json] | None:
        """Always there: the caller submits when it has done."""
        return {"kind": "caller"}

    async def edit(self, assignment: Assignment) -> EditReport:
        """Never called: the caller edits with its own tools."""
        raise EditError(
            f"attempt {assignment.attempt} is edited by its caller",
            hint=f"edit in {assignment.worktree.path}, then submit_edit({assignment.attempt})",
        )
