# ruff: noqa: D102 - the methods of a visitor are named after its nodes
"""Pure. The text of a test in which only what may change is left out.

Two sides of a test that differ by an expected literal, by a new name of what the code renamed, or
by what a call of a re-signed function hands over, have the same canonical text. Tolerances, inputs,
the way of comparing, and everything else stay in it.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import cast

from self_coding.audit.definitions import Place, Withdrawn
from self_coding.audit.strength import plain
from self_coding.audit.syntax import (
    bound,
    constant,
    constants,
    decorator_name,
    dotted,
    is_literal,
    name_of,
    strings,
    substitute,
    unparse,
)

LEFT_OUT = ast.Name("__", ast.Load())
RAISING = frozenset({"raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns"})
_BROAD = frozenset({"", "Exception", "BaseException", "AssertionError", "object", "Failed"})
_EXACT = (ast.Eq, ast.Is)


class Canonical(ast.NodeTransformer):
    """Makes nodes canonical; `handed` are the literals handed to functions that were re-signed.

    `renamed` are the old names of what the code renamed, by the new ones, `resigned` what has other
    parameters, `known` the literals that names stand for; `claims` leaves expected values out, and
    members of a display that name something `fresh` in the code are none.
    """

    def __init__(
        self,
        renamed: Mapping[str, str],
        resigned: Collection[str],
        known: Mapping[str, ast.expr],
        *,
        claims: bool,
        fresh: Collection[str] = (),
    ) -> None:
        self.renamed, self.resigned, self.known, self.claims = renamed, resigned, known, claims
        self.fresh = fresh
        self.handed: list[str] = []

    def lines(self, nodes: Iterable[ast.AST]) -> list[str]:
        """Return the canonical lines of some statements or expressions."""
        lines: list[str] = []
        for node in nodes:
            [copy] = ast.parse(unparse(node)).body  # the visitor writes into its tree
            lines += unparse(ast.fix_missing_locations(self.visit(copy))).splitlines()
        return lines

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.known:
            return self.known[node.id]
        return ast.Name(self.renamed.get(node.id, node.id), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and (own := dotted(node)) in self.known:
            return self.known[own]
        attr = self.renamed.get(node.attr, node.attr)
        return ast.Attribute(self.visit(node.value), attr, node.ctx)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        fresh, self.fresh = self.fresh, ()  # what is handed over stays an input
        called = cast("ast.Call", self.generic_visit(node))
        self.fresh = fresh
        if name_of(node.func) in self.resigned:
            values = [*called.args, *(keyword.value for keyword in called.keywords)]
            self.handed += [unparse(value) for value in values if is_literal(value)]
            odd = [
                v for v in values if not is_literal(v) and not isinstance(v, ast.Name | ast.Call)
            ]
            return ast.Call(called.func, odd, [])
        return called

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) == 1 and self._without_fresh(node.comparators[0]):
            match node.ops[0], node.comparators[0]:
                case ast.In() | ast.NotIn() as op, ast.Tuple(elts=[one]) | ast.List(elts=[one]):
                    node.ops = [ast.Is() if isinstance(op, ast.In) else ast.IsNot()]
                    node.comparators = [one]
        return self.generic_visit(node)

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        match node:  # all but what is fresh
            case ast.SetComp(
                ast.Name(id=name), [ast.comprehension(ast.Name(), over, [ast.Compare() as test])]
            ):
                if name_of(test.left) == name and name_of(test.comparators[0]) in self.fresh:
                    return cast("ast.AST", self.visit(over))
        return self.generic_visit(node)

    def _without_fresh(self, node: ast.AST) -> bool:
        """Take the members that name something fresh out of a display; return whether any did."""
        if not self.fresh or not isinstance(node, ast.Tuple | ast.List | ast.Set):
            return False
        kept = [one for one in node.elts if not self._is_fresh(one)]
        some = len(kept) < len(node.elts)
        node.elts = kept
        return some

    def _is_fresh(self, node: ast.AST) -> bool:
        return any(name_of(part) in self.fresh for part in ast.walk(node))

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        self._without_fresh(node)
        return self.generic_visit(node)

    def visit_List(self, node: ast.List) -> ast.AST:
        self._without_fresh(node)
        return self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> ast.AST:
        self._without_fresh(node)
        return self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        said = [unparse(key) for key in node.keys if key]
        kept = [  # a key that is there twice has the last value
            (key, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is None
            or said.count(unparse(key)) > 1
            or not (self._is_fresh(key) or self._is_fresh(value))
        ]
        node.keys, node.values = [key for key, _ in kept], [value for _, value in kept]
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        if node.body and isinstance(node.body[0], ast.Expr):
            text = isinstance(node.body[0].value, ast.Constant)
            node.body = (node.body[1:] if text else node.body) or [ast.Pass()]
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if not self.claims:
            return self.generic_visit(node)
        test = self.visit(plain(node.test, exactly=True))
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return _claim("truth", test.operand)
        match test:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._comparison(left, op, right)
            case ast.Call(func=function, args=[_, _, *_] as args, keywords=keywords):
                at = next((n for n, value in enumerate(args) if is_literal(value)), None)
                if at is None or all(
                    map(is_literal, args)
                ):  # what comes after it may be a tolerance
                    return _claim("truth", test)
                rest = [LEFT_OUT if n == at else value for n, value in enumerate(args)]
                return _claim("truth", ast.Call(function, rest, keywords))
        return _claim("truth", test)

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.AST:
        match left, op, right:
            case _, ast.Eq() | ast.Is(), _ if is_literal(left) != is_literal(right):
                return _claim("exact", left if is_literal(right) else right)
            case _, ast.Eq() | ast.Is() | ast.NotEq(), _ if not is_literal(left):
                called = {name_of(n.func) for n in ast.walk(left) if isinstance(n, ast.Call)}
                used = {name_of(n.func) for n in ast.walk(right) if isinstance(n, ast.Call)}
                match right:
                    case ast.Call(func=ast.Name(id="tuple" | "list"), args=[inner], keywords=[]):
                        right = inner  # of the same values, as exact
                expected = right if called & used else _Masked().visit(right)
                return _claim("exact" if isinstance(op, _EXACT) else "other", left, expected)
            case _, ast.In() | ast.NotIn(), _ if is_literal(left):
                return _claim("holds" if isinstance(op, ast.In) else "lacks", right, left)
            case ast.Call(args=[ast.BinOp(op=ast.Sub()) as apart]), _, _ if is_literal(apart.right):
                apart.right = LEFT_OUT  # `abs(f() - 5) < 1e-9`
        return ast.Assert(ast.Compare(left, [op], [right]))

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        match node.value:
            case ast.Call(func=ast.Attribute(attr=name)) as call if self.claims:
                said = plain(call, exactly=True)
                if said is not call:  # `self.assertEqual(a, b)`
                    return self.visit_Assert(ast.Assert(said))
                self.generic_visit(call)
                if name.startswith("assert") and any(map(is_literal, call.args)):
                    at = next(n for n, value in enumerate(call.args) if is_literal(value))
                    call.args[at] = call.args[at] if call.keywords else LEFT_OUT
                return node
        return self.generic_visit(node)

    def visit_With(self, node: ast.With) -> ast.AST:
        match node:
            case ast.With(
                items=[ast.withitem(context_expr=ast.Call(func=raising, args=[error, *_]) as call)]
            ) if self.claims and name_of(raising) in RAISING and name_of(error) not in _BROAD:
                texts = [unparse(k.value) for k in call.keywords if k.arg == "match"]
                if all(sum(map(str.isalnum, text)) > 2 for text in texts):
                    body = [self.visit(statement) for statement in node.body]
                    if len(body) == 1 and isinstance(body[0], ast.Expr):
                        return _claim("exact", body[0].value)
                    head = ast.withitem(ast.Call(raising, [LEFT_OUT], []))
                    return ast.With([head], body)
        return self.generic_visit(node)


class _Masked(ast.NodeTransformer):
    """Leaves literals out, but for those that say how exactly is compared."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return LEFT_OUT

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        return node  # which part of something is expected

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        keyed = all(isinstance(key, ast.Constant) for key in node.keys)
        return self.generic_visit(ast.Tuple(node.values, ast.Load()) if keyed else node)

    def visit_List(self, node: ast.List) -> ast.AST:
        return self.generic_visit(ast.Tuple(node.elts, ast.Load()))

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        return node if node.arg in {"rel", "abs", "nan_ok"} else self.generic_visit(node)


