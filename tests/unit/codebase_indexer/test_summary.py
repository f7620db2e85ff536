"""The summary's text: complete, ranked, readable, and never over budget."""

from __future__ import annotations

import pytest

from self_coding.codebase_indexer import summary
from self_coding.codebase_indexer.summary import Outline
from self_coding.retrieval import estimate_tokens


def _packed(*heads: tuple[str, str, str]) -> str:
    return "\n".join(f"{line}\t{kind}\t{name}\t{parent}"
                     for line, (kind, name, parent) in enumerate(heads, 1))  # fmt: skip


def _outline(path: str, *names: str, **more: float) -> Outline:
    heads = [("class", "Thing", ""), ("def", "method", "Thing")]
    heads += [("def", name, "") for name in names]
    return Outline(
        path=path,
        module=path.removesuffix(".py").replace("/", "."),
        is_test="test" in path,
        symbols=_packed(*heads),
        changes=more.get("changes", 0.0),
        importers=int(more.get("importers", 0)),
        relevance=more.get("relevance", 0.0),
    )


MODULES = [
    _outline("pkg/a.py", "first"),
    _outline("pkg/b.py", "second", changes=5.0),
    _outline("pkg/sub/c.py", "third", importers=9),
    _outline("tests/test_a.py", "test_first"),
]


def test_names_everything_when_there_is_room() -> None:
    """Title, count, every folder with its files, functions, classes and methods are there."""
    text = summary.write(MODULES, 4000)
    assert text.startswith("# Codebase Summary\nTotal modules: 4 (1 of them tests)")
    assert "\npkg/:\n" in text and "\npkg/sub/:\n pkg.sub.c: third" in text
    assert "tests/ (1)" in text and "\n pkg.b: second" in text
    assert "\n pkg.a: first" in text and "  Thing: method" in text
    assert "test_first" not in text


def test_every_module_is_named_as_an_import_names_it() -> None:
    """With room, each module's dotted name is in the text, also of one that defines nothing."""
    modules = [*MODULES, Outline(path="src/pkg/flags.py", module="pkg.flags", lines=3)]
    text = summary.write(modules, 4000)
    assert [name for name in ("pkg.a", "pkg.b", "pkg.sub.c", "pkg.flags") if name not in text] == []


def test_what_is_changed_or_imported_most_comes_first() -> None:
    """The order is that of use, not of the alphabet."""
    text = summary.write(MODULES, 4000)
    assert text.index("pkg.b: second") < text.index("pkg.a: first")
    assert [module.path for module in summary.rank(MODULES)] == [
        "pkg/b.py",
        "pkg/sub/c.py",
        "pkg/a.py",
    ]


def test_the_product_before_what_lies_beside_it() -> None:
    """Examples and tools are told after the product, however often they change."""
    beside = [_outline("tools/a.py", "tool", changes=2.0), _outline("docs/x.py", changes=2.0)]
    product = [_outline("pkg/b.py", "second", changes=1.0), _outline("pkg/c.py", changes=1.0)]
    ranked = summary.rank([*beside, *product])
    assert [module.path[:3] for module in ranked[:2]] == ["pkg", "pkg"]


def test_a_task_moves_its_files_to_the_front() -> None:
    """With a task's ranking, its files come before what the repository leans on."""
    modules = [*MODULES, _outline("pkg/z.py", "wanted", relevance=1.0)]
    assert summary.rank(modules)[0].path == "pkg/z.py"


@pytest.mark.parametrize("budget", [0, 1, 2, 5, 9, 20, 33, 60, 100, 4000])
def test_never_over_budget(budget: int) -> None:
    """However small the budget is, the text counts no more."""
    assert estimate_tokens(summary.write(MODULES, budget)) <= budget
    by_words = summary.write(MODULES, budget, lambda text: len(text.split()))
    assert len(by_words.split()) <= budget


def test_paths_before_names() -> None:
    """With little room, all files are named before any function is."""
    text = summary.write(MODULES, 60)
    assert "pkg/: a b" in text and "pkg/sub/: c" in text and "second" not in text


def test_a_file_is_named_once() -> None:
    """A folder names just those files that have no line of their own below it."""
    text = summary.write([_classes(number) for number in range(30)], 700)
    folder = next(line for line in text.split("\n") if line.startswith("pkg/:")).split()[1:]
    own = [number for number in range(30) if f" pkg.m{number:02}: function_{number}" in text]
    assert own and folder == [f"m{number:02}" for number in range(30) if number not in own]


