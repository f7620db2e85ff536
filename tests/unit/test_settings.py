"""Settings: where they come from, which one wins, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from self_coding.errors import ConfigError
from self_coding.settings import (
    BasePolicy,
    Settings,
    named,
    read_settings,
    settings_of,
    sources,
)
from self_coding.values.explanations import EXPLANATIONS
from self_coding.values.verdicts import LIMITS

PYPROJECT = "[project]\nname = 'x'\n[tool.self_coding]\n"


def project(folder: Path, text: str, name: str = "pyproject.toml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_defaults_without_any_file(tmp_path: Path) -> None:
    """A repository that sets nothing has the defaults."""
    settings = read_settings(tmp_path, environ={})
    assert (settings.main_branch, settings.tries, settings.editor) == ("main", 1, "")
    assert settings.limits.context_tokens == 4000
    assert settings.require_sandbox == settings.gate.require_sandbox


@pytest.mark.parametrize(
    ("name", "text"),
    [("pyproject.toml", PYPROJECT + "tries = 4\n"), ("self-coding.toml", "tries = 4\n")],
)
def test_either_file_sets(tmp_path: Path, name: str, text: str) -> None:
    """Settings stand in pyproject.toml or in a file of their own."""
    assert read_settings(project(tmp_path, text, name), environ={}).tries == 4


def test_later_sources_win(tmp_path: Path) -> None:
    """File, then environment, then arguments; tables are merged key by key."""
    text = PYPROJECT + "tries = 2\nbest_of = 2\n[tool.self_coding.gate]\ntimeout = 7\nretries = 1\n"
    environ = {
        "SELF_CODING_TRIES": "3",
        "SELF_CODING_GATE__TIMEOUT": "8.5",
        "SELF_CODING_SRC_DIRS": "src, lib",
        "SELF_CODING_CONTEXT": "/not/a/setting",
        "SELF_CODING_REPO": ".",
        "OTHER": "x",
    }
    settings = read_settings(project(tmp_path, text), environ=environ, tries=5, best_of=None)
    assert (settings.tries, settings.best_of) == (5, 2)
    assert (settings.gate.timeout, settings.gate.retries) == (8.5, 1)
    assert settings.src_dirs == ["src", "lib"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tires = 3\n", "tires"),
        ("tries = 0\n", "tries"),
        ("tries = 'many'\n", "tries"),
        ("main_branch = ''\n", "main_branch"),
        ("[tool.self_coding.gate]\ntimeuot = 3\n", "gate.timeuot"),
        ("[tool.self_coding.gate]\ncommand = 'x'\n", "gate.command"),
        ("[tool.self_coding.policy]\nmax_file = 3\n", "policy.max_file"),
        ("[tool.self_coding.policy]\nmax_files = 'x'\n", "policy.max_files"),
        ("[tool.self_coding.model]\napi_key = 'secret'\n", "model.api_key"),
        ("tries = \n", "cannot be read"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """An unknown setting, one out of range and an unreadable file are refused by name."""
    with pytest.raises(ConfigError) as caught:
        read_settings(project(tmp_path, PYPROJECT + text), environ={})
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "nan"),
        ("timeout", "inf"),
        ("timeout", "0"),
        ("cpu_seconds", "-1"),
        ("memory_bytes", "1000"),
        ("processes", "-1"),
        ("file_bytes", "100"),
        ("output_bytes", "-1"),
        ("retries", "-1"),
    ],
)
def test_numbers_of_the_gate_are_bounded(tmp_path: Path, name: str, value: str) -> None:
    """A limit that would mean none, or that nothing could keep, is refused with its range."""
    text = f"{PYPROJECT}[tool.self_coding.gate]\n{name} = {value}\n"
    with pytest.raises(ConfigError, match=rf"gate\.{name}: .* is out of range") as caught:
        read_settings(project(tmp_path, text), environ={})
    assert LIMITS[name].range in caught.value.hint


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_both_ends_of_a_range_are_taken(name: str) -> None:
    """The least and the most are allowed; 0 where it means no limit; one more is not."""
    row = LIMITS[name]
    for value in (row.least, row.most, *([0] if row.optional else [])):
        assert getattr(settings_of({"gate": {name: value}}).gate, name) == value
    with pytest.raises(ConfigError, match=name):
        settings_of({"gate": {name: row.most + 1}})


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("name", ["edit_seconds", "cost", "model.timeout"])
def test_numbers_are_finite(tmp_path: Path, name: str, value: str) -> None:
    """What is no number bounds nothing, and is refused."""
    text = f"{PYPROJECT}{name} = {value}\n"
    with pytest.raises(ConfigError, match=name):
        read_settings(project(tmp_path, text), environ={})


def test_a_retired_setting_is_ignored(tmp_path: Path) -> None:
    """A settings file of an earlier release that still says `record_coverage` opens."""
    (tmp_path / "self-coding.toml").write_text("record_coverage = false\ntries = 3\n")
    assert read_settings(tmp_path, environ={}).tries == 3


def test_an_unknown_variable_or_argument_is_refused(tmp_path: Path) -> None:
    """A misspelt variable or argument is an error, like a misspelt key."""
    with pytest.raises(ConfigError, match="tires"):
        read_settings(tmp_path, environ={"SELF_CODING_TIRES": "3"})
    with pytest.raises(ConfigError, match="tires"):
        read_settings(tmp_path, environ={}, tires=3)


def test_two_files_that_set_are_refused(tmp_path: Path) -> None:
    """Settings stand in one place; a pyproject.toml without any of ours is none."""
    project(tmp_path, "tries = 2\n", "self-coding.toml")
    project(tmp_path, "[project]\nname = 'x'\n")
    assert read_settings(tmp_path, environ={}).tries == 2
    project(tmp_path, PYPROJECT + "tries = 3\n")
    with pytest.raises(ConfigError, match="and in self-coding"):
        read_settings(tmp_path, environ={})


def test_a_table_of_ours_that_is_none_is_refused(tmp_path: Path) -> None:
    """`tool.self_coding = 3` is no table and says so."""
    with pytest.raises(ConfigError, match="not a table"):
        read_settings(project(tmp_path, "[tool]\nself_coding = 3\n"), environ={})


def test_the_policy_is_read_from_given_files_alone() -> None:
    """A commit's files state its policy; where they state none, it is the default."""
    rules = BasePolicy()
    text = PYPROJECT + "[tool.self_coding.policy]\nmax_files = 2\nprotected = ['a/*']\n"
    policy = rules.read({"pyproject.toml": text.encode(), "self-coding.toml": None})
    assert (policy.max_files, policy.protected) == (2, ("a/*",))
    assert rules.read({}).max_files == settings_of({}).policy.max_files
    assert {"pyproject.toml", "self-coding.toml"} <= set(rules.files)


def test_every_setting_is_explained() -> None:
    """Each has a sentence and an example that is accepted and is not the default."""
    defaults = dict(named(Settings()))
    assert defaults.keys() == EXPLANATIONS.keys()
    for name, (about, example, _) in EXPLANATIONS.items():
        assert about.endswith(".")
        values = dict(named(settings_of(tomllib.loads(f"{name} = {example}"))))
        assert values[name] != defaults[name], name
        changed = {one for one in values if values[one] != defaults[one]}
        assert changed == {name}


def test_where_a_value_comes_from_is_known(tmp_path: Path) -> None:
    """A file is named, and so is the variable that comes over it."""
    text = PYPROJECT + "tries = 2\nbest_of = 2\n[tool.self_coding.gate]\ntimeout = 7\n"
    environ = {"SELF_CODING_TRIES": "3", "SELF_CODING_MODEL__NAME": "x:y", "SELF_CODING_RUN": "1"}
    assert sources(project(tmp_path, text), environ) == {
        "tries": "$SELF_CODING_TRIES",
        "best_of": "pyproject.toml",
        "gate.timeout": "pyproject.toml",
        "model.name": "$SELF_CODING_MODEL__NAME",
    }
