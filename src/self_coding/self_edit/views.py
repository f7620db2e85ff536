"""Pure: what an attempt's history says to others: as a result, an attempt, feedback, a line.

It retells the events; it never judges an attempt better or worse than they do.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from self_coding.self_edit.history import (
    CHECKED,
    SHOWN,
    WARNED,
    Edited,
    Facts,
    GateResult,
    History,
    Kind,
    RefusedBy,
    read,
)
from self_coding.text import cut_middle, diff_paths, first_line
from self_coding.values.attempts import Json, ModificationAttempt, Outcome
from self_coding.values.edits import Feedback, Progress, SelfEditResult
from self_coding.values.repository import Candidate, Change, Conflict
from self_coding.values.verdicts import BASE_JUDGE, Finding, GateReport, with_causes

OUTPUT_KEPT = 16_000  # characters of output that an event holds
_FEEDBACK_OUTPUT = 3_000
_SUBJECT = 60
_LISTED = 200  # test ids that an event holds
_LEFT_KEPT, _LEFT_NAMED = 100, 5  # left-out paths that an event holds, and that a message names
_CACHES = (  # what tools write by themselves: no part of anybody's edit
    *("__pycache__", "*.py[co]", "*.egg-info", "*_cache", ".cache", ".hypothesis", ".coverage*"),
    *("htmlcov", ".tox", ".nox", ".venv", "venv", "node_modules", ".DS_Store", ".eggs"),
)

_DEPENDENCIES = re.compile(
    r"(?:^|/)(?:pyproject\.toml|setup\.(?:py|cfg)|Pipfile"
    r"|environment\.ya?ml|package\.json|go\.mod|Cargo\.toml)$|(?:^|/)(?=[^/]*\.(?:txt|in)$)[^/]*requirements|(?:^|/)requirements/[^/]*\.txt$"
)
_ABSENT = re.compile(  # as Python, Node, Go and Cargo say it
    r"(?:No module named|Cannot find (?:module|package)|module providing package"
    r"|module provides package|failed to get|no matching package named|unresolved import"
    r"|can't find crate for) ['`]?([\w@./-]+)"
    r"|(?<![\w./-])([\w./-]{1,200}+)@v[\w.+-]{1,100}+: (?:Get |module lookup)"
)


def subject(task: str) -> str:
    """Return the task in one short line."""
    return first_line(task, _SUBJECT)


def commit_message(attempt: History) -> str:
    """Return the message of the commit that holds the edit."""
    task = attempt.task
    rest = "" if task.strip() == subject(task) else f"\n\n{cut_middle(task, 2000)}"
    return f"{subject(task)}{rest}\n\n{mark(attempt)}\n"


def mark(attempt: History) -> str:
    """Return the line by which commits, however they were merged, tell whose they are."""
    return f"Self-edit: attempt {attempt.id}"


def request_text(attempt: History) -> str:
    """Return what a request to merge says of an attempt, in Markdown."""
    gate, tested = attempt.gate, attempt.data(Kind.TESTED)
    risk, lesson = tested.get("risk"), attempt.reflected.lesson
    facts = [
        f"- change: {size_line(attempt)}",
        f"- tested: tree `{gate.tree}` of commit `{gate.commit}`, upon `{gate.onto}`",
        f"- command: `{gate.command}`",
        f"- risk: {risk} of 1, by what depends on the files and what tests reach" if risk else "",
        *(f"- a person should know: {one}" for one in asked_of_person(attempt)),
        *(f"- an earlier try taught: {one.lesson}" for one in attempt.plan.feedback if one.lesson),
        f"- lesson: {lesson}" if lesson else "",
    ]
    parts = [cut_middle(attempt.task, 4000), attempt.report.summary, "\n".join(filter(None, facts))]
    return "\n\n".join([*filter(None, parts), mark(attempt)])


def landing_message(attempt: History) -> str:
    """Return the message of the commit that main will be at: the task, and which attempt it was."""
    head, _, rest = commit_message(attempt).partition("\n")
    return f"{head} (attempt {attempt.id})\n{rest}".rstrip()


def edited(change: Change, *, whole: bool) -> Edited:
    """Return what an event holds of a change; with `whole` even caches that it leaves out."""

    def is_cache(path: str) -> bool:
        parts = path.rstrip("/").split("/")
        return any(fnmatchcase(part, pattern) for part in parts for pattern in _CACHES)

    left = [one for one in change.left_out if whole or not is_cache(one.path)]
    return Edited(
        base=change.base,
        head=change.head,
        paths=change.paths,
        added=change.added,
        removed=change.removed,
        left_out=tuple(f"{one.path} ({one.reason})" for one in left[:_LEFT_KEPT]),
        left_count=len(left),
    )


def left_out_line(change: Edited) -> str:
    """Return in one line what the change leaves out; empty when that is nothing."""
    named = change.left_out[:_LEFT_NAMED]
    more = _and_more(change.left_count - len(named))
    return f"left out: {', '.join(named)}{more}" if named else ""


def strayed_lines(strayed: Facts, place: str) -> tuple[str, str]:
    """Return what was changed beside an edit, in the checkout, and how to carry it over."""
    paths, top = strayed.get("paths"), str(strayed.get("top"))
    named = [str(one) for one in paths] if isinstance(paths, list) else []
    words = shlex.join(named)
    return (
        f"changed since in the checkout {top}: {', '.join(named[:_LEFT_NAMED])}",
        f"carry it over: cd {shlex.quote(top)} && git add -N {words} && "
        f"git diff HEAD -- {words} | git -C {shlex.quote(place)} apply",
    )


def _beside(attempt: History) -> str:
    """Return what was changed in the checkout, and not in the worktree, when it was submitted."""
    strayed = attempt.data(Kind.WRITTEN).get("strayed")
    if not isinstance(strayed, dict) or not strayed:
        return ""
    gone = attempt.has(Kind.LANDED)
    named, way = strayed_lines(strayed, "WORKTREE" if gone else str(attempt.worktrees[-1].path))
    return f"not part of it: {named} ({'in a new worktree, ' * gone}{way})"


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def gate_result(report: GateReport, candidate: Candidate) -> GateResult:
    """Return what an event holds of a gate report."""
    failing = report.new_failures or tuple(
        test.id for test in report.tests if test.outcome in ("failed", "error")
    )
    return GateResult(
        passed=report.passed,
        command=report.command,
        exit_status=report.exit_status,
        reason_given=report.reason,
        output=cut_middle(report.output, OUTPUT_KEPT),
        ran=report.ran,
        failing=failing[:_LISTED],
        failures=tuple(
            # the whole output is kept above; a copy for each failure would double the event
            replace(test, message="")
            for test in report.tests
            if test.failure is not None and test.id in report.new_failures
        )[:_LISTED],
        known=report.known_failures[:_LISTED],
        flaky=report.flaky[:_LISTED],
        findings=report.findings,
        sandbox=report.sandbox,
        timed_out=report.timed_out,
        seconds=round(report.seconds, 3),
        cached=report.cached,
        environment=report.environment,
        judged_by_base=report.judged_in_words,
        affected=report.affected,
        commit=candidate.commit,
        tree=candidate.tree,
        onto=candidate.onto,
        head=candidate.head,
    )


def why_red(gate: GateResult) -> str:
    """Return in one sentence why the gate refused."""
    if gate.timed_out:
        return f"the tests ran into their time limit after {gate.seconds:.0f} s"
    if gate.failing and gate.failing != gate.known:  # what failed before is never the reason
        named = with_causes(gate.failing[:3], gate.failures)
        return f"tests failed: {', '.join(named)}{_and_more(len(gate.failing) - 3)}"
    if gate.findings:
        return "; ".join(str(finding) for finding in gate.findings[:3])
    reason = gate.reason_given or f"exit status {gate.exit_status}"
    return reason if gate.environment else f"tests failed: {reason.removeprefix('tests failed: ')}"


def refused_by_base(gate: GateResult) -> tuple[Finding, ...]:
    """Return what main's own tests refuse, and the change does not account for."""
    return tuple(one for one in gate.findings if one.rule == BASE_JUDGE)


