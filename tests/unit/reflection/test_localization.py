"""The evidence names a file and a function of the change, or acquits the change."""

from __future__ import annotations

import pytest

from self_coding.reflection import read_failure
from self_coding.reflection.hunks import MODULE, read_hunks

HEAD = "=" * 35 + " FAILURES " + "=" * 35


def run(title: str, test_id: str, body: str) -> str:
    return f"""\
{HEAD}
___________ {title} ___________
{body}
=========================== short test summary info ============================
FAILED {test_id} - x
1 failed in 0.01s
"""


THROUGH_CART = run(
    "test_total",
    "tests/test_shop.py::test_total",
    """\
tests/test_shop.py:4: in test_total
    total(cart)
shop/cart.py:20: in total
    return add(a, b)
shop/money.py:7: in add
    return a.amount + b
E   AttributeError: 'int' object has no attribute 'amount'""",
)
ASSERTED = run(
    "test_total",
    "tests/test_cart.py::test_total",
    """\
tests/test_cart.py:4: in test_total
    assert total([1]) == 2
E   assert 1 == 2""",
)


def diff(path: str, head: str, before: str, after: str, line: int = 18) -> str:
    return (
        f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n"
        f"@@ -{line},3 +{line},3 @@ {head}\n     x = 1\n-    {before}\n+    {after}\n     y = 2\n"
    )


def test_the_deepest_changed_file_is_named() -> None:
    """Of two changed files in the traceback, the one nearer to the failure is the cause."""
    failure = read_failure(THROUGH_CART, files_modified=["shop/cart.py", "shop/money.py"])
    assert (failure.root_cause_file, failure.root_cause_function) == ("shop/money.py", "add")
    assert failure.related is True


def test_a_touched_function_outweighs_a_deeper_frame() -> None:
    """With the diff, the function it changed is the cause, not the innocent one that raised."""
    both = diff("shop/cart.py", "def total(cart):", "a, b = cart", "b, a = cart")
    both += diff("shop/money.py", "def other(x):", "pass", "return", line=90)
    failure = read_failure(
        THROUGH_CART, files_modified=["shop/cart.py", "shop/money.py"], diff=both
    )
    assert (failure.root_cause_file, failure.root_cause_function) == ("shop/cart.py", "total")
    assert "total" in failure.because


def test_a_frame_in_a_touched_function_is_worth_more_than_depth() -> None:
    """A deeper frame in a file whose top level changed does not outweigh the touched function."""
    both = diff("shop/cart.py", "def total(cart):", "a, b = cart", "b, a = cart")
    both += "--- a/shop/money.py\n+++ b/shop/money.py\n@@ -90,2 +90,2 @@\n-UNIT = 1\n+UNIT = 2\n"
    unnamed = THROUGH_CART.replace("    total(cart)", "    run(basket)")
    unnamed = unnamed.replace("test_total", "test_sum")
    failure = read_failure(unnamed, files_modified=["shop/cart.py", "shop/money.py"], diff=both)
    assert failure.root_cause_file == "shop/cart.py"


def test_a_far_frame_in_an_untouched_function_is_not_enough() -> None:
    """The traceback passes far out through a changed file, but not through what was changed."""
    body = THROUGH_CART.replace("test_shop", "test_buy").replace("total(cart)", "total(c)")
    body = body.replace(
        "shop/money.py:7: in add",
        "core/a.py:1: in one\n    two()\ncore/b.py:2: in two\n    three()\nshop/money.py:7: in add",
    )
    elsewhere = diff("shop/cart.py", "def other(x):", "old = 1", "new = 2", line=90)
    assert read_failure(body, files_modified=["shop/cart.py"]).related is True
    assert read_failure(body, files_modified=["shop/cart.py"], diff=elsewhere).related is False


