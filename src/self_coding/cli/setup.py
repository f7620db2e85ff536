"""What `init` finds out about a repository, and what `doctor` looks at. Nothing is changed."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from self_coding.adapters import git, sandbox
from self_coding.adapters.paths import database_path, git_directories
from self_coding.app import TRUST, default_branch, open_app
from self_coding.errors import (
    ConfigError,
    GitNotRepositoryError,
    GitOperationError,
    SelfCodingError,
)
from self_coding.git_safety.repository import discover
from self_coding.languages import is_test_module
from self_coding.settings import Settings

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.gate.readiness import Readiness
    from self_coding.values.verdicts import GateReport

FILE = "self-coding.toml"
OLDEST_GIT = (2, 38)  # merge-tree --write-tree
#: A file at the top, and what runs the tests of a project that has it; the first one counts.
_RUNNERS = {
    "go.mod": "go test ./...",
    "Cargo.toml": "cargo test",
    "mvnw": "./mvnw -q -o test",
    "pom.xml": "mvn -q -o test",
    "gradlew": "./gradlew -q --offline test",
    "build.gradle": "gradle -q --offline test",
    "build.gradle.kts": "gradle -q --offline test",
    "mix.exs": "mix test",
    "deno.json": "deno test -A",
    "deno.jsonc": "deno test -A",
    ".rspec": "bundle exec rspec",
    "phpunit.xml": "vendor/bin/phpunit",
    "phpunit.xml.dist": "vendor/bin/phpunit",
}
_CMAKE = "cmake -S . -B build && cmake --build build && ctest --test-dir build --output-on-failure"
_MESON = "meson setup build && meson test -C build --print-errorlogs"
_PLUG_AND_PLAY = (".pnp.cjs", ".pnp.loader.mjs", ".yarn/cache", ".yarn/unplugged")  # of Yarn
_EXTRAS = {
    "mcp": ("mcp", "the MCP server"),
    "web": ("jinja2", "the dashboard"),
    "llm": ("pydantic_ai", "models behind OpenAI-compatible endpoints"),
}


# -- init -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detected:
    """The settings that fit a repository."""

    top: Path
    main_branch: str
    test_command: str
    gate: Mapping[str, list[str]] = field(default_factory=dict)


def detect(repo: Path, *, main_branch: str | None, test_command: str | None) -> Detected:
    """Return the settings that fit a repository; what the caller names is taken as it is."""
    directories = git_directories(repo)
    if directories is None:
        raise GitNotRepositoryError(
            f"{repo.resolve()} is in no working tree of a git repository",
            hint="run `git init` first, or use --repo",
        )
    top = directories.top
    discover(top, main="main")  # git says why it will not have one: somebody else's, say
    if git.run(("rev-parse", "--verify", "-q", "HEAD"), cwd=top, ok=()).returncode:
        raise GitOperationError(
            "the repository has no commit yet, so there is nothing to change or to test",
            hint="make a first commit, then run `self-coding init` again",
        )
    from self_coding.gate.missing import needs_node_packages

    command = test_command or _test_command(top)
    # What npm installs is in no commit: without it not one of its tests could start.
    gate: dict[str, list[str]] = {}
    if needs_node_packages(top, command):
        made = [name for name in _PLUG_AND_PLAY if (top / name).exists()]
        listed = git.fields(git.run(("ls-files", "-z", "--", *made), cwd=top, ok=()).stdout)
        left = [name for name in made if not any(Path(one).is_relative_to(name) for one in listed)]
        if left or not made:
            gate["carry"] = left or ["node_modules"]
    return Detected(top, main_branch or default_branch(top), command, gate)


def detect_more(found: Detected, checks: Sequence[Check]) -> Detected:
    """Return the settings with what the first look at the tests says that they lack."""
    gate = dict(found.gate)
    for check in checks:
        # The hints that are settings are written as settings.
        for match in re.finditer(r"set gate\.(readable|carry) = (?=\[)", check.hint):
            value, _ = json.JSONDecoder().raw_decode(check.hint, match.end())
            gate[match[1]] = [*dict.fromkeys([*gate.get(match[1], ()), *value])]
    return replace(found, gate=gate)


def write_settings(detected: Detected, *, force: bool, branch_prefix: str = "") -> Path:
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
    lines.append(
        f"branch_prefix = {json.dumps(branch_prefix)}"
        if branch_prefix
        else f'# branch_prefix = "agents"  # of the branches of edits, not {Settings.branch_prefix}'
    )
    gate = [f"{name} = {json.dumps(value)}" for name, value in detected.gate.items()]
    lines += ["", "[gate]", *gate] if gate else []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


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
    # Those of Python: other languages' tests are run by what their own manifests name.
    tests = [name for name in names if name.endswith(".py") and is_test_module(name)]
    cmake = text("CMakeLists.txt")
    makefile = text("Makefile") or text("GNUmakefile") or text("makefile")
    justfile = text("justfile") or text("Justfile") or text(".justfile")
    first = next(map(text, tests), "")
    unittest = not uses_pytest and "unittest" in first and "pytest" not in first
    try:
        script = str(json.loads(text("package.json") or "{}")["scripts"]["test"])
    except (ValueError, LookupError, TypeError):
        script = ""
    locks = {"pnpm-lock.yaml": "pnpm test", "yarn.lock": "yarn test"}
    locks |= {"bun.lock": "bun run test", "bun.lockb": "bun run test"}
    targets = _targets(makefile)
    rake = re.search(r"TestTask|task\(?\s*:test|task\(?\s*['\"]?test", text("Rakefile"))
    django = _django(names, text, "\n".join((settings[3], makefile, justfile, text("noxfile.py"))))
    fits = {  # the first one that is true
        "python manage.py test": "manage.py" in names and not uses_pytest,
        django: django and not uses_pytest,
        "python runtests.py": "runtests.py" in names and not uses_pytest,  # as Django's own has it
        f"python -m unittest discover{_discover_options(tests, names)}": unittest,
        "python -m pytest --tb=short -q": tests or uses_pytest,
        "nox": "noxfile.py" in names,
        "tox": "tox.ini" in names,
        # what `npm init` puts there is no test
        next((locks[name] for name in locks if name in names), "npm test"): script
        and "no test specified" not in script,
        **{_RUNNERS[name]: True for name in _RUNNERS if name in names},
        "bundle exec rake test": rake and "Gemfile.lock" in names,
        "rake test": rake,
        # Beside tests that CMake knows, `make test` is often a program that only prints.
        _CMAKE: re.search(r"(?i)\b(enable_testing|add_test|include\s*\(\s*CTest)", cmake),
        _MESON: re.search(r"(?m)^[ \t]*test\s*\(|subdir\s*\(\s*'tests?'", text("meson.build")),
        "make test": "test" in targets,
        "make check": "check" in targets,
        "just test": {"test", "@test"} & {*_targets(justfile)},
        "prove -lr t": any(re.fullmatch(r"t/.*\.t", name) for name in names),
        "bats -r test": any(re.fullmatch(r"test/.*\.bats", name) for name in names),
        **{f"make -C {name}": f"{name}/Makefile" in names for name in ("tests", "test", "t")},
    }
    return next((command for command, is_so in fits.items() if is_so), _CMAKE if cmake else "")


def _django(names: list[str], text: Callable[[str], str], said: str) -> str:
    """Return the command that tests an app of Django, which has no manage.py; empty: it is none.

    `said` is what the project's own tools call; where nothing names the settings, a file of the
    tests does.
    """
    option = r"DJANGO_SETTINGS_MODULE\s*[?:]?=|django(?:-admin)? test\b.{0,200}--settings[= ]"
    found = re.search(rf"(?:{option})\s*([\w.]+)", said)
    tests = re.compile(r"(?:tests?/(?:.*/)?settings|(?:.*/)?test_settings)\.py")
    own = (name for name in names if tests.fullmatch(name) and "INSTALLED_APPS" in text(name))
    module = found[1] if found else next(own, "").removesuffix(".py").replace("/", ".")
    # What the project itself hands to it: other folders may hold what is no part of the suite.
    asked = re.search(r"django(?:-admin)? test\b(.{0,200})", said)
    words = re.findall(r"(?<![\w./=-])\w+(?![\w./=-])", asked[1] if asked else "")
    labels = [word for word in words if any(name.startswith(f"{word}/") for name in names)]
    return " ".join(["python -m django test", f"--settings={module}", *labels]) if module else ""


def how_to_prove(top: Path) -> str:
    """Return what to do where nothing is seen that proves a change, in words of this project."""
    listed = git.run(("ls-files", "-z"), cwd=top, ok=()).stdout
    names = [Path(name) for name in git.fields(listed)]
    makefile = next((top / one for one in names if str(one).lower() == "makefile"), None)
    text = makefile.read_text(errors="replace") if makefile and makefile.is_file() else ""
    targets = [one for one in _targets(text) if re.search("test|check|spec", one)]
    could = f'"make {targets[0]}", and what it builds, is one' if targets else ""
    if text and not could:
        could = 'without any tests, "make" finds at least what cannot be built'
    elif not could and any(one.suffix == ".py" for one in names):
        could = 'without any tests, "python -m compileall -q ." finds at least what cannot be read'
    told = "say what proves a change: self-coding init --force --test-command COMMAND"
    return f"{told} ({could})" if could else told


def _targets(makefile: str) -> list[str]:
    """Return the targets of a makefile that are written out."""
    found: list[str] = []
    for line in makefile.splitlines():
        names, colon, rest = line.partition(":")
        if colon and rest[:1] != "=" and line[0] not in "\t #.":
            found += names.split()
    return found


def _discover_options(tests: list[str], names: list[str]) -> str:
    """Return the options by which unittest finds the tests: it looks in no folder that is no
    package, and at no file but test*.py."""
    folder = os.path.commonpath([os.path.dirname(one) for one in tests]) if tests else ""  # noqa: PTH120
    above = [folder, *(str(one) for one in Path(folder).parents)]
    packages = all(f"{one}/__init__.py" in names for one in above if one not in ("", "."))
    start = "" if not folder or packages else f" -s {folder}"
    usual = any(Path(one).name.startswith("test") for one in tests)
    return start if usual else f"{start} -p '*_test.py'"


# -- doctor -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One thing looked at: `state` is "ok", "note" (works, could be better) or "fail"."""

    name: str
    state: str
    told: str
    hint: str = ""


