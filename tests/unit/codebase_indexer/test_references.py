"""Who uses a symbol: certain where it resolves, else said to be unknown, and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_coding import CodebaseIndexer
from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.reader import IndexReader
from self_coding.codebase_indexer.references import find_users
from self_coding.errors import IndexerError
from self_coding.languages import unpack_symbols
from self_coding.languages.python_scan import scan


@pytest.fixture
def indexer(tree: Path, tmp_path: Path) -> CodebaseIndexer:
    return CodebaseIndexer(tree, tmp_path / "index.db")


async def test_users_of(write, indexer) -> None:
    """Uses that resolve are certain, also through a re-export; the rest is said to be unknown."""
    write(
        **{
            "pkg/__init__.py": "from .a import one as first\n",
            "pkg/a.py": "def one(): return 1\nclass K:\n    def m(self): one()\n",
            "b.py": "import pkg\nfrom pkg.a import K\npkg.first()\nK.m\nother.m()\n",
            "c.py": "def one(): pass\none()\nx.one\n",
        }
    )
    found = await indexer.symbol_users("one", "pkg/a.py")
    assert found.definitions == ("pkg/a.py:1",)
    assert {(use.path, use.line) for use in found.uses} == {
        ("pkg/__init__.py", 1),
        ("pkg/a.py", 3),
    } | {("b.py", 3)}
    assert {(use.path, use.line) for use in found.unknown} == {("c.py", 3)}
    method = await indexer.symbol_users("K.m")
    assert {(use.path, use.line) for use in method.uses} == {("b.py", 4)}
    assert ("b.py", 5) in {(use.path, use.line) for use in method.unknown}


@pytest.mark.parametrize(
    ("defined", "used"),
    [
        (
            "\u0917\u0923\u0928\u093e_\u0915\u0930\u0947",
            "\u0917\u0923\u0928\u093e_\u0915\u0930\u0947",
        ),
        ("A\u030angstro\u0308m", "\u00c5ngstr\u00f6m"),  # decomposed, composed
        ("\u00c5ngstr\u00f6m", "A\u030angstro\u0308m"),
        ("\ufb01le_\u2460a".replace("\u2460", "\uff11"), "file_1a"),  # a ligature, a wide digit
        ("\u0e17\u0e35\u0e48", "\u0e17\u0e35\u0e48"),
    ],
)
async def test_names_are_compared_as_the_interpreter_does(
    write, indexer, defined: str, used: str
) -> None:
    """A name is whole with its combining marks, and every spelling of it is the same name."""
    write(
        **{
            "pkg/__init__.py": "",
            "pkg/a.py": f"# \u2014\ndef {defined}(): return 1\n",
            "b.py": f"import pkg.a\nfrom pkg.a import (\n  {used} as x\n)\npkg.a.{used}()\n",
        }
    )
    for asked in (defined, used):
        users = await indexer.symbol_users(asked)
        assert users.definitions == ("pkg/a.py:2",)
        assert [(use.path, use.line) for use in users.uses] == [("b.py", 2), ("b.py", 5)]
    info = await indexer.get_module_info("pkg/a.py")
    scanned = unpack_symbols(scan((indexer.repo_path / "pkg/a.py").read_bytes()).symbols)
    assert [each.name for each in info.functions] == [each.name for each in scanned]


async def test_a_package_whose_name_has_marks(write, indexer) -> None:
    """An import from such a package is an edge, however the statement is written."""
    name = "\u0917\u0923\u0928\u093e"
    write(**{f"{name}.py": "x = 1\n", "b.py": f"if 1: from {name} import (x as y)\n"})
    assert [each.path for each in await indexer.dependents(f"{name}.py")] == ["b.py"]


async def test_users_through_stars(write, indexer) -> None:
    """A star import hands a name on."""
    write(
        **{
            "pkg/__init__.py": "from .a import *\n",
            "pkg/a.py": "def one(): return 1\n",
            "b.py": "from pkg import one\none()\n",
        }
    )
    found = await indexer.symbol_users("one")
    assert [(use.path, use.line) for use in found.uses] == [
        ("b.py", 1),
        ("b.py", 2),
        ("pkg/__init__.py", 1),
    ]


async def test_a_methods_bare_name_is_used_in_its_class_alone(write, indexer) -> None:
    """A variable called like a method is no use of it, a line of the class's body is."""
    write(
        **{
            "a.py": "import b\n"
            "class K:\n"
            "    @property\n"
            "    def size(self): return 1\n"
            "    @size.setter\n"
            "    def size(self, value): pass\n"
            "    length = size\n"
            "    other = dict(size=1)\n"
            "    def grow(self, size):\n"
            "        return size + self.size\n"
            "def free(size):\n"
            "    return size\n",
            "b.py": "from a import size\nsize\n",
        }
    )
    found = await indexer.symbol_users("size")
    assert [(use.path, use.line, use.how) for use in found.uses] == [
        ("a.py", 5, "name"),
        ("a.py", 7, "name"),
    ]
    assert [(use.path, use.line) for use in found.unknown] == [("a.py", 10)]


