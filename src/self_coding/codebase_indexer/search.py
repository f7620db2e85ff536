"""Answer from the index which files a task concerns, and describe the code in few words.

Blocking. The caller has brought the index up to the working tree; git's history is brought up to
HEAD here, because nothing else needs it. One `Database.read()` spans a whole answer, so that all
of it is of one state. What each fact counts is decided in `ranking`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import commits, history, passages, ranking, store, summary
from self_coding.codebase_indexer.links import left_out
from self_coding.codebase_indexer.lookup import ROOMS, Corpus, Lookup, Scored, Search
from self_coding.codebase_indexer.ranking import Ranked
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
    database: Database,
    repo_path: Path,
    task: str,
    limit: int,
    max_tokens: int = 0,
    corpus: Callable[[sqlite3.Connection], Corpus | None] = lambda connection: None,
) -> list[RelevantFile]:
    """Return the files that a task concerns, best first, with what spoke for each.

    With `max_tokens`, their functions and lines in so many; files that hold some come beside the
    limit. `corpus` returns what is kept of all files, if anything is.
    """
    if limit <= 0:
        return []
    history.refresh(database, repo_path)
    with database.read() as connection:
        most = max(limit, passages.FILES if max_tokens else 0)
        ranked = rank_files(connection, task, corpus=corpus(connection), limit=most)
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
    corpus: Corpus | None = None,
    limit: int | None = None,
) -> list[Ranked]:
    """Return the files of the index that a task concerns, best first, at most `limit`.

    It is empty when no word, name or path of the task occurs in the code, whatever history says.
    `corpus` is what is known of all files, if the caller has read them. With a limit, files that
    cannot be among the first are not looked at; those that are given are the same.
    """
    task = parse_task(text)
    corpus = corpus or Corpus(store.files(connection), store.versions(connection))
    lookups = _lookups(task)
    mentions = ranking.score_mentions(task, corpus.matcher)
    definitions = ranking.score_definitions(
        (weight, corpus.code.intersection(store.definitions(connection, name, corpus.live)))
        for name, weight in list(task.identifiers.items())[:_NAMES]
    )
    ages = commits.commit_ages(connection)
    votes = _votes(connection, task, corpus.present, ages) if weights.get("history") else ()
    past = ranking.score_votes(votes, corpus.present)
    changes = _last_changes(connection, corpus.present, ages)
    recency = ranking.score_recency(changes, len(lookups["words"].terms))
    newest = sorted(changes, key=changes.__getitem__)
    sparse = {*mentions, *definitions, *past, *newest[:_NEWEST]}
    late = max((recency[file] for file in newest[_NEWEST:]), default=0.0)
    tests = corpus.tests - (named := corpus.matcher.named_tests(task))
    search = Search(connection, corpus, lookups)

    def rank(scored: Scored) -> list[Ranked]:
        signals = {
            **scored.scores,
            "mentions": mentions,
            "definitions": definitions,
            "tests": _of_tests(connection, corpus, search, scored),
            "history": past,
        }
        return ranking.rank(
            corpus.by_id,
            signals,
            named=named,
            recency=recency,
            weights=weights,
            limit=limit,
            among=scored.chosen,
        )

    for room in ROOMS if limit is not None else ():
        if (scored := search.bounded(room, sparse)) is None:
            continue
        ranked = rank(scored)
        if len(ranked) == limit and ranked[-1].file.id not in tests:
            more = weights.get("recency", 0.0) * late
            near = scored.further(ranked[-1].score, more, weights, tests)
            if near is not None:
                search.add(scored, near)
                return rank(scored) if near else ranked
    scored = search.everything()
    # Past commits and recency speak for files whatever is asked; a task must match code first.
    return rank(scored) if mentions or any(scored.scores.values()) else []


def _lookups(task: Task) -> dict[str, Lookup]:
    """Return what is looked up for a task, by the names of signals."""
    terms = search_terms(task)
    return {
        "words": Lookup(terms.spoken, _EVERYWHERE),
        "title": Lookup(terms.title, _EVERYWHERE),
        "code": Lookup(terms.code, _EVERYWHERE),
        "names": Lookup(terms.spoken, _IN_NAMES, "names"),
        "paths": Lookup(terms.title, _IN_PATH, "path"),
        "references": Lookup(terms.names, _IN_BODY, "body"),
        "phrases": Lookup(terms.phrases, _IN_BODY, "body"),
    }


def _of_tests(
    connection: sqlite3.Connection, corpus: Corpus, search: Search, scored: Scored
) -> ranking.Scores:
    """Return what the tests most like the task say of the files they import; these are chosen."""
    best = ranking.best_tests(scored.scores["words"], corpus.tests)
    least = (
        min(best.values()) if len(best) == ranking.TESTS else max(best.values(), default=0.0) / 2
    )
    search.add_tests(scored, "words", least)
    best = ranking.best_tests(scored.scores["words"], corpus.tests)
    imports = {test: sorted(corpus.code & store.targets(connection, test)) for test in best}
    scores = ranking.score_tests(best, imports)
    search.add(scored, scores.keys() - scored.chosen)
    return scores


def _votes(
    connection: sqlite3.Connection,
    task: Task,
    present: Mapping[str, int],
    ages: Mapping[int, int],
) -> list[tuple[float, tuple[str, ...]]]:
    """Return the past commits most like the task: likeness, files under their present names."""

    def present_paths(commit: int) -> Iterable[str]:
        for path in commits.paths_of_commit(connection, commit):
            # A commit names files as they were called then.
            name = path if path in present else commits.renamed_path(connection, path, commit)
            if name is not None and name in present:
                yield name

    # Votes fade with age, so the best by words are not the best yet.
    alike = commits.commits_like(connection, message_words(task), limit=_CANDIDATES)
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
        for path in commits.paths_of_commit(connection, commit) if age < _NEWEST else ():
            if path in present:
                last[present[path]] = min(age, last.get(present[path], _NEWEST))
    return last


def _outlines(connection: sqlite3.Connection, task: str | None) -> list[Outline]:
    """Return every file with its heads, and how much the repository and the task lean on it."""
    symbols = store.symbols(connection)
    importers = Counter(target for _, target in store.pairs(connection))
    changes = ranking.score_changes(
        commits.touched_paths(connection), commits.commit_ages(connection)
    )
    files = store.files(connection)
    corpus = Corpus(files, store.versions(connection))
    ranked = rank_files(connection, task, corpus=corpus) if task and task.strip() else []
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
