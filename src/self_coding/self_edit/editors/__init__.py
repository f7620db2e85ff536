"""Who makes the edit: a patch, a command, a Python function, a language model or the caller.

An editor works inside a worktree of its own. It changes files and reports; it does not commit,
judge, test or land, and it must not touch anything outside the worktree.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from self_coding.adapters.threads import in_thread
from self_coding.errors import EditError
from self_coding.self_edit.editors.command import PRESETS, CommandEditor, preset
from self_coding.self_edit.editors.patch import PatchEditor
from self_coding.values.attempts import Json
from self_coding.values.edits import Assignment, EditReport

__all__ = [
    "PRESETS",
    "CallableEditor",
    "CallerEditor",
    "CommandEditor",
    "Editor",
    "PatchEditor",
    "preset",
    "restored",
]


class Editor(Protocol):
    """Makes the edit that a task asks for."""

    @property
    def name(self) -> str:
        """A short word for the journal: "patch", "claude", "model", ..."""
        ...

    def spec(self) -> Mapping[str, Json] | None:
        """Return what is stored to build the editor anew after a crash; None: it cannot be.

        The key "kind" names the kind of editor.
        """
        ...

    async def edit(self, assignment: Assignment) -> EditReport:
        """Change the files under `assignment.worktree.path` so that the task is done.

        Cancelling the call ends whatever it has started.

        Raises:
            EditError: the edit could not be made; a result of the attempt, told to the next.
        """
        ...


class CallerEditor:
    """Whoever called `begin_edit`: the caller edits with its own tools and then submits."""

    name = "caller"

    def spec(self) -> Mapping[str, Json] | None:
        """Return the kind alone: the caller is always there."""
        return {"kind": "caller"}

    async def edit(self, assignment: Assignment) -> EditReport:
        """Raise: the self-edit waits for `submit_edit` instead of calling this."""
        raise EditError(
            f"attempt {assignment.attempt} is edited by its caller",
            hint=f"edit in {assignment.worktree.path}, then submit_edit({assignment.attempt})",
        )


class CallableEditor:
    """Edits by calling `function(worktree_path)`, plain or async, in this process.

    The text it returns is the summary of its approach; what it raises is the attempt's failure.
    An async function is ended at its time limit. A plain one is waited for, since Python cannot
    end a thread, but commands that it runs through our adapters are killed.
    """

    def __init__(
        self, function: Callable[[Path], object | Awaitable[object]], *, name: str = "callable"
    ) -> None:
        self.name = name
        self._function = function

    def spec(self) -> Mapping[str, Json] | None:
        """Return None: a function is not stored, so a crashed edit is not made again."""
        return None

    async def edit(self, assignment: Assignment) -> EditReport:
        """Call the function once."""
        started, path = time.monotonic(), assignment.worktree.path
        is_async = inspect.iscoroutinefunction(self._function)
        try:
            async with asyncio.timeout(assignment.seconds):
                said = self._function(path) if is_async else await in_thread(self._function, path)
                if inspect.isawaitable(said):
                    said = await said
        except TimeoutError:
            raise EditError(f"{self.name} took longer than {assignment.seconds:g} s") from None
        except EditError:
            raise
        except Exception as error:
            reason = f"{self.name} raised {type(error).__name__}: {error}"
            raise EditError(reason, hint="the function is the caller's own") from error
        summary = said if isinstance(said, str) else ""
        return EditReport(summary=summary, seconds=time.monotonic() - started)


def restored(spec: Mapping[str, object]) -> Editor | None:
    """Build an editor anew from what the journal stored of it; None when that is not possible."""
    try:
        if spec.get("kind") == "patch":
            return PatchEditor.restored(spec)
        if spec.get("kind") == "command":
            return CommandEditor.restored(spec)
    except EditError:
        return None
    return CallerEditor() if spec.get("kind") == "caller" else None
