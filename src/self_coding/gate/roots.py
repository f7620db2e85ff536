"""Which interpreter runs a tree's tests, and from where its own code must be imported.

Reads names and small files only; starts nothing. What it finds is believed only as far as the
probe inside the test run confirms it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_VENVS = (".venv", "venv", "env")
_NOT_CODE = frozenset(
    """tests test testing docs doc examples example scripts tools benchmarks bench build dist setup
    conftest noxfile tasks fabfile versioneer manage sitecustomize usercustomize""".split()  # noqa: SIM905 - read as prose
)
_SMALL = 1 << 20  # bytes of a configuration or path file that is read


def interpreter(place: Path | None, command: str) -> Path:
    """The Python that `python` means: that of a virtual environment in `place`, else ours.

    For a pytest command an environment counts only where pytest is installed in it.

    Args:
        place: the user's checkout, or what the setup command made.
        command: the test command.
    """
    for name in _VENVS if place else ():
        assert place is not None
        python = place / name / "bin" / "python"
        has_pytest = any((place / name).glob("lib*/python3*/site-packages/pytest"))
        if python.exists() and (has_pytest or "pytest" not in command):
            return python
    return Path(sys.executable)


def interpreter_folders(python: Path) -> tuple[Path, ...]:
    """The folders without which this Python does not start or finds less than it should."""
    environment = python.parent.parent
    found = [environment]
    base = _home(environment / "pyvenv.cfg")
    found += [base] if base else []
    step = python
    for _ in range(8):  # links upon links, each in a folder of its own
        if not step.is_symlink():
            break
        step = (step.parent / step.readlink()).absolute()
        found += [step.parent.parent]
    found += [Path(sys.base_prefix)] if python == Path(sys.executable) else []
    found += [path for path in _path_files(environment) if path.is_dir()]
    kept = {path.resolve() for path in found} | set(found)
    return tuple(path for path in sorted(kept) if len(path.parts) > 2)


def import_roots(tree: Path, top: Path, python: Path) -> tuple[str, ...]:
    """Where imports start, relative to the tree, most special first; "" is the top itself.

    From the layout, from the build and pytest configuration, and from the editable installs of
    this interpreter that point into the user's checkout.
    """
    roots = [root for root in _configured(tree) if (tree / root).is_dir()]
    for path in _path_files(python.parent.parent):
        with suppress(ValueError):
            roots.append(path.resolve().relative_to(top.resolve()).as_posix())
    if (tree / "src").is_dir() and not (tree / "src" / "__init__.py").exists():
        roots.append("src")
    cleaned = ["" if root == "." else root.strip("/") for root in roots]
    return tuple(dict.fromkeys([root for root in cleaned if root] + [""]))


def import_names(tree: Path, roots: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The names this tree can be imported by, each with the files, relative to it, that are it."""
    found: dict[str, list[str]] = {}
    for root in roots:
        folder = tree / root
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                file = path / "__init__.py" if path.is_dir() else path
                name = path.stem if path.is_file() else path.name
                if file.suffix == ".py" and file.is_file() and _is_code(name):
                    found.setdefault(name, []).append(file.relative_to(tree).as_posix())
    return {name: tuple(files) for name, files in found.items()}


def _is_code(name: str) -> bool:
    test = name.startswith(("test_", "__")) or name.endswith("_test")
    return (
        name.isidentifier()
        and not test
        and name not in _NOT_CODE
        and name not in sys.stdlib_module_names
    )


def _home(configuration: Path) -> Path | None:
    """The installation that a virtual environment was made from."""
    match = re.search(r"(?m)^home\s*=\s*(.+?)\s*$", _text(configuration))
    return Path(match.group(1)).parent if match else None


def _path_files(environment: Path) -> Iterator[Path]:
    """The folders that `.pth` files and editable finders of an environment point to."""
    for site in environment.glob("lib*/python3*/site-packages"):
        for file in sorted(site.glob("*.pth")):
            for line in _text(file).splitlines():
                if line.startswith("/"):
                    yield Path(line.strip())
        for finder in sorted(site.glob("__editable__*finder.py")):
            for target in re.findall(r"'(/[^']+)'", _text(finder)):
                yield Path(target).parent


def _configured(tree: Path) -> Iterator[str]:
    """Roots that `pyproject.toml` names, for setuptools, hatchling, poetry and pytest."""
    try:
        loaded = tomllib.loads(_text(tree / "pyproject.toml"))
    except tomllib.TOMLDecodeError:
        return
    tool = _table(loaded, "tool")
    setuptools = _table(tool, "setuptools")
    named = [
        *_strings(_table(_table(setuptools, "packages"), "find").get("where")),
        *_strings(_table(setuptools, "package-dir").get("")),
        *_strings(_table(_table(tool, "pytest"), "ini_options").get("pythonpath")),
    ]
    wheel = _table(_table(_table(_table(tool, "hatch"), "build"), "targets"), "wheel")
    named += [str(Path(name).parent) for name in _strings(wheel.get("packages"))]
    packages = _table(tool, "poetry").get("packages")
    for package in packages if isinstance(packages, list) else ():
        named += _strings(package.get("from") if isinstance(package, dict) else None)
    yield from (name for name in named if not name.startswith(("/", "..")))


def _table(table: dict[str, object], name: str) -> dict[str, object]:
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_SMALL).decode(errors="replace")
    except OSError:
        return ""


def stamps(python: Path) -> tuple[str, ...]:
    """What changes when something is installed for this Python or removed."""
    found = []
    for site in sorted(python.parent.parent.glob("lib*/python3*/site-packages")):
        with suppress(OSError):
            found.append(f"{site} {site.stat().st_mtime_ns}")
    return (str(python.resolve()), *found)
