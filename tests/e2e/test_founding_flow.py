"""The founding document's end-to-end story, written anew: the four services working together."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest

from self_coding import (
    CodebaseIndexer,
    GitSafety,
    ModificationAttempt,
    ModificationJournal,
    Outcome,
    ReflectionService,
    Snapshot,
)

CALCULATOR = '''
"""A simple calculator module."""

class Calculator:
    """Basic calculator with add/subtract."""

    def add(self, a: int, b: int) -> int:
        return a + b

    def subtract(self, a: int, b: int) -> int:
        return a - b
'''
UTILS = '''
"""Utility functions."""

from myproject.calculator import Calculator


def calculate_total(items: list[int]) -> int:
    calc = Calculator()
    return sum(calc.add(0, item) for item in items)
'''
TESTS = '''
"""Tests for calculator."""

from myproject.calculator import Calculator


def test_add():
    calc = Calculator()
    assert calc.add(2, 3) == 5


def test_subtract():
    calc = Calculator()
    assert calc.subtract(5, 3) == 2
'''


class Services:
    """The four services on one small repository, both databases inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calculator = root / "src" / "myproject" / "calculator.py"
        self.tests = root / "tests" / "test_calculator.py"
        self.git = GitSafety(
            repo_path=root, main_branch="main", test_command="python -m pytest tests/ -v"
        )
        self.indexer = CodebaseIndexer(
            repo_path=root, db_path=root / "codebase.db", src_dirs=["src", "tests"]
        )
        self.journal = ModificationJournal(db_path=root / "journal.db")
        self.reflection = ReflectionService(llm_adapter=None)


def _git(root: Path, *args: str) -> None:
    subprocess.run(["git", *args], cwd=root, check=True, capture_output=True)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    _git(tmp_path, "init")
    _git(tmp_path, "config", "user.email", "test@test.com")
    _git(tmp_path, "config", "user.name", "Test User")
    package = tmp_path / "src" / "myproject"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "calculator.py").write_text(CALCULATOR)
    (package / "utils.py").write_text(UTILS)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_calculator.py").write_text(TESTS)
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "Initial commit")
    _git(tmp_path, "branch", "-M", "main")
    return Services(tmp_path)


async def test_a_whole_successful_modification(services: Services) -> None:
    """Index, find files, snapshot, branch, edit, commit, merge, log, reflect: all in one go."""
    await services.indexer.index_all()
    files = await services.indexer.get_relevant_files("add multiply method to calculator", limit=3)
    assert "src/myproject/calculator.py" in files
    assert await services.journal.find_similar("add multiply method", limit=5) == []

    snapshot = await services.git.snapshot(run_tests=False)
    assert isinstance(snapshot, Snapshot)
    branch = await services.git.create_branch("timmy/self-edit/add-multiply")
    assert branch == "timmy/self-edit/add-multiply"

    method = "\n    def multiply(self, a: int, b: int) -> int:\n        return a * b\n"
    services.calculator.write_text(services.calculator.read_text().rstrip() + "\n" + method)
    test = "\n\ndef test_multiply():\n    assert Calculator().multiply(3, 4) == 12\n"
    services.tests.write_text(services.tests.read_text().rstrip() + test)
    modified = ["src/myproject/calculator.py", "tests/test_calculator.py"]
    assert len(await services.git.commit("Add multiply method to Calculator", modified)) == 40

    merged = await services.git.merge_to_main(branch, require_tests=False)
    assert merged != snapshot.commit_hash
    diff = await services.git.get_diff(snapshot.commit_hash)
    attempt = ModificationAttempt(
        task_description="Add multiply method to Calculator",
        approach="Added multiply method with docstring and test",
        files_modified=modified,
        diff=diff[:1000],
        test_results="Tests passed",
        outcome=Outcome.SUCCESS,
    )
    attempt_id = await services.journal.log_attempt(attempt)
    text = await services.reflection.reflect_on_attempt(attempt)
    assert "What went well" in text
    assert await services.journal.update_reflection(attempt_id, text)

    assert await services.git.get_current_commit() == merged
    assert await services.git.get_current_branch() == "main"
    assert "def multiply" in services.calculator.read_text()


async def test_indexing_again_sees_only_the_new_file(services: Services) -> None:
    """After a first index, a new file is the only one that is indexed again."""
    assert (await services.indexer.index_all())["indexed"] == 4
    new = services.root / "src" / "myproject" / "new_module.py"
    new.write_text('\n"""New module."""\ndef new_function(): pass\n')
    counts = await services.indexer.index_changed()
    assert (counts["indexed"], counts["skipped"]) == (1, 4)


