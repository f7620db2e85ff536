"""The guard of main: what may be pushed, and what moved main past it.

Where our pre-push hook is installed, main is meant to move by landings alone. Commits that came
since the last landing in another way (a plain commit, a pull, an amended landing) are reported and
recorded on that landing's attempt, once. Nothing is undone, nobody is stopped, and the attempt's
outcome stays what it was. A main that was only moved back holds no such commit and is not seen.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from self_coding.adapters import git
from self_coding.adapters.paths import FOLDER
from self_coding.adapters.threads import in_thread
from self_coding.errors import GitOperationError
from self_coding.hooks.install import is_guarded

if TYPE_CHECKING:
    from self_coding.app import App

BYPASSED = "bypassed"  # the kind of the event
_MOST = 100  # commits that are looked at
_OURS = ("land", "merge", "undo", "redo", "rollback")  # our operations that may move main


@dataclass(frozen=True)
class PushVerdict:
    """Whether a push may go on, and why not."""

    allowed: bool
    reason: str = ""


async def before_push(app: App, lines: str) -> PushVerdict:
    """Return whether main may be pushed: each new tip needs a receipt of a tested landing.

    Args:
        app: the repository's services.
        lines: what git gives a pre-push hook: "local-ref local-id remote-ref remote-id" a line.
    """
    main = f"refs/heads/{app.git.main_branch}"
    for line in lines.splitlines():
        parts = line.split()
        # A deletion pushes zeros: there is no commit to have a receipt.
        if len(parts) != 4 or parts[2] != main or set(parts[1]) == {"0"}:
            continue
        if not await app.git.has_receipt(parts[1]):
            reason = f"{parts[1][:12]} reached {app.git.main_branch} without a tested landing"
            return PushVerdict(False, reason)
    return PushVerdict(True)


@dataclass(frozen=True)
class Bypass:
    """Commits that reached main without a tested landing, newest first."""

    attempt: int
    branch: str
    commits: tuple[str, ...]

    def __str__(self) -> str:
        """Return the finding in one line."""
        count = len(self.commits)
        many = f"{count} commits" if count > 1 else "1 commit"
        since = f"since attempt {self.attempt} landed"
        return f"{many} reached {self.branch} untested {since}: {self.commits[0][:12]}"


async def note_bypass(app: App) -> Bypass | None:
    """Return what moved main past the guard since the last landing, if it is not yet on record.

    It is on record afterwards, as an event of the attempt that landed last.
    """
    if not await in_thread(is_guarded, app.top):
        return None
    from self_coding.git_safety.receipts import read_receipts

    receipts = await in_thread(read_receipts, app.common / FOLDER)
    main = f"refs/heads/{app.git.main_branch}"
    # Receipts of landings elsewhere, on another branch, say nothing of main.
    for last in reversed(receipts):
        landing = None
        with suppress(GitOperationError):
            landing = await app.git.explain(last.landed)
        on_main = landing is None or any(ref == main for ref, *_ in landing.refs)
        if on_main and last.attempt.isdigit():
            break
    else:
        return None
    attempt = int(last.attempt)
    events = await app.journal.events(attempt)
    recorded = [str(event.data.get("tip")) for event in events if event.kind == BYPASSED]
    # The first parents are what main was moved to; what came by a merge is that merge's.
    words = ["rev-list", "--first-parent", "--ignore-missing", f"--max-count={_MOST}", main]
    # Ids read from files are never options: each has a caret before it.
    words += [*(f"^{end}" for end in (last.landed, *recorded)), "--"]
    listed = await in_thread(git.run, words, cwd=app.top)
    commits = []
    for commit in git.decode(listed.stdout).split():
        operation = await app.git.explain(commit)
        # An operation of ours may have made the commit, and yet a person moved main to it.
        if (
            operation is None
            or operation.kind not in _OURS
            or not any((ref, new) == (main, commit) for ref, _, new in operation.refs)
        ):
            commits.append(commit)
    if not commits or not events:
        return None
    await app.journal.append(attempt, BYPASSED, {"tip": commits[0], "commits": list(commits)})
    return Bypass(attempt, app.git.main_branch, tuple(commits))
