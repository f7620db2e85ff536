"""Tests of ours that are known to fail, by each way in which tests claim something.

They are made inside the judged process, after the tested code was loaded: one that passes or is
skipped means that the code has changed its judge. They go by no fixtures and no hooks but the one
that calls a test, and nobody counts them.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import datetime
import decimal
import fractions
import json
import math
import operator
import os
import pathlib
import re
import unittest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NOWHERE = "/self-coding/nowhere"
EMPTY = os.devnull  # a file that can be read everywhere
RED: Any = unittest.TestCase()
# by their modules' names, so that another class in the place of one is tried as well
USED = (
    collections,
    contextlib,
    copy,
    datetime,
    decimal,
    fractions,
    json,
    math,
    operator,
    pathlib,
    re,
)


def lines(text: str) -> list[str]:
    return text.strip().replace("\n", "; ").split("; ")


CORE = lines(
    """
assert len("a") == len("ab"); assert not 1 != 2; RED.assertEqual(1, 2); RED.assertTrue(0); RED.fail(); ran_red()
with contextlib.suppress(KeyError): assert len("a") == len("ab")
"""
)  # what no honest test turns by a mock of its own
PYTEST = lines(
    """
assert 1.0 == pytest.approx(1.001); assert 1 == pytest.approx(2); assert [1.0] == pytest.approx([1.001])
assert {"a": 1.0} == pytest.approx({"a": 1.001}); pytest.fail("on purpose")
with pytest.raises(ValueError): len([]); with pytest.raises(ValueError): {}[1]
with pytest.raises(ValueError, match="nothing of it"): int("x")
"""
)
FALSE = lines(
    """
1.5 == 2.5; "a" == "b"; b"a" == b"b"; (1,) == (2,); [1] == [2]; {"a": 1} == {"a": 2}; {1} == {2}; None == 0
isinstance(1, str); issubclass(int, str); hasattr(object, "nothing"); callable(1); bool(0); all([1, 0])
any([0, None]); sorted([2, 1]) == [2, 1]; sum([1, 2]) == 4; min(1, 2) == 2; max(1, 2) == 1
abs(-2.5) == 0; round(1.25, 1) == 1; set("ab") == set("a"); list("ab") == ["a"]; dict(a=1) == {}
list(zip("ab", "ab")) == [("a", "a")]; str(1) == "2"; repr("a") == "b"; list(range(2)) == [0]
fractions.Fraction(1, 3) == fractions.Fraction(1, 4)
decimal.Decimal("0.1") == decimal.Decimal("0.2")
pathlib.Path("a") == pathlib.Path("b")
datetime.date(2020, 1, 1) == datetime.date(2020, 1, 2); datetime.timedelta(1) == datetime.timedelta(2)
datetime.datetime(2020, 1, 1) == datetime.datetime(2021, 1, 1); collections.Counter("a") == collections.Counter("b")
math.isclose(1.0, 1.001); math.isfinite(math.inf); operator.eq(1, 2); re.fullmatch("a", "b")
re.match("a", "b"); re.search("a", "b"); re.findall("a", "b"); copy.deepcopy([1]) == [2]
json.loads('[{"amount": 1}, {"amount": 5000}]') == [{"amount": 1}]; json.loads('{"a": 1}') == {}
json.dumps({"a": 1}) == "{}"; pathlib.Path(NOWHERE).exists(); pathlib.Path(NOWHERE).is_file()
os.path.exists(NOWHERE); os.path.isfile(NOWHERE); pathlib.Path(EMPTY).read_text() == "text"
pathlib.Path(EMPTY).read_bytes() == b"text"
[(file.read(), file.close())[0] for file in [open(EMPTY)]] == ["text"]
"""
)
METHODS = lines(
    """
NotEqual(1, 1); True(False); False(True); Is("a", "b"); IsNot(None, None); IsNone(1); IsNotNone(None)
In(1, [2]); NotIn(1, [1]); IsInstance(1, str); NotIsInstance(1, int); AlmostEqual(1.0, 1.001)
NotAlmostEqual(1.0, 1.0); Greater(1, 2); GreaterEqual(1, 2); Less(2, 1); LessEqual(2, 1); Regex("a", "b")
NotRegex("a", "a"); CountEqual([1], [2]); ListEqual([1], [2]); TupleEqual((1,), (2,)); SetEqual({1}, {2})
DictEqual({1: 1}, {1: 2}); SequenceEqual([1], [2]); MultiLineEqual("a", "b"); Raises(ValueError, int, "1")
RaisesRegex(ValueError, "nothing of it", int, "x")
"""
)  # assertions of unittest that must not hold


def ran_red() -> None:
    """Fail where unittest's own machinery says that a failing case failed."""
    case, result = unittest.FunctionTestCase(RED.fail), unittest.TestResult()
    case.run(result)
    assert result.wasSuccessful() or result.skipped or not result.failures


def sing(
    pytest: Any | None,
    call: Callable[[Callable[[], object]], object] | None = None,
    *,
    often: bool = False,
) -> list[str]:
    """Run the canaries, compiled now; return those that did not fail.

    Args:
        pytest: the module, where it runs the tests.
        call: calls a canary as the runner calls a test.
        often: only those that no mock turns: a test's may be in place.
    """
    texts = [*CORE, *(PYTEST if pytest else ())]
    if not often:
        texts += [f"assert {text}" for text in FALSE] + [f"RED.assert{text}" for text in METHODS]
    alive, names = [], {**globals(), "pytest": pytest}
    skips: list[type[BaseException]] = [unittest.SkipTest, SystemExit, KeyboardInterrupt]
    if pytest:
        skips += [pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception]
    for text in texts:
        code = compile(text, "<self-coding>", "exec")
        try:
            if call:
                call(lambda code=code: exec(code, names))  # type: ignore[misc]  # noqa: S102
            else:
                exec(code, names)  # noqa: S102 - ours
        except tuple(skips):
            alive.append(f"{text} (skipped)")
        except BaseException:  # noqa: S110 - however it fails, it fails
            pass
        else:
            alive.append(text)
    return alive
