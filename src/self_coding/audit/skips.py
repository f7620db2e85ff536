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
from dataclasses import dataclass, replace
from typing import Any

from self_coding.audit.claims import PLATFORM
from self_coding.audit.syntax import (
    assigned,
    calls,
    constant,
    dotted,
    enclosing,
    finding,
    imports,
    is_empty,
    name_of,
    parse,
    strings,
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
_CALLS = {"pytest.skip", "pytest.xfail", "self.skipTest", "cls.skipTest", "pytest.importorskip"}
_RAISED = re.compile(r"SkipTest|(?:skip|xfail)\.Exception|\b(?:Skipped|XFailed)\b")
_SET_UP = re.compile(r"(?i)set_?up")
_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.NotEq: ast.Eq, ast.IsNot: ast.Is, ast.NotIn: ast.In, ast.GtE: ast.Lt, ast.LtE: ast.Gt,
}  # fmt: skip

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


Clauses = frozenset[frozenset[str]]
"""A condition: every clause must hold, and of each clause one of its alternatives."""


@dataclass(frozen=True)
class Mark:
    """What keeps a test from counting: the rule, its line and text, the condition, and whether
    that may hold here."""

    rule: str
    line: int
    text: str
    when: Clauses
    holds: bool

    def was_among(self, marks: list[Mark]) -> bool:
        """Return whether one of some marks kept the test from counting as often: the same one
        in other words, or one under a weaker condition."""
        return any(
            mark.rule in {self.rule, "test-skipped"}
            and all(any(clause <= old for clause in self.when) for old in mark.when)
            for mark in marks
        )


def compare_marks(old: Test | None, new: Test, before: Module, after: Module) -> Iterator[Finding]:
    """Yield marks and calls that keep a test from counting now, and did not before."""
    had = [*(_test_marks(old, before) if old else ()), *_module_marks(before)]
    for mark in _test_marks(new, after):
        if mark.holds and not mark.was_among(had):
            yield new.finding(mark.rule, f"{new.name} is marked `{mark.text}`", mark.line)


def compare_module_marks(before: Module, after: Module) -> Iterator[Finding]:
    """Yield the same for marks of a whole module (`pytestmark`, a skip at import, a set-up)."""
    had = list(_module_marks(before))
    each = [list(_test_marks(test, before)) for test in before.tests if test.collected]
    for mark in _module_marks(after):
        moved = bool(each) and all(map(mark.was_among, each))
        if mark.holds and not moved and not mark.was_among(had):
            message = f"the whole module is marked `{mark.text}`"
            yield finding(mark.rule, after.path, mark.line, message)
    for test in after.tests:
        if _SET_UP.match(test.short_name) and test.name not in before.by_name:
            yield from compare_marks(None, test, before, after)


def _test_marks(test: Test, module: Module) -> Iterator[Mark]:
    """Yield the marks of one test: its decorators, its class's, its parameters', its own calls."""
    decorators = list(test.decorators)
    for decorator in test.decorators:
        for argument in decorator.args if isinstance(decorator, ast.Call) else ():
            value = module.value(argument.id) if isinstance(argument, ast.Name) else None
            decorators += [value] if value is not None else []
    for decorator in decorators:
        yield from _marks_in(decorator, module)
    if test.owner is not None:
        yield from _assigned_marks(test.owner, module)
    for node in walk_own(test.node):
        if _skips(node) and node not in decorators:
            yield from _mark(node, module, *_around(node, test.node, module))


def _module_marks(module: Module) -> Iterator[Mark]:
    yield from _assigned_marks(module.tree, module)
    for node in walk_own(module.tree):
        if _skips(node) and "importorskip('pytest" not in unparse(node):
            yield from _mark(node, module, *_around(node, module.tree, module))


def _skips(node: ast.AST) -> bool:
    """Return whether a statement skips when it is run."""
    if isinstance(node, ast.Raise):
        return _RAISED.search(unparse(node)) is not None
    return isinstance(node, ast.Call) and dotted(node.func) in _CALLS


