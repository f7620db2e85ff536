"""The tests of a change as a whole: each test that was there is still there, or accounted for.

Pure. A test is accounted for when it has moved or been renamed with what it claims, when its
claims stand in other tests of the change, or when what it tests is gone from the code.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from self_coding.self_edit.audit import strength as says
from self_coding.self_edit.audit.files import File, Files, Kind, is_collected, kind_of
from self_coding.self_edit.audit.reading import Module, Test, parse, read_module
from self_coding.self_edit.audit.skips import compare_marks, compare_module_marks
from self_coding.self_edit.audit.weakening import Around, cases, compare
from self_coding.values.verdicts import Finding

_Modules = dict[str, Module]


def audit_tests(
    files: Files, old: _Modules, new: _Modules, *, strict: bool = False
) -> Iterator[Finding]:
    """Every test and helper that went, or says less than before, given both sides' modules."""
    around = Around(
        moved=_moved(old, new),
        cases=_new_cases(old, new),
        gone=_gone(files),
        touches_source=files.touches_source,
        strict=strict,
    )
    yield from _unreadable(files, old, new)
    pool = _added(old, new)
    used: Counter[int] = Counter()
    for path, before in old.items():
        after = new.get(path)
        if after is not None:
            yield from compare_module_marks(before, after)
        renewed = (
            files.touches_source
            and not strict
            and (
                (after is not None and _renewed({path: before}, {path: after}, 0.6))
                or _renewed(old, new, 0.8)
            )
        )
        here = replace(around, renewed=renewed, aids=_aids(before, after))
        yield from _module(before, after, new, pool, used, here)


def _module(
    before: Module,
    after: Module | None,
    new: _Modules,
    pool: list[Test],
    used: Counter[int],
    around: Around,
) -> Iterator[Finding]:
    missing: list[Test] = []
    for test in before.by_name.values():
        now = after.by_name.get(test.name) if after else None
        if now is None:
            missing += [test] if test.collected else []
        elif test.collected and not now.collected:
            message = f"{test.name} is not collected any more"
            yield Finding(rule="test-uncollected", path=now.path, line=now.line, message=message)
        else:
            yield from _pair(test, now, before, new[now.path], around)
    lost: list[tuple[str, int, str]] = []
    for test in missing:
        successor = _successor(test, pool, used)
        if successor is not None:
            yield from _pair(test, successor, before, new[successor.path], around)
        elif not around.renewed and not _accounted(test, pool, new, used, around):
            hidden = _hidden(test, new)
            rule = "test-renamed-out" if hidden else "test-removed"
            lost.append((rule, test.line, f"{test.name}{f' is now {hidden}' if hidden else ''}"))
    yield from _lost(before.path, after is None, lost)


def _renewed(old: _Modules, new: _Modules, share: float) -> bool:
    """Whether the tests of some files together claim as much as before, and about `share` of the
    same names."""
    was, now = _texts(old, new), _texts(new, old)
    if sum((now - was).values()) < sum((was - now).values()):
        return False
    lost = _words(was - now)
    return len(lost & _words(now - was)) >= share * len(lost)


def _aids(before: Module, after: Module | None) -> frozenset[str]:
    """The functions of a test module, other than tests, that change, and their classes."""
    was, now = (
        {test.name: test for test in (module.tests if module else ()) if not test.collected}
        for module in (before, after)
    )
    changed = [test for name, test in was.items() if not _is_same(test, now.get(name))]
    owners = (test.owner.name for test in changed if test.owner)
    return frozenset([*(test.short for test in changed), *owners])


def _words(claims: Counter[str]) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", " ".join(claims)))


def _lost(path: str, whole: bool, lost: list[tuple[str, int, str]]) -> Iterator[Finding]:
    """One finding for each lost test; for a file that went, one that names the first."""
    if whole and lost and all(rule == "test-removed" for rule, _, _ in lost):
        names = ", ".join(name for _, _, name in lost[:3]) + (", ..." if lost[3:] else "")
        message = f"the file is gone with {len(lost)} tests: {names}"
        yield Finding(rule="test-removed", path=path, message=message)
        return
    for rule, line, name in lost:
        yield Finding(rule=rule, path=path, line=line, message=f"{name} is no test any more")


def _pair(old: Test, new: Test, before: Module, after: Module, around: Around) -> Iterator[Finding]:
    """One function before and after: what it claims, its marks, its parameters, its form."""
    same = old.source == new.source
    if same and before.frame == after.frame:
        return
    if not same and old.body != new.body:
        yield from compare(old, new, around)
    yield from compare_marks(old, new, before, after)
    if not (old.collected and new.collected):
        return
    yield from _cases(old, new, before, after, around)
    yield from _form(old, new, after)