def asked_of_person(attempt: History) -> tuple[Finding, ...]:
    """Return what a person should know before it lands: broken rules, what main's tests refuse,
    why it waits for approval."""
    held = attempt.text(Kind.TESTED, "held")
    rule = (Finding(rule="held-for-approval", message=held),) if held else ()
    return (*attempt.verdict.findings, *refused_by_base(attempt.gate), *rule)


def shown(attempt: History) -> Facts:
    """Return what whoever approves is shown: exactly which change, how it was tested, the risk."""
    tested = attempt.data(Kind.TESTED)
    return {
        "head": attempt.edited.head,
        "tree": attempt.gate.tree,
        "change": size_line(attempt),
        "risk": tested.get("risk"),
        "findings": [str(one) for one in asked_of_person(attempt)],
    }


def after_conflict(attempt: History, main: str) -> str:
    """Return what can be done where an edit does not merge."""
    mine = f"merge {main} in the worktree"
    return mine if attempt.plan.caller else "another try starts from main as it is now"


def conflict_facts(conflict: Conflict) -> Facts:
    """Return what an event holds of a conflict."""
    conflicts: list[Json] = [
        {"path": one.path, "message": one.message, "merged": cut_middle(one.merged, 4000)}
        for one in conflict.files[:20]
    ]
    paths: list[Json] = [file.path for file in conflict.files]
    return {"paths": paths, "conflicts": conflicts, "onto": conflict.onto}


