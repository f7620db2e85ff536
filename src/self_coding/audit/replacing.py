"""What test code does to the code under test outside of any one test: it may use it, not change it.

Pure. A module of tests, a conftest, a hook, a set-up or a helper that assigns into imported code
makes every test judge something else. A single test's own mocks are read by `subject`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from self_coding.audit import strength as says
from self_coding.audit.files import File, Files, Kind
from self_coding.audit.reading import parse
from self_coding.audit.subject import AIDS
from self_coding.values.verdicts import Finding

_JUDGES = frozenset({"pytest", "_pytest", "unittest", "pluggy", "hypothesis", "mock"})
_IMPORTERS = re.compile(r"(?:^|\.)(?:import_module|__import__|reload)$")
_CHANGERS = frozenset({"update", "insert", "append", "extend", "setdefault", "__setitem__", "pop"})
_RUN = frozenset({"item", "pyfuncitem", "request", "node", "metafunc", "function"})
_RUN_PARTS = frozenset({"obj", "_obj", "runtest", "function", "__code__", "__func__"})
_SET_UP = re.compile(r"set_?up", re.IGNORECASE)
_TEAR_DOWN = re.compile(r"tear_?down", re.IGNORECASE)
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class _Act:
    """An expression that is written to, the statement or call that does it, what it gets."""

    target: ast.expr
    by: ast.AST
    value: ast.expr | None


def audit_replacing(files: Files) -> Iterator[Finding]:
    """Every new way in which test code changes what all tests judge."""
    for file in files.changed:
        tree = parse(file.new) if file.is_python else None
        if tree is None:
            continue
        known = {ast.unparse(act.by) for act in _acts(parse(file.old))}
        beside = file.kind in {Kind.TEST, Kind.SUPPORT}
        for scope in _scopes(tree, beside=beside):
            for act in scope.acts:
                if ast.unparse(act.by) in known:
                    continue
                if _exchanges_code(act) or (beside and scope.replaces(act)):
                    message = f"`{ast.unparse(act.by)[:80]}` replaces what is tested"
                    yield _finding(file, act.by, message)


def _exchanges_code(act: _Act) -> bool:
    """Whether a function gets another's code, or an item of the run another function."""
    part = act.target.attr if isinstance(act.target, ast.Attribute) else ""
    root = says.dotted(act.target).split(".")[0]
    return part == "__code__" or (part in _RUN_PARTS and root in _RUN)


@dataclass(frozen=True)
class _Around:
    """What a file's tests call, and what its tear-downs write back as it was."""

    tested: frozenset[str]
    put_back: frozenset[str]


class _Scope:
    """A module outside of its functions, or one function that is no test."""

    def __init__(self, whole: ast.AST, names: dict[str, str], file: _Around) -> None:
        body = list(_outside(whole))
        self.acts = [act for node in body for act in _of_node(node)]
        self._whole, self._file = whole, file
        self._name = str(getattr(whole, "name", ""))
        self._own = _own_names(whole, body)
        self._names = {name: full for name, full in names.items() if name not in self._own}
        for node in body:  # another name for imported code
            if isinstance(node, ast.Assign) and self._reaches(node.value):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self._names[target.id] = ast.unparse(node.value)

    def replaces(self, act: _Act) -> bool:
        """Whether it leaves imported code changed for tests that did not ask for it."""
        if says.name_of(act.target) == "exec":
            return self._is_unasked()
        undone = (
            isinstance(act.by, ast.Call) and says.dotted(act.by.func).split(".")[0] in self._own
        )
        if undone or _says_little(act.value) or not self._reaches(act.target):
            return False
        if _TEAR_DOWN.match(self._name):
            return ast.unparse(act.target) not in self._file.put_back
        if _SET_UP.match(self._name):
            tested = says.name_of(act.target) in self._file.tested
            return tested or ast.unparse(act.target) not in self._file.put_back
        return self._is_unasked() or not self._puts_back(act)

    def _is_unasked(self) -> bool:
        """Whether it runs for tests that do not name it."""
        if isinstance(self._whole, ast.Module) or self._name.startswith("pytest_"):
            return True
        marks = getattr(self._whole, "decorator_list", ())
        return any("autouse" in ast.unparse(mark) for mark in marks)

    def _puts_back(self, act: _Act) -> bool:
        """Whether it is undone here: written again, or by what undoes patches."""
        where = ast.unparse(act.target)
        again = sum(ast.unparse(other.target) == where for other in self.acts) > 1
        undoes = re.search(r"\.(?:undo|stop|stopall)\(|addCleanup", ast.unparse(self._whole))
        return again or undoes is not None

    def _reaches(self, node: ast.expr) -> bool:
        """Whether an expression leads into code that was imported, and is none of the judges'."""
        while True:
            match node:
                case ast.Attribute(value=inner) | ast.Subscript(value=inner):
                    if says.dotted(node) == "sys.modules":
                        return True
                    node = inner
                case ast.Call(func=ast.Name(id="vars" | "getattr"), args=[inner, *_]):
                    node = inner
                case ast.Call(func=function) if _IMPORTERS.search(says.dotted(function)):
                    return True
                case ast.Constant(value=str(text)):
                    return "." in text and _is_foreign(text)
                case ast.Name(id=name):
                    return name in self._names and _is_foreign(self._names[name])
                case _:
                    return False


