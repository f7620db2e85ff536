"""The functions that tests lean on, as they were before any file of the tested tree ran.

`Originals` is made first thing in the judged process and compares later: functions of pytest, of
unittest and of the standard library by identity, by code and by defaults, those of classes as well,
and what shadows them. What a dependency replaces is left out: the change did not write it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import operator
import os
import sys
import types
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from .looks import Looks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

LIBRARY = (
    *("builtins", "math", "cmath", "json", "json.decoder", "json.encoder", "pathlib", "fractions"),
    *("decimal", "numbers", "operator", "re", "os", "posixpath", "genericpath", "io", "copy"),
    *("datetime", "time", "random", "statistics", "collections", "contextlib", "functools"),
    *("itertools", "string", "textwrap", "shutil", "subprocess", "tempfile", "difflib", "csv"),
    *("dataclasses", "enum", "types", "inspect", "hashlib", "glob", "fnmatch", "struct"),
    *("traceback", "importlib"),  # neither sys nor warnings, where runners hang hooks of their own
)
LATE = f"{os.sep}legacypath.py"  # pytest's own, which replaces methods of pytest's when it starts
RUNNERS = ("pytest", "_pytest", "pluggy", "unittest", "doctest")
OFTEN = (  # what is compared after each test: few, and what a verdict hangs on
    *("builtins", "math", "json", "operator", "re", "copy", "fractions.Fraction", "subprocess"),
    *("pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "json.decoder.JSONDecoder"),
    *("unittest.case.TestCase", "posixpath", "_pytest.outcomes"),
)
CLAIMS = ("_pytest.approx", "_pytest.python_api", "_pytest.raises")  # and all that they define
HEAP_TYPE = 1 << 9  # a flag of a class: its attributes can be set
MISSING: Any = object()
FUNCTION = types.FunctionType
SAME, ALL, MAP = operator.is_, all, map  # as they are now
BUILTINS: Any = sys.modules["builtins"]


class Originals:
    """A snapshot of what is loaded when it is made."""

    def __init__(self, top: str) -> None:
        self.top = top + os.sep
        for name in LIBRARY:
            importlib.import_module(name)  # later is too late: the tree may be the first to load it
        # What is there before us could have replaced anything.
        early = [(name, self.home(sys.modules[name])) for name in self._of_tree()]
        self.early = [f"{name}, imported before the observer, by {path}" for name, path in early]
        self.holders: list[tuple[str, Any, dict[str, Any]]] = []
        self.parts: dict[int, tuple[Any, ...]] = {}
        # The objects, not their ids: an id can be used again by what comes later.
        self.finders = [*sys.meta_path, *sys.path_hooks]
        for name, module in list(sys.modules.items()):
            if name not in LIBRARY and name.split(".", 1)[0] not in RUNNERS:
                continue
            kept = callables(vars(module))
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    # A class in C cannot be changed from Python: nothing to compare.
                    if value.__flags__ & HEAP_TYPE:
                        self._keep(f"{name}.{key}", value, callables(vars(value)))
                elif name == "json" and type(value).__module__.startswith("json."):
                    kept[key] = value  # the coders that `loads` and `dumps` go by
                    self._keep(f"{name}.{key}", value, callables(vars(value)))
            self._keep(name, module, kept)
        self.often = [one for one in self.holders if one[0] in OFTEN or one[0].startswith(CLAIMS)]
        self.looks = Looks(top, self.parts.keys())  # last, as it replaces parts of modules itself
        # After every test: without a line of Python for each of some hundred functions.
        self.fast: list[tuple[Any, Any, tuple[Any, ...]]] = []
        for _, holder, kept in self.often:
            named = [
                name
                for name, one in kept.items()
                if not (is_a(one, type) and issubclass(one, BaseException))
            ]
            if named:
                names = (*named, named[0])  # of one name alone it would give the value itself
                values = tuple(kept[name] for name in names)
                self.fast.append((vars(holder), operator.itemgetter(*names), values))

    def _of_tree(self) -> Iterator[str]:
        for name, module in list(sys.modules.items()):
            path = part(module, "__file__")
            if is_a(path, str) and path.startswith(self.top) and "site-packages" not in path:
                yield str(name)

    def _keep(self, label: str, holder: Any, kept: dict[str, Any]) -> None:
        for value in kept.values():
            for function in functions_of(value):
                self.parts[id(function)] = parts_of(function)
        self.holders.append((label, holder, kept))

    def changed(self, *, often: bool = False) -> list[str]:
        """What is no longer as it was, as `name by file`; the file is empty where none can be told.

        Args:
            often: only what a verdict hangs on, and only where a file of the tree replaces it.
        """
        # To read a function's code is an audit event each time; to change it is one, too, so
        # that it need not be read where there was none.
        rewritten = self.looks.rewritten
        if often and not rewritten:
            with contextlib.suppress(KeyError):  # a name is gone
                if ALL(ALL(MAP(SAME, take(now), was)) for now, take, was in self.fast):
                    return []
        found: set[str] = set()
        for label, holder, kept in self.often if often else self.holders:
            now = vars(holder)
            for name, was in kept.items():
                value = now.get(name, MISSING)
                if value is was and not (
                    rewritten
                    and any(
                        a is not b
                        for one in functions_of(was)
                        for a, b in zip(self.parts[id(one)], parts_of(one))
                    )
                ):
                    continue
                path = self.home(value if value is not was else was)
                if path is not None:
                    found.add(f"{label}.{name} by {path}")
            if often:
                continue
            # A new name that hides one of a class above, or of the builtins.
            bases = holder.__mro__[1:] if is_a(holder, type) else (type(holder), BUILTINS)
            for name in [n for n in now if n not in kept and any(n in vars(b) for b in bases)]:
                value = now[name]
                path = self.home(value) if functions_of(value) or callable(value) else None
                if path:
                    found.add(f"{label}.{name} by {path}")
        if often:
            return sorted(one for one in found if not one.endswith(" by "))
        # What imports the tests, or is told of each call and line, may change them.
        self.looks.busy = True  # what we read here is no look of whoever runs the hooks of pytest
        hooks = (*sys.meta_path, *sys.path_hooks, sys.getprofile(), sys.gettrace())
        self.looks.busy = False
        for one in hooks:
            path = self.home(one) if one is not None and one not in self.finders else None
            if path:
                found.add(f"an import, trace or profile function by {path}")
        return sorted(found)

    def home(self, value: Any) -> str | None:
        """The file of the tree that `value` comes from; None for a dependency's, else empty."""
        path = file_of(value)
        if path.startswith(self.top) and "site-packages" not in path:
            return path[len(self.top) :]
        foreign = "site-packages" in path or "dist-packages" in path
        ours = any(f"{os.sep}{name}{os.sep}" in path for name in RUNNERS)
        return None if (foreign and not ours) or path.endswith(LATE) else ""

    def equal_to_all(self) -> list[str]:
        """The classes of the tree whose objects say that they are equal to anything."""
        found = set()
        for name in set(self._of_tree()):
            values = list(part(sys.modules[name], "__dict__", {}).values())
            for one in [one for one in values if is_a(one, type)]:
                own = part(one, "__module__") == name and is_a(vars(one).get("__eq__"), FUNCTION)
                if own and says_yes(one):
                    found.add(f"{name}.{one.__qualname__}.__eq__ by {self.home(one) or ''}")
        return sorted(found)


