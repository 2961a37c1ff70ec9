"""Cancelled at any await: nothing leaks, nothing goes on, nothing is converted, and it is recorded exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from router import Router
from router.lab import Fault
from tests.router.stage import KEYS, MODELS, REQUEST, Stage, soon, stage

WAYS = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
# Every request of this file is one that takes many steps: a refusal, a failover, an answer in pieces.
MOST_STEPS = 200


class CancelledAtStep:
    """Awaits *inner* and cancels the task that does so at its step number *at*, and *more* times after that."""

    def __init__(self, inner: Awaitable[Any], at: int, more: int = 0) -> None:
        self.inner, self.at, self.more = inner, at, more
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self.inner.__await__()
        value: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                waited_for = steps.send(value) if thrown is None else steps.throw(thrown)
            except StopIteration as stop:
                return stop.value
            self.steps += 1
            if self.at <= self.steps <= self.at + self.more:
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)
            value = thrown = None
            try:
                value = yield waited_for
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is the inner one's to meet
                thrown = error


async def whole(router: Router) -> Any:
    return await router.complete(REQUEST)


async def streamed(router: Router) -> Any:
    answer = None
    async with contextlib.aclosing(router.stream(REQUEST)) as chunks:
        async for chunk in chunks:
            answer = chunk.completion
    return answer


def way(streaming: bool) -> Callable[[Router], Awaitable[Any]]:
    return streamed if streaming else whole


async def at_rest(on: Stage) -> None:
    """Everything is as if the request had never been: no task, no socket, no load; and one record each."""
    assert await soon(lambda: on.served == 0), "an emulator still sees the client"
    assert 0 == on.connections
    assert [0] * len(on.emulators) == on.loads


def recorded_once(on: Stage) -> None:
    """One record of the request, and one of each request that arrived."""
    assert ["canceled"] == [end.outcome for end in on.ends]
    assert sum(on.counts) <= len(on.attempts) <= sum(on.counts) + 1  # one more: cancelled before it had left
    assert list(range(1, len(on.attempts) + 1)) == [event.place for event in on.attempts]
    assert "success" not in on.outcomes
    assert "canceled" not in on.outcomes[:-1]
    assert {event.request for event in on.attempts} <= {on.ends[0].request}
    assert tuple(event.attempt for event in on.attempts) == on.ends[0].attempts


async def tasks_of(on: Stage) -> set[asyncio.Task[Any]]:
    """The tasks that are not the emulators'."""
    await asyncio.sleep(0)
    servers = ("start", "_handle", "_handler")  # aiohttp.web's, one for each connection
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") not in servers}


SCENES: dict[str, tuple[tuple[str, ...], list[Fault], dict[str, Any]]] = {
    "an answer": (("mixlayer",), [], {}),
    "failover": (("mixlayer", "aiml"), [Fault.status(503)], {}),
    "failover after a broken body": (("mixlayer", "aiml"), [Fault.error_in_200()], {}),
    "backoff": (("mixlayer",), [Fault.status(503)], {"attempts_per_deployment": 2}),
    "a task that is fetched": (("runware",), [Fault.lost_response()], {"attempts_per_deployment": 2}),
}


@pytest.mark.parametrize("more", [0, 1, 2], ids=["once", "twice", "three times"])
@WAYS
@pytest.mark.parametrize("scene", SCENES)
async def test_h1_cancelled_at_every_await(scene, streaming, more):
    """At the first step, at the second, and so on, until the request is through before it is cancelled."""
    names, faults, policy = SCENES[scene]
    reached = 0
    for at in range(1, MOST_STEPS):
        async with stage(*names, policy=policy) as on:
            for fault in faults:
                on.first.fail(fault)
            before = await tasks_of(on)
            under_way = CancelledAtStep(way(streaming)(on.router), at, more)

            async def run(under_way=under_way):
                return await under_way

            task = asyncio.ensure_future(run())
            await asyncio.wait([task], timeout=2)

            assert task.done(), f"step {at}: it goes on"
            if not task.cancelled():
                assert under_way.steps < at + 2, f"step {at}: the cancellation was swallowed"
                assert None is task.exception(), f"step {at}: the cancellation became something else"
                break
            reached = at
            recorded_once(on)
            await at_rest(on)
            assert set() == await tasks_of(on) - before
            # And the router is as good as new.
            on.first.heal()
            assert None is (await on.ask(streaming=streaming)).error, f"step {at}: the next request suffers"
    else:
        pytest.fail("it never came to an end")

    assert reached >= 3


HANGS = {
    "no headers": (Fault.silence(), ()),
    "no first token": (Fault.stall_after(0), ()),
    "in the middle": (Fault.stall_after(3), ()),
    "comments": (Fault.comments_forever(), ()),
    "no body": (Fault.stall_body(1), ()),
}


