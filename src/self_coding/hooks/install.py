"""Enter our hooks where Claude Code and git look for them, and take them out again.

What is there already is never overwritten: other entries of a settings file stay as they are,
and a git hook of somebody else is left alone and reported.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.places import git_directories
from self_coding.adapters.process import run
from self_coding.errors import ConfigError, GitNotRepositoryError
from self_coding.values.attempts import Json

MARK = "self-coding hook"  # by which an entry of ours is known
EDIT_TOOLS = "Edit|MultiEdit|Write|NotebookEdit"
#: Claude Code names its project to hooks, which may run in any folder that it has gone to.
_PROJECT = '--repo "${CLAUDE_PROJECT_DIR:-.}" '
_CLAUDE = {"PreToolUse": "pre-edit", "PostToolUse": "post-edit"}
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
        ConfigError: a settings file cannot be read as what it should be; it is left as it is.
    """
    done: list[Entered] = []
    if "claude" in kinds:
        done += _install_claude(_top(repo) / ".claude" / "settings.local.json")
    if "git" in kinds:
        done.append(_install_push(_hooks_folder(repo) / "pre-push"))
    return done


def remove(repo: Path, kinds: tuple[str, ...] = ("claude", "git")) -> list[Entered]:
    """Take our hooks out again; nothing else is touched."""
    done: list[Entered] = []
    if "claude" in kinds:
        done += _remove_claude(_top(repo) / ".claude" / "settings.local.json")
    if "git" in kinds:
        done.append(_remove_push(_hooks_folder(repo) / "pre-push"))
    return done


def _top(repo: Path) -> Path:
    found = git_directories(repo)
    if found is None:
        raise GitNotRepositoryError(
            f"{repo.resolve()} is in no working tree of a git repository", hint="run it inside one"
        )
    return found[0]


def _hooks_folder(repo: Path) -> Path:
    """Where git looks for this repository's hooks, `core.hooksPath` honoured."""
    top = _top(repo)
    done = run(["git", "rev-parse", "--git-path", "hooks"], cwd=top)
    if done.returncode:
        raise GitNotRepositoryError(f"git does not know {top}", hint="see `self-coding doctor`")
    return (top / os.fsdecode(done.stdout.rstrip(b"\n"))).resolve()


def is_guarded(repo: Path) -> bool:
    """Whether our guard stands before a push of this repository."""
    return _holds_mark(_hooks_folder(repo) / "pre-push")


def _holds_mark(file: Path) -> bool:
    return file.is_file() and MARK in file.read_text(encoding="utf-8", errors="replace")


def _call(event: str, *, where: str = "") -> str:
    """The command line of one hook; it works without a virtual environment being active."""
    return f"{shlex.quote(sys.executable)} -m self_coding {where}hook {event}  # {MARK}"


def _install_claude(file: Path) -> list[Entered]:
    settings = _read(file)
    hooks = _mapping(settings.setdefault("hooks", {}), file)
    done = []
    for event, name in _CLAUDE.items():
        entries = _list(hooks.setdefault(event, []), file)
        if any(_ours(entry) for entry in entries):
            done.append(Entered(event, str(file), "already there"))
            continue
        command: Json = {"type": "command", "command": _call(name, where=_PROJECT), "timeout": 60}
        entries.append({"matcher": EDIT_TOOLS, "hooks": [command]})
        done.append(Entered(event, str(file), "installed"))
    _write(file, settings)
    return done


def _remove_claude(file: Path) -> list[Entered]:
    if not file.exists():
        return [Entered(event, str(file), "absent") for event in _CLAUDE]
    settings = _read(file)
    hooks = _mapping(settings.get("hooks", {}), file)
    done = []
    for event in _CLAUDE:
        entries = _list(hooks.get(event, []), file)
        others = [entry for entry in entries if not _ours(entry)]
        gone = "removed" if len(others) < len(entries) else "absent"
        done.append(Entered(event, str(file), gone))
        if others:
            hooks[event] = others
        else:
            hooks.pop(event, None)
    if not hooks:
        settings.pop("hooks", None)
    if settings:
        _write(file, settings)
    else:
        file.unlink()
        with suppress(OSError):  # a folder that holds something else is not ours to remove
            file.parent.rmdir()
    return done


def _ours(entry: Json) -> bool:
    return MARK in json.dumps(entry)


def _read(file: Path) -> dict[str, Json]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
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


def _write(file: Path, settings: dict[str, Json]) -> None:
    """Replace the file in one step, so that no reader sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    with os.fdopen(handle, "w", encoding="utf-8") as new:
        new.write(json.dumps(settings, indent=2) + "\n")
    Path(name).replace(file)


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
