"""A test module as the tests and helpers in it, the way pytest would collect them.

Pure. A module that Python rejects has no reading (None); the caller compares its text.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from self_coding.audit.claims import Claim, claims_of
from self_coding.audit.files import Files, Kind, Settings, is_collected, kind_of
from self_coding.audit.syntax import (
    Function,
    assigned,
    bound,
    constant,
    constants,
    decorator_name,
    finding,
    imports,
    name_of,
    nodes,
    parse,
    strings,
    unparse,
    walk_own,
)
from self_coding.values.verdicts import Finding

_SWITCHES = frozenset({"pytest_plugins", "pytestmark", "collect_ignore", "collect_ignore_glob"})
_SET_UPS = frozenset(
    {
        *("setup_module", "setupmodule", "teardown_module", "teardownmodule", "load_tests"),
        *("setup_function", "teardown_function"),
    }
)
_AWAITING = re.compile(r"Isolated|[aA]sync(?! def)|aio|django|twisted|tornado")
_EVERYWHERE = frozenset({"", "self", "pytest", "raises", "mark", "parametrize", *dir(builtins)})


@dataclass(frozen=True)
class Test:
    """A function of a test module: `name` is qualified by its class, `collected` is whether
    pytest runs it by itself. `helpers` are the module's functions that assert, `idle` those that
    do not."""

    __test__ = False  # pytest: a value, not a test class

    path: str
    name: str
    node: Function
    owner: ast.ClassDef | None
    collected: bool
    source: str
    helpers: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Its assertions, in order."""
        return claims_of(self.node, self.helpers, self.idle)

    @cached_property
    def live(self) -> tuple[Claim, ...]:
        """The claims that are reached and can fail."""
        return tuple(claim for claim in self.claims if claim.counts)

    @property
    def strength(self) -> int:
        """How much it claims in all."""
        return sum(claim.strength for claim in self.live)

    @property
    def short_name(self) -> str:
        """The name without the class."""
        return self.name.rpartition(".")[2]

    @cached_property
    def body(self) -> str:
        """Its statements as text, without the docstring; "" where it does nothing."""
        documented = ast.get_docstring(self.node, clean=False) is not None
        text = "\n".join(map(unparse, self.node.body[documented:]))
        return "" if text in {"pass", "..."} else text

    @cached_property
    def words(self) -> frozenset[str]:
        """The words that its statements are written with."""
        return frozenset(re.findall(r"\w+", self.body))

    @cached_property
    def yields(self) -> bool:
        """Whether it is a generator, which pytest does not run."""
        return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in walk_own(self.node))

    @cached_property
    def decorators(self) -> tuple[ast.expr, ...]:
        """Its decorators, then those of its class."""
        return (*self.node.decorator_list, *(self.owner.decorator_list if self.owner else ()))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that it calls, reads from or imports, without its own and every test's."""
        names: set[str] = set()
        own = {
            n.id
            for n in nodes(self.node)
            if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
        }
        for node in nodes(self.node):
            match node:
                case ast.Attribute(attr=name):
                    names.add(name)
                case ast.Name(id=name) if name not in own:
                    names.add(name)
                case ast.Import() | ast.ImportFrom():
                    modules = [alias.name.rpartition(".")[2] for alias in node.names]
                    names |= {*modules, *(f"{module}.py" for module in modules)}
                    if isinstance(node, ast.ImportFrom) and node.module:
                        names.add(f"{node.module.rpartition('.')[2]}.py")
                case ast.keyword(arg=name):
                    names.add(f"{name}=")
                case ast.Constant(value=value) if str(value).isidentifier():
                    names.add(str(value))
        return frozenset(n for n in names - _EVERYWHERE if not n.startswith("assert"))

    def finding(self, rule: str, message: str, at: ast.AST | int | None = None) -> Finding:
        """Return what a rule says of it, at its head or at a place in it."""
        return finding(rule, self.path, self.node if at is None else at, message)

    def is_same(self, other: Test | None) -> bool:
        """Return whether another function has the same source."""
        return other is not None and other.source == self.source

    def likeness(self, other: Test) -> float:
        """Return the share of the names of both that they have in common."""
        one, two = ({name.lower() for name in test.names} for test in (self, other))
        return len(one & two) / len(one | two) if one | two else 0.0


