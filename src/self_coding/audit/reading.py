"""A test module as the tests and helpers in it, the way pytest would collect them.

Pure. A module that Python cannot parse has no reading (None); the caller falls back to text.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from self_coding.audit import strength as says
from self_coding.audit.claims import Claim, Function, claims_of
from self_coding.audit.settings import Settings


@dataclass(frozen=True)
class Test:
    """A function of a test module: `name` is qualified by its class, `collected` is whether
    pytest runs it by itself."""

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

    @property
    def short(self) -> str:
        """The name without the class."""
        return self.name.rpartition(".")[2]

    @property
    def line(self) -> int:
        """Where it starts, 1-based."""
        return self.node.lineno

    @cached_property
    def body(self) -> str:
        """Its statements as text without layout, comments and docstring."""
        statements = self.node.body
        if ast.get_docstring(self.node, clean=False) is not None:
            statements = statements[1:]
        return "\n".join(ast.unparse(statement) for statement in statements)

    @cached_property
    def called(self) -> frozenset[str]:
        """The names that it calls, reads from or imports, without those of every test."""
        names: set[str] = set()
        for node in ast.walk(self.node):
            if isinstance(node, ast.Call):
                names.add(says.name_of(node.func))
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names |= set(_imported(node))
            elif isinstance(node, ast.keyword):
                names.add(f"{node.arg}=")
            elif isinstance(node, ast.Constant) and str(node.value).isidentifier():
                names.add(str(node.value))
        return frozenset(names - _EVERYWHERE)

    @cached_property
    def live(self) -> tuple[Claim, ...]:
        """The claims that are reached and can fail."""
        return tuple(claim for claim in self.claims if claim.counts)


_DEEPEST = 150  # nodes; `ast.unparse` spends a few frames on each
_EVERYWHERE = frozenset(
    {"", "self", "pytest", "raises", "mark", "parametrize", "len", "list", "str"}
)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The names that an import binds, and the files of the modules that it names."""
    for alias in node.names:
        yield alias.name.rpartition(".")[2]
        yield f"{alias.name.rpartition('.')[2]}.py"
    if isinstance(node, ast.ImportFrom) and node.module:
        yield f"{node.module.rpartition('.')[2]}.py"


@dataclass(frozen=True)
class Module:
    """One parsed test module; `frame` is its text without the functions."""

    path: str
    tree: ast.Module
    tests: tuple[Test, ...]
    frame: str

    @cached_property
    def by_name(self) -> dict[str, Test]:
        """Functions by qualified name; of several with one name the last one counts."""
        return {test.name: test for test in self.tests}


def read_module(
    path: str, text: str | None, settings: Settings, *, runs: bool = True
) -> Module | None:
    """The module's functions; None where the text is no Python. `runs`: its tests are collected."""
    tree = parse(text)
    if tree is None:
        return None
    helpers, idle = _asserting(tree)
    lines = (text or "").split("\n")
    outside = dict(enumerate(lines, 1))
    functions = []
    for owner, node in _functions(tree.body):
        name = f"{owner.name}.{node.name}" if owner else node.name
        collected = (
            runs
            and is_test_name(node.name, settings, owner)
            and (owner is None or is_test_class(owner, tree, settings))
            and not _is_fixture(node)
        )
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        own = range(first, (node.end_lineno or node.lineno) + 1)
        source = "\n".join(outside.pop(number, "") for number in own)
        functions.append(Test(path, name, node, owner, collected, source, helpers, idle))
    return Module(path, tree, tuple(functions), "\n".join(outside.values()))


@lru_cache(maxsize=64)
def parse(text: str | None) -> ast.Module | None:
    """The syntax tree of a source text; None where Python refuses it, or only an attack on the
    reader would write it so."""
    if text is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.encode("utf-8", "surrogateescape"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if _is_workable(tree) else None


def _is_workable(tree: ast.Module) -> bool:
    """Whether a tree is shallow enough to be walked by recursion, and its numbers printable."""
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        if not level:
            return True
        if any(isinstance(n, ast.Constant) and _is_huge(n.value) for n in level):
            return False
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return False


def _is_huge(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() > 4096


def is_test_name(name: str, settings: Settings, owner: ast.ClassDef | None = None) -> bool:
    """Whether a function of this name is collected."""
    if owner is not None and _is_unittest(owner):
        return name.startswith("test")
    return _matches(name, settings.python_functions)


def is_test_class(node: ast.ClassDef, tree: ast.Module, settings: Settings) -> bool:
    """Whether tests of this class run: by its name, its bases, or as the base of others."""
    if any(_sets_test_false(statement) for statement in node.body):
        return False
    if _is_unittest(node):
        return True
    has_init = any(isinstance(s, ast.FunctionDef) and s.name == "__init__" for s in node.body)
    if _matches(node.name, settings.python_classes) and not has_init:
        return True
    return any(
        isinstance(other, ast.ClassDef)
        and other is not node
        and node.name in {says.name_of(base) for base in other.bases}
        and is_test_class(other, tree, settings)
        for other in tree.body
    ) or node.name.endswith(("Mixin", "Base"))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name.startswith(pattern.rstrip("*")) for pattern in patterns)


def _is_unittest(node: ast.ClassDef) -> bool:
    return any(says.name_of(base).endswith(("TestCase", "Test", "Tests")) for base in node.bases)


def _sets_test_false(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    named = any(says.name_of(target) == "__test__" for target in node.targets)
    value = says.constant(node.value)
    return named and value is not None and not value[0]


def _is_fixture(node: Function) -> bool:
    names = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
    return any(says.name_of(name) == "fixture" for name in names)


def _asserting(tree: ast.Module) -> tuple[frozenset[str], frozenset[str]]:
    """Functions of the module that hold assertions or call one that does; then the others."""
    functions = {
        node.name: node for _, node in _functions(tree.body) if not node.name.startswith("test")
    }
    asserting: set[str] = set()
    while True:
        idle = functions.keys() - asserting
        found = {
            name
            for name in idle
            if any(claim.counts for claim in claims_of(functions[name], asserting, idle))
        }
        if not found:
            return frozenset(asserting), frozenset(idle)
        asserting |= found


def _functions(body: list[ast.stmt]) -> Iterator[tuple[ast.ClassDef | None, Function]]:
    """Every function that a module defines, on any branch that can be taken."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield None, node
            case ast.ClassDef():
                for _, method in _functions(node.body):
                    yield node, method
            case ast.If(test=test, body=inside, orelse=otherwise):
                value = says.constant(test)
                if value is None or value[0]:
                    yield from _functions(inside)
                if value is None or not value[0]:
                    yield from _functions(otherwise)
            case ast.Try(body=inside, handlers=handlers, orelse=otherwise):
                yield from _functions(inside)
                for handler in handlers:
                    yield from _functions(handler.body)
                yield from _functions(otherwise)
            case ast.With(body=inside):
                yield from _functions(inside)
