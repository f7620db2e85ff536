"""Perform one step of one attempt and say which event it amounts to.

Each step can be performed again: what it made is named after the attempt, and what it finds
done it reports as done. A step decides nothing about what comes next; `lifecycle` does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from self_coding.errors import EditError
from self_coding.self_edit import account
from self_coding.self_edit.context import gather
from self_coding.self_edit.editors.protocol import Editor
from self_coding.self_edit.ending import Ending
from self_coding.self_edit.history import By, History, Kind, flag, text
from self_coding.self_edit.learning import reflect, shown_facts
from self_coding.self_edit.lifecycle import Step
from self_coding.self_edit.rooms import Rooms
from self_coding.values.attempts import Json
from self_coding.values.edits import Ask, Assignment, Limits, Progress, Question, Task
from self_coding.values.repository import Change, Conflict, Moved, Strayed

Facts = dict[str, Json]
Told = tuple[str, Facts]
"""The event that a step amounts to: its kind and its facts."""

_GRACE = 10.0  # seconds an editor may take to end itself at its limit before it is ended


@dataclass(frozen=True)
class Means:
    """What this run has at hand: who edits, who is asked, how far it may go, who watches."""

    editor: Editor | None = None
    ask: Ask | None = None
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value
    on_progress: Callable[[Progress], None] = lambda progress: None


class Steps:
    """The steps of a self-edit over the given rooms."""

    def __init__(self, rooms: Rooms, means: Means) -> None:
        self._rooms = rooms
        self._means = means
        self._ending = Ending(rooms)

    async def perform(self, step: Step, mine: History, beside: Sequence[History]) -> Told:
        """Do what `step` says for the attempt `mine`; the event to append.

        Raises:
            SelfCodingError: a room could not do its work; nothing is known to be wrong with
                the attempt itself.
        """
        ending = self._ending
        alone: Mapping[Step, Callable[[History], Awaitable[Told]]] = {
            Step.SPREAD: ending.spread,
            Step.ISOLATE: self._isolate,
            Step.EDIT: self._edit,
            Step.RECORD: self._record,
            Step.JUDGE: self._judge,
            Step.TEST: self._test,
            Step.CHOOSE: _choose,
            Step.GIVE_WAY: _give_way,
            Step.APPROVE: self._approve,
            Step.HOLD: _hold,
            Step.INTEND: _intend,
            Step.SWAP: self._swap,
            Step.SETTLE: self._settle,
            Step.GIVE_UP: _give_up,
            Step.CLEAN: ending.clean,
            Step.REFLECT: self._reflect,
        }
        if step is Step.FOLLOW:
            return await ending.follow(mine, beside)
        return await alone[step](mine)

    def say(self, attempt: int, step: str, message: str = "") -> None:
        """Tell whoever watches."""
        self._means.on_progress(Progress(attempt=attempt, step=step, message=message))

    async def _isolate(self, mine: History) -> Told:
        name = mine.next_worktree
        worktree = await self._rooms.repository.isolate(name)
        return Kind.ISOLATED, {
            "path": str(worktree.path),
            "branch": worktree.branch,
            "base": worktree.base,
            "name": name,
        }

    async def _edit(self, mine: History) -> Told:
        editor = self._means.editor
        if editor is None:
            reason = "its process died, and its editor cannot be had again"
            return refused(By.CRASHED, reason, hint="begin anew", final=True)
        task = mine.task
        context = await gather(
            self._rooms,
            task,
            max_tokens=self._means.limits.context_tokens,
            feedback=account.feedback_in(mine.plan),
        )
        shown = shown_facts(context)
        if context.warning is not None:
            self.say(mine.attempt, "warning", str(context.warning))
        append = self._rooms.journal.append
        await append(mine.attempt, "shown", shown)
        await append(mine.attempt, Kind.EDITING, {"editor": editor.name})
        seconds = self._means.limits.edit_seconds
        assignment = Assignment(
            task=Task(mine.edit, task),
            worktree=mine.worktrees[-1],
            context=context,
            attempt=mine.attempt,
            seconds=seconds,
            say=lambda line: self.say(mine.attempt, Kind.EDITING, line),
        )
        try:
            async with asyncio.timeout(seconds + _GRACE):
                report = await editor.edit(assignment)
        except EditError as error:
            failed = refused(By.EDITOR, error.message, hint=error.hint)
            return await self._stray(mine) or failed
        except TimeoutError:
            failed = refused(By.EDITOR, f"the edit took longer than its limit of {seconds:g} s")
            return await self._stray(mine) or failed
        return Kind.WRITTEN, {
            "summary": account.cut(report.summary, 4000),
            "output": account.cut(report.output, account.OUTPUT_KEPT),
            "seconds": round(report.seconds, 3),
            "cost": report.cost,
            "tokens": report.tokens,
            "model": report.model,
            "whole": report.whole,
        }

    async def _stray(self, mine: History) -> Told | None:
        """The refusal of an attempt in whose worktree main was moved to what nobody tested."""
        strayed = await self._rooms.repository.strayed(mine.worktrees[-1])
        return None if strayed is None else _past_the_gate(strayed)

    async def _record(self, mine: History) -> Told:
        past = await self._stray(mine)
        if past is not None:
            return past
        message = account.commit_message(mine)
        change = await self._rooms.repository.record(mine.worktrees[-1], message)
        whole = flag(mine.data(Kind.WRITTEN), "whole")
        left = account.left_facts(change.left_out, whole=whole)
        if left and whole:
            return _not_whole(left)
        if change.is_empty:
            reason = "; ".join(filter(None, ("nothing was changed", account.left_in_words(left))))
            return refused(By.EMPTY, reason, hint="see what the editor printed: `show`")
        return Kind.EDITED, {
            **left,
            "base": change.base,
            "head": change.head,
            "paths": list(change.paths),
            "added": change.added,
            "removed": change.removed,
        }

    async def _judge(self, mine: History) -> Told:
        rooms, change = self._rooms, await self._change(mine)
        dead_end = await rooms.journal.dead_end(
            task=mine.task, diff=change.diff, files=change.paths, at="edit"
        )
        if dead_end is not None and dead_end.attempt != mine.attempt:
            self.say(mine.attempt, "warning", str(dead_end))
            await rooms.journal.append(mine.attempt, "warned", {"text": str(dead_end)})
        paths = list(change.paths)
        before = await rooms.repository.read(change.base, [*rooms.rules.files, *paths])
        judge = rooms.rules.read(before)
        after = await rooms.repository.read(change.head, paths)
        covered = {path for path in paths if await rooms.index.has_test_coverage(path)}
        verdict = judge.judge(change, before=before, after=after, covered=frozenset(covered))
        facts: Facts = {"findings": account.finding_facts(verdict.findings)}
        if verdict.allowed or judge.asks:
            return Kind.JUDGED, {**facts, "ask": not verdict.allowed}
        return refused(By.POLICY, "; ".join(verdict.reasons[:3]), more=facts)

    async def _test(self, mine: History) -> Told:
        rooms, change = self._rooms, await self._change(mine)
        candidate = await rooms.repository.candidate(change)
        past = await self._stray(mine)
        if past is not None:
            return past
        if isinstance(candidate, Conflict):
            return _conflict(candidate)
        impact = await rooms.index.impact(paths=list(change.paths))
        report = await rooms.repository.test(candidate, first=impact.tests)
        facts = account.report_facts(report)
        if not report.passed:
            return refused(By.GATE, account.why_red(report), more=facts)
        return Kind.TESTED, {
            **facts,
            "commit": candidate.commit,
            "tree": candidate.tree,
            "onto": candidate.onto,
            "head": candidate.head,
        }

    async def _approve(self, mine: History) -> Told:
        change, ask = await self._change(mine), self._means.ask
        assert ask is not None, "the runner waits where nobody can be asked"
        question = Question(
            attempt=mine.attempt,
            task=mine.task,
            paths=change.paths,
            added=change.added,
            removed=change.removed,
            tests=account.tests_in_words(mine.data(Kind.TESTED)),
            findings=account.findings_of(mine.data(Kind.JUDGED)),
            diff=change.diff,
        )
        answer = ask(question)
        if inspect.isawaitable(answer):
            answer = await answer
        return answered(answer)

    async def _swap(self, mine: History) -> Told:
        candidate = mine.candidate
        assert candidate is not None, "an intent to land names its candidate"
        if await self._rooms.repository.contains(candidate.commit):
            return Kind.LANDED, {"old": candidate.onto, "new": candidate.commit}
        done = await self._rooms.repository.land(
            candidate, attempt=str(mine.attempt), reason=account.subject(mine.task)
        )
        if isinstance(done, Moved):
            return Kind.MOVED, {"expected": done.expected, "actual": done.actual}
        return Kind.LANDED, {"old": done.old, "new": done.new, "checkout": done.checkout}

    async def _settle(self, mine: History) -> Told:
        candidate = mine.candidate
        assert candidate is not None, "an intent to land names its candidate"
        if await self._rooms.repository.contains(candidate.commit):
            return Kind.LANDED, {"old": candidate.onto, "new": candidate.commit}
        stop = mine.data(Kind.STOPPED)
        return refused(text(stop, "by"), text(stop, "reason"), final=True)

    async def _reflect(self, mine: History) -> Told:
        return await reflect(self._rooms, mine)

    async def _change(self, mine: History) -> Change:
        edited = mine.data(Kind.EDITED)
        return await self._rooms.repository.change(text(edited, "base"), text(edited, "head"))


def refused(
    by: str, reason: str, *, hint: str = "", final: bool = False, more: Facts | None = None
) -> Told:
    """The event that an attempt ends without landing, and why."""
    return Kind.REFUSED, {**(more or {}), "by": by, "reason": reason, "hint": hint, "final": final}


def answered(answer: bool | str) -> Told:
    """What a person's answer amounts to; a no with a reason may be bettered by another try."""
    if answer is True:
        return Kind.APPROVED, {}
    reason = answer.strip() if isinstance(answer, str) else ""
    return refused(By.APPROVAL, reason or "it was not approved", final=not reason)