async def examine(repo: Path, *, run: bool = False) -> list[Check]:
    """Look at git, the repository, the settings, the sandbox, the tests, the databases, the extras.

    With `run` main's tests run once, which is what later changes are compared with.
    """
    checks: list[Check] = []

    @contextmanager
    def looking_at(name: str, hint: str = "") -> Iterator[None]:
        try:
            yield
        except SelfCodingError as error:
            checks.append(Check(name, "fail", error.message, error.hint or hint))

    with looking_at("git", "install git 2.38 or later"):
        answer = git.decode(git.run(["--version"], cwd=Path.cwd()).stdout).strip()
        match = re.search(r"(?<!\d)(\d++)\.(\d+)", answer)
        # `merge-tree --write-tree` came with it: earlier ones cannot merge without a working tree.
        fits = match and (int(match[1]), int(match[2])) >= OLDEST_GIT
        needed = "" if fits else "git 2.38 or later is needed to merge unseen"
        checks.append(Check("git", "ok" if fits else "fail", answer, needed))
    checks.append(Check("python", "ok", sys.version.split()[0]))
    try:
        app = open_app(repo)
    except SelfCodingError as error:
        return [*checks, Check("repository", "fail", error.message, error.hint)]
    checks.append(Check("repository", "ok", str(app.top)))
    commit = ""
    with looking_at("main branch", "set main_branch; `self-coding init` detects it"):
        commit = await app.git.get_main_commit()
        told = f"{app.settings.main_branch} at {commit[:12]}"
        checks.append(Check("main branch", "ok", told))
    if app.distrusted:
        told = f"{', '.join(app.distrusted)}: not trusted here yet, and not used"
        checks.append(Check("settings", "note", told, TRUST))
    with looking_at("sandbox"):
        level = sandbox.level(app.settings.require_sandbox, app.top)
        # Less is a note and no failure: on many machines nobody can have more.
        if level == "bwrap":
            told = "bubblewrap: own namespaces, no network, hidden homes"
            checks.append(Check("sandbox", "ok", told))
        else:
            hint = 'install bubblewrap, or pip install "self-coding[sandbox]"'
            checks.append(Check("sandbox", "note", f"only {level}", hint))
    if commit:
        with looking_at("tests"):
            checks += await examine_tests(app, run=run)
    with looking_at("journal"):
        count = int((await app.journal.get_success_rate())["total"])
        told = f"{count} attempts in {database_path(repo, 'journal.db')}"
        checks.append(Check("journal", "ok", told))
    for name, (module, feature) in _EXTRAS.items():
        if find_spec(module) is not None:
            checks.append(Check(f"extra {name}", "ok", feature))
        else:
            hint = f'for {feature}: pip install "self-coding[{name}]"'
            checks.append(Check(f"extra {name}", "note", "not installed", hint))
    return checks


