"""Enter our hooks where Claude Code and git look for them, and take them out again.

What is there already is never overwritten: other entries of a settings file stay as they are, a
git hook of another tool is left alone and reported, and so is a link that leads out of the
repository. Only a file or folder that an entry says was made with it is removed with it.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from self_coding.adapters.files import replace_file
from self_coding.adapters.git import decode, run
from self_coding.adapters.paths import git_directories
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
    return _for_each(repo, kinds, _install_claude, _install_push)


def remove(repo: Path, kinds: tuple[str, ...] = ("claude", "git")) -> list[Entered]:
    """Take our hooks out again; nothing else is touched.

    Raises:
        ConfigError: as for `install`.
    """
    return _for_each(repo, kinds, _remove_claude, _remove_push)


def is_guarded(repo: Path) -> bool:
    """Return whether our guard is called before a push of this repository."""
    return _has_mark(_push_hook(_top(repo)))


def _for_each(
    repo: Path,
    kinds: tuple[str, ...],
    claude: Callable[[Path], list[Entered]],
    push: Callable[[Path], list[Entered]],
) -> list[Entered]:
    """Do `claude` and `push` with the file of each; what the system refuses is a ConfigError."""
    top = _top(repo)
    done: list[Entered] = []
    for kind, change in (("claude", claude), ("git", push)):
        if kind in kinds:
            file = top / _SETTINGS if kind == "claude" else _push_hook(top)
            try:
                done += change(file)
            except OSError as error:
                hint = "it was left as it is; mend what is in the way, then try again"
                raise ConfigError(f"cannot use {file}: {error.strerror}", hint=hint) from error
    return done


def _top(repo: Path) -> Path:
    directories = git_directories(repo)
    if directories is None:
        raise GitNotRepositoryError(
            f"{repo.resolve()} is in no working tree of a git repository", hint="run it inside one"
        )
    return directories.top


def _push_hook(top: Path) -> Path:
    """Return where git looks for this repository's pre-push hook, `core.hooksPath` honoured."""
    try:  # no settings of ours: they would hide the user's core.hooksPath
        done = run(["rev-parse", "--git-path", "hooks"], cwd=top, config=())
    except GitOperationError as error:
        hint = "see `self-coding doctor`"
        raise GitNotRepositoryError(f"git cannot read {top}", hint=hint) from error
    return (top / decode(done.stdout.rstrip(b"\n"))).resolve() / "pre-push"


def _has_mark(file: Path) -> bool:
    return file.is_file() and MARK in file.read_text(encoding="utf-8", errors="replace")


def _call(event: str, *, where: str = "", made: str = "") -> str:
    """Return the command line of a hook; it works without an active virtual environment."""
    return f"{shlex.quote(sys.executable)} -m self_coding {where}hook {event}  # {MARK}{made}"


# -- Claude Code ------------------------------------------------------------------------------


def _install_claude(file: Path) -> list[Entered]:
    target, (settings, lists) = Path(os.path.realpath(file)), _read(file)
    missing = [event for event in _CLAUDE if not any(map(_is_ours, lists[event]))]
    if missing and _leads_out(file):
        return [_left_alone(event, file) for event in _CLAUDE]
    made = "" if target.exists() else _NEW_FILE if target.parent.exists() else _NEW_FOLDER
    for event in missing:
        line = _call(_CLAUDE[event], where=_PROJECT, made=made)
        command: Json = {"type": "command", "command": line, "timeout": 60}
        lists[event].append({"matcher": EDIT_TOOLS, "hooks": [command]})
    if missing:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, settings | {"hooks": _hooks(settings) | lists})
    outcomes = {event: "installed" if event in missing else "already there" for event in _CLAUDE}
    return [Entered(event, str(file), outcome) for event, outcome in outcomes.items()]


def _remove_claude(file: Path) -> list[Entered]:
    target, (settings, lists) = Path(os.path.realpath(file)), _read(file)
    ours = {event: [entry for entry in lists[event] if _is_ours(entry)] for event in _CLAUDE}
    if any(ours.values()) and _leads_out(file):
        return [_left_alone(event, file) for event in _CLAUDE]
    if any(ours.values()):
        hooks = _hooks(settings)
        for event in _CLAUDE:
            others = [entry for entry in lists[event] if not _is_ours(entry)]
            if others or not ours[event]:
                hooks |= {event: others} if event in hooks else {}
            else:
                hooks.pop(event)
        settings = {**settings, "hooks": hooks}
        if not hooks:
            del settings["hooks"]
        # A file or a folder that came with our entries, as their mark says, goes with them.
        marks = json.dumps(ours)
        if settings or not (_NEW_FILE in marks or _NEW_FOLDER in marks):
            _write(target, settings)
        else:
            target.unlink()
            if _NEW_FOLDER in marks:
                with suppress(OSError):  # a folder that holds something else is not ours to remove
                    target.parent.rmdir()
    outcomes = {event: "removed" if ours[event] else "absent" for event in _CLAUDE}
    return [Entered(event, str(file), outcome) for event, outcome in outcomes.items()]


def _read(file: Path) -> tuple[dict[str, Json], dict[str, list[Json]]]:
    """Return the settings in a file, and the entries of each event that is ours."""
    try:
        text = file.read_text(encoding="utf-8")
        settings = json.loads(text) if text.strip() else {}
    except FileNotFoundError:
        settings = {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8: {error}", hint="mend it, try again") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON: {error}", hint="mend it, try again") from error
    hooks = _hooks(settings) if isinstance(settings, dict) else None
    lists = {event: hooks.get(event, []) for event in _CLAUDE} if isinstance(hooks, dict) else {}
    if not lists or not all(isinstance(entries, list) for entries in lists.values()):
        raise ConfigError(
            f"{file} is not in the form of hook settings", hint="it was left as it is"
        )
    return settings, {event: list(cast("list[Json]", held)) for event, held in lists.items()}


def _hooks(settings: dict[str, Json]) -> dict[str, Json]:
    return cast("dict[str, Json]", settings.get("hooks", {}))


def _leads_out(file: Path) -> bool:
    """Return whether a link on the way to the settings leaves the working tree they are for."""
    top = os.path.realpath(file.parent.parent)
    return not Path(os.path.realpath(file)).is_relative_to(top)


def _left_alone(event: str, file: Path) -> Entered:
    hint = "it leads to a file outside of the repository; put a file of its own in its place"
    return Entered(event, str(file), "left alone", hint)


def _is_ours(entry: Json) -> bool:
    return MARK in json.dumps(entry)


def _write(target: Path, settings: Mapping[str, object]) -> None:
    replace_file(target, json.dumps(settings, indent=2) + "\n")


# -- git --------------------------------------------------------------------------------------


def _install_push(file: Path) -> list[Entered]:
    if _has_mark(file):
        return [Entered("pre-push", str(file), "already there")]
    if file.exists() or file.is_symlink():
        hint = f"add this line to it yourself:  {_call('pre-push')}"
        return [Entered("pre-push", str(file), "left alone", hint)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\nexec {_call('pre-push')}\n", encoding="utf-8")
    file.chmod(0o755)
    return [Entered("pre-push", str(file), "installed")]


def _remove_push(file: Path) -> list[Entered]:
    if not _has_mark(file):
        return [Entered("pre-push", str(file), "absent")]
    if len(file.read_text(encoding="utf-8").splitlines()) > 2:
        hint = "it holds more than our line; take that one out yourself"
        return [Entered("pre-push", str(file), "left alone", hint)]
    file.unlink()
    return [Entered("pre-push", str(file), "removed")]
