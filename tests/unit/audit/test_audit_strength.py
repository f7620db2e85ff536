"""How much a condition says, and how near it has to be."""

import pytest
from audit_case import expression

from self_coding.audit import strength as says


@pytest.mark.parametrize(
    "text",
    [
        "True",
        "1",
        "'x'",
        "f() or True",
        "(f(), 'why')",
        "[f()]",
        "not False",
        "not ()",
        "x == x",
        "x is x",
        "len(f()) >= 0",
        "len(x) > -1",
        "isinstance(x, object)",
        "lambda: f()",
        "1 == 1",
        "x == 1 or x != 1",
        "f() or not f()",
        "bool(1)",
        "any([f(), True])",
        "(y := 1)",
        "1 < 2",
        "True if f() else True",
        "f() == ANY",
        "{'a': f()}",
        "(x for x in f())",
        "True and 1",
    ],
)
def test_what_cannot_fail_is_seen(text: str) -> None:
    """A condition that is true whatever the code does says nothing."""
    assert says.strength(expression(text), {}) == says.NOTHING


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("f() == 1", says.EXACT),
        ("f() is None", says.EXACT),
        ("f() == approx(1)", says.CLOSE),
        ("f() in (1, 2)", says.LOOSE),
        ("f() > 0", says.LOOSE),
        ("not f()", says.LOOSE),
        ("f() is not None", says.EXISTS),
        ("isinstance(f(), int)", says.EXISTS),
        ("f()", says.LOOSE),
        ("f() == f()", says.EXISTS),
        ("f() == 1 and g()", says.EXACT),
        ("f() == 1 or g() > 2", says.LOOSE),
        ("x", says.EXISTS),
        ("f() != 1", says.LOOSE),
    ],
)
def test_strength_orders_conditions(text: str, least: int) -> None:
    """An exact value says more than a range, a range more than that there is something."""
    assert says.strength(expression(text), {}) == least


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("x == approx(1)", 1e-6),
        ("x == approx(1, abs=0.5)", 0.5),
        ("x == approx(1, 0.1)", 0.1),
        ("isclose(x, 1, rel_tol=0.2)", 0.2),
        ("self.assertAlmostEqual(x, 1, places=2)", 0.005),
        ("self.assertAlmostEqual(x, 1, 1)", 0.05),
        ("self.assertAlmostEqual(x, 1, delta=3)", 3.0),
        ("round(x, 1) == 2", 0.05),
        ("round(x) == 2", 0.5),
        ("x == 1", 0.0),
    ],
)
def test_tolerances_are_read(text: str, width: float) -> None:
    """However a tolerance is written, its width is known."""
    assert says.tolerance(expression(text)) == pytest.approx(width)


@pytest.mark.parametrize(
    ("old", "new", "looser"),
    [
        ("t < 1", "t < 10", True),
        ("t < 10", "t < 1", False),
        ("n >= 5", "n >= 1", True),
        ("n >= 1", "n >= 5", False),
        ("a < 1", "b < 10", False),
        ("t < 1", "t > 10", False),
    ],
)
def test_bounds_are_compared(old: str, new: str, looser: bool) -> None:
    """A bound by which more passes is looser; another subject is not compared."""
    assert says.is_loosened(expression(old), expression(new)) is looser