async def examine_tests(app: App, *, run: bool = False) -> list[Check]:
    """Look at what proves a change: the command, what runs it, what it finds on main.

    Raises:
        SelfCodingError: the gate cannot run here.
    """
    from self_coding.gate.missing import NO_PACKAGES, node_packages
    from self_coding.gate.python_env import OURS, choose_python

    command, fitting = app.settings.test_command, _test_command(app.top)
    # The default alone is a guess: it has to fit what is there.
    if command == Settings.test_command != fitting:
        hint = f"set test_command, e.g. {fitting!r}" if fitting else how_to_prove(app.top)
        return [Check("test command", "fail", "no tests are seen", hint)]
    checks = []
    python = choose_python(app.top, replace(app.settings.gate, command=command))
    if install := node_packages(app.top, command):
        return [Check("tests", "fail", NO_PACKAGES, install)]
    ready = await app.git.readiness()
    if re.search(r"\bpy(thon|test|\.test)", command):
        hint = "install pytest there, or set gate.python" if "no pytest" in python.why else ""
        if python.why == OURS:
            hint = "the project has no environment: make .venv with its dependencies and pytest"
        state = "note" if hint else "ok"
        checks.append(Check("test python", state, f"tests run with {python}", hint))
    word = command.split()[0]
    told = f"{command} ({word} is {ready.program})" if ready.program != word else command
    told = told if ready.program else f"{command}: the sandbox has no {word}"
    checks.append(Check("test command", "ok" if ready.program else "fail", told))
    checks.append(_tests_seen(ready))
    if run and checks[-1].state != "fail":
        checks.append(_tests_ran(await app.git.test(await app.git.get_main_commit())))
    return [*checks, *_not_in_git(app)]


