"""No text from outside keeps a pattern busy for long: the worst cases are made from the pattern."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
import worst_cases
from self_coding.redaction.rules import ASSIGNMENT, ENVIRONMENT, RULES
from worst_cases import patterns_of, run_limited, seconds_per_text
from worst_cases import worst_cases as texts_for

SIZE = 40_000  # a square of it takes two seconds and more
SECONDS = 0.4  # of CPU; the slowest takes a twentieth
PACKAGES = (
    *("reflection", "redaction", "modification_journal", "audit", "text", "retrieval"),
    *("self_edit", "codebase_indexer.history", "codebase_indexer.ranking"),
    *("codebase_indexer.summary", "codebase_indexer.task_parser"),
    *("gate.judge", "gate.python_env", "gate.readiness", "gate.run", "gate.sandbox_layout"),
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_pattern_is_linear(package: str) -> None:
    """No repeat of a pattern, filled and cut off, takes more than seconds for a megabyte."""
    run_limited(__file__, package, seconds=120)


def _patterns(package: str) -> Iterator[tuple[str, re.Pattern[str], set[str]]]:
    yield from patterns_of(f"self_coding.{package}")
    for rule in (*RULES, ASSIGNMENT, ENVIRONMENT) if package == "redaction" else ():
        yield rule.name, rule.pattern, {"finditer"}


def main(package: str) -> None:
    """Try each pattern of a package; the first that is too slow ends the program."""
    worst_cases.SIZE = SIZE
    for name, pattern, methods in _patterns(package):
        for text in texts_for(pattern):
            if seconds_per_text(pattern, text, methods, SECONDS) > SECONDS:
                sys.exit(f"{name} is too slow on {text[:60]!r}...{text[-20:]!r}")


if __name__ == "__main__":
    main(sys.argv[1])
