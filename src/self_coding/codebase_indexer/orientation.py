"""The two answers that orient a reader: which files a task concerns, and the code in few words.

Blocking. The caller has brought the index up to the working tree; git's history is brought up to
HEAD here, because nothing else needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import history, queries, summary
from self_coding.retrieval import estimate_tokens
from self_coding.values.code import RelevantFile

_START = 2_000  # bytes of a file that its docstring's first sentence lies in


def relevant(database: Database, repo_path: Path, task: str, limit: int) -> list[RelevantFile]:
    """The files that a task concerns, best first, with what spoke for each."""
    if limit <= 0:
        return []
    history.refresh(database, repo_path)
    with database.read() as connection:
        ranked = queries.relevant(connection, task)[:limit]
    return [
        RelevantFile(path=each.file.path, score=round(each.score, 4), reasons=each.reasons())
        for each in ranked
    ]


def summarise(
    database: Database,
    repo_path: Path,
    max_tokens: int,
    task: str | None = None,
    count: Callable[[str], int] = estimate_tokens,
) -> str:
    """The code in at most `max_tokens`, what the repository (or the task) leans on first."""
    history.refresh(database, repo_path)
    with database.read() as connection:
        modules = queries.outlines(connection, task)
    return summary.write(modules, max_tokens, count, lambda path: _purpose(repo_path / path))


def _purpose(path: Path) -> str:
    """What a file says it is for; empty when it does not or cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return ""
    return summary.purpose(start.decode("utf-8", "replace").lstrip("\ufeff").replace("\r", ""))
