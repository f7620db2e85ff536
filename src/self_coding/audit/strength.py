"""How much an assertion says: from nothing (it cannot fail) to an exact value.

Pure, on syntax trees. The numbers only order assertions; a change is a weakening when the same
assertion says less than before.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping

NOTHING, EXISTS, LOOSE, CLOSE, EXACT = range(5)
"""Cannot fail; there is something; it lies in a range; it is nearly equal; it is equal."""

_UNITTEST = {
    "assertEqual": EXACT, "assertEquals": EXACT, "assertIs": EXACT, "assertIsNone": EXACT,
    "assertListEqual": EXACT, "assertDictEqual": EXACT, "assertSetEqual": EXACT,
    "assertTupleEqual": EXACT, "assertSequenceEqual": EXACT, "assertMultiLineEqual": EXACT,
    "assertCountEqual": CLOSE, "assertAlmostEqual": CLOSE, "assertRaises": EXACT,
    "assertRaisesRegex": EXACT, "assertWarns": EXACT, "assertLogs": EXACT, "assertNoLogs": EXACT,
    "assertIn": LOOSE, "assertNotIn": LOOSE, "assertNotEqual": LOOSE, "assertGreater": LOOSE,
    "assertLess": LOOSE, "assertGreaterEqual": LOOSE, "assertLessEqual": LOOSE,
    "assertRegex": LOOSE, "assertIsNot": LOOSE, "assertIsInstance": EXISTS,
    "assertIsNotNone": EXISTS, "assertFalse": LOOSE,
    "assert_called_once_with": EXACT, "assert_called_with": EXACT, "assert_has_calls": EXACT,
    "assert_called_once": CLOSE, "assert_not_called": EXACT, "assert_any_call": CLOSE,
    "assert_called": LOOSE,
}  # fmt: skip
_WIDEST = 300.0  # no exponent beyond, so that nothing overflows
_PREDICATE = re.compile(
    r"isinstance|issubclass|hasattr|callable|bool|any|all|startswith|endswith|exists|(?:is|has)_\w+|"
    r"is(?:alnum|alpha|ascii|decimal|digit|identifier|lower|numeric|printable|space|title|upper)|"
    r"isdisjoint|issubset|issuperset|isfile|isdir|islink|isabs|isnan|isfinite|isinf|isclose"
)
_BROAD = {"Exception", "BaseException", "AssertionError"}

Known = Mapping[str, ast.expr]
"""Names that a function binds exactly once, to a constant."""


def strength(test: ast.expr, known: Known) -> int:  # noqa: PLR0911 - one return a shape
    """What a condition says."""
    test = _substitute(test, known)
    if cannot_fail(test):
        return NOTHING
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return max(strength(value, known) for value in values)
        case ast.BoolOp(values=values):
            return min(strength(value, known) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return EXISTS if isinstance(operand, ast.Compare) and len(operand.ops) > 1 else LOOSE
        case ast.Compare():
            return min(_of_comparison(op, test) for op in test.ops)
        case ast.Call(func=ast.Name(id="isinstance" | "hasattr" | "callable" | "issubclass")):
            return EXISTS
        case ast.Call():
            return LOOSE
    return EXISTS


def call_strength(call: ast.Call, known: Known) -> int:
    """What an assertion made by a call says (`self.assertEqual`, `check_it`, `pytest.raises`)."""
    name = name_of(call.func)
    if name in {"assertTrue", "assert_", "failUnless"} and call.args:
        return strength(call.args[0], known)
    if name == "assertFalse" and call.args:
        return strength(ast.UnaryOp(op=ast.Not(), operand=call.args[0]), known)
    if name in {"raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns"}:
        caught = set(_names(call.args[0])) if call.args else {"Exception"}
        return LOOSE if caught & _BROAD else EXACT
    if name in {"assertEqual", "assertIs", "assertEquals"} and len(call.args) >= 2:
        left, right = (_substitute(arg, known) for arg in call.args[:2])
        if ast.dump(left) == ast.dump(right):
            return EXISTS if _calls(left) else NOTHING
        return EXACT
    return _UNITTEST.get(name, EXACT)


def truth(node: ast.expr) -> tuple[ast.expr, bool]:
    """Return the condition that an assertion is about, and whether it must be true or false.

    `x == True` is about `x` only where `x` is a bool by its syntax: else it also says what kind
    of value `x` is, and `assert x` accepts many more.
    """
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            condition, expected = truth(inner)
            return condition, not expected
        case ast.Call(func=ast.Attribute(attr="assertTrue" | "assert_" | "failUnless"), args=args):
            return truth(args[0]) if args else (node, True)
        case ast.Call(func=ast.Attribute(attr="assertFalse" | "failIf"), args=[inner, *_]):
            condition, expected = truth(inner)
            return condition, not expected
        case (
            ast.Compare(left=inner, ops=[ast.Eq() | ast.Is()], comparators=[ast.Constant(bool(v))])
            | ast.Call(
                func=ast.Attribute(attr="assertEqual" | "assertEquals" | "assertIs"),
                args=[inner, ast.Constant(bool(v))],
            )
        ) if _is_bool(inner):
            condition, expected = truth(inner)
            return condition, expected is v
    return node, True


def _is_bool(node: ast.expr) -> bool:
    """Return whether an expression is True or False by its syntax or by a predicate's name."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=values):
            return all(map(_is_bool, values))
        case ast.Call(func=function):
            return _PREDICATE.fullmatch(name_of(function)) is not None
    return False


