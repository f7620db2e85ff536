"""Which files of the tree look at how they are run: at their callers, or at who started the process.

Code that behaves otherwise under test has to find that out. What it can ask tells on it: audit
events, and the parts of a few modules that only say how this process was set up.
"""

from __future__ import annotations

import inspect
import os
import pathlib
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

EVENTS = {"sys._getframe", "sys._current_frames", "gc.get_objects", "gc.get_referrers"}
BETWEEN = frozenset({inspect.__file__, pathlib.__file__, "<self-coding>"})  # where it goes through
PARTS = {"__code__", "__defaults__", "__kwdefaults__"}
READS = ("__iter__", "__contains__", "__getitem__", "__add__", "copy", "index", "count")


class Looks:
    """What the files below `top` have looked at, as `what by file`."""

    def __init__(self, top: str, functions: Collection[int]) -> None:
        self.top = top + os.sep
        self.found: set[str] = set()
        self.busy = False
        self.functions = functions  # by their ids
        self.rewritten = False  # whether one of them may have got another code or other defaults
        sys.addaudithook(self.hear)
        for name in ("path", "meta_path"):
            setattr(sys, name, told_list(f"sys.{name}", getattr(sys, name), self.note))
        tell(sys, ("dont_write_bytecode", "orig_argv"), self.note)
        tell(os, ("getpid", "getppid"), self.note)
        tell(warnings, ("filters",), self.note)
        tell(sys.modules["__main__"], ("__package__", "__spec__"), self.note)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook, so it must never raise."""
        if event in EVENTS:
            self.note(event)
        elif event == "object.__setattr__" and arguments[1] in PARTS:
            self.rewritten |= id(arguments[0]) in self.functions
        elif event[:7] == "ctypes.":  # what writes into memory changes functions unheard
            self.rewritten = True
        elif event == "open" and str(arguments[0]).startswith("/proc/"):
            self.note("/proc")

    def note(self, what: str) -> None:
        """Remember the file of the tree that looks right now."""
        if self.busy:
            return
        self.busy = True  # asking for a frame is such an event itself
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename in BETWEEN:
            frame = frame.f_back
        path = frame.f_code.co_filename if frame is not None else ""
        # The interpreter reads the filters for any line that warns.
        meant = what != "warnings.filters" or "filters" in frame.f_code.co_names
        if meant and path.startswith(self.top) and "site-packages" not in path:
            self.found.add(f"{what} by {path[len(self.top) :]}")
        self.busy = False


def tell(module: Any, names: tuple[str, ...], note: Callable[[str], None]) -> None:
    """Have a module tell when these of its names are read from Python; C code reads on in silence."""

    def told(name: str) -> property:
        def get(self: Any) -> Any:
            note(f"{module.__name__}.{name}")
            return vars(self)[name]

        def put(self: Any, value: Any) -> None:
            vars(self)[name] = value

        def drop(self: Any) -> None:
            del vars(self)[name]

        return property(get, put, drop)

    kind: Any = type(module)
    module.__class__ = type(kind.__name__, (kind,), {name: told(name) for name in names})


def told_list(what: str, values: list[Any], note: Callable[[str], None]) -> list[Any]:
    """A list that tells when it is read: to add to it is ordinary."""

    def told(name: str) -> Any:
        was = getattr(list, name)

        def read(self: Any, *args: Any) -> Any:
            note(what)
            return was(self, *args)

        return read

    made: list[Any] = type("list", (list,), {name: told(name) for name in READS})(values)
    return made
