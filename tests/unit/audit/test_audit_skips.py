"""Which skips are refused by reading."""

import pytest
from audit_case import rules


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("sys.platform == 'win32'", True),
        ("sys.version_info >= (3, 8)", True),
        ("sys.platform.startswith('win')", True),
        ("compiled", True),
        ("part.__name__ == 'slow'", True),
        ("slow()", True),
        ("os.environ.get('CI')", False),
        ("'linux' in os.environ['HOST']", False),
        ("datetime.date.today().year > 2030", False),
        ("OWN", True),
        ("SET", False),
        ("True", False),
        ("False", True),
    ],
)
def test_what_the_run_shows_is_left_to_it(condition: str, told: bool) -> None:
    """Platform, version, the code and a parameter decide in the run as they do now; what may turn
    tomorrow or elsewhere, or is the module's own, counts as a skip."""
    test = "def test():\n    assert f() == 1\n"
    names = "import os\nfrom pytest import mark\nfrom code import compiled\nOWN = f()\nSET = True\n"
    marked = f"{names}@mark.skipif({condition}, reason='')\n{test}"
    found = rules({"tests/test_a.py": names + test}, {"tests/test_a.py": marked})
    assert found == ([] if told else ["test-skipped"])


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
        (BODY, "@skipif(a())\n" + BODY, False),
        (BODY, "@skipif(version(rare) < 2)\n" + BODY, False),
        ("@skipif(not a())\n" + BODY, "@skipUnless(a(), 'why')\n" + BODY, False),
        (
            RARE + "@skipif(rare is None)\n" + BODY,
            ASKS + BODY,
            False,
        ),
        (BODY, ASKS + BODY, False),
        ("@xfail(strict=True)\n" + BODY, "@xfail(strict=False)\n" + BODY, True),
        ("@skip\n" + BODY, "@xfail(strict=True)\n" + BODY, False),
    ],
)
def test_the_same_skip_may_be_spelled_differently(old: str, new: str, broken: bool) -> None:
    """Another reason or condition passes, which the run shows; to skip always does not."""
    names = "from pytest import importorskip\nfrom pytest.mark import skip, skipif, xfail\n"
    sides = ({"tests/test_a.py": names + text} for text in (old, new))
    assert bool(rules(*sides)) is broken
