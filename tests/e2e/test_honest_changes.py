# ruff: noqa: E501 - the texts of changes
"""Honest changes of code together with its tests go through a whole self-edit, and land.

The base's own tests run on the new code; where one of them fails, the change accounts for it.
The counter-examples beside them are the same changes with a bug behind: those are refused, and
what is said is enough to go on.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from self_coding.config import open_layer
from self_coding.errors import GitOperationError
from self_coding.testing import ScriptedEditor

Tree = dict[str, str]
Edit = Callable[[Tree], None]

PROJECT: Tree = {
    "pyproject.toml": """[project]
name = "shop"
version = "1.0"

[tool.pytest.ini_options]
pythonpath = ["src", "tests"]
testpaths = ["tests"]

[tool.self_coding]
record_coverage = false
test_command = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 python -m pytest -q"
""",
    ".gitignore": "__pycache__/\n",
    "src/shop/__init__.py": "",
    "src/shop/prices.py": '''"""Prices."""


def discount(price, percent):
    """The price less a percentage."""
    if percent > 100:
        raise ValueError("too much")
    return price - price * percent / 100


def with_tax(price):
    """The price with tax."""
    return round(price * 1.2, 2)


def label(name, price):
    """A line for the shelf."""
    return f"{name}: {price:.2f}"
''',
    "src/shop/cart.py": '''"""Carts."""


class Cart:
    """What somebody buys."""

    def __init__(self):
        self.lines = []

    def add(self, price, count=1):
        self.lines.append((price, count))

    def total(self):
        return sum(price * count for price, count in self.lines)
''',
    "tests/conftest.py": """import pytest

from shop.cart import Cart


@pytest.fixture
def cart():
    one = Cart()
    one.add(10, 2)
    return one
""",
    "tests/helpers.py": """def near(one, two, tolerance=1e-9):
    return abs(one - two) <= tolerance
""",
    "tests/golden/shelf.txt": "pen: 2.00\nink: 10.50\n",
    "tests/test_prices.py": """from pathlib import Path

import pytest

from helpers import near
from shop.prices import discount, label, with_tax

CASES = [(100, 10, 90), (100, 100, 0), (50, 50, 25)]
SHELF = Path(__file__).parent / "golden" / "shelf.txt"


@pytest.mark.parametrize("price, percent, expected", CASES)
def test_discount(price, percent, expected):
    assert discount(price, percent) == expected


def test_too_much():
    with pytest.raises(ValueError, match="too much"):
        discount(100, 101)


def test_tax():
    assert with_tax(10) == 12.0
    assert near(with_tax(0.5), 0.6)


def test_shelf():
    lines = [label("pen", 2), label("ink", 10.5)]
    assert "\\n".join(lines) + "\\n" == SHELF.read_text()
""",
    "tests/test_cart.py": """import unittest

from shop.cart import Cart


def test_total(cart):
    assert cart.total() == 20


class EmptyTest(unittest.TestCase):
    def test_empty(self):
        self.assertEqual(Cart().total(), 0)
