"""Says in words what an attempt teaches, from the attempt and its evidence alone.

The text a person reads when no model answers. The headings are the founding ones; the labelled
lines are read by programs too. It refuses to praise or to blame without a fact to name.
"""

from __future__ import annotations

from collections.abc import Sequence

from self_coding.redaction import redact
from self_coding.reflection.prompt import facts
from self_coding.values.attempts import Failure, ModificationAttempt, Outcome


def reflection(
    attempt: ModificationAttempt, failure: Failure, seen: Sequence[ModificationAttempt] = ()
) -> str:
    """The reflection on `attempt`; `seen` are earlier attempts that failed the same way."""
    files = ", ".join(attempt.files_modified) or "N/A"
    parts = {
        Outcome.SUCCESS: _success,
        Outcome.FAILURE: _failure,
        Outcome.ROLLBACK: _rollback,
    }[attempt.outcome](attempt, failure, files)
    parts += _seen(seen)
    return redact("\n\n".join(part for part in parts if part)).strip()


def _success(attempt: ModificationAttempt, failure: Failure, files: str) -> list[str]:
    tries = f" after {attempt.retry_count} retries" if attempt.retry_count else ""
    return [
        f"## What went well\n- Successfully completed: {attempt.task_description}{tries}\n"
        f"- Files: {files}",
        f"- Approach: {attempt.approach}" if attempt.approach else "",
    ]


def _failure(attempt: ModificationAttempt, failure: Failure, files: str) -> list[str]:
    return [
        f"## What went well\n- {_credit(failure)}\n- Files: {files}",
        _what_failed(failure),
        _to_improve(attempt, failure, f"{attempt.retry_count} retries so far."),
    ]


def _rollback(attempt: ModificationAttempt, failure: Failure, files: str) -> list[str]:
    return [
        "## What went well\n- Rollback is preferable to shipping broken code.\n"
        f"- Files restored: {files}",
        _what_failed(failure),
        _to_improve(attempt, failure, ""),
    ]


def _to_improve(attempt: ModificationAttempt, failure: Failure, tries: str) -> str:
    points = [attempt.failure_analysis, tries, _advice(failure)]
    return "\n".join(["## What could be improved", *(f"- {point}" for point in points if point)])


def _credit(failure: Failure) -> str:
    if failure.failing_tests:
        return "The tests caught it before it could land."
    return "The attempt was recorded, and nothing was landed."


def _what_failed(failure: Failure) -> str:
    """The evidence, labelled; the assertion below it as it was printed."""
    told = facts(failure)
    if not told:
        return ""
    shown = [f"    {line}" for line in failure.assertion.splitlines()[:12]]
    return "\n".join(["## What failed", told, *(["Assertion:", *shown] if shown else [])])


def _advice(failure: Failure) -> str:
    """What to look at first, as far as the evidence goes."""
    function = failure.root_cause_function
    where = f"{function} in {failure.root_cause_file}" if function else failure.root_cause_file
    if failure.related and where:
        return f"Look at {where} first: {failure.because}."
    if failure.related is False and where:
        return f"The change did not reach it; look at {where}, or run the tests without the change."
    if failure.related is False:
        return (
            "Nothing in the output points to the changed files; run the tests without the change."
        )
    if failure.location:
        return f"Look at {failure.location} first."
    return "The output names no failure; keep more of it next time."


def _seen(seen: Sequence[ModificationAttempt]) -> list[str]:
    if not seen:
        return []
    lines = [
        f"- attempt {past.id if past.id is not None else '?'} ended as {past.outcome.value}: "
        f"{past.task_description}"
        for past in seen[:3]
    ]
    return ["\n".join(["## Seen before", "The same failure was met earlier:", *lines])]