def part(value: Any, name: str, default: Any = None) -> Any:
    """An attribute of what the tested code made: where that runs code of its own, it may raise."""
    try:
        return getattr(value, name, default)
    except Exception:
        return default


def is_a(value: Any, *kinds: type) -> bool:
    """`isinstance` by what a value is; that asks a proxy, which may not know yet, or lie."""
    return issubclass(type(value), kinds)


def callables(values: Any) -> dict[str, Any]:
    return {
        key: one
        for key, one in list(values.items())
        if callable(one) or functions_of(one) or is_a(one, float)
    }


def functions_of(value: Any) -> tuple[Any, ...]:
    value = value.fget if is_a(value, property) else part(value, "__func__", value)
    return (value,) if is_a(value, FUNCTION) else ()


def parts_of(function: Any) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def file_of(value: Any) -> str:
    for _ in range(5):
        inner = value.func if is_a(value, functools.partial) else None
        inner = inner or part(value, "__func__")
        if is_a(value, property):
            inner = value.fget
        elif is_a(value, functools._lru_cache_wrapper) and part(value, "__code__") is None:
            inner = value.__wrapped__
        if inner is None:
            break
        value = inner
    if is_a(value, types.ModuleType):
        return os.path.abspath(part(value, "__file__") or "")
    code = part(value, "__code__")
    path = part(code, "co_filename", "")
    if is_a(code, types.CodeType) and not os.path.isfile(path):  # from `exec`
        path = value.__globals__.get("__file__") or ""
    if not code:
        name = part(value, "__module__")
        if not is_a(name, str):
            name = type(value).__module__
        path = part(sys.modules.get(name), "__file__") or ""
    return os.path.abspath(path) if is_a(path, str) and path else ""


def says_yes(cls: type) -> bool:
    """Whether an object of a class claims to equal things that have nothing in common, or the one
    of a kind of number to equal others near it; no code of the tree runs but the comparison.
    """
    number = next((one for one in (int, float, Fraction, Decimal) if issubclass(cls, one)), None)
    maker: Any = number or next((o for o in cls.__mro__ if not o.__flags__ & HEAP_TYPE), object)
    try:
        made = maker.__new__(cls, 1) if number else maker.__new__(cls)
        wide = number is not None and any((made == other) is True for other in (1.001, 1.5, 2))
        return wide or all((made == other) is True for other in (object(), 12345.678, "nothing"))
    except Exception:  # whatever an unfinished object does, it does not say yes
        return False


def import_origins(names: Iterable[str]) -> dict[str, list[object]]:
    origins: dict[str, list[object]] = {}
    for name in names:
        # what was imported counts; device and inode see through links and mounts
        path = part(sys.modules.get(name), "__file__")
        if path is None and name not in sys.modules:
            try:
                path = getattr(importlib.util.find_spec(name), "origin", None)
            except (ImportError, ValueError, AttributeError):
                path = None
        try:
            status = os.stat(path or "")
        except (OSError, TypeError, ValueError):
            continue
        origins[name] = [status.st_dev, status.st_ino, str(path)]
    return origins
