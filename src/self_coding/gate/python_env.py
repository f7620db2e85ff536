"""Which interpreter runs a tree's tests, and from where its own code must be imported.

Reads names and small files only; starts nothing. What it finds is believed only as far as the
probe inside the test run confirms it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from self_coding.errors import ConfigError
from self_coding.values.verdicts import GateSettings

_NOT_CODE = frozenset(
    """tests test testing docs doc examples example scripts tools benchmarks bench build dist setup
    conftest noxfile tasks fabfile versioneer manage sitecustomize usercustomize""".split()  # noqa: SIM905 - read as prose
)
OURS = "self-coding's own"
_SITE = "lib*/python3*/site-packages"
_HOME = re.compile(r"(?m)^home\s*=\s*(.+?)\s*$")
_LOOKS_OUTSIDE = re.compile(r"(?mi)^include-system-site-packages\s*=\s*true")
_SITES = (_SITE, "lib*/python3*/dist-packages", "local/lib/python3*/dist-packages")
_SMALL = 1 << 20  # bytes of a configuration or path file that is read


@dataclass(frozen=True)
class TestPython:
    """The interpreter that `python` means in the tests, and why it is this one."""

    __test__ = False  # pytest: a value, not a test class

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path} ({self.why})"


def choose_python(top: Path, settings: GateSettings, setup: Path | None = None) -> TestPython:
    """Return the interpreter that runs the tests.

    In this order: the setting; what the setup command made; the environment that is active in
    the caller's shell; one in the checkout, or that a tool made for it (tox, nox, poetry, pdm,
    hatch, pipenv, conda); the first `python` on PATH; ours. For a pytest command an environment
    counts only where pytest is installed.

    Args:
        top: the user's checkout.
        settings: the command, and the interpreter where it is set.
        setup: the folder of what the setup command made, if it ran.

    Raises:
        ConfigError: the interpreter that is set does not exist.
    """
    if settings.python:
        path = top / Path(settings.python).expanduser()
        if not path.is_file():
            raise ConfigError(
                f"self-coding setting gate.python: {path} does not exist",
                hint="give the path of an interpreter, such as .venv/bin/python",
            )
        return TestPython(path, "setting gate.python")
    lacking = []
    for folder, why in _environments(top, settings, setup):
        python = folder / "bin" / "python"
        # A shim of pyenv or asdf has no library beside it: it would not find its home inside.
        if folder == Path(sys.prefix) or not python.exists() or not any(folder.glob("lib*")):
            continue
        # pytest is installed for the environment, or where it looks beside itself.
        config = _text(folder / "pyvenv.cfg")
        home = _HOME.search(config)
        outer = [Path(home[1]).parent] if home and _LOOKS_OUTSIDE.search(config) else []
        sites = [site for one in (folder, *outer) for name in _SITES for site in one.glob(name)]
        installed = any((site / "pytest").is_dir() for site in (*sites, *_path_entries(folder)))
        if "pytest" not in settings.command or installed:
            return TestPython(python, why)
        lacking.append(str(folder))
    note = f"; no pytest in {', '.join(dict.fromkeys(lacking))}" if lacking else ""
    return TestPython(Path(sys.executable), f"{OURS}{note}")


def _environments(top: Path, settings: GateSettings, setup: Path | None) -> list[tuple[Path, str]]:
    """Return the environments that may run the tests, the likeliest first, and whose each is."""
    folders = filter(os.path.isabs, os.environ.get("PATH", os.defpath).split(os.pathsep))
    first = shutil.which("python", path=os.pathsep.join(folders))
    shell = Path(first).parent.parent if first else None
    active = [os.environ.get("VIRTUAL_ENV")]
    if os.environ.get("CONDA_DEFAULT_ENV") != "base":  # conda activates that one by itself
        active.append(os.environ.get("CONDA_PREFIX"))
    environments = [(Path(one), "active environment") for one in active if one]
    if shell is not None and (shell / "pyvenv.cfg").exists():
        environments.append((shell, "active environment"))
    place, why = top, "environment of the checkout"
    if settings.setup_command:
        place, why = setup or Path(os.devnull), "made by setup_command"
    inside = [(place / name, why) for name in (".venv", "venv", "env")]
    if not settings.setup_command:
        inside += [(folder, f"made by {tool}") for folder, tool in _made_by_tools(top)]
    environments = inside + environments if settings.setup_command else environments + inside
    if shell is not None:
        environments.append((shell, "first python on PATH"))
    return environments


def _made_by_tools(top: Path) -> Iterator[tuple[Path, str]]:
    """Yield the environments of a checkout that tools keep under names of their own."""
    home, place = Path.home(), top.resolve()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    for tool in ("tox", "nox"):
        yield from ((one, tool) for one in _for_tests((top / f".{tool}").glob("*")))
    # Each tool names the folder by the project, a digest of its path, the Python's version.
    if (top / "poetry.lock").exists() or "[tool.poetry" in _text(top / "pyproject.toml"):
        own = os.environ.get("POETRY_CACHE_DIR") or cache / "pypoetry"
        folder = Path(os.environ.get("POETRY_VIRTUALENVS_PATH") or Path(own) / "virtualenvs")
        digest = _digest("sha256", str(place))
        yield from ((one, "poetry") for one in _newest(folder.glob(f"*-{digest}-py*")))
    chosen = _text(top / ".pdm-python").strip()  # where `pdm use` and `pdm install` note it
    if chosen:
        yield Path(chosen).parent.parent, "pdm"
    elif (top / "pdm.lock").exists():
        found = (data / "pdm/venvs").glob(f"*-{_digest('md5', str(place))}-*")
        yield from ((one, "pdm") for one in _newest(found))
    if "[tool.hatch" in _text(top / "pyproject.toml") or (top / "hatch.toml").exists():
        own = Path(os.environ.get("HATCH_DATA_DIR") or data / "hatch")
        inside = list((own / "env/virtual").glob(f"*/{_digest('sha256', str(place))}/*"))
        yield from ((one, "hatch") for one in [*_for_tests(inside), *_newest(inside)])
    if (top / "Pipfile").exists():
        folder = Path(os.environ.get("WORKON_HOME") or data / "virtualenvs")
        digest = _digest("sha256", str(place / "Pipfile"))
        yield from ((one, "pipenv") for one in _newest(folder.glob(f"*-{digest}*")))
    for name in ("environment.yml", "environment.yaml"):
        named = re.search(r"(?m)^name:[ \t]*[\"']?([\w.-]+)", _text(top / name))
        listed = _text(home / ".conda/environments.txt").splitlines()
        yield from ((Path(one), "conda") for one in listed if named and Path(one).name == named[1])


def _digest(how: str, text: str) -> str:
    """Return the eight characters by which tools tell a path."""
    digest = hashlib.new(how, os.fsencode(text), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).decode()[:8]


def _newest(folders: Iterable[Path]) -> list[Path]:
    return sorted(folders, key=lambda one: one.stat().st_mtime, reverse=True)


def _for_tests(folders: Iterable[Path]) -> list[Path]:
    """Return the environments whose names are of tests or Pythons, the newest first."""
    return _newest(one for one in folders if re.search(r"py|test|unit", one.name))


def interpreter_folders(python: Path) -> tuple[Path, ...]:
    """Return the folders without which this Python does not start or finds too little."""
    environment = python.parent.parent
    folders = [environment]
    home = _HOME.search(_text(environment / "pyvenv.cfg"))
    if home:  # the installation that a virtual environment was made from
        folders.append(Path(home[1]).parent)
    step = python
    for _ in range(8):  # links upon links, each in a folder of its own
        if not step.is_symlink():
            break
        step = (step.parent / step.readlink()).absolute()
        folders.append(step.parent.parent)
    folders += [Path(sys.base_prefix)] if python == Path(sys.executable) else []
    folders += [path for path in _path_entries(environment) if path.is_dir()]
    kept = {path.resolve() for path in folders} | set(folders)
    return tuple(path for path in sorted(kept) if len(path.parts) > 2)


def install_stamps(python: Path) -> tuple[str, ...]:
    """Return what changes when something is installed for this Python or removed."""
    stamps = [str(python.resolve())]
    for site in sorted(python.parent.parent.glob(_SITE)):
        with suppress(OSError):
            stamps.append(f"{site} {site.stat().st_mtime_ns}")
    return tuple(stamps)


def import_roots(tree: Path, top: Path, python: Path) -> tuple[str, ...]:
    """Return where imports start, relative to the tree, most special first; "" is the top itself.

    From the layout, from the build and pytest configuration, and from the editable installs of
    this interpreter that point into the user's checkout.
    """
    roots = [root for root in _configured(tree) if (tree / root).is_dir()]
    for path in _path_entries(python.parent.parent):
        with suppress(ValueError):
            roots.append(path.resolve().relative_to(top.resolve()).as_posix())
    if (tree / "src").is_dir() and not (tree / "src" / "__init__.py").exists():
        roots.append("src")
    cleaned = ["" if root == "." else root.strip("/") for root in roots]
    return tuple(dict.fromkeys([root for root in cleaned if root] + [""]))


def import_names(tree: Path, roots: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the names this tree is imported by, each with the files that it may come from."""
    names: dict[str, tuple[str, ...]] = {}
    for root in roots:
        folder = tree / root
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            file = path / "__init__.py" if path.is_dir() else path
            name = path.name if path.is_dir() else path.stem
            is_test = name.startswith(("test_", "__")) or name.endswith("_test")
            is_code = name.isidentifier() and name not in _NOT_CODE | sys.stdlib_module_names
            if file.suffix == ".py" and file.is_file() and is_code and not is_test:
                names[name] = (*names.get(name, ()), file.relative_to(tree).as_posix())
    return names


