"""Pure. Does a change account for the tests of its base that fail on its code?

The base's tests have run on the candidate's code, and some fail. That is a bug, or a changed
expectation. It is accounted for where the code itself shows what was withdrawn, or where the same
test is still there, passed, and says as much: its canonical text holds every line of the base's,
and whatever it uses, fixtures, helpers, classes, cases, is what it was. What cannot be told apart
from a cheat is left to a person: this refuses rather than guesses.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from self_coding.audit.canonical import (
    Canonical,
    Side,
    gives_cases,
)
from self_coding.audit.definitions import (
    Place,
    Withdrawn,
    docstrings,
    is_special,
    names_in,
)
from self_coding.audit.files import SETTING_FILES, Kind, Settings, effective, kind_of
from self_coding.audit.syntax import (
    Function,
    bound,
    decorator_name,
    dotted,
    name_of,
    strings,
    unparse,
)
from self_coding.audit.test_modules import Module, read_module
from self_coding.languages import is_source
from self_coding.values.verdicts import BASE_JUDGE, BaseFailure, Finding

_MISSING = re.compile(
    r"cannot import name '(\w+)'|No module named '([\w.]+)'|has no attribute '(\w+)'|"
    r"name '(\w+)' is not defined|(?<!\w)(\w+)\(\) (?:got|missing|takes)|"
    r"got an unexpected keyword argument '(\w+)'|abstract class (\w+)"
)
_EXAMPLE = re.compile(r"(?m)^[ \t]*(?:>>>|\.\.\. ).*$")
# what compilers and engines of other languages say of a name that is gone, or is called otherwise
_ABSENT = re.compile(
    r"undefined: (?:\w+\.)?(\w+)|has no field or method (\w+)|arguments in call to (?:\w+\.)?(\w+)"
    r"|(?:cannot find|no) [\w, ]{1,60}+`(\w+)`|unresolved import `(?:\w++::)*+(\w+)`"
    r"|symbol: +(?:method|class|variable) (\w+)|method (\w+) in class \S+ cannot be applied"
    r"|\b(\w++) is not a (?:function|constructor)|export named '(\w+)'"
    r"|has no exported member '(\w+)'"
)
_OPENS = re.compile(r"\{[ \t]*$|\b(?:func|fn)\b")
_HARMLESS = re.compile(r"(?:.*/)?(?:\.coveragerc|noxfile\.py)")
_HARMLESS_FIXTURES = frozenset({"tmp_path", "capsys", "caplog", "request"})
_DEEPEST = 20  # classes that inherit one another
_TABLES = (".csv", ".tsv", ".yaml", ".yml", ".toml", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One side: the paths that are there, and the text of each."""

    paths: frozenset[str]
    text: Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a change whose base says no: both sides, the paths that differ, those of
    them that judge, and the outcomes of the candidate's own tests in its own run."""

    base: Tree
    candidate: Tree
    changed: tuple[str, ...]
    judging: frozenset[str]
    outcomes: Mapping[str, str] = field(default_factory=dict)


def unaccounted(
    failures: Iterable[BaseFailure], evidence: Evidence, *, strict: bool = False
) -> tuple[Finding, ...]:
    """Return a finding for each failing test of the base that the change does not account for;
    with `strict` nothing is accounted for."""
    case = _Case(evidence)
    findings = []
    for failure in failures:
        why = "no expectation may change here" if strict else case.why_not(failure)
        if why:
            path = failure.id.partition("::")[0]
            name = f"main's own test {failure.id}" if failure.id else "main's own test run"
            said = " ".join(failure.message.split())[:300]
            message = f"{name} says no to this code ({said}), and {why}"
            line = failure.line if failure.path == path else 0
            findings.append(Finding(rule=BASE_JUDGE, path=path, line=line, message=message))
    return tuple(findings)