@dataclass(frozen=True)
class Module:
    """One parsed test module; `frame` is its text without the functions."""

    path: str
    tree: ast.Module
    tests: tuple[Test, ...]
    frame: str

    @cached_property
    def imports(self) -> dict[str, str]:
        """The names that it imports, with what they stand for in full."""
        return imports(self.tree)

    @cached_property
    def by_name(self) -> dict[str, Test]:
        """Functions by qualified name; of several with one name the last one counts."""
        return {test.name: test for test in self.tests}

    def value(self, name: str) -> ast.expr | None:
        """Return what the module assigns to a name at its top level, last."""
        for node in reversed(self.bindings.get(name, [])):
            if isinstance(node, ast.Assign | ast.AnnAssign):
                return node.value
        return None

    @cached_property
    def bindings(self) -> dict[str, list[ast.AST]]:
        """The statements that bind each name, at the top or within a statement there."""
        found: dict[str, list[ast.AST]] = {}
        for node in _statements(self.tree.body):
            names = [node.name] if isinstance(node, Function | ast.ClassDef) else [*bound(node)]
            for name in dict.fromkeys(names):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """The names that stand for literals."""
        return constants(self.tree.body)

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """The classes by name, those inside others as `Outer::Inner`."""
        found: dict[str, ast.ClassDef] = {}
        pending: list[tuple[str, ast.AST]] = [("", self.tree)]
        while pending:
            scope, parent = pending.pop()
            for node in _statements(getattr(parent, "body", [])):
                if isinstance(node, ast.ClassDef):
                    found[scope + node.name] = node
                    pending.append((f"{scope}{node.name}::", node))
        return found

    @cached_property
    def functions(self) -> dict[str, Function]:
        """The functions of its tests by the end of their ids: `Class::name`."""
        scopes: dict[str, ast.Module | ast.ClassDef] = {"": self.tree}
        scopes |= {f"{name}::": one for name, one in self.classes.items()}
        return {
            scope + node.name: node
            for scope, parent in scopes.items()
            for node in _statements(parent.body)
            if isinstance(node, Function) and node.name.startswith("test")
        }

    @cached_property
    def reach(self) -> frozenset[str]:
        """What of it reaches tests that do not name it: hooks, automatic fixtures, effects."""
        found = set()
        for node in _statements(self.tree.body):
            if isinstance(node, Function):
                automatic = any("autouse" in unparse(one) for one in node.decorator_list)
                named = node.name.startswith("pytest_") or node.name.lower() in _SET_UPS
                if named or automatic:
                    found.add(unparse(node))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                if any(a.name == "*" or a.name.startswith("pytest_") for a in node.names):
                    found.add(unparse(node))
            elif not isinstance(node, ast.ClassDef | ast.Pass):
                simple = isinstance(node, ast.Assign | ast.AnnAssign)
                names = {*bound(node)}
                stored = [t for t in assigned(node) if not isinstance(t, ast.Name | ast.Tuple)]
                text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                special = names & _SWITCHES or any(n.startswith("pytest_") for n in names)
                if not text and (not simple or stored or special):
                    found.add(unparse(node))
        return frozenset(found)

    def find(self, full: str, paths: Collection[str]) -> tuple[str, str]:
        """Return the file that a full name is in, by where imports may start; and what of it."""
        folder = self.path.rpartition("/")[0]
        dots = len(full) - len(full.lstrip("."))
        parts = full.lstrip(".").split(".")
        above = [folder]
        while above[-1]:
            above.append(above[-1].rpartition("/")[0])
        roots = [above[min(dots - 1, len(above) - 1)]] if dots else [*above, "tests", "test", "src"]
        for end in range(len(parts), 0, -1):
            for root in roots:
                place = "/".join([*([root] if root else []), *parts[:end]])
                for path in (f"{place}/__init__.py", f"{place}.py"):  # as Python looks
                    if path in paths:
                        return path, ".".join(parts[end:])
        return "", full


Modules = dict[str, Module]


@dataclass(frozen=True)
class Sides:
    """A change as its rules see it: the files, and the test modules and helpers of both sides.
    `strict` accepts no changed expectation."""

    files: Files
    old: Modules
    new: Modules
    strict: bool


def read_sides(files: Files, *, strict: bool) -> Sides:
    """Return both sides of a change."""
    old: Modules = {}
    new: Modules = {}
    for file in files.changed:
        kind = file.kind
        if file.is_beside_tests:
            module = read_module(file.path, file.old, files.settings, runs=kind is Kind.TEST)
            old |= {file.path: module} if module is not None else {}
        if kind is not Kind.TEST and file.path.endswith(".py"):
            kind = kind_of(file.path, files.new_settings)  # it may have become a test
        if kind in {Kind.TEST, Kind.SUPPORT} and file.is_python:
            settings = (files.settings, files.new_settings)
            runs = kind is Kind.TEST and any(is_collected(file.path, side) for side in settings)
            module = read_module(file.path, file.new, files.new_settings, runs=runs)
            new |= {file.path: module} if module is not None else {}
    return Sides(files, old, new, strict)


def cases(test: Test, module: Module | None = None) -> list[str]:
    """Return the parameter sets that a test is run with, as text; given its module, also those
    that it has a name for."""
    texts: list[str] = []
    for decorator in test.decorators:
        if not isinstance(decorator, ast.Call):
            continue
        if decorator_name(decorator) == "example":
            texts.append(unparse(decorator))
        elif decorator_name(decorator) == "parametrize" and len(decorator.args) > 1:
            values = decorator.args[1]
            if isinstance(values, ast.Name) and module is not None:
                values = module.value(values.id) or values
            if isinstance(values, ast.List | ast.Tuple | ast.Set):
                texts += map(unparse, values.elts)
    return texts


