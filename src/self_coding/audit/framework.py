"""Code that changes how tests are run or judged: hooks, plugins, start-up files, patches.

Pure. New code of these kinds is a finding wherever it stands; what was there before may stay
and may go, but may not grow.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property

from self_coding.audit import strength as says
from self_coding.audit.claims import PLATFORM
from self_coding.audit.files import File, Files, Kind
from self_coding.audit.reading import parse
from self_coding.values.verdicts import Finding

OUTCOME_HOOKS = frozenset(
    f"pytest_{name}"
    for name in (
        *("runtest_makereport", "collection_modifyitems", "sessionfinish", "ignore_collect"),
        *("collect_file", "collect_directory", "pycollect_makemodule", "pycollect_makeitem"),
        *("runtest_protocol", "runtest_call", "runtest_setup", "runtest_logreport", "runtestloop"),
        *(
            "pyfunc_call",
            "report_teststatus",
            "exception_interact",
            "cmdline_main",
            "cmdline_parse",
        ),
        *(
            "cmdline_preparse",
            "load_initial_conftests",
            "unconfigure",
            "deselected",
            "itemcollected",
        ),
        *("fixture_setup", "collection_finish", "collection", "warning_recorded"),
        *("make_collect_report", "report_collectionfinish", "sessionstart", "plugin_registered"),
    )
)
"""Hooks of pytest by which a plugin can drop tests or change their outcome."""

_MORE_HOOKS = frozenset(
    {"pytest_configure", "pytest_generate_tests", "pytest_fixture_post_finalizer"}
)
_ASKS = frozenset(
    f"{verb}{what}"
    for verb in ("has", "has_", "get", "get_", "list_name_", "is_")
    for what in ("plugin", "plugins", "registered", "blocked")
) | {"register", "unregister", "set_blocked"}  # which are findings of their own
_QUIET_HOOKS = frozenset({"pytest_configure", "pytest_addoption", "pytest_report_header"})
_STARTUP = re.compile(
    r"(?:.*/)?(?:sitecustomize|usercustomize)(?:\.py|/__init__\.py)|.*\.(?:pth|egg-link|start)"
    r"|(?:.*/)?[^/]*\.?(?:egg|dist)-info/(?:.*/)?entry_points\.txt"
)
_JUDGING = (
    "pytest _pytest pluggy unittest doctest coverage hypothesis xdist pytest_cov mock assertpy "
    "nose tox nox iniconfig py builtins importlib traceback sys os"
)
_ROOTS = ("", "src", "lib", "python")  # folders from which modules are often imported
_SHADOWED = frozenset(_JUDGING.split())
_EXITS = frozenset(
    {"os._exit", "os.abort", "os.kill", "os.execv", "os.execve", "os.execl", "posix._exit"}
)
_SOFT_EXITS = frozenset({"sys.exit", "exit", "quit", "pytest.exit", "atexit.register"})
_JUDGES = re.compile(
    r"^(?:pytest|_pytest|unittest|builtins|pluggy|doctest)\b|^(?:TestCase|Session|TestReport|CallInfo|Item|Function)\."
    r"|^(?:sys\.(?:exit|excepthook|exitfunc)|os\._exit)$"
)
_KINDS = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.Call,
    ast.Raise,
)
_PARTS = ast.alias | ast.Name | ast.Attribute | ast.Subscript | ast.Dict
_PATCHERS = frozenset({"setattr", "patch", "object", "multiple", "setitem", "dict"})


def audit_framework(files: Files) -> Iterator[Finding]:
    """Every new way in which the change takes part in the judging of its own tests."""
    for file in files.changed:
        if file.new is None:
            continue
        yield from _by_name(file)
        if file.is_python:
            tree, old = parse(file.new), parse(file.old)
            if tree is not None:
                known = _Known(old)
                yield from _plugin(file, tree, known)
                yield from _exits(file, tree, known)
                yield from _patches(file, tree, known)


def _by_name(file: File) -> Iterator[Finding]:
    if _STARTUP.fullmatch(file.path):
        yield _finding("startup-file", file, 0, "is run by Python before anything else")
    *folders, name = file.path.removesuffix("/__init__.py").split("/")
    stem = name.removesuffix(".py")
    beside = file.kind in {Kind.TEST, Kind.SUPPORT} and stem in _SHADOWED
    at_root = (
        file.is_python
        and "/".join(folders) in _ROOTS
        and stem in _SHADOWED | sys.stdlib_module_names
    )
    if file.old is None and (at_root or beside):
        yield _finding("module-shadowed", file, 0, f"takes the place of the module {stem!r}")


def _plugin(file: File, tree: ast.Module, known: _Known) -> Iterator[Finding]:
    """Hooks, fixtures that nobody asked for, and what is collected or loaded besides."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _hook(file, node, known)
            if file.kind is not Kind.SOURCE:
                yield from _autouse(file, node, known)
        elif isinstance(node, ast.Assign):
            yield from _plugin_name(file, node, known)
        elif isinstance(node, ast.Call | ast.AugAssign):
            yield from _plugin_call(file, tree, node, known)
    if file.kind is not Kind.SOURCE or "pytest" in (file.new or ""):
        yield from _hidden_hooks(file, tree, known)
    yield from _managers(file, tree, known)


