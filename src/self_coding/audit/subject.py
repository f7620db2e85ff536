"""The code under test: does it look for its judge, or is it replaced before it is judged?

Pure. A test may use imported code and mock what it needs; it may not change what all tests judge,
nor may code know that it is tested. It sees what is written plainly; a special case hidden in
ordinary arithmetic is left to the base's tests and to people.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

from self_coding.audit.files import File, Kind, Settings, is_collected
from self_coding.audit.strength import cannot_fail
from self_coding.audit.syntax import (
    Breaches,
    Function,
    assigned,
    bound,
    calls,
    constant,
    dotted,
    imports,
    name_of,
    nodes,
    quote,
    strings,
    uncommented,
    unparse,
    walk_own,
)
from self_coding.audit.test_modules import Sides, Test

_ENVIRONMENT = re.compile(
    r"PYTEST_CURRENT_TEST|PYTEST_VERSION|PYTEST_XDIST|PYTEST_RUN|_PYTEST_RAISE|TOX_ENV_NAME|COVERAGE_RUN"
    r"""|["']_?PYTEST_?["']|self-coding-kit|SELF_CODING_(?:CENSUS|REPORT)"""
)
_LOADED = re.compile(
    r"""["'](?:_?pytest|pluggy|unittest|nose|conftest|doctest)["'](?:\s*+\)?\s*+(?:not\s+)?in\s+sys\.modules)|"""
    r"""sys\.modules(?:\.get\(\s*|\[\s*|\.keys\(\).{0,200}\s?)["'](?:_?pytest|pluggy|unittest|nose|_pytest\.)|"""
    r"""hasattr\(\s*sys,\s*["']_called_from_test|sys\._called_from_test|"""
    r"""(?:pytest|py\.test|unittest|test)["']\s+in\s+(?:sys\.argv|os\.path\.basename|Path\(sys)|"""
    r"""find_spec\(\s*["']_?pytest|import_module\(\s*["']_?pytest|__import__\(\s*["']_?pytest"""
)
_PYTEST = re.compile(r"_?pytest(?:\.|$)")
_FRAMES = re.compile(
    r"inspect\.(?:stack|currentframe|getouterframes)|sys\._getframe|traceback\.(?:extract_stack|walk_stack)"
)
_CALLER = re.compile(
    r"""["'](?:test_?|_?pytest(?!fixturefunction)\w*|unittest|tests?)["'/]|co_name\.\w{1,20}\(["']tes?|co_filename.{0,80}\btest"""
)
_JOINED = re.compile(r"""["']\s*+\+?\s*+["']""")  # "py" + "test" is one word
# Bidirectional controls (CVE-2021-42574) and zero-width characters; joiners and marks are spelling
# beside the letters of many scripts, and in emoji; so is where a word ends in those without spaces.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u200b"  # Thai, Lao, Burmese, Khmer
_HIDDEN = re.compile(
    rf"[\u202a-\u202e\u2066-\u2069]|(?<![{_UNSPACED}])\u200b|\u200b(?![{_UNSPACED}])|"
    r"(?<![^\x00-\x7f])[\u200c-\u200f]++(?![^\x00-\x7f])"
)
_READ = 5000  # characters of a line that somebody may read; longer ones are generated
_JUDGES = re.compile(
    r"(?:pytest|_pytest|unittest|builtins|pluggy|doctest|hypothesis)\b|(?:TestCase|Session|TestReport"
    r"|CallInfo|Item|Function)\.|(?:sys\.(?:exit|excepthook|exitfunc)|os\._exit)$"
)
# modules that are the tests' own, by their names: what they replace is not the subject
_AIDS = re.compile(
    r"(?:^|\.)_?(?:tests?|testing|helpers?|utils?|conftest|fakes?|mocks?|stubs?|pretend|unittest)\b"
)
_TESTS = re.compile(r"(?:^|\.)_?(?:tests?|testing|conftest|fakes?|mocks?|stubs?)\b")
_PATCHES = re.compile(r"(?:^|\.)(?:patch|object|multiple|setattr|setitem|spy|replace)$")
_RUN_PARTS = frozenset({"obj", "_obj", "runtest", "function", "__code__", "__func__", "module"})
_VALUES = re.compile(r"int|float|complex|str|bytes|dict|list|tuple|set|Decimal|Fraction")
_COMPARING = re.compile(r"__(?:eq|ne|lt|le|gt|ge|sub|rsub|abs)__")
_VARIABLE = re.compile(r"""(?:["'`]|env\.)([A-Z][A-Z0-9_]{3,60})\b""")
_SET_UP = re.compile(r"(?i)set_?up_?(?:module|function|class|method)?$")


