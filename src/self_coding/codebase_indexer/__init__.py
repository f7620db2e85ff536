"""The index: it knows the code of a repository, at the speed of `git status`."""

from self_coding.codebase_indexer.indexer import CodebaseIndexer
from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo

__all__ = ["ClassInfo", "CodebaseIndexer", "FunctionInfo", "ModuleInfo"]
