"""How much an assertion says, as one of five strengths; a tolerance says how near is near enough.

Pure, on syntax trees. Strengths only order assertions: a change is a weakening when the same
assertion says less than before.
"""

from __future__ import annotations

import ast
import math
import re

from self_coding.audit.syntax import (
    Constants,
    calls,
    constant,
    elements,
    name_of,
    number,
    substitute,
    unparse,
)

NOTHING, EXISTS, LOOSE, CLOSE, EXACT = range(5)
"""Cannot fail; something is there; it is in a range; it is nearly equal; it is equal."""

_WEAKER = {  # than equality, which an assertion by a call says unless it is listed here
    **dict.fromkeys(("assertCountEqual", "assertAlmostEqual"), CLOSE),
    **dict.fromkeys(("assert_called_once", "assert_any_call"), CLOSE),
    **dict.fromkeys(("assertRegex", "assert_called"), LOOSE),
}
_RAISING = frozenset({"raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns"})
_COMPARED: dict[str, type[ast.cmpop]] = {  # what unittest's methods say, as an operator
    f"assert{name}": operator
    for operator, names in (
        (ast.Eq, "Equal Equals DictEqual ListEqual TupleEqual SetEqual MultiLineEqual"),
        *((ast.NotEq, "NotEqual"), (ast.Is, "Is"), (ast.IsNot, "IsNot"), (ast.In, "In")),
        *((ast.NotIn, "NotIn"), (ast.Gt, "Greater"), (ast.Lt, "Less")),
        *((ast.GtE, "GreaterEqual"), (ast.LtE, "LessEqual")),
    )
    for name in names.split()
}
_PREDICATE = re.compile(
    r"isinstance|issubclass|hasattr|callable|bool|any|all|startswith|endswith|exists|(?:is|has)_\w+|"
    r"is(?:alnum|alpha|ascii|decimal|digit|identifier|lower|numeric|printable|space|title|upper)|"
    r"isdisjoint|issubset|issuperset|isfile|isdir|islink|isabs|isnan|isfinite|isinf|isclose"
)
BROAD = {"Exception", "BaseException", "AssertionError"}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.Is: ast.IsNot, ast.In: ast.NotIn, ast.Lt: ast.GtE, ast.Gt: ast.LtE,
}  # fmt: skip
# where `pytest.approx` and the like take their tolerance as an argument without a name
_POSITION = {"approx": 1, "assertAlmostEqual": 2, "allclose": 2, "assert_allclose": 2}
DEFAULT_TOLERANCE = 1e-6  # what `pytest.approx` grants by itself