def detection(file: File, sides: Sides) -> Breaches:
    """Yield signs that code knows that it is tested, or that text hides what it is."""
    binary = re.search("[\0\udc80-\udcff]", file.new or "")
    lines = (row for row in file.added_lines if len(row[1]) < _READ or file.is_python)
    hidden = [number for number, line in lines if _HIDDEN.search(line)]
    if hidden and not binary:
        yield "hidden-characters", hidden[0], "holds characters that reorder or hide text"
    for number, name in _disguised(file) if file.is_python else ():
        yield "hidden-characters", number, f"writes {name!r} in letters that only look like it"
    stray = is_collected(file.path, Settings())  # a test, by its name, outside of `testpaths`
    if file.kind is not Kind.SOURCE or file.path == "setup.py" or stray:
        return
    framed = _FRAMES.search(file.new or "")
    for number, line in file.added_lines:
        code = _JOINED.sub("", uncommented(line))
        looks = _ENVIRONMENT.search(code) or _LOADED.search(code)
        known = looks and looks[0] in (file.old or "")
        if (looks and not known) or (framed and _CALLER.search(code)):
            yield "test-detected", number, f"looks for the test run: {quote(code)}"
    # What is made for pytest may import more of it. Of the others only what names it is parsed:
    # each file is compared with all of them, and a change can have hundreds.
    sources = (one for one in sides.files.of(Kind.SOURCE) if "pytest" in (one.old or ""))
    made = any(_PYTEST.match(full) for o in sources for full in imports(o.old_tree).values())
    for full in () if made else {*filter(_PYTEST.match, imports(file.tree).values())}:
        yield "test-detected", 0, f"imports {full}"


def _disguised(file: File) -> Iterator[tuple[int, str]]:
    """Yield new names of other letters that Python reads as plain ones, by NFKC (PEP 3131): no
    rule that reads the text, and no reader, would know them."""
    text = file.new or ""
    if text.isascii():
        return
    with suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            name = unicodedata.normalize("NFKC", token.string)
            told = name == token.string or token.type != tokenize.NAME or not name.isascii()
            # One letter is a formula's, such as a script l.
            if not told and name[1:] and token.string not in (file.old or ""):
                yield token.start[0], name


def always_equal(file: File, sides: Sides) -> Breaches:
    """Yield comparisons that are true of everything, in a class that is new or changed, and of a
    built-in kind of value in another way than its own, where old code answers by it."""
    classes = [node for node in nodes(file.tree) if isinstance(node, ast.ClassDef)]
    for owner in classes if file.kind is Kind.SOURCE and file.path != "setup.py" else ():
        kind = next(filter(_VALUES.fullmatch, map(name_of, owner.bases)), "")
        used = kind and _is_made_by_old_code(owner.name, file, sides)
        for part in owner.body:
            names, results = set(), []
            if isinstance(part, ast.FunctionDef):
                shown = part.name == "__repr__" and ">>>" in (file.old or "")  # to a doctest
                if used and (shown or _COMPARING.fullmatch(part.name)):
                    told = f"{owner.name} is a {kind} but for {part.name}"
                    yield "equality-always-true", owner, told
                names = {part.name}
                results = [n.value for n in ast.walk(part) if isinstance(n, ast.Return)]
            elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Lambda):
                names, results = set(map(name_of, part.targets)), [part.value.body]
            always = bool(results) and all(r is not None and cannot_fail(r) for r in results)
            if names & {"__eq__", "__contains__"} and always:
                yield "equality-always-true", part, f"a {owner.name} equals or contains everything"


def _is_made_by_old_code(name: str, file: File, sides: Sides) -> bool:
    """Return whether a class is new, and code that was there before makes its objects now."""
    if any(isinstance(n, ast.ClassDef) and n.name == name for n in nodes(file.old_tree)):
        return False
    made = re.compile(rf"(?<!ss )\b{name}\(")
    changed = (one for one in sides.files.of(Kind.SOURCE) if one.old is not None)
    return any(made.search(line) for one in changed for _, line in one.added_lines)