def _hidden_hooks(file: File, tree: ast.Module, known: _Known) -> Iterator[Finding]:
    """Hooks and fixtures of every test that come to be otherwise than by `def`."""
    decorators = {
        id(mark) for node in ast.walk(tree) for mark in getattr(node, "decorator_list", ())
    }
    for node in ast.walk(tree):
        for name in _bindings(node):
            if (name in OUTCOME_HOOKS or name in _MORE_HOOKS) and node not in known:
                yield _finding(
                    "outcome-hook", file, _line(node), f"{name} can change what tests say"
                )
        if isinstance(node, ast.Call) and id(node) not in decorators and node not in known:
            unasked = [k for k in node.keywords if k.arg == "autouse" and not _is_false(k.value)]
            if unasked and says.name_of(node.func) == "fixture":
                message = f"`{ast.unparse(node)[:80]}` makes a fixture of every test"
                yield _finding("autouse-patch", file, node.lineno, message)


def _bindings(node: ast.AST) -> Iterator[str]:
    """The names that a node binds without `def`, also through a name's text."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name
        case ast.Call(args=arguments, keywords=keywords):
            yield from _texts(arguments)
            yield from (k.arg for k in keywords if k.arg)
        case ast.Subscript(slice=ast.Constant(value=str(name)), ctx=ast.Store()):
            yield name
        case ast.Dict(keys=keys):
            yield from _texts(keys)


def _texts(nodes: Iterable[ast.expr | None]) -> Iterator[str]:
    """The strings among some expressions."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _managers(file: File, tree: ast.Module, known: _Known) -> Iterator[Finding]:
    """Every use of pytest's plugin manager, but to ask what is there."""
    asked = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in _ASKS
    }
    for node in ast.walk(tree):
        used = isinstance(node, ast.Attribute) and node.attr == "pluginmanager"
        if used and id(node) not in asked and node not in known:
            yield _finding("plugin-added", file, _line(node), f"uses `{ast.unparse(node)}`")


def _plugin_name(file: File, node: ast.Assign, known: _Known) -> Iterator[Finding]:
    names = {says.name_of(target) for target in node.targets}
    empty = isinstance(node.value, ast.List) and not node.value.elts
    if names & {"collect_ignore", "collect_ignore_glob"} and not empty and node not in known:
        yield _finding("collection-narrowed", file, node.lineno, ast.unparse(node))
    elif "pytest_plugins" in names and node not in known:
        yield _finding("plugin-added", file, node.lineno, ast.unparse(node))


def _plugin_call(
    file: File, tree: ast.Module, node: ast.Call | ast.AugAssign, known: _Known
) -> Iterator[Finding]:
    if isinstance(node, ast.Call) and any(k.arg == "specname" for k in node.keywords):
        if node not in known:
            yield _finding("outcome-hook", file, node.lineno, "registers a hook by another name")
        return
    whole = says.dotted(node.func if isinstance(node, ast.Call) else node.target)
    ignores = whole.split(".")[0] in {"collect_ignore", "collect_ignore_glob"}
    registers = re.search(r"pluginmanager\.(?:register|unregister|set_blocked)$", whole)
    if (ignores or registers) and node not in known and not _on_platform(tree, node):
        rule = "collection-narrowed" if ignores else "plugin-added"
        yield _finding(rule, file, node.lineno, ast.unparse(node)[:100])


def _on_platform(tree: ast.Module, node: ast.AST) -> bool:
    """Whether a statement stands under a condition on the interpreter or the platform."""
    return any(
        isinstance(outer, ast.If)
        and PLATFORM.search(ast.unparse(outer.test))
        and any(inner is node for statement in outer.body for inner in ast.walk(statement))
        for outer in ast.walk(tree)
    )


def _hook(
    file: File, node: ast.FunctionDef | ast.AsyncFunctionDef, known: _Known
) -> Iterator[Finding]:
    if node.name in OUTCOME_HOOKS and node not in known:
        yield _finding("outcome-hook", file, node.lineno, f"{node.name} can change what tests say")
    elif node.name in _QUIET_HOOKS and node not in known:
        text = ast.unparse(node)
        if re.search(
            r"option\.\w+ =|addopts|keyword|markexpr|deselect|maxfail|exitstatus|inicfg", text
        ):
            message = f"{node.name} sets options of the run"
            yield _finding("outcome-hook", file, node.lineno, message)


