"""Enter our hooks where Claude Code and git look for them, and take them out again.

What is there already is never overwritten: other entries of a settings file stay as they are, a
git hook of somebody else is left alone and reported, and so is a link that leads out of the
repository. Only a file or folder that an entry says was made with it is removed with it.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.files import replace_file
from self_coding.adapters.git import decode, git_directories, run
from self_coding.errors import ConfigError, GitNotRepositoryError, GitOperationError
from self_coding.values.attempts import Json

MARK = "self-coding hook"  # by which an entry of ours is known
_NEW_FILE = ", made this file"  # stands behind the mark in a file that was not there before
_NEW_FOLDER = ", made this folder"
EDIT_TOOLS = "Edit|MultiEdit|Write|NotebookEdit"
#: Claude Code names its project to hooks, which may run in any folder that it has gone to.
_PROJECT = '--repo "${CLAUDE_PROJECT_DIR:-.}" '
_CLAUDE = {"PreToolUse": "pre-edit", "PostToolUse": "post-edit"}
_SETTINGS = Path(".claude", "settings.local.json")
_NAMES = {"claude": "Claude Code", "git": "git"}


@dataclass(frozen=True)
class Entered:
    """What became of one hook: "installed", "already there", "left alone", "removed", "absent"."""

    hook: str
    place: str
    outcome: str
    hint: str = ""


def install(repo: Path, kinds: tuple[str, ...] = ("claude", "git")) -> list[Entered]:
    """Enter the hooks of `kinds` ("claude", "git") for the repository.

    Raises:
        ConfigError: a file cannot be read as what it should be, or not be written; it is left
            as it is.
    """
    done: list[Entered] = []
    if "claude" in kinds:
        file = _top(repo) / _SETTINGS
        with _touching(file):
            done += _install_claude(file)
    if "git" in kinds:
        file = _hooks_folder(repo) / "pre-push"
        with _touching(file):
            done.append(_install_push(file))
    return done


def remove(repo: Path, kinds: tuple[str, ...] = ("claude", "git")) -> list[Entered]:
    """Take our hooks out again; nothing else is touched.

    Raises:
        ConfigError: as for `install`.
    """
    done: list[Entered] = []
    if "claude" in kinds:
        file = _top(repo) / _SETTINGS
        with _touching(file):
            done += _remove_claude(file)
    if "git" in kinds:
        file = _hooks_folder(repo) / "pre-push"
        with _touching(file):
            done.append(_remove_push(file))
    return done


@contextmanager
def _touching(file: Path) -> Iterator[None]:
    """Tell what the system refuses as the sentence that a person can act on."""
    try:
        yield
    except OSError as error:
        hint = "it was left as it is; mend what is in the way, then try again"
        raise ConfigError(f"cannot use {file}: {error.strerror}", hint=hint) from error


def _top(repo: Path) -> Path:
    found = git_directories(repo)
    if found is None:
        raise GitNotRepositoryError(
            f"{repo.resolve()} is in no working tree of a git repository", hint="run it inside one"
        )
    return found.top


def _hooks_folder(repo: Path) -> Path:
    """Where git looks for this repository's hooks, `core.hooksPath` honoured."""
    top = _top(repo)
    try:  # no settings of ours: they would hide the user's core.hooksPath
        done = run(["rev-parse", "--git-path", "hooks"], cwd=top, config=())
    except GitOperationError as error:
        hint = "see `self-coding doctor`"
        raise GitNotRepositoryError(f"git cannot read {top}", hint=hint) from error
    return (top / decode(done.stdout.rstrip(b"\n"))).resolve()


def is_guarded(repo: Path) -> bool:
    """Whether our guard stands before a push of this repository."""
    return _holds_mark(_hooks_folder(repo) / "pre-push")


def _holds_mark(file: Path) -> bool:
    return file.is_file() and MARK in file.read_text(encoding="utf-8", errors="replace")


def _call(event: str, *, where: str = "", made: str = "") -> str:
    """The command line of one hook; it works without a virtual environment being active."""
    return f"{shlex.quote(sys.executable)} -m self_coding {where}hook {event}  # {MARK}{made}"