def test_a_failure_that_passes_by_the_change_is_not_its_own() -> None:
    """No frame, no name: the change is not to blame, and the place outside it is named."""
    failure = read_failure(THROUGH_CART, files_modified=["shop/stock.py"])
    assert failure.related is False
    assert failure.root_cause_file == "shop/money.py"


def test_a_failing_assertion_points_to_the_tests_namesake() -> None:
    """An assertion has no source frame; the module that the test is named after is."""
    failure = read_failure(ASSERTED, files_modified=["shop/stock.py", "shop/cart.py"])
    assert (failure.root_cause_file, failure.root_cause_function) == ("shop/cart.py", "total")


def test_an_assertion_without_a_clue_blames_nobody() -> None:
    """An unchanged test that fails is not at fault, and neither is a file nothing points to."""
    failure = read_failure(ASSERTED, files_modified=["shop/stock.py"])
    assert (failure.related, failure.root_cause_file) == (False, "")


def test_a_changed_test_can_be_its_own_cause() -> None:
    """A test file that the change touched is named when nothing else is."""
    failure = read_failure(ASSERTED, files_modified=["tests/test_cart.py", "docs/x.py"])
    assert failure.root_cause_file == "tests/test_cart.py"
    assert failure.root_cause_function == "test_total"


def test_an_operator_names_the_method_it_calls() -> None:
    """`==` in a failing assertion is evidence against a changed `__eq__`."""
    change = diff("shop/basket.py", "def __eq__(self, other):", "return True", "return False")
    failure = read_failure(ASSERTED, files_modified=["shop/basket.py"], diff=change)
    assert (failure.root_cause_file, failure.root_cause_function) == ("shop/basket.py", "__eq__")


def test_the_import_graph_acquits_what_no_test_reaches() -> None:
    """A namesake that the failing test never imports cannot have caused it."""
    importers = {"other/cart.py": {"other/main.py"}, "other/main.py": set[str]()}
    failure = read_failure(ASSERTED, files_modified=["other/cart.py"], importers=importers)
    assert failure.related is False
    reaching = {"other/cart.py": {"tests/test_cart.py"}}
    again = read_failure(ASSERTED, files_modified=["other/cart.py"], importers=reaching)
    assert again.related is True


def test_without_a_change_nobody_says_related() -> None:
    """No files and no diff: the question is not answered."""
    assert read_failure(THROUGH_CART).related is None


def test_lambdas_and_comprehensions_are_not_functions() -> None:
    """A frame in a generator expression counts for the function around it."""
    body = THROUGH_CART.replace("in add", "in <genexpr>").replace(
        "shop/money.py:7", "shop/money.py:5: in add\n    sum(x)\nshop/money.py:7"
    )
    failure = read_failure(body, files_modified=["shop/money.py"])
    assert failure.root_cause_function == "add"


@pytest.mark.parametrize(
    ("head", "lines", "function"),
    [
        ("def total(cart):", [" x", "-    a = 1", "+    a = 2"], "total"),
        (
            "class Cart:",
            ["     def total(self):", "-        return 1", "+        return 2"],
            "total",
        ),
        ("class Cart:", ["-    limit = 1", "+    limit = 2"], "Cart"),
        ("def total(cart):", [" ", "-LIMIT = 1", "+LIMIT = 2"], MODULE),
        ("", ["-def total(a):", "+def total(a, b):"], "total"),
        (
            "class A:",
            ["     def one(self):", "         pass", "     def two(self):", "+        x = 1"],
            "two",
        ),
        (
            "class A:",
            [
                "     def one(self):",
                "         def inner(): ...",
                "-        x = 1",
                "+        x = 2",
            ],
            "one",
        ),
    ],
)
def test_a_hunk_lies_in_the_nearest_definition_above(
    head: str, lines: list[str], function: str
) -> None:
    """The enclosing function is found by indentation, else from the hunk's head."""
    text = f"--- a/p.py\n+++ b/p.py\n@@ -10,3 +10,3 @@ {head}\n" + "\n".join(lines) + "\n"
    (hunk,) = read_hunks(text)["p.py"]
    assert hunk.function == function


