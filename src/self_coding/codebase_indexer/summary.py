"""The code in few words: every file, then classes and functions, what is leaned on most first.

Pure: outlines in, a text out that never counts more than its budget. The order in which things
are worth telling is one list of lines; as many of its first ones as fit are shown, in the order
of reading. It holds names, no source text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import NamedTuple

from self_coding.codebase_indexer.store import SymbolRow
from self_coding.retrieval import estimate_tokens

_PATHS = 0.55  # share of the budget that names of files may take
_METHODS_AFTER = 2.0  # a file's methods are told when files twice as far down tell their heads


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One file as the summary sees it.

    `changes` is how much git's history changed it lately, `importers` how many files import it,
    `relevance` what a task's ranking gave it, at most 1.
    """

    path: str
    is_test: bool = False
    heads: tuple[SymbolRow, ...] = ()
    importers: int = 0
    changes: float = 0.0
    relevance: float = 0.0


class _Line(NamedTuple):
    """One line and what decides whether it is told: the lower the rank, the sooner."""

    rank: float
    place: tuple[int, int, int]
    text: str


def write(
    modules: Sequence[Outline],
    max_tokens: int,
    count: Callable[[str], int] = estimate_tokens,
) -> str:
    """A text about all modules that counts at most `max_tokens`, however small that is."""
    tests = sum(module.is_test for module in modules)
    title = "# Codebase Summary"
    total = f"Total modules: {len(modules)}" + (f" ({tests} of them tests)" if tests else "")
    lines = [_Line(-3, (0, 0, 0), title), _Line(-2, (0, 1, 0), total)]
    ranked = sorted(modules, key=_leaning(modules))
    lines += _directories(modules, ranked, int(max_tokens * _PATHS), count)
    lines += _code(ranked)
    lines.sort()
    return _longest(lines, max_tokens, count)


def _longest(lines: Sequence[_Line], budget: int, count: Callable[[str], int]) -> str:
    """The text of as many first lines as fit, in the order of reading."""
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_joined(lines[:middle])) <= budget:
            low = middle
        else:
            high = middle - 1
    return _joined(lines[:low]) if low else _cut(lines[0].text, budget, count)


def _joined(lines: Iterable[_Line]) -> str:
    return "\n".join(line.text for line in sorted(lines, key=lambda line: line.place))


def _cut(text: str, budget: int, count: Callable[[str], int]) -> str:
    while text and count(text) > budget:
        text = text[:-1]
    return text


def _leaning(modules: Sequence[Outline]) -> Callable[[Outline], tuple[bool, float, str]]:
    """The order of telling: code before tests, the task's files, then what is leaned on."""
    most = {
        "changes": max((module.changes for module in modules), default=0) or 1,
        "importers": max((module.importers for module in modules), default=0) or 1,
    }

    def key(module: Outline) -> tuple[bool, float, str]:
        weight = module.changes / most["changes"]
        weight += 0.3 * log2(1 + module.importers) / log2(1 + most["importers"])
        weight += 3 * module.relevance
        return module.is_test, -weight, module.path

    return key


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name.removesuffix(".py")


def _directories(
    modules: Sequence[Outline],
    ranked: Sequence[Outline],
    budget: int,
    count: Callable[[str], int],
) -> list[_Line]:
    """A line for each directory with the names of its files, tests only counted.

    Where not every name fits, the directories leaned on least say how many files they have.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    order: dict[str, None] = {}
    for module in ranked:
        if not module.is_test:
            order[_split(module.path)[0]] = None
    for module in modules:
        if not module.is_test and (module.heads or not module.path.endswith("/__init__.py")):
            folder, name = _split(module.path)
            folders[folder].append(name)
    full = {folder: _named(folder, sorted(names)) for folder, names in folders.items()}
    shown = _fitting([(f, full[f]) for f in order if f in full], budget, count)
    lines = [_Line(-1.5, (1, 0, 0), "\n## Files")]
    for place, folder in enumerate(sorted(full)):
        text = full[folder] if folder in shown else _counted(folder, len(folders[folder]))
        lines.append(_Line(-1 if folder in shown else 1e5, (1, 1, place), text))
    tested = _test_folders(module.path for module in modules if module.is_test)
    if tested:
        lines.append(_Line(-0.5, (1, 2, 0), "tests: " + ", ".join(tested)))
    return lines


def _fitting(
    lines: Sequence[tuple[str, str]], budget: int, count: Callable[[str], int]
) -> set[str]:
    """The folders whose lines fit together, first ones first."""
    shown: set[str] = set()
    used = 0
    for folder, text in lines:
        used += count(text + "\n")
        if used > budget:
            break
        shown.add(folder)
    return shown


def _named(folder: str, names: Sequence[str]) -> str:
    return f"{folder}/: {' '.join(names)}" if folder else f"./: {' '.join(names)}"


def _counted(folder: str, files: int) -> str:
    return f"{folder or '.'}/: {files} module{'s' if files > 1 else ''}"


def _test_folders(paths: Iterable[str]) -> list[str]:
    """Where the tests lie and how many there are: the highest folder of tests stands for all."""
    folders: dict[str, int] = defaultdict(int)
    for path in paths:
        parts = path.split("/")[:-1]
        end = next((i for i, part in enumerate(parts, 1) if "test" in part), len(parts))
        folders["/".join(parts[:end]) or "."] += 1
    most = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{folder}/ ({files})" for folder, files in most[:12]]
    return told + ([f"{len(most) - 12} more folders"] if len(most) > 12 else [])


def _code(ranked: Sequence[Outline]) -> list[_Line]:
    """The heads of each file: a line for the file, one for each class, one for the functions."""
    lines: list[_Line] = []
    told = [module for module in ranked if module.heads and not module.is_test]
    for rank, module in enumerate(told, 1):
        lines += _heads(module, rank)
    if lines:
        lines.append(_Line(0, (2, 0, 0), "\n## Classes and functions, most leaned on first"))
    return lines


def _heads(module: Outline, rank: int) -> list[_Line]:
    methods = _methods(module.heads)
    lines = [_Line(rank, (2, rank, 0), module.path)]
    functions = [h.name for h in module.heads if not h.parent and h.kind != "class"]
    classes = [head for head in module.heads if not head.parent and head.kind == "class"]
    for place, head in enumerate(classes, 1):
        own = methods.get(head.name, ())
        text = f"  class {head.name}" + (f": {' '.join(own)}" if own else "")
        lines.append(_Line(rank + 0.2, (2, rank, place), text))
    if functions:
        text = f"  def {' '.join(dict.fromkeys(functions))}"
        lines.append(_Line(rank + 0.1, (2, rank, len(classes) + 1), text))
    return lines


def _methods(heads: Iterable[SymbolRow]) -> Mapping[str, list[str]]:
    """The methods of each class at the top level, special ones left out."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for head in heads:
        if head.parent and "." not in head.parent and not head.name.startswith("__"):
            found[head.parent][head.name] = None
    return {name: list(methods) for name, methods in found.items()}
