"""What a test claims: its assertions, each with how much it says and whether it is ever reached.

Pure, on syntax trees. An assertion is an `assert`, a `self.assertX`, a `pytest.raises` block, a
mock's `assert_called...`, or a call of a helper that holds assertions itself.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from self_coding.audit.strength import (
    BROAD,
    EXISTS,
    LOOSE,
    NOTHING,
    call_strength,
    cannot_fail,
    plain,
    strength,
)
from self_coding.audit.syntax import (
    Constants,
    Function,
    assigned,
    calls,
    constant,
    dotted,
    elements,
    is_empty,
    name_of,
    nodes,
    substitute,
    unparse,
)

_CLAIMING = re.compile(
    r"assert\w*|fail(?:Unless|If)?\w*|raises|warns|deprecated_call|(?:check(?!_call|_output)|verify|expect|ensure|should)(?:_?\w+)?"
)
# calls after which nothing of the function runs
_LEAVING = frozenset(
    {"pytest.skip", "pytest.xfail", "pytest.exit", "os._exit", "sys.exit", "self.skipTest"}
)
_SWALLOWING = frozenset(
    {"Exception", "BaseException", "AssertionError", "Failed", "failureException"}
)
_SPEAKING = re.compile(r"assert\w*|fail|raises")
# what makes an iterator, which gives its members once
_ONCE = re.compile("map|filter|zip|iter|reversed|enumerate|chain|islice|iterdir|finditer")
# a condition on the interpreter or the platform is ordinary in tests
PLATFORM = re.compile(
    r"version|\bplatform|\bos\.name|implementation|\bPY\d|\bPYPY|\bIS_|\bHAS_|_AVAILABLE\b|"
    r"TYPE_CHECKING|_gil_|g?libc|\bsys\.maxsize|\bbyteorder|\bmachine\(|(?:maj|min)or|\bis_\w{1,20}\d"
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
    asserting, silent = frozenset(helpers), set[ast.AST]()

    def read(one: Function, others: Iterable[str]) -> tuple[Claim, ...]:
        inside = (n.name for n in nodes(one) if isinstance(n, Function) and n in silent)
        known = frozenset([*others, *inside])
        reader = _Reader(asserting, known, _constants(one), _used(one), _spent(one))
        return tuple(reader.body(one.body, ""))

    # The innermost first, so that each is read once: whether one claims rests on all inside of it.
    for one in reversed(nodes(function)):
        if isinstance(one, Function) and one is not function and not read(one, ()):
            silent.add(one)
    return read(function, idle)


def _used(function: Function) -> frozenset[str]:
    """Return the names whose values a function does something with: an inner function that is
    only put into a list, or under another name that nothing uses, is never run."""
    kept: list[tuple[list[ast.Name], set[str]]] = []  # names, and what they are stored in
    for node in nodes(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names = (place if isinstance(place, ast.Name) else None for place in assigned(node))
            values, into = [node.value], set(map(name_of, names))
        elif isinstance(node, ast.Call) and name_of(node.func) in {"append", "add", "insert"}:
            place = node.func.value if isinstance(node.func, ast.Attribute) else node.func
            values, into = [*node.args, place], {name_of(place)}
        else:
            continue
        if "" not in into and not any(any(calls(value)) for value in values):
            walked = (n for value in values for n in ast.walk(value))
            kept.append(([n for n in walked if isinstance(n, ast.Name)], into))
    stored = {id(name) for names, _ in kept for name in names}
    loads = [n for n in nodes(function) if isinstance(n, ast.Name)]
    used = {n.id for n in loads if isinstance(n.ctx, ast.Load) and id(n) not in stored}
    for _ in kept:
        used |= {name.id for names, into in kept if into & used for name in names}
    return frozenset(used)


def _spent(function: Function) -> dict[str, int]:
    """Return the names that stand for an iterator, each with the first line that takes from it."""
    once: set[str] = set()
    stored = Counter[str]()
    for node in nodes(function):
        if isinstance(node, ast.Assign):
            stored.update(names := [*map(name_of, node.targets)])
            made = name_of(node.value.func) if isinstance(node.value, ast.Call) else ""
            if _ONCE.fullmatch(made) or isinstance(node.value, ast.GeneratorExp):
                once |= {*names}
    asked = {id(a) for c in calls(function) if name_of(c.func) == "next" for a in c.args}
    lines: dict[str, int] = {}
    for node in nodes(function) if once else ():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in asked:
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return {name: line for name, line in lines.items() if name in once and stored[name] == 1}


@dataclass(frozen=True)
class _Reader:
    helpers: frozenset[str]
    idle: frozenset[str]
    constants: Constants
    used: frozenset[str]
    spent: dict[str, int]

    def body(self, statements: list[ast.stmt], reach: str) -> Iterator[Claim]:
        for statement in statements:
            yield from self.statement(statement, reach)
            if _leaves(statement):
                reach = "unreachable"
            elif isinstance(statement, ast.If) and not statement.orelse and not reach:
                if any(isinstance(last, ast.Return) for last in statement.body):
                    reach = f"unless {unparse(statement.test)}"
            elif isinstance(statement, ast.Expr | ast.Assign) and not reach:
                # from here on an ExitStack catches what fails
                entered = (c for c in calls(statement) if name_of(c.func) == "enter_context")
                if any(_suppresses(argument) for call in entered for argument in call.args):
                    reach = "swallowed"

    def statement(  # noqa: PLR0912 - one branch per kind
        self, node: ast.stmt, reach: str
    ) -> Iterator[Claim]:
        match node:
            case ast.Assert(test=test):
                yield from self.said(test, node.lineno, reach)
                for inner in ast.iter_child_nodes(test):  # a helper that asserts, and answers
                    yield from self.calls(inner, reach, asked=True)
            case ast.If() | ast.While():
                yield from self.branches(node, reach)
            case ast.For(iter=over) | ast.AsyncFor(iter=over):
                empty = is_empty(substitute(over, self.constants))
                empty = empty or over.lineno > self.spent.get(name_of(over), over.lineno)
                inside = "unreachable" if empty else reach
                yield from self.body(node.body, inside)
                yield from self.body(node.orelse, reach)
            case ast.Try() | ast.TryStar():
                yield from self.body(node.body, reach or ("swallowed" if forgives(node) else ""))
                handled = (handler.body for handler in node.handlers)
                for block in (*handled, node.orelse, node.finalbody):
                    yield from self.body(block, reach)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                for item in items:
                    yield from self.calls(item.context_expr, reach)
                yield from self.body(node.body, reach or ("swallowed" if forgives(node) else ""))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                called = node.name in self.used or bool(node.decorator_list)
                yield from self.body(node.body, reach if called else "unreachable")
            case ast.Match(subject=subject, cases=cases):
                for case in cases:
                    condition = f"if {unparse(subject)} matches {unparse(case.pattern)}"
                    yield from self.body(case.body, reach or condition)
            case ast.Raise(exc=exc) if exc is not None and "AssertionError" in unparse(exc):
                yield Claim("raise AssertionError", node.lineno, LOOSE, reach, exc)
            case _:
                yield from self.calls(node, reach)

    def said(self, test: ast.expr, line: int, reach: str) -> Iterator[Claim]:
        for part in map(plain, _parts(test)):
            yield Claim(unparse(part), line, strength(part, self.constants), reach, part)

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

    def calls(self, node: ast.AST, reach: str, *, asked: bool = False) -> Iterator[Claim]:
        for call in calls(node):
            name = name_of(call.func)
            # `xprocess.ensure(...)` starts something; `self.ensure(...)` asserts
            starts = name == "ensure" and dotted(call.func) not in {"ensure", "self.ensure"}
            known = _CLAIMING.fullmatch(name) and name not in self.idle and not starts
            if name not in self.helpers and (asked or not known):
                continue
            if (said := plain(call)) is not call:
                yield from self.said(said, call.lineno, reach)
            else:  # it is no comparison
                # What is asked for its answer only may fail on the way to it.
                answers = not known and not (isinstance(node, ast.Expr) and node.value is call)
                said_by = EXISTS if answers else call_strength(call)
                yield Claim(unparse(call), call.lineno, said_by, reach, call)


def _parts(test: ast.expr) -> list[ast.expr]:
    """Return what a condition says one by one: the parts of an `and`, of equal displays, of a
    tuple that something equals."""
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return [part for value in values for part in _parts(value)]
        case ast.Compare(
            left=whole, ops=[ast.Eq()], comparators=[ast.Tuple(elts=[_, _, *_] as right)]
        ) if not any(isinstance(v, ast.Starred) for v in right):
            left = (
                [ast.Subscript(whole, ast.Constant(at), ast.Load()) for at in range(len(right))]
                if not isinstance(whole, ast.Tuple)
                else whole.elts
            )
            if len(left) != len(right) or any(isinstance(v, ast.Starred) for v in left):
                return [test]
            pairs = zip(left, right, strict=True)
            said = (ast.Compare(left=a, ops=[ast.Eq()], comparators=[b]) for a, b in pairs)
            return [ast.fix_missing_locations(ast.copy_location(one, test)) for one in said]
    return [test]


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


def forgives(node: ast.AST) -> bool:
    """Return whether a `try` or `with` catches a failed assertion in its body."""
    if isinstance(node, ast.With | ast.AsyncWith):
        return any(_suppresses(item.context_expr) for item in node.items)
    if not isinstance(node, ast.Try | ast.TryStar):
        return False
    leaves = ast.Return | ast.Continue | ast.Break  # in `finally` they end the failure
    ends = any(isinstance(last, leaves) for last in node.finalbody)
    return ends or any(map(_swallows, node.handlers))


def _swallows(handler: ast.ExceptHandler) -> bool:
    """Return whether a failed assertion ends here without a word."""
    kinds = {name_of(kind) for kind in elements(handler.type)} if handler.type else {""}
    if not kinds & (_SWALLOWING | {""}):
        return False
    return not any(
        isinstance(node, ast.Raise)
        # `assert error` of the error that was caught holds always
        or (
            isinstance(node, ast.Assert)
            and not cannot_fail(node.test)
            and name_of(node.test) != handler.name
        )
        or (isinstance(node, ast.Call) and _SPEAKING.fullmatch(name_of(node.func)))
        for statement in handler.body
        for node in ast.walk(statement)
    )


def _suppresses(context: ast.expr) -> bool:
    """Return whether a failed assertion inside this context manager ends here."""
    if not isinstance(context, ast.Call):
        return False
    kinds = {name_of(kind) for argument in context.args for kind in elements(argument)}
    if name_of(context.func) == "suppress":
        return not kinds.isdisjoint(_SWALLOWING)
    expected = name_of(context.func) in {"raises", "assertRaises"}
    return expected and bool(kinds & BROAD)


def _constants(function: Function) -> Constants:
    """Return the names that a function binds exactly once, to a constant that stays as it is."""
    parts = nodes(function)
    bound = Counter(
        n.id for n in parts if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    )
    values = {
        node.targets[0].id: node.value
        for node in parts
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and (
            constant(node.value) is not None
            or (isinstance(node.value, ast.Name) and bound[node.value.id] < 2)  # a copy
        )
    }
    # a container may be filled later, by itself or by whoever it is handed to
    changed = {name_of(n.value) for n in parts if isinstance(n, ast.Attribute | ast.Subscript)}
    for call in calls(function) if values else ():
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            changed |= {n.id for n in ast.walk(argument) if isinstance(n, ast.Name)}
    plain = ast.Name | ast.Constant | ast.UnaryOp | ast.BinOp | ast.Compare
    return {
        name: value
        for name, value in values.items()
        if bound[name] == 1 and (isinstance(value, plain) or name not in changed)
    }
