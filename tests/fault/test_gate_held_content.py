"""What a commit names and git keeps elsewhere is there for the tests, exactly as it is named."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest
from gate_repo import PYTEST, Repo

from self_coding.adapters import sandbox

TEST = """import pathlib
def test_it():
    assert pathlib.Path("vendor/dep/inner/data").read_text() == "inner"
    assert pathlib.Path("vendor/dep/mine").read_text() == "{mine}"
    assert pathlib.Path("big.bin").read_bytes() == b"abc\\0"
"""


@pytest.fixture
def repo(tmp_path):
    """A repository with a submodule, which has one itself, and a file whose content LFS holds."""
    inner, dep, repo = (Repo(tmp_path / name) for name in ("inner", "dep", "repo"))
    inner.commit({"data": "inner"})
    for outer, other, place in ((dep, inner, "inner"), (repo, dep, "vendor/dep")):
        if other is dep:
            dep.commit({"mine": "dep"})
        outer.git(
            "-c", "protocol.file.allow=always", *("submodule", "add", "-q"), str(other.path), place
        )
    allowed = {**os.environ, "GIT_ALLOW_PROTOCOL": "file"}
    update = ["git", "submodule", "update", "-q", "--init", "--recursive"]
    subprocess.run(update, cwd=repo.path, env=allowed, check=True)
    name = hashlib.sha256(b"abc\0").hexdigest()
    held = repo.path / ".git/lfs/objects" / name[:2] / name[2:4] / name
    held.parent.mkdir(parents=True)
    held.write_bytes(b"abc\0")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize 4\n"
    repo.commit({".gitattributes": "*.bin filter=lfs\n", "big.bin": pointer})
    return repo


@pytest.mark.parametrize("level", ["bwrap", "landlock"])
def test_submodules_and_lfs_files_are_there(repo, level):
    """Submodules in submodules and LFS contents are what the commit says, and leave no trace."""
    if level == "bwrap" and sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    commit = repo.commit({"test_a.py": TEST.format(mine="dep")})
    # Whatever the user's checkout of the submodule is at, or holds beside its commit.
    (repo.path / "vendor/dep/mine").write_text("not committed")
    report = repo.gate(PYTEST, sandbox=level).run(commit, tree=repo.tree(commit))
    assert report.passed, report.output
    assert "big.bin" not in repo.git("status", "--porcelain")


def test_what_this_machine_does_not_hold_is_not_fetched(repo):
    """A submodule's commit that is nowhere here leaves the folder empty, and the run goes on."""
    gone = "1" * 40
    repo.git("update-index", "--cacheinfo", f"160000,{gone},vendor/dep")
    repo.git("commit", "-qm", "bump")
    commit = repo.git("rev-parse", "HEAD")
    report = repo.gate("ls vendor/dep | wc -l", sandbox="landlock").run(
        commit, tree=repo.tree(commit)
    )
    assert report.output.split() == ["0"]
