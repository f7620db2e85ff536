"""Pytest's output is read in every style, and however much of it is left."""

from __future__ import annotations

import pytest

from self_coding.reflection import read_failure
from self_coding.reflection.failures import failed_tests

RULE = "=" * 35

SUMMARY = f"""\
=========================== short test summary info ============================
FAILED tests/test_shop.py::TestCart::test_total - assert 3 == 4
{"=" * 30} 1 failed, 2 passed in 0.12s {"=" * 30}
"""

LONG = f"""\
{RULE} FAILURES {RULE}
____________________________ TestCart.test_total _____________________________

self = <tests.test_shop.TestCart object at 0x7f00>

    def test_total(self):
>       assert total([1, 2]) == 4
E       assert 3 == 4
E        +  where 3 = total([1, 2])

tests/test_shop.py:9: AssertionError
{SUMMARY}"""

SHORT = f"""\
{RULE} FAILURES {RULE}
____________________________ TestCart.test_total _____________________________
tests/test_shop.py:9: in test_total
    assert total([1, 2]) == 4
E   assert 3 == 4
E    +  where 3 = total([1, 2])
{SUMMARY}"""

LINE = f"""\
{RULE} FAILURES {RULE}
E   assert 3 == 4
     +  where 3 = total([1, 2])
/repo/tests/test_shop.py:9: assert 3 == 4
{SUMMARY}"""

NATIVE = f"""\
{RULE} FAILURES {RULE}
____________________________ TestCart.test_total _____________________________
Traceback (most recent call last):
  File "/usr/lib/python3.12/site-packages/_pytest/python.py", line 159, in pytest_pyfunc_call
    result = testfunction(**testargs)
  File "/repo/tests/test_shop.py", line 9, in test_total
    assert total([1, 2]) == 4
AssertionError: assert 3 == 4
 +  where 3 = total([1, 2])
{SUMMARY}"""

XDIST = f"""\
[gw0] [ 50%] PASSED tests/test_shop.py::test_other
[gw1] [100%] FAILED tests/test_shop.py::TestCart::test_total

{RULE} FAILURES {RULE}
____________________________ TestCart.test_total _____________________________
[gw1] linux -- Python 3.12.1 /venv/bin/python
tests/test_shop.py:9: in test_total
    assert total([1, 2]) == 4
E   assert 3 == 4
{SUMMARY}"""


@pytest.mark.parametrize("output", [LONG, SHORT, LINE, NATIVE, XDIST])
def test_every_style_tells_the_same(output: str) -> None:
    """Id, exception and place are the same whichever traceback style was asked for."""
    failure = read_failure(output, root="/repo")
    assert failure.failing_tests == ("tests/test_shop.py::TestCart::test_total",)
    assert failure.exception == "AssertionError"
    assert failure.location == "tests/test_shop.py:9"
    assert "3 == 4" in failure.assertion


@pytest.mark.parametrize("output", [LONG, SHORT, NATIVE])
def test_the_assertion_comes_with_its_values(output: str) -> None:
    """What each side was, and where a value came from, is kept."""
    assert "where 3 = total([1, 2])" in read_failure(output).assertion


def test_without_tracebacks_the_summary_is_enough() -> None:
    """`--tb=no` still gives id, exception and message."""
    failure = read_failure(SUMMARY)
    assert failure.failing_tests == ("tests/test_shop.py::TestCart::test_total",)
    assert (failure.exception, failure.message) == ("AssertionError", "assert 3 == 4")


def test_without_a_summary_the_title_and_the_frame_give_the_id() -> None:
    """A run with `-r N` names its tests only above their tracebacks."""
    output = SHORT.replace(SUMMARY, "1 failed in 0.12s\n")
    assert read_failure(output).failing_tests == ("tests/test_shop.py::TestCart::test_total",)


def test_verbose_lines_give_ids_when_the_rest_is_gone() -> None:
    """A run that was cut after its progress lines still names what failed."""
    output = (
        "=" * 29 + " test session starts " + "=" * 30 + "\n"
        "tests/test_a.py::test_one PASSED                [ 50%]\n"
        "tests/test_a.py::test_two[x y] FAILED           [100%]\n"
    )
    assert read_failure(output).failing_tests == ("tests/test_a.py::test_two[x y]",)


