"""The part of the plugin that empties caches between test files, while lines are recorded.

What one test file left in a cache hides from the record what the next one would have called. It
empties what `functools.cache` and `lru_cache` keep, and what the tree names a cache and had not
filled by the time it was loaded. What is filled while other files of the tree are loaded is a
registry and stays; so does what a fixture made that several test files share. A test that minds
all the same ends otherwise than when it counts, and then has no record. It is loaded from outside
the tested tree.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAMED = re.compile(r"cache|memo(?:i[sz]ed?)?s?(?![a-z])", re.IGNORECASE)
_PLAIN = (dict, list, set)
_DEPTH = 4  # decorators that are looked through


class _Held:
    """A cache: an object of its own, and what it holds to begin with."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.first: Any = type(cache)() if type(cache) in _PLAIN else ()
        self.is_function = hasattr(type(cache), "cache_clear")

    def size(self) -> int:
        return int(self.cache.cache_info().currsize if self.is_function else len(self.cache))

    def keep(self) -> bool:
        """Let what it holds now be what it begins with; whether that can be."""
        if type(self.cache) in _PLAIN:
            self.first = self.cache.copy()
        return type(self.cache) in _PLAIN

    def empty(self) -> None:
        if self.is_function:
            self.cache.cache_clear()
            return
        self.cache.clear()
        if self.first:
            (self.cache.extend if type(self.cache) is list else self.cache.update)(self.first)


class _Name:
    """A name that is None until something is kept under it."""

    is_function = False

    def __init__(self, owner: object, name: str) -> None:
        self.owner, self.name = owner, name

    def size(self) -> int:
        return int(getattr(self.owner, self.name, None) is not None)

    def keep(self) -> bool:
        return False

    def empty(self) -> None:
        if self.size():
            setattr(self.owner, self.name, None)


class Caches:
    """The caches of the modules that were told of."""

    def __init__(self) -> None:
        self._held: dict[object, _Held | _Name] = {}
        self._modules: set[str] = set()

    def loaded(self, module: object) -> None:
        """A module of the tree has just been loaded."""
        with suppress(Exception):  # what calls itself a module may be anything
            names = vars(module)
            self._modules.add(names["__name__"])
            self._look(module, names)
            for value in list(names.values()):
                self._look_inside(value, names["__name__"])

    @contextmanager
    def growing(self, *, shared: bool, keep: bool = True) -> Iterator[None]:
        """What is filled meanwhile stays: of a module that is loaded, or of a `shared` fixture."""
        if not keep:
            yield
            return
        before = {key: _size(held) for key, held in self._held.items()}
        try:
            yield
        finally:
            for key, held in list(self._held.items()):
                grown = _size(held) != before.get(key, 0)
                if grown and not held.keep() and (shared or not held.is_function):
                    del self._held[key]

    def empty(self) -> None:
        """Empty them all."""
        for held in list(self._held.values()):
            with suppress(Exception):  # it was no cache after all
                held.empty()

    def _look_inside(self, value: Any, module: str) -> None:
        """Look at a class of the module, and at an object of a class of the tree."""
        with suppress(Exception):  # a class may be of any type
            if issubclass(type(value), type) and value.__module__ == module:
                self._look(value, vars(value))
            elif type(value).__module__ in self._modules:
                self._look(None, object.__getattribute__(value, "__dict__"))

    def _look(self, owner: object, names: Mapping[str, Any]) -> None:
        for name, value in list(names.items()):
            if value is None and owner is not None and _NAMED.search(name):
                self._held.setdefault((id(owner), name), _Name(owner, name))
            elif _NAMED.search(name) and _is_empty(value):
                self._hold(value)
            else:
                for cache in _within(value, _DEPTH):
                    self._hold(cache)

    def _hold(self, cache: object) -> None:
        self._held.setdefault(id(cache), _Held(cache))


def _within(value: Any, depth: int) -> Iterator[object]:
    """The caches of a function: `functools`' own, and those that its decorators close over."""
    kind = type(value)
    if not depth:
        return
    if kind.__module__ == "functools" and hasattr(kind, "cache_clear"):
        yield value
    elif kind in (staticmethod, classmethod):
        yield from _within(value.__func__, depth)
    elif kind is property:
        yield from _within(value.fget, depth)
    elif kind is FunctionType:
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            kept = _content(cell)
            if _NAMED.search(name) and _is_empty(kept):
                yield kept
            else:
                yield from _within(kept, depth - 1)


def _content(cell: CellType) -> Any:
    with suppress(ValueError):  # nothing yet
        return cell.cell_contents
    return None


def _is_empty(value: Any) -> bool:
    """Whether it holds things, can be emptied, and holds nothing yet."""
    holds = all(hasattr(type(value), method) for method in ("__len__", "__contains__", "clear"))
    with suppress(Exception):
        return holds and not len(value)
    return False


def _size(held: _Held | _Name) -> int:
    with suppress(Exception):
        return held.size()
    return -1
