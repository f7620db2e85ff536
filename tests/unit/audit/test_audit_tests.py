"""The tests of a change as a whole."""

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