def _autouse(
    file: File, node: ast.FunctionDef | ast.AsyncFunctionDef, known: _Known
) -> Iterator[Finding]:
    """A fixture that every test gets unasked, and that replaces code or skips."""
    automatic = any(
        "fixture" in (text := ast.unparse(d)) and "autouse=" in text and "autouse=False" not in text
        for d in node.decorator_list
    )
    if not automatic or node in known:
        return
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            name = says.dotted(call.func)
            patches = says.name_of(call.func) in _PATCHERS and re.match(
                r"(?:monkeypatch|mock|mocker|unittest|patch|setattr|m|mp)\b", name
            )
            absent = len(call.args) > 2 and says.constant(call.args[2]) == (None,)
            if (patches and not absent) or name in {
                "pytest.skip",
                "pytest.xfail",
                "request.applymarker",
                "request.node.add_marker",
            }:
                message = f"{node.name} does `{ast.unparse(call)[:80]}` for every test"
                yield _finding("autouse-patch", file, call.lineno, message)


def _exits(file: File, tree: ast.Module, known: _Known) -> Iterator[Finding]:
    """Ways out of the process with a status of one's own choice."""
    main = _main_guard(tree)
    soft = _SOFT_EXITS if file.kind in {Kind.TEST, Kind.SUPPORT} else frozenset()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node in main:
            continue
        name = says.dotted(node.func)
        ends_by_exit = name == "atexit.register" and "exit" in ast.unparse(
            node.args[0] if node.args else node
        )
        hard = name in _EXITS or ends_by_exit
        if not (hard or name in soft) or node in known:
            continue
        if hard:
            yield _finding("exit-forced", file, node.lineno, f"`{ast.unparse(node)}` ends the run")
        elif not _inside_raises(tree, node):
            yield _finding("exit-forced", file, node.lineno, f"`{ast.unparse(node)}` in the tests")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Raise) or node.exc is None or file.kind is not Kind.SUPPORT:
            continue
        if "SystemExit" in ast.unparse(node) and node not in known:
            yield _finding("exit-forced", file, node.lineno, "raises SystemExit beside the tests")


def _main_guard(tree: ast.Module) -> set[ast.AST]:
    return {
        inner
        for node in tree.body
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }


def _inside_raises(tree: ast.Module, call: ast.Call) -> bool:
    """Whether a call stands in code that the test runs elsewhere, or expects to leave by."""
    return any(
        isinstance(node, ast.With)
        and "raises" in ast.unparse(node.items[0].context_expr)
        and any(inner is call for inner in ast.walk(node))
        for node in ast.walk(tree)
    )


def _patches(file: File, tree: ast.Module, known: _Known) -> Iterator[Finding]:
    """Assignments into pytest, unittest, builtins or the interpreter's exit."""
    names = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        elif isinstance(node, ast.Call) and node.args and says.name_of(node.func) in _PATCHERS:
            targets = [node.args[0]]
        else:
            continue
        for target in targets:
            whole = _resolved(target, names)
            into = whole if isinstance(node, ast.Call) else whole.rpartition(".")[0]
            hit = _JUDGES.search(whole) if "." in whole or isinstance(node, ast.Call) else None
            if hit and into and node not in known:
                message = f"`{ast.unparse(node)[:100]}` changes what judges the tests"
                yield _finding("framework-patched", file, node.lineno, message)


def _imported(tree: ast.Module) -> dict[str, str]:
    """Local names of imported modules and objects, in full."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _resolved(target: ast.expr, names: dict[str, str]) -> str:
    if isinstance(target, ast.Constant) and isinstance(target.value, str):
        return target.value
    if isinstance(target, ast.Subscript):
        target = target.value
        inner = _resolved(target, names)
        return f"{inner}.item" if re.match(r"builtins|pytest|unittest|__builtins__", inner) else ""
    whole = says.dotted(target)
    first, _, rest = whole.partition(".")
    full = names.get(first, first)
    if first == "__builtins__":
        full = "builtins"
    return f"{full}.{rest}" if rest else (full if full != first else whole)


class _Known:
    """The functions, statements and calls of the old module; read when first asked."""

    def __init__(self, tree: ast.Module | None) -> None:
        self._tree = tree

    @cached_property
    def _texts(self) -> frozenset[str]:
        nodes = ast.walk(self._tree) if self._tree else ()
        return frozenset(ast.unparse(node) for node in nodes if isinstance(node, _KINDS))

    @cached_property
    def _parts(self) -> frozenset[str]:
        nodes = ast.walk(self._tree) if self._tree else ()
        return frozenset(ast.unparse(node) for node in nodes if isinstance(node, _PARTS))

    def __contains__(self, node: ast.AST) -> bool:
        known = self._parts if isinstance(node, _PARTS) else self._texts
        return ast.unparse(node) in known


def _finding(rule: str, file: File, line: int, message: str) -> Finding:
    return Finding(rule=rule, path=file.path, line=line, message=message)
