"""The vocabulary in which the audit reads Python: trees, names, constants, and its findings.

Pure. It says what is written, and judges nothing.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache

from self_coding.values.verdicts import Finding

Function = ast.FunctionDef | ast.AsyncFunctionDef
Constants = Mapping[str, ast.expr]
"""Names that a function binds exactly once, with the constants that they are bound to."""

_DEEPEST = 150  # nodes; `ast.unparse` spends a few frames on each
_LONGEST_NUMBER = 4096  # bits; Python refuses to print much longer ones
# How newer Pythons than the one that runs us write what this one can read: PEP 695 and 758.
_NEWER = (
    (re.compile(r"(?m)^([ \t]*)type (\w+)(?:\[.*\])? = "), r"\1\2 = "),
    (re.compile(r"\b((?:def|class) \w+)\[[^\n(]{0,200}?\](?=[(:])"), r"\1"),
    (re.compile(r"(?m)^([ \t]*except\*? )(\w[\w.]*(?:, \w[\w.]*)+):"), r"\1(\2):"),
)
_LITERAL = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.operator),
    *(ast.unaryop, ast.expr_context, ast.JoinedStr, ast.FormattedValue),
)
# modules whose parts are read by their full names, whatever an import or an assignment calls them
_RESOLVED = frozenset(
    {
        *("pytest", "_pytest", "unittest", "contextlib", "os", "posix", "sys", "atexit"),
        *("platform", "builtins", "importlib"),
    }
)

Breaches = Iterator[tuple[str, ast.AST | int, str]]
"""What a rule refuses in one file: the rule's name, where (a node, a line, or 0), a message."""


def finding(rule: str, path: str, at: ast.AST | int, message: str) -> Finding:
    """Return what a rule says of a file; `at` is a node, a line, or 0 for the whole file."""
    line = at if isinstance(at, int) else int(getattr(at, "lineno", 0))
    return Finding(rule=rule, path=path, line=line, message=message)


def quote(code: ast.AST | str) -> str:
    """Return code as one quoted line of at most 80 characters."""
    text = " ".join((code if isinstance(code, str) else unparse(code)).split())
    return f"`{text if len(text) <= 80 else f'{text[:77]}...'}`"


@lru_cache(maxsize=64)
def parse(text: str | None) -> ast.Module | None:
    """Return the syntax tree of a source text; None if Python rejects it, or if its nesting or
    its numbers were made to break a reader."""
    if text is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # as bytes: Python then obeys the file's own coding line, as it does when it imports
            tree = ast.parse(text.encode("utf-8", "surrogateescape"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        older = text
        for pattern, plain in _NEWER:
            older = pattern.sub(plain, older)
        return parse(older) if older != text else None
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):  # level by level: a recursive walk is what deep nesting breaks
        if not level:
            _resolve(tree)
            return tree
        for node in level:
            value = getattr(node, "value", None)
            if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
                return None
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return None


def is_unreadable(text: str) -> bool:
    """Return whether Python would run a source that `parse` gives up on."""
    if parse(text) is not None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text.encode("utf-8", "surrogateescape"))
    except (SyntaxError, ValueError):
        return False
    except (RecursionError, MemoryError):
        pass
    return True


def _resolve(tree: ast.Module) -> None:
    """Give the judges' parts their full names: `later("x")` becomes `pytest.skip("x")`."""
    names = {
        name: full
        for name, full in imports(tree).items()
        if full.split(".")[0] in _RESOLVED and not full.startswith(f"{name}.")
    }
    for statement in tree.body if names else ():
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            first, dot, rest = dotted(statement.value).partition(".")
            for target in assigned(statement) if first in names else ():
                if isinstance(target, ast.Name):
                    names[target.id] = f"{names[first]}{dot}{rest}"
    for node in ast.walk(tree) if any(name != full for name, full in names.items()) else ():
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                value[:] = [_full(part, names) for part in value]
            elif isinstance(value, ast.Name):
                setattr(node, field, _full(value, names))


