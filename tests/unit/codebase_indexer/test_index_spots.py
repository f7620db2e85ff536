"""Where a file uses a word: the lines alone tell what the parser tells, or say that they cannot."""

from __future__ import annotations

import ast
import os
import warnings
from pathlib import Path

import pytest

from self_coding.codebase_indexer.spots import Bound, Spots, by_text, statements
from self_coding.codebase_indexer.spots_tree import by_tree

LIBRARY = Path(os.__file__).parent
WORDS = frozenset(("name", "get", "path", "join", "match"))


def _naming(found: Spots) -> set[tuple[int, str | None, str, str | None]]:
    return {
        (line, module, name, local)
        for line, module, names in found.imports
        for name, local in names
        if name in WORDS or name == "*"
    }


def _bound(found: list[Bound]) -> set[tuple[str | None, tuple[str, str | None]]]:
    return {(module, name) for module, names in found for name in names}


def test_as_the_parser_over_the_library() -> None:
    """Over the standard library both readers agree, and the text alone mostly does."""
    asked = unsure = 0
    for path in sorted(LIBRARY.glob("*.py")) + sorted(LIBRARY.glob("test/test_[a-d]*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        tree, told = by_tree(text, WORDS), by_text(text, WORDS)
        if tree is None:
            continue
        asked += 1
        unsure += told is None
        if told is not None:
            assert sorted(told.attributes) == sorted(tree.attributes), path
            assert sorted(told.strings) == sorted(tree.strings), path
            assert told.names is None or sorted(told.names) == sorted(tree.names or ()), path
            assert _naming(told) == _naming(tree), path
        listed = statements(text)
        assert listed is None or _bound(listed) == _bound([each[1:] for each in tree.imports]), path
    assert asked > 200
    assert unsure < asked * 0.2


@pytest.mark.parametrize(
    "code",
    [
        "name",
        "x = name\n",
        "f(name, 1)\n",
        "f(name=1)\n",
        "f(g(1), name)\n",
        "def f(name): pass\n",
        "def f(a, name=1, *, get): pass\n",
        "def f(a=[name]): pass\n",
        "def name(): pass\n",
        "class K(name, metaclass=get): pass\n",
        "@name\ndef f(): pass\n",
        "f(\n    name,\n    get=get,\n)\n",
        "lambda name: get\n",
        "f(lambda x, name: name)\n",
        "for name in get: pass\n",
        "try: pass\nexcept E as name: pass\n",
        "with a as name: pass\n",
        "def f():\n    global name\n    name = 1\n",
        "{name: 1, 'name': get}\n",
        "x[name:get]\n",
        "(name := 1)\n",
        "x = 'name'\n",
        "x = b'name'\n",
        "x = 'name' 'other'\n",
        "x = ('other'\n  'name')\n",
        "x = ('name'  # why\n  'other')\n",
        '"""name"""\n',
        '"""the name"""\nname = 1\n',
        "# name\nx = '#' + name\n",
        "x = 'a' + b.name + \"it's\" + c.get\n",
        "x = f'{name} and {self.name} name'\n",
        "x = f'{a}name'\n",
        "x = f'{{name}}'\n",
        "x = f'{f(name=get)}'\n",
        "x = f'{a:{name}}'\n",
        'x = f"""\n{name}\n"""\n',
        "a.b.name\n",
        "f(x).name\n",
        "f(\n  x,\n).name.get()\n",
        "(a\n  .b\n  .name)\n",
        "(a).name\n",
        "('a'\n 'b').join(c)\n",
        "x = 'a'.join(\n  b).get\n",
        '"""a\nb""".join(c)\n',
        "x = '''a'''.join('name')\n",
        "a. \\\n  name\n",
        "x = a.\\\n  name\n",
        "x = 'a\\\nname'\n",
        "match name:\n    case get: pass\n    case path(): pass\n",
        "match = 1\n",
        "from a import (\n    name as n,  # )\n    get,\n)\n",
        "from .name import get\nimport a.name as b, path\n",
        "from a import *\n",
        "if x: from a import name\n",
        "import a; from b import name\n",
        "from a import b, \\\n    name\n",
        "async with a as (name, get): pass\n",
    ],
)
def test_as_the_parser(code: str) -> None:
    """What the lines tell of a word is what the parser tells."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse(code)
    tree, told = by_tree(code, WORDS), by_text(code, WORDS)
    assert tree is not None
    if told is not None:
        assert sorted(told.attributes) == sorted(tree.attributes)
        assert sorted(told.strings) == sorted(tree.strings)
        assert told.names is None or sorted(told.names) == sorted(tree.names or ())
        assert _naming(told) == _naming(tree)


@pytest.mark.parametrize(
    "code", ["x = name\n", "def f(a, name=1): pass\n", "x.y.name\n", "f(\n  x).name\n", "# name\n"]
)
def test_the_text_is_enough(code: str) -> None:
    """Plain code needs no parser."""
    told = by_text(code, WORDS)
    assert told is not None
    assert told.names is not None


def test_newer_grammar_is_read() -> None:
    """A file that this interpreter refuses is read all the same where its lines tell."""
    code = "from a import name\ndef f[T](x: T) -> name: ...\ndef broken(: pass\n"
    assert by_tree(code, WORDS) is None
    told = by_text(code, WORDS)
    assert told is not None
    assert told.names == [("name", 2)]


def test_quotes_inside_of_a_format_string_are_not_guessed() -> None:
    """Since 3.12 a value may quote as the string around it does; the text does not tell then."""
    assert by_text("x = f'({', '.join(y)})'\n", WORDS) is None
    assert by_text("x = f'({y})' + name\n", WORDS) is not None
    assert by_text("x = f'{{' + name\n", WORDS) is not None