@pytest.mark.parametrize(
    "name",
    ["test_a[a b]", "test_a[x,y]", "test_a[::]", "test_a[a[0]]", "test_a[a] - b]", "test_a[1.5-]"],
)
def test_parameters_may_hold_anything(name: str) -> None:
    """Spaces, commas, brackets and dividers in a parametrised id stay part of the id."""
    output = f"""\
{RULE} FAILURES {RULE}
________ {name} ________
tests/test_a.py:3: in test_a
    assert 0
E   assert 0
=========================== short test summary info ============================
FAILED tests/test_a.py::{name} - assert 0
1 failed in 0.01s
"""
    assert read_failure(output).failing_tests == (f"tests/test_a.py::{name}",)
    without_titles = output[output.index("====== short") :]
    assert read_failure("=" * 21 + without_titles).failing_tests == (f"tests/test_a.py::{name}",)


def test_output_cut_in_the_middle_joins_nothing_that_was_apart() -> None:
    """Head and tail of different failures never become one failure."""
    output = f"""\
{RULE} FAILURES {RULE}
___________________________________ test_one ___________________________________
pkg/one.py:5: in one
    two()
... [output truncated] ...
pkg/three.py:7: in three
    raise KeyError("k")
E   KeyError: 'k'
=========================== short test summary info ============================
FAILED tests/test_a.py::test_one - ValueError: no
FAILED tests/test_a.py::test_two - KeyError: 'k'
2 failed in 0.01s
"""
    first, second = failed_tests(output)
    assert (first.raised.exception, first.raised.frames) == ("ValueError", ())
    assert second.raised.exception == "KeyError"
    assert second.raised.inside[-1].path == "pkg/three.py"


def test_a_reason_cut_at_the_terminals_width_is_completed() -> None:
    """`Attribute...` is the exception that other tests spell out, or a well-known one."""
    output = f"""\
=========================== short test summary info ============================
FAILED tests/test_a.py::test_one - Attribute...
{RULE} 1 failed in 0.01s {RULE}
"""
    assert read_failure(output).exception == "AttributeError"


def test_a_chained_exception_ends_at_the_last_one() -> None:
    """The place is where the final exception was raised; its cause is kept beside it."""
    output = f"""\
{RULE} FAILURES {RULE}
____________________________________ test_a ____________________________________
pkg/low.py:3: in low
    return {{}}["x"]
E   KeyError: 'x'

The above exception was the direct cause of the following exception:
tests/test_a.py:4: in test_a
    high()
pkg/high.py:8: in high
    raise ConfigError("no x") from error
E   pkg.high.ConfigError: no x
=========================== short test summary info ============================
FAILED tests/test_a.py::test_a - pkg.high.ConfigError: no x
1 failed in 0.01s
"""
    failure = read_failure(output)
    assert (failure.exception, failure.location) == ("ConfigError", "pkg/high.py:8")
    (only,) = failed_tests(output)
    assert [cause.exception for cause in only.raised.causes] == ["KeyError"]


def test_an_exception_group_keeps_its_members() -> None:
    """The group is the exception; what it holds are its causes."""
    output = f"""\
{RULE} FAILURES {RULE}
____________________________________ test_g ____________________________________
  + Exception Group Traceback (most recent call last):
  |   File "/repo/tests/test_a.py", line 13, in test_g
  |     group()
  |   File "/repo/pkg/calc.py", line 16, in group
  |     raise ExceptionGroup("many", [ValueError("a"), TypeError("b")])
  | ExceptionGroup: many (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: a
    +---------------- 2 ----------------
    | TypeError: b
    +------------------------------------
=========================== short test summary info ============================
FAILED tests/test_a.py::test_g - ExceptionGroup: many (2 sub-exceptions)
1 failed in 0.01s
"""
    (only,) = failed_tests(output, root="/repo")
    assert only.raised.exception == "ExceptionGroup"
    assert only.raised.inside[-1].path == "pkg/calc.py"
    assert [cause.exception for cause in only.raised.causes] == ["ValueError", "TypeError"]


def test_a_failing_call_counts_before_a_failing_teardown() -> None:
    """A test that fails and whose fixture then fails too is explained by the test."""
    output = f"""\
{RULE} ERRORS {RULE}
_______________________ ERROR at teardown of test_a ________________________
tests/test_a.py:5: in fixture
    raise RuntimeError("teardown")
E   RuntimeError: teardown
{RULE} FAILURES {RULE}
____________________________________ test_a ____________________________________
tests/test_a.py:8: in test_a
    assert 0
E   assert 0
=========================== short test summary info ============================
FAILED tests/test_a.py::test_a - assert 0
ERROR tests/test_a.py::test_a - RuntimeError: teardown
1 failed, 1 error in 0.01s
"""
    failure = read_failure(output)
    assert failure.failing_tests == ("tests/test_a.py::test_a",)
    assert (failure.exception, failure.location) == ("AssertionError", "tests/test_a.py:8")


