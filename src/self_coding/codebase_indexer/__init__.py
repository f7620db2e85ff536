"""The index: it knows the code of a repository, at the speed of `git status`.

The public names are loaded when they are first asked for: a blocking caller of `refresh` need
not load what only the async service needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from self_coding.codebase_indexer.indexer import CodebaseIndexer
    from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo

__all__ = ["ClassInfo", "CodebaseIndexer", "FunctionInfo", "ModuleInfo"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    service = name == "CodebaseIndexer"
    home = "self_coding.codebase_indexer.indexer" if service else "self_coding.values.code"
    return getattr(import_module(home), name)
