"""Enter our hooks where Claude Code and git look for them, and take them out again.

What is there already is never overwritten: other entries of a settings file stay as they are, a
git hook of another tool is left alone and reported, and so is a link that leads out of the
repository. What comes out again leaves each file as it was, byte for byte where nobody changed it.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters.git import decode, run
from self_coding.adapters.paths import FOLDER, git_directories
from self_coding.adapters.settings_files import LEDGER, adding, apply, removing
from self_coding.adapters.settings_text import Entry
from self_coding.errors import ConfigError, GitNotRepositoryError, GitOperationError
from self_coding.values.attempts import Json

MARK = "self-coding hook"  # by which an entry of ours is known
#: An agent names its project to hooks, which may run in any folder that it has gone to.
_PROJECT = '--repo "${CLAUDE_PROJECT_DIR:-.}" '


@dataclass(frozen=True)
class AgentHooks:
    """Where an agent looks for hooks, what it calls them, which of its tools they are for."""

    project: str
    user: str
    before: str
    after: str
    edits: str
    shell: str
    timeout: int


#: Gemini CLI sets the variable of Claude Code, too, and counts in milliseconds.
AGENTS = {
    "claude": AgentHooks(
        ".claude/settings.local.json", ".claude/settings.json", "PreToolUse", "PostToolUse",
        "Edit|MultiEdit|Write|NotebookEdit", "Bash", 60,
    ),
    "gemini": AgentHooks(
        ".gemini/settings.json", ".gemini/settings.json", "BeforeTool", "AfterTool",
        "write_file|replace", "run_shell_command", 60_000,
    ),
}  # fmt: skip


def entries(agent: str) -> list[Entry]:
    """Return what stands in an agent's settings: a warning before an edit, a snapshot after it."""
    held = AGENTS[agent]
    events = {held.before: ("pre-edit", held.edits)}
    events[held.after] = ("post-edit", f"{held.edits}|{held.shell}")
    found = []
    for event, (ours, matcher) in events.items():
        line = _call(ours, where=_PROJECT)
        command: Json = {"type": "command", "command": line, "timeout": held.timeout}
        found.append(Entry(("hooks", event), "", {"matcher": matcher, "hooks": [command]}))
    return found


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
    return _for_each(repo, kinds, remove=False)


def remove(repo: Path, kinds: tuple[str, ...] = ("claude", "git")) -> list[Entered]:
    """Take our hooks out again; nothing else is touched.

    Raises:
        ConfigError: as for `install`.
    """
    return _for_each(repo, kinds, remove=True)


def is_guarded(repo: Path) -> bool:
    """Return whether our guard is called before a push of this repository."""
    return _has_mark(_push_hook(_top(repo)))


def _for_each(repo: Path, kinds: tuple[str, ...], *, remove: bool) -> list[Entered]:
    directories = git_directories(repo)
    top = _top(repo)
    done: list[Entered] = []
    if "claude" in kinds and directories is not None:
        done += _claude(top, directories.common / FOLDER / LEDGER, remove=remove)
    if "git" in kinds:
        file = _push_hook(top)
        try:
            done.append(_change_push(file, remove=remove))
        except OSError as error:
            hint = "it was left as it is; mend what is in the way, then try again"
            raise ConfigError(f"cannot use {file}: {error.strerror}", hint=hint) from error
    return done


def _claude(top: Path, ledger: Path, *, remove: bool) -> list[Entered]:
    """Add Claude Code's hooks to the project's own settings, or take them out."""
    file = top / AGENTS["claude"].project
    ours = entries("claude")
    plan = removing if remove else adding
    change = plan(file, "json", ours, ledger, MARK)
    is_same = change.before == change.after
    outcome = ("absent" if remove else "already there") if is_same else "installed"
    outcome, hint = "removed" if remove and not is_same else outcome, ""
    if not is_same and leads_out(file, top):
        outcome = "left alone"
        hint = "it leads to a file outside of the repository; put a file of its own in its place"
    elif not is_same:
        apply(change, ledger, remove=remove)
    return [Entered(one.path[-1], str(file), outcome, hint) for one in ours]


def leads_out(file: Path, top: Path) -> bool:
    """Return whether a link on the way to a file leaves the folder that it belongs to."""
    return not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(top))


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


def _call(event: str, *, where: str = "") -> str:
    """Return the command line of a hook; it works without an active virtual environment."""
    return f"{shlex.quote(sys.executable)} -m self_coding {where}hook {event}  # {MARK}"


# -- git --------------------------------------------------------------------------------------


def _change_push(file: Path, *, remove: bool) -> Entered:
    outcome, hint, is_there = "left alone", "", _has_mark(file)
    if is_there != remove:
        outcome = "absent" if remove else "already there"
    elif remove and len(file.read_text(encoding="utf-8").splitlines()) > 2:
        hint = "it holds more than our line; take that one out yourself"
    elif remove:
        outcome = "removed"
        file.unlink()
    elif file.exists() or file.is_symlink():
        hint = f"add this line to it yourself:  {_call('pre-push')}"
    else:
        outcome = "installed"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\nexec {_call('pre-push')}\n", encoding="utf-8")
        file.chmod(0o755)
    return Entered("pre-push", str(file), outcome, hint)