def test_subtests_are_one_failing_test() -> None:
    """Failing subtests name the test they belong to, once."""
    output = f"""\
{RULE} FAILURES {RULE}
_______________________________ test_s [m] (i=0) _______________________________
tests/test_a.py:6: in test_s
    assert i == 5
E   assert 0 == 5
_______________________________ test_s [m] (i=1) _______________________________
tests/test_a.py:6: in test_s
    assert i == 5
E   assert 1 == 5
=========================== short test summary info ============================
SUBFAILED[m] (i=0) tests/test_a.py::test_s - assert 0 == 5
SUBFAILED(i=1) tests/test_a.py::test_s - assert 1 == 5
2 failed in 0.01s
"""
    assert read_failure(output).failing_tests == ("tests/test_a.py::test_s",)


def test_a_module_that_does_not_import_is_named() -> None:
    """An error at collection gives the module's id and the place of the import."""
    output = f"""\
{RULE} ERRORS {RULE}
_____________________ ERROR collecting tests/test_broken.py _____________________
ImportError while importing test module '/repo/tests/test_broken.py'.
Hint: make sure your test modules/packages have valid Python names.
Traceback:
/usr/lib/python3.12/importlib/__init__.py:90: in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
tests/test_broken.py:1: in <module>
    from pkg import thing
E   ImportError: cannot import name 'thing' from 'pkg' (/repo/pkg/__init__.py)
=========================== short test summary info ============================
ERROR tests/test_broken.py
1 error in 0.01s
"""
    failure = read_failure(output)
    assert failure.failing_tests == ("tests/test_broken.py",)
    assert (failure.exception, failure.location) == ("ImportError", "tests/test_broken.py:1")


def test_a_syntax_error_is_where_it_names() -> None:
    """The frame is the import, the root cause the file with the wrong syntax."""
    output = f"""\
{RULE} ERRORS {RULE}
_______________________ ERROR collecting tests/test_a.py _______________________
tests/test_a.py:2: in <module>
    import pkg.items
E     File "/repo/pkg/items.py", line 650
E       def __abs__((self):
E                   ^^^^^^
E   SyntaxError: Function parameters cannot be parenthesized
=========================== short test summary info ============================
ERROR tests/test_a.py
1 error in 0.01s
"""
    failure = read_failure(output, files_modified=["pkg/items.py", "pkg/other.py"])
    assert (failure.exception, failure.location) == ("SyntaxError", "tests/test_a.py:2")
    assert (failure.root_cause_file, failure.related) == ("pkg/items.py", True)


def test_a_broken_conftest_fails_without_any_test() -> None:
    """No test ran: the exception and the place are still read."""
    output = """\
ImportError while loading conftest '/repo/tests/conftest.py'.
tests/conftest.py:12: in <module>
    import pkg
pkg/__init__.py:3: in <module>
    LEVELS["fatal"] = LEVELS["critical"]
E   KeyError: 'critical'
"""
    failure = read_failure(output)
    assert failure.failing_tests == ()
    assert (failure.exception, failure.location) == ("KeyError", "pkg/__init__.py:3")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "ERROR: file or directory not found: nosuch.py\n\n",
            "file or directory not found: nosuch.py",
        ),
        (
            "ERROR: usage: python -m pytest [options]\npython -m pytest: error: unrecognized "
            "arguments: --nope\n  rootdir: /repo\n",
            "unrecognized arguments: --nope",
        ),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(output: str, message: str) -> None:
    """Pytest refused to start: that is told, and no test is blamed."""
    failure = read_failure(output)
    assert (failure.exception, failure.message) == ("UsageError", message)
    assert failure.failing_tests == ()


