"""What main's tests have and lack, asked before the first change."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from self_coding.gate.readiness import Readiness
from self_coding.git_safety import GitSafety
from self_coding.testing import write_files
from self_coding.values.verdicts import GateSettings
from tool_chains import put

PYTEST, UNITTEST = "python -m pytest -q", "python -m unittest discover"
CASE = "import unittest\n{}\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n"


def ready(top: Path, files: dict[str, str], command: str) -> Readiness:
    """Look at a repository that holds just these files."""
    write_files(top, files)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=top, check=True)
    return asyncio.run(GitSafety(top, test_command=command).readiness())


@pytest.mark.parametrize(
    ("files", "command", "tests"),
    [
        ({"test_a.py": "def test_a():\n    pass\n"}, PYTEST, 1),
        ({"test_a.py": CASE.format("")}, UNITTEST, 1),
        ({"t/__init__.py": "", "t/test_a.py": CASE.format("")}, f"{UNITTEST} -s t", 1),
        ({"t/a_test.py": CASE.format("")}, f"{UNITTEST} -s t -p '*_test.py'", 1),
        ({"Makefile": f"test:\n\t{PYTEST}\n", "test_a.py": "def test_a(): 1"}, "make test", 1),
        pytest.param(
            {"go.mod": "module x\n", "a_test.go": 'package x\nimport "testing"\n'
             "func TestA(t *testing.T) {}\n"},
            "go test ./...",
            1,
            marks=pytest.mark.skipif(shutil.which("go") is None, reason="no go"),
        ),
    ],
)  # fmt: skip
def test_tests_are_counted_and_not_run(
    tmp_path: Path, files: dict[str, str], command: str, tests: int
) -> None:
    """A command that can list its tests does; nothing is wrong then."""
    found = ready(tmp_path, files, command)
    assert (found.tests, found.failure, found.listed, dict(found.broken)) == (tests, "", True, {})
    assert found.program


@pytest.mark.parametrize(
    ("files", "command", "said"),
    [
        ({"test_a.py": "import no_such_a, b\n"}, PYTEST, "no module 'no_such_a'"),
        (
            {"test_a.py": "import no_such_a\n", "test_b.py": "import no_such_b\n"},
            PYTEST,
            "no modules no_such_a, no_such_b",
        ),
        ({"test_a.py": CASE.format("import no_such_a")}, UNITTEST, "no module 'no_such_a'"),
        ({"conftest.py": "import no_such_a\n"}, PYTEST, "no module 'no_such_a'"),
        ({"test_a.py": "def test_a(:\n"}, PYTEST, "no test can be collected: test_a.py"),
        ({"a.py": ""}, PYTEST, "there are no tests"),
        ({"a.py": ""}, "no-such-tool test", "`no-such-tool` was not found"),
        ({"Makefile": "test:\n\t@echo it is red; false\n"}, "make test", "it is red"),
        (
            {
                "run": "printf '\\033[1;31m[ERROR]\\033[m no crate x\\n';"
                " for i in 1 2 3 4; do echo see; done; exit 9"
            },
            "sh run",
            "[ERROR] no crate x | see",
        ),
    ],
)
def test_what_could_prove_nothing_is_named(
    tmp_path: Path, files: dict[str, str], command: str, said: str
) -> None:
    """Where no test can pass, the first look says what is missing, and the way out."""
    found = ready(tmp_path, files, command)
    assert said in found.failure
    assert found.hint


def test_a_file_that_cannot_be_collected_is_named(tmp_path: Path) -> None:
    """One broken file beside good ones is no failure, and is not passed over either."""
    files = {"test_a.py": "def test_a():\n    pass\n", "test_b.py": "import no_such_b\n"}
    found = ready(tmp_path, files, PYTEST)
    assert (found.tests, found.failure) == (1, "")
    assert dict(found.broken) == {"test_b.py": "No module named 'no_such_b'"}


def test_a_command_that_lists_nothing_is_run(tmp_path: Path) -> None:
    """Without a listing the command itself is the proof that it can pass."""
    found = ready(tmp_path, {"Makefile": "test:\n\ttrue\n"}, "make test")
    assert (found.tests, found.failure, found.listed) == (None, "", False)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_a_suite_that_reports_while_it_runs_may_take_its_time(tmp_path: Path) -> None:
    """A runner that cannot list its tests is no failure because the first look is short."""
    slow = "const test = require('node:test');\ntest('a', () => {});\n"
    slow += "test('slow', () => new Promise((done) => setTimeout(done, 30_000)));\n"
    write_files(tmp_path, {"a.test.js": slow})
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(tmp_path)]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    service = GitSafety(tmp_path, test_command="node --test", gate=GateSettings(timeout=5))
    found = asyncio.run(service.readiness())
    assert (found.failure, found.unfinished, found.listed) == ("", True, False)


def test_a_plugin_that_ends_pytest_hides_nothing(tmp_path: Path) -> None:
    """A plugin of the environment that raises is named, and so are the modules behind it."""
    environment = tmp_path / "top" / ".venv"
    make = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(make, check=True)
    [site] = environment.glob("lib/python3*/site-packages")
    for name in ("pytest", "_pytest", "py.py", "pluggy", "iniconfig", "packaging", "pygments"):
        put(Path(sysconfig.get_path("purelib")) / name, site / name)
    entry = {"METADATA": "Name: noisy\nVersion: 1\n", "entry_points.txt": "[pytest11]\nn = noisy\n"}
    raises = "def pytest_configure(config):\n    raise DeprecationWarning('it is unset')\n"
    write_files(site, {"noisy.py": raises, **{f"noisy-1.dist-info/{n}": entry[n] for n in entry}})
    files = {"test_a.py": "import no_such_a\n", "test_b.py": "import no_such_b\n"}
    found = ready(tmp_path / "top", {**files, ".gitignore": ".venv\n"}, PYTEST)
    assert found.failure.startswith("no module no_such_a, no_such_b, and the plugin 'noisy' of ")
    assert found.failure.endswith("ends pytest before any test: DeprecationWarning: it is unset")
    assert found.hint.startswith("make an environment (.venv)")
