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

from self_coding.audit.claims import Claim, forgives
from self_coding.audit.definitions import withdrawn_names
from self_coding.audit.files import File, Kind
from self_coding.audit.skips import compare_marks, compare_module_marks, is_off
from self_coding.audit.syntax import (
    Breaches,
    Function,
    dotted,
    enclosing,
    finding,
    is_unreadable,
    name_of,
    nodes,
    quote,
    strings,
    unparse,
)
from self_coding.audit.test_modules import Module, Modules, Sides, Test, cases
from self_coding.audit.weakening import Around, bare, compare, without
from self_coding.values.verdicts import Finding

_GOLDEN = re.compile(
    r"(?:^|/)(?:__snapshots__|snapshots?|goldens?|expected|approved|cassettes)(?:/|$)|"
    r"\.(?:ambr|snap|golden|approved\.\w+|expected|out)$|(?:^|[/_.-])(?:golden|expected|snapshot)",
    re.IGNORECASE,
)
_PROSE = re.compile(
    r"(?i)(?:^|/)(?:readme|license|copying|authors|(?:[\w-]*[_-])?(?:requirements|constraints))[\w.-]*$"
    r"|\.(?:md|rst)$|(?:^|/)\.gitignore$"
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_TEST_WORD = re.compile(r"Test(?:s|Case)?")
_RUN_CLASS = re.compile(r"^Test|(?:Case|Tests?)$")
_AWAITED = re.compile(r"asyncio|anyio|trio|curio|tornado")
_TEXT_CLAIMS = {  # how a source that is not valid Python 3 is read
    "def test": re.compile(r"^[^\S\n]*(?:async )?def test", re.M),
    "assert": re.compile(r"^[^\S\n]*assert\b|\.assert\w+\(", re.M),
}


def audit_tests(sides: Sides) -> Iterator[Finding]:
    """Yield every test and helper that went, or says less than before."""
    old, new = sides.old, sides.new
    # what a test, or a helper that a test calls, claims now and did not before; without the names
    # of variables, so that an assertion is recognised under another one
    used = _called(new)
    moved: Counter[str] = Counter()
    # What a helper claims that none did before; on a condition it may never do so.
    helping = (t for m in old.values() for t in m.tests if not t.collected)
    said = tuple(claim for helper in helping for claim in helper.live)
    gains: dict[str, list[Claim]] = {}
    added_cases: list[str] = []
    for test, was in _with_counterparts(new, old):
        called = test.short_name in used and not test.short_name.startswith("test")
        if (test.collected or called) and not test.is_same(was):
            had = Counter(bare(claim.text) for claim in was.live) if was else Counter()
            if called and (more := without(test.live, said)):
                gains[test.short_name] = [claim for claim in more if not claim.reach]
            moved += Counter(bare(claim.text) for claim in test.live) - had
        if test.collected:
            old_cases = cases(was, old[test.path]) if was else []
            added_cases += [case for case in cases(test, new[test.path]) if case not in old_cases]
    sources = sides.files.of(Kind.SOURCE)
    added = [line for file in sources for _, line in file.added_lines if line.strip()]
    cut = [line for file in sources for line in file.removed_lines if line.strip()]
    words = {word for word in _WORD.findall("\n".join(cut)) if len(word) > 4}
    shrinks = len(cut) >= len(added) + 3 and not sides.strict
    around = Around(
        moved=moved, gains=gains, gone=withdrawn_names(sides.files), cases=tuple(added_cases),
        touched=frozenset([*words, *_WORD.findall("\n".join(added))]),
        cut=frozenset(words if shrinks else ()),
        touches_source=sides.files.touches_source, strict=sides.strict,
    )  # fmt: skip
    search = _Search(old, new)
    # where no code changes, the new tests must be about nearly the same
    whole, one = (0.5, 0.4) if around.touches_source else (0.8, 0.6)
    all_renewed = not sides.strict and _is_renewed(old, new, around, whole)
    for path, module in old.items():
        now = new.get(path)
        if now is not None:
            yield from compare_module_marks(module, now)
        renewed = all_renewed or (
            not sides.strict
            and now is not None
            and _is_renewed({path: module}, {path: now}, around, one)
        )
        others = {test.name: test for test in now.tests if not test.collected} if now else {}
        helpers = [
            helper
            for name, helper in module.by_name.items()
            if not helper.collected and not helper.is_same(others.get(name))
        ]
        owners = (helper.owner.name for helper in helpers if helper.owner)
        aids = frozenset([*(helper.short_name for helper in helpers), *owners])
        yield from _module(module, now, search, replace(around, renewed=renewed, aids=aids))


def _module(
    before: Module, after: Module | None, search: _Search, around: Around
) -> Iterator[Finding]:
    lost: list[Test] = []
    for test in before.by_name.values():
        now = after.by_name.get(test.name) if after else None
        if now is None or after is None:
            # a bare generator was never run
            dead = test.yields and not test.decorators
            lost += [test] if test.collected and not dead else []
        elif test.collected and not now.collected:
            yield now.finding("test-uncollected", f"{test.name} is no longer collected as a test")
        else:
            yield from _pair(test, now, search, around)
    unaccounted: list[Test] = []
    for test in lost:
        heir = search.successor(test)
        if heir is not None:
            yield from _pair(test, heir, search, around)
        elif search.uncollected(test) or not (around.renewed or search.accounts_for(test, around)):
            unaccounted.append(test)
    missed = {test.owner.name for test in unaccounted if test.owner}
    yield from _classes(before, after, search, around, missed)
    hidden = {test.name: search.uncollected(test) for test in unaccounted}
    if after is None and unaccounted and not any(hidden.values()):  # one finding for them all
        names = ", ".join([*hidden][:3]) + (", ..." if unaccounted[3:] else "")
        message = f"the file is gone with {len(unaccounted)} tests: {names}"
        yield finding("test-removed", before.path, 0, message)
        return
    for test in unaccounted:
        elsewhere = hidden[test.name]
        if elsewhere:
            message = f"{test.name} is now {elsewhere}, which is not collected as a test"
            yield test.finding("test-renamed-out", message)
        else:
            yield test.finding("test-removed", f"{test.name} is gone")


def _classes(
    before: Module, after: Module | None, search: _Search, around: Around, missed: set[str]
) -> Iterator[Finding]:
    """Yield the classes that are gone with tests that they only inherit, and with no reason; those
    whose tests are `missed` give none to what inherits them."""
    now = {
        n.name: n for m in search.new.values() for n in m.tree.body if isinstance(n, ast.ClassDef)
    }
    had = {node.name: node for node in before.tree.body if isinstance(node, ast.ClassDef)}
    for name, node in had.items():
        inherits = set(map(name_of, node.bases)) & {*had, *before.imports} - {"object"}
        # what is a test by its name, or unittest's; what only others inherit is theirs
        runs = any(map(_RUN_CLASS.search, (name, *map(name_of, node.bases))))
        tests = runs and any(re.search("(?i)mixin|base|tests?$|case", base) for base in inherits)
        # a class with tests of its own is accounted for by them
        own = any(isinstance(n, Function) and n.name.startswith("test") for n in node.body)
        again = {_TEST_WORD.sub("", n) for n, one in now.items() if one.bases}
        here = name in now or _TEST_WORD.sub("", name) in again
        gone = set(map(name_of, node.bases)) & had.keys() - now.keys() - missed
        if here or own or not tests or gone or (after is None and around.renewed):
            continue
        words = {word.lower() for word in _WORD.findall(unparse(node))}
        renamed = any(
            unparse(n)[len(n.name) + 6 :] == unparse(node)[len(name) + 6 :]
            for n in now.values()
            if n.name.startswith("Test") or not name.startswith("Test")
        )
        if not renamed and around.gone.isdisjoint(words):
            message = f"{name} is gone with the tests that it inherits"
            yield finding("test-removed", before.path, node, message)


def _pair(old: Test, new: Test, search: _Search, around: Around) -> Iterator[Finding]:
    """Yield what one function says less than before: claims, marks, parameter sets, form."""
    before, after = search.old[old.path], search.new[new.path]
    same = old.is_same(new)
    if same and before.frame == after.frame:
        return
    if not same and old.body != new.body and not is_off(old, before):
        yield from compare(old, new, around)
    yield from compare_marks(old, new, before, after)
    if not (old.collected and new.collected):
        return
    was, now = cases(old, before), cases(new, after)
    lost = [case for case in was if case not in now]
    sets = [m.args[1] for m in new.decorators if isinstance(m, ast.Call) and m.args[1:]]
    given = (after.value(one.id) if isinstance(one, ast.Name) else one for one in sets)
    if any(isinstance(one, ast.Call) for one in given):
        lost = []  # what a call gives shows in the run, as a test that is no longer collected
    if lost and len(now) < len(was):
        names = {name.lower() for name in _WORD.findall(" ".join(lost))}
        rest = re.sub(r"\s+", "", unparse(after.tree))
        nowhere = [case for case in lost if re.sub(r"\s+", "", case) not in rest]
        # one that ran on a condition only, of which nothing is left
        marks = ((case, re.findall(r"marks=\[?([\w.]+)", case)) for case in nowhere)
        nowhere = [case for case, names in marks if not names or names[0].split(".")[0] in rest]
        touched = names & {word.lower() for word in around.touched if len(word) > 3}
        rewritten = sum(case not in was for case in now) >= 0.6 * len(lost)
        rewritten = rewritten and around.judged
        if nowhere and not (rewritten or touched) and around.gone.isdisjoint(names):
            fewer = len(was) - len(now)
            message = f"{new.name} runs {fewer} fewer cases, without {quote(nowhere[0])}"
            yield new.finding("cases-removed", message)
    # forms in which a test is still collected, but does not run
    if new.yields and not old.yields:
        message = f"{new.name} yields now, so pytest does not run it"
        yield new.finding("test-uncollected", message)
    was_async, is_async = (isinstance(test.node, ast.AsyncFunctionDef) for test in (old, new))
    awaited = was_async or new.owner or _AWAITED.search(unparse(after.tree))
    if is_async and not awaited:
        yield new.finding("test-uncollected", f"{new.name} is async now, and nothing awaits it")
    had = _wrappers(old, search.old)
    for name, wrapper in _wrappers(new, search.new).items():
        kept = name in had and not _runs_its_argument(had[name])
        if not kept and not _runs_its_argument(wrapper):
            message = f"{new.name} is wrapped by {wrapper.name}, which keeps it from failing"
            yield new.finding("test-wrapped", message)


def _wrappers(test: Test, modules: Modules) -> dict[str, Test]:
    """Return the functions of changed modules that are put on or around a test, by name."""
    names = modules[test.path].imports
    blocks = [n for n in nodes(test.node) if isinstance(n, ast.With | ast.AsyncWith)]
    contexts = [item.context_expr for block in blocks for item in block.items]
    found: dict[str, Test] = {}
    for node in (*test.decorators, *contexts):
        name = dotted(node.func if isinstance(node, ast.Call) else node)
        first, dot, rest = name.partition(".")
        place, _, short = f"{names.get(first, first)}{dot}{rest}".rpartition(".")
        for path, module in modules.items():
            stem = path.removesuffix("/__init__.py").removesuffix(".py").rpartition("/")[2]
            here = stem == place.rpartition(".")[2] if place else path == test.path
            if here and short in module.by_name:
                found[name] = module.by_name[short]
    return found


def _runs_its_argument(wrapper: Test) -> bool:
    """Return whether a decorator calls, or gives back, what it is put on, or a context manager
    runs its block, and does not catch how that fails."""
    functions = [n for n in nodes(wrapper.node) if isinstance(n, Function)]
    names = {arg.arg for function in functions for arg in function.args.args}
    managed = any("contextmanager" in unparse(d) for d in wrapper.node.decorator_list)
    runs = False
    for node in nodes(wrapper.node):
        used = [node.func, *node.args] if isinstance(node, ast.Call) else []
        match used:  # methods that are exchanged
            case [ast.Name(id="setattr" | "delattr"), ast.Name(id=name), ast.Name(), *_]:
                if name in names:
                    return False
        given = [node.value] if isinstance(node, ast.Return) else used
        if any(name_of(n) in names for n in given if isinstance(n, ast.Name)) or (
            managed and isinstance(node, ast.Yield)
        ):
            if any(forgives(outer) for outer, inside in enclosing(wrapper.node, node) if inside):
                return False
            runs = True
    return runs


def unreadable(file: File, sides: Sides) -> Breaches:
    """Yield Python that only the audit cannot read, wherever it is, and test modules that no
    longer parse; what never did is compared as text."""
    if file.is_python and file.new is not None and is_unreadable(file.new):
        yield "test-unparsable", 0, "is nested too deep, or holds a number too long, to be read"
        return
    if file.new is None or file.path in sides.new or not file.is_beside_tests:
        return
    if file.path in sides.old:
        yield "test-unparsable", 0, "no longer parses as Python 3"
    for word, pattern in _TEXT_CLAIMS.items() if file.path not in sides.old else ():
        fewer = len(pattern.findall(file.old or "")) - len(pattern.findall(file.new))
        if fewer > 0:
            yield "assert-removed", 0, f"{fewer} fewer lines contain {word!r} (not valid Python 3)"


def data(file: File, sides: Sides) -> Breaches:
    """Yield test data that went, shrank, or was rewritten without a reason in the code."""
    files = sides.files
    golden = _GOLDEN.search(file.path)
    loose = file.kind in {Kind.OTHER, Kind.PROSE} and "docs" not in file.path.split("/")
    is_data = file.kind is Kind.DATA or (golden and loose)
    if not is_data or file.old is None or _PROSE.search(file.path):
        return
    given = any(  # what it is made from
        other.kind is Kind.DATA and other.old is not None and not _GOLDEN.search(other.path)
        for other in files.changed
        if other.path.removesuffix(other.name) == file.path.removesuffix(file.name)
    )
    if file.new is None:
        arrived = [other for other in files.changed if other.old is None]
        moved = any(other.new == file.old or other.name == file.name for other in arrived)
        stem = file.name.partition(".")[0]
        unread = any(
            stem in (test.old or "") and stem not in (test.new or "")
            for test in files.of(Kind.TEST, Kind.SUPPORT)
        )
        if not (moved or unread or files.touches_source):
            yield "test-data-removed", 0, "test data is gone"
    elif not sides.strict and (files.touches_source or (golden and given)):
        return
    elif golden:
        yield "snapshot-rewritten", 0, "was rewritten, and no code changed"
    elif _rows(file, file.new) < _rows(file, file.old):
        yield "test-data-shrunk", 0, "has fewer lines, and no code changed"


def _rows(file: File, text: str) -> int:
    """Return how many lines tell a case: each item of a list in YAML, else all but comments."""
    begins = "-" if file.name.endswith((".yml", ".yaml")) and "- " in text else ""
    rows = map(str.strip, text.splitlines())
    return sum(bool(row) and row[0] != "#" and row.startswith(begins) for row in rows)


# Where the tests that went may have gone: moved, renamed, merged, or without a subject


class _Search:
    """The tests that only the new side has, each of which stands in for one that went at most."""

    def __init__(self, old: Modules, new: Modules) -> None:
        self.old, self.new = old, new
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

    def accounts_for(  # noqa: PLR0911 - one return per account
        self, test: Test, around: Around
    ) -> bool:
        """Return whether what a lost test claimed is claimed elsewhere, or its subject is gone."""
        names = {name.lower() for name in (*test.names, *strings(nodes(test.node)))}
        here = self.new.get(test.path)
        if test.owner and here and test.owner.name not in here.classes:  # all that the class was
            names |= {name.lower() for name in _WORD.findall(unparse(test.owner))}
        # Its class is imported from a changed module that had the test: there it is compared. What
        # an unchanged one holds is not known here.
        full = here.imports.get(test.owner.name, "").strip(".") if here and test.owner else ""
        file = f"{full.rpartition('.')[0].rpartition('.')[2]}.py"
        there = [path for path in self.new if path.rpartition("/")[2] == file]
        if there and all(p in self.old and test.name in self.old[p].by_name for p in there):
            return True
        if not test.body or not around.gone.isdisjoint(names) or around.cut & test.names:
            return True
        if is_off(test, self.old[test.path]):
            return True
        live, texts = test.live, {claim.text for claim in test.live}
        related = [
            t
            for t in self._added
            if test.likeness(t) >= 0.4 or not texts.isdisjoint(claim.text for claim in t.live)
        ]
        moved = sum(around.moved[bare(claim.text)] > 0 for claim in live)
        as_much = sum(t.strength for t in related) >= test.strength
        if live and (moved == len(live) or (moved >= 0.6 * len(live) and as_much)):
            return True
        added = [_literals(ast.parse(case)) for case in around.cases]
        # each of its parameter sets, or else of its claims, in a parameter set that is new
        wanted = [_literals(ast.parse(case)) for case in cases(test, self.old[test.path])]
        wanted = wanted or [_literals(claim.node) for claim in live]
        if live and all(w and any(w <= case for case in added) for w in wanted):
            return True
        # where code changes, what like tests of its module still say; the base's own test judges it
        if around.judged:
            modules = self.new.values() if here is None else (here,)
            every = (t for module in modules for t in module.by_name.values() if t.collected)
            like = (t.strength for t in every if test.likeness(t) >= 0.4)
            if sum(like) >= max(test.strength, 1):
                return True
        # the same body in a class that a collected class inherits
        for other in (other for module in self.new.values() for other in module.tests):
            if other.body == test.body and (other.collected or self._is_inherited(other)):
                return True
        # at last by likeness: a test about mostly the same names that claims about as much
        alike = [t for t in self._added if test.likeness(t) >= 0.4 and t.live]
        for candidate in sorted(alike, key=test.likeness, reverse=True):
            enough = candidate.strength >= 0.7 * test.strength
            if len(cases(candidate)) > 1 or (enough and id(candidate) not in self._used):
                self._used.add(id(candidate))
                return True
        return False

    def uncollected(self, test: Test) -> str:
        """Return the name under which a lost test lives on without being collected."""
        for module in self.new.values():
            for other in module.tests:
                same = other.body and other.body == test.body
                if same and not other.collected and not self._is_inherited(other):
                    return f"{other.name} in {module.path}"
        return ""

    def _is_inherited(self, test: Test) -> bool:
        """Return whether a class of the change has the test from the class that it is in."""
        classes = [node for module in self.new.values() for node in module.tree.body]
        bases = {name_of(b) for n in classes if isinstance(n, ast.ClassDef) for b in n.bases}
        return test.owner is not None and test.owner.name in bases


def _literals(node: ast.AST) -> set[str]:
    return {unparse(n) for n in ast.walk(node) if isinstance(n, ast.Constant)}


def _is_renewed(old: Modules, new: Modules, around: Around, share: float) -> bool:
    """Return whether the tests of some files together claim as much as before, and about `share`
    of the same names."""
    was, now = (
        Counter(
            (claim.text, claim.strength)
            for test, other in _with_counterparts(*sides)
            if not test.is_same(other) and (test.collected or test.short_name in used)
            for claim in (around.said_by(test) if sides[0] is new else test.live)
            if test.collected or not claim.reach  # a helper may never meet its condition
        )
        for sides in ((old, new), (new, old))
        for used in (_called(sides[0]),)
    )
    lost, gained = was - now, now - was
    says, said = (sum(claim[1] for claim in side.elements()) for side in (gained, lost))
    fewer = gained.total() < lost.total() and not around.touches_source
    if not lost or says < said or fewer:
        return False
    words, others = (
        set(_WORD.findall(" ".join(text for text, _ in side))) for side in (lost, gained)
    )
    return len(words & others) >= share * len(words)


def _called(modules: Modules) -> frozenset[str]:
    """Return the names that the tests of some files use."""
    tests = [test for module in modules.values() for test in module.tests]
    return frozenset[str]().union(*(test.words for test in tests if test.collected))


def _with_counterparts(modules: Modules, others: Modules) -> Iterator[tuple[Test, Test | None]]:
    """Yield the functions of one side, each with the one of its name on the other."""
    for path, module in modules.items():
        for name, test in module.by_name.items():
            yield test, others[path].by_name.get(name) if path in others else None
