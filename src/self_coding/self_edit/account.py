"""Pure: an attempt's history told to others: as a result, as an attempt, as feedback, in words.

It tells what stands in the events; it never judges an attempt better or worse than they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from self_coding.self_edit.history import (
    By,
    Data,
    History,
    Kind,
    flag,
    number,
    records,
    text,
    texts,
)
from self_coding.values.attempts import Json, ModificationAttempt, Outcome
from self_coding.values.edits import Feedback, SelfEditResult
from self_coding.values.repository import Uncaptured
from self_coding.values.verdicts import Finding, GateReport

OUTPUT_KEPT = 16_000  # characters of test output that an event holds; the ends tell most
FEEDBACK_OUTPUT = 3_000
_SUBJECT = 60
_LEFT, _LEFT_SAID = 100, 5  # paths an edit leaves out that an event holds, and a message names
_CACHES = (  # what tools write by themselves: no part of anybody's edit
    *("__pycache__", "*.py[co]", "*.egg-info", "*_cache", ".cache", ".hypothesis", ".coverage*"),
    *("htmlcov", ".tox", ".nox", ".venv", "venv", "node_modules", ".DS_Store", ".eggs"),
)


def subject(task: str) -> str:
    """The task in one short line."""
    line = next((line.strip() for line in task.splitlines() if line.strip()), "")
    return line if len(line) <= _SUBJECT else line[: _SUBJECT - 1].rstrip() + "…"


def cut(words: str, limit: int) -> str:
    """Both ends of a text, the middle replaced by a mark where it was too long."""
    if len(words) <= limit:
        return words
    head = limit // 3
    dropped = len(words) - limit
    return f"{words[:head]}\n[... {dropped} characters cut ...]\n{words[-(limit - head) :]}"


def commit_message(history: History) -> str:
    """The message of the commit that holds the edit."""
    task = history.task
    rest = "" if task.strip() == subject(task) else f"\n\n{cut(task, 2000)}"
    return f"{subject(task)}{rest}\n\nSelf-edit: attempt {history.attempt}\n"


def finding_facts(findings: Sequence[Finding]) -> list[Json]:
    """Findings as the JSON that an event holds."""
    return [
        {"rule": one.rule, "path": one.path, "line": one.line, "message": one.message}
        for one in findings
    ]


def findings_of(data: Data) -> tuple[Finding, ...]:
    """The findings that an event holds."""
    return tuple(
        Finding(
            rule=text(one, "rule"),
            path=text(one, "path"),
            line=number(one, "line"),
            message=text(one, "message"),
        )
        for one in records(data, "findings")
    )


def left_facts(left: Sequence[Uncaptured], *, whole: bool) -> dict[str, Json]:
    """What an event holds of what a change leaves out; caches only where it shall be whole."""
    named = [f"{one.path} ({one.reason})" for one in left if whole or not _is_cache(one.path)]
    return {"left_out": list(named[:_LEFT]), "left_count": len(named)} if named else {}


def _is_cache(path: str) -> bool:
    parts = path.rstrip("/").split("/")
    return any(fnmatchcase(part, pattern) for part in parts for pattern in _CACHES)


def left_in_words(data: Data) -> str:
    """What a change leaves out, in one line; empty where that is nothing."""
    named = texts(data, "left_out")
    if not named:
        return ""
    more = number(data, "left_count") - len(named[:_LEFT_SAID])
    return f"left out: {', '.join(named[:_LEFT_SAID])}" + (f" and {more} more" if more else "")


def report_facts(report: GateReport) -> dict[str, Json]:
    """What an event holds of a gate report."""
    failing = report.new_failures or tuple(
        test.id for test in report.tests if test.outcome in ("failed", "error")
    )
    return {
        "passed": report.passed,
        "command": report.command,
        "exit_status": report.exit_status,
        "reason_given": report.reason,
        "output": cut(report.output, OUTPUT_KEPT),
        "ran": report.ran,
        "failing": list(failing[:200]),
        "known": list(report.known_failures[:200]),
        "flaky": list(report.flaky[:200]),
        "findings": finding_facts(report.findings),
        "sandbox": report.sandbox,
        "timed_out": report.timed_out,
        "seconds": round(report.seconds, 3),
        "cached": report.cached,
    }


def why_red(report: GateReport) -> str:
    """One sentence: why the gate refused."""
    facts = report_facts(report)
    failing = texts(facts, "failing")
    if report.timed_out:
        return f"the tests ran into their time limit after {report.seconds:.0f} s"
    if failing and failing != texts(facts, "known"):  # what failed before is never the reason
        more = f" and {len(failing) - 3} more" if len(failing) > 3 else ""
        return f"tests failed: {', '.join(failing[:3])}{more}"
    if report.findings:
        return "; ".join(str(finding) for finding in report.findings[:3])
    return f"tests failed: {report.reason or f'exit status {report.exit_status}'}"


def tests_in_words(data: Data) -> str:
    """What the gate saw, in a few words."""
    ran = number(data, "ran")
    if not data:
        return "not tested"
    count = f"{ran} tests, " if ran else ""
    level = text(data, "sandbox") or "none"
    return f"{count}{_state(data)} in {_seconds(data):.1f} s (sandbox: {level})"


def _state(data: Data) -> str:
    """Green where no test failed at all; else the gate's own words for why it let them pass."""
    if not flag(data, "passed"):
        return "red"
    excuse, _, counts = text(data, "reason_given").partition(": ")
    return f"{excuse} ({counts})" if counts else excuse or "green"


