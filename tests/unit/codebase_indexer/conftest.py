"""A small repository to index, made anew for each test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., None]


def run_git(repo: Path, *arguments: str) -> str:
    """Run git in the repository with a name of its own."""
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *arguments],
        cwd=repo,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty repository."""
    top = tmp_path / "tree"
    top.mkdir()
    run_git(top, "init", "-q", "-b", "main")
    return top


@pytest.fixture
def write(tree: Path) -> Write:
    """Write files: `write(**{"pkg/a.py": "x = 1"})`."""

    def doing(**files: str) -> None:
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)

    return doing


@pytest.fixture
def git(tree: Path) -> Callable[..., str]:
    """Git in that repository."""
    return lambda *arguments: run_git(tree, *arguments)
