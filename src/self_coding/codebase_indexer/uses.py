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

    def aliases(self, sources: Mapping[str, str]) -> set[str]:
        """Every name under which these files import the symbol."""
        trees = {path: tree for path, text in sources.items() if (tree := _parsed(text))}
        self._follow(trees)
        return {name for names in self._exported.values() for name in names}

    def find(self, sources: Mapping[str, str]) -> list[SymbolUse]:
        """The uses in these files (path -> text), by path and line."""
        trees: dict[str, ast.Module] = {}
        found: list[SymbolUse] = []
        for path, text in sources.items():
            tree = _parsed(text)
            if tree is None:
                found += self._by_text(path, text)
            else:
                trees[path] = tree
        self._follow(trees)
        for path, tree in trees.items():
            found += self._in_tree(path, tree)
        return sorted(set(found), key=lambda use: (use.path, use.line, use.how))

    def _follow(self, trees: Mapping[str, ast.Module]) -> None:
        """Which files hand the symbol on, and under which names, until nothing is new."""
        changed = True
        while changed:
            changed = False
            for path, tree in trees.items():
                names = self._exported.setdefault(path, set())
                before = len(names)
                names |= {local for local, _ in self._imported(path, tree)}
                changed = changed or len(names) > before

    def _imported(self, path: str, tree: ast.Module) -> Iterator[tuple[str, int]]:
        """The local names that imports of a file bind to the symbol, with their lines."""
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                for source in self._resolve(path, module, ()):
                    exported = self._exported.get(source, set())
                    if alias.name == "*":
                        yield from ((name, node.lineno) for name in exported)
                    elif alias.name in exported:
                        yield alias.asname or alias.name, node.lineno

    def _modules(self, path: str, tree: ast.Module) -> dict[str, set[str]]:
        """Dotted local name -> the names under which that module has the symbol."""
        found: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    for target in self._resolve(path, alias.name, ()):
                        found[alias.asname or alias.name] = self._exported.get(target, set())
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    inner = f"{module}{'' if module.endswith('.') else '.'}{alias.name}"
                    for target in self._resolve(path, inner, ()):
                        if target not in self._resolve(path, module, ()):
                            found[alias.asname or alias.name] = self._exported.get(target, set())
        return found

    def _in_tree(self, path: str, tree: ast.Module) -> Iterator[SymbolUse]:
        names = self._exported.get(path, set())
        modules = self._modules(path, tree)
        for name, line in self._imported(path, tree):
            del name
            yield SymbolUse(path=path, line=line, how="import", certain=not self.owner)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in names and not self.owner:
                yield SymbolUse(path=path, line=node.lineno, how="name", certain=True)
            elif isinstance(node, ast.Attribute) and (
                node.attr == self.name or self._is_export(node, modules)
            ):
                certain = self._certain(node, names, modules)
                yield SymbolUse(path=path, line=node.lineno, how="attribute", certain=certain)
            elif isinstance(node, ast.Constant) and node.value == self.name:
                yield SymbolUse(path=path, line=node.lineno, how="string", certain=False)

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
