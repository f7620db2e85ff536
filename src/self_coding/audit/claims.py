"""What a test claims: its assertions, each with how much it says and whether it is ever reached.

Pure, on syntax trees. An assertion is an `assert`, a `self.assertX`, a `pytest.raises` block, a
mock's `assert_called...`, or a call of a helper that holds assertions itself. Strengths only order
assertions: a change is a weakening when the same assertion says less than before.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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
    number,
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
    reader = _Reader(frozenset(helpers), frozenset(idle), _constants(function), _used(function))
    return tuple(reader.body(function.body, ""))


def _used(function: Function) -> frozenset[str]:
    """Return the names whose values a function does something with: an inner function that is
    only put into a list, or under another name that nothing uses, is never run."""
    kept: list[tuple[list[ast.Name], set[str]]] = []  # names, and what they are stored in
    for node in nodes(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            values, into = [node.value], set(map(name_of, assigned(node)))
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
                for said in map(plain, _parts(test)):
                    weight = strength(said, self.constants)
                    yield Claim(unparse(said), node.lineno, weight, reach, said)
            case ast.If() | ast.While():
                yield from self.branches(node, reach)
            case ast.For(iter=over) | ast.AsyncFor(iter=over):
                inside = "unreachable" if is_empty(substitute(over, self.constants)) else reach
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
            # `xprocess.ensure(...)` starts something; `self.ensure(...)` asserts
            starts = name == "ensure" and dotted(call.func) not in {"ensure", "self.ensure"}
            known = _CLAIMING.fullmatch(name) and name not in self.idle and not starts
            if name in self.helpers or known:
                node = plain(call)
                same = node is call  # it is no comparison
                said = call_strength(call) if same else strength(node, self.constants)
                yield Claim(unparse(node), call.lineno, said, reach, node)


def _parts(test: ast.expr) -> list[ast.expr]:
    """Return what a condition says one by one: the parts of an `and`, of equal tuples."""
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return [part for value in values for part in _parts(value)]
        case ast.Compare(
            left=ast.Tuple(elts=[_, *_] as left),
            ops=[ast.Eq()],
            comparators=[ast.Tuple(elts=right)],
        ) if len(left) == len(right) and not any(isinstance(v, ast.Starred) for v in left + right):
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
    return expected and bool(kinds & _BROAD)


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


# How much an assertion says

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
_BROAD = {"Exception", "BaseException", "AssertionError"}
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
            not_none = isinstance(right, ast.Constant) and right.value is None
            strengths: dict[type, int] = {
                ast.Eq: CLOSE if near else EXACT,
                ast.Is: EXACT,
                ast.IsNot: EXISTS if not_none else LOOSE,
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
    kinds = {name_of(kind) for kind in elements(call.args[0])} if call.args else _BROAD
    return LOOSE if kinds & _BROAD else EXACT


def plain(node: ast.expr) -> ast.expr:
    """Return an assertion as the condition that it is, in one spelling: `self.assertEqual(a, b)`
    as `a == b`; `x == True` as `x` where `x` is a bool by its syntax (else it also says what kind
    of value `x` is, and `assert x` accepts many more)."""
    new: ast.expr | None = None
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[one, two, *_]) if name in _COMPARED:
            new = ast.Compare(left=one, ops=[_COMPARED[name]()], comparators=[two])
        case ast.Call(
            func=ast.Attribute(attr="assertTrue" | "assert_" | "failUnless"), args=[one, *_]
        ):
            return plain(one)
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
            left=inner, ops=[ast.Eq() | ast.Is()], comparators=[ast.Constant(bool(v))]
        ):
            if _is_bool(inner):
                return plain(inner if v else ast.UnaryOp(op=ast.Not(), operand=inner))
        case ast.UnaryOp(op=ast.Not(), operand=ast.UnaryOp(op=ast.Not(), operand=inner)):
            return plain(inner)
    return plain(ast.fix_missing_locations(ast.copy_location(new, node))) if new else node


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
