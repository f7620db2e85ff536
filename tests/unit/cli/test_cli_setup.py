"""What `init` finds out about a repository."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from self_coding.cli.setup import detect, write_settings
from self_coding.errors import ConfigError, GitNotRepositoryError


def _repository(path: Path, branch: str = "main") -> Path:
    subprocess.run(["git", "init", "-q", "-b", branch, str(path)], check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    commit = ["commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(["git", *identity, *commit], cwd=path, check=True)
    return path


@pytest.mark.parametrize("branch", ["main", "master", "trunk", "develop"])
def test_the_main_branch_is_found(tmp_path: Path, branch: str) -> None:
    """A usual name wins, else the branch that is checked out."""
    found = detect(_repository(tmp_path, branch), main_branch=None, test_command=None)
    assert found.main_branch == branch


def test_the_remotes_default_wins(tmp_path: Path) -> None:
    """In a clone, the default branch of its origin is main."""
    _repository(tmp_path / "origin", "develop")
    subprocess.run(["git", "clone", "-q", "origin", "clone"], cwd=tmp_path, check=True)
    _ = subprocess.run(["git", "branch", "main"], cwd=tmp_path / "clone", check=True)
    assert detect(tmp_path / "clone", main_branch=None, test_command=None).main_branch == "develop"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({}, "python -m pytest --tb=short -q"),
        ({"tests/test_a.py": "import unittest\n"}, "python -m unittest discover"),
        ({"tests/test_a.py": "import pytest\n"}, "python -m pytest --tb=short -q"),
        (
            {"tests/test_a.py": "import unittest\n", "setup.cfg": "[tool:pytest]\n"},
            "python -m pytest --tb=short -q",
        ),
    ],
)
def test_the_test_command_is_found(tmp_path: Path, files: dict[str, str], command: str) -> None:
    """unittest is chosen only where the tests use it and nothing speaks of pytest."""
    _repository(tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert detect(tmp_path, main_branch=None, test_command=None).test_command == command


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """The file holds what was found, quotes and all; it is not overwritten unasked."""
    found = detect(_repository(tmp_path), main_branch="main", test_command='sh -c "x\\y"')
    path = write_settings(found, force=False)
    assert tomllib.loads(path.read_text()) == {
        "main_branch": "main",
        "test_command": 'sh -c "x\\y"',
    }
    with pytest.raises(ConfigError):
        write_settings(found, force=False)
    write_settings(found, force=True)


def test_outside_a_repository_is_told(tmp_path: Path) -> None:
    """There is nothing to detect without a repository."""
    with pytest.raises(GitNotRepositoryError):
        detect(tmp_path, main_branch=None, test_command=None)
