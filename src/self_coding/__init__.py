"""Lets any agent change any git repository: nobody loses work, and what was tested is what lands.

The front door: the public names, each loaded when it is first asked for, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from self_coding.app import App, SelfEditTool, open_app
    from self_coding.codebase_indexer import (
        ClassInfo,
        CodebaseIndexer,
        FunctionInfo,
        ModuleInfo,
    )
    from self_coding.errors import SelfCodingError
    from self_coding.git_safety import GitSafety, Snapshot
    from self_coding.modification_journal import (
        ModificationAttempt,
        ModificationJournal,
        Outcome,
    )
    from self_coding.reflection import ReflectionService
    from self_coding.self_edit import SelfEdit, SelfEditResult

_HOMES = {
    "App": "app",
    "ClassInfo": "codebase_indexer",
    "CodebaseIndexer": "codebase_indexer",
    "FunctionInfo": "codebase_indexer",
    "GitSafety": "git_safety",
    "ModificationAttempt": "modification_journal",
    "ModificationJournal": "modification_journal",
    "ModuleInfo": "codebase_indexer",
    "Outcome": "modification_journal",
    "ReflectionService": "reflection",
    "SelfCodingError": "errors",
    "SelfEdit": "self_edit",
    "SelfEditResult": "self_edit",
    "SelfEditTool": "app",
    "Snapshot": "git_safety",
    "open_app": "app",
}

__all__ = [
    "App",
    "ClassInfo",
    "CodebaseIndexer",
    "FunctionInfo",
    "GitSafety",
    "ModificationAttempt",
    "ModificationJournal",
    "ModuleInfo",
    "Outcome",
    "ReflectionService",
    "SelfCodingError",
    "SelfEdit",
    "SelfEditResult",
    "SelfEditTool",
    "Snapshot",
    "open_app",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'self_coding' has no attribute {name!r}")
    value: object = getattr(import_module(f"self_coding.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
