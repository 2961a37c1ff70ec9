"""What every test gets: aioresponses mended for the aiohttp of today, and `async def` tests without a plugin.

A test that is marked `virtual` runs in virtual time: a busy machine cannot make it late. It has no sockets then.

Async fixtures are not supported; a test opens what it needs with `async with`, and so closes it in the same loop.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import aioresponses.core
import pytest
from aiohttp.client_proto import ResponseHandler

from router.lab.virtual import Threadless

if TYPE_CHECKING:
    from collections.abc import Iterable

# tests/installed is for the wheel: scripts/test runs it where the checkout cannot be imported.
collect_ignore = ["installed"]

# Turns of the loop that a cancelled task gets to end in: aiohttp cancels its writers on close and does not await them.
TURNS_TO_END = 10


# aioresponses 0.7.9 against aiohttp >= 3.14: https://github.com/pnuckowski/aioresponses/issues/289 and pull 292.
# tests/test_aioresponses_shim.py says when these two can go.


class MendedResponse(aiohttp.ClientResponse):
    """A response that need not be given the `stream_writer` that aiohttp 3.14 made required."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


def unlimited_reader(loop: asyncio.AbstractEventLoop) -> aiohttp.StreamReader:
    """Make a reader that takes a body of any size: flow control asks for the parser that a fake response has not."""
    return aiohttp.StreamReader(ResponseHandler(loop=loop), limit=sys.maxsize, loop=loop)


def pytest_configure() -> None:
    """Put the mended parts where aioresponses looks for them."""
    vars(aioresponses.core).update(ClientResponse=MendedResponse, stream_reader_factory=unlimited_reader)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in a loop of its own; fail it if a task is still there at its end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    factory = Threadless if pyfuncitem.get_closest_marker("virtual") else None
    with asyncio.Runner(debug=False, loop_factory=factory) as runner:
        left = runner.run(_tasks_left_by(pyfuncitem.obj(**arguments)))
    if left:
        pytest.fail("the test left tasks behind:\n" + "\n".join(f"  {task}" for task in left), pytrace=False)
    return True


async def _tasks_left_by(test: Awaitable[object]) -> list[str]:
    """Await *test* and describe the tasks it did not end. One that it cancelled gets a few turns to obey."""
    await test
    for _ in range(TURNS_TO_END):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not any(task.cancelling() for task in left):
            break
        await asyncio.sleep(0)
    return _described(asyncio.all_tasks() - {asyncio.current_task()})


def _described(tasks: Iterable[asyncio.Task[object]]) -> list[str]:
    return sorted(f"{task.get_name()}: {getattr(task.get_coro(), '__qualname__', task.get_coro())}" for task in tasks)
