"""The variables of a surrounding git command never lead us to another repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client import Client

import forked
from self_coding import CodebaseIndexer, GitSafety, ModificationJournal
from self_coding.adapters import git as adapter
from self_coding.app import open_app
from self_coding.cli.setup import detect
from self_coding.hooks.install import install, is_guarded
from self_coding.hooks.main_guard import before_push
from self_coding.self_edit.editors.command import CommandEditor
from self_coding.testing import ScriptedEditor, git, sample_repo

ADDED = "src/calc/extra.py"
EDIT = {ADDED: "def triple(n):\n    return 3 * n\n"}


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """The repository that each entry point is asked for."""
    return sample_repo(tmp_path / "asked")


@pytest.fixture
def other(tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository that git's variables name; the branch is called differently there."""
    top = sample_repo(tmp_path / "other", {"elsewhere.py": "def elsewhere():\n    return 0\n"})
    git(top, "branch", "-m", "main", "trunk")
    git(top, "config", "core.hooksPath", "their-hooks")
    monkeypatch.setenv("GIT_DIR", str(top / ".git"))
    monkeypatch.setenv("GIT_COMMON_DIR", str(top / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(top))
    monkeypatch.setenv("GIT_INDEX_FILE", str(top / ".git" / "index"))
    monkeypatch.chdir(asked)
    return top


@pytest.fixture(autouse=True)
def _other_is_untouched(other: Path):
    """Whatever a test does, not one byte of the other repository changes."""
    before = _bytes(other)
    yield
    assert _bytes(other) == before


def _bytes(top: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in top.rglob("*") if file.is_file()}


def _cli(asked: Path, *words: str) -> str:
    done = forked.run("--repo", str(asked), *words)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_hooks_go_into_the_repository_that_was_asked_for(asked: Path) -> None:
    """`install` enters our hooks here, and the push guard is looked for here."""
    places = [Path(entry.place) for entry in install(asked)]
    assert all(place.is_relative_to(asked) for place in places)
    assert is_guarded(asked)
    assert (asked / ".git" / "hooks" / "pre-push").is_file()


def test_init_detects_the_repository_that_was_asked_for(asked: Path) -> None:
    """The main branch is this repository's."""
    assert detect(asked, main_branch=None, test_command=None).main_branch == "main"


async def test_git_safety_works_here(asked: Path) -> None:
    """Snapshot, commit, isolate and rollback are of this repository."""
    safety = GitSafety(asked, test_command="true")
    taken = await safety.snapshot(run_tests=False)
    (asked / "new.py").write_text("NEW = 1\n")
    made = await safety.commit("A new file")
    assert git(asked, "rev-parse", "main") == made
    worktree = await safety.isolate("one")
    assert worktree.path.is_relative_to(asked)
    await safety.release(worktree)
    assert await safety.rollback(taken) == taken.commit_hash
    assert (await safety._run_git("rev-parse", "HEAD")).stdout.strip() == taken.commit_hash


async def test_the_index_and_the_journal_are_of_this_repository(asked: Path) -> None:
    """The index lists these files and their history; default databases are in this repository."""
    indexer = CodebaseIndexer(asked)
    assert (await indexer.index_all())["indexed"] == 6
    assert (await indexer.get_relevant_files("A small package"))[0].startswith(("src", "tests"))
    journal = ModificationJournal()
    await journal.get_success_rate()
    await journal.close()
    assert (asked / ".git" / "self_coding" / "journal.db").is_file()


async def test_a_self_edit_lands_here(asked: Path) -> None:
    """The whole loop: an edit is made, tested and landed in this repository."""
    layer = open_app(asked)
    result = await layer.edit.self_edit("Add triple", editor=ScriptedEditor(EDIT))
    await layer.journal.close()
    assert result.success, result.message
    assert ADDED in git(asked, "ls-tree", "-r", "--name-only", "main")


async def test_an_editor_command_sees_its_worktree(asked: Path) -> None:
    """What an editor's own git answers is of the attempt's worktree."""
    layer = open_app(asked)
    command = f"sh -c 'echo TOP = \\\"$(git rev-parse --show-toplevel)\\\" > {ADDED}'"
    result = await layer.edit.self_edit("Note the top", editor=CommandEditor(command))
    await layer.journal.close()
    assert result.success, result.message
    assert str(asked) in git(asked, "show", f"main:{ADDED}")


async def test_a_push_is_judged_by_this_repository(asked: Path) -> None:
    """The push guard asks for receipts of this repository's commits."""
    layer = open_app(asked)
    tip = git(asked, "rev-parse", "main")
    verdict = await before_push(layer, f"refs/heads/main {tip} refs/heads/main {'0' * 40}\n")
    await layer.journal.close()
    assert not verdict.allowed


@pytest.mark.timeout(240)
def test_the_command_line_works_here(asked: Path, tmp_path: Path) -> None:
    """`init`, `try`, `relevant`, `log` and `doctor` are of this repository."""
    _cli(asked, "init")
    git(asked, "add", "--all")
    git(asked, "commit", "--quiet", "--message=Settings")
    patch = tmp_path / "new.patch"
    patch.write_text(
        f"--- /dev/null\n+++ b/{ADDED}\n@@ -0,0 +1,2 @@\n+def triple(n):\n+    return 3 * n\n"
    )
    _cli(asked, "try", "Add triple", "--patch", str(patch))
    assert ADDED in git(asked, "ls-tree", "-r", "--name-only", "main")
    assert "calc" in _cli(asked, "relevant", "triple a number")
    assert "Add triple" in _cli(asked, "log")
    assert str(asked) in _cli(asked, "doctor")


@pytest.mark.timeout(120)
async def test_the_mcp_server_works_here(asked: Path) -> None:
    """Tools answer from this repository, also where the server inherits git's variables."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "self_coding", "--repo", str(asked), "mcp"],
        env=dict(os.environ),
    )
    async with Client(server) as client:
        begun = await client.call_tool("begin_edit", {"task": "Add triple"})
        assert not begun.is_error, begun.content
        worktree = Path(str(json.loads(json.dumps(begun.structured_content))["worktree"]))
        assert worktree.is_relative_to(asked)
        summary = await client.call_tool("summary", {})
        assert "elsewhere" not in str(summary.content)


@pytest.mark.timeout(120)
def test_from_inside_a_commit_hook(asked: Path, tmp_path: Path) -> None:
    """Called by a pre-commit hook of another repository, a self-edit still lands here alone."""
    outer = sample_repo(tmp_path / "outer", {"a.py": "A = 1\n"})
    hook = outer / ".git" / "hooks" / "pre-commit"
    script = (
        "import asyncio\n"
        "from self_coding.app import open_app\n"
        "from self_coding.testing import ScriptedEditor\n"
        f"layer = open_app({str(asked)!r})\n"
        f"done = asyncio.run(layer.edit.self_edit('Add', editor=ScriptedEditor({EDIT!r})))\n"
        "assert done.success, done.message\n"
    )
    (tmp_path / "hook.py").write_text(script)
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'hook.py'}\n")
    hook.chmod(0o755)
    (outer / "a.py").write_text("A = 2\n")
    env = adapter.inherited_environment()
    argv = ["git", "commit", "-qam", "by hand"]
    done = subprocess.run(argv, cwd=outer, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert ADDED in git(asked, "ls-tree", "-r", "--name-only", "main")
    assert git(outer, "show", "--format=%s", "--name-only", "HEAD").split() == [
        "by", "hand", "a.py",
    ]  # fmt: skip


def test_no_module_starts_git_by_itself() -> None:
    """The name of git's executable is in one module; every other one goes through it."""
    source = Path(adapter.__file__).parents[1]
    starting = [
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if '["git"' in file.read_text() or '("git", "-' in file.read_text()
    ]
    assert starting == ["adapters/git.py"]


def test_everything_but_the_users_configuration_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of git's variables only those that name the user's configuration and transport stay."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_COUNT", "GIT_TRACE", "GIT_AUTHOR_NAME"):
        monkeypatch.setenv(name, "x")
    kept = {name for name in adapter.inherited_environment() if name.startswith("GIT_")}
    assert kept <= {
        "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSH_COMMAND",
    }  # fmt: skip
