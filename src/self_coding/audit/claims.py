"""What a test claims: its assertions, each with what it says and whether it is ever reached.

Pure. An assertion is an `assert`, a `self.assertX`, a `pytest.raises` block, a mock's
`assert_called...`, or a call of a helper that holds assertions itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from self_coding.audit import strength as says

Function = ast.FunctionDef | ast.AsyncFunctionDef

_CLAIMING = re.compile(
    r"assert\w*|fail(?:Unless|If)?\w*|raises|warns|deprecated_call|(?:check|verify|expect|ensure|should)(?:_?\w+)?"
)
_LEAVING = frozenset(
    {"pytest.skip", "pytest.xfail", "pytest.exit", "os._exit", "sys.exit", "self.skipTest"}
)
_SWALLOWING = frozenset(
    {"", "Exception", "BaseException", "AssertionError", "Failed", "failureException"}
)
# a condition on the interpreter or the platform is ordinary in tests
PLATFORM = re.compile(
    r"\bversion|\bplatform|\bos\.name|\bpython_implementation|\bPY\d|\bPYPY|\bIS_|\bHAS_|\bimplementation\b|_AVAILABLE\b|TYPE_CHECKING"
)


@dataclass(frozen=True)
class Claim:
    """One assertion. `reach` is "" where it is run, else why not or when: "unreachable",
    "swallowed", or "if CONDITION"."""

    text: str
    line: int
    strength: int
    reach: str
    node: ast.expr

    @property
    def counts(self) -> bool:
        """Whether it is reached at all and can fail."""
        return self.strength > says.NOTHING and self.reach not in {"unreachable", "swallowed"}


def claims_of(
    function: Function, helpers: Iterable[str] = (), idle: Iterable[str] = ()
) -> tuple[Claim, ...]:
    """The assertions of a function in order; `helpers` are names of functions that assert, `idle`
    of functions that do not, whatever they are called."""
    reader = _Reader(
        frozenset(helpers), frozenset(idle), _bound_once(function), _names_used(function)
    )
    return tuple(reader.body(function.body, ""))


@dataclass(frozen=True)
class _Reader:
    helpers: frozenset[str]
    idle: frozenset[str]
    known: says.Known
    used: frozenset[str]

    def body(self, statements: list[ast.stmt], reach: str) -> Iterator[Claim]:
        for statement in statements:
            yield from self.statement(statement, reach)
            if _leaves(statement):
                reach = "unreachable"

    def statement(self, node: ast.stmt, reach: str) -> Iterator[Claim]:
        match node:
            case ast.Assert(test=test):
                said = says.strength(test, self.known)
                yield Claim(_normal(test), node.lineno, said, reach, test)
            case ast.If(test=test, body=body, orelse=orelse):
                yield from self.branches(test, body, orelse, reach)
            case ast.For(iter=over, body=body) | ast.AsyncFor(iter=over, body=body):
                inside = "unreachable" if self.is_empty(over) else reach
                yield from self.body(body, inside)
                yield from self.body(node.orelse, reach)
            case ast.While(test=test, body=body):
                yield from self.branches(test, body, node.orelse, reach, loop=True)
            case ast.Try() | ast.TryStar():
                yield from self.guarded(node, reach)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                swallows = any(_suppresses(item.context_expr) for item in items)
                for item in items:
                    yield from self.calls(item.context_expr, reach)
                yield from self.body(body, reach or ("swallowed" if swallows else ""))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                called = node.name in self.used or bool(node.decorator_list)
                yield from self.body(node.body, reach if called else "unreachable")
            case ast.Match(cases=cases):
                for case in cases:
                    yield from self.body(case.body, reach)
            case ast.Raise(exc=exc) if exc is not None and "AssertionError" in ast.unparse(exc):
                yield Claim("raise AssertionError", node.lineno, says.LOOSE, reach, exc)
            case _:
                yield from self.calls(node, reach)

    def branches(
        self,
        test: ast.expr,
        body: list[ast.stmt],
        orelse: list[ast.stmt],
        reach: str,
        *,
        loop: bool = False,
    ) -> Iterator[Claim]:
        value = says.constant(says._substitute(test, self.known))
        condition = f"if {ast.unparse(test)}"
        if isinstance(test, ast.Name) and test.id == "TYPE_CHECKING":
            value = (False,)
        inside = "" if value is not None and value[0] else condition
        yield from self.body(body, reach or ("unreachable" if value and not value[0] else inside))
        otherwise = "" if loop or (value and not value[0]) else f"unless {ast.unparse(test)}"
        yield from self.body(orelse, reach or ("unreachable" if value and value[0] else otherwise))

    def guarded(self, node: ast.Try | ast.TryStar, reach: str) -> Iterator[Claim]:
        swallows = any(_swallows(handler) for handler in node.handlers)
        ends = any(isinstance(s, ast.Return | ast.Continue | ast.Break) for s in node.finalbody)
        inside = reach or ("swallowed" if swallows or ends else "")
        yield from self.body(node.body, inside)
        for handler in node.handlers:
            yield from self.body(handler.body, reach)
        yield from self.body(node.orelse, reach)
        yield from self.body(node.finalbody, reach)

    def calls(self, node: ast.AST, reach: str) -> Iterator[Claim]:
        for call in ast.walk(node):
            if isinstance(call, ast.Call):
                name = says.name_of(call.func)
                named = _CLAIMING.fullmatch(name) and name not in self.idle
                if name in self.helpers or named:
                    said = says.call_strength(call, self.known)
                    yield Claim(_normal(call), call.lineno, said, reach, call)

    def is_empty(self, over: ast.expr) -> bool:
        over = says._substitute(over, self.known)
        value = says.constant(over)
        if value is not None:
            return not value[0]
        match over:
            case ast.Call(func=ast.Name(id="range"), args=[single]):
                return (says.number(single) or 1) <= 0 or says.number(single) == 0
            case ast.Call(func=ast.Name(id="list" | "tuple" | "set" | "dict" | "iter"), args=[]):
                return True
            case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper)):
                ends = [says.number(end) for end in (lower, upper) if end is not None]
                return (upper is not None and says.number(upper) == 0) or (
                    len(ends) == 2 and ends[0] == ends[1] and ends[0] is not None
                )
        return False


def _leaves(node: ast.stmt) -> bool:
    """Whether nothing after this statement runs."""
    if isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return says.dotted(node.value.func) in _LEAVING
    if isinstance(node, ast.If):
        value = says.constant(node.test)
        branch = node.body if value is not None and value[0] else []
        both = bool(node.orelse) and any(map(_leaves, node.orelse)) and any(map(_leaves, node.body))
        return any(map(_leaves, branch)) or both
    return False


def _swallows(handler: ast.ExceptHandler) -> bool:
    """Whether a failed assertion ends here without a word."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {says.name_of(kind) if kind is not None else "" for kind in kinds}
    if not names & _SWALLOWING:
        return False
    speaks = re.compile(r"^(?:assert\w*|fail|raises)$")
    return not any(
        isinstance(node, ast.Raise | ast.Assert)
        or (isinstance(node, ast.Call) and speaks.match(says.name_of(node.func)))
        for statement in handler.body
        for node in ast.walk(statement)
    )