class _Case:
    """One change, read for its failing tests."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._modules: dict[tuple[bool, str], Module | None] = {}
        self._same: dict[tuple[str, str, str], bool] = {}
        self.code = Withdrawn(
            (path, evidence.base.text(path), evidence.candidate.text(path))
            for path in evidence.changed
            if path not in evidence.judging and path.endswith(".py")
        )

    def why_not(self, failure: BaseFailure) -> str:
        """Return why a failure is not accounted for; empty where it is."""
        path, _, name = failure.id.partition("::")
        base = self._module(path, old=True) if path.endswith(".py") else None
        if base is None:
            return "" if self._withdraws(failure) else "the change does not account for it"
        if self.around:
            return f"{self.around} changes, too"
        found = (name for match in _MISSING.findall(failure.message) for name in match if name)
        missing = {part for name in found for part in (name, name.rpartition(".")[2])}
        if not name:  # the file could not be imported: any of its tests might have failed
            if not missing & (self.code.lost | self.code.resigned):
                return "nothing that the change withdraws explains it"
            reasons = (
                f"{test}: {why}" for test in base.functions if (why := self._test(path, test))
            )
            return next(reasons, "")
        test = name.split("[", 1)[0]
        if path not in self.evidence.judging and self._place(path, test, old=True) is None:
            return self._doctest(path, name)
        return self._test(path, test, missing)

    def _withdraws(self, failure: BaseFailure) -> bool:
        """Return whether a test of another language fails for a name that the code took back, or
        that is called otherwise now, and nothing but its uses changed in the tests."""
        base, candidate = self.evidence.base, self.evidence.candidate
        code = [path for path in self.evidence.changed if path not in self.evidence.judging]
        before, after = (
            "\n".join(side.text(path) or "" for path in code if is_source(path))
            for side in (base, candidate)
        )
        taken = set()
        said = f"{failure.message}\n{failure.output}"
        for name in {name for match in _ABSENT.findall(said) for name in match if name}:
            named = [
                [line for line in text.split("\n") if re.search(rf"\b{name}\b", line)]
                for text in (before, after)
            ]
            heads = ([line for line in one if _OPENS.search(line)] for one in named)
            if named[0] and next(heads) != next(heads):
                taken.add(name)
        # A name that is gone keeps all tests of a file from being built: each must say the same.
        for path in self.evidence.judging if taken else ():
            sides = (side.text(path) or "" for side in (base, candidate))
            lost, kept = (
                Counter(line.strip() for line in text.splitlines() if re.search(r"\w", line))
                for text in sides
            )
            if any(taken.isdisjoint(re.findall(r"\w+", line)) for line in lost - kept):
                return False
        return bool(taken)

    def _doctest(self, path: str, name: str) -> str:
        """Return why a doctest is not accounted for: an example that is gone, or any answer do."""
        trees = self.evidence.base, self.evidence.candidate
        before, after = (docstrings(tree.text(path) or "") for tree in trees)
        places = [one for one in before if one and name.endswith(one)] or [""] * ("" in before)
        for place in places:
            texts = (str(side[place].value) if place in side else "" for side in (before, after))
            found = [(_EXAMPLE.findall(text), _EXAMPLE.sub("", text)) for text in texts]
            (examples, answers), (examples_now, answers_now) = found
            if gone := Counter(examples) - Counter(examples_now):
                return f"its example {min(gone).strip()!r} is gone"
            if answers_now.count("...") > answers.count("..."):
                return "it takes any answer now"
        return "" if places else "where the test is defined cannot be told"

    def _test(self, path: str, test: str, missing: set[str] | None = None) -> str:
        """Return why a test of the base is not accounted for; empty where it is."""
        before = self._place(path, test, old=True)
        if before is None:  # made by a plugin
            return "where the test is defined cannot be told"
        why = ""
        for there, name in self.counterparts(path, test):
            after = self._place(there, name)
            if after is None:
                continue
            node, outcomes = f"{there}::{name}", self.evidence.outcomes
            if {o for i, o in outcomes.items() if i.split("[", 1)[0] == node} != {"passed"}:
                why = why or f"{node} did not pass in the change"
            elif differs := self._differs(before, after):
                why = why or differs
            else:
                return ""
        if why:
            return why
        names = {n.id for n in ast.walk(before.function) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(before.function) if isinstance(n, ast.Attribute)}
        withdrawn = self.code.gone & (names if missing is None else missing)
        if not withdrawn:
            return "it is gone from the change, although what it tests is not"
        renamed = withdrawn & {*self.code.renamed.values()}
        return f"{min(renamed)} was renamed and its test is gone" if renamed else ""

    def counterparts(self, path: str, test: str) -> Iterator[tuple[str, str]]:
        """Yield where the test may be now: at its place, moved, or renamed in its file."""
        yield path, test
        name = test.rpartition("::")[2]
        for other in dict.fromkeys((path, *sorted(self.evidence.judging))):
            before, after = self._module(other, old=True), self._module(other)
            for one in after.functions if after else ():
                fresh = before is None or one not in before.functions
                if fresh and (other == path or one.rpartition("::")[2] == name):
                    yield other, one

    def _place(self, path: str, test: str, *, old: bool = False) -> Place | None:
        """Return where a test is defined, be it in a class that its own inherits."""
        module = self._module(path, old=old)
        *scope, name = test.split("::")
        if module is None:
            return None
        if not scope:
            return Place(module, module.functions[name], ()) if name in module.functions else None
        around = module.classes.get("::".join(scope))
        lines = list(self._line(module, around, old=old)) if around else []
        for owner, one in lines:
            for node in reversed(one.body):  # of two with one name the last one counts
                if isinstance(node, Function) and node.name == name:
                    return Place(owner, node, tuple(lines))
        return None

    def _line(
        self, module: Module, one: ast.ClassDef, *, old: bool, depth: int = 0
    ) -> Iterator[tuple[Module, ast.ClassDef]]:
        """Yield a class and those that it inherits, each with the module that defines it."""
        yield module, one
        for base in one.bases if depth < _DEEPEST else ():
            there, name = module, name_of(base)
            if name not in module.classes and (
                full := module.imports.get(dotted(base).split(".")[0])
            ):
                side = self.evidence.base if old else self.evidence.candidate
                whole = f"{full}.{name}" if isinstance(base, ast.Attribute) else full
                path, rest = module.find(whole, side.paths)
                there, name = self._module(path, old=old) or module, rest
            if (found := there.classes.get(name)) is not None and found is not one:
                yield from self._line(there, found, old=old, depth=depth + 1)

    def _differs(self, before: Place, after: Place) -> str:
        """Return in what two sides of a test differ by more than an expectation, if they do."""
        if type(before.function) is not type(after.function):
            return "it is another kind of test"
        first, second = Side(self.code, before), Side(self.code, after, fresh=self.code.fresh)
        if lost := first.unclaimed(second):
            return lost
        handed = Counter(first.handed) - Counter(second.handed)
        if handed.total() > max(0, len(first.handed) - len(second.handed)):
            return f"it hands over other values than {', '.join(handed)}"
        return self._class(before, after) or self._uses(first, second)

    def _uses(  # noqa: PLR0911 - one return per reason
        self, first: Side, second: Side
    ) -> str:
        """Return what a test uses that is not what it was; empty where all is."""
        one, two = first.function, second.function
        before, after = first.place.module, second.place.module
        fixtures, now = ([a.arg for a in f.args.args] for f in (one, two))
        added = {*now} - {*fixtures}
        if [n for n in now if n not in added] != fixtures or not added <= _HARMLESS_FIXTURES:
            return "its parameters change"
        if len(one.decorator_list) != len(two.decorator_list):
            return "its decorators change"
        for a, b in zip(one.decorator_list, two.decorator_list, strict=True):
            same = self._alike(a, b) and not names_in(a) & first.known.keys()
            if not same and not gives_cases(first, second, a, b):
                return f"{decorator_name(b)} changes, and not by an expected value alone"
        ways = (len(m.bindings.get(f.name, [])) for m, f in ((before, one), (after, two)))
        if not first.place.line and len({*ways}) > 1:
            return "its name is bound to something else, too"
        held = first.place.members
        for name in fixtures:
            if name not in held and not self._fixture(before, after, name):
                return f"its fixture {name} changes"
        literal = first.known.keys() & second.known.keys()  # compared where they are used
        for name in sorted(names_in(one) - {*bound(one)} - {*fixtures} - literal):
            if not self._binding(before, after, name):
                return f"{name}, which it uses, changes"
        return ""

    def _class(self, before: Place, after: Place) -> str:
        """Return what of a test's class, and of those that it inherits, is not what it was: their
        heads, and the members by which the test is made, run or fed."""
        heads, heads_now = before.heads, after.heads
        if heads != heads_now:
            return f"its class {before.owner} changes"
        held, now = before.members, after.members
        pending, seen = {*names_in(before.function, attributes=True)}, set[str]()
        pending |= {before.function.name, after.function.name}  # may be assigned as well
        pending |= {a.arg for a in ast.walk(before.function) if isinstance(a, ast.arg)}
        pending |= {*strings(ast.walk(before.function))}  # `getattr(self, "amount")`
        pending |= {n for side in (held, now) for n, found in side.items() if is_special(n, found)}
        literal = {n[5:] for n in before.constants.keys() & after.constants.keys()}
        parts = [n for f in (before.function, after.function) for n in ast.walk(f)]
        parts = [n for n in parts if dotted(n) not in before.constants]
        elsewhere = {*map(name_of, parts), *strings(parts)}
        elsewhere |= {n.arg for n in parts if isinstance(n, ast.arg)}
        for found in held.values():
            for _, node in found:
                elsewhere |= (
                    names_in(node, attributes=True) if isinstance(node, Function) else set()
                )
        free = literal - elsewhere  # these are compared where the test uses them
        while names := (pending - seen - free) & {*held, *now}:
            seen |= names
            for name in names:
                one, two = held.get(name, []), now.get(name, [])
                pairs = list(zip(one, two, strict=False))
                if len(one) != len(two) or not all(self._alike(a, b) for (_, a), (_, b) in pairs):
                    return f"{name} of its class {before.owner} changes"
                for (module, node), (module_now, _) in pairs:
                    pending |= names_in(node, attributes=True)
                    pending |= {a.arg for a in ast.walk(node) if isinstance(a, ast.arg)}
                    pending |= {*strings(ast.walk(node))}
                    for used in names_in(node) & module.bindings.keys():
                        if not self._binding(module, module_now, used):
                            return f"{used}, which its class {before.owner} uses, changes"
        return ""

    def _alike(self, one: ast.AST, two: ast.AST) -> bool:
        """Return whether two definitions differ by what the code renamed or re-signed at most."""
        sides = [
            Canonical(self.code.renamed, self.code.resigned, {}, claims=False, fresh=fresh)
            for fresh in ((), self.code.fresh)
        ]
        texts = [side.lines([node]) for side, node in zip(sides, (one, two), strict=True)]
        lost = Counter(sides[0].handed) - Counter(sides[1].handed)
        return texts[0] == texts[1] and not lost

    def _binding(self, before: Module, after: Module, name: str) -> bool:
        """Return whether a name of a module is bound to what it was, and so is what that uses."""
        key = before.path, after.path, name
        if key in self._same:
            return self._same[key]
        self._same[key] = True  # as long as it is looked at: helpers may call each other
        now = next((n for n, was in self.code.renamed.items() if was == name), name)
        one, two = (
            before.bindings.get(name, []),
            after.bindings.get(name, after.bindings.get(now, [])),
        )
        if name in before.imports and (name in after.imports or now in after.imports):
            full = after.imports[name if name in after.imports else now]
            same = len(one) == len(two) and self._imported(
                before, after, before.imports[name], full
            )
        elif name in before.constants and name in after.constants:
            same = unparse(before.constants[name]) == unparse(after.constants[name])
        else:
            used = {n for node in one for n in names_in(node)} - {name}
            same = len(one) == len(two) and all(map(self._alike, one, two))
            same = same and all(
                self._binding(before, after, n) for n in used & before.bindings.keys()
            )
            if any(isinstance(node, Function) and node.decorator_list for node in one):
                arguments = [a.arg for n in one if isinstance(n, Function) for a in n.args.args]
                same = same and all(self._fixture(before, after, n) for n in arguments if n != name)
        self._same[key] = same
        return same

    def _imported(self, before: Module, after: Module, old: str, new: str) -> bool:
        path, rest = before.find(old, self.evidence.base.paths)
        there, rest_now = after.find(new, self.evidence.candidate.paths)
        last, last_now = (full.rpartition(".")[2] for full in (old, new))
        if last != self.code.renamed.get(last_now, last_now):
            return False
        if path != there:  # moved within the code, and no longer where it was
            judging = self.evidence.judging & {path, there}
            return (
                not judging
                and last in self.code.lost
                and old.partition(".")[0] == new.partition(".")[0]
            )
        if path not in self.evidence.judging:
            return bool(path) or old == new
        inner, inner_now = self._module(path, old=True), self._module(path)
        if inner is None or inner_now is None or rest != rest_now:
            return False
        names = [rest.partition(".")[0]] if rest else [*inner.bindings]
        literal = {*names} & {*inner.constants}  # a table of cases, a tolerance
        return all(self._binding(inner, inner_now, name) for name in names) and all(
            unparse(inner.constants[n]) == unparse(inner_now.constants[n]) for n in literal
        )

    def _fixture(self, before: Module, after: Module, name: str) -> bool:
        """Return whether the nearest definition of a fixture is what it was."""
        found = []
        for module, old in ((before, True), (after, False)):
            folders = module.path.split("/")[:-1]
            places = ["/".join([*folders[:n], "conftest.py"]) for n in range(len(folders), -1, -1)]
            near = (m for m in (module, *(self._module(p, old=old) for p in places)) if m)
            found.append(next((m for m in near if name in m.bindings), None))
        one, two = found
        if one is None or two is None:
            return one is two
        return self._binding(one, two, name)

    @cached_property
    def around(self) -> str:
        """What else changes and could turn any test: a hook, settings, fewer cases in the data."""
        for path in sorted(self.evidence.judging):
            old, new = self.evidence.base.text(path), self.evidence.candidate.text(path)
            if not path.endswith(".py"):
                data = kind_of(path, effective({})) is Kind.DATA and keeps_cases(path, old, new)
                if not data and not _HARMLESS.fullmatch(path):
                    return path
                continue
            before, after = self._module(path, old=True), self._module(path)
            if new is not None and after is None:
                return path
            was, now = (one.reach if one else frozenset() for one in (before, after))
            if now - was:
                return f"{path} ({min(now - was).splitlines()[0]})"
        return ""

    def _module(self, path: str, *, old: bool = False) -> Module | None:
        if (old, path) not in self._modules:
            tree = self.evidence.base if old else self.evidence.candidate
            found = read_module(path, tree.text(path), Settings()) if path in tree.paths else None
            self._modules[old, path] = found
        return self._modules[old, path]


def keeps_cases(path: str, old: str | None, new: str | None) -> bool:
    """Return whether data beside the tests is still there, with no fewer cases."""
    name = path.rpartition("/")[2]
    if old is None or name in SETTING_FILES:
        return name not in SETTING_FILES
    if new is None or not new.strip():
        return False
    if name.endswith(".json"):
        try:
            return _count(json.loads(new)) >= _count(json.loads(old))
        except (ValueError, RecursionError):
            return False
    return not name.endswith(_TABLES) or len(new.splitlines()) >= len(old.splitlines())


def _count(value: object) -> int:
    """Return how many values a document holds."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, inner))
