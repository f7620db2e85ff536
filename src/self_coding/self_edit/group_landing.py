"""Group landing: whoever has the turn lands all that wait green, with one test and one swap.

Their merges are stacked upon main and the whole suite runs on the topmost. Green, main moves there
in one step; red, halves of the stack are tried until one attempt is found with which it turns red,
and what is green below it lands. Each attempt keeps its merge commit and records its own landing:
what is noted here in the histories of the others says only where to look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

from self_coding.self_edit import views
from self_coding.self_edit.history import (
    FOUND_RED,
    MISSED,
    STACKED,
    Facts,
    GateResult,
    History,
    Kind,
    RefusedBy,
    facts_of,
    read,
)
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.ports import Services
from self_coding.self_edit.step_results import StepResult, refused
from self_coding.values.repository import Candidate, Conflict, Landed, Moved
from self_coding.values.verdicts import GateReport

Say = Callable[[int, str, str], None]


@dataclass(frozen=True)
class _Stacked:
    """An attempt of the stack, and its merge upon those below it."""

    attempt: History
    candidate: Candidate


class Landing:
    """The steps that move main, and those that find out whether it was moved.

    Args:
        services: the services of the branch that they land on.
        waiting: returns the attempts that wait to land there, whose processes are alive; without it
            each lands alone.
        size: how many at most.
        say: reports progress of an attempt.
    """

    def __init__(
        self,
        services: Services,
        waiting: Callable[[], Awaitable[Sequence[History]]] | None,
        size: int,
        say: Say,
    ) -> None:
        self._services = services
        self._waiting = waiting
        self._size = size
        self._say = say

    @property
    def groups(self) -> bool:
        """Whether attempts may land together."""
        return self._waiting is not None

    async def swap(self, attempt: History) -> StepResult:
        """Move main to the tested commit, or to one that was tested with others upon it."""
        # Main may have moved already: the process died before the landing was recorded, or another
        # attempt has landed this one with its own.
        if landed := await self.landed(attempt):
            return landed
        if red := attempt.found_red:
            return refused(RefusedBy.GATE, views.why_red(read(GateResult, red)), more=dict(red))
        candidate, repository = attempt.candidate, self._services.repository
        assert candidate is not None, "an intent to land names its candidate"
        title = views.subject(attempt.task)
        if requests := repository.requests:
            name, text = f"{attempt.edit}-{attempt.id}", views.request_text(attempt)
            opened = await requests.open(name, attempt.edited.head, title, text)
            return StepResult(Kind.OPENED, {**opened})
        done: Landed | Moved | None = None
        if not attempt.gate.affected:
            done = await repository.land(candidate, attempt=str(attempt.id), reason=title)
        if isinstance(done, Landed):
            return StepResult(Kind.LANDED, asdict(done))
        if landed := await self.landed_by_others(attempt):
            return landed
        together = await self._together(attempt)
        moved = done or Moved(expected=candidate.onto, actual=await repository.get_main_commit())
        return together or StepResult(Kind.MOVED, asdict(moved))

    async def settle(self, attempt: History) -> StepResult:
        """Find out whether main was moved before the attempt was called off, once and for all."""
        if landed := await self.landed(attempt, settle=True):
            return landed
        if attempt.has(Kind.OPENED):
            landed = await self.follow(attempt, "it was called off")
            if landed and landed.kind == Kind.LANDED:
                return landed
        if attempt.last == Kind.WITHDRAWN:
            return StepResult(Kind.RETURNED, dict(attempt.data(Kind.WITHDRAWN)))
        return refused(attempt.refusal.by, attempt.refusal.reason, final=True)

    async def landed_by_others(self, attempt: History) -> StepResult | None:
        """Return the landing of an attempt that others have stacked, once and for all.

        Asked when main has moved, since the turn is a courtesy: they may have done it just now.
        """
        fresh = History(await self._services.journal.events(attempt.id))
        if not any(one.kind == STACKED for one in fresh.events):
            return None
        # While it is still to land, more may be about to stack it, and the next look tells.
        return await self.landed(fresh, settle=fresh.last != Kind.LANDING)

    async def follow(self, attempt: History, overdue: str) -> StepResult | None:
        """Return what became of a request to merge; None while nobody has decided.

        One that is `overdue`, in words, is closed.
        """
        opened, requests = attempt.data(Kind.OPENED), self._services.repository.requests
        if requests is None:  # the setting is another by now
            return None
        ends, mark = (attempt.edited.base, attempt.edited.head), views.mark(attempt)
        state, new = await requests.follow(opened, *ends, mark, close=bool(overdue))
        if state == "merged":
            return StepResult(Kind.LANDED, {"old": opened.get("onto"), "new": new})
        if state == "open" and not overdue:
            return None
        why = overdue or "its request was closed without being merged"
        by = RefusedBy.EXPIRED if overdue else RefusedBy.APPROVAL
        return refused(by, why, final=True, more={"request": opened.get("url")})

    async def landed(self, attempt: History, *, settle: bool = False) -> StepResult | None:
        """Return the landing if main holds a commit that was about to land for the attempt.

        With `settle` it does not land later either, whoever may be about to land it.
        """
        intents = attempt.intents
        new = await self._services.repository.landed([*intents], settle=settle)
        if not new:
            return None
        known = {name: value for name, value in intents[new].items() if name in ("top", "with")}
        return StepResult(Kind.LANDED, {"old": intents[new].get("onto"), "new": new, **known})

    async def _together(self, first: History) -> StepResult | None:
        """Land an attempt, upon main as it is now, with others that wait; None: do it alone.

        `first` is the lowest of the stack: whoever has the turn is never in vain tested again.
        """
        # What a person has approved of, main's tests would refuse again.
        asked = views.refused_by_base(first.gate)
        waiting = await self._waiting() if self._waiting and not asked else ()
        others = [one for one in waiting if one.id != first.id and stackable(one)]
        if not others and not first.gate.affected:
            return None
        stack = await self._stack([first, *others])
        # Asked now that it is settled upon which main they stand: moves it, nothing is swapped.
        if landed := await self.landed_by_others(first):
            return landed
        if not stack or (len(stack) == 1 and not first.gate.affected):
            return None
        named = ", ".join(str(one.attempt.id) for one in stack)
        self._say(first.id, Step.TEST, f"attempts {named} together")
        return await self._land(first, stack)

    async def _stack(self, attempts: Sequence[History]) -> list[_Stacked]:
        """Merge attempts one upon the other, as many as land together.

        Who conflicts with those below is left out, and who has landed with others without knowing
        it yet. Empty where already the first does not merge.
        """
        stack: list[_Stacked] = []
        repository, onto = self._services.repository, ""
        for one in attempts:
            if len(stack) == self._size:
                break
            # Behind the first merge: main is then at the commit that they stand upon, or moves.
            if stack and len(one.intents) > 1 and await self.landed(one):
                continue
            # Another machine's, which has recorded it where both can reach it, or cannot.
            if stack and not await repository.has(one.worktrees[-1], one.edited.head):
                continue
            change = await repository.change(one.edited.base, one.edited.head, diff_limit=0)
            made = await repository.candidate(change, views.landing_message(one), onto=onto)
            if not isinstance(made, Conflict):
                stack.append(_Stacked(one, made))
                onto = made.commit
            elif not stack:
                break
        return stack

    async def _land(self, first: History, stack: list[_Stacked]) -> StepResult | None:
        """Test the stack from its top, land what is green; return what became of the first."""
        landed: StepResult | None = None
        size = red = len(stack)
        told: GateReport | None = None  # of the smallest part of the stack that is red
        while stack:
            part = stack[:size]
            onto, top = part[0].candidate.onto, part[-1].candidate
            whole = Candidate(commit=top.commit, tree=top.tree, onto=onto, head=top.head)
            strict = any(one.attempt.data(Kind.JUDGED).get("strict") is True for one in part)
            report = await self._services.repository.test(whole, strict=strict)
            if report.environment:  # the machine's fault says nothing of the others
                if landed or not first.gate.affected:
                    return landed
                facts = facts_of(views.gate_result(report, part[0].candidate))
                return refused(RefusedBy.GATE, report.reason, more=facts)
            if report.passed:
                # Landed at once, not when all is found out: main may move meanwhile.
                done = await self._swap(whole, part)
                if done is None:
                    return landed  # main moved, or one was called off: begin anew
                landed = landed or StepResult(Kind.LANDED, done)
                # What is left stands upon the commit that main is at now.
                stack, red = stack[size:], red - size
            else:
                red, told = size, report
            if told is not None and red == 1:
                # It alone is red upon main.
                blamed, gate = stack[0].attempt, views.gate_result(told, stack[0].candidate)
                await self._note_red(blamed, gate)
                if blamed.id != first.id:
                    return landed
                return refused(RefusedBy.GATE, views.why_red(gate), more=facts_of(gate))
            size = red // 2 if told is not None else red
        return landed

    async def _swap(self, whole: Candidate, part: Sequence[_Stacked]) -> Facts | None:
        """Move main to the top of what was tested; return the landing of the lowest."""
        journal, repository = self._services.journal, self._services.repository
        numbers = [one.attempt.id for one in part]
        more: Facts = {"top": whole.commit, "with": list(numbers)} if len(part) > 1 else {}
        # Stored first, and in each history: after a crash git and these tell who has landed.
        for one in part:
            await journal.append(one.attempt.id, STACKED, {**asdict(one.candidate), **more})
        done = await repository.land(
            whole,
            attempt=str(numbers[-1]),
            reason=f"attempts {', '.join(map(str, numbers))}",
            group=[(str(one.attempt.id), one.candidate) for one in part],
            still=lambda: may_land(self._services, numbers),
        )
        if isinstance(done, Moved):
            return None
        lowest = part[0].candidate
        return {"old": lowest.onto, "new": lowest.commit, "checkout": done.checkout, **more}

    async def _note_red(self, blamed: History, gate: GateResult) -> None:
        """Note that the stack is red with an attempt, and what its affected tests had missed."""
        append, affected = self._services.journal.append, blamed.gate.affected
        await append(blamed.id, FOUND_RED, facts_of(gate))
        # A test that ran alone and was green there is red by what it met on main: no miss.
        missed = [node for node in gate.failing if node.partition("::")[0] not in affected]
        if affected and missed:
            await append(blamed.id, MISSED, {"tests": [*missed], "affected": [*affected]})


def stackable(attempt: History) -> bool:
    """Return whether an attempt may land with others: it is green and nobody stands by for it.

    What main's own tests refuse, and a person has approved, is tested by itself: the group's test
    would refuse it again.
    """
    waits = attempt.last == Kind.LANDING and decide(attempt) is Step.SWAP
    return waits and not attempt.found_red and not views.refused_by_base(attempt.gate)


async def may_land(services: Services, attempts: Sequence[int]) -> bool:
    """Return whether none of the attempts was called off since it was to land."""
    journal = services.journal
    histories = [History(await journal.events(one)) for one in attempts]
    return all(one.last == Kind.LANDING for one in histories)
