"""Pure: evidence about a candidate, and about its base, becomes a verdict with reasons.

The tested code's own word is never enough: an exit status of 0 counts only where the census
agrees with it, and a census counts only where it is whole and nothing went missing from it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from self_coding.gate.census import BAD, Census
from self_coding.gate.evidence import Evidence
from self_coding.values.verdicts import Finding

NOTHING_COLLECTED = 5
_SHOWN = 5  # names written out in a reason
_RAN = frozenset({"passed", "failed", "error", "xpassed"})
_PASSED = frozenset({"passed", "xpassed"})
_LEFT_OUT = frozenset({"skipped", "xfailed"})
_IMPORT = re.compile(r"\b(ImportError|ModuleNotFoundError|SyntaxError)\b")
_DECIDING = frozenset(
    f"pytest_{name}"
    for name in (
        *("runtest_protocol", "runtest_makereport", "runtest_call", "runtest_logreport"),
        *("pyfunc_call", "collection_modifyitems", "collection", "ignore_collect"),
        *("sessionfinish", "report_teststatus", "unconfigure", "cmdline_main"),
    )
)
"""Hooks that decide what a run reports."""
_PYTEST = re.compile(r"\bpy\.?test\b")
Text = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether the candidate passed, why, and which tests decided it."""

    passed: bool
    reason: str
    findings: tuple[Finding, ...] = ()
    new_failures: tuple[str, ...] = ()
    known_failures: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The test files of both sides as text, by path; None where there is none."""

    base: Text
    candidate: Text


def new_failures(evidence: Evidence, base: Evidence | None, quarantine: Iterable[str]) -> list[str]:
    """The failures that the base did not have and that nobody has set aside."""
    aside, known = frozenset(quarantine), _bad(base)
    return [
        node
        for node in evidence.census.failures
        if node not in aside and node not in known and node.split("::", 1)[0] not in known
    ]


def judge(
    evidence: Evidence,
    base: Evidence | None,
    *,
    command: str,
    quarantine: Iterable[str] = (),
    sides: Sides | None = None,
) -> Judgement:
    """Say whether the evidence proves that the candidate may go onto its base."""
    if evidence.planted:
        names = _few(evidence.planted)
        return _no(f"the test run changed git's own files: {names}", "repository-config-changed")
    wrote = frozenset(evidence.rewrote) - frozenset(base.rewrote if base else evidence.rewrote)
    if wrote:
        text = f"the test run wrote to the code that it tested: {_few(sorted(wrote))}"
        return _no(text, "sources-rewritten")
    if evidence.timed_out:
        hung = evidence.census.unfinished
        return _no("the time limit was reached" + (f" in {_few(hung)}" if hung else ""), "")
    if not evidence.understood:
        return _by_exit_status(evidence, base, command)
    wrong = _untrustworthy(evidence.census)
    if wrong:
        return _no(*wrong)
    return _by_census(evidence, base, frozenset(quarantine), sides)


def import_errors(census: Census) -> tuple[str, ...]:
    """The failures whose cause is an import or a syntax error."""
    return tuple(
        one.id for one in census.results if one.outcome in BAD and _IMPORT.search(one.message)
    )


def _by_exit_status(evidence: Evidence, base: Evidence | None, command: str) -> Judgement:
    if evidence.exit_status:
        return _no(f"exit status {evidence.exit_status}", "")
    if _PYTEST.search(command):
        return _no("the command names pytest, which left no report", "census-missing")
    if base is not None and base.understood:
        return _no("pytest reported on the base and does not on the change", "census-missing")
    return Judgement(passed=True, reason="by the exit status alone: the command is not pytest")


def _untrustworthy(census: Census) -> tuple[str, str] | None:
    """Why this report proves nothing, and the rule."""
    if census.tampered:
        return f"the test report was tampered with: {census.tampered}", "census-tampered"
    if not census.ended:
        where = f" during {_few(census.unfinished)}" if census.unfinished else ""
        return f"the test run ended without finishing its report{where}", "census-incomplete"
    if census.rewritten:
        return f"failures were rewritten as passes: {_few(census.rewritten)}", "outcome-rewritten"
    if census.patched:
        return f"functions that make tests fail were replaced: {_few(census.patched)}", "patched"
    silent = [node for node in census.collected if node not in census.outcomes]
    if silent:
        return f"collected tests left no result: {_few(silent)}", "census-incomplete"
    return None


def _by_census(
    evidence: Evidence, base: Evidence | None, quarantine: frozenset[str], sides: Sides | None
) -> Judgement:
    census = evidence.census
    open_findings, silent = _compare(census, base, sides)
    retried = dict(evidence.retried)
    fresh = new_failures(evidence, base, quarantine)
    collected = frozenset(base.census.collected) if base else frozenset(census.collected)
    flaky = [node for node in fresh if retried.get(node) == "passed" and node in collected]
    new = [node for node in fresh if node not in flaky]
    aside = tuple(node for node in census.failures if node in quarantine)
    known = tuple(n for n in census.failures if n not in fresh and n not in aside)
    reason = _reason(evidence, base, new, known) or (silent[0].message if silent else "")
    tolerated = [(len(known), "known"), (len(flaky), "flaky"), (len(aside), "quarantined")]
    excuse = ", ".join(f"{count} {name}" for count, name in tolerated if count)
    return Judgement(
        passed=not reason,
        reason=reason or (f"no new failures: {excuse}" if excuse else ""),
        findings=(*silent, *open_findings),
        new_failures=tuple(new),
        known_failures=known,
        flaky=tuple(flaky),
        quarantined=aside,
    )


def _reason(
    evidence: Evidence, base: Evidence | None, new: list[str], known: tuple[str, ...]
) -> str:
    """Why the census of this run refuses the candidate; nothing when it does not."""
    census, status = evidence.census, evidence.exit_status
    word = "new failures" if base else "failures"
    outcomes = {*census.outcomes.values(), *dict(evidence.retried).values()}
    unproved = f": {_few(census.failures)} failed" if census.failures else ""
    worst = max(census.statuses, default=0)
    rules = (
        (new, f"tests failed: {len(new)} {word}: {_few(new)}"),
        (
            not census.results or NOTHING_COLLECTED in census.statuses,
            "tests failed: no test was collected, so nothing was proved",
        ),
        (status and not census.failures, f"exit status {status} although no test failed"),
        (worst > 1, f"pytest could not finish: exit status {worst}"),
        (
            census.failures and 0 in census.statuses,
            f"exit status 0 although tests failed: {_few(census.failures)}",
        ),
        (
            base is not None and base.timed_out and known,
            "the base's own run hit the time limit, so its failures prove nothing",
        ),
        (
            # what failed before as well excuses nothing here: nobody knows that the code works
            evidence.whole and not _PASSED & outcomes,
            f"no test passed, so nothing was proved{unproved};"
            " make at least one test pass first, or set the right test_command",
        ),
    )
    return next((reason for broken, reason in rules if broken), "")


def _compare(
    census: Census, base: Evidence | None, sides: Sides | None
) -> tuple[list[Finding], list[Finding]]:
    """What the candidate lacks of the base's census: shown openly by its diff, and silently."""
    shown: list[Finding] = []
    silent: list[Finding] = []
    if base is None or sides is None:
        return shown, silent
    have = frozenset(census.collected) | frozenset(census.outcomes)
    functions = frozenset(map(_function, have))
    broken = {node for node, outcome in census.outcomes.items() if outcome == "error"}
    for node in base.census.collected:
        if node not in have and _path(node) not in broken:
            hidden = _function(node) not in functions and _still_there(node, functions, sides)
            finding = _finding("census-shrank", node, hidden, "is no longer collected")
            (silent if hidden else shown).append(finding)
    was = base.census.outcomes
    for node, outcome in census.outcomes.items():
        if outcome in _LEFT_OUT and was.get(node) in _RAN:
            hidden = _unchanged(_path(node), sides)
            text = f"was {was[node]} and is {outcome}"
            (silent if hidden else shown).append(_finding("skips-grew", node, hidden, text))
    for name in sorted(frozenset(census.hooks) - frozenset(base.census.hooks)):
        hook, _, path = name.partition(" in ")
        if f"def {hook}" not in (sides.candidate(path) or ""):
            text = f"{name} is implemented, although its file does not define it"
            silent.append(Finding(rule="hooks-grew", path=path, message=text))
        elif hook in _DECIDING:
            shown.append(Finding(rule="hooks-grew", path=path, message=name))
    silent += [
        Finding(rule="subject-replaced", message=f"{name} is no longer what its module defines")
        for name in sorted(frozenset(census.replaced) - frozenset(base.census.replaced))
    ]
    return shown, silent


