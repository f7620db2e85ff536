"""Code that changes how tests are run or judged: hooks, plugins, start-up files, patches.

Pure. New code of these kinds is a finding wherever it is; what was there before may stay and
may go, but may not grow.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from self_coding.audit.files import File, Kind
from self_coding.audit.skips import is_elsewhere
from self_coding.audit.syntax import (
    Breaches,
    Function,
    assigned,
    bound,
    calls,
    constant,
    dotted,
    enclosing,
    imports,
    name_of,
    quote,
    strings,
    unparse,
)
from self_coding.audit.test_modules import Sides

OUTCOME_HOOKS = frozenset(
    f"pytest_{name}"
    for name in (
        *("runtest_makereport", "collection_modifyitems", "sessionfinish", "ignore_collect"),
        *("collect_file", "collect_directory", "pycollect_makemodule", "pycollect_makeitem"),
        *("runtest_protocol", "runtest_call", "runtest_setup", "runtest_logreport", "runtestloop"),
        *("pyfunc_call", "report_teststatus", "exception_interact", "cmdline_main"),
        *("cmdline_parse", "cmdline_preparse", "load_initial_conftests", "unconfigure"),
        *("deselected", "itemcollected", "fixture_setup", "collection_finish", "collection"),
        *("warning_recorded", "make_collect_report", "report_collectionfinish", "sessionstart"),
        *("plugin_registered", "report_to_serializable", "report_from_serializable"),
    )
)
"""Hooks of pytest by which a plugin can drop tests or change their outcome."""

# these decide too, where they do not come by a plain `def` that can be read
_HIDDEN_HOOKS = OUTCOME_HOOKS | {
    *("pytest_configure", "pytest_generate_tests", "pytest_fixture_post_finalizer")
}
_SETTING_HOOKS = frozenset({"pytest_configure", "pytest_addoption", "pytest_report_header"})
_RUN_OPTIONS = re.compile(
    r"option\.\w+ =|addopts|keyword|markexpr|deselect|maxfail|exitstatus|inicfg"
)
_ASKS = re.compile(  # what may be asked of the plugin manager; to register is its own finding
    r"(?:has_?|get_?|list_name_|is_)(?:plugins?|registered|blocked)|(?:un)?register|set_blocked"
)
_SPEAKS = re.compile(
    r"print\(|(?:\w+\.)*(?:write|write_line|section|line|info|debug|warning)\(|['\"]"
)
_IGNORES = frozenset({"collect_ignore", "collect_ignore_glob"})
_REGISTERS = re.compile(r"pluginmanager\.(?:register|unregister|set_blocked)$")
# `site` imports the two modules and executes the lines of a .pth file that begin with `import`
_STARTUP = re.compile(
    r"(?:.*/)?(?:sitecustomize|usercustomize)(?:\.py|/__init__\.py)|.*\.(?:pth|egg-link|start)"
    r"|(?>.*?(?:egg|dist)-info/)(?:.*/)?entry_points\.txt"
)
_JUDGING = frozenset(
    {
        *("pytest", "_pytest", "pluggy", "unittest", "doctest", "coverage", "hypothesis", "xdist"),
        *("pytest_cov", "mock", "assertpy", "nose", "tox", "nox", "iniconfig", "py", "builtins"),
        *("importlib", "traceback", "sys", "os"),
    }
)
_ROOTS = ("", "src", "lib", "python")  # folders from which modules are often imported
# `os._exit` skips pytest's own exit status; `exec` puts another program in its place
_EXITS = frozenset(
    {"os._exit", "os.abort", "os.kill", "os.execv", "os.execve", "os.execl", "posix._exit"}
)
_SOFT_EXITS = frozenset({"sys.exit", "exit", "quit", "pytest.exit", "atexit.register"})
_JUDGES = re.compile(
    r"^(?:pytest|_pytest|unittest|builtins|pluggy|doctest)\b|^(?:TestCase|Session|TestReport|CallInfo|Item|Function)\."
    r"|^(?:sys\.(?:exit|excepthook|exitfunc)|os\._exit)$"
)
_PATCHERS = frozenset({"setattr", "patch", "object", "multiple", "setitem", "dict"})
_MOCKS = re.compile(r"(?:monkeypatch|mock|mocker|unittest|patch|setattr|m|mp)\b")
_MARKERS = frozenset(
    {"pytest.skip", "pytest.xfail", "request.applymarker", "request.node.add_marker"}
)


def special_files(file: File, _: Sides) -> Breaches:
    """Yield files that take part by their mere name."""
    if file.new is not None and _STARTUP.fullmatch(file.path):
        yield "startup-file", 0, "is run by Python before anything else"
    folder, name = file.path.removesuffix("/__init__.py").rpartition("/")[::2]
    module = name.removesuffix(".py")
    importable = file.is_python and folder in _ROOTS
    if file.old is None and (
        (importable and module in sys.stdlib_module_names)
        or (module in _JUDGING and (importable or file.is_beside_tests))
    ):
        yield "module-shadowed", 0, f"shadows the module {module!r}"


def hooks(file: File, _: Sides) -> Breaches:
    """Yield hooks that decide, however they come to their name."""
    hidden = file.kind is not Kind.SOURCE or "pytest" in (file.new or "")
    old_hooks = {n.name: n for n in file.old_tree.body if isinstance(n, Function)}
    for node in ast.walk(file.tree):
        names = _HIDDEN_HOOKS.intersection(_bindings(node)) if hidden else set()
        # a plain `def` of the other hidden hooks is ordinary: its body can be read
        if isinstance(node, Function):
            names = {node.name} & OUTCOME_HOOKS
            was = old_hooks.get(node.name) if names else None
            if was is not None and _decisions(node) <= _decisions(was):
                continue
            if node.name in _SETTING_HOOKS and _RUN_OPTIONS.search(unparse(node)):
                yield "outcome-hook", node, f"{node.name} sets options of the run"
        elif isinstance(node, ast.Call) and any(k.arg == "specname" for k in node.keywords):
            yield "outcome-hook", node, "registers a hook by another name"
        for name in names:
            yield "outcome-hook", node, f"{name} can change what tests report"


def _decisions(hook: Function) -> set[str]:
    """Return what a hook does besides speaking: each statement that writes, deletes, returns,
    raises or calls something, with the conditions and loops around it."""
    kinds = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.Return | ast.Raise
    found = {unparse(hook.args), *map(unparse, hook.decorator_list)}
    for node in ast.walk(hook):
        speaks = isinstance(node, ast.Expr) and _SPEAKS.match(unparse(node))
        if isinstance(node, kinds | ast.Expr) and not speaks:
            around = [
                f"{inside} {unparse(getattr(outer, 'test', None) or getattr(outer, 'iter', outer))}"
                for outer, inside in enclosing(hook, node)
                if not isinstance(outer, ast.Try | ast.With)
            ]
            found.add("\n".join([unparse(node), *around]))
    return found


def _bindings(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds without `def`, also through a name's text."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name
        case ast.Call(args=arguments, keywords=keywords):
            yield from strings(arguments)
            yield from (k.arg for k in keywords if k.arg)
        case ast.Subscript(slice=ast.Constant(value=str(name)), ctx=ast.Store()):
            yield name
        case ast.Dict(keys=keys):
            yield from strings(keys)


def fixtures(file: File, _: Sides) -> Breaches:
    """Yield fixtures that every test uses unasked, and that replace code or skip."""
    # a fixture that is made by a call, not by a decorator: `name = pytest.fixture(autouse=True)(f)`
    marks = {
        id(mark) for node in ast.walk(file.tree) for mark in getattr(node, "decorator_list", ())
    }
    for node in ast.walk(file.tree):
        if isinstance(node, Function) and file.kind is not Kind.SOURCE:
            texts = map(unparse, node.decorator_list)
            if not any(
                re.search(r"(?m)^(?>.*?fixture).*autouse=(?!False)", text) for text in texts
            ):
                continue
            for call in calls(node):
                patches = name_of(call.func) in _PATCHERS and _MOCKS.match(dotted(call.func))
                absent = len(call.args) > 2 and constant(call.args[2]) == (None,)
                if (patches and not absent) or dotted(call.func) in _MARKERS:
                    # the fixture is what is new, even where its call was there before
                    yield "autouse-patch", node, f"{node.name} does {quote(call)} for every test"
        elif isinstance(node, ast.Call) and name_of(node.func) == "fixture":
            automatic = any(
                k.arg == "autouse" and constant(k.value) != (False,) for k in node.keywords
            )
            if automatic and id(node) not in marks:
                yield "autouse-patch", node, f"{quote(node)} makes a fixture that every test uses"


def _ignores_less(node: ast.AST, file: File, sides: Sides) -> bool:
    """Return whether what a statement leaves out was left out before, or is new as well."""
    trees = [*(other.old_tree for other in sides.files.of(Kind.SUPPORT)), file.old_tree]
    kept = {text for tree in trees for text in strings(ast.walk(tree))}
    kept |= {other.name for other in sides.files.changed if other.old is None}
    plain = (ast.Call, ast.Name, ast.Attribute, ast.List, ast.Constant, ast.expr_context, ast.stmt)
    parts = list(ast.walk(node))
    return all(isinstance(n, plain) for n in parts) and kept.issuperset(
        n.value for n in parts if isinstance(n, ast.Constant)
    )


def plugins(file: File, sides: Sides) -> Breaches:
    """Yield what is collected or loaded besides, and uses of the plugin manager but to ask."""
    # `config.pluginmanager.hasplugin(...)` asks; the bare manager can be handed on to do anything
    asked = {
        id(node.value)
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Attribute) and _ASKS.fullmatch(node.attr)
    }
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call | ast.stmt):
            places = [node.func] if isinstance(node, ast.Call) else assigned(node)
            imported = bound(node) if isinstance(node, ast.Import | ast.ImportFrom) else ()
            names = {*map(dotted, places), *imported}
            ignores = {name.split(".")[0] for name in names} & _IGNORES
            if ignores and _ignores_less(node, file, sides):
                continue
            registers = "pytest_plugins" in names or any(map(_REGISTERS.search, names))
            module = sides.new.get(file.path)
            if (ignores or registers) and not (module and is_elsewhere(node, module)):
                yield "collection-narrowed" if ignores else "plugin-added", node, quote(node)
        elif isinstance(node, ast.Attribute) and node.attr == "pluginmanager":
            yield from () if id(node) in asked else [("plugin-added", node, f"uses {quote(node)}")]


def exits(file: File, _: Sides) -> Breaches:
    """Yield ways out of the process with a status of one's own choice."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Raise) and file.kind is Kind.SUPPORT:
            if node.exc and "SystemExit" in unparse(node):
                yield "exit-forced", node, "raises SystemExit beside the tests"
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            # what `atexit` calls runs after pytest has decided, and may exit once more
            leaves = name == "atexit.register" and "exit" in unparse((node.args or [node])[0])
            hard = leaves or name in _EXITS
            if not hard and not (name in _SOFT_EXITS and file.is_beside_tests):
                continue
            for outer, _inside in enclosing(file.tree, node):
                match outer:
                    case ast.With(items=[first, *_]) if not hard:
                        if "raises" in unparse(first.context_expr):
                            break  # a test that expects it
                    case ast.If(test=test) if outer in file.tree.body and "__name__" in unparse(
                        test
                    ):
                        break  # a script of its own
            else:
                where = "ends the run" if hard else "in the tests"
                yield "exit-forced", node, f"{quote(node)} {where}"


