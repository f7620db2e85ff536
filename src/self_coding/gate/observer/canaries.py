"""Tests of ours that are known to fail, by each way in which tests claim something.

They run inside the judged process, after the tested code was loaded: one that passes or is skipped
means that the code has changed its judge. They go by no fixtures and no hooks but the one that
calls a test, and nobody counts them.
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

NOWHERE = os.path.join(os.path.dirname(os.__file__), "self-coding-nowhere")
EMPTY = os.devnull  # a file that can be read everywhere

# The values come from calls: the compiler would settle a comparison of constants.
VALUES: dict[str, tuple[Any, Any]] = {
    "int": (1, 2), "float": (1.5, 2.5), "str": ("a", "b"), "bytes": (b"a", b"b"), "tuple": ((1,), (2,)),
    "list": ([1], [2]), "dict": ({"a": 1}, {"a": 2}), "set": ({1}, {2}), "None": (None, 0),
    "Fraction": (Fraction(1, 3), Fraction(1, 4)), "Decimal": (Decimal("0.1"), Decimal("0.2")),
    "Path": (Path("a"), Path("b")), "date": (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
    "datetime": (datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1)),
    "timedelta": (datetime.timedelta(1), datetime.timedelta(2)), "Counter": (Counter("a"), Counter("b")),
}  # fmt: skip
FALSE: dict[str, Canary] = {  # each says no
    "isinstance": lambda: isinstance(1, str),
    "issubclass": lambda: issubclass(int, str),
    "hasattr": lambda: hasattr(object, "nothing"),
    "callable": lambda: callable(1),
    "bool": lambda: bool(0),
    "all": lambda: all([1, 0]),
    "any": lambda: any([0, None]),
    "len": lambda: len([1, 2]) == 3,
    "sorted": lambda: sorted([2, 1]) == [2, 1],
    "sum": lambda: sum([1, 2]) == 4,
    "min": lambda: min(1, 2) == 2,
    "max": lambda: max(1, 2) == 1,
    "abs": lambda: abs(-2.5) == 0,
    "round": lambda: round(1.25, 1) == 1,
    "set": lambda: set("ab") == set("a"),
    "list": lambda: list("ab") == ["a"],
    "dict": lambda: dict(a=1) == {},
    "zip": lambda: list(zip("ab", "ab")) == [("a", "a")],
    "str": lambda: str(1) == "2",
    "repr": lambda: repr("a") == "b",
    "range": lambda: list(range(2)) == [0],
    "math.isclose": lambda: math.isclose(1.0, 1.001),
    "math.isfinite": lambda: math.isfinite(math.inf),
    "operator.eq": lambda: operator.eq(1, 2),
    "re.fullmatch": lambda: re.fullmatch("a", "b"),
    "re.match": lambda: re.match("a", "b"),
    "re.search": lambda: re.search("a", "b"),
    "re.findall": lambda: re.findall("a", "b"),
    "json.loads": lambda: json.loads('[{"amount": 1}, {"amount": 5000}]') == [{"amount": 1}],
    "json.loads of nothing": lambda: json.loads('{"a": 1}') == {},
    "json.dumps": lambda: json.dumps({"a": 1}) == "{}",
    "copy.deepcopy": lambda: copy.deepcopy([1]) == [2],
    "Path.exists": lambda: Path(NOWHERE).exists(),
    "Path.is_file": lambda: Path(NOWHERE).is_file(),
    "os.path.exists": lambda: os.path.exists(NOWHERE),
    "os.path.isfile": lambda: os.path.isfile(NOWHERE),
    "Path.read_text": lambda: Path(EMPTY).read_text(encoding="utf-8") == "text",
    "Path.read_bytes": lambda: Path(EMPTY).read_bytes() == b"text",
    "open": lambda: read(EMPTY) == "text",
}  # fmt: skip
METHODS: dict[str, tuple[Any, ...]] = {  # of unittest, each with arguments that it must refuse
    "assertEqual": (1, 2), "assertNotEqual": (1, 1), "assertTrue": (False,), "assertFalse": (True,),
    "assertIs": ("a", "b"), "assertIsNot": (None, None), "assertIsNone": (1,), "assertIsNotNone": (None,),
    "assertIn": (1, [2]), "assertNotIn": (1, [1]), "assertIsInstance": (1, str),
    "assertNotIsInstance": (1, int), "assertAlmostEqual": (1.0, 1.001), "assertNotAlmostEqual": (1.0, 1.0),
    "assertGreater": (1, 2), "assertGreaterEqual": (1, 2), "assertLess": (2, 1), "assertLessEqual": (2, 1),
    "assertRegex": ("a", "b"), "assertNotRegex": ("a", "a"), "assertCountEqual": ([1], [2]),
    "assertListEqual": ([1], [2]), "assertTupleEqual": ((1,), (2,)), "assertSetEqual": ({1}, {2}),
    "assertDictEqual": ({1: 1}, {1: 2}), "assertSequenceEqual": ([1], [2]),
    "assertMultiLineEqual": ("a", "b"), "assertRaises": (ValueError, int, "1"),
    "assertRaisesRegex": (ValueError, "nothing of it", int, "x"), "fail": ("on purpose",),
}  # fmt: skip


def read(path: str) -> str:
    """The text of a file."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def denied(says_no: Canary) -> None:
    """Claim that what says no says yes."""
    assert says_no()


