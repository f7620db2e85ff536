"""Settings, and the objects they build: the only place that knows every room.

A setting comes from `[tool.self_coding]` in `pyproject.toml` or from `self-coding.toml`, then
from `SELF_CODING_*` variables, then from arguments; a later one replaces an earlier one, and an
unknown one is an error. The policy by which a change is judged is read from the change's *base*
commit, never from the change and never from the working tree.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from self_coding.adapters.git import git_directories
from self_coding.adapters.paths import FOLDER
from self_coding.audit import SETTING_FILES
from self_coding.codebase_indexer import CodebaseIndexer
from self_coding.errors import ConfigError, EditError, GitNotRepositoryError
from self_coding.git_safety import GitSafety
from self_coding.modification_journal import ModificationJournal
from self_coding.reflection import ReflectionService
from self_coding.self_edit import SelfEdit, editors
from self_coding.self_edit.editors import CommandEditor, Editor, PatchEditor
from self_coding.self_edit.policy import Policy
from self_coding.self_edit.rooms import Files, Rooms
from self_coding.values.attempts import Json
from self_coding.values.edits import Limits
from self_coding.values.ranges import check_gate
from self_coding.values.verdicts import GateSettings

if TYPE_CHECKING:
    from self_coding.adapters.llm import ChatModel, LanguageModel

FILES = ("pyproject.toml", "self-coding.toml")
PREFIX = "SELF_CODING_"
#: Variables with our prefix that are no settings: handed to editors and tests, or the CLI's own.
NOT_SETTINGS = frozenset({"CONTEXT", "TASK", "PROMPT", "REPO", "RUN", "TOKEN"})
#: Settings of earlier releases: accepted, so that an old file still opens, and ignored.
RETIRED = frozenset({"record_coverage"})


class ModelSettings(BaseModel):
    """The language model, where one is used: `name` is "provider:model", empty for none.

    `api_key_env` names the variable that holds the key; a key itself stands in no file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str = ""
    base_url: str | None = None
    api_key_env: str = ""
    timeout: float = Field(default=120.0, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)


class Settings(BaseModel):
    """Everything that can be set. `gate` and `policy` are tables of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    main_branch: str = Field(default="main", min_length=1)
    test_command: str = Field(default="python -m pytest --tb=short -q", min_length=1)
    branch_prefix: str = Field(default="timmy/self-edit", min_length=1)
    src_dirs: list[str] | None = None
    actor: str = "self-coding"
    editor: str = ""
    editors: dict[str, str] = Field(default_factory=dict)
    tries: int = Field(default=1, ge=1, le=50)
    best_of: int = Field(default=1, ge=1, le=16)
    edit_seconds: float = Field(default=1800.0, gt=0, allow_inf_nan=False)
    cost: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    moves: int = Field(default=5, ge=0, le=100)
    task_characters: int = Field(default=32_000, ge=1)
    context_tokens: int = Field(default=4000, ge=0)
    gate: GateSettings = GateSettings()
    policy: Policy = Policy()
    model: ModelSettings = ModelSettings()

    @property
    def require_sandbox(self) -> str:
        """The least isolation in which tests may run."""
        return self.gate.require_sandbox

    @property
    def limits(self) -> Limits:
        """Where a self-edit stops by itself."""
        return Limits(
            tries=self.tries,
            best_of=self.best_of,
            edit_seconds=self.edit_seconds,
            cost=self.cost,
            moves=self.moves,
            task_characters=self.task_characters,
            context_tokens=self.context_tokens,
        )


@dataclass(frozen=True)
class Layer:
    """All rooms over one repository, wired; `edit` is the self-edit, `top` the working tree."""

    settings: Settings
    top: Path
    git: GitSafety
    indexer: CodebaseIndexer
    journal: ModificationJournal
    reflection: ReflectionService
    edit: SelfEdit

    async def catch_up(self) -> list[int]:
        """Re-label the attempts whose landing main's history says was reverted; their ids."""
        return await self.journal.scan(await self.git.main_log())


class BaseRules:
    """Reads the policy out of a commit's own settings files; arguments cannot loosen it."""

    files = tuple(dict.fromkeys((*FILES, *SETTING_FILES)))

    def read(self, files: Files) -> Policy:
        """The policy of the commit that holds these files; the default where it states none."""
        return settings_of(_table({n: files[n] or b"" for n in FILES if n in files})).policy


