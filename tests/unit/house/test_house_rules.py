"""The house keeps itself small, layered and quiet: sizes, floors, the front door."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "src" / "self_coding"
MODULES = sorted(SOURCE.rglob("*.py"))

# The ratchet: these numbers may only fall.
LONGEST_MODULE = 400
LONGEST_FUNCTION = 70
MEDIAN_FUNCTION = 10
NINETIETH_FUNCTION = 35


def _functions() -> Iterator[tuple[str, int]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path.name}:{node.name}", node.end_lineno - node.lineno + 1


def test_no_module_is_longer_than_a_sitting() -> None:
    """A module has at most 400 lines; a longer one is two ideas."""
    lengths = {
        path.relative_to(SOURCE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_functions_fit_a_screen() -> None:
    """No function is longer than 70 lines, nine of ten have at most 35, the median at most 10."""
    lengths = dict(_functions())
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}
    assert statistics.median(lengths.values()) <= MEDIAN_FUNCTION
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= NINETIETH_FUNCTION


def test_importing_loads_the_standard_library_and_ourselves_alone() -> None:
    """`import self_coding`, every public name taken, loads no third-party module and is silent."""
    code = (
        "import sys; before = set(sys.modules); import self_coding\n"
        "for name in self_coding.__all__: getattr(self_coding, name)\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "alien = sorted(new - set(sys.stdlib_module_names) - {'self_coding'})\n"
        "sys.exit(' '.join(alien) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_module_says_what_it_is_for() -> None:
    """Each module opens with a docstring."""
    silent = [p.name for p in MODULES if not ast.get_docstring(ast.parse(p.read_text("utf-8")))]
    assert silent == []


def test_nothing_prints_below_the_entry_points() -> None:
    """Only the command line writes to standard output."""
    loud = [
        path.relative_to(SOURCE).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert [name for name in loud if not name.startswith("cli")] == []


def test_no_git_command_that_destroys() -> None:
    """No source line of ours runs reset --hard, clean, stash or a forced checkout."""
    wrong = re.compile(r"""\w\(\s*["'](reset|stash|clean|pull)["']|["']--hard["']""")
    hits = {
        path.relative_to(SOURCE).as_posix()
        for path in MODULES
        if wrong.search(path.read_text(encoding="utf-8"))
    }
    assert hits == set()


@pytest.mark.parametrize("tool", [["ruff", "check"], ["lint-imports"]])
def test_the_linters_are_content(tool: list[str]) -> None:
    """Ruff finds nothing, and every import goes downwards."""
    command = [str(Path(sys.executable).parent / tool[0]), *tool[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
