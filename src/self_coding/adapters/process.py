"""Run one command: a time limit, a process group of its own, bounded memory, bytes in and out.

Blocking on purpose: `threads` is the bridge from async code. It refuses to decode, to retry and
to interpret an exit status; `sandbox` adds isolation on top.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from self_coding.errors import ProcessError

_CHUNK = 1 << 16
_GRACE = 0.2  # seconds a finished command's pipes are still read when a stray child holds them


@dataclass(frozen=True)
class Completed:
    """A command that has ended: `returncode` is negative for a signal, `seconds` is wall time.

    `truncated` says that output beyond the limit was read and dropped.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float = 0.0
    timed_out: bool = False
    truncated: bool = False


class Scope:
    """The commands started on behalf of one call, so that cancelling the call can end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kills: dict[int, Callable[[], None]] = {}
        self.cancelled = False

    def add(self, key: int, kill: Callable[[], None]) -> None:
        """Remember how to end a command; ends it at once when the scope is cancelled already."""
        with self._lock:
            self._kills[key] = kill
            late = self.cancelled
        if late:
            kill()

    def remove(self, key: int) -> None:
        """Forget a command that has ended."""
        with self._lock:
            self._kills.pop(key, None)

    def cancel(self) -> None:
        """End every command of this scope, now and from now on."""
        with self._lock:
            self.cancelled = True
            kills = list(self._kills.values())
        for kill in kills:
            kill()


_current: ContextVar[Scope | None] = ContextVar("self_coding_scope", default=None)


@contextmanager
def scope(entered: Scope) -> Iterator[Scope]:
    """Commands started inside this block belong to `entered`."""
    token = _current.set(entered)
    try:
        yield entered
    finally:
        _current.reset(token)


def run(
    argv: Sequence[str],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = 30.0,
    limit: int | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run `argv` to its end, or end its whole process group at the time limit.

    Args:
        argv: the command and its arguments; never a shell string.
        cwd: the directory it runs in.
        env: its whole environment; None inherits ours.
        stdin: bytes fed to it; nothing else can be read by it.
        timeout: wall seconds; None waits for ever.
        limit: bytes kept of each stream; what comes after is read and dropped.
        pass_fds: file descriptors that stay open in it.

    Raises:
        ProcessError: the command does not exist or may not be run.
    """
    started = time.monotonic()
    child = _start(argv, cwd, env, pass_fds, piped=bool(stdin))
    current = _current.get()
    if current is not None:
        current.add(child.pid, lambda: kill_group(child.pid))
    try:
        stdout, stderr, truncated, timed_out = _talk(child, stdin, timeout, limit)
    except BaseException:
        kill_group(child.pid)
        raise
    finally:
        if current is not None:
            current.remove(child.pid)
        _close(child)
    return Completed(
        argv=tuple(argv),
        returncode=child.wait(),
        stdout=stdout,
        stderr=stderr,
        seconds=time.monotonic() - started,
        timed_out=timed_out,
        truncated=truncated,
    )


def kill_group(pid: int) -> None:
    """End the process group that `pid` leads; one that is gone already is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _start(
    argv: Sequence[str],
    cwd: Path | str | None,
    env: Mapping[str, str] | None,
    pass_fds: Sequence[int],
    *,
    piped: bool,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except (OSError, ValueError) as error:
        raise ProcessError(
            f"cannot run {argv[0]!r}: {error}",
            argv=tuple(argv),
            hint="check that the command is installed and on PATH",
        ) from error


def _talk(
    child: subprocess.Popen[bytes], stdin: bytes, timeout: float | None, limit: int | None
) -> tuple[bytes, bytes, bool, bool]:
    """Feed and read all three pipes until they close, the time is up, or the child has gone."""
    deadline = None if timeout is None else time.monotonic() + timeout
    kept: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    truncated = timed_out = False
    with selectors.DefaultSelector() as selector:
        _register(selector, child, stdin)
        view = memoryview(stdin)
        ended_at: float | None = None
        while selector.get_map():
            ready = selector.select(_wait(deadline, ended_at))
            for key, _ in ready:
                pipe = cast("IO[bytes]", key.fileobj)
                if key.data == "in":
                    view = _feed(selector, pipe, view)
                else:
                    truncated |= _drain(selector, pipe, kept[key.data], limit)
            now = time.monotonic()
            if deadline is not None and now >= deadline and not timed_out:
                timed_out, deadline = True, None
                kill_group(child.pid)
                ended_at = now
            if not ready and ended_at is None and child.poll() is not None:
                ended_at = now
            if ended_at is not None and now - ended_at > _GRACE:
                break
    if child.poll() is None:
        timed_out |= _reap(child, deadline)
    return bytes(kept["out"]), bytes(kept["err"]), truncated, timed_out


def _register(
    selector: selectors.BaseSelector, child: subprocess.Popen[bytes], stdin: bytes
) -> None:
    pipes = (("out", child.stdout), ("err", child.stderr))
    for name, pipe in pipes:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_READ, name)
    if stdin:
        assert child.stdin is not None
        os.set_blocking(child.stdin.fileno(), False)
        selector.register(child.stdin, selectors.EVENT_WRITE, "in")


def _wait(deadline: float | None, ended_at: float | None) -> float:
    """How long one round may wait: never past the deadline, and short once the child has gone."""
    longest = 0.05 if ended_at is not None else 0.25
    return longest if deadline is None else max(0.0, min(longest, deadline - time.monotonic()))


def _feed(selector: selectors.BaseSelector, pipe: IO[bytes], view: memoryview) -> memoryview:
    try:
        view = view[os.write(pipe.fileno(), view[:_CHUNK]) :]
    except BlockingIOError:
        return view
    except BrokenPipeError:
        view = view[:0]
    if not view:
        selector.unregister(pipe)
        with suppress(BrokenPipeError):
            pipe.close()
    return view


def _drain(
    selector: selectors.BaseSelector, pipe: IO[bytes], kept: bytearray, limit: int | None
) -> bool:
    """Read what is there; True when some of it went over the limit and was dropped."""
    try:
        chunk = os.read(pipe.fileno(), _CHUNK)
    except BlockingIOError:
        return False
    if not chunk:
        selector.unregister(pipe)
        return False
    room = len(chunk) if limit is None else max(0, limit - len(kept))
    kept += chunk[:room]
    return room < len(chunk)


def _reap(child: subprocess.Popen[bytes], deadline: float | None) -> bool:
    """Wait for a child that closed its pipes; True when it had to be ended at the deadline."""
    try:
        child.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        kill_group(child.pid)
        child.wait()
        return True
    return False


def _close(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
