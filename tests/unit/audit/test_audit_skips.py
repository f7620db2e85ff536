"""Whether a skip would hold here."""

import pytest
from audit_case import expression, rules

from self_coding.audit.files import Settings
from self_coding.audit.skips import evaluate
from self_coding.audit.test_modules import read_module


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sys.platform == 'win32'", False),
        ("sys.platform != 'win32'", True),
        ("True", True),
        ("sys.version_info < (3, 8)", False),
        ("sys.version_info >= (3, 8)", True),
        ("sys.version_info[0] == 2", False),
        ("sys.version_info[:2] >= (3, 8)", True),
        ("os.name == 'nt'", False),
        ("not IS_WINDOWS", True),
        ("PY2", False),
        ("sys.platform.startswith('win')", False),
        ("numpy is None", False),
        ("not numpy", False),
        ("FLAG", True),
        ("sys.platform == 'win32' and unknown()", False),
        ("mod.part is None", False),
        ("platform.python_implementation() == 'PyPy'", False),
    ],
)
def test_skip_conditions_are_worked_out(text: str, value: bool) -> None:
    """A condition on platform, version, an optional import or a constant has a value here."""
    source = "FLAG = 1 == 1\ntry:\n    import numpy\nexcept ImportError:\n    numpy = None\n"
    module = read_module("tests/test_a.py", source, Settings())
    assert module is not None
    known = evaluate(expression(text), module)
    assert known is not None
    assert bool(known[0]) is value


def test_an_unknown_condition_has_no_value() -> None:
    """What depends on the outside stays unknown, and so counts as a skip."""
    module = read_module("tests/test_a.py", "", Settings())
    assert module is not None
    assert evaluate(expression("os.environ.get('X')"), module) is None


@pytest.mark.parametrize("text", ["'ab'[9]", "'ab'[-9]", "sys.version_info[:1e999]", "'ab'[1e9]"])
def test_a_condition_that_would_raise_has_no_value(text: str) -> None:
    """A subscript out of range, or that is not a whole number, is unknown and no traceback."""
    module = read_module("tests/test_a.py", "", Settings())
    assert module is not None
    assert evaluate(expression(f"{text} == 1"), module) is None


@pytest.mark.parametrize("text", ["-" * 20_000 + "1", "not " * 500 + "x", "a\\x00b", "x = 1", ""])
def test_a_condition_in_a_string_may_be_anything(text: str) -> None:
    """A string that is not a condition, or made to break its reader, counts as a skip."""
    test = "def test():\n    assert f() == 1\n"
    marked = f"@mark.skipif({text!r})\n{test}".replace("\\\\", "\\")
    assert rules({"tests/test_a.py": test}, {"tests/test_a.py": marked}) == ["test-skipped"]


BODY = "def test():\n    assert f() == 1\n"
ASKS = "rare = importorskip('rare')\n\n\n"
RARE = "try:\n    import rare\nexcept ImportError:\n    rare = None\n\n\n"


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("@skip(reason='a')\n" + BODY, "@skip(reason='b')\n" + BODY, False),
        ("@skip\n" + BODY, "@skipif(slow(), reason='b')\n" + BODY, False),
        ("@skipif(slow(), reason='b')\n" + BODY, "@skip\n" + BODY, True),
        ("@skipif(a() or b())\n" + BODY, "@skipif(a())\n" + BODY, False),
        ("@skipif(a())\n" + BODY, "@skipif(True)\n" + BODY, True),
        (BODY, "@skipif(a())\n" + BODY, True),
        (BODY, "@skipif(version(rare) < 2)\n" + BODY, False),
        ("import rare\n\n\n" + BODY, "rare = importorskip('rare')\n\n\n" + BODY, False),
        ("@skipif(not a())\n" + BODY, "@skipUnless(a(), 'why')\n" + BODY, False),
        (
            RARE + "@skipif(rare is None)\n" + BODY,
            ASKS + BODY,
            False,
        ),
        (BODY, ASKS + BODY, True),
        ("@xfail(strict=True)\n" + BODY, "@xfail(strict=False)\n" + BODY, True),
        ("@skip\n" + BODY, "@xfail(strict=True)\n" + BODY, False),
    ],
)
def test_the_same_skip_may_be_spelled_differently(old: str, new: str, broken: bool) -> None:
    """Another reason or condition passes, which the run shows; to skip always does not."""
    names = "from pytest import importorskip\nfrom pytest.mark import skip, skipif, xfail\n"
    sides = ({"tests/test_a.py": names + text} for text in (old, new))
    assert bool(rules(*sides)) is broken
