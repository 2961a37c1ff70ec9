"""Calls at once, over the whole router: elsewhere first, in order, cancellable, and no longer than the attempt may take."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from router import Router
from router.errors import DeploymentsExhausted, NoPlace, RouterError
from router.lab.virtual import (
    UP,
    Conduct,
    VirtualProvider,
    VirtualTransport,
    VirtualTransports,
    always,
    run_virtually,
)
from router.load import load

SECOND = replace(UP, latency=1.0, spread=0.0)
SILENT = replace(UP, kind="silent")
ASK = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}


def config(names: tuple[str, ...], limits: Any, **policy: Any) -> Any:
    return load(
        {
            "providers": {
                name: {
                    "protocol": "chat_completions",
                    "base_url": f"http://{name}.test/v1",
                    "api_keys": {"one": "k-1", "two": "k-2"},
                    **({"limits": limits} if name == "alpha" else {}),
                }
                for name in names
            },
            "models": {f"m-{name}": {"deployments": [{"provider": name, "model": "m"}]} for name in names},
            "routes": {"chat": {"deployments": [f"{name}/m-{name}" for name in names], "policy": "p"}},
            "policies": {"p": {"deadline": "30s", **policy}},
        },
        environ={},
    )


def played(main: Any, *conducts: Conduct, limits: Any = None, **policy: Any) -> Any:
    """What *main(router, transports)* returns; the first of the providers has *limits*."""
    names = ("alpha", "beta")[: len(conducts)]

    async def play() -> Any:
        providers = [
            VirtualProvider(name, always(one), Random(name)) for name, one in zip(names, conducts, strict=True)
        ]
        transports = VirtualTransports(*providers)
        made = config(names, limits or {"concurrency": 2}, **policy)
        async with Router(made, rng=Random(1), transports=transports) as router:
            return await main(router, transports)

    return run_virtually(play())


def test_who_is_full_is_left_for_who_is_free():
    """Without waiting; and the plan says why."""

    async def main(router: Router, _: Any) -> Any:
        tasks = [asyncio.ensure_future(router.complete(ASK)) for _ in range(5)]
        await asyncio.sleep(0.1)
        plan = router.plan(ASK).candidates
        return [(answer.deployment, answer.attempts[0].duration) for answer in await asyncio.gather(*tasks)], plan

    told, plan = played(main, SECOND, SECOND)

    assert ["alpha/m-alpha"] * 2 + ["beta/m-beta"] * 3 == [name for name, _ in told]
    assert all(seconds == pytest.approx(1.0) for _, seconds in told)
    assert ["beta/m-beta", "alpha/m-alpha"] == [one.deployment for one in plan]
    assert "2 calls are under way at alpha, and it carries no more" == plan[1].why


def test_alone_they_wait_in_the_order_of_coming():
    """Two at a time, and nobody overtakes."""
    ends: list[tuple[int, float]] = []

    async def one(router: Router, number: int) -> None:
        await router.complete(ASK)
        ends.append((number, asyncio.get_running_loop().time()))

    async def main(router: Router, transports: dict[str, VirtualTransport]) -> int:
        await asyncio.gather(*(one(router, number) for number in range(7)))
        return transports["alpha"].most

    assert 2 == played(main, SECOND)
    assert list(range(7)) == [number for number, _ in ends]
    assert [1, 1, 2, 2, 3, 3, 4] == [pytest.approx(at) for _, at in ends]


def test_waiting_is_not_slowness():
    """Seconds in our own queue are not the provider's."""

    async def main(router: Router, _: Any) -> float | None:
        await asyncio.gather(*(router.complete(ASK) for _ in range(12)))
        return router.health.latency("alpha/m-alpha")

    assert pytest.approx(1.0) == played(main, SECOND)


def test_who_gives_up_makes_room():
    """Canceled while it waits: the next one has its turn, and nothing is left behind."""

    async def main(router: Router, transports: dict[str, VirtualTransport]) -> Any:
        tasks = [asyncio.ensure_future(router.complete(ASK)) for _ in range(5)]
        await asyncio.sleep(0.5)
        for task in tasks[1:4]:
            task.cancel()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        deployment = router.config.deployments["alpha/m-alpha"]
        slots = router.health.of(deployment).places(deployment)
        return told, asyncio.get_running_loop().time(), [(one.under_way, one.waiting) for one in slots], transports

    told, now, slots, transports = played(main, SECOND)

    assert [asyncio.CancelledError] * 3 == [type(one) for one in told if isinstance(one, BaseException)]
    assert pytest.approx(1.5) == now, "the fifth went out when the second was canceled"
    assert [(0, 0)] == slots
    assert 0 == transports["alpha"].under_way


