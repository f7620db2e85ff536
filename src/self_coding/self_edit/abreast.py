"""Several awaitables side by side, none outliving the call; the error that mattered comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from self_coding.errors import SelfCodingError

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


async def abreast(*work: Coroutine[object, object, T]) -> list[T]:
    """Their results in order; when one fails, the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    return [task.result() for task in tasks]


async def both(
    one: Coroutine[object, object, A], other: Coroutine[object, object, B]
) -> tuple[A, B]:
    """Two of different kinds, side by side."""
    kept: list[A] = []
    beside: list[B] = []

    async def first() -> None:
        kept.append(await one)

    async def second() -> None:
        beside.append(await other)

    await abreast(first(), second())
    return kept[0], beside[0]


def _first(error: BaseException) -> BaseException:
    """The first error of ours in a group, or else its first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [_first(one) for one in error.exceptions]
    return next((one for one in found if isinstance(one, SelfCodingError)), found[0])
