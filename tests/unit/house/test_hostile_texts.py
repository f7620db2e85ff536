"""No text from outside keeps a pattern busy for long: the worst cases are made from the pattern."""

from __future__ import annotations

import heapq
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
import self_coding
from self_coding.languages import python_names, syntax_tree
from self_coding.redaction.rules import ASSIGNMENT, ENVIRONMENT, RULES
from worst_cases import filled, patterns_of, run_limited, seconds_per_text, worst_cases

SMALL, WHOLE = 20_000, 1_000_000  # a square of the small one takes half a second and more
STOP, SECONDS = 0.3, 1.0  # of CPU
TRIED = 2  # texts of a pattern that are made whole: those on which the small one took longest
# What is searched in the characters before a place only.
BOUNDED = {
    python_names._DOT: python_names._LOOK_BACK,
    syntax_tree._VALUE: syntax_tree._LOOK_BACK,
}
PARTS = [one.name for one in iter_modules(self_coding.__path__) if not one.name.startswith("__")]


@pytest.mark.parametrize("part", PARTS)
def test_every_pattern_is_linear(part: str) -> None:
    """No repeat of a pattern, filled and cut off, takes a second for a megabyte."""
    run_limited(__file__, part, seconds=240)


WRITTEN = """
import re
from dataclasses import dataclass

@dataclass
class Row:
    word: str

NAMED = re.compile(r"a+1b")
LATIN = re.compile(rb"a+2b")
TABLE = {"key": [(re.compile(r"a+3b"), 0)]}
ROWS = {"key": Row(r"a+4b")}
PAIRS = ((r"a+5b", "x"), (r"a+6b", "y"))
TEXT = "a+7b"

def use(text, name):
    local = rf"{name}a+8b"
    re.search(ROWS[name].word, text) or re.match("a+9" + "b", text)
    re.sub(local, "", text, flags=re.M) or re.findall(TEXT, text)
    return [name for one, name in PAIRS if re.split(one, text)]
"""


def test_every_way_to_write_a_pattern_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern is found at the top, in a table or record, in a loop, inline, in two pieces."""
    (tmp_path / "written.py").write_text(WRITTEN)
    monkeypatch.syspath_prepend(tmp_path)
    found = {str(pattern.pattern) for _, pattern, _ in patterns_of("written")}
    assert {f"a+{number}b" in " ".join(found) for number in range(1, 10)} == {True}


def main(part: str) -> None:
    """Try each pattern of a part; the first that is too slow ends the program."""
    patterns = [*patterns_of(f"self_coding.{part}")]
    rules = (*RULES, ASSIGNMENT, ENVIRONMENT) if part == "redaction" else ()
    patterns += [(rule.name, rule.pattern, {"finditer"}) for rule in rules]
    for name, pattern, methods in patterns:
        small = []
        for beginning, repeated in worst_cases(pattern):
            text = filled(beginning, repeated, SMALL)[: BOUNDED.get(pattern)]
            spent = seconds_per_text(pattern, text, methods, STOP)
            small.append((spent, beginning, repeated))
        for spent, beginning, repeated in heapq.nlargest(TRIED, small):
            text = filled(beginning, repeated, WHOLE)[: BOUNDED.get(pattern)]
            if spent > STOP or seconds_per_text(pattern, text, methods, SECONDS) > SECONDS:
                sys.exit(f"{name} is too slow on {beginning!r} and then {repeated!r} repeated")


if __name__ == "__main__":
    main(sys.argv[1])