@pytest.mark.parametrize(("hang", "streaming"), [
    ("no headers", False), ("no body", False), ("no headers", True), ("no first token", True), ("in the middle", True),
    ("comments", True),
])  # fmt: skip
async def test_cancelled_while_it_hangs(hang, streaming):
    """The provider sees the disconnect within 100 ms, and the attempt is nobody's failure."""
    async with stage("mixlayer", "aiml") as on:
        on.first.fail(HANGS[hang][0])
        task = asyncio.ensure_future(way(streaming)(on.router))
        await asyncio.sleep(0.05)
        assert 1 == on.served
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await at_rest(on)

        recorded_once(on)
        assert [1, 0] == on.counts
        assert None is on.attempts[0].attempt.error


@WAYS
async def test_h4_the_callers_own_timeout_is_his(streaming):
    """`asyncio.timeout` around a call raises his TimeoutError; our record says canceled."""
    async with stage("mixlayer", "aiml") as on:
        on.first.fail(Fault.silence())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await way(streaming)(on.router)
        await at_rest(on)

        recorded_once(on)


async def test_h3_cancelled_in_the_wait_before_a_retry():
    """At once: nobody waits a backoff out."""
    async with stage("mixlayer", policy={"attempts_per_deployment": 2}) as on:
        on.first.fail(Fault.rate_limited(5))
        task = asyncio.ensure_future(whole(on.router))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(0.1):
                await task
        await at_rest(on)

        assert ["RateLimited"] == on.outcomes
        assert ["canceled"] == [end.outcome for end in on.ends]
        assert [1] == on.counts


async def test_h3_cancelled_while_a_task_is_polled():
    """Between polls, too."""
    async with stage(
        "runware",
        providers={"runware": {"delivery": "async", "polling": {"first": 5, "factor": 1, "longest": 5}}},
    ) as on:
        task = asyncio.ensure_future(whole(on.router))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(0.1):
                await task
        await at_rest(on)

        recorded_once(on)


