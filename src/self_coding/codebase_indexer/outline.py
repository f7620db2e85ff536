"""Which lines of a file run only when somebody calls a function of it, function by function.

Pure. Recorded coverage tells which tests called which function; it cannot tell which tests
depend on a constant, a default or a class attribute, because such lines run once, at import. So
a record may narrow the tests of a change only where nothing but function bodies changed: where
the outline, the text without those bodies, is the same.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
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
    for name, numbers in _bodies(tree, ""):
        text = b"\n".join(lines[number - 1] for number in numbers)
        digest = _digest(name.encode("utf-8", "replace") + b"\n" + text)
        bodies[digest] = bodies.get(digest, frozenset()) | frozenset(numbers)
    inside = frozenset(number for numbers in bodies.values() for number in numbers)
    outside = [
        line
        for number, line in enumerate(lines, 1)
        if number not in inside and line.strip() and not line.lstrip().startswith(b"#")
    ]
    return Outline(_digest(b"\n".join(outside)), bodies)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()[:16]


def _bodies(node: ast.AST, around: str) -> Iterator[tuple[str, Sequence[int]]]:
    """The dotted name and the body's lines of every function, without those of inner ones."""
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{around}.{each.name}" if isinstance(each, ast.ClassDef) else around
            yield from _bodies(each, name)
            continue
        inner = list(_bodies(each, f"{around}.{each.name}"))
        yield from inner
        first, last = each.body[0].lineno, each.body[-1].end_lineno or 0
        if first > _end_of_head(each):
            elsewhere = {number for _, numbers in inner for number in numbers}
            own = [number for number in range(first, last + 1) if number not in elsewhere]
            yield f"{around}.{each.name}", own


def _end_of_head(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The last line that runs where the function is defined: its head, with all defaults."""
    parts = (function.args, *([function.returns] if function.returns else []))
    ends = (getattr(each, "end_lineno", 0) for part in parts for each in ast.walk(part))
    return max(function.lineno, *ends, 0)
