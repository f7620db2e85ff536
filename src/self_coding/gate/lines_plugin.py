"""A pytest plugin that records which lines of the tree ran, and on whose behalf.

It is loaded from outside the tested tree, beside the census, where the gate asks for it; it imports
the standard library, pytest, the coverage.py of the tests' own interpreter, and its neighbours of
the same kit. Work is done on behalf of a test file (by its tests and their fixtures), or once for
all that load some file (while it was imported, or in a fixture that several test files share), else
for all tests. It guesses nothing: where somebody else traces, or something ran unseen, it says why
and tells nothing.
"""
# ruff: noqa: D102, PTH120 - pytest documents hooks; os is loaded anyway

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import sysconfig
import threading
import warnings
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import pytest
from _pytest import fixtures

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import coverage

Doer = tuple[str, int]  # a path, and whether the work is done once for all that load it
ALL: Doer = ("", 1)
NOBODY: Doer = ("", 2)
_IMPORTS = "self_coding_importlib_bootstrap"  # warnings pass over frames of such a name
_STARTS, _CACHES = "self_coding_starts", "self_coding_caches"
_OLDEST = 7  # of coverage.py
_MOST = 8 << 20  # characters that are told
_OTHERS = ("stdlib", "platstdlib", "purelib", "platlib")  # what sysconfig calls their folders
_SHARED_SCOPES = ("session", "package")
realpath, isdir = os.path.realpath, os.path.isdir  # as they are now: a test may replace them
_ENDED = (0, 1, 5)  # exit statuses of pytest after which every test has had its turn


