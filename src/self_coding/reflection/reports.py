"""What readers of test output hand on: frames, what was raised, and the tests that failed.

Values only. It refuses to know which runner wrote the text, and what the change was.
"""

from __future__ import annotations

from dataclasses import dataclass

_ELSEWHERE = ("site-packages/", "dist-packages/", "/lib/python", ".tox/", ".nox/", "/_pytest/")


@dataclass(frozen=True)
class Frame:
    """One place of a traceback; `code` is its source line where the text shows it.

    `foreign` is set once the repository's directory is known and does not hold the path.
    """

    path: str
    line: int
    function: str = ""
    code: str = ""
    foreign: bool = False

    @property
    def inside(self) -> bool:
        """Whether the frame can lie in the repository: no library, interpreter or made-up file."""
        if self.foreign or self.path.startswith(("../", "~")) or "<" in self.path:
            return False
        return not any(part in self.path for part in _ELSEWHERE)


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An exception as the text shows it, its frames outermost first.

    `details` are the lines that explain it (pytest's `E` lines), `source` the source lines
    shown around its frames, `syntax` the place a syntax error names, and `causes` the
    exceptions it was raised from (`direct`: by `raise ... from`), or an exception group's members.
    """

    exception: str = ""
    message: str = ""
    frames: tuple[Frame, ...] = ()
    details: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    syntax: Frame | None = None
    causes: tuple[Raised, ...] = ()
    direct: bool = False

    @property
    def inside(self) -> tuple[Frame, ...]:
        """The frames that can lie in the repository."""
        return tuple(frame for frame in self.frames if frame.inside)

    @property
    def is_empty(self) -> bool:
        """Whether the text said nothing that helps."""
        return not (self.exception or self.frames or self.details)


@dataclass(frozen=True, kw_only=True)
class FailedTest:
    """One failing test, or one failure outside any test (then `id` is empty)."""

    id: str
    raised: Raised


def is_test_path(path: str) -> bool:
    """Whether a file belongs to the tests rather than to what is tested."""
    parts = path.split("/")
    name = parts[-1]
    if name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py":
        return True
    return any(part in ("test", "tests", "testing") for part in parts[:-1])
