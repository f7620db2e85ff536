"""Go on with an attempt that another machine began: what of it can be had here?

Commits outlive a machine where they were pushed, worktrees never do. What is stored says how far
an attempt came; the two events here say from where it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from self_coding.self_edit.history import History, Kind
from self_coding.self_edit.step_results import StepResult

if TYPE_CHECKING:
    from self_coding.git_safety import GitSafety

_IN_WORKTREE = frozenset({Kind.ISOLATED, Kind.EDITING, Kind.WRITTEN})
_IN_COMMITS = frozenset(
    {Kind.EDITED, Kind.JUDGED, Kind.TESTED, Kind.CHOSEN, Kind.APPROVED, Kind.MOVED, Kind.LANDING}
)


async def adopted(repository: GitSafety, attempt: History) -> StepResult | None:
    """Return the event by which an attempt goes on here; None where all of it is at hand.

    A caller's edit is where its caller is, and goes on nowhere else.
    """
    last, places = attempt.last, attempt.worktrees
    if attempt.plan.caller or not places or last not in _IN_WORKTREE | _IN_COMMITS:
        return None
    head = "" if last in _IN_WORKTREE else attempt.edited.head
    if not await repository.has(places[-1], head):
        return StepResult(Kind.RESTARTED, {"after": last})
    candidate = attempt.candidate if head else None
    if candidate is None or await repository.has(places[-1], candidate.commit):
        return None
    if not attempt.landing_open:
        return StepResult(Kind.ADOPTED, {"after": last})
    # The candidate is the dead machine's, unless it has landed, which main tells by the edit, too.
    if await repository.landed([*attempt.intents, head]):
        return StepResult(Kind.LANDED, {"old": candidate.onto, "new": candidate.commit})
    main = await repository.get_main_commit()
    return StepResult(Kind.MOVED, {"expected": candidate.onto, "actual": main})