def configured(file: File, sides: Sides) -> Breaches:
    """Yield variables that the tests set for all of them and that the code begins to read."""
    if file.kind not in {Kind.TEST, Kind.SUPPORT, Kind.SETTING}:
        return
    lines = [(number, line) for number, line in file.added_lines if re.match(r"\S.*env", line)]
    new, old = set[str](), set[str]()
    for one in sides.files.of(Kind.SOURCE) if lines else ():
        new.update(_VARIABLE.findall(one.new or ""))
        old.update(_VARIABLE.findall(one.old or ""))
    for number, line in lines:
        for name in sorted((new - old).intersection(re.findall(r"\w+", uncommented(line)))):
            yield "test-environment", number, f"sets {name}, which the code begins to read"


def exchanged(file: File, sides: Sides) -> Breaches:
    """Yield what the tests of a module judge in the place of what they judged before."""
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
    code, new_code = _from_code(before.imports), _from_code(after.imports)
    own: dict[str, ast.stmt] = {}  # what a module defines itself, or imports from the tests
    for node in after.tree.body:
        if isinstance(node, Function | ast.ClassDef):
            own[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            place = node.module or ""
            roots = {full.partition(".")[0] for full in code.values()} - {""}
            # A package's own `utils` are code.
            aids = _AIDS if node.level or place.partition(".")[0] not in roots else _TESTS
            own |= dict.fromkeys(bound(node) if aids.search(place) else (), node)
        elif "import" not in unparse(node):  # `x = importorskip("x")` is the subject still
            own |= dict.fromkeys(bound(node), node)
    for name in asserted & code.keys() & own.keys() - new_code.keys():
        # The same module of the tests may be imported by another path.
        module, last = getattr(own[name], "module", None) or "", code[name].rpartition(".")[2]
        arrived = any(o.old is None and o.name == f"{last}.py" for o in sides.files.changed)
        if module != "unittest" and (module.rpartition(".")[2] != last or arrived):
            message = f"{name} came from {code[name]} and is now defined by the tests"
            yield "subject-replaced", own[name], message
    for test in after.by_name.values():
        was = before.by_name.get(test.name)
        if was is None or not test.collected or was.is_same(test):
            continue
        called = {name_of(call.func) for claim in was.live for call in calls(claim.node)}
        patched, had = _patched(test), _patched(was)
        for name in called & patched.keys() - had.keys():
            yield "subject-mocked", patched[name], f"{test.name} replaces {name}, which it tests"


def _from_code(names: dict[str, str]) -> dict[str, str]:
    """Return the names of a test module that it imports, but not from the tests."""
    return {
        name: full.rpartition(".")[0] or full
        for name, full in names.items()
        if not _AIDS.search(full.rpartition(".")[0])
    }


def _patched(test: Test) -> dict[str, ast.AST]:
    """Return the last names of what a test patches."""
    names: dict[str, ast.AST] = {}
    for call in calls(test.node):
        text = next(strings(call.args), "")
        if text and _PATCHES.search(dotted(call.func)):
            names[text.rpartition(".")[2]] = call
    return names


def replacing(file: File, _: Sides) -> Breaches:
    """Yield every way in which code, unasked, changes what all tests judge, or what judges them:
    in a module's body, a hook, an automatic fixture, a set-up that no tear-down takes back."""
    tree, names = file.tree, imports(file.tree)
    for node in nodes(tree):  # a fixture that is made by a call, not by a decorator
        if isinstance(node, ast.Assign) and any(map(_is_automatic, calls(node.value))):
            yield "autouse-patch", node, f"{quote(node)} makes a fixture that every test uses"
    functions = [node for node in nodes(tree) if isinstance(node, Function)]
    restored = {
        unparse(target)
        for function in functions
        if re.match(r"(?i)tear_?down", function.name)
        for target, _by, _value in _writes(function)
    }
    for scope in (tree, *functions):
        name = str(getattr(scope, "name", ""))
        automatic = any(map(_is_automatic, getattr(scope, "decorator_list", ())))
        sets_up = _SET_UP.match(name) and scope in tree.body
        unasked = scope is tree or automatic or name.startswith("pytest_") or bool(sets_up)
        known = dict(names)
        for node in walk_own(scope, classes=True):  # another name for imported code
            if isinstance(node, ast.Assign) and (root := _root(node.value, known)):
                known |= {
                    target.id: root for target in node.targets if isinstance(target, ast.Name)
                }
        for target, by, value in _writes(scope):
            part = target.attr if isinstance(target, ast.Attribute) else ""
            full = _root(target, known)
            alone = "." not in dotted(target) and isinstance(by, ast.stmt)  # a name of its own
            undone = isinstance(by, ast.Call) and _PATCHES.search(dotted(by.func)) is not None
            setting = value is not None and constant(value) is not None
            # neither of the standard library nor of the tests' aids
            outside = full.startswith(".") or full.split(".")[0] not in sys.stdlib_module_names
            aid = _AIDS.search(full.rpartition(".")[0] or full)
            code = full and not _JUDGES.match(full) and outside and not aid and file.is_beside_tests
            place = dotted(target).split(".")[0]
            of_run = part in _RUN_PARTS and place in {"item", "pyfuncitem", "request", "metafunc"}
            if _JUDGES.match(full or dotted(target)) and not alone and (unasked or not undone):
                yield "framework-patched", by, f"{quote(by)} changes what judges the tests"
            elif automatic and undone and (code or of_run) and not setting:
                # the fixture is what is new, even where its call was there before
                yield "autouse-patch", scope, f"{name} does {quote(by)} for every test"
            elif part == "__code__" or (
                unasked and (of_run or (code and not setting and unparse(target) not in restored))
            ):
                yield "subject-replaced", by, f"{quote(by)} replaces what is tested"


def _is_automatic(mark: ast.expr) -> bool:
    """Return whether a call makes a fixture that every test uses unasked."""
    return isinstance(mark, ast.Call) and any(
        keyword.arg == "autouse" and constant(keyword.value) != (False,)
        for keyword in mark.keywords
    )


def _root(node: ast.expr, names: dict[str, str]) -> str:  # noqa: PLR0911 - one return per shape
    """Return the full name of imported code that an expression leads into; "" for none."""
    match node:
        case ast.Attribute(value=inner):
            root = "sys" if dotted(node) == "sys.modules" else _root(inner, names)
            return f"{root}.{node.attr}" if root else ""
        case ast.Subscript(value=inner):
            return _root(inner, names)
        case ast.Call(func=ast.Name(id="vars" | "getattr" | "exec"), args=[inner, *_]):
            return _root(inner, names)
        case ast.Call(func=function, args=[ast.Constant(value=str(text)), *_]):
            return text if name_of(function) in {"import_module", "__import__"} else ""
        case ast.Constant(value=str(text)):
            return text if "." in text else ""
        case ast.Name(id=name):
            full = names.get(name, "builtins" if name == "__builtins__" else "")
            return name if full.startswith(f"{name}.") else full
    return ""


def _writes(scope: ast.AST) -> Iterator[tuple[ast.expr, ast.AST, ast.expr | None]]:
    """Yield the writes of a scope into something's attributes or namespace: the target, the
    statement or call that does it, and the value."""
    parts = [*walk_own(scope, classes=True)]
    marks = {id(mark) for n in parts if isinstance(n, ast.ClassDef) for mark in n.decorator_list}
    for node in parts:
        if id(node) in marks:  # it patches while a test of the class runs
            continue
        for target in assigned(node):
            flat = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
            for place in flat:
                spaces = isinstance(place, ast.Subscript) and re.search(
                    r"^vars\(|\.__dict__$|sys\.modules$|builtins", unparse(place.value)
                )
                if isinstance(place, ast.Attribute) or spaces:
                    yield place, node, getattr(node, "value", None) if place is target else None
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        match node.func:
            case ast.Name(id="exec"):
                yield ast.Constant("an.unknown"), node, None  # what it does cannot be read
            case ast.Attribute(attr="start", value=ast.Call(args=[place, *_])):
                yield place, node.func, None
            case ast.Attribute(value=inner) if name in {"update", "setdefault", "__setitem__"}:
                if re.search(r"^vars\(|\.__dict__$", unparse(inner)):
                    yield inner, node.func, None
            case ast.Name() | ast.Attribute():
                if node.args and (name == "delattr" or _PATCHES.search(dotted(node.func))):
                    yield node.args[0], node, node.args[2] if node.args[2:] else None