def open_layer(
    repo_path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    llm_adapter: ChatModel | None = None,
    **arguments: object,
) -> Layer:
    """Read the settings of the repository around `repo_path` and build everything.

    Args:
        repo_path: a path in the repository; the working directory when None.
        environ: the variables to read; the process's own when None.
        llm_adapter: reflects, with `async chat(message=..., context=...)`; the configured model
            when None.
        arguments: settings by name, which win; None is no setting.

    Raises:
        GitNotRepositoryError: the path lies in no repository.
        ConfigError: a setting is unknown or out of range.
    """
    start = Path.cwd() if repo_path is None else Path(repo_path)
    try:
        found = git_directories(start)
    except OSError as error:
        raise GitNotRepositoryError(
            f"cannot look at {start}: {error.strerror}", hint="give an existing repository"
        ) from error
    top, common = (found.top, found.common) if found else (start.resolve(), None)
    settings = read_settings(top, environ=environ, **arguments)
    git = GitSafety(
        start,
        settings.main_branch,
        settings.test_command,
        branch_prefix=settings.branch_prefix,
        gate=replace(settings.gate, command=settings.test_command),
        actor=settings.actor,
    )
    if common is None:
        raise GitNotRepositoryError(
            f"{start.resolve()} is a bare repository: it has no working tree",
            hint="work in a clone of it, or in a linked worktree (`git worktree add`)",
        )
    indexer = CodebaseIndexer(top, src_dirs=settings.src_dirs)
    journal = ModificationJournal(common / FOLDER / "journal.db")
    reflection = ReflectionService(llm_adapter or chat_model(settings, environ))
    rooms = Rooms(git, indexer, journal, reflection, BaseRules())
    edit = SelfEdit(
        rooms,
        leases=common / FOLDER / "leases",
        limits=settings.limits,
        restore=lambda spec: _restored(spec, settings),
    )
    return Layer(settings, top, git, indexer, journal, reflection, edit)


def read_settings(
    top: Path, *, environ: Mapping[str, str] | None = None, **arguments: object
) -> Settings:
    """The settings of a working tree: its files, then the environment, then arguments.

    Raises:
        ConfigError: a setting is unknown or out of range; it names the setting.
    """
    texts = {}
    for name in FILES:
        try:
            texts[name] = (top / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"cannot read {name}: {error.strerror}") from error
    table = _table(texts)
    _merge(table, _from_environment(os.environ if environ is None else environ))
    _merge(table, {name: value for name, value in arguments.items() if value is not None})
    return settings_of(table)


def settings_of(table: Mapping[str, object]) -> Settings:
    """The settings that a table states, checked.

    Raises:
        ConfigError: a setting is unknown or out of range; it names the setting.
    """
    for name, form in (("gate", GateSettings), ("policy", Policy)):
        _check_names(name, form, table.get(name))
    try:
        settings = Settings.model_validate({k: v for k, v in table.items() if k not in RETIRED})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(Settings.model_fields))
        unknown = first["type"] == "extra_forbidden"
        what = "is not a setting" if unknown else str(first["msg"]).lower()
        raise ConfigError(
            f"self-coding setting {key}: {what}",
            hint=f"the settings are {known}" if unknown else "see docs/reference/configuration",
        ) from None
    check_gate(settings.gate)
    return settings


def choose_editor(
    settings: Settings,
    *,
    patch: bytes | None = None,
    command: str | None = None,
    name: str | None = None,
) -> Editor:
    """The editor that was asked for: a patch, a command line, or one by name.

    A name is one of the `editors` table, a preset, or "model"; without any of the three it is
    the setting `editor`.

    Raises:
        ConfigError: none or more than one was asked for, or there is none of that name.
        EditError: the patch is empty, or the command is not installed.
    """
    asked = [one for one in (patch, command, name) if one is not None]
    if len(asked) > 1:
        raise ConfigError("more than one editor was given", hint="one of patch, command, editor")
    if patch is not None:
        return PatchEditor(patch)
    if command is not None:
        return CommandEditor(command)
    wanted = name or settings.editor
    if not wanted:
        raise ConfigError(
            "nobody was named to make the edit",
            hint="give --patch FILE, --with COMMAND or --editor NAME, or set `editor`",
        )
    return named_editor(wanted, settings)


def named_editor(name: str, settings: Settings) -> Editor:
    """The editor of that name: from the `editors` table, a preset, or the model editor."""
    line = settings.editors.get(name)
    if line is not None:
        return CommandEditor(line, name=name)
    if name in editors.PRESETS:
        return editors.preset(name)
    if name == "model":
        return model_editor(settings)
    known = ", ".join(sorted({*settings.editors, *editors.PRESETS, "model"}))
    raise ConfigError(f"no editor is called {name!r}", hint=f"one of {known}")


