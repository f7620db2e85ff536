"""Main moved past the guard: found at the next start and written into the journal, once.

Where our pre-push guard is installed, main is meant to move by landings alone. Commits that came
since the last landing in another way (a plain commit, a pull, an amended landing) are told and
recorded on that landing's attempt. Nothing is undone, nobody is stopped, and the attempt's
outcome stays what it was. A main that was only moved back holds no such commit and is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from self_coding.adapters.git import git_directories
from self_coding.adapters.paths import FOLDER
from self_coding.adapters.threads import in_thread
from self_coding.app import App
from self_coding.git_safety.receipts import read_receipts
from self_coding.hooks.install import is_guarded
from self_coding.values.verdicts import Receipt

BYPASSED = "bypassed"  # the kind of the event
_MOST = 100  # commits that are looked at
_OURS = ("land", "merge", "undo", "redo", "rollback")  # our operations that may move main


@dataclass(frozen=True)
class Bypass:
    """Commits that reached main without a tested landing, newest first."""

    attempt: int
    branch: str
    commits: tuple[str, ...]

    def __str__(self) -> str:
        """The finding in one line."""
        count = len(self.commits)
        many = f"{count} commits" if count > 1 else "1 commit"
        since = f"since attempt {self.attempt} landed"
        return f"{many} reached {self.branch} untested {since}: {self.commits[0][:12]}"


async def note_bypass(app: App) -> Bypass | None:
    """What moved main past the guard since the last landing, if it is not yet on record.

    It is on record afterwards, as an event of the attempt that landed last.
    """
    last = await in_thread(_last_landing, app)
    if last is None:
        return None
    attempt = int(last.attempt)
    events = await app.journal.events(attempt)
    known = [str(event.data.get("tip")) for event in events if event.kind == BYPASSED]
    found = await _commits_since(app, [last.landed, *known])
    if not found or not events:
        return None
    told = Bypass(attempt, app.git.main_branch, tuple(found))
    await app.journal.append(attempt, BYPASSED, {"tip": found[0], "commits": list(found)})
    return told


def _last_landing(app: App) -> Receipt | None:
    """The receipt of the newest landing of an attempt; None without one, and without the guard."""
    found = git_directories(app.top)
    if found is None or not is_guarded(app.top):
        return None
    receipts = read_receipts(found.common / FOLDER)
    return next((one for one in reversed(receipts) if one.attempt.isdigit()), None)


async def _commits_since(app: App, ends: list[str]) -> list[str]:
    """Commits on main's first-parent line beyond `ends` that no operation of ours put there."""
    main = f"refs/heads/{app.git.main_branch}"
    # Ids read from files are never options: each stands behind a caret.
    listed = await app.git._run_git(
        "rev-list", "--first-parent", "--ignore-missing", f"--max-count={_MOST}", main,
        *(f"^{end}" for end in ends), "--",
    )  # fmt: skip
    found = []
    for commit in listed.stdout.split():
        operation = await app.git.explain(commit)
        moved_main = operation is not None and any(
            (ref, new) == (main, commit) for ref, _, new in operation.refs
        )
        if not (operation and moved_main and operation.kind in _OURS):
            found.append(commit)
    return found
