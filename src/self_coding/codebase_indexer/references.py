"""Find who uses a function or class: certain where names resolve to it, else said to be unknown.

Blocking, and only reading. A name counts as certain if an import or the defining file itself
binds it; an attribute of an object of unknown type, a name in a string, and what cannot be parsed
are reported as uncertain, never dropped. A common word occurs everywhere and says little: files
are read up to a bound, the nearest first, and a lower bound for those that import no definition.
What was not read is named.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.links import left_out
from self_coding.codebase_indexer.reader import IndexReader
from self_coding.errors import IndexerError
from self_coding.languages import (
    Occurrences,
    Symbol,
    is_method,
    language_of,
    nfkc,
)
from self_coding.values.code import SymbolUse, SymbolUsers

READ = 300  # files, as long as some of them may only hold the same name of something else
_SHARE = 3  # of so many files one, where the name is in more than that: it is a common word
MOST = 3_000  # files, if all import a definition

_IMPORT = frozenset(("import",))


def find_users(
    index: IndexReader, symbol: str, path: str | None, *, read: int = READ, most: int = MOST
) -> SymbolUsers:
    """Return who uses a symbol.

    Raises:
        IndexerError: nothing of this name is defined (in `path`).
    """
    symbol = nfkc(symbol)
    owner, _, name = symbol.rpartition(".")
    definitions: dict[str, list[Symbol]] = {}
    for file, heads in store.definitions(index.connection, name, index.live).items():
        meant = [head for head in heads if owner in ("", head.parent)]
        if meant and path in (None, index.paths[file]):
            definitions[index.paths[file]] = meant
    if not definitions:
        where = f" in {path}" if path else ""
        raise IndexerError(
            f"no class or function {symbol} is defined{where}",
            hint="names are those of `class` and `def` lines; methods are `Class.method`",
        )
    search = _Search(index, symbol, definitions)
    search.load(definitions, len(definitions))
    # Each name under which a file imports the symbol may lead to further files.
    while search.load(search.importers(), most):
        pass
    holding = search.files_holding({name})
    search.load(holding, read if len(holding) <= read else min(read, search.read + read // _SHARE))
    uses = search.uses()
    return SymbolUsers(
        symbol=symbol,
        definitions=tuple(
            f"{file}:{head.line}" for file in sorted(definitions) for head in definitions[file]
        ),
        uses=tuple(use for use in uses if use.certain),
        unknown=tuple(use for use in uses if not use.certain),
        unread=tuple(sorted(search.unread)),
        left_out=left_out(index.connection),
    )


class _Search:
    """The files read for one symbol, and the names under which each of them has it."""

    def __init__(
        self, index: IndexReader, symbol: str, definitions: Mapping[str, Sequence[Symbol]]
    ) -> None:
        self.owner, _, self.name = symbol.rpartition(".")
        self.unread: set[str] = set()
        self._index = index
        self._definitions = definitions
        self._resolved: dict[tuple[str, str], Sequence[str]] = {}
        outer = self.owner.partition(".")[0] or self.name  # what imports bind
        self._exported: dict[str, set[str]] = {}
        self._plain: set[str] = set()  # files that define it, in which its bare name means it
        self._methods: dict[str, list[int]] = {}  # lines of the heads that are methods, by path
        for path, heads in definitions.items():
            symbols = store.heads(index.connection, index.ids[path])
            methods = [head.line for head in heads if is_method(symbols, head)]
            if self.owner or any(not head.parent for head in heads):
                names = language_of(path).exported_as(index.text(path), outer)
                self._exported[path] = {outer, *names}
            if not self.owner:
                self._methods[path] = methods
                if len(methods) < len(heads):
                    self._plain.add(path)
        self._words = frozenset((self.name, outer))
        self._texts: dict[str, str] = {}
        self._files: dict[str, Occurrences] = {}

    @property
    def read(self) -> int:
        """How many files were read."""
        return len(self._texts)

    def load(self, paths: Iterable[str], bound: int) -> bool:
        """Read further files, the nearest first, up to a bound; return whether there were any."""
        further = [path for path in paths if path not in self._texts and path not in self.unread]
        # Where files are left out, those near a definition are the likelier users.
        further = _nearest_first(further, self._definitions)
        room = max(0, bound - len(self._texts))
        self.unread.update(further[room:])
        new = sorted(further[:room])
        for path in new:
            self._texts[path] = self._index.text(path)
        any_new = bool(new)
        while new:
            for path in new:
                self._files[path] = self._scan(path, self._words)
            # Files that import the symbol hand it on, whatever they call it: to the fixed point.
            changed = True
            while changed:
                changed = False
                for path, file in self._files.items():
                    names = {name for name, _ in self._imported(path, file)}
                    if not names <= self._exported.get(path, set()):
                        self._exported.setdefault(path, set()).update(names)
                        changed = True
            # A new name may be used in files that were read for the old ones alone.
            words = self._words.union(*self._exported.values())
            added, self._words = words - self._words, words
            new = [
                path for path, text in self._texts.items() if any(w in nfkc(text) for w in added)
            ]
        return any_new

    def _scan(self, path: str, words: frozenset[str]) -> Occurrences:
        return language_of(path).find_names(self._texts[path], words)

    def importers(self) -> set[str]:
        """Return the files that import the symbol from those read so far, by name or star."""
        ids = self._index.ids
        exporters = {ids[path] for path, names in self._exported.items() if names}
        names = {name for names in self._exported.values() for name in names}
        holding = self.files_holding(names)
        importing = {
            path
            for path in holding
            if any(target in exporters for target in array("I", self._index.links[ids[path]]))
        }
        return importing | {
            path
            for path, modules in self._index.stars.items()
            # Where files of a scope see each other (Java), none hands on what it imports.
            if (path in holding or not language_of(path).scope(path))
            and any(self._exported.get(s) for m in modules for s in self._resolve(path, m))
        }

    def files_holding(self, words: Set[str]) -> set[str]:
        """Return the files whose text holds one of the words."""
        connection, paths, live = self._index.connection, self._index.paths, self._index.live
        files = {f for word in words for f in store.holders(connection, word, "body", live=live)}
        return {paths[file] for file in files if file in paths}

    def uses(self) -> list[SymbolUse]:
        """Return the uses in the files read, by path and line."""
        uses = {(path, *use) for path, file in self._files.items() for use in self._in(path, file)}
        return [
            SymbolUse(path=path, line=line, how=how, certain=certain)
            for path, line, how, certain in sorted(uses)
        ]

    def _in(self, path: str, file: Occurrences) -> Iterator[tuple[int, str, bool]]:
        """Return the uses in one file: line, how, certain."""
        exported = self._exported.get(path, set())
        is_plain = path in self._plain or self._is_beside(path)
        bare = set() if self.owner else exported | ({self.name} if is_plain else set())
        for _, line in self._imported(path, file):
            yield line, "import", not self.owner
        for word, line in file.names:
            if word in bare:
                yield line, "name", True
        yield from self._attributes(path, file, exported)
        for word, line in file.strings:
            if word == self.name:
                yield line, "string", False
        for word, line in file.unparsed:
            if word == self.name:
                yield line, "unparsed", False
        methods = self._methods.get(path)
        named = sorted(line for word, line in file.names if word == self.name) if methods else []
        if methods and named:
            text, language = self._texts[path], language_of(path)
            for line in language.class_body_uses(text, self.name, methods, named):
                yield line, "name", True

    def _is_beside(self, path: str) -> bool:
        """Return whether a file sees what a file of its package defines, without an import."""
        scope = language_of(path).scope(path)
        return bool(scope) and any(
            language_of(plain) is language_of(path) and language_of(plain).scope(plain) == scope
            for plain in self._plain
        )

    def _resolve(self, path: str, module: str) -> Sequence[str]:
        """Return the files that an imported module means."""
        key = (path.rpartition("/")[0], module)
        if key not in self._resolved:
            self._resolved[key] = self._index.resolve(path, module, ())
        return self._resolved[key]

    def _imported(self, path: str, file: Occurrences) -> Iterator[tuple[str, int]]:
        """Return the local names that imports of a file bind to the symbol, with their lines."""
        for line, module, names in file.imports:
            for source in self._resolve(path, module) if module is not None else ():
                exported = self._exported.get(source, set())
                for name, local in names if exported else ():
                    if name == "*":
                        yield from [(each, line) for each in exported]
                    elif name in exported:
                        yield local or name, line

    def _attributes(
        self, path: str, file: Occurrences, exported: Set[str]
    ) -> Iterator[tuple[int, str, bool]]:
        """Return the uses of the name behind a dot; certain behind a module that has it."""
        modules = self._modules(path, {value for value, _, _ in file.attributes})
        for value, word, line in file.attributes:
            if self.owner:  # `value` must be its class, or a module's class
                module, _, last = value.rpartition(".")
                certain = value in exported or (bool(module) and last in modules.get(module, ()))
            else:
                certain = word in modules.get(value, ())
            if certain or word == self.name:
                yield line, "attribute", certain

    def _modules(self, path: str, values: Set[str]) -> dict[str, set[str]]:
        """Return the names of the symbol in each module that is the value of an attribute."""
        prefixes = {value.rpartition(".")[0] if self.owner else value for value in values}
        prefixes = {each for each in prefixes if each.partition(".")[0] not in ("", "self", "cls")}
        if not prefixes:
            return {}
        modules: dict[str, set[str]] = {}
        if language_of(path).qualified:  # what is there needs no import
            for each in prefixes:
                for target in self._resolve(path, each):
                    modules.setdefault(each, set()).update(self._exported.get(target, ()))
        # Parsing is dear: ask first whether any import of the file can bind one of them.
        stored = store.imports(self._index.connection, self._index.ids[path])
        text = nfkc(self._texts[path])
        wanted = {
            each
            for each in prefixes
            if f"\t{each}" in stored
            or f",{each}" in stored
            or f"/{each}" in stored
            or f"as {each}" in text
            or f" {each} " in text
        }
        for _, module, names in self._scan(path, _IMPORT).imports if wanted else ():
            for name, local in names:
                if (local or name) not in wanted:
                    continue
                if module is None:
                    targets = self._resolve(path, name)
                else:  # what the module itself resolves to binds a name of it, no submodule
                    dotted = f"{module}{'' if module[-1:] == '.' else '.'}{name}"
                    parents = self._resolve(path, module)
                    targets = [each for each in self._resolve(path, dotted) if each not in parents]
                held = [self._exported.get(target, set()) for target in targets]
                if held:
                    modules[local or name] = set().union(*held)
        return modules


def _nearest_first(paths: Iterable[str], homes: Iterable[str]) -> list[str]:
    """Return paths by how many folders they share with one of the homes, then by name."""
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
