#!/usr/bin/env python3
"""Measure the house: size, one-use helpers, comments, function lengths, import circles.

    python bench/house.py [SRC] [--one-use]

SRC is a package's folder (default: this project's). One row a package and the totals;
`--one-use` lists the private functions that are named once. The limits that must hold are in
tests/unit/house/test_house_rules.py, which measures with the functions of this file.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "self_coding"
SHORT = 12  # lines; a private function below that and used once belongs into its caller


@dataclass(frozen=True)
class Function:
    """A function: its name, where it begins, its lines, and how it is used in its module."""

    name: str
    line: int
    lines: int
    uses: int
    decorated: bool
    recursive: bool
    passed: bool  # handed on as a value: a callback, a key, a table's entry

    @property
    def private(self) -> bool:
        return self.name.startswith("_") and not self.name.startswith("__")

    @property
    def needless(self) -> bool:
        """Whether the reader would have lost nothing had it stayed in its caller."""
        plain = not (self.decorated or self.recursive or self.passed)
        return self.private and plain and self.uses == 1 and self.lines < SHORT


@dataclass
class Module:
    """One source file and what is counted of it."""

    path: Path
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @cached_property
    def comments(self) -> int:
        """Lines that hold a comment alone."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return sum(t.type == tokenize.COMMENT and t.line.lstrip().startswith("#") for t in tokens)

    @cached_property
    def code(self) -> int:
        return sum(bool(line.strip()) for line in self.text.splitlines()) - self.comments

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        return tuple(self._functions())

    def _functions(self) -> Iterator[Function]:
        called = {id(n.func) for n in ast.walk(self.tree) if isinstance(n, ast.Call)}
        names = [(_name(node), id(node) in called, node.lineno) for node in _named(self.tree)]
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            last = node.end_lineno or node.lineno
            of = [(call, line) for name, call, line in names if name == node.name]
            yield Function(
                name=node.name,
                line=node.lineno,
                lines=last - node.lineno + 1,
                uses=len(of),
                decorated=bool(node.decorator_list),
                recursive=any(node.lineno < line <= last for _, line in of),
                passed=any(not call for call, _ in of),
            )


def _named(tree: ast.Module) -> Iterator[ast.Name | ast.Attribute]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute))


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


@cache
def modules(source: Path = SOURCE) -> list[Module]:
    """Return every module of a package, in the order of their paths."""
    return [Module(path, path.read_text(encoding="utf-8")) for path in sorted(source.rglob("*.py"))]


def circles(source: Path = SOURCE) -> list[tuple[str, ...]]:
    """Return the import circles between packages, imports through a string counted as well."""
    edges: dict[str, set[str]] = {}
    for module in modules(source):
        parts = module.path.relative_to(source).with_suffix("").parts
        if parts == ("__init__",):
            continue  # the front door names every room, lazily; no room imports it
        for target in set(re.findall(rf"\b{source.name}\.(\w+)", _imports(module.tree))):
            if target != parts[0]:
                edges.setdefault(parts[0], set()).add(target)
    return sorted(
        {
            tuple(sorted((one, other)))
            for one in edges
            for other in _reached(one, edges)
            if one != other and one in _reached(other, edges)
        }
    )


def _imports(tree: ast.Module) -> str:
    names: list[str] = []
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names += [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    return "\n".join(map(str, names))


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for target in edges.get(todo.pop(), ()):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def main() -> None:
    paths = [Path(arg) for arg in sys.argv[1:] if not arg.startswith("-")]
    source = paths[0] if paths else SOURCE
    every = modules(source)
    rooms: dict[str, list[Module]] = {}
    for module in every:
        parts = module.path.relative_to(source).parts
        rooms.setdefault(parts[0] if len(parts) > 1 else "(top)", []).append(module)
    print(
        f"{'package':22}{'modules':>8}{'lines':>7}{'comments':>10}{'functions':>10}{'one-use':>9}"
    )
    for room, inside in [*rooms.items(), ("all", every)]:
        functions = [function for module in inside for function in module.functions]
        comments = 100 * sum(m.comments for m in inside) / max(1, sum(m.code for m in inside))
        once = sum(f.private and f.uses == 1 for f in functions)
        print(
            f"{room:22}{len(inside):8}{sum(m.lines for m in inside):7}{comments:9.1f}%"
            f"{len(functions):10}{100 * once / max(1, len(functions)):8.1f}%"
        )
    functions = [function for module in every for function in module.functions]
    lengths = [function.lines for function in functions]
    needless = [(m, f) for m in every for f in m.functions if f.needless]
    print(
        f"functions: median {statistics.median(lengths):g}, p90 "
        f"{statistics.quantiles(lengths, n=10)[-1]:g}, max {max(lengths)}; "
        f"longest module {max(m.lines for m in every)}; "
        f"one-use private helpers under {SHORT} lines: {len(needless)}; "
        f"circles: {', '.join(map(' <-> '.join, circles(source))) or 'none'}"
    )
    if "--one-use" in sys.argv:
        for module, function in needless:
            where = module.path.relative_to(source).as_posix()
            print(f"{where}:{function.line}: {function.name} ({function.lines} lines)")


if __name__ == "__main__":
    main()
