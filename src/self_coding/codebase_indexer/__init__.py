"""The index: it knows the code of a repository, at the speed of `git status`.

The public names, each loaded when it is first asked for: a blocking caller of `update` need not
load what only the async service needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from self_coding.codebase_indexer.indexer import CodebaseIndexer
    from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo

_HOMES = {
    "ClassInfo": "self_coding.values.code",
    "CodebaseIndexer": "self_coding.codebase_indexer.indexer",
    "FunctionInfo": "self_coding.values.code",
    "ModuleInfo": "self_coding.values.code",
}

__all__ = ["ClassInfo", "CodebaseIndexer", "FunctionInfo", "ModuleInfo"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
