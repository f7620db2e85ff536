"""Where a file uses a word: cut into functions, a text tells what the parser tells of it whole."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from pathlib import Path

import pytest

from self_coding.languages.python_names import class_body_uses, find_names

LIBRARY = Path(os.__file__).parent
WORDS = frozenset(("name", "get", "path", "join", "match"))


def _by_tree(text: str) -> dict[str, list[object]] | None:
    """What the parser says of the words, without cutting; None if it refuses the text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            nodes = list(ast.walk(ast.parse(text)))
        except SyntaxError:
            return None
    strings = [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return {
        "names": sorted(
            (n.id, n.lineno) for n in nodes if isinstance(n, ast.Name) and n.id in WORDS
        ),
        "attributes": sorted(
            (n.attr, n.lineno) for n in nodes if isinstance(n, ast.Attribute) and n.attr in WORDS
        ),
        "strings": sorted((n.value, n.lineno) for n in strings if n.value in WORDS),
        "imports": sorted(
            {
                (n.lineno, each.name, each.asname or "")
                for n in nodes
                if isinstance(n, ast.Import | ast.ImportFrom)
                for each in n.names
                if {each.name, each.asname} & {*WORDS, "*"}
            }
        ),
    }


def _scanned(text: str) -> dict[str, list[object]]:
    found = find_names(text, WORDS)
    assert found.unparsed == []
    return {
        "names": sorted(found.names),
        "attributes": sorted((word, line) for _, word, line in found.attributes),
        "strings": sorted(found.strings),
        "imports": sorted(
            {
                (line, name, local or "")
                for line, _, names in found.imports
                for name, local in names
                if {name, local} & {*WORDS, "*"}
            }
        ),
    }


def test_as_the_parser_over_the_library() -> None:
    """Over the standard library, what is read in parts is what the parser says of the whole."""
    asked = 0
    for path in sorted(LIBRARY.glob("*.py")) + sorted(LIBRARY.glob("test/test_[a-d]*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        tree = _by_tree(text)
        if tree is not None:
            asked += 1
            assert _scanned(text) == tree, path
    assert asked > 200


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
        "from a \\\n    import (\n    name,\n)\n",
        "import a as name  # get\n",
        "x = 1,\nname = 2\nname: int = 3\nname, get = 4, 5\n",
        "f(\n    'a',\n    name=get,\n    **path\n)\n",
        "x = (\n    name\n    == get\n)\n",
        "x = {\n    'name': get,\n    'a':\n    'name' 'b',\n}\n",
        "x = ('a',  # (\n    'name',\n    'b' 'get', 'c'\n    'path')\n",
        "x = f(a)(name, b[get]).path[0].join()\n",
        "x = (f\n  (a).name)\n",
        "x = (a.  # b\n  name.get)\n",
        "x = [a[0], (b, name)]; name = 1\n",
        "f(lambda: name, lambda name=get: path)\n",
        "def f(a, name: int = 1, *get, path: str, **join) -> name: pass\n",
        "x = f'{a}' 'name'\ny = f\"{b['name']}\"\n" if sys.version_info >= (3, 12) else "",
        "match = name\ncase = f(get)\nmatch(name)\nx.match[0]\n",
        "x = '''it's''' + name  # 'get'\n",
        "x = rb'name' + b\"get\" + r'path'\n",
    ],
)
def test_as_the_parser(code: str) -> None:
    """What is told of a word is what the parser tells, also between other functions."""
    assert _scanned(code) == _by_tree(code)
    text = f"class K(get):\n    def name(self): path\n    @get\n    def join(): name\n{code}"
    text += "\ndef path(get=name):\n    def match():\n        path\n    return match\n"
    assert _scanned(text) == _by_tree(text)


def test_values_of_attributes() -> None:
    """The dotted name in front of an attribute is told, whatever else is there is not."""
    text = "a.b.name\nf(x).name\n(a\n  .b\n  .get)\n'x'.join(c)\n"
    assert sorted(find_names(text, WORDS).attributes, key=lambda each: each[2]) == [
        ("a.b", "name", 1),
        ("", "name", 2),
        ("a.b", "get", 3),
        ("", "join", 6),
    ]


def test_star_imports_are_found_without_the_word() -> None:
    """A file that imports all names of a module may import the word."""
    assert [each.module for each in find_names("from .a import *\n", WORDS).imports] == [".a"]
    assert find_names("from a import other\n", WORDS).imports == []


def test_what_the_parser_refuses_is_named() -> None:
    """Of a file that this interpreter refuses, what it takes is read and the rest is named."""
    code = "from a import name\ndef f(x): return name\ndef broken(: name\n"
    assert _by_tree(code) is None
    found = find_names(code, WORDS)
    assert [each.line for each in found.imports] == [1]
    assert (found.names, found.unparsed) == ([("name", 2)], [("name", 3)])


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        ("    @size.setter\n    def size(self, to): pass\n", [3]),
        ("    wide = size\n", [3]),
        ("    size = property(size)\n", [3]),
        ("    size: int = 3\n", []),
        ("    size = 3\n", []),
        ("    same = size == 3\n", [3]),
        ("    kept = dict(size=1)\n", []),
        ("    kept = other.size\n", []),
        ("    kept = 'size'  # size\n", []),
        ('    """the size of it"""\n', []),
        ("    def size(self): pass\n", []),
        ("    def grow(self):\n        return size\n", []),
        ("# a comment at the margin\n    @size.setter\n    def size(self, to): pass\n", [4]),
        ("wide = size\n", []),
        ("class L:\n    wide = size\n", []),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_counts_in_a_class_body(after: str, lines: list[int], end: str) -> None:
    """Only a statement of the same body, below the head, that uses the name and no other's."""
    text = "class K:\n    def size(self): return 1\n" + after
    assert class_body_uses(text.replace("\n", end), "size", [2], [1, 2, 3, 4]) == lines


def test_a_file_that_was_cut() -> None:
    """A head that is no longer there is passed over."""
    assert class_body_uses("x = 1\n", "size", [9], [1]) == []
