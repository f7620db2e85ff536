"""How strong tests are, measured by real runs: which small changes of the code do they notice?"""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_repo import Repo

BEFORE = "def fee(n):\n    return 0\n"
CODE = "def fee(n):\n    if n > 100:\n        return n * 2\n    return n - 1\n"
WEAK = "from code import fee\n\ndef test_fee():\n    assert fee(500) > 0\n"
STRONG = (
    "from code import fee\n\ndef test_fee():\n"
    "    assert [fee(100), fee(101), fee(3)] == [99, 202, 2]\n"
)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "r")


def measured(repo: Repo, test: str, *, command: str = "", **settings: object):
    """The strength of a test file, for the change from BEFORE to CODE."""
    base = repo.commit({"code.py": BEFORE})
    commit = repo.commit({"code.py": CODE, "test_code.py": test})
    gate = repo.gate(command, **settings) if command else repo.gate(**settings)
    return gate.strength(base, commit, ("test_code.py",))


def test_a_strong_test_notices_every_mutant_and_a_weak_one_names_those_it_misses(repo):
    """What no test noticed is told with its place and what became of it."""
    strong, weak = measured(repo, STRONG), measured(repo, WEAK)
    assert (strong.survived, strong.tried) == ((), strong.made)
    assert 0 < len(weak.survived) < weak.tried == strong.tried
    assert "code.py:4: `n - 1` became `(n + 1)`" in weak.survived
    assert str(strong) == f"{strong.tried} of {strong.tried} mutants noticed"


def test_unittest_tells_as_well(repo):
    """The tests of unittest's own runner are those that must notice."""
    test = (
        "import unittest\nfrom code import fee\n\nclass TestFee(unittest.TestCase):\n"
        "    def test_fee(self):\n        self.assertEqual(fee(500), 1000)\n"
        "    def test_old(self):\n        self.fail()\n"
    )
    found = measured(repo, test, command="python -m unittest -q")
    assert 0 < len(found.survived) < found.tried == found.made


def test_an_exit_status_tells_as_well(repo):
    """Where no runner reports, a mutant is noticed by the status of the whole command."""
    test = "from code import fee\nassert fee(500) == 1000\n"
    found = measured(repo, test, command="python test_code.py")
    assert 0 < len(found.survived) < found.tried == found.made


def test_an_endless_mutant_is_noticed(repo):
    """A mutant that never ends costs its share of the time, and counts as noticed."""
    base = repo.commit({"code.py": "def steps():\n    return 0\n"})
    code = "def steps():\n    n = 3\n    while n:\n        n -= 1\n    return n\n"
    test = "from code import steps\n\ndef test_steps():\n    assert steps() == 0\n"
    commit = repo.commit({"code.py": code, "test_code.py": test})
    found = repo.gate(mutant_seconds=40.0).strength(base, commit)
    assert not any("n -= 1" in one for one in found.survived)
    assert found.tried


def test_the_time_is_kept_and_none_is_none(repo):
    """With too little time nothing is claimed; with none nothing runs."""
    found = measured(repo, "import time\ntime.sleep(3)\n" + STRONG, mutant_seconds=1.0)
    assert (found.tried, found.survived) == (0, ()) and "longer" in found.reason
    before = repo.checkouts
    assert measured(repo, STRONG, mutant_seconds=0.0) is None
    assert repo.checkouts == before


def test_red_tests_measure_nothing(repo):
    """Where no test passes there is nothing that could notice."""
    found = measured(repo, "def test_a():\n    assert False\n")
    assert (found.tried, found.reason) == (0, "the tests alone do not pass")
