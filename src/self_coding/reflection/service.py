"""ReflectionService: a model's words where one answers, else a text made from the evidence.

Reading evidence is pure and happens in a thread; the only waiting here is for a model. Whatever
the adapter does, a reflection comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from self_coding.adapters import threads
from self_coding.adapters.llm import ChatModel, TypedModel
from self_coding.reflection import prompt, templates
from self_coding.reflection.failures import failed_tests, read_failure
from self_coding.reflection.test_output import FailedTest
from self_coding.values.attempts import Failure, Lesson, ModificationAttempt, Outcome
from self_coding.values.verdicts import TestResult

_log = logging.getLogger(__name__)
_CONTEXT = "You review attempts to change a code base. Be brief and cite evidence."


@dataclass(frozen=True)
class _Case:
    """One attempt with everything that was read from it."""

    attempt: ModificationAttempt
    failure: Failure
    failed: tuple[FailedTest, ...]
    similar: tuple[ModificationAttempt, ...] = ()
    seen: tuple[ModificationAttempt, ...] = ()


class ReflectionService:
    """Reflects on attempts: what went well, what failed and why, what to do otherwise.

    Args:
        llm_adapter: an object with `async chat(message=..., context=...)` whose result has
            `.content`; None works without a model.
        model_preference: handed on to who chooses among models ("fast" or "best").
    """

    def __init__(
        self, llm_adapter: ChatModel | None = None, model_preference: str = "fast"
    ) -> None:
        self.llm_adapter = llm_adapter
        self.model_preference = model_preference

    async def reflect_on_attempt(self, attempt: ModificationAttempt) -> str:
        """Return the reflection on one attempt, as text; never empty, never an exception."""
        return await self.reflect_with_context(attempt, [])

    async def reflect_with_context(
        self,
        attempt: ModificationAttempt,
        similar_attempts: Sequence[ModificationAttempt],
        *,
        failure: Failure | None = None,
    ) -> str:
        """Return the reflection on one attempt in the light of earlier ones at alike tasks.

        `failure` is what `analyse` made of it, where that was asked before.
        """
        case = await threads.in_thread(_study, attempt, tuple(similar_attempts), failure)
        reply = await self._ask_model(case)
        return reply or templates.reflection(attempt, case.failure, case.seen)

    async def analyse(
        self,
        attempt: ModificationAttempt,
        *,
        importers: Mapping[str, Collection[str]] | None = None,
        new_failures: Sequence[TestResult] = (),
    ) -> Failure:
        """Return what the attempt's test output says, against its diff and the import graph.

        `new_failures` are the failing tests that pass without the change, where the test runner
        reported them: then no other failure counts, and the change is known to be the cause.
        """
        return await threads.in_thread(_failure, attempt, importers, new_failures)

    async def lesson(self, attempt: ModificationAttempt, failure: Failure) -> Lesson | None:
        """Return one sentence for the next attempt with its evidence; None without evidence."""
        return templates.lesson(attempt, failure)

    async def _ask_model(self, case: _Case) -> str:
        """The model's reflection; empty when it does not answer, or not in a usable way."""
        adapter = self.llm_adapter
        if adapter is None:
            return ""
        message = prompt.message(case.attempt, case.failure, case.failed, case.similar)
        try:
            if isinstance(adapter, TypedModel):
                outcome = Outcome(case.attempt.outcome)
                answer = await adapter.ask(
                    message=message,
                    context=_CONTEXT,
                    form=prompt.Analysis,
                    check=lambda reply: prompt.objection(reply, message, outcome),
                )
                return prompt.rendered(case.attempt, case.failure, answer.value)
            content: object = (await adapter.chat(message=message, context=_CONTEXT)).content
            return content.strip() if isinstance(content, str) else ""
        except Exception as error:  # noqa: BLE001 - an adapter is foreign code: whatever it
            # raises, the contract promises the text made from the attempt alone.
            _log.warning("no reflection from the model, using the evidence alone: %s", error)
            return ""


def _study(
    attempt: ModificationAttempt,
    similar: tuple[ModificationAttempt, ...],
    failure: Failure | None,
) -> _Case:
    failed = tuple(failed_tests(attempt.test_results, files_modified=attempt.files_modified))
    if attempt.outcome is Outcome.SUCCESS:
        failure = Failure()
    elif failure is None:
        failure = _failure(attempt)
    seen = tuple(
        past
        for past in similar
        if failure.signature and _failure(past).signature == failure.signature
    )
    return _Case(attempt, failure, failed, similar, seen)


def _failure(
    attempt: ModificationAttempt,
    importers: Mapping[str, Collection[str]] | None = None,
    new_failures: Sequence[TestResult] = (),
) -> Failure:
    return read_failure(
        attempt.test_results,
        files_modified=attempt.files_modified,
        diff=attempt.diff,
        importers=importers,
        new_failures=new_failures,
    )
