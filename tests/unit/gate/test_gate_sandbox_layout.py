"""What one run shows the tested code, and the guard over what it must not touch."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_coding.gate.sandbox_layout import (
    SandboxLayout,
    TreeGuard,
    what_is_missing,
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


@pytest.mark.parametrize(
    "output",
    [
        "sh: 1: eval: cargo: not found",
        "bash: line 1: cargo: command not found",
        "make: cargo: No such file or directory\nmake: *** [Makefile:2: test] Error 127",
        "sh: 1: cargo: Permission denied",
        "env: \u2018cargo\u2019: No such file or directory",
        "/usr/bin/env: 'cargo': No such file or directory\n",
    ],
)
def test_a_tool_that_the_sandbox_hides_is_named_with_the_way_out(home, monkeypatch, output):
    """However the shell says it: which program, where it is, and the setting that shows it."""
    (home / ".cargo/bin/cargo").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(home / ".cargo/bin"))
    status = 2 if "Error 127" in output else 126 if "denied" in output else 127
    record = RunRecord(exit_status=status, output=output)
    assert what_is_missing(record, Path("/nowhere"), GateSettings()) == (
        "`cargo` was not found: it is in ~/.cargo/bin, which the sandbox hides;"
        ' set gate.readable = ["~/.cargo/bin"]'
    )


def test_a_tool_that_is_nowhere_or_in_node_modules(home, monkeypatch):
    """A program that nobody has, and one that `gate.carry` brings in, have other ways out."""
    record = RunRecord(exit_status=127, output="sh: 1: mocha: not found")
    monkeypatch.setenv("PATH", str(home))
    assert "nor on your own PATH" in what_is_missing(record, home, GateSettings())
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    shell = RunRecord(exit_status=126, output="make: sh: Permission denied")
    assert "could not be run" in what_is_missing(shell, home, GateSettings())
    (home / "node_modules/.bin").mkdir(parents=True)
    (home / "node_modules/.bin/mocha").touch()
    assert 'set gate.carry = ["node_modules"]' in what_is_missing(record, home, GateSettings())


def test_a_module_that_is_missing_is_named_with_the_python(tmp_path):
    """`No module named pytest` says which interpreter lacks it; success lacks nothing."""
    record = RunRecord(exit_status=1, output="/usr/bin/python: No module named pytest\n")
    missing = what_is_missing(record, tmp_path, GateSettings())
    assert missing.startswith("no module 'pytest' for /")
    assert missing.endswith("in an environment of the project (.venv), or set gate.python")
    for other in (RunRecord(exit_status=1, output="1 failed"), RunRecord(exit_status=0)):
        assert what_is_missing(other, tmp_path, GateSettings()) == ""


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/e/lib/site-packages/pytest_other/plugin.py", "the plugin 'pytest_other' of "),
        ("/e/lib/site-packages/other.py", "the plugin 'other' of "),
        ("/e/lib/site-packages/_pytest/config.py", ""),
        ("/project/conftest.py", ""),
    ],
)
def test_a_plugin_that_ends_pytest_is_named(tmp_path, place, said):
    """Pytest's INTERNALERROR out of an installed plugin is the environment's fault."""
    output = (
        'INTERNALERROR>   File "/e/lib/site-packages/pluggy/_callers.py", line 1, in f\n'
        f'INTERNALERROR>   File "{place}", line 306, in pytest_configure\n'
        "INTERNALERROR>     warnings.warn(Unset)\n"
        "INTERNALERROR> pytest.PytestDeprecationWarning: it is unset; set it\n"
        "INTERNALERROR> More of it: words.\n"
    )
    missing = what_is_missing(
        RunRecord(exit_status=3, output=output), tmp_path, GateSettings(python="/usr/bin/python3")
    )
    assert missing.startswith(said) and bool(missing) == bool(said)
    if said:
        assert "ends pytest before any test: pytest.PytestDeprecationWarning: it is un" in missing
        assert missing.endswith("or set gate.python")


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