def _tests_seen(ready: Readiness) -> Check:
    """Return what is known of the tests without having run them."""
    if ready.failure:
        return Check("tests", "fail", ready.failure, ready.hint)
    took = f"{ready.seconds:.1f} s"
    if not ready.listed:
        told = f"main passes the command (in {took}); it lists no tests"
        if ready.unfinished:
            told = f"the command lists no tests, and was still running after {took}"
        return Check(
            "tests", "ok", told, "`self-coding doctor --run` waits for it" * ready.unfinished
        )
    told = f"{ready.tests:,} test{'s' * (ready.tests != 1)} seen in {took}"
    if not ready.broken:
        return Check("tests", "ok", told)
    names = [f"{file} ({why})" for file, why in ready.broken.items()]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    told += f"; {len(names)} cannot be collected: {', '.join(names[:5])}{more}"
    return Check("tests", "note", told, "what these would prove is not proved")


def _tests_ran(report: GateReport) -> Check:
    """Return how main's own run went."""
    took = f"in {report.seconds:.1f} s of at most {report.limits.partition(' s')[0]} s"
    if report.understood:
        bad = [one.id for one in report.tests if one.outcome in ("failed", "error")]
        told = f"{report.ran:,} test{'s' * (report.ran != 1)} {took}, {len(bad)} red"
        if not bad:
            return Check("main's run", "ok" if report.passed else "fail", f"{told} {report.reason}")
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        hint = "these are known from now on: only new failures refuse a change"
        shown = f"{told}: {', '.join(bad[:10])}{more}"
        passed = any(one.outcome == "passed" for one in report.tests)
        return Check("main's run", "note" if passed else "fail", shown, hint * passed)
    if report.passed:
        return Check("main's run", "ok", f"exit status 0 {took}")
    last = " | ".join(report.output.strip().splitlines()[-3:])
    hint = "nothing can land until main passes this command"
    return Check("main's run", "fail", f"{report.reason or 'red'} {took}: {last}"[:500], hint)


def _not_in_git(app: App) -> list[Check]:
    """Return notes on what tests may need and a checkout of git's does not hold."""
    checks = []
    linked = git.run(("ls-files", "-s", "-z"), cwd=app.top, ok=()).stdout
    entries = [one for one in git.decode(linked, errors="replace").split("\0") if one]
    names = [one.partition("\t")[2] for one in entries]
    carried = app.settings.gate.carry
    directories = git_directories(app.top)
    common = directories.common if directories else app.top / ".git"
    modules = [one.partition("\t")[2] for one in entries if one.startswith("160000")]
    # What this machine holds is there for the tests, whatever a checkout of git's would have.
    held = [app.top / name / ".git" for name in modules]
    held += [common / "modules" / name / "HEAD" for name in modules]
    there = {name for name, place in zip(2 * modules, held, strict=True) if place.exists()}
    if left := [name for name in modules if name not in there and name not in carried]:
        told = f"{', '.join(left)}: not fetched, so tests have an empty folder there"
        checks.append(Check("submodules", "note", told, "run git submodule update --init"))
    attributes = [app.top / one for one in names if Path(one).name == ".gitattributes"]
    if any("filter=lfs" in one.read_text(errors="replace") for one in attributes if one.is_file()):
        words = ("ls-files", "-z", "--", ":(attr:filter=lfs)")
        found = git.fields(git.run(words, cwd=app.top, ok=()).stdout)
        files = [name for name in found if name not in carried and (app.top / name).is_file()]
        if left := [name for name in files if _is_pointer(app.top / name)]:
            shown = (
                f"{', '.join(left[:5])}{' ...' if len(left) > 5 else ''}: tests see LFS pointers"
            )
            checks.append(Check("git lfs", "note", shown, "run git lfs pull"))
    return checks


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(40).startswith(b"version https://git-lfs")