def cannot_fail(test: ast.expr) -> bool:  # noqa: PLR0911, PLR0912 - one return a shape
    """Whether a condition is true whatever the code under test does."""
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
        case ast.JoinedStr(values=values):
            return any(isinstance(v, ast.Constant) and v.value for v in values)
        case ast.NamedExpr(value=inner):
            return cannot_fail(inner)
        case ast.IfExp(body=body, orelse=orelse):
            return cannot_fail(body) and (cannot_fail(orelse) or constant(test.test) is not None)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(cannot_fail(value) for value in values) or _complementary(values)
        case ast.BoolOp(values=values):
            return all(cannot_fail(value) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            known = constant(operand)
            empty = isinstance(operand, ast.Tuple | ast.List) and not operand.elts
            return empty or (known is not None and not known[0])
        case ast.Compare():
            return _compares_itself(test)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id="object")]):
            return True
        case ast.Call(func=ast.Name(id="bool" | "any" | "all"), args=[inner]):
            if isinstance(inner, ast.List | ast.Tuple):
                return any(cannot_fail(e) for e in inner.elts) or not inner.elts
            return constant(inner) is not None and cannot_fail(inner)
        case ast.Call(func=ast.Name(id="callable" | "repr" | "str" | "id" | "type")):
            return name_of(test.func) in {"id", "type"}
    return False


def constant(node: ast.expr) -> tuple[object] | None:
    """The value of an expression made of constants only, in a 1-tuple; None if it has none."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            sides = constant(left), constant(right)
            if sides[0] is None or sides[1] is None:
                return None
            equal = sides[0][0] == sides[1][0]
            if isinstance(op, ast.Eq | ast.Is):
                return (equal,)
            return (not equal,) if isinstance(op, ast.NotEq | ast.IsNot) else (True,)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = constant(operand)
            return None if inner is None else (not inner[0],)
    return None


def tolerance(node: ast.AST) -> float:
    """The widest tolerance that an assertion names; 0 for an exact one, 1e-6 for a default."""
    widest = 0.0
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        name = name_of(call.func)
        if name in {"approx", "isclose", "allclose", "assert_allclose", "assertAlmostEqual"}:
            widest = max(widest, *_given(call, name), 1e-6 if not _given(call, name) else 0.0)
        elif name == "round":
            digits = number(call.args[1]) if len(call.args) > 1 else 0.0
            widest = max(widest, _half(digits or 0.0))
    return widest


def _half(digits: float) -> float:
    """Half of the last of so many decimal places."""
    return 0.5 * math.pow(10.0, -max(-_WIDEST, min(_WIDEST, digits)))


def _given(call: ast.Call, name: str) -> list[float]:
    found: list[float] = []
    for keyword in call.keywords:
        value = number(keyword.value)
        if value is None:
            continue
        if keyword.arg in {"abs", "rel", "delta", "atol", "rtol", "abs_tol", "rel_tol"}:
            found.append(value)
        elif keyword.arg in {"places", "decimal"}:
            found.append(_half(value))
    at = {"approx": 1, "assertAlmostEqual": 2, "allclose": 2, "assert_allclose": 2}.get(name)
    if at is not None and len(call.args) > at:
        value = number(call.args[at])
        if value is not None:
            found.append(_half(value) if name == "assertAlmostEqual" else value)
    return found


def number(node: ast.expr) -> float | None:
    """The value of a numeric literal."""
    value = constant(node)
    if value is not None and isinstance(value[0], int | float) and not isinstance(value[0], bool):
        try:
            return float(value[0])
        except OverflowError:
            return None
    return None


def loosened(old: ast.AST, new: ast.AST) -> bool:
    """Whether two comparisons are the same but for a bound that lets more pass now."""
    before = [n for n in ast.walk(old) if isinstance(n, ast.Compare)]
    after = [n for n in ast.walk(new) if isinstance(n, ast.Compare)]
    for one, two in zip(before, after, strict=False):
        if ast.dump(one.left) != ast.dump(two.left) or len(one.ops) != len(two.ops):
            continue
        for op, was_op, was, now in zip(
            two.ops, one.ops, one.comparators, two.comparators, strict=True
        ):
            low, high = number(was), number(now)
            if low is None or high is None:
                continue
            up = isinstance(op, ast.Lt | ast.LtE) and isinstance(was_op, ast.Lt | ast.LtE)
            down = isinstance(op, ast.Gt | ast.GtE) and isinstance(was_op, ast.Gt | ast.GtE)
            if (up and high > low) or (down and high < low):
                return True
    return False


def name_of(node: ast.expr) -> str:
    """The last part of a dotted name; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.expr) -> str:
    """A dotted name as text: `pytest.mark.skip`; empty for anything else."""
    if isinstance(node, ast.Attribute):
        root = dotted(node.value)
        return f"{root}.{node.attr}" if root else ""
    return node.id if isinstance(node, ast.Name) else ""


