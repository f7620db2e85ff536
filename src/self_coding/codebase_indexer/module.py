"""Answers about one module or one symbol: tier 2 on demand, from the working tree itself.

Blocking, and only reading. What Python's parser refuses is answered from the text scan, and said
so; a use that cannot be resolved is reported as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.blast import Snapshot, covering_test
from self_coding.codebase_indexer.packed import unpack_imports, unpack_symbols
from self_coding.codebase_indexer.parse import parse, verdict
from self_coding.codebase_indexer.resolve import Layout
from self_coding.codebase_indexer.scan import decode, scan
from self_coding.codebase_indexer.uses import Uses
from self_coding.errors import IndexerError
from self_coding.values.code import ClassInfo, FunctionInfo, ModuleInfo, SymbolUsers


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


def users(snapshot: Snapshot, symbol: str, path: str | None) -> SymbolUsers:
    """Who uses a symbol.

    Raises:
        IndexerError: nothing of this name is defined (in `path`).
    """
    owner, _, name = symbol.rpartition(".")
    defined = [
        (snapshot.paths[file], each.line)
        for file, found in store.definitions(snapshot.connection, name).items()
        for each in found
        if path in (None, snapshot.paths[file]) and owner in ("", each.parent)
    ]
    if not defined:
        where = f" in {path}" if path else ""
        raise IndexerError(
            f"no class or function {symbol} is defined{where}",
            hint="names are those of `class` and `def` lines; methods are `Class.method`",
        )
    homes = sorted({home for home, _ in defined})
    layout = Layout(snapshot.ids)

    def resolve(importer: str, module: str, names: tuple[str, ...]) -> Sequence[str]:
        return [snapshot.paths[file] for file in layout.resolve(importer, module, names)]

    def imports(path: str) -> str:
        return store.imports(snapshot.connection, snapshot.ids[path])

    uses = Uses(symbol, homes, resolve, imports)
    stars = {
        snapshot.paths[file]: _stars(text)
        for file, text in store.starred(snapshot.connection).items()
    }
    sources = _read(snapshot, {*_holding(snapshot, {name, uses.outer}), *homes})
    while True:
        more = {each for word in uses.aliases(sources) for each in _holding(snapshot, {word})}
        more |= {path for path, modules in stars.items() if uses.hands_on(path, modules)}
        new = _read(snapshot, more - sources.keys())
        if not new:
            break
        sources |= new
    found = uses.find(sources)
    return SymbolUsers(
        symbol=symbol,
        definitions=tuple(f"{file}:{line}" for file, line in sorted(set(defined))),
        uses=tuple(use for use in found if use.certain),
        unknown=tuple(use for use in found if not use.certain),
    )


def _holding(snapshot: Snapshot, words: Set[str]) -> set[str]:
    """The files whose text holds one of the words."""
    found = {file for word in words for file in store.holders(snapshot.connection, word, "body")}
    return {snapshot.paths[file] for file in found if file in snapshot.paths}


def _stars(imports: str) -> list[str]:
    """The modules of which a file imports all names."""
    return [each.module for each in unpack_imports(imports) if "*" in each.names]


def _read(snapshot: Snapshot, paths: Set[str]) -> dict[str, str]:
    """The texts of those files that can be read."""
    sources = {path: snapshot.source(path) for path in sorted(paths)}
    return {path: decode(source) for path, source in sources.items() if source is not None}