def model_editor(settings: Settings, llm_adapter: ChatModel | None = None) -> Editor:
    """The editor that is a language model: `llm_adapter`, or the configured one.

    Raises:
        ConfigError: no model is configured.
    """
    from self_coding.adapters.llm import TypedModel
    from self_coding.self_edit.editors.model import ModelEditor
    from self_coding.self_edit.editors.spoken import SpokenModel

    if llm_adapter is not None and not isinstance(llm_adapter, TypedModel):
        return ModelEditor(SpokenModel(llm_adapter))
    model = llm_adapter or chat_model(settings)
    if model is None:
        raise ConfigError(
            "no language model is configured", hint='set model.name, e.g. "openai:gpt-5"'
        )
    return ModelEditor(model)


def tool_parts(
    repo_path: Path | str | None, llm_adapter: ChatModel | None
) -> tuple[SelfEdit, Editor]:
    """What the founding `SelfEditTool` is made of: the self-edit and a model that edits."""
    layer = open_layer(repo_path, llm_adapter=llm_adapter)
    return layer.edit, model_editor(layer.settings, llm_adapter)


def chat_model(
    settings: Settings, environ: Mapping[str, str] | None = None
) -> LanguageModel | None:
    """The configured language model; None where none is configured."""
    wanted = settings.model
    if not wanted.name:
        return None
    from self_coding.adapters.llm import open_model

    variables = os.environ if environ is None else environ
    key = variables.get(wanted.api_key_env) if wanted.api_key_env else None
    return open_model(
        wanted.name,
        base_url=wanted.base_url,
        api_key=key,
        timeout=wanted.timeout,
        max_tokens=wanted.max_tokens,
    )


def _restored(spec: Mapping[str, Json], settings: Settings) -> Editor | None:
    """An editor built anew from the journal; the model editor from the settings of today."""
    if spec.get("kind") != "model":
        return editors.restored(spec)
    try:
        return model_editor(settings)
    except (ConfigError, EditError):
        return None


def _table(texts: Mapping[str, bytes]) -> dict[str, object]:
    """Our table out of the settings files; both files stating one is an error."""
    project = _parsed("pyproject.toml", texts.get("pyproject.toml", b""))
    tool = project.get("tool")
    inside = tool.get("self_coding") if isinstance(tool, dict) else None
    own = _parsed("self-coding.toml", texts.get("self-coding.toml", b""))
    if inside is not None and own:
        raise ConfigError(
            "settings stand in pyproject.toml and in self-coding.toml",
            hint="keep [tool.self_coding] or self-coding.toml, not both",
        )
    if inside is not None and not isinstance(inside, dict):
        raise ConfigError("[tool.self_coding] is not a table", hint="write it as a table")
    return dict(inside) if isinstance(inside, dict) else own


def _parsed(name: str, data: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} cannot be read: {error}", hint="correct the file") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    """`SELF_CODING_TRIES=3` is `tries`, `SELF_CODING_GATE__TIMEOUT=60` is `gate.timeout`."""
    table: dict[str, object] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable[len(PREFIX) :] in NOT_SETTINGS:
            continue
        *above, name = variable[len(PREFIX) :].lower().split("__")
        inner = table
        for part in above:
            inner = cast("dict[str, object]", inner.setdefault(part, {}))
        inner[name] = [part.strip() for part in value.split(",")] if "," in value else value
    return table


def _merge(table: dict[str, object], other: Mapping[str, object]) -> None:
    """Put `other` over `table`; tables are merged, everything else is replaced."""
    for name, value in other.items():
        below = table.get(name)
        if isinstance(value, Mapping) and isinstance(below, dict):
            merged = dict(below)
            _merge(merged, value)
            table[name] = merged
        else:
            table[name] = value


def _check_names(name: str, form: type, table: object) -> None:
    """Refuse unknown keys of a table whose form is a plain dataclass."""
    assert is_dataclass(form)
    if not isinstance(table, Mapping):
        return
    known = {field.name for field in fields(form)} - {"command"}
    for key in table:
        if key not in known:
            raise ConfigError(
                f"self-coding setting {name}.{key}: is not a setting",
                hint=f"the settings of {name} are {', '.join(sorted(known))}",
            )
