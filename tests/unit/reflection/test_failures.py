"""Any program's output becomes a Failure, or an empty one; never an exception."""

from __future__ import annotations

import traceback

from hypothesis import given, settings
from hypothesis import strategies as st

from self_coding.reflection import read_failure
from self_coding.values.attempts import Failure
from self_coding.values.verdicts import TestFailure, TestResult, TraceEntry

UNITTEST = """\
.F
======================================================================
FAIL: test_total (tests.test_shop.TestCart.test_total)
The total is a sum.
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/repo/tests/test_shop.py", line 9, in test_total
    self.assertEqual(total([1, 2]), 4)
AssertionError: 3 != 4

======================================================================
ERROR: test_items (test_shop.TestCart)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/repo/tests/test_shop.py", line 12, in test_items
    items()
  File "/repo/shop/cart.py", line 5, in items
    return [][1]
IndexError: list index out of range

----------------------------------------------------------------------
Ran 2 tests in 0.001s

FAILED (failures=1, errors=1)
"""

TRACEBACK = """\
starting
Traceback (most recent call last):
  File "/repo/main.py", line 3, in <module>
    run()
  File "/repo/pkg/core.py", line 12, in run
    json.loads("{")
  File "/usr/lib/python3.12/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
json.decoder.JSONDecodeError: Expecting value: line 1 column 2 (char 1)
"""


def test_unittest_names_tests_as_its_runner_takes_them() -> None:
    """Both spellings of a head become a dotted name."""
    failure = read_failure(UNITTEST, root="/repo")
    assert failure.failing_tests == (
        "tests.test_shop.TestCart.test_total",
        "test_shop.TestCart.test_items",
    )
    assert (failure.exception, failure.location) == ("AssertionError", "tests/test_shop.py:9")


def test_a_plain_traceback_ends_inside_the_repository() -> None:
    """The place is the last frame of ours, not the library's."""
    failure = read_failure(TRACEBACK, root="/repo")
    assert (failure.exception, failure.location) == ("JSONDecodeError", "pkg/core.py:12")
    assert failure.message.startswith("Expecting value")


def test_a_root_is_recognised_by_the_changed_files() -> None:
    """Without the repository's directory, a changed path's ending tells where it is."""
    failure = read_failure(TRACEBACK, files_modified=["pkg/core.py"])
    assert failure.location == "pkg/core.py:12"
    assert (failure.root_cause_file, failure.related) == ("pkg/core.py", True)


def test_a_killed_run_says_so() -> None:
    """A run that was ended from outside names the test that was running."""
    failure = read_failure("tests/test_a.py::test_slow \nKilled\n")
    assert (failure.exception, failure.failing_tests) == ("Killed", ("tests/test_a.py::test_slow",))


def test_a_crashed_interpreter_ends_at_its_innermost_frame() -> None:
    """faulthandler prints the innermost frame first."""
    output = """\
tests/test_a.py::test_crash Fatal Python error: Segmentation fault

Current thread 0x00007f3c (most recent call first):
  File "/repo/pkg/native.py", line 4 in crash
  File "/repo/tests/test_a.py", line 6 in test_crash
"""
    failure = read_failure(output.replace(" Fatal", "\nFatal"), root="/repo")
    assert (failure.exception, failure.location) == ("FatalError", "pkg/native.py:4")


def test_output_without_a_failure_is_an_empty_failure() -> None:
    """Nothing is invented."""
    assert read_failure("") == Failure()
    assert read_failure("...\n3 passed in 0.01s\n") == Failure()


def _run(line: int, address: str) -> str:
    return f"""\
Traceback (most recent call last):
  File "/repo/pkg/a.py", line {line}, in f
    g()
ValueError: bad <object at {address}> after {line} tries
"""


def test_the_signature_outlives_lines_numbers_and_addresses() -> None:
    """The same failure on another day has the same signature, another one has not."""
    one = read_failure(_run(3, "0x7f00"), root="/repo").signature
    two = read_failure(_run(99, "0x55aa"), root="/repo").signature
    other = read_failure(_run(3, "0x7f00").replace("bad", "good"), root="/repo").signature
    assert one == two != other


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(UNITTEST)), st.integers(0, len(TRACEBACK)), st.text(max_size=30))
def test_cut_and_mixed_output_never_raises(first: int, second: int, noise: str) -> None:
    """Whatever is left of an output, reading it gives a Failure."""
    text = UNITTEST[:first] + noise + TRACEBACK[second:] + "E   x\n____ a ____\n" + UNITTEST[first:]
    assert isinstance(read_failure(text, files_modified=["pkg/core.py"]), Failure)


def test_a_real_traceback_of_this_interpreter_is_read() -> None:
    """What `traceback` prints here and now, chained and repeated, is understood."""

    def sink(depth: int) -> None:
        sink(depth + 1)

    try:
        try:
            sink(0)
        except RecursionError as error:
            raise LookupError("too deep") from error
    except LookupError:
        failure = read_failure(traceback.format_exc())
    assert (failure.exception, failure.message) == ("LookupError", "too deep")
    assert "test_failures.py" in failure.location


def test_a_megabyte_is_read_in_time() -> None:
    """Long output costs linear time: a million characters of noise stay below the test's limit."""
    noise = "log line with words: and (brackets) = things\n" * 22_000
    failure = read_failure(noise + TRACEBACK, root="/repo")
    assert failure.location == "pkg/core.py:12"


def test_new_failures_are_all_that_counts() -> None:
    """A test that is red without the change is in neither list nor blame; a new one is related."""
    output = (
        "=================================== FAILURES ===================================\n"
        "________________________________ test_red_before ________________________________\n"
        "tests/test_a.py:3: in test_red_before\n    assert old() == 1\nE   assert 2 == 1\n"
        "=========================== short test summary info ============================\n"
        "FAILED tests/test_a.py::test_red_before - assert 2 == 1\n"
        "FAILED tests/test_b.py::test_attr_filter - assert None == 1\n"
    )
    new = TestResult(
        id="tests/test_b.py::test_attr_filter",
        outcome="failed",
        failure=TestFailure(
            path="tests/test_b.py",
            line=7,
            message="AssertionError: assert None == 1",
            entries=(TraceEntry("tests/test_b.py", 7, "test_attr_filter"),),
        ),
    )
    failure = read_failure(output, files_modified=["src/filters.py"], new_failures=[new])
    assert failure.failing_tests == ("tests/test_b.py::test_attr_filter",)
    assert (failure.exception, failure.location) == ("AssertionError", "tests/test_b.py:7")
    assert (failure.related, failure.root_cause_file) == (True, "src/filters.py")
    assert failure.because == "the tests pass without the change"
