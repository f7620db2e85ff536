"""Pure: Python, as the other packages know it.

Its text scan, its imports and its parser are modules of their own, loaded when they are needed:
most questions to the index need the file rules alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from self_coding.languages import Occurrences, Project, Resolver, Scan
    from self_coding.values.code import ModuleInfo

_INIT, _CONFTEST = "__init__.py", "conftest.py"


class Python:
    """Python 3, with pytest's and unittest's names for tests."""

    suffixes = (".py",)
    manifest = "pyproject.toml"
    test_settings = (
        *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml"),
        *("tox.ini", "setup.cfg"),
    )
    settings = frozenset((*test_settings, "setup.py", "noxfile.py", ".coveragerc"))

    def is_test(self, path: str) -> bool:
        """Return whether a file is a test, a conftest, or in a folder of tests."""
        folder, _, name = path.rpartition("/")
        if name.startswith("test_") or name.endswith("_test.py"):
            return True
        if name in (_CONFTEST, "tests.py", "test.py"):
            return True
        around = f"/{folder}/"
        return "/tests/" in around or "/test/" in around

    def is_test_module(self, path: str) -> bool:
        """Return whether pytest or unittest collects a file, going by its name."""
        name = path.rpartition("/")[2]
        return (
            name.startswith("test_") or name.endswith("_test.py") or name in ("tests.py", "test.py")
        )

    def may_hold_tests(self, path: str) -> bool:
        """Return whether tests that a file of the tests defines are its own to run."""
        return path.rpartition("/")[2] not in (_CONFTEST, _INIT)

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        """Return `test_x.py` and `x_test.py` for `x.py`."""
        name = path.rpartition("/")[2]
        return f"test_{name}", f"{name.removesuffix('.py')}_test.py"

    def stem(self, path: str) -> str:
        """Return the last part of the dotted name of a file."""
        return path.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]

    def is_package(self, path: str) -> bool:
        """Return whether a file makes its folder a package."""
        return path.endswith(_INIT)

    def packages(self, path: str) -> Iterator[str]:
        """Return the `__init__` of each folder above a file, but for the top.

        There may be folders without one in between: whoever imports `a.b.c` runs `a` all the same.
        """
        folder = path.rpartition("/")[0]
        while folder:
            yield f"{folder}/{_INIT}"
            folder = folder.rpartition("/")[0]

    def fixtures(self, path: str) -> Iterator[str]:
        """Return the conftest of each folder above a test."""
        if self.is_test(path):
            folder = path.rpartition("/")[0]
            while folder:
                yield f"{folder}/{_CONFTEST}"
                folder = folder.rpartition("/")[0]
            yield _CONFTEST

    def decode(self, source: bytes) -> str:
        """Return the text of a file by its BOM or declared encoding."""
        from self_coding.languages.python_scan import decode

        return decode(source)

    def scan(self, source: bytes) -> Scan:
        """Return what the text of a file tells, whatever grammar version it is written in."""
        from self_coding.languages.python_scan import scan

        return scan(source)

    def find_names(self, text: str, words: frozenset[str]) -> Occurrences:
        """Return where a file uses some words, by the running interpreter's grammar."""
        from self_coding.languages.python_syntax import find_names

        return find_names(text, words)

    def class_body_uses(
        self, text: str, name: str, heads: Iterable[int], lines: list[int]
    ) -> list[int]:
        """Return the lines, as `@name.setter`, that use a method's bare name in its class."""
        from self_coding.languages.python_syntax import class_body_uses

        return class_body_uses(text, name, heads, lines)

    def project(self, manifest: str) -> Project:
        """Read `pyproject.toml`; one that is not valid TOML declares nothing."""
        from self_coding.languages.python_imports import read_project

        return read_project(manifest)

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        """Return the import names of these files."""
        from self_coding.languages.python_imports import Layout

        return Layout(files, roots)

    def syntax_error(self, source: bytes) -> str | None:
        """Return why the running interpreter cannot parse this, None when it can."""
        from self_coding.languages.python_syntax import syntax_error

        return syntax_error(source)

    def parse(self, source: bytes, path: str, module: str) -> ModuleInfo | None:
        """Return one module as the public API hands it out; None when it cannot be parsed."""
        from self_coding.languages.python_syntax import parse

        return parse(source, path, module)


LANGUAGE = Python()
