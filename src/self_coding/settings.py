"""Settings: read from files, environment and arguments, and checked.

A setting comes from `[tool.self_coding]` in `pyproject.toml` or from `self-coding.toml`, then
from `SELF_CODING_*` variables, then from arguments; a later one replaces an earlier one, and an
unknown one is an error. The policy that judges a change is read from the change's *base* commit,
never from the change and never from the working tree.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from self_coding.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from self_coding.self_edit.policy import Policy
    from self_coding.values.edits import Limits
    from self_coding.values.verdicts import GateSettings

T = TypeVar("T")

FILES = ("pyproject.toml", "self-coding.toml")
PREFIX = "SELF_CODING_"
#: Variables with our prefix that are not settings: handed to editors and tests, or the CLI's own.
NOT_SETTINGS = frozenset({"CONTEXT", "TASK", "PROMPT", "REPO", "RUN", "TOKEN"})
#: Settings of earlier releases that have no effect any more; naming one is not an error.
RETIRED = frozenset({"record_coverage"})

#: What runs or sends something as the user, outside the sandbox, and asks nobody.
OUTWARD = (
    "editors", "notice.command", "notice.url", "model.base_url", "model.api_key_env",
    "remote.name", "remote.api", "database",
)  # fmt: skip

_SMALLEST = math.ulp(0.0)
_LARGEST = math.nextafter(math.inf, 0)  # keeps infinity and NaN out of every range
_RANGES = {
    "tries": (1, 50),
    "best_of": (1, 16),
    "edit_seconds": (_SMALLEST, _LARGEST),
    "edit_days": (_SMALLEST, _LARGEST),
    "approval_days": (_SMALLEST, _LARGEST),
    "cost": (0, _LARGEST),
    "day_cost": (0, _LARGEST),
    "day_attempts": (0, _LARGEST),
    "moves": (0, 100),
    "land_together": (1, 64),
    "task_characters": (1, _LARGEST),
    "context_tokens": (0, _LARGEST),
    "model.timeout": (_SMALLEST, _LARGEST),
    "model.max_tokens": (1, _LARGEST),
    "notice.seconds": (_SMALLEST, 600),
    "remote.seconds": (1, 3600),
}
_TABLES = ("gate_table", "policy_table")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The language model, if any: `name` is "provider:model", empty for none.

    `api_key_env` names the variable that holds the key; the key itself is in no file.
    """

    name: str = ""
    base_url: str | None = None
    api_key_env: str = ""
    timeout: float = 120.0
    max_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class NoticeSettings:
    """Who is told when something needs a person; nobody by default."""

    command: str = ""
    url: str = ""
    seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class RemoteSettings:
    """Where changes land: on main here, or at the git remote `name`, by a push or a request.

    `forge` and `api` are found from the remote's address where they are not set.
    """

    name: str = ""
    seconds: float = 120.0
    land_by: Literal["push", "request"] = "push"
    forge: Literal["", "github", "gitlab", "forgejo"] = ""
    api: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set; `gate`, `policy` and the like are tables of their own."""

    main_branch: str = "main"
    test_command: str = "python -m pytest --tb=short -q"
    branch_prefix: str = "timmy/self-edit"
    land_as: Literal["merge", "squash", "rebase"] = "merge"
    src_dirs: list[str] | None = None
    actor: str = "self-coding"
    carry: list[str] = field(default_factory=list)
    database: str = ""
    editor: str = ""
    editors: dict[str, str] = field(default_factory=dict)
    tries: int = 1
    best_of: int = 1
    edit_seconds: float = 1800.0
    edit_days: float = 14.0
    approval_days: float = 14.0
    cost: float | None = None
    day_cost: float | None = None
    day_attempts: int | None = None
    moves: int = 5
    land_together: int = 8
    task_characters: int = 32_000
    context_tokens: int = 4000
    model: ModelSettings = field(default_factory=ModelSettings)
    notice: NoticeSettings = field(default_factory=NoticeSettings)
    remote: RemoteSettings = field(default_factory=RemoteSettings)
    # These two are read when asked for: most commands test nothing and judge nothing.
    gate_table: dict[str, object] = field(default_factory=dict)
    policy_table: dict[str, object] = field(default_factory=dict)

    @cached_property
    def gate(self) -> GateSettings:
        """How a tree is tested."""
        from self_coding.values.verdicts import GateSettings

        _check_names(GateSettings, self.gate_table, "gate.", {"command"})
        gate = _validated(GateSettings, self.gate_table, "gate.")
        gate.check()
        return gate

    @cached_property
    def policy(self) -> Policy:
        """The rules for changes."""
        from self_coding.self_edit.policy import Policy

        _check_names(Policy, self.policy_table, "policy.")
        return _validated(Policy, self.policy_table, "policy.")

    @property
    def require_sandbox(self) -> str:
        """The least isolation in which tests may run."""
        return self.gate.require_sandbox

    @property
    def limits(self) -> Limits:
        """Where a self-edit stops by itself."""
        from self_coding.values.edits import Limits

        return Limits(**{one.name: getattr(self, one.name) for one in fields(Limits)})


class BasePolicy:
    """Reads the policy from a commit's own settings files; arguments cannot loosen it."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files whose content decides, and those whose change is judged as settings."""
        from self_coding.audit import SETTING_FILES

        return tuple(dict.fromkeys((*FILES, *SETTING_FILES, "go.mod")))

    def read(self, files: Mapping[str, bytes | None]) -> Policy:
        """Return the policy stated in a commit's files, or the default."""
        return settings_of(_table({n: files[n] or b"" for n in FILES if n in files})).policy


