"""What `init` finds out about a repository: its main branch and how its tests are run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.git import decode, git_directories, run
from self_coding.errors import ConfigError, GitNotRepositoryError

FILE = "self-coding.toml"


@dataclass(frozen=True)
class Detected:
    """The settings that fit a repository."""

    top: Path
    main_branch: str
    test_command: str


def detect(repo: Path, *, main_branch: str | None, test_command: str | None) -> Detected:
    """Look at a repository; what the caller names is taken as it is."""
    found = git_directories(repo)
    if found is None:
        raise GitNotRepositoryError(
            f"{repo.resolve()} is in no working tree of a git repository",
            hint="run `git init` first, or use --repo",
        )
    top = found.top
    return Detected(top, main_branch or _main_branch(top), test_command or _test_command(top))


def write(found: Detected, *, force: bool) -> Path:
    """Write the settings file; one that is there stays, unless `force` is given."""
    path = found.top / FILE
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already", hint="edit it, or use --force")
    lines = [
        "# How self-coding works in this repository; see docs/reference/configuration.md.",
        f"main_branch = {json.dumps(found.main_branch)}",
        f"test_command = {json.dumps(found.test_command)}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _git(top: Path, *args: str) -> str:
    done = run(args, cwd=top, ok=())
    return decode(done.stdout, errors="replace").strip() if done.returncode == 0 else ""


def _main_branch(top: Path) -> str:
    """The remote's default branch, else main or master, else the one that is checked out."""
    remote = _git(top, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
    if remote:
        return remote.partition("/")[2]
    branches = _git(top, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    named = [name for name in ("main", "master", "trunk") if name in branches]
    return named[0] if named else _git(top, "symbolic-ref", "--short", "HEAD") or "main"


def _test_command(top: Path) -> str:
    """pytest where its settings or style of tests are seen, else the standard library's runner."""
    settings = "".join(
        (top / name).read_text(encoding="utf-8", errors="replace")
        for name in ("pyproject.toml", "pytest.ini", "setup.cfg", "tox.ini")
        if (top / name).is_file()
    )
    uses_pytest = "pytest" in settings or any(top.glob("**/conftest.py"))
    plain = next(iter(sorted(top.glob("**/test_*.py"))), None)
    if not uses_pytest and plain is not None:
        text = plain.read_text(encoding="utf-8", errors="replace")
        if "unittest" in text and "pytest" not in text:
            return "python -m unittest discover"
    return "python -m pytest --tb=short -q"
