"""Run one command: a time limit, a process group of its own, bounded memory, bytes in and out.

Blocking on purpose: `threads` is the bridge from async code. It refuses to decode, to retry and
to interpret an exit status; `sandbox` adds isolation on top.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, NamedTuple, cast

from self_coding.errors import ProcessError

# What a pipe of Linux holds: more is never there at once.
_CHUNK = 1 << 16
_GRACE = 0.2  # seconds a finished command's pipes are still read when a stray child holds them
_STUBBORN = 1.5  # seconds that a gentle `kill` gets before the group is ended by force


class Completed(NamedTuple):
    """A command that has ended: `returncode` is negative for a signal, `seconds` is wall time.

    `truncated` says that output beyond the limit was read and dropped; `extra` holds what was
    read from each of `readers`.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float = 0.0
    timed_out: bool = False
    truncated: bool = False
    extra: tuple[bytes, ...] = ()


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
            # Cancelled while the command was being started: nobody else would end it.
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
        # Outside of the lock: what ends a command may wait, and `remove` wants the lock.
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


#: Told each piece of what commands report through `readers`, when it comes.
READ_ALONG: ContextVar[Callable[[bytes], None] | None] = ContextVar("read_along", default=None)


def cancelled() -> bool:
    """Whether the call on whose behalf this runs has been cancelled."""
    current = _current.get()
    return current is not None and current.cancelled


def run(
    argv: Sequence[str],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = 30.0,
    limit: int | None = None,
    tail: int = 0,
    merged: bool = False,
    pass_fds: Sequence[int] = (),
    handed: Sequence[int] = (),
    readers: Mapping[int, int] | None = None,
    kill: Callable[[int], None] | None = None,
    watch: Callable[[bytes], None] | None = None,
) -> Completed:
    """Run `argv` to its end, or end its whole process group at the time limit.

    Args:
        argv: the command and its arguments; never a shell string.
        cwd, env: where it runs, and its whole environment; None inherits ours.
        stdin: bytes fed to it; nothing else can be read by it.
        timeout: wall seconds; None waits for ever.
        limit: bytes kept of each stream; what comes after is read and dropped.
        tail: bytes of `limit` that are kept of the end; the cut before them is marked.
        merged: True sends its standard error where its standard output goes.
        pass_fds: file descriptors that stay open in it, and here.
        handed: descriptors that go over to it: they are closed here as soon as it runs.
        readers: descriptors to read while it runs, each with the bytes kept of it.
        kill: ends the command, given its process id; by default its process group is killed.
        watch: is told each piece of its standard output when it comes.

    Raises:
        ProcessError: the command does not exist or may not be run.
    """
    started = time.monotonic()
    end = kill or kill_group
    try:
        child = _start(argv, cwd, env, (*pass_fds, *handed), piped=bool(stdin), merged=merged)
    finally:
        # Also where the start failed: the other end sees the pipe close.
        for fd in handed:
            os.close(fd)
    current = _current.get()
    if current is not None:
        current.add(child.pid, lambda: end(child.pid))
    kept = {"out": Kept(limit, tail, watch), "err": Kept(limit, tail)}
    extra = {str(fd): Kept(room, 0, READ_ALONG.get()) for fd, room in (readers or {}).items()}
    try:
        timed_out = _talk(child, stdin, timeout, kept | extra, end)
    except BaseException:
        _end(child, end)
        raise
    finally:
        if current is not None:
            current.remove(child.pid)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # closing flushes, and it may read no longer
                    pipe.close()
    return Completed(
        argv=tuple(argv),
        returncode=child.wait(),
        stdout=kept["out"].content(),
        stderr=kept["err"].content(),
        seconds=time.monotonic() - started,
        timed_out=timed_out,
        truncated=any(one.dropped for one in kept.values()),
        extra=tuple(one.content() for one in extra.values()),
    )