def _suppresses(context: ast.expr) -> bool:
    if not isinstance(context, ast.Call):
        return False
    name = says.name_of(context.func)
    kinds = {says.name_of(arg) for arg in context.args}
    broad = bool(kinds & (_SWALLOWING - {""}))
    return (name == "suppress" and broad) or (
        name in {"raises", "assertRaises"} and bool(kinds & {"AssertionError", "BaseException"})
    )


def _bound_once(function: Function) -> dict[str, ast.expr]:
    """Names that the function binds exactly once, to a constant."""
    values: dict[str, ast.expr] = {}
    bound: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] = bound.get(node.id, 0) + 1
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) and says.constant(node.value) is not None:
                values[target.id] = node.value
    plain = ast.Constant | ast.UnaryOp | ast.BinOp | ast.Compare
    # a container may be filled later, so only plain values are known for certain
    filled = {
        says.name_of(n.value)
        for n in ast.walk(function)
        if isinstance(n, ast.Attribute | ast.Subscript)
    }
    return {
        name: value
        for name, value in values.items()
        if bound[name] == 1
        and (isinstance(value, plain) or name not in filled)
        and not (not isinstance(value, plain) and _passed_on(function, name))
    }


def _passed_on(function: Function, name: str) -> bool:
    """Whether a name is handed to a call, which could change its value."""
    return any(
        isinstance(call, ast.Call)
        and any(
            isinstance(n, ast.Name) and n.id == name
            for a in [*call.args, *(k.value for k in call.keywords)]
            for n in ast.walk(a)
        )
        for call in ast.walk(function)
    )


def _names_used(function: Function) -> frozenset[str]:
    loads = (
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    )
    return frozenset(loads)


def _normal(node: ast.expr) -> str:
    """An assertion as text that layout and quoting do not change."""
    return ast.unparse(node)


def unguarded(claim: Claim) -> Claim:
    """The claim without a condition on the interpreter or the platform."""
    return replace(claim, reach="") if PLATFORM.search(claim.reach) else claim
