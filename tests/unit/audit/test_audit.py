"""The pieces of the audit, each on its own; whole changes are judged in `tests/cheats`."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_coding.audit import Kind, audit, effective, kind_of
from self_coding.audit import strength as says
from self_coding.audit.commands import is_narrowing, options
from self_coding.audit.files import Settings
from self_coding.audit.skips import evaluate
from self_coding.audit.test_modules import read_module


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def rules(before: dict[str, str], after: dict[str, str], *, strict: bool = False) -> list[str]:
    paths = sorted({*before, *after})
    sides = [{p: s[p].encode() if p in s else None for p in paths} for s in (before, after)]
    return [f.rule for f in audit(paths, before=sides[0], after=sides[1], strict=strict)]


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


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("tests/test_a.py", Kind.TEST),
        ("pkg/a_test.py", Kind.TEST),
        ("pkg/tests/test_a.py", Kind.TEST),
        ("tests/helpers.py", Kind.SUPPORT),
        ("conftest.py", Kind.SUPPORT),
        ("tests/a.json", Kind.DATA),
        ("src/a.py", Kind.SOURCE),
        ("Makefile", Kind.COMMAND),
        (".github/workflows/a.yml", Kind.COMMAND),
        ("noxfile.py", Kind.COMMAND),
        ("tox.ini", Kind.SETTING),
        ("pyproject.toml", Kind.SETTING),
        ("README.md", Kind.PROSE),
        ("docs/conf.toml", Kind.PROSE),
        ("data.bin", Kind.OTHER),
    ],
)
def test_files_are_told_apart(path: str, kind: Kind) -> None:
    """Each file is what it is to the tests."""
    assert kind_of(path, Settings()) is kind


def test_the_settings_decide_what_is_a_test() -> None:
    """`testpaths` and `python_files` of the project are used, not only pytest's defaults."""
    chosen = effective({"pytest.ini": "[pytest]\ntestpaths = checks\npython_files = check_*.py\n"})
    assert kind_of("checks/check_a.py", chosen) is Kind.TEST
    assert kind_of("other/check_a.py", chosen) is Kind.SOURCE
    assert kind_of("checks/test_a.py", chosen) is Kind.SOURCE


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"pytest.ini": "", "tox.ini": "[pytest]\n"}, "pytest.ini"),
        (
            {"pyproject.toml": "[tool.pytest.ini_options]\n", "tox.ini": "[pytest]\n"},
            "pyproject.toml",
        ),
        ({"pyproject.toml": "[project]\n", "tox.ini": "[pytest]\n"}, "tox.ini"),
        ({"setup.cfg": "[tool:pytest]\n"}, "setup.cfg"),
        ({"pyproject.toml": "no toml"}, ""),
    ],
)
def test_the_first_settings_win(files: dict[str, str | None], path: str) -> None:
    """Of several files the one counts that pytest would read."""
    assert effective(files).path == path


@pytest.mark.parametrize(
    "text",
    [
        "-k slow",
        "-m 'not net'",
        "--ignore=a",
        "--deselect a::b",
        "-x",
        "-p no:warnings",
        "--maxfail=1",
        "--co",
        "-o addopts=",
        "--lf",
        "-kslow",
    ],
)
def test_narrowing_options_are_known(text: str) -> None:
    """Options that take tests away are known in each spelling."""
    assert any(is_narrowing(option) for option in options(text))


@pytest.mark.parametrize(
    "text",
    [
        "-ra",
        "-q",
        "-n 2",
        "--tb=short",
        "--cov=a",
        "--strict-markers",
        "-p xdist",
        "--durations=5",
        "--import-mode=importlib",
    ],
)
def test_other_options_are_free(text: str) -> None:
    """Options that only report, or run side by side, are no finding."""
    assert not any(is_narrowing(option) for option in options(text))


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


def test_python_2_is_compared_as_text() -> None:
    """Where neither side is Python 3, fewer assertions are still seen."""
    old = "def test_a():\n    print 'x'\n    assert a == 1\n    assert b == 2\n"
    new = old.replace("    assert b == 2\n", "")
    assert rules({"tests/test_a.py": old}, {"tests/test_a.py": new}) == ["assert-removed"]
    assert rules({"tests/test_a.py": old}, {"tests/test_a.py": old + "    assert c\n"}) == []


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("assert f() is None", "assert not f()"),
        ("assert f() == 0", "assert not f()"),
        ("assert f() == []", "assert not f()"),
        ("assert f() == False", "assert not f()"),
        ("assert f() is True", "assert f()"),
        ("assert f() == True", "assert f()"),
        ("self.assertEqual(f(), True)", "self.assertTrue(f())"),
        ("self.assertEqual(f(), 0)", "self.assertFalse(f())"),
        ("self.assertEqual(f(), {})", "assert not f()"),
        ("assert (a < b) == True", "assert not a < b"),
        ("m.assert_called_once_with(1)", "m.assert_called_once()"),
    ],
)
def test_truth_is_less_than_a_value(old: str, new: str, strict: bool) -> None:
    """A truthy or falsy value says less than the value itself."""
    sides = ({"tests/test_a.py": f"def test():\n    {line}\n"} for line in (old, new))
    assert rules(*sides, strict=strict) == ["assert-weakened"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("assert (a < b) == True", "assert a < b"),
        ("assert (a in b) is True", "assert a in b"),
        ("assert (a in b) == False", "assert not a in b"),
        ("assert (not a) is True", "assert not a"),
        ("assert isinstance(f(), int) is True", "assert isinstance(f(), int)"),
        ("assert is_free(f()) == True", "assert is_free(f())"),
        ("assert f().startswith('a') == False", "assert not f().startswith('a')"),
        ("self.assertEqual(isinstance(f(), int), True)", "self.assertTrue(isinstance(f(), int))"),
        ("self.assertEqual(a.is_dir(), False)", "assert not a.is_dir()"),
        ("self.assertEqual(f(), 1.5)", "self.assertAlmostEqual(f(), 1.5)"),
        ("assert f() == 1.5", "assert f() == pytest.approx(1.5)"),
        ("self.assertEqual(f(), [1, 2])", "self.assertCountEqual(f(), [1, 2])"),
    ],
)
def test_another_spelling_of_the_same_claim_passes(old: str, new: str) -> None:
    """The truth of what is a bool by its syntax may be written with or without `== True`."""
    sides = ({"tests/test_a.py": f"def test():\n    {line}\n"} for line in (old, new))
    assert rules(*sides, strict=True) == []


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


def test_a_withdrawn_parameter_takes_its_assertion_along() -> None:
    """What a test says about a keyword may go with the keyword, and only then."""
    code = "def f(a, loud=False):\n    return a.upper() if loud else a\n"
    test = "def test_f():\n    assert f('a') == 'a'\n    assert f('a', loud=True) == 'A'\n"
    less = test.replace("    assert f('a', loud=True) == 'A'\n", "")
    before = {"src/f.py": code, "tests/test_f.py": test}
    assert rules(before, {"src/f.py": "def f(a):\n    return a\n", "tests/test_f.py": less}) == []
    kept = {"src/f.py": code.replace("upper", "title"), "tests/test_f.py": less}
    assert rules(before, kept) == ["assert-removed"]
