"""The code in few words: every file, then classes and functions, what is leaned on most first.

Pure: outlines in, a text out that never counts more than its budget. The order in which things
are worth telling is one list of lines; as many of its first ones as fit are shown, in the order
of reading. It holds names, no source text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf, log2, sqrt
from typing import NamedTuple

from self_coding.codebase_indexer.packed import Symbol, unpack_symbols
from self_coding.codebase_indexer.relevance import is_aside
from self_coding.retrieval import estimate_tokens

_PATHS = 0.55  # share of the budget that the names of files may take
_LEGEND = (
    "What the code leans on most comes first. A folder names its files; a file its functions, "
    "then its classes, with methods behind a colon."
)
_FIRST = 256  # files whose names are looked at first: more than most budgets can tell
_DESCRIBED = 80  # files that are asked what they are for
_PURPOSES = 12  # so many files say what they are for before the others tell their names
_LEFTOVER = 1e6  # a rank after all names
_SENTENCE = 100
_DOCSTRING = re.compile(r"(?:[ \t\f]*(?:#[^\n]*)?\n)*[rRuU]?(?:\"\"\"|''')\s*([^\"]{8,400})")
_UNDERLINED = re.compile(r"\A[^\n]*\n[ \t]*([~=*^#-])\1{2,}[ \t]*(?:\n|\Z)")  # a heading
_RUN = 12  # names of one line: a long class is told in several steps
_IMPORTED = 0.3  # being imported by most, beside being changed most
_TASK = 1.0  # what a task's own files come before
_ASIDE = 0.3  # what a file beside the product counts: documentation, examples, tools
_BESIDE = 30  # so many folders beside the product are told, further ones are counted
_FILE = 40  # characters that a file costs before its first name
_METHODS = 3.0  # methods come when the functions and classes of three times as many files are told
_STEP = 0.06  # each further step of a file comes later, by this share of its rank


class Outline(NamedTuple):
    """One file as the summary sees it.

    `symbols` are its classes and functions, packed (`packed.unpack_symbols`).
    `changes` is how much git's history changed it lately, `importers` how many files import it,
    `relevance` what a task's ranking gave it, at most 1.
    """

    path: str
    is_test: bool = False
    lines: int = 1
    symbols: str = ""
    importers: int = 0
    changes: float = 0.0
    relevance: float = 0.0

    @property
    def length(self) -> int:
        """The characters that its names take, a space behind each."""
        heads = self.symbols.split("\n") if self.symbols else ()
        return sum([len(head.split("\t", 3)[2]) + 1 for head in heads])


class _Line(NamedTuple):
    """One line and what decides whether it is told: the lower the rank, the sooner.

    Of lines that have one place the last is told, which says more. A `name` is told on one line
    with the names next to it.
    """

    rank: float
    place: tuple[int, ...]
    text: str
    is_name: bool = False


def write(
    modules: Sequence[Outline],
    max_tokens: int,
    count: Callable[[str], int] = estimate_tokens,
    purpose_of: Callable[[str], str] = lambda path: "",
) -> str:
    """A text about all modules that counts at most `max_tokens`, however small that is.

    Args:
        modules: every file of the index.
        max_tokens: the budget.
        count: how many tokens a text has.
        purpose_of: what a file says it is for, by path; empty where it says nothing.
    """
    tests = [module for module in modules if module.is_test]
    total = f"Total modules: {len(modules)}" + (f" ({len(tests)} of them tests)" if tests else "")
    ranked = rank(modules)
    lines = [_Line(-9, (0,), "# Codebase Summary"), _Line(-8, (1,), total)]
    if ranked:
        lines.append(_Line(-2, (2,), _LEGEND))
    lines += _tests(tests)
    folders, places = _folders(ranked, int(max_tokens * _PATHS), count)
    lines += folders
    done, most = 0, _FIRST
    while True:
        lines += _files(ranked, done, most, places, purpose_of)
        text, first_left = _longest(sorted(lines), max_tokens, count)
        if most >= len(ranked) or first_left <= most:  # later files are told after these
            return text
        done, most = most, most * 4


def rank(modules: Sequence[Outline]) -> list[Outline]:
    """The files that are no tests, in the order in which they are worth telling."""
    return sorted((module for module in modules if not module.is_test), key=_leaning(modules))


def purpose(source: str) -> str:
    """What a file says it is for: the first sentence of its docstring, empty for none."""
    found = _DOCSTRING.match(source)
    if not found:
        return ""
    text = _UNDERLINED.sub("", found[1].partition("'''")[0].lstrip()).strip()
    paragraph = text.partition("\n\n")[0]
    sentence = " ".join(paragraph.split()).partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _SENTENCE else ""


def _longest(lines: Sequence[_Line], budget: int, count: Callable[[str], int]) -> tuple[str, float]:
    """The text of as many first lines as fit, in the order of reading; the next line's rank."""
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_joined(lines[:middle])) <= budget:
            low = middle
        else:
            high = middle - 1
    text = _joined(lines[:low]) if low else _cut(lines[0].text, budget, count)
    return text, lines[low].rank if low < len(lines) else inf


def _joined(lines: Iterable[_Line]) -> str:
    told = {line.place: line for line in lines}
    parts: list[str] = []
    after_name = False
    for _, line in sorted(told.items()):
        if line.is_name and after_name:
            parts[-1] += line.text[1:]
        else:
            parts.append(line.text)
        after_name = line.is_name
    return "\n".join(parts)


def _cut(text: str, budget: int, count: Callable[[str], int]) -> str:
    while text and count(text) > budget:
        text = text[:-1]
    return text


