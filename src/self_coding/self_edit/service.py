"""SelfEdit, the orchestrator: one call from a task to a landing, and what goes with it.

It validates what callers hand in, claims the self-edit for this process and lets the runner
drive it. The user's checkout is not touched while it runs.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from self_coding.errors import EditError
from self_coding.self_edit import digest, views
from self_coding.self_edit.context import gather, shown_facts
from self_coding.self_edit.editors import CallerEditor, Editor
from self_coding.self_edit.history import SHOWN, Facts, History, Kind, Plan, RefusedBy
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.open_attempts import DIRTY, OpenAttempts, not_waiting
from self_coding.self_edit.runner import Runner, open_attempts
from self_coding.self_edit.step_results import StepResult, answered, refused
from self_coding.self_edit.steps import RunContext
from self_coding.self_edit.watch import Watch
from self_coding.values.edits import (
    Ask,
    Begun,
    Context,
    Limits,
    OnProgress,
    SelfEditResult,
    Task,
)
from self_coding.values.repository import Worktree
from self_coding.values.results import Digest, Watched

_LOOKS = 1.0  # seconds between two looks at the working tree
_DIGESTED = 5_000  # attempts of a period that are looked at
_MOST = {"tries": 50, "best_of": 16}


class SelfEdit(OpenAttempts):
    """Attempts tasks in isolation and lands what is proved good."""

    async def self_edit(
        self,
        task: str,
        *,
        editor: Editor,
        tries: int | None = None,
        best_of: int | None = None,
        ask: Ask | None = None,
        hold: bool = False,
        dry_run: bool = False,
        branch: str = "",
        base: str = "",
        wait: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> SelfEditResult:
        """Attempt a task in isolation; it lands when its tests pass and no rule is broken.

        Args:
            task: what is to be done, in words.
            editor: who makes the edit, in a worktree of its own.
            tries: attempts one after the other, each told why the one before was refused.
            best_of: attempts side by side in each try; the smallest green one lands.
            ask: called with a Question before anything lands; True lands it, a text is a
                refusal with its reason, and a further try is told it.
            hold: stop green before the landing; `land_edit` lands it, `drop_edit` does not.
            dry_run: do everything but land.
            branch: the name of the edit's branch, which then stays; without one it has a name
                of ours and goes when the attempt has ended.
            base: the branch that it begins from and lands on; the main one by default.
            wait: have it done in a process of its own, which outlives this call, and wait so many
                seconds for the end. None, or an editor that no other process can have (a
                function): here, and cancelling the call ends it.
            on_progress: told each step as it happens.

        Raises:
            EditError: the task is empty or too long, or a number is out of range.
            GitOperationError: there is no such branch to begin from.
            SelfCodingError: a service could not do its work; the attempt is closed and says so.
        """
        limits = self._limited(tries, best_of)
        plan = _plan(editor, limits, ask=hold or ask is not None, dry_run=dry_run)
        plan = replace(plan, branch=branch)
        request = self._task(task)
        async with self._claimed(request.id, fresh=True) as lease:
            run = RunContext(editor, ask, limits, lease.telling(on_progress))
            runner, leader = await self._begun(request, plan, base, run)
            runner.steps.say(leader, Kind.PLANNED, editor.name)
            # An editor without a spec lives in this process only, so that nobody else could go on.
            if wait is None or plan.spec is None:
                await runner.drive(leader)
                return await runner.result(leader)
        return await self.wait_edit(leader, seconds=wait, on_progress=on_progress)

    async def plan_edit(
        self,
        task: str,
        *,
        editor: Editor,
        edit: str,
        tries: int | None = None,
        hold: bool = False,
        base: str = "",
    ) -> int:
        """Store that a task is to be done, for `resume` to do it; return the attempt's number.

        `edit` names the self-edit, so that whoever asks again finds it; the rest is as for
        `self_edit`, and so are the errors.
        """
        limits = self._limited(tries, None)
        plan = _plan(editor, limits, ask=hold, dry_run=False)
        request = Task(edit, self._task(task).text)
        of_edit = self.services.journal.of_edit
        if known := await of_edit(edit):
            return known[0]
        async with self._claimed(edit, fresh=True):
            if known := await of_edit(edit):
                return known[0]
            _, leader = await self._begun(request, plan, base, RunContext(editor, limits=limits))
            return leader

    def _limited(self, tries: int | None, best_of: int | None) -> Limits:
        asked = {
            "tries": self.limits.tries if tries is None else tries,
            "best_of": self.limits.best_of if best_of is None else best_of,
        }
        for name, most in _MOST.items():
            if not 1 <= asked[name] <= most:
                hint = f"`{name}` must be between 1 and {most}"
                raise EditError(f"{name} is {asked[name]}", hint=hint)
        return replace(self.limits, **asked)

    async def begin_edit(
        self,
        task: str,
        *,
        ask: bool = False,
        from_attempt: int | None = None,
        branch: str = "",
        base: str = "",
    ) -> Begun:
        """Hand out a worktree for a task: edit in it with your own tools, then submit.

        Args:
            task: what is to be done, in words.
            ask: wait for approval before landing (`land_edit`).
            from_attempt: begin with the change of this attempt, applied to main as it is.
            branch: the name of the edit's branch, which then stays.
            base: the branch that it begins from and lands on; the main one by default.

        Raises:
            EditError: the task is empty or too long, or nothing is known of that attempt's edit.
            GitOperationError: there is no such branch to begin from.
        """
        request, editor = self._task(task), CallerEditor()
        earlier = None if from_attempt is None else await self._edit_of(from_attempt)
        limits = replace(self.limits, tries=1, best_of=1)
        async with self._claimed(request.id, fresh=True):
            plan = replace(_plan(editor, limits, ask=ask, dry_run=False), branch=branch)
            run = RunContext(editor, limits=limits)
            runner, leader = await self._begun(request, plan, base, run)
            await runner.drive(leader)
            begun = await runner.log.get(leader)
            worktree = begun.worktrees[-1]
            try:
                context = await self.context(task)
                repository = self.services.repository
                facts = shown_facts(context)
                facts["dirty"] = [*(await repository.get_modified_files())[:DIRTY]]
                conflicts: tuple[str, ...] = ()
                if earlier is not None:
                    conflicts = await repository.carry(worktree, *earlier)
                    facts["from"] = from_attempt
                await runner.log.append(leader, SHOWN, facts)
            except BaseException:
                # Cancelled, too: a worktree that its caller never heard of would stay for ever.
                await runner.call_off(leader, RefusedBy.CANCELLED, "it was never handed out")
                raise
            return Begun(
                attempt=leader,
                worktree=worktree,
                context=context,
                conflicts=conflicts,
                lands_on=begun.plan.base,
            )

    async def _begun(
        self, request: Task, plan: Plan, base: str, run: RunContext
    ) -> tuple[Runner, int]:
        """Begin an attempt that lands on `base`; return what drives it, and its number.

        Raises:
            EditError: the branch belongs to an attempt, or the day's budget is used up.
            GitOperationError: there is no such branch.
        """
        repository = self.services.repository.onto(base)
        await repository.get_main_commit()  # where there is none, no attempt is recorded
        left = await self._within_budget()
        if left is not None:  # further tries stop where the day's budget does
            plan = replace(plan, cost_limit=min(left, plan.cost_limit or left))
        await self._settle()
        for one in await open_attempts(self.services):
            if base and base in (place.branch for place in one.worktrees):
                hint = "land that one first; `begin_edit(from_attempt=...)` takes its change along"
                raise EditError(f"{base} is the branch of attempt {one.id}", hint=hint)
        plan = replace(plan, base=repository.main_branch)
        runner = self._runner(plan.base, run)
        return runner, await runner.steps.begin(request, plan)

    async def _edit_of(self, attempt: int) -> tuple[Worktree, str]:
        """Return where an attempt's edit was made, and the commit that holds it, if one does."""
        history = await self._history(attempt)
        if not history.worktrees:
            raise EditError(f"attempt {attempt} has no edit to begin with", hint="see `attempts`")
        place = history.worktrees[-1]
        if decide(history) is Step.SUBMIT:  # what stands there now, submitted or not
            async with self._taken_up(attempt, None, None):
                message = views.commit_message(history)
                change = await self._repository(history).record(place, message)
            return replace(place, base=change.base), change.head
        edited = [one.data for one in history.events if one.kind == Kind.EDITED]
        if not edited:
            return place, ""
        base, head = str(edited[-1]["base"]), str(edited[-1]["head"])
        late = history.data(Kind.CLEANED).get("late")
        if isinstance(late, dict):  # what landed is on main, and only the rest is left to do
            base, head = head if history.has(Kind.LANDED) else base, str(late["head"])
        return replace(place, base=base), head

    async def submit_edit(
        self,
        attempt: int,
        *,
        summary: str = "",
        ask: Ask | None = None,
        wait: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> SelfEditResult:
        """Judge, test and land what was edited in the worktree of an attempt.

        Refused, cancelled, or with its process gone, the edit stays where it is, to be corrected
        and submitted again: only `drop_edit` ends it, or its landing.

        Args:
            summary: the approach in words, for the journal.
            ask: called before anything lands.
            wait: judge it in a process of its own, which outlives this call, and wait so many
                seconds for the end; None judges it in this process.

        Raises:
            EditError: no such attempt waits for a submission, or nothing is edited yet: then it
                goes on waiting.
        """
        if wait is not None and await self._is_driven(attempt):
            began = time.monotonic()
            told = await self.wait_edit(attempt, seconds=wait, on_progress=on_progress)
            if told.stage != "checked":
                return told  # it was submitted before
            wait = max(0.0, wait - (time.monotonic() - began))  # a check was running
        async with self._taken_up(attempt, ask, on_progress) as (runner, waiting):
            if waiting.can_return and decide(waiting) is not Step.APPROVE:
                # Whoever submitted it before is gone, since nobody drives it.
                again: Facts = {"by": RefusedBy.CRASHED, "reason": "it was submitted again"}
                await runner.log.append(attempt, Kind.RETURNED, again)
            submitted = await runner.log.get(attempt)
            await self._edited(submitted, bypassed=True)
            facts: Facts = {"summary": summary, "ask": ask is not None}
            if strayed := await self._strayed(submitted):
                facts = {**facts, "strayed": strayed}
            if wait is None:
                await runner.drive(attempt, facts)
                return await runner.result(attempt)
            await runner.log.append(attempt, Kind.WRITTEN, facts)
        return await self.wait_edit(attempt, seconds=wait, on_progress=on_progress)

    async def check_edit(
        self,
        attempt: int,
        *,
        wait: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> SelfEditResult:
        """Judge and test what was edited so far; nothing lands or ends, and no rate counts it.

        Args:
            wait: as for `submit_edit`; `wait_edit` goes on waiting for it, too.

        Raises:
            EditError: no such attempt waits for a submission, or nothing is edited yet.
        """
        if wait is not None:
            driven = await self._is_driven(attempt)
            if not driven:  # what cannot be checked is told at once
                async with self._taken_up(attempt, None, None) as (_, waiting):
                    await self._edited(waiting)
            return await self.wait_edit(
                attempt, seconds=wait, check=not driven, on_progress=on_progress
            )
        return await self.check_here(attempt, on_progress)

    async def land_edit(
        self, attempt: int, *, wait: float | None = None, on_progress: OnProgress | None = None
    ) -> SelfEditResult:
        """Land an attempt that waits green for approval; main moved meanwhile is tested anew.

        Args:
            wait: as for `submit_edit`.

        Raises:
            EditError: no such attempt waits for approval, or it has waited too long.
        """
        if wait is None or not await self._is_driven(attempt):
            async with self._taken_up(attempt, None, on_progress) as (runner, waiting):
                if overdue := self._overdue(waiting):
                    await self.expire(runner, waiting, overdue)
                    hint = f"begin_edit(from_attempt={attempt}) begins anew with its change"
                    raise EditError(f"attempt {attempt} has expired: {overdue}", hint=hint)
                person = await self.services.repository.person()
                await self._answer(runner, waiting, answered(waiting, True, person))
                if wait is None:
                    await runner.drive(waiting.leader)
                    return await runner.result(waiting.leader)
        return await self.wait_edit(attempt, seconds=wait or 0.0, on_progress=on_progress)

    async def drop_edit(
        self, attempt: int, reason: str = "", *, on_progress: OnProgress | None = None
    ) -> SelfEditResult:
        """End an attempt that has not ended, whoever it waits for; its commits are kept.

        A process that works on it is asked to stop, and waited for.

        Raises:
            EditError: the attempt has ended.
        """
        driven = await self._is_driven(attempt)
        if driven:
            await self.leases.stop((await self._known(attempt)).edit)
        async with self._taken_up(attempt, None, on_progress) as (runner, waiting):
            step = decide(waiting)
            if step is Step.APPROVE or (step is None and not (driven and waiting.cancelled)):
                why, who = reason or "it was not approved", await self.services.repository.person()
                more: Facts = {"person": who, "shown": views.shown(waiting)}
                no = refused(RefusedBy.APPROVAL, why, final=True, more=more)
                await self._answer(runner, waiting, no)
                await runner.drive(waiting.leader)
            elif step is not None:
                why = reason or "it was dropped"
                await runner.call_off(waiting.leader, RefusedBy.CANCELLED, why)
            return await runner.result(waiting.leader)

    async def stop_edit(self, attempt: int) -> bool:
        """Stop what works on an attempt: a caller's edit goes back to them, any other ends.

        Return whether there was anything to stop.
        """
        driven = await self._is_driven(attempt)
        if driven:
            await self.leases.stop((await self._known(attempt)).edit)
        async with self._taken_up(attempt, None, None) as (runner, waiting):
            is_open = not (await runner.furthest(attempt))[1]
            if is_open:
                await runner.break_off(waiting.leader, RefusedBy.CANCELLED, "it was called off")
        return driven or is_open

    async def context(self, task: str, max_tokens: int | None = None) -> Context:
        """Return all that an editor would be shown for a task: code, past attempts, lessons."""
        budget = self.limits.context_tokens if max_tokens is None else max_tokens
        return await gather(self.services, self._task(task).text, max_tokens=budget)

    async def digest(self, days: float = 7.0) -> Digest:
        """Return what happened in the last days: landed, refused, cost, lessons; in Markdown.

        Raises:
            EditError: the number of days is not positive, or beyond all dates.
        """
        now = datetime.now(UTC)
        try:
            began = now - timedelta(days=days)
        except OverflowError:
            began = now
        if began >= now:
            raise EditError(f"{days:g} days are no period", hint="give the days, as in 7")
        journal = self.services.journal
        return digest.digest(
            began,
            now,
            lines=await journal.lines(since=began, limit=_DIGESTED),
            noted=await journal.recent_events(digest.NOTED),
            inbox=await self.inbox(),
            cost=(await journal.spent(began))[1],
        )

    async def watch(
        self,
        *,
        since: str = "HEAD",
        once: bool = False,
        on_look: Callable[[Watched], None] = lambda look: None,
    ) -> Watched | None:
        """Run the affected tests whenever files change, until it is cancelled; the last look.

        Args:
            since: the revision that the first look compares the working tree with.
            once: look once and return.
            on_look: is shown each look.

        Raises:
            GitOperationError: there is no such revision.
            GateError: the tests could not be run.
        """
        watch, last = Watch(self.services, since), None
        with suppress(*([] if once else [asyncio.CancelledError])):  # how a person ends it
            while True:
                began = time.monotonic()
                if look := await watch.look():
                    last = look
                    on_look(look)
                if once:
                    break
                # A large tree costs more to look at, and is looked at less often.
                await asyncio.sleep(max(_LOOKS, 5 * (time.monotonic() - began) if not look else 0))
        return last

    async def _within_budget(self) -> float | None:
        """Return what the attempts of a day may cost yet; None without a bound.

        Raises:
            EditError: the budget of the last 24 hours is used up.
        """
        limits = self.limits
        if limits.day_attempts is None and limits.day_cost is None:
            return None
        count, cost = await self.services.journal.spent(datetime.now(UTC) - timedelta(days=1))
        used = {"day_attempts": count, "day_cost": cost}
        for name, value in used.items():
            most = getattr(limits, name)
            if most is not None and value >= most:
                raise EditError(
                    f"the budget of 24 hours is used up: {name} is {most:g}, {value:g} was used",
                    hint=f"wait, or raise `{name}`; `digest` tells what it went into",
                )
        return None if limits.day_cost is None else limits.day_cost - cost

    async def _answer(self, runner: Runner, waiting: History, answer: StepResult) -> None:
        if decide(waiting) is not Step.APPROVE:
            hint = f"show_attempt(attempt={waiting.id}) says how it ended"
            raise not_waiting(waiting, "approval", hint)
        await runner.log.append(waiting.id, *answer)

    def _task(self, task: object) -> Task:
        words = task.strip() if isinstance(task, str) else ""
        most = self.limits.task_characters
        if not words:
            raise EditError("the task is empty", hint="say in words what is to be done")
        if len(words) > most:
            raise EditError(
                f"the task has {len(words)} characters, the most is {most}",
                hint="put the details into a file of the repository and name it in the task",
            )
        # Random, so that two processes can begin the same task at once without meeting.
        return Task(secrets.token_hex(8), words)


def _plan(editor: Editor, limits: Limits, *, ask: bool, dry_run: bool) -> Plan:
    spec = editor.spec()
    return Plan(
        editor=editor.name,
        spec=dict(spec) if spec else None,
        caller=isinstance(editor, CallerEditor),
        best_of=limits.best_of,
        tries=limits.tries,
        moves=limits.moves,
        cost_limit=limits.cost,
        ask=ask,
        dry_run=dry_run,
    )
