"""`bench/all.py` reproduces what is published, and what is published can be reproduced by it."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
GUIDES = [page for page in sorted((ROOT / "docs").glob("*/*.md")) if "reference" not in page.parts]
PAGES = [ROOT / "README.md", ROOT / "bench/README.md", *GUIDES]
#: A cell that somebody measured: a number with a unit, a share, a count of so many.
FIGURE = re.compile(
    r"\d ?(ms|s|kB|MB|GB|MiB|%|x|CPU|tokens)\b|\d ?%|\d[\d,]* ?/ ?\d|(?<![\w.])\.\d{2,3}\b"
)
#: Programs that others run, or that are the subject of a figure elsewhere.
LIBRARIES = {"bench/all.py", "bench/lines.py", "bench/made.py", "bench/model_endpoints.py",
             "bench/import_truth.py", "bench/soak_hostile.py", "bench/soak_audit.py",
             "bench/terminal.py", "bench/repo_map.py", "bench/cheats/own.py",
             "bench/cheats/honest.py"}  # fmt: skip
#: Tables of limits that are set, not measured.
SET = {"docs/explanation/fleet.md: ## Who is dead"}
#: Reads each program as if it were run, up to where it has understood its arguments.
_PARSED = """
import argparse, json, runpy, sys
from pathlib import Path

class Understood(BaseException):
    pass

def parse(self, *given, **more):
    real(self, *given, **more)
    raise Understood

real, argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_args, parse
for words in json.load(sys.stdin):
    sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
    try:
        runpy.run_path(words[0], run_name="__main__")
    except (Understood, ImportError):
        continue
    except BaseException as error:
        if type(error).__name__ != "Skipped":  # a browser that is missing here
            print('wrong', words, repr(error))
"""


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_all", ROOT / "bench/all.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_all"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def scripts(text: str) -> set[str]:
    return set(re.findall(r"bench/[\w/]+\.py", text))


def test_each_row_has_its_script_and_its_page(bench: ModuleType) -> None:
    """A row's script is there, and its page names it or the row, which it would else not find."""
    assert len({row.name for row in bench.ROWS}) == len(bench.ROWS)
    for row in bench.ROWS:
        script = shlex.split(row.command)[0]
        assert (ROOT / script).is_file(), row.name
        told = (ROOT / row.page).read_text(encoding="utf-8")
        assert script in told or Path(script).name in told or f"--only {row.name}" in told, row.name
        assert not row.quick or shlex.split(row.quick)[0] == script, row.name


def test_each_row_is_understood_by_its_script(bench: ModuleType, tmp_path: Path) -> None:
    """Whatever a row says, its program takes: no option was renamed, no argument is missing."""
    given = dict.fromkeys(bench.NEEDS, tmp_path)
    (tmp_path / "histories").mkdir()
    (tmp_path / "histories/h11.bundle").touch()
    asked = [
        list(map(str, words[1:]))
        for row in bench.ROWS
        for command in filter(None, (row.command, row.quick))
        if isinstance(words := bench.filled(command, given), list)
        and "parse_args(" in Path(words[1]).read_text(encoding="utf-8")
    ]
    assert len(asked) > 40
    done = subprocess.run(
        [sys.executable, "-c", _PARSED], input=json.dumps(asked), cwd=ROOT, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    wrong = [line for line in done.stdout.splitlines() if line.startswith("wrong")]
    assert (wrong, done.returncode) == ([], 0), done.stderr[-2000:]


def test_each_measured_table_says_how_to_repeat_it(bench: ModuleType) -> None:
    """Below each heading with a table of figures stands a script, and the script has a row."""
    known = {shlex.split(row.command)[0] for row in bench.ROWS} | LIBRARIES
    for page in PAGES:
        for section in re.split(r"(?m)^(?=#)", page.read_text(encoding="utf-8")):
            rows = [line for line in section.splitlines() if line.startswith("|")]
            if sum(bool(FIGURE.search(row)) for row in rows) >= 2:
                named = f"{page.relative_to(ROOT)}: {section.splitlines()[0]}"
                assert named in SET or scripts(section), (
                    f"{named}: nothing says how to repeat its figures"
                )
                assert scripts(section) <= known, named


def test_each_script_has_a_row(bench: ModuleType) -> None:
    """Nothing in bench/ is left out of the one command that runs all."""
    known = {shlex.split(row.command)[0] for row in bench.ROWS} | LIBRARIES
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "bench").rglob("*.py")}
    assert found <= known
    assert known <= found


def test_it_says_what_it_lacks(bench: ModuleType) -> None:
    """A row whose data was not given is named with what it needs, not run into the ground."""
    nothing = dict.fromkeys(bench.NEEDS)
    assert bench.filled("bench/index.py cost TREE", nothing) == "needs --tree"
    words = bench.filled("bench/index.py cost TREE", {**nothing, "TREE": Path("/a")})
    assert words[-2:] == ["cost", "/a"]
