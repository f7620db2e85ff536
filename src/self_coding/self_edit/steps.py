"""Perform one step of one attempt and say which event it amounts to.

Each step can be performed again: what it makes is named after the attempt, and work that it finds
done is reported as done. A step decides nothing about what comes next; `lifecycle` does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from self_coding.errors import EditError, GitOperationError
from self_coding.languages import is_source
from self_coding.self_edit import views
from self_coding.self_edit.context import gather, late_edit, reflect, shown_facts
from self_coding.self_edit.editors import Editor
from self_coding.self_edit.group_landing import Landing
from self_coding.self_edit.history import (
    MISSED,
    SHOWN,
    WARNED,
    Facts,
    History,
    Kind,
    Plan,
    RefusedBy,
    facts_of,
)
from self_coding.self_edit.lifecycle import Step, spent
from self_coding.self_edit.ports import Services
from self_coding.self_edit.step_results import StepResult, answered, refused
from self_coding.text import cut_middle
from self_coding.values.attempts import UNCOUNTED
from self_coding.values.edits import (
    Ask,
    Assignment,
    Limits,
    OnProgress,
    Progress,
    Question,
    Task,
)
from self_coding.values.repository import Change, Conflict, Worktree

_GRACE = 10.0  # seconds an editor may take to end itself at its limit before it is ended
_FEEDBACK_TRIES = 3  # how many earlier tries a next one is told about
_CHANGES_KEPT = 4  # a diff may have many megabytes


@dataclass(frozen=True)
class RunContext:
    """What this run works with: who edits, who is asked, where it stops, who watches."""

    editor: Editor | None = None
    ask: Ask | None = None
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value
    on_progress: OnProgress | None = None


class AttemptLog:
    """The attempts of one self-edit, read once and then kept up to date with what is appended.

    Sound because one process alone drives a self-edit: it holds the lease.
    """

    def __init__(self, services: Services) -> None:
        self._journal = services.journal
        self._attempts: dict[int, History] = {}

    async def get(self, attempt: int) -> History:
        """Return the attempt as it is now; an empty history when there is none."""
        if attempt not in self._attempts:
            events = await self._journal.events(attempt)
            # Kept unless it was read meanwhile: a sibling's task may be ahead of ours by an event.
            self._attempts.setdefault(attempt, History(events))
        return self._attempts[attempt]

    async def append(self, attempt: int, kind: str, facts: Facts) -> None:
        """Store one more event of the attempt."""
        # Read first: an event that was appended meanwhile would be counted twice.
        before = await self.get(attempt)
        event = await self._journal.append(attempt, kind, facts)
        self._attempts[attempt] = History((*before.events, event))

    def forget(self, *attempts: int) -> None:
        """Read these anew when they are next asked for; all of them when none is named."""
        for one in attempts or tuple(self._attempts):
            self._attempts.pop(one, None)


class Steps:
    """The steps of a self-edit: one method for each `Step` that has an effect."""

    def __init__(
        self,
        services: Services,
        run: RunContext,
        log: AttemptLog,
        waiting: Callable[[], Awaitable[Sequence[History]]] | None = None,
    ) -> None:
        self._services = services
        self._run = run
        self._log = log
        self.landing = Landing(services, waiting, run.limits.land_together, self.say)
        self._changes: dict[tuple[str, str], Change] = {}
        self._steps: Mapping[Step, Callable[[History], Awaitable[StepResult]]] = {
            Step.FAN_OUT: self.fan_out,
            Step.ISOLATE: self.isolate,
            Step.EDIT: self.edit,
            Step.RECORD: self.record,
            Step.JUDGE: self.judge,
            Step.TEST: self.test,
            Step.CHOOSE: self.choose,
            Step.YIELD: self.yield_,
            Step.APPROVE: self.approve,
            Step.ALLOW: self.allow,
            Step.HOLD: self.hold,
            Step.INTEND: self.intend,
            Step.SWAP: self.landing.swap,
            Step.SETTLE: self.landing.settle,
            Step.GIVE_UP: self.give_up,
            Step.KEEP: self.keep,
            Step.CLEAN: self.clean,
            Step.REFLECT: self.reflect,
        }

    async def perform(
        self, step: Step, attempt: History, siblings: Sequence[History]
    ) -> StepResult:
        """Do what `step` says; return the event to append.

        Raises:
            SelfCodingError: a service could not do its work; the attempt itself may be fine.
        """
        if step is Step.NEXT_TRY:
            return await self.next_try(attempt, siblings)
        return await self._steps[step](attempt)

    def say(
        self, attempt: int, step: str, message: str = "", *, done: int = 0, total: int = 0
    ) -> None:
        """Report progress to whoever watches."""
        if self._run.on_progress is not None:
            self._run.on_progress(
                Progress(attempt=attempt, step=step, message=message, done=done, total=total)
            )

    async def diff(self, attempt: History) -> str:
        """Return the attempt's diff; empty when it recorded no change, or that cannot be had."""
        try:
            return (await self._change(attempt)).diff if attempt.edited.paths else ""
        except GitOperationError:
            if await self._services.repository.has(attempt.worktrees[-1], attempt.edited.head):
                raise
            return ""  # it ended on another machine, whose commits went with it

    async def begin(self, task: Task, plan: Plan) -> int:
        """Begin the attempt that `plan` describes, once: one begun before a crash is returned."""
        journal = self._services.journal
        # The process may have died after the attempt began and before its leader noted that.
        for number in await journal.unfinished(task.id):
            one = History(await journal.events(number))
            place = (one.edit, one.plan.try_index, one.plan.index)
            if place == (task.id, plan.try_index, plan.index):
                return number
        return await journal.begin(
            task.text, edit=task.id, retry_count=plan.try_index, facts=facts_of(plan)
        )

    async def end(self, attempt: History) -> None:
        """Close the attempt in the journal, which appends the last event itself."""
        described = views.attempt_of(attempt, await self.diff(attempt))
        await self._services.journal.finish(
            attempt.id,
            described.outcome,
            approach=described.approach,
            files_modified=described.files_modified,
            diff=described.diff,
            test_results=described.test_results,
            failure_analysis=described.failure_analysis,
            reflection=attempt.reflected.reflection,
            stage=views.stage_of(attempt),
            editor=attempt.plan.editor,
            model=attempt.report.model,
            commit=attempt.text(Kind.LANDED, "new"),
        )

    async def fan_out(self, attempt: History) -> StepResult:
        """Begin the other attempts of the round."""
        task = Task(attempt.edit, attempt.task)
        plans = (
            replace(attempt.plan, leader=attempt.id, index=index)
            for index in range(1, attempt.plan.best_of)
        )
        return StepResult(Kind.SPREAD, {"attempts": [await self.begin(task, p) for p in plans]})

    async def isolate(self, attempt: History) -> StepResult:
        """Make a worktree on main."""
        # Named after the attempt: made before a crash, it is handed out again.
        name = attempt.next_worktree
        # A person's own name for the branch is that of the first one; later ones are numbered.
        branch = attempt.plan.branch
        if branch and (attempt.plan.try_index or attempt.plan.index or attempt.worktrees):
            branch = f"{branch}-{name}"
        runs_tests = attempt.plan.editor not in ("patch", "model")
        worktree = await self._services.repository.isolate(name, branch=branch, equip=runs_tests)
        place: Facts = {"path": str(worktree.path), "branch": worktree.branch}
        return StepResult(Kind.ISOLATED, {**place, "base": worktree.base, "name": name})

    async def edit(self, attempt: History) -> StepResult:
        """Have the editor make its edit, shown what is known about the task."""
        editor, limits = self._run.editor, self._run.limits
        if editor is None:
            reason = "its process died, and its editor cannot be had again"
            return refused(RefusedBy.CRASHED, reason, hint="begin anew", final=True)
        context = await gather(
            self._services,
            attempt.task,
            max_tokens=limits.context_tokens,
            feedback=attempt.plan.feedback,
        )
        if context.warning is not None:
            self.say(attempt.id, "warning", str(context.warning))
        await self._log.append(attempt.id, SHOWN, shown_facts(context))
        # Stored first: should the process die in the edit, it begins in a fresh worktree.
        await self._log.append(attempt.id, Kind.EDITING, {"editor": editor.name})
        assignment = Assignment(
            task=Task(attempt.edit, attempt.task),
            worktree=attempt.worktrees[-1],
            context=context,
            attempt=attempt.id,
            seconds=limits.edit_seconds,
            say=lambda line: self.say(attempt.id, Kind.EDITING, line),
        )
        try:
            # Editors end themselves at their limit; this is for one that does not.
            async with asyncio.timeout(limits.edit_seconds + _GRACE):
                report = await editor.edit(assignment)
        except EditError as error:
            failed = refused(RefusedBy.EDITOR, error.message, hint=error.hint)
            return await self._bypassed(attempt) or failed
        except TimeoutError:
            reason = f"the edit took longer than its limit of {limits.edit_seconds:g} s"
            return await self._bypassed(attempt) or refused(RefusedBy.EDITOR, reason)
        stored = replace(
            report,
            summary=cut_middle(report.summary, 4000),
            output=cut_middle(report.output, views.OUTPUT_KEPT),
            seconds=round(report.seconds, 3),
        )
        return StepResult(Kind.WRITTEN, facts_of(stored))

    async def _bypassed(self, attempt: History) -> StepResult | None:
        """Return a refusal if main was moved, past the gate, to a commit made in the worktree.

        It is final: a further try would begin at a main that nobody has tested.
        """
        bypass = await self._services.repository.gate_bypass(attempt.worktrees[-1])
        if bypass is None:
            return None
        old, new, ref = bypass.old, bypass.new, bypass.ref
        name = ref.removeprefix("refs/heads/")
        hint = f"put it back: git update-ref {ref} {old} {new}"
        if new != bypass.tip:
            hint = f"{name} has moved on since: take it back with git revert, from {old} to {new}"
        return refused(
            RefusedBy.EDITOR,
            f"{name} was moved past the gate during the edit, from {old[:12]} to {new[:12]},"
            " which was made in the attempt's own worktree; nothing was landed",
            hint=hint,
            final=True,
            more={"ref": ref, "old": old, "new": new},
        )

    async def record(self, attempt: History) -> StepResult:
        """Commit what the editor wrote onto the attempt's branch."""
        if bypass := await self._bypassed(attempt):
            return bypass
        message = views.commit_message(attempt)
        change = await self._services.repository.record(attempt.worktrees[-1], message)
        whole = attempt.report.whole
        edited = views.edited(change, whole=whole)
        left_out = views.left_out_line(edited)
        if left_out and whole:
            return refused(
                RefusedBy.EDITOR,
                f"it would land in part; {left_out}",
                hint="let .gitignore allow them in the same patch, or take them out of it",
                final=True,
                more={"left_out": list(edited.left_out), "left_count": edited.left_count},
            )
        if change.is_empty:
            reason = "; ".join(filter(None, ("nothing was changed", left_out)))
            return refused(RefusedBy.EMPTY, reason, hint=f"show_attempt(attempt={attempt.id})")
        self._keep(change)
        return StepResult(Kind.EDITED, facts_of(edited))

    async def judge(self, attempt: History) -> StepResult:
        """Ask the policy of the base commit about the change."""
        services, change = self._services, await self._change(attempt)
        dead_end = await services.journal.dead_end(
            task=attempt.task, diff=change.diff, files=change.paths, at="edit"
        )
        # Its own earlier try is known to it already.
        if dead_end is not None and dead_end.attempt != attempt.id:
            self.say(attempt.id, "warning", str(dead_end))
            await self._log.append(attempt.id, WARNED, {"text": str(dead_end)})
        # The rules are those of the base commit: nothing in the change can loosen them.
        paths = list(change.paths)
        before = await services.repository.read(change.base, [*services.rules.files, *paths])
        policy = services.rules.read(before)
        after = await services.repository.read(change.head, paths)
        covered = {path for path in paths if await services.index.has_test_coverage(path)}
        verdict = policy.judge(change, before=before, after=after, covered=frozenset(covered))
        facts = facts_of(verdict)
        if verdict.allowed or policy.asks:
            rules: Facts = {"asks": policy.asks, "strict": policy.tests_may_change == "added"}
            return StepResult(Kind.JUDGED, {**facts, **rules, "ask": not verdict.allowed})
        return refused(RefusedBy.POLICY, "; ".join(verdict.reasons[:3]), more=facts)

    async def test(self, attempt: History) -> StepResult:
        """Merge the change onto main, unseen, and run the gate on the result.

        What main's own tests refuse is put to a person where one is asked; who has approved
        knew of what was refused then, and is not taken to approve of more.
        """
        services, change = self._services, await self._change(attempt)
        moved = attempt.has(Kind.MOVED)
        if moved and (landed := await self.landing.landed_by_others(attempt)):
            return landed
        main = services.repository.main_branch
        candidate = await services.repository.candidate(change, views.landing_message(attempt))
        # Looked at again: the editor may have left a process that moved main since.
        if bypass := await self._bypassed(attempt):
            return bypass
        if isinstance(candidate, Conflict):
            paths = ", ".join(file.path for file in candidate.files[:5])
            return refused(
                RefusedBy.CONFLICT,
                f"it does not merge with {main}: {paths}",
                hint=views.after_conflict(attempt, main),
                more=views.conflict_facts(candidate),
            )
        # The tests that the change can break run first, for a fast no; then all of them, here or
        # when it lands, upon others.
        impact = await services.index.impact(paths=list(change.paths))
        judged = attempt.data(Kind.JUDGED)
        ask = attempt.asks or judged.get("asks") is True
        alone = not self.landing.groups or ask or attempt.plan.dry_run
        report = await services.repository.test(
            candidate,
            first=impact.tests,
            strict=judged.get("strict") is True,
            ask=ask,
            whole=alone or not impact.complete,
        )
        tested = views.gate_result(report, candidate)
        asked = views.refused_by_base(tested)
        known = {one.message for one in attempt.gate.findings}
        unheard = attempt.has(Kind.APPROVED) and any(one.message not in known for one in asked)
        if tested.passed and not unheard:
            more = await self._approval(change, impact.risk, bool(asked or judged.get("ask")))
            return StepResult(Kind.TESTED, {**facts_of(tested), "ask": bool(asked), **more})
        missed = [node for node in tested.failing if node.split("::")[0] not in impact.tests]
        # Where all tests ran, this is what the affected ones alone would have let pass.
        if (
            not report.affected
            and impact.complete
            and is_source("".join(missed[:1]).split("::")[0])
        ):
            facts: Facts = {"tests": [*missed], "affected": [*impact.tests]}
            await self._log.append(attempt.id, MISSED, facts)
        hint = views.ways_on(asked, main) or views.new_dependency(change.diff, report.output)
        return refused(RefusedBy.GATE, views.why_red(tested), hint=hint, more=facts_of(tested))

    async def _approval(self, change: Change, risk: float, asked: bool) -> Facts:
        """Return what the base's policy says of approving a green change, by its risk."""
        services, facts = self._services, Facts(risk=round(risk, 3))
        policy = services.rules.read(
            await services.repository.read(change.base, services.rules.files)
        )
        if why := policy.asks_for(change.paths, risk):
            facts |= {"ask": True, "held": why}
        # Never in place of a person who is being asked, nor of what a rule or a test refuses.
        elif not asked and self._run.ask is None:
            facts["rule"] = policy.approves(change.paths, risk)
        return facts

    async def choose(self, attempt: History) -> StepResult:
        """Note that this is the smallest green one."""
        lines, files, _ = attempt.size
        facts: Facts = {"lines": lines, "files": files, "of": attempt.plan.best_of}
        return StepResult(Kind.CHOSEN, facts)

    async def yield_(self, attempt: History) -> StepResult:
        """End because another one was chosen, or the self-edit was called off."""
        if attempt.last == Kind.TESTED:
            return refused(RefusedBy.CHOICE, "it was green, and another attempt was chosen")
        return refused(RefusedBy.CANCELLED, "the self-edit was called off", final=True)

    async def approve(self, attempt: History) -> StepResult:
        """Ask whether to land."""
        change, ask = await self._change(attempt), self._run.ask
        assert ask is not None, "the runner waits when nobody can be asked"
        question = Question(
            attempt=attempt.id,
            task=attempt.task,
            paths=change.paths,
            added=change.added,
            removed=change.removed,
            tests=views.gate_line(attempt.gate),
            findings=views.asked_of_person(attempt),
            diff=change.diff,
        )
        answer = ask(question)
        told = await answer if inspect.isawaitable(answer) else answer
        return answered(attempt, told, await self._services.repository.person())

    async def allow(self, attempt: History) -> StepResult:
        """Approve by a rule of the policy, which is named in the person's place."""
        rule = attempt.text(Kind.TESTED, "rule")
        kind, facts = answered(attempt, True, f"rule: {rule}")
        return StepResult(kind, {**facts, "rule": rule})

    async def hold(self, attempt: History) -> StepResult:
        """End a dry run."""
        return StepResult(Kind.HELD, {"reason": "dry run"})

    async def intend(self, attempt: History) -> StepResult:
        """Store what is about to land: a landing must not be repeated."""
        assert attempt.candidate is not None, "only a tested candidate lands"
        return StepResult(Kind.LANDING, asdict(attempt.candidate))

    async def give_up(self, attempt: History) -> StepResult:
        """End because main keeps moving."""
        main, times = self._services.repository.main_branch, attempt.count(Kind.MOVED)
        why = f"{main} moved {times} times while this was tested"
        hint = "try again when fewer others are landing, or raise `moves`"
        return refused(RefusedBy.MOVED, why, hint=hint)

    async def keep(self, attempt: History) -> StepResult:
        """Leave a refused edit where it is; what came of it can be found like an ended attempt."""
        told = views.attempt_of(attempt, await self.diff(attempt))
        names = ("approach", "diff", "test_results", "failure_analysis")
        facts: Facts = {name: getattr(told, name) for name in names}
        facts["files_modified"] = [*told.files_modified]
        # What says nothing of the change is remembered, and warns nobody.
        blamed = views.stage_of(attempt) not in UNCOUNTED
        return StepResult(Kind.TRIED, {**facts, "outcome": "failure"} if blamed else facts)

    async def clean(self, attempt: History) -> StepResult:
        """Give the worktrees back; their contents are kept under a ref."""
        release, late = self._services.repository.release, await late_edit(self._services, attempt)
        aside = [place for one in attempt.worktrees if (place := await release(one))]
        if attempt.has(Kind.STOPPED):
            # It may have been stopped after a worktree was made and before that was noted.
            name = attempt.next_worktree
            await release(Worktree(path=Path(), branch="", base="", attempt=name))
        return StepResult(Kind.CLEANED, late | ({"aside": [*map(str, aside)]} if aside else {}))

    async def reflect(self, attempt: History) -> StepResult:
        """Learn from how it went, once: a refused edit that is given up has been explained."""
        if known := attempt.data(Kind.REFLECTED):
            return StepResult(Kind.REFLECTED, dict(known))
        reflected = await reflect(self._services, attempt, await self.diff(attempt))
        return StepResult(Kind.REFLECTED, facts_of(reflected))

    async def next_try(self, attempt: History, siblings: Sequence[History]) -> StepResult:
        """Begin a new round, which is told how this one went."""
        round_ = sorted((attempt, *siblings), key=lambda one: one.id)
        plan = attempt.plan
        feedback = (*plan.feedback, *map(views.feedback_of, round_))
        signatures = (*plan.signatures, *(one.reflected.signature for one in round_))
        plan = replace(
            plan,
            leader=0,
            index=0,
            try_index=plan.try_index + 1,
            spent=spent(attempt, siblings),
            feedback=feedback[-_FEEDBACK_TRIES * plan.best_of :],
            signatures=tuple(mark for mark in dict.fromkeys(signatures) if mark),
            attempts=(*plan.attempts, *(one.id for one in round_)),
        )
        begun = await self.begin(Task(attempt.edit, attempt.task), plan)
        return StepResult(Kind.FOLLOWED, {"attempt": begun})

    async def _change(self, attempt: History) -> Change:
        """Return the recorded change; its diff is made by git once a run, and then remembered."""
        ends = attempt.edited.base, attempt.edited.head
        if ends not in self._changes:
            self._keep(await self._services.repository.change(*ends))
        return self._changes[ends]

    def _keep(self, change: Change) -> None:
        self._changes[change.base, change.head] = change
        while len(self._changes) > _CHANGES_KEPT:
            del self._changes[next(iter(self._changes))]
