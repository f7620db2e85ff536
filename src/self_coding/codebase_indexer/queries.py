"""What the stored index tells about a task: reads the rows each pure step needs, in order.

Blocking, and only reading: one `Database.read()` of the caller spans a whole answer, so that all
of it is of one state. Ranking itself is in `relevance` and `evidence`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from self_coding.codebase_indexer import commits, evidence, lexical, mentions, relevance, store
from self_coding.codebase_indexer.evidence import Definition, Vote
from self_coding.codebase_indexer.mentions import Mentions
from self_coding.codebase_indexer.relevance import Ranked
from self_coding.codebase_indexer.summary import Outline

_VOTERS = 40  # past commits that vote
_ASKED = 400  # past commits looked at: age and files that are gone leave fewer
_NEWEST = 200  # commits whose files are known as lately changed
_NAMES = 150  # names of a task whose definitions are looked up


def relevant(
    connection: sqlite3.Connection,
    task: str,
    *,
    weights: Mapping[str, float] = relevance.WEIGHTS,
    files: Sequence[store.File] | None = None,
) -> list[Ranked]:
    """The files of the index that a task concerns, best first; empty when no word of it, no name
    and no path stands in the code. `files` are all of them, where they have been read."""
    read = mentions.read(task)
    files = store.files(connection) if files is None else files
    code = frozenset(file.id for file in files if not file.is_test)
    places = evidence.Places(files)
    asked = lexical.query(read)
    signals = _lexical(connection, asked)
    signals["mentions"] = evidence.of_mentions(read, places)
    if not any(signals.values()):
        return []
    signals["definitions"] = evidence.of_definitions(_definitions(connection, read, code))
    tests = {file.id for file in files if file.is_test}
    voters = evidence.best_tests(signals["words"], frozenset(tests))
    signals["tests"] = evidence.of_tests(voters, _imports(connection, voters, code))
    present = {file.path: file.id for file in files}
    ages = commits.ages(connection)
    if weights.get("history"):
        votes = _votes(connection, read, present, ages)
        signals["history"] = evidence.of_votes(votes, present)
    lately = evidence.lately(_lately(connection, present, ages), len(asked.spoken))
    named = _named(read, places)
    return relevance.rank(files, signals, named=named, lately=lately, weights=weights)


def _lexical(connection: sqlite3.Connection, asked: lexical.Query) -> dict[str, evidence.Scores]:
    """What the full text says of the task's words, names and phrases."""
    live = store.versions(connection)
    lookups = {
        "words": (asked.spoken, lexical.EVERYWHERE, ""),
        "title": (asked.title, lexical.EVERYWHERE, ""),
        "code": (asked.code, lexical.EVERYWHERE, ""),
        "names": (asked.spoken, lexical.IN_NAMES, "names"),
        "paths": (asked.title, lexical.IN_PATH, "path"),
        "references": (asked.names, lexical.IN_BODY, "body"),
        "phrases": (asked.phrases, lexical.IN_BODY, "body"),
    }
    return {
        signal: _matches(connection, live, terms, weights, field)
        for signal, (terms, weights, field) in lookups.items()
    }


def _matches(
    connection: sqlite3.Connection,
    live: Mapping[int, int],
    terms: Sequence[str],
    weights: Sequence[float],
    field: str,
) -> dict[int, float]:
    """File id -> weighted BM25 of the files that hold any of the terms (in one field, if given).

    Rows are told live from dead here: a join would look through all files for each row. A file
    that holds terms only in fields that count nothing is left out.
    """
    if not terms:
        return {}
    either = " OR ".join(store.quoted(term) for term in terms)
    score = f"-bm25(words, {', '.join(str(float(weight)) for weight in weights)})"
    rows = connection.execute(
        f"SELECT rowid, {score} FROM words WHERE words MATCH ?",  # noqa: S608 - numbers of ours
        (f"{field} : ({either})" if field else either,),
    )
    return {live[row]: value for row, value in rows if value > 0 and row in live}


def _definitions(
    connection: sqlite3.Connection, task: Mentions, code: frozenset[int]
) -> Iterable[Definition]:
    for name, weight in list(task.identifiers.items())[:_NAMES]:
        found = store.definitions(connection, name).keys() & code
        if found:
            yield Definition(name, weight, frozenset(found))


def _imports(
    connection: sqlite3.Connection, sources: Iterable[int], code: frozenset[int]
) -> dict[int, list[int]]:
    """The files that each of a few files imports."""
    targets = store.targets(connection, sources)
    return {
        source: [target for target in found if target in code] for source, found in targets.items()
    }


def _votes(
    connection: sqlite3.Connection,
    task: Mentions,
    present: Mapping[str, int],
    ages: Mapping[int, int],
) -> list[Vote]:
    """The past commits most like the task, their files under their present names."""
    found = commits.alike(connection, lexical.message_words(task), limit=_ASKED)
    alike = [(evidence.aged(score, ages[number]), number) for number, score in found]
    votes: list[Vote] = []
    for score, number in sorted(alike, reverse=True):
        paths = tuple(_present_paths(connection, number, present))
        if paths:
            votes.append(Vote(score, ages[number], paths))
        if len(votes) == _VOTERS:
            break
    return votes


def _present_paths(
    connection: sqlite3.Connection, number: int, present: Mapping[str, int]
) -> Iterable[str]:
    for path in commits.paths_of(connection, [number])[number]:
        now = path if path in present else commits.renamed(connection, path, number)
        if now is not None and now in present:
            yield now


def _lately(
    connection: sqlite3.Connection, present: Mapping[str, int], ages: Mapping[int, int]
) -> dict[int, int]:
    """File id -> how many commits ago it was touched last, of what the newest commits touched.

    No renames to follow: a commit that moves a file touches it under its new name.
    """
    newest = [number for number, age in ages.items() if age < _NEWEST]
    last: dict[int, int] = {}
    for number, paths in commits.paths_of(connection, newest).items():
        for path in paths:
            if path in present:
                last[present[path]] = min(ages[number], last.get(present[path], _NEWEST))
    return last


def _named(task: Mentions, places: evidence.Places) -> frozenset[int]:
    """Tests whose path the task gives in so many words."""
    return frozenset(
        file.id
        for path in task.paths
        if path.endswith(".py")
        for file in places.of_path(path)[0]
        if file.is_test
    )


def outlines(connection: sqlite3.Connection, task: str | None = None) -> list[Outline]:
    """Every file with its heads, and how much the repository and the task lean on it."""
    symbols = store.symbols(connection)
    importers = Counter(target for _, target in store.pairs(connection))
    changes = evidence.changes(commits.touched(connection), commits.ages(connection))
    files = store.files(connection)
    ranked = relevant(connection, task, files=files) if task and task.strip() else []
    best = max((each.score for each in ranked), default=0.0)
    task_share = {each.file.id: max(0.0, each.score) / best for each in ranked if best > 0}
    return [
        Outline(
            path=each.path,
            is_test=each.is_test,
            lines=each.lines,
            symbols=symbols[each.id],
            importers=importers[each.id],
            changes=changes.get(each.path, 0.0),
            relevance=task_share.get(each.id, 0.0),
        )
        for each in files
    ]
