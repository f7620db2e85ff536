"""Describe the code in few words: every file, then classes and functions, most leaned on first.

Pure: outlines in, a text out that never counts more than its budget. The order in which things
are worth showing is one list of lines; as many of its first ones as fit are shown, in the order
of reading. It holds names, no source text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf, log2, sqrt
from typing import NamedTuple

from self_coding.codebase_indexer.ranking import is_auxiliary
from self_coding.languages import unpack_symbols
from self_coding.retrieval import estimate_tokens

_LEGEND = (
    "What the code leans on most comes first. A folder names the files not shown below it; a "
    "module its functions, then its classes, with methods behind a colon."
)
_DOCSTRING = re.compile(r"(?:[ \t\f]*(?:#[^\n]*)?\n)*[rRuU]?(?:\"\"\"|''')\s*([^\"]{8,400})")
_UNDERLINED = re.compile(r"\A[^\n]*\n[ \t]*([~=*^#-])\1{2,}[ \t]*(?:\n|\Z)")  # a heading

_PATHS = 0.55  # share of the budget that the names of files may take
_IMPORTED = 0.3  # being imported by most, beside being changed most
_TASK = 1.0  # what a task's own files come before
_AUXILIARY = 0.3  # what a file outside of the product counts: documentation, examples, tools
_FILE = 40  # characters that a file costs before its first name
_METHODS = 4.0  # methods come once the functions and classes of four times as many files are shown
_STEP = 0.08  # each further step of a file comes later, by this share of its rank
_LEFTOVER = 1e6  # a rank after all names

_FIRST = 256  # files whose names are looked at first: more than most budgets can show
_DESCRIBED = 80  # files that are asked what they are for
_PURPOSES = 12  # so many files say what they are for before the others show their names
_SENTENCE = 100  # characters
_RUN = 12  # names of one line: a long class is shown in several steps
_AUXILIARY_FOLDERS = 30  # so many are shown, further ones are counted
_TEST_FOLDERS = 12


class Outline(NamedTuple):
    """One file as the summary sees it.

    `symbols` are its classes and functions, packed (`packed.unpack_symbols`).
    `changes` is how much git's history changed it lately, `importers` how many files import it,
    `relevance` what a task's ranking gave it, at most 1.
    """

    path: str
    module: str = ""
    is_test: bool = False
    lines: int = 1
    symbols: str = ""
    importers: int = 0
    changes: float = 0.0
    relevance: float = 0.0

    @property
    def folder(self) -> str:
        """The folder, empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return self.path.rpartition("/")[2].rpartition(".")[0]


class _Line(NamedTuple):
    """One line and what decides whether it is shown: the lower the rank, the sooner.

    Of lines that have one place the last is shown, which says more. A `name` shares a line with
    the names next to it.
    """

    rank: float
    place: tuple[int | str, ...]
    text: str
    is_name: bool = False


def write(
    modules: Sequence[Outline],
    max_tokens: int,
    count: Callable[[str], int] = estimate_tokens,
    purpose_of: Callable[[str], str] = lambda path: "",
    left_out: Sequence[str] = (),
) -> str:
    """Return a text about all modules that counts at most `max_tokens`, however small that is."""
    tests = [module for module in modules if module.is_test]
    total = f"Total modules: {len(modules)}" + (f" ({len(tests)} of them tests)" if tests else "")
    total += f"; not read: {', '.join(left_out)}" if left_out else ""
    ranked = rank(modules)
    lines = [_Line(-9, (0,), "# Codebase Summary"), _Line(-8, (1,), total)]
    if ranked:
        lines.append(_Line(-2, (2,), _LEGEND))
    if tests:
        lines.append(_test_folders(tests))
    folders, places = _folders(ranked, int(max_tokens * _PATHS), count)
    lines += folders
    # Unpacking the names of thousands of files costs more than all else: look at further ones
    # only if all of the first ones fit.
    done, most = 0, _FIRST
    while True:
        for number, module in enumerate(ranked[done:most], done + 1):
            place = places.get(module.folder)
            if place is not None:
                purpose = purpose_of(module.path) if number <= _DESCRIBED else ""
                lines += _contents(number, module, place, purpose)
        text, next_rank = _longest(sorted(lines), max_tokens, count)
        if most >= len(ranked) or next_rank <= most:  # later files come after these
            return text
        done, most = most, most * 4


