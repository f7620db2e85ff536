"""Pure. Does a change account for the tests of its base that fail on its code?

The base's tests have run on the candidate's code, and some fail. That is a bug, or a changed
expectation. It is accounted for where the code itself shows what was withdrawn, or where the same
test is still there, passed, and says as much: the same calls, compared as strictly, with nothing
but another literal expectation, and with everything that it uses as it was.

What cannot be told apart from a cheat is left to a person: this refuses rather than guesses.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from self_coding.audit.alike import Alike
from self_coding.audit.files import SETTING_FILES, Kind, effective, kind_of
from self_coding.audit.judging_modules import Module, arguments_of, defined, similar
from self_coding.audit.syntax import parse
from self_coding.values.verdicts import BASE_JUDGE, BaseFailure, Finding

_MISSING = re.compile(
    r"cannot import name '(\w+)'|No module named '([\w.]+)'|has no attribute '(\w+)'|"
    r"name '(\w+)' is not defined|(?<!\w)(\w+)\(\) (?:got|missing|takes)|"
    r"got an unexpected keyword argument '(\w+)'|abstract class (\w+)"
)
_HARMLESS = re.compile(r"(?:.*/)?(?:\.coveragerc|noxfile\.py)")


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One side: the paths that are there, and the text of each."""

    paths: frozenset[str]
    text: Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a change whose base says no.

    Attributes:
        base, candidate: both trees.
        changed: the paths that differ.
        judging: those of them that judge.
        outcomes: of the candidate's own tests, in its own run.
    """

    base: Tree
    candidate: Tree
    changed: tuple[str, ...]
    judging: frozenset[str]
    outcomes: Mapping[str, str] = field(default_factory=dict)


def unaccounted(
    failures: Iterable[BaseFailure], evidence: Evidence, *, strict: bool = False
) -> tuple[Finding, ...]:
    """Return a finding for each failing test of the base that the change does not account for.

    Args:
        failures: what the base's tests say.
        evidence: both sides.
        strict: nothing is accounted for.
    """
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
    """One change, with what its code withdraws."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        code = [p for p in evidence.changed if p not in evidence.judging and p.endswith(".py")]
        self.gone: set[str] = set()  # names that the code no longer defines
        self.new: set[str] = set()
        self.resigned: set[str] = set()  # functions and classes with other parameters
        self.fresh: list[ast.AST] = []  # new definitions
        self.lost: dict[str, ast.AST] = {}
        for path in code:
            sides = evidence.base.text(path), evidence.candidate.text(path)
            before, after = (defined(text) for text in sides)
            if sides[1] is None:
                self.gone |= {path.removesuffix(".py").rpartition("/")[2]}
            self.gone |= before.keys() - after.keys()
            self.new |= after.keys() - before.keys()
            self.lost |= {name: before[name] for name in before.keys() - after.keys()}
            self.fresh += [after[name] for name in after.keys() - before.keys()]
            self.resigned |= {
                name
                for name in before.keys() & after.keys()
                if arguments_of(before[name]) != arguments_of(after[name])
            }
        self.gone -= self.new  # only moved within the code

    def why_not(self, failure: BaseFailure) -> str:  # noqa: PLR0911 - one return per reason
        """Return why a failure is not accounted for; empty where it is."""
        path, _, name = failure.id.partition("::")
        if not path.endswith(".py"):
            return "the change does not account for it"
        base = self.base_modules(path)
        if base is None:
            return "its file cannot be read"
        if self.around:
            return f"{self.around} changes, too"
        if not name:  # the file could not be imported: any of its tests might have failed
            if not self.names_in(failure.message) & (self.gone | self.resigned):
                return "nothing that the change withdraws explains it"
            found = [f"{test}: {why}" for test in base.tests if (why := self.of_test(path, test))]
            return found[0] if found else ""
        test = name.split("[", 1)[0]
        if test not in base.tests:  # inherited from elsewhere, or made by a plugin
            return "where the test is defined cannot be told"
        return self.of_test(path, test, failure)

    def names_in(self, message: str) -> set[str]:
        """Return the names that an error says are missing or called wrongly."""
        found = (name for match in _MISSING.findall(message) for name in match if name)
        return {part for name in found for part in (name, name.rpartition(".")[2])}

    def of_test(self, path: str, test: str, failure: BaseFailure | None = None) -> str:
        """Return why a test of the base is not accounted for; empty where it is."""
        before = self.base_modules(path)
        assert before is not None, "it has the test"
        function = before.tests[test][-1]
        why, anywhere = "", False
        for there, name in self.counterparts(path, test):
            after = self.candidate_modules(there)
            if after is None or name not in after.tests:
                continue
            anywhere = True
            node = f"{there}::{name}"
            ran = [o for i, o in self.evidence.outcomes.items() if i.split("[", 1)[0] == node]
            if not ran or {*ran} != {"passed"}:
                why = why or f"{node} did not pass in the change"
                continue
            alike = Alike(self, before, after)
            if alike.tests(test, name):
                return ""
            why = why or alike.reason or f"{node} does not say as much"
        if anywhere:
            return why
        if failure is not None:
            named = self.names_in(failure.message) & self.gone
        else:
            used = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
            used |= {n.attr for n in ast.walk(function) if isinstance(n, ast.Attribute)}
            named = used & self.gone
        if not named:
            return "it is gone from the change, although what it tests is not"
        renamed = next((n for n in named if similar(self.lost.get(n), self.fresh)), "")
        return f"{renamed} was renamed and its test is gone" if renamed else ""

    def counterparts(self, path: str, test: str) -> Iterator[tuple[str, str]]:
        """Yield where the test may be now: at its place, moved, or renamed in its file."""
        yield path, test
        name = test.rpartition("::")[2]
        files = [p for p in self.evidence.changed if p in self.evidence.judging and p != path]
        for other in (path, *files):
            before, after = self.base_modules(other), self.candidate_modules(other)
            for one in after.tests if after else ():
                fresh = before is None or one not in before.tests
                if fresh and (other == path or one.rpartition("::")[2] == name):
                    yield other, one

    @cached_property
    def around(self) -> str:
        """What else changes and could turn any test: a hook, settings, fewer cases in the data."""
        evidence = self.evidence
        for path in sorted(evidence.judging):
            old, new = evidence.base.text(path), evidence.candidate.text(path)
            if not path.endswith(".py"):
                data = kind_of(path, effective({})) is Kind.DATA and keeps_cases(path, old, new)
                if data or _HARMLESS.fullmatch(path):
                    continue
                return path
            before, after = self.base_modules(path), self.candidate_modules(path)
            if new is not None and after is None:
                return path
            was, now = (one.reach if one else frozenset() for one in (before, after))
            if now - was:
                return f"{path} ({min(now - was).splitlines()[0]})"
        return ""

    def judges(self, path: str) -> bool:
        """Return whether a path changes and judges."""
        return path in self.evidence.judging

    def base_modules(self, path: str) -> Module | None:
        """Return a module of the base."""
        return self._module(self.evidence.base, path, self._base)

    def candidate_modules(self, path: str) -> Module | None:
        """Return a module of the candidate."""
        return self._module(self.evidence.candidate, path, self._candidate)

    @cached_property
    def _base(self) -> dict[str, Module | None]:
        return {}

    @cached_property
    def _candidate(self) -> dict[str, Module | None]:
        return {}

    def _module(self, tree: Tree, path: str, known: dict[str, Module | None]) -> Module | None:
        if path not in known:
            found = parse(tree.text(path)) if path in tree.paths else None
            known[path] = Module(path, found, tree.paths) if found else None
        return known[path]


def keeps_cases(path: str, old: str | None, new: str | None) -> bool:
    """Return whether data beside the tests is still there, with no fewer cases."""
    name = path.rpartition("/")[2]
    if old is None:
        return name not in SETTING_FILES
    if new is None or not new.strip() or name in SETTING_FILES:
        return False
    if name.endswith(".json"):
        try:
            return _count(json.loads(new)) >= _count(json.loads(old))
        except (ValueError, RecursionError):
            return False
    table = name.endswith((".csv", ".tsv", ".yaml", ".yml", ".toml", ".jsonl"))
    return not table or len(new.splitlines()) >= len(old.splitlines())


def _count(value: object) -> int:
    """Return how many values a document holds."""
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, list) else 1