def test_folders_that_do_not_fit_are_counted() -> None:
    """Where not even all files fit, the folders leaned on least say how many they have."""
    long = "module_with_a_long_name"
    modules = [Outline(path=f"pkg{n}/{long}_{m}.py") for n in range(9) for m in range(9)]
    text = summary.write(modules, 500)
    assert f"pkg0/: {long}_0 {long}_1" in text and "pkg8/: 9 modules" in text
    assert estimate_tokens(text) <= 500


def test_long_classes_are_told_in_steps() -> None:
    """A class of hundreds of methods does not keep the other files out."""
    heads = [("class", "Huge", "")]
    heads += [("def", f"method_number_{n}", "Huge") for n in range(400)]
    huge = Outline(path="pkg/huge.py", symbols=_packed(*heads), changes=99.0)
    text = summary.write([huge, *MODULES], 600)
    assert "method_number_1" in text and "method_number_399" not in text and "second" in text
    heads += [("def", f"method_number_{n}", "Huge") for n in range(400, 1000)]
    huge = Outline(path="pkg/huge.py", symbols=_packed(*heads), changes=99.0)
    assert summary.rank([huge, MODULES[0]])[0] == huge
    text = summary.write([huge, MODULES[0]], 3400)
    assert "method_number_400" in text and "method_number_999" not in text
    assert "  Thing: method" in text


def test_the_same_text_every_time() -> None:
    """Order of the input does not matter."""
    assert summary.write(MODULES, 90) == summary.write(MODULES[::-1], 90)


def test_no_modules_is_said() -> None:
    """An empty repository has a summary, too."""
    assert summary.write([], 4000) == "# Codebase Summary\nTotal modules: 0"


def test_purpose_is_the_first_sentence() -> None:
    """A module's docstring tells what it is for in its first sentence; code tells nothing."""
    assert summary.purpose('#!/usr/bin/python\n\n"""Reads maps. Slowly."""') == "Reads maps"
    assert summary.purpose("r'''Reads\nmaps'''\n") == "Reads maps"
    assert summary.purpose('"""\npkg.hooks\n~~~~~~~~~\n\nCalls hooks.\n"""') == "Calls hooks"
    assert summary.purpose('"""Reads maps\n\nand more"""') == "Reads maps"
    assert summary.purpose("import os\n") == ""
    assert summary.purpose('"""' + "long " * 60 + '"""') == ""


def _classes(number: int) -> Outline:
    """A file of a function and two classes, of which one has methods."""
    heads = [("def", f"function_{number}", ""), ("class", f"Bare{number}", "")]
    heads += [("class", f"Full{number}", "")]
    heads += [("def", f"method_{number}_{n}", f"Full{number}") for n in range(9)]
    name = f"m{number:02}"
    return Outline(
        path=f"pkg/{name}.py", module=f"pkg.{name}", symbols=_packed(*heads), changes=100.0 - number
    )


def test_classes_come_before_methods() -> None:
    """With little room, more files tell their classes than their methods, the first ones both."""
    text = summary.write([_classes(number) for number in range(30)], 700)
    lines = text.split("\n")
    told = [number for number in range(30) if f" pkg.m{number:02}: function_{number}" in lines]
    both = [number for number in told if f"  Bare{number} Full{number}" in lines]
    full = [number for number in told if f"method_{number}_8" in text]
    assert told == list(range(len(told)))
    assert both + full == told[len(full) :] + told[: len(full)]
    assert len(told) > 2 * len(full) > 0


def test_a_class_with_methods_has_a_line_of_its_own() -> None:
    """Classes that tell no methods share a line; each name is told once."""
    text = summary.write([_classes(1)], 4000)
    assert " pkg.m01: function_1\n  Bare1\n  Full1: method_1_0 method_1_1" in text
    assert text.count("Full1") == 1


def test_hundreds_of_examples_are_counted() -> None:
    """Of very many folders beside the product the first are told, the others only counted."""
    examples = [Outline(path=f"doc/data/e{n:03}/{name}.py") for n in range(99) for name in "ab"]
    text = summary.write([*examples, *MODULES], 4000)
    assert "doc/data/e029/: a b" in text and "e030" not in text
    assert "\ndoc/data/: 138 more modules in 69 folders" in text
    assert "pkg/sub/:\n pkg.sub.c: third" in text and "Total modules: 202" in text
    few = summary.write([*examples[:60], *MODULES], 4000)
    assert "doc/data/e029/: a b" in few and "more modules" not in few
