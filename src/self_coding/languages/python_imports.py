"""Pure: which file an import means in a Python project: source roots discovered, names resolved.

It knows the paths of the repository and what `pyproject.toml` declares, nothing else. Installed
packages and the standard library resolve to nothing: they are not files of the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import NamedTuple

from self_coding.languages import Project

_TEST_FOLDERS = frozenset(("test", "tests", "testing"))
_PLAIN_ROOTS = ("", "src", "lib", "python")
_MODULE = re.compile(r"\A[A-Za-z_]\w*+(?:\.[A-Za-z_]\w*+)*+")
_PLUGIN_OPTION = re.compile(r"-p[ =]?\s*+([A-Za-z_][\w.]*+)")


class _Candidate(NamedTuple):
    root: str
    file: int


class Layout:
    """The import names under which the files of a repository can be reached.

    Args:
        files: repository-relative path -> file id, Python files only.
        declared: source roots that the project's configuration names.
    """

    def __init__(self, files: Mapping[str, int], declared: Iterable[str] = ()) -> None:
        self.files = files
        self._packages = {_folder(path) for path in files if _name(path) == "__init__.py"}
        self._places = {path.removesuffix(".py"): file for path, file in files.items()}
        self._inits = {each: self._places[_in(each, "__init__")] for each in self._packages}
        self._places |= self._inits
        self._folders = {_folder(place) for place in self._places}
        self._declared = set(declared) | set(_PLAIN_ROOTS)
        outer = {each for each in self._packages if _folder(each) not in self._packages or not each}
        self._roots = self._declared | {_folder(each) for each in outer}
        self._names: dict[str, list[_Candidate]] = {}
        self._dotted = {path: list(self._spelled(path)) for path in files}
        for path, file in files.items():
            for root, dotted in self._dotted[path]:
                self._names.setdefault(dotted, []).append(_Candidate(root, file))
        # The names that mean the same to every importer: one file, below a root outside the tests.
        self._everywhere = {
            dotted: candidates[0].file
            for dotted, candidates in self._names.items()
            if len(candidates) == 1
            and candidates[0].root in self._roots
            and _test_folder(candidates[0].root) is None
        }
        self._tops = {dotted.partition(".")[0] for dotted in self._names}
        self._parents = {dotted.rpartition(".")[0] for dotted in self._names}
        self._absolute = lru_cache(maxsize=20_000)(self._find_absolute)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        by_name: dict[str, list[str]] = {}
        for path in self.files:
            by_name.setdefault(_name(path), []).append(path)
        return by_name

    def module(self, path: str) -> str:
        """Return the dotted name of a file: below its nearest plain or declared source root."""
        names = self._dotted[path] or [("", "")]  # an __init__.py at the very top
        best = max(names, key=lambda each: (each[0] in self._declared, len(each[0])))
        if best[0] not in self._declared:
            best = names[0]
        return best[1] or _name(path).removesuffix(".py")

    def roots(self) -> frozenset[str]:
        """Return the source roots that were discovered."""
        return frozenset(self._roots)

    def resolve(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        """Return the files that `from module import names` (or `import module`) in `path` runs.

        The parents that an import runs on the way are not listed; the graph adds them.
        """
        if module.startswith("."):
            return self._relative(path, module, names)
        return self._absolute(_folder(path), module, names)

    def anywhere(self, module: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
        """Return what `resolve` says for every importer; None where that depends on it."""
        if module.startswith("."):
            return None
        if module.partition(".")[0] not in self._tops:
            return ()
        if module not in self._everywhere:
            return None
        if module not in self._parents:
            return (self._everywhere[module],)
        dotted = [module, *[f"{module}.{name}" for name in names]]
        if any(name in self._names and name not in self._everywhere for name in dotted):
            return None
        return tuple([self._everywhere[name] for name in dotted if name in self._everywhere])

    def literal(self, path: str, text: str) -> tuple[int, ...]:
        """Return the files that a string names: a dotted name, or the path of a script."""
        folder = _folder(path)
        if text.startswith(".") and not text.endswith(".py"):
            return self._relative(path, text, ())
        if not text.endswith(".py"):
            file = self._longest(folder, text)
            return (file,) if file is not None else ()
        wanted = text.replace("\\", "/").removeprefix("./").lstrip("/")
        for place in (f"{folder}/{wanted}", wanted):
            if place in self.files:
                return (self.files[place],)
        tail = wanted.replace("../", "")
        near = self._by_name.get(_name(tail), [])
        return tuple(self.files[each] for each in near if ("/" + each).endswith("/" + tail))

    def _find_absolute(self, folder: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        inside = [f"{module}.{name}" for name in names] if module in self._parents else []
        files = [self._lookup(folder, dotted) for dotted in (module, *inside)]
        targets = dict.fromkeys(file for file in files if file is not None)
        if not targets:
            prefix = self._longest(folder, module)
            return () if prefix is None else (prefix,)
        return tuple(targets)

    def _longest(self, folder: str, dotted: str) -> int | None:
        """Return the file of the longest prefix of a dotted name that is one."""
        while dotted:
            file = self._lookup(folder, dotted)
            if file is not None:
                return file
            dotted = dotted.rpartition(".")[0]
        return None

    def _lookup(self, folder: str, dotted: str) -> int | None:
        """Return the file of exactly this dotted name as an importer in `folder` sees it.

        Of several, that whose root shares most leading parts with the folder, then the shortest.
        """
        best: tuple[int, int] | None = None
        file = None
        inside = folder + "/"
        for root, candidate in self._names.get(dotted, ()):
            if root in self._roots:  # on everybody's path, or on that of the tests around it
                around = _test_folder(root)
                if around is not None and not inside.startswith(around + "/"):
                    continue
            elif root and not inside.startswith(root + "/"):
                continue
            parts = zip(root.split("/"), folder.split("/"), strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))
            if best is None or (shared, -len(root)) > best:
                best, file = (shared, -len(root)), candidate
        return file

    def _relative(self, path: str, module: str, names: tuple[str, ...]) -> tuple[int, ...]:
        bare = module.lstrip(".")
        folder = _folder(path)
        for _ in range(len(module) - len(bare) - 1):
            folder = _folder(folder)
        place = _in(folder, bare.replace(".", "/")) if bare else folder
        target = self._places.get(place) if bare else self._inits.get(folder)
        if target is not None and place not in self._folders:  # as nearly always: names say nothing
            return (target,)
        asked = place  # a folder without modules of its own may hold packages
        while target is None and place != folder:
            place = _folder(place)
            # The folder itself is a package by its `__init__`: a module of its name is beside it.
            target = self._places.get(place) if place != folder else self._inits.get(folder)
        targets = {} if target is None else {target: None}
        for around in {asked, place} & self._folders:
            inside = [self._places.get(_in(around, name)) for name in names]
            targets.update(dict.fromkeys(each for each in inside if each is not None))
        return tuple(targets)

    def _spelled(self, path: str) -> Iterable[tuple[str, str]]:
        """Yield (root, dotted name) for every root a path can be imported from, nearest first."""
        folder, name = _folder(path), _name(path).removesuffix(".py")
        parts = [] if name == "__init__" else [name]
        while folder in self._packages and folder:
            parts.insert(0, _name(folder))
            folder = _folder(folder)
        if parts:
            yield folder, ".".join(parts)
        while folder:
            parts.insert(0, _name(folder))
            folder = _folder(folder)
            yield folder, ".".join(parts)


def _test_folder(root: str) -> str | None:
    """Return the outermost folder of tests that a root is, or is below of."""
    parts = root.split("/")
    for number, part in enumerate(parts):
        if part in _TEST_FOLDERS:
            return "/".join(parts[: number + 1])
    return None


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def read_project(text: str) -> Project:
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
