"""The house keeps itself small, layered and quiet: sizes, floors, the front door."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "src" / "self_coding"
MODULES = sorted(SOURCE.rglob("*.py"))

_SPEC = spec_from_file_location("house", ROOT / "bench" / "house.py")
assert _SPEC is not None and _SPEC.loader is not None
house = module_from_spec(_SPEC)
sys.modules["house"] = house
_SPEC.loader.exec_module(house)

# The ratchet: these numbers may only fall. The first may rise with a new capability, by whole
# thousands, and then the commit message says why.
SOURCE_LINES = 55_000
LONGEST_MODULE = 500
LONGEST_FUNCTION = 70
NINETIETH_FUNCTION = 35
ONE_USE_HELPERS = 22  # private, named once, shorter than 12 lines, neither callback nor recursive
NAMED_ONCE = 0.145  # share of private functions that are named once in their module
COMMENTS = 0.028  # comment lines a line of code: this number may only rise

#: What a pure module may not reach, not even through another module of ours.
EFFECTS = {
    *("asyncio", "logging", "os", "random", "socket", "sqlite3", "subprocess", "threading"),
    *("time", "urllib", "tempfile", "shutil"),
}


def test_the_source_does_not_grow_unnoticed() -> None:
    """All of `src/` has at most as many lines as the ratchet says."""
    assert sum(module.lines for module in house.modules()) <= SOURCE_LINES


def test_no_module_is_longer_than_a_sitting() -> None:
    """A module has at most 500 lines; a longer one is two ideas."""
    lengths = {str(module.path): module.lines for module in house.modules()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_functions_fit_a_screen() -> None:
    """No function is longer than 70 lines, and nine of ten have at most 35: every one counts."""
    lengths = [
        (f"{module.path}:{function.line}", function.lines)
        for module in house.modules()
        for function in module.functions
    ]
    assert [one for one in lengths if one[1] > LONGEST_FUNCTION] == []
    assert statistics.quantiles([n for _, n in lengths], n=10)[-1] <= NINETIETH_FUNCTION


def test_helpers_are_worth_their_jump() -> None:
    """A short private function that is called once belongs into its caller."""
    needless = [
        f"{module.path.relative_to(SOURCE)}:{function.line} {function.name}"
        for module in house.modules()
        for function in module.functions
        if function.needless
    ]
    assert len(needless) <= ONE_USE_HELPERS, "\n".join(needless)


def test_no_packages_import_each_other() -> None:
    """There is no import circle, imports that are hidden in a string counted as well."""
    assert house.circles() == []


def test_steps_are_few_and_hard_lines_explained() -> None:
    """Few functions are private steps that are called once; comments say why where it is hard."""
    functions = [function for module in house.modules() for function in module.functions]
    once = sum(function.private and function.uses == 1 for function in functions)
    assert once <= NAMED_ONCE * len(functions)
    comments = sum(module.comments for module in house.modules())
    assert comments >= COMMENTS * sum(module.code for module in house.modules())


def test_what_calls_itself_pure_is_pure() -> None:
    """A module whose docstring says "Pure." reaches no effect, through whatever it imports."""
    graph = grimp.build_graph(
        "self_coding", include_external_packages=True, exclude_type_checking_imports=True
    )
    wrong = {}
    for path in MODULES:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if not re.search(r"^Pure[.:]", docstring, re.MULTILINE):
            continue
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        reached = graph.find_upstream_modules(name.removesuffix(".__init__"))
        effects = sorted(one for one in reached if one in EFFECTS or ".adapters" in one)
        if effects:
            wrong[name] = effects
    assert wrong == {}


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
