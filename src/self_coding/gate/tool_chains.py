"""What lies outside of the repository and its tests may see: tool chains, and what is set.

A tool chain says itself where it lives. It is asked in the root folder, and only if it is on PATH
outside of the repository: no file of the tested code decides what runs here, or what is shown.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from self_coding.adapters import process
from self_coding.adapters.sandbox import hidden_folders
from self_coding.errors import ConfigError, ProcessError
from self_coding.gate.python_env import interpreter_folders
from self_coding.values.verdicts import GateSettings

_SECRETS = (  # below a home: what is never shown
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", ".netrc"),
    *(".git-credentials", ".npmrc", ".pypirc", ".config/gcloud", ".config/gh", ".config/git"),
    *(".local/share/keyrings", ".mozilla", ".cargo/credentials", ".cargo/credentials.toml"),
    *(".m2/settings.xml", ".m2/settings-security.xml", ".gradle/gradle.properties"),
)
_TOOL_HOMES = {".rustup": "RUSTUP_HOME", "go": "GOPATH"}  # folder: who looks there, not in HOME
_PYTHON_TOOLS = ("uv", "poetry", "pdm", "hatch", "tox", "nox", "pipenv")
_SECONDS = 10.0
# A tool that is asked downloads nothing: not the version that a file of the project names either.
_QUIET = {"GOTOOLCHAIN": "local", "RUSTUP_AUTO_INSTALL": "0", "npm_config_update_notifier": "false"}
Ask = Callable[[str], list[str]]


@dataclass(frozen=True, kw_only=True)
class ToolChains:
    """What the tool chains of a command need to be seen outside of the repository.

    Attributes:
        folders: bound read-only.
        caches: shown as they are, what is written going to memory; each with the variable that
            names it. Where the sandbox cannot do that, one with a variable is left out, for its
            tool makes a new one, and one without is read-only.
        env: variables by which the tools find their folders.
    """

    folders: tuple[Path, ...] = ()
    caches: Mapping[Path, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


def tool_chains(top: Path, command: str) -> ToolChains:
    """Return what the tool chains that a command or the project's manifests name need."""
    return _tool_chains(top, command, os.environ.get("PATH", os.defpath), Path.home())


@lru_cache(maxsize=64)
def _tool_chains(top: Path, command: str, path: str, home: Path) -> ToolChains:
    def trusted(place: str) -> bool:
        return Path(place).is_absolute() and not Path(place).resolve().is_relative_to(top)

    search = os.pathsep.join(filter(trusted, path.split(os.pathsep)))

    def ask(question: str) -> list[str]:
        argv = question.split()
        if argv[0] == "which":
            return [one for one in [shutil.which(argv[1], path=search)] if one]
        if program := shutil.which(argv[0], path=search):
            env = {**os.environ, **_QUIET, "PATH": search}
            try:
                argv[0] = program
                done = process.run(argv, cwd="/", env=env, timeout=_SECONDS, limit=1 << 16)
            except ProcessError:
                return []
            if not done.returncode and not done.timed_out:
                return [line for line in done.stdout.decode(errors="replace").splitlines() if line]
        return []

    folders: list[Path] = []
    caches: dict[Path, str] = {}
    env: dict[str, str] = {}
    for words, manifests, answer in _FAMILIES:
        named = re.search(rf"(?<![\w./-])(?:{words})(?![\w-])", command)
        if named or any((top / name).exists() for name in manifests):
            found = answer(ask, home)
            folders += found.folders
            caches.update(found.caches)
            env.update(found.env)
    for word in _PYTHON_TOOLS:
        program = shutil.which(word, path=search) if re.search(rf"\b{word}\b", command) else None
        if program:  # the program alone: who knows what else ~/.local/bin holds
            real = Path(program).resolve()
            own = (real.parent.parent / "pyvenv.cfg").exists()  # an environment of its own
            shown = interpreter_folders(real.parent / "python") if own else (real,)
            folders += [Path(program), *shown]
    made = [top / f".{one}" for one in ("tox", "nox") if re.search(rf"\b{one}\b", command)]
    caches = {one: name for one, name in caches.items() if _is_lent(one, top, home)}
    caches |= {one: "" for one in made if one.is_dir()}  # environments, which these tools write to
    folders = [one for one in dict.fromkeys(folders) if one not in caches]
    return ToolChains(
        folders=tuple(one for one in folders if _is_lent(one, top, home)), caches=caches, env=env
    )


def _is_lent(folder: Path, top: Path, home: Path) -> bool:
    """Return whether a folder would be hidden, and may be shown."""
    is_hidden = any(folder.resolve().is_relative_to(one) for one in hidden_folders())
    return is_hidden and folder.exists() and not _why_not(folder, top, home)


def _cargo(ask: Ask, home: Path) -> ToolChains:
    [*_, sysroot] = ask("rustc --print sysroot") or [""]
    if not sysroot:
        return ToolChains()
    installed = Path(sysroot).parent  # by rustup, whose proxies look for its home
    rustup = {"RUSTUP_HOME": str(installed.parent)} if installed.name == "toolchains" else {}
    cargo = Path(os.environ.get("CARGO_HOME") or home / ".cargo")
    folders = [installed.parent if rustup else Path(sysroot), cargo / "registry", cargo / "git"]
    folders += [Path(line).parent for line in ask("which cargo")]
    # HOME is another one inside. Where its folder is hidden only these two appear in it.
    return ToolChains(folders=tuple(folders), env={**rustup, "CARGO_HOME": str(cargo)})


