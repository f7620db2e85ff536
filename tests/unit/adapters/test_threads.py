"""The bridge from async to blocking code: results, errors, and cancelling that kills."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from pathlib import Path

import pytest

from self_coding.adapters import process
from self_coding.adapters.threads import in_thread, run_inline

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_a_result_comes_back() -> None:
    """Arguments go in, the value comes out, from another thread."""
    here = threading.get_ident()
    there = await in_thread(lambda extra: (threading.get_ident(), extra), extra=3)
    assert there[0] != here
    assert there[1] == 3


async def test_an_error_comes_back() -> None:
    """An exception of the blocking code is raised where it is awaited."""
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


async def test_context_is_carried() -> None:
    """Context variables of the caller are seen in the thread."""
    variable.set("seen")
    assert await in_thread(variable.get) == "seen"


async def test_cancelling_kills_the_command(tmp_path: Path) -> None:
    """When the awaiting task is cancelled, the command dies before the cancellation goes on."""
    mark = tmp_path / "started"
    script = f"touch {mark}; sleep 30; touch {tmp_path}/survived"
    started = time.monotonic()
    task = asyncio.create_task(in_thread(process.run, ["sh", "-c", script], timeout=60))
    while not mark.exists():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 10
    assert not (tmp_path / "survived").exists()


async def test_a_command_started_after_the_cancellation_dies_too() -> None:
    """A cancelled call cannot start a command that lives on."""
    ready, go = threading.Event(), threading.Event()
    results: list[process.Completed] = []

    def slow() -> None:
        ready.set()
        go.wait(10)
        results.append(process.run(["sleep", "30"], timeout=60))

    task = asyncio.create_task(in_thread(slow))
    await asyncio.get_running_loop().run_in_executor(None, ready.wait)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # a second cancellation does not free the caller early
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert results[0].returncode < 0


async def test_the_loop_runs_on_meanwhile() -> None:
    """Blocking work does not block the event loop."""
    work = asyncio.create_task(in_thread(time.sleep, 0.2))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 3


def test_a_look_up_needs_no_event_loop() -> None:
    """Inline, results and errors come back from this very thread; other waiting is refused."""

    async def ident() -> int:
        return await in_thread(threading.get_ident)

    assert run_inline(ident()) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        run_inline(in_thread(lambda: 1 // 0))
    with pytest.raises(RuntimeError, match="event loop"):
        run_inline(asyncio.sleep(0))
    assert asyncio.run(ident()) != threading.get_ident()
