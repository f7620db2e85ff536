"""Tier 1: the text scan."""

from __future__ import annotations

import ast
import inspect
import json.decoder
import tokenize

import pytest

from self_coding.languages import (
    Import,
    pack_import,
    unpack_imports,
    unpack_symbols,
)
from self_coding.languages import python_scan as reading
from self_coding.languages.python_scan import decode, scan


def imports(text: str) -> list[Import]:
    return unpack_imports(scan(text.encode()).imports)


def symbols(text: str) -> list[tuple[int, str, str, str]]:
    return [tuple(each) for each in unpack_symbols(scan(text.encode()).symbols)]


def test_heads_with_lines_kinds_and_parents() -> None:
    """Every class and function head is found with its line and what stands around it."""
    text = (
        "class A:\n    def m(self): pass\n    class B:\n\n        async def n(self): ...\n"
        "\ndef f(\n  a,\n): pass\n"
    )
    assert symbols(text) == [
        (1, "class", "A", ""),
        (2, "def", "m", "A"),
        (3, "class", "B", "A"),
        (5, "async def", "n", "A.B"),
        (7, "def", "f", ""),
    ]


@pytest.mark.parametrize(
    ("text", "module", "names"),
    [
        ("import a.b as c", "a.b", ()),
        ("from a import b as c, d", "a", ("b", "d")),
        ("from .. import b", "..", ("b",)),
        ("from .a import (\n    b,  # why)\n    c as d,\n)", ".a", ("b", "c")),
        ("from a import *", "a", ("*",)),
        ("from a import b, \\\n    c", "a", ("b", "c")),
        ("from a \\\n    import b", "a", ("b",)),
        ("x = 1; import a", "a", ()),
        ("try: import a\nexcept ImportError: pass", "a", ()),
        ("from . import(a)", ".", ("a",)),
        ("from\ta\timport\tb", "a", ("b",)),
        ("from a import (\n    b,  # why\n    c,\n)", "a", ("b", "c")),
        ("from a import b; from c import d", "c", ("d",)),
        ("if x:\n\tfrom . import b", ".", ("b",)),
    ],
)
def test_forms_of_imports(text: str, module: str, names: tuple[str, ...]) -> None:
    """Each way to write an import statement is read."""
    assert (module, names) in [(each.module, each.names) for each in imports(text)]


def test_strings_and_comments_hold_no_code() -> None:
    """Text in triple-quoted strings, comments and ordinary strings is no statement."""
    text = (
        '"""\nimport a\ndef no(): pass\n"""\n'
        "# '''\nimport real\n"
        'x = "# \\"\\"\\" "\n'
        "y = '''\nclass No: pass\n'''\n"
        'z = r"""\nfrom b import c\n"""\n'
        "def yes(): pass\n"
    )
    assert [each.module for each in imports(text)] == ["real"]
    assert [name for _, _, name, _ in symbols(text)] == ["yes"]
    assert symbols(text)[0][0] == 14


@pytest.mark.parametrize(
    "text",
    [
        '# say """ here\ndef yes(): pass\n# and """ there\n',
        'x = """a\\"""b\ndef no(): pass\n"""\ny = """c\\"""d\n"""\ndef yes(): pass\n',
        'x = \'"""\'\ndef yes(): pass\ny = \'"""\'\n',
    ],
)
def test_quotes_that_open_nothing(text: str) -> None:
    """Quotes in comments, in other strings and behind a backslash open and close nothing."""
    assert scan(text.encode()).names == ["yes"]


def test_heads_are_counted_below_long_imports() -> None:
    """A statement over several lines counts as many, each time that it is read."""
    text = "from a import (\n    b,\n)\nasync  def f(): pass\nclass A:\n\tdef m(self): pass\n"
    heads = [(4, "async def", "f", ""), (5, "class", "A", ""), (6, "def", "m", "A")]
    assert symbols(text) == heads
    assert symbols(text) == heads  # the second time the statement is known


