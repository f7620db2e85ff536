"""CodebaseIndexer: what the repository's code is, who needs whom, what a task concerns.

Every question first makes sure that the index speaks of the working tree as it is now, or as it
was at a look that is young enough for whoever asks. Public methods are async and keep the event
loop free; the blocking work is in `refresh`, which writes the index, and in `reader`, `users` and
`search`, which answer from it.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar, overload

from self_coding.adapters import threads
from self_coding.adapters.db import Database
from self_coding.adapters.paths import database_path, git_directories
from self_coding.codebase_indexer import history, reader
from self_coding.codebase_indexer.reader import IndexReader
from self_coding.codebase_indexer.refresh import Cache, gc_paused, refresh
from self_coding.errors import IndexerError
from self_coding.text import diff_paths
from self_coding.values.code import (
    BlindSpot,
    Dependent,
    Impact,
    ImportGraph,
    ModuleInfo,
    RelevantFile,
    SymbolUsers,
)

T = TypeVar("T")


class CodebaseIndexer:
    """Answers questions about the code of one repository, never from a stale index.

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
        self._reader: IndexReader | None = None  # of the last question, and its state of the index
        self._looked = -math.inf  # when the working tree was looked at last

    async def index_all(self) -> dict[str, int]:
        """Index every file, its parser's verdict and git's history; unchanged ones are skipped."""
        return await threads.in_thread(self._refresh, parse=True)

    index_changed = index_all  # unchanged files are known by their hash either way

    async def refresh(self) -> dict[str, int]:
        """Bring the index up to the working tree, as every question does before it answers."""
        return await threads.in_thread(self._refresh, parse=False)

    async def get_module_info(self, path: str) -> ModuleInfo | None:
        """Return what one file holds, None when it is not in the index."""
        relative = self._relative(path)
        return await self._read(lambda index: reader.module_info(index, relative))

    async def get_dependency_chain(self, path: str) -> list[str]:
        """Return the files that depend on `path`, nearest first, without `path` itself."""
        return [each.path for each in await self.dependents(path)]

    async def graph(self, *, max_age: float = 0.0) -> ImportGraph:
        """Return who imports whom, of all files, as at most `max_age` seconds ago."""
        return await self._read(lambda index: index.graph.value, max_age)

    async def dependents(self, path: str) -> list[Dependent]:
        """Return the files that depend on `path`, with distance and what they reach it through."""
        relative = self._relative(path)
        dependents = await self._read(lambda index: index.graph.dependents([relative]))
        return [each for each in dependents if each.path != relative]

    async def impact(
        self,
        paths: Sequence[str] | None = None,
        diff: str | None = None,
        *,
        uses: bool = False,
        max_age: float = 0.0,
    ) -> Impact:
        """Return what a change can break: dependents, tests that reach it, blind spots, a risk.

        Args:
            paths: the changed files, source code or not.
            diff: a unified diff that names them instead.
            uses: tell of each dependent which of their names stand in it.
            max_age: seconds for which the last look at the working tree is good enough.

        Raises:
            IndexerError: neither is given.
        """
        if paths is None and diff is None:
            raise IndexerError("no paths and no diff were given", hint="give paths, or a diff")
        named = [self._relative(path) for path in paths or ()]
        changed = list(dict.fromkeys([*named, *diff_paths(diff or "")]))

        def ask(index: IndexReader) -> Impact:
            found = reader.impact(index, changed)
            return reader.with_uses(index, found) if uses else found

        return await self._read(ask, max_age)

    async def affected_tests(self, paths: Sequence[str]) -> list[str]:
        """Return the test files to run after changing `paths`, nearest first."""
        return list((await self.impact(paths)).tests)

    async def blind_spots(self) -> list[BlindSpot]:
        """Return every line that static analysis cannot follow, by path and line."""
        return await self._read(lambda index: [*index.blind_spots])

    async def symbol_users(self, symbol: str, path: str | None = None) -> SymbolUsers:
        """Return who uses a function, class or `Class.method`; what is not certain is apart.

        Where the name is in thousands of files that import no definition of it, some of them are
        read, and the others named.

        Args:
            symbol: its name.
            path: the file that defines it, where several do.

        Raises:
            IndexerError: nothing of this name is defined (there).
        """
        home = None if path is None else self._relative(path)
        from self_coding.codebase_indexer.references import find_users

        return await self._read(lambda index: find_users(index, symbol, home))

    users_of = symbol_users  # the old name, until 0.2

    async def has_test_coverage(self, path: str) -> bool:
        """Return whether a test covers `path`, by import or by its name."""
        relative = self._relative(path)
        test = await self._read(lambda index: reader.covering_test(index, relative))
        return test is not None

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

        With `explain`, each with its score and what spoke for it, as `relevant_files` gives them.
        """
        found = await self.relevant_files(task_description, limit)
        return found if explain else [each.path for each in found]

    async def relevant_files(
        self, task: str, limit: int = 5, *, spans: bool = False, max_tokens: int = 4000
    ) -> list[RelevantFile]:
        """Return the files that a task concerns, best first, with what spoke for each.

        With `spans`, the functions and lines of them that matter most, with their code, in at
        most `max_tokens`; files that hold such lines are named beyond the limit.
        """
        from self_coding.codebase_indexer import search

        room = max_tokens if spans else 0
        return await self._ask(
            lambda database: search.relevant_files(
                database, self.repo_path, task, limit, room, lambda c: self._kept(c).corpus
            )
        )

    relevant = relevant_files  # the old name, until 0.2

    async def get_summary(self, max_tokens: int = 4000, task: str | None = None) -> str:
        """Return the code in at most `max_tokens`: all files, then names, the most used first."""
        from self_coding.codebase_indexer import search

        return await self._ask(
            lambda database: search.summarize(database, self.repo_path, max_tokens, task)
        )

    def close(self) -> None:
        """Close the index's file; the next question opens it again."""
        self._reader = None
        self._cache.close()

    def _refresh(self, *, parse: bool) -> dict[str, int]:
        def work(database: Database) -> dict[str, int]:
            counts = refresh(database, self.repo_path, self.src_dirs, parse=parse)
            if parse:
                history.refresh(database, self.repo_path, step=history.DEPTH)
            return counts._asdict()

        return self._cache.use(work)

    async def _ask(self, question: Callable[[Database], T], max_age: float = 0.0) -> T:
        """Ask an index that is as the working tree; one that is damaged is rebuilt and asked."""

        def work(database: Database) -> T:
            began = time.monotonic()
            if began - self._looked >= max_age:
                refresh(database, self.repo_path, self.src_dirs)
                self._looked = began
            return question(database)

        return await threads.in_thread(self._cache.use, work)

    async def _read(self, question: Callable[[IndexReader], T], max_age: float = 0.0) -> T:
        """Ask one state of the index."""

        def work(database: Database) -> T:
            with gc_paused(), database.read() as connection:
                return question(self._kept(connection))

        return await self._ask(work, max_age)

    def _kept(self, connection: sqlite3.Connection) -> IndexReader:
        """Return what was read of the index, if it is still as it was."""
        kept = self._reader
        if kept is None or not kept.is_of(connection):
            kept = self._reader = IndexReader(connection, self.repo_path)
        return kept

    def _relative(self, path: str) -> str:
        """Return a path as the index names it: relative to the repository, with "/"."""
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