""",
}
PRICES, CART = "src/shop/prices.py", "src/shop/cart.py"
TESTS, CART_TESTS = "tests/test_prices.py", "tests/test_cart.py"


def swap(path: str, old: str, new: str) -> Edit:
    def edit(tree: Tree) -> None:
        assert old in tree[path], old
        tree[path] = tree[path].replace(old, new)

    return edit


def put(path: str, text: str) -> Edit:
    return lambda tree: tree.__setitem__(path, text)


def more(path: str, text: str) -> Edit:
    return lambda tree: tree.__setitem__(path, tree[path] + text)


def drop(path: str) -> Edit:
    return lambda tree: tree.__delitem__(path)


def everywhere(old: str, new: str) -> Edit:
    def edit(tree: Tree) -> None:
        for path in tree:
            tree[path] = tree[path].replace(old, new)

    return edit


def moved(old: str, new: str) -> Edit:
    return lambda tree: tree.__setitem__(new, tree.pop(old))


UPPER = swap(PRICES, 'return f"{name}: {price:.2f}"', 'return f"{name.upper()}: {price:.2f}"')
TAX = swap(PRICES, "price * 1.2", "price * 1.5")
CURRENCY = swap(
    CART,
    "def __init__(self):\n",
    "def __init__(self, currency):\n        self.currency = currency\n",
)

HONEST: dict[str, tuple[Edit, ...]] = {
    "a function renamed, with its tests": (everywhere("with_tax", "taxed"),),
    "a module renamed, with its tests": (
        moved(PRICES, "src/shop/pricing.py"), everywhere("shop.prices", "shop.pricing"),
    ),
    "behaviour changed, its expectation updated": (
        TAX, swap(TESTS, "== 12.0", "== 15.0"), swap(TESTS, "near(with_tax(0.5), 0.6)", "near(with_tax(0.5), 0.75)"),
    ),
    "a case's expectation updated": (
        swap(PRICES, "return price - price * percent / 100", "return price if percent == 50 else price - price * percent / 100"),
        swap(TESTS, "(50, 50, 25)", "(50, 50, 50)"),
    ),
    "an error becomes a result": (
        swap(PRICES, '        raise ValueError("too much")\n', "        return 0\n"),
        swap(TESTS, '    with pytest.raises(ValueError, match="too much"):\n        discount(100, 101)\n', "    assert discount(100, 101) == 0\n"),
    ),
    "another error": (
        swap(PRICES, 'ValueError("too much")', 'OverflowError("over one hundred")'),
        swap(TESTS, 'ValueError, match="too much"', 'OverflowError, match="over one hundred"'),
    ),
    "a golden file made anew": (UPPER, put("tests/golden/shelf.txt", "PEN: 2.00\nINK: 10.50\n")),
    "a parameter more, handed over by tests and fixtures": (
        CURRENCY, swap("tests/conftest.py", "Cart()", 'Cart("EUR")'), swap(CART_TESTS, "Cart()", 'Cart("EUR")'),
    ),
    "a function withdrawn with its test": (
        swap(PRICES, 'def with_tax(price):\n    """The price with tax."""\n    return round(price * 1.2, 2)\n\n\n', ""),
        swap(TESTS, "from helpers import near\nfrom shop.prices import discount, label, with_tax\n", "from shop.prices import discount, label\n"),
        swap(TESTS, "def test_tax():\n    assert with_tax(10) == 12.0\n    assert near(with_tax(0.5), 0.6)\n\n\n", ""),
    ),
    "a fixture refactored beside new code": (
        more(CART, "\n    def clear(self):\n        self.lines = []\n"),
        swap("tests/conftest.py", "    one = Cart()\n    one.add(10, 2)\n    return one\n", "    filled = Cart()\n    for _ in range(2):\n        filled.add(10)\n    return filled\n"),
        swap(CART_TESTS, "\n\nclass EmptyTest", "\n    cart.clear()\n    assert cart.total() == 0\n\n\nclass EmptyTest"),
    ),
    "a helper moved": (
        moved("tests/helpers.py", "tests/close.py"), swap(TESTS, "from helpers import", "from close import"),
        more(PRICES, "\n\ndef free(price):\n    return price == 0\n"),
    ),
    "parameters made of a loop": (
        swap(TESTS, "    assert with_tax(10) == 12.0\n    assert near(with_tax(0.5), 0.6)\n", "    assert with_tax(price) == expected\n"),
        swap(TESTS, "def test_tax():", '@pytest.mark.parametrize("price, expected", [(10, 12.0), (0.5, 0.6)])\ndef test_tax(price, expected):'),
        swap(TESTS, "from helpers import near\n", ""),
        more(PRICES, "\n\ndef free(price):\n    return price == 0\n"),
    ),
    "a new fixture in a new conftest": (
        put("tests/unit/conftest.py", "import pytest\n\n\n@pytest.fixture\ndef ten():\n    return 10\n"),
        put("tests/unit/test_free.py", "from shop.prices import free\n\n\ndef test_free(ten):\n    assert not free(ten)\n    assert free(0)\n"),
        more(PRICES, "\n\ndef free(price):\n    return price == 0\n"),
    ),
    "tests split into two files": (
        swap(TESTS, "\n\ndef test_too_much():\n    with pytest.raises(ValueError, match=\"too much\"):\n        discount(100, 101)\n", ""),
        put("tests/test_errors.py", "import pytest\n\nfrom shop.prices import discount\n\n\ndef test_too_much():\n    with pytest.raises(ValueError, match=\"too much\"):\n        discount(100, 101)\n"),
        swap(PRICES, "    if percent > 100:\n", "    if not percent <= 100:\n"),
    ),
    "unittest ported to pytest": (
        swap(CART_TESTS, "class EmptyTest(unittest.TestCase):\n    def test_empty(self):\n        self.assertEqual(Cart().total(), 0)\n", "def test_empty():\n    assert Cart().total() == 0\n"),
        swap(CART_TESTS, "import unittest\n\n", ""),
        more(CART, "\n    def clear(self):\n        self.lines = []\n"),
    ),
    "a dependency and a marker more": (
        swap("pyproject.toml", 'version = "1.0"\n', 'version = "1.1"\ndependencies = []\n'),
        swap("pyproject.toml", 'testpaths = ["tests"]\n', 'testpaths = ["tests"]\nmarkers = ["slow: takes long"]\n'),
        more(PRICES, "\n\ndef free(price):\n    return price == 0\n"),
        more(TESTS, "\n\n@pytest.mark.slow\ndef test_free():\n    from shop.prices import free\n\n    assert free(0)\n"),
    ),
    "behaviour changed, a claim more": (
        TAX, swap(TESTS, "    assert with_tax(10) == 12.0\n    assert near(with_tax(0.5), 0.6)\n", "    assert with_tax(0) == 0\n    assert with_tax(10) == 15.0\n    assert near(with_tax(0.5), 0.75)\n"),
    ),
}  # fmt: skip

BENT: dict[str, tuple[Edit, ...]] = {
    "the claim is gone": (TAX, swap(TESTS, "    assert with_tax(10) == 12.0\n    assert near(with_tax(0.5), 0.6)\n", "    assert with_tax(0) == 0\n")),
    "the tolerance is wider": (TAX, swap(TESTS, "== 12.0", "== 15.0"), swap(TESTS, "near(with_tax(0.5), 0.6)", "near(with_tax(0.5), 0.6, 9)")),
    "the helper forgives": (TAX, swap(TESTS, "== 12.0", "== 15.0"), swap("tests/helpers.py", "1e-9", "1e9")),
    "the expected value is computed by the subject": (TAX, swap(TESTS, "with_tax(10) == 12.0", "with_tax(10) == with_tax(10)"), swap(TESTS, "with_tax(0.5), 0.6", "with_tax(0.5), 0.75")),
    "another input": (TAX, swap(TESTS, "with_tax(10) == 12.0", "with_tax(0) == 0"), swap(TESTS, "with_tax(0.5), 0.6", "with_tax(0.5), 0.75")),
    "a case is gone": (
        swap(PRICES, "price * percent / 100", "price * (percent % 100) / 100"), swap(TESTS, ", (100, 100, 0)", ""),
    ),
    "the fixture gives a fake": (
        swap(CART, "price * count", "price"), swap("tests/conftest.py", "    one.add(10, 2)\n", "    one.add(10)\n    one.add(10)\n"),
    ),
    "any error will do": (
        swap(PRICES, 'raise ValueError("too much")', "raise KeyError"), swap(TESTS, 'ValueError, match="too much"', "Exception"),
    ),
    "a golden file emptied": (UPPER, put("tests/golden/shelf.txt", "\n"), swap(TESTS, '== SHELF.read_text()', '!= SHELF.read_text()')),
    "renamed, and its test is gone": (
        everywhere("with_tax", "taxed"), TAX, swap(TESTS, "def test_tax():\n    assert taxed(10) == 12.0\n    assert near(taxed(0.5), 0.6)\n\n\n", ""),
    ),
    "skipped in place": (TAX, swap(TESTS, "def test_tax():\n", 'def test_tax():\n    pytest.skip("later")\n')),
    "a hook beside a changed expectation": (
        TAX, swap(TESTS, "== 12.0", "== 15.0"), more("tests/conftest.py", "\n\ndef pytest_pyfunc_call(pyfuncitem):\n    return True\n"),
    ),
}  # fmt: skip


def self_edit(top: Path, edits: tuple[Edit, ...], base: Tree | None = None, **how: object):
    """Run one self-edit of the project in `top` by a script."""
    before = PROJECT | (base or {})
    after = dict(before)
    for edit in edits:
        edit(after)
    write(top, {}, before)
    git(top, "init", "-q", "-b", "main")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "base")
    editor = ScriptedEditor(lambda place: write(place, before, after))
    return asyncio.run(open_layer(top).edit.self_edit("Tidy up", editor=editor, **how))


def write(top: Path, before: Tree, after: Tree) -> None:
    for path in before.keys() - after.keys():
        (top / path).unlink()
    for path, text in after.items():
        if before.get(path) != text:
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(text)


def git(top: Path, *args: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(top), *identity, *args], check=True, capture_output=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("honest")


@pytest.fixture
def top(place):
    """An empty folder, always in one place: what the gate knows of the project's base stays."""
    top, verdicts = place / "r", place / "verdicts"
    kept = top / ".git" / "self_coding" / "verdicts"
    kept.parent.mkdir(parents=True)
    if verdicts.is_dir():
        verdicts.rename(kept)
    yield top
    if kept.is_dir():
        kept.rename(verdicts)
    shutil.rmtree(top)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_change_lands(top, name):
    """Code and tests that change together land, whatever the base's tests say of it."""
    result = self_edit(top, HONEST[name])
    assert result.success, (result.message, result.findings)