def _leaning(modules: Sequence[Outline]) -> Callable[[Outline], tuple[float, str]]:
    """The order of telling: the task's files, then those often changed and often imported.

    What a long file says is spread over many names, so that it counts less for each.
    """
    changes = max((module.changes for module in modules), default=0.0) or 1.0
    importers = log2(2 + max((module.importers for module in modules), default=0))

    def key(module: Outline) -> tuple[float, str]:
        leaned_on = log2(1 + module.importers) / importers
        weight = module.changes / changes + _IMPORTED * leaned_on
        if is_aside(module.path):
            weight *= _ASIDE
        share = weight / sqrt(module.length + _FILE)
        return -(share + _TASK * module.relevance), module.path

    return key


def _folders(
    ranked: Sequence[Outline], budget: int, count: Callable[[str], int]
) -> tuple[list[_Line], dict[str, int]]:
    """A line for each folder with the names of its files, and the places of these folders.

    Where not every name fits, the folders leaned on least only say how many files they have.
    """
    folders: dict[str, list[tuple[int, Outline]]] = defaultdict(list)
    for number, module in enumerate(ranked, 1):
        folders[_folder(module.path)].append((number, module))
    lines = _counted(folders)
    places: dict[str, int] = {}
    used = 0
    for place, (folder, files) in enumerate(folders.items()):
        names = " ".join(sorted(_stem(module.path) for _, module in files if module.lines))
        text = f"\n{folder or '.'}/: {names or '__init__'}"
        used += count(text)
        if used > budget:
            text = f"\n{folder or '.'}/: {len(files)} module{'s' if len(files) > 1 else ''}"
        lines.append(_Line(-1 if used <= budget else files[0][0] - 0.5, (4, place, 0), text))
        places[folder] = place
    return lines, places


def _files(
    ranked: Sequence[Outline],
    done: int,
    most: int,
    places: Mapping[str, int],
    purpose_of: Callable[[str], str],
) -> Iterator[_Line]:
    """What the files from number `done` to number `most` define, below their folders."""
    for number, module in enumerate(ranked[done:most], done + 1):
        place = places.get(_folder(module.path))
        if place is not None:
            purpose = purpose_of(module.path) if number <= _DESCRIBED else ""
            yield from _file(number, module, (4, place, number), purpose)


def _counted(folders: dict[str, list[tuple[int, Outline]]]) -> list[_Line]:
    """Takes out the folders beside the product that are too many, as those of hundreds of
    examples; a line for each place that holds them."""
    beside = [
        folder
        for folder, files in folders.items()
        if all(is_aside(module.path) for _, module in files)
    ]
    found: dict[str, list[list[tuple[int, Outline]]]] = defaultdict(list)
    for folder in beside[_BESIDE:]:
        found["/".join(folder.split("/")[:2])].append(folders.pop(folder))
    return [
        _Line(
            groups[0][0][0] - 0.5,
            (5, place),
            f"\n{top}/: {sum(map(len, groups))} more modules in {len(groups)} folders",
        )
        for place, (top, groups) in enumerate(found.items())
    ]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".py")


def _tests(tests: Sequence[Outline]) -> list[_Line]:
    """Where the tests lie and how many there are: the highest folder of tests stands for all."""
    folders: dict[str, int] = defaultdict(int)
    for module in tests:
        parts = module.path.split("/")[:-1]
        end = next((i for i, part in enumerate(parts, 1) if "test" in part), len(parts))
        folders["/".join(parts[:end]) or "."] += 1
    most = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{folder}/ ({files})" for folder, files in most[:12]]
    if len(most) > 12:
        told.append(f"{len(most) - 12} more folders")
    return [_Line(-0.5, (3,), "Tests: " + ", ".join(told))] if told else []


def _file(number: int, module: Outline, place: tuple[int, ...], purpose: str) -> list[_Line]:
    """What a file is for and defines: its functions, its classes, later on their methods."""
    heads = unpack_symbols(module.symbols)
    functions = [head.name for head in heads if not head.parent and head.kind != "class"]
    classes = [head.name for head in heads if not head.parent and head.kind == "class"]
    lines: list[_Line] = []
    if purpose and (functions or classes):
        soon = number if number <= _PURPOSES else _LEFTOVER + number
        lines.append(_Line(soon, (*place, 0), f" # {purpose}"))
    if functions or classes:
        for step, text in enumerate(_rows(f" {_stem(module.path)}", functions)):
            lines.append(_Line(_when(number, 1, step), (*place, 1, step), text))
    methods = _methods(heads)
    steps = 0
    for row, name in enumerate(dict.fromkeys(classes), 2):
        lines.append(_Line(number + 0.001 * row, (*place, row, 0), f"  {name}", is_name=True))
        for step, text in enumerate(_rows(f"  {name}", methods.get(name, []))):
            if methods.get(name):
                lines.append(_Line(_when(number, _METHODS, steps), (*place, row, step), text))
                steps += 1
    return lines


def _when(number: int, start: float, step: int) -> float:
    """The rank of a step of the file of this number."""
    return number * (start + _STEP * step) + 0.0001 * step


def _rows(start: str, names: Iterable[str]) -> list[str]:
    """Lines of names behind a start; it alone where there are none."""
    told = list(dict.fromkeys(names))
    later = [" ".join(["   ", *told[at : at + _RUN]]) for at in range(_RUN, len(told), _RUN)]
    return [" ".join([f"{start}:", *told[:_RUN]]) if told else start, *later]


def _methods(heads: Iterable[Symbol]) -> dict[str, list[str]]:
    """The methods of each class at the top level."""
    found: dict[str, list[str]] = defaultdict(list)
    for head in heads:
        if head.parent and "." not in head.parent:
            found[head.parent].append(head.name)
    return found
