"""The loop: ask `decide` for the next step, perform it, append its event, ask again.

The same loop drives a fresh self-edit, one that waits for its caller, and one that was
interrupted by a crash; there is no second path. It holds no state of its own: what it knows
stands in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

from self_coding.errors import StorageError
from self_coding.self_edit import account
from self_coding.self_edit.abreast import abreast
from self_coding.self_edit.ending import Ending, Facts
from self_coding.self_edit.history import By, History, Kind, number, numbers
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.rooms import Rooms
from self_coding.self_edit.steps import Means, Steps
from self_coding.self_edit.turn import Turn, turn_at
from self_coding.values.edits import SelfEditResult, Task

T = TypeVar("T")
_SLOW = (Step.EDIT, Step.TEST, Step.APPROVE)  # told before, too
_PASSIVE = (Step.SUBMIT, Step.WAIT)


class Runner:
    """Drives self-edits over the given rooms with the given means.

    Args:
        rooms: the services it works with.
        means: what this run has at hand.
        turn: the file by which self-edits of several processes take turns to land.
    """

    def __init__(self, rooms: Rooms, means: Means, *, turn: Path | None = None) -> None:
        self._rooms = rooms
        self._means = means
        self._turn = turn
        self._steps = Steps(rooms, means)
        self._ending = Ending(rooms)

    async def begin(self, task: Task, plan: Facts) -> int:
        """Begin the first attempt of a self-edit; its row stands before anything else happens."""
        return await self._ending.begin(task, plan)

    async def drive(self, leader: int) -> int:
        """Go on with the self-edit that `leader` leads, as far as it goes; its last leader.

        Cancelled, or when a room fails, every open attempt is ended as what happened to it
        before the error goes on to the caller.
        """
        try:
            return await self._drive(leader)
        except asyncio.CancelledError:
            await _to_the_end(self.call_off(leader, By.CANCELLED, "it was called off"))
            raise
        except StorageError:
            raise  # the journal itself is out of reach: `resume` takes it up later
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            await _to_the_end(self.call_off(leader, By.ERROR, reason))
            raise

    async def call_off(self, leader: int, by: str, reason: str) -> int:
        """End every open attempt of the self-edit without landing; tidy up after each."""
        last = await self._last_leader(leader)
        for one in await self._round(last):
            if not one.has(Kind.ENDED):
                stop: Facts = {"by": by, "reason": reason}
                await self._rooms.journal.append(one.attempt, Kind.STOPPED, stop)
        return await self._drive(last)

    async def result(self, leader: int) -> SelfEditResult:
        """How the self-edit stands: told by the attempt that landed, or that came furthest."""
        last = await self._last_leader(leader)
        round_ = await self._round(last)
        best = min(round_, key=_rank)
        edited = best.data(Kind.EDITED)
        diff = ""
        if edited:
            change = await self._rooms.repository.change(str(edited["base"]), str(edited["head"]))
            diff = change.diff
        before = numbers(round_[0].plan, "attempts")
        attempts = (*before, *(one.attempt for one in round_))
        return account.result_of(best, attempts=attempts, diff=diff)

    async def history(self, attempt: int) -> History:
        """The attempt as the journal has it now."""
        return History(await self._rooms.journal.events(attempt))

    async def _drive(self, leader: int) -> int:
        while True:
            round_ = await self._round(leader)
            ready = [one for one in round_ if self._may_go_on(one, round_)]
            if not ready:
                following = number(round_[0].data(Kind.FOLLOWED), "attempt")
                if not following:
                    return leader
                leader = following
            else:
                await abreast(*(self._advance(one.attempt, leader) for one in ready))

    async def _advance(self, attempt: int, leader: int) -> None:
        """Perform this attempt's steps until it has ended or has to wait."""
        with turn_at(self._turn) as turn:
            await self._step_by_step(attempt, leader, turn)

    async def _step_by_step(self, attempt: int, leader: int, turn: Turn) -> None:
        while True:
            round_ = await self._round(leader)
            mine = next(one for one in round_ if one.attempt == attempt)
            beside = [one for one in round_ if one is not mine]
            step = decide(mine.events, [one.events for one in beside])
            if step is None or self._waits(step):
                return
            await self._in_turn(step, mine, turn)
            if step in _SLOW:
                self._steps.say(attempt, step)
            if step is Step.END:
                await self._ending.end(mine)
                return
            kind, facts = await self._steps.perform(step, mine, beside)
            await self._rooms.journal.append(attempt, kind, facts)
            self._steps.say(attempt, kind, account.event_in_words(kind, facts))
            if step is Step.SPREAD:
                return  # the round has become wider

    async def _in_turn(self, step: Step, mine: History, turn: Turn) -> None:
        """Land, and test again after main has moved, when no other self-edit is at that.

        A swap whose intent is stored waits for nobody: it may have happened before a crash.
        """
        if step is Step.INTEND or (step is Step.TEST and mine.has(Kind.MOVED)):
            await turn.take(lambda: self._steps.say(mine.attempt, step, "another one is landing"))
        elif step is not Step.SWAP:
            turn.release()

    def _may_go_on(self, mine: History, round_: Sequence[History]) -> bool:
        beside = [one.events for one in round_ if one is not mine]
        step = decide(mine.events, beside)
        return step is not None and not self._waits(step)

    def _waits(self, step: Step) -> bool:
        """Whether somebody else has to act first: the caller, a sibling, or one to be asked."""
        return step in _PASSIVE or (step is Step.APPROVE and self._means.ask is None)

    async def _round(self, leader: int) -> list[History]:
        """The attempts that stand side by side, their leader first."""
        first = await self.history(leader)
        others = numbers(first.data(Kind.SPREAD), "attempts")
        return [first, *[await self.history(other) for other in others]]

    async def _last_leader(self, leader: int) -> int:
        """The leader of the newest round of the self-edit."""
        while following := number((await self.history(leader)).data(Kind.FOLLOWED), "attempt"):
            leader = following
        return leader


def _rank(one: History) -> tuple[int, int]:
    """Landed first, then held, then waiting, then whoever was tested; then the oldest."""
    order = [Kind.LANDED, Kind.HELD]
    if one.has(Kind.CHOSEN) and not one.settled:
        return len(order), one.attempt
    place = next((n for n, kind in enumerate(order) if one.has(kind)), len(order) + 1)
    if place > len(order) and one.settled:
        choice = one.refusal.get("by") == By.CHOICE
        place += 4 if choice else 3 if not one.has(Kind.EDITED) else 2
    return place, one.attempt


async def _to_the_end(work: Coroutine[object, object, T]) -> T:
    """Finish `work` however often we are cancelled meanwhile; it leaves nothing half-done."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
    return task.result()