def test_pytests_own_crash_is_read() -> None:
    """INTERNALERROR lines are a traceback like any other."""
    output = """\
INTERNALERROR> Traceback (most recent call last):
INTERNALERROR>   File "/venv/lib/python3.12/site-packages/_pytest/main.py", line 289, in wrap
INTERNALERROR>     session.exitstatus = doit(config, session) or 0
INTERNALERROR>   File "/repo/conftest.py", line 3, in pytest_runtest_call
INTERNALERROR>     raise ZeroDivisionError("hook")
INTERNALERROR> ZeroDivisionError: hook

no tests ran in 0.01s
"""
    failure = read_failure(output, root="/repo")
    assert (failure.exception, failure.location) == ("ZeroDivisionError", "conftest.py:3")


def test_a_doctest_is_a_failure_at_its_line() -> None:
    """The example's place, and what was expected and got."""
    output = f"""\
{RULE} FAILURES {RULE}
______________________________ [doctest] pkg.calc ______________________________
001 Doc.
003 >>> add(1, 2)
Expected:
    4
Got:
    3

/repo/pkg/calc.py:3: DocTestFailure
=========================== short test summary info ============================
FAILED pkg/calc.py::pkg.calc
1 failed in 0.01s
"""
    failure = read_failure(output, root="/repo")
    assert failure.failing_tests == ("pkg/calc.py::pkg.calc",)
    assert (failure.exception, failure.location) == ("DocTestFailure", "pkg/calc.py:3")
    assert "Expected:" in failure.assertion


def test_a_worker_that_died_names_its_test() -> None:
    """xdist's crash report gives the test that took the worker with it."""
    output = f"""\
[gw0] node down: Not properly terminated
{RULE} FAILURES {RULE}
_______________________________ tests/test_a.py ________________________________
[gw0] linux -- Python 3.12.1 /venv/bin/python
worker 'gw0' crashed while running 'tests/test_a.py::test_kill'
=========================== short test summary info ============================
FAILED tests/test_a.py::test_kill
1 failed in 0.51s
"""
    failure = read_failure(output)
    assert failure.failing_tests == ("tests/test_a.py::test_kill",)
    assert failure.exception == "WorkerCrash"


def test_the_commonest_exception_stands_for_the_run() -> None:
    """One odd failure among many alike does not decide what is reported."""
    blocks = "".join(
        f"___________________ test_{name} ___________________\n"
        f"pkg/a.py:{line}: in f\n    x\nE   {kind}: m\n"
        for name, line, kind in [("a", 1, "KeyError"), ("b", 2, "TypeError"), ("c", 2, "TypeError")]
    )
    failure = read_failure(f"{RULE} FAILURES {RULE}\n{blocks}3 failed in 0.01s\n")
    assert (failure.exception, failure.location) == ("TypeError", "pkg/a.py:2")


def test_warnings_and_captured_output_are_no_failures() -> None:
    """Text that a test printed, and warnings before the run, never count."""
    output = f"""\
/venv/site-packages/plugin.py:306: PytestDeprecationWarning: unset
{RULE} FAILURES {RULE}
____________________________________ test_a ____________________________________
tests/test_a.py:8: in test_a
    assert 0
E   assert 0
----------------------------- Captured stdout call -----------------------------
tests/test_b.py:9: in test_b
E   KeyError: 'printed'
=============================== warnings summary ===============================
tests/test_c.py:1: UserWarning: w
=========================== short test summary info ============================
FAILED tests/test_a.py::test_a - assert 0
1 failed, 1 warning in 0.01s
"""
    (only,) = failed_tests(output)
    assert (only.raised.exception, only.raised.inside[-1].line) == ("AssertionError", 8)


def test_colours_do_not_hide_anything() -> None:
    """ANSI escapes are taken out before reading."""
    coloured = SHORT.replace("E   assert", "\x1b[1m\x1b[31mE   assert").replace(
        "FAILED", "\x1b[31mFAILED\x1b[0m"
    )
    assert read_failure(coloured).location == "tests/test_shop.py:9"
    assert read_failure(coloured).failing_tests


def test_output_quoted_inside_output_is_not_the_runs_own() -> None:
    """A test that prints pytest's output does not add failing tests to the run."""
    printed = SHORT.replace("test_shop", "test_printed")
    output = f"""\
{RULE} FAILURES {RULE}
____________________________________ test_a ____________________________________
tests/test_a.py:8: in test_a
    assert run() == 0
E   assert 1 == 0
----------------------------- Captured stdout call -----------------------------
{printed}=========================== short test summary info ============================
FAILED tests/test_a.py::test_a - assert 1 == 0
1 failed in 0.01s
"""
    assert read_failure(output).failing_tests == ("tests/test_a.py::test_a",)
