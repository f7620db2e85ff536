"""Where our files lie, and that git does not see them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from self_coding.adapters import paths


def _git(cwd: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    _git(tmp_path, "init", "-q", "-b", "main", str(root))
    (root / "a.txt").write_text("a\n")
    _git(root, "add", ".")
    _git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first")
    return root


def test_a_database_lies_in_the_common_directory(repository: Path) -> None:
    """From any folder of the repository, the default is inside its .git directory."""
    deep = repository / "x" / "y"
    deep.mkdir(parents=True)
    assert paths.database_path(deep, "j.db") == repository / ".git" / "self_coding" / "j.db"


def test_a_linked_worktree_shares_the_common_directory(repository: Path) -> None:
    """A linked worktree, whose .git is a file, uses the main repository's databases."""
    _git(repository, "worktree", "add", "-q", "../linked")
    linked = repository.parent / "linked"
    assert paths.database_path(linked, "j.db") == repository / ".git" / "self_coding" / "j.db"


def test_outside_any_repository_the_data_home_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a repository the file lies in the user's data directory."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    expected = tmp_path / "data" / "self-coding" / "j.db"
    assert paths.database_path(tmp_path, "j.db") == expected


def test_the_data_home_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without XDG_DATA_HOME it is the standard place under the home directory."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert paths.data_home() == Path.home() / ".local" / "share"


@pytest.mark.parametrize("name", ["journal.db", "odd [name]*#!.db", "sub/with space.db"])
def test_a_hidden_database_is_no_change(repository: Path, name: str) -> None:
    """A database in the working tree, side files included, never shows up in git status."""
    path = repository / name
    path.parent.mkdir(exist_ok=True)
    paths.hide(path)
    paths.hide(path)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").write_text("x")
    assert _git(repository, "status", "--porcelain", "-uall") == ""


def test_hiding_hides_nothing_else(repository: Path) -> None:
    """A file of the same name in another folder stays visible, and lines are added once."""
    paths.hide(repository / "journal.db")
    before = (repository / ".git" / "info" / "exclude").read_text()
    paths.hide(repository / "journal.db")
    assert (repository / ".git" / "info" / "exclude").read_text() == before
    (repository / "sub").mkdir()
    (repository / "sub" / "journal.db").write_text("mine")
    assert "sub/" in _git(repository, "status", "--porcelain")


def test_an_exclude_file_without_final_newline_is_continued(repository: Path) -> None:
    """The user's last line stays a line of its own."""
    exclude = repository / ".git" / "info" / "exclude"
    exclude.write_text("*.secret")
    paths.hide(repository / "j.db")
    assert exclude.read_text().startswith("*.secret\n/j.db\n")


def test_hiding_inside_git_or_outside_writes_nothing(repository: Path, tmp_path: Path) -> None:
    """A database in the common directory or outside any repository needs no hiding."""
    before = (repository / ".git" / "info" / "exclude").read_text()
    paths.hide(repository / ".git" / "self_coding" / "journal.db")
    paths.hide(tmp_path / "elsewhere.db")
    assert (repository / ".git" / "info" / "exclude").read_text() == before


def test_a_git_file_that_points_nowhere_is_no_repository(tmp_path: Path) -> None:
    """A broken .git file is passed over."""
    (tmp_path / ".git").write_text("not a pointer")
    assert paths.git_directories(tmp_path) is None
