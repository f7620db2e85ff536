"""A real repository for each test, with things of a person's in it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from self_coding.git_safety import GitSafety


class Repo:
    """A working tree on disk, and git as a person types it."""

    def __init__(self, path: Path, *init: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self("init", "-q", "-b", "main", *init)
        self("config", "user.email", "person@example.com")
        self("config", "user.name", "A Person")

    def __call__(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *args], cwd=self.path, check=check, capture_output=True, text=True
        )
        return done.stdout.rstrip("\n")

    def write(self, name: str, content: str | bytes = "x\n") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def commit(self, message: str = "work", **files: str) -> str:
        for name, content in files.items():
            self.write(name, content)
        self("add", "-A")
        self("commit", "-qm", message, "--no-gpg-sign")
        return self("rev-parse", "HEAD")

    def safety(self, **settings: object) -> GitSafety:
        return GitSafety(self.path, test_command="true", **settings)  # type: ignore[arg-type]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Repo]:
    """Makes empty repositories."""

    def build(name: str = "repo", *init: str) -> Repo:
        return Repo(tmp_path / name, *init)

    return build


@pytest.fixture
def repo(make: Callable[..., Repo]) -> Repo:
    """A repository with one commit of three files on main."""
    made = make()
    made.write("app.py", "one = 1\n")
    made.write("lib/core.py", "def core():\n    return 1\n")
    made.write("README.md", "# Here\n")
    made.commit("first")
    return made


@pytest.fixture
def git(repo: Repo) -> GitSafety:
    return repo.safety()
