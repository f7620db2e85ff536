"""The part of the plugin that empties caches between test files, while lines are recorded.

What one test file left in a cache hides from the record what the next one would have called. It
empties what `functools.cache` and `lru_cache` keep, and what a module of the tree names a cache
and had not filled by the time it was loaded. A test that minds ends otherwise than when it
counts, and then has no record. It is loaded from outside the tested tree.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

_NAMED = re.compile(r"cache|memo(?:i[sz]ed?)?s?(?![a-z])", re.IGNORECASE)


class Caches:
    """The caches of the modules that were told of."""

    def __init__(self) -> None:
        self._emptying: list[Callable[[], object]] = []

    def loaded(self, module: object) -> None:
        """A module of the tree has just been loaded."""
        names = vars(module)
        self._emptying += _found(names)
        for value in list(names.values()):
            with suppress(Exception):  # a class may be of any type
                if issubclass(type(value), type) and value.__module__ == names["__name__"]:
                    self._emptying += _found(vars(value))

    def empty(self) -> None:
        """Empty them all."""
        for emptying in self._emptying:
            with suppress(Exception):  # it was no cache after all
                emptying()


def _found(names: Mapping[str, Any]) -> Iterator[Callable[[], object]]:
    """What empties the caches among these; nothing is asked of objects but what their type has."""
    for name, value in list(names.items()):
        held = value.__func__ if type(value) in (staticmethod, classmethod) else value
        if type(held).__module__ == "functools" and hasattr(type(held), "cache_clear"):
            yield held.cache_clear
        elif _NAMED.search(name) and _is_empty(held):
            yield held.clear


def _is_empty(value: Any) -> bool:
    """Whether it holds things, can be emptied, and holds nothing yet."""
    holds = all(hasattr(type(value), method) for method in ("__len__", "__contains__", "clear"))
    with suppress(Exception):
        return holds and not len(value)
    return False
