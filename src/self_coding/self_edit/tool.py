"""SelfEditTool: the self-edit under the name and with the arguments of the founding document."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from self_coding.self_edit.editors import Editor
from self_coding.self_edit.service import SelfEdit
from self_coding.values.edits import SelfEditResult


class _Wiring(Protocol):
    """What this module needs of `config`, which stands on the floor above."""

    def tool_parts(
        self, repo_path: Path | str | None, llm_adapter: object | None
    ) -> tuple[SelfEdit, Editor]: ...


class SelfEditTool:
    """Makes a language model's edit of a repository, and lands it when it is proved good.

    Args:
        repo_path: a path in the repository; the working directory when None.
        llm_adapter: has `async chat(message=..., context=...)`; None takes the configured model.
    """

    def __init__(
        self, repo_path: Path | str | None = None, llm_adapter: object | None = None
    ) -> None:
        # By name, since floors are built from below: only here, for the founding signature's sake.
        wiring = cast("_Wiring", import_module("self_coding.config"))
        self._edit, self._editor = wiring.tool_parts(repo_path, llm_adapter)

    async def execute(
        self, task: str, context: Mapping[str, object] | str | None = None
    ) -> SelfEditResult:
        """Attempt a task; `context` is told to the model beside what is known anyway."""
        more = context if isinstance(context, str) else _lines(context or {})
        told = f"{task}\n\n{more}" if more and _says_something(task) else task
        return await self._edit.self_edit(told, editor=self._editor)


def _says_something(task: object) -> bool:
    return isinstance(task, str) and bool(task.strip())


def _lines(context: Mapping[str, object]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in context.items())
