"""SelfEdit, the orchestrator: one call from a task to a landing, and what goes with it.

It validates what callers hand in, claims the self-edit for this process and lets the runner
drive it. The user's checkout is not touched while it runs.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from self_coding.adapters.file_lock import try_lock
from self_coding.errors import EditError
from self_coding.self_edit import editors, views
from self_coding.self_edit.context import gather
from self_coding.self_edit.editors import CallerEditor, Editor
from self_coding.self_edit.history import SHOWN, Facts, History, Kind, Plan, RefusedBy
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.ports import Services
from self_coding.self_edit.runner import Runner, interrupted, open_attempts
from self_coding.self_edit.steps import RunContext, StepResult, answered, refused, shown_facts
from self_coding.values.edits import (
    Ask,
    Begun,
    Context,
    Limits,
    OnProgress,
    SelfEditResult,
    Task,
    Waiting,
)
from self_coding.values.repository import Change, Worktree

Restore = Callable[[Mapping[str, object]], Editor | None]
_DIRTY = 500  # paths of the checkout that were changed before an edit began
_MOST = {"tries": 50, "best_of": 16}


class SelfEdit:
    """Attempts tasks in isolation and lands what is proved good.

    Args:
        services: the services it works with.
        leases: a folder for the claims by which two processes never drive one self-edit.
        limits: where a self-edit stops by itself; each call can set its own tries.
        restore: builds an editor anew from what the journal stored of it.
    """

    def __init__(
        self,
        services: Services,
        *,
        leases: Path,
        limits: Limits | None = None,
        restore: Restore = editors.restored,
    ) -> None:
        self.services = services
        self.limits = limits or Limits()
        self._leases = leases
        self._restore = restore

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
            on_progress: told each step as it happens.

        Raises:
            EditError: the task is empty or too long, or a number is out of range.
            SelfCodingError: a service could not do its work; the attempt is closed and says so.
        """
        asked = {
            "tries": self.limits.tries if tries is None else tries,
            "best_of": self.limits.best_of if best_of is None else best_of,
        }
        for name, most in _MOST.items():
            if not 1 <= asked[name] <= most:
                hint = f"`{name}` must be between 1 and {most}"
                raise EditError(f"{name} is {asked[name]}", hint=hint)
        limits = replace(self.limits, **asked)
        plan = _plan(editor, limits, ask=hold or ask is not None, dry_run=dry_run)
        plan = replace(plan, branch=branch)
        request = self._task(task)
        runner = self._runner(RunContext(editor, ask, limits, on_progress))
        with self._claimed(request.id):
            await self._settle()
            leader = await runner.steps.begin(request, plan)
            runner.steps.say(leader, Kind.PLANNED, editor.name)
            await runner.drive(leader)
            return await runner.result(leader)

    async def begin_edit(
        self, task: str, *, ask: bool = False, from_attempt: int | None = None, branch: str = ""
    ) -> Begun:
        """Hand out a worktree for a task: edit in it with your own tools, then submit.

        Args:
            task: what is to be done, in words.
            ask: wait for approval before landing (`land_edit`).
            from_attempt: begin with the change of this attempt, applied to main as it is.
            branch: the name of the edit's branch, which then stays.

        Raises:
            EditError: the task is empty or too long, or nothing is known of that attempt's edit.
        """
        request, editor = self._task(task), CallerEditor()
        earlier = None if from_attempt is None else await self._edit_of(from_attempt)
        limits = replace(self.limits, tries=1, best_of=1)
        runner = self._runner(RunContext(editor, limits=limits))
        with self._claimed(request.id):
            await self._settle()
            plan = replace(_plan(editor, limits, ask=ask, dry_run=False), branch=branch)
            leader = await runner.steps.begin(request, plan)
            await runner.drive(leader)
            worktree = (await runner.log.get(leader)).worktrees[-1]
            try:
                context = await self.context(task)
                repository = self.services.repository
                facts = shown_facts(context)
                facts["dirty"] = [*(await repository.get_modified_files())[:_DIRTY]]
                conflicts: tuple[str, ...] = ()
                if earlier is not None:
                    conflicts = await repository.carry(worktree, *earlier)
                    facts["from"] = from_attempt
                await runner.log.append(leader, SHOWN, facts)
            except BaseException:
                # Cancelled, too: a worktree that its caller never heard of would stay for ever.
                await runner.call_off(leader, RefusedBy.CANCELLED, "it was never handed out")
                raise
            return Begun(attempt=leader, worktree=worktree, context=context, conflicts=conflicts)

    async def _edit_of(self, attempt: int) -> tuple[Worktree, str]:
        """Return where an attempt's edit was made, and the commit that holds it, if one does."""
        history = await self._history(attempt)
        if not history.worktrees:
            raise EditError(f"attempt {attempt} has no edit to begin with", hint="see `attempts`")
        place = history.worktrees[-1]
        if decide(history) is Step.SUBMIT:  # what stands there now, submitted or not
            async with self._taken_up(attempt, None, None):
                change = await self.services.repository.record(place, views.commit_message(history))
            return replace(place, base=change.base), change.head
        edited = [one.data for one in history.events if one.kind == Kind.EDITED]
        if not edited:
            return place, ""
        return replace(place, base=str(edited[-1]["base"])), str(edited[-1]["head"])

    async def submit_edit(
        self,
        attempt: int,
        *,
        summary: str = "",
        ask: Ask | None = None,
        on_progress: OnProgress | None = None,
    ) -> SelfEditResult:
        """Judge, test and land what was edited in the worktree of an attempt.

        Refused, cancelled, or with its process gone, the edit stays where it is, to be corrected
        and submitted again: only `drop_edit` ends it, or its landing.

        Args:
            attempt: the id that `begin_edit` gave.
            summary: the approach in words, for the journal.
            ask: called before anything lands.
            on_progress: told each step as it happens.

        Raises:
            EditError: no such attempt waits for a submission, or nothing is edited yet: then it
                goes on waiting.
        """
        async with self._taken_up(attempt, ask, on_progress) as (runner, waiting):
            if waiting.can_return and decide(waiting) is not Step.APPROVE:
                # Whoever submitted it before is gone, since nobody drives it.
                again: Facts = {"by": RefusedBy.CRASHED, "reason": "it was submitted again"}
                await runner.log.append(attempt, Kind.RETURNED, again)
            await self._edited(await runner.log.get(attempt), bypassed=True)
            facts: Facts = {"summary": summary, "ask": ask is not None}
            await runner.drive(attempt, facts)
            return await runner.result(attempt)

    async def check_edit(
        self, attempt: int, *, on_progress: OnProgress | None = None
    ) -> SelfEditResult:
        """Judge and test what was edited so far; nothing lands or ends, and no rate counts it.

        Raises:
            EditError: no such attempt waits for a submission, or nothing is edited yet.
        """
        async with self._taken_up(attempt, None, on_progress) as (runner, waiting):
            return await runner.check(waiting, await self._edited(waiting))

    async def _edited(self, waiting: History, *, bypassed: bool = False) -> Change:
        """Record what stands in the worktree of an attempt that waits for its edit.

        Empty only with `bypassed`, which lets what was committed past the gate go on, to be
        refused as that.

        Raises:
            EditError: it waits for something else, or nothing is edited yet: it goes on waiting.
        """
        if decide(waiting) is not Step.SUBMIT:
            hint = f"begin_edit(from_attempt={waiting.id}) begins anew with its change"
            raise _not_waiting(waiting, "a submission", hint)
        place, repository = waiting.worktrees[-1], self.services.repository
        change = await repository.record(place, views.commit_message(waiting))
        if not change.is_empty or (bypassed and await repository.gate_bypass(place)):
            return change
        told = [f"nothing is edited yet in {place.path}"]
        told.append(views.left_out_line(views.edited(change, whole=False)))
        hint = f"attempt {waiting.id} still waits: edit there, and submit again"
        known = waiting.data(SHOWN).get("dirty")
        before = known if isinstance(known, list) else []
        strayed = [one for one in await repository.get_modified_files() if one not in before]
        if strayed:
            # The usual mistake: the files of the same name in the person's own checkout.
            top = repository.repo_path
            told.append(f"changed since in the checkout {top}: {', '.join(strayed[:5])}")
            paths = shlex.join(strayed[:20])
            hint = (
                f"carry it over: cd {shlex.quote(str(top))} && git add -N {paths} && "
                f"git diff HEAD -- {paths} | git -C {shlex.quote(str(place.path))} apply, "
                "then submit again, and take it back there"
            )
        raise EditError("; ".join(filter(None, told)), hint=hint)

    async def land_edit(
        self, attempt: int, *, on_progress: OnProgress | None = None
    ) -> SelfEditResult:
        """Land an attempt that waits green for approval; main moved meanwhile is tested anew.

        Raises:
            EditError: no such attempt waits for approval.
        """
        async with self._taken_up(attempt, None, on_progress) as (runner, waiting):
            return await self._answer(runner, waiting, answered(True))

    async def drop_edit(
        self, attempt: int, reason: str = "", *, on_progress: OnProgress | None = None
    ) -> SelfEditResult:
        """End an attempt that waits, for approval or for its edit; its commits are kept.

        Raises:
            EditError: the attempt does not wait for anything.
        """
        async with self._taken_up(attempt, None, on_progress) as (runner, waiting):
            step = decide(waiting)
            if step is Step.APPROVE or not (step is Step.SUBMIT or waiting.can_return):
                no = refused(RefusedBy.APPROVAL, reason or "it was not approved", final=True)
                return await self._answer(runner, waiting, no)
            await runner.call_off(attempt, RefusedBy.CANCELLED, reason or "it was dropped")
            return await runner.result(attempt)

    async def context(self, task: str, max_tokens: int | None = None) -> Context:
        """Return all that an editor would be shown for a task: code, past attempts, lessons."""
        budget = self.limits.context_tokens if max_tokens is None else max_tokens
        return await gather(self.services, self._task(task).text, max_tokens=budget)

    async def resume(
        self,
        *,
        editor: Editor | None = None,
        ask: Ask | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[SelfEditResult]:
        """Go on with the attempts that a crash interrupted, each to its end.

        Attempts that wait for their caller go on waiting, as do those that wait for approval
        when `ask` is not given. An edit whose editor cannot be had again (a Python function) ends
        as crashed.
        """
        results = []
        attempts = await open_attempts(self.services)
        for leader in interrupted(attempts, asking=ask is not None):
            history = await self._history(leader)
            with self._claimed(history.edit, wait=False) as claimed:
                if not claimed:
                    continue  # another process drives it
                maker = editor or self._restored(history)
                runner = self._runner(RunContext(maker, ask, self.limits, on_progress))
                await runner.drive(leader)
                results.append(await runner.result(leader))
        return results

    async def waiting(self) -> list[Waiting]:
        """Return the attempts that have not ended, each with whom it waits for, newest first."""
        attempts = await open_attempts(self.services)
        waits_for = {Step.SUBMIT: "submit", Step.APPROVE: "approval"}
        steps = [(one, decide(one)) for one in attempts]
        waiting = [_waiting(one, waits_for[step]) for one, step in steps if step in waits_for]
        # Of a best-of-N round only the chosen one asks; its siblings have nothing to go on with.
        asking = {one.edit for one, step in steps if step in waits_for}
        for leader in interrupted([one for one in attempts if one.edit not in asking]):
            history = await self._history(leader)
            with self._claimed(history.edit, wait=False) as free:
                waiting.append(_waiting(history, "resume" if free else "process"))
        return sorted(waiting, key=lambda one: -one.attempt)

    async def recover(self) -> list[str]:
        """Record landings that a crash kept from being recorded; say what else is open.

        Nothing is edited, tested or landed by it: `resume` does that.
        """
        lines = []
        for history, landed in await self._settle():
            state = "had landed, which is now recorded" if landed else "was interrupted"
            hint = "" if landed else f" after '{history.last}': `resume` goes on with it"
            lines.append(f"attempt {history.id} {state}{hint}")
        return lines

    async def _settle(self) -> list[tuple[History, bool]]:
        """Record every landing that happened; return what was interrupted, and whether it landed.

        Before anything new begins, so that no landing stays unrecorded. A caller's edit that
        waited too long is given up; its contents are kept under a ref.
        """
        settled = []
        attempts = await open_attempts(self.services)
        oldest = datetime.now(UTC) - timedelta(days=self.limits.edit_days)
        for one in attempts:
            if decide(one) is Step.SUBMIT and one.events[-1].at < oldest:
                with self._claimed(one.edit, wait=False) as claimed:
                    if claimed:
                        why = f"nobody submitted it for {self.limits.edit_days:g} days"
                        runner = self._runner(RunContext(limits=self.limits))
                        await runner.call_off(one.id, RefusedBy.CANCELLED, why)
        for leader in interrupted(attempts):
            history, landed = await self._history(leader), False
            if history.landing_open and history.candidate is not None:
                with self._claimed(history.edit, wait=False) as claimed:
                    commit = history.candidate.commit
                    landed = claimed and await self.services.repository.contains(commit)
                    if landed:
                        await self._runner(RunContext(limits=self.limits)).drive(leader)
            settled.append((history, landed))
        return settled

    async def _answer(self, runner: Runner, waiting: History, answer: StepResult) -> SelfEditResult:
        if decide(waiting) is not Step.APPROVE:
            raise _not_waiting(waiting, "approval", f"show {waiting.id} says how it ended")
        await runner.log.append(waiting.id, *answer)
        await runner.drive(waiting.leader)
        return await runner.result(waiting.leader)

    @asynccontextmanager
    async def _taken_up(
        self, attempt: int, ask: Ask | None, on_progress: OnProgress | None
    ) -> AsyncIterator[tuple[Runner, History]]:
        """Take up an attempt that waited, in this process and no other."""
        history = await self._history(attempt)
        if not history.edit:
            raise EditError(f"there is no self-edit attempt {attempt}", hint="see `attempts`")
        with self._claimed(history.edit):
            run = RunContext(self._restored(history), ask, self.limits, on_progress)
            runner = self._runner(run)
            yield runner, await runner.log.get(attempt)

    async def _history(self, attempt: int) -> History:
        return History(await self.services.journal.events(attempt))

    def _runner(self, run: RunContext) -> Runner:
        return Runner(self.services, run, landing_lock=self._leases / "landing.lock")

    def _restored(self, history: History) -> Editor | None:
        """Build the attempt's editor anew from what the journal stored of it."""
        return self._restore(history.plan.spec or {"kind": history.plan.editor})

    @contextmanager
    def _claimed(self, edit: str, *, wait: bool = True) -> Iterator[bool]:
        """Drive the self-edit in this process alone; False, or an error, when another one does."""
        lease = try_lock(self._leases / f"{edit}.lock")
        if lease is None and wait:
            raise EditError("another process works on this attempt", hint="wait until it has ended")
        try:
            yield lease is not None
        finally:
            if lease is not None:
                lease.release()

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


def _waiting(attempt: History, what: str) -> Waiting:
    trees = attempt.worktrees
    return Waiting(
        attempt=attempt.id,
        task=attempt.task,
        since=attempt.events[0].at,
        waiting=what,
        path=str(trees[-1].path) if trees else "",
        why=views.why_not(attempt),
    )


def _not_waiting(attempt: History, what: str, hint: str) -> EditError:
    stage = views.stage_of(attempt)
    state = f"it waits for {decide(attempt)}" if stage == "waiting" else f"it is {stage}"
    return EditError(f"attempt {attempt.id} does not wait for {what}: {state}", hint=hint)
