"""Reads the output of Python's unittest runner into failing tests.

Ids stay as the runner takes them (`tests.test_a.TestA.test_x`). It refuses text without the
runner's double rules.
"""

from __future__ import annotations

import re
from itertools import pairwise

from self_coding.reflection.reports import FailedTest, Raised
from self_coding.reflection.tracebacks import read_raised

_RULE = re.compile(r"={60,}$")
_DASHES = re.compile(r"-{60,}$")
_HEAD = re.compile(
    r"(?:FAIL|ERROR): (?P<name>\S+)(?: \((?P<where>[\w.]+)\))?(?P<sub>(?: [\[(].*[\])])*)$"
)
_LOADER = "unittest.loader._FailedTest"


def is_unittest(output: str) -> bool:
    """Whether the text looks like the unittest runner's."""
    lines = output.split("\n")
    return any(_RULE.match(line) and _HEAD.match(after) for line, after in pairwise(lines))


def read_unittest(output: str) -> list[FailedTest]:
    """The failing tests of a run, each once, with what was raised in it."""
    lines = output.split("\n")
    heads = [
        n for n, line in enumerate(lines) if n and _HEAD.match(line) and _RULE.match(lines[n - 1])
    ]
    found: dict[str, FailedTest] = {}
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        test = _read(lines[start], lines[start + 1 : end])
        found.setdefault(test.id, test)
    return list(found.values())


def _read(head: str, body: list[str]) -> FailedTest:
    rules = [n for n, line in enumerate(body) if _DASHES.match(line)]
    start = rules[0] + 1 if rules else 0
    end = next((n for n in rules if n >= start), len(body))
    end = next((n for n in range(start, end) if _RULE.match(body[n])), end)
    text = [line for line in body[start:end] if not line.startswith(("Stdout:", "Stderr:"))]
    raised = read_raised(text)
    found = _HEAD.match(head)
    assert found is not None
    name = _name(found["name"], found["where"] or "")
    return FailedTest(id=name, raised=raised[-1] if raised else Raised())


def _name(name: str, where: str) -> str:
    """The dotted name; before 3.11 the runner left the method out of it."""
    if where.startswith(_LOADER) or not where:
        return name
    return where if where.endswith(f".{name}") else f"{where}.{name}"
