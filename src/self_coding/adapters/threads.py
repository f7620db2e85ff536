"""The one bridge from async code to blocking code; cancelling kills.

`asyncio.to_thread` leaves a command running when its awaiting task is cancelled. Here the
cancellation ends every command the call has started, waits for the thread, and then goes on.
A look-up from the command line does without threads and loop: see `run_inline`.
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

P = ParamSpec("P")
T = TypeVar("T")

_WORKERS = 64  # blocking calls side by side; most wait for a child process
_pool: ThreadPoolExecutor | None = None
_inline = contextvars.ContextVar("inline", default=False)


def run_inline(work: Coroutine[object, object, T]) -> T:
    """Run async code that awaits nothing but `in_thread`, whose calls block meanwhile.

    asyncio is not imported: with ssl, logging and sockets it costs a quarter of a look-up's start.
    """
    token = _inline.set(True)
    try:
        work.send(None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    finally:
        _inline.reset(token)
        work.close()
    raise RuntimeError("this work needs an event loop")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call blocking code without blocking the event loop.

    Context variables are carried over. When the awaiting task is cancelled, the commands that
    `function` runs are killed and its thread is waited for before the cancellation goes on.
    """
    global _pool  # noqa: PLW0603 - one pool per process, made when the first call needs it
    if _inline.get():
        return function(*args, **kwargs)
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from self_coding.adapters.process import Scope, scope

    if _pool is None:
        # Our own: asyncio's has a few threads a core, and ours wait for children rather than work.
        _pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="self-coding")
    commands = Scope()

    def call() -> T:
        with scope(commands):
            return function(*args, **kwargs)

    # Locks that this call chain holds are remembered in it; a bare thread would wait for itself.
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(_pool, context.run, call)
    try:
        # Cancelling a future of an executor does not stop its thread: it only forgets it.
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        commands.cancel()
        # The thread ends soon: its command is dead. We wait however often we are cancelled
        # meanwhile, since nothing of the call may go on once the cancellation is seen outside.
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # read, or asyncio reports it as never retrieved
        raise


def _forget() -> None:
    """A forked child has no threads: it needs a pool of its own."""
    global _pool  # noqa: PLW0603
    _pool = None


# The pool's object is copied by fork, its threads are not: work for it would wait for ever.
os.register_at_fork(after_in_child=_forget)