def _full(node: ast.AST, names: Mapping[str, str]) -> ast.AST:
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
        return node
    full = names.get(node.id, node.id)
    if full == node.id:
        return node
    expression = ast.parse(full, mode="eval").body
    for part in ast.walk(expression):
        ast.copy_location(part, node)
    return expression


@lru_cache(maxsize=16384)
def unparse(node: ast.AST) -> str:
    """Return a node as text that layout and quoting do not change."""
    try:
        return ast.unparse(node)
    except ValueError:  # a string inside the braces of an f-string would need a backslash
        copy = deepcopy(node)
        for outer in (n for n in ast.walk(copy) if isinstance(n, ast.FormattedValue)):
            for part in ast.walk(outer.value):
                if isinstance(part, ast.Constant) and "\\" in repr(part.value):
                    part.value = repr(part.value).replace("\\", "/").replace("'", "")
        return ast.unparse(copy)


@lru_cache(maxsize=4096)
def unannotated(node: ast.AST) -> str:
    """Return a node as text without what functions only say: their types, their docstrings."""
    if not isinstance(node, Function):
        return unparse(node)
    [copy] = ast.parse(unparse(node)).body
    for part in ast.walk(copy):
        if isinstance(part, Function):
            part.returns = None
            if ast.get_docstring(part, clean=False) is not None:
                part.body[:1] = []
        elif isinstance(part, ast.arg):
            part.annotation = None
    return unparse(copy)


@lru_cache(maxsize=512)
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Return every node of a tree; kept, for many rules read the same tree."""
    return tuple(ast.walk(tree))


def walk_own(node: ast.AST, *, classes: bool = False) -> Iterator[ast.AST]:
    """Yield the nodes of a function or module without those of the functions (and, unless
    `classes`, the classes) inside it."""
    left = [node]
    while left:
        inner = left.pop()
        if inner is not node:
            nested = isinstance(inner, Function | ast.Lambda)
            if nested or (not classes and isinstance(inner, ast.ClassDef)):
                continue
            yield inner
        left += reversed(list(ast.iter_child_nodes(inner)))


def enclosing(tree: ast.AST, node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the compound statements that a node is part of, the outermost first, and whether it
    is in the body rather than under `else` or `finally`."""
    for outer in ast.walk(tree):
        for name in ("body", "orelse", "finalbody") if outer is not tree else ():
            body = getattr(outer, name, None)
            for statement in body if isinstance(body, list) else ():
                if any(inner is node for inner in ast.walk(statement)):
                    yield outer, name == "body"


def bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds by anything but `def` and `class`."""
    for inner in (node, *walk_own(node)):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
        elif isinstance(inner, ast.alias):
            yield inner.asname or inner.name.split(".")[0]


def uncommented(line: str) -> str:
    """Return a line of Python without its comment; a `#` in a string is none."""
    return re.sub(r"""("[^"]*"|'[^']*')|(?:^|(?<=\s))#.*""", r"\1", line)


def name_of(node: ast.AST | None) -> str:
    """Return the last part of a dotted name; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.AST) -> str:
    """Return a dotted name as text: `pytest.mark.skip`; "" for anything else."""
    if isinstance(node, ast.Attribute):
        root = dotted(node.value)
        return f"{root}.{node.attr}" if root else ""
    return node.id if isinstance(node, ast.Name) else ""


def decorator_name(node: ast.expr) -> str:
    """Return the last part of a decorator's name, whether it is called or not."""
    return name_of(node.func if isinstance(node, ast.Call) else node)


def assigned(node: ast.AST) -> list[ast.expr]:
    """Return the targets of an assignment; none of any other node."""
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, ast.withitem):
        return [node.optional_vars] if node.optional_vars else []
    kinds = ast.AugAssign | ast.AnnAssign | ast.For | ast.AsyncFor
    return [node.target] if isinstance(node, kinds) else []


