"""The code under test: does it look for its judge, or is it replaced before it is judged?

Pure. It sees what is written down plainly; a special case hidden in ordinary arithmetic is out
of reach of any reading and is left to the base's tests and to people.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from self_coding.audit import strength as says
from self_coding.audit.files import File, Files, Kind
from self_coding.audit.reading import Module, Test, parse
from self_coding.values.verdicts import Finding

_ENVIRONMENT = re.compile(
    r"PYTEST_CURRENT_TEST|PYTEST_VERSION|PYTEST_XDIST|PYTEST_RUN|_PYTEST_RAISE|TOX_ENV_NAME|COVERAGE_RUN"
    r"""|["']_?PYTEST_?["']|self-coding-kit|SELF_CODING_CENSUS"""
)
_LOADED = re.compile(
    r"""["'](?:_?pytest|unittest|nose|conftest|doctest)["'](?:\s*\)?\s*(?:not\s+)?in\s+sys\.modules)|"""
    r"""sys\.modules(?:\.get\(|\[|\.keys\(\).*)\s*["'](?:_?pytest|unittest|nose|_pytest\.)|"""
    r"""hasattr\(\s*sys,\s*["']_called_from_test|sys\._called_from_test|"""
    r"""(?:pytest|py\.test|unittest|test)["']\s+in\s+(?:sys\.argv|os\.path\.basename|Path\(sys)|"""
    r"""find_spec\(\s*["']_?pytest|import_module\(\s*["']_?pytest|__import__\(\s*["']_?pytest"""
)
_FRAMES = re.compile(
    r"inspect\.(?:stack|currentframe|getouterframes)|sys\._getframe|traceback\.(?:extract_stack|walk_stack)"
)
AIDS = re.compile(
    r"(?:^|\.)_?(?:tests?|testing|helpers?|utils?|conftest|fakes?|mocks?|stubs?|pretend|unittest)\b"
)
_JOINED = re.compile(r"""["']\s*\+?\s*["']""")  # "py" + "test" is one word
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b-\u200f]")


def audit_subject(
    files: Files, old: dict[str, Module], new: dict[str, Module]
) -> Iterator[Finding]:
    """Every sign that code under test knows that it is tested, or is not what is tested."""
    for file in files.changed:
        if file.new is None:
            continue
        binary = "\0" in file.new or re.search("[\udc80-\udcff]", file.new)
        for number, line in () if binary else file.added_lines:
            if _HIDDEN.search(line):
                message = "holds characters that reorder or hide text"
                yield Finding(
                    rule="hidden-characters", path=file.path, line=number, message=message
                )
                break
        if file.kind is Kind.SOURCE and file.path != "setup.py":
            yield from _looks_for_tests(file)
            yield from _always_equal(file)
    yield from _replaced(files, old, new)


def _looks_for_tests(file: File) -> Iterator[Finding]:
    text = file.new or ""
    framed = bool(_FRAMES.search(text))
    for number, line in file.added_lines:
        code = _JOINED.sub("", line.split(" #")[0])
        if code.lstrip().startswith("#"):
            continue
        frames = framed and re.search(r"""["'](?:test_?|_?pytest\w*|unittest|tests?)["'/]""", code)
        if _ENVIRONMENT.search(code) or _LOADED.search(code) or frames:
            message = f"looks for the test run: `{code.strip()[:80]}`"
            yield Finding(rule="test-detected", path=file.path, line=number, message=message)
    old = {says.dotted(n) for n in _imports(parse(file.old))}
    for node in _imports(parse(file.new)):
        name = says.dotted(node)
        if name.split(".")[0] in {"pytest", "_pytest"} and name not in old:
            message = f"code imports {name}"
            yield Finding(rule="test-detected", path=file.path, line=node.lineno, message=message)


def _imports(tree: ast.Module | None) -> Iterator[ast.Name]:
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield ast.Name(alias.name, lineno=node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield ast.Name(node.module, lineno=node.lineno)


def _always_equal(file: File) -> Iterator[Finding]:
    """A comparison that is true of everything."""
    old = parse(file.old)
    known = {ast.unparse(n) for n in ast.walk(old) if isinstance(n, ast.ClassDef)} if old else set()
    for node in ast.walk(parse(file.new) or ast.Module([], [])):
        if not isinstance(node, ast.ClassDef) or ast.unparse(node) in known:
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name in {"__eq__", "__contains__"}:
                returned = [n.value for n in ast.walk(method) if isinstance(n, ast.Return)]
                always = [v is not None and says.cannot_fail(v) for v in returned]
                if returned and all(always) and ast.unparse(method) not in _methods(old):
                    message = f"{node.name}.{method.name} is true of everything"
                    yield Finding(
                        rule="equality-always-true",
                        path=file.path,
                        line=method.lineno,
                        message=message,
                    )
        yield from _assigned_equal(file, node)


def _assigned_equal(file: File, node: ast.ClassDef) -> Iterator[Finding]:
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Lambda):
            named = {says.name_of(target) for target in statement.targets}
            if named & {"__eq__", "__contains__"} and says.cannot_fail(statement.value.body):
                message = f"{node.name} equals everything"
                yield Finding(
                    rule="equality-always-true",
                    path=file.path,
                    line=statement.lineno,
                    message=message,
                )


