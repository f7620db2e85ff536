"""What one run shows the tested code, and the guard over what it must not touch."""

from __future__ import annotations

import pytest

from self_coding.gate.missing import what_is_missing
from self_coding.gate.sandbox_layout import (
    SandboxLayout,
    TreeGuard,
)
from self_coding.gate.test_report import RunRecord
from self_coding.values.verdicts import GateSettings


@pytest.fixture
def checkout(tmp_path):
    git = tmp_path / ".git"
    for name in ("hooks", "info", "objects/info"):
        (git / name).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text("[core]\n")
    return tmp_path


def test_an_untouched_repository_is_untouched(checkout):
    """Without a change nothing is reported."""
    guard = TreeGuard(checkout)
    assert guard.planted(trusted=False) == ()


@pytest.mark.parametrize(
    "name",
    ["config", "config.worktree", "info/attributes", "hooks/pre-push", "objects/info/alternates"],
)
def test_each_file_that_makes_git_run_something_is_guarded(checkout, name):
    """A change of any of them is reported; a trusted sandbox makes it somebody else's."""
    guard = TreeGuard(checkout)
    (checkout / ".git" / name).write_text("[core]\nfsmonitor = evil\n")
    changed = guard.planted(trusted=False)
    assert [one.endswith(name) for one in changed] == [True]
    assert guard.planted(trusted=True) == ()


def test_a_mode_is_a_change(checkout):
    """A hook that becomes executable is a change."""
    hook = checkout / ".git" / "hooks" / "pre-push"
    hook.write_text("x")
    guard = TreeGuard(checkout)
    hook.chmod(0o755)
    assert guard.planted(trusted=False)


def test_a_pointer_that_the_run_replaced_is_put_back(tmp_path):
    """The `.git` file of a worktree is restored, whatever the level, and named."""
    (tmp_path / ".git").write_text("gitdir: /somewhere/else\n")
    guard = TreeGuard(tmp_path)
    (tmp_path / ".git").unlink()
    (tmp_path / ".git").mkdir()
    assert guard.planted(trusted=True) == (".git",)
    assert (tmp_path / ".git").read_text() == "gitdir: /somewhere/else\n"


def test_a_source_that_was_put_back_was_rewritten(tmp_path):
    """Writing to any file of the tree shows, also when its content is the old one again."""
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.txt").write_text("x")
    guard = TreeGuard(tmp_path)
    assert guard.rewritten() == ()
    (tmp_path / "b.txt").write_text("y")
    (tmp_path / "a.py").write_text("x = 1\n")
    assert guard.rewritten() == ("a.py", "b.txt")


def test_what_rustup_starts_is_named_and_found(home, monkeypatch, tmp_path):
    """A link to rustup needs the tool chains as well, and a variable that leads to them."""
    (home / ".cargo/bin/rustup").touch(mode=0o755)
    (home / ".cargo/bin/cargo").symlink_to("rustup")
    (home / ".rustup").mkdir()
    monkeypatch.setenv("PATH", str(home / ".cargo/bin"))
    record = RunRecord(exit_status=127, output="sh: 1: cargo: not found")
    said = what_is_missing(record, tmp_path / "top", GateSettings())
    assert said.endswith('set gate.readable = ["~/.cargo/bin", "~/.rustup"]')
    settings = GateSettings(readable=("~/.cargo/bin", "~/.rustup"))
    (tmp_path / "tree").mkdir()
    layout = SandboxLayout(
        top=tmp_path / "top", settings=settings, at="limits", tree=tmp_path / "tree"
    )
    with layout.sandbox() as (spec, _):
        assert spec.env["RUSTUP_HOME"] == str(home / ".rustup")
        assert (home / ".rustup", home / ".rustup") in spec.readable