def _path_entries(environment: Path) -> Iterator[Path]:
    """Yield the folders that `.pth` files and editable finders of an environment point to."""
    for site in environment.glob(_SITE):
        for file in sorted(site.glob("*.pth")):
            for line in _text(file).splitlines():
                if line.startswith("/"):
                    yield Path(line.strip())
        for finder in sorted(site.glob("__editable__*finder.py")):
            for target in re.findall(r"'(/[^']+)'", _text(finder)):
                yield Path(target).parent


def _configured(tree: Path) -> Iterator[str]:
    """Yield the roots in `pyproject.toml`, for setuptools, hatchling, poetry and pytest."""
    try:
        loaded = tomllib.loads(_text(tree / "pyproject.toml"))
    except tomllib.TOMLDecodeError:
        return

    def setting(*keys: str) -> list[object]:
        value: object = loaded
        for key in ("tool", *keys):
            value = value.get(key) if isinstance(value, dict) else None
        items = value.split() if isinstance(value, str) else value
        return items if isinstance(items, list) else []

    named = [
        *setting("setuptools", "packages", "find", "where"),
        *setting("setuptools", "package-dir", ""),
        *setting("pytest", "ini_options", "pythonpath"),
    ]
    for package in setting("hatch", "build", "targets", "wheel", "packages"):
        named += [Path(package).parent.as_posix()] if isinstance(package, str) else []
    for package in setting("poetry", "packages"):
        named += [package.get("from")] if isinstance(package, dict) else []
    for root in named:
        if isinstance(root, str) and not root.startswith(("/", "..")):
            yield root


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_SMALL).decode(errors="replace")
    except OSError:
        return ""
