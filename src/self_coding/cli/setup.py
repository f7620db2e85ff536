"""What `init` finds out about a repository, and what `doctor` looks at. Nothing is changed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from self_coding.adapters import git, sandbox
from self_coding.adapters.paths import database_path, git_directories
from self_coding.app import open_app
from self_coding.errors import ConfigError, GitNotRepositoryError, SelfCodingError
from self_coding.languages import is_test_module
from self_coding.settings import Settings

FILE = "self-coding.toml"
OLDEST_GIT = (2, 38)  # merge-tree --write-tree
#: A file at the top, and what runs the tests of a project that has it; the first one counts.
_RUNNERS = {
    "go.mod": "go test ./...",
    "Cargo.toml": "cargo test",
    "mvnw": "./mvnw -q test",
    "pom.xml": "mvn -q test",
    "gradlew": "./gradlew test",
    "build.gradle": "gradle test",
    "build.gradle.kts": "gradle test",
}
_EXTRAS = {
    "mcp": ("mcp", "the MCP server"),
    "llm": ("pydantic_ai", "models behind OpenAI-compatible endpoints"),
}


# -- init -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detected:
    """The settings that fit a repository."""

    top: Path
    main_branch: str
    test_command: str


def detect(repo: Path, *, main_branch: str | None, test_command: str | None) -> Detected:
    """Return the settings that fit a repository; what the caller names is taken as it is."""
    directories = git_directories(repo)
    if directories is None:
        raise GitNotRepositoryError(
            f"{repo.resolve()} is in no working tree of a git repository",
            hint="run `git init` first, or use --repo",
        )
    top = directories.top
    return Detected(top, main_branch or _main_branch(top), test_command or _test_command(top))


def write_settings(detected: Detected, *, force: bool) -> Path:
    """Write the settings file; an existing one is replaced only with `force`."""
    path = detected.top / FILE
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already", hint="edit it, or use --force")
    lines = [
        "# How self-coding works in this repository; see docs/reference/configuration.md.",
        f"main_branch = {json.dumps(detected.main_branch)}",
        f"test_command = {json.dumps(detected.test_command)}",
    ]
    if not detected.test_command:  # an empty one is refused: whoever reads it says what is missing
        lines[-1] = '# test_command = "..."  # none was found; what proves a change here?'
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _main_branch(top: Path) -> str:
    """Return the remote's default branch, else main or master, else the one checked out."""

    def ask(*args: str) -> str:
        done = git.run(args, cwd=top, ok=())
        return git.decode(done.stdout, errors="replace").strip() if done.returncode == 0 else ""

    remote = ask("symbolic-ref", "--short", "refs/remotes/origin/HEAD")
    if remote:
        return remote.partition("/")[2]
    branches = ask("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    usual = [name for name in ("main", "master", "trunk") if name in branches]
    return usual[0] if usual else ask("symbolic-ref", "--short", "HEAD") or "main"


def _test_command(top: Path) -> str:
    """Return the command that runs the tests by the files that git has; empty: none is seen."""
    # Never the folders themselves: an environment or node_modules is full of others' tests.
    listed = git.run(("ls-files", "-z"), cwd=top, ok=()).stdout
    names = [name for name in git.decode(listed, errors="replace").split("\0") if name]

    def text(name: str) -> str:
        file = top / name
        if name not in names or not file.is_file():
            return ""
        return file.read_text(encoding="utf-8", errors="replace")

    settings = [text(name) for name in ("pyproject.toml", "pytest.ini", "setup.cfg", "tox.ini")]
    uses_pytest = any("pytest" in one for one in settings) or any(
        Path(name).name in ("conftest.py", "pytest.ini") for name in names
    )
    tests = [name for name in names if is_test_module(name)]
    makefile = text("Makefile") or text("GNUmakefile") or text("makefile")
    module = re.search(r"DJANGO_SETTINGS_MODULE\s*[?:]?=\s*([\w.]+)", f"{settings[3]}\n{makefile}")
    first = next(map(text, tests), "")
    unittest = not uses_pytest and "unittest" in first and "pytest" not in first
    try:
        script = str(json.loads(text("package.json") or "{}")["scripts"]["test"])
    except (ValueError, LookupError, TypeError):
        script = ""
    locks = {"pnpm-lock.yaml": "pnpm test", "yarn.lock": "yarn test"}
    targets = re.findall(r"^(?:[\w -]+ )?(test|check)\b[\w -]*:(?!=)", makefile, re.MULTILINE)
    fits = {  # the first one that is true
        "python manage.py test": "manage.py" in names and not uses_pytest,
        f"python -m django test --settings={module and module[1]}": module and not uses_pytest,
        "python -m unittest discover": unittest,
        "python -m pytest --tb=short -q": tests or uses_pytest,
        "nox": "noxfile.py" in names,
        "tox": "tox.ini" in names,
        # what `npm init` puts there is no test
        next((locks[name] for name in locks if name in names), "npm test"): script
        and "no test specified" not in script,
        **{_RUNNERS[name]: True for name in _RUNNERS if name in names},
        "make test": "test" in targets,
        "make check": "check" in targets,
        "cmake -S . -B build && cmake --build build && ctest --test-dir build": "CMakeLists.txt"
        in names,
    }
    return next((command for command, is_so in fits.items() if is_so), "")


# -- doctor -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One thing looked at: `state` is "ok", "note" (works, could be better) or "fail"."""

    name: str
    state: str
    told: str
    hint: str = ""


async def examine(repo: Path) -> list[Check]:
    """Look at git, the repository, the settings, the sandbox, the databases and the extras."""
    checks: list[Check] = []

    def add(name: str, state: str, told: str, hint: str = "") -> None:
        checks.append(Check(name, state, told, hint))

    @contextmanager
    def looking_at(name: str, hint: str = "") -> Iterator[None]:
        try:
            yield
        except SelfCodingError as error:
            add(name, "fail", error.message, error.hint or hint)

    with looking_at("git", "install git 2.38 or later"):
        answer = git.decode(git.run(["--version"], cwd=Path.cwd()).stdout).strip()
        match = re.search(r"(\d+)\.(\d+)", answer)
        if match and (int(match[1]), int(match[2])) >= OLDEST_GIT:
            add("git", "ok", answer)
        else:
            add("git", "fail", answer, "git 2.38 or later is needed to merge unseen")
    add("python", "ok", sys.version.split()[0])
    try:
        app = open_app(repo)
    except SelfCodingError as error:
        return [*checks, Check("repository", "fail", error.message, error.hint)]
    add("repository", "ok", str(app.top))
    with looking_at("main branch", "set main_branch; `self-coding init` detects it"):
        commit = await app.git.get_main_commit()
        add("main branch", "ok", f"{app.settings.main_branch} at {commit[:12]}")
    command, fitting = app.settings.test_command, _test_command(app.top)
    # The default alone is a guess: it has to fit what is there.
    fits = command == fitting or command != Settings.test_command
    hint = f"set test_command, e.g. {fitting!r}" if fitting else "set test_command"
    add("test command", *(("ok", command) if fits else ("fail", "no tests are seen", hint)))
    with looking_at("test python"):
        from self_coding.gate.python_env import choose_python

        gate = replace(app.settings.gate, command=app.settings.test_command)
        python = choose_python(app.top, gate)
        state = "note" if "no pytest" in python.why else "ok"
        hint = "install pytest there, or set gate.python" if state == "note" else ""
        add("test python", state, f"tests run with {python}", hint)
    with looking_at("sandbox"):
        level = sandbox.level(app.settings.require_sandbox, app.top)
        if level == "bwrap":
            add("sandbox", "ok", "bubblewrap: own namespaces, no network, hidden homes")
        else:
            hint = 'install bubblewrap, or pip install "self-coding[sandbox]"'
            add("sandbox", "note", f"only {level}", hint)
    with looking_at("journal"):
        count = int((await app.journal.get_success_rate())["total"])
        add("journal", "ok", f"{count} attempts in {database_path(repo, 'journal.db')}")
    for name, (module, feature) in _EXTRAS.items():
        if find_spec(module) is not None:
            add(f"extra {name}", "ok", feature)
        else:
            hint = f'for {feature}: pip install "self-coding[{name}]"'
            add(f"extra {name}", "note", "not installed", hint)
    return checks
