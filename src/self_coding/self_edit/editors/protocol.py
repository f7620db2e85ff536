"""What an editor is: whoever makes the edit, inside a worktree of its own.

An editor changes files and reports; it does not commit, judge, test or land, and it must not
touch anything outside the worktree it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from self_coding.values.attempts import Json
from self_coding.values.edits import Assignment, EditReport


class Editor(Protocol):
    """Makes the edit that a task asks for."""

    @property
    def name(self) -> str:
        """A short word for the journal: "patch", "claude", "model", ..."""
        ...

    def spec(self) -> Mapping[str, Json] | None:
        """What is stored so that a crashed attempt can be gone on with; None: cannot be rebuilt.

        The mapping has a key "kind" that names the editor's module, and JSON values only.
        """
        ...

    async def edit(self, assignment: Assignment) -> EditReport:
        """Change the files under `assignment.worktree.path` so that the task is done.

        Cancelling the call ends whatever it has started.

        Raises:
            EditError: the edit could not be made; a result of the attempt, told to the next.
        """
        ...