def rank(modules: Sequence[Outline]) -> list[Outline]:
    """Return the files that are not tests, in the order in which they are worth showing.

    First the task's files, then those often changed and often imported. What a long file says is
    spread over many names, so that it counts less for each.
    """
    changes = max((module.changes for module in modules), default=0.0) or 1.0
    importers = log2(2 + max((module.importers for module in modules), default=0))

    def key(module: Outline) -> tuple[float, str]:
        weight = module.changes / changes + _IMPORTED * log2(1 + module.importers) / importers
        if is_auxiliary(module.path):
            weight *= _AUXILIARY
        heads = module.symbols.split("\n") if module.symbols else ()
        length = sum([len(head.split("\t", 3)[2]) + 1 for head in heads])
        return -(weight / sqrt(length + _FILE) + _TASK * module.relevance), module.path

    return sorted((module for module in modules if not module.is_test), key=key)


def purpose(source: str) -> str:
    """Return what a file says it is for: the first sentence of its docstring, empty for none."""
    docstring = _DOCSTRING.match(source)
    if not docstring:
        return ""
    text = _UNDERLINED.sub("", docstring[1].partition("'''")[0].lstrip()).strip()
    paragraph = text.partition("\n\n")[0]
    sentence = " ".join(paragraph.split()).partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _SENTENCE else ""


def _longest(lines: Sequence[_Line], budget: int, count: Callable[[str], int]) -> tuple[str, float]:
    """Return the text of as many first lines as fit, in reading order; and the next line's rank."""
    # A line that replaces another says more, so that a longer list never makes a shorter text.
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_joined(lines[:middle])) <= budget:
            low = middle
        else:
            high = middle - 1
    text = _joined(lines[: low or 1])
    while not low and text and count(text) > budget:  # not even the title fits
        text = text[:-1]
    return text, lines[low].rank if low < len(lines) else inf


def _joined(lines: Iterable[_Line]) -> str:
    # Lines come by rank, so that the last one of a place wins.
    by_place = {line.place: line for line in lines}
    parts: list[str] = []
    after_name = False
    for _, line in sorted(by_place.items()):
        if line.is_name and after_name and line.text[:1] != "\n":
            parts[-1] += line.text[1:]
        else:
            parts.append(line.text)
        after_name = line.is_name
    return "\n".join(parts)


def _test_folders(tests: Sequence[Outline]) -> _Line:
    """Count the tests by the highest folder of tests around them."""
    folders: dict[str, int] = defaultdict(int)
    for module in tests:
        parts = module.path.split("/")[:-1]
        end = next((i for i, part in enumerate(parts, 1) if "test" in part), len(parts))
        folders["/".join(parts[:end]) or "."] += 1
    largest = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{folder}/ ({files})" for folder, files in largest[:_TEST_FOLDERS]]
    if len(largest) > _TEST_FOLDERS:
        shown.append(f"{len(largest) - _TEST_FOLDERS} more folders")
    return _Line(-0.5, (3,), "Tests: " + ", ".join(shown))


