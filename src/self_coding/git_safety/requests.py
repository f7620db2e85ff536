"""Landing by request: a branch at the remote, a request to merge it, and what became of it.

Nothing here merges. What was merged is believed of main alone: it holds the commit, or one whose
message names the attempt, whatever way it was merged.
"""

from __future__ import annotations

from collections.abc import Mapping

from self_coding.adapters import forges, remote_git
from self_coding.adapters.git import decode
from self_coding.adapters.remote_git import Answer
from self_coding.adapters.threads import in_thread
from self_coding.errors import GitOperationError, RemoteUnreachableError
from self_coding.git_safety import remote_landing
from self_coding.git_safety.remote_landing import Remote
from self_coding.git_safety.repository import Repository

BRANCHES = "self-coding"  # what the branches of requests begin with, before a slash


class Requests:
    """The requests of one remote to merge into `repo`'s main branch."""

    def __init__(self, repo: Repository, remote: Remote) -> None:
        self._repo = repo
        self._remote = remote

    async def open(self, name: str, head: str, title: str, text: str) -> dict[str, str | int]:
        """Push a branch and ask to merge it; asked again after a crash, it is the same request.

        Raises:
            GitOperationError: the remote refused the branch.
            RemoteUnreachableError: the remote or its forge did not answer.
        """

        def work() -> dict[str, str | int]:
            branch = f"{BRANCHES}/{name}"
            pushed = self._remote.push(self._repo, (f"refs/heads/{branch}", None, head))
            shown = remote_git.shown(self._remote.name)
            if pushed.answer is Answer.REFUSED:
                why = pushed.said or "; ".join(pushed.reasons.values())
                raise GitOperationError(f"{shown} refused the branch {branch}: {why}")
            if pushed.answer is not Answer.DONE:
                hint = "nothing was lost: `resume` goes on"
                raise RemoteUnreachableError(f"{shown} did not take a branch", hint=hint)
            made = self._project().open(branch, self._repo.main, title, text)
            onto = self._repo.branch(self._repo.main)
            return {"url": made.url, "number": made.number, "branch": branch, "onto": onto}

        return await in_thread(work)

    async def follow(
        self, opened: Mapping[str, object], base: str, head: str, mark: str, *, close: bool
    ) -> tuple[str, str]:
        """Return how a request stands ("open", "merged", "closed"), and the commit on main.

        Args:
            opened: what `open` told of it.
            base: main's commit below the change.
            head: the change's own commit.
            mark: a line of the messages of its commits.
            close: close it where it is open still.

        Raises:
            RemoteUnreachableError: the remote or its forge did not answer.
        """

        def work() -> tuple[str, str]:
            repo, number = self._repo, int(str(opened.get("number", 0)))
            request = self._project().look(number)
            if request.state == "open" and close:
                self._project().close(number)
            # After the forge's word: what it says is merged is on main by then.
            tips = remote_landing.fetch(repo, self._remote)
            words = ("log", "--format=%H", "--fixed-strings", f"--grep={mark}", "--max-count=1")
            found = decode(repo.git.run(*words, f"{base}..{tips.main}", "--").stdout).strip()
            known = [head, *filter(None, (found, request.commit))]
            new = remote_landing.held(repo, tips, known)
            if new:
                remote_landing.sync(repo, self._remote)
                return "merged", new
            return ("closed" if close or request.state == "closed" else "open"), ""

        return await in_thread(work)

    def _project(self) -> forges.Project:
        remote, cwd = self._remote, self._repo.common
        how = {"forge": remote.forge, "api": remote.api}
        return forges.project(remote.url(self._repo), cwd=cwd, seconds=remote.seconds, **how)