def _claim(kind: str, *values: ast.expr) -> ast.Expr:
    return ast.Expr(ast.Call(ast.Name(f"__{kind}__", ast.Load()), [*values], []))


def says_as_much(line: str, now: str) -> bool:
    """Return whether a claim may stand for another: more members are expected, another part is
    held or the same one lacking, or what functions answer is compared as which function it was."""
    margin, margin_now = line.partition("__")[0], now.partition("__")[0]
    if margin != margin_now or margin.strip() or not (line.strip() and now.strip()):
        return False
    match ast.parse(line.strip()).body[0], ast.parse(now.strip()).body[0]:
        case (
            ast.Expr(ast.Call(func=ast.Name(kind), args=[left, right])),
            ast.Expr(ast.Call(func=ast.Name(kind_now), args=[left_now, right_now])),
        ):
            if {kind, kind_now} <= {"__holds__", "__lacks__"} and covers(left, left_now):
                return covers(right, right_now) or (
                    kind == kind_now and _size(right_now) >= _size(right)
                )
            if {kind, kind_now} != {"__exact__"}:
                return False
            if covers(left, left_now):
                return covers(right, right_now, more=True)
            match left_now, right_now:
                case ast.Call(func=asked), ast.Call(func=answering):
                    return covers(left, asked) and covers(right, answering)
    return False


def _size(part: ast.expr) -> int:
    """Return how much a part says that must be in something; more than a few letters are enough."""
    text = constant(part)
    return min(len(text[0]), 4) if text and isinstance(text[0], str | bytes) else 4


