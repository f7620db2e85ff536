"""Pure. The record of a run, and that of its base, become a verdict with reasons.

The tested code's own word is never enough: an exit status of 0 counts only where the report
agrees with it, and a report counts only where it is whole and nothing went missing from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from self_coding.audit.definitions import definitions
from self_coding.audit.files import Kind, Settings, kind_of
from self_coding.audit.other_languages import names_of_tests
from self_coding.gate.test_report import BAD, RunRecord, TestReport
from self_coding.languages import is_source
from self_coding.values.verdicts import BaseFailure, Finding, with_causes

_NOTHING_COLLECTED = 5  # pytest's exit status
_SHOWN = 5  # names written out in a reason
_RUNNERS = ("cargo", "mocha", "tap")  # in place of a file, where they failed as a whole
_PASSED = frozenset({"passed", "xpassed"})
_RAN = frozenset({"passed", "failed", "error", "xpassed"})
_LEFT_OUT = frozenset({"skipped", "xfailed"})
_JUDGES = frozenset({Kind.TEST, Kind.SUPPORT, Kind.DATA})
_OUTPUT = 2000  # characters of the whole run's, where no test says why
_EXCEPTION = re.compile(r"\A[A-Za-z_][\w.]*(?=:|\Z)")
# the words by which code asks for what its own name does not say
_LOOKS = {
    "sys._getframe": ("_getframe", "inspect"),
    "sys.path": ("sys.path",),
    "sys.meta_path": ("meta_path",),
}
Text = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether the candidate passed, why, and which tests decided it: fields of `GateReport`."""

    passed: bool
    reason: str
    findings: tuple[Finding, ...] = ()
    new_failures: tuple[str, ...] = ()
    known_failures: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    environment: bool = False


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The test files of both sides as text, by path; None where there is none."""

    base: Text
    candidate: Text


def new_failures(record: RunRecord, base: RunRecord | None) -> list[str]:
    """Return the failures that the base did not have.

    Where a file could not be collected on the base, all its tests count as failed there.
    """
    known = frozenset(base.report.failures) | _matched(record, base) if base else frozenset()
    return [
        node for node in record.report.failures if node not in known and _path(node) not in known
    ]


def one_sided(report: TestReport, base: TestReport) -> dict[str, tuple[list[str], list[str]]]:
    """Return the parametrised ids that one side alone has, by function, where both have some."""
    here, there = {*report.collected, *report.outcomes}, {*base.collected, *base.outcomes}
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for side, nodes in enumerate((here - there, there - here)):
        for node in nodes:
            if "[" in node:
                groups.setdefault(_function(node), ([], []))[side].append(node)
    return {name: sides for name, sides in groups.items() if all(sides)}


def _matched(record: RunRecord, base: RunRecord) -> frozenset[str]:
    """Return the ids of either side that are one test, whose parameter is new in each collection.

    Nothing tells which is which, so all those of a function must do as well as the base's did.
    """
    matched: set[str] = set()
    for name, (here, there) in one_sided(record.report, base.report).items():
        now, before = record.report.outcomes, base.report.outcomes
        worse = any(
            sum(now.get(node) in bad for node in here) > sum(before.get(n) in bad for n in there)
            for bad in (BAD, _LEFT_OUT)
        )
        if name in (record.unstable or ()) and len(here) >= len(there) and not worse:
            matched.update(here, there)
    return frozenset(matched)


def judge(
    record: RunRecord,
    base: RunRecord | None,
    *,
    must_report: bool = False,
    sides: Sides | None = None,
    lacking: str = "",
) -> Judgement:
    """Return whether the record proves that the candidate may go onto its base.

    Args:
        record: the candidate's run.
        base: the base's, as far as it is known.
        must_report: the command names a test runner, so that a missing report is suspicious.
        sides: the test files of both, to tell an open loss of tests from a silent one.
        lacking: what the machine lacks for the candidate's run, in words.
    """
    report, mute = record.report, not record.understood
    wrote = sorted(set(record.rewrote) - set(base.rewrote)) if base else []
    base_spoke = base is not None and base.understood
    tampered = [report.tampered] if report.tampered and not mute else []
    cut = not mute and not report.ended
    # A conftest that cannot be imported ends the runner before it looks for tests.
    seen = report.collected or report.results or report.unfinished or report.tampered
    silent = [node for node in report.collected if node not in report.outcomes]
    running = f" in {_few(report.unfinished)}" if report.unfinished else ""
    why = f": {lacking}" if lacking else ""
    status = f"exit status {record.exit_status}{why}"
    # What main does as well is not the change's offence, and no rule is broken by it.
    red = mute and record.exit_status
    base_status = base.exit_status if base else 0
    base_cut = base is not None and not base.report.ended
    base_red = base_status and ((red and not base_spoke) or (cut and base_cut))
    refusals: tuple[tuple[str, object, str], ...] = (  # rule, what is wrong, in words
        ("repository-config-changed", record.planted, "the test run changed git's own files"),
        ("sources-rewritten", wrote, "the test run wrote to files of the change"),
        ("", record.disk_full, "the disk is full: make room, and try again"),
        ("", record.exceeded, f"the run was ended: {record.exceeded}"),
        ("", record.timed_out, f"the time limit was reached{running}"),
        (
            "",
            base_red and not tampered,
            f"main fails this command itself (exit status {base_status}):"
            f" nothing can land until it passes{why}",
        ),
        ("", red, status),
        ("", cut and not seen and record.exit_status, f"tests failed before any started: {status}"),
        ("census-missing", mute and must_report, "the test runner left no report"),
        ("census-missing", mute and base_spoke, "no test reported, but the base's did"),
        ("census-tampered", tampered, "the test report was tampered with"),
        ("census-incomplete", cut, f"the test run ended without finishing its report{running}"),
        ("outcome-rewritten", report.rewritten, "failures were rewritten as passes"),
        *_tampering(report, base.report if base else None),
        ("test-detected", _new_looks(report, sides), "the change looks at how it is run"),
        ("census-incomplete", silent, "collected tests left no result"),
    )
    for rule, broken, text in refusals:
        if broken:
            reason = _with_names(text, broken)
            findings = (Finding(rule=rule, message=reason),) if rule else ()
            environment = not rule and bool(
                record.disk_full or (base_red and not record.exceeded) or (lacking and not base)
            )
            return Judgement(
                passed=False, reason=reason, findings=findings, environment=environment
            )
    if mute:
        reason = "by the exit status alone: the command reported no tests"
        return Judgement(passed=True, reason=reason)
    return _judge_tests(record, base, sides, why)


def _tampering(report: TestReport, base: TestReport | None) -> list[tuple[str, object, str]]:
    """Return the rows for what was replaced under the tests, and the canaries that lived.

    What the tests' own files replace is left out: the base's files of these names judge, too.
    Without a base nobody can tell what the project has always replaced, but what makes tests fail
    is nobody's to replace.
    """
    before = base or TestReport()
    altered = []
    for one in sorted(frozenset(report.altered) - frozenset(before.altered)):
        path = one.rpartition(" by ")[2]
        fails = one.startswith(("unittest.case.TestCase.", "pytest.", "_pytest.outcomes."))
        if fails or (base and kind_of(path or "?", Settings()) not in _JUDGES):
            altered.append(one)
    alive = sorted(frozenset(report.canaries) - frozenset(before.canaries))
    return [
        ("patched", altered, "what the tests lean on was replaced"),
        ("canary-passed", alive, "tests that must fail did not: the judge was tampered with"),
    ]


def _new_looks(report: TestReport, sides: Sides | None) -> list[str]:
    """Return what files look at to see how they are run, that say nothing of it on the base.

    By their texts: what an unchanged file does is no news, and the base need not run for it.
    """
    if sides is None:
        return []
    new = []
    for one in report.looked:
        what, _, path = one.rpartition(" by ")
        before, after = sides.base(path), sides.candidate(path)
        words = _LOOKS.get(what, (what.rpartition(".")[2],))
        known = before is not None and any(word in before for word in words)
        if before != after and not known and kind_of(path, Settings()) not in _JUDGES:
            new.append(one)
    return new


def base_failures(record: RunRecord, judgement: Judgement) -> tuple[BaseFailure, ...]:
    """Return what the base's tests say against the candidate's code, as a person reads it."""
    if not judgement.new_failures:
        rest = tuple(finding.message for finding in judgement.findings[1:])
        message = "; ".join((judgement.reason, *rest))
        return (BaseFailure(message=message, output=record.output[-_OUTPUT:].strip()),)
    failures = []
    for result in record.report.results:
        if result.id in judgement.new_failures:
            where = result.failure
            message = where.message if where else result.message.strip().rpartition("\n")[2]
            failures.append(
                BaseFailure(
                    id=result.id,
                    exception=next(iter(_EXCEPTION.findall(message)), ""),
                    message=message,
                    output=result.message.strip(),
                    path=where.path if where else "",
                    line=where.line if where else 0,
                )
            )
    return tuple(failures)


def _judge_tests(
    record: RunRecord,
    base: RunRecord | None,
    sides: Sides | None,
    why: str,
) -> Judgement:
    """Judge by a report that can be trusted: what failed, what is excused, what is missing."""
    report, status = record.report, record.exit_status
    nothing = not report.results or _NOTHING_COLLECTED in report.statuses
    shown, silent = list[Finding](), list[Finding]()
    # What is lost as a whole is not lost silently.
    if base and sides and record.complete and not nothing:
        shown, silent = _losses(record, base, sides)
    fresh = new_failures(record, base)
    retried = dict(record.retried)
    had = frozenset((base.report if base else report).collected)
    unsteady = {node for node, outcome in base.retried if outcome in BAD} if base else set()
    flaky = [n for n in fresh if retried.get(n) == "passed" and n in had and n in unsteady]
    new = [node for node in fresh if node not in flaky]
    known = [node for node in report.failures if node not in fresh]

    worst = max(report.statuses, default=0)
    beside = status and not report.failures  # a linter, an audit, an upload
    on_main = base is not None and base.exit_status and not base.report.failures
    after = f"exit status {status} although no test failed{why}"
    after = f"main fails this command itself ({after})" if on_main else after
    base_hung = base is not None and base.timed_out and bool(known)
    # What failed before as well excuses nothing here: the code was never seen to work.
    unproved = record.complete and not _PASSED & {*report.outcomes.values(), *retried.values()}
    was_unproved = base is not None and not _PASSED & {*base.report.outcomes.values()}
    failed = f": {_few(report.failures)} failed" if report.failures else ""
    refusals: tuple[tuple[object, str], ...] = (
        (
            with_causes(new, report.results),
            f"tests failed: {len(new)} {'new ' if base else ''}failure{'s' * (len(new) > 1)}",
        ),
        (
            nothing,
            "tests failed: no test was collected, so nothing was proved"
            + (why or ("" if had else "; write a first one, or set another test_command")),
        ),
        (beside, after),
        (worst > 1, f"the test runner could not finish: exit status {worst}"),
        (0 in report.statuses and report.failures, "exit status 0 although tests failed"),
        (base_hung, "the base's own run hit the time limit, so its failures prove nothing"),
        (
            unproved,
            f"no test passed, so nothing was proved{failed}"
            + (why or "; make at least one test pass first, or set the right test_command"),
        ),
        (bool(silent), silent[0].message if silent else ""),
    )
    reason = next((_with_names(text, broken) for broken, text in refusals if broken), "")
    excuses = []
    if known:
        fail = "fails" if len(known) == 1 else "fail"
        excuses.append(f"{len(known)} known: {_few(known)}, {fail} on main too")
    if flaky:
        excuses.append(f"{len(flaky)} flaky: {_few(flaky)}")
    return Judgement(
        passed=not reason,
        reason=reason or (f"no new failures: {'; '.join(excuses)}" if excuses else ""),
        findings=(*silent, *shown),
        new_failures=tuple(new),
        known_failures=tuple(known),
        flaky=tuple(flaky),
        environment=bool(
            base and not new and ((beside and on_main) or (unproved and was_unproved))
        ),
    )


def _losses(
    record: RunRecord, base_record: RunRecord, sides: Sides
) -> tuple[list[Finding], list[Finding]]:
    """Return what the candidate lacks of the base's report: shown openly by its diff, silently.

    An open loss is left to the audit of the change; a silent one refuses the candidate here.
    """
    shown: list[Finding] = []
    silent: list[Finding] = []

    def lost(rule: str, node: str, text: str, *, silently: bool) -> None:
        how = "although its file says nothing of it" if silently else "as the change shows"
        finding = Finding(rule=rule, path=_path(node), message=f"{node} {text}, {how}")
        (silent if silently else shown).append(finding)

    report, base = record.report, base_record.report
    have = frozenset((*report.collected, *report.outcomes)) | _matched(record, base_record)
    functions = frozenset(map(_function, have))
    before = base.outcomes
    # What could not be collected or built is a failure of its own; other languages' by the folder.
    broken = {node for node, how in report.outcomes.items() if how == "error" != before.get(node)}
    # TAP says of a file that could not be loaded what it says of a test: that it failed.
    broken |= {"tap" for node in report.failures if _path(node) == "tap" and node not in before}
    for node in base.collected:
        if node in have:
            continue
        place = _path(node)
        if not broken & {place, *_RUNNERS, *map(str, PurePosixPath(place).parents)}:
            hidden = _function(node) not in functions and _source_is_there(node, functions, sides)
            lost("census-shrank", node, "is no longer collected", silently=hidden)
    for node, outcome in report.outcomes.items():
        if outcome in _LEFT_OUT and before.get(node) in _RAN:
            text = sides.candidate(_path(node))
            same = text is not None and sides.base(_path(node)) == text
            lost("skips-grew", node, f"was {before[node]} and is {outcome}", silently=same)
            # One that passed on the base runs here: no platform or version accounts for it.
            if outcome == "skipped" and before[node] in _PASSED and text is not None and not same:
                silent.append(shown.pop())
    for example in report.examples:
        word, _, line = example.partition(" ")
        if word == "skips" and f"runs {line}" in base.examples:
            text = f"the doctest line {line.partition(': ')[2]} ran and is skipped"
            silent.append(Finding(rule="skips-grew", path=_path(line), message=text))
    for name in sorted(frozenset(report.replaced) - frozenset(base.replaced)):
        text = f"{name} is no longer what its module defines"
        silent.append(Finding(rule="subject-replaced", message=text))
    return shown, silent


def _source_is_there(node: str, collected: frozenset[str], sides: Sides) -> bool:
    """Return whether the candidate still has the test's source, so that its absence is silent.

    A file with more definitions of the name than were collected hides one, in whatever class; a
    namesake in another class is not the source of a test that its own class defined, though it
    is of one that was inherited.
    """
    path, name = _path(node), _function(node).rsplit("::", 1)[-1].rpartition(".")[2]
    before, after = sides.base(path), sides.candidate(path)
    if after is None or before is None or before == after:
        return after is not None
    own = _function(node).removeprefix(f"{path}::")
    if is_source(path) and not path.endswith(".py"):
        names = {own, own.rpartition("::")[2], own.removesuffix("()")}
        return not names.isdisjoint(names_of_tests(path, after))
    scopes, scopes_before = ([scope for scope, _ in definitions(text)] for text in (after, before))
    around = own.rpartition("::")[0]
    if around in scopes_before and around not in scopes and own not in scopes_before:
        return False  # its class is gone, for all to see, with what it inherited
    defined, had = (
        [scope for scope in side if scope.rpartition("::")[2] == name]
        for side in (scopes, scopes_before)
    )
    if own in defined or own not in had:
        return bool(defined)
    namesakes = [one for one in collected if _path(one) == path and one.rsplit("::", 1)[-1] == name]
    return len(defined) > len(namesakes)


def _path(node: str) -> str:
    return node.split("::", 1)[0]


def _function(node: str) -> str:
    """Return the id without its parameters, and without what it runs inside of it in Go."""
    path, apart, name = node.split("[", 1)[0].partition("::")
    return f"{path}{apart}{name.partition('/')[0] if path.endswith('.go') else name}"


def _with_names(text: str, broken: object) -> str:
    return f"{text}: {_few(broken)}" if isinstance(broken, list | tuple) else text


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
