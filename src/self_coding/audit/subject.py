"""The code under test: does it look for its judge, or is it replaced before it is judged?

Pure. A test may use imported code and mock what it needs; it may not change what all tests judge,
nor may code know that it is tested. It sees what is written plainly; a special case hidden in
ordinary arithmetic is left to the base's tests and to people.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from self_coding.audit.claims import cannot_fail
from self_coding.audit.files import File, Kind
from self_coding.audit.syntax import (
    Breaches,
    Function,
    assigned,
    bound,
    calls,
    dotted,
    imports,
    name_of,
    quote,
    strings,
    uncommented,
    unparse,
    walk_own,
)
from self_coding.audit.test_modules import Module, Sides, Test

_ENVIRONMENT = re.compile(
    r"PYTEST_CURRENT_TEST|PYTEST_VERSION|PYTEST_XDIST|PYTEST_RUN|_PYTEST_RAISE|TOX_ENV_NAME|COVERAGE_RUN"
    r"""|["']_?PYTEST_?["']|self-coding-kit|SELF_CODING_(?:CENSUS|REPORT)"""
)
_LOADED = re.compile(
    r"""["'](?:_?pytest|unittest|nose|conftest|doctest)["'](?:\s*+\)?\s*+(?:not\s+)?in\s+sys\.modules)|"""
    r"""sys\.modules(?:\.get\(\s*|\[\s*|\.keys\(\).{0,200}\s?)["'](?:_?pytest|unittest|nose|_pytest\.)|"""
    r"""hasattr\(\s*sys,\s*["']_called_from_test|sys\._called_from_test|"""
    r"""(?:pytest|py\.test|unittest|test)["']\s+in\s+(?:sys\.argv|os\.path\.basename|Path\(sys)|"""
    r"""find_spec\(\s*["']_?pytest|import_module\(\s*["']_?pytest|__import__\(\s*["']_?pytest"""
)
_FRAMES = re.compile(
    r"inspect\.(?:stack|currentframe|getouterframes)|sys\._getframe|traceback\.(?:extract_stack|walk_stack)"
)
_CALLER = re.compile(r"""["'](?:test_?|_?pytest\w*|unittest|tests?)["'/]""")
_JOINED = re.compile(r"""["']\s*+\+?\s*+["']""")  # "py" + "test" is one word
# bidirectional controls (CVE-2021-42574) and zero-width characters
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b-\u200f]")
# modules that are the tests' own, by their names: what they replace is not the subject
_AIDS = re.compile(
    r"(?:^|\.)_?(?:tests?|testing|helpers?|utils?|conftest|fakes?|mocks?|stubs?|pretend|unittest)\b"
)
_JUDGES = frozenset({"pytest", "_pytest", "unittest", "pluggy", "hypothesis", "mock"})
_IMPORTERS = re.compile(r"(?:^|\.)(?:import_module|__import__|reload)$")
_CHANGERS = frozenset({"update", "insert", "append", "extend", "setdefault", "__setitem__", "pop"})
_RUN = frozenset({"item", "pyfuncitem", "request", "node", "metafunc", "function"})
_RUN_PARTS = frozenset({"obj", "_obj", "runtest", "function", "__code__", "__func__"})
_SET_UP = re.compile(r"set_?up", re.IGNORECASE)
_TEAR_DOWN = re.compile(r"tear_?down", re.IGNORECASE)


def detection(file: File, _: Sides) -> Breaches:
    """Yield signs that code knows that it is tested, or that text hides what it is."""
    binary = re.search("[\0\udc80-\udcff]", file.new or "")
    hidden = [number for number, line in file.added_lines if _HIDDEN.search(line)]
    if hidden and not binary:
        yield "hidden-characters", hidden[0], "holds characters that reorder or hide text"
    if file.kind is not Kind.SOURCE or file.path == "setup.py":
        return
    framed = _FRAMES.search(file.new or "")
    for number, line in file.added_lines:
        code = _JOINED.sub("", uncommented(line))
        looks = _ENVIRONMENT.search(code) or _LOADED.search(code)
        if looks or (framed and _CALLER.search(code)):
            yield "test-detected", number, f"looks for the test run: {quote(code)}"
    old, new = _test_imports(file.old_tree), _test_imports(file.tree)
    for name in new.keys() - old.keys():
        yield "test-detected", new[name], f"imports {name}"


