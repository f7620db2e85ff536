"""CodebaseIndexer: what the repository's code is, who needs whom, what a task concerns.

Every question first makes sure that the index speaks of the working tree as it is now. Public
methods are async and keep the event loop free; the blocking work is in `freshness`, which writes
the index, and in `blast`, `module` and `search`, which answer from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar, overload

from self_coding.adapters import threads
from self_coding.adapters.db import Database
from self_coding.adapters.git import git_directories
from self_coding.adapters.paths import database_path
from self_coding.codebase_indexer import blast, history, module, search
from self_coding.codebase_indexer.blast import Snapshot
from self_coding.codebase_indexer.freshness import refresh
from self_coding.codebase_indexer.impact import changed_paths
from self_coding.codebase_indexer.opening import Cache
from self_coding.codebase_indexer.quiet import no_collections
from self_coding.codebase_indexer.store import Counts
from self_coding.codebase_indexer.users import users
from self_coding.errors import IndexerError
from self_coding.values.code import (
    BlindSpot,
    Dependent,
    Impact,
    ModuleInfo,
    RelevantFile,
    SymbolUsers,
)

T = TypeVar("T")


class CodebaseIndexer:
    """Answers questions about the Python code of one repository, never from a stale index.

    Args:
        repo_path: the folder whose code is meant; the working directory when None.
        db_path: the index's file; in the repository's git common directory when None.
        src_dirs: only code below these folders; all of it when None.
    """

    def __init__(
        self,
        repo_path: str | Path | None = None,
        db_path: str | Path | None = None,
        src_dirs: Sequence[str] | None = None,
    ) -> None:
        self.repo_path = Path(repo_path or ".").resolve()
        self.db_path = Path(db_path) if db_path is not None else default_path(self.repo_path)
        self.src_dirs = None if src_dirs is None else [str(each) for each in src_dirs]
        self._cache = Cache(self.db_path, ours=db_path is None)

    async def index_all(self) -> dict[str, int]:
        """Index every file with both tiers; unchanged ones are skipped."""
        return _counted(await threads.in_thread(self._ask, self._remembered, tier2=True))

    async def index_changed(self) -> dict[str, int]:
        """Index what has changed since the last time, with both tiers."""
        return _counted(await threads.in_thread(self._ask, self._remembered, tier2=True))

    async def refresh(self) -> dict[str, int]:
        """Bring tier 1 up to the working tree, as every question does before it answers."""
        return _counted(await threads.in_thread(self._ask, _nothing))

    async def get_module_info(self, path: str) -> ModuleInfo | None:
        """What one file holds; None when it is no file of the index."""
        wanted = self._relative(path)
        return await threads.in_thread(self._answer, lambda snap: module.info(snap, wanted))

    async def get_dependency_chain(self, path: str) -> list[str]:
        """The files that depend on `path`, nearest first, without `path` itself."""
        return [each.path for each in await self.dependents(path)]

    async def dependents(self, path: str) -> list[Dependent]:
        """The files that depend on `path`, with their distance and what they reach it through."""
        wanted = self._relative(path)
        found = await threads.in_thread(self._answer, lambda snap: snap.graph.dependents([wanted]))
        return [each for each in found if each.path != wanted]

    async def impact(
        self,
        paths: Sequence[str] | None = None,
        diff: str | None = None,
    ) -> Impact:
        """What a change can break: dependents, tests that reach it, blind spots, a risk.

        Args:
            paths: the changed files, Python or not.
            diff: a unified diff that names them instead.

        Raises:
            IndexerError: neither is given.
        """
        if paths is None and diff is None:
            raise IndexerError("impact of what?", hint="give paths, or a diff")
        named = [self._relative(path) for path in paths or ()]
        wanted = list(dict.fromkeys([*named, *(changed_paths(diff) if diff else ())]))
        return await threads.in_thread(self._answer, lambda snap: blast.impact(snap, wanted))

    async def affected_tests(self, paths: Sequence[str]) -> list[str]:
        """The test files to run after changing `paths`, nearest first."""
        return list((await self.impact(paths)).tests)

    async def blind_spots(self) -> list[BlindSpot]:
        """Every line that static analysis cannot follow, by path and line."""
        return await threads.in_thread(self._answer, lambda snap: snap.blind_spots())

    async def users_of(self, symbol: str, path: str | None = None) -> SymbolUsers:
        """Who uses a function, class or `Class.method`; what is not certain is said to be unknown.

        Where the name stands in thousands of files that import no definition of it, some of them
        are read, and the others named.

        Args:
            symbol: its name.
            path: the file that defines it, where several do.

        Raises:
            IndexerError: nothing of this name is defined (there).
        """
        home = None if path is None else self._relative(path)
        return await threads.in_thread(self._answer, lambda snap: users(snap, symbol, home))

    async def has_test_coverage(self, path: str) -> bool:
        """Whether a test covers `path`: by import, or by its name."""
        wanted = self._relative(path)
        found = await threads.in_thread(
            self._answer, lambda snap: blast.covering_test(snap, wanted)
        )
        return found is not None

    @overload
    async def get_relevant_files(
        self, task_description: str, limit: int = 5, *, explain: Literal[False] = False
    ) -> list[str]: ...
    @overload
    async def get_relevant_files(
        self, task_description: str, limit: int = 5, *, explain: Literal[True]
    ) -> list[RelevantFile]: ...
    async def get_relevant_files(
        self, task_description: str, limit: int = 5, *, explain: bool = False
    ) -> list[str] | list[RelevantFile]:
        """The files that a task concerns, best first; empty when no word of it is in the code.

        With `explain`, each with its score and what spoke for it, as `relevant` gives them.
        """
        found = await self.relevant(task_description, limit)
        return found if explain else [each.path for each in found]

    async def relevant(self, task: str, limit: int = 5) -> list[RelevantFile]:
        """The files that a task concerns, best first, with scores and what spoke for each."""
        return await threads.in_thread(
            self._ask_database,
            lambda database: search.relevant_files(database, self.repo_path, task, limit),
        )

    async def get_summary(self, max_tokens: int = 4000, task: str | None = None) -> str:
        """The code in at most `max_tokens`: all files, then names, what is leaned on first."""
        return await threads.in_thread(
            self._ask_database,
            lambda database: search.summarize(database, self.repo_path, max_tokens, task),
        )

    def close(self) -> None:
        """Close the index's file; the next question opens it again."""
        self._cache.close()

    def _ask(self, work: Callable[[Database, Counts], T], *, tier2: bool = False) -> T:
        """Bring the index up to the tree, then ask it; a broken index is rebuilt and asked."""

        def both(database: Database) -> T:
            counts = refresh(database, self.repo_path, self.src_dirs, tier2=tier2)
            return work(database, counts)

        return self._cache.use(both)

    def _remembered(self, database: Database, counts: Counts) -> Counts:
        """Git's history read while indexing, as far back as it is used."""
        history.refresh(database, self.repo_path, step=history.DEPTH)
        return counts

    def _ask_database(self, work: Callable[[Database], T]) -> T:
        return self._ask(lambda database, _: work(database))

    def _answer(self, work: Callable[[Snapshot], T]) -> T:
        def read(database: Database) -> T:
            with no_collections(), database.read() as connection:
                return work(Snapshot(connection, self.repo_path))

        return self._ask_database(read)

    def _relative(self, path: str) -> str:
        """A path as the index names it: relative to the repository, with "/"."""
        given = Path(path)
        if given.is_absolute() and given.is_relative_to(self.repo_path):
            given = given.relative_to(self.repo_path)
        return given.as_posix()


def default_path(repo_path: Path) -> Path:
    """Where the index of `repo_path` lies: beside the journal; each working tree has its own."""
    found = git_directories(repo_path)
    if found is not None and found.top == repo_path and (repo_path / ".git").is_dir():
        return database_path(repo_path, "index.db")
    name = hashlib.sha256(str(repo_path).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return database_path(repo_path, f"index-{name}.db")


def _nothing(database: Database, counts: Counts) -> Counts:
    del database
    return counts


def _counted(counts: Counts) -> dict[str, int]:
    return {"indexed": counts.indexed, "failed": counts.failed, "skipped": counts.skipped}
