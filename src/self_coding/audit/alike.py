# ruff: noqa: PLR0911 - one return for each shape of a claim
"""Pure. Does a test still say what it said, with nothing but another expected value?

Two syntax trees are walked side by side. A literal on the expected side of an exact comparison may
differ; a call of what the code re-signed or renamed may follow it. Whatever else a test uses, its
helpers, fixtures, classes, constants, and cases, must be what it was, wherever it is defined.
"""

from __future__ import annotations

import ast
import re
import unittest
from collections.abc import Iterable, Sequence

from self_coding.audit.judging_modules import (
    LITERAL,
    Change,
    Module,
    constants,
    members,
    without_docstring,
)
from self_coding.audit.syntax import (
    Function,
    bound,
    decorator_name,
    name_of,
    substitute,
    unparse,
)

_EXACT = (ast.Eq, ast.Is)
_BROAD = frozenset({"Exception", "BaseException", "AssertionError", "object", "Failed"})
_RAISING = frozenset({"raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns"})
_HARMLESS_FIXTURES = frozenset({"tmp_path", "capsys", "caplog", "request"})


class Alike:
    """Compares what two modules hold under the same or corresponding names.

    `reason` is what was found first to differ by more than a literal.
    """

    def __init__(
        self,
        change: Change,
        before: Module,
        after: Module,
        seen: dict[tuple[str, str, str, str], bool] | None = None,
    ) -> None:
        self.change, self.before, self.after = change, before, after
        self.seen = {} if seen is None else seen
        self.local: set[str] = set()
        self.constants: tuple[dict[str, ast.expr], dict[str, ast.expr]] = (
            constants(before.tree.body),
            constants(after.tree.body),
        )
        self.claims = 0
        self.reason = ""

    def tests(self, old: str, new: str) -> bool:
        """Return whether the test `new` still says what `old` said."""
        *outer, one = self.before.tests[old]
        *now_outer, two = self.after.tests[new]
        assert isinstance(one, Function)
        assert isinstance(two, Function)
        if len(outer) != len(now_outer):
            return self._no("it is in another kind of class")
        for a, b in zip(outer, now_outer, strict=True):
            if not self._class(a, b, tests=False):
                return self._no(f"its class {getattr(b, 'name', '')} changes")
        self._enter(one, two)
        cases = self._decorators(one, two)
        names, now = ([a.arg for a in f.args.args] for f in (one, two))
        added = [name for name in now if name not in names]
        if not cases or [n for n in now if n not in added] != names:
            return self._no("its decorators, cases or parameters change")
        if not {*added} <= _HARMLESS_FIXTURES:
            return self._no(f"it uses the fixture {added[0]} now")
        for name in names:
            if not self._fixture(name):
                return self._no(f"its fixture {name} changes")
        if type(one) is not type(two) or not self._body(one.body, two.body, claims=True):
            return self._no("it does not say as much as before")
        return True

    def _no(self, reason: str) -> bool:
        self.reason = self.reason or reason
        return False

    def _enter(self, one: ast.AST, two: ast.AST) -> None:
        """Take the local names of two functions into account."""
        for node in (one, two):
            for inner in ast.walk(node):
                if isinstance(inner, ast.arg):
                    self.local.add(inner.arg)
            self.local |= {*bound(node)} - {getattr(node, "name", "")}
        for known, node in zip(self.constants, (one, two), strict=True):
            own = constants(getattr(node, "body", []))
            shadowed = {*bound(node)} - own.keys()
            for name in shadowed & known.keys():
                del known[name]
            known.update(own)

    # --- what is around a test

    def _class(self, one: ast.AST, two: ast.AST, *, tests: bool) -> bool:
        if not isinstance(one, ast.ClassDef) or not isinstance(two, ast.ClassDef):
            return False
        heads = ([*node.bases, *node.keywords, *node.decorator_list] for node in (one, two))
        if not self._list(*heads):
            return False
        held, held_now = (dict(members(side)) for side in (one, two))
        for name, member in held.items():
            if name.startswith("test") and not tests:
                continue
            if name not in held_now or not self._node(member, held_now[name]):
                return name in self.change.gone
        fresh = held_now.keys() - held.keys()
        special = {n for n in fresh if n.startswith(("__", "setup", "teardown", "pytest"))}
        return not special and not any(hasattr(unittest.TestCase, name) for name in fresh)

    def _decorators(self, one: ast.AST, two: ast.AST) -> bool:
        """Return whether two functions have the same decorators, and no fewer cases."""
        before, after = (getattr(node, "decorator_list", []) for node in (one, two))
        if len(before) != len(after):
            return False
        free = {  # parameters that are nothing but an expected value
            name
            for node in ast.walk(one)
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], _EXACT)
            for side in (node.left, node.comparators[0])
            if isinstance(side, ast.Name) and (name := side.id)
        }
        for a, b in zip(before, after, strict=True):
            if self._node(a, b):
                continue
            match a, b:
                case ast.Call(args=[names, rows]), ast.Call(args=[names_now, rows_now]) if (
                    decorator_name(a) == decorator_name(b) == "parametrize"
                    and self._node(a.func, b.func)
                    and self._node(names, names_now)
                    and self._list(a.keywords, b.keywords)
                ):
                    if not self._cases(names, rows, rows_now, free):
                        return False
                case _:
                    return False
        return True

    def _cases(self, names: ast.expr, rows: ast.expr, now: ast.expr, free: set[str]) -> bool:
        """Return whether each case is still there, but for its expected values."""
        value = names.value if isinstance(names, ast.Constant) else ""
        columns = re.findall(r"\w+", value) if isinstance(value, str) else []
        full, full_now = (
            substitute(side, known) for side, known in zip((rows, now), self.constants, strict=True)
        )
        if not isinstance(full, ast.List | ast.Tuple) or not isinstance(full_now, type(full)):
            return False
        left = list(full_now.elts)
        for row in full.elts:
            cells = (
                row.elts if isinstance(row, ast.Tuple | ast.List) and len(columns) > 1 else [row]
            )
            for other in left:
                many = isinstance(other, ast.Tuple | ast.List) and len(columns) > 1
                others = other.elts if many and isinstance(other, ast.Tuple | ast.List) else [other]
                if len(cells) == len(others) and all(
                    self._node(a, b, loose=name in free)
                    for name, a, b in zip(columns, cells, others, strict=False)
                ):
                    left.remove(other)
                    break
            else:
                return False
        return True

    def _fixture(self, name: str) -> bool:
        """Return whether the nearest definition of a fixture is what it was."""
        found = []
        for start, get in (
            (self.before, self.change.base_modules),
            (self.after, self.change.candidate_modules),
        ):
            folder, module = start.path.rpartition("/")[0], start
            while name not in module.bindings:
                conftest = get(f"{folder}/conftest.py" if folder else "conftest.py")
                module = conftest or Module("", ast.Module([], []), frozenset())
                if not folder:
                    break
                folder = folder.rpartition("/")[0]
            found.append(module)
        one, two = found
        if name not in one.bindings or name not in two.bindings:
            return name not in one.bindings and name not in two.bindings
        return Alike(self.change, one, two, self.seen)._binding(name, name)

    def _binding(self, old: str, new: str) -> bool:
        """Return whether a name of the module is still bound to the same thing."""
        key = (self.before.path, old, self.after.path, new)
        if key in self.seen:
            return self.seen[key]
        self.seen[key] = True  # as long as it is looked at: helpers may call each other
        one, two = self.before.bindings.get(old, []), self.after.bindings.get(new, [])
        if not one and not two:
            same = old == new  # a builtin
        elif len(one) == len(two) and old in self.before.full and new in self.after.full:
            same = self._imported(self.before.full[old], self.after.full[new])
        else:
            same = old == new and self._list(one, two)
        self.seen[key] = same
        return same

    def _imported(self, old: str, new: str) -> bool:
        path, rest = self.before.find(old)
        there, rest_now = self.after.find(new)
        if old != new:
            last, last_now = old.rpartition(".")[2], new.rpartition(".")[2]
            same = last == last_now or self._renamed(last, last_now)
            code = bool(path or not there) and not self.change.judges(there)
            return same and code and old.partition(".")[0] == new.partition(".")[0]
        if path != there:
            return False
        if not self.change.judges(path):
            return True
        before, after = self.change.base_modules(path), self.change.candidate_modules(path)
        if before is None or after is None:
            return False
        inner = Alike(self.change, before, after, self.seen)
        names = [rest.partition(".")[0]] if rest else [*before.bindings]
        return rest == rest_now and all(inner._binding(name, name) for name in names)

    def _renamed(self, old: str, new: str) -> bool:
        return old in self.change.gone and new in self.change.new

    # --- statements

    def _body(self, one: Sequence[ast.stmt], two: Sequence[ast.stmt], *, claims: bool) -> bool:
        """Return whether all of `one` is in `two`, in order, and nothing else gets in its way."""
        one, two = without_docstring(one), without_docstring(two)
        if not claims:
            return self._list(one, two)
        left = list(two)
        for statement in one:
            at = next((n for n, s in enumerate(left) if self._statement(statement, s)), None)
            if at is None:
                used = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
                used |= {n.attr for n in ast.walk(statement) if isinstance(n, ast.Attribute)}
                if self.claims and used & self.change.gone:
                    continue
                return self._no(f"line {statement.lineno} of the base's has no counterpart")
            if not all(map(self._harmless, left[:at])):
                return False
            del left[: at + 1]
        return all(map(self._harmless, left))

    def _harmless(self, statement: ast.stmt) -> bool:
        """Return whether a further statement can only claim more, or prepare that."""
        if any(isinstance(n, ast.NamedExpr | ast.Lambda) for n in ast.walk(statement)):
            return False
        match statement:
            case ast.Assert() | ast.Pass():
                return True
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name))):
                return name.startswith("assert")
            case ast.With(items=[ast.withitem(context_expr=ast.Call(func=raising))]):
                return name_of(raising) in _RAISING
            case ast.Assign(targets=[ast.Name(id=name)]):
                return name not in self.before.bindings and name not in self.after.bindings
        return False

    def _statement(self, one: ast.stmt, two: ast.stmt) -> bool:
        if isinstance(one, ast.Assign) and isinstance(two, ast.Assign):
            literal = [self._literal(s.value, n) for n, s in enumerate((one, two))]
            if all(literal) and unparse(one.targets[0]) == unparse(two.targets[0]):
                return isinstance(one.targets[0], ast.Name)  # it is compared where it is used
        if self._claims(one, two):
            self.claims += 1
            return True
        if type(one) is not type(two) or not hasattr(one, "body"):
            return self._node(one, two)
        for name in one._fields:
            a, b = getattr(one, name), getattr(two, name)
            if name in {"body", "orelse", "finalbody"}:
                if not self._body(a, b, claims=True):
                    return False
            elif not self._any(a, b):
                return False
        return True

    def _claims(self, one: ast.stmt, two: ast.stmt) -> bool:
        match one, two:
            case ast.Assert(test=a), ast.Assert(test=b):
                return self._claim(a, b)
            case (
                ast.Expr(value=ast.Call(func=ast.Attribute() as f, args=args) as a),
                ast.Expr(value=ast.Call(func=ast.Attribute() as g, args=args_now) as b),
            ) if f.attr.startswith("assert") and g.attr.startswith("assert"):
                flipped = {f.attr, g.attr} == {"assertTrue", "assertFalse"}
                same = f.attr == g.attr or flipped
                if not same or not self._node(f.value, g.value) or len(args) != len(args_now):
                    return False
                differ = [
                    (x, y) for x, y in zip(args, args_now, strict=True) if not self._node(x, y)
                ]
                literal = len(differ) == 1 and self._expected(*differ[0], args)
                return self._list(a.keywords, b.keywords) and (not differ or literal)
            case (
                ast.With(items=[ast.withitem(context_expr=ast.Call() as a)], body=body),
                ast.With(items=[ast.withitem(context_expr=ast.Call() as b)], body=body_now),
            ) if name_of(a.func) in _RAISING and self._node(a.func, b.func):
                return self._raises(a, b) and self._body(body, body_now, claims=False)
            case (
                ast.With(items=[ast.withitem(context_expr=ast.Call() as a)], body=[ast.Expr(c)]),
                ast.Assert(test=ast.Compare(left=left, ops=[op], comparators=[right])),
            ) if name_of(a.func) in _RAISING and isinstance(op, _EXACT):
                return self._node(c, left) and self._literal(right, 1)
            case (
                ast.Assert(test=ast.Compare(left=left)),
                ast.With(items=[ast.withitem(context_expr=ast.Call() as b)], body=[ast.Expr(c)]),
            ) if name_of(b.func) in _RAISING:
                return self._node(left, c) and self._raises(b, b)
        return False

    def _raises(self, one: ast.Call, two: ast.Call) -> bool:
        """Return whether an expected exception is as narrow as another one."""
        if not two.args or name_of(two.args[0]) in {"", *_BROAD} or len(one.args) > len(two.args):
            return False
        before, after = ({k.arg: k.value for k in call.keywords} for call in (one, two))
        for name in before:
            text = after.get(name)
            if text is None or not isinstance(text, ast.Constant):
                return text is not None and self._node(before[name], text)
            if len(re.findall(r"\w", str(text.value))) < 3:
                return False
        return True

    # --- expressions

    def _claim(self, one: ast.expr, two: ast.expr) -> bool:
        """Return whether an assertion says what another said, of another literal at most."""
        if self._node(one, two):
            return True
        bare = isinstance(two, ast.UnaryOp) and isinstance(two.op, ast.Not)
        match one, two:
            case ast.BoolOp(op=ast.And(), values=values), ast.BoolOp(op=ast.And(), values=now):
                return all(any(self._claim(a, b) for b in now) for a in values)
            case ast.UnaryOp(op=ast.Not(), operand=inner), _ if not bare:
                return self._claim(inner, two)
            case _, ast.UnaryOp(op=ast.Not(), operand=inner) if not isinstance(one, ast.UnaryOp):
                return self._node(one, inner)
            case (
                ast.Compare(left=left, ops=[op], comparators=[right]),
                ast.Compare(left=left_now, ops=[op_now], comparators=[right_now]),
            ):
                return self._comparison((left, op, right), (left_now, op_now, right_now))
            case ast.Call(), ast.Compare(left=left, ops=[op], comparators=[right]):
                return isinstance(op, _EXACT) and self._node(one, left) and self._literal(right, 1)
            case ast.Call(args=args), ast.Call(args=now) if len(args) == len(now) > 1:
                differ = [(a, b) for a, b in zip(args, now, strict=True) if not self._node(a, b)]
                first = next((a for n, a in enumerate(args) if self._literal(args[n], 0)), None)
                return (
                    self._node(one.func, two.func)
                    and self._list(one.keywords, two.keywords)
                    and len(differ) == 1
                    and differ[0][0] is first  # what comes after it may be a tolerance
                    and self._expected(*differ[0], args)
                )
        return False

    def _comparison(
        self,
        one: tuple[ast.expr, ast.cmpop, ast.expr],
        two: tuple[ast.expr, ast.cmpop, ast.expr],
    ) -> bool:
        (left, op, right), (left_now, op_now, right_now) = one, two
        if isinstance(op_now, _EXACT):
            if self._node(left, left_now) and self._expected(right, right_now, [left]):
                return True
            return (
                self._literal(left, 0)
                and self._node(right, right_now)
                and self._expected(left, left_now, [right])
            )
        if type(op) is type(op_now) and isinstance(op, ast.NotEq | ast.IsNot):
            return self._node(left, left_now) and self._expected(right, right_now, [left])
        if isinstance(op, ast.In | ast.NotIn) and isinstance(op_now, ast.In | ast.NotIn):
            needles = [unparse(side) for side in (left, left_now)]
            literal = self._literal(left, 0) and self._literal(left_now, 1)
            enough = len(needles[1]) - 2 >= max(3, (len(needles[0]) - 2) // 2)
            same = type(op) is type(op_now) or needles[0] == needles[1]
            return self._node(right, right_now) and literal and enough and same
        if type(op) is not type(op_now) or not self._node(right, right_now):
            return False
        match left, left_now:  # `abs(f() - 5) < 1e-9`
            case (
                ast.Call(args=[ast.BinOp(left=a, op=ast.Sub(), right=b)]),
                ast.Call(args=[ast.BinOp(left=c, op=ast.Sub(), right=d)]),
            ) if self._node(left.func, left_now.func):
                return self._node(a, c) and self._literal(b, 0) and self._literal(d, 1)
        return False

    def _expected(self, one: ast.expr, two: ast.expr, subjects: Iterable[ast.expr]) -> bool:
        """Return whether an expected value differs from another by literals at most."""
        if self._literal(two, 1) and not isinstance(one, ast.Name):
            return True
        called = {name_of(n.func) for s in subjects for n in ast.walk(s) if isinstance(n, ast.Call)}
        used = {name_of(n.func) for n in ast.walk(two) if isinstance(n, ast.Call)}
        return not called & used and self._node(one, two, loose=True)

    def _literal(self, node: ast.expr, side: int) -> bool:
        """Return whether an expression is made of literals, by way of constants' names as well."""
        full = substitute(node, self.constants[side])
        return all(isinstance(part, LITERAL) for part in ast.walk(full))

    def _list(self, one: Sequence[ast.AST], two: Sequence[ast.AST]) -> bool:
        return len(one) == len(two) and all(map(self._node, one, two))

    def _any(self, one: object, two: object, *, loose: bool = False) -> bool:
        if isinstance(one, list) and isinstance(two, list):
            same = len(one) == len(two)
            return same and all(self._any(a, b, loose=loose) for a, b in zip(one, two, strict=True))
        if isinstance(one, ast.AST) and isinstance(two, ast.AST):
            return self._node(one, two, loose=loose)
        return one == two

    def _node(self, one: ast.AST, two: ast.AST, *, loose: bool = False) -> bool:
        """Return whether two nodes mean the same; with `loose` literals may differ."""
        texts = [
            unparse(substitute(node, self.constants[side]))
            for side, node in enumerate((one, two))
            if isinstance(node, ast.expr) and self._literal(node, side)
        ]
        if len(texts) == 2:
            return loose or texts[0] == texts[1]
        if type(one) is not type(two):
            return False
        match one, two:
            case ast.Name(id=a), ast.Name(id=b):
                if a in self.local or b in self.local:
                    return a == b
                return (a == b or self._renamed(a, b)) and self._binding(a, b)
            case ast.Attribute(attr=a), ast.Attribute(attr=b):
                same = a == b or self._renamed(a, b)
                return same and self._node(one.value, two.value, loose=loose)
            case ast.Call(), ast.Call():
                return self._call(one, two, loose=loose)
            case ast.ClassDef(), ast.ClassDef():
                return one.name == two.name and self._class(one, two, tests=True)
            case (
                ast.FunctionDef() | ast.AsyncFunctionDef(),
                ast.FunctionDef() | ast.AsyncFunctionDef(),
            ):
                inner = Alike(self.change, self.before, self.after, self.seen)
                inner.local |= self.local
                inner._enter(one, two)
                return (
                    one.name == two.name
                    and inner._node(one.args, two.args)
                    and inner._list(one.decorator_list, two.decorator_list)
                    and inner._body(one.body, two.body, claims=False)
                    and all(self._fixture(a.arg) for a in one.args.args if one.decorator_list)
                )
        keep = isinstance(one, ast.keyword) and one.arg in {
            "rel",
            "abs",
            "places",
            "delta",
            "match",
        }
        return all(
            self._any(getattr(one, name), getattr(two, name), loose=loose and not keep)
            for name in one._fields
            if name not in {"type_comment", "kind", "ctx", "returns", "annotation", "type_params"}
        )

    def _call(self, one: ast.Call, two: ast.Call, *, loose: bool) -> bool:
        if not self._node(one.func, two.func):
            return False
        same = self._any(one.args, two.args, loose=loose)
        if same and self._any(one.keywords, two.keywords, loose=loose):
            return True
        name = name_of(one.func)
        if name not in self.change.resigned and name not in self.change.gone:
            return False
        # Its parameters changed: what was handed over still is, and there may be more of it.
        values, now = ([*c.args, *(k.value for k in c.keywords)] for c in (one, two))
        odd = any(isinstance(n, ast.Lambda | ast.NamedExpr) for v in now for n in ast.walk(v))
        missing = [v for v in values if not any(self._node(v, other) for other in now)]
        return not odd and len(missing) <= max(0, len(values) - len(now))
