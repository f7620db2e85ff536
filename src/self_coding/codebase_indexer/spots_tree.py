"""Where one file uses certain words, as Python's parser says it.

Pure. It follows the grammar of the running interpreter and costs as much as compiling; `spots`
tells the same from the text alone, where that decides.
"""

from __future__ import annotations

import ast
import bisect
import re
import warnings
from collections.abc import Iterator, Set

from self_coding.codebase_indexer.spots import Spots, Statement


def by_tree(text: str, words: Set[str]) -> Spots | None:
    """What the parser of the running interpreter says; None when it refuses the file."""
    tree = _parsed(text)
    if tree is None:
        return None
    names: list[tuple[str, int]] = []
    spots = Spots([], names, [], [])
    for node in _nodes(tree, text, words):
        if isinstance(node, ast.Name):
            if node.id in words:
                names.append((node.id, node.lineno))
        elif isinstance(node, ast.Attribute):
            if node.attr in words:
                spots.attributes.append((_dotted(node.value), node.attr, node.lineno))
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and node.value in words:
                spots.strings.append((node.value, node.lineno))
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            spots.imports.append(Statement(node.lineno, module, _bound(node)))
        elif isinstance(node, ast.Import):
            spots.imports.append(Statement(node.lineno, None, _bound(node)))
    return spots


def _bound(node: ast.Import | ast.ImportFrom) -> tuple[tuple[str, str | None], ...]:
    return tuple([(each.name, each.asname) for each in node.names])


def _parsed(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _nodes(tree: ast.AST, text: str, words: Set[str]) -> Iterator[ast.AST]:
    """Every node of the statements in which a word or an import stands."""
    lines = [
        number
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)
        if "import" in line or any(word in line for word in words)
    ]
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        yield node
        for value in node.__dict__.values():
            if isinstance(value, list):
                left += [
                    each
                    for each in value
                    if isinstance(each, ast.AST)
                    and (not isinstance(each, ast.stmt) or _stands_in(lines, each))
                ]
            elif isinstance(value, ast.AST):
                left.append(value)


def _stands_in(lines: list[int], statement: ast.stmt) -> bool:
    """Whether a statement, its decorators included, covers one of the lines."""
    decorators = getattr(statement, "decorator_list", ())
    first = min([statement.lineno, *[each.lineno for each in decorators]])
    place = bisect.bisect_left(lines, first)
    return place < len(lines) and lines[place] <= (statement.end_lineno or first)


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names, "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])
