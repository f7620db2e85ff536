"""The part of the plugin that sees the tests start other processes, which no record follows.

It hears what Python announces (`sys.audit`), and stands before the one call that nothing
announces. It is loaded from outside the tested tree.
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

_STARTS = frozenset(
    """os.fork os.forkpty os.posix_spawn os.system os.exec os.spawn pty.spawn
    subprocess.Popen""".split()  # noqa: SIM905 - read as prose
)
_ASKING = ("ctypes.util", "platform", "uuid")  # ask programs of the system
_LOADER = (
    "self_coding_importlib_bootstrap",
    "exec_module",
)  # has a `path`, empty for others' modules


class Starts:
    """Calls `note` whenever the tests, or what they call, start a process.

    Args:
        note: is told so; it must not fail.
        inside: the file of the tree that an absolute path names; "" for any other.
        replace: puts something in the place of a module's attribute, for the time of the record.
    """

    def __init__(
        self,
        note: Callable[[], None],
        inside: Callable[[str | None], str],
        replace: Callable[[object, str, object], None],
    ) -> None:
        self._note = note
        self._inside = inside
        with suppress(ImportError):  # multiprocessing starts its processes by this
            posix = importlib.import_module("_posixsubprocess")
            replace(posix, "fork_exec", self._forking(posix.fork_exec))
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: object) -> None:
        del arguments
        if event in _STARTS and not self._others_own():
            self._note()

    def _forking(self, original: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(original)
        def fork_exec(*arguments: object) -> object:
            self._audit("subprocess.Popen", None)
            return original(*arguments)

        return fork_exec

    def _others_own(self) -> bool:
        """Whether it is others' code that asks the system something, not the tree's.

        So does `ctypes.util.find_library`, and what is imported from outside the tree, as trio.
        """
        frame: FrameType | None = sys._getframe(2)
        while frame and not self._inside(frame.f_code.co_filename):
            name = frame.f_globals.get("__name__")
            loading = (name, frame.f_code.co_name) == _LOADER
            if name in _ASKING or (loading and not frame.f_locals["path"]):
                return True
            frame = frame.f_back
        return False