async def test_a_breaking_change_is_rolled_back(services: Services) -> None:
    """A committed breaking change is taken back: the commit and the file are as before."""
    snapshot = await services.git.snapshot(run_tests=False)
    await services.git.create_branch("timmy/self-edit/bad-change")
    services.calculator.write_text('\n"""Broken."""\n\nclass Calculator:\n    pass\n')
    await services.git.commit("Remove methods (breaking change)")
    attempt = ModificationAttempt(
        task_description="Refactor Calculator class",
        approach="Remove unused methods",
        files_modified=["src/myproject/calculator.py"],
        outcome=Outcome.FAILURE,
        failure_analysis="Tests failed - removed methods that were used",
    )
    attempt_id = await services.journal.log_attempt(attempt)
    await services.git.rollback(snapshot)
    assert await services.git.get_current_commit() == snapshot.commit_hash
    assert "def add" in services.calculator.read_text()
    assert await services.journal.get_by_id(attempt_id) is not None


async def test_a_past_failure_is_found_for_a_similar_task(services: Services) -> None:
    """Another calculator operation brings up the failed one."""
    await services.journal.log_attempt(
        ModificationAttempt(
            task_description="Add division method to calculator",
            approach="Simple division without zero check",
            files_modified=["src/myproject/calculator.py"],
            outcome=Outcome.FAILURE,
            failure_analysis="ZeroDivisionError not handled",
            reflection="Always check for division by zero",
        )
    )
    similar = await services.journal.find_similar("Add modulo operation to calculator", limit=5)
    assert "division" in similar[0].task_description.lower()


async def test_the_blast_radius_is_known(services: Services) -> None:
    """The module that imports calculator is in its dependency chain."""
    await services.indexer.index_all()
    chain = await services.indexer.get_dependency_chain("src/myproject/calculator.py")
    assert "src/myproject/utils.py" in chain


async def test_success_rates_are_counted(services: Services) -> None:
    """Three successes of five are a rate of 0.6."""
    for number in range(5):
        outcome = Outcome.SUCCESS if number % 2 == 0 else Outcome.FAILURE
        attempt = ModificationAttempt(task_description=f"Task {number}", outcome=outcome)
        await services.journal.log_attempt(attempt)
    rate = await services.journal.get_success_rate()
    assert {key: rate[key] for key in ("total", "success", "failure", "overall")} == {
        "total": 5,
        "success": 3,
        "failure": 2,
        "overall": 0.6,
    }


async def test_a_journal_outlives_its_instance(services: Services) -> None:
    """What one instance logged, another one on the same file reads."""
    path = services.root / "persistent_journal.db"
    attempt = ModificationAttempt(task_description="Persistent task", outcome=Outcome.SUCCESS)
    attempt_id = await ModificationJournal(db_path=path).log_attempt(attempt)
    found = await ModificationJournal(db_path=path).get_by_id(attempt_id)
    assert found is not None
    assert found.task_description == "Persistent task"


async def test_coverage_is_told_from_use(services: Services) -> None:
    """A module with a test is covered; one that no test touches is not."""
    await services.indexer.index_all()
    assert await services.indexer.has_test_coverage("src/myproject/calculator.py")
    assert not await services.indexer.has_test_coverage("src/myproject/utils.py")


async def test_a_deleted_test_file_comes_back(services: Services) -> None:
    """A rollback restores a test file that was deleted."""
    snapshot = await services.git.snapshot(run_tests=False)
    await services.git.create_branch("timmy/self-edit/bad-idea")
    services.tests.unlink()
    await services.git.rollback(snapshot)
    assert services.tests.exists()


async def test_branches_keep_the_naming_convention(services: Services) -> None:
    """A branch named after the convention is created under that name."""
    stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%d-%H%M%S")
    branch = await services.git.create_branch(f"timmy/self-edit/{stamp}")
    assert branch.startswith("timmy/self-edit/")


async def test_rapid_writes_all_arrive(services: Services) -> None:
    """Ten attempts logged one after another have ten ids, each retrievable."""
    ids = [
        await services.journal.log_attempt(
            ModificationAttempt(task_description=f"Task {number}", outcome=Outcome.SUCCESS)
        )
        for number in range(10)
    ]
    assert len(set(ids)) == 10
    assert all([await services.journal.get_by_id(i) is not None for i in ids])


async def test_a_broken_file_does_not_stop_the_index(services: Services) -> None:
    """One file with a syntax error is counted as failed, the good ones are indexed."""
    bad = services.root / "src" / "myproject" / "bad_syntax.py"
    bad.write_text("def broken(:")
    counts = await services.indexer.index_all()
    assert counts["failed"] == 1
    assert counts["indexed"] >= 4