def elements(node: ast.expr) -> list[ast.expr]:
    """Return the elements of a tuple, or the one expression that it is."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call."""
    return (node for node in nodes(tree) if isinstance(node, ast.Call))


def strings(nodes: Iterable[ast.AST | None]) -> Iterator[str]:
    """Yield the string literals among some expressions."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def constant(node: ast.expr) -> tuple[object] | None:
    """Return the value of an expression made of constants only, in a 1-tuple; else None."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            one, two = constant(left), constant(right)
            if one is None or two is None:
                return None
            if isinstance(op, ast.Eq | ast.Is):
                return (one == two,)
            return (one != two,) if isinstance(op, ast.NotEq | ast.IsNot) else (True,)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = constant(operand)
            return None if inner is None else (not inner[0],)
    return None


def number(node: ast.expr) -> float | None:
    """Return the value of a numeric literal."""
    value = constant(node)
    if value is not None and isinstance(value[0], int | float) and not isinstance(value[0], bool):
        try:
            return float(value[0])
        except OverflowError:
            return None
    return None


def is_empty(over: ast.expr) -> bool:  # noqa: PLR0911 - one return per shape
    """Return whether a loop over an expression is never entered."""
    value = constant(over)
    if value is not None:
        return not value[0]
    match over:
        case ast.Call(func=ast.Name(id="range"), args=[single]):
            count = number(single)
            return count is not None and count <= 0
        case ast.Call(
            func=ast.Name(id="list" | "tuple" | "set" | "dict" | "iter" | "sorted"), args=arguments
        ):
            return not arguments or (len(arguments) == 1 and is_empty(arguments[0]))
        case ast.Subscript(slice=ast.Slice(lower=None, upper=ast.expr() as upper)):
            return number(upper) == 0
        case ast.Subscript(
            value=ast.List(elts=elts) | ast.Tuple(elts=elts),
            slice=ast.Slice(lower=ast.expr() as lower, upper=None),
        ):
            return (number(lower) or 0) >= len(elts)
        case ast.Subscript(slice=ast.Slice(lower=ast.expr() as lower, upper=ast.expr() as end)):
            return number(end) == 0 or (number(lower) == number(end) is not None)
    return False


def substitute(node: ast.expr, constants: Constants) -> ast.expr:
    """Return an expression with the given names replaced by their constants, and without the
    names that it gives itself: `(x := f())` as `f()`."""
    if not any(
        isinstance(n, ast.NamedExpr) or (isinstance(n, ast.Name) and n.id in constants)
        for n in ast.walk(node)
    ):
        return node

    class Replace(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return constants.get(name.id, name)

        def visit_NamedExpr(self, named: ast.NamedExpr) -> ast.expr:
            value: ast.expr = self.visit(named.value)
            return value

    copy = ast.parse(unparse(node), mode="eval").body  # the visitor writes into its tree
    replaced: ast.expr = Replace().visit(copy)
    return replaced


@lru_cache(maxsize=128)
def imports(tree: ast.AST) -> dict[str, str]:
    """Return the names that imports bind anywhere in a tree, with what they stand for in full
    (`.a.b` for what a relative import names)."""
    full: dict[str, str] = {}
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            dot = "" if origin.endswith(".") else "."
            for alias in node.names:
                full[alias.asname or alias.name] = f"{origin}{dot}{alias.name}"
    return full


def is_literal(node: ast.AST) -> bool:
    """Return whether an expression is made of literals alone."""
    return all(isinstance(part, _LITERAL) for part in ast.walk(node))


def constants(body: Iterable[ast.AST]) -> dict[str, ast.expr]:
    """Return the names that statements bind once, to literals."""
    statements = [*body]
    names = [name for statement in statements for name in bound(statement)]
    names += [s.name for s in statements if isinstance(s, Function | ast.ClassDef)]
    return {
        target.id: statement.value
        for statement in statements
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
        for target in assigned(statement)
        if isinstance(target, ast.Name) and names.count(target.id) == 1
        if is_literal(statement.value)
    }