async def test_a_function_within_a_function_is_used_in_its_file(write, indexer) -> None:
    """What stands inside of a function is used there by its bare name, and cannot be imported."""
    write(
        **{
            "a.py": "def outer():\n    def inner(): pass\n    return inner\n",
            "b.py": "from a import inner\ninner()\n",
        }
    )
    found = await indexer.symbol_users("inner")
    assert [(use.path, use.line) for use in found.uses] == [("a.py", 3)]
    assert found.unknown == ()


async def test_a_name_that_stands_everywhere(tree: Path, write, indexer) -> None:
    """Of files that no import leads from to a definition a bounded number is read, the nearest
    first; the rest is named, and no certain use is lost, through other names and stars neither."""
    write(
        **{
            "pkg/a.py": "def one(): pass\n",
            "pkg/near.py": "x.one\n",
            "pkg/named.py": "from .a import one as first\n",
            "pkg/star.py": "from .named import *\n",
            "user.py": "from pkg.star import first\nfirst()\nx.one\n",
            **{f"far{number}.py": "x.one\n" for number in range(4)},
        }
    )
    everything = await indexer.symbol_users("one")
    assert everything.unread == ()
    with Database(
        tree.parent / "index.db", application=store.APPLICATION, migrations=store.MIGRATIONS
    ).read() as connection:
        found = find_users(IndexReader(connection, tree), "one", None, read=6)
    assert found.uses == everything.uses
    assert {(use.path, use.line) for use in found.uses} >= {("user.py", 1), ("user.py", 2)}
    assert {use.path for use in found.unknown} == {"pkg/near.py", "user.py", "far0.py"}
    assert found.unread == ("far1.py", "far2.py", "far3.py")


async def test_a_name_that_thousands_import(tree: Path, write, indexer) -> None:
    """Of files that import a definition, too, only so many are read, the nearest first, and the
    answer names the others."""
    write(
        **{
            "pkg/a.py": "def one(): pass\n",
            "pkg/b.py": "from .a import one\n",
            **{f"far{number}.py": "from pkg.a import one\none()\n" for number in range(4)},
        }
    )
    everything = await indexer.symbol_users("one")
    with Database(
        tree.parent / "index.db", application=store.APPLICATION, migrations=store.MIGRATIONS
    ).read() as connection:
        found = find_users(IndexReader(connection, tree), "one", None, most=4)
        enough = find_users(IndexReader(connection, tree), "one", None, most=6)
    assert enough == everything
    assert found.unread == ("far2.py", "far3.py")
    assert found.uses == tuple(use for use in everything.uses if use.path not in found.unread)


async def test_users_of_nothing(write, indexer) -> None:
    """A name that nothing defines is an error with a hint."""
    write(**{"a.py": "def one(): pass\n"})
    with pytest.raises(IndexerError, match="no class or function"):
        await indexer.symbol_users("nothing")


JOINED = {
    "no __init__": None,
    "pkgutil": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
    "pkgutil imported": (
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n"
    ),
    "pkg_resources": "__import__('pkg_resources').declare_namespace(__name__)\n",
    "tried": "try:\n    import pkg_resources\nexcept ImportError:\n    pass\n",
}


