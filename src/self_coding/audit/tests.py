"""The tests of a change as a whole: each test and its data is still there, or accounted for.

Pure. A test is accounted for when it has moved or been renamed with what it claims, when its
claims are in other tests of the change, or when what it tests is gone from the code. Data may
grow, move and follow the code; where no code changes, rewriting it changes only the judge.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from self_coding.audit.files import Files, Kind, is_collected, kind_of
from self_coding.audit.skips import compare_marks, compare_module_marks
from self_coding.audit.syntax import (
    Function,
    decorator_name,
    finding,
    name_of,
    parse,
    quote,
    unparse,
    walk,
)
from self_coding.audit.test_modules import Module, Modules, Test, cases, read_module
from self_coding.audit.weakening import Around, bare, compare
from self_coding.values.verdicts import Finding

_GOLDEN = re.compile(
    r"(?:^|/)(?:__snapshots__|snapshots?|goldens?|expected|approved|cassettes)(?:/|$)|"
    r"\.(?:ambr|snap|golden|approved\.\w+|expected|out)$|(?:^|[/_.-])(?:golden|expected|snapshot)",
    re.IGNORECASE,
)
_PROSE = re.compile(
    r"(?i)(?:^|/)(?:readme|license|copying|authors)[\w.]*$|\.(?:md|rst)$|(?:^|/)\.gitignore$"
)
_AWAITED = re.compile(r"asyncio|anyio|trio|curio|tornado")
_TEXT_CLAIMS = {  # how a source that is not valid Python 3 is read
    "def test": re.compile(r"^\s*(?:async )?def test", re.M),
    "assert": re.compile(r"^\s*assert\b|\.assert\w+\(", re.M),
}


def read_side(files: Files, *, new: bool) -> Modules:
    """Return the test modules and helpers of one side."""
    settings = files.new_settings if new else files.settings
    modules: Modules = {}
    for file in files.changed:
        kind = file.kind
        if new and kind in {Kind.SOURCE, Kind.OTHER} and file.name.endswith(".py"):
            kind = kind_of(file.path, settings)
        if kind in {Kind.TEST, Kind.SUPPORT}:
            runs = kind is Kind.TEST and (
                not new
                or is_collected(file.path, files.settings)
                or is_collected(file.path, files.new_settings)
            )
            module = read_module(file.path, file.new if new else file.old, settings, runs=runs)
            if module is not None:
                modules[file.path] = module
    return modules


def audit_tests(
    files: Files, old: Modules, new: Modules, *, strict: bool = False
) -> Iterator[Finding]:
    """Yield every test, helper and data file that went, or says less, given both sides' modules."""
    touches_source = files.touches_source
    around = Around(
        moved=_moved_claims(old, new),
        cases=_new_cases(old, new),
        gone=_gone_names(files),
        touches_source=touches_source,
        strict=strict,
    )
    yield from _unreadable(files, old, new)
    yield from _data(files, excused=touches_source and not strict)
    search = _Search(old, new)
    for path, before in old.items():
        after = new.get(path)
        if after is not None:
            yield from compare_module_marks(before, after)
        renewed = (
            touches_source
            and not strict
            and (
                (after is not None and _is_renewed({path: before}, {path: after}, 0.6))
                or _is_renewed(old, new, 0.8)
            )
        )
        here = replace(around, renewed=renewed, aids=_changed_helpers(before, after))
        yield from _module(before, after, search, here)


