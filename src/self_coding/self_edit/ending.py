"""Begin and end attempts: the others of a round, the next try, tidying, closing.

It decides nothing: whether there is a next try is `lifecycle`'s answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from self_coding.self_edit import account
from self_coding.self_edit.history import History, Kind, number, numbers, text, texts
from self_coding.self_edit.learning import diff_of
from self_coding.self_edit.lifecycle import spent
from self_coding.self_edit.rooms import Rooms
from self_coding.values.attempts import Json
from self_coding.values.edits import Task
from self_coding.values.repository import Worktree

Facts = dict[str, Json]
_FEEDBACK_TRIES = 3  # how many earlier tries a next one is told about


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
        if mine.has(Kind.STOPPED):  # perhaps between the making of a worktree and the note of it
            unnoted = Worktree(path=Path(), branch="", base="", attempt=mine.next_worktree)
            await self._rooms.repository.release(unnoted)
        return Kind.CLEANED, {}

    async def end(self, mine: History) -> None:
        """Close the attempt in the journal, which appends its last event with it."""
        attempt = account.attempt_of(mine, await diff_of(self._rooms.repository, mine))
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