def test_statements_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many statements are read, few are kept in memory, and each is read right."""
    monkeypatch.setattr(reading, "_MOST_STATEMENTS", 10)
    monkeypatch.setattr(reading, "_STATEMENTS", {})
    for number in range(50):
        assert imports(f"import m{number}") == [Import("import", f"m{number}", ())]
        assert len(reading._STATEMENTS) <= 10


def test_an_import_without_names_is_none() -> None:
    """What is still being written imports nothing."""
    assert imports("from a import \n") == []


def test_docstrings_are_gathered() -> None:
    """Docstrings are text of their own; other strings are not."""
    told = scan(b'"""Module."""\ndef f():\n    """Does it."""\n    x = """not this"""\n')
    assert told.docstrings.split("\n") == ["Module.", "Does it."]


def test_dynamic_imports() -> None:
    """A literal module name is an import; a computed one is a blind spot with its line."""
    told = scan(
        b"import importlib\n"
        b'importlib.import_module("pkg.plugin")\n'
        b"importlib.import_module(name)\n"
        b"__import__('other')\n"
        b"exec(code)\n"
    )
    assert {each.module for each in unpack_imports(told.imports) if each.kind == "string"} == {
        "pkg.plugin",
        "other",
    }
    assert [each.line for each in told.blind] == [3, 5]


def test_a_literal_may_be_the_only_import() -> None:
    """A file without import statements can import by a literal, and behind a colon."""
    assert imports('__import__("a")') == [Import("string", "a", ())]
    assert imports("if x: import b\n") == [Import("import", "b", ())]


def test_what_runs_code_is_told_from_what_is_named_alike() -> None:
    """Methods and longer names are no `exec`; each kind of running code is said by its name."""
    told = scan(
        b"import importlib.util\nself.exec(a)\nmy_eval(a)\nspec_from_file_location (a)\n"
        b"x.exec_module(a)\nre_exec_module(a)\nmy_spec_from_file_location(a)\neval(a)\n"
    )
    assert [(each.line, each.reason.split("(")[0]) for each in told.blind] == [
        (4, "spec_from_file_location"),
        (5, "exec_module"),
        (8, "eval"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "import runpy\nrunpy.run_path('scripts/run.py')\n",
        "import asyncio.subprocess\nrun('scripts/run.py')\n",
        "import os\nos.system('scripts/run.py')\n",
        "def test_it(pytester):\n    pytester.run('scripts/run.py')\n",
    ],
)
def test_ways_to_start_a_script(text: str) -> None:
    """A script that is named where programs are started is an import."""
    assert "scripts/run.py" in [each.module for each in imports(text)]


def test_programs_and_plugins() -> None:
    """Plugins and programs named by a literal are imports; that a program is started is said."""
    told = scan(
        b"import subprocess, sys\npytest_plugins = ['pkg.fixtures']\n"
        b"def test_it():\n    subprocess.run([sys.executable, '-m', 'tool'])\n"
        b"    subprocess.run(['python', 'scripts/run.py', '-c', 'import pkg.late'])\n"
    )
    assert {each.module for each in unpack_imports(told.imports) if each.kind == "string"} >= {
        "pkg.fixtures",
        "tool",
        "scripts/run.py",
        "pkg.late",
    }
    assert [each.line for each in told.blind] == [4]


def test_new_grammar_is_scanned() -> None:
    """Text of a newer Python than ours tells its heads and imports."""
    told = scan(b"type X[T] = list[T]\nclass A[T]: pass\ndef f[T](x: T): pass\nimport later\n")
    assert told.names == ["A", "f"]
    assert unpack_imports(told.imports) == [Import("import", "later", ())]


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"\0\0",
        b"\xff\xfe\x00",
        b'"""',
        b"def",
        b"from",
        b"import",
        b"class \n",
        b"(" * 5000,
        b"\r\r\n",
    ],
)
def test_any_bytes_will_do(source: bytes) -> None:
    """No input makes the scan fail."""
    scan(source)


def test_encodings() -> None:
    """BOM, declared and undeclared encodings decode; nonsense does not raise."""
    assert decode(b"\xef\xbb\xbfx = 1") == "x = 1"
    assert "é" in decode("# coding: latin-1\n# é".encode("latin-1"))
    assert decode(b"# coding: no-such\n\xff")
    assert decode(b"# coding: hex\n\xff")


def test_line_ends() -> None:
    """CRLF and lone CR count as line ends."""
    assert [s[0] for s in symbols("x\r\ndef a(): pass\r\rdef b(): pass")] == [2, 4]


def test_packing_is_lossless() -> None:
    """Imports come back as they were packed."""
    found = imports("import a\nfrom .b import c, d\ndef f():\n    from e import *\n")
    assert (
        unpack_imports("\n".join(pack_import(each.module, each.names) for each in found)) == found
    )
    assert unpack_imports("") == []


@pytest.mark.parametrize("module", [ast, inspect, json.decoder, tokenize])
def test_agrees_with_the_parser(module: object) -> None:
    """On real modules the scan finds the heads and imports that `ast` finds."""
    with open(module.__file__, "rb") as file:  # type: ignore[attr-defined]
        source = file.read()
    tree = ast.parse(source)
    heads = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    told = scan(source)
    assert {(each.line, each.name) for each in unpack_symbols(told.symbols)} == {
        (node.lineno, node.name) for node in ast.walk(tree) if isinstance(node, heads)
    }
    expected = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            expected |= {(each.name, ()) for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            expected.add((name, tuple(each.name for each in node.names)))
    found = {(e.module, e.names) for e in unpack_imports(told.imports) if e.kind != "string"}
    assert expected <= found
