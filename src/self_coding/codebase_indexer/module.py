"""Answers about one module: tier 2 on demand, from the working tree itself.

Blocking, and only reading. What Python's parser refuses is answered from the text scan, and said
so.
"""

from __future__ import annotations

from self_coding.codebase_indexer.blast import Snapshot, covering_test
from self_coding.codebase_indexer.packed import unpack_imports, unpack_symbols
from self_coding.codebase_indexer.parse import parse, verdict
from self_coding.codebase_indexer.scan import scan
from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo


def info(snapshot: Snapshot, path: str) -> ModuleInfo | None:
    """What one file holds; None when it is no file of the index."""
    file = next((each for each in snapshot.files if each.path == path), None)
    if file is None:
        return None
    source = snapshot.source(path)
    found = None if source is None else parse(source, path, file.module)
    if found is None:
        found = _by_text(path, file.module, source)
    found.test_coverage = covering_test(snapshot, path)
    return found


def _by_text(path: str, module: str, source: bytes | None) -> ModuleInfo:
    """What the text scan tells of a file that cannot be parsed: names, lines and imports."""
    if source is None:
        return ModuleInfo(file_path=path, module_name=module, error="it cannot be read")
    told = scan(source)
    methods: dict[str, list[FunctionInfo]] = {}
    for line, kind, name, parent in unpack_symbols(told.symbols):
        if kind != "class" and parent:
            methods.setdefault(parent, []).append(_function(name, line, kind))
    top = [each for each in unpack_symbols(told.symbols) if not each.parent]
    return ModuleInfo(
        file_path=path,
        module_name=module,
        classes=[
            ClassInfo(each.name, methods.get(each.name, []), line_number=each.line)
            for each in top
            if each.kind == "class"
        ],
        functions=[
            _function(e.name, e.line, e.kind, method=False) for e in top if e.kind != "class"
        ],
        imports=[
            f"{each.module}.{name}" if name else each.module
            for each in unpack_imports(told.imports)
            for name in each.names or ("",)
            if each.scope != "string"
        ],
        error=verdict(source) or "it cannot be parsed",
    )


def _function(name: str, line: int, kind: str, *, method: bool = True) -> FunctionInfo:
    return FunctionInfo(name, line_number=line, is_async=kind == "async def", is_method=method)
