"""Which lines of a file run only when somebody calls a function of it.

Pure. Recorded coverage tells which tests called into a file; it cannot tell which tests depend
on a constant, a default or a class attribute, because such lines run once, at import. So the
record may narrow the tests of a change only where nothing but function bodies changed: where
the outline, the text without those bodies, is the same.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterator
from typing import NamedTuple


class Outline(NamedTuple):
    """`digest` of the text outside function bodies, and the numbers of the lines inside."""

    digest: bytes
    bodies: frozenset[int]


def outline(source: bytes) -> Outline | None:
    """The outline of a file; None when it cannot be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    inside = frozenset(_body_lines(tree))
    outside = [
        line
        for number, line in enumerate(source.splitlines(), 1)
        if number not in inside and line.strip() and not line.lstrip().startswith(b"#")
    ]
    return Outline(hashlib.sha256(b"\n".join(outside)).digest()[:16], inside)


def _body_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first, last = node.body[0], node.body[-1]
            start = first.lineno
            if start == node.lineno or any(
                start <= (each.end_lineno or 0)
                for each in ast.walk(node.args)
                if isinstance(each, ast.expr)
            ):
                continue  # the body stands on the head's line: the line runs at import too
            yield from range(start, (last.end_lineno or start) + 1)