def always_equal(file: File, _: Sides) -> Breaches:
    """Yield comparisons that are true of everything, in a class that is new or changed."""
    classes = [node for node in ast.walk(file.tree) if isinstance(node, ast.ClassDef)]
    for owner in classes if file.kind is Kind.SOURCE and file.path != "setup.py" else ():
        for part in () if file.had(owner) else owner.body:
            names, results = set(), []
            if isinstance(part, ast.FunctionDef):
                names = {part.name}
                results = [n.value for n in ast.walk(part) if isinstance(n, ast.Return)]
            elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Lambda):
                names, results = set(map(name_of, part.targets)), [part.value.body]
            always = bool(results) and all(r is not None and cannot_fail(r) for r in results)
            if names & {"__eq__", "__contains__"} and always:
                yield "equality-always-true", part, f"a {owner.name} equals or contains everything"


def _test_imports(tree: ast.Module) -> dict[str, ast.AST]:
    """Return the modules of pytest that are imported."""
    modules: dict[str, ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name: node for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules[node.module] = node
    return {name: node for name, node in modules.items() if re.match(r"_?pytest(?:\.|$)", name)}


# What a test module judges now, and did not before


def exchanged(file: File, sides: Sides) -> Breaches:
    """Yield what the tests of a module judge in the place of something else."""
    before, after = sides.old.get(file.path), sides.new.get(file.path)
    if before is None or after is None or file.kind is not Kind.TEST:
        return
    asserted = {
        node.id
        for test in before.tests
        for claim in test.live
        for node in ast.walk(claim.node)
        if isinstance(node, ast.Name)
    }
    code, new_code = _from_code(before.tree), _from_code(after.tree)
    own = _defined(after.tree)
    replaced = asserted & code.keys() & own.keys() - new_code.keys()
    for name in replaced - _defined(before.tree).keys():
        message = f"{name} came from {code[name]} and is now defined by the tests"
        yield "subject-replaced", own[name], message
    yield from _rebound(before, after, {*new_code, *asserted})
    for test in after.by_name.values():
        was = before.by_name.get(test.name)
        if was is None or not test.collected or was.is_same(test):
            continue
        called = {name_of(call.func) for claim in was.live for call in calls(claim.node)}
        for node in ast.walk(was.node):  # a result is often bound before it is asserted
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                called.add(name_of(node.value.func))
        patched, had = _patched(test), _patched(was)
        for name in called & patched.keys() - had.keys():
            yield "subject-mocked", patched[name], f"{test.name} replaces {name}, which it tests"


def _from_code(tree: ast.Module) -> dict[str, str]:
    """Return the names that a test module imports, but not from the tests, and where from."""
    return {
        name: full.rpartition(".")[0] or full
        for name, full in imports(tree).items()
        if not _AIDS.search(full.rpartition(".")[0])
    }


def _defined(tree: ast.Module) -> dict[str, ast.AST]:
    """Return what a module defines or assigns at its top level, or imports from the tests."""
    names: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            names[node.name] = node
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            names |= dict.fromkeys(bound(node), node)
        elif isinstance(node, ast.ImportFrom) and _AIDS.search(node.module or ""):
            names |= {alias.asname or alias.name: node for alias in node.names}
    return names


def _rebound(old: Module, new: Module, subjects: set[str]) -> Breaches:
    """Yield `module.function = ...` and tests taken away at the top level of a test module."""
    before = set(map(unparse, old.tree.body))
    tests = {
        name
        for name, node in _defined(old.tree).items()
        if name.lower().startswith("test") and isinstance(node, Function | ast.ClassDef)
    }
    for node in new.tree.body:
        if unparse(node) in before:
            continue
        if not isinstance(node, Function | ast.ClassDef):
            # an import takes the place of a test only where that is still written down
            there = _defined(ast.Module([n for n in new.tree.body if isinstance(n, Function)], []))
            imported = isinstance(node, ast.Import | ast.ImportFrom)
            for name in tests.intersection(bound(node)):
                if not imported or name in there:
                    yield "test-uncollected", node, f"{name} is bound to something else"
        for target in assigned(node):
            if isinstance(target, ast.Attribute) and dotted(target).split(".")[0] in subjects:
                yield "subject-replaced", node, f"{quote(node)} replaces what is tested"
        if re.match(r"(?:del\b|globals\(\)|vars\(\)|locals\(\)).*test", unparse(node)):
            yield "test-uncollected", node, f"{quote(node)} removes tests"


def _patched(test: Test) -> dict[str, ast.AST]:
    """Return the last names of what a test patches."""
    names: dict[str, ast.AST] = {}
    for call in calls(test.node):
        text = next(strings(call.args), "")
        if text and re.search(r"(?:^|\.)(?:patch|object|setattr|spy|replace)$", dotted(call.func)):
            names[text.rpartition(".")[2]] = call
    for node in ast.walk(test.node):
        value = node.value if isinstance(node, ast.Assign) else None
        if value is not None and (isinstance(value, ast.Lambda) or "Mock" in unparse(value)):
            names |= {name_of(target): node for target in assigned(node) if name_of(target)}
    return names


# What a module of tests, a conftest, a hook, a set-up or a helper does to imported code


@dataclass(frozen=True)
class _Write:
    """A place outside of a scope that is written to, the statement that does it, and the value."""

    target: ast.expr
    by: ast.AST
    value: ast.expr | None


def replacing(file: File, _: Sides) -> Breaches:
    """Yield every way in which code changes what all tests judge."""
    tree = file.tree
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    tests = [function for function in functions if function.name.startswith("test")]
    called = {name_of(call.func) for test in tests for call in calls(test)}
    # `saved = m.f` anywhere, and `m.f = saved` in a tear-down: put back
    kept = {
        (unparse(target), unparse(node.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    restored = {
        unparse(write.target)
        for function in functions
        if _TEAR_DOWN.match(function.name)
        for write in _writes(walk_own(function, classes=True))
        if isinstance(write.value, ast.Constant)
        or (write.value and (unparse(write.value), unparse(write.target)) in kept)
    }
    names = imports(tree)
    for node in (tree, *functions):
        scope = _Scope(node, {} if node in tests else names, called, restored)
        for write in scope.writes:
            part = write.target.attr if isinstance(write.target, ast.Attribute) else ""
            place = dotted(write.target)
            of_run = part in _RUN_PARTS and place.split(".")[0] in _RUN
            of_run = of_run or place in {"metafunc.module", "metafunc.cls", "item.module"}
            replaces = file.is_beside_tests and scope.replaces(write)
            if part == "__code__" or of_run or replaces:
                yield "subject-replaced", write.by, f"{quote(write.by)} replaces what is tested"


class _Scope:
    """A module outside of its functions, or one function: what it writes to, and what of that
    leads into imported code. `tested` is what the file's tests call, `restored` the places that
    its tear-downs write back as they were."""

    def __init__(
        self,
        node: ast.Module | Function,
        names: dict[str, str],
        tested: set[str],
        restored: set[str],
    ) -> None:
        body = list(walk_own(node, classes=True))
        self.writes = list(_writes(body))
        self._node, self._tested, self._restored = node, tested, restored
        # its parameters and what its `with` statements bind are not what was imported
        arguments = [] if isinstance(node, ast.Module) else ast.walk(node.args)
        self._own = {n.arg for n in arguments if isinstance(n, ast.arg)}
        self._own |= {
            n.optional_vars.id
            for n in body
            if isinstance(n, ast.withitem) and isinstance(n.optional_vars, ast.Name)
        }
        self._names = {name: full for name, full in names.items() if name not in self._own}
        for statement in body:  # another name for imported code
            if isinstance(statement, ast.Assign) and self._is_foreign(statement.value):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        self._names[target.id] = unparse(statement.value)

    def replaces(self, write: _Write) -> bool:
        """Return whether it leaves imported code changed for tests that did not ask for it."""
        name = str(getattr(self._node, "name", "pytest_"))  # a module is run for all of them
        marks = getattr(self._node, "decorator_list", ())
        unasked = name.startswith("pytest_") or any("autouse" in unparse(mark) for mark in marks)
        if name_of(write.target) == "exec":
            return unasked
        by, value, where = write.by, write.value, unparse(write.target)
        undone = isinstance(by, ast.Call) and dotted(by.func).split(".")[0] in self._own
        flag = isinstance(value, ast.Constant) and value.value in (None, True, False)
        emptied = isinstance(value, ast.Dict) and not value.keys  # which honest set-ups do
        if undone or flag or emptied or not self._is_foreign(write.target):
            return False
        if _TEAR_DOWN.match(name):
            return where not in self._restored
        if _SET_UP.match(name):
            return name_of(write.target) in self._tested or where not in self._restored
        # written twice is written back; monkeypatch and mock undo by these calls
        again = sum(unparse(other.target) == where for other in self.writes) > 1
        undoes = re.search(r"\.(?:undo|stop|stopall)\(|addCleanup", unparse(self._node))
        return unasked or not (again or undoes)

    def _is_foreign(self, node: ast.expr) -> bool:
        """Return whether an expression leads into imported code that is not the judges'."""
        while True:
            match node:
                case ast.Attribute(value=inner) | ast.Subscript(value=inner):
                    if dotted(node) == "sys.modules":
                        return True
                    node = inner
                case ast.Call(func=ast.Name(id="vars" | "getattr"), args=[inner, *_]):
                    node = inner
                case ast.Call(func=function) if _IMPORTERS.search(dotted(function)):
                    return True
                case ast.Constant(value=str(text)):
                    return "." in text and _leads_out(text)
                case ast.Name(id=name):
                    return name in self._names and _leads_out(self._names[name])
                case _:
                    return False


def _leads_out(full: str) -> bool:
    """Return whether a full name is not of the standard library, the judges or the tests' aids."""
    top = full.lstrip(".").split(".")[0]
    ours = top in sys.stdlib_module_names or top in _JUDGES
    aid = _AIDS.search(full.rpartition(".")[0] or full)
    return (full.startswith(".") or not ours) and not aid


def _writes(nodes: Iterable[ast.AST]) -> Iterator[_Write]:
    """Yield the writes of statements and calls into something's attributes or items."""
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from _written_by_call(node)
        for target in assigned(node):
            value = getattr(node, "value", None)
            nested = isinstance(target, ast.Tuple | ast.List)
            for place in _flat(target):
                if isinstance(place, ast.Attribute) or (
                    isinstance(place, ast.Subscript)
                    and (
                        _is_call_of(place.value, "vars")
                        or dotted(place.value).endswith((".__dict__", "sys.modules"))
                    )
                ):
                    yield _Write(place, node, None if nested else value)


def _flat(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from _flat(element)
    else:
        yield target


def _is_call_of(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) == name


def _written_by_call(node: ast.Call) -> Iterator[_Write]:
    """Yield `setattr(module, ...)`, `vars(module).update(...)`, `patch("a.b").start()`, ..."""
    name = name_of(node.func)
    match node.func:
        case ast.Name(id="exec"):
            yield _Write(node.func, node, None)  # what it does cannot be read
        case ast.Name() | ast.Attribute() if name in {"setattr", "delattr"} and node.args:
            yield _Write(node.args[0], node, node.args[2] if len(node.args) > 2 else None)
        case ast.Attribute(value=inner) if name in _CHANGERS:
            namespace = isinstance(inner, ast.Attribute) and inner.attr in {"__dict__", "__path__"}
            if namespace or _is_call_of(inner, "vars"):
                yield _Write(inner, node, None)
        case ast.Attribute(attr="start", value=ast.Call(func=patch, args=[place, *_])):
            if re.search(r"(?:^|\.)patch\b", dotted(patch)):
                yield _Write(place, node, None)
