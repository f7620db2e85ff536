"""Marks that keep a test from running or from counting, and whether they would here.

Pure. A skip that holds only on another platform or interpreter is ordinary; one that holds
where the gate runs (Linux, this interpreter), or that nobody can tell, is not.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from self_coding.audit import strength as says
from self_coding.audit.reading import Module, Test
from self_coding.audit.weakening import _own
from self_coding.values.verdicts import Finding

_SKIPS = {"skip": "test-skipped", "skipif": "test-skipped", "skipIf": "test-skipped",
          "skipUnless": "test-skipped", "xfail": "test-xfailed", "expectedFailure": "test-xfailed",
          "importorskip": "test-skipped", "skipTest": "test-skipped", "SkipTest": "test-skipped",
          "usefixtures": ""}  # fmt: skip

_CALLS = {"pytest.skip", "pytest.xfail", "self.skipTest", "pytest.importorskip"}

Mark = tuple[str, int, str]
"""Rule, line, and the mark as text."""


def compare_marks(old: Test, new: Test, before: Module, after: Module) -> Iterator[Finding]:
    """Marks and calls that keep a test from counting now, and did not before."""
    known = {text for _, _, text in [*marks(old, before), *module_marks(before)]}
    for rule, line, text in marks(new, after):
        if text not in known:
            message = f"{new.name} is marked `{text}`"
            yield Finding(rule=rule, path=new.path, line=line, message=message)


def compare_module_marks(before: Module, after: Module) -> Iterator[Finding]:
    """The same for marks of a whole module (`pytestmark`, a skip at import)."""
    known = {text for _, _, text in module_marks(before)}
    for rule, line, text in module_marks(after):
        if text not in known:
            message = f"the whole module is marked `{text}`"
            yield Finding(rule=rule, path=after.path, line=line, message=message)


def marks(test: Test, module: Module) -> list[Mark]:
    """The marks of one test: its decorators, its class's, its parameters', its own calls."""
    decorators = [*test.node.decorator_list, *(test.owner.decorator_list if test.owner else [])]
    if test.owner:
        decorators += [
            statement.value
            for statement in test.owner.body
            if isinstance(statement, ast.Assign)
            and says.name_of(statement.targets[0]) == "pytestmark"
        ]
    decorators += [
        value
        for decorator in decorators
        if isinstance(decorator, ast.Call)
        for name in decorator.args
        if isinstance(name, ast.Name) and (value := module_value(module, name.id)) is not None
    ]
    found = [mark for decorator in decorators for mark in _marks_in(decorator, module)]
    for node in _own(test.node):
        if isinstance(node, ast.Call) and node not in decorators:
            if says.dotted(node.func) in _CALLS and _guard_holds(test.node, node, module):
                found += _mark(node, says.name_of(node.func))
        elif (
            isinstance(node, ast.Raise)
            and "SkipTest" in ast.unparse(node)
            and _guard_holds(test.node, node, module)
        ):
            found.append(("test-skipped", node.lineno, ast.unparse(node)))
    return found


def module_marks(module: Module) -> list[Mark]:
    """The marks of a whole module."""
    found: list[Mark] = []
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and says.name_of(node.targets[0]) == "pytestmark":
            found += _marks_in(node.value, module)
        elif isinstance(node, ast.Expr | ast.Assign | ast.Raise | ast.If):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call) and says.dotted(inner.func) in {
                    "pytest.skip", "pytest.importorskip", "pytest.exit", "sys.exit", "os._exit",
                }:  # fmt: skip
                    if not isinstance(node, ast.If) or _may_hold(node.test, module):
                        found += _mark(inner, says.name_of(inner.func))
                elif isinstance(inner, ast.Raise) and "SkipTest" in ast.unparse(inner):
                    found.append(("test-skipped", inner.lineno, ast.unparse(inner)))
    return [mark for mark in found if "importorskip('pytest" not in mark[2]]


def _marks_in(decorator: ast.expr, module: Module) -> Iterator[Mark]:
    """Skip marks anywhere in a decorator, those inside parameter sets too."""
    for node in ast.walk(decorator):
        if isinstance(node, ast.Call):
            name = says.name_of(node.func)
            conditions = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "condition")]
            if name in {"skipif", "skipIf"} and conditions and not _may_hold(conditions[0], module):
                continue
            if name == "skipUnless" and conditions:
                unless = ast.UnaryOp(op=ast.Not(), operand=conditions[0])
                if not _may_hold(unless, module):
                    continue
            if name == "xfail" and node.args and not _may_hold(node.args[0], module):
                continue
            yield from _mark(node, name)
        elif isinstance(node, ast.Attribute | ast.Name):
            target = (
                module_value(module, says.name_of(node)) if isinstance(node, ast.Name) else None
            )
            if target is not None and target is not decorator and node is decorator:
                yield from _marks_in(target, module)
            elif says.name_of(node) in {"skip", "xfail", "expectedFailure"} and not _is_called(
                decorator, node
            ):
                yield from _mark(node, says.name_of(node))


def _mark(node: ast.expr, name: str) -> Iterator[Mark]:
    rule = _SKIPS.get(name)
    if rule:
        yield rule, node.lineno, ast.unparse(node)


def _is_called(root: ast.expr, node: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) and n.func is node for n in ast.walk(root))


def _guard_holds(function: ast.AST, call: ast.AST, module: Module) -> bool:
    """Whether a call may run, as far as the `if` around it tells."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and any(n is call for s in node.body for n in ast.walk(s)):
            return _may_hold(node.test, module)
        if isinstance(node, ast.ExceptHandler) and any(n is call for n in ast.walk(node)):
            return (
                says.name_of(node.type) not in {"ImportError", "ModuleNotFoundError"}
                if node.type
                else True
            )
    return True


