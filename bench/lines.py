"""The functions that a commit changed, inside of a context: ours beside what peers do.

Used by `localize.py --lines`. The truth is Python's own tree and git's own diff: a function counts
as shown where every changed line of it is inside of a span that is shown. Each row has the same
budget, in tokens of four characters, of source text alone. BM25 ranks the functions of all files
that are no tests; the word search shows the lines around those that hold most words of the task.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from math import log
from pathlib import Path
from typing import Any

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import passages, ranking, search
from self_coding.codebase_indexer.task_parser import parse_task
from self_coding.languages import is_source, is_test

BUDGET = 4000
Spans = dict[str, list[tuple[int, int]]]


def measured(row: dict[str, Any], database: Database, root: Path) -> Iterator[tuple[str, dict]]:
    """Each tool's share of the changed functions; nothing where the commit changed none."""
    truth = changed(row, root)
    if not truth:
        return
    task = row["task"]
    told = {"repo": row["repo"], "kind": row["kind"], "cpu": 0.0}
    found = search.relevant_files(database, root, task, 5, BUDGET)
    ours = {each.path: [(span.start, span.end) for span in each.spans] for each in found}
    yield "relevant, spans", {**told, **_share(ours, truth)}
    texts = {
        path.relative_to(root).as_posix(): path.read_text("utf-8", "replace")
        for path in root.rglob("*.py")
        if is_source(path.name)
    }
    code = {
        path: text
        for path, text in texts.items()
        if not is_test(path) and not ranking.is_auxiliary(path)
    }
    yield "BM25 over functions", {**told, **_share(bm25(task, code), truth)}
    yield "word search, lines around", {**told, **_share(word_search(task, code), truth)}


def changed(row: dict[str, Any], root: Path) -> list[tuple[str, frozenset[int]]]:
    """File and changed lines of each function that the commit changed, as they were before."""
    hunks = row.get("hunks") or _hunks(root, row["base_commit"], row["commit"], row["files"])
    found = []
    for path, ranges in hunks.items():
        lines = {at for start, many in ranges for at in range(start, start + max(many, 1))}
        for start, end in _functions((root / path).read_text("utf-8", "replace")):
            if inside := lines & {*range(start, end + 1)}:
                found.append((path, frozenset(inside)))
    return found


def _functions(text: str) -> Iterator[tuple[int, int]]:
    try:
        waiting: list[ast.AST] = [ast.parse(text)]
    except (SyntaxError, ValueError):
        return
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                heads = [node.lineno, *(each.lineno for each in node.decorator_list)]
                yield min(heads), node.end_lineno or 0
            else:
                waiting.append(node)


def _hunks(root: Path, base: str, commit: str, files: list[str]) -> dict[str, list[list[int]]]:
    argv = ["git", "-C", str(root), "diff", "-U0", "--no-renames", base, commit, "--", *files]
    text = subprocess.run(argv, check=True, capture_output=True).stdout.decode("utf-8", "replace")
    hunks: dict[str, list[list[int]]] = defaultdict(list)
    path = ""
    for line in text.split("\n"):
        if line.startswith("--- a/"):
            path = line[6:]
        elif match := re.match(r"@@ -(\d+)(?:,(\d+))? ", line):
            hunks[path].append([int(match[1]), int(match[2] or 1)])
    return hunks


def _share(spans: Spans, truth: list[tuple[str, frozenset[int]]]) -> dict[str, float]:
    shown = {
        path: {at for start, end in each for at in range(start, end + 1)}
        for path, each in spans.items()
    }
    whole = [lines <= shown.get(path, set()) for path, lines in truth]
    some = [bool(lines & shown.get(path, set())) for path, lines in truth]
    return {"functions": sum(whole) / len(truth), "touched": sum(some) / len(truth)}


def bm25(task: str, code: dict[str, str]) -> Spans:
    """The functions whose words are most those of the task, with the usual constants."""
    read = parse_task(task)
    asked = Counter(passages.asked_words(f"{read.title}\n{read.prose}\n{read.code}"))
    pieces = [one for path, text in code.items() for one in passages.cut(path, text) if one.name]
    holders: Counter[str] = Counter()
    for one in pieces:
        holders.update(one.words.keys())
    usual = sum(one.words.total() for one in pieces) / max(1, len(pieces))

    def score(one: passages.Passage) -> float:
        total = 0.0
        for word in asked.keys() & one.words.keys():
            rare = log(1 + (len(pieces) - holders[word] + 0.5) / (holders[word] + 0.5))
            held = one.words[word]
            total += rare * held * 2.2 / (held + 1.2 * (0.25 + 0.75 * one.words.total() / usual))
        return total

    ranked = sorted(pieces, key=score, reverse=True)
    return _filled((one.path, one.start, one.end, one.tokens - 8) for one in ranked if score(one))


def word_search(task: str, code: dict[str, str], around: int = 5) -> Spans:
    """The lines around those that hold most words of the task, as one greps for them."""
    read = parse_task(task)
    words = {each.lower() for each in re.findall(r"\w{4,}", f"{read.title} {read.prose}")}
    found = []
    for path, text in code.items():
        rows = text.split("\n")
        for at, line in enumerate(rows, 1):
            if held := words & {*re.findall(r"\w{4,}", line.lower())}:
                start, end = max(1, at - around), min(len(rows), at + around)
                size = sum(len(each) + 1 for each in rows[start - 1 : end]) // 4
                found.append((-len(held), path, start, end, size))
    return _filled(each[1:] for each in sorted(found))


def _filled(ranked: Iterable[tuple[str, int, int, int]]) -> Spans:
    left, spans = BUDGET, defaultdict(list)
    for path, start, end, size in ranked:
        if size <= left:
            left -= size
            spans[path].append((start, end))
    return spans