def _module(
    before: Module, after: Module | None, search: _Search, around: Around
) -> Iterator[Finding]:
    missing: list[Test] = []
    for test in before.by_name.values():
        now = after.by_name.get(test.name) if after else None
        if now is None or after is None:
            missing += [test] if test.collected else []
        elif test.collected and not now.collected:
            message = f"{test.name} is no longer collected as a test"
            yield now.finding("test-uncollected", message)
        else:
            yield from _pair(test, now, before, after, around)
    hidden: list[tuple[Test, str]] = []
    removed: list[Test] = []
    for test in missing:
        heir = search.successor(test)
        if heir is not None:
            yield from _pair(test, heir, before, search.new[heir.path], around)
        elif not around.renewed and not search.accounts_for(test, around):
            elsewhere = search.uncollected(test)
            if elsewhere:
                hidden.append((test, elsewhere))
            else:
                removed.append(test)
    if after is None and removed and not hidden:  # one finding for a file that went
        names = ", ".join(test.name for test in removed[:3]) + (", ..." if removed[3:] else "")
        message = f"the file is gone with {len(removed)} tests: {names}"
        yield finding("test-removed", before.path, 0, message)
        return
    for test, elsewhere in hidden:
        message = f"{test.name} is now {elsewhere}, which is not collected as a test"
        yield finding("test-renamed-out", before.path, test.node, message)
    for test in removed:
        yield finding("test-removed", before.path, test.node, f"{test.name} is gone")


def _pair(old: Test, new: Test, before: Module, after: Module, around: Around) -> Iterator[Finding]:
    """Yield what one function says less than before: claims, marks, parameter sets, form."""
    same = old.source == new.source
    if same and before.frame == after.frame:
        return
    if not same and old.body != new.body:
        yield from compare(old, new, around)
    yield from compare_marks(old, new, before, after)
    if not (old.collected and new.collected):
        return
    was, now = cases(old, before), cases(new, after)
    lost = [case for case in was if case not in now]
    if lost and len(now) < len(was):
        names = {name.lower() for name in re.findall(r"[A-Za-z_]\w*", " ".join(lost))}
        rest = re.sub(r"\s+", "", unparse(after.tree))
        nowhere = [case for case in lost if re.sub(r"\s+", "", case) not in rest]
        if nowhere and around.gone.isdisjoint(names):
            fewer = len(was) - len(now)
            message = f"{new.name} runs {fewer} fewer cases, without {quote(nowhere[0])}"
            yield new.finding("cases-removed", message)
    yield from _form(old, new, after)


def _form(old: Test, new: Test, after: Module) -> Iterator[Finding]:
    """Yield changes by which a test is still collected, but does not run."""
    yields, yielded = (
        any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(test.node))
        for test in (new, old)
    )
    if yields and not yielded:
        message = f"{new.name} yields now, so pytest does not run it"
        yield new.finding("test-uncollected", message)
    asynchronous, was = (isinstance(test.node, ast.AsyncFunctionDef) for test in (new, old))
    if asynchronous and not was and not new.owner and not _AWAITED.search(unparse(after.tree)):
        message = f"{new.name} is async now, and nothing awaits it"
        yield new.finding("test-uncollected", message)
    for decorator in new.node.decorator_list:
        wrapper = after.by_name.get(decorator_name(decorator))
        if wrapper is not None and not _runs_its_argument(wrapper):
            message = f"{new.name} is wrapped by {wrapper.name}, which never calls it"
            yield new.finding("test-wrapped", message)


def _runs_its_argument(decorator: Test) -> bool:
    """Return whether a decorator calls, or gives back, what it is put on."""
    functions = [n for n in ast.walk(decorator.node) if isinstance(n, ast.FunctionDef)]
    names = {arg.arg for function in (decorator.node, *functions) for arg in function.args.args}
    for node in ast.walk(decorator.node):
        used = (node.func, *node.args) if isinstance(node, ast.Call) else ()
        if any(isinstance(n, ast.Name) and n.id in names for n in used):
            return True
        if isinstance(node, ast.Return) and name_of(node.value) in names:
            return True
    return False


def _unreadable(files: Files, old: Modules, new: Modules) -> Iterator[Finding]:
    """Yield test modules that no longer parse; what never did is compared as text."""
    for file in files.of(Kind.TEST, Kind.SUPPORT):
        if file.new is None or file.path in new or not file.is_python:
            continue
        if file.path in old:
            yield file.finding("test-unparsable", 0, "no longer parses as Python 3")
        elif file.old is not None:
            for word, pattern in _TEXT_CLAIMS.items():
                fewer = len(pattern.findall(file.old)) - len(pattern.findall(file.new))
                if fewer > 0:
                    message = f"{fewer} fewer lines contain {word!r} (not valid Python 3)"
                    yield file.finding("assert-removed", 0, message)