def _assigned_marks(scope: ast.Module | ast.ClassDef, module: Module) -> Iterator[Mark]:
    """Yield what `pytestmark` and `__unittest_skip__` say in a module or a class."""
    for node in walk_own(scope):
        names = set(map(name_of, assigned(node)))
        value = getattr(node, "value", None)
        if isinstance(node, ast.Call) and dotted(node.func).startswith("pytestmark."):
            names, value = {"pytestmark"}, node
        if isinstance(value, ast.expr) and names & {"pytestmark", "__unittest_skip__"}:
            when, holds = _around(node, scope, module)
            if "pytestmark" in names:
                for mark in _marks_in(value, module):
                    yield replace(mark, when=mark.when | when, holds=mark.holds and holds)
            elif constant(value) != (False,):
                yield Mark("test-skipped", value.lineno, unparse(node), when, holds)


def _marks_in(decorator: ast.expr, module: Module) -> Iterator[Mark]:
    """Yield skip marks anywhere in a decorator, those inside parameter sets too."""
    # the name in a call is judged with the call, by its condition
    functions = {id(call.func) for call in calls(decorator)}
    sets = [call for call in calls(decorator) if name_of(call.func) == "param"]
    partial = {id(node) for call in sets for node in ast.walk(call)}
    for node in ast.walk(decorator):
        when = frozenset({frozenset({"in one case"})}) if id(node) in partial else frozenset()
        if isinstance(node, ast.Call):
            yield from _mark(node, module, when)
            if name_of(node.func) == "parametrize" and len(node.args) > 1:
                values = node.args[1]
                if isinstance(values, ast.Name):
                    values = module.value(values.id) or values
                if is_empty(values):
                    yield Mark("test-skipped", node.lineno, unparse(node), when, holds=True)
        elif isinstance(node, ast.Attribute | ast.Name):
            value = module.value(node.id) if isinstance(node, ast.Name) else None
            if value is not None and value is not decorator and node is decorator:
                yield from _marks_in(value, module)
            elif name_of(node) in _BARE and id(node) not in functions:
                yield from _mark(node, module, when)


def _mark(
    node: ast.AST, module: Module, when: Clauses = frozenset(), holds: bool = True
) -> Iterator[Mark]:
    name = name_of(node.func if isinstance(node, ast.Call) else node)
    rule = "test-skipped" if isinstance(node, ast.Raise) else _SKIPS.get(name)
    if rule is None:
        return
    if isinstance(node, ast.Call):
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        first = node.args[0] if node.args else given.get("condition")
        if name == "importorskip" and first is not None:
            version = node.args[1] if node.args[1:] else given.get("minversion")
            old = {f"{unparse(first)} < {unparse(version)}"} if version else set()
            when |= {frozenset({f"no {next(strings([first]), unparse(first))}", *old})}
        elif first is not None and (
            name in {"skipif", "skipIf", "skipUnless"}
            or (name == "xfail" and dotted(node.func) != "pytest.xfail")
        ):
            if name == "skipUnless":
                first = ast.UnaryOp(op=ast.Not(), operand=first)
            when |= _clauses(first, module)
            holds = holds and _may_hold(first, module)
        if name == "xfail":  # what bounds it counts as a condition
            bounds = [k for k in node.keywords if k.arg in {"strict", "raises"}]
            when |= {frozenset({unparse(k)}) for k in bounds if constant(k.value) != (False,)}
    yield Mark(rule, int(getattr(node, "lineno", 0)), unparse(node), when, holds)


def _around(node: ast.AST, scope: ast.AST, module: Module) -> tuple[Clauses, bool]:
    """Return the conditions under which a statement of a scope is run, and whether all of them
    may hold here."""
    when: set[frozenset[str]] = set()
    holds = True
    for outer, inside in enclosing(scope, node):
        if isinstance(outer, ast.If):
            test = outer.test if inside else ast.UnaryOp(op=ast.Not(), operand=outer.test)
            when |= _clauses(test, module)
            holds = holds and _may_hold(test, module)
        elif isinstance(outer, ast.ExceptHandler):
            absent = name_of(outer.type) in {"ImportError", "ModuleNotFoundError"}
            tries = (n for n in ast.walk(scope) if isinstance(n, ast.Try) and outer in n.handlers)
            wanted = {full for block in tries for full in imports(block).values()} if absent else ()
            reason = {f"no {full}" for full in wanted} or {f"except {ast.dump(outer)}"}
            when.add(frozenset(reason))
            holds = holds and not absent
    return frozenset(when), holds


