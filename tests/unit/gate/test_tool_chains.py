"""What is shown of the machine: what tool chains say of themselves, what is set, and no secrets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from self_coding.adapters import sandbox
from self_coding.adapters.sandbox import RunLimits, SandboxSpec, can_layer
from self_coding.errors import ConfigError
from self_coding.gate.sandbox_layout import SandboxLayout
from self_coding.gate.tool_chains import readable_folders, tool_chains
from self_coding.values.verdicts import GateSettings


@pytest.fixture
def install(home, monkeypatch):
    """Puts a tool on PATH that gives some answers, and makes the folders that they name."""
    monkeypatch.setenv("PATH", f"{home}/tools:/nowhere")
    for name in ("CARGO_HOME", "HATCH_DATA_DIR", "GRADLE_USER_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)

    def install(tool: str, *answers: str) -> None:
        lines = [f"echo {answer.replace('~', str(home))}" for answer in answers]
        program = home / "tools" / tool
        program.write_text("\n".join(["#!/bin/sh", *lines]))
        program.chmod(0o755)
        for answer in answers:
            Path(answer.replace("~", str(home))).mkdir(parents=True, exist_ok=True)

    return install


@pytest.mark.parametrize(
    ("tool", "answers", "command", "folders", "caches", "env"),
    [
        (
            "rustc",
            ["~/.rustup/toolchains/stable"],
            "cargo test",
            ["~/.rustup"],
            {},
            {"RUSTUP_HOME": "~/.rustup", "CARGO_HOME": "~/.cargo"},
        ),
        ("rustc", ["~/rust"], "make && cargo test", ["~/rust"], {}, {"CARGO_HOME": "~/.cargo"}),
        (
            "go",
            ["~/sdk/go", "~/go/pkg/mod", "~/.cache/go-build"],
            "go test ./...",
            ["~/sdk/go", "~/go/pkg/mod"],
            {"~/.cache/go-build": "GOCACHE"},
            {"GOMODCACHE": "~/go/pkg/mod"},
        ),
        ("npm", ["~/.nvm/lib/node_modules"], "npm test", ["~/.nvm/lib/node_modules"], {}, {}),
        (
            "poetry",
            ["~/.cache/pypoetry"],
            "poetry run pytest",
            ["~/tools/poetry"],
            {"~/.cache/pypoetry": "POETRY_CACHE_DIR"},
            {},
        ),
        ("tox", [], "tox -e py", ["~/tools/tox"], {}, {}),
        ("go", ["nothing of use"], "go test", [], {}, {}),
        ("go", ["~/sdk/go", "~/go/pkg/mod", "~/.cache/go-build"], "./mygo test-go", [], {}, {}),
    ],
)
def test_a_tool_chain_is_shown_by_its_own_word(
    home, tmp_path, install, tool, answers, command, folders, caches, env
):
    """What it answers is shown and found by its variables; caches may be written over."""
    install(tool, *answers)

    def at(name: str) -> str:
        return name.replace("~", str(home))

    found = tool_chains(tmp_path / "top", command)
    assert [str(one) for one in found.folders] == [at(one) for one in folders]
    assert {str(one): name for one, name in found.caches.items()} == {
        at(one): name for one, name in caches.items()
    }
    assert found.env == {name: at(value) for name, value in env.items()}


@pytest.mark.parametrize("tool", ["pnpm", "yarn", "bun", "deno"])
def test_a_program_of_an_installed_package_has_its_files(home, tmp_path, install, tool):
    """What npm installed anywhere is a link to a script that needs the package around it."""
    package = home / "prefix/lib/node_modules" / tool
    (package / "bin").mkdir(parents=True)
    (package / "bin" / tool).touch(mode=0o755)
    (home / "tools" / tool).symlink_to(package / "bin" / tool)
    shown = tool_chains(tmp_path / "top", f"{tool} test").folders
    assert package in shown and home / "tools" in shown


@pytest.mark.parametrize("manifest", ["go.mod", "package.json", "Cargo.toml"])
def test_a_manifest_calls_for_its_tool_chain(home, tmp_path, install, manifest):
    """`make test` in a project of Go, npm or Cargo needs their tools, and no others."""
    install("go", "~/sdk/go", "~/go/pkg/mod", "~/.cache/go-build")
    install("npm", "~/.nvm/lib/node_modules")
    install("rustc", "~/.rustup/toolchains/stable")
    (tmp_path / "top").mkdir()
    assert tool_chains(tmp_path / "top", "make test").folders == ()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / manifest).touch()
    shown = tool_chains(tmp_path / "other", "make test").folders
    known = {"go.mod": "sdk", "package.json": ".nvm", "Cargo.toml": ".rustup"}
    assert {one.relative_to(home).parts[0] for one in shown} <= {known[manifest], "go"}
    assert shown


@pytest.mark.parametrize("answer", ["~/.ssh/keys", "~", "/", "~/link", "~/.cargo"])
def test_no_tool_shows_a_secret(home, tmp_path, install, answer):
    """Whatever a tool answers: keys, tokens and whole homes stay hidden."""
    install("npm", answer)
    assert tool_chains(tmp_path / "top", "npm test").folders == ()


def test_a_tool_of_the_repository_is_not_asked(home, tmp_path, monkeypatch):
    """What the tested code brings along is never started outside of the sandbox."""
    top = tmp_path / "top"
    for place in (top / "bin", tmp_path / "bin"):
        place.mkdir(parents=True)
        (place / "go").write_text(f"#!/bin/sh\n: > {place}/asked\n")
        (place / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{top}/bin:bin:{tmp_path}/bin")
    monkeypatch.chdir(top)
    tool_chains(top, "go test ./...")
    assert not (top / "bin/asked").exists()
    assert (tmp_path / "bin/asked").exists()


def test_the_environments_of_tox_and_nox_are_shown_to_them_alone(home, tmp_path):
    """They write into what they made; other commands have nothing of it."""
    top = tmp_path / "top"
    for name in (".tox", ".nox"):
        (top / name / "py").mkdir(parents=True)
    assert tool_chains(top, "tox -e py").caches == {top / ".tox": ""}
    assert tool_chains(top, "nox && tox").caches == {top / ".tox": "", top / ".nox": ""}
    assert tool_chains(top, "pytest tests/tox_test.py").caches == {}


def test_a_layer_is_read_written_and_left_as_it_was(tmp_path):
    """A contained command has the folder's files and writes to it; outside nothing changes."""
    if not can_layer(sandbox.level()):
        pytest.skip("no bubblewrap that can layer")
    for name in ("tree", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "cache/old").write_text("old")
    spec = SandboxSpec(
        tree=tmp_path / "tree",
        mount=tmp_path / "tree",
        env={"PATH": os.defpath},
        layers=((tmp_path / "cache", tmp_path / "cache"),),
    )
    cache = tmp_path / "cache"
    command = f"cat {cache}/old; echo new > {cache}/new; rm {cache}/old; ls {cache}"
    done = sandbox.run(spec, command, RunLimits(), at="bwrap")
    assert done.stdout == b"oldnew\n"
    assert [one.name for one in cache.iterdir()] == ["old"]
    again = sandbox.run(replace(spec, layers=()), f"ls {cache}", RunLimits(), at="bwrap")
    assert again.returncode


