"""What a function claims, and whether its claims are reached."""

import ast

import pytest

from self_coding.audit.claims import claims_of


def reaches(body: str) -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    function = ast.parse(f"def test():\n{lines}").body[0]
    assert isinstance(function, ast.FunctionDef)
    return [claim.reach for claim in claims_of(function, helpers=["holds"], idle=["check_nothing"])]


@pytest.mark.parametrize(
    ("body", "reach"),
    [
        ("assert a", [""]),
        ("self.assertEqual(a, b)", [""]),
        ("holds(a)", [""]),
        ("check_nothing(a)", []),
        ("f(a)", []),
        ("return\nassert a", ["unreachable"]),
        ("if x:\n    assert a\nelse:\n    assert b", ["if x", "unless x"]),
        ("if False:\n    assert a\nelse:\n    assert b", ["unreachable", ""]),
        ("while x:\n    assert a\nelse:\n    assert b", ["if x", ""]),
        ("for x in []:\n    assert x", ["unreachable"]),
        ("for x in y[:0]:\n    assert x", ["unreachable"]),
        ("for x in y[1:]:\n    assert x", [""]),
        ("try:\n    assert a\nexcept Exception:\n    pass", ["swallowed"]),
        ("try:\n    assert a\nexcept Exception:\n    raise", [""]),
        ("try:\n    assert a\nexcept OSError:\n    pass", [""]),
        ("with suppress(AssertionError):\n    assert a", ["swallowed"]),
        ("def inner():\n    assert a", ["unreachable"]),
        ("def inner():\n    assert a\ninner()", [""]),
    ],
)  # fmt: skip
def test_the_reach_of_a_claim_is_known(body: str, reach: list[str]) -> None:
    """An assertion is run, run on a condition, caught where it fails, or never reached."""
    assert reaches(body) == reach


def test_functions_inside_of_each_other_are_read_once_each() -> None:
    """As deep as Python allows, an inner function is no reason to read those inside of it again."""
    source = "def test_a():\n" + "".join(f"{' ' * deep}def f{deep}():\n" for deep in range(1, 60))
    source += f"{' ' * 60}assert f() == 1\n"
    [function] = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert [claim.reach for claim in claims_of(function)] == ["unreachable"]
