"""Small changes of Python code that a good test notices."""

from __future__ import annotations

import ast

import pytest

from self_coding.languages import language_of
from self_coding.languages.python_mutants import mutants


def changes(text: str, *lines: int) -> set[tuple[str, str]]:
    """What becomes of what, on some lines or on all of them."""
    wanted = lines or range(1, text.count("\n") + 2)
    return {(one.old, one.new) for one in mutants(text, wanted)}


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("a < b\n", "a < b", "(a <= b)"),
        ("x = a in b\n", "a in b", "(a not in b)"),
        ("x = a + b\n", "a + b", "(a - b)"),
        ("x = a and b\n", "a and b", "(a or b)"),
        ("x = not a\n", "not a", "(a)"),
        ("x = True\n", "True", "(False)"),
        ("x = 3\n", "3", "(4)"),
        ("x = 'a'\n", "'a'", "('')"),
        ("def f():\n    return a\n", "return a", "return None"),
        ("if a:\n    b()\n", "a", "(not a)"),
        ("if a:\n    b()\n", "b()", "pass"),
        ("a.b = c\n", "a.b = c", "pass"),
        ("x += a\n", "x += a", "pass"),
        ("raise ValueError('no')\n", "raise ValueError('no')", "pass"),
    ],
)
def test_each_kind_of_mutant(text, old, new):
    """Comparisons, arithmetic, logic, constants, returns, conditions, statements."""
    assert (old, new) in changes(text)


def test_what_no_test_can_notice_is_left_alone():
    """Docstrings, annotations, imports, messages, type checkers' code, what names a module."""
    text = (
        '"""A module."""\nimport os\nfrom typing import TYPE_CHECKING\n'
        "if TYPE_CHECKING:\n    x = 1\n__all__ = ['f']\n__version__ = '1'\n"
        "def f(a: 'int') -> 'str':\n    '''Say.'''\n    b: 'int'\n    assert a, 'no'\n"
    )
    assert changes(text) == set()
    assert changes("raise ValueError('no')\n") == {("raise ValueError('no')", "pass")}


def test_only_the_lines_asked_for_and_only_one_place_each():
    """The rest of the text stays byte for byte, whatever stands before the place."""
    text = "é = 'ü'; a = b < c  # ö\nd = 2\n"
    (found,) = [one for one in mutants(text, {1}) if one.old == "b < c"]
    assert found.text == "é = 'ü'; a = (b <= c)  # ö\nd = 2\n"
    assert changes(text, 2) == {("2", "(3)")}


def test_every_mutant_parses_and_differs():
    """A mutant that cannot be read would be noticed by anything."""
    with open(ast.__file__, encoding="utf-8") as file:
        text = file.read()
    made = [*mutants(text, range(121))]
    assert len(made) > 20
    for one in made:
        assert ast.dump(ast.parse(one.text)) != ast.dump(ast.parse(text))


def test_what_cannot_be_parsed_has_none():
    """Neither broken text nor text nested too deep ends in a traceback."""
    assert changes("def (:\n") == changes("(" * 5000) == set()


def test_a_language_says_what_its_mutants_are():
    """Whoever measures asks the language of the file."""
    assert [one.new for one in language_of("a.py").mutants("x = 1\n", {1})] == ["(2)"]
