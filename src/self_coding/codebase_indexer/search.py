"""Answer from the index which files a task concerns, and describe the code in few words.

Blocking. The caller has brought the index up to the working tree; git's history is brought up to
HEAD here, because nothing else needs it. One `Database.read()` spans a whole answer, so that all
of it is of one state. What each fact counts is decided in `ranking`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import history, passages, ranking, store, summary
from self_coding.codebase_indexer.links import left_out
from self_coding.codebase_indexer.ranking import PathMatcher, Ranked
from self_coding.codebase_indexer.summary import Outline
from self_coding.codebase_indexer.task_parser import (
    Task,
    message_words,
    parse_task,
    search_terms,
)
from self_coding.languages import language_of
from self_coding.retrieval import estimate_tokens
from self_coding.values.code import CodeSpan, RelevantFile

# What one occurrence counts in path, names, docstrings, body: the order of `store.FIELDS`.
_EVERYWHERE = (4.0, 2.0, 1.5, 1.0)
_IN_PATH = (1.0, 0.0, 0.0, 0.0)
_IN_NAMES = (0.0, 1.0, 0.0, 0.0)
_IN_BODY = (0.0, 0.0, 0.0, 1.0)

_VOTERS = 40  # past commits that vote
_CANDIDATES = 400  # past commits looked at: age and files that are gone leave fewer
_NEWEST = 200  # commits whose files count as recently changed
_NAMES = 150  # names of a task whose definitions are looked up
_SHOWN_BYTES = 1 << 19  # of a file whose functions are looked at
_DOCSTRING_BYTES = 2_000  # of a file, in which its docstring's first sentence ends


def relevant_files(
    database: Database, repo_path: Path, task: str, limit: int, max_tokens: int = 0
) -> list[RelevantFile]:
    """Return the files that a task concerns, best first, with what spoke for each.

    With `max_tokens`, their functions and lines in so many; files that hold some come beside the
    limit.
    """
    if limit <= 0:
        return []
    history.refresh(database, repo_path)
    with database.read() as connection:
        ranked = rank_files(connection, task)[: max(limit, passages.FILES if max_tokens else 0)]
    spans: dict[str, tuple[CodeSpan, ...]] = {}
    if max_tokens:
        paths = [each.file.path for each in ranked[: passages.FILES]]
        sources = {path: _read(repo_path / path, _SHOWN_BYTES) for path in paths}
        texts = {
            path: language_of(path).decode(source)
            for path, source in sources.items()
            if len(source) < _SHOWN_BYTES  # a longer one was made by a program
        }
        spans = passages.pack(parse_task(task), ranked[: passages.FILES], texts, max_tokens)
    return [
        RelevantFile(
            path=each.file.path,
            score=round(each.score, 4),
            reasons=each.reasons(),
            spans=spans.get(each.file.path, ()),
        )
        for at, each in enumerate(ranked)
        if at < limit or each.file.path in spans
    ]


def _read(place: Path, most: int) -> bytes:
    """Return the beginning of a file, nothing where it cannot be read."""
    try:
        with place.open("rb") as file:
            return file.read(most)
    except OSError:
        return b""


def summarize(
    database: Database,
    repo_path: Path,
    max_tokens: int,
    task: str | None = None,
    count: Callable[[str], int] = estimate_tokens,
) -> str:
    """Describe the code in at most `max_tokens`, what the repository (or task) leans on first."""
    history.refresh(database, repo_path)
    with database.read() as connection:
        modules, unread = _outlines(connection, task), left_out(connection)

    def purpose_of(path: str) -> str:
        # The head alone: what a module is for stands in its first lines.
        start = _read(repo_path / path, _DOCSTRING_BYTES)
        return summary.purpose(start.decode("utf-8", "replace").lstrip("\ufeff").replace("\r", ""))

    return summary.write(modules, max_tokens, count, purpose_of, unread)


def rank_files(
    connection: sqlite3.Connection,
    text: str,
    *,
    weights: Mapping[str, float] = ranking.WEIGHTS,
    files: Sequence[store.File] | None = None,
) -> list[Ranked]:
    """Return the files of the index that a task concerns, best first.

    It is empty when no word, name or path of the task occurs in the code, whatever history says.
    `files` are all of the index, if the caller has read them.
    """
    task = parse_task(text)
    terms = search_terms(task)
    files = store.files(connection) if files is None else files
    matcher = PathMatcher(files)
    live = store.versions(connection)
    lookups = {
        "words": (terms.spoken, _EVERYWHERE, ""),
        "title": (terms.title, _EVERYWHERE, ""),
        "code": (terms.code, _EVERYWHERE, ""),
        "names": (terms.spoken, _IN_NAMES, "names"),
        "paths": (terms.title, _IN_PATH, "path"),
        "references": (terms.names, _IN_BODY, "body"),
        "phrases": (terms.phrases, _IN_BODY, "body"),
    }
    signals = {
        name: store.match_words(connection, live, *lookup) for name, lookup in lookups.items()
    }
    signals["mentions"] = ranking.score_mentions(task, matcher)
    # Past commits and recency speak for files whatever is asked; a task must match code first.
    if not any(signals.values()):
        return []
    tests = frozenset(file.id for file in files if file.is_test)
    code = frozenset(file.id for file in files) - tests
    signals["definitions"] = ranking.score_definitions(
        (weight, code.intersection(store.definitions(connection, name)))
        for name, weight in list(task.identifiers.items())[:_NAMES]
    )
    best_tests = ranking.best_tests(signals["words"], tests)
    imports = {test: sorted(code & store.targets(connection, test)) for test in best_tests}
    signals["tests"] = ranking.score_tests(best_tests, imports)
    present = {file.path: file.id for file in files}
    ages = store.commit_ages(connection)
    if weights.get("history"):
        votes = _votes(connection, task, present, ages)
        signals["history"] = ranking.score_votes(votes, present)
    recency = ranking.score_recency(_last_changes(connection, present, ages), len(terms.spoken))
    return ranking.rank(
        files, signals, named=matcher.named_tests(task), recency=recency, weights=weights
    )


def _votes(
    connection: sqlite3.Connection,
    task: Task,
    present: Mapping[str, int],
    ages: Mapping[int, int],
) -> list[tuple[float, tuple[str, ...]]]:
    """Return the past commits most like the task: likeness, files under their present names."""

    def present_paths(commit: int) -> Iterable[str]:
        for path in store.paths_of_commit(connection, commit):
            # A commit names files as they were called then.
            name = path if path in present else store.renamed_path(connection, path, commit)
            if name is not None and name in present:
                yield name

    # Votes fade with age, so the best by words are not the best yet.
    alike = store.commits_like(connection, message_words(task), limit=_CANDIDATES)
    aged = [(ranking.discount_age(score, ages[commit]), commit) for commit, score in alike]
    votes: list[tuple[float, tuple[str, ...]]] = []
    for score, commit in sorted(aged, reverse=True):
        if paths := tuple(present_paths(commit)):
            votes.append((score, paths))
        if len(votes) == _VOTERS:
            break
    return votes


def _last_changes(
    connection: sqlite3.Connection, present: Mapping[str, int], ages: Mapping[int, int]
) -> dict[int, int]:
    """Return how many commits ago each file was touched last, of what the newest ones touched.

    There are no renames to follow: a commit that moves a file touches it under its new name.
    """
    last: dict[int, int] = {}
    for commit, age in ages.items():
        for path in store.paths_of_commit(connection, commit) if age < _NEWEST else ():
            if path in present:
                last[present[path]] = min(age, last.get(present[path], _NEWEST))
    return last


def _outlines(connection: sqlite3.Connection, task: str | None) -> list[Outline]:
    """Return every file with its heads, and how much the repository and the task lean on it."""
    symbols = store.symbols(connection)
    importers = Counter(target for _, target in store.pairs(connection))
    changes = ranking.score_changes(store.touched_paths(connection), store.commit_ages(connection))
    files = store.files(connection)
    ranked = rank_files(connection, task, files=files) if task and task.strip() else []
    best = max((each.score for each in ranked if not each.file.is_test), default=0.0)
    relevance = {each.file.id: each.score / best for each in ranked if best > 0}
    return [
        Outline(
            path=file.path,
            module=file.module,
            is_test=file.is_test,
            lines=file.lines,
            symbols=symbols[file.id],
            importers=importers[file.id],
            changes=changes.get(file.path, 0.0),
            relevance=relevance.get(file.id, 0.0),
        )
        for file in files
    ]
