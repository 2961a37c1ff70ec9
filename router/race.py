"""Two attempts of one request, the second one only when the first is silent for too long.

Knows who wins (the first that has something), that the other one is left at once, and that nothing of it stays behind:
no task, no connection, no failure that nobody looks at. Refuses to decide whether there is a second one (`hedge`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from providers.errors import ProviderError


class Entrant(Protocol):
    """What an attempt gives."""

    @property
    def deployment(self) -> str:
        """Whose it is."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


T = TypeVar("T", bound=Entrant)


async def race(first: Awaitable[T], seconds: float, second: Callable[[], Awaitable[T] | None]) -> T:
    """What *first* gives, or what *second* does, asked for when the first has given nothing for so many *seconds*.

    Raises:
        ProviderError: the last failure, when all that were made have failed; at once, when the request itself is at fault.
    """
    running: list[asyncio.Future[T]] = [asyncio.ensure_future(first)]
    try:
        await asyncio.wait(running, timeout=seconds)
        if not running[0].done() and (other := second()) is not None:
            running.append(asyncio.ensure_future(other))
        return await _winner(running)
    finally:
        await _leave(running)


async def _winner(running: list[asyncio.Future[T]]) -> T:
    """The first of *running* that has succeeded; it is taken out."""
    while True:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in running if task.done()]:
            running.remove(task)
            try:
                return task.result()
            except ProviderError as failure:
                if not running or not (failure.here or failure.elsewhere):
                    raise


async def _leave(running: list[asyncio.Future[T]]) -> None:
    """Cancel what still runs, and wait until it has given everything back."""
    for task in running:
        task.add_done_callback(_close)  # it may have won in the same turn of the loop
        task.cancel()
    if running:
        await asyncio.wait(running)


def _close(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