def _data(files: Files, *, excused: bool) -> Iterator[Finding]:
    """Yield test data that went, shrank, or was rewritten without a reason in the code."""
    arrived = [file for file in files.changed if file.old is None]
    texts, names = {file.new for file in arrived}, {file.name for file in arrived}
    for file in files.changed:
        golden = _GOLDEN.search(file.path)
        loose = file.kind in {Kind.OTHER, Kind.PROSE} and "docs" not in file.path.split("/")
        is_data = file.kind is Kind.DATA or (golden and loose)
        if not is_data or file.old is None or _PROSE.search(file.path):
            continue
        if file.new is None:
            stem = file.name.partition(".")[0]
            unread = files.touches_source or any(
                stem in (test.old or "") and stem not in (test.new or "")
                for test in files.of(Kind.TEST, Kind.SUPPORT)
            )
            if file.old not in texts and file.name not in names and not unread:
                yield file.finding("test-data-removed", 0, "test data is gone")
        elif excused:
            continue
        elif golden:
            message = "was rewritten, and no code changed"
            yield file.finding("snapshot-rewritten", 0, message)
        elif len(file.new.splitlines()) < len(file.old.splitlines()):
            message = "has fewer lines, and no code changed"
            yield file.finding("test-data-shrunk", 0, message)


# Where the tests that went may have gone: moved, renamed, merged, or without a subject


class _Search:
    """The tests that only the new side has, each of which stands in for one that went at most."""

    def __init__(self, old: Modules, new: Modules) -> None:
        self.new = new
        self._used: set[int] = set()
        pairs = _with_counterparts(new, old)
        self._added = [test for test, before in pairs if test.collected and before is None]

    def successor(self, test: Test) -> Test | None:
        """Return the added test that is this one under another name or in another place."""
        same = [t for t in self._added if t.body and t.body == test.body]
        named = [t for t in self._added if t.short_name == test.short_name]
        for candidate in (*same, *named):
            if id(candidate) not in self._used:
                self._used.add(id(candidate))
                return candidate
        return None

    def accounts_for(self, test: Test, around: Around) -> bool:
        """Return whether what a lost test claimed is claimed elsewhere, or its subject is gone."""
        names = {name.lower() for name in test.names}
        if not test.body or not around.gone.isdisjoint(names):
            return True
        live = test.live
        texts = {claim.text for claim in live}
        moved = sum(around.moved[bare(claim.text)] > 0 for claim in live)
        related = [
            t
            for t in self._added
            if test.likeness(t) >= 0.4 or not texts.isdisjoint(claim.text for claim in t.live)
        ]
        as_much = sum(t.strength for t in related) >= test.strength
        if live and (moved == len(live) or (moved >= 0.6 * len(live) and as_much)):
            return True
        if live and all(_is_a_case(claim.node, around.cases) for claim in live):
            return True
        for module in self.new.values():
            for other in module.tests:
                if other.body == test.body and (other.collected or self._is_inherited(other)):
                    return True
        alike = [t for t in self._added if test.likeness(t) >= 0.4 and t.live]
        for candidate in sorted(alike, key=test.likeness, reverse=True):
            enough = candidate.strength >= 0.7 * test.strength
            if len(cases(candidate)) > 1 or (enough and id(candidate) not in self._used):
                self._used.add(id(candidate))
                return True
        return False

    def _is_inherited(self, test: Test) -> bool:
        """Return whether a collected module has a class made from the one of this test."""
        return test.owner is not None and any(
            isinstance(node, ast.ClassDef) and test.owner.name in map(name_of, node.bases)
            for module in self.new.values()
            for node in module.tree.body
        )

    def uncollected(self, test: Test) -> str:
        """Return the name under which a lost test lives on without being collected."""
        for module in self.new.values():
            for other in module.tests:
                if not other.collected and other.body and other.body == test.body:
                    return f"{other.name} in {module.path}"
        return ""


