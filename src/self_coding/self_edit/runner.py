"""The loop: ask `decide` for the next step, perform it, append its event, ask again.

The same loop drives a fresh self-edit, one that waits for its caller, and one that was
interrupted by a crash; there is no second path. All its state is in the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

from self_coding.adapters.process import READ_ALONG
from self_coding.errors import RemoteUnreachableError, SelfCodingError, StorageError
from self_coding.gate.test_report import TestCount
from self_coding.self_edit import views
from self_coding.self_edit.adoption import adopted
from self_coding.self_edit.history import CHECKED, Facts, History, Kind, RefusedBy, facts_of
from self_coding.self_edit.leases import LandingTurn
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.ports import Services
from self_coding.self_edit.step_results import StepResult
from self_coding.self_edit.steps import AttemptLog, RunContext, Steps
from self_coding.values.attempts import Json
from self_coding.values.edits import SelfEditResult
from self_coding.values.repository import Change

BEAT = 5.0  # seconds after which a step that goes on is reported again
_SLOW = (Step.EDIT, Step.TEST, Step.APPROVE)  # reported when they begin, too


class Runner:
    """Drives self-edits over the given services."""

    def __init__(
        self,
        services: Services,
        run: RunContext,
        *,
        turn: Callable[[], LandingTurn],
        notify: Callable[[History], Awaitable[None]] | None = None,
        waiting: Callable[[], Awaitable[Sequence[History]]] | None = None,
    ) -> None:
        self._services = services
        self.log = AttemptLog(services)
        self.steps = Steps(services, run, self.log, waiting)
        self._asks = run.ask is not None
        self._turn = turn
        self._looked: dict[int, int] = {}  # how many events an attempt had when main was looked at
        self._notify = notify

    async def drive(
        self, leader: int, submission: Facts | None = None, *, lasting: bool = False
    ) -> int:
        """Go on with the self-edit that `leader` leads, as far as it goes; return its last leader.

        When it is cancelled or a service fails, every open attempt is ended as what happened to
        it before the error goes on to the caller. An edit of the caller's own is never ended by
        that: it goes back to waiting for a submission, with its worktree. With `lasting` a
        cancellation leaves everything as a crash does, for the next one who drives it.
        """
        try:
            if submission is not None:
                await self.log.append(leader, Kind.WRITTEN, submission)
            last = await self._drive(leader)
        except asyncio.CancelledError:
            if not lasting:
                told = RefusedBy.CANCELLED, "it was called off"
                with suppress(RemoteUnreachableError):  # whether it landed is settled by `resume`
                    await _uncancelled(self.break_off(leader, *told, submission=submission))
            raise
        except (StorageError, RemoteUnreachableError):
            # The journal or the remote is out of reach, so no end can be recorded: `resume` takes
            # it up.
            raise
        except Exception as error:
            ours = error if isinstance(error, SelfCodingError) else SelfCodingError(str(error))
            reason = f"{type(error).__name__}: {ours.message}"
            why = RefusedBy.ERROR, reason, ours.hint
            await _uncancelled(self.break_off(leader, *why, submission=submission))
            raise
        # Behind all that: who is called off while a notice is sent has done its work.
        if self._notify is not None:
            for one in await self._round(last):
                await self._notify(one)
        return last

    async def break_off(
        self, leader: int, by: str, reason: str, hint: str = "", submission: Facts | None = None
    ) -> None:
        """Give a caller's submission back to them; end anything else without landing."""
        self.log.forget()
        attempt = await self.log.get(leader)
        submitted = attempt.plan.caller and attempt.has(Kind.WRITTEN)
        if not submitted and submission is None:
            await self.call_off(leader, by, reason)
            return
        if submitted and not attempt.settled:
            # Once it is to land, others may land it, and git alone knows whether they have: said
            # first, so that they stop, and settled then.
            back = Kind.WITHDRAWN if attempt.landing_open else Kind.RETURNED
            await self.log.append(leader, back, {"by": by, "reason": reason, "hint": hint})
        await self._drive(leader)

    async def adopt(self, leader: int) -> None:
        """Have a self-edit go on here without what stayed on the machine that began it."""
        round_ = await self._round(await self._last_leader(leader))
        # Of a round that is decided, the others only yield: nothing of theirs is needed here.
        decided = any(one.has(Kind.LANDED, Kind.HELD) for one in round_)
        for one in [] if decided else round_:
            if event := await adopted(self._services.repository, one):
                await self.log.append(one.id, *event)

    async def follow(self, leader: int, overdue: str) -> None:
        """Record what became of a request to merge, where somebody has decided."""
        attempt = await self.log.get(await self._last_leader(leader))
        follows = decide(attempt) is Step.FOLLOW
        if follows and (decided := await self.steps.landing.follow(attempt, overdue)):
            await self.log.append(attempt.id, *decided)

    async def check(self, attempt: History, change: Change, strayed: Facts) -> None:
        """Judge and test a change as if it was submitted now; only what came of it is stored."""
        edited: Facts = facts_of(views.edited(change, whole=False))
        seen = attempt.then(Kind.WRITTEN, {}).then(Kind.EDITED, edited)
        steps: list[Json] = [[Kind.EDITED.value, edited]]
        for step in (Step.JUDGE, Step.TEST):
            if not seen.has(Kind.REFUSED):
                kind, facts = await self._perform(step, seen, ())
                seen = seen.then(kind, facts)
                steps.append([kind.value, facts])
        await self.log.append(attempt.id, CHECKED, {"steps": steps, "strayed": strayed})

    async def call_off(self, leader: int, by: str, reason: str) -> int:
        """End every open attempt of the self-edit without landing; tidy up after each."""
        # Read anew: a cancelled call may have stored an event and not lived to report it.
        self.log.forget()
        last = await self._last_leader(leader)
        for one in await self._round(last):
            if not one.has(Kind.ENDED):
                stop: Facts = {"by": by, "reason": reason}
                await self.log.append(one.id, Kind.STOPPED, stop)
        return await self._drive(last)

    async def furthest(self, attempt: int) -> tuple[History, bool]:
        """Return the attempt that leads the newest try, and whether nothing is left to be done.

        What waits for its caller or for approval has nothing to be done.
        """
        leader = (await self.log.get(attempt)).leader
        round_ = await self._round(await self._last_leader(leader))
        return round_[0], not any(self._next_step(one, round_) for one in round_)

    async def result(self, leader: int) -> SelfEditResult:
        """Return the result as the attempt tells it that landed, or that came furthest."""
        round_ = await self._round(await self._last_leader(leader))
        best = min(round_, key=_rank)
        attempts = (*round_[0].plan.attempts, *(one.id for one in round_))
        return views.result_of(best, attempts=attempts, diff=await self.steps.diff(best))

    async def _drive(self, leader: int) -> int:
        while True:
            round_ = await self._round(leader)
            # From what is stored, at each turn: nothing is remembered here that a crash could take.
            ready = [one.id for one in round_ if self._next_step(one, round_)]
            if not ready and not round_[0].next_try:
                return leader
            if not ready:
                leader = round_[0].next_try
                continue
            try:
                # A group, not `gather`: when one fails, the others are cancelled and awaited.
                async with asyncio.TaskGroup() as group:
                    for attempt in ready:
                        group.create_task(self._advance(attempt, leader))
            except BaseExceptionGroup as errors:
                raise _first(errors) from errors

    async def _advance(self, number: int, leader: int) -> None:
        """Perform one attempt's steps until it has ended or has to wait."""
        async with self._turn() as turn:
            while True:
                round_ = await self._round(leader)
                attempt = next(one for one in round_ if one.id == number)
                step = self._next_step(attempt, round_)
                if step is None:
                    return
                # The turn comes with the second test: the first may be in vain for anybody, and
                # needs no queue. The intent is stored before, so that whoever has it may land us.
                if step is Step.SWAP or (step is Step.TEST and attempt.has(Kind.MOVED)):
                    waiting = partial(self.steps.say, number, step, "another one is landing")
                    if await turn.take(waiting, partial(self._is_landed, number)):
                        self.log.forget(number)  # others have written of us meanwhile
                        attempt = await self.log.get(number)
                elif step is not Step.INTEND:
                    await turn.release()
                if step is Step.END:
                    await self.steps.end(attempt)
                    self.log.forget(number)  # the journal itself appended its last event
                    return
                siblings = [one for one in round_ if one is not attempt]
                kind, facts = await self._perform(step, attempt, siblings)
                await self.log.append(number, kind, facts)
                self.steps.say(number, kind, views.event_line(kind, facts))
                if step is Step.FAN_OUT:
                    return  # the round has become wider

    async def _is_landed(self, number: int) -> bool:
        """Return whether another attempt has landed this one, or found that it cannot."""
        seen = History(await self._services.journal.events(number))
        # Main may be far away: it is looked at where somebody has written of us since.
        grown = len(seen.events) != self._looked.get(number)
        self._looked[number] = len(seen.events)
        if seen.found_red or not grown:
            return bool(seen.found_red)
        return bool(await self._services.repository.landed([*seen.intents]))

    async def _perform(
        self, step: Step, attempt: History, siblings: Sequence[History]
    ) -> StepResult:
        """Perform a step; whoever watches is told every few seconds that it goes on."""
        count, began = TestCount(), time.monotonic()

        async def beat() -> None:
            known: set[str] | None = None
            while True:
                await asyncio.sleep(BEAT)
                line, repository = f"{time.monotonic() - began:.0f} s", self._services.repository
                if count.total or step is Step.TEST:
                    line = f"{line} of at most {repository.gate.timeout:g} a run"
                if count.total:
                    if known is None:  # of what was seen earlier; nothing runs for it
                        known = {*await repository.failing_on_main()}
                    fresh = len(count.failed - known)
                    new = f"{fresh} new failure{'s' * (fresh != 1)}"
                    line = f"{count.done:,} of {count.total:,} tests, {new}, {line}"
                self.steps.say(attempt.id, step, line, done=count.done, total=count.total)

        if step in _SLOW:
            self.steps.say(attempt.id, step)
        # The task is this attempt's own: what it sets others do not see.
        READ_ALONG.set(count.take)
        beating = asyncio.create_task(beat())
        try:
            return await self.steps.perform(step, attempt, siblings)
        finally:
            beating.cancel()

    def _next_step(self, attempt: History, round_: Sequence[History]) -> Step | None:
        """Return the step to perform now; None when it has ended or another has to act first."""
        step = decide(attempt, [one for one in round_ if one is not attempt])
        if step is Step.APPROVE:
            return step if self._asks else None
        return None if step in (Step.SUBMIT, Step.FOLLOW, Step.WAIT) else step

    async def _round(self, leader: int) -> list[History]:
        """Return the attempts that compete side by side, their leader first."""
        first = await self.log.get(leader)
        return [first, *[await self.log.get(other) for other in first.siblings]]

    async def _last_leader(self, leader: int) -> int:
        """Return the leader of the newest round of the self-edit."""
        # A try ends by naming the next one, so that the chain is in the journal alone.
        while following := (await self.log.get(leader)).next_try:
            leader = following
        return leader