def _go(ask: Ask, home: Path) -> ToolChains:
    answers = ask("go env GOROOT GOMODCACHE GOCACHE")
    if len(answers) != 3 or not all(map(os.path.isabs, answers)):
        return ToolChains()
    root, modules, cache = map(Path, answers)
    env = {"GOMODCACHE": str(modules)} if modules.is_dir() else {}
    return ToolChains(folders=(root, modules), caches={cache: "GOCACHE"}, env=env)


def _node(ask: Ask, home: Path) -> ToolChains:
    # The program that runs, not the shim of a version manager that was found first.
    named = ("pnpm", "yarn", "bun", "deno")
    programs = [
        *ask("node -p process.execPath"),
        *(one for n in named for one in ask(f"which {n}")),
    ]
    places = [*map(Path, programs), *(Path(one).resolve() for one in programs)]
    folders = [one.parent for one in places]
    # Of a package that was installed anywhere, the program is a link to a script among its files.
    folders += [
        one for place in places for one in place.parents if one.parent.name == "node_modules"
    ]
    corepack = Path(os.environ.get("COREPACK_HOME") or home / ".cache/node/corepack")
    folders += [*map(Path, ask("npm root -g")), corepack, home / ".yarn/berry"]
    env = {"COREPACK_HOME": str(corepack)} if corepack.is_dir() else {}
    deno = Path(os.environ.get("DENO_DIR") or home / ".cache/deno")
    return ToolChains(folders=tuple(folders), caches={deno: "DENO_DIR"}, env=env)


def _uv(ask: Ask, home: Path) -> ToolChains:
    caches = {Path(line): "UV_CACHE_DIR" for line in ask("uv cache dir")}
    # What `uv sync` made is what runs: inside there is no network to make it anew.
    env = {"UV_OFFLINE": "1", "UV_NO_SYNC": "1", "UV_FROZEN": "1", "UV_PYTHON_DOWNLOADS": "never"}
    folders = tuple(map(Path, ask("uv python dir")))
    return ToolChains(folders=folders, caches=caches, env=env if caches else {})


def _poetry(ask: Ask, home: Path) -> ToolChains:
    # Its environments are among the cache; the one of the tests is shown as their interpreter.
    return ToolChains(
        caches={Path(line): "POETRY_CACHE_DIR" for line in ask("poetry config cache-dir")}
    )


def _hatch(ask: Ask, home: Path) -> ToolChains:
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    place = Path(os.environ.get("HATCH_DATA_DIR") or data / "hatch")
    return ToolChains(caches={place: "HATCH_DATA_DIR"})


def _java(ask: Ask, home: Path) -> ToolChains:
    # Not HOME: Java takes the folder of the user's entry, inside as well.
    own = Path(pwd.getpwuid(os.getuid()).pw_dir)
    gradle = Path(os.environ.get("GRADLE_USER_HOME") or own / ".gradle")
    places = (own / ".m2/repository", own / ".m2/wrapper", gradle / "caches", gradle / "wrapper")
    programs = [Path(line) for name in ("java", "mvn", "gradle") for line in ask(f"which {name}")]
    installed = [one.resolve().parent.parent for one in programs]  # of bin, lib and conf
    folders = (*(one.parent for one in programs), *installed)
    return ToolChains(
        folders=folders, caches=dict.fromkeys(places, ""), env={"GRADLE_USER_HOME": str(gradle)}
    )


#: The words of a command and the manifests at the top that call for a tool chain, and its answer.
_FAMILIES: tuple[tuple[str, tuple[str, ...], Callable[[Ask, Path], ToolChains]], ...] = (
    ("cargo|rustc", ("Cargo.toml",), _cargo),
    ("go", ("go.mod",), _go),
    ("node|npm|npx|pnpm|yarn|bun|deno", ("package.json", "deno.json"), _node),
    ("uvx?", (), _uv),
    ("poetry", (), _poetry),
    ("hatch", (), _hatch),
    ("mvn|mvnw|gradle|gradlew", ("pom.xml", "build.gradle", "build.gradle.kts"), _java),
)


def readable_folders(top: Path, settings: GateSettings) -> list[Path]:
    """Return the folders of `gate.readable` that exist.

    Raises:
        ConfigError: one holds secrets, would cover the tree or a whole home, or is inside the tree.
    """
    folders = []
    for name in settings.readable:
        path = Path(name).expanduser()
        if wrong := _why_not(path, top, Path.home()):
            raise ConfigError(
                f"self-coding setting gate.readable: {name} {wrong}",
                hint="name the folders of the tool chain one by one, such as ~/.cargo/bin",
            )
        folders += [path] if path.exists() else []
    return folders


def _why_not(path: Path, top: Path, home: Path) -> str:
    """Return in words why a folder may not be shown; empty where it may."""
    wrong = "" if path.is_absolute() else "is not an absolute path"
    for one in (path, path.resolve()):
        if known := {*one.parts} & {*_SECRETS}:  # in any home
            wrong = f"would show {known.pop()}"
        for secret in (home / name for name in _SECRETS):
            if one.is_relative_to(secret) or (secret.exists() and secret.is_relative_to(one)):
                wrong = f"would show {secret}"
        if any(hidden.is_relative_to(one) for hidden in hidden_folders()):
            wrong = "is too wide"
        if one.is_relative_to(top) or top.is_relative_to(one):
            wrong = "is not outside the repository; `gate.carry` is for what is inside"
    return wrong


def tool_homes(folders: Iterable[Path]) -> dict[str, str]:
    """Return the variables by which tools find the folders of `gate.readable`."""
    env = {}
    for folder in folders:
        if folder.parts[-2:] == (".cargo", "registry"):  # what is there is enough for it
            env["CARGO_HOME"] = str(folder.parent)
        if folder.name in _TOOL_HOMES:
            env[_TOOL_HOMES[folder.name]] = str(folder)
    return env
