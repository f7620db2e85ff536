"""An editor that is a Python function, given the worktree's path.

It runs in this process: an async function is ended at its time limit, a plain one is waited for
(Python cannot end a thread), though commands that it runs through our adapters are killed.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from self_coding.adapters.threads import in_thread
from self_coding.errors import EditError
from self_coding.values.attempts import Json
from self_coding.values.edits import Assignment, EditReport

Function = Callable[[Path], "object | Awaitable[object]"]


class CallableEditor:
    """Edits by calling `function(worktree_path)`, plain or async.

    What it returns, if it is text, is the summary of its approach. Whatever it raises is the
    attempt's failure.
    """

    def __init__(self, function: Function, *, name: str = "callable") -> None:
        self.name = name
        self._function = function

    def spec(self) -> Mapping[str, Json] | None:
        """None: a function is not stored, so a crashed edit is not made again."""
        return None

    async def edit(self, assignment: Assignment) -> EditReport:
        """Call the function once; it has the assignment's seconds."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(assignment.seconds):
                said = await self._call(assignment.worktree.path)
        except TimeoutError:
            raise EditError(f"{self.name} took longer than {assignment.seconds:g} s") from None
        except EditError:
            raise
        except Exception as error:
            reason = f"{self.name} raised {type(error).__name__}: {error}"
            raise EditError(reason, hint="the function is the caller's own") from error
        summary = said if isinstance(said, str) else ""
        return EditReport(summary=summary, seconds=time.monotonic() - started)

    async def _call(self, path: Path) -> object:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(path)
        said = await in_thread(self._function, path)
        return await said if inspect.isawaitable(said) else said
