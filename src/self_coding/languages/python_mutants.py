"""Pure: small changes of Python code that a good test notices.

Each changes one place of the text and leaves the rest as it is. What no test can be expected to
notice is left alone: docstrings, annotations, imports, messages of exceptions, what only a type
checker runs.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator

from self_coding.languages import Mutant

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
# what is left alone with all that is in it; an f-string's parts had no places before Python 3.12
_CLOSED = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert, ast.Raise)
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_SHOWN = 80  # characters of a place in a text


def mutants(text: str, lines: Container[int]) -> Iterator[Mutant]:
    """Yield the mutants of the given lines that parse; none of a text that does not."""
    try:
        tree = ast.parse(text)
    except _UNREADABLE:
        return
    source, starts = text.encode(), [0, 0]
    for line in source.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    for node in _open(tree):
        if node.lineno not in lines:
            continue
        for place, new in _instead(node):
            # the parser counts bytes
            start = starts[place.lineno] + place.col_offset
            end = starts[place.end_lineno or 0] + (place.end_col_offset or 0)
            made = (source[:start] + new.encode() + source[end:]).decode(errors="replace")
            try:
                ast.parse(made)
            except _UNREADABLE:
                continue
            old = source[start:end].decode(errors="replace")
            yield Mutant(line=place.lineno, old=_short(old), new=_short(new), text=made)


def _open(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Yield the nodes of which a test can notice a change, in the order of the text."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        match node:
            case ast.Expr(ast.Constant()):  # a docstring
                continue
            case ast.Assign([ast.Name(name)]) if name.startswith("__"):  # __all__, __version__
                continue
            case ast.If(test, orelse=rest) if "TYPE_CHECKING" in ast.unparse(test):
                pending += reversed(rest)
                continue
            case ast.expr() | ast.stmt():
                yield node
        if not isinstance(node, _CLOSED):
            fields = ast.iter_fields(node)
            values = [value for name, value in fields if name not in ("annotation", "returns")]
            lists = [value if isinstance(value, list) else [value] for value in values]
            parts = [part for some in lists for part in some if isinstance(part, ast.AST)]
            pending += reversed(parts)


def _instead(node: ast.expr | ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Yield what may stand in the place of a node, or of its condition."""
    if isinstance(node, ast.expr) and (other := _turned(node)):
        yield node, f"({ast.unparse(other)})"
    match node:
        case ast.Return(value) if value is not None and ast.unparse(value) != "None":
            yield node, "return None"
        case ast.Expr(ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield node, "pass"
        case ast.Continue() | ast.Break():
            yield node, "pass"
        case ast.Assign(targets) if not all(isinstance(one, ast.Name) for one in targets):
            yield node, "pass"
        case ast.If(test) | ast.While(test) | ast.IfExp(test) if not _turned(test):
            yield test, f"(not {ast.unparse(test)})"


def _turned(node: ast.expr) -> ast.expr | None:
    """Return the expression with its operator or its value turned; None where it has none."""
    turned: ast.expr | None = None
    match node:
        case ast.Compare(left, [first, *rest], compared) if type(first) in _COMPARED:
            turned = ast.Compare(left, [_COMPARED[type(first)](), *rest], compared)
        case ast.BoolOp(operator, values):
            turned = ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            turned = operand
        case ast.BinOp(left, kind, right) if type(kind) in _COMPUTED:
            turned = ast.BinOp(left, _COMPUTED[type(kind)](), right)
        case ast.Constant(bool() as value):
            turned = ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            turned = ast.Constant(value + 1)
        case ast.Constant(str() as value):
            turned = ast.Constant("" if value else "mutant")
    return turned


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