async def open_attempts(services: Services, edit: str = "") -> list[History]:
    """Return the attempts of self-edits, or of one, that have not ended, oldest first."""
    journal = services.journal
    numbers = sorted(await journal.unfinished(edit))
    unfinished = [History(await journal.events(one)) for one in numbers]
    return [one for one in unfinished if one.edit]


def interrupted(attempts: Sequence[History], *, asking: bool = False) -> list[int]:
    """Return the leaders of the self-edits among open `attempts` that wait for nobody.

    The journal cannot tell whether a process drives one of them right now: its lease does. With
    `asking`, those that wait for approval are among them, since somebody can be asked.
    """
    leaders: dict[str, int] = {}
    for attempt in attempts:
        step = decide(attempt) if attempt.plan.best_of <= 1 else None
        if step is not Step.SUBMIT and (asking or step is not Step.APPROVE):
            leaders.setdefault(attempt.edit, attempt.leader)
    return list(leaders.values())


def _rank(attempt: History) -> tuple[int, int]:
    """Order the attempts of a round by how far they came; of equals the oldest comes first."""
    chosen_over = attempt.refusal.by == RefusedBy.CHOICE
    order = (
        attempt.has(Kind.LANDED),
        attempt.has(Kind.HELD),
        not attempt.settled and attempt.has(Kind.CHOSEN),
        not attempt.settled,
        not chosen_over and attempt.has(Kind.EDITED),
        not chosen_over,
        True,
    )
    return order.index(True), attempt.id


def _first(error: BaseException) -> BaseException:
    """Return the first error of ours in a group, or else its first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    errors = [_first(one) for one in error.exceptions]
    return next((one for one in errors if isinstance(one, SelfCodingError)), errors[0])


async def _uncancelled(work: Coroutine[object, object, object]) -> None:
    """Finish `work` however often we are cancelled meanwhile; it leaves nothing half-done."""
    # `shield` alone would return at the first cancellation and leave the task running behind us.
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
