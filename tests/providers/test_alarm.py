"""One timer for all the waits of an exchange, on virtual time: each ends when it should, and few timers are set."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from providers.alarm import Alarm
from router.lab.virtual import VirtualLoop


class Counting(VirtualLoop):
    """Counts the timers that are set."""

    made = 0

    def call_at(self, *args: Any, **more: Any) -> Any:  # type: ignore[override]  # whatever it is asked
        self.made += 1
        return super().call_at(*args, **more)


def run(main):
    with asyncio.Runner(loop_factory=Counting) as runner:
        return runner.run(main())


async def wait(alarm: Alarm, seconds: float, limit: float) -> None:
    """Let *seconds* pass, of at most *limit*."""
    with alarm.until(asyncio.get_running_loop().time() + limit):
        await asyncio.sleep(seconds)


@pytest.mark.parametrize("before", [[], [0.5], [0.9, 0.9, 0.3], [0.25] * 50])
def test_a_wait_ends_at_its_own_limit(before):
    """However many were before it, and whenever the timer was set: a second after it began, to the tick."""

    async def main():
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop)
        for seconds in before:
            await wait(alarm, seconds, 1.0)
        began = loop.time()
        with pytest.raises(TimeoutError):
            await wait(alarm, 5.0, 1.0)
        return loop.time() - began

    assert 1.0 == pytest.approx(run(main), abs=1e-9)


def test_a_shorter_limit_comes_sooner():
    """The timer of a longer one does not keep it waiting."""

    async def main():
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop)
        await wait(alarm, 0.1, 10.0)
        with pytest.raises(TimeoutError):
            await wait(alarm, 5.0, 0.2)
        return loop.time()

    assert 0.3 == pytest.approx(run(main))


def test_a_timer_rings_for_nobody_between_two_waits():
    """Who is not waiting is not disturbed, and the next wait has its limit all the same."""

    async def main():
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop)
        await wait(alarm, 0.1, 1.0)
        await asyncio.sleep(5.0)
        await wait(alarm, 0.9, 1.0)
        with pytest.raises(TimeoutError):
            await wait(alarm, 2.0, 1.0)
        return loop.time()

    assert 7.0 == pytest.approx(run(main))


def test_a_thousand_quick_waits_set_few_timers():
    """One a second, not one each."""

    async def main():
        loop: Any = asyncio.get_running_loop()
        alarm = Alarm(loop)
        for _ in range(1000):
            await wait(alarm, 0.01, 1.0)
        alarm.stop()
        return loop.made - 1000  # those of the sleeps

    assert 12 > run(main)


def test_a_cancellation_is_no_time_out():
    """Who is canceled while he waits is canceled."""

    async def main():
        alarm = Alarm(asyncio.get_running_loop())
        task = asyncio.create_task(wait(alarm, 5.0, 1.0))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_a_cancellation_beside_the_time_out_is_a_cancellation():
    """Both in the same turn of the loop: whoever canceled the task is obeyed, and nothing of ours is left on it."""

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(wait(Alarm(loop), 5.0, 1.0))
        loop.call_at(1.0, lambda: loop.call_soon(task.cancel))
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelling()

    assert 1 == run(main)


def test_what_is_there_when_the_time_is_over_comes_first():
    """A blocked loop makes the timer and the answer due together."""

    async def main():
        loop: Any = asyncio.get_running_loop()
        alarm, answer = Alarm(loop), loop.create_future()
        loop.call_at(1.0, answer.set_result, "391")
        with alarm.until(1.0):
            return await answer

    assert "391" == run(main)


def test_after_a_time_out_the_task_goes_on_as_if_it_had_never_been_cancelled():
    """So that an `asyncio.timeout` around it still works."""

    async def main():
        task: Any = asyncio.current_task()
        with pytest.raises(TimeoutError):
            await wait(Alarm(asyncio.get_running_loop()), 5.0, 1.0)
        before = task.cancelling()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await wait(Alarm(asyncio.get_running_loop()), 5.0, 60.0)
        return before, task.cancelling(), asyncio.get_running_loop().time()

    assert (0, 0, 2.0) == run(main)


def test_without_a_limit_it_waits():
    """None is no time."""

    async def main():
        loop: Any = asyncio.get_running_loop()
        with Alarm(loop).until(None):
            await asyncio.sleep(1000.0)
        return loop.made

    assert 1 == run(main)


def test_a_limit_inside_that_is_over_at_the_same_moment_speaks_first():
    """Whose timer was set later, too: a connection that did not come is not called an answer that did not."""

    async def connect() -> None:
        try:
            async with asyncio.timeout_at(1.0):
                await asyncio.sleep(5.0)
        except TimeoutError:
            message = "no connection"
            raise ConnectionError(message) from None

    async def main():
        alarm = Alarm(asyncio.get_running_loop())
        with pytest.raises(ConnectionError), alarm.until(1.0):
            await connect()

    run(main)
