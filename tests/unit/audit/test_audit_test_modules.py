"""A test module as pytest would collect it."""

import pytest

from self_coding.audit.files import Settings
from self_coding.audit.test_modules import cases, read_module


@pytest.mark.parametrize(
    ("text", "collected"),
    [
        ("def test_a(): pass", ["test_a"]),
        ("def helper(): pass", []),
        ("@pytest.fixture\ndef test_a(): pass", []),
        ("class TestA:\n    def test_a(self): pass", ["TestA.test_a"]),
        ("class TestA:\n    def __init__(self): pass\n    def test_a(self): pass", []),
        ("class TestA:\n    __test__ = False\n    def test_a(self): pass", []),
        ("class A(TestCase):\n    def test_a(self): pass", ["A.test_a"]),
        ("class Helper:\n    def test_a(self): pass", []),
        ("class A:\n    def test_a(self): pass\nclass TestB(A): pass", ["A.test_a"]),
        ("if False:\n    def test_a(): pass", []),
        ("try:\n    def test_a(): pass\nfinally:\n    x = 1", ["test_a"]),
    ],
)  # fmt: skip
def test_what_pytest_runs_is_collected(text: str, collected: list[str]) -> None:
    """Functions and methods count as tests by name, class, base and mark."""
    module = read_module("tests/test_a.py", text, Settings())
    assert module is not None
    assert [test.name for test in module.tests if test.collected] == collected


def test_a_table_that_has_a_name_is_read() -> None:
    """Parameter sets are read where they are written, also with an annotation."""
    text = "CASES: list[int] = [1, 2]\n\n@mark.parametrize('a', CASES)\ndef test_a(a): pass\n"
    module = read_module("tests/test_a.py", text, Settings())
    assert module is not None
    assert cases(module.by_name["test_a"], module) == ["1", "2"]
    assert cases(module.by_name["test_a"]) == []