def start_detached(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path
) -> subprocess.Popen[bytes]:
    """Start a process that outlives us and our terminal; `output` holds what it prints.

    Raises:
        ProcessError: it could not be started.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("wb") as file:
            child = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # no signal of our terminal or process group reaches it
            )
    except OSError as error:
        raise ProcessError(
            f"cannot start {argv[0]!r}: {error}", argv=tuple(argv), hint="see the message"
        ) from error
    # Whoever does not wait for a child leaves a zombie behind when it ends.
    threading.Thread(target=child.wait, daemon=True).start()
    return child


class Kept:
    """The head and the tail of a stream, in memory that does not grow with the stream."""

    def __init__(
        self, limit: int | None, tail: int = 0, watch: Callable[[bytes], None] | None = None
    ) -> None:
        self._watch = watch
        self._head = bytearray()
        self._tail = bytearray()
        self._room = None if limit is None else max(0, limit - tail)
        self._keep = tail
        self.dropped = 0

    def add(self, chunk: bytes) -> None:
        """Take in the next bytes of the stream."""
        if self._watch is not None:
            self._watch(chunk)
        if self._room is None:
            self._head += chunk
            return
        split = max(0, self._room - len(self._head))
        self._head += chunk[:split]
        self._tail += chunk[split:]
        # Cut rarely: to move the whole tail for each chunk would be quadratic.
        if len(self._tail) > 2 * self._keep:
            self._trim()

    def content(self) -> bytes:
        """What was kept; a cut between head and tail is marked with the bytes it took."""
        self._trim()
        if not self.dropped or not self._keep:
            return bytes(self._head + self._tail)
        mark = b"\n[... %d bytes left out ...]\n" % self.dropped
        return bytes(self._head) + mark + bytes(self._tail)

    def _trim(self) -> None:
        surplus = len(self._tail) - self._keep
        if surplus > 0 and self._room is not None:
            del self._tail[:surplus]
            self.dropped += surplus


def kill_group(pid: int) -> None:
    """End the process group that `pid` leads; one that is gone already is no error."""
    # Gone, or all that is left of the group has changed its user: neither can be ended from here.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _start(
    argv: Sequence[str],
    cwd: Path | str | None,
    env: Mapping[str, str] | None,
    pass_fds: Sequence[int],
    *,
    piped: bool,
    merged: bool,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            start_new_session=True,  # a process group of its own, so that it can be ended whole
            pass_fds=tuple(pass_fds),
        )
    except (OSError, ValueError) as error:
        raise ProcessError(
            f"cannot run {argv[0]!r}: {error}",
            argv=tuple(argv),
            hint="check that the command is installed and on PATH",
        ) from error


def _talk(
    child: subprocess.Popen[bytes],
    stdin: bytes,
    timeout: float | None,
    kept: Mapping[str, Kept],
    end: Callable[[int], None],
) -> bool:
    """Feed and read all pipes until they close, the time is up, or the child has gone.

    Return whether it was ended at the time limit.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    gone_at = math.inf  # when the child was seen to have ended
    timed_out = False
    with selectors.DefaultSelector() as selector:
        _register(selector, child, stdin, kept)
        view = memoryview(stdin)
        while selector.get_map():
            # A child's end makes no pipe ready while a descendant holds it, so we look by the
            # clock, too.
            # Never past the deadline, and short once the child has gone.
            longest = 0.25 if gone_at == math.inf else 0.05
            ready = selector.select(max(0.0, min(longest, deadline - time.monotonic())))
            for key, _ in ready:
                if key.data == "in":
                    view = _feed(selector, cast("IO[bytes]", key.fileobj), view)
                    continue
                with suppress(BlockingIOError):
                    chunk = os.read(key.fd, _CHUNK)
                    if chunk:
                        kept[key.data].add(chunk)
                    else:
                        selector.unregister(key.fileobj)
            if time.monotonic() >= deadline:
                # Asked once to end; from here on the grace period decides.
                timed_out, deadline = True, math.inf
                _end(child, end)
                gone_at = time.monotonic()
            # A stray descendant may hold the pipes of a child that has ended, for ever.
            if not ready and gone_at == math.inf and child.poll() is not None:
                gone_at = time.monotonic()
            if time.monotonic() - gone_at > _GRACE:
                break
    try:  # a child that closed its pipes may run on
        child.wait(None if deadline == math.inf else max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        _end(child, end)
        timed_out = True
    return timed_out


def _register(
    selector: selectors.BaseSelector,
    child: subprocess.Popen[bytes],
    stdin: bytes,
    kept: Mapping[str, Kept],
) -> None:
    pipes = {"out": child.stdout, "err": child.stderr}
    for name in kept:
        source = pipes.get(name) if name in pipes else int(name)
        if source is None:  # merged: there is no second pipe
            continue
        # One stream that is silent must not keep us from the others.
        os.set_blocking(source if isinstance(source, int) else source.fileno(), False)
        selector.register(source, selectors.EVENT_READ, name)
    if stdin:
        assert child.stdin is not None
        os.set_blocking(child.stdin.fileno(), False)
        selector.register(child.stdin, selectors.EVENT_WRITE, "in")


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


def _end(child: subprocess.Popen[bytes], end: Callable[[int], None]) -> None:
    """End the command the asked way, and by force when that does not help soon."""
    end(child.pid)
    try:
        child.wait(_STUBBORN)
    except subprocess.TimeoutExpired:
        kill_group(child.pid)
        child.wait()