def _may_hold(condition: ast.expr, module: Module) -> bool:
    """Whether a skip condition may be true on Linux with this interpreter."""
    if isinstance(condition, ast.Constant) and isinstance(condition.value, str):
        try:
            condition = ast.parse(condition.value, mode="eval").body
        except SyntaxError:
            return True
    value = evaluate(condition, module)
    return True if value is None else bool(value[0])


def evaluate(  # noqa: PLR0911 - one return a shape
    node: ast.expr, module: Module, depth: int = 0
) -> tuple[object] | None:
    """The value of a condition on Linux with this interpreter, in a 1-tuple; None: unknown."""
    plain = says.constant(node)
    if plain is not None:
        return plain
    match node:
        case ast.Compare(left=ast.Attribute(), ops=[op], comparators=[ast.Constant(value=None)]):
            return (isinstance(op, ast.IsNot),)  # an optional part: here it is there
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = evaluate(operand, module, depth)
            return None if inner is None else (not inner[0],)
        case ast.BoolOp(op=op, values=values):
            inner_values = [evaluate(value, module, depth) for value in values]
            decided = isinstance(op, ast.Or)
            if any(v is not None and bool(v[0]) is decided for v in inner_values):
                return (decided,)
            return None if None in inner_values else (not decided,)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compared(evaluate(left, module, depth), op, evaluate(right, module, depth))
        case ast.Subscript(value=whole, slice=part):
            return _part(evaluate(whole, module, depth), part)
        case ast.Call(func=ast.Attribute(value=text, attr="startswith"), args=[start]):
            one, two = evaluate(text, module, depth), evaluate(start, module, depth)
            known = one and two and isinstance(one[0], str) and isinstance(two[0], str)
            return (one[0].startswith(two[0]),) if known else None  # type: ignore[index,union-attr]
        case ast.Call(func=function, args=[]):
            return _FACTS.get(f"{says.dotted(function)}()")
        case ast.Attribute() | ast.Name():
            fact = _FACTS.get(says.dotted(node)) or _by_name(says.name_of(node))
            if fact is None and isinstance(node, ast.Name) and depth < 5:
                return _named(node.id, module, depth)
            return fact
    return None


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


def _by_name(name: str) -> tuple[object] | None:
    """What a constant's name tells: `IS_WINDOWS`, `PY2`, `PYPY` are false here, `PY3` is true."""
    if re.search(r"(?i)windows|is_?win|darwin|mac_?os|is_?mac|pypy|py2|python2|jython", name):
        return (False,)
    return (True,) if re.search(r"(?i)py3$|python3|is_?linux|posix|cpython", name) else None


def _named(name: str, module: Module, depth: int) -> tuple[object] | None:
    """A name of the module: its constant, or False for a feature that an import decides."""
    for node in module.tree.body:
        if isinstance(node, ast.Try) and any(
            isinstance(n, ast.Import | ast.ImportFrom) for n in node.body
        ):
            bound = {
                says.name_of(n) if isinstance(n, ast.Name) else (n.asname or n.name)
                for n in ast.walk(node)
                if isinstance(n, ast.Name | ast.alias)
            }
            if name in bound:
                return (object(),)  # the module is there: `X is None` is false, `X` is true
    value = module_value(module, name)
    return None if value is None else evaluate(value, module, depth + 1)


def module_value(module: Module, name: str) -> ast.expr | None:
    """What the module assigns to a name at its top level, last."""
    found = None
    for node in module.tree.body:
        if (
            isinstance(node, ast.Assign) and any(says.name_of(t) == name for t in node.targets)
        ) or (isinstance(node, ast.AnnAssign) and says.name_of(node.target) == name):
            found = node.value
    return found


def _compared(  # noqa: PLR0911 - one return an operator
    left: tuple[object] | None, op: ast.cmpop, right: tuple[object] | None
) -> tuple[object] | None:
    if left is None or right is None:
        return None
    one, two = left[0], right[0]
    try:
        match op:
            case ast.Eq() | ast.Is():
                return (one == two,)
            case ast.NotEq() | ast.IsNot():
                return (one != two,)
            case ast.Lt():
                return (one < two,)  # type: ignore[operator]
            case ast.LtE():
                return (one <= two,)  # type: ignore[operator]
            case ast.Gt():
                return (one > two,)  # type: ignore[operator]
            case ast.GtE():
                return (one >= two,)  # type: ignore[operator]
            case ast.In():
                return (one in two,)  # type: ignore[operator]
            case ast.NotIn():
                return (one not in two,)  # type: ignore[operator]
    except TypeError:
        return None
    return None


def _part(whole: tuple[object] | None, part: ast.expr) -> tuple[object] | None:
    if whole is None or not isinstance(whole[0], tuple | str):
        return None
    if isinstance(part, ast.Slice):
        upper = says.number(part.upper) if part.upper else None
        return None if upper is None or part.lower else (whole[0][: int(upper)],)
    at = says.number(part)
    return None if at is None or at >= len(whole[0]) else (whole[0][int(at)],)