def covers(old: ast.AST, new: ast.AST, *, more: bool = False) -> bool:
    """Return whether two expressions are the same, or with `more` but for literal members."""
    if ast.dump(old) == ast.dump(new):
        return True
    if not more or type(old) is not type(new):
        return False
    named = name_of(old.func) if isinstance(old, ast.Call) else ""
    made = named[:1].isupper() or named == "call"  # no tolerance
    if made or isinstance(old, ast.Tuple | ast.List | ast.keyword):
        parts, parts_now = ([*ast.iter_child_nodes(node)] for node in (old, new))
        left = iter(parts_now)
        extra = [*parts_now]
        for part in parts:
            found = next((one for one in left if covers(part, one, more=True)), None)
            if found is None:
                return False
            extra.remove(found)
        values = (one.value if isinstance(one, ast.keyword) else one for one in extra)
        return all(is_literal(v) or name_of(v) in {LEFT_OUT.id, "ANY"} for v in values)
    return False


def is_harmless(line: str, taken: Iterable[str]) -> bool:
    """Return whether a further line can only claim more, or bind a name that is not `taken`."""
    text = line.lstrip()
    if any(word in text for word in (":=", "lambda", "exec(", "setattr(")):
        return False
    if text.startswith(
        ("assert ", "__exact__(", "__truth__(", "__holds__(", "__lacks__(", "__other__(", "pass")
    ):
        return True
    name, equals, _ = text.partition(" = ")
    return bool(equals) and name.isidentifier() and name not in taken


class Side:
    """One side of a test, in its canonical form."""

    def __init__(self, code: Withdrawn, place: Place, *, fresh: Collection[str] = ()) -> None:
        self.place, self.function = place, place.function
        function, module = place.function, place.module
        own = constants(function.body)
        local = {*bound(function)} | {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
        self.known = {n: v for n, v in module.constants.items() if n not in local} | own
        self.known |= place.constants
        self.taken = module.bindings.keys()
        # A local literal is compared where it is used.
        body = [s for s in function.body if not ({*bound(s)} and {*bound(s)} <= own.keys())]
        canonical = Canonical(code.renamed, code.resigned, self.known, claims=True, fresh=fresh)
        self.lines = canonical.lines(body[1:] if ast.get_docstring(function) else body)
        self.handed = canonical.handed

    def unclaimed(self, now: Side) -> str:
        """Return what the other side does not claim, or does besides; empty where it says as much.

        Statements come in their order; claims between two of them in any.
        """
        taken = {*self.taken, *now.taken}
        used, floor, top = set[int](), 0, 0
        for line in self.lines:
            claims = is_harmless(line, ()) and " = " not in line.partition("(")[0]
            places = [i for i in range(floor if claims else top, len(now.lines)) if i not in used]
            at = next((i for i in places if now.lines[i] == line), None)
            if at is None:
                at = next((i for i in places if says_as_much(line, now.lines[i])), None)
            if at is None:
                shown = re.sub(r"^__\w+__\((.*)\)$", r"\1", line.strip())
                return f"nothing claims {shown!r} as strictly any more"
            used.add(at)
            top = max(top, at + 1)
            floor = floor if claims else top
        rest = (line for i, line in enumerate(now.lines) if i not in used)
        return (
            "" if all(is_harmless(line, taken) for line in rest) else "it does more than claim, now"
        )

    def cases(self, table: ast.expr, columns: list[str], free: set[str]) -> Counter[str] | None:
        """Return the cases of a table as text, without the values that are only expected."""
        rows = substitute(table, self.known)
        if not isinstance(rows, ast.List | ast.Tuple):
            return None
        found: Counter[str] = Counter()
        for row in rows.elts:
            many = isinstance(row, ast.Tuple | ast.List) and len(columns) > 1
            cells = row.elts if many and isinstance(row, ast.Tuple | ast.List) else [row]
            named = zip(columns, cells, strict=False)
            kept = [
                unparse(cell) for name, cell in named if name not in free or not is_literal(cell)
            ]
            found[", ".join((str(len(cells)), *kept))] += 1
        return found


def gives_cases(first: Side, second: Side, one: ast.expr, two: ast.expr) -> bool:
    """Return whether a decorator gives each case that another gave, but for expected values."""
    if not isinstance(one, ast.Call) or not isinstance(two, ast.Call):
        return False
    called = decorator_name(one) == decorator_name(two) == "parametrize"
    if (
        not called
        or len(one.args) != 2
        or len(two.args) != 2
        or unparse(one.args[0]) != unparse(two.args[0])
    ):
        return False
    if [unparse(k) for k in one.keywords] != [unparse(k) for k in two.keywords]:
        return False
    free = {  # parameters that are nothing but an expected value
        side.id
        for node in ast.walk(first.function)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.Is)
        for side in (node.left, node.comparators[0])
        if isinstance(side, ast.Name)
    }
    columns = re.findall(r"\w+", " ".join(strings(ast.walk(one.args[0]))))
    rows = first.cases(one.args[1], columns, free)
    rows_now = second.cases(two.args[1], columns, free)
    return rows is not None and rows_now is not None and not rows - rows_now
