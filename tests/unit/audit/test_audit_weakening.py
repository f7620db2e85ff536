"""One test before and after: does it still say what it said?"""

import pytest
from audit_case import rules


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("assert f() is None", "assert not f()"),
        ("assert f() == 0", "assert not f()"),
        ("assert f() == []", "assert not f()"),
        ("assert f() is True", "assert f()"),
        ("self.assertEqual(f(), 0)", "self.assertFalse(f())"),
        ("self.assertEqual(f(), {})", "assert not f()"),
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
        ("assert f() == False", "assert not f()"),
        ("self.assertEqual(f(), True)", "self.assertTrue(f())"),
        ("assert f().startswith('a') == False", "assert not f().startswith('a')"),
        ("self.assertEqual(isinstance(f(), int), True)", "self.assertTrue(isinstance(f(), int))"),
        ("self.assertEqual(a.is_dir(), False)", "assert not a.is_dir()"),
        ("self.assertEqual(f(), 1.5)", "self.assertAlmostEqual(f(), 1.5)"),
        ("assert f() == 1.5", "assert f() == pytest.approx(1.5)"),
        ("self.assertEqual(f(), [1, 2])", "self.assertCountEqual(f(), [1, 2])"),
    ],
)
def test_another_spelling_of_the_same_claim_passes(old: str, new: str) -> None:
    """Truth may be written with or without `== True`; with `is`, where it is a bool by syntax."""
    sides = ({"tests/test_a.py": f"def test():\n    {line}\n"} for line in (old, new))
    assert rules(*sides, strict=True) == []


def test_a_withdrawn_parameter_takes_its_assertion_along() -> None:
    """What a test says about a keyword may go with the keyword, and only then."""
    code = "def f(a, loud=False):\n    return a.upper() if loud else a\n"
    test = "def test_f():\n    assert f('a') == 'a'\n    assert f('a', loud=True) == 'A'\n"
    less = test.replace("    assert f('a', loud=True) == 'A'\n", "")
    before = {"src/f.py": code, "tests/test_f.py": test}
    assert rules(before, {"src/f.py": "def f(a):\n    return a\n", "tests/test_f.py": less}) == []
    kept = {"src/f.py": code.replace("upper", "title"), "tests/test_f.py": less}
    assert rules(before, kept) == ["assert-removed"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("x.calls == [call(1)]", "x.calls == [call(1, env=ANY)]", []),
        ("x.calls == [call(1)]", "x.calls == [call(ANY)]", ["assert-weakened"]),
        ("x.calls == [call(1)]", "y.calls == [call(1, env=ANY)]", ["assert-weakened"]),
    ],
)
def test_further_arguments_of_a_call_may_be_anything(old: str, new: str, told: list[str]) -> None:
    """What was expected of a call still is; what came to it may be anything."""
    sides = ({"tests/test_a.py": f"def test():\n    assert {text}\n"} for text in (old, new))
    assert rules(*sides) == told


def test_claims_may_stand_in_one_assertion() -> None:
    """Parts of an `and` and of equal tuples are claims of their own; one that goes is missed."""
    apart = "def test():\n    assert f() == 1\n    assert g() == h()\n    assert k()\n"
    joined = "def test():\n    assert (f(), g()) == (1, h()) and k()\n"
    fewer = "def test():\n    assert (f(),) == (1,) and k()\n"
    found = [rules({"tests/test_a.py": apart}, {"tests/test_a.py": t}) for t in (joined, fewer)]
    assert found == [[], ["assert-removed"]]


def test_what_only_told_the_kind_of_something_may_go() -> None:
    """`isinstance` goes where all that says more stays, and not with it."""
    old = (
        "def test():\n    tree = f()\n    one = tree[0]\n    assert isinstance(one, Node)\n"
        "    assert one[1] == 2\n    assert one[2] == 3\n"
    )
    new = old.replace("    one = tree[0]\n    assert isinstance(one, Node)\n", "")
    new = new.replace("one[", "tree[0][")
    less = old.replace("    assert isinstance(one, Node)\n    assert one[1] == 2\n", "")
    found = [rules({"tests/test_a.py": old}, {"tests/test_a.py": t}) for t in (new, less)]
    assert found == [[], ["assert-removed"]]


def test_a_claim_may_stand_once_more_on_a_condition() -> None:
    """Where it is claimed as before, it may also be claimed sometimes; not instead."""
    old = "def test():\n    assert f() == 1\n"
    more = old + "    if g():\n        h()\n        assert f() == 1\n"
    less = "def test():\n    if g():\n        assert f() == 1\n"
    found = [rules({"tests/test_a.py": old}, {"tests/test_a.py": t}) for t in (more, less)]
    assert found == [[], ["assert-conditional"]]


def test_an_inner_function_that_something_holds_is_run() -> None:
    """A function put into an object's attribute may be called; one put into a list that nobody
    reads is not."""
    inner = "def test():\n    def check():\n        assert f() == 1\n\n    {}\n    run(server)\n"
    called, held, listed = (
        {"tests/test_a.py": inner.format(text)}
        for text in ("server(check)", "server.app = check", "checks = [check]")
    )
    assert rules(called, held) == []
    assert rules(called, listed) == ["assert-unreachable"]


def test_claims_may_be_said_in_a_loop_over_their_values() -> None:
    """What was claimed one by one may be claimed over a table; a value not in it is missed."""
    old = "def test():\n" + "".join(f"    assert f('{one}') is None\n" for one in "abc")
    loop = "def test():\n    for one in ['a', {}]:\n        assert f(one) is None\n"
    found = [
        rules({"tests/test_a.py": old}, {"tests/test_a.py": loop.format(last)})
        for last in ("'b', 'c'", "'d', 'e'")
    ]
    assert found == [[], ["assert-removed"]]