@pytest.mark.parametrize("step", range(12))
def test_cancelled_at_any_step_of_the_handover(step):
    """A slot that has just been handed to somebody who is canceled at that moment is handed on."""

    async def main(router: Router, _: Any) -> Any:
        tasks = [asyncio.ensure_future(router.complete(ASK)) for _ in range(4)]
        await asyncio.sleep(1.0)
        for _ in range(step):
            await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        deployment = router.config.deployments["alpha/m-alpha"]
        slots = router.health.of(deployment).places(deployment)
        return tasks[3].result().deployment, [(one.under_way, one.waiting) for one in slots]

    assert ("alpha/m-alpha", [(0, 0)]) == played(main, SECOND)


def test_hung_calls_of_one_block_nobody_else():
    """All its slots are taken by silence; the others are served as if it were not there."""

    async def main(router: Router, _: Any) -> Any:
        hung = [asyncio.ensure_future(router.complete(ASK)) for _ in range(2)]
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(router.complete(ASK) for _ in range(50)))
        seconds = asyncio.get_running_loop().time() - began
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        return {answer.deployment for answer in answers}, seconds

    told, seconds = played(main, SILENT, SECOND)

    assert {"beta/m-beta"} == told
    assert pytest.approx(1.0) == seconds


def test_a_wait_that_cannot_be_enough_is_not_begun():
    """The queue is longer than the deadline: who comes now is told at once, and whose fault it is not."""

    async def main(router: Router, _: Any) -> Any:
        await router.complete(ASK)  # a second: that much is known
        waiting = [asyncio.ensure_future(router.complete(ASK)) for _ in range(14)]
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeploymentsExhausted) as found:
            await router.complete(ASK)
        seconds = asyncio.get_running_loop().time() - began
        served = await asyncio.gather(*waiting)
        return found.value, seconds, len(served), router.health

    error, seconds, served, health = played(main, SECOND, limits={"concurrency": 1}, deadline="14.5s", attempts=1)

    assert 0 == seconds
    assert 14 == served
    assert [NoPlace] == [type(one) for one in error.exceptions]
    assert 429 == error.exceptions[0].status
    assert (error.retry_after or 0) > 10
    assert "closed" == health.state("alpha/m-alpha")
    assert 0 == health.ready_in(_target(health), 20.0), "no key rests for it"


def _target(_: Any) -> Any:
    return config(("alpha",), {"concurrency": 1}).deployments["alpha/m-alpha"]


def test_the_queue_ends_with_the_attempt():
    """Nobody waits beyond his deadline for a slot that never comes free."""

    async def main(router: Router, _: Any) -> Any:
        hung = [asyncio.ensure_future(router.complete(ASK)) for _ in range(2)]
        await asyncio.sleep(10)
        with pytest.raises(RouterError):
            await router.complete(ASK)
        now = asyncio.get_running_loop().time()
        await asyncio.gather(*hung, return_exceptions=True)
        return now

    assert pytest.approx(40.0, abs=0.5) == played(main, SILENT)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_refusal_teaches_how_many(streaming):
    """No limit before the first 429; then seven tenths, and the next ones wait or go elsewhere."""

    async def one(router: Router) -> None:
        if streaming:
            async for _ in router.stream(ASK):
                pass
        else:
            await router.complete(ASK)

    async def main(router: Router, transports: dict[str, VirtualTransport]) -> Any:
        tasks = [asyncio.ensure_future(one(router)) for _ in range(10)]
        await asyncio.sleep(0.1)
        before = transports["alpha"].under_way
        router.health.account(router.config.providers["alpha"]).places().throttled(0.1)
        late = [asyncio.ensure_future(one(router)) for _ in range(5)]
        await asyncio.sleep(0.1)
        told = before, transports["alpha"].under_way, transports["beta"].under_way
        await asyncio.gather(*tasks, *late)
        return told

    assert (10, 10, 5) == played(main, SECOND, SECOND, limits={"requests_per_minute": 1000})