def _is_a_case(claim: ast.expr, added: tuple[str, ...]) -> bool:
    """Return whether some new parameter set holds every literal of an assertion."""

    def literals(node: ast.AST) -> set[str]:
        return {unparse(n) for n in ast.walk(node) if isinstance(n, ast.Constant)}

    wanted = literals(claim)
    return bool(wanted) and any(wanted <= literals(ast.parse(case)) for case in added)


def _is_renewed(old: Modules, new: Modules, share: float) -> bool:
    """Return whether the tests of some files together claim as much as before, and about `share`
    of the same names."""
    was, now = _changed_claims(old, new), _changed_claims(new, old)
    lost, gained = was - now, now - was
    if gained.total() < lost.total():
        return False
    words, others = (set(re.findall(r"[A-Za-z_]\w*", " ".join(side))) for side in (lost, gained))
    return len(words & others) >= share * len(words)


def _changed_claims(modules: Modules, others: Modules) -> Counter[str]:
    """Return the live assertions of the functions that `others` has not in the same form."""
    changed = (
        test for test, other in _with_counterparts(modules, others) if not test.is_same(other)
    )
    return Counter(claim.text for test in changed for claim in test.live)


def _with_counterparts(modules: Modules, others: Modules) -> Iterator[tuple[Test, Test | None]]:
    """Yield the functions of one side, each with the one of its name on the other."""
    for path, module in modules.items():
        for name, test in module.by_name.items():
            yield test, others[path].by_name.get(name) if path in others else None


def _changed_helpers(before: Module, after: Module | None) -> frozenset[str]:
    """Return the functions of a test module, other than tests, that change, and their classes."""
    now = {test.name: test for test in after.tests if not test.collected} if after else {}
    changed = [
        test
        for name, test in before.by_name.items()
        if not test.collected and not test.is_same(now.get(name))
    ]
    owners = (test.owner.name for test in changed if test.owner)
    return frozenset([*(test.short_name for test in changed), *owners])


def _moved_claims(old: Modules, new: Modules) -> Counter[str]:
    """Return assertions that a test, or a helper that a test calls, has now and had not before."""
    tests = [test for module in new.values() for test in module.tests if test.collected]
    used = frozenset[str]().union(*(test.names for test in tests))
    gained: Counter[str] = Counter()
    for test, before in _with_counterparts(new, old):
        called = test.short_name in used and not test.short_name.startswith("test")
        if (test.collected or called) and not test.is_same(before):
            had = Counter(bare(claim.text) for claim in before.live) if before else Counter()
            gained += Counter(bare(claim.text) for claim in test.live) - had
    return gained


def _new_cases(old: Modules, new: Modules) -> tuple[str, ...]:
    """Return the parameter sets that collected tests have now and did not have before."""
    return tuple(
        case
        for test, before in _with_counterparts(new, old)
        if test.collected
        for case in cases(test, new[test.path])
        if before is None or case not in cases(before, old[test.path])
    )


def _gone_names(files: Files) -> frozenset[str]:
    """Return names that the code defined before the change and does not after it, in lower case."""
    before: set[str] = set()
    after: set[str] = set()
    for file in files.of(Kind.SOURCE):
        before |= _defined_names(parse(file.old)) | ({file.name} if file.new is None else set())
        after |= _defined_names(parse(file.new))
    names = (name.lower() for name in before - after)
    return frozenset(name for name in names if len(name) > 3 and not name.startswith("__"))


def _defined_names(tree: ast.Module | None) -> set[str]:
    names: set[str] = set()
    for node in walk(tree):
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(f"{node.arg}=")  # gone for those who pass it by name
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            names.add(node.attr)
    for statement in tree.body if tree else ():
        if isinstance(statement, ast.Assign):
            names |= set(map(name_of, statement.targets))
    return names