def test_the_tools_of_node_modules_can_write_there(tmp_path):
    """Linters and bundlers keep caches in `node_modules`: that works, and yours stays as it is."""
    if not can_layer(sandbox.level()):
        pytest.skip("no bubblewrap that can layer")
    top, tree = tmp_path / "top", tmp_path / "tree"
    tree.mkdir()
    (top / "node_modules").mkdir(parents=True)
    (top / "node_modules/it.js").write_text("it")
    settings = GateSettings(command="npm test", carry=("node_modules",))
    layout = SandboxLayout(top=top, settings=settings, at="bwrap", tree=tree)
    script = "cd node_modules; cat it.js; test -w . && mkdir .cache && echo x > it.js && cat it.js"
    with layout.sandbox() as (spec, _):
        done = sandbox.run(spec, script, RunLimits(), at="bwrap")
    assert done.stdout == b"itx\n"
    assert [one.name for one in (top / "node_modules").iterdir()] == ["it.js"]
    assert (top / "node_modules/it.js").read_text() == "it"
    assert not any(tree.iterdir())


def test_readable_folders_are_those_that_exist(home, tmp_path):
    """`~` is the home folder; a tool chain that is not installed is left out."""
    settings = GateSettings(readable=("~/.cargo/bin", "~/.rustup", str(home / "tools")))
    assert readable_folders(tmp_path / "top", settings) == [home / ".cargo/bin", home / "tools"]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("~/.ssh", "would show"),
        ("~/.ssh/keys", "would show"),
        ("~/.gnupg", "would show"),
        ("/home/somebody/.ssh", "would show"),
        ("~/link", "would show"),
        ("~/.cargo", "credentials.toml"),
        ("~", "not outside"),
        ("/", "not outside"),
        ("/home", "too wide"),
        ("/var", "too wide"),
        ("~/top/lib", "not outside"),
        ("tools", "not an absolute path"),
    ],
)
def test_a_readable_folder_never_shows_a_secret_or_covers_the_tree(home, name, wrong):
    """Keys, tokens, whole homes, and what holds or is inside the repository are refused."""
    with pytest.raises(ConfigError, match=f"gate.readable: .*{wrong}"):
        readable_folders(home / "top", GateSettings(readable=(name,)))
