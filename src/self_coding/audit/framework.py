"""Code that changes how tests are run or judged: hooks, plugins, start-up files, ways out.

Pure. New code of these kinds is a finding wherever it is; what was there before, in this file or
in another one that changes, may stay. That the base's own tests judge the change does not make
it needless: what a plugin hides from the next change is the base's own by then.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from self_coding.audit.files import File, Kind
from self_coding.audit.skips import is_for_the_run
from self_coding.audit.syntax import (
    Breaches,
    Function,
    assigned,
    bound,
    calls,
    constant,
    decorator_name,
    dotted,
    enclosing,
    imports,
    nodes,
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
        *("assertrepr_compare", "assertion_pass"),
    )
)
"""Hooks of pytest by which a plugin can drop tests or change their outcome."""

# these decide too, where they do not come by a plain `def` that can be read
_HIDDEN_HOOKS = OUTCOME_HOOKS | {
    *("pytest_configure", "pytest_generate_tests", "pytest_fixture_post_finalizer")
}
_RUN_OPTIONS = re.compile(
    r"option\.\w+ =|addopts|keyword|markexpr|deselect|maxfail|exitstatus|inicfg"
)
_ASKS = re.compile(  # what may be asked of the plugin manager; to register is its own finding
    r"(?:has_?|get_?|list_name_|is_)(?:plugins?|registered|blocked)|(?:un)?register|set_blocked"
)
_MARKED = re.compile(r"^True .*(?:\.keywords|\bget_closest_marker\()")
_IGNORES = frozenset({"collect_ignore", "collect_ignore_glob"})
_PLAIN = (ast.Call, ast.Name, ast.Attribute, ast.List, ast.Constant, ast.expr_context, ast.stmt)
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
# these skip pytest's own exit status
_EXITS = re.compile(r"(?:os|posix)\._exit|os\.abort")


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


def hooks(file: File, sides: Sides) -> Breaches:
    """Yield hooks that decide, however they come to their name."""
    own_plugin = file.kind is Kind.SOURCE and re.search(r"\bpytest_[a-z]", file.old or "")
    if file.kind is Kind.TEST or own_plugin or "pytest" not in (file.new or ""):
        return  # a module of tests is no plugin; a project that is one is judged by its tests
    others = (one for one in sides.files.changed if "pytest_" in (one.old or ""))
    functions = [node for one in others for node in one.old_tree.body]
    old_hooks = {node.name: node for node in functions if isinstance(node, Function)}
    for node in nodes(file.tree):
        if isinstance(node, Function):
            was = old_hooks.get(node.name)
            new = _decisions(node) - (_decisions(was) if was else set())
            if node.name in OUTCOME_HOOKS and new:
                yield "outcome-hook", node, f"{node.name} can change what tests report"
            elif node.name == "pytest_configure" and any(map(_RUN_OPTIONS.search, new)):
                yield "outcome-hook", node, f"{node.name} sets options of the run"
            continue
        if isinstance(node, ast.Call) and any(k.arg == "specname" for k in node.keywords):
            yield "outcome-hook", node, "registers a hook by another name"
        for name in _HIDDEN_HOOKS.intersection(_bindings(node)):
            yield "outcome-hook", node, f"{name} can change what tests report"


def _decisions(hook: Function) -> set[str]:
    """Return what a hook does with the run: each statement that returns, raises or deletes
    something, or hands on, calls or writes what the hook was given, with the conditions around.
    One that decides nothing else may end when it likes."""
    own = {arg.arg for arg in hook.args.args} | {"pytest"}
    found, skips = set(), {"skip"}
    for node in nodes(hook):
        if isinstance(node, ast.Assign | ast.For) and own & _names(node):
            own |= set(bound(node))
        if isinstance(node, ast.Assign) and unparse(node.value).startswith("pytest.mark.skip("):
            skips |= set(bound(node))
    for node in nodes(hook):
        ends = isinstance(node, ast.Return | ast.Raise | ast.Delete | ast.Yield)
        does = isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr)
        local = isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets)
        speaks = isinstance(node, ast.Expr) and unparse(node).startswith(("print(", "'", '"'))
        if (ends or (does and not local and own & _names(node))) and not speaks:
            around = []
            for outer, inside in enclosing(hook, node):
                match getattr(outer, "test", getattr(outer, "iter", outer)):
                    case ast.BoolOp(op=ast.And(), values=parts) if inside:  # as one `if` each
                        around += [f"{inside} {unparse(part)}" for part in parts]
                    case said if not isinstance(outer, ast.Try | ast.With):
                        around.append(f"{inside} {unparse(said)}")
            match node:  # what a test is marked with skips it, which the run sees
                case ast.Expr(ast.Call(func=ast.Attribute(attr="add_marker"), args=[mark])):
                    if decorator_name(mark) in skips and any(map(_MARKED.search, around)):
                        continue
            found.add("\n".join([unparse(node), *sorted(around)]))
    decides = any(not text.startswith("return\n") for text in found)
    return found if decides else set()


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


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


def plugins(file: File, sides: Sides) -> Breaches:
    """Yield what is collected or loaded besides, and uses of the plugin manager but to ask."""
    # `config.pluginmanager.hasplugin(...)` asks; the bare manager can be handed on to do anything
    asked = {
        id(node.value)
        for node in nodes(file.tree)
        if isinstance(node, ast.Attribute) and _ASKS.fullmatch(node.attr)
    }
    module = sides.new.get(file.path)
    for node in nodes(file.tree):
        if isinstance(node, ast.Call | ast.stmt):
            places = [node.func] if isinstance(node, ast.Call) else assigned(node)
            imported = bound(node) if isinstance(node, ast.Import | ast.ImportFrom) else ()
            names = {*map(dotted, places), *imported}
            ignores = {name.split(".")[0] for name in names} & _IGNORES
            registers = "pytest_plugins" in names or any(map(_REGISTERS.search, names))
            value = getattr(node, "value", None)
            if isinstance(value, ast.List | ast.Tuple) and constant(value) == (["pytester"],):
                continue  # pytest's own, whose fixtures do nothing unasked
            if ignores:
                # What it leaves out was left out before, or is new as well: nothing runs less.
                kept = {other.name for other in sides.files.changed if other.old is None}
                for old in [n for f in sides.files.of(Kind.SUPPORT) for n in nodes(f.old_tree)]:
                    places = [old.func] if isinstance(old, ast.Call) else assigned(old)
                    if {dotted(place).split(".")[0] for place in places} & _IGNORES:
                        kept |= set(strings(ast.walk(old)))
                parts = list(ast.walk(node))
                if all(isinstance(n, _PLAIN) for n in parts) and kept.issuperset(strings(parts)):
                    continue
            if (ignores or registers) and not (module and is_for_the_run(node, module)):
                yield "collection-narrowed" if ignores else "plugin-added", node, quote(node)
        elif isinstance(node, ast.Attribute) and node.attr == "pluginmanager":
            yield from () if id(node) in asked else [("plugin-added", node, f"uses {quote(node)}")]


def exits(file: File, _: Sides) -> Breaches:
    """Yield ways out of the process with a status of one's own choice."""
    full_names = imports(file.tree)
    for node in calls(file.tree):
        # what `atexit` calls runs after pytest has decided, and may exit once more
        first, dot, rest = dotted(node.func).partition(".")
        name = f"{full_names.get(first, first)}{dot}{rest}"
        given = unparse((node.args or [node])[0])
        later = name == "atexit.register" and re.search(r"\b_?exit\b", given)
        if not later and not _EXITS.fullmatch(name):
            continue
        # Where tests fork, a child leaves so; a run that ends so has an unfinished report.
        outer = [one for one, _inside in enclosing(file.tree, node)]
        forks = file.is_beside_tests and "fork" in (file.new or "") and file.name != "conftest.py"
        if forks and not later and any(isinstance(one, Function) for one in outer):
            continue
        if not any(  # a script of its own is run only by itself
            isinstance(one, ast.If) and one in file.tree.body and "__name__" in unparse(one.test)
            for one in outer
        ):
            yield "exit-forced", node, f"{quote(node)} ends the run"