def _folders(
    ranked: Sequence[Outline], budget: int, count: Callable[[str], int]
) -> tuple[list[_Line], dict[str, int]]:
    """Return a line for each folder and each of its files, and the folders' places.

    If not every file fits, the folders leaned on least only say how many they have.
    """
    folders: dict[str, list[tuple[int, Outline]]] = defaultdict(list)
    for number, module in enumerate(ranked, 1):
        folders[module.folder].append((number, module))
    lines = _extra_folders(folders)
    places: dict[str, int] = {}
    used = 0
    for place, (folder, files) in enumerate(folders.items()):
        title = f"\n{folder or '.'}/:"
        names = sorted(module.stem for _, module in files if module.lines)
        names = names or sorted(module.stem for _, module in files)
        used += count(f"{title} {' '.join(names)}")
        if used <= budget:
            lines.append(_Line(-1, (4, place, 0), title, is_name=True))
            lines += [_Line(-1, (4, place, 0, name), f"  {name}", is_name=True) for name in names]
        else:
            title += f" {len(files)} module{'s' if len(files) > 1 else ''}"
            lines.append(_Line(files[0][0] - 0.5, (4, place, 0), title))
        places[folder] = place
    return lines, places


def _extra_folders(folders: dict[str, list[tuple[int, Outline]]]) -> list[_Line]:
    """Remove auxiliary folders that are too many, as those of hundreds of examples.

    Return a line for each place that holds them.
    """
    auxiliary = [
        folder
        for folder, files in folders.items()
        if all(is_auxiliary(module.path) for _, module in files)
    ]
    by_place: dict[str, list[list[tuple[int, Outline]]]] = defaultdict(list)
    for folder in auxiliary[_AUXILIARY_FOLDERS:]:
        by_place["/".join(folder.split("/")[:2])].append(folders.pop(folder))
    return [
        _Line(
            groups[0][0][0] - 0.5,
            (5, number),
            f"\n{top}/: {sum(map(len, groups))} more modules in {len(groups)} folders",
        )
        for number, (top, groups) in enumerate(by_place.items())
    ]


def _contents(number: int, module: Outline, folder: int, purpose: str) -> Iterator[_Line]:
    """Return what a file is for and defines: its functions, its classes, later their methods.

    Its line has its dotted name, as imports have it, and the folder's line does not name it any
    more. One that defines nothing shows its dotted name when all else is shown.
    """
    place = (4, folder, number)
    name = f" {module.module or module.stem}"
    functions: list[str] = []
    methods: dict[str, list[str]] = {}  # of each class at the top level
    for head in unpack_symbols(module.symbols):
        if head.parent in methods:
            methods[head.parent].append(head.name)
        elif not head.parent and head.kind == "class":
            methods.setdefault(head.name, [])
        elif not head.parent:
            functions.append(head.name)
    if not functions and not methods:
        if module.lines and "." in name:
            yield _Line(_LEFTOVER + number, (*place, 1, 0), name)
        return
    # Just after its own line, so that no budget is spent between the two.
    yield _Line(number + 1e-9, (4, folder, 0, module.stem), "", is_name=True)
    if purpose:
        soon = number if number <= _PURPOSES else _LEFTOVER + number
        yield _Line(soon, (*place, 0), f" # {purpose}")

    yield from _steps(number, (*place, 1), name, functions, 1.0)
    done = 0
    for row, (title, names) in enumerate(methods.items(), 2):
        yield _Line(number + 0.001 * row, (*place, row, 0), f"  {title}", is_name=True)
        if names:
            lines = _steps(number, (*place, row), f"  {title}", names, _METHODS, done)
            done += len(lines)
            yield from lines


def _steps(
    number: int,
    place: tuple[int, ...],
    start: str,
    names: Iterable[str],
    delay: float,
    done: int = 0,
) -> list[_Line]:
    """Return lines of names behind a start (it alone if there are none), each ranked later."""
    names = list(dict.fromkeys(names))
    texts = [" ".join([f"{start}:", *names[:_RUN]]) if names else start]
    texts += [" ".join(["   ", *names[at : at + _RUN]]) for at in range(_RUN, len(names), _RUN)]
    return [
        _Line(
            number * (delay + _STEP * (done + step)) + 0.0001 * (done + step), (*place, step), text
        )
        for step, text in enumerate(texts)
    ]