def ways_on(findings: Sequence[Finding], main: str) -> str:
    """Return what can be done where main's own tests refuse: two ways, with their commands."""
    if not findings:
        return ""
    path = next((one.path for one in findings if one.path), "")
    see = f" (git show {main}:{path})" if path else ""
    return (
        f"make main's test pass on this code{see}, or let a person approve what it refuses:"
        ' `propose` it, or set policy.mode = "ask"; then `land_edit`'
    )


def new_dependency(diff: str, output: str) -> str:
    """Return what can be done where tests lack what the change adds to a file of dependencies."""
    added: dict[str, str] = {}
    file = ""
    for line in diff.splitlines():
        if line.startswith("+++ "):
            (file,) = diff_paths(line) or [""]
        elif line.startswith("+") and _DEPENDENCIES.search(file):
            added[file] = f"{added.get(file, '')}\n{line[1:].lower().replace('_', '-')}"
    for module in dict.fromkeys(found[1] or found[2] for found in _ABSENT.finditer(output)):
        for path, lines in added.items():
            # A package is often called otherwise than its module, but seldom without its name; of
            # Go, whose packages lie inside modules, any part of the path from its beginning.
            name = module.lower().replace("_", "-")
            parts = name.split("/")
            if path.endswith("go.mod"):
                names = ["/".join(parts[:n]) for n in range(2, len(parts) + 1)]
            elif name.startswith("@"):
                names = ["/".join(parts[:2])]
            else:
                names = [parts[0].split(".")[0]]
            either = "|".join(map(re.escape, filter(None, names)))
            if either and re.search(rf"(?<![\w-])(?:py|python-)?(?:{either})(?![\w/-])", lines):
                return (
                    f"tests cannot import {module}, which this change adds to {path}: set"
                    " gate.setup_command, which prepares a tree once for each state of such files"
                )
    return ""


def gate_line(gate: GateResult) -> str:
    """Return in a few words what the gate saw."""
    if gate == GateResult():
        return "not tested"
    state = "red"
    if gate.passed:  # green where no test failed at all, else the gate's excuse for the failures
        excuse, _, counts = gate.reason_given.partition(": ")
        state = f"{excuse} ({counts})" if counts else excuse or "green"
    # Scripts read "N tests, ": the count is never spelled in the singular.
    count = f"{gate.ran} tests, {'affected, ' * bool(gate.affected)}" if gate.ran else ""
    # Said where it is more than the run itself: nothing that judges differs, for the most part.
    told = "" if gate.judged_by_base in ("", "same") else f"; main's tests: {gate.judged_by_base}"
    return f"{count}{state} in {gate.seconds:.1f} s (sandbox: {gate.sandbox or 'none'}{told})"


