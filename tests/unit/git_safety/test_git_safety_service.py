"""What holds for all calls: environment, programs, imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from self_coding.git_safety import GitOperationError, GitSafety


async def test_undecodable_test_output(repo) -> None:
    """Test output that is no UTF-8 is recorded."""
    git = GitSafety(repo.path, test_command="printf 'caf\\351'")
    assert "caf" in (await git.snapshot()).test_output


async def test_inherited_git_variables(repo, make, monkeypatch) -> None:
    """GIT_* variables of the environment do not lead into another repository."""
    other = make("other")
    other.commit("other", **{"o.txt": "o"})
    start = other("rev-parse", "HEAD"), other("status", "--porcelain")
    for name, value in {
        "GIT_DIR": other.path / ".git",
        "GIT_INDEX_FILE": other.path / ".git" / "index",
        "GIT_WORK_TREE": other.path,
        "GIT_OBJECT_DIRECTORY": other.path / ".git" / "objects",
        "GIT_CONFIG_PARAMETERS": "'core.bare=true'",
    }.items():
        monkeypatch.setenv(name, str(value))
    git = repo.safety()
    branch = await git.create_branch("try")
    repo.write("new.py", "x")
    await git.commit("new")
    merged = await git.merge_to_main(branch, require_tests=False)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    assert repo("rev-parse", "main") == merged
    assert (other("rev-parse", "HEAD"), other("status", "--porcelain")) == start


PLANTED = {
    "hooks": None,
    "core.fsmonitor": "{}",
    "core.hooksPath": "{hooks}",
    "filter.x.clean": "{}",
    "filter.x.smudge": "{}",
    "filter.x.process": "{}",
    "diff.external": "{}",
    "diff.x.textconv": "{}",
    "diff.x.command": "{}",
    "merge.x.driver": "{}",
    "gpg.program": "{}",
    "core.sshCommand": "{}",
    "core.pager": "{}",
    "core.editor": "{}",
    "core.askPass": "{}",
    "credential.helper": "!{}",
    "core.alternateRefsCommand": "{}",
    "uploadpack.packObjectsHook": "{}",
}


@pytest.mark.parametrize("kind", PLANTED)
async def test_planted_programs_do_not_run(repo, kind) -> None:
    """Nothing that the repository's configuration names is ever run by us."""
    stolen = repo.path.parent / "stolen"
    program = repo.path.parent / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {stolen}\ncat\n")
    program.chmod(0o755)
    hooks = repo.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    repo.commit("attributes", **{".gitattributes": "*.x filter=x diff=x merge=x\n", "a.x": "1\n"})
    if kind == "hooks":
        for name in ("pre-commit", "post-checkout", "reference-transaction", "post-index-change",
                     "post-merge", "prepare-commit-msg", "commit-msg"):  # fmt: skip
            (hooks / name).write_text(f"#!/bin/sh\ntouch {stolen}\n")
            (hooks / name).chmod(0o755)
    else:
        planted = PLANTED[kind]
        value = planted.format(program, hooks=program.parent)
        repo("config", kind, value)
        repo("config", "commit.gpgSign", "true")
    git = repo.safety()
    taken = await git.snapshot(run_tests=False)
    branch = await git.create_branch("try")
    repo.write("app.py", "two\n")
    repo.write("new.py", "x")
    await git.commit("new", ["app.py", "new.py"])
    await git.is_clean()
    await git.get_diff("main")
    await git.get_modified_files("main")
    await git.merge_to_main(branch, require_tests=False)
    worktree = await git.isolate("a")
    (worktree.path / "a.x").write_text("2\n")
    await git.record(worktree, "a")
    await git.release(worktree)
    await git.rollback(taken)
    assert not stolen.exists()


def test_no_dangerous_command_stands_in_the_source() -> None:
    """No reset --hard, clean, checkout -f, stash or pull is in our git layer."""
    folder = Path(__import__("self_coding.git_safety").git_safety.__file__).parent
    words = ('run("clean"', '"--hard"', '"stash"', '"pull"', '"checkout"', '"fetch"', '"gc"')
    for module in folder.glob("*.py"):
        lines = [
            line
            for line in module.read_text().splitlines()
            if any(word in line for word in words) and "operation_lock(" not in line
        ]
        allowed = [line for line in lines if "_MOVES_HEAD" in line or '"commit", "merge"' in line]
        assert lines == allowed, module


async def test_git_is_missing(repo, git, monkeypatch) -> None:
    """Without git on PATH the error says so."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitOperationError, match="cannot run"):
        await git.is_clean()


def test_import_is_light() -> None:
    """Importing GitSafety loads the standard library and our own modules alone."""
    code = (
        "import sys; before = set(sys.modules); import self_coding.git_safety;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(new - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(eval(done.stdout))
    assert {name for name in names if not name.startswith("_")} <= {"self_coding", "sitecustomize"}
