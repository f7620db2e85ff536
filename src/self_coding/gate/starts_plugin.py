"""The part of the plugin that hears of processes that tests start, and of source that they read.

No record follows another process; and who reads a file as data depends on lines that never run.
It hears what Python announces (`sys.audit`), and stands before the one call that nothing announces.
It is loaded from outside the tested tree.
"""

from __future__ import annotations

import functools
import importlib
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

_STARTS = frozenset(
    """os.fork os.forkpty os.posix_spawn os.system os.exec os.spawn pty.spawn
    subprocess.Popen""".split()  # noqa: SIM905 - read as prose
)
_ASKING = ("ctypes.util", "platform", "uuid")  # ask programs of the system
_LOADING = (
    "importlib._bootstrap",
    "linecache",
    "tokenize",
    "_pytest.",
    "coverage.",
    "self_coding_",
)
_LOADER = (
    "self_coding_importlib_bootstrap",
    "exec_module",
)  # has a `path`, empty for others' modules


class Starts:
    """Tells the record whenever the tests, or what they call, start a process or read a file.

    Args:
        record: what is told so, and knows the files of the tree.
        replace: puts something in the place of a module's attribute, for the time of the record.
    """

    def __init__(self, record: Any, replace: Callable[[object, str, object], None]) -> None:
        self._record = record
        with suppress(ImportError):  # multiprocessing starts its processes by this
            posix = importlib.import_module("_posixsubprocess")
            replace(posix, "fork_exec", self._forking(posix.fork_exec))
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in _STARTS and not self._others_own():
            self._record.starts()
        elif event == "open" and type(arguments[0]) is str and arguments[0].endswith(".py"):
            path = "" if self._record.why else self._record.inside(arguments[0])
            if path and not self._is_loading():
                self._record.imports.reads(path)

    def _forking(self, original: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(original)
        def fork_exec(*arguments: object) -> object:
            self._audit("subprocess.Popen", ())
            return original(*arguments)

        return fork_exec

    def _is_loading(self) -> bool:
        """Whether a file is opened to run it, or to show it beside an error."""
        frame: FrameType | None = sys._getframe(2)
        while frame and not self._record.inside(frame.f_code.co_filename):
            if str(frame.f_globals.get("__name__")).startswith(_LOADING):
                return True
            frame = frame.f_back
        return False

    def _others_own(self) -> bool:
        """Whether it is others' code that asks the system something, not the tree's.

        So does `ctypes.util.find_library`, and what is imported from outside the tree, as trio.
        """
        frame: FrameType | None = sys._getframe(2)
        while frame and not self._record.inside(frame.f_code.co_filename):
            name = frame.f_globals.get("__name__")
            loading = (name, frame.f_code.co_name) == _LOADER
            if name in _ASKING or (loading and not frame.f_locals["path"]):
                return True
            frame = frame.f_back
        return False