def outcome_of(attempt: History) -> Outcome:
    """Return success for a change that proved good, even when a dry run or a choice kept it away:
    the stage says which. Everything else is a failure."""
    good = attempt.has(Kind.LANDED, Kind.HELD) or attempt.refusal.by == RefusedBy.CHOICE
    return Outcome.SUCCESS if good else Outcome.FAILURE


def stage_of(attempt: History) -> str:
    """Return how far the attempt came, in the word that results and the journal use."""
    if attempt.has(Kind.LANDED):
        return "landed"
    if attempt.has(Kind.HELD):
        return "held"
    if (
        attempt.refusal.environment
    ):  # nothing is said of the change: the machine or main is at fault
        return "environment"
    by = attempt.refusal.by
    named = {
        "": "waiting",
        RefusedBy.CHOICE: "passed over",
        RefusedBy.CANCELLED: "cancelled",
        RefusedBy.CRASHED: "crashed",
        RefusedBy.ERROR: "stopped",
    }
    return named.get(by, "refused")


def attempt_of(attempt: History, diff: str = "") -> ModificationAttempt:
    """Return the attempt as the founding value, before the journal has closed it."""
    return ModificationAttempt(
        task_description=attempt.task,
        approach=attempt.report.summary,
        files_modified=list(attempt.edited.paths),
        diff=diff,
        test_results=attempt.gate.output,
        outcome=outcome_of(attempt),
        failure_analysis=why_not(attempt),
        retry_count=attempt.plan.try_index,
        id=attempt.id,
    )


def why_not(attempt: History) -> str:
    """Return why nothing landed; empty when it did."""
    if attempt.has(Kind.LANDED):
        return ""
    refusal = attempt.refusal
    lines = [refusal.reason, *map(str, refusal.findings), left_out_line(attempt.edited)]
    return "\n".join(dict.fromkeys(line for line in lines if line))


def signature_of(attempt: History, of_failure: str) -> str:
    """Return the mark by which the same failure is recognised in the next try."""
    if attempt.has(Kind.LANDED, Kind.HELD):
        return ""
    refusal = attempt.refusal
    if refusal.by == RefusedBy.GATE:
        return of_failure or f"gate:{','.join(refusal.failing) or refusal.reason_given}"
    rules = ",".join(sorted({one.rule for one in refusal.findings}))
    return f"{refusal.by}:{rules or refusal.reason}"


def feedback_of(attempt: History) -> Feedback:
    """Return what the next try is told about this one."""
    return Feedback(
        attempt=attempt.id,
        by=attempt.refusal.by,
        reason=why_not(attempt),
        failing_tests=attempt.refusal.failing,
        output=cut_middle(attempt.refusal.output, _FEEDBACK_OUTPUT),
        lesson=attempt.reflected.lesson,
        survivors=attempt.strength.survived if attempt.strength else (),
    )


