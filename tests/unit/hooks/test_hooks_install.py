"""Our hooks go in and come out again, and nothing of anybody else's is touched."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from self_coding.errors import ConfigError, GitNotRepositoryError
from self_coding.hooks import install, remove


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def _settings(repository: Path) -> Path:
    return repository / ".claude" / "settings.local.json"


def _push(repository: Path) -> Path:
    return repository / ".git" / "hooks" / "pre-push"


def test_both_kinds_are_entered_once(repository: Path) -> None:
    """A second installation finds the first and adds nothing."""
    first = install(repository)
    written = _settings(repository).read_text(), _push(repository).read_text()
    second = install(repository)
    assert {one.outcome for one in first} == {"installed"}
    assert {one.outcome for one in second} == {"already there"}
    assert (_settings(repository).read_text(), _push(repository).read_text()) == written
    assert _push(repository).stat().st_mode & 0o111


def test_removal_leaves_nothing_behind(repository: Path) -> None:
    """After installing and removing, the files we made are gone."""
    install(repository)
    assert {one.outcome for one in remove(repository)} == {"removed"}
    assert not _settings(repository).parent.exists()
    assert not _push(repository).exists()
    assert {one.outcome for one in remove(repository)} == {"absent"}


def test_settings_of_others_stay(repository: Path) -> None:
    """Other keys, other events and other hooks of the same event survive in and out."""
    file = _settings(repository)
    file.parent.mkdir()
    other = {"matcher": "Bash", "hooks": [{"type": "command", "command": "theirs"}]}
    before = {"model": "x", "hooks": {"PreToolUse": [other], "Stop": [other]}}
    file.write_text(json.dumps(before))
    install(repository, ("claude",))
    assert json.loads(file.read_text())["hooks"]["PreToolUse"][0] == other
    remove(repository, ("claude",))
    assert json.loads(file.read_text()) == before


def test_a_git_hook_of_somebody_else_is_left_alone(repository: Path) -> None:
    """A pre-push hook that is there is not overwritten; the line to add is told."""
    _push(repository).parent.mkdir(exist_ok=True)
    _push(repository).write_text("#!/bin/sh\ntheirs\n")
    (entered,) = install(repository, ("git",))
    assert entered.outcome == "left alone"
    assert "hook pre-push" in entered.hint
    assert _push(repository).read_text() == "#!/bin/sh\ntheirs\n"
    assert remove(repository, ("git",))[0].outcome == "absent"


def test_a_hook_that_grew_is_not_deleted(repository: Path) -> None:
    """Lines that somebody added to our hook are not thrown away with it."""
    install(repository, ("git",))
    with _push(repository).open("a") as file:
        file.write("theirs\n")
    assert remove(repository, ("git",))[0].outcome == "left alone"
    assert "theirs" in _push(repository).read_text()


def test_a_hooks_path_of_the_user_is_honoured(repository: Path) -> None:
    """With core.hooksPath set, the hook goes where git will look."""
    subprocess.run(["git", "config", "core.hooksPath", "myhooks"], cwd=repository, check=True)
    (entered,) = install(repository, ("git",))
    assert entered.place == str(repository / "myhooks" / "pre-push")


@pytest.mark.parametrize(
    "text", ["{not json", "[]", '{"hooks": []}', '{"hooks": {"PreToolUse": 1}}']
)
def test_settings_of_another_form_are_refused(repository: Path, text: str) -> None:
    """A settings file that is not what it should be is left as it is, and said so."""
    file = _settings(repository)
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        install(repository, ("claude",))
    assert raised.value.hint
    assert file.read_text() == text


def test_outside_a_repository_nothing_is_installed(tmp_path: Path) -> None:
    """Without a repository there is a typed refusal."""
    with pytest.raises(GitNotRepositoryError):
        install(tmp_path)
