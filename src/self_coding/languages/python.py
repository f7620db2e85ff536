"""Pure: Python, as the other packages know it.

Its text scan, its imports and its parser are modules of their own, loaded when they are needed:
most questions to the index need the file rules alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from self_coding.languages import Body, Mutant, Occurrences, Project, Resolver, Scan
    from self_coding.values.code import ModuleInfo

_INIT, _CONFTEST = "__init__.py", "conftest.py"
_TESTS = ("tests.py", "test.py")


class Python:
    """Python 3, with pytest's and unittest's names for tests."""

    name = "Python"
    missing = ""
    inline_tests = qualified = False
    suffixes = (".py",)
    test_settings = (
        *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml"),
        *("tox.ini", "setup.cfg"),
    )
    settings = frozenset((*test_settings, "setup.py", "noxfile.py", ".coveragerc"))

    def is_test(self, path: str) -> bool:
        around = f"/{path.rpartition('/')[0]}/"
        return (
            self.is_test_module(path)
            or path.rpartition("/")[2] == _CONFTEST
            or "/tests/" in around
            or "/test/" in around
        )

    def is_test_module(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return name.startswith("test_") or name.endswith("_test.py") or name in _TESTS

    def may_hold_tests(self, path: str) -> bool:
        return path.rpartition("/")[2] not in (_CONFTEST, _INIT)

    def tests_named_after(self, path: str) -> tuple[str, ...]:
        name = path.rpartition("/")[2]
        return f"test_{name}", f"{name.removesuffix('.py')}_test.py"

    def stem(self, path: str) -> str:
        return path.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]

    def is_package(self, path: str) -> bool:
        return path.endswith(_INIT)

    def scope(self, path: str) -> str:
        return ""

    def sees(self, path: str, other: str) -> bool:
        return True

    def exported_as(self, text: str, name: str) -> frozenset[str]:
        return frozenset((name,))

    def packages(self, path: str) -> Iterator[str]:
        # Folders may lack one in between: whoever imports `a.b.c` runs `a` all the same.
        return _above(path, _INIT)

    def fixtures(self, path: str) -> Iterator[str]:
        if self.is_test(path):
            yield from _above(path, _CONFTEST)
            yield _CONFTEST

    def decode(self, source: bytes) -> str:
        from self_coding.languages.python_scan import decode

        return decode(source)

    def scan(self, source: bytes, path: str = "") -> Scan:
        from self_coding.languages.python_scan import scan

        return scan(source)

    def bodies(self, text: str, path: str) -> list[Body]:
        from self_coding.languages import python_syntax

        return python_syntax.bodies(text)

    def find_names(self, text: str, words: frozenset[str]) -> Occurrences:
        from self_coding.languages.python_names import find_names

        return find_names(text, words)

    def class_body_uses(
        self, text: str, name: str, heads: Iterable[int], lines: list[int]
    ) -> list[int]:
        from self_coding.languages.python_names import class_body_uses

        return class_body_uses(text, name, heads, lines)

    def mutants(self, text: str, lines: Container[int]) -> Iterator[Mutant]:
        from self_coding.languages.python_mutants import mutants

        return mutants(text, lines)

    def project(self, manifests: Mapping[str, str]) -> Project:
        from self_coding.languages.python_imports import read_project

        return read_project(next(iter(manifests.values()), ""))

    def resolver(self, files: Mapping[str, int], roots: Iterable[str] = ()) -> Resolver:
        from self_coding.languages.python_imports import Layout

        return Layout(files, roots)

    def syntax_error(self, source: bytes, path: str = "") -> str | None:
        from self_coding.languages.python_syntax import syntax_error

        return syntax_error(source)

    def parse(self, source: bytes, path: str, module: str) -> ModuleInfo | None:
        from self_coding.languages.python_syntax import parse

        return parse(source, path, module)


LANGUAGE = Python()


def _above(path: str, name: str) -> Iterator[str]:
    """Yield the files of a name in the folders around a file but for the top, innermost first."""
    folder = path.rpartition("/")[0]
    while folder:
        yield f"{folder}/{name}"
        folder = folder.rpartition("/")[0]
