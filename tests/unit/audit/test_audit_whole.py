"""Whole changes that are hostile, broken or nothing; rule by rule see `tests/cheats`."""

import pytest
from audit_case import rules
from hypothesis import given, settings
from hypothesis import strategies as st

from self_coding.audit import audit
from self_coding.audit.syntax import parse

TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [
                "def test_a():\n    assert f() == 1\n",
                "def test_b(x):\n    with raises(E):\n        f()\n",
                "import pytest\n",
                "class TestC:\n    def test_d(self):\n        assert g()\n",
                "x = [\n",
                "@pytest.mark.parametrize('a', [1, 2])\ndef test_e(a):\n    assert a\n",
                "\x00",
                "\\\n",
            ]
        ),
        max_size=5,
    ).map("".join),
)
PATHS = st.sampled_from(
    [
        "tests/test_a.py",
        "tests/conftest.py",
        "src/a.py",
        "tox.ini",
        "pyproject.toml",
        "Makefile",
        "tests/data/a.json",
        "setup.cfg",
        "noxfile.py",
    ]
)
SIDE = st.dictionaries(PATHS, TEXTS, max_size=3)


@settings(max_examples=120, deadline=None)
@given(SIDE, SIDE)
def test_any_two_sides_are_judged(before: dict[str, str], after: dict[str, str]) -> None:
    """No content whatever stops the audit."""
    paths = sorted({*before, *after})
    sides = [
        {p: s[p].encode("utf-8", "surrogatepass") if p in s else None for p in paths}
        for s in (before, after)
    ]
    audit(paths, before=sides[0], after=sides[1])


@settings(max_examples=60, deadline=None)
@given(SIDE)
def test_no_change_breaks_no_rule(side: dict[str, str]) -> None:
    """The same on both sides is nothing, whatever it is."""
    encoded = {path: text.encode("utf-8", "surrogatepass") for path, text in side.items()}
    assert audit(side, before=encoded, after=encoded) == ()


def test_deep_nesting_is_refused_not_raised() -> None:
    """A source that is too deep for the parser is no traceback."""
    deep = "x = " + "(" * 3000 + ")" * 3000 + "\n"
    old = "def test():\n    assert f()\n"
    assert "test-unparsable" in rules({"tests/test_a.py": old}, {"tests/test_a.py": deep})


@pytest.mark.parametrize(
    "line",
    [
        "x = " + "1 + " * 900 + "1",
        "x = " + "not " * 300 + "y",
        "assert f() == 0x" + "f" * 9000,
        "assert round(f(), -" + "9" * 400 + ") == 0",
        "assert f() == approx(1" + "0" * 400 + ", abs=1e400)",
        "assert self.assertAlmostEqual(f(), 1, places=-" + "9" * 20 + ")",
        "assert f() < 1" + "0" * 400,
        "assert " + "[" * 90 + "f()" + "]" * 90 + " > 1",
    ],
    ids=range(8),
)
def test_hostile_sources_are_judged(line: str) -> None:
    """Numbers and nestings made to break the reader are judged like any other change."""
    old = "def test():\n    assert f() == 1\n"
    new = f"def test():\n    {line}\n"
    assert rules({"tests/test_a.py": old}, {"tests/test_a.py": new})
    rules({"tests/test_a.py": new}, {"tests/test_a.py": old})
    rules({"src/a.py": new}, {"src/a.py": old})


def test_findings_come_in_order() -> None:
    """Findings are sorted by path and line, without doubles."""
    old = {f"tests/test_{n}.py": "def test_x():\n    assert f() == 1\n" for n in "ba"}
    new = dict.fromkeys(old, "def test_x():\n    assert True\n")
    sides = [{p: t.encode() for p, t in side.items()} for side in (old, new)]
    found = audit(old, before=sides[0], after=sides[1])
    assert [(f.path, f.line, f.rule) for f in found] == [
        ("tests/test_a.py", 2, "assert-trivial"),
        ("tests/test_b.py", 2, "assert-trivial"),
    ]


def test_classes_that_name_each_other_as_bases_are_judged() -> None:
    """A circle of base classes, which Python would refuse when it runs, is no endless recursion."""
    text = "class A(B):\n    def test(self):\n        assert f()\n\n\nclass B(A):\n    x = 1\n"
    assert rules({"tests/test_a.py": text}, {"tests/test_a.py": text + "y = 1\n"}) == []


@pytest.mark.parametrize(
    ("after", "broken"),
    [
        ("", ["test-removed"]),
        ("class TestAll(FeeMixin):\n    rate = fee\n", []),
        ("class CheckFee(FeeMixin):\n    rate = fee\n", ["test-removed"]),
    ],
)
def test_a_class_takes_what_it_inherits_along(after: str, broken: list[str]) -> None:
    """A class of tests that it only inherits may be renamed, not go."""
    head = (
        "from base import FeeMixin\nfrom code import fee\n\n\ndef test():\n    assert fee(1) == 1\n"
    )
    sides = (head + "class TestFee(FeeMixin):\n    rate = fee\n", head + after)
    assert rules(*({"tests/test_a.py": side} for side in sides)) == broken


def test_a_case_of_unittest_may_become_functions() -> None:
    """A class with tests of its own is accounted for by them, whatever it inherits."""
    head = "from base import FeeCase\nfrom code import fee\n\n\n"
    body = "def test_fee({}):\n{}    assert fee(1) == 1\n"
    old = head + "class TestFee(FeeCase):\n    " + body.format("self", "    ")
    sides = ({"tests/test_a.py": side} for side in (old, head + body.format("", "")))
    assert rules(*sides) == []


def test_a_change_of_many_files_is_parsed_once_each() -> None:
    """A change of hundreds of files costs so many readings of a file, not its square."""
    paths = [f"src/m{n}.py" for n in range(200)]
    before = {path: f"x = {n}\n".encode() for n, path in enumerate(paths)}
    after = {path: body + b"# pytest_\n" for path, body in before.items()}
    parse.cache_clear()
    audit(paths, before=before, after=after)
    assert parse.cache_info().misses <= 4 * len(paths)
