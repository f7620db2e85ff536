"""Who uses a function or class: certain where names resolve to it, else said to be unknown.

Pure: texts in, uses out. A name counts as certain when an import or the defining file itself
binds it; an attribute of an object whose type nobody knows, a name in a string, and a file whose
text does not tell and that cannot be parsed are reported as uncertain, never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from self_coding.codebase_indexer import spots, spots_tree
from self_coding.codebase_indexer.bodies import uses_in_bodies
from self_coding.codebase_indexer.spots import Bound, Spots
from self_coding.values.code import SymbolUse

Resolver = Callable[[str, str, tuple[str, ...]], Sequence[str]]  # importer, module, names -> paths
Found = tuple[str, int, str, bool]  # path, line, how, certain


class Home(NamedTuple):
    """What a defining file makes of the symbol: whether imports can take it from there, whether
    its bare name means it anywhere in the file, and the heads (lines) of methods, whose bare name
    means them in the rest of their class's body alone."""

    importable: bool
    plain: bool
    methods: tuple[int, ...] = ()


class Uses:
    """Looks for the uses of one symbol.

    Args:
        symbol: its name; `Class.method` for a method.
        homes: the files that define it, and how.
        resolve: which files an import means.
        imports: the (packed) import statements of a path.
    """

    def __init__(
        self,
        symbol: str,
        homes: Mapping[str, Home],
        resolve: Resolver,
        imports: Callable[[str], str],
    ) -> None:
        self.owner, _, self.name = symbol.rpartition(".")
        self._resolver = resolve
        self._imports = imports
        self._resolved: dict[tuple[str, str], Sequence[str]] = {}
        self.outer = self.owner.partition(".")[0] or self.name  # the name that imports bind
        self._homes = homes
        self._exported: dict[str, set[str]] = {
            path: {self.outer} for path, home in homes.items() if home.importable
        }
        self._words = {self.name, self.outer}
        self._texts: dict[str, str] = {}
        self._files: dict[str, Spots | None] = {}

    def aliases(self, sources: Mapping[str, str]) -> set[str]:
        """Every name under which these files import the symbol."""
        self._read(sources)
        return {name for names in self._exported.values() for name in names}

    def exporters(self) -> set[str]:
        """The files read so far from which the symbol can be imported."""
        return {path for path, names in self._exported.items() if names}

    def hands_on(self, path: str, modules: Iterable[str]) -> bool:
        """Whether a file that imports all names of these modules imports the symbol."""
        return any(
            self._exported.get(source)
            for module in modules
            for source in self._resolve(path, module)
        )

    def find(self, sources: Mapping[str, str]) -> list[SymbolUse]:
        """The uses in these files (path -> text), by path and line."""
        self._read(sources)
        found: set[Found] = set()
        for path in self._files:
            found.update(self._in(path))
        return [
            SymbolUse(path=path, line=line, how=how, certain=certain)
            for path, line, how, certain in sorted(found)
        ]

    def _read(self, sources: Mapping[str, str]) -> None:
        """Read what is new, and follow which files hand the symbol on until nothing is new."""
        new = [path for path in sources if path not in self._texts]
        self._texts.update(sources)
        while new:
            for path in new:
                self._files[path] = self._spots(path)
            self._follow()
            known = self._words
            self._words = known.union(*self._exported.values())
            more = self._words - known
            new = [path for path, text in self._texts.items() if any(each in text for each in more)]

    def _spots(self, path: str) -> Spots | None:
        text = self._texts[path]
        return spots.by_text(text, self._words) or spots_tree.by_tree(text, self._words)

    def _follow(self) -> None:
        changed = True
        while changed:
            changed = False
            for path, file in self._files.items():
                if file is None or not file.imports:
                    continue
                handed = {local for local, _ in self._imported(path, file)}
                if handed:
                    names = self._exported.setdefault(path, set())
                    changed = changed or not handed <= names
                    names |= handed

    def _resolve(self, path: str, module: str) -> Sequence[str]:
        key = (path.rpartition("/")[0], module)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolved[key] = self._resolver(path, module, ())
        return found

    def _imported(self, path: str, file: Spots) -> Iterator[tuple[str, int]]:
        """The local names that imports of a file bind to the symbol, with their lines."""
        for line, module, names in file.imports:
            for source in self._resolve(path, module) if module is not None else ():
                exported = self._exported.get(source)
                for name, local in names if exported else ():
                    if name == "*":
                        yield from [(each, line) for each in exported or ()]
                    elif name in (exported or ()):
                        yield local or name, line

    def _modules(
        self, path: str, imports: Sequence[Bound], wanted: Set[str]
    ) -> dict[str, set[str]]:
        """Dotted local name -> the names under which that module has the symbol."""
        found: dict[str, set[str]] = {}
        for module, names in imports:
            for name, local in names:
                if (local or name) not in wanted:
                    continue
                for target in self._submodules(path, module, name):
                    found[local or name] = self._exported.get(target, set())
        return found

    def _submodules(self, path: str, module: str | None, name: str) -> Iterator[str]:
        """The modules that `import name` or `from module import name` binds."""
        if module is None:
            yield from self._resolve(path, name)
            return
        inner = f"{module}{'' if module[-1:] == '.' else '.'}{name}"
        for target in self._resolve(path, inner):
            if target not in self._resolve(path, module):
                yield target

    def _in(self, path: str) -> Iterator[Found]:
        file = self._files[path]
        names = self._exported.get(path, set())
        bare = set() if self.owner else names | self._local(path)
        if file is not None and file.names is None and bare:
            file = spots_tree.by_tree(self._texts[path], self._words)
        if file is None:
            yield from self._by_text(path)
            return
        for _, line in self._imported(path, file) if file.imports else ():
            yield path, line, "import", not self.owner
        for word, line in file.names or () if bare else ():
            if word in bare:
                yield path, line, "name", True
        if file.attributes:
            yield from self._attributes(path, file, names)
        for word, line in file.strings:
            if word == self.name:
                yield path, line, "string", False
        if path in self._homes and self._homes[path].methods:
            methods = self._homes[path].methods
            for line in uses_in_bodies(self._texts[path], self.name, methods):
                yield path, line, "name", True

    def _local(self, path: str) -> set[str]:
        """The name that means the symbol in the file that defines it, imported or not."""
        return {self.name} if path in self._homes and self._homes[path].plain else set()

    def _attributes(self, path: str, file: Spots, names: set[str]) -> Iterator[Found]:
        modules: dict[str, set[str]] = {}
        wanted = self._bound(path, {self._module_of(before) for before, _, _ in file.attributes})
        if wanted:
            modules = self._modules(path, self._statements(path, file), wanted)
        for before, word, line in file.attributes:
            module, _, last = before.rpartition(".")
            if self.owner:
                certain = before in names or (bool(module) and last in modules.get(module, ()))
            else:
                certain = word in modules.get(before, ())
            if certain or word == self.name:
                yield path, line, "attribute", certain

    def _module_of(self, before: str) -> str:
        """The dotted name before an attribute that may be a module, empty for none."""
        module = before.rpartition(".")[0] if self.owner else before
        return "" if module.partition(".")[0] in ("self", "cls") else module

    def _bound(self, path: str, names: Iterable[str]) -> set[str]:
        """Those of some dotted names that an import of the file may bind."""
        asked = [name for name in names if name]
        stored, text = f"{self._imports(path)}\n" if asked else "", self._texts[path]
        return {name for name in asked if _imported(stored, name) or f"as {name}" in text}

    def _statements(self, path: str, file: Spots) -> Sequence[Bound]:
        """What all import statements of a file bind."""
        text = self._texts[path]
        found = spots.statements(text)
        if found is None:
            told = spots_tree.by_tree(text, self._words)
            known = file.imports if told is None else told.imports
            found = [(each.module, each.names) for each in known]
        return found

    def _by_text(self, path: str) -> Iterator[Found]:
        text = self._texts[path]
        for match in re.finditer(rf"\b{re.escape(self.name)}\b", text):
            yield path, text.count("\n", 0, match.start()) + 1, "unparsed", False


def _imported(stored: str, name: str) -> bool:
    """Whether packed imports (with a line's end) hold this name, or the beginning of a module's."""
    if name not in stored:
        return False
    return any(f"{a}{name}{b}" in stored for a in "\t," for b in "\t.,\n")