def patches(file: File, _: Sides) -> Breaches:
    """Yield assignments into pytest, unittest, builtins or the interpreter's exit."""
    full_names = imports(file.tree)
    for node in ast.walk(file.tree):
        targets = assigned(node)
        if isinstance(node, ast.Call) and name_of(node.func) in _PATCHERS:
            targets = node.args[:1]
        for target in targets:
            into = _resolved(target, full_names)
            alone = "." not in into and not isinstance(node, ast.Call)  # a name of its own
            if name_of(target) == "__unittest_skip__" and file.is_beside_tests:
                yield "test-skipped", node, f"{quote(node)} skips"
            elif _JUDGES.search(into) and not alone:
                yield "framework-patched", node, f"{quote(node)} changes what judges the tests"


def _resolved(target: ast.expr, names: dict[str, str]) -> str:
    """Return the full name of what is written to; "" if it is neither a name nor a text."""
    if isinstance(target, ast.Constant) and isinstance(target.value, str):
        return target.value
    if isinstance(target, ast.Subscript):
        inner = _resolved(target.value, names)
        return f"{inner}.item" if re.match(r"builtins|pytest|unittest|__builtins__", inner) else ""
    first, dot, rest = dotted(target).partition(".")
    full = "builtins" if first == "__builtins__" else names.get(first, first)
    if full.startswith((".", f"{first}.")):  # a relative import, or `import a.b`, which binds `a`
        full = first
    return f"{full}{dot}{rest}"
