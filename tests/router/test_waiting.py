"""Who waits for somebody looks up meanwhile: when another one is back, it is decided anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from router import Router
from router.events import PlanChanged, RequestEnded, Waiting
from router.lab.virtual import (
    DOWN,
    UP,
    Conduct,
    Script,
    VirtualProvider,
    VirtualTransports,
    always,
    run_virtually,
    windows,
)

ASK = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}
QUICK = Conduct(latency=0.5, spread=0.0)


FEW = {"requests_per_minute": 2}


def written(beta: Any = FEW, **policy: Any) -> dict[str, Any]:
    """Alpha first, and beta, which takes two calls a minute."""
    limits = {"beta": {"limits": beta}}
    return {
        "providers": {
            name: {"base_url": f"http://{name}.test/v1", "api_key": "k", **limits.get(name, {})}
            for name in ("alpha", "beta")
        },
        "models": {f"m-{name}": {"deployments": [{"provider": name, "model": "m"}]} for name in ("alpha", "beta")},
        "routes": {"chat": {"deployments": ["alpha/m-alpha", "beta/m-beta"], "policy": {"deadline": "150s", **policy}}},
    }


def answered(
    alpha: Script, *, count: int = 8, every: float = 0.5, beta: Any = FEW, seconds: float = 0.5
) -> tuple[list[Any], list[Any]]:
    """When each of *count* callers, who come one after the other, has his answer and from whom; and all events.

    *beta*: its limits; it takes so many *seconds*.
    """
    events: list[Any] = []
    slow = replace(QUICK, latency=seconds)

    async def main() -> list[Any]:
        providers = [VirtualProvider("alpha", alpha, Random(1)), VirtualProvider("beta", always(slow), Random(2))]
        transports = VirtualTransports(*providers)
        opened = Router.open(written(beta), environ={}, rng=Random(1), transports=transports, hooks=[events.append])
        loop = asyncio.get_running_loop()
        async with opened as router:

            async def one(place: int) -> Any:
                await asyncio.sleep(place * every)
                answer = await router.complete(ASK)
                return loop.time(), answer.deployment.partition("/")[0]

            return await asyncio.gather(*(one(place) for place in range(count)))

    return run_virtually(main()), events


def test_whoever_waits_goes_to_who_is_back():
    """Alpha is down for ten seconds and beta full: nobody waits a minute for beta while alpha answers."""
    told, events = answered(windows(QUICK, (0.0, 10.0, DOWN)))

    assert 2 == [name for _, name in told].count("beta")
    assert max(at for at, _ in told) < 25.0
    assert any(isinstance(event, PlanChanged) and event.deployment == "alpha/m-alpha" for event in events)


def test_who_waits_for_the_only_one_goes_on_waiting():
    """Alpha stays down: it is asked as often as the policy allows, and the answer comes when beta has room."""
    told, events = answered(always(DOWN), count=3)
    ended = [event for event in events if isinstance(event, RequestEnded)]

    assert ["beta"] * 3 == [name for _, name in told]
    assert 59.0 < max(at for at, _ in told) < 68.0
    for end in ended:
        assert [one.deployment for one in end.attempts].count("alpha/m-alpha") <= 2
        assert end.attempts[-1].outcome == "success"


def test_the_wait_of_one_is_not_cut_short_for_nothing():
    """Where nobody else is there, a wait is one wait, decided once."""
    events: list[Any] = []
    only = written()
    only["routes"]["chat"]["deployments"] = ["beta/m-beta"]

    async def main() -> float:
        transports = VirtualTransports(VirtualProvider("beta", always(QUICK), Random(2)))
        async with Router.open(only, environ={}, transports=transports, hooks=[events.append]) as router:
            for _ in range(3):
                await router.complete(ASK)
            return asyncio.get_running_loop().time()

    assert 59.0 < run_virtually(main()) < 68.0
    assert 1 == sum(isinstance(event, Waiting) for event in events)


def test_a_queue_dissolves_when_another_one_is_back():
    """Forty callers queue for two places a minute; when alpha is back, nobody is left in the queue."""
    told, events = answered(windows(QUICK, (0.0, 10.0, DOWN)), count=40, every=0.2)
    ended = [event for event in events if isinstance(event, RequestEnded)]

    assert 2 == [name for _, name in told].count("beta")
    assert max(at for at, _ in told) < 30.0
    assert {"success", "Overloaded"} >= {one.outcome for end in ended for one in end.attempts}


def test_a_full_account_is_left_for_who_is_back():
    """The same for calls at once: whoever queues for a slot goes to alpha, unless he has asked it as often as he may."""
    told, _ = answered(windows(QUICK, (0.0, 10.0, DOWN)), count=12, every=0.1, beta={"concurrency": 1}, seconds=20.0)

    assert [name for _, name in told].count("alpha") >= 9
    assert max(at for at, name in told if name == "alpha") < 25.0


def test_a_caller_may_leave_while_he_waits():
    """Cancellation is not looked away from."""

    async def main() -> float:
        providers = [VirtualProvider("alpha", always(DOWN), Random(1)), VirtualProvider("beta", always(UP), Random(2))]
        loop = asyncio.get_running_loop()
        async with Router.open(written(), environ={}, transports=VirtualTransports(*providers)) as router:
            for _ in range(2):
                await router.complete(ASK)
            task = asyncio.ensure_future(router.complete(ASK))
            await asyncio.sleep(5.25)
            began = loop.time()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return loop.time() - began

    assert 0.0 == run_virtually(main())
