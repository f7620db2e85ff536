"""No text, however it is made, keeps the text scan busy for long."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from self_coding.languages import python_imports, python_names, python_scan
from worst_cases import run_limited

SIZE = 1_000_000
PART = 250_000  # for each pattern alone: a square of it is minutes, too
SECONDS = 20  # of CPU: many times what the slowest needs, far below what a square would take

# What is repeated to a megabyte, after a beginning that is there once.
WORST = {
    "unclosed parentheses": ("", "from a import (\n"),
    "one unclosed parenthesis": ("from a import (\n", "# comment\n"),
    "comments that open one": ("from a import (\n", "# : import (\n"),
    "inline imports in comments": ("", "#: import (\n"),
    "inline imports": ("", ":import a"),
    "spaces in a statement": ("from", " "),
    "spaces and dots in a statement": ("from", " ."),
    "words in a statement": ("from", " a"),
    "continued lines": ("import a", "\\\n"),
    "continued statements": ("", "from a import (\\\n"),
    "spaces before nothing": ("def", " "),
    "spaces between async and nothing": ("async", " \t"),
    "indentation": ("", "\n \t "),
    "indented imports": ("", "\n import a"),
    "imports in ever less indentation": (
        "".join(f"\n{' ' * depth}import a" for depth in range(900, 0, -1)),
        "\n",
    ),
    "blank lines before ever less indentation": (
        "\n" * (SIZE // 2),
        "".join(f"\n{' ' * depth}import a{depth}" for depth in range(900, 0, -1)),
    ),
    "nested classes": ("", "".join(f"\n{' ' * n}class {'A' * 400}:" for n in range(700))),
    "strings of one line": ("x = ''''''", '"""a"""'),
    "open strings": ("", "'''\"\"\""),
    "quotes": ("", "\"'"),
    "backslashes": ('"', "\\"),
    "escaped quotes": ('"""', '\\"'),
    "plugins without an assignment": ("", "pytest_plugins:"),
    "plugins": ("pytest_plugins: ", " a:"),
    "open lists of plugins": ("", "pytest_plugins=["),
    "computed imports": ("import_module", "import_module(a) "),
    "open calls": ("", "import_module('"),
    "spaces in calls": ("import_module(", " "),
    "code that is run": ("import importlib.util\n", "exec("),
    "programs": ("import subprocess\n", "subprocess . a "),
    "literals of programs": ("import subprocess\n", "'a.'"),
    "scripts": ("import subprocess\n'", "./.py"),
    "modules of programs": ("import subprocess\n", "'-m' , 'a"),
    "cookies": ("#", "coding: "),
    "plugin options": ("-p", " "),
    "combining marks": ("def a", "\u0301\u0323"),
    "letters that are many": ("def a", "\ufdfa"),
    "bytes that are not text": ("\udcff", "\udcff\n"),
}


def test_every_text_is_scanned_in_linear_time() -> None:
    """A megabyte of each worst case takes seconds at the most, whichever pattern reads it."""
    run_limited(__file__, seconds=3 * SECONDS)


def test_a_statement_that_never_ends() -> None:
    """An import list without an end is no import of names, and costs nothing."""
    text = "from a import (\n" + "# why\n" * 12 + "def f(): pass\n"
    assert python_scan.scan(text.encode()).names == ["f"]


@pytest.mark.parametrize("module", [python_scan, python_imports, python_names])
def test_no_pattern_repeats_a_repetition(module: object) -> None:
    """A repeated group in a pattern is possessive: it is never tried in another way."""
    nested = re.compile(r"[*+}][^()|\[\]]*\)[*+](?![+])")
    for name, pattern in vars(module).items():
        if isinstance(pattern, re.Pattern):
            source = pattern.pattern
            shown = source if isinstance(source, str) else source.decode()
            assert not nested.search(shown), f"{name}: {shown}"


def main() -> None:
    """Scan each worst case as a whole, and with each pattern alone."""
    patterns = [
        each
        for module in (python_scan, python_imports, python_names)
        for each in vars(module).values()
        if isinstance(each, re.Pattern) and isinstance(each.pattern, str)
    ]
    for name, (beginning, repeated) in WORST.items():
        print(name, flush=True)
        text = beginning + repeated * ((SIZE - len(beginning)) // len(repeated) + 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        python_scan.scan(text.encode("utf-8", "surrogateescape"))
        for pattern in patterns:
            for _ in pattern.finditer(text[:PART]):
                pass
        spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        print(f"    {spent:.2f} s", flush=True)
        if spent > SECONDS:
            sys.exit(f"{name} took {spent:.1f} s")


if __name__ == "__main__":
    main()
