"""The attempts that have not ended: who works on one, waiting for it, going on with it.

An attempt is driven by one process at a time, which holds its lease. Whoever waits for it only
looks, and starts a process where nobody drives it: what is submitted outlives its caller.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from self_coding.errors import EditError, SelfCodingError
from self_coding.self_edit import editors, inbox, views
from self_coding.self_edit.context import tests_strength
from self_coding.self_edit.editors import Editor
from self_coding.self_edit.history import (
    CHECKED,
    MEASURED,
    SHOWN,
    Facts,
    History,
    Kind,
    RefusedBy,
    facts_of,
)
from self_coding.self_edit.leases import PATIENCE, Holder, Lease, Leases
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.notice_board import NoticeBoard, Send
from self_coding.self_edit.ports import Services
from self_coding.self_edit.runner import BEAT, Runner, interrupted, open_attempts
from self_coding.self_edit.step_results import refused
from self_coding.self_edit.steps import RunContext
from self_coding.values.edits import Ask, Limits, OnProgress, Progress, SelfEditResult, Waiting
from self_coding.values.repository import Change
from self_coding.values.results import Inbox, Status
from self_coding.values.verdicts import Strength

if TYPE_CHECKING:
    from self_coding.git_safety import GitSafety
    from self_coding.self_edit.reported import ReportedErrors

Restore = Callable[[Mapping[str, object]], Editor | None]


class Child(Protocol):
    """A process that was started."""

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        ...


class Start(Protocol):
    """Starts a process that works on an attempt, and writes what it prints into a file."""

    def __call__(self, attempt: int, *, check: bool, log: Path) -> Child:
        """Go on with the attempt, or only check its edit."""
        ...


DIRTY = 500  # paths of the checkout that were changed before an edit began
_DECIDED = 20  # approvals of the past that the inbox tells
_LOOKS = 0.25  # seconds between two looks at an attempt that another process drives


class Watcher:
    """Passes on what another process tells of an attempt, and that it still goes on."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.last: Progress | None = None
        self._on_progress = on_progress
        self._seen = -1
        self._pid = 0
        self._spoke = self._began = time.monotonic()

    def look(self, attempt: int, holder: Holder | None) -> None:
        """Pass on what is new; every few seconds say how long this has taken."""
        told = list(holder.told) if holder else []
        if holder and holder.pid != self._pid:
            # Of what was told before, who comes later is shown the last line.
            self._pid, self._seen = holder.pid, max(0, len(told) - 1)
        for step in told[max(0, self._seen) :]:
            self._say(step)
        self._seen = max(self._seen, len(told))
        now = time.monotonic()
        if now - self._spoke >= BEAT:
            doing = self.last.step if self.last else "starting"
            self._say(Progress(attempt=attempt, step=doing, message=f"{now - self._began:.0f} s"))

    def _say(self, step: Progress) -> None:
        self.last, self._spoke = step, time.monotonic()
        if self._on_progress is not None:
            self._on_progress(step)