def read_settings(
    top: Path,
    *,
    environ: Mapping[str, str] | None = None,
    main_branch_else: Callable[[], str] = str,
    **arguments: object,
) -> Settings:
    """Return the settings of a working tree: its files, then the environment, then arguments.

    `main_branch_else` tells the main branch where nothing sets it; empty for the default.

    Raises:
        ConfigError: a setting is unknown or out of range; it names the setting.
    """
    table = _table(_texts(top))
    _merge(table, _from_environment(os.environ if environ is None else environ))
    _merge(table, {name: value for name, value in arguments.items() if value is not None})
    if "main_branch" not in table and (name := main_branch_else()):
        table["main_branch"] = name
    return settings_of(table)


def sources(top: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return where each setting that is not the default comes from: a file, or a variable."""
    texts = _texts(top)
    file = FILES[1] if _parsed(FILES[1], texts) else FILES[0]
    found = {name: file for name, _ in named(_table(texts))}
    for variable, value in environ.items():
        table = _from_environment({variable: value})
        found |= {name: f"${variable}" for name, _ in named(table)}
    return found


def outward(top: Path) -> dict[str, object]:
    """Return what the settings files would run or send outside the sandbox."""
    return {name: value for name, value in named(_table(_texts(top))) if name in OUTWARD and value}


def named(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield name and value of each setting, tables inside by `table.name`."""
    if isinstance(value, Mapping):
        rows = list(value.items())
    else:  # the two tables that are read when asked for, by the name they have in a file
        names = [one.name.removesuffix("_table") for one in fields(cast("Any", value))]
        rows = [(name, getattr(value, name)) for name in names]
    for name, inner in rows:
        inside = isinstance(inner, Mapping) and name != "editors"
        if inside or is_dataclass(inner):
            yield from named(inner, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "gate.command":  # that one is `test_command`
            yield f"{prefix}{name}", inner


def _texts(top: Path) -> dict[str, bytes]:
    """Return the settings files that there are.

    Raises:
        ConfigError: one cannot be read.
    """
    texts = {}
    for name in FILES:
        try:
            texts[name] = (top / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"cannot read {name}: {error.strerror}") from error
    return texts


def settings_of(table: Mapping[str, object]) -> Settings:
    """Return the settings of one table, checked.

    Raises:
        ConfigError: a setting is unknown or out of range; it names the setting.
    """
    values = {name: value for name, value in table.items() if name not in RETIRED}
    if not values:
        return Settings()
    gate, policy = values.pop("gate", {}), values.pop("policy", {})
    _check_names(Settings, values, "", _TABLES)
    _check_names(ModelSettings, values.get("model"), "model.")
    _check_names(NoticeSettings, values.get("notice"), "notice.")
    _check_names(RemoteSettings, values.get("remote"), "remote.")
    settings = _validated(Settings, {**values, "gate_table": gate, "policy_table": policy}, "")
    # refused now rather than at the first edit
    _ = gate and settings.gate, policy and settings.policy
    for name in ("main_branch", "test_command", "branch_prefix"):
        if not getattr(settings, name):
            raise _wrong(name, "must not be empty")
    for name, (least, most) in _RANGES.items():
        inside, _, last = name.rpartition(".")
        value = getattr(getattr(settings, inside) if inside else settings, last)
        if value is not None and not least <= value <= most:  # NaN is in no range
            low = "more than 0" if least == _SMALLEST else f"at least {least}"
            high = "finite" if most == _LARGEST else f"at most {most}"
            raise _wrong(name, f"must be {low} and {high}, not {value}")
    return settings


def _validated(form: type[T], table: dict[str, object], prefix: str) -> T:
    """Return `table` as a `form`, its values converted where that is safe ("3" to 3)."""
    if not table:
        return form()  # without pydantic, whose import costs more than most commands
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(form).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])).replace("_table", "")
        raise _wrong(f"{prefix}{key}".rstrip("."), first["msg"].lower()) from None


def _check_names(form: type, table: object, prefix: str, hidden: Collection[str] = ()) -> None:
    """Refuse keys that are not settings; a value of the wrong type is refused later."""
    known = {one.name for one in fields(form)} - set(hidden)
    for key in table if isinstance(table, Mapping) else ():
        if key not in known:
            names = {*known, "gate", "policy"} if form is Settings else known
            of = f" of {prefix[:-1]}" if prefix else ""
            hint = f"the settings{of} are {', '.join(sorted(names))}"
            raise _wrong(f"{prefix}{key}", "is not a setting", hint)


def _wrong(name: str, what: str, hint: str = "see docs/reference/configuration") -> ConfigError:
    return ConfigError(f"self-coding setting {name}: {what}", hint=hint)


def _table(texts: Mapping[str, bytes]) -> dict[str, object]:
    """Return our table from the settings files; only one of the two may have it."""
    tool = _parsed("pyproject.toml", texts).get("tool")
    inside = tool.get("self_coding") if isinstance(tool, dict) else None
    own = _parsed("self-coding.toml", texts)
    if inside is not None and own:
        raise ConfigError(
            "there are settings in pyproject.toml and in self-coding.toml",
            hint="keep [tool.self_coding] or self-coding.toml, not both",
        )
    if inside is not None and not isinstance(inside, dict):
        raise ConfigError("[tool.self_coding] is not a table", hint="write it as a table")
    return dict(inside) if isinstance(inside, dict) else own


def _parsed(name: str, texts: Mapping[str, bytes]) -> dict[str, object]:
    if not texts.get(name):
        return {}
    import tomllib

    try:
        return tomllib.loads(texts[name].decode("utf-8"))
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
