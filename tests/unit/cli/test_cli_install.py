"""`install` shows what it does to each agent's file, does it, and takes it back byte for byte."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from self_coding.cli import cli
from self_coding.errors import ConfigError, GitNotRepositoryError
from self_coding.mcp_server.clients import AGENTS

THEIRS = {
    "json": '{\n  // theirs\n  "a": [1, 2,],\n}\n',
    "toml": "# theirs\nmodel = 'x'\n\n[profiles.y]\nz = 1\n",
    "yaml": "# theirs\nGOOSE_MODE: auto\nextensions:\n  developer:\n    enabled: true\n",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", "-b", "main", str(top)], check=True)
    return top


def _run(repository: Path, *words: str, given: str = "") -> Result:
    """Install with --portable: what is entered is the same on every machine, and nothing starts."""
    argv = ["--repo", str(repository), "install", "--portable", *words]
    return CliRunner().invoke(cli, argv, input=given, standalone_mode=False)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in folder.rglob("*")
        if one.is_file() and ".git" not in one.relative_to(folder).parts
        and ".local" not in one.relative_to(folder).parts
    }  # fmt: skip


@pytest.mark.parametrize("scope", ["project", "user"])
@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("is_there", [True, False], ids=["a file", "no file"])
def test_each_agent_gets_it_and_gives_it_back(
    home: Path, repository: Path, agent: str, scope: str, is_there: bool
) -> None:
    """The server is in the agent's own file beside what was there; then every byte is as before."""
    client = AGENTS[agent]
    name, top = (client.project, repository) if scope == "project" else (client.user, home)
    if not name:
        row = json.loads(json.dumps(_run(repository, agent, "--yes").output))
        assert "left alone" in row and "--scope user" in row
        return
    file = top / name
    if is_there:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(THEIRS[client.form])
    before, folders = _bytes(top), sorted(top.iterdir())
    done = _run(repository, agent, "--yes", "--scope", scope)
    assert done.exit_code == 0 and "installed" in done.output, done.output
    assert "self-coding[mcp,sandbox]" in file.read_text()
    assert "theirs" in file.read_text() or not is_there
    again = _run(repository, agent, "--yes", "--scope", scope)
    assert "already there" in again.output and "installed " not in again.output
    assert "removed" in _run(repository, agent, "--yes", "--remove", "--scope", scope).output
    assert _bytes(top) == before
    ours = [home / ".local"] if scope == "user" else []
    assert sorted(one for one in top.iterdir() if one not in ours) == folders


def test_nothing_is_written_before_the_answer(home: Path, repository: Path) -> None:
    """The change is shown as a diff; no answer, and no, leave everything as it is."""
    for given in ("", "n\n"):
        done = _run(repository, "cursor", given=given)
        assert "+++ " in done.output and '+    "self-coding": {' in done.output
        assert _bytes(repository) == {}
    _run(repository, "cursor", given="y\n")
    assert [*_bytes(repository)] == [".cursor/mcp.json"]


def test_agents_are_found_by_their_folders(home: Path, repository: Path) -> None:
    """Without names it is for those on the machine; none is an error that names them all."""
    with pytest.raises(ConfigError, match="no agent is seen"):
        raise _run(repository, "--yes").exception or AssertionError
    (home / ".gemini").mkdir()
    (home / ".codex").mkdir()
    rows = [line.split()[1] for line in _run(repository, "--yes").stdout.splitlines()]
    assert rows == ["codex", "gemini"]


def test_what_came_after_stays(home: Path, repository: Path) -> None:
    """A file that was edited, or written anew by its agent, loses our entry alone."""
    file = repository / ".cursor/mcp.json"
    file.parent.mkdir()
    file.write_text('{"mcpServers": {"x": {"command": "y"}}}')
    _run(repository, "cursor", "--yes")
    held = json.loads(file.read_text())
    held["mcpServers"]["z"] = {"command": "later"}
    file.write_text(json.dumps(held, indent=4))
    assert "removed" in _run(repository, "cursor", "--yes", "--remove").output
    servers = {"x": {"command": "y"}, "z": {"command": "later"}}
    assert json.loads(file.read_text()) == {"mcpServers": servers}


def test_an_entry_that_was_edited_in_toml_is_refused(home: Path, repository: Path) -> None:
    """Where ours cannot be told from theirs, the file stays, and the others are done."""
    file = repository / ".codex/config.toml"
    _run(repository, "codex", "cursor", "--yes")
    file.write_text(file.read_text().replace("1800", "60"))
    before = file.read_bytes()
    done = _run(repository, "codex", "cursor", "--yes", "--remove")
    assert done.exit_code == 3 or isinstance(done.exception, SystemExit)
    assert "refused" in done.output and "was changed around our entry" in done.output
    assert file.read_bytes() == before
    assert not (repository / ".cursor").exists()


@pytest.mark.parametrize(
    "text", ["{", '{"mcpServers": 7}', '{"mcpServers": {"self-coding": {"command": "mine"}}}']
)
def test_a_file_that_is_not_understood_stays(home: Path, repository: Path, text: str) -> None:
    """Broken files, other forms and an entry by hand are refused with the reason."""
    file = repository / ".mcp.json"
    file.write_text(text)
    done = _run(repository, "claude", "--yes", "--no-hooks")
    assert "refused" in done.output and "it was left as it is" in done.output
    assert file.read_text() == text


def test_a_link_out_of_the_repository_is_refused(
    home: Path, repository: Path, tmp_path: Path
) -> None:
    """Settings that other projects share get nothing of this one."""
    (tmp_path / "shared").mkdir()
    (repository / ".cursor").symlink_to(tmp_path / "shared")
    assert "leads out of the repository" in _run(repository, "cursor", "--yes").output
    assert [*(tmp_path / "shared").iterdir()] == []


def test_an_earlier_entry_of_ours_is_renewed(home: Path, repository: Path) -> None:
    """Installing in another way puts the new entry in the place of the old one, and out it goes."""
    argv = ["--repo", str(repository), "install", "zed", "--yes"]
    CliRunner().invoke(cli, argv, standalone_mode=False)
    file = repository / ".zed/settings.json"
    assert "uvx" not in file.read_text()
    assert "installed" in _run(repository, "zed", "--yes").output
    assert "uvx" in file.read_text() and file.read_text().count('self-coding"') >= 1
    _run(repository, "zed", "--yes", "--remove")
    assert not file.parent.exists()


def test_outside_a_repository_only_the_user_has_files(home: Path, tmp_path: Path) -> None:
    """A project's files need a project; the user's do not."""
    assert isinstance(_run(tmp_path, "cursor", "--yes").exception, GitNotRepositoryError)
    _run(tmp_path, "cursor", "--yes", "--scope", "user")
    assert "self-coding" in (home / ".cursor/mcp.json").read_text()
