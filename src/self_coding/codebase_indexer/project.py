"""What `pyproject.toml` says about imports: source roots, entry points, pytest's plugins.

Pure: the file's text in, values out. A file that is no TOML says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_PLUGIN_OPTION = re.compile(r"-p[ =]?\s*([A-Za-z_][\w.]*)")


class Project(NamedTuple):
    """`roots` are folders imports start from; `entries` the modules that installed commands and
    plugins name; `plugins` the modules that pytest loads before any test."""

    roots: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


def read(text: str) -> Project:
    """Read `pyproject.toml`; nothing in it is required."""
    if not text:
        return Project()
    import tomllib  # as long to load as many a question takes

    try:
        data: object = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return Project()
    pytest = _at(data, "tool", "pytest", "ini_options")
    entry_points = dict(_items(_at(data, "project", "entry-points")))
    plugin_group = entry_points.pop("pytest11", None)
    options = " ".join(_strings(_at(pytest, "addopts")))
    return Project(
        roots=tuple(sorted(set(_roots(data, pytest)))),
        entries=tuple(
            _modules(
                _at(data, "project", "scripts"),
                _at(data, "project", "gui-scripts"),
                _at(data, "tool", "poetry", "scripts"),
                *entry_points.values(),
            )
        ),
        plugins=(*_modules(plugin_group), *_PLUGIN_OPTION.findall(options)),
    )


def _roots(data: object, pytest: object) -> Iterator[str]:
    setuptools = _at(data, "tool", "setuptools")
    places = [
        *_strings(_at(pytest, "pythonpath")),
        *_strings(_at(setuptools, "packages", "find", "where")),
        *[str(place) for _, place in _items(_at(setuptools, "package-dir")) if _ == ""],
        *_strings(_at(data, "tool", "hatch", "build", "targets", "wheel", "sources")),
    ]
    packages = _at(data, "tool", "poetry", "packages")
    for each in packages if isinstance(packages, list) else []:
        places += _strings(_at(each, "from"))
    wheel = _at(data, "tool", "hatch", "build", "targets", "wheel", "packages")
    places += [package.rpartition("/")[0] for package in _strings(wheel)]
    for place in places:
        yield place.strip().removeprefix("./").strip("/").removeprefix(".")


def _at(data: object, *keys: str) -> object:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _items(data: object) -> list[tuple[str, object]]:
    return list(data.items()) if isinstance(data, dict) else []


def _strings(data: object) -> list[str]:
    if isinstance(data, str):
        return [data]
    return [each for each in data if isinstance(each, str)] if isinstance(data, list) else []


def _modules(*tables: object) -> Iterator[str]:
    """The modules named by tables of `name = "module:attribute"`."""
    for table in tables:
        for _, value in _items(table):
            found = _MODULE.match(value) if isinstance(value, str) else None
            if found:
                yield found[0]