def _of_comparison(op: ast.cmpop, test: ast.Compare) -> int:
    right = test.comparators[-1]
    if ast.dump(test.left) == ast.dump(right):
        return EXISTS  # twice the same call: only that it is steady
    if isinstance(op, ast.Eq):
        if re.search(r"\b(?:approx|isclose|round|ANY)\b", ast.unparse(test)):
            return CLOSE
        return EXACT
    if isinstance(op, ast.Is):
        return EXACT
    if isinstance(op, ast.IsNot) and isinstance(right, ast.Constant) and right.value is None:
        return EXISTS
    return LOOSE


def _compares_itself(test: ast.Compare) -> bool:
    left, right, op = test.left, test.comparators[-1], test.ops[0]
    if len(test.ops) != 1:
        return False
    if ast.dump(left) == ast.dump(right) and not _calls(left):
        return isinstance(op, ast.Eq | ast.Is | ast.LtE | ast.GtE | ast.In)
    if isinstance(left, ast.Call) and name_of(left.func) == "len":
        bound = number(right)
        at_least = isinstance(op, ast.GtE) and bound is not None and bound <= 0
        return at_least or (isinstance(op, ast.Gt) and bound is not None and bound < 0)
    return name_of(right) == "ANY" and isinstance(op, ast.Eq)


def _complementary(values: list[ast.expr]) -> bool:
    """Whether an `or` holds a comparison and its opposite."""
    opposite = {
        ast.Eq: ast.NotEq, ast.Is: ast.IsNot, ast.In: ast.NotIn, ast.Lt: ast.GtE, ast.Gt: ast.LtE,
    }  # fmt: skip
    seen = {ast.dump(value) for value in values}
    for value in values:
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
            if ast.dump(value.operand) in seen:
                return True
        elif isinstance(value, ast.Compare) and type(value.ops[0]) in opposite:
            other = ast.Compare(value.left, [opposite[type(value.ops[0])]()], value.comparators)
            if ast.dump(other) in seen:
                return True
    return False


def _calls(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Call) for inner in ast.walk(node))


def _names(node: ast.expr) -> list[str]:
    return [name_of(n) for n in (node.elts if isinstance(node, ast.Tuple) else [node])]


class _Replace(ast.NodeTransformer):
    def __init__(self, known: Known) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.known.get(node.id, node)


def _substitute(node: ast.expr, known: Known) -> ast.expr:
    if not known or not any(isinstance(n, ast.Name) and n.id in known for n in ast.walk(node)):
        return node
    copy = ast.parse(ast.unparse(node), mode="eval").body
    replaced: ast.expr = _Replace(known).visit(copy)
    return replaced
