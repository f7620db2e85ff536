"""Begin and end attempts: the others of a round, the next try, tidying, what was learnt.

It decides nothing: whether there is a next try is `lifecycle`'s answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from self_coding.errors import SelfCodingError, StorageError
from self_coding.self_edit import account
from self_coding.self_edit.history import By, History, Kind, number, numbers, text, texts
from self_coding.self_edit.lifecycle import spent
from self_coding.self_edit.rooms import Rooms
from self_coding.values.attempts import Failure, Json, Outcome
from self_coding.values.edits import Context, Task

Facts = dict[str, Json]
_FEEDBACK_TRIES = 3  # how many earlier tries a next one is told about
_UNTOLD = (By.CHOICE, By.CANCELLED, By.CRASHED, By.ERROR)  # ends that hold no lesson


class Ending:
    """The steps that begin and end attempts."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def begin(self, task: Task, plan: Facts) -> int:
        """Begin the attempt that `plan` describes, once: one begun before a crash is found."""
        known = await self._find(task.id, plan)
        return known or await self._rooms.journal.begin(
            task.text, edit=task.id, retry_count=number(plan, "try"), facts=plan
        )

    async def _find(self, edit: str, plan: Facts) -> int:
        """The unfinished attempt of the same self-edit, try and place in the round; 0 for none."""
        for attempt in await self._rooms.journal.unfinished():
            other = History(await self._rooms.journal.events(attempt))
            same = all(other.plan.get(key) == plan[key] for key in ("try", "index"))
            if other.edit == edit and same:
                return attempt
        return 0

    async def spread(self, mine: History) -> tuple[str, Facts]:
        """Begin the other attempts of the round that `mine` leads."""
        others: list[Json] = []
        for index in range(1, mine.of):
            plan = {**mine.plan, "leader": mine.attempt, "index": index}
            others.append(await self.begin(Task(mine.edit, mine.task), plan))
        return Kind.SPREAD, {"attempts": others}

    async def follow(self, mine: History, beside: Sequence[History]) -> tuple[str, Facts]:
        """Begin the next try: a new round, which is told how this one went."""
        round_ = sorted((mine, *beside), key=lambda one: one.attempt)
        told = [account.feedback_facts(account.feedback_of(one)) for one in round_]
        before = mine.plan.get("feedback")
        feedback = [*(before if isinstance(before, list) else []), *told]
        signatures = [*texts(mine.plan, "signatures"), *(one.signature for one in round_)]
        attempts = [*numbers(mine.plan, "attempts"), *(one.attempt for one in round_)]
        plan: Facts = {
            **mine.plan,
            "leader": 0,
            "index": 0,
            "try": mine.tried + 1,
            "spent": spent(mine, beside),
            "feedback": feedback[-_FEEDBACK_TRIES * mine.of :],
            "signatures": [mark for mark in dict.fromkeys(signatures) if mark],
            "attempts": list(attempts),
        }
        return Kind.FOLLOWED, {"attempt": await self.begin(Task(mine.edit, mine.task), plan)}

    async def clean(self, mine: History) -> tuple[str, Facts]:
        """Give the worktrees back; whatever stands in them is kept under a ref."""
        for worktree in mine.worktrees:
            await self._rooms.repository.release(worktree)
        return Kind.CLEANED, {}

    async def reflect(self, mine: History) -> tuple[str, Facts]:
        """Explain the attempt from its evidence and keep what can be learnt from it."""
        if text(mine.refusal, "by") in _UNTOLD or mine.has(Kind.HELD):
            return Kind.REFLECTED, {}
        try:
            return Kind.REFLECTED, await self._learnt(mine)
        except StorageError:
            raise
        except SelfCodingError as error:  # what landed has landed, explained or not
            return Kind.REFLECTED, {"error": str(error)}

    async def _learnt(self, mine: History) -> Facts:
        by = text(mine.refusal, "by")
        attempt = account.attempt_of(mine, await self._diff(mine))
        failure = Failure()
        if by == By.GATE:
            failure = await self._rooms.reflection.analyse(attempt)
        learnt = None
        if not mine.has(Kind.LANDED):
            learnt = await self._rooms.reflection.lesson(attempt, failure)
        if learnt is not None:
            learnt = await self._rooms.journal.learn(learnt)
        similar = await self._rooms.journal.similar(attempt.task_description, limit=3)
        past = [one.attempt for one in similar if one.attempt.id != mine.attempt]
        words = await self._rooms.reflection.reflect_with_context(attempt, past)
        await self._note_uses(mine)
        return {
            "reflection": words,
            "lesson": learnt.text if learnt else "",
            "signature": account.signature_of(mine, failure.signature),
            "failing": list(failure.failing_tests),
            "location": failure.location,
            "root_cause_file": failure.root_cause_file,
        }

    async def end(self, mine: History) -> None:
        """Close the attempt in the journal, which appends its last event with it."""
        attempt = account.attempt_of(mine, await self._diff(mine))
        await self._rooms.journal.finish(
            mine.attempt,
            attempt.outcome,
            approach=attempt.approach,
            files_modified=attempt.files_modified,
            diff=attempt.diff,
            test_results=attempt.test_results,
            failure_analysis=attempt.failure_analysis,
            reflection=text(mine.data(Kind.REFLECTED), "reflection"),
            stage=account.stage_of(mine),
            editor=text(mine.plan, "editor"),
            model=text(mine.data(Kind.WRITTEN), "model"),
            commit=text(mine.data(Kind.LANDED), "new"),
        )

    async def _note_uses(self, mine: History) -> None:
        """Tell the journal what came of the lessons that the editor was shown."""
        outcome = Outcome.SUCCESS if mine.has(Kind.LANDED) else Outcome.FAILURE
        for lesson in numbers(mine.data("shown"), "lessons"):
            await self._rooms.journal.used(lesson, mine.attempt, outcome)

    async def _diff(self, mine: History) -> str:
        edited = mine.data(Kind.EDITED)
        if not edited:
            return ""
        base, head = text(edited, "base"), text(edited, "head")
        return (await self._rooms.repository.change(base, head)).diff


def shown_facts(context: Context) -> Facts:
    """What the journal keeps of a context: which lessons, which warning, which attempts."""
    return {
        "lessons": [one.id for one in context.lessons if one.id is not None],
        "similar": [one.attempt.id for one in context.similar if one.attempt.id is not None],
        "files": [one.path for one in context.files],
        "warning": str(context.warning) if context.warning else "",
    }
