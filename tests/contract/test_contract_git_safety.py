"""The founding contract's GitSafety part, sentence by sentence."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import UTC
from pathlib import Path

import pytest

import self_coding
from self_coding import git_safety
from self_coding.git_safety import (
    GitDirtyWorkingDirectoryError,
    GitNotRepositoryError,
    GitOperationError,
    GitSafety,
    GitSafetyError,
    Snapshot,
)


def sh(repo: Path, *args: str) -> str:
    done = subprocess.run(args, cwd=repo, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit on main, as the founding end-to-end test makes it."""
    place = tmp_path / "repo"
    place.mkdir()
    sh(place, "git", "init")
    sh(place, "git", "config", "user.email", "test@test.com")
    sh(place, "git", "config", "user.name", "Test User")
    (place / "src" / "myproject").mkdir(parents=True)
    (place / "src" / "myproject" / "__init__.py").write_text("")
    (place / "src" / "myproject" / "calculator.py").write_text("def add(a, b):\n    return a + b\n")
    (place / "tests").mkdir()
    (place / "tests" / "test_calculator.py").write_text(
        "from myproject.calculator import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    )
    sh(place, "git", "add", ".")
    sh(place, "git", "commit", "-m", "Initial commit")
    sh(place, "git", "branch", "-M", "main")
    return place


@pytest.fixture
def git(repo: Path) -> GitSafety:
    return GitSafety(repo, test_command="true")


def calculator(repo: Path) -> Path:
    return repo / "src" / "myproject" / "calculator.py"


# -- names and construction -------------------------------------------------------------------


def test_names_of_the_package() -> None:
    """`self_coding.git_safety` has every founding name, and the front door two of them."""
    for name in (
        "GitSafety",
        "Snapshot",
        "GitSafetyError",
        "GitNotRepositoryError",
        "GitDirtyWorkingDirectoryError",
        "GitOperationError",
    ):
        assert hasattr(git_safety, name)
    assert self_coding.GitSafety is GitSafety
    assert self_coding.Snapshot is Snapshot


@pytest.mark.parametrize(
    "error", [GitNotRepositoryError, GitDirtyWorkingDirectoryError, GitOperationError]
)
def test_errors_have_one_base(error: type[Exception]) -> None:
    """Every founding error is a GitSafetyError."""
    assert issubclass(error, GitSafetyError)


def test_attributes_and_defaults(repo: Path) -> None:
    """`repo_path` is resolved; main branch and test command have the founding defaults."""
    git = GitSafety(repo / "src" / "..")
    assert git.repo_path == repo.resolve()
    assert git.main_branch == "main"
    assert git.test_command == "python -m pytest --tb=short -q"


def test_text_and_positional_arguments(repo: Path) -> None:
    """The path may be text and all three arguments may be given by position."""
    git = GitSafety(str(repo), "trunk", "true")
    assert (git.repo_path, git.main_branch, git.test_command) == (repo, "trunk", "true")


def test_default_is_the_working_directory(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the working directory's repository is meant."""
    monkeypatch.chdir(repo)
    assert GitSafety().repo_path == repo


def test_not_a_repository(tmp_path: Path) -> None:
    """A folder in no repository is refused by the constructor."""
    with pytest.raises(GitNotRepositoryError):
        GitSafety(tmp_path)


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that does not exist is refused by the constructor."""
    with pytest.raises(GitNotRepositoryError):
        GitSafety(tmp_path / "nowhere")


async def test_repository_without_a_commit(tmp_path: Path) -> None:
    """It constructs; what needs a commit raises GitOperationError."""
    sh(tmp_path, "git", "init", "-b", "main")
    git = GitSafety(tmp_path)
    for call in (git.get_current_commit(), git.snapshot(run_tests=False), git.create_branch("x")):
        with pytest.raises(GitOperationError):
            await call


async def test_repository_without_the_main_branch(repo: Path) -> None:
    """It constructs; what needs main raises GitOperationError."""
    git = GitSafety(repo, main_branch="nowhere")
    with pytest.raises(GitOperationError):
        await git.create_branch("x")
    sh(repo, "git", "branch", "feature")
    with pytest.raises(GitOperationError):
        await git.merge_to_main("feature", require_tests=False)


# -- asking -----------------------------------------------------------------------------------


async def test_clean(git: GitSafety) -> None:
    """A fresh checkout is clean."""
    assert await git.is_clean() is True


async def test_untracked_is_unclean(git: GitSafety, repo: Path) -> None:
    """An untracked file counts as unclean."""
    (repo / "new.txt").write_text("x")
    assert await git.is_clean() is False


async def test_changed_is_unclean(git: GitSafety, repo: Path) -> None:
    """A changed file counts as unclean."""
    calculator(repo).write_text("x = 1\n")
    assert await git.is_clean() is False


async def test_ignored_is_clean(git: GitSafety, repo: Path) -> None:
    """An ignored file does not count."""
    (repo / ".git" / "info" / "exclude").write_text("*.log\n")
    (repo / "run.log").write_text("x")
    assert await git.is_clean() is True


async def test_current_branch(git: GitSafety, repo: Path) -> None:
    """The branch HEAD is on, also when somebody else has switched it."""
    assert await git.get_current_branch() == "main"
    sh(repo, "git", "checkout", "-qb", "other")
    assert await git.get_current_branch() == "other"


async def test_current_commit(git: GitSafety, repo: Path) -> None:
    """The commit HEAD is at, in 40 hex digits."""
    commit = await git.get_current_commit()
    assert commit == sh(repo, "git", "rev-parse", "HEAD")
    assert len(commit) == 40


# -- snapshot ---------------------------------------------------------------------------------


async def test_snapshot_facts(git: GitSafety) -> None:
    """A snapshot holds commit, branch, an aware UTC time, the test result and cleanness."""
    taken = await git.snapshot(run_tests=False)
    assert taken.commit_hash == await git.get_current_commit()
    assert taken.branch == "main"
    assert taken.timestamp.tzinfo is not None
    assert taken.timestamp.utcoffset() == UTC.utcoffset(None)
    assert taken.test_status is True
    assert isinstance(taken.test_output, str)
    assert taken.clean is True


async def test_snapshot_is_frozen(git: GitSafety) -> None:
    """A snapshot cannot be changed."""
    taken = await git.snapshot(run_tests=False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        taken.branch = "x"  # type: ignore[misc]


async def test_snapshot_of_a_dirty_tree(git: GitSafety, repo: Path) -> None:
    """A dirty tree's snapshot says so and leaves it as it is."""
    (repo / "new.txt").write_text("x")
    before = sh(repo, "git", "status", "--porcelain")
    assert (await git.snapshot(run_tests=False)).clean is False
    assert sh(repo, "git", "status", "--porcelain") == before


async def test_snapshot_records_passing_tests(git: GitSafety) -> None:
    """Tests that pass are recorded as such."""
    assert (await git.snapshot()).test_status is True


async def test_snapshot_records_failing_tests(repo: Path) -> None:
    """A failing run is recorded with its output, not raised."""
    taken = await GitSafety(repo, test_command="echo broken; exit 1").snapshot(run_tests=True)
    assert taken.test_status is False
    assert "broken" in taken.test_output


async def test_snapshot_tests_see_the_tree_as_it_is(repo: Path) -> None:
    """Uncommitted and untracked files are there when the tests run, and stay unharmed."""
    calculator(repo).write_text("changed = True\n")
    (repo / "extra.txt").write_text("untracked")
    command = "cat extra.txt && cat src/myproject/calculator.py && rm extra.txt"
    taken = await GitSafety(repo, test_command=command).snapshot()
    assert taken.test_status is True, taken.test_output
    assert "untracked" in taken.test_output
    assert "changed = True" in taken.test_output
    assert (repo / "extra.txt").read_text() == "untracked"


async def test_snapshot_runs_pytest_in_a_src_layout(repo: Path) -> None:
    """`python -m pytest` runs, and a src layout imports without being installed."""
    taken = await GitSafety(repo, test_command="python -m pytest tests -q").snapshot()
    assert taken.test_status is True, taken.test_output
    assert "1 passed" in taken.test_output


# -- branches and commits ---------------------------------------------------------------------


async def test_create_branch(git: GitSafety, repo: Path) -> None:
    """It is created from main, checked out, and its name returned."""
    assert await git.create_branch("timmy/self-edit/one") == "timmy/self-edit/one"
    assert sh(repo, "git", "branch", "--show-current") == "timmy/self-edit/one"
    assert sh(repo, "git", "rev-parse", "HEAD") == sh(repo, "git", "rev-parse", "main")


async def test_create_branch_from_a_base(git: GitSafety, repo: Path) -> None:
    """With a base it starts there, and the working tree shows it."""
    first = sh(repo, "git", "rev-parse", "HEAD")
    (repo / "second.txt").write_text("2")
    await git.commit("second", ["second.txt"])
    await git.create_branch("old", base=first)
    assert sh(repo, "git", "rev-parse", "HEAD") == first
    assert not (repo / "second.txt").exists()


async def test_create_branch_twice(git: GitSafety) -> None:
    """A branch that exists is not taken over."""
    await git.create_branch("one")
    with pytest.raises(GitOperationError):
        await git.create_branch("one")


async def test_create_branch_carries_edits_along(git: GitSafety, repo: Path) -> None:
    """Uncommitted work comes along to the new branch."""
    (repo / "new.txt").write_text("x")
    await git.create_branch("one")
    assert (repo / "new.txt").read_text() == "x"


async def test_commit_of_named_files(git: GitSafety, repo: Path) -> None:
    """Just the named files are committed."""
    (repo / "a.txt").write_text("a")
    (repo / "b.txt").write_text("b")
    commit = await git.commit("a only", ["a.txt"])
    assert len(commit) == 40
    assert sh(repo, "git", "show", "--name-only", "--format=", commit) == "a.txt"
    assert sh(repo, "git", "status", "--porcelain") == "?? b.txt"


async def test_commit_of_everything(git: GitSafety, repo: Path) -> None:
    """Without files every change is committed: changed, new and deleted."""
    calculator(repo).write_text("x = 1\n")
    (repo / "a.txt").write_text("a")
    (repo / "tests" / "test_calculator.py").unlink()
    commit = await git.commit("all")
    names = sh(repo, "git", "show", "--name-status", "--format=", commit).split()
    assert names == [
        "A", "a.txt", "M", "src/myproject/calculator.py", "D", "tests/test_calculator.py"
    ]  # fmt: skip
    assert sh(repo, "git", "status", "--porcelain") == ""


async def test_commit_with_nothing_to_commit(git: GitSafety) -> None:
    """With nothing to commit it returns the current commit and raises nothing."""
    current = await git.get_current_commit()
    assert await git.commit("nothing") == current
    assert await git.commit("nothing", ["src/myproject/calculator.py"]) == current


async def test_empty_commit_when_allowed(git: GitSafety) -> None:
    """`allow_empty` makes a commit all the same."""
    current = await git.get_current_commit()
    assert await git.commit("empty", allow_empty=True) != current
    assert await git.is_clean()


async def test_get_diff_between_commits(git: GitSafety, repo: Path) -> None:
    """The diff from one commit to another."""
    old = await git.get_current_commit()
    (repo / "a.txt").write_text("hello\n")
    new = await git.commit("a", ["a.txt"])
    assert "+hello" in await git.get_diff(old, new)


async def test_get_diff_to_the_working_tree(git: GitSafety, repo: Path) -> None:
    """Without an end it goes to the working tree."""
    calculator(repo).write_text("x = 1\n")
    text = await git.get_diff(await git.get_current_commit())
    assert "+x = 1" in text
    assert "-def add(a, b):" in text


async def test_modified_files(git: GitSafety, repo: Path) -> None:
    """Uncommitted changes, and what differs since a commit."""
    start = await git.get_current_commit()
    assert await git.get_modified_files() == []
    calculator(repo).write_text("x = 1\n")
    assert await git.get_modified_files() == ["src/myproject/calculator.py"]
    await git.commit("x")
    assert await git.get_modified_files() == []
    assert await git.get_modified_files(start) == ["src/myproject/calculator.py"]


async def test_stage_file(git: GitSafety, repo: Path) -> None:
    """A file's present content is staged."""
    (repo / "a.txt").write_text("a")
    await git.stage_file("a.txt")
    assert sh(repo, "git", "status", "--porcelain") == "A  a.txt"


# -- rollback ---------------------------------------------------------------------------------


async def test_rollback_to_a_snapshot(git: GitSafety, repo: Path) -> None:
    """HEAD, branch, changed, deleted and new files are as they were."""
    taken = await git.snapshot(run_tests=False)
    await git.create_branch("timmy/self-edit/bad")
    calculator(repo).write_text("broken\n")
    await git.commit("break it")
    (repo / "tests" / "test_calculator.py").unlink()
    (repo / "appeared.txt").write_text("x")
    assert await git.rollback(taken) == taken.commit_hash
    assert await git.get_current_commit() == taken.commit_hash
    assert await git.get_current_branch() == "main"
    assert "def add" in calculator(repo).read_text()
    assert (repo / "tests" / "test_calculator.py").exists()
    assert not (repo / "appeared.txt").exists()
    assert await git.is_clean()


async def test_rollback_over_commits_on_main(git: GitSafety, repo: Path) -> None:
    """Commits made through it on the snapshot's own branch are gone from that branch."""
    taken = await git.snapshot(run_tests=False)
    (repo / "a.txt").write_text("a")
    await git.commit("a")
    await git.rollback(taken)
    assert sh(repo, "git", "rev-parse", "main") == taken.commit_hash
    assert await git.get_current_branch() == "main"
    assert not (repo / "a.txt").exists()


async def test_rollback_to_a_hash(git: GitSafety, repo: Path) -> None:
    """A bare commit hash works, too."""
    start = await git.get_current_commit()
    (repo / "a.txt").write_text("a")
    calculator(repo).write_text("x\n")
    await git.commit("a")
    assert await git.rollback(start) == start
    assert await git.get_current_commit() == start
    assert not (repo / "a.txt").exists()
    assert "def add" in calculator(repo).read_text()


async def test_rollback_to_nowhere(git: GitSafety) -> None:
    """A commit that does not exist is refused."""
    with pytest.raises(GitOperationError):
        await git.rollback("0" * 39 + "1")


# -- merge ------------------------------------------------------------------------------------


async def test_merge_to_main(git: GitSafety, repo: Path) -> None:
    """A merge commit, main checked out, the branch deleted, the hash returned."""
    start = await git.get_current_commit()
    branch = await git.create_branch("timmy/self-edit/good")
    (repo / "a.txt").write_text("a")
    tip = await git.commit("a", ["a.txt"])
    merged = await git.merge_to_main(branch, require_tests=False)
    assert sh(repo, "git", "rev-parse", "main", "HEAD").split() == [merged, merged]
    assert sh(repo, "git", "log", "-1", "--format=%P", merged).split() == [start, tip]
    assert await git.get_current_branch() == "main"
    assert sh(repo, "git", "branch", "--list", branch) == ""
    assert (repo / "a.txt").read_text() == "a"
    assert await git.is_clean()


async def test_merge_with_passing_tests(git: GitSafety, repo: Path) -> None:
    """Tests that pass let it through."""
    branch = await git.create_branch("good")
    (repo / "a.txt").write_text("a")
    await git.commit("a")
    assert len(await git.merge_to_main(branch)) == 40


async def test_merge_with_failing_tests(repo: Path) -> None:
    """Failing tests raise "Cannot merge ... tests failed"; main and the user stay put."""
    git = GitSafety(repo, test_command="exit 1")
    start = await git.get_current_commit()
    branch = await git.create_branch("bad")
    (repo / "a.txt").write_text("a")
    await git.commit("a")
    with pytest.raises(GitOperationError, match="Cannot merge") as caught:
        await git.merge_to_main(branch, require_tests=True)
    assert "tests failed" in str(caught.value)
    assert sh(repo, "git", "rev-parse", "main") == start
    assert await git.get_current_branch() == branch


async def test_merge_of_an_unknown_branch(git: GitSafety) -> None:
    """A branch that does not exist is refused."""
    with pytest.raises(GitOperationError):
        await git.merge_to_main("nowhere", require_tests=False)


# -- git itself -------------------------------------------------------------------------------


async def test_run_git(git: GitSafety, repo: Path) -> None:
    """It runs git in the repository and answers with text."""
    done = await git._run_git("rev-parse", "HEAD")
    assert done.returncode == 0
    assert done.stdout.strip() == sh(repo, "git", "rev-parse", "HEAD")
    assert done.stderr == ""


async def test_run_git_checks(git: GitSafety) -> None:
    """A non-zero exit raises with `check` and is an answer without."""
    with pytest.raises(GitOperationError):
        await git._run_git("rev-parse", "--verify", "nowhere")
    assert (await git._run_git("rev-parse", "--verify", "nowhere", check=False)).returncode != 0


async def test_run_git_checkout(git: GitSafety, repo: Path) -> None:
    """Callers switch branches with it."""
    await git.create_branch("one")
    await git._run_git("checkout", "main")
    assert await git.get_current_branch() == "main"


async def test_run_git_timeout(git: GitSafety) -> None:
    """A timeout is a GitOperationError."""
    with pytest.raises(GitOperationError):
        await git._run_git("-c", "alias.wait=!sleep 20", "wait", timeout=0.2)


# -- databases in the working tree ------------------------------------------------------------


async def test_a_database_in_the_tree_survives_rollback(git: GitSafety, repo: Path) -> None:
    """A hidden database is no change, is never committed, and a rollback leaves it alone."""
    from self_coding.adapters.paths import hide

    taken = await git.snapshot(run_tests=False)
    database = repo / "journal.db"
    hide(database)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").write_text("rows")
    assert await git.is_clean()
    assert await git.commit("nothing") == taken.commit_hash
    await git.rollback(taken)
    assert database.read_text() == "rows"
    assert Path(f"{database}-wal").read_text() == "rows"


async def test_a_database_that_was_captured_is_not_rewound(git: GitSafety, repo: Path) -> None:
    """One that was still visible at the snapshot keeps its newer rows."""
    from self_coding.adapters.paths import hide

    database = repo / "journal.db"
    database.write_text("old rows")
    taken = await git.snapshot(run_tests=False)
    database.write_text("old rows and new rows")
    hide(database)
    await git.rollback(taken)
    assert database.read_text() == "old rows and new rows"
