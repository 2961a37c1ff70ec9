"""The clock that runs some times as fast as the machine's: every wait is so many times shorter, nothing else changes."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.lab.hurried import HurriedLoop


def run(main, factor: float):
    with asyncio.Runner(loop_factory=lambda: HurriedLoop(factor)) as runner:
        return runner.run(main)


async def wait(seconds: float) -> tuple[float, float]:
    """How long a wait is, by the loop's clock and by the machine's."""
    loop = asyncio.get_running_loop()
    began, machine = loop.time(), time.monotonic()
    done = asyncio.Event()
    loop.call_later(seconds, done.set)
    await done.wait()
    return loop.time() - began, time.monotonic() - machine


def test_a_minute_is_a_part_of_one():
    """By the loop's clock it is whole, by the machine's a thousandth, or a little more where that is busy."""
    passed, took = run(wait(60), 1000)

    assert passed >= 60
    assert 0.06 <= took < 30


def test_what_asks_the_loop_is_as_much_faster():
    """A limit that asyncio keeps ends when the loop says so."""

    async def limited() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time() - began

    assert run(limited(), 1000) >= 60