def _seconds(data: Data) -> float:
    value = data.get("seconds")
    return float(value) if isinstance(value, int | float) else 0.0


def gate_of(history: History) -> Data:
    """What the gate saw last: the green test, or the refusal that it was."""
    refused = history.data(Kind.REFUSED)
    if text(refused, "by") == By.GATE:
        return refused
    return history.data(Kind.TESTED)


def outcome_of(history: History) -> Outcome:
    """Success for a change that is proved good, also where a dry run or a choice kept it away:
    the stage says which. Everything else is a failure."""
    good = history.has(Kind.LANDED, Kind.HELD) or text(history.refusal, "by") == By.CHOICE
    return Outcome.SUCCESS if good else Outcome.FAILURE


def stage_of(history: History) -> str:
    """How far the attempt came, in the word that results and the journal use."""
    if history.has(Kind.LANDED):
        return "landed"
    if history.has(Kind.HELD):
        return "held"
    by = text(history.refusal, "by")
    if by == By.CHOICE:
        return "passed over"
    if by in (By.CANCELLED, By.CRASHED):
        return by
    if by == By.ERROR:
        return "stopped"
    return "refused" if by else "waiting"


def attempt_of(history: History, diff: str = "") -> ModificationAttempt:
    """The attempt as the founding value, before the journal has closed it."""
    change, gate = history.data(Kind.EDITED), gate_of(history)
    return ModificationAttempt(
        task_description=history.task,
        approach=text(history.data(Kind.WRITTEN), "summary"),
        files_modified=list(texts(change, "paths")),
        diff=diff,
        test_results=text(gate, "output"),
        outcome=outcome_of(history),
        failure_analysis=why_not(history),
        retry_count=history.tried,
        id=history.attempt,
    )


def why_not(history: History) -> str:
    """Why nothing landed; empty when it did."""
    if history.has(Kind.LANDED):
        return ""
    reason = text(history.refusal, "reason")
    left = left_in_words(history.data(Kind.EDITED))
    lines = [reason, *(str(one) for one in findings_of(history.refusal)), left]
    return "\n".join(dict.fromkeys(line for line in lines if line))


def signature_of(history: History, of_failure: str) -> str:
    """The mark by which the same failure is known again in the next try."""
    if history.has(Kind.LANDED, Kind.HELD):
        return ""
    by = text(history.refusal, "by")
    if by == By.GATE:
        failing = ",".join(texts(history.refusal, "failing"))
        return of_failure or f"gate:{failing or text(history.refusal, 'reason_given')}"
    rules = ",".join(sorted({one.rule for one in findings_of(history.refusal)}))
    return f"{by}:{rules or text(history.refusal, 'reason')}"


def feedback_of(history: History) -> Feedback:
    """What the next try is told about this one."""
    learnt = history.data(Kind.REFLECTED)
    return Feedback(
        attempt=history.attempt,
        by=text(history.refusal, "by"),
        reason=why_not(history),
        failing_tests=texts(history.refusal, "failing"),
        output=cut(text(history.refusal, "output"), FEEDBACK_OUTPUT),
        lesson=text(learnt, "lesson"),
    )


