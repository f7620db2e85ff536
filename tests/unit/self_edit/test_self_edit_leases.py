"""Who works on a self-edit is told, and can be asked to stop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from self_coding.errors import EditError
from self_coding.self_edit.leases import Leases
from self_coding.values.edits import Progress


async def test_a_holder_is_named_with_what_it_tells(tmp_path: Path) -> None:
    """While it is held, a lease says who holds it and what was told; afterwards nothing."""
    leases, seen = Leases(tmp_path), []
    assert leases.holder("e") is None
    async with leases.hold("e", patience=0) as lease:
        assert lease is not None
        tell = lease.telling(seen.append)
        for step in ("test", "editing"):
            tell(Progress(attempt=1, step=step, message="5 s", done=2, total=9))
        holder = leases.holder("e")
        assert holder is not None
        assert holder.pid == os.getpid()
        assert [(one.step, one.done, one.total) for one in holder.told] == [("test", 2, 9)]
        assert f"process {os.getpid()}" in str(holder)
        async with leases.hold("e", patience=0) as other:
            assert other is None
    assert len(seen) == 2
    assert leases.holder("e") is None


async def test_what_a_dead_holder_wrote_counts_for_nothing(tmp_path: Path) -> None:
    """A lock file that nobody holds names nobody, and the next holder begins it anew."""
    leases = Leases(tmp_path)
    leases.path("e").write_text('{"pid": 1, "program": "old", "since": 0}\n')
    assert leases.holder("e") is None
    async with leases.hold("e", patience=0):
        holder = leases.holder("e")
        assert holder is not None
        assert holder.pid == os.getpid()
        with leases.path("e").open("a") as file:
            file.write('{"half a li')
        assert leases.holder("e") is not None


async def test_a_holder_is_asked_to_stop(tmp_path: Path) -> None:
    """What it does is cancelled and ends as an error that says so; its caller goes on."""
    leases, cleaned = Leases(tmp_path), []

    async def work() -> None:
        async with leases.hold("e", patience=0):
            try:
                await asyncio.sleep(60)
            finally:
                cleaned.append(True)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        await leases.stop("e")
        with pytest.raises(EditError, match="drop_edit"):
            await task
    assert cleaned == [True]
    assert list(tmp_path.iterdir()) == []
    async with leases.hold("e", patience=0) as lease:
        assert lease is not None


async def test_a_cancellation_of_its_own_stays_one(tmp_path: Path) -> None:
    """Who is cancelled by its own caller ends as cancelled, and gives the lease up."""
    leases = Leases(tmp_path)

    async def work() -> None:
        async with leases.hold("e", patience=0):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leases.holder("e") is None


async def test_a_look_disturbs_nobody(tmp_path: Path) -> None:
    """Whoever wants the lease gets it although others look all the time whether it is held."""
    leases = Leases(tmp_path)

    async def look() -> None:
        while True:
            leases.holder("e")
            await asyncio.sleep(0)

    lookers = [asyncio.create_task(look()) for _ in range(4)]
    for _ in range(50):
        async with leases.hold("e", patience=2) as lease:
            assert lease is not None
    for one in lookers:
        one.cancel()
