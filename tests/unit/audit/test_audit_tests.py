"""The tests of a change as a whole."""

import pytest
from audit_case import rules


def test_python_2_is_compared_as_text() -> None:
    """Where neither side is Python 3, fewer assertions are still seen."""
    old = "def test_a():\n    print 'x'\n    assert a == 1\n    assert b == 2\n"
    new = old.replace("    assert b == 2\n", "")
    assert rules({"tests/test_a.py": old}, {"tests/test_a.py": new}) == ["assert-removed"]
    assert rules({"tests/test_a.py": old}, {"tests/test_a.py": old + "    assert c\n"}) == []


def test_a_table_of_cases_may_not_lose_one() -> None:
    """A case that goes is a finding, one that moves to another test is not."""
    test = "@pytest.mark.parametrize('a', [1, 2, 3])\ndef test_a(a):\n    assert f(a)\n"
    other = "\n\n@pytest.mark.parametrize('b', [3])\ndef test_b(b):\n    assert f(b)\n"
    less = test.replace("[1, 2, 3]", "[1, 2]")
    before = {"tests/test_a.py": test}
    assert rules(before, {"tests/test_a.py": less}) == ["cases-removed"]
    assert rules(before, {"tests/test_a.py": less + other}) == []


def test_a_wrapper_that_was_there_may_stay() -> None:
    """A decorator that a test already had is no finding, one that hides its failure is."""
    loop = "@contextmanager\ndef loop():\n    yield\n\n\ndef odd(f):\n    return 1\n\n\n"
    test = "@loop()\n@odd\ndef test_a():\n    assert f() == 1\n"
    before = {"tests/test_a.py": loop + test}
    assert rules(before, {"tests/test_a.py": loop + test + "    assert g() == 1\n"}) == []
    bare = {"tests/test_a.py": loop + test.replace("@odd\n", "")}
    assert rules(bare, before) == ["test-wrapped"]


@pytest.mark.parametrize(
    "newer",
    [
        "type Pair = tuple[int, int]\n",
        "def pick[T](one: T) -> T:\n    return one\n",
        "class Box[T: int]:\n    pass\n",
        "try:\n    pass\nexcept ValueError, KeyError:\n    pass\n",
    ],
)
def test_newer_syntax_hides_nothing(newer: str) -> None:
    """Tests written for a newer Python than ours are read: they pass as they are, and what goes
    beside the new syntax is seen."""
    test = "\n\ndef test():\n    assert f() == 1\n    assert g() == 2\n"
    fewer = test.replace("    assert g() == 2\n", "")
    found = [
        rules({"tests/test_a.py": test}, {"tests/test_a.py": newer + t}) for t in (test, fewer)
    ]
    assert found == [[], ["assert-removed"]]


def test_data_follows_what_lies_beside_it() -> None:
    """An expected output may change with the input in its folder; not alone, nor strictly. What
    the tests are installed with is no data."""
    golden, given = "tests/cases/a/expected.txt", "tests/cases/a/given.json"
    old, new = {golden: "1\n", given: "[1]"}, {golden: "2\n", given: "[2]"}
    assert rules(old, new) == []
    assert rules(old, new, strict=True) == ["snapshot-rewritten"]
    assert rules({golden: "1\n"}, {golden: "2\n"}) == ["snapshot-rewritten"]
    pins = {"tests/constraints.txt": "a==1\nb==2\n"}, {"tests/constraints.txt": "a==1\n"}
    assert rules(*pins) == []


def test_a_class_that_is_no_test_takes_none_along() -> None:
    """A fake that inherits may go; a class of inherited tests may only get another usual name."""
    head = "from base import Common\n\n\n"
    fake, tests = (f"{head}class {name}(Common):\n    size = 1\n" for name in ("Fake", "BigTest"))
    renamed = tests.replace("BigTest(Common)", "TestBig(Shared)")
    mixin = fake.replace("Common", "CommonMixin"), tests.replace("Common", "CommonMixin")
    assert rules({"tests/test_a.py": mixin[0]}, {"tests/test_a.py": head}) == []
    assert rules({"tests/test_a.py": mixin[1]}, {"tests/test_a.py": head}) == ["test-removed"]
    assert rules({"tests/test_a.py": mixin[1]}, {"tests/test_a.py": renamed}) == []