class OpenAttempts:
    """The attempts of one repository that have not ended.

    Args:
        services: the services it works with.
        leases: a folder for the claims by which two processes never drive one self-edit.
        limits: where a self-edit stops by itself; each call can set its own tries.
        restore: builds an editor anew from what the journal stored of it.
        start: starts a process that goes on with an attempt, or (True) only checks its edit; None
            does it here.
        reported: errors that wait to become tasks.
        notify: sends a notice to a person, and returns what went wrong.
    """

    def __init__(
        self,
        services: Services,
        *,
        leases: Path,
        limits: Limits | None = None,
        restore: Restore = editors.restored,
        start: Start | None = None,
        reported: ReportedErrors | None = None,
        notify: Send | None = None,
    ) -> None:
        self.services = services
        self.limits = limits or Limits()
        self.leases = Leases(leases, services.journal.sessions)
        self._restore = restore
        self._start = start
        self.reported = reported
        self.notices = NoticeBoard(services, notify)

    async def wait_edit(
        self,
        attempt: int,
        *,
        seconds: float | None = None,
        check: bool = False,
        on_progress: OnProgress | None = None,
    ) -> SelfEditResult:
        """Wait until an attempt has ended or waits for somebody; see that somebody drives it.

        Args:
            seconds: how long, or to its end; then the answer says how far it has come, and it goes
                on.
            check: have its edit checked meanwhile.
            on_progress: told each step as it happens, and every few seconds that it goes on.

        Raises:
            EditError: there is no such attempt, or what was to judge it could not.
        """
        end = math.inf if seconds is None else time.monotonic() + seconds
        child, watcher = None, Watcher(on_progress)
        history = await self._known(attempt)
        runner = self._runner(history.plan.base, RunContext())
        log = self.leases.path(history.edit, "log")
        while True:
            # In this order: what a process did before it was gone is in the history by then.
            ended = child is not None and child.poll() is not None
            holder = self.leases.holder(history.edit)
            runner.log.forget()
            history, done = await runner.furthest(attempt)
            watcher.look(history.id, holder)
            driven = holder or await self.leases.elsewhere([history.edit])
            if not driven and child is None:
                if done and not check:
                    break
                if self._start is None:
                    if check:
                        return await self.check_here(attempt, on_progress)
                    await self.resume(attempt=attempt, on_progress=on_progress)
                    runner.log.forget()
                    return await runner.result(history.leader)
                child = self._start(attempt, check=check, log=log)
            elif not driven and ended:
                if not done or (check and history.events[-1].kind != CHECKED):
                    said = log.read_text(errors="replace").strip()[-600:] if log.is_file() else ""
                    raise EditError(
                        f"the process that judged attempt {history.id} has ended: "
                        f"{said or 'it said nothing'}",
                        hint="`wait_edit` starts another one; the edit is where it was",
                    )
                break
            if time.monotonic() >= end:
                return views.under_way(history, watcher.last)
            await asyncio.sleep(_LOOKS)
        log.unlink(missing_ok=True)
        returned = history.data(Kind.RETURNED) if history.last == Kind.RETURNED else {}
        if returned.get("by") == RefusedBy.ERROR:
            raise EditError(str(returned["reason"]), hint=str(returned.get("hint", "")))
        if history.events[-1].kind == CHECKED:
            return views.checked(history)
        return await runner.result(history.leader)

    async def resume(
        self,
        *,
        attempt: int | None = None,
        editor: Editor | None = None,
        ask: Ask | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[SelfEditResult]:
        """Go on with the attempts that a crash interrupted, each to its end; or with only one.

        Attempts that wait for their caller go on waiting, as do those that wait for approval
        when `ask` is not given. An edit whose editor cannot be had again (a Python function) ends
        as crashed.
        """
        results = []
        wanted = None if attempt is None else (await self._known(attempt)).edit
        attempts = await open_attempts(self.services, wanted or "")
        for leader in interrupted(attempts, asking=ask is not None):
            history = await self._history(leader)
            # Who was started for this attempt may meet a call that only looks at it.
            patience = 0.0 if wanted is None else PATIENCE
            async with self.leases.hold(history.edit, patience=patience) as lease:
                if lease is None:
                    continue  # another process drives it
                maker = editor or self._restored(history)
                told = lease.telling(on_progress)
                run = RunContext(maker, ask, self.limits, told)
                runner = self._runner(history.plan.base, run)
                await runner.adopt(leader)
                await runner.follow(leader, self._overdue(history))
                await runner.drive(leader, lasting=True)
                results.append(await runner.result(leader))
        return results

    async def waiting(self) -> list[Waiting]:
        """Return the attempts that have not ended, each with whom it waits for, newest first."""
        attempts = await open_attempts(self.services)
        waits_for = {Step.SUBMIT: "submit", Step.APPROVE: "approval", Step.FOLLOW: "review"}
        steps = [(one, decide(one)) for one in attempts]
        told = await self.leases.elsewhere({one.edit for one in attempts})
        waiting = [
            self._waiting(one, waits_for[step], told) for one, step in steps if step in waits_for
        ]
        # Of a best-of-N round only the chosen one asks; its siblings have nothing to go on with.
        asking = {one.edit for one, step in steps if step in waits_for}
        leaders = interrupted([one for one in attempts if one.edit not in asking])
        waiting += [self._waiting(await self._history(one), "resume", told) for one in leaders]
        return sorted(waiting, key=lambda one: -one.attempt)

    async def strength(self, attempt: int, *, measure: bool = False) -> Strength | None:
        """Return how strong an attempt's tests are, where that is known.

        Args:
            measure: find out where it is not: runs the tests for `gate.mutant_seconds` at most.

        Raises:
            EditError: its tests did not pass, so that they prove nothing.
        """
        history = await self._history(attempt)
        if history.strength is not None or not measure:
            return history.strength
        found = await tests_strength(self.services, history)
        if found is None:
            raise EditError(
                f"attempt {attempt} has no tests that passed, or no time to measure them",
                hint="gate.mutant_seconds is the time; `show_attempt` says what failed",
            )
        await self.services.journal.append(attempt, MEASURED, facts_of(found))
        return found

    async def status(self) -> Status:
        """Return how the repository stands: its main branch, red or not, and what waits."""
        repository = self.services.repository
        failing: tuple[str, ...] = ()
        with suppress(SelfCodingError):  # a machine without a sandbox still has what waits
            failing = await repository.failing_on_main()
        return Status(
            repository=str(repository.top),
            main_branch=repository.main_branch,
            commit=await repository.get_main_commit(),
            failing=list(failing),
            waiting=await self.waiting(),
        )

    async def inbox(self) -> Inbox:
        """Return what needs a person, each with what goes on with it, and what was decided."""
        journal = self.services.journal
        status, newest = await self.status(), await journal.lines(limit=20)
        noted = await journal.recent_events(inbox.NOTED)
        told = await journal.lines(ids=[one.attempt for one in noted])
        errors = await self.reported.errors() if self.reported else []
        # Asked only where there are errors: words are looked for in all attempts.
        fixed = await journal.lines(words="fix error", state="landed", limit=200) if errors else []
        offered = inbox.offered(errors, fixed, status.waiting)
        return Inbox(
            needs=inbox.needs(status, newest, noted, datetime.now(UTC), offered),
            decided=inbox.decisions(noted, told)[:_DECIDED],
        )

    def _waiting(self, attempt: History, what: str, elsewhere: Mapping[str, str]) -> Waiting:
        trees, holder = attempt.worktrees, self.leases.holder(attempt.edit)
        who = str(holder or elsewhere.get(attempt.edit, ""))
        last = next(reversed(holder.told), None) if holder else None
        rests = attempt.events[-1].at
        days = self.limits.approval_days
        limits = {"submit": self.limits.edit_days, "approval": days, "review": days}
        asks = views.asked_of_person(attempt) if what == "approval" else ()
        return Waiting(
            attempt=attempt.id,
            task=attempt.task,
            since=attempt.events[0].at,
            waiting="process" if who else what,
            path=str(trees[-1].path) if trees else "",
            why=views.why_not(attempt),
            holder=who,
            progress=": ".join(filter(None, (last.step, last.message))) if last else "",
            rests=rests,
            expires=inbox.expiry(rests, limits[what]) if what in limits and not who else None,
            change=views.size_line(attempt) if what == "approval" else "",
            asks=tuple(map(str, asks)),
            lands_on=attempt.plan.base or self.services.repository.main_branch,
        )

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
        for one in attempts:
            if overdue := self._overdue(one):
                async with self.leases.hold(one.edit, patience=0.0) as lease:
                    if lease is not None:
                        runner = self._runner(one.plan.base, RunContext(limits=self.limits))
                        await self.expire(runner, one, overdue)
        for leader in interrupted(attempts):
            history, landed = await self._history(leader), False
            if history.landing_open:
                async with self.leases.hold(history.edit, patience=0.0) as lease:
                    intents, repository = [*history.intents], self._repository(history)
                    landed = bool(lease) and bool(await repository.landed(intents))
                    if landed:
                        runner = self._runner(history.plan.base, RunContext(limits=self.limits))
                        await runner.drive(leader, lasting=True)
            settled.append((history, landed))
        return settled

    def _overdue(self, attempt: History) -> str:
        """Return why an attempt that waits is given up now; empty while it may wait."""
        step = decide(attempt)
        limits = {
            Step.SUBMIT: (self.limits.edit_days, "submitted"),
            Step.APPROVE: (self.limits.approval_days, "approved or refused"),
            Step.FOLLOW: (self.limits.approval_days, "merged"),
        }
        if step not in limits:
            return ""
        days, what = limits[step]
        end = inbox.expiry(attempt.events[-1].at, days)
        return f"nobody {what} it for {days:g} days" if end and end < datetime.now(UTC) else ""

    async def expire(self, runner: Runner, attempt: History, why: str) -> None:
        """End an attempt that has waited too long; its commits are kept."""
        if decide(attempt) is Step.SUBMIT:
            await runner.call_off(attempt.id, RefusedBy.CANCELLED, why)
            return
        if decide(attempt) is Step.FOLLOW:  # its request may have been merged meanwhile
            await runner.follow(attempt.leader, why)
        else:
            hint = f"begin_edit(from_attempt={attempt.id}) begins anew with its change"
            no = refused(RefusedBy.EXPIRED, why, hint=hint, final=True)
            await runner.log.append(attempt.id, *no)
        await runner.drive(attempt.leader)

    async def check_here(self, attempt: int, on_progress: OnProgress | None) -> SelfEditResult:
        """Check what was edited so far in this process."""
        async with self._taken_up(attempt, None, on_progress) as (runner, waiting):
            await runner.check(waiting, await self._edited(waiting), await self._strayed(waiting))
            return views.checked(await runner.log.get(attempt))

    async def _edited(self, waiting: History, *, bypassed: bool = False) -> Change:
        """Record what stands in the worktree of an attempt that waits for its edit.

        Empty only with `bypassed`, which lets what was committed past the gate go on, to be
        refused as that.

        Raises:
            EditError: it waits for something else, or nothing is edited yet: it goes on waiting.
        """
        if decide(waiting) is not Step.SUBMIT:
            hint = f"begin_edit(from_attempt={waiting.id}) begins anew with its change"
            raise not_waiting(waiting, "a submission", hint)
        place, repository = waiting.worktrees[-1], self._repository(waiting)
        change = await repository.record(place, views.commit_message(waiting))
        if not change.is_empty or (bypassed and await repository.gate_bypass(place)):
            return change
        told = [f"nothing is edited yet in {place.path}"]
        told.append(views.left_out_line(views.edited(change, whole=False)))
        hint = f"attempt {waiting.id} still waits: edit there, and submit again"
        if strayed := await self._strayed(waiting):
            named, way = views.strayed_lines(strayed, str(place.path))
            told.append(named)
            hint = f"{way}, then submit again, and take it back there"
        raise EditError("; ".join(filter(None, told)), hint=hint)

    async def _strayed(self, waiting: History) -> Facts:
        """Return what was changed in the person's checkout since an edit began; empty for nothing.

        The usual mistake: the files of the same name there.
        """
        known = waiting.data(SHOWN).get("dirty")
        if not isinstance(known, list) or len(known) >= DIRTY:
            return {}  # one cannot tell what was changed before
        repository = self.services.repository
        paths = [one for one in await repository.get_modified_files() if one not in known]
        return {"top": str(repository.repo_path), "paths": [*paths[:20]]} if paths else {}

    @asynccontextmanager
    async def _taken_up(
        self, attempt: int, ask: Ask | None, on_progress: OnProgress | None
    ) -> AsyncIterator[tuple[Runner, History]]:
        """Take up an attempt that waited, in this process and no other."""
        history = await self._known(attempt)
        async with self._claimed(history.edit) as lease:
            told = lease.telling(on_progress)
            run = RunContext(self._restored(history), ask, self.limits, told)
            runner = self._runner(history.plan.base, run)
            yield runner, await runner.log.get(attempt)

    async def _is_driven(self, attempt: int) -> bool:
        history = await self._known(attempt)
        newest, _ = await self._runner(history.plan.base, RunContext()).furthest(attempt)
        return decide(newest) is not None and self.leases.holder(history.edit) is not None

    async def _known(self, attempt: int) -> History:
        history = await self._history(attempt)
        if not history.edit:
            raise EditError(f"there is no self-edit attempt {attempt}", hint="see `attempts`")
        return history

    async def _history(self, attempt: int) -> History:
        return History(await self.services.journal.events(attempt))

    def _repository(self, attempt: History) -> GitSafety:
        """Return the repository for what lands where this attempt does."""
        return self.services.repository.onto(attempt.plan.base)

    def _runner(self, base: str, run: RunContext) -> Runner:
        """Return what drives the attempts that land on a branch."""
        services = self.services.onto(base)
        branch, main = (one.repository.main_branch for one in (services, self.services))

        async def waiting() -> list[History]:
            """Return who waits to land there, longest first; the dead wait for `resume`."""
            attempts = [one for one in await open_attempts(services) if one.last == Kind.LANDING]
            attempts = [one for one in attempts if (one.plan.base or main) == branch]
            told = await self.leases.elsewhere({one.edit for one in attempts})
            attempts = [one for one in attempts if one.edit in told or self.leases.holder(one.edit)]
            return sorted(attempts, key=lambda one: one.events[-1].at)

        turn, notify = partial(self.leases.turn, branch), self.notices.of_attempt
        return Runner(services, run, turn=turn, notify=notify, waiting=waiting)

    def _restored(self, history: History) -> Editor | None:
        """Build the attempt's editor anew from what the journal stored of it."""
        return self._restore(history.plan.spec or {"kind": history.plan.editor})

    @asynccontextmanager
    async def _claimed(self, edit: str, *, fresh: bool = False) -> AsyncIterator[Lease]:
        """Drive the self-edit in this process alone.

        Raises:
            EditError: another one does.
        """
        async with self.leases.hold(edit, patience=PATIENCE, fresh=fresh) as lease:
            if lease is None:
                told = (await self.leases.elsewhere([edit])).get(edit)
                who = self.leases.holder(edit) or told or "it has just ended"
                ends = "`cancel` ends its job in `workers`" if told else "`drop_edit` ends it"
                hint = f"`wait_edit` waits for it, {ends}"
                raise EditError(f"another process works on this attempt: {who}", hint=hint)
            yield lease


def not_waiting(attempt: History, what: str, hint: str) -> EditError:
    """Return the error of a call for an attempt that waits for something else."""
    stage = views.stage_of(attempt)
    state = f"it waits for {decide(attempt)}" if stage == "waiting" else f"it is {stage}"
    return EditError(f"attempt {attempt.id} does not wait for {what}: {state}", hint=hint)
