"""The one bridge from async code to blocking code; cancelling kills.

`asyncio.to_thread` leaves a command running when its awaiting task is cancelled. Here the
cancellation ends every command the call has started, waits for the thread, and then goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from self_coding.adapters.process import Scope, scope

P = ParamSpec("P")
T = TypeVar("T")

_WORKERS = 64  # blocking calls side by side; most wait for a child process
_pool: ThreadPoolExecutor | None = None


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call blocking code without blocking the event loop.

    Context variables are carried over. When the awaiting task is cancelled, the commands that
    `function` runs are killed and its thread is waited for before the cancellation goes on.
    """
    mine = Scope()
    context = contextvars.copy_context()
    work = partial(context.run, _inside, mine, partial(function, *args, **kwargs))
    future = asyncio.get_running_loop().run_in_executor(_executor(), work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        mine.cancel()
        await _settle(future)
        raise


def _inside(mine: Scope, call: Callable[[], T]) -> T:
    with scope(mine):
        return call()


async def _settle(future: asyncio.Future[T]) -> None:
    """Wait for the thread however often we are cancelled meanwhile; its error is not news."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()


def _executor() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603 - one pool per process, made when the first call needs it
    if _pool is None:
        _pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="self-coding")
    return _pool


def _forget() -> None:
    """A forked child has no threads: it needs a pool of its own."""
    global _pool  # noqa: PLW0603
    _pool = None


os.register_at_fork(after_in_child=_forget)