def _cases(
    old: Test, new: Test, before: Module, after: Module, around: Around
) -> Iterator[Finding]:
    was, now = (cases(test, _lists(module)) for test, module in ((old, before), (new, after)))
    lost = [case for case in was if case not in now]
    if len(now) >= len(was) or not lost:
        return
    rest = re.sub(r"\s+", "", ast.unparse(after.tree))
    kept = [case for case in lost if re.sub(r"\s+", "", case) in rest]
    names = {name.lower() for name in re.findall(r"[A-Za-z_]\w*", " ".join(lost))}
    if len(kept) < len(lost) and around.gone.isdisjoint(names):
        gone = next(case for case in lost if case not in kept)
        message = f"{new.name} runs {len(was) - len(now)} cases less, without `{gone[:80]}`"
        yield Finding(rule="cases-removed", path=new.path, line=new.line, message=message)


def _lists(module: Module) -> dict[str, ast.expr]:
    """The lists that a module binds at its top level."""
    found: dict[str, ast.expr] = {}
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Tuple | ast.Set):
            found |= {says.name_of(target): node.value for target in node.targets}
    return found


def _form(old: Test, new: Test, after: Module) -> Iterator[Finding]:
    """Changes by which a test is still collected, but does not run."""

    def finding(rule: str, message: str) -> Finding:
        return Finding(rule=rule, path=new.path, line=new.line, message=f"{new.name} {message}")

    if _yields(new) and not _yields(old):
        yield finding("test-uncollected", "yields now, so pytest does not run it")
    asynchronous = isinstance(new.node, ast.AsyncFunctionDef)
    if asynchronous and not isinstance(old.node, ast.AsyncFunctionDef) and not new.owner:
        marked = re.search(r"asyncio|anyio|trio|curio|tornado", ast.unparse(after.tree))
        if not marked:
            yield finding("test-uncollected", "is asynchronous now, and nothing awaits it")
    for decorator in new.node.decorator_list:
        name = says.name_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        target = after.by_name.get(name)
        if target is not None and not _runs_its_argument(target):
            yield finding("test-wrapped", f"is wrapped by {name}, which never calls it")


def _yields(test: Test) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(test.node))


def _runs_its_argument(decorator: Test) -> bool:
    """Whether a decorator calls, or gives back, what it is put on."""
    names = {argument.arg for argument in decorator.node.args.args}
    names |= {
        argument.arg
        for node in ast.walk(decorator.node)
        if isinstance(node, ast.FunctionDef) and node is not decorator.node
        for argument in node.args.args
    }
    for node in ast.walk(decorator.node):
        if isinstance(node, ast.Call):
            used = [node.func, *node.args]
            if any(isinstance(n, ast.Name) and n.id in names for n in used):
                return True
        if isinstance(node, ast.Return) and says.name_of(node.value or ast.Constant(0)) in names:
            return True
    return False


def _successor(test: Test, pool: list[Test], used: Counter[int]) -> Test | None:
    """The added test that is this one under another name or in another place."""
    same = [t for t in pool if t.body == test.body and t.body not in {"", "pass"}]
    named = [t for t in pool if t.short == test.short]
    for candidate in (*same, *named):
        if not used[id(candidate)]:
            used[id(candidate)] += 1
            return candidate
    return None


def _accounted(
    test: Test, pool: list[Test], new: _Modules, used: Counter[int], around: Around
) -> bool:
    """Whether what a lost test claimed is claimed elsewhere, or its subject is gone."""
    live = test.live
    named = {name.lower() for name in test.called}
    if test.body in {"", "pass", "..."} or not around.gone.isdisjoint(named):
        return True
    if live and sum(around.moved[claim.text] > 0 for claim in live) >= 0.6 * len(live):
        return True
    if live and all(_is_a_case(claim.node, around.cases) for claim in live):
        return True
    for module in new.values():
        for other in module.tests:
            if other.body == test.body and (other.collected or _is_inherited(other, new)):
                return True
    said = sum(claim.strength for claim in live)
    for candidate in sorted(pool, key=lambda t: -_alike(t, test)):
        if _alike(candidate, test) < 0.4:
            break
        more = len(cases(candidate)) > 1
        if (more or not used[id(candidate)]) and candidate.live:
            if more or sum(claim.strength for claim in candidate.live) >= 0.7 * said:
                used[id(candidate)] += 1
                return True
    return False


def _is_a_case(claim: ast.expr, gained: tuple[str, ...]) -> bool:
    """Whether some new parameter set holds every literal of an assertion."""
    literals = {ast.unparse(n) for n in ast.walk(claim) if isinstance(n, ast.Constant)}
    return bool(literals) and any(
        literals
        <= {ast.unparse(n) for n in ast.walk(ast.parse(case)) if isinstance(n, ast.Constant)}
        for case in gained
    )


def _is_inherited(test: Test, new: _Modules) -> bool:
    """Whether a collected module has a class made from the one that this test stands in."""
    return test.owner is not None and any(
        isinstance(node, ast.ClassDef)
        and test.owner.name in {says.name_of(base) for base in node.bases}
        for module in new.values()
        for node in module.tree.body
    )


