"""Our hooks go in and come out again, and nothing of anybody else's is touched."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from self_coding.errors import ConfigError, GitNotRepositoryError
from self_coding.hooks.install import install, remove


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
    text = "// mine\n" + json.dumps(before)
    file.write_text(text)
    install(repository, ("claude",))
    assert file.read_text().startswith("// mine\n")
    assert other in json.loads(file.read_text().partition("\n")[2])["hooks"]["PreToolUse"]
    remove(repository, ("claude",))
    assert file.read_text() == text


def test_hooks_of_an_earlier_version_come_out(repository: Path) -> None:
    """What was entered before there was a ledger is known by its mark, and so is its file."""
    file = _settings(repository)
    file.parent.mkdir()
    command = {
        "type": "command",
        "command": "x hook pre-edit  # self-coding hook, made this folder",
    }
    held = {"hooks": {"PreToolUse": [{"matcher": "Edit", "hooks": [command]}], "PostToolUse": []}}
    held["hooks"]["PostToolUse"] = held["hooks"]["PreToolUse"]
    file.write_text(json.dumps(held, indent=2) + "\n")
    assert {one.outcome for one in remove(repository, ("claude",))} == {"removed"}
    assert not file.parent.exists()


def test_hooks_of_an_earlier_version_are_renewed(repository: Path) -> None:
    """Installing again puts today's call in the place of an earlier one."""
    file = _settings(repository)
    file.parent.mkdir()
    command = {"type": "command", "command": "x hook pre-edit  # self-coding hook"}
    file.write_text(
        json.dumps({"hooks": {"PreToolUse": [{"matcher": "Edit", "hooks": [command]}]}})
    )
    install(repository, ("claude",))
    (entry,) = json.loads(file.read_text())["hooks"]["PreToolUse"]
    assert entry["hooks"][0]["command"].startswith(sys.executable)


def test_a_link_is_written_through(repository: Path) -> None:
    """Settings that are a link within the repository stay one; what it leads to is changed."""
    file, shared = _settings(repository), repository / "shared.json"
    file.parent.mkdir()
    shared.write_text('{"model": "x"}')
    shared.chmod(0o640)
    file.symlink_to("../shared.json")
    install(repository, ("claude",))
    assert file.is_symlink()
    assert set(json.loads(shared.read_text())) == {"model", "hooks"}
    remove(repository, ("claude",))
    assert file.is_symlink()
    assert json.loads(shared.read_text()) == {"model": "x"}
    assert shared.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("of_a_folder", [False, True], ids=["the file", "its folder"])
def test_a_link_out_of_the_repository_is_left_alone(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, of_a_folder: bool
) -> None:
    """Settings that other projects share get no hooks of this one; it is said what to do."""
    outside = tmp_path_factory.mktemp("outside") / "settings.local.json"
    outside.write_text("{}")
    file = _settings(repository)
    if of_a_folder:
        file.parent.symlink_to(outside.parent)
    else:
        file.parent.mkdir()
        file.symlink_to(outside)
    entered = install(repository, ("claude",))
    assert {one.outcome for one in entered} == {"left alone"}
    assert "outside of the repository" in entered[0].hint
    assert outside.read_text() == "{}"
    assert {one.outcome for one in remove(repository, ("claude",))} == {"absent"}


@pytest.mark.parametrize(
    "before", [None, "", "{}"], ids=["a folder", "an empty file", "no settings"]
)
def test_what_was_there_before_stays(repository: Path, before: str | None) -> None:
    """An empty folder or settings file that we did not make is not removed with our hooks."""
    file = _settings(repository)
    file.parent.mkdir()
    if before is not None:
        file.write_text(before)
    install(repository, ("claude",))
    remove(repository, ("claude",))
    assert file.parent.is_dir()
    assert file.exists() == (before is not None)


def test_a_file_where_the_folder_should_be_is_told(repository: Path) -> None:
    """What stands in the way is named, and stays."""
    (repository / ".claude").write_text("mine")
    with pytest.raises(ConfigError, match="cannot use"):
        install(repository, ("claude",))
    assert (repository / ".claude").read_text() == "mine"


def test_settings_that_are_no_text_are_refused(repository: Path) -> None:
    """Bytes that are not UTF-8 are told as that, and stay."""
    file = _settings(repository)
    file.parent.mkdir()
    file.write_bytes(b'{"a": "\xff"}')
    for change in (install, remove):
        with pytest.raises(ConfigError, match="not UTF-8"):
            change(repository, ("claude",))
    assert file.read_bytes() == b'{"a": "\xff"}'


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


@pytest.mark.parametrize("form", ["myhooks", "./.husky/_", "{top}/deep/hooks", "~/hooks"])
def test_a_hooks_path_of_the_user_is_honoured(
    repository: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """With core.hooksPath set, however it is written, the hook goes where git will look."""
    monkeypatch.setenv("HOME", str(repository / "home"))
    (repository / "home").mkdir()
    path = form.format(top=repository)
    subprocess.run(["git", "config", "core.hooksPath", path], cwd=repository, check=True)
    (entered,) = install(repository, ("git",))
    where = ["git", "rev-parse", "--path-format=absolute", "--git-path", "hooks/pre-push"]
    said = subprocess.run(where, cwd=repository, capture_output=True, text=True, check=True)
    assert Path(entered.place) == Path(said.stdout.strip())
    assert Path(entered.place).is_file()


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


def test_the_module_is_not_hidden_by_its_function() -> None:
    """`from self_coding.hooks import install` gives the module, not the function in it."""
    from self_coding.hooks import install as module

    assert inspect.ismodule(module)
    assert module.install is install
