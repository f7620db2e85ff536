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

_NOT_CODE = frozenset(
    """tests test testing docs doc examples example scripts tools benchmarks bench build dist setup
    conftest noxfile tasks fabfile versioneer manage sitecustomize usercustomize""".split()  # noqa: SIM905 - read as prose
)
_SITE = "lib*/python3*/site-packages"
_SMALL = 1 << 20  # bytes of a configuration or path file that is read


def interpreter(place: Path | None, command: str) -> Path:
    """Return the Python that `python` means: that of a virtual environment in `place`, else ours.

    For a pytest command an environment counts only where pytest is installed in it.

    Args:
        place: the user's checkout, or what the setup command made.
        command: the test command.
    """
    for name in (".venv", "venv", "env") if place else ():
        assert place is not None
        python = place / name / "bin" / "python"
        has_pytest = any((place / name).glob(f"{_SITE}/pytest"))
        if python.exists() and (has_pytest or "pytest" not in command):
            return python
    return Path(sys.executable)


def interpreter_folders(python: Path) -> tuple[Path, ...]:
    """Return the folders without which this Python does not start or finds too little."""
    environment = python.parent.parent
    folders = [environment]
    home = re.search(r"(?m)^home\s*=\s*(.+?)\s*$", _text(environment / "pyvenv.cfg"))
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
