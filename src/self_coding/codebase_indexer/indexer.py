"""CodebaseIndexer: what the repository's code is, who needs whom, what a task concerns.

Every question first makes sure that the index speaks of the working tree as it is now. Public
methods are async and keep the event loop free; the blocking work is in `update` and `store`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from self_coding.adapters import threads
from self_coding.adapters.db import Database
from self_coding.adapters.places import database_path, git_directories
from self_coding.codebase_indexer import orientation, store, update
from self_coding.codebase_indexer.graph import Graph
from self_coding.codebase_indexer.update import Counts
from self_coding.retrieval import words
from self_coding.values.code import ModuleInfo, RelevantFile


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
        self._database = Database(
            self.db_path,
            application=store.APPLICATION,
            migrations=store.MIGRATIONS,
            durable=False,
        )

    async def index_all(self) -> dict[str, int]:
        """Index every file with both tiers; unchanged ones are skipped."""
        return _counted(await threads.in_thread(self._refresh, tier2=True))

    async def index_changed(self) -> dict[str, int]:
        """Index what has changed since the last time, with both tiers."""
        return _counted(await threads.in_thread(self._refresh, tier2=True))

    async def refresh(self) -> dict[str, int]:
        """Bring tier 1 up to the working tree, as every question does before it answers."""
        return _counted(await threads.in_thread(self._refresh))

    async def get_dependency_chain(self, path: str) -> list[str]:
        """The files that depend on `path`, nearest first, without `path` itself."""
        return await threads.in_thread(self._chain, path)

    async def get_relevant_files(self, task_description: str, limit: int = 5) -> list[str]:
        """The files that a task concerns, best first; empty when no word of it is in the code."""
        return [found.path for found in await self.relevant(task_description, limit)]

    async def relevant(self, task: str, limit: int = 5) -> list[RelevantFile]:
        """The files that a task concerns, best first, with scores and what spoke for each."""
        return await threads.in_thread(self._relevant, task, limit)

    async def get_summary(self, max_tokens: int = 4000, task: str | None = None) -> str:
        """The code in at most `max_tokens`: all files, then names, what is leaned on first."""
        return await threads.in_thread(self._summary, max_tokens, task)

    def close(self) -> None:
        """Close the index's file; the next question opens it again."""
        self._database.close()

    def _refresh(self, *, tier2: bool = False) -> Counts:
        return update.refresh(self._database, self.repo_path, self.src_dirs, tier2=tier2)

    def _relevant(self, task: str, limit: int) -> list[RelevantFile]:
        self._refresh()
        return orientation.relevant(self._database, self.repo_path, task, limit)

    def _summary(self, max_tokens: int, task: str | None) -> str:
        self._refresh()
        return orientation.summarise(self._database, self.repo_path, max_tokens, task)

    def _chain(self, path: str) -> list[str]:
        self._refresh()
        with self._database.read() as connection:
            paths = {each.id: each.path for each in store.files(connection)}
            edges = [(each.source, each.target) for each in store.edges(connection)]
        return [each.path for each in Graph(paths, edges).dependents([path])]


def default_path(repo_path: Path) -> Path:
    """Where the index of `repo_path` lies: beside the journal; each working tree has its own."""
    found = git_directories(repo_path)
    if found is not None and found[0] == repo_path and (repo_path / ".git").is_dir():
        return database_path(repo_path, "index.db")
    name = hashlib.sha256(str(repo_path).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return database_path(repo_path, f"index-{name}.db")


def _counted(counts: Counts) -> dict[str, int]:
    return {"indexed": counts.indexed, "failed": counts.failed, "skipped": counts.skipped}