@pytest.mark.parametrize("name", BENT)
def test_the_same_with_a_bug_behind_does_not(top, name):
    """What hides a bug is refused, by reading or by the base's tests."""
    result = self_edit(top, BENT[name])
    assert not result.success


SCALED = (TAX, swap(TESTS, "with_tax(10) == 12.0", "with_tax(0) == 0"), swap(TESTS, "0.5), 0.6", "0.5), 0.75"))  # fmt: skip


def test_who_is_refused_learns_all_from_the_message(top):
    """Which test of main says no, with what output, and the two ways on with the command."""
    result = self_edit(top, SCALED)
    [found] = [one for one in result.findings if one.rule == "base-judge"]
    assert (found.path, result.by) == ("tests/test_prices.py", "gate")
    assert "main's own test tests/test_prices.py::test_tax says no" in found.message
    assert "assert 15.0 == 12.0" in found.message
    assert "with_tax(10) == 12.0" in result.test_results
    for way in (
        "git show main:tests/test_prices.py",
        "`propose`",
        'policy.mode = "ask"',
        "`land_edit`",
    ):
        assert way in result.hint


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_decides_about_what_mains_tests_refuse(top, answer):
    """Asked before the landing, a person sees the finding, and their word counts."""
    seen = []
    result = self_edit(top, SCALED, ask=lambda question: seen.append(question) or answer)
    assert [one.rule for one in seen[0].findings] == ["base-judge"]
    assert result.success is answer