def is_elsewhere(node: ast.AST, module: Module) -> bool:
    """Return whether a statement of a module is not run here: the platform or version differs."""
    return not _around(node, module.tree, module)[1]


def _clauses(  # noqa: PLR0911 - one return per shape
    node: ast.expr, module: Module, wanted: bool = True, depth: int = 0
) -> Clauses:
    """Return a condition, or its opposite, without the names that it goes by."""
    read = _read(node)
    match read:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _clauses(operand, module, not wanted, depth)
        case ast.BoolOp(op=op, values=values):
            parts = [_clauses(value, module, wanted, depth) for value in values]
            if isinstance(op, ast.And) is wanted:
                return frozenset[frozenset[str]]().union(*parts)
            if all(len(part) == 1 for part in parts):
                alternatives = [clause for part in parts for clause in part]
                return frozenset({frozenset[str]().union(*alternatives)})
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Is()], comparators=[right]) if (
            wanted and constant(right) == (None,) and name in _optional(module)
        ):
            return frozenset({frozenset({f"no {_optional(module)[name]}"})})
        case ast.Compare(left=left, ops=[op], comparators=right) if not wanted:
            for one, other in (*_FLIPPED.items(), *((b, a) for a, b in _FLIPPED.items())):
                if isinstance(op, one):
                    text = unparse(ast.Compare(left=left, ops=[other()], comparators=right))
                    return frozenset({frozenset({text})})
        case ast.Name(id=name):
            value = module.value(name) if depth < 5 else None
            if not wanted and name in _optional(module):
                return frozenset({frozenset({f"no {_optional(module)[name]}"})})
            if value is not None:
                return _clauses(value, module, wanted, depth + 1)
    text = unparse(read or node)
    return frozenset({frozenset({text if wanted else f"not {text}"})})


def _optional(module: Module) -> dict[str, str]:
    """Return the names that a module imports where that may fail, with their full names."""
    return {
        name: full
        for block in module.tree.body
        if isinstance(block, ast.Try)
        for name, full in imports(block).items()
    }


def _read(condition: ast.expr) -> ast.expr | None:
    """Return a condition, also out of a string, which pytest evaluates; None if it is none."""
    if not isinstance(condition, ast.Constant) or not isinstance(condition.value, str):
        return condition
    tree = parse(condition.value.strip())
    statement = tree.body[0] if tree is not None and len(tree.body) == 1 else None
    return statement.value if isinstance(statement, ast.Expr) else None


def _may_hold(condition: ast.expr, module: Module) -> bool:
    """Return whether a skip condition may be true on Linux with this interpreter."""
    read = _read(condition)
    value = evaluate(read, module) if read is not None else None
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
        case ast.Compare(
            left=ast.Attribute() as left, ops=[op], comparators=[ast.Constant(value=None)]
        ) if not _is_own(dotted(left).split(".")[0], module):
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
    value = module.value(name) if isinstance(node, ast.Name) and depth < 5 else None
    known = evaluate(value, module, depth + 1) if value is not None else None
    # a name tells what it is unless the module says otherwise
    if known is not None or (value is not None and not PLATFORM.search(unparse(value))):
        return known or ((object(),) if name in _optional(module) else None)
    if re.search(r"(?i)^win(?:32)?$|windows|is_?win|darwin|mac_?os|is_?mac|pypy|py2|jython", name):
        return (False,)
    if re.search(r"(?i)py3$|python3|is_?linux|posix|cpython", name):
        return (True,)
    # an import that may fail works here: `X is None` is false, `X` is true
    return (object(),) if isinstance(node, ast.Name) and name in _optional(module) else None


def _is_own(name: str, module: Module) -> bool:
    """Return whether a module defines a name rather than importing it."""
    defined = {getattr(statement, "name", None) for statement in module.tree.body}
    return name in defined or module.value(name) is not None