def result_of(attempt: History, *, attempts: Sequence[int], diff: str = "") -> SelfEditResult:
    """Return the self-edit's result, as the attempt that decides it tells it."""
    refusal, stage = attempt.refusal, stage_of(attempt)
    waiting = "approval" if stage == "waiting" else ""
    if attempt.last in (Kind.ISOLATED, Kind.RETURNED, Kind.TRIED):
        waiting = "submit"
    elif attempt.last == Kind.OPENED:
        waiting = "review"
    worktrees, size = attempt.worktrees, size_line(attempt)
    headlines = {
        "landed": f"landed: {size}",
        "held": f"would land: {size}; nothing was moved",
        "waiting": "waits for " + {"submit": "the caller's edit"}.get(waiting, waiting),
    }
    dropped = " and given up" if attempt.has(Kind.STOPPED) and attempt.has(Kind.REFUSED) else ""
    failed = f"{stage}{dropped}: {refusal.reason or refusal.by}"
    headline = f"attempt {attempt.id} {headlines.get(stage, failed)}"
    survived = attempt.strength.survived if attempt.strength else ()
    named = "; ".join(survived[:_LEFT_NAMED]) + _and_more(len(survived) - _LEFT_NAMED)
    told = [headline, left_out_line(attempt.edited), _beside(attempt)]
    told += [f"no test noticed: {named}"] if survived else []
    aside = attempt.data(Kind.CLEANED).get("aside")
    late = attempt.data(Kind.CLEANED).get("late")
    paths = late.get("paths") if isinstance(late, dict) else None
    missed = ", ".join(map(str, paths[:_LEFT_NAMED])) if isinstance(paths, list) else ""
    told += [f"written after it was submitted, and no part of it: {missed}"] if missed else []
    take_up = f"begin_edit(from_attempt={attempt.id}) takes up what it left out" if missed else ""
    told += [f"kept as it was: {place}" for place in (aside if isinstance(aside, list) else ())]
    return SelfEditResult(
        success=stage in ("landed", "held"),
        message="; ".join(filter(None, told)),
        attempt_id=attempt.id,
        files_modified=list(attempt.edited.paths),
        commit_hash=attempt.text(Kind.LANDED, "new") or None,
        test_results=attempt.gate.output,
        diff=diff,
        stage=stage,
        by=refusal.by,
        waiting=waiting,
        worktree=str(worktrees[-1].path) if waiting == "submit" else "",
        hint=refusal.hint or take_up or attempt.text(Kind.OPENED, "url"),
        attempts=tuple(attempts),
        findings=refusal.findings or attempt.verdict.findings,
        failing_tests=refusal.failing,
        branch=worktrees[-1].branch if worktrees else "",
        checkout=attempt.text(Kind.LANDED, "checkout"),
        sandbox=attempt.gate.sandbox,
        warning=attempt.text(WARNED, "text") or attempt.text(SHOWN, "warning"),
        lesson=attempt.reflected.lesson,
        reflection=attempt.reflected.reflection,
        cost=attempt.report.cost or None,
        lands_on=attempt.plan.base,
    )


def checked(attempt: History) -> SelfEditResult:
    """Return what a submission would come to, by the attempt's last check."""
    steps, strayed = (attempt.data(CHECKED).get(name) for name in ("steps", "strayed"))
    seen = attempt.then(Kind.WRITTEN, {"strayed": strayed})
    for step in steps if isinstance(steps, list) else ():
        match step:
            case [str(kind), dict(facts)]:
                seen = seen.then(kind, facts)
    green, why = not seen.has(Kind.REFUSED), seen.refusal.reason
    line = f"would land: {size_line(seen)}" if green else f"would be refused: {why}"
    told = (f"attempt {attempt.id} {line}", left_out_line(seen.edited), _beside(seen))
    return replace(
        result_of(seen, attempts=(attempt.id,)),
        success=green,
        message="; ".join(filter(None, told)),
        stage="checked",
        waiting="submit",
        worktree=str(attempt.worktrees[-1].path),
    )


def under_way(attempt: History, last: Progress | None) -> SelfEditResult:
    """Return the result of a call that ends before the process that works on the attempt."""
    doing = ": ".join(filter(None, (last.step, last.message))) if last else "starting"
    return replace(
        result_of(attempt, attempts=(attempt.id,)),
        success=False,
        message=f"attempt {attempt.id} is under way ({doing}); it goes on without this call",
        stage="testing",
        waiting="process",
    )


def size_line(attempt: History) -> str:
    """Return in one line what would land: files, lines, what the gate saw."""
    change = attempt.edited
    files = f"{len(change.paths)} file{'' if len(change.paths) == 1 else 's'}"
    return f"{files}, +{change.added} -{change.removed}; {gate_line(attempt.gate)}"


def event_line(kind: str, facts: Facts) -> str:
    """Return one line of progress about an event; empty when there is nothing to say."""
    if kind == Kind.EDITED:
        change = read(Edited, facts)
        named = f"{', '.join(change.paths[:3])}{_and_more(len(change.paths) - 3)}"
        return f"{named}, +{change.added} -{change.removed}"
    if kind == Kind.TESTED:
        return gate_line(read(GateResult, facts))
    if kind == Kind.MOVED:
        return "main moved meanwhile: testing anew"
    told = {
        Kind.ISOLATED: "path",
        Kind.LANDED: "new",
        Kind.OPENED: "url",
        Kind.REFUSED: "reason",
        Kind.STOPPED: "reason",
        Kind.REFLECTED: "lesson",
    }
    return str(facts.get(told[Kind(kind)]) or "") if kind in told else ""
