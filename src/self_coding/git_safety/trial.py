"""Run some tests of a commit, or of the working tree: nothing is judged, kept or landed."""

from __future__ import annotations

from collections.abc import Sequence

from self_coding.adapters.git import decode
from self_coding.adapters.threads import in_thread
from self_coding.git_safety import objects
from self_coding.git_safety.landing import gate_of
from self_coding.git_safety.recovery import operation_lock
from self_coding.git_safety.repository import Repository
from self_coding.git_safety.tree_state import exact_git, read_tree_state
from self_coding.values.repository import Commit
from self_coding.values.verdicts import GateSettings, Trial


class Trials:
    """Runs tests of one repository's commits and of its working tree."""

    def __init__(self, repo: Repository, settings: GateSettings, limit: int) -> None:
        self._repo = repo
        self._settings = settings
        self._limit = limit

    async def working_commit(self) -> str:
        """Return a commit of the working tree as it is; the same one for the same content."""
        return await in_thread(working_commit, self._repo, self._limit)

    async def try_tests(self, commit: str, tests: Sequence[str]) -> Trial:
        """Return how these tests of a commit end, contained; nothing is judged or kept."""
        return await in_thread(try_tests, self._repo, self._settings, commit, tests)

    async def first_parents(self, count: int) -> list[Commit]:
        """Return the commits that the branch of HEAD was moved to, newest first."""
        return await in_thread(first_parents, self._repo, count)


def working_commit(repo: Repository, limit: int) -> str:
    """Return a commit of the working tree, byte for byte; the same one for the same content.

    No ref holds it: git forgets it by itself.
    """
    with operation_lock(repo, "look"):  # the private index is of all processes
        head = repo.head()
        tree = read_tree_state(exact_git(repo), repo, limit).tree
        return objects.write_commit(
            repo.git,
            repo.object_format,
            tree=tree,
            parents=[head.commit] if head.commit else [],
            message="the working tree, looked at",
            at=0.0,
        )


def try_tests(repo: Repository, settings: GateSettings, commit: str, tests: Sequence[str]) -> Trial:
    """Return how these tests of a commit end, in the sandbox; a runner of another kind runs all."""
    gate = gate_of(repo, settings, exact=True)
    record = gate.try_tests(commit, tests)
    failing = record.report.failures
    if not failing and record.exit_status:
        failing = (settings.command,)  # it names no test
    said = "it ran into its time limit" if record.timed_out else record.exceeded
    return Trial(
        failing=failing,
        ran=sum("::" in one.id for one in record.report.results),
        output=record.output[-4000:],
        reason=said,
    )


def first_parents(repo: Repository, count: int) -> list[Commit]:
    """Return the commits that HEAD's branch was moved to, newest first."""
    words = ("log", "--first-parent", f"--max-count={count}", "--format=%H%x1f%an%x1f%s", "HEAD")
    done = repo.git.run(*words, "--", ok=(0, 128))
    rows = decode(done.stdout, errors="replace").splitlines()
    return [Commit(*row.split("\x1f", 2)) for row in rows if row.count("\x1f") >= 2]