def _is_foreign(full: str) -> bool:
    """Whether a full name leads out of the standard library, the judges and the tests' own aids."""
    top = full.lstrip(".").split(".")[0]
    known = top in sys.stdlib_module_names or top in _JUDGES
    return (full.startswith(".") or not known) and not AIDS.search(full.rpartition(".")[0] or full)


def _says_little(value: ast.expr | None) -> bool:
    """Whether a flag is set or a store emptied, which honest set-ups do."""
    if isinstance(value, ast.Dict):
        return not value.keys
    return isinstance(value, ast.Constant) and value.value in (None, True, False)


def _scopes(tree: ast.Module, *, beside: bool) -> Iterator[_Scope]:
    """Every scope; of what lies beside the tests, with the names that lead out of them."""
    names = _imports(tree) if beside else {}
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    tests = [function for function in functions if function.name.startswith("test")]
    called = [n.func for test in tests for n in ast.walk(test) if isinstance(n, ast.Call)]
    downs = [function for function in functions if _TEAR_DOWN.match(function.name)]
    around = _Around(
        tested=frozenset(map(says.name_of, called)),
        put_back=frozenset(_put_back(tree, downs)),
    )
    yield _Scope(tree, names, around)
    for function in functions:
        yield _Scope(function, {} if function in tests else names, around)


def _put_back(tree: ast.Module, downs: Sequence[ast.AST]) -> Iterator[str]:
    """The places to which tear-downs write a constant, or what was kept of them."""
    kept = {
        (ast.unparse(target), ast.unparse(node.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    for act in (act for down in downs for node in _outside(down) for act in _of_node(node)):
        place, value = ast.unparse(act.target), act.value
        if isinstance(value, ast.Constant) or (value and (ast.unparse(value), place) in kept):
            yield place


def _acts(tree: ast.Module | None) -> Iterator[_Act]:
    for node in ast.walk(tree) if tree else ():
        yield from _of_node(node)


def _outside(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when this runs: everything below, but for the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _FUNCTIONS):
            yield child
            yield from _outside(child)


def _of_node(node: ast.AST) -> Iterator[_Act]:
    """The writes that one statement or call does into something's attributes or items."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _written(target, node, node.value)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        yield from _written(node.target, node, node.value)
    elif isinstance(node, ast.Call):
        yield from _called(node)


def _written(target: ast.expr, node: ast.AST, value: ast.expr | None) -> Iterator[_Act]:
    if isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _written(each, node, None)
    elif isinstance(target, ast.Attribute):
        yield _Act(target, node, value)
    elif isinstance(target, ast.Subscript):
        inner = target.value
        spaces = isinstance(inner, ast.Call) and says.name_of(inner.func) == "vars"
        if spaces or says.dotted(inner).endswith((".__dict__", "sys.modules")):
            yield _Act(target, node, value)


def _called(node: ast.Call) -> Iterator[_Act]:
    """`setattr(module, ...)`, `vars(module).update(...)`, `patch("a.b").start()` and the like."""
    name = says.name_of(node.func)
    if isinstance(node.func, ast.Name) and name == "exec":
        yield _Act(node.func, node, None)  # what it does cannot be read
    elif name in {"setattr", "delattr"} and node.args:
        yield _Act(node.args[0], node, node.args[2] if len(node.args) > 2 else None)
    elif isinstance(node.func, ast.Attribute):
        inner = node.func.value
        if name in _CHANGERS and _is_namespace(inner):
            yield _Act(inner, node, None)
        elif (
            name == "start"
            and isinstance(inner, ast.Call)
            and inner.args
            and re.search(r"(?:^|\.)patch\b", says.dotted(inner.func))
        ):
            yield _Act(inner.args[0], node, None)


def _is_namespace(node: ast.expr) -> bool:
    called = isinstance(node, ast.Call) and says.name_of(node.func) == "vars"
    return called or (isinstance(node, ast.Attribute) and node.attr in {"__dict__", "__path__"})


def _imports(tree: ast.Module) -> dict[str, str]:
    """The names that imports bind anywhere in a module, in full."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                found[alias.asname or alias.name] = f"{origin}.{alias.name}"
    return found


def _own_names(whole: ast.AST, body: Sequence[ast.AST]) -> set[str]:
    """A function's parameters and what its `with` statements bind: not what was imported."""
    arguments = getattr(whole, "args", None)
    found = (
        {one.arg for one in ast.walk(arguments) if isinstance(one, ast.arg)} if arguments else set()
    )
    for node in body:
        if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            found.add(node.optional_vars.id)
    return found


def _finding(file: File, node: ast.AST, message: str) -> Finding:
    line = int(getattr(node, "lineno", 0))
    return Finding(rule="subject-replaced", path=file.path, line=line, message=message)
