"""The code under test is the candidate's: three layouts, an editable install, with and without
bubblewrap. Each candidate has a bug that the user's own checkout has not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from gate_repo import PYTEST, Repo

from self_coding.errors import GateError

GOOD, BUG = "def add(a, b):\n    return a + b\n", "def add(a, b):\n    return a - b\n"
TEST = "from calc.ops import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"
LAYOUTS = {
    "src": ("src/calc/ops.py", "tests/test_ops.py", "src"),
    "flat": ("calc/ops.py", "tests/test_ops.py", "."),
    "inside": ("src/calc/ops.py", "src/calc/tests/test_ops.py", "src"),
}


def editable(repo: Repo, root: str, *, finder: bool = False) -> None:
    """What `pip install -e .` leaves in a `.venv` inside the repository, pytest included."""
    venv = repo.path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python3*/site-packages"))
    ours = Path(sysconfig.get_path("purelib"))
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py.py"):
        # Copied: a link would lead out of what the sandbox shows, depending on where we run.
        if (ours / name).is_dir():
            shutil.copytree(ours / name, site / name, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy2(ours / name, site / name)
    target = (repo.path / root).resolve()
    if finder:
        code = (
            "import sys, importlib.util\n"
            f"MAPPING = {{'calc': '{target / 'calc'}'}}\n"
            "class Finder:\n"
            "    @classmethod\n"
            "    def find_spec(cls, name, path=None, target=None):\n"
            "        if name in MAPPING:\n"
            "            at = MAPPING[name]\n"
            "            return importlib.util.spec_from_file_location(\n"
            "                name, at + '/__init__.py', submodule_search_locations=[at])\n"
            "def install():\n    sys.meta_path.%s\n"
        )
        (site / "__editable___calc_finder.py").write_text(code % "append(Finder)")
        start = "import __editable___calc_finder as f; f.install()\n"
        (site / "__editable__.calc.pth").write_text(start)
    else:
        (site / "__editable__.calc.pth").write_text(f"{target}\n")


def layout(tmp_path: Path, name: str, *, install: bool = True, finder: bool = False):
    code, test, root = LAYOUTS[name]
    repo = Repo(tmp_path / "repo")
    package = str(Path(code).parent)
    files = {code: GOOD, test: TEST, f"{package}/__init__.py": "", ".gitignore": ".venv\n"}
    if name == "inside":
        files[f"{package}/tests/__init__.py"] = ""
    base = repo.commit(files)
    if install:
        editable(repo, root, finder=finder)
    bug = repo.commit({code: BUG})
    repo.git("reset", "-q", "--hard", base)
    return repo, base, bug


@pytest.mark.parametrize("level", ["bwrap", "landlock", "limits"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_bug_in_the_candidate_is_seen_through_an_editable_install(tmp_path, name, level):
    """The tests of a candidate import the candidate, not the checkout that is installed."""
    repo, base, bug = layout(tmp_path, name)
    gate = repo.gate(sandbox=level, baseline=False)
    good = gate.run(base, tree=repo.tree(base))
    assert good.passed, good.output
    assert not gate.run(bug, tree=repo.tree(bug)).passed
    assert repo.git("status", "--porcelain") == ""


@pytest.mark.parametrize("level", ["bwrap", "limits"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_without_any_install_imports(tmp_path, name, level):
    """A repository that is not installed anywhere is imported from the candidate."""
    repo, base, bug = layout(tmp_path, name, install=False)
    gate = repo.gate(sandbox=level, baseline=False)
    good = gate.run(base, tree=repo.tree(base))
    assert good.passed, good.output
    assert not gate.run(bug, tree=repo.tree(bug)).passed


@pytest.mark.parametrize("level", ["bwrap", "limits"])
def test_an_editable_finder_is_no_way_around(tmp_path, level):
    """A finder that maps the package into the checkout does not win either."""
    repo, base, bug = layout(tmp_path, "src", finder=True)
    gate = repo.gate(sandbox=level, baseline=False)
    assert gate.run(base, tree=repo.tree(base)).passed
    assert not gate.run(bug, tree=repo.tree(bug)).passed


def test_imports_that_cannot_be_won_are_no_verdict(tmp_path):
    """Without bubblewrap, a finder that comes first makes the gate refuse to judge."""
    repo, _, bug = layout(tmp_path, "src", finder=True)
    finder = next(repo.path.glob(".venv/lib/*/site-packages/__editable___calc_finder.py"))
    finder.write_text(finder.read_text().replace("append(Finder)", "insert(0, Finder)"))
    with pytest.raises(GateError, match="calc from"):
        repo.gate(sandbox="limits").run(bug, tree=repo.tree(bug))
    assert not repo.gate(sandbox="bwrap").run(bug, tree=repo.tree(bug)).passed


def test_python_resolves_where_only_our_interpreter_exists(tmp_path, monkeypatch):
    """`python` runs although PATH has none: it is the interpreter that runs us."""
    repo = Repo(tmp_path / "repo")
    commit = repo.commit({"test_a.py": "def test_a():\n    pass\n"})
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for level in ("bwrap", "limits"):
        report = repo.run(commit, sandbox=level, command=PYTEST)
        assert report.passed, report.output