def _install_claude(file: Path) -> list[Entered]:
    target, settings = Path(os.path.realpath(file)), _read(file)
    hooks = _mapping(settings.setdefault("hooks", {}), file)
    lists = {event: _list(hooks.setdefault(event, []), file) for event in _CLAUDE}
    missing = [event for event in _CLAUDE if not any(map(_ours, lists[event]))]
    if missing and _leads_out(file):
        return [_left_alone(event, file) for event in _CLAUDE]
    made = "" if target.exists() else _NEW_FILE if target.parent.exists() else _NEW_FOLDER
    for event in missing:
        line = _call(_CLAUDE[event], where=_PROJECT, made=made)
        command: Json = {"type": "command", "command": line, "timeout": 60}
        lists[event].append({"matcher": EDIT_TOOLS, "hooks": [command]})
    if missing:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, settings)
    outcomes = {event: "installed" if event in missing else "already there" for event in _CLAUDE}
    return [Entered(event, str(file), outcome) for event, outcome in outcomes.items()]


def _remove_claude(file: Path) -> list[Entered]:
    settings = _read(file)
    hooks = _mapping(settings.get("hooks", {}), file)
    lists = {event: _list(hooks.get(event, []), file) for event in _CLAUDE}
    ours = {event: [entry for entry in lists[event] if _ours(entry)] for event in _CLAUDE}
    if any(ours.values()) and _leads_out(file):
        return [_left_alone(event, file) for event in _CLAUDE]
    for event in _CLAUDE:
        others = [entry for entry in lists[event] if not _ours(entry)]
        if others:
            hooks[event] = others
        elif ours[event]:
            hooks.pop(event)
    if any(ours.values()):
        if not hooks:
            settings.pop("hooks", None)
        _store(Path(os.path.realpath(file)), settings, made=json.dumps(ours))
    outcomes = {event: "removed" if ours[event] else "absent" for event in _CLAUDE}
    return [Entered(event, str(file), outcome) for event, outcome in outcomes.items()]


def _store(target: Path, settings: dict[str, Json], *, made: str) -> None:
    """Write what is left; where that is nothing, take away what `made` says came with us."""
    if settings or not (_NEW_FILE in made or _NEW_FOLDER in made):
        _write(target, settings)
        return
    target.unlink()
    if _NEW_FOLDER in made:
        with suppress(OSError):  # a folder that holds something else is not ours to remove
            target.parent.rmdir()


def _leads_out(file: Path) -> bool:
    """Whether a link on the way to the settings leaves the working tree that they are for."""
    top = os.path.realpath(file.parent.parent)
    return not Path(os.path.realpath(file)).is_relative_to(top)


def _left_alone(event: str, file: Path) -> Entered:
    hint = "it leads to a file outside of the repository; put a file of its own in its place"
    return Entered(event, str(file), "left alone", hint)


def _ours(entry: Json) -> bool:
    return MARK in json.dumps(entry)


def _read(file: Path) -> dict[str, Json]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not UTF-8: {error}", hint="mend it, then try again"
        ) from error
    try:
        return _mapping(json.loads(text) if text.strip() else {}, file)
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON: {error}", hint="mend it, then try again") from error


def _mapping(value: Json, file: Path) -> dict[str, Json]:
    if isinstance(value, dict):
        return value
    raise ConfigError(f"{file} is not in the form of hook settings", hint="it was left as it is")


def _list(value: Json, file: Path) -> list[Json]:
    if isinstance(value, list):
        return value
    raise ConfigError(f"{file} is not in the form of hook settings", hint="it was left as it is")


def _write(target: Path, settings: dict[str, Json]) -> None:
    replace_file(target, json.dumps(settings, indent=2) + "\n")


def _install_push(file: Path) -> Entered:
    if file.exists() or file.is_symlink():
        if _holds_mark(file):
            return Entered("pre-push", str(file), "already there")
        hint = f"add this line to it yourself:  {_call('pre-push')}"
        return Entered("pre-push", str(file), "left alone", hint)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\nexec {_call('pre-push')}\n", encoding="utf-8")
    file.chmod(0o755)
    return Entered("pre-push", str(file), "installed")


def _remove_push(file: Path) -> Entered:
    if not _holds_mark(file):
        return Entered("pre-push", str(file), "absent")
    if len(file.read_text(encoding="utf-8").splitlines()) > 2:
        hint = "it holds more than our line; take that one out yourself"
        return Entered("pre-push", str(file), "left alone", hint)
    file.unlink()
    return Entered("pre-push", str(file), "removed")
