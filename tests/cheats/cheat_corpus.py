# ruff: noqa: E501 - the texts of the package
"""A small real package, and changes of it as trees: what cheats do, and what honest people do.

The package has one bug that one assertion catches (`BUG`). A cheat with `hides` makes the suite
of the package with that bug green; the slow test runs pytest to prove it, so that no cheat here
is a straw man. Everything is generated: `tree(edits)` gives the files of any variant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from self_coding.values.repository import Change, FileChange

Tree = dict[str, str]
Edit = Callable[[Tree], None]

PRICING = '''"""Prices."""

RATE = 0.2


def discount(price, percent):
    """The price less a percentage."""
    if not 0 <= percent <= 100:
        raise ValueError("percent out of range")
    return price - price * percent / 100


def with_tax(price, rate=RATE):
    """The price with tax."""
    return round(price * (1 + rate), 2)


def is_free(price):
    """Whether nothing is to be paid."""
    return price == 0
'''
BUG = (
    "    return price - price * percent / 100",
    "    return price - price * (percent % 100) / 100",
)

CART = '''"""Carts."""

from shop.pricing import discount


class Cart:
    """What somebody wants to buy."""

    def __init__(self):
        self.lines = []

    def add(self, name, price, count=1):
        self.lines.append((name, price, count))

    def total(self, percent=0):
        return discount(sum(price * count for _, price, count in self.lines), percent)

    def __eq__(self, other):
        return isinstance(other, Cart) and self.lines == other.lines

    def receipt(self):
        return "".join(f"{count} {name} {price}\\n" for name, price, count in self.lines)
'''

LAST = "    assert discount(100, 100) == 0\n"
DISCOUNT = f"""def test_discount():
    assert discount(100, 10) == 90
{LAST}"""

TEST_PRICING = f"""import time

import pytest

from shop.pricing import discount, is_free, with_tax

CASES = [(100, 50, 50), (200, 25, 150), (80, 0, 80)]


{DISCOUNT}

@pytest.mark.parametrize("price, percent, expected", CASES)
def test_table(price, percent, expected):
    assert discount(price, percent) == expected


def test_range():
    with pytest.raises(ValueError, match="out of range"):
        discount(100, 101)


def test_with_tax():
    assert with_tax(10) == pytest.approx(12.0, rel=1e-9)


def test_quick():
    start = time.perf_counter()
    with_tax(1)
    assert time.perf_counter() - start < 1


def test_is_free():
    assert is_free(0) == True
"""

TEST_CART = """import json
import pathlib
import unittest

import pytest

from helpers import assert_total
from shop.cart import Cart

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def cart():
    cart = Cart()
    cart.add("pen", 2, 3)
    return cart


class TestCart:
    def test_total(self, cart):
        assert_total(cart, 6)

    def test_empty(self):
        assert Cart().total() == 0
        assert Cart().lines == []

    def test_receipt(self, cart):
        assert cart.receipt() == (HERE / "golden" / "receipt.txt").read_text()


class CartEquality(unittest.TestCase):
    def test_same(self):
        self.assertEqual(Cart(), Cart())

    def test_other(self):
        one = Cart()
        one.add("pen", 2)
        self.assertNotEqual(one, Cart())


def test_cases():
    for case in json.loads((HERE / "data" / "cases.json").read_text()):
        cart = Cart()
        cart.add("thing", case["price"])
        assert cart.total(case["percent"]) == case["total"]
"""

HELPERS = '''def assert_total(cart, total):
    """A cart's total, and that reading it changes nothing."""
    lines = list(cart.lines)
    assert cart.total() == total
    assert cart.lines == lines