def same(one: object, two: object) -> None:
    """Claim that two values are equal, and that they are not different."""
    assert one == two
    assert not one != two  # noqa: SIM202


def suppressed() -> None:
    """Claim something inside of a block that lets other errors pass."""
    with contextlib.suppress(KeyError):
        assert not VALUES


def later(function: Callable[..., object], *arguments: object) -> Canary:
    """A call that waits."""
    return lambda: function(*arguments)


class Case(unittest.TestCase):
    """A test case that fails."""

    def runTest(self) -> None:  # noqa: N802
        """Fail."""
        self.assertEqual(len(VALUES), 0)


def ran_red() -> None:
    """Fail where unittest's own machinery says that a failing case failed."""
    result = unittest.TestResult()
    Case().run(result)
    assert result.wasSuccessful() or result.skipped or not result.failures


def core(pytest: Any | None) -> Iterator[tuple[str, Canary]]:
    """The canaries that no honest test turns by a mock of its own."""
    yield "assert", lambda: same(*VALUES["int"])
    yield "assert in a block", suppressed
    yield "TestCase.run", ran_red
    case = Case()
    for name in ("assertEqual", "assertTrue", "fail"):
        yield f"TestCase.{name}", later(getattr(case, name), *METHODS[name])
    if pytest is None:
        return

    def approximate(one: object, two: object) -> None:
        same(one, pytest.approx(two))

    def raises(given: BaseException | None, **how: Any) -> None:
        with pytest.raises(ValueError, **how):
            if given:
                raise given

    for name, wrong in (
        ("float", 1.001),
        ("list", [1.0, 1.001]),
        ("dict", {"a": 1.001}),
        ("int", 2),
    ):
        right = {"list": [1.0, 1.0], "dict": {"a": 1.0}}.get(name, 1.0)
        yield f"approx of {name}", later(approximate, right, wrong)
    yield "raises", lambda: raises(None)
    yield "raises another", lambda: raises(KeyError("on purpose"))
    yield "raises with a match", lambda: raises(ValueError("on purpose"), match="nothing of it")
    yield "fail", lambda: pytest.fail("on purpose")


def everything(pytest: Any | None) -> Iterator[tuple[str, Canary]]:
    """All canaries: for the times at which no test's mock is in place."""
    yield from core(pytest)
    for name, pair in VALUES.items():
        yield f"== of {name}", later(same, *pair)
    for name, says_no in FALSE.items():
        yield name, later(denied, says_no)
    case = Case()
    for name, arguments in METHODS.items():
        method = getattr(case, name, None)
        if method is not None:
            yield f"TestCase.{name}", later(method, *arguments)


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