def test_a_diff_gives_new_line_numbers_and_both_names() -> None:
    """Removed lines do not move the count; a deleted file keeps its old name."""
    text = (
        "--- a/gone.py\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-x = 1\n-y = 2\n"
        "--- a/kept.py\n+++ b/kept.py\n@@ -8,3 +8,4 @@ def f():\n     a\n-    b\n+    c\n+    d\n"
    )
    found = read_hunks(text)
    assert set(found) == {"gone.py", "kept.py"}
    assert (found["kept.py"][0].first, found["kept.py"][0].last) == (9, 10)
    assert {"b", "c", "d"}.isdisjoint(found["kept.py"][0].words) is True


def test_a_cut_diff_is_read_as_far_as_it_goes() -> None:
    """A diff that ends in the middle of a line loses nothing before it."""
    whole = diff("a.py", "def f():", "one()", "two()") + diff("b.py", "def g():", "x()", "y()")
    assert "a.py" in read_hunks(whole[: len(whole) * 2 // 3])
    assert read_hunks("not a diff") == {}


@pytest.mark.parametrize(
    ("body", "function"),
    [
        (
            "shop/cart.py:20: in total\n    kind, rest = split(order)\n"
            "E   TypeError: cannot unpack non-iterable NoneType object",
            "split",
        ),
        (
            "shop/cart.py:20: in total\n    return add(tax, a)\n"
            "shop/cart.py:31: in add\n    return kind(a)\n"
            "E   TypeError: 'str' object is not callable",
            "total",
        ),
        (
            "shop/cart.py:20: in total\n    return add(a, rows)\n"
            "shop/cart.py:31: in add\n    return a.amount\n"
            "E   AttributeError: 'tuple' object has no attribute 'amount'",
            "total",
        ),
        (
            "shop/cart.py:20: in total\n    return repr(row)\n"
            "E   TypeError: __repr__ returned non-string (type NoneType)",
            "__repr__",
        ),
        (
            "shop/cart.py:20: in total\n    return add(a, rows)\n"
            "shop/cart.py:31: in add\n    return a.amuont\n"
            "E   AttributeError: 'Row' object has no attribute 'amuont'. Did you mean: 'amount'?",
            "add",
        ),
        (
            "shop/cart.py:20: in total\n    return Rows(self.split(a))\n"
            "E   TypeError: 'NoneType' object is not iterable",
            "split",
        ),
        (
            "shop/cart.py:20: in total\n    return self._rule(a)\n"
            "E   TypeError: Cart._halved() missing 1 required positional argument: 'b'",
            "__init__",
        ),
        (
            "shop/cart.py:20: in total\n    return self._halved(a)\n"
            "E   TypeError: Cart._halved() missing 1 required positional argument: 'b'",
            "total",
        ),
    ],
)
def test_a_message_tells_which_function_is_at_fault(body: str, function: str) -> None:
    """What returned nothing, or handed over a wrong value, is named rather than what met it."""
    test = "tests/test_cart.py:4: in test_total\n    total(cart)\n"
    output = run("test_total", "tests/test_cart.py::test_total", test + body)
    failure = read_failure(output, files_modified=["shop/cart.py"])
    assert failure.root_cause_function == function


def test_a_method_that_the_message_names_is_told_without_a_frame() -> None:
    """Where no frame is inside the repository, the message's own method is still named."""
    text = "E   TypeError: __len__() should return >= 0"
    output = run("test_total", "tests/test_cart.py::test_total", text)
    assert read_failure(output).root_cause_function == "__len__"


def test_a_frame_outvotes_names_of_tests_that_show_none() -> None:
    """One test whose frame is in the file says more than many whose names are guessed from."""
    bodies = "\n".join(
        f"___ TestCartTotal.test_{n} ___\nE   ValueError: bad\nshop/cart.py:{n}: ValueError: bad"
        for n in range(3)
    )
    ids = "\n".join(f"FAILED tests/test_cart.py::TestCartTotal::test_{n} - x" for n in range(3))
    framed = "___ test_add ___\nshop/cart.py:31: in add\n    return a + 1\nE   ValueError: bad"
    output = (
        f"{HEAD}\n{bodies}\n{framed}\n=== short test summary info ===\n{ids}\n"
        "FAILED tests/test_cart.py::test_add - x\n4 failed in 0.01s\n"
    )
    failure = read_failure(output, files_modified=["shop/cart.py"])
    assert failure.root_cause_function == "add"


def test_calls_above_a_block_that_did_not_raise_are_not_blamed() -> None:
    """Of a test that waited for an exception in vain, its class's name says more than calls."""
    body = """\
    def test_low(self):
        logger.set_level(9)
>       with pytest.raises(Dropped):
E       Failed: DID NOT RAISE Dropped

tests/test_cart.py:5: Failed"""
    test_id = "tests/test_cart.py::TestFilterByLevel::test_low"
    failure = read_failure(
        run("TestFilterByLevel.test_low", test_id, body), files_modified=["shop/cart.py"]
    )
    assert failure.root_cause_function == "filter_by_level"


def test_a_class_of_tests_is_not_taken_for_a_function_where_it_names_a_doer() -> None:
    """`TestPriceRounder` tests a class; the test's own name says which of its methods."""
    test_id = "tests/test_cart.py::TestPriceRounder::test_down"
    output = run("TestPriceRounder.test_down", test_id, "E   assert 1 == 2")
    assert read_failure(output, files_modified=["shop/cart.py"]).root_cause_function == "down"


def test_a_changed_test_that_fails_outweighs_the_module_it_is_named_after() -> None:
    """Of a test and its subject that were both changed, the test that fails was nearer."""
    files = ["shop/cart.py", "tests/test_cart.py"]
    assert read_failure(ASSERTED, files_modified=files).root_cause_file == "tests/test_cart.py"


def test_what_half_of_the_tests_name_is_named() -> None:
    """A file that one of two failing tests is named after is no less so for the other."""
    bodies = "\n".join(f"___ test_{name} ___\nE   assert 1 == 2" for name in ("carts_empty", "all"))
    output = (
        f"{HEAD}\n{bodies}\n=== short test summary info ===\n"
        "FAILED tests/test_io.py::test_carts_empty - x\nFAILED tests/test_a.py::test_all - x\n"
        "2 failed in 0.01s\n"
    )
    failure = read_failure(output, files_modified=["shop/carts.py", "shop/money.py"])
    assert (failure.root_cause_file, failure.related) == ("shop/carts.py", True)


@pytest.mark.parametrize(
    ("code", "function"),
    [
        ("class Area {\n    static int clamp(int x, int lo) throws Bad {\n", "clamp"),
        ("export async function clamp(x, lo) {\n    const y = 1;\n", "clamp"),
        ("class Area {\n    private clamp(x: number): number {\n", "clamp"),
        ("impl Area {\n    pub(crate) fn clamp(&self) -> i64 {\n", "clamp"),
        ("func (a *Area) Clamp(x int) int {\n    if x < 1 {\n", "Clamp"),
        ("    } else if (x) {\n", MODULE),
    ],
)
def test_a_hunk_lies_in_a_function_of_other_languages(code: str, function: str) -> None:
    """Methods of Java and TypeScript are told by their braces, `if (x) {` is none."""
    above = "".join(f" {line}\n" for line in code.splitlines())
    text = (
        f"--- a/p.ts\n+++ b/p.ts\n@@ -1,9 +1,9 @@\n{above}-        return lo\n+        return hi\n"
    )
    (hunk,) = read_hunks(text)["p.ts"]
    assert hunk.function == function
