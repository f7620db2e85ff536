"""unittest under the gate: ids, outcomes, skips and a census, whoever calls its runner."""

# ruff: noqa: E501
from __future__ import annotations

import pytest
from gate_repo import Repo

BASE = {
    "jobs/__init__.py": "",
    "jobs/core.py": "def double(n):\n    return 2 * n\n",
    "tests/__init__.py": "",
    "tests/base.py": "import unittest\n\n\nclass Case(unittest.TestCase):\n    pass\n",
    "tests/test_core.py": "from jobs.core import double\nfrom tests.base import Case\n\n\n"
    "class CoreTest(Case):\n    def test_two(self):\n        self.assertEqual(double(2), 4)\n\n"
    "    def test_one(self):\n        self.assertEqual(double(1), 2)\n",
    "run.py": "import sys, unittest\n\nsuite = unittest.defaultTestLoader.discover('tests', top_level_dir='.')\n"
    "result = unittest.TextTestRunner().run(suite)\nsys.exit(not result.wasSuccessful())\n",
    "Makefile": "test:\n\tpython -m unittest -q\n",
}
COMMANDS = ["python -m unittest -q", "python run.py", "make -s test"]
IDS = ["tests/test_core.py::CoreTest::test_one", "tests/test_core.py::CoreTest::test_two"]
BUG = {"jobs/core.py": "def double(n):\n    return n + 2\n"}  # right for 2