def strength(test: ast.expr, constants: Constants) -> int:  # noqa: PLR0911 - one return per shape
    """Return how much a condition says."""
    test = substitute(test, constants)
    if cannot_fail(test):
        return NOTHING
    match test:
        # all parts of an `and` must hold, so the strongest counts; of an `or` one is enough
        case ast.BoolOp(op=ast.And(), values=values):
            return max(strength(value, constants) for value in values)
        case ast.BoolOp(values=values):
            return min(strength(value, constants) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return EXISTS if isinstance(operand, ast.Compare) and len(operand.ops) > 1 else LOOSE
        case ast.Compare(left=left, ops=ops, comparators=[*_, right]):
            if ast.dump(left) == ast.dump(right):
                return EXISTS  # the same call twice: says only that it is steady
            near = re.search(r"\b(?:approx|isclose|round|ANY)\b", unparse(test))
            if name_of(left) == "__class__" or (
                isinstance(left, ast.Call) and name_of(left.func) == "type"
            ):
                return EXISTS  # of which kind it is
            not_none = isinstance(right, ast.Constant) and right.value is None
            strengths: dict[type, int] = {
                ast.Eq: CLOSE if near else EXACT,
                ast.Is: EXACT,
                **dict.fromkeys((ast.IsNot, ast.NotEq), EXISTS if not_none else LOOSE),
            }
            return min(strengths.get(type(op), LOOSE) for op in ops)
        case ast.Call(func=ast.Name(id="isinstance" | "hasattr" | "callable" | "issubclass")):
            return EXISTS
        case ast.Call():
            return LOOSE
    return EXISTS


def call_strength(call: ast.Call) -> int:
    """Return how much an assertion by a call says that is no comparison (`pytest.raises`, ...)."""
    name = name_of(call.func)
    if name not in _RAISING:
        return _WEAKER.get(name, EXACT)
    if call.args and constant(call.args[0]) == (None,):
        return NOTHING  # `pytest.warns(None)` only records
    kinds = {name_of(kind) for kind in elements(call.args[0])} if call.args else BROAD
    return LOOSE if kinds & BROAD else EXACT


def plain(node: ast.expr, *, exactly: bool = False) -> ast.expr:
    """Return an assertion as the condition that it is, in one spelling.

    `self.assertEqual(a, b)` as `a == b`; `x == True` as `x`, and `x is True` where `x` is a bool by
    its syntax (else it also says what kind of value `x` is, and `assert x` accepts many more). With
    `exactly`, `x == True` is `x` for such an `x` alone, and a predicate's name makes none of it.
    """
    new: ast.expr | None = None
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[one, two, *_]) if name in _COMPARED:
            new = ast.Compare(left=one, ops=[_COMPARED[name]()], comparators=[two])
        case ast.Call(
            func=ast.Attribute(attr="assertTrue" | "assert_" | "failUnless"), args=[one, *_]
        ):
            return plain(one, exactly=exactly)
        case ast.Call(func=ast.Attribute(attr="assertFalse" | "failIf"), args=[one, *_]):
            new = ast.UnaryOp(op=ast.Not(), operand=one)
        case ast.Call(
            func=ast.Attribute(attr="assertIsNone" | "assertIsNotNone" as name), args=[one, *_]
        ):
            op = ast.Is() if name == "assertIsNone" else ast.IsNot()
            new = ast.Compare(left=one, ops=[op], comparators=[ast.Constant(value=None)])
        case ast.Call(func=ast.Attribute(attr="assertIsInstance"), args=[one, two, *_]):
            new = ast.Call(
                func=ast.Name(id="isinstance", ctx=ast.Load()), args=[one, two], keywords=[]
            )
        case ast.Compare(
            left=inner, ops=[ast.Eq() | ast.Is() as op], comparators=[ast.Constant(bool(v))]
        ):
            if _is_bool(inner, named=not exactly) or (isinstance(op, ast.Eq) and not exactly):
                said = inner if v else ast.UnaryOp(op=ast.Not(), operand=inner)
                return plain(said, exactly=exactly)
        case ast.UnaryOp(op=ast.Not(), operand=ast.UnaryOp(op=ast.Not(), operand=inner)):
            return plain(inner, exactly=exactly)
        # No such rule for `==` and `<`: a class may define them apart from their opposites.
        case ast.UnaryOp(op=ast.Not(), operand=ast.Compare(ops=[ast.Is()]) as inner):
            new = ast.Compare(inner.left, [ast.IsNot()], inner.comparators)
    if new is None:
        return node
    return plain(ast.fix_missing_locations(ast.copy_location(new, node)), exactly=exactly)


def cannot_fail(test: ast.expr) -> bool:  # noqa: PLR0911, PLR0912 - one return per shape
    """Return whether a condition is true whatever the code under test does."""
    value = constant(test)
    if value is not None:
        return bool(value[0])
    match test:
        case ast.Tuple(elts=elts) | ast.List(elts=elts) | ast.Set(elts=elts):
            return bool(elts)
        case ast.Dict(keys=keys):
            return bool(keys)
        case ast.Lambda() | ast.GeneratorExp():
            return True
        # an f-string with any text of its own is never empty
        case ast.JoinedStr(values=values):
            return any(isinstance(v, ast.Constant) and v.value for v in values)
        case ast.NamedExpr(value=inner):
            return cannot_fail(inner)
        case ast.IfExp(body=body, orelse=orelse):
            return cannot_fail(body) and (cannot_fail(orelse) or constant(test.test) is not None)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(cannot_fail, values)) or _has_complement(values)
        case ast.BoolOp(values=values):
            return all(map(cannot_fail, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            if ast.dump(left) == ast.dump(right) and not any(calls(left)):
                return isinstance(op, ast.Eq | ast.Is | ast.LtE | ast.GtE | ast.In)
            # a length is never negative
            if isinstance(left, ast.Call) and name_of(left.func) == "len":
                bound = number(right)
                below = isinstance(op, ast.Gt) and bound is not None and bound < 0
                return below or (isinstance(op, ast.GtE) and bound is not None and bound <= 0)
            return name_of(right) == "ANY" and isinstance(op, ast.Eq)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id="object")]):
            return True
        case ast.Call(func=ast.Name(id="bool" | "any" | "all"), args=[inner]):
            if isinstance(inner, ast.List | ast.Tuple):
                return any(map(cannot_fail, inner.elts)) or not inner.elts
            return constant(inner) is not None and cannot_fail(inner)
        case ast.Call(func=ast.Name(id="id" | "type")):
            return True
    return False


