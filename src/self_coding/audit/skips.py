"""Marks that keep a test from running or from counting, and whether they would here.

Pure. A skip that holds only on another platform or interpreter is ordinary; one that holds
where the gate runs (Linux, this interpreter), or that cannot be worked out, is not.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from self_coding.audit.syntax import (
    calls,
    constant,
    dotted,
    enclosing,
    finding,
    name_of,
    parse,
    unparse,
    walk_own,
)
from self_coding.audit.test_modules import Module, Test
from self_coding.values.verdicts import Finding

_SKIPS = {"skip": "test-skipped", "skipif": "test-skipped", "skipIf": "test-skipped",
          "skipUnless": "test-skipped", "xfail": "test-xfailed", "expectedFailure": "test-xfailed",
          "importorskip": "test-skipped", "skipTest": "test-skipped",
          "SkipTest": "test-skipped"}  # fmt: skip
_BARE = {"skip", "xfail", "expectedFailure"}
_CALLS = {"pytest.skip", "pytest.xfail", "self.skipTest", "pytest.importorskip"}
_MODULE_CALLS = {"pytest.skip", "pytest.importorskip", "pytest.exit", "sys.exit", "os._exit"}

_FACTS: dict[str, tuple[object]] = {
    "sys.version_info": (tuple(sys.version_info[:3]),),
    "sys.platform": ("linux",),
    "os.name": ("posix",),
    "platform.system()": ("Linux",),
    "sys.version_info.major": (sys.version_info[0],),
    "sys.version_info.minor": (sys.version_info[1],),
    "platform.python_implementation()": ("CPython",),
    "sys.implementation.name": ("cpython",),
    "TYPE_CHECKING": (False,),
}
_OPERATORS: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Eq: operator.eq, ast.Is: operator.eq, ast.NotEq: operator.ne, ast.IsNot: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.In: lambda one, two: one in two,
    ast.NotIn: lambda one, two: one not in two,
}  # fmt: skip


Mark = tuple[str, int, str]
"""A rule, and the line and the text of what keeps a test from counting."""


def compare_marks(old: Test, new: Test, before: Module, after: Module) -> Iterator[Finding]:
    """Yield marks and calls that keep a test from counting now, and did not before."""
    had = {text for _, _, text in (*_test_marks(old, before), *_module_marks(before))}
    for rule, line, text in _test_marks(new, after):
        if text not in had:
            yield new.finding(rule, f"{new.name} is marked `{text}`", line)


def compare_module_marks(before: Module, after: Module) -> Iterator[Finding]:
    """Yield the same for marks of a whole module (`pytestmark`, a skip at import)."""
    had = {text for _, _, text in _module_marks(before)}
    for rule, line, text in _module_marks(after):
        if text not in had:
            yield finding(rule, after.path, line, f"the whole module is marked `{text}`")


def _test_marks(test: Test, module: Module) -> Iterator[Mark]:
    """Yield the marks of one test: its decorators, its class's, its parameters', its own calls."""
    decorators = list(test.decorators)
    decorators += _pytestmarks(test.owner.body if test.owner else [])
    for decorator in tuple(decorators):
        for argument in decorator.args if isinstance(decorator, ast.Call) else ():
            value = module.value(argument.id) if isinstance(argument, ast.Name) else None
            decorators += [value] if value is not None else []
    for decorator in decorators:
        yield from _marks_in(decorator, module)
    for node in walk_own(test.node):
        called = isinstance(node, ast.Call) and dotted(node.func) in _CALLS
        raised = isinstance(node, ast.Raise) and "SkipTest" in unparse(node)
        if (called or raised) and node not in decorators and _is_reached(node, test, module):
            yield from _mark(node)


def _module_marks(module: Module) -> Iterator[Mark]:
    for value in _pytestmarks(module.tree.body):
        yield from _marks_in(value, module)
    for node in module.tree.body:
        if not isinstance(node, ast.Expr | ast.Assign | ast.Raise | ast.If):
            continue
        may_hold = not isinstance(node, ast.If) or _may_hold(node.test, module)
        for inner in ast.walk(node):
            called = isinstance(inner, ast.Call) and dotted(inner.func) in _MODULE_CALLS
            raised = isinstance(inner, ast.Raise) and "SkipTest" in unparse(inner)
            if raised or (called and may_hold and "importorskip('pytest" not in unparse(inner)):
                yield from _mark(inner)


def _pytestmarks(body: list[ast.stmt]) -> list[ast.expr]:
    return [
        node.value
        for node in body
        if isinstance(node, ast.Assign) and name_of(node.targets[0]) == "pytestmark"
    ]


def _marks_in(decorator: ast.expr, module: Module) -> Iterator[Mark]:
    """Yield skip marks anywhere in a decorator, those inside parameter sets too."""
    # the name in a call is judged with the call, by its condition
    functions = {id(call.func) for call in calls(decorator)}
    for node in ast.walk(decorator):
        if isinstance(node, ast.Call):
            name = name_of(node.func)
            named = (k.value for k in node.keywords if k.arg == "condition" and name != "xfail")
            condition = next(iter((*node.args[:1], *named)), None)
            if name == "skipUnless" and condition is not None:
                condition = ast.UnaryOp(op=ast.Not(), operand=condition)
            conditional = name in {"skipif", "skipIf", "skipUnless", "xfail"}
            if not conditional or condition is None or _may_hold(condition, module):
                yield from _mark(node)
        elif isinstance(node, ast.Attribute | ast.Name):
            value = module.value(node.id) if isinstance(node, ast.Name) else None
            if value is not None and value is not decorator and node is decorator:
                yield from _marks_in(value, module)
            elif name_of(node) in _BARE and id(node) not in functions:
                yield from _mark(node)


def _mark(node: ast.AST) -> Iterator[Mark]:
    if isinstance(node, ast.Raise):
        yield "test-skipped", node.lineno, unparse(node)
    elif isinstance(node, ast.expr):
        name = name_of(node.func if isinstance(node, ast.Call) else node)
        if name in _SKIPS:
            yield _SKIPS[name], node.lineno, unparse(node)


def _is_reached(node: ast.AST, test: Test, module: Module) -> bool:
    """Return whether a statement may run, as far as the `if` or `except` around it tells."""
    for outer in enclosing(test.node, node):
        if isinstance(outer, ast.If):
            return _may_hold(outer.test, module)
        if isinstance(outer, ast.ExceptHandler):
            return name_of(outer.type) not in {"ImportError", "ModuleNotFoundError"}
    return True


def _may_hold(condition: ast.expr, module: Module) -> bool:
    """Return whether a skip condition may be true on Linux with this interpreter."""
    if isinstance(condition, ast.Constant) and isinstance(condition.value, str):
        tree = parse(condition.value.strip())  # pytest evaluates strings
        if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
            return True
        condition = tree.body[0].value
    value = evaluate(condition, module)
    return value is None or bool(value[0])


def evaluate(  # noqa: PLR0911, PLR0912 - one return per shape
    node: ast.expr, module: Module, depth: int = 0
) -> tuple[object] | None:
    """Return the value of a condition on Linux with this interpreter, in a 1-tuple; None: it is
    unknown."""
    plain = constant(node)
    if plain is not None:
        return plain
    match node:
        case ast.Compare(left=ast.Attribute(), ops=[op], comparators=[ast.Constant(value=None)]):
            return (isinstance(op, ast.IsNot),)  # an optional part: here it is there
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = evaluate(operand, module, depth)
            return None if inner is None else (not inner[0],)
        case ast.BoolOp(op=op, values=operands):
            values = [evaluate(operand, module, depth) for operand in operands]
            # one part can decide, even where the others are unknown
            decided = isinstance(op, ast.Or)
            if any(value is not None and bool(value[0]) is decided for value in values):
                return (decided,)
            return None if None in values else (not decided,)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            one, two = evaluate(left, module, depth), evaluate(right, module, depth)
            try:
                return (_OPERATORS[type(op)](one[0], two[0]),) if one and two else None
            except TypeError:
                return None
        case ast.Subscript(value=sequence, slice=part):
            value = evaluate(sequence, module, depth)
            head = part.upper if isinstance(part, ast.Slice) and not part.lower else None
            at = constant(head or part)
            if value and at and isinstance(value[0], tuple | str) and isinstance(at[0], int):
                with suppress(IndexError):
                    return (value[0][: at[0]] if head else value[0][at[0]],)
        case ast.Call(func=ast.Attribute(value=text, attr="startswith"), args=[start]):
            match evaluate(text, module, depth), evaluate(start, module, depth):
                case (str(whole),), (str(prefix),):
                    return (whole.startswith(prefix),)
        case ast.Call(func=function, args=[]):
            return _FACTS.get(f"{dotted(function)}()")
        case ast.Attribute() | ast.Name():
            return _named(node, module, depth)
    return None


def _named(node: ast.expr, module: Module, depth: int) -> tuple[object] | None:
    """Return what a name stands for: a fact, what it tells by itself, or its module's value."""
    name = name_of(node)
    if dotted(node) in _FACTS:
        return _FACTS[dotted(node)]
    if re.search(r"(?i)windows|is_?win|darwin|mac_?os|is_?mac|pypy|py2|python2|jython", name):
        return (False,)
    if re.search(r"(?i)py3$|python3|is_?linux|posix|cpython", name):
        return (True,)
    if isinstance(node, ast.Attribute) or depth >= 5:
        return None
    for block in module.tree.body:
        if isinstance(block, ast.Try) and any(
            isinstance(statement, ast.Import | ast.ImportFrom) for statement in block.body
        ):
            for n in ast.walk(block):
                bound = (n.asname or n.name) if isinstance(n, ast.alias) else name_of(n)
                if bound == name and not isinstance(n, ast.Attribute):
                    return (object(),)  # the import works here: `X is None` is false, `X` is true
    value = module.value(name)
    return None if value is None else evaluate(value, module, depth + 1)