@pytest.fixture
def repo(tmp_path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.mark.parametrize("command", COMMANDS)
def test_tests_are_known_by_name(repo, command: str) -> None:
    """Each test has an id and an outcome, and a failure says where and why."""
    base = repo.commit(BASE)
    report = repo.run(base, command=command)
    assert report.passed, report.reason
    assert sorted(one.id for one in report.tests) == IDS
    assert report.ran == 2
    report = repo.run(repo.commit(BUG), base, command=command)
    assert not report.passed
    assert report.new_failures == (IDS[0],)
    [failed] = [one for one in report.tests if one.outcome == "failed"]
    assert (failed.failure.path, failed.failure.line) == ("tests/test_core.py", 10)
    assert failed.failure.message == "AssertionError: 3 != 2"


# What makes the run green although the code is wrong: rule, files.
CHEATS = {
    "nothing is found": ("", {"tests/__init__.py": None}),
    "load_tests": ("", {"tests/test_core.py": BASE["tests/test_core.py"]
        + "\n\ndef load_tests(loader, tests, pattern):\n    return loader.suiteClass()\n"}),
    "some are not loaded": ("census-shrank", {"tests/base.py": BASE["tests/base.py"]
        + "\nunittest.TestLoader.testMethodPrefix = 'test_t'\n"}),
    "run": ("census-incomplete", {"tests/base.py": BASE["tests/base.py"]
        + "\n    def run(self, result=None):\n        return result\n"}),
    "failureException": ("skips-grew", {"tests/base.py": BASE["tests/base.py"]
        .replace("pass", "failureException = unittest.SkipTest")}),
    "a skip of the product": ("skips-grew", {"jobs/core.py": "from unittest import SkipTest\n\n\n"
        "def double(n):\n    if n == 1:\n        raise SkipTest('no')\n    return n + 2\n"}),
    "a result class that forgets": ("", {"tests/base.py": BASE["tests/base.py"]
        + "\n\nunittest.TextTestResult.addFailure = lambda *a: None\n"}),
    "a patched assertion": ("patched", {"jobs/core.py": BUG["jobs/core.py"]
        + "\n\nimport unittest\nunittest.TestCase.assertEqual = lambda *a: None\n"}),
    "the exit status": ("", {"jobs/core.py": BUG["jobs/core.py"]
        + "\n\nimport atexit, os\natexit.register(os._exit, 0)\n"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_a_green_exit_status_is_not_believed(repo, name: str) -> None:
    """Whatever makes unittest end with status 0 over wrong code does not pass."""
    rule, files = CHEATS[name]
    base = repo.commit(BASE)
    report = repo.run(repo.commit(BUG | files), base, command=COMMANDS[0])
    assert not report.passed
    assert not rule or rule in {finding.rule for finding in report.findings}, report.reason


def test_fixtures_of_classes_and_modules_speak_for_their_tests(repo) -> None:
    """A set-up that fails or is skipped is the outcome of each of its tests."""
    test = (
        "import unittest\n\n\nclass Bad(unittest.TestCase):\n    @classmethod\n"
        "    def setUpClass(cls):\n        raise ValueError('down')\n\n"
        "    def test_a(self):\n        pass\n\n\nclass Off(unittest.TestCase):\n    @classmethod\n"
        "    def setUpClass(cls):\n        raise unittest.SkipTest('off')\n\n"
        "    def test_b(self):\n        pass\n"
        "\n\n@unittest.skip('later')\nclass Later(unittest.TestCase):\n    def test_c(self):\n"
        "        pass\n\n    @unittest.expectedFailure\n    def test_d(self):\n        self.fail()\n"
    )
    report = repo.run(repo.commit(BASE | {"tests/test_b.py": test}), command=COMMANDS[0])
    outcomes = {one.id.partition("::")[2]: one.outcome for one in report.tests}
    assert outcomes["Bad::test_a"] == "error"
    assert outcomes["Off::test_b"] == outcomes["Later::test_c"] == "skipped"
    assert not report.passed


def test_a_module_that_cannot_be_imported_fails(repo) -> None:
    """What unittest cannot load is a failure of the file, and the tests of others still count."""
    base = repo.commit(BASE)
    report = repo.run(
        repo.commit({"tests/test_core.py": "import nowhere\n"}), base, command=COMMANDS[0]
    )
    assert not report.passed
    assert report.new_failures == ("tests/test_core.py",)


def test_subtests_and_doctests_have_outcomes(repo) -> None:
    """A failing subtest fails its test; doctests that unittest runs have ids of their own."""
    test = (
        "import doctest, unittest\nimport jobs.core\n\n\nclass Sub(unittest.TestCase):\n"
        "    def test_s(self):\n        for n in range(3):\n            with self.subTest(n=n):\n"
        "                self.assertNotEqual(n, 1)\n\n\ndef load_tests(loader, tests, pattern):\n"
        "    tests.addTests(doctest.DocTestSuite(jobs.core))\n    return tests\n"
    )
    source = (
        'def double(n):\n    """Double.\n\n    >>> double(1)\n    2\n    """\n    return 2 * n\n'
    )
    report = repo.run(
        repo.commit(BASE | {"tests/test_s.py": test, "jobs/core.py": source}), command=COMMANDS[0]
    )
    outcomes = {one.id: one.outcome for one in report.tests}
    assert outcomes["tests/test_s.py::Sub::test_s"] == "failed"
    assert outcomes["jobs/core.py::jobs.core.double"] == "passed"


def test_chosen_tests_run_alone(repo) -> None:
    """The affected tests run first where they are under half of the suite."""
    more = {f"tests/test_{n}.py": BASE["tests/test_core.py"] for n in "abc"}
    base = repo.commit(BASE | more)
    repo.run(base, command=COMMANDS[0])
    gate = repo.gate(COMMANDS[0])
    bad = repo.commit(BUG)
    report = gate.run(bad, tree=repo.tree(bad), base=base, first=("tests/test_core.py",))
    assert not report.passed
    assert [one.id for one in report.tests] == IDS or report.ran == 2


@pytest.mark.parametrize(
    "command", ["python -m pytest -q", "python -m pytest -q -n 2", COMMANDS[0]]
)
def test_one_run_of_the_base_lists_all_and_runs_what_is_left_out(repo, command: str) -> None:
    """A test that is gone and one that is skipped now are both seen, though the base ran once."""
    test = (
        "import unittest\nimport flags\n\n\nclass FlagTest(unittest.TestCase):\n"
        "    def test_a(self):\n        pass\n\n    if flags.MORE:\n\n        def test_gone(self):\n"
        "            pass\n\n    @unittest.skipUnless(flags.MORE, 'less')\n    def test_left_out(self):\n"
        "        pass\n"
    )
    base = repo.commit({"flags.py": "MORE = True\n", "test_flags.py": test})
    report = repo.run(repo.commit({"flags.py": "MORE = False\n"}), base, command=command)
    assert not report.passed
    assert {one.rule for one in report.findings} == {"census-shrank", "skips-grew"}
