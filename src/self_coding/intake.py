"""Let a program of the project report its own uncaught errors, as tasks in the inbox.

    import logging
    from self_coding import intake

    intake.install()                                     # what nobody catches
    logging.getLogger().addHandler(intake.Handler())     # what is logged with its exception

Reporting never gets in the program's way: what was there before runs first, and what cannot be
reported is left. Nothing is sent anywhere; the error is kept beside the repository's journal.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from self_coding.adapters.paths import git_directories
from self_coding.app import reported_errors
from self_coding.errors import GitNotRepositoryError, SelfCodingError
from self_coding.values.results import ReportedError

__all__ = ["Handler", "install", "report"]


def install(repo_path: Path | str | None = None) -> Callable[[], None]:
    """Report what no code of this program catches, in any thread; return what ends that.

    Args:
        repo_path: a path in the repository; the working directory as it is now when None.

    Raises:
        GitNotRepositoryError: it is in no working tree of a repository.
    """
    where, before, before_threads = _top(repo_path), sys.excepthook, threading.excepthook

    def tell(error: BaseException | None) -> None:
        if isinstance(error, Exception):  # a person's Ctrl-C and an exit are no errors
            with suppress(SelfCodingError, OSError):
                report(error, where)

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        tell(error)

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        before_threads(args)
        tell(args.exc_value)

    def remove() -> None:
        # Only where nobody has hooked in since: theirs would go with ours.
        if sys.excepthook is hook:
            sys.excepthook = before
        if threading.excepthook is thread_hook:
            threading.excepthook = before_threads

    sys.excepthook, threading.excepthook = hook, thread_hook
    return remove


class Handler(logging.Handler):
    """Report each record that comes with an exception, as `logger.exception(...)` does.

    Args:
        repo_path: a path in the repository; the working directory as it is now when None.
        level: the least level of a record.
    """

    def __init__(self, repo_path: Path | str | None = None, level: int = logging.ERROR) -> None:
        super().__init__(level)
        self._top = _top(repo_path)

    def emit(self, record: logging.LogRecord) -> None:
        """Report the exception of a record, if it has one."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            try:
                report(error, self._top)
            except (SelfCodingError, OSError):
                self.handleError(record)


def report(error: BaseException, repo_path: Path | str | None = None) -> ReportedError:
    """Report an exception; return it as it is kept.

    Args:
        error: the exception, with its traceback.
        repo_path: a path in the repository; the working directory when None.

    Raises:
        SelfCodingError: it is no repository, or the error cannot be kept.
    """
    directories = git_directories(_top(repo_path))
    assert directories is not None, "a top is of a repository"
    # Without locals: they hold what no record should.
    stack = "".join(traceback.format_exception(error))
    return reported_errors(directories.top, directories.common).report(stack)


def _top(repo_path: Path | str | None) -> Path:
    """Return the top of the working tree around a path."""
    start = Path.cwd() if repo_path is None else Path(repo_path)
    directories = git_directories(start)
    if directories is None:
        raise GitNotRepositoryError(
            f"{start} is in no working tree of a git repository",
            hint="name a path in one: intake.install(Path(__file__).parent)",
        )
    return directories.top