async def _choose(mine: History) -> Told:
    lines, files, _ = mine.size
    return Kind.CHOSEN, {"lines": lines, "files": files, "of": mine.of}


async def _give_way(mine: History) -> Told:
    if mine.last != Kind.TESTED:
        return refused(By.CANCELLED, "the self-edit was called off", final=True)
    return refused(By.CHOICE, "it was green, and the choice fell on another attempt")


async def _hold(mine: History) -> Told:
    return Kind.HELD, {"reason": "dry run"}


async def _intend(mine: History) -> Told:
    tested = mine.data(Kind.TESTED)
    return Kind.LANDING, {key: tested[key] for key in ("commit", "tree", "onto", "head")}


async def _give_up(mine: History) -> Told:
    moves = mine.count(Kind.MOVED)
    return refused(
        By.MOVED,
        f"main moved {moves} times while this was tested",
        hint="try again when fewer others are landing, or raise `moves`",
    )


def _not_whole(left: Facts) -> Told:
    return refused(
        By.EDITOR,
        f"it would land in part; {account.left_in_words(left)}",
        hint="let .gitignore allow them in the same patch, or take them out of it",
        final=True,
        more=left,
    )


def _past_the_gate(strayed: Strayed) -> Told:
    """Final: a further try would begin at a main that nobody has tested."""
    old, new, ref = strayed.old, strayed.new, strayed.ref
    name = ref.removeprefix("refs/heads/")
    back = f"put it back: git update-ref {ref} {old} {new}"
    if new != strayed.tip:
        back = f"{name} has moved on since: take it back with git revert, from {old} to {new}"
    return refused(
        By.EDITOR,
        f"{name} was moved past the gate during the edit, from {old[:12]} to {new[:12]},"
        " which was made in the attempt's own worktree; nothing was landed",
        hint=back,
        final=True,
        more={"ref": ref, "old": old, "new": new},
    )


def _conflict(conflict: Conflict) -> Told:
    paths = [file.path for file in conflict.files]
    files: list[Json] = [
        {"path": file.path, "message": file.message, "merged": account.cut(file.merged, 4000)}
        for file in conflict.files[:20]
    ]
    return refused(
        By.CONFLICT,
        f"it does not merge with main: {', '.join(paths[:5])}",
        hint="another try starts from main as it is now",
        more={"paths": list(paths), "conflicts": files, "onto": conflict.onto},
    )