def feedback_facts(feedback: Feedback) -> dict[str, Json]:
    """Feedback as the JSON that a plan holds."""
    return {
        "attempt": feedback.attempt,
        "by": feedback.by,
        "reason": feedback.reason,
        "failing": list(feedback.failing_tests),
        "output": feedback.output,
        "lesson": feedback.lesson,
    }


def feedback_in(plan: Data) -> tuple[Feedback, ...]:
    """The feedback that a plan holds, oldest try first."""
    return tuple(
        Feedback(
            attempt=number(one, "attempt"),
            by=text(one, "by"),
            reason=text(one, "reason"),
            failing_tests=texts(one, "failing"),
            output=text(one, "output"),
            lesson=text(one, "lesson"),
        )
        for one in records(plan, "feedback")
    )


def result_of(history: History, *, attempts: Sequence[int], diff: str = "") -> SelfEditResult:
    """The self-edit's result, told by the attempt that decides it."""
    gate, refusal, learnt = gate_of(history), history.refusal, history.data(Kind.REFLECTED)
    stage = stage_of(history)
    landed = history.data(Kind.LANDED)
    worktrees = history.worktrees
    return SelfEditResult(
        success=stage in ("landed", "held"),
        message=_message(history, stage),
        attempt_id=history.attempt,
        files_modified=list(texts(history.data(Kind.EDITED), "paths")),
        commit_hash=text(landed, "new") or None,
        test_results=text(gate, "output"),
        diff=diff,
        stage=stage,
        by=text(refusal, "by"),
        waiting=_waiting(history) if stage == "waiting" else "",
        hint=text(refusal, "hint"),
        attempts=tuple(attempts),
        findings=findings_of(refusal) or findings_of(history.data(Kind.JUDGED)),
        failing_tests=texts(refusal, "failing"),
        branch=worktrees[-1].branch if worktrees else "",
        checkout=text(landed, "checkout"),
        sandbox=text(gate, "sandbox"),
        warning=text(history.data("warned"), "text") or text(history.data("shown"), "warning"),
        lesson=text(learnt, "lesson"),
        reflection=text(learnt, "reflection"),
        cost=history.cost or None,
    )


def _waiting(history: History) -> str:
    return "submit" if history.last == Kind.ISOLATED else "approval"


def _message(history: History, stage: str) -> str:
    left = left_in_words(history.data(Kind.EDITED))
    return "; ".join(filter(None, (_headline(history, stage), left)))


def _headline(history: History, stage: str) -> str:
    change = history.data(Kind.EDITED)
    files = len(texts(change, "paths"))
    size = f"{files} file{'' if files == 1 else 's'}, +{number(change, 'added')}"
    size += f" -{number(change, 'removed')}"
    what = f"attempt {history.attempt}"
    if stage == "landed":
        tested = tests_in_words(gate_of(history))
        return f"{what} landed: {size}; {tested}"
    if stage == "held":
        return f"{what} would land: {size}; {tests_in_words(gate_of(history))}; nothing was moved"
    if stage == "waiting":
        who = "the caller's edit" if _waiting(history) == "submit" else "approval"
        return f"{what} waits for {who}"
    return f"{what} {stage}: {text(history.refusal, 'reason') or text(history.refusal, 'by')}"


_TOLD = {  # which fact of an event is told as it is
    Kind.ISOLATED: "path",
    Kind.LANDED: "new",
    Kind.REFUSED: "reason",
    Kind.STOPPED: "reason",
    Kind.REFLECTED: "lesson",
}


def event_in_words(kind: str, facts: Data) -> str:
    """One line for whoever watches."""
    if kind == Kind.EDITED:
        paths = texts(facts, "paths")
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        size = f"+{number(facts, 'added')} -{number(facts, 'removed')}"
        return f"{', '.join(paths[:3])}{more}, {size}"
    if kind == Kind.TESTED:
        return tests_in_words(facts)
    if kind == Kind.MOVED:
        return "main moved meanwhile: testing anew"
    return text(facts, _TOLD[Kind(kind)]) if kind in _TOLD else ""