def _methods(tree: ast.Module | None) -> set[str]:
    return (
        {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        if tree
        else set()
    )


def _replaced(files: Files, old: dict[str, Module], new: dict[str, Module]) -> Iterator[Finding]:
    """Tests that now judge something else than before under the same name."""
    for file in files.of(Kind.TEST):
        before, after = old.get(file.path), new.get(file.path)
        if before is None or after is None:
            continue
        asserted = {
            n.id
            for t in before.tests
            for c in t.live
            for n in ast.walk(c.node)
            if isinstance(n, ast.Name)
        }
        outside = _from_code(before.tree)
        bound = _bound(after.tree)
        for name in sorted(asserted & set(outside) & set(bound)):
            if name not in _from_code(after.tree) and name not in _bound(before.tree):
                message = f"{name} came from {outside[name]} and is now the test's own"
                yield Finding(
                    rule="subject-replaced", path=file.path, line=bound[name], message=message
                )
        yield from _attributes(file, before.tree, after.tree, asserted)
        for test in after.by_name.values():
            was = before.by_name.get(test.name)
            if was is not None and test.collected and was.source != test.source:
                yield from _mocked(was, test)


def _from_code(tree: ast.Module) -> dict[str, str]:
    """Names that a test module imports, but not from the tests."""
    return {
        alias.asname or alias.name: node.module or "."
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not AIDS.search(node.module or "")
        for alias in node.names
    } | {
        (alias.asname or alias.name).split(".")[0]: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }


def _bound(tree: ast.Module) -> dict[str, int]:
    """Names that a module defines or assigns itself, or imports from the tests, at its top."""
    found: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node.lineno
        elif isinstance(node, ast.Assign):
            found |= {says.name_of(t): node.lineno for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and AIDS.search(node.module or ""):
            found |= {alias.asname or alias.name: node.lineno for alias in node.names}
    return found


def _attributes(
    file: File, old: ast.Module, new: ast.Module, asserted: set[str]
) -> Iterator[Finding]:
    """`module.function = ...` at the top of a test module."""
    known = {ast.unparse(node) for node in old.body}
    for node in new.body:
        if isinstance(node, ast.Assign) and ast.unparse(node) not in known:
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id in _defined(old):
                    message = f"{target.id} is bound to something else"
                    yield Finding(
                        rule="test-uncollected", path=file.path, line=node.lineno, message=message
                    )
                root = says.dotted(target).split(".")[0]
                if isinstance(target, ast.Attribute) and root in {*_from_code(new), *asserted}:
                    message = f"`{ast.unparse(node)[:80]}` replaces what is tested"
                    yield Finding(
                        rule="subject-replaced", path=file.path, line=node.lineno, message=message
                    )
        elif (
            (
                isinstance(node, ast.Delete)
                or (
                    isinstance(node, ast.Expr)
                    and re.match(r"globals\(\)|vars\(\)|locals\(\)", ast.unparse(node))
                )
            )
            and ast.unparse(node) not in known
            and "test" in ast.unparse(node)
        ):
            message = f"`{ast.unparse(node)[:80]}` takes tests away"
            yield Finding(
                rule="test-uncollected", path=file.path, line=node.lineno, message=message
            )


def _defined(tree: ast.Module) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {n.name for n in tree.body if isinstance(n, kinds) and n.name.lower().startswith("test")}


def _mocked(old: Test, new: Test) -> Iterator[Finding]:
    """A test that now replaces the very thing that its assertions call."""
    before = set(_targets(old))
    called = {
        says.name_of(n.func)
        for claim in old.live
        for n in ast.walk(claim.node)
        if isinstance(n, ast.Call)
    }
    called |= {
        says.name_of(n.value.func)
        for n in ast.walk(old.node)
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call)
    }
    for name, line in _targets(new).items():
        if name not in before and name in called:
            message = f"{new.name} replaces {name}, which it tests"
            yield Finding(rule="subject-mocked", path=new.path, line=line, message=message)


def _targets(test: Test) -> dict[str, int]:
    """The last names of what a test patches, with their lines."""
    found: dict[str, int] = {}
    for node in ast.walk(test.node):
        if isinstance(node, ast.Call) and node.args:
            whole = says.dotted(node.func)
            texts = [
                a.value
                for a in node.args
                if isinstance(a, ast.Constant) and isinstance(a.value, str)
            ]
            if re.search(r"(?:^|\.)(?:patch|object|setattr|spy|replace)$", whole) and texts:
                found[texts[0].rpartition(".")[2]] = node.lineno
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                mocked = isinstance(node.value, ast.Lambda) or "Mock" in ast.unparse(node.value)
                if mocked and isinstance(target, ast.Attribute | ast.Name):
                    found[says.name_of(target)] = node.lineno
    return found
