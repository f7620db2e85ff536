"""Who uses a symbol: which files are read for it, and what `uses` finds in them.

Blocking, and only reading. A name that stands everywhere says little, and reading all of a large
repository takes seconds: files are read up to a bound, the nearest first, and a lower bound for
those from which no import leads to a definition. What was not read is named.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence, Set

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.reader import IndexReader
from self_coding.codebase_indexer.uses import Home, Uses
from self_coding.errors import IndexerError
from self_coding.languages import Symbol, is_method, language_of, unpack_imports
from self_coding.values.code import SymbolUsers

READ = 1_500  # files, as long as some of them may only hold the same name of something else
MOST = 3_000  # files, where all import a definition


def users(
    snapshot: IndexReader, symbol: str, path: str | None, *, read: int = READ, most: int = MOST
) -> SymbolUsers:
    """Who uses a symbol.

    Raises:
        IndexerError: nothing of this name is defined (in `path`).
    """
    owner, _, name = symbol.rpartition(".")
    defined = _definitions(snapshot, name, owner, path)
    if not defined:
        where = f" in {path}" if path else ""
        raise IndexerError(
            f"no class or function {symbol} is defined{where}",
            hint="names are those of `class` and `def` lines; methods are `Class.method`",
        )
    paths = _Paths(snapshot)
    uses = Uses(symbol, _homes(snapshot, defined, owner), paths.resolve, paths.imports)
    sources = _read(snapshot, defined)
    unread: set[str] = set()

    def take(wanted: Set[str], bound: int) -> bool:
        """Read further files as long as there is room; whether there were any."""
        further = _nearest_first(wanted - sources.keys() - unread, defined)
        room = max(0, bound - len(sources))
        new = _read(snapshot, further[:room])
        sources.update(new)
        unread.update(further[room:])
        return bool(new)

    found_more = True
    while found_more:
        near = paths.importing(paths.holding(uses.aliases(sources)), uses.exporters())
        found_more = take(near | paths.starred(uses), most)
    take(paths.holding({name}), read)
    found = uses.find(sources)
    return SymbolUsers(
        symbol=symbol,
        definitions=tuple(
            f"{file}:{each.line}" for file in sorted(defined) for each in defined[file]
        ),
        uses=tuple(use for use in found if use.certain),
        unknown=tuple(use for use in found if not use.certain),
        unread=tuple(sorted(unread)),
    )


class _Paths:
    """What the index knows of files and their imports, by path."""

    def __init__(self, snapshot: IndexReader) -> None:
        self._snapshot = snapshot
        self._links = store.links(snapshot.connection)
        self.resolve = snapshot.resolve
        self._stars = {
            path: [each.module for each in unpack_imports(text) if "*" in each.names]
            for _, path, text in store.all_imports(snapshot.connection, "\t*")
        }

    def imports(self, path: str) -> str:
        """The import statements of a file, packed."""
        return store.imports(self._snapshot.connection, self._snapshot.ids[path])

    def holding(self, words: Set[str]) -> set[str]:
        """The files whose text holds one of the words."""
        connection, paths = self._snapshot.connection, self._snapshot.paths
        found = {file for word in words for file in store.holders(connection, word, "body")}
        return {paths[file] for file in found if file in paths}

    def starred(self, uses: Uses) -> set[str]:
        """The files to which an import of all names hands the symbol on."""
        return {path for path, modules in self._stars.items() if uses.hands_on(path, modules)}

    def importing(self, paths: Iterable[str], exporters: Iterable[str]) -> set[str]:
        """Those of some files that import one of others directly."""
        ids = self._snapshot.ids
        wanted = {ids[path] for path in exporters}
        if not wanted:
            return set()
        return {
            path
            for path in paths
            if not wanted.isdisjoint(each >> 3 for each in array("I", self._links[ids[path]]))
        }


def _definitions(
    snapshot: IndexReader, name: str, owner: str, path: str | None
) -> dict[str, list[Symbol]]:
    """The heads that define a symbol, by path."""
    found: dict[str, list[Symbol]] = {}
    for file, heads in store.definitions(snapshot.connection, name).items():
        home = snapshot.paths[file]
        meant = [each for each in heads if owner in ("", each.parent)]
        if meant and path in (None, home):
            found[home] = meant
    return found


def _homes(
    snapshot: IndexReader, defined: Mapping[str, Sequence[Symbol]], owner: str
) -> dict[str, Home]:
    """What the defining files make of the symbol: what can be imported, what is a method."""
    homes: dict[str, Home] = {}
    for path, heads in defined.items():
        symbols = store.heads(snapshot.connection, snapshot.ids[path])
        methods = [each.line for each in heads if is_method(symbols, each)]
        homes[path] = Home(
            importable=bool(owner) or any(not each.parent for each in heads),
            plain=bool(owner) or len(methods) < len(heads),
            methods=() if owner else tuple(methods),
        )
    return homes


def _nearest_first(paths: Iterable[str], homes: Iterable[str]) -> list[str]:
    """Paths by how many folders they share with one of the homes, then by name."""
    around = {
        "/".join(parts[:depth])
        for parts in (home.split("/")[:-1] for home in homes)
        for depth in range(1, len(parts) + 1)
    }

    def shared(path: str) -> int:
        folder = path.rpartition("/")[0]
        while folder and folder not in around:
            folder = folder.rpartition("/")[0]
        return folder.count("/") + 1 if folder else 0

    return sorted(paths, key=lambda path: (-shared(path), path))


def _read(snapshot: IndexReader, paths: Iterable[str]) -> dict[str, str]:
    """The texts of those files that can be read."""
    sources = {path: snapshot.source(path) for path in sorted(paths)}
    return {
        path: language_of(path).decode(source)
        for path, source in sources.items()
        if source is not None
    }