class Lines:
    """Records one pytest process from the moment it is made.

    Args:
        top: the folder of the tested tree.
    """

    def __init__(self, top: str) -> None:
        self.top = realpath(top) + os.sep
        others = map(realpath, map(sysconfig.get_path, _OTHERS))
        self.known = (self.top, os.path.dirname(__file__) + os.sep, *others)
        self.why = ""  # why nothing is told
        self.main = threading.get_ident()
        self.stacks: dict[int, list[Doer]] = {self.main: [ALL]}
        self.now = frozenset([ALL])
        self.names = {self.now: ""}  # coverage.py's context for each set of doers
        self.seen: set[Doer] = set()
        self.loaded: set[str] = set()
        self.unseen = set(self._modules())
        self.starting: set[Doer] = set()
        self.partial: set[str] = set()
        self.lock = threading.RLock()
        self.undo: list[tuple[object, str, object]] = []
        self.coverage: coverage.Coverage | None = None
        self.tracer: object = None
        self.imports: Any = None  # its class lies in another file of the kit, as does
        self.caches: Any = None
        self._begin()

    # -- starting and giving up --------------------------------------------------------------

    def _begin(self) -> None:
        """Start coverage.py and watch what it cannot see; or remember why not."""
        self.why = self._start()
        if not self.why:
            self._watch()

    def _start(self) -> str:
        if sys.gettrace() is not None:
            return "another tracer was active"
        try:
            import coverage
        except ImportError:
            return "coverage.py is not installed where the tests run"
        if coverage.version_info[0] < _OLDEST:
            return f"coverage.py is older than {_OLDEST}"
        core = os.environ.get("COVERAGE_CORE")
        os.environ["COVERAGE_CORE"] = "ctrace"  # the only one that is quick and knows contexts
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                top = self.top.rstrip(os.sep)
                self.coverage = coverage.Coverage(data_file=None, config_file=False, source=[top])
                self.coverage.start()
        finally:
            del os.environ["COVERAGE_CORE"]
            if core is not None:
                os.environ["COVERAGE_CORE"] = core
        self.tracer = sys.gettrace()
        if type(self.tracer).__name__ != "CTracer":
            self.coverage.stop()
            return "coverage.py has no C tracer here"
        return ""

    def _watch(self) -> None:
        """See imports, shared fixtures, started programs, and whoever takes the trace away."""
        kind = importlib.import_module(_IMPORTS).Imports
        self.imports = kind(lambda: self.now, self._file)
        self.imports.stand_before(self._replace, self._loading)
        self._replace(fixtures.FixtureDef, "finish", self._finishing(fixtures.FixtureDef.finish))
        for module in (sys, threading):
            self._replace(module, "settrace", self._settrace(module.settrace))
        collector = getattr(self.coverage, "_collector", None)
        self._replace(collector, "pause", self._pausing(collector.pause))  # type: ignore[union-attr]
        self.caches = importlib.import_module(_CACHES).Caches()
        importlib.import_module(_STARTS).Starts(self, self._replace)

    def _replace(self, owner: object, name: str, new: object) -> None:
        self.undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, new)

    def give_up(self, why: str) -> None:
        """Tell nothing after all, and be out of the way for the rest of the run."""
        if not self.why:
            self.why = why
            self._end()

    def _end(self) -> None:
        for owner, name, was in reversed(self.undo):
            setattr(owner, name, was)
        self.undo.clear()
        with suppress(AssertionError):  # another measurement is going on above ours
            cast("coverage.Coverage", self.coverage).stop()

    # -- on whose behalf ---------------------------------------------------------------------

    @contextmanager
    def on_behalf(self, doer: Doer) -> Iterator[None]:
        """What this thread does meanwhile is done for `doer`."""
        mine = self.stacks.setdefault(threading.get_ident(), [])
        mine.append(doer)
        self._switch()
        try:
            yield
        finally:
            mine.pop()
            if not mine:
                self.stacks.pop(threading.get_ident(), None)
            self._switch()

    def turn_to(self, doer: Doer) -> None:
        """From here on the main thread works for `doer`, where it does nothing more special."""
        self.stacks[self.main][0] = doer
        self._switch()

    def _switch(self) -> None:
        """Tell coverage.py for whom all threads together work now.

        Threads cannot be told apart: while one of them imports, what runs is done for both.
        """
        with self.lock:
            now = frozenset(stack[-1] for stack in list(self.stacks.values()) if stack)
            if self.why or now == self.now:
                return
            if threading.get_ident() == self.main and sys.gettrace() is not self.tracer:
                self.give_up("the tests took the trace away")
                return
            self.now = now
            name = self.names.setdefault(now, str(len(self.names)))
            self.seen |= now
            cast("coverage.Coverage", self.coverage).switch_context(name)

    @contextmanager
    def _loading(self, path: str, module: object) -> Iterator[None]:
        """A file is loaded; what is not of the tree works for all, if it does."""
        if not path:
            with self.on_behalf(ALL):
                yield
            return
        self.loaded.add(path)
        its_own = (path, 0) in self.now  # pytest loads a test file
        with self.on_behalf((path, 1)), self.caches.growing(shared=False, keep=not its_own):
            yield
        self.caches.loaded(module)

    def _finishing(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def finish(fixture: pytest.FixtureDef[object], request: object) -> None:
            with self._fixture(fixture):
                return original(fixture, request)

        return finish

    @contextmanager
    def _fixture(self, fixture: pytest.FixtureDef[object]) -> Iterator[None]:
        """What a fixture does that several test files share is done once for all who load it."""
        if fixture.scope not in _SHARED_SCOPES:
            yield
            return
        doer = (self._home(fixture.func), 1)
        with self.on_behalf(doer), self.caches.growing(shared=True):
            yield

    def _home(self, function: Callable[..., object]) -> str:
        """The file that defines a function; nothing, which is for all, where that is not known."""
        while isinstance(function, functools.partial):
            function = function.func
        code = getattr(inspect.unwrap(function), "__code__", None)
        return self.inside(getattr(code, "co_filename", None))

    def _empty_caches(self) -> None:
        """What one file left in a cache would hide what the next one calls."""
        if not self.why:
            with self.on_behalf(NOBODY):
                self.caches.empty()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, object, None]:
        path = self._file_of(collector)
        if not path:
            yield
            return
        self._empty_caches()
        with self.on_behalf((path, 0)):
            yield

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._empty_caches()
        for node in {node for item in session.items for node in item.listchain()[:-1]}:
            if not self._file_of(node):  # a package: its set-up is done once for all below it
                node.setup = functools.partial(self._for_all, node.setup)  # type: ignore[method-assign]
                node.addfinalizer = functools.partial(self._later, node.addfinalizer)  # type: ignore[method-assign]

    def _for_all(self, work: Callable[[], object]) -> None:
        with self.on_behalf(ALL):
            work()

    def _later(
        self, add: Callable[[Callable[[], object]], None], work: Callable[[], object]
    ) -> None:
        add(functools.partial(self._for_all, work))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, None]:
        path = self._file_of(item)
        self.turn_to((path, 0) if path else ALL)
        yield
        if nextitem is None or self._file_of(nextitem) != path:
            self.turn_to(ALL)
            self._empty_caches()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, None]:
        with self._fixture(fixturedef):
            yield

    # -- what spoils a record ----------------------------------------------------------------

    def _settrace(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def settrace(function: object) -> None:
            caller = sys._getframe(1).f_globals.get("__name__", "")
            ours = caller == "threading" or caller.startswith("coverage.")
            if not ours and function is None and not any(once for _, once in self.now):
                self.partial |= {file for file, _ in self.now}  # for a while, as benchmarks do
            elif not ours and function is not self.tracer:
                self.give_up("the tests set a tracer of their own")
            original(function)

        return settrace

    def _pausing(self, original: Callable[[], None]) -> Callable[[], None]:
        def pause() -> None:
            if not self.why:
                self.why = "another measurement of coverage was active"
            original()

        return pause

    def starts(self) -> None:
        if not self.why:
            self.starting |= self.now

    def pytest_deselected(self, items: Iterable[pytest.Item]) -> None:
        """Of a file of which some tests do not run here, no record is made."""
        self.partial |= {self._file_of(item) for item in items}

    # -- telling -----------------------------------------------------------------------------

    def told(self, status: int) -> list[dict[str, object]]:
        """The record in pieces, the last of them with what concerns all; ends the recording."""
        if not self.why and status not in _ENDED:
            self.give_up("the run was broken off")
        if not self.why:
            self.turn_to(ALL)
        if not self.why and (past := set(self._modules()) - self.loaded - self.unseen):
            self.give_up(f"{min(past)} was loaded by a loader of its own")
        pieces = [] if self.why else self._pieces()
        if sum(len(str(piece)) for piece in pieces) > _MOST:
            self.why, pieces = "there was too much to tell", []
        silent = bool(self.why)
        last: dict[str, object] = {
            "why": self.why,
            "doers": [] if silent else sorted(filter(self._counts, self._real(self.seen))),
            "unseen": [] if silent else sorted(self.unseen),
            "starting": [] if silent else sorted(self._real(self.starting)),
        }
        return [*pieces, last]

    def _real(self, doers: Iterable[Doer]) -> set[Doer]:
        return {real for doer in doers if doer != NOBODY for real in self.imports.real(doer)}

    def _counts(self, doer: Doer) -> bool:
        return bool(doer[1]) or doer[0] not in self.partial

    def _pieces(self) -> list[dict[str, object]]:
        measured = cast("coverage.Coverage", self.coverage)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measured.switch_context("end")  # all is taken over now, so that no folder is walked
            self.why = "told"  # our own end is nobody's pause
            self._end()
            data = measured.get_data()
        self.why = ""
        real = {name: self._real(now) for now, name in self.names.items()}
        ran: dict[Doer, dict[str, bytearray]] = defaultdict(dict)
        for file in data.measured_files():
            path = self.inside(file)
            for line, contexts in data.contexts_by_lineno(file).items() if path else ():
                for doer in {one for context in contexts for one in real.get(context, ())}:
                    _mark(ran[doer].setdefault(path, bytearray()), line)
        self.imports.mark_read(ran, self.top)
        asked = self.imports.told(ran)
        files = sorted(set().union(*asked.values()))
        place = {path: at for at, path in enumerate(files)}
        return [
            {"files": files},
            *(
                {
                    "by": doer,
                    "ran": {path: bits.hex() for path, bits in ran.get(doer, {}).items()},
                    "asked": sorted(place[path] for path in asked.get(doer, ())),
                }
                for doer in [*ran, *(asked.keys() - ran)]
                if self._counts(doer)
            ),
        ]

    # -- paths -------------------------------------------------------------------------------

    def inside(self, path: str | None) -> str:
        """A Python file of the tree, relative to its top; nothing for any other."""
        own = path and path.endswith(".py") and "site-packages" not in path
        return self._relative(path) if path and own else ""

    def _file(self, path: str | None) -> str:
        """The same; the whole path of a file that a test may have made, outside the tree."""
        inside = self.inside(path)
        if inside or not path or not path.endswith(".py") or "-packages" in path:
            return inside
        real = realpath(path)
        return "" if real.startswith(self.known) else real

    def _relative(self, path: str) -> str:
        real = realpath(path)
        return real[len(self.top) :] if real.startswith(self.top) else ""

    def _file_of(self, node: object) -> str:
        """The test file of a test, a class or a module; nothing for what may hold several."""
        path = str(getattr(node, "path", None) or getattr(node, "fspath", ""))
        several = isinstance(node, pytest.Session | pytest.Package) or isdir(path)
        return "" if several else self._relative(path)

    def _modules(self) -> Iterator[str]:
        """The files of the tree that are loaded."""
        for module in list(sys.modules.values()):
            path = self.inside(getattr(module, "__file__", None))
            if path:
                yield path


def _mark(bits: bytearray, line: int) -> None:
    """Set the bit of a line."""
    if len(bits) <= line // 8:
        bits.extend(bytes(line // 8 + 1 - len(bits)))
    bits[line // 8] |= 1 << line % 8
