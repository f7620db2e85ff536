"""Marks that keep a test from running or from counting.

Pure. One without a condition, or whose condition may turn elsewhere or tomorrow, is a finding
unless the test was skipped before. What any other condition does is seen when the tests run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from self_coding.audit.syntax import (
    assigned,
    calls,
    constant,
    dotted,
    enclosing,
    finding,
    is_empty,
    name_of,
    parse,
    unparse,
    walk_own,
)
from self_coding.audit.test_modules import Module, Test
from self_coding.values.verdicts import Finding

_SKIPS = {
    **dict.fromkeys(("skip", "skipif", "skipIf", "skipUnless"), "test-skipped"),
    **dict.fromkeys(("skipTest", "SkipTest"), "test-skipped"),
    **dict.fromkeys(("xfail", "expectedFailure"), "test-xfailed"),
}
_BARE = {"skip", "xfail", "expectedFailure"}
_CALLS = {"pytest.skip", "pytest.xfail", "self.skipTest", "cls.skipTest"}
_RAISED = re.compile(r"SkipTest|(?:skip|xfail)\.Exception|\b(?:Skipped|XFailed)\b")
_SET_UP = re.compile(r"(?i)set_?up")
# what may say another thing tomorrow, or elsewhere, than it says in the run
_CHANGES = re.compile(r"\b(?:environ|getenv|time|date|datetime|today|now|random|argv)\b")


@dataclass(frozen=True)
class Mark:
    """What keeps a test from counting: the rule, its line and text, whether that is so only
    `sometimes`, and whether it may be so here."""

    rule: str
    line: int
    text: str
    sometimes: bool
    holds: bool

    def is_new(self, had: list[Mark]) -> bool:
        """Return whether it may hold, and no mark kept the test from counting as often."""
        return self.holds and not any(
            mark.rule in {self.rule, "test-skipped"} and mark.sometimes <= self.sometimes
            for mark in had
        )


def compare_marks(old: Test | None, new: Test, before: Module, after: Module) -> Iterator[Finding]:
    """Yield marks and calls that keep a test from counting now, and did not before."""
    had = [*(_test_marks(old, before) if old else ()), *_module_marks(before)]
    for mark in _test_marks(new, after):
        if mark.is_new(had):
            yield new.finding(mark.rule, f"{new.name} is marked `{mark.text}`", mark.line)


def compare_module_marks(before: Module, after: Module) -> Iterator[Finding]:
    """Yield the same for marks of a whole module (`pytestmark`, a skip at import, a set-up)."""
    had = list(_module_marks(before))
    each = [list(_test_marks(test, before)) for test in before.tests if test.collected]
    for mark in _module_marks(after):
        moved = bool(each) and not any(mark.is_new(marks) for marks in each)
        if not moved and mark.is_new(had):
            message = f"the whole module is marked `{mark.text}`"
            yield finding(mark.rule, after.path, mark.line, message)
    for test in after.tests:
        if _SET_UP.match(test.short_name) and test.name not in before.by_name:
            yield from compare_marks(None, test, before, after)


def is_off(test: Test, module: Module) -> bool:
    """Return whether a test never runs, or may fail as it likes."""
    return any(mark.holds and not mark.sometimes for mark in _test_marks(test, module))


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
        if _skips(node):
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
            sometimes, holds = _around(node, scope, module)
            if "pytestmark" in names:
                for mark in _marks_in(value, module):
                    rare, both = mark.sometimes or sometimes, mark.holds and holds
                    yield replace(mark, sometimes=rare, holds=both)
            elif constant(value) != (False,):
                yield Mark("test-skipped", value.lineno, unparse(node), sometimes, holds)


def _marks_in(decorator: ast.expr, module: Module) -> Iterator[Mark]:
    """Yield skip marks anywhere in a decorator, those inside parameter sets too."""
    # the name in a call is judged with the call, by its condition
    functions = {id(call.func) for call in calls(decorator)}
    sets = [call for call in calls(decorator) if name_of(call.func) == "param"]
    partial = {id(node) for call in sets for node in ast.walk(call)}
    for node in ast.walk(decorator):
        in_one_case = id(node) in partial
        if isinstance(node, ast.Call):
            yield from _mark(node, module, in_one_case)
            if name_of(node.func) == "parametrize" and len(node.args) > 1:
                values = node.args[1]
                if isinstance(values, ast.Name):
                    values = module.value(values.id) or values
                if is_empty(values):
                    yield Mark("test-skipped", node.lineno, unparse(node), in_one_case, holds=True)
        elif isinstance(node, ast.Attribute | ast.Name):
            value = module.value(node.id) if isinstance(node, ast.Name) else None
            if value is not None and value is not decorator and node is decorator:
                yield from _marks_in(value, module)
            elif name_of(node) in _BARE and id(node) not in functions:
                yield from _mark(node, module, in_one_case)


def _mark(
    node: ast.AST, module: Module, sometimes: bool = False, holds: bool = True
) -> Iterator[Mark]:
    name = name_of(node.func if isinstance(node, ast.Call) else node)
    rule = "test-skipped" if isinstance(node, ast.Raise) else _SKIPS.get(name)
    if rule is None:
        return
    if isinstance(node, ast.Call):
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        first = node.args[0] if node.args else given.get("condition")
        if first is not None and (
            name in {"skipif", "skipIf", "skipUnless"}
            or (name == "xfail" and dotted(node.func) != "pytest.xfail")
        ):
            if name == "skipUnless":
                first = ast.UnaryOp(op=ast.Not(), operand=first)
            may, must = _may_hold(first, module)
            sometimes, holds = sometimes or not must, holds and may
        if name == "xfail":  # what bounds it counts as a condition
            bounds = [given[key] for key in ("strict", "raises") if key in given]
            sometimes = sometimes or any(constant(bound) != (False,) for bound in bounds)
    yield Mark(rule, int(getattr(node, "lineno", 0)), unparse(node), sometimes, holds)


def _around(node: ast.AST, scope: ast.AST, module: Module) -> tuple[bool, bool]:
    """Return whether a statement of a scope is run on some condition, and whether all of its
    conditions may hold here."""
    sometimes, holds = False, True
    for outer, inside in enclosing(scope, node):
        if isinstance(outer, ast.If):
            test = outer.test if inside else ast.UnaryOp(op=ast.Not(), operand=outer.test)
            may, must = _may_hold(test, module)
            sometimes, holds = sometimes or not must, holds and may
        elif isinstance(outer, ast.ExceptHandler):
            absent = name_of(outer.type) in {"ImportError", "ModuleNotFoundError"}
            sometimes, holds = True, holds and not absent
    return sometimes, holds


def is_for_the_run(node: ast.AST, module: Module) -> bool:
    """Return whether the run shows if a statement of a module counts: it has such a condition."""
    return not _around(node, module.tree, module)[1]


def _may_hold(condition: ast.expr, module: Module) -> tuple[bool, bool]:
    """Return whether a skip condition counts as one that may hold, and whether it must hold.

    What somebody set in the test's module may, and what may be another tomorrow or elsewhere. All
    else is left to the run, which refuses a test that ran on the base and is skipped now.
    """
    read: ast.expr | None = condition
    if isinstance(condition, ast.Constant) and isinstance(condition.value, str):
        tree = parse(condition.value.strip())  # pytest evaluates it
        statement = tree.body[0] if tree is not None and len(tree.body) == 1 else None
        read = statement.value if isinstance(statement, ast.Expr) else None
    value = constant(read) if read is not None else None
    if value is not None:
        return bool(value[0]), bool(value[0])
    names = {name_of(n) for n in ast.walk(condition)}
    own = {name: said for name in names if (said := module.value(name)) is not None}
    flags = (n for n, said in own.items() if constant(said) and len(module.bindings[n]) == 1)
    text = "\n".join(map(unparse, (condition, *own.values())))
    unknown = read is None or next(flags, "") or _CHANGES.search(text)
    return bool(unknown), False