@pytest.mark.parametrize("kind", JOINED)
async def test_a_package_over_two_folders(write, indexer, kind: str) -> None:
    """A test that imports from both halves of a package is affected by each."""
    for half in ("one", "two"):
        write(**{f"{half}/foo/{half}mod/__init__.py": f"def {half}(): return 1\n"})
        if JOINED[kind] is not None:
            write(**{f"{half}/foo/__init__.py": JOINED[kind]})
    write(
        **{
            "tests/test_foo.py": "import foo.onemod\nfrom foo import twomod as z\n",
            "tests/test_bar.py": "import os\n",
            "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["one", "two"]\n',
        }
    )
    for half in ("one", "two"):
        found = await indexer.impact([f"{half}/foo/{half}mod/__init__.py"])
        assert "tests/test_foo.py" in found.tests, half
        assert "tests/test_bar.py" not in found.tests


@pytest.mark.parametrize("suffix", ["pyx", "pxd", "pyi", "c", "cpp", "so", "f90", "rs", "go"])
async def test_a_source_of_a_compiled_module(write, indexer, suffix: str) -> None:
    """Whoever imports a module that is built from another file is affected by that file, or it is
    said that nobody knows."""
    write(
        **{
            "pkg/__init__.py": "",
            f"pkg/_fast.{suffix}": "x\n",
            "pkg/api.py": "from pkg._fast import go\n",
            "tests/test_api.py": "from pkg.api import go\n",
        }
    )
    found = await indexer.impact([f"pkg/_fast.{suffix}"])
    assert "tests/test_api.py" in found.tests or found.blind_spots


CARGO = '[package]\nname = "fast-core"\n[dependencies]\npyo3 = "0.2"\n'
MODULE = "#[pymodule]\nfn _fast(m: &Bound<PyModule>) {}\n"


@pytest.mark.parametrize(
    ("path", "more", "line"),
    [
        ("pkg/_fast.rs", {}, "from pkg import _fast"),
        ("src/_fast.rs", {}, "from ._fast import go"),
        ("pkg/_fast.c", {}, "import pkg._fast as fast"),
        ("src/lib.rs", {"src/lib.rs": MODULE}, "from pkg import _fast"),
        ("rust/src/lib.rs", {"rust/Cargo.toml": CARGO}, "import fast_core"),
        ("src/sum.rs", {"src/lib.rs": "mod sum;\n" + MODULE, "Cargo.toml": CARGO}, "import _fast"),
    ],
)
async def test_importers_in_another_language(write, indexer, path, more, line) -> None:
    """Who imports what is built of a file is its dependent, by the name of file, crate or module,
    and another test is not run for it."""
    write(
        **{
            path: "fn x() {}\n",
            "pkg/__init__.py": "",
            "pkg/api.py": f"{line}\n",
            "pkg/other.py": "_fast = 1\n",
            "tests/test_api.py": "from pkg.api import go\n",
            "tests/test_other.py": "from pkg.other import _fast\n",
            **more,
        }
    )
    found = await indexer.impact([path])
    assert "tests/test_api.py" in found.tests
    if not path.endswith(".c"):  # whose folder's name leads to more
        assert "tests/test_other.py" not in found.tests


@pytest.mark.parametrize(
    "more",
    [
        {"Cargo.toml": CARGO},
        {"pyproject.toml": '[build-system]\nrequires = ["maturin"]\n'},
        {"core/go.rs": "#[no_mangle]\npub fn go() {}\n"},
        {},
    ],
)
async def test_an_importer_that_no_name_gives_away(write, indexer, more) -> None:
    """What is built for another language under some other name is a blind spot; a program of two
    languages that know nothing of each other is complete."""
    write(**{"core/go.rs": "fn go() {}\n", "app.py": "import shutil\n", **more})
    found = await indexer.impact(["core/go.rs"])
    assert (found.complete, bool(found.blind_spots)) == (not more, bool(more))
