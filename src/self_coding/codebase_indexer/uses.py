"""Who uses a function or class: certain where names resolve to it, else said to be unknown.

Pure: syntax trees in, uses out. A name counts as certain when an import or the defining file
itself binds it; an attribute of an object whose type nobody knows, a name in a string, and a file
that cannot be parsed are reported as uncertain, never dropped.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

from self_coding.values.code import SymbolUse

Resolver = Callable[[str, str, tuple[str, ...]], Sequence[str]]  # importer, module, names -> paths


class _File:
    """The nodes of one file that can use a name, gathered in one walk."""

    def __init__(self, tree: ast.Module) -> None:
        self.imports: list[ast.Import] = []
        self.froms: list[ast.ImportFrom] = []
        self.names: list[ast.Name] = []
        self.attributes: list[ast.Attribute] = []
        self.strings: list[ast.Constant] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                self.names.append(node)
            elif isinstance(node, ast.Attribute):
                self.attributes.append(node)
            elif isinstance(node, ast.Constant):
                self.strings.append(node)
            elif isinstance(node, ast.ImportFrom):
                self.froms.append(node)
            elif isinstance(node, ast.Import):
                self.imports.append(node)


class Uses:
    """Looks for the uses of one symbol.

    Args:
        symbol: its name; `Class.method` for a method.
        homes: the files that define it.
        resolve: which files an import means.
    """

    def __init__(self, symbol: str, homes: Sequence[str], resolve: Resolver) -> None:
        self.owner, _, self.name = symbol.rpartition(".")
        self._resolve = resolve
        self.outer = self.owner.partition(".")[0] or self.name  # the name that imports bind
        self._exported: dict[str, set[str]] = {home: {self.outer} for home in homes}
        self._files: dict[str, _File | None] = {}

    def aliases(self, sources: Mapping[str, str]) -> set[str]:
        """Every name under which these files import the symbol."""
        self._read(sources)
        return {name for names in self._exported.values() for name in names}

    def find(self, sources: Mapping[str, str]) -> list[SymbolUse]:
        """The uses in these files (path -> text), by path and line."""
        self._read(sources)
        found: list[SymbolUse] = []
        for path, file in self._files.items():
            found += self._by_text(path, sources[path]) if file is None else self._in(path, file)
        return sorted(set(found), key=lambda use: (use.path, use.line, use.how))

    def _read(self, sources: Mapping[str, str]) -> None:
        """Parse what is new, and follow which files hand the symbol on until nothing is new."""
        for path, text in sources.items():
            if path not in self._files:
                tree = _parsed(text)
                self._files[path] = None if tree is None else _File(tree)
        changed = True
        while changed:
            changed = False
            for path, file in self._files.items():
                names = self._exported.setdefault(path, set())
                before = len(names)
                names |= {local for local, _ in self._imported(path, file)}
                changed = changed or len(names) > before

    def _imported(self, path: str, file: _File | None) -> Iterator[tuple[str, int]]:
        """The local names that imports of a file bind to the symbol, with their lines."""
        for node in file.froms if file else ():
            module = "." * node.level + (node.module or "")
            for source in self._resolve(path, module, ()):
                exported = self._exported.get(source, set())
                for alias in node.names if exported else ():
                    if alias.name == "*":
                        yield from [(name, node.lineno) for name in exported]
                    elif alias.name in exported:
                        yield alias.asname or alias.name, node.lineno

    def _modules(self, path: str, file: _File) -> dict[str, set[str]]:
        """Dotted local name -> the names under which that module has the symbol."""
        found: dict[str, set[str]] = {}
        for node in file.imports:
            for alias in node.names:
                for target in self._resolve(path, alias.name, ()):
                    found[alias.asname or alias.name] = self._exported.get(target, set())
        for each in file.froms:
            module = "." * each.level + (each.module or "")
            for alias in each.names:
                inner = f"{module}{'' if module.endswith('.') else '.'}{alias.name}"
                for target in self._resolve(path, inner, ()):
                    if target not in self._resolve(path, module, ()):
                        found[alias.asname or alias.name] = self._exported.get(target, set())
        return found

    def _in(self, path: str, file: _File) -> Iterator[SymbolUse]:
        names = self._exported.get(path, set())
        modules = self._modules(path, file)
        for _, line in self._imported(path, file):
            yield SymbolUse(path=path, line=line, how="import", certain=not self.owner)
        for each in file.names:
            if each.id in names and not self.owner:
                yield SymbolUse(path=path, line=each.lineno, how="name", certain=True)
        for node in file.attributes:
            if node.attr == self.name or self._is_export(node, modules):
                certain = self._certain(node, names, modules)
                yield SymbolUse(path=path, line=node.lineno, how="attribute", certain=certain)
        for string in file.strings:
            if string.value == self.name:
                yield SymbolUse(path=path, line=string.lineno, how="string", certain=False)

    def _is_export(self, node: ast.Attribute, modules: Mapping[str, set[str]]) -> bool:
        return not self.owner and node.attr in modules.get(_dotted(node.value), ())

    def _certain(
        self, node: ast.Attribute, names: set[str], modules: Mapping[str, set[str]]
    ) -> bool:
        before = _dotted(node.value)
        if not self.owner:
            return node.attr in modules.get(before, ())
        module, _, last = before.rpartition(".")
        return before in names or (bool(module) and last in modules.get(module, ()))

    def _by_text(self, path: str, text: str) -> Iterator[SymbolUse]:
        for match in re.finditer(rf"\b{re.escape(self.name)}\b", text):
            line = text.count("\n", 0, match.start()) + 1
            yield SymbolUse(path=path, line=line, how="unparsed", certain=False)


def _parsed(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names, "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])
