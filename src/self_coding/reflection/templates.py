"""Say in words what an attempt teaches, from the attempt and its evidence alone.

Pure. The text a person reads when no model answers, and the one-sentence lesson for the next
attempt. The headings are the founding ones; the labelled lines are read by programs too. Without
a fact to name there is neither praise nor blame, and no lesson.
"""

from __future__ import annotations

from collections.abc import Sequence

from self_coding.redaction import redact
from self_coding.text import shorten
from self_coding.values.attempts import Failure, Lesson, ModificationAttempt, Outcome

_MOST_TESTS = 10
_LONGEST_LESSON = 280


def reflection(
    attempt: ModificationAttempt, failure: Failure, seen: Sequence[ModificationAttempt] = ()
) -> str:
    """Return the reflection on `attempt`; `seen` are earlier attempts that failed the same way."""
    files = ", ".join(attempt.files_modified) or "N/A"
    tries = attempt.retry_count
    if attempt.outcome is Outcome.SUCCESS:
        after = f" after {tries} retries" if tries else ""
        parts = [
            f"## What went well\n- Successfully completed: {attempt.task_description}{after}\n"
            f"- Files: {files}",
            f"- Approach: {attempt.approach}" if attempt.approach else "",
        ]
    else:
        advice = [attempt.failure_analysis, _advice(failure)]
        evidence = ["## What failed", facts(failure)] if facts(failure) else []
        if evidence and failure.assertion:
            shown = failure.assertion.splitlines()[:12]
            evidence += ["Assertion:", *(f"    {line}" for line in shown)]
        if attempt.outcome is Outcome.ROLLBACK:
            credit = "Rollback is preferable to shipping broken code."
            files = f"- Files restored: {files}"
        else:
            caught = "The tests caught it before it could land."
            nothing = "The attempt was recorded, and nothing was landed."
            credit = caught if failure.failing_tests else nothing
            files = f"- Files: {files}"
            advice.insert(1, f"{tries} retries so far.")
        parts = [
            f"## What went well\n- {credit}\n{files}",
            "\n".join(evidence),
            "\n".join(["## What could be improved", *(f"- {point}" for point in advice if point)]),
        ]
    if seen:
        parts += [
            "\n".join(
                [
                    "## Seen before",
                    "The same failure was met earlier:",
                    *(
                        f"- attempt {past.id if past.id is not None else '?'} ended as "
                        f"{past.outcome.value}: {past.task_description}"
                        for past in seen[:3]
                    ),
                ]
            )
        ]
    return redact("\n\n".join(part for part in parts if part)).strip()


def facts(failure: Failure) -> str:
    """Return what was read from the output, one labelled line each; "" where nothing was."""
    shown = failure.failing_tests[:_MOST_TESTS]
    more = len(failure.failing_tests) - len(shown)
    lines = ["Failing tests:", *(f"- {name}" for name in shown)] if shown else []
    lines += [f"(and {more} more)"] if more else []
    related = {None: "", True: "yes", False: "no"}[failure.related]
    lines += [
        f"{label}: {value}"
        for label, value in (
            ("Exception", failure.exception),
            ("Message", shorten(failure.message.partition("\n")[0], 300)),
            ("Location", failure.location),
            ("Root cause file", failure.root_cause_file),
            ("Root cause function", failure.root_cause_function),
            ("Related to this change", related),
            ("Because", failure.because),
        )
        if value
    ]
    return "\n".join(lines)


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


def lesson(attempt: ModificationAttempt, failure: Failure) -> Lesson | None:
    """Return what the next attempt should know; None without evidence of a failure."""
    if attempt.outcome is Outcome.SUCCESS or not failure.exception:
        return None
    if not (failure.failing_tests or failure.location):
        return None
    files = [failure.root_cause_file] if failure.root_cause_file else list(attempt.files_modified)
    function = failure.root_cause_function
    return Lesson(
        text=_sentence(failure),
        files=tuple(files),
        symbols=(function,) if function and not function.startswith("<") else (),
        exception=failure.exception,
        tests=failure.failing_tests[:_MOST_TESTS],
        evidence=(attempt.id,) if attempt.id is not None else (),
    )


def _sentence(failure: Failure) -> str:
    """One line: the place, the test, the exception."""
    message = failure.message.partition("\n")[0].strip()
    what = f"{failure.exception}: {shorten(message, 90)}" if message else failure.exception
    where = failure.root_cause_file
    if where and failure.root_cause_function:
        where = f"{failure.root_cause_function} in {where}"
    tests = failure.failing_tests
    test = shorten(tests[0], 100) if tests else f"the run, at {failure.location},"
    count = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
    if failure.related and where:
        text = f"A change of {where} made {test}{count} fail with {what}"
    elif failure.related is False:
        place = f" at {failure.location}" if failure.location and tests else ""
        text = f"{test}{count} failed{place} with {what}, and nothing pointed to the change"
    else:
        text = f"{test}{count} failed with {what}"
    return shorten(" ".join(redact(text).split()), _LONGEST_LESSON - 1) + "."
