"""What is open, as the journal tells it: left so by a crash, or waiting for somebody.

Going on with it is the runner's ordinary loop; this module only finds where to begin.
"""

from __future__ import annotations

from self_coding.self_edit.history import History
from self_coding.self_edit.lifecycle import Step, decide
from self_coding.self_edit.rooms import Journal
from self_coding.values.edits import Waiting


async def interrupted(journal: Journal, *, asking: bool = False) -> list[int]:
    """The leaders of open self-edits that wait for nobody, oldest first.

    Whether a process is at one of them right now is told by its lease, not by the journal. With
    `asking`, those that wait for approval are among them, since somebody can be asked.
    """
    leaders: dict[str, int] = {}
    for attempt in sorted(await journal.unfinished()):
        history = History(await journal.events(attempt))
        if history.edit and not _waits_for_somebody(history, asking=asking):
            leaders.setdefault(history.edit, history.leader)
    return list(leaders.values())


async def waiting(journal: Journal) -> list[Waiting]:
    """The attempts that go on when their caller submits, or when a person approves; newest first.

    Of several side by side only the chosen one asks.
    """
    found = []
    for attempt in sorted(await journal.unfinished(), reverse=True):
        history = History(await journal.events(attempt))
        for_what = _WAITS.get(decide(history.events)) if history.edit else None
        if for_what:
            found.append(waits_for(history, for_what))
    return found


def waits_for(history: History, what: str) -> Waiting:
    """An attempt that has not ended, as it is told to people."""
    trees = history.worktrees
    return Waiting(
        attempt=history.attempt,
        task=history.task,
        since=history.events[0].at,
        waiting=what,
        path=str(trees[-1].path) if trees else "",
    )


_WAITS: dict[Step | None, str] = {Step.SUBMIT: "submit", Step.APPROVE: "approval"}


def _waits_for_somebody(history: History, *, asking: bool) -> bool:
    """Whether no process has to go on with it: the caller edits, or a person is to answer."""
    if history.of > 1:
        return False
    step = decide(history.events)
    return step is Step.SUBMIT or (step is Step.APPROVE and not asking)
