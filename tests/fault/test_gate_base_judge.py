"""The base is the judge: its tests run on the candidate's code, whatever the candidate's say."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_repo import Repo

from self_coding.gate import run

CODE = "def double(n):\n    return n * 2\n"
BROKEN = "def double(n):\n    return n + 2\n"
TEST = "from code import double\n\ndef test_three():\n    assert double(3) == 6\n"
TESTS = {"code.py": CODE, "tests/test_code.py": TEST, "conftest.py": ""}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "r")


def judged(repo: Repo, change: dict[str, str | None], base: dict[str, str] | None = None, **how):
    """The report on a change of a small project."""
    before = repo.commit({"code.py": CODE, "tests/test_code.py": TEST} | (base or {}))
    return repo.run(repo.commit(change), base=before, **how)


def test_a_change_of_code_alone_is_not_judged_twice(repo):
    """Where nothing that judges differs, the candidate's run is the base's."""
    report = judged(repo, {"code.py": CODE + "\n# two\n"})
    assert (report.passed, report.judged_by_base, report.base_failures) == (True, "same", ())


def test_the_tests_alone_are_not_judged_by_the_old_ones(repo):
    """Where no code differs, the mixed tree is the base: nothing is run again."""
    report = judged(repo, {"tests/test_code.py": TEST + "\ndef test_two():\n    assert True\n"})
    assert report.judged_by_base == "same"


@pytest.mark.parametrize(
    "cheat",
    [
        {"tests/test_code.py": "def test_three():\n    pass\n"},
        {"tests/test_code.py": None, "tests/test_b.py": "def test_b():\n    pass\n"},
        {"tests/conftest.py": "import code\ncode.double = lambda n: n * 2\n"},
        {"conftest.py": "def pytest_pyfunc_call(pyfuncitem):\n    return True\n"},
        {"pytest.ini": "[pytest]\naddopts = -k nothing_else\npython_functions = check_*\n",
         "tests/test_more.py": "def check_more():\n    pass\n"},
    ],
)  # fmt: skip
def test_the_base_sees_what_its_tests_were_bent_for(repo, cheat):
    """A bug behind a changed test, a fake, a hook, a setting: the base's test says no."""
    report = judged(repo, {"code.py": BROKEN, **cheat})
    if report.passed or report.judged_by_base:
        [failure] = report.base_failures
        assert (report.judged_by_base, failure.id) == ("ran", "tests/test_code.py::test_three")
        assert "assert" in failure.message
        assert failure.path == "tests/test_code.py"


def test_what_fails_on_the_base_as_well_does_not_count(repo):
    """A test of the base that was red before says nothing of the change."""
    report = judged(
        repo, {"tests/test_red.py": "def test_red(): pass\n", "code.py": CODE + "#\n"},
        base={"tests/test_red.py": "def test_red(): assert False\n"},
    )  # fmt: skip
    assert (report.passed, report.judged_by_base, report.base_failures) == (True, "ran", ())


def test_a_disk_that_is_full_for_the_base_alone_lands_nothing(repo, monkeypatch):
    """The code may fill the disk when main's tests call it: that is no verdict, and no pass."""
    monkeypatch.setattr(run, "_LEAST_ROOM", 1 << 60)
    full = "def double(n):\n    raise OSError(28, 'No space left on device')\n"
    tests = "def test_three():\n    assert True\n"
    report = judged(repo, {"code.py": full, "tests/test_code.py": tests})
    assert (report.passed, report.environment) == (False, True)
    assert "the disk is full" in report.reason


def test_the_first_tests_of_a_project_have_no_judge(repo):
    """A base without a test has nothing to say."""
    before = repo.commit({"code.py": CODE})
    after = repo.commit({"code.py": CODE + "#\n", "tests/test_code.py": TEST})
    report = repo.run(after, base=before)
    assert (report.passed, report.judged_by_base, report.base_failures) == (True, "ran", ())


def test_an_exit_status_is_enough(repo):
    """A command without a report is judged by the base's tests as well, and the report says how."""
    script = "import sys\nfrom code import double\nsys.exit(double(3) != 6)\n"
    before = repo.commit({"code.py": CODE, "tests/run.py": script})
    after = repo.commit({"code.py": BROKEN, "tests/run.py": "from code import double\n"})
    report = repo.run(after, base=before, command="python tests/run.py")
    assert (report.passed, report.judged_by_base) == (False, "exit status")
    assert [one.message for one in report.base_failures] == ["exit status 1"]


def test_the_judge_can_be_put_off(repo):
    """`gate.base_judge = false` runs nothing twice, and the report says so."""
    report = judged(repo, {"code.py": CODE + "#\n", "tests/test_b.py": TEST}, base_judge=False)
    assert report.judged_by_base == "off"


def test_what_the_base_said_is_remembered(repo):
    """The same candidate again runs nothing, and is told the same."""
    before = repo.commit(TESTS)
    after = repo.commit({"code.py": BROKEN, "tests/test_code.py": "def test_three(): pass\n"})
    first, again = (repo.run(after, base=before) for _ in range(2))
    assert again.cached
    assert first.base_failures == again.base_failures != ()