def read_module(
    path: str, text: str | None, settings: Settings, *, runs: bool = True
) -> Module | None:
    """Return the module's functions; None if it is not valid Python. `runs`: it is collected."""
    tree = parse(text)
    if tree is None:
        return None
    functions = list(_functions(tree.body))
    rebound = _rebound(tree)
    helpers, idle = _asserting(functions)
    # lines are taken out as functions claim them; those that remain are the frame
    outside = dict(enumerate((text or "").split("\n"), 1))
    tests = []
    for owner, node in functions:
        name = f"{owner.name}.{node.name}" if owner else node.name
        fixture = "fixture" in map(decorator_name, node.decorator_list)
        patterns = settings.patterns("python_functions")
        unawaited = False  # a plain `TestCase` awaits no coroutine
        if owner is not None and _is_unittest(owner):
            patterns = ("test",)
            is_coroutine = isinstance(node, ast.AsyncFunctionDef)
            unawaited = is_coroutine and _AWAITING.search(text or "") is None
        collected = (
            runs
            and not (fixture or unawaited)
            and node.lineno >= rebound.get(owner.name if owner else node.name, 0)
            and _matches(node.name, patterns)
            and (owner is None or _is_test_class(owner, tree, settings))
        )
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        lines = range(first, (node.end_lineno or node.lineno) + 1)
        source = "\n".join(outside.pop(number, "") for number in lines)
        tests.append(Test(path, name, node, owner, collected, source, helpers, idle))
    return Module(path, tree, tuple(tests), "\n".join(outside.values()))


def _rebound(tree: ast.Module) -> dict[str, int]:
    """Return the names that a module binds to something else, or deletes, and the last line that
    does so."""
    lines: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef | ast.If | ast.Try):
            continue
        lines |= dict.fromkeys(bound(node), node.lineno)
        if isinstance(node, ast.Delete):
            lines |= dict.fromkeys(map(name_of, node.targets), node.lineno)
        elif re.match(r"(?:globals|vars|locals)\(\)", unparse(node)):
            lines |= dict.fromkeys(strings(ast.walk(node)), node.lineno)
    return lines


def _is_test_class(node: ast.ClassDef, tree: ast.Module, settings: Settings) -> bool:
    """Return whether tests of this class run: by its name, its bases, or as the base of others."""
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            value = constant(statement.value)
            if value and not value[0] and "__test__" in map(name_of, statement.targets):
                return False
    if _is_unittest(node):
        return True
    has_init = any(isinstance(s, ast.FunctionDef) and s.name == "__init__" for s in node.body)
    if _matches(node.name, settings.patterns("python_classes")) and not has_init:
        return True
    return node.name.endswith(("Mixin", "Base")) or any(
        isinstance(other, ast.ClassDef)
        and other.lineno > node.lineno  # which also ends classes that name each other as bases
        and node.name in map(name_of, other.bases)
        and _is_test_class(other, tree, settings)
        for other in tree.body
    )


def _is_unittest(node: ast.ClassDef) -> bool:
    return any(name_of(base).endswith(("Case", "Test", "Tests")) for base in node.bases)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name.startswith(pattern.rstrip("*")) for pattern in patterns)


def _asserting(
    functions: list[tuple[ast.ClassDef | None, Function]],
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the functions other than tests that assert, directly or not; then the rest."""
    others = {node.name: node for _, node in functions if not node.name.startswith("test")}
    # to a fixed point: a helper that calls a helper that asserts
    asserting: set[str] = set()
    while True:
        idle = others.keys() - asserting
        more = {
            name
            for name in idle
            if any(claim.counts for claim in claims_of(others[name], asserting, idle))
        }
        if not more:
            return frozenset(asserting), frozenset(idle)
        asserting |= more


def _functions(body: list[ast.stmt]) -> Iterator[tuple[ast.ClassDef | None, Function]]:
    """Yield every function that a module defines, on any branch that can be taken."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield None, node
            case ast.ClassDef():
                for _, method in _functions(node.body):
                    yield node, method
            case ast.If(test=test, body=inside, orelse=otherwise):
                value = constant(test)
                if value is None or value[0]:
                    yield from _functions(inside)
                if value is None or not value[0]:
                    yield from _functions(otherwise)
            case ast.Try(body=inside, handlers=handlers, orelse=otherwise):
                for block in (inside, *(handler.body for handler in handlers), otherwise):
                    yield from _functions(block)
            case ast.With(body=inside):
                yield from _functions(inside)


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield statements, and in the place of one that only chooses, those that it chooses from."""
    for node in body:
        inner = [*getattr(node, "body", []), *getattr(node, "orelse", [])]
        if isinstance(node, ast.If):
            yield from _statements(inner)
        elif isinstance(node, ast.Try):
            handlers = [s for handler in node.handlers for s in handler.body]
            yield from _statements([*inner, *handlers, *node.finalbody])
        else:
            yield node
