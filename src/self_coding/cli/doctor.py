"""What `doctor` looks at: git, the repository, the settings, the sandbox, the databases, extras."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from self_coding.adapters import git, sandbox
from self_coding.adapters.paths import database_path
from self_coding.app import App, open_app
from self_coding.errors import SelfCodingError

OLDEST_GIT = (2, 38)  # merge-tree --write-tree
_EXTRAS = {
    "mcp": ("mcp", "the MCP server"),
    "llm": ("pydantic_ai", "models behind OpenAI-compatible endpoints"),
}


@dataclass(frozen=True)
class Check:
    """One thing looked at: `state` is "ok", "note" (works, could be better) or "fail"."""

    name: str
    state: str
    told: str
    hint: str = ""


async def examine(repo: Path) -> list[Check]:
    """Look at everything; nothing is changed."""
    checks = [_git(), _python()]
    try:
        app = open_app(repo)
    except SelfCodingError as error:
        return [*checks, Check("repository", "fail", error.message, error.hint)]
    checks.append(Check("repository", "ok", str(app.top)))
    checks.append(await _main(app))
    checks += [_tests(app), _sandbox(app)]
    checks.append(await _journal(app, repo))
    checks += [_extra(name, *told) for name, told in _EXTRAS.items()]
    return checks


def _git() -> Check:
    if shutil.which("git") is None:
        return Check("git", "fail", "not found", "install git 2.38 or later")
    told = git.decode(git.run(["--version"], cwd=Path.cwd()).stdout).strip()
    found = re.search(r"(\d+)\.(\d+)", told)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST_GIT:
        return Check("git", "fail", told, "git 2.38 or later is needed to merge unseen")
    return Check("git", "ok", told)


def _python() -> Check:
    return Check("python", "ok", sys.version.split()[0])


async def _main(app: App) -> Check:
    name = app.settings.main_branch
    try:
        commit = await app.git.get_main_commit()
    except SelfCodingError as error:
        hint = error.hint or "set main_branch; `self-coding init` detects it"
        return Check("main branch", "fail", error.message, hint)
    return Check("main branch", "ok", f"{name} at {commit[:12]}")


def _tests(app: App) -> Check:
    return Check("test command", "ok", app.settings.test_command)


def _sandbox(app: App) -> Check:
    try:
        level = sandbox.level(app.settings.require_sandbox, app.top)
    except SelfCodingError as error:
        return Check("sandbox", "fail", error.message, error.hint)
    if level == "bwrap":
        return Check("sandbox", "ok", "bubblewrap: own namespaces, no network, hidden homes")
    hint = 'install bubblewrap, or pip install "self-coding[sandbox]"'
    return Check("sandbox", "note", f"only {level}", hint)


async def _journal(app: App, repo: Path) -> Check:
    path = database_path(repo, "journal.db")
    try:
        count = (await app.journal.get_success_rate())["total"]
    except SelfCodingError as error:
        return Check("journal", "fail", error.message, error.hint)
    return Check("journal", "ok", f"{int(count)} attempts in {path}")


def _extra(name: str, module: str, feature: str) -> Check:
    if find_spec(module) is not None:
        return Check(f"extra {name}", "ok", feature)
    hint = f'for {feature}: pip install "self-coding[{name}]"'
    return Check(f"extra {name}", "note", "not installed", hint)
