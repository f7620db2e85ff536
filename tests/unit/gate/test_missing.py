"""What the machine lacks for a run: named, with what brings it in."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from self_coding.gate.missing import node_packages, what_is_missing
from self_coding.gate.test_report import RunRecord
from self_coding.values.verdicts import GateSettings


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


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("error: no matching package named `no-panic` found\n", "the crate no-panic is not"),
        ("error: failed to download `serde v1.0.2`", "the crate serde is not on this machine"),
        (
            "a.go:3:8: no required module provides package github.com/x/y; to add it:",
            "the module github.com/x/y is not on this machine; run go mod download",
        ),
        (
            "go: github.com/x/y@v1.2.0: module lookup disabled by GOPROXY=off",
            "the module github.com/x/y@v1.2.0 is not",
        ),
        (
            "go: downloading github.com/x/y v0.5.3\na.go:1:2: open /m/y.lock: read-only",
            "the module github.com/x/y is not on this machine; run go mod download",
        ),
        ("Error: Cannot find module 'left-pad'\n", "the package left-pad is not on this machine"),
        ("Error [ERR_MODULE_NOT_FOUND]: Cannot find package '@a/b' imported from", "package @a/b"),
        ("Error: Cannot find module './lib/gone.js'", ""),
        ("and the artifact junit:junit:jar:4.13 has not been downloaded from it", "run mvn"),
        ("cannot load such file -- minitest/global (LoadError)", "gem minitest/global is not"),
        ("npm error request failed, reason: getaddrinfo EAI_AGAIN a.org", "gate.network = true"),
        ("fatal: unable to access 'x': Could not resolve host: a.org", "asks the network"),
        ("==1==ReserveShadowMemoryRange failed while trying", "set gate.memory_bytes = 0"),
        ("FATAL: ThreadSanitizer can not mmap the shadow memory", "set gate.memory_bytes = 0"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_installs_it(tmp_path, said, named):
    """Each tool chain has words of its own for a package that nobody has installed."""
    missing = what_is_missing(RunRecord(exit_status=1, output=said), tmp_path, GateSettings())
    assert named in missing and bool(missing) == bool(named)
    assert what_is_missing(RunRecord(exit_status=0, output=said), tmp_path, GateSettings()) == ""


def test_a_network_that_the_settings_allow_is_not_proposed(tmp_path):
    """Who lets the tests reach the network is not told to."""
    online = RunRecord(exit_status=1, output="curl: (6) Could not resolve host: a.org")
    assert what_is_missing(online, tmp_path, GateSettings(network=True)) == ""


@pytest.mark.parametrize(
    ("said", "built"),
    [
        ("No module named 'pkg._version'", "src/pkg/_version.py"),
        ("No module named 'pkg.parser'", "pkg/parser.cpython-311-x86_64-linux-gnu.so"),
        ("cannot import name '_fast' from 'pkg' (/a/pkg/__init__.py)", "pkg/_fast.so"),
        (
            "cannot import name '_fast' from partially initialized module 'pkg' (most",
            "pkg/_fast.abi3.so",
        ),
        ("No module named 'pkg.other'", ""),
        ("No module named 'pkg'", ""),
    ],
)
def test_a_file_that_a_build_made_is_carried(tmp_path, said, built):
    """What git ignores and the checkout has is brought in by a setting, not installed."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("_version.py\n*.so\n__pycache__\n")
    for name in (built, "pkg/third.so", "pkg/__pycache__/other.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name:
            (tmp_path / name).touch()
    missing = what_is_missing(RunRecord(exit_status=1, output=said), tmp_path, GateSettings())
    assert (f"set gate.carry = {json.dumps([built])}" in missing) is bool(built)


@pytest.mark.parametrize("kind", ["dependencies", "devDependencies", "workspaces"])
@pytest.mark.parametrize("tool", ["npm", "pnpm", "yarn", "bun"])
def test_packages_that_nobody_installed_are_the_first_thing_said(tmp_path, kind, tool):
    """Without node_modules the project's own tool is named, whatever the run printed."""
    settings = GateSettings(command=f"{tool} test")
    record = RunRecord(exit_status=127, output="sh: 1: mocha: not found")
    assert node_packages(tmp_path, settings.command) == ""
    (tmp_path / "package.json").write_text(json.dumps({kind: {"mocha": "1"}}))
    assert what_is_missing(record, tmp_path, settings).endswith(f"; run {tool} install")
    (tmp_path / "node_modules").mkdir()
    assert node_packages(tmp_path, settings.command) == ""


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (
            "no required module provides package example.org/a/b: go.mod file not found in current"
            " directory or any parent directory; see 'go help modules'",
            "example.org/a/b",
        ),
        ("go: go.mod file not found in current directory or any parent directory", "NAME"),
        (
            "pattern ./...: directory prefix . does not contain main module or its selected"
            " dependencies",
            "NAME",
        ),
    ],
)
def test_go_sources_without_a_go_mod_need_one(tmp_path, output, name):
    """Sources older than modules cannot be tested until they have a go.mod: nothing to download."""
    record = RunRecord(exit_status=1, output=output)
    said = what_is_missing(record, tmp_path, GateSettings(command="go test ./..."))
    assert said.startswith("there is no go.mod") and said.endswith(
        f"go mod init {name}, and commit it"
    )