def _has_complement(values: list[ast.expr]) -> bool:
    """Return whether an `or` holds a comparison and its opposite."""
    texts = {ast.dump(value) for value in values}
    for value in values:
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
            if ast.dump(value.operand) in texts:
                return True
        elif isinstance(value, ast.Compare) and type(value.ops[0]) in _OPPOSITE:
            opposite = _OPPOSITE[type(value.ops[0])]()
            if ast.dump(ast.Compare(value.left, [opposite], value.comparators)) in texts:
                return True
    return False


def _is_bool(node: ast.expr, *, named: bool) -> bool:
    """Return whether an expression is True or False by its syntax, or by a predicate's name."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=values):
            return all(_is_bool(value, named=named) for value in values)
        case ast.Call(func=function):
            return named and _PREDICATE.fullmatch(name_of(function)) is not None
    return False


def tolerance(node: ast.AST) -> float:
    """Return the widest tolerance that an assertion names; 0 for an exact one, the default one
    where a function that compares nearly is given none."""
    widest = 0.0
    for call in calls(node):
        name = name_of(call.func)
        if name in {"approx", "isclose", "allclose", "assert_allclose", "assertAlmostEqual"}:
            widest = max(widest, *(_tolerances(call, name) or [DEFAULT_TOLERANCE]))
        elif name == "round":
            digits = number(call.args[1]) if len(call.args) > 1 else 0.0
            widest = max(widest, _half_unit(digits or 0.0))
    return widest


def _tolerances(call: ast.Call, name: str) -> list[float]:
    given = [(keyword.arg or "", keyword.value) for keyword in call.keywords]
    if name in _POSITION:
        unit = "places" if name == "assertAlmostEqual" else "abs"
        given += [(unit, value) for value in call.args[_POSITION[name] :][:1]]
    widths = []
    for argument, node in given:
        value = number(node)
        if value is not None and argument in {"places", "decimal"}:
            widths.append(_half_unit(value))
        elif value is not None and re.fullmatch(
            r"abs|rel|delta|atol|rtol|abs_tol|rel_tol", argument
        ):
            widths.append(value)
    return widths


def _half_unit(digits: float) -> float:
    """Return half of the last of so many decimal places, without overflow."""
    return 0.5 * math.pow(10.0, -max(-300.0, min(300.0, digits)))


def is_loosened(old: ast.AST, new: ast.AST) -> bool:
    """Return whether two comparisons are the same but for a bound that lets more pass now."""
    # in order of appearance: whatever has no counterpart is compared by its strength
    sides = ([n for n in ast.walk(side) if isinstance(n, ast.Compare)] for side in (old, new))
    for was, now in zip(*sides, strict=False):
        if ast.dump(was.left) != ast.dump(now.left) or len(was.ops) != len(now.ops):
            continue
        for i, (old_op, new_op) in enumerate(zip(was.ops, now.ops, strict=True)):
            old_bound, new_bound = (
                number(was.comparators[i]),
                number(now.comparators[i]),
            )
            if old_bound is None or new_bound is None:
                continue
            upper = isinstance(old_op, ast.Lt | ast.LtE) and isinstance(new_op, ast.Lt | ast.LtE)
            lower = isinstance(old_op, ast.Gt | ast.GtE) and isinstance(new_op, ast.Gt | ast.GtE)
            if (upper and new_bound > old_bound) or (lower and new_bound < old_bound):
                return True
    return False
