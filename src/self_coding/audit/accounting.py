"""Where the tests that went may have gone: moved, renamed, merged, or without a subject.

Pure. It answers from what stands in the change alone; a lost test that nothing here accounts
for is a finding of `tests`.
"""

from __future__ import annotations

import ast
import re
from collections import Counter

from self_coding.audit import strength as says
from self_coding.audit.files import Files, Kind
from self_coding.audit.reading import Module, Test, parse
from self_coding.audit.weakening import Around, bare, cases

Modules = dict[str, Module]


def is_renewed(old: Modules, new: Modules, share: float) -> bool:
    """Whether the tests of some files together claim as much as before, and about `share` of the
    same names."""
    was, now = _texts(old, new), _texts(new, old)
    if sum((now - was).values()) < sum((was - now).values()):
        return False
    lost = _words(was - now)
    return len(lost & _words(now - was)) >= share * len(lost)


def aids(before: Module, after: Module | None) -> frozenset[str]:
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


def successor(test: Test, pool: list[Test], used: Counter[int]) -> Test | None:
    """The added test that is this one under another name or in another place."""
    same = [t for t in pool if t.body == test.body and t.body not in {"", "pass"}]
    named = [t for t in pool if t.short == test.short]
    for candidate in (*same, *named):
        if not used[id(candidate)]:
            used[id(candidate)] += 1
            return candidate
    return None


def is_accounted(
    test: Test, pool: list[Test], new: Modules, used: Counter[int], around: Around
) -> bool:
    """Whether what a lost test claimed is claimed elsewhere, or its subject is gone."""
    live = test.live
    named = {name.lower() for name in test.called}
    if test.body in {"", "pass", "..."} or not around.gone.isdisjoint(named):
        return True
    here = sum(around.moved[bare(claim.text)] > 0 for claim in live)
    said = sum(claim.strength for claim in live)
    related = [t for t in pool if _alike(t, test) >= 0.4 or _shares_a_claim(t, test)]
    as_much = sum(claim.strength for t in related for claim in t.live) >= said
    if live and (here == len(live) or (here >= 0.6 * len(live) and as_much)):
        return True
    if live and all(_is_a_case(claim.node, around.cases) for claim in live):
        return True
    for module in new.values():
        for other in module.tests:
            if other.body == test.body and (other.collected or _is_inherited(other, new)):
                return True
    for candidate in sorted(pool, key=lambda t: -_alike(t, test)):
        if _alike(candidate, test) < 0.4:
            break
        more = len(cases(candidate)) > 1
        enough = sum(claim.strength for claim in candidate.live) >= 0.7 * said
        if candidate.live and (more or (enough and not used[id(candidate)])):
            used[id(candidate)] += 1
            return True
    return False


def _shares_a_claim(one: Test, two: Test) -> bool:
    return not {claim.text for claim in one.live}.isdisjoint(claim.text for claim in two.live)


def _alike(one: Test, two: Test) -> float:
    union = one.called | two.called
    return len(one.called & two.called) / len(union) if union else 0.0


def hidden(test: Test, new: Modules) -> str:
    """The name under which a lost test lives on without being collected."""
    for module in new.values():
        for other in module.tests:
            if not other.collected and other.body == test.body and other.body not in {"", "pass"}:
                return f"{other.name} in {module.path}"
    return ""


def _is_inherited(test: Test, new: Modules) -> bool:
    """Whether a collected module has a class made from the one that this test stands in."""
    return test.owner is not None and any(
        isinstance(node, ast.ClassDef)
        and test.owner.name in {says.name_of(base) for base in node.bases}
        for module in new.values()
        for node in module.tree.body
    )


def _is_a_case(claim: ast.expr, gained: tuple[str, ...]) -> bool:
    """Whether some new parameter set holds every literal of an assertion."""
    literals = {ast.unparse(n) for n in ast.walk(claim) if isinstance(n, ast.Constant)}
    return bool(literals) and any(
        literals
        <= {ast.unparse(n) for n in ast.walk(ast.parse(case)) if isinstance(n, ast.Constant)}
        for case in gained
    )


def moved(old: Modules, new: Modules) -> Counter[str]:
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
                was = _counted(before) if before else Counter[str]()
                gained += _counted(test) - was
    return gained


def _counted(test: Test) -> Counter[str]:
    return Counter(bare(claim.text) for claim in test.live)


def new_cases(old: Modules, new: Modules) -> tuple[str, ...]:
    """The parameter sets that collected tests have now and did not have before."""
    found: list[str] = []
    for path, module in new.items():
        for name, test in module.by_name.items():
            before = old[path].by_name.get(name) if path in old else None
            was = cases(before, lists(old[path])) if before else []
            if test.collected:
                found += [case for case in cases(test, lists(module)) if case not in was]
    return tuple(found)


def _texts(modules: Modules, others: Modules) -> Counter[str]:
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


def gone(files: Files) -> frozenset[str]:
    """Names that the code defined before the change and does not after it, in lower case."""
    before: set[str] = set()
    after: set[str] = set()
    for file in files.of(Kind.SOURCE):
        before |= _defined(file.old)
        after |= _defined(file.new)
        if file.old is not None and file.new is None:
            before.add(file.name)
    names = (name.lower() for name in before - after)
    return frozenset(name for name in names if len(name) > 3 and not name.startswith("__"))


def _defined(text: str | None) -> set[str]:
    tree = parse(text)
    names: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(f"{node.arg}=")  # gone for those who pass it by name
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            names.add(node.attr)
    for statement in tree.body if tree else ():
        if isinstance(statement, ast.Assign):
            names |= {says.name_of(target) for target in statement.targets}
    return names


def lists(module: Module) -> dict[str, ast.expr]:
    """The lists that a module binds at its top level."""
    found: dict[str, ast.expr] = {}
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Tuple | ast.Set):
            found |= {says.name_of(target): node.value for target in node.targets}
    return found


def added(old: Modules, new: Modules) -> list[Test]:
    """The tests that only the new side has."""
    known = {(path, name) for path, module in old.items() for name in module.by_name}
    return [
        test
        for path, module in new.items()
        for name, test in module.by_name.items()
        if (path, name) not in known and test.collected
    ]