def _finding(rule: str, node: str, silent: bool, text: str) -> Finding:
    how = "although its file says nothing of it" if silent else "as the change shows"
    return Finding(rule=rule, path=_path(node), message=f"{node} {text}, {how}")


def _still_there(node: str, have: frozenset[str], sides: Sides) -> bool:
    """Whether the candidate still has the test's source, so that its absence is silent.

    `have` are the functions that were collected. A file with more definitions of the name than
    were collected hides one, under whatever class; a namesake in another class is no source of a
    test that its own class defined, though it is of one that was inherited.
    """
    path, name = _path(node), _function(node).rsplit("::", 1)[-1]
    before, after = sides.base(path), sides.candidate(path)
    if after is None or before is None or before == after:
        return after is not None
    own, defined = _function(node).removeprefix(f"{path}::"), _defined(after, name)
    if own in defined or own not in _defined(before, name):
        return bool(defined)
    collected = [one for one in have if _path(one) == path and one.rsplit("::", 1)[-1] == name]
    return len(defined) > len(collected)


def _defined(text: str, name: str) -> list[str]:
    """Every function of that name in a test file, as `Class::name`."""
    try:
        pending: list[tuple[str, ast.AST]] = [("", ast.parse(text))]
    except (SyntaxError, ValueError, RecursionError):
        return re.findall(rf"(?m)^\s*(?:async\s+)?def\s+({re.escape(name)})\b", text)
    found = []
    while pending:
        scope, parent = pending.pop()
        for child in ast.iter_child_nodes(parent):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found += [scope + child.name] * (child.name == name)
            else:
                inner = f"{scope}{child.name}::" if isinstance(child, ast.ClassDef) else scope
                pending.append((inner, child))
    return found


def _unchanged(path: str, sides: Sides) -> bool:
    text = sides.candidate(path)
    return text is not None and sides.base(path) == text


def _bad(evidence: Evidence | None) -> frozenset[str]:
    return frozenset(evidence.census.failures) if evidence else frozenset()


def _path(node: str) -> str:
    return node.split("::", 1)[0]


def _function(node: str) -> str:
    """The id without its parameters."""
    return node.split("[", 1)[0]


def _no(reason: str, rule: str) -> Judgement:
    findings = (Finding(rule=rule, message=reason),) if rule else ()
    return Judgement(passed=False, reason=reason, findings=findings)


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
