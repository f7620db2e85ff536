"""Makes one reusable sentence of a failed attempt, with the evidence it rests on.

Deterministic, no model. It refuses a lesson where the output shows no failure: a lesson without
evidence is worse than none.
"""

from __future__ import annotations

from self_coding.redaction import redact
from self_coding.values.attempts import Failure, Lesson, ModificationAttempt, Outcome

_LONGEST = 280


def lesson(attempt: ModificationAttempt, failure: Failure) -> Lesson | None:
    """What the next attempt should know, or None without evidence of a failure."""
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
        tests=failure.failing_tests[:10],
        evidence=(attempt.id,) if attempt.id is not None else (),
    )


def _sentence(failure: Failure) -> str:
    """One line: the place, the test, the exception."""
    message = failure.message.partition("\n")[0].strip()
    what = f"{failure.exception}: {_short(message, 90)}" if message else failure.exception
    where = failure.root_cause_file
    if where and failure.root_cause_function:
        where = f"{failure.root_cause_function} in {where}"
    tests = failure.failing_tests
    test = _short(tests[0], 100) if tests else f"the run, at {failure.location},"
    count = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
    if failure.related and where:
        text = f"A change of {where} made {test}{count} fail with {what}"
    elif failure.related is False:
        place = f" at {failure.location}" if failure.location and tests else ""
        text = f"{test}{count} failed{place} with {what}, and nothing pointed to the change"
    else:
        text = f"{test}{count} failed with {what}"
    return _short(" ".join(redact(text).split()), _LONGEST - 1) + "."


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 4].rstrip() + " ..."