async def test_all_of_many_are_cancelled_together():
    """Fifty at once, hung in different places: nothing is left of any."""
    async with stage("mixlayer", "aiml") as on:
        for number in range(50):
            on.first.fail(Fault.silence() if number % 2 else Fault.slow_headers(2))
        before = await tasks_of(on)
        tasks = [asyncio.ensure_future(way(bool(number % 3))(on.router)) for number in range(50)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [asyncio.CancelledError] * 50 == [type(one) for one in done]
        await at_rest(on)

        assert 50 == len(on.attempts) == len(on.ends)
        assert set() == await tasks_of(on) - before


# -- leaving a stream early -------------------------------------------------------------------------------------------


async def _break(on: Stage) -> None:
    async for _ in on.router.stream(REQUEST):
        break
    gc.collect()


async def _aclosing(on: Stage) -> None:
    async with contextlib.aclosing(on.router.stream(REQUEST)) as chunks:
        async for _ in chunks:
            break


async def _exception(on: Stage) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async for _ in on.router.stream(REQUEST):
            raise ZeroDivisionError
    gc.collect()


async def _dropped(on: Stage) -> None:
    chunks = on.router.stream(REQUEST)
    await anext(chunks)
    del chunks
    gc.collect()


async def _thrown(on: Stage) -> None:
    chunks = on.router.stream(REQUEST)
    await anext(chunks)
    with contextlib.suppress(ZeroDivisionError):
        await chunks.athrow(ZeroDivisionError())


async def _closed_twice(on: Stage) -> None:
    chunks = on.router.stream(REQUEST)
    await anext(chunks)
    await chunks.aclose()
    await chunks.aclose()


@pytest.mark.parametrize(
    "leave", [_break, _aclosing, _exception, _dropped, _thrown, _closed_twice], ids=lambda f: f.__name__
)
async def test_a_stream_that_is_left_early(leave):
    """Recorded as canceled with what it has cost, closed within 100 ms, and the next one works."""
    async with stage("mixlayer", "aiml") as on:
        on.first.fail(Fault.stall_after(4))
        before = await tasks_of(on)
        await leave(on)
        assert await soon(lambda: on.served == 0 and on.ends)
        await at_rest(on)

        recorded_once(on)
        attempt = on.attempts[0].attempt
        assert (attempt.outcome, attempt.status, attempt.error) == ("canceled", 200, None)
        assert attempt.usage is not None
        assert attempt.usage.estimated
        assert "unknown" != attempt.cost.source
        assert set() == await tasks_of(on) - before
        assert None is (await on.ask(streaming=True)).error


async def test_a_stream_that_is_never_begun_sends_nothing():
    """Neither when it is dropped nor when it is closed."""
    async with stage("mixlayer") as on:
        chunks = on.router.stream(REQUEST)
        await chunks.aclose()
        on.router.stream(REQUEST)
        gc.collect()
        await asyncio.sleep(0)

        assert [0] == on.counts
        assert [] == on.events


async def test_left_after_the_last_chunk_it_was_a_success():
    """Who stops at `chunk.completion` has had it all."""
    async with stage("mixlayer") as on:
        async with contextlib.aclosing(on.router.stream(REQUEST)) as chunks:
            async for chunk in chunks:
                if chunk.completion is not None:
                    break
        await at_rest(on)

        assert ["success"] == on.outcomes
        assert ["success"] == [end.outcome for end in on.ends]


async def test_two_tasks_cannot_share_a_stream():
    """The second gets a clear error; the first does not notice."""
    async with stage("mixlayer", switches={"mixlayer": {"token_delay": 0.01}}) as on:
        chunks = on.router.stream(REQUEST)
        first = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await anext(chunks)
        seen = [await first, *[chunk async for chunk in chunks]]

        assert seen[-1].completion is not None


# -- the ends of router and loop --------------------------------------------------------------------------------------


def test_h10_the_loop_ends_with_an_open_stream():
    """`asyncio.run` closes it: no warning, no task destroyed, nothing unclosed."""
    kept, records = [], []

    async def main() -> None:
        async with stage("mixlayer") as on:
            records.append(on)
            on.first.fail(Fault.stall_after(4))
            chunks = on.router.stream(REQUEST)
            kept.append(chunks)
            await anext(chunks)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        kept.clear()
        gc.collect()

    assert ["canceled"] == records[0].outcomes
    assert ["canceled"] == [end.outcome for end in records[0].ends]
    assert [0] == records[0].loads


@WAYS
def test_h10_the_loop_ends_with_a_request_under_way(streaming):
    """It is cancelled as everything is."""
    records = []

    async def main() -> None:
        async with stage("mixlayer") as on:
            records.append((on, asyncio.ensure_future(way(streaming)(on.router))))
            on.first.fail(Fault.silence())
            await asyncio.sleep(0.03)
            records[0][1].cancel()

    asyncio.run(main())
    gc.collect()
    on, task = records[0]

    assert task.cancelled()
    assert ["canceled"] == on.outcomes
    assert [0] == on.loads


@WAYS
async def test_the_router_is_closed_under_a_request(streaming):
    """The request ends, with an error of ours and soon; nothing hangs."""
    async with stage("mixlayer", policy={"attempts": 1}) as on:
        on.first.fail(Fault.silence())
        asked = asyncio.ensure_future(on.ask(streaming=streaming))
        await asyncio.sleep(0.05)
        await on.router.close()
        async with asyncio.timeout(0.5):
            heard = await asked

        assert heard.error is not None
        assert [0] == on.loads


async def test_closing_can_be_cancelled_and_repeated():
    """At every step; the second `close` closes what the first did not."""
    for at in range(1, 40):
        async with stage("mixlayer", "aiml", "empiriolabs") as on:
            on.first.fail(Fault.status(503))
            on.second.fail(Fault.status(503))
            assert None is (await on.ask()).error
            sessions = [transport._session for transport in on.router._transports.values()]
            assert 3 == len(sessions)
            closing = CancelledAtStep(on.router.close(), at)

            async def run(closing=closing):
                await closing

            task = asyncio.ensure_future(run())
            await asyncio.wait([task])
            await on.router.close()
            left = [session for session in sessions if session is not None and not session.closed]
            for session in left:
                await session.close()  # or the test would leave them behind

            assert [] == left, f"step {at}: {len(left)} sessions were forgotten"
            if not task.cancelled():
                return
    pytest.fail("it never came to an end")


@WAYS
async def test_h11_a_closed_router_says_so(streaming):
    """And opens no connection that nobody would close."""
    async with stage("mixlayer") as on:
        await on.ask()
        await on.router.close()
        heard = await on.ask(streaming=streaming)
        reopened = dict(on.router._transports)
        await on.router.close()

        assert isinstance(heard.error, RuntimeError)
        assert {} == reopened
        assert [1] == on.counts


async def test_h15_a_failing_hook_hurts_nobody():
    """Ten times, then it is left out; the request does not notice."""
    calls = []

    def hook(event: Any) -> None:
        calls.append(event)
        raise ZeroDivisionError(KEYS["mixlayer"])

    async with stage("mixlayer", hooks=[hook]) as on:
        heard = [await on.ask() for _ in range(8)]

        assert [None] * 8 == [one.error for one in heard]
        assert 10 == len(calls)
        assert 16 == len(on.events)
        assert {MODELS["mixlayer"]} == {one.answer.deployment for one in heard}