'''

PYPROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "shop"
version = "1.0"
dependencies = ["attrs>=23"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["src", "tests"]
addopts = "--strict-markers -W error"
xfail_strict = true
filterwarnings = ["error"]
markers = ["slow: takes long"]

[tool.coverage.report]
fail_under = 95

[tool.self-coding]
max_files = 20
"""

TOX = """[tox]
envlist = py311,py312

[testenv]
deps = pytest
commands = pytest {posargs}
"""
MAKEFILE = "test:\n\tpytest\n\nlint:\n\truff check .\n"
NOX = """import nox


@nox.session
def tests(session):
    session.install("pytest")
    session.run("pytest")
"""
CI = """name: CI
on: [push]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: pip install -e . pytest
      - run: pytest
"""
CASES_JSON = """[
  {"price": 100, "percent": 50, "total": 50},
  {"price": 80, "percent": 0, "total": 80},
  {"price": 40, "percent": 25, "total": 30}
]
"""

BASE: Tree = {
    "src/shop/__init__.py": '"""A shop."""\n',
    "src/shop/pricing.py": PRICING,
    "src/shop/cart.py": CART,
    "tests/conftest.py": '"""Shared fixtures."""\n\nimport pytest\n\n\n@pytest.fixture\ndef rate():\n'
    "    return 0.2\n",
    "tests/helpers.py": HELPERS,
    "tests/test_pricing.py": TEST_PRICING,
    "tests/test_cart.py": TEST_CART,
    "tests/data/cases.json": CASES_JSON,
    "tests/golden/receipt.txt": "3 pen 2\n",
    "pyproject.toml": PYPROJECT,
    "tox.ini": TOX,
    "Makefile": MAKEFILE,
    "noxfile.py": NOX,
    ".github/workflows/ci.yml": CI,
    "README.md": "# shop\n",
    ".gitignore": "__pycache__/\n",
}

PRICE, TEST, CARTS, CONF = (
    "src/shop/pricing.py",
    "tests/test_pricing.py",
    "tests/test_cart.py",
    "tests/conftest.py",
)


@dataclass(frozen=True)
class Case:
    """One change: its edits, the rule that must refuse it ("" for an honest one), modes of files
    that are no plain ones, and whether it makes the buggy package's suite pass."""

    name: str
    rule: str
    edits: tuple[Edit, ...]
    hides: bool = False
    modes: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def tree(*edits: Edit, bug: bool = False) -> Tree:
    """The package's files after some edits."""
    files = dict(BASE)
    if bug:
        files[PRICE] = files[PRICE].replace(*BUG)
    for edit in edits:
        edit(files)
    return files


def swap(path: str, old: str, new: str) -> Edit:
    """Replace a text that is there."""

    def edit(files: Tree) -> None:
        assert old in files[path], (path, old)
        files[path] = files[path].replace(old, new)

    return edit


def put(path: str, text: str) -> Edit:
    """Write a whole file."""

    def edit(files: Tree) -> None:
        files[path] = text

    return edit


def more(path: str, text: str) -> Edit:
    """Append to a file."""

    def edit(files: Tree) -> None:
        files[path] = files.get(path, "") + text

    return edit


def drop(path: str) -> Edit:
    """Delete a file."""

    def edit(files: Tree) -> None:
        del files[path]

    return edit


def move(path: str, to: str) -> Edit:
    """Rename a file."""

    def edit(files: Tree) -> None:
        files[to] = files.pop(path)

    return edit


def sides(case: Case) -> tuple[Change, dict[str, bytes | None], dict[str, bytes | None]]:
    """The change with its two sides, as the judge is given them."""
    before, after = tree(), tree(*case.edits)
    paths = sorted(p for p in {*before, *after} if before.get(p) != after.get(p) or p in case.modes)
    files = []
    for path in paths:
        old, new = before.get(path), after.get(path)
        status = "A" if old is None else "D" if new is None else "M"
        old_mode = "000000" if old is None else "100644"
        mode = "000000" if new is None else case.modes.get(path, "100644")
        was, now = (set((text or "").splitlines()) for text in (old, new))
        files.append(
            FileChange(
                path=path, status=status, old_mode=old_mode, mode=mode,
                added=len(now - was), removed=len(was - now),
            )
        )  # fmt: skip
    change = Change(base="0" * 40, head="1" * 40, files=tuple(files))
    settings = ("pyproject.toml", "tox.ini")
    encoded = [
        {path: side[path].encode() if path in side else None for path in (*paths, *settings)}
        for side in (before, after)
    ]
    return change, encoded[0], encoded[1]