def _alike(one: Test, two: Test) -> float:
    union = one.called | two.called
    return len(one.called & two.called) / len(union) if union else 0.0


def _hidden(test: Test, new: _Modules) -> str:
    """The name under which a lost test lives on without being collected."""
    for module in new.values():
        for other in module.tests:
            if not other.collected and other.body == test.body and other.body not in {"", "pass"}:
                return f"{other.name} in {module.path}"
    return ""


def read_side(files: Files, *, new: bool) -> _Modules:
    """The test modules and helpers of one side."""
    settings = files.new_settings if new else files.settings
    found: _Modules = {}
    for file in files.changed:
        text = file.new if new else file.old
        kind = file.kind
        if new and kind in {Kind.SOURCE, Kind.OTHER} and file.name.endswith(".py"):
            kind = kind_of(file.path, settings)
        if kind in {Kind.TEST, Kind.SUPPORT}:
            runs = kind is Kind.TEST and (not new or _still_collected(file, files))
            module = read_module(file.path, text, settings if new else files.settings, runs=runs)
            if module is not None:
                found[file.path] = module
    return found


def _still_collected(file: File, files: Files) -> bool:
    return is_collected(file.path, files.settings) or is_collected(file.path, files.new_settings)


def _unreadable(files: Files, old: _Modules, new: _Modules) -> Iterator[Finding]:
    """Test modules that Python refuses: compared as text."""
    for file in files.of(Kind.TEST, Kind.SUPPORT):
        if file.new is None or file.path in new or not file.is_python:
            continue
        if file.path in old:
            yield Finding(rule="test-unparsable", path=file.path, message="is no Python any more")
        elif file.old is not None:
            for word in (r"^\s*(?:async )?def test", r"^\s*assert\b|\.assert\w+\("):
                was, now = (len(re.findall(word, text, re.M)) for text in (file.old, file.new))
                if now < was:
                    message = f"{was - now} lines less match {word!r} (the file is no Python 3)"
                    yield Finding(rule="assert-removed", path=file.path, message=message)


def _added(old: _Modules, new: _Modules) -> list[Test]:
    """The tests that only the new side has."""
    known = {(path, name) for path, module in old.items() for name in module.by_name}
    return [
        test
        for path, module in new.items()
        for name, test in module.by_name.items()
        if (path, name) not in known and test.collected
    ]


def _moved(old: _Modules, new: _Modules) -> Counter[str]:
    """Assertions that a test, or a helper that a test calls, has now and did not have before."""
    called: set[str] = set()
    for module in new.values():
        for test in module.tests:
            called |= test.called if test.collected else frozenset()
    gained: Counter[str] = Counter()
    for path, module in new.items():
        for name, test in module.by_name.items():
            before = old[path].by_name.get(name) if path in old else None
            if before is not None and before.source == test.source:
                continue
            if test.collected or (test.short in called and not test.short.startswith("test")):
                was = Counter(claim.text for claim in before.live) if before else Counter[str]()
                gained += Counter(claim.text for claim in test.live) - was
    return gained


def _new_cases(old: _Modules, new: _Modules) -> tuple[str, ...]:
    """The parameter sets that collected tests have now and did not have before."""
    found: list[str] = []
    for path, module in new.items():
        for name, test in module.by_name.items():
            before = old[path].by_name.get(name) if path in old else None
            was = cases(before, _lists(old[path])) if before else []
            if test.collected:
                found += [case for case in cases(test, _lists(module)) if case not in was]
    return tuple(found)


def _texts(modules: _Modules, others: _Modules) -> Counter[str]:
    """The live assertions of the functions that are not the same in `others`, counted."""
    return Counter(
        claim.text
        for path, module in modules.items()
        for name, test in module.by_name.items()
        if not _is_same(test, others[path].by_name.get(name) if path in others else None)
        for claim in test.live
    )


def _is_same(test: Test, other: Test | None) -> bool:
    return other is not None and other.source == test.source


def _gone(files: Files) -> frozenset[str]:
    """Names that the code used before the change and does not after it, in lower case."""
    before: set[str] = set()
    after: set[str] = set()
    for file in files.of(Kind.SOURCE):
        before |= _defined(file.old)
        after |= _defined(file.new)
        if file.old is not None and file.new is None:
            before.add(file.name.removesuffix(".py"))
    names = (name.lower() for name in before - after)
    return frozenset(name for name in names if len(name) > 3 and not name.startswith("__"))


def _defined(text: str | None) -> set[str]:
    tree = parse(text)
    names: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            names.add(node.arg)
        elif isinstance(node, ast.Attribute | ast.Name):
            names.add(says.name_of(node))
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).rpartition(".")[2])
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.isidentifier()
        ):
            names.add(node.value)
    return names