def test_a_policy_that_asks_leaves_it_waiting(top):
    """With `policy.mode = "ask"` the attempt waits for whoever approves."""
    project = PROJECT["pyproject.toml"] + '\n[tool.self_coding.policy]\nmode = "ask"\n'
    result = self_edit(top, SCALED, base={"pyproject.toml": project})
    assert (result.stage, result.waiting) == ("waiting", "approval")


def test_no_expectation_changes_where_tests_may_only_grow(top):
    """With `tests_may_change = "added"` a changed expectation is refused, however honest."""
    project = (
        PROJECT["pyproject.toml"] + '\n[tool.self_coding.policy]\ntests_may_change = "added"\n'
    )
    change = HONEST["a golden file made anew"]
    result = self_edit(top, change, base={"pyproject.toml": project})
    assert not result.success


@pytest.mark.parametrize(
    ("edits", "merged"), [(HONEST["another error"], True), (BENT["the helper forgives"], False)]
)
def test_a_merge_that_requires_tests_asks_the_base_too(top, edits, merged):
    """`merge_to_main` has the same judge: a branch with its bent tests is not merged."""
    after = dict(PROJECT)
    for edit in edits:
        edit(after)
    write(top, {}, PROJECT)
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "base")):
        git(top, *words)
    git(top, "switch", "-qc", "work")
    write(top, PROJECT, after)
    git(top, "commit", "-qam", "work")
    layer = open_layer(top)
    try:
        asyncio.run(layer.git.merge_to_main("work"))
    except GitOperationError as error:
        assert not merged, error
        assert "the base's own tests say no" in str(error)
    else:
        assert merged
