"""Tests of ours that are known to fail, by each way in which tests claim something.

They are made inside the judged process, after the tested code was loaded: one that passes or is
skipped means that the code has changed its judge. They go by no fixtures and no hooks but the one
that calls a test, and nobody counts them.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import math
import operator
import os
import re
import unittest
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Canary = Callable[[], object]

NOWHERE = "/self-coding/nowhere"
EMPTY = os.devnull  # a file that can be read everywhere
RED: Any = unittest.TestCase()
USED = (copy, datetime, json, math, operator, re, Counter, Decimal, Fraction, Path)  # by the text

CORE = """
assert len("a") == len("ab"); assert not 1 != 2; RED.assertEqual(1, 2); RED.assertTrue(0); RED.fail()
""".strip().split("; ")  # what no honest test turns by a mock of its own
APPROX = (
    """
assert 1.0 == pytest.approx(1.001); assert 1 == pytest.approx(2)
assert [1.0] == pytest.approx([1.001]); assert {"a": 1.0} == pytest.approx({"a": 1.001}); pytest.fail("")
""".strip()
    .replace("\n", "; ")
    .split("; ")
)
FALSE = (
    """
1.5 == 2.5; "a" == "b"; b"a" == b"b"; (1,) == (2,); [1] == [2]; {"a": 1} == {"a": 2}; {1} == {2}; None == 0
isinstance(1, str); issubclass(int, str); hasattr(object, "nothing"); callable(1); bool(0); all([1, 0])
any([0, None]); len([1, 2]) == 3; sorted([2, 1]) == [2, 1]; sum([1, 2]) == 4; min(1, 2) == 2; max(1, 2) == 1
abs(-2.5) == 0; round(1.25, 1) == 1; set("ab") == set("a"); list("ab") == ["a"]; dict(a=1) == {}
list(zip("ab", "ab")) == [("a", "a")]; str(1) == "2"; repr("a") == "b"; list(range(2)) == [0]
Fraction(1, 3) == Fraction(1, 4); Decimal("0.1") == Decimal("0.2"); Path("a") == Path("b")
datetime.date(2020, 1, 1) == datetime.date(2020, 1, 2); datetime.timedelta(1) == datetime.timedelta(2)
datetime.datetime(2020, 1, 1) == datetime.datetime(2021, 1, 1); Counter("a") == Counter("b")
math.isclose(1.0, 1.001); math.isfinite(math.inf); operator.eq(1, 2); re.fullmatch("a", "b")
re.match("a", "b"); re.search("a", "b"); re.findall("a", "b"); copy.deepcopy([1]) == [2]
json.loads('[{"amount": 1}, {"amount": 5000}]') == [{"amount": 1}]; json.loads('{"a": 1}') == {}
json.dumps({"a": 1}) == "{}"; Path(NOWHERE).exists(); Path(NOWHERE).is_file(); os.path.exists(NOWHERE)
os.path.isfile(NOWHERE); Path(EMPTY).read_text() == "text"; Path(EMPTY).read_bytes() == b"text"
open(EMPTY).read() == "text"
""".strip()
    .replace("\n", "; ")
    .split("; ")
)
METHODS = (
    """
NotEqual(1, 1); True(False); False(True); Is("a", "b"); IsNot(None, None); IsNone(1); IsNotNone(None)
In(1, [2]); NotIn(1, [1]); IsInstance(1, str); NotIsInstance(1, int); AlmostEqual(1.0, 1.001)
NotAlmostEqual(1.0, 1.0); Greater(1, 2); GreaterEqual(1, 2); Less(2, 1); LessEqual(2, 1); Regex("a", "b")
NotRegex("a", "a"); CountEqual([1], [2]); ListEqual([1], [2]); TupleEqual((1,), (2,)); SetEqual({1}, {2})
DictEqual({1: 1}, {1: 2}); SequenceEqual([1], [2]); MultiLineEqual("a", "b"); Raises(ValueError, int, "1")
RaisesRegex(ValueError, "nothing of it", int, "x")
""".strip()
    .replace("\n", "; ")
    .split("; ")
)  # assertions of unittest that must not hold


def written(text: str, **more: Any) -> tuple[str, Canary]:
    """A canary from its text: compiled now, and what it names is looked up when it runs."""
    code = compile(text, "<self-coding>", "exec")
    return text, lambda: exec(code, {**globals(), **more})  # noqa: S102 - ours


def suppressed() -> None:
    """Claim something inside of a block that lets other errors pass."""
    with contextlib.suppress(KeyError):
        assert not METHODS


def ran_red() -> None:
    """Fail where unittest's own machinery says that a failing case failed."""
    case, result = unittest.FunctionTestCase(suppressed), unittest.TestResult()
    case.run(result)
    assert result.wasSuccessful() or result.skipped or not result.failures


def core(pytest: Any | None) -> Iterator[tuple[str, Canary]]:
    """The canaries that no honest test turns by a mock of its own."""
    yield "an assertion in a block", suppressed
    yield "TestCase.run", ran_red
    yield from map(written, CORE)
    if pytest is None:
        return

    def raises(given: BaseException | None, **how: Any) -> Canary:
        def canary() -> None:
            with pytest.raises(ValueError, **how):
                if given:
                    raise given

        return canary

    yield "pytest.raises", raises(None)
    yield "pytest.raises of another", raises(KeyError("on purpose"))
    yield "pytest.raises with a match", raises(ValueError("on purpose"), match="nothing of it")
    yield from (written(text, pytest=pytest) for text in APPROX)


def everything(pytest: Any | None) -> Iterator[tuple[str, Canary]]:
    """All canaries: for the times at which no test's mock is in place."""
    yield from core(pytest)
    yield from (written(f"assert {text}") for text in FALSE)
    yield from (written(f"RED.assert{text}") for text in METHODS)


def sing(
    canaries: Iterator[tuple[str, Canary]],
    skips: tuple[type[BaseException], ...],
    call: Callable[[Canary], object] = lambda one: one(),
) -> list[str]:
    """Run canaries; return those that did not fail."""
    alive = []
    through: tuple[type[BaseException], ...] = (*skips, SystemExit, KeyboardInterrupt)
    for name, canary in canaries:
        try:
            call(canary)
        except through:
            alive.append(f"{name} (skipped)")
        except BaseException:  # noqa: S110 - however it fails, it fails
            pass
        else:
            alive.append(name)
    return alive
