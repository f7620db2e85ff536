"""What a test claims: its assertions, each with what it says and whether it is ever reached.

Pure. An assertion is an `assert`, a `self.assertX`, a `pytest.raises` block, a mock's
`assert_called...`, or a call of a helper that holds assertions itself.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from self_coding.audit.strength import LOOSE, NOTHING, call_strength, strength
from self_coding.audit.syntax import (
    Constants,
    Function,
    calls,
    constant,
    dotted,
    elements,
    name_of,
    number,
    substitute,
    unparse,
)

_CLAIMING = re.compile(
    r"assert\w*|fail(?:Unless|If)?\w*|raises|warns|deprecated_call|(?:check|verify|expect|ensure|should)(?:_?\w+)?"
)
# calls after which nothing of the function runs
_LEAVING = frozenset(
    {"pytest.skip", "pytest.xfail", "pytest.exit", "os._exit", "sys.exit", "self.skipTest"}
)
_SWALLOWING = frozenset(
    {"Exception", "BaseException", "AssertionError", "Failed", "failureException"}
)
_SPEAKING = re.compile(r"assert\w*|fail|raises")
# a condition on the interpreter or the platform is ordinary in tests
PLATFORM = re.compile(
    r"\bversion|\bplatform|\bos\.name|\bpython_implementation|\bPY\d|\bPYPY|\bIS_|\bHAS_|\bimplementation\b|_AVAILABLE\b|TYPE_CHECKING"
)


@dataclass(frozen=True)
class Claim:
    """One assertion. `reach` is "" where it is run, else why not or when: "unreachable",
    "swallowed", "if CONDITION" or "unless CONDITION"."""

    text: str
    line: int
    strength: int
    reach: str
    node: ast.expr

    @property
    def counts(self) -> bool:
        """Return whether it is reached at all and can fail."""
        return self.strength > NOTHING and self.reach not in {"unreachable", "swallowed"}


def claims_of(
    function: Function, helpers: Iterable[str] = (), idle: Iterable[str] = ()
) -> tuple[Claim, ...]:
    """Return the assertions of a function in order; `helpers` are names of functions that assert,
    `idle` of functions that do not, whatever they are called."""
    # an inner function that is never named is never run
    loads = {
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
    reader = _Reader(frozenset(helpers), frozenset(idle), _constants(function), frozenset(loads))
    return tuple(reader.body(function.body, ""))


@dataclass(frozen=True)
class _Reader:
    helpers: frozenset[str]
    idle: frozenset[str]
    constants: Constants
    used: frozenset[str]

    def body(self, statements: list[ast.stmt], reach: str) -> Iterator[Claim]:
        for statement in statements:
            yield from self.statement(statement, reach)
            if _leaves(statement):
                reach = "unreachable"

    def statement(self, node: ast.stmt, reach: str) -> Iterator[Claim]:
        match node:
            case ast.Assert(test=test):
                said = strength(test, self.constants)
                yield Claim(unparse(test), node.lineno, said, reach, test)
            case ast.If() | ast.While():
                yield from self.branches(node, reach)
            case ast.For(iter=over) | ast.AsyncFor(iter=over):
                inside = "unreachable" if self.is_empty(over) else reach
                yield from self.body(node.body, inside)
                yield from self.body(node.orelse, reach)
            case ast.Try() | ast.TryStar():
                swallows = any(map(_swallows, node.handlers))
                leaves = ast.Return | ast.Continue | ast.Break  # in `finally` they end the failure
                ends = any(isinstance(last, leaves) for last in node.finalbody)
                yield from self.body(node.body, reach or ("swallowed" if swallows or ends else ""))
                handled = (handler.body for handler in node.handlers)
                for block in (*handled, node.orelse, node.finalbody):
                    yield from self.body(block, reach)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                swallows = any(_suppresses(item.context_expr) for item in items)
                for item in items:
                    yield from self.calls(item.context_expr, reach)
                yield from self.body(node.body, reach or ("swallowed" if swallows else ""))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                called = node.name in self.used or bool(node.decorator_list)
                yield from self.body(node.body, reach if called else "unreachable")
            case ast.Match(cases=cases):
                for case in cases:
                    yield from self.body(case.body, reach)
            case ast.Raise(exc=exc) if exc is not None and "AssertionError" in unparse(exc):
                yield Claim("raise AssertionError", node.lineno, LOOSE, reach, exc)
            case _:
                yield from self.calls(node, reach)

    def branches(self, node: ast.If | ast.While, reach: str) -> Iterator[Claim]:
        value = constant(substitute(node.test, self.constants))
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            value = (False,)
        condition = unparse(node.test)
        inside, otherwise = f"if {condition}", f"unless {condition}"
        if value is not None:
            inside, otherwise = ("", "unreachable") if value[0] else ("unreachable", "")
        elif isinstance(node, ast.While):
            otherwise = ""  # a loop that ends by its condition runs it
        yield from self.body(node.body, reach or inside)
        yield from self.body(node.orelse, reach or otherwise)

    def calls(self, node: ast.AST, reach: str) -> Iterator[Claim]:
        for call in calls(node):
            name = name_of(call.func)
            if name in self.helpers or (_CLAIMING.fullmatch(name) and name not in self.idle):
                said = call_strength(call, self.constants)
                yield Claim(unparse(call), call.lineno, said, reach, call)

    def is_empty(self, over: ast.expr) -> bool:
        over = substitute(over, self.constants)
        value = constant(over)
        if value is not None:
            return not value[0]
        match over:
            case ast.Call(func=ast.Name(id="range"), args=[single]):
                count = number(single)
                return count is not None and count <= 0
            case ast.Call(func=ast.Name(id="list" | "tuple" | "set" | "dict" | "iter"), args=[]):
                return True
            case ast.Subscript(slice=ast.Slice(lower=None, upper=ast.expr() as upper)):
                return number(upper) == 0
            case ast.Subscript(slice=ast.Slice(lower=ast.expr() as lower, upper=ast.expr() as end)):
                return number(end) == 0 or (number(lower) == number(end) is not None)
        return False


def _leaves(node: ast.stmt) -> bool:
    """Return whether nothing after this statement runs."""
    if isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return dotted(node.value.func) in _LEAVING
    if isinstance(node, ast.If):
        value = constant(node.test)
        taken = any(map(_leaves, node.body))
        return taken and (bool(value and value[0]) or any(map(_leaves, node.orelse)))
    return False


def _swallows(handler: ast.ExceptHandler) -> bool:
    """Return whether a failed assertion ends here without a word."""
    kinds = {name_of(kind) for kind in elements(handler.type)} if handler.type else {""}
    if not kinds & (_SWALLOWING | {""}):
        return False
    return not any(
        isinstance(node, ast.Raise | ast.Assert)
        or (isinstance(node, ast.Call) and _SPEAKING.fullmatch(name_of(node.func)))
        for statement in handler.body
        for node in ast.walk(statement)
    )


def _suppresses(context: ast.expr) -> bool:
    """Return whether a failed assertion inside this context manager ends here."""
    if not isinstance(context, ast.Call):
        return False
    kinds = {name_of(argument) for argument in context.args}
    if name_of(context.func) == "suppress":
        return not kinds.isdisjoint(_SWALLOWING)
    expected = name_of(context.func) in {"raises", "assertRaises"}
    return expected and bool(kinds & {"AssertionError", "BaseException"})


def _constants(function: Function) -> Constants:
    """Return the names that a function binds exactly once, to a constant that stays as it is."""
    nodes = list(ast.walk(function))
    bound = Counter(
        n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    )
    values = {
        node.targets[0].id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and constant(node.value) is not None
    }
    # a container may be filled later, by itself or by whoever it is handed to
    changed = {name_of(n.value) for n in nodes if isinstance(n, ast.Attribute | ast.Subscript)}
    for call in calls(function) if values else ():
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            changed |= {n.id for n in ast.walk(argument) if isinstance(n, ast.Name)}
    plain = ast.Constant | ast.UnaryOp | ast.BinOp | ast.Compare
    return {
        name: value
        for name, value in values.items()
        if bound[name] == 1 and (isinstance(value, plain) or name not in changed)
    }
