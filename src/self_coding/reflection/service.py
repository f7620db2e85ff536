"""ReflectionService: a model's words where one answers, else a text made from the evidence.

Reading evidence is pure and happens in a thread; the only waiting here is for a model. Whatever
the adapter does, a reflection comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from self_coding.adapters import threads
from self_coding.adapters.llm import ChatModel, TypedModel
from self_coding.reflection import texts
from self_coding.reflection.failures import failed_tests, read_failure
from self_coding.reflection.test_output import FailedTest
from self_coding.values.attempts import Failure, Lesson, ModificationAttempt, Outcome
from self_coding.values.verdicts import TestResult

_log = logging.getLogger(__name__)
_CONTEXT = "You review attempts to change a code base. Be brief and cite evidence."


class ReflectionService:
    """Reflects on attempts: what went well, what failed and why, what to do otherwise.

    Args:
        llm_adapter: an object with `async chat(message=..., context=...)` whose result has
            `.content`; None works without a model.
        model_preference: handed on to who chooses among models ("fast" or "best").
        repo_path: the repository's folder; absolute paths in it are told from its top.
    """

    def __init__(
        self,
        llm_adapter: ChatModel | None = None,
        model_preference: str = "fast",
        *,
        repo_path: Path | str = "",
    ) -> None:
        self.llm_adapter = llm_adapter
        self.model_preference = model_preference
        self._root = str(repo_path)

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
        similar = tuple(similar_attempts)

        def study() -> tuple[Failure, list[FailedTest], list[ModificationAttempt]]:
            failed = failed_tests(
                attempt.test_results, files_modified=attempt.files_modified, root=self._root
            )
            if attempt.outcome is Outcome.SUCCESS:
                return Failure(), failed, []
            now = failure or self._failure(attempt)
            same = (past for past in similar if self._failure(past).signature == now.signature)
            return now, failed, list(same) if now.signature else []

        now, failed, seen = await threads.in_thread(study)
        message = texts.message(attempt, now, failed, similar) if self.llm_adapter else ""
        reply = await self._ask_model(attempt, now, message)
        return reply or texts.reflection(attempt, now, seen)

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
        return await threads.in_thread(self._failure, attempt, importers, new_failures)

    async def lesson(self, attempt: ModificationAttempt, failure: Failure) -> Lesson | None:
        """Return one sentence for the next attempt with its evidence; None without evidence."""
        return texts.lesson(attempt, failure)

    async def _ask_model(self, attempt: ModificationAttempt, failure: Failure, message: str) -> str:
        """The model's reflection; empty when it does not answer, or not in a usable way."""
        adapter = self.llm_adapter
        if adapter is None:
            return ""
        try:
            if isinstance(adapter, TypedModel):
                outcome = Outcome(attempt.outcome)
                answer = await adapter.ask(
                    message=message,
                    context=_CONTEXT,
                    form=texts.Analysis,
                    check=lambda reply: texts.objection(reply, message, outcome),
                )
                return texts.rendered(attempt, failure, answer.value)
            content: object = (await adapter.chat(message=message, context=_CONTEXT)).content
            return content.strip() if isinstance(content, str) else ""
        except Exception as error:  # noqa: BLE001 - an adapter is foreign code: whatever it
            # raises, the contract promises the text made from the attempt alone.
            _log.warning("no reflection from the model, using the evidence alone: %s", error)
            return ""

    def _failure(
        self,
        attempt: ModificationAttempt,
        importers: Mapping[str, Collection[str]] | None = None,
        new_failures: Sequence[TestResult] = (),
    ) -> Failure:
        return read_failure(
            attempt.test_results,
            files_modified=attempt.files_modified,
            diff=attempt.diff,
            importers=importers,
            root=self._root,
            new_failures=new_failures,
        )
