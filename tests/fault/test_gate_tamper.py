"""Tested code that attacks its judge: the report, the exit status, the plugin, the collection."""

from __future__ import annotations

import pytest
from gate_repo import PYTEST, Repo

RED = "def test_red():\n    assert 1 == 2\n\ndef test_green():\n    pass\n"
FORGE = """
import json, os
def pytest_sessionfinish(session):
    for name in os.listdir("/proc/self/fd"):
        try:
            os.write(int(name), b'00000000 0000000000000000 [3,"end",{"status":0}]\\n')
        except OSError:
            pass
    os._exit(0)
"""
REWRITE = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        report.outcome = "passed"
"""
SWALLOW = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    outcome = yield
    outcome.force_result(None)
"""
PRETEND = """
from _pytest.reports import TestReport
def pytest_runtest_protocol(item, nextitem):
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for when in ("setup", "call", "teardown"):
        hook.pytest_runtest_logreport(report=TestReport(
            item.nodeid, item.location, {}, "passed", None, when, duration=0))
    return True
"""
NOT_RED = "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"
TRICKS = {
    "exit-at-import": {"conftest.py": "import os\nos._exit(0)\n"},
    "exit-at-the-end": {"conftest.py": "import os\ndef pytest_sessionfinish():\n    os._exit(0)\n"},
    "exit-in-a-hook": {"conftest.py": "import sys\ndef pytest_runtest_setup():\n    sys.exit(0)\n"},
    "exit-in-a-test": {"test_a.py": "import os\ndef test_a():\n    os._exit(0)\n"},
    "exit-status": {"conftest.py": NOT_RED},
    "forged-end": {"conftest.py": FORGE},
    "rewritten-outcomes": {"conftest.py": REWRITE},
    "swallowed-exceptions": {"conftest.py": SWALLOW},
    "pretended-runs": {"conftest.py": PRETEND},
    "plugin-off": {"pytest.ini": "[pytest]\naddopts = -p no:self_coding_report\n"},
    "observer-off": {"pytest.ini": "[pytest]\naddopts = -p no:self_coding_observer\n"},
    "observer-removed": {
        "conftest.py": "def pytest_sessionstart(session):\n"
        "    manager = session.config.pluginmanager\n"
        "    manager.unregister(name='self_coding_observer')\n" + NOT_RED
    },
    "collect-only": {"pytest.ini": "[pytest]\naddopts = --collect-only\n"},
    "planted-plugin": {"self_coding_report.py": "", "conftest.py": NOT_RED},
    "sitecustomize": {
        "sitecustomize.py": "import os, sys\n"
        "if 'pytest' in ' '.join(sys.orig_argv):\n    os._exit(0)\n"
    },
    "early-plugin": {
        "evil.py": "import os\nos._exit(0)\n",
        "pytest.ini": "[pytest]\naddopts = -p evil\n",
    },
    "only-green": {"pytest.ini": "[pytest]\naddopts = -k green\n"},
    "items-dropped": {
        "conftest.py": "def pytest_collection_modifyitems(items):\n"
        "    items[:] = [item for item in items if 'green' in item.name]\n"
    },
    "never-collected": {"conftest.py": "collect_ignore = ['test_red.py']\n"},
    "all-skipped": {
        "conftest.py": "import pytest\n\n@pytest.fixture(autouse=True)\n"
        "def skip():\n    pytest.skip('no')\n"
    },
    "xfail-all": {
        "conftest.py": "import pytest\n\ndef pytest_collection_modifyitems(items):\n"
        "    for item in items:\n        item.add_marker(pytest.mark.xfail)\n"
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Repo:
    return Repo(tmp_path_factory.mktemp("gate") / "repo")


@pytest.fixture
def repo(place) -> Repo:
    """One repository for all tests of a kind: their base runs once."""
    return place.emptied()


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_does_not_pass(repo, name):
    """No trick of the tested code makes a failing test pass the gate."""
    green = RED.replace("1 == 2", "ok.fine")
    files = {"test_red.py": "import ok\n" + green, "ok.py": "fine = True\n", "test_z.py": RED[:0]}
    base = repo.commit(files)
    bad = repo.commit({"ok.py": "fine = False\n"} | TRICKS[name])
    report = repo.run(bad, base, retries=0)
    assert not report.passed, report


@pytest.mark.parametrize(
    "name", ["exit-at-import", "exit-status", "rewritten-outcomes", "only-green", "collect-only"]
)
def test_the_tricks_are_real(repo, name):
    """Judged by its exit status alone, the trick would have passed."""
    blind = "env -u PYTEST_PLUGINS " + PYTEST + "\n"
    commit = repo.commit({"test_red.py": RED, "run.sh": blind} | TRICKS[name])
    assert repo.run(commit, command="sh run.sh").passed


def test_replaced_assertions_are_seen(repo):
    """A suite whose unittest assertions were replaced proves nothing."""
    test = (
        "import unittest\n\nclass T(unittest.TestCase):\n"
        "    def test_a(self):\n        self.assertEqual(1, 2)\n"
    )
    patch = "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\n"
    report = repo.run(repo.commit({"test_a.py": test, "conftest.py": patch}))
    assert not report.passed
    assert "assertEqual" in report.reason


def test_a_command_that_stops_speaking_pytest_is_refused(repo):
    """Where the base's pytest reported and the change's command no longer does, that is refused."""
    files = {"Makefile": f"test:\n\t{PYTEST}\n", "test_a.py": "def test_a():\n    pass\n"}
    base = repo.commit(files)
    assert repo.run(base, command="make -s test").understood
    report = repo.run(repo.commit({"Makefile": "test:\n\ttrue\n"}), base, command="make -s test")
    assert not report.passed
    assert [finding.rule for finding in report.findings] == ["census-missing"]


def test_planted_git_configuration_is_refused(repo):
    """At the weakest level, a test that writes a hook is seen, and its run counts for nothing."""
    plant = (
        "import pathlib, subprocess\n\ndef test_plant():\n"
        "    out = subprocess.run(['git', 'rev-parse', '--git-common-dir'], capture_output=True)\n"
        "    hook = pathlib.Path(out.stdout.decode().strip()) / 'hooks' / 'post-checkout'\n"
        "    hook.parent.mkdir(exist_ok=True)\n"
        "    try:\n        hook.write_text('#!/bin/sh\\ntouch /tmp/planted\\n')\n"
        "    except OSError:\n        pass\n"
    )
    commit = repo.commit({"test_plant.py": plant})
    hook = repo.path / ".git" / "hooks" / "post-checkout"
    for level in ("bwrap", "landlock"):
        assert repo.run(commit, sandbox=level).passed
        assert not hook.exists()
    report = repo.run(commit, sandbox="limits")
    assert not report.passed
    assert [finding.rule for finding in report.findings] == ["repository-config-changed"]
    assert "post-checkout" in report.reason


def test_a_replaced_git_pointer_is_put_back(repo):
    """A test that points the checkout at a repository of its own is refused, and undone."""
    plant = (
        "import pathlib\n\ndef test_plant():\n"
        "    pathlib.Path('.git').unlink()\n"
        "    pathlib.Path('.git').write_text('gitdir: evil\\n')\n"
    )
    report = repo.run(repo.commit({"test_plant.py": plant}), sandbox="limits")
    assert not report.passed
    assert ".git" in report.reason
    assert repo.git("worktree", "list").count("\n") == 0


BUGGY = "def add(a, b):\n    return a - b\n"
RIGHT = "def right(a, b):\n    return a + b\n"
TESTED = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/test_calc.py": "from calc import add\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "tests/conftest.py": "import sys\n",
}
SILENT = {
    "hook-assigned": (
        "canary-passed",
        {"tests/conftest.py": "pytest_pyfunc_call = lambda pyfuncitem: True\n"},
    ),
    "hook-set": (
        "canary-passed",
        {"tests/conftest.py": "globals()['pytest_' + 'pyfunc_call'] = lambda pyfuncitem: True\n"},
    ),
    "function-replaced": (
        "subject-replaced",
        {"tests/conftest.py": f"import calc\n{RIGHT}\ncalc.add = right\n"},
    ),
    "function-replaced-by-a-builtin": (
        "subject-replaced",
        {"tests/conftest.py": "import calc, operator\ncalc.add = operator.add\n"},
    ),
    "function-replaced-by-a-shadow": (
        "patched",
        {
            "difflib.py": f"import calc\n{RIGHT}\ncalc.add = right\n",
            "tests/conftest.py": "import difflib\n",
        },
    ),
    "source-rewritten": (
        "sources-rewritten",
        {
            "tests/conftest.py": "import pathlib\n"
            "file = pathlib.Path('calc.py')\nwas = file.read_text()\n"
            "file.write_text(was.replace(' - ', ' + '))\nimport calc\nfile.write_text(was)\n"
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_what_runs_is_what_was_read(tmp_path, name: str) -> None:
    """A run whose tests are not run, or judge other code than the tree's, passes nobody."""
    repo = Repo(tmp_path / "repo")
    base = repo.commit(TESTED)
    rule, trick = SILENT[name]
    report = repo.run(repo.commit({"calc.py": BUGGY} | trick), base)
    assert not report.passed
    assert rule in {finding.rule for finding in report.findings}, report.reason


def test_a_suite_that_always_writes_to_its_tree_is_believed(tmp_path) -> None:
    """Where the base's own run wrote to a file, the change's run may do so too."""
    repo = Repo(tmp_path / "repo")
    touch = "import pathlib\npathlib.Path('version.py').write_text('V = 1')\n"
    base = repo.commit(TESTED | {"version.py": "V = 1", "tests/conftest.py": touch})
    report = repo.run(repo.commit({"more.py": "K = 1\n"}), base)
    assert report.passed, report.reason
