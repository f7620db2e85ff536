"""SelfEdit, the orchestrator: one call from a task to a landing, and what goes with it.

It validates what callers hand in, claims the self-edit for this process and lets the runner
drive it. The user's checkout is not touched while it runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from self_coding.adapters.file_lock import try_lock
from self_coding.errors import EditError
from self_coding.self_edit import account, editors
from self_coding.self_edit.context import gather
from self_coding.self_edit.editors import CallerEditor, Editor
from self_coding.self_edit.ending import Facts
from self_coding.self_edit.history import By, History, Kind, text
from self_coding.self_edit.learning import shown_facts
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.recovery import interrupted, waiting, waits_for
from self_coding.self_edit.rooms import Rooms
from self_coding.self_edit.runner import Runner
from self_coding.self_edit.steps import Means, answered
from self_coding.values.attempts import Json
from self_coding.values.edits import (
    Ask,
    Begun,
    Context,
    Limits,
    OnProgress,
    Progress,
    SelfEditResult,
    Task,
    Waiting,
)

T = TypeVar("T")
Restore = Callable[[Mapping[str, Json]], Editor | None]


class SelfEdit:
    """Attempts tasks in isolation and lands what is proved good.

    Args:
        rooms: the services it works with.
        leases: a folder for the claims by which two processes never drive one self-edit.
        limits: where a self-edit stops by itself; each call can set its own tries.
        restore: builds an editor anew from what the journal stored of it.
    """

    def __init__(
        self,
        rooms: Rooms,
        *,
        leases: Path,
        limits: Limits | None = None,
        restore: Restore = editors.restored,
    ) -> None:
        self.rooms = rooms
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
            on_progress: told each step as it happens.

        Raises:
            EditError: the task is empty or too long, or a number is out of range.
            SelfCodingError: a service could not do its work; the attempt is closed and says so.
        """
        limits = self._limits(tries, best_of)
        means = _means(limits, editor, ask, on_progress)
        runner = self._runner(means)
        wanted = self._task(task)
        plan = _plan(editor, limits, ask=hold or ask is not None, dry_run=dry_run)
        with self._claimed(wanted.id):
            await self._settle()
            leader = await runner.begin(wanted, plan)
            means.on_progress(Progress(attempt=leader, step=Kind.PLANNED, message=editor.name))
            await runner.drive(leader)
            return await runner.result(leader)

    async def begin_edit(self, task: str, *, ask: bool = False) -> Begun:
        """Hand out a worktree for a task: edit in it with your own tools, then submit.

        Args:
            task: what is to be done, in words.
            ask: wait for approval before landing (`land_edit`).
        """
        wanted = self._task(task)
        editor = CallerEditor()
        runner = self._runner(_means(self.limits, editor, None, None))
        plan = _plan(editor, replace(self.limits, tries=1, best_of=1), ask=ask, dry_run=False)
        with self._claimed(wanted.id):
            await self._settle()
            leader = await runner.begin(wanted, plan)
            await runner.drive(leader)
            try:
                context = await self.context(task)
                await self.rooms.journal.append(leader, "shown", shown_facts(context))
            except BaseException:
                await runner.call_off(leader, By.CANCELLED, "it was never handed out")
                raise
            worktree = (await runner.history(leader)).worktrees[-1]
            return Begun(attempt=leader, worktree=worktree, context=context)

    async def submit_edit(
        self,
        attempt: int,
        *,
        summary: str = "",
        ask: Ask | None = None,
        on_progress: OnProgress | None = None,
    ) -> SelfEditResult:
        """Judge, test and land what was edited in the worktree of an attempt.

        Args:
            attempt: the id that `begin_edit` gave.
            summary: the approach in words, for the journal.
            ask: called before anything lands.
            on_progress: told each step as it happens.

        Raises:
            EditError: no such attempt waits for a submission.
        """
        written: Facts = {"summary": summary, "ask": ask is not None}

        async def go_on(runner: Runner, mine: History) -> None:
            if decide(mine.events) is not Step.SUBMIT:
                raise _not_waiting(mine, "a submission", "begin_edit hands out a new worktree")
            await self.rooms.journal.append(attempt, Kind.WRITTEN, written)
            await runner.drive(attempt)

        return await self._continue(attempt, go_on, ask=ask, on_progress=on_progress)

    async def land_edit(
        self, attempt: int, *, on_progress: OnProgress | None = None
    ) -> SelfEditResult:
        """Land an attempt that waits green for approval; main moved meanwhile is tested anew.

        Raises:
            EditError: no such attempt waits for approval.
        """
        return await self._answer(attempt, True, on_progress)

    async def drop_edit(
        self, attempt: int, reason: str = "", *, on_progress: OnProgress | None = None
    ) -> SelfEditResult:
        """End an attempt that waits, for approval or for its edit; its commits are kept.

        Raises:
            EditError: the attempt does not wait for anything.
        """
        history = await self._runner(Means()).history(attempt)
        if history.events and decide(history.events) is Step.SUBMIT:

            async def call_off(runner: Runner, mine: History) -> None:
                await runner.call_off(attempt, By.CANCELLED, reason or "it was dropped")

            return await self._continue(attempt, call_off, on_progress=on_progress)
        return await self._answer(attempt, reason or False, on_progress)

    async def context(self, task: str, max_tokens: int | None = None) -> Context:
        """All that an editor would be shown for a task: code, past attempts, lessons."""
        budget = self.limits.context_tokens if max_tokens is None else max_tokens
        return await gather(self.rooms, self._task(task).text, max_tokens=budget)

    async def resume(
        self,
        *,
        editor: Editor | None = None,
        ask: Ask | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[SelfEditResult]:
        """Go on with the attempts that a crash interrupted, each to its end.

        Attempts that wait for their caller go on waiting, as do those that wait for approval
        where `ask` is not given. An edit whose editor
        cannot be had again (a Python function) ends as crashed.
        """
        results = []
        for leader in await interrupted(self.rooms.journal, asking=ask is not None):
            history = History(await self.rooms.journal.events(leader))
            with self._claimed(history.edit, wait=False) as ours:
                if not ours:
                    continue  # another process is at it
                made_by = editor or self._restore(_spec(history))
                runner = self._runner(_means(self.limits, made_by, ask, on_progress))
                await runner.drive(leader)
                results.append(await runner.result(leader))
        return results

    async def waiting(self) -> list[Waiting]:
        """The attempts that have not ended, each with whom it waits for, newest first."""
        journal = self.rooms.journal
        found = await waiting(journal)
        told = {History(await journal.events(one.attempt)).edit for one in found}
        for leader in await interrupted(journal):
            history = History(await journal.events(leader))
            if history.edit in told:
                continue  # it waits as a round; its other attempts have nothing to go on with
            with self._claimed(history.edit, wait=False) as free:
                found.append(waits_for(history, "resume" if free else "process"))
        return sorted(found, key=lambda one: -one.attempt)

    async def recover(self) -> list[str]:
        """Write down landings that a crash kept from being written down; what else is open.

        Nothing is edited, tested or landed by it: `resume` does that.
        """
        told = []
        for leader in await interrupted(self.rooms.journal):
            history = History(await self.rooms.journal.events(leader))
            landed = await self._settle_one(history)
            state = "had landed, which is now recorded" if landed else "was interrupted"
            hint = "" if landed else f" after '{history.last}': `resume` goes on with it"
            told.append(f"attempt {leader} {state}{hint}")
        return told

    async def _settle(self) -> None:
        """Before anything new: no landing stays unrecorded."""
        for leader in await interrupted(self.rooms.journal):
            await self._settle_one(History(await self.rooms.journal.events(leader)))

    async def _settle_one(self, mine: History) -> bool:
        candidate = mine.candidate
        if not mine.landing_open or candidate is None:
            return False
        with self._claimed(mine.edit, wait=False) as ours:
            if not ours or not await self.rooms.repository.contains(candidate.commit):
                return False
            await self._runner(_means(self.limits, None, None, None)).drive(mine.leader)
            return True

    async def _answer(
        self, attempt: int, answer: bool | str, on_progress: OnProgress | None
    ) -> SelfEditResult:
        async def go_on(runner: Runner, mine: History) -> None:
            if decide(mine.events) is not Step.APPROVE:
                raise _not_waiting(mine, "approval", f"show {attempt} says how it stands")
            kind, facts = answered(answer)
            await self.rooms.journal.append(attempt, kind, facts)
            await runner.drive(mine.leader)

        return await self._continue(attempt, go_on, on_progress=on_progress)

    async def _continue(
        self,
        attempt: int,
        go_on: Callable[[Runner, History], Coroutine[object, object, None]],
        *,
        ask: Ask | None = None,
        on_progress: OnProgress | None = None,
    ) -> SelfEditResult:
        """Take up an attempt that waited, in this process and no other."""
        history = History(await self.rooms.journal.events(attempt))
        if not history.edit:
            raise EditError(f"there is no self-edit attempt {attempt}", hint="see `log`")
        with self._claimed(history.edit):
            means = _means(self.limits, self._restore(_spec(history)), ask, on_progress)
            runner = self._runner(means)
            await go_on(runner, await runner.history(attempt))
            return await runner.result(history.leader)

    def _runner(self, means: Means) -> Runner:
        return Runner(self.rooms, means, turn=self._leases / "landing.lock")

    @contextmanager
    def _claimed(self, edit: str, *, wait: bool = True) -> Iterator[bool]:
        """This process drives the self-edit `edit`; False, or an error, when another one does."""
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
        return Task(secrets.token_hex(8), words)

    def _limits(self, tries: int | None, best_of: int | None) -> Limits:
        limits = self.limits
        wanted = replace(
            limits,
            tries=limits.tries if tries is None else tries,
            best_of=limits.best_of if best_of is None else best_of,
        )
        for name, value, most in (("tries", wanted.tries, 50), ("best_of", wanted.best_of, 16)):
            if not 1 <= value <= most:
                raise EditError(f"{name} is {value}", hint=f"{name} lies between 1 and {most}")
        return wanted


def _means(
    limits: Limits, editor: Editor | None, ask: Ask | None, on_progress: OnProgress | None
) -> Means:
    if on_progress is None:
        return Means(editor=editor, ask=ask, limits=limits)
    return Means(editor=editor, ask=ask, limits=limits, on_progress=on_progress)


def _plan(editor: Editor, limits: Limits, *, ask: bool, dry_run: bool) -> Facts:
    """What is settled when the first attempt begins; every later one carries it on."""
    spec = editor.spec()
    return {
        "editor": editor.name,
        "spec": dict(spec) if spec else None,
        "caller": isinstance(editor, CallerEditor),
        "leader": 0,
        "index": 0,
        "of": limits.best_of,
        "try": 0,
        "tries": limits.tries,
        "moves": limits.moves,
        "cost_limit": limits.cost,
        "ask": ask,
        "dry_run": dry_run,
    }


def _spec(history: History) -> Mapping[str, Json]:
    spec = history.plan.get("spec")
    return spec if isinstance(spec, dict) else {"kind": text(history.plan, "editor")}


def _not_waiting(mine: History, what: str, hint: str) -> EditError:
    stage = account.stage_of(mine)
    state = f"it waits for {decide(mine.events)}" if stage == "waiting" else f"it is {stage}"
    return EditError(f"attempt {mine.attempt} does not wait for {what}: {state}", hint=hint)
