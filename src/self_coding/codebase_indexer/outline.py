"""Which lines of a file run only when somebody calls a function of it, function by function.

Pure. Recorded coverage tells which tests called which function; it cannot tell which tests
depend on a constant, a default or a class attribute, because such lines run once, at import. So
a record may narrow the tests of a change only where nothing but function bodies changed: where
the outline, the text without those bodies, is the same. A docstring is no body: it can be read
without a call.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Outline(NamedTuple):
    """`digest` of the text outside function bodies; `bodies`: digest of a body -> its lines."""

    digest: bytes
    bodies: Mapping[bytes, frozenset[int]]


def outline(source: bytes) -> Outline | None:
    """The outline of a file; None when it cannot be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    lines = source.splitlines()
    bodies: dict[bytes, frozenset[int]] = {}
    seen: Counter[str] = Counter()
    kinds: list[str] = []
    for name, numbers, lazy in _bodies(tree, ""):
        seen[name] += 1  # of functions of one name each is another
        head = f"{name} {seen[name]}"
        text = b"\n".join(lines[number - 1] for number in numbers)
        bodies[_digest(_bytes(head) + b"\n" + text)] = frozenset(numbers)
        kinds.append(f"{head} {lazy}")
    inside = frozenset(number for numbers in bodies.values() for number in numbers)
    texts = _long_texts(tree)
    outside = [
        line
        for number, line in enumerate(lines, 1)
        if number not in inside
        and (number in texts or (line.strip() and not line.lstrip().startswith(b"#")))
    ]
    outside += map(_bytes, sorted(kinds))
    return Outline(_digest(b"\n".join(outside)), bodies)


def _long_texts(tree: ast.AST) -> set[int]:
    """The lines of strings that are longer than one: there every line counts, and every blank."""
    return {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
        if node.end_lineno != node.lineno
    }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()[:16]


def _bodies(node: ast.AST, around: str) -> Iterator[tuple[str, Sequence[int], bool]]:
    """Every function's dotted name, its body's lines without those of inner ones, and whether a
    call of it runs nothing yet: a generator's does not."""
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{around}.{each.name}" if isinstance(each, ast.ClassDef) else around
            yield from _bodies(each, name)
            continue
        inner = list(_bodies(each, f"{around}.{each.name}"))
        yield from inner
        own = each.body[1:] if ast.get_docstring(each, clean=False) is not None else each.body
        if own and own[0].lineno > _end_of_head(each):
            elsewhere = {number for _, numbers, _ in inner for number in numbers}
            last = own[-1].end_lineno or 0
            numbers = [n for n in range(_first(own[0]), last + 1) if n not in elsewhere]
            yield f"{around}.{each.name}", numbers, _is_lazy(each)


def _first(statement: ast.stmt) -> int:
    """The first line of a statement, with its decorators."""
    decorators: Sequence[ast.expr] = getattr(statement, "decorator_list", ())
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _is_lazy(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is a generator."""
    left: list[ast.AST] = list(function.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            left += ast.iter_child_nodes(node)
    return False


def _end_of_head(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The last line that runs where the function is defined: its head, with all defaults."""
    parts = (function.args, *([function.returns] if function.returns else []))
    ends = (getattr(each, "end_lineno", 0) for part in parts for each in ast.walk(part))
    return max(function.lineno, *ends, 0)
