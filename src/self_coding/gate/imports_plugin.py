"""The part of the plugin that records which test asks for which file of the tree.

A file is loaded once in a process, whoever is first; but each import statement that runs asks for
it anew. It sees `__import__` and `importlib.import_module`; what is loaded in any other way is
told as odd, for who else would have loaded it is not known. It has no doers of its own: `Lines`
says on whose behalf the process works. It is loaded from outside the tested tree.
"""

from __future__ import annotations

import builtins
import functools
import importlib._bootstrap_external
import os
import sys
import types
from collections import defaultdict
from contextlib import suppress
from itertools import filterfalse
from typing import TYPE_CHECKING, Any

from _pytest.assertion.rewrite import AssertionRewritingHook

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    Doer = tuple[str, int]
    Ran = Mapping[str, bytearray]  # file of the tree -> a bit for each line of it

ALL, NOBODY = ("", 1), ("", 2)
_FUNCTION = 1  # CO_OPTIMIZED: the code of a function, not of a module or a class
_PYTEST = "_pytest.pathlib"  # loads each test file and conftest.py for itself
_CONFTEST = "conftest.py"
_GETATTR = "__getattr__"
isabs = os.path.isabs  # as it is now: a test may replace it


class Imports:
    """Who asked for what, from the moment that it stands before what imports and loads.

    Args:
        now: on whose behalf the process works.
        inside: the file of the tree that an absolute path names; the absolute path of a file that
            a test may have made; "" for others' code.
    """

    def __init__(
        self, now: Callable[[], frozenset[Doer]], inside: Callable[[str | None], str]
    ) -> None:
        self._now = now
        self._inside = functools.cache(inside)
        self._known: set[object] = set()
        self._read: dict[Doer, set[str]] = defaultdict(set)
        self._paths: dict[str, str] = {}  # of modules that may have put others in their place
        self._lazily: dict[tuple[str, int], tuple[types.CodeType, set[str]]] = {}
        self.asked: dict[Doer, set[str]] = defaultdict(set)
        self.odd: set[str] = set()

    def statement(self, original: Callable[..., object]) -> Callable[..., object]:
        """`__import__`, which every import statement calls."""

        @functools.wraps(original)
        def __import__(  # noqa: N807 - its name and arguments are Python's
            name: str,
            globals: Mapping[str, object] | None = None,
            locals: Mapping[str, object] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> object:
            try:
                return original(name, globals, locals, fromlist, level)
            finally:
                if type(name) is str:
                    self._asks(sys._getframe(1), name, globals or {}, fromlist or (), level)

        return __import__

    def function(self, original: Callable[..., object]) -> Callable[..., object]:
        """`importlib.import_module`."""

        @functools.wraps(original)
        def import_module(name: str, package: str | None = None) -> object:
            try:
                return original(name, package)
            finally:
                if type(name) is str:
                    level = len(name) - len(name.lstrip("."))
                    around = {"__package__": package}
                    self._asks(sys._getframe(1), name[level:], around, (), level)

        return import_module

    def stand_before(
        self,
        replace: Callable[[object, str, object], None],
        around: Callable[[str, object], AbstractContextManager[None]],
    ) -> None:
        """Put ours in the place of what imports and loads, wherever it has been taken to."""
        replace(builtins, "__import__", self.statement(builtins.__import__))
        original = importlib.import_module
        ours = self.function(original)
        for module in list(sys.modules.values()):
            if _contents(module).get(original.__name__) is original:
                replace(module, original.__name__, ours)
        basics = importlib._bootstrap_external._LoaderBasics  # type: ignore[attr-defined]
        for loader in (basics, AssertionRewritingHook):
            replace(loader, "exec_module", self.loader(loader.exec_module, around))

    def loader(
        self,
        original: Callable[..., None],
        around: Callable[[str, object], AbstractContextManager[None]],
    ) -> Callable[..., None]:
        """A loader's `exec_module`, with something `around` each file that it loads."""

        @functools.wraps(original)
        def exec_module(loader: object, module: Any) -> None:
            path = self._inside(getattr(module.__spec__, "origin", None))
            if path:
                self._loads(path, module.__name__)
            with around(path, module):
                original(loader, module)

        return exec_module

    def _loads(self, path: str, name: str) -> None:
        """A file is about to be loaded as a module.

        A load that fails leaves no module to find, so that who asked is noted here.
        """
        self._paths[name] = path
        frame: types.FrameType | None = sys._getframe(2)
        while frame and _name(frame).partition(".")[0] == "importlib":
            frame = frame.f_back
        files, by = {path}, _name(frame) if frame else ""
        if by == _PYTEST:  # in its own way, with the packages around where nobody has loaded them
            files.update(filter(None, map(self._file, self._names(name, ()))))
        elif by != __name__:
            self.odd.add(path)
        doers = self._now()
        if _is_conftest(path) and not any(doer for doer, _ in doers):
            doers = frozenset([(path, 1)])  # pytest's; for the tests below its folder
        for doer in doers:
            self.asked[doer] |= files

    def reads(self, path: str) -> None:
        """A file of the tree is opened as data."""
        for doer in self._now():
            self._read[doer].add(path)

    def mark_read(self, ran: dict[Doer, dict[str, bytearray]], top: str) -> None:
        """Whoever read a file as data depends on each line of it."""
        every = {path: _lines(top + path) for paths in self._read.values() for path in paths}
        for doer, paths in self._read.items():
            for real in self.real(doer) - {NOBODY}:
                for path in paths:
                    ran.setdefault(real, {})[path] = bytearray(b"\xff" * (every[path] // 8 + 1))

    def told(self, ran: Mapping[Doer, Ran]) -> dict[Doer, set[str]]:
        """Doer -> the files it asked for, or that a function it ran asked for at any time.

        A function may ask once and keep what it got: who calls it later has it, too. What is odd
        all may have asked for.
        """
        found: dict[Doer, set[str]] = defaultdict(set)
        found[ALL] = set(self.odd)
        for doer, files in self.asked.items():
            for real in self.real(doer):
                found[real] |= files
        found.pop(NOBODY, None)
        for (path, _), (code, files) in self._lazily.items():
            lines = {line for *_, line in code.co_lines() if line} - {code.co_firstlineno}
            for doer, where in ran.items():
                if any(_has(where.get(path, b""), line) for line in lines):
                    found[doer] |= files
        return {doer: set(filterfalse(isabs, files)) for doer, files in found.items()}

    def real(self, doer: Doer) -> set[Doer]:
        """The doer itself; for a file outside of the tree that a test made, who asked for it."""
        if not isabs(doer[0]):
            return {doer}
        found: set[Doer] = set()
        seen, left = {doer[0]}, [doer[0]]
        while left:
            file = left.pop()
            askers = {one for one, files in self.asked.items() if file in files}
            found |= {one for one in askers if not isabs(one[0])}
            found |= {ALL} if file in self.odd or not askers else set()
            further = {path for path, _ in askers if isabs(path)} - seen
            seen |= further
            left += further
        return found

    def _asks(
        self,
        frame: types.FrameType,
        name: str,
        around: Mapping[str, object],
        parts: Iterable[str],
        level: int,
    ) -> None:
        """Note what this frame asked for, unless the same line did for the same doers before."""
        doers, code = self._now(), frame.f_code
        parts = tuple(map(str, parts))
        full = _absolute(name, around, level)
        at = (code.co_filename, code.co_firstlineno, frame.f_lasti)
        key = (doers, at, name, parts, level)
        if key in self._known:
            return
        names = list(self._names(full, parts))
        if full in sys.modules and all(sys.modules.get(each, self) for each in names):
            self._known.add(key)  # else there may be more to find next time
        files = {path for each in names if (path := self._file(each))}
        conftests = set(filter(_is_conftest, files))
        if conftests and _name(frame) == _PYTEST:
            doers = frozenset((path, 1) for path in conftests)  # for the tests below its folder
        for doer in doers | self._holders(frame, full):
            self.asked[doer] |= files
        path = self._inside(code.co_filename)
        if path and files and code.co_flags & _FUNCTION:
            self._lazily.setdefault((path, code.co_firstlineno), (code, set()))[1].update(files)

    def _holders(self, frame: types.FrameType | None, full: str) -> set[Doer]:
        """Who else has what is imported now: a `__getattr__` may be called once and keep it.

        That of a module keeps it for all that load the module; that of an object, for all.
        """
        if frame and frame.f_code.co_name == _GETATTR and not self._inside(_file_of(frame)):
            package = self._file(full.rpartition(".")[0])
            return {(package, 1)} if package else set()
        found: set[Doer] = set()
        while frame and frame.f_code.co_name != "<module>":
            path = self._inside(_file_of(frame))
            if not path and _name(frame).partition(".")[0] != "importlib":
                break
            if path and frame.f_code.co_name == _GETATTR:
                found.add((path, 1) if frame.f_code.co_argcount == 1 else ALL)
            frame = frame.f_back
        return found

    def _names(self, name: str, parts: Collection[str]) -> Iterator[str]:
        """The modules that are asked for with a module and those parts of it."""
        yield name
        yield from (name[:end] for end, letter in enumerate(name) if letter == ".")
        if "*" in parts:
            offered = _contents(sys.modules.get(name)).get("__all__")
            parts = offered if isinstance(offered, list | tuple) else ()
        yield from (f"{name}.{part}" for part in parts)

    def _file(self, name: str) -> str:
        """The file of the tree that a module was loaded from; "" for any other."""
        module = sys.modules.get(name)
        path = _contents(module).get("__file__")
        if isinstance(path, str):
            return self._inside(path)
        return self._paths.get(name, "") if module is not None else ""


def _lines(path: str) -> int:
    """How many lines a file has; 0 when it is gone."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read().count(b"\n") + 1
    return 0


def _absolute(name: str, around: Mapping[str, object], level: int) -> str:
    """The full name of a module that is asked for from a module with these globals."""
    if not level:
        return name
    package = around.get("__package__")
    if package is None:
        package = getattr(around.get("__spec__"), "parent", None)
    above = str(package or "").rsplit(".", level - 1)[0]
    return f"{above}.{name}" if name else above


def _contents(module: object) -> Mapping[str, object]:
    """A module's own names, without waking a lazy one."""
    with suppress(AttributeError, TypeError):
        found = object.__getattribute__(module, "__dict__")
        return found if isinstance(found, dict) else {}
    return {}


def _is_conftest(path: str) -> bool:
    return path.rpartition("/")[2] == _CONFTEST


def _file_of(frame: types.FrameType) -> str:
    return frame.f_code.co_filename


def _name(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _has(bits: bytes | bytearray, line: int) -> bool:
    return line // 8 < len(bits) and bool(bits[line // 8] >> line % 8 & 1)
