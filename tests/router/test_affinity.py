"""Conversations stay where their prompt cache is warm: over the whole router, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import pytest

from router import Router
from router.lab.virtual import DOWN, UP, VirtualProvider, VirtualTransports, always, run_virtually, windows
from router.load import load

T = TypeVar("T")
NAMES = ("alpha", "beta", "gamma")
ALPHA = "alpha/m-alpha"
CHEAP, DEAR = {"input": 1.0, "output": 1.0}, {"input": 3.0, "output": 1.0, "cached": 0.1}


def config(prices: dict[str, Any] | None = None, **route: Any) -> Any:
    """A route over three, with `affinity` unless *route* says otherwise."""
    known = prices or {}
    return load(
        {
            "providers": {
                name: {"protocol": "chat_completions", "base_url": f"http://{name}.test/v1", "api_key": f"k-{name}"}
                for name in NAMES
            },
            "models": {
                f"m-{name}": {"deployments": [{"provider": name, "model": "m", "price": known.get(name, CHEAP)}]}
                for name in NAMES
            },
            "routes": {
                "chat": {
                    "deployments": [f"{name}/m-{name}" for name in NAMES],
                    "select": "weighted",
                    "affinity": "conversation",
                    **route,
                }
            },
        },
        environ={},
    )


def played(
    main: Callable[[Router], Awaitable[T]], made: Any, scripts: dict[str, Any] | None = None, seed: int = 1
) -> T:
    """What *main* returns of a router over three providers in memory."""

    async def play() -> T:
        found = scripts or {}
        providers = [VirtualProvider(name, found.get(name, always(UP)), Random(name)) for name in NAMES]
        async with Router(made, rng=Random(seed), transports=VirtualTransports(*providers)) as router:
            return await main(router)

    return run_virtually(play())


def turn(number: int, place: int, length: int = 1, **more: Any) -> dict[str, Any]:
    """The *place*th turn of conversation *number*."""
    messages = [{"role": "user", "content": f"This is conversation {number}. " * length}]
    for earlier in range(place):
        messages += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": f"And {earlier}?"}]
    return {"model": "chat", "messages": messages, **more}


async def where(router: Router, ask: dict[str, Any]) -> str:
    return (await router.complete(ask)).deployment


def test_every_turn_goes_where_the_first_one_went():
    """And conversations as such are spread by weight."""

    async def main(router: Router) -> list[set[str]]:
        return [{await where(router, turn(number, place)) for place in range(6)} for number in range(40)]

    told = played(main, config())

    assert all(len(one) == 1 for one in told)
    assert set().union(*told) == {f"{name}/m-{name}" for name in NAMES}


def test_without_affinity_they_wander():
    """It is off unless the route has it."""

    async def main(router: Router) -> set[str]:
        return {await where(router, turn(1, place)) for place in range(12)}

    assert 3 == len(played(main, config(affinity=None)))


def test_the_plan_says_why():
    """Whose turn it is, and since when."""

    async def main(router: Router) -> tuple[str, Any]:
        first = await where(router, turn(1, 0))
        await asyncio.sleep(5)
        return first, router.plan(turn(1, 1)).candidates

    first, candidates = played(main, config())

    assert first == candidates[0].deployment
    assert "it answered the last turn, 5 s ago" == candidates[0].why
    assert ["", ""] == [one.why for one in candidates[1:]]


def test_after_so_long_the_cache_is_cold():
    """Then the weights decide again."""

    async def main(router: Router, pause: float) -> set[str]:
        told = set()
        for place in range(12):
            told.add(await where(router, turn(1, place)))
            await asyncio.sleep(pause)
        return told

    assert 1 == len(played(lambda router: main(router, 50.0), config(affinity={"for": "60s"})))
    assert 3 == len(played(lambda router: main(router, 70.0), config(affinity={"for": "60s"})))


def test_who_has_failed_over_stays_there():
    """The first one rests; where the conversation went its cache is warm now."""

    async def main(router: Router) -> list[str]:
        told = []
        for place in range(6):
            told.append(await where(router, turn(1, place)))
            await asyncio.sleep(10)
        return told

    scripts = {"alpha": windows(UP, (5.0, 15.0, DOWN))}
    told = played(main, config(select="priority"), scripts)

    assert [ALPHA, *["beta/m-beta"] * 5] == told


@pytest.mark.parametrize(
    ("prices", "length", "expected"),
    [
        ({"alpha": DEAR}, 400, ALPHA),  # warm: 0.1 for what is cached, below the 1.0 elsewhere
        ({"alpha": {**DEAR, "cached": None}}, 400, "beta/m-beta"),  # no price for what is cached: 3.0 all the same
        ({"alpha": {**DEAR, "output": 30.0}}, 400, "beta/m-beta"),  # the answer costs more than the cache saves
        ({"alpha": CHEAP}, 1, ALPHA),  # as dear as the other: the cache is quicker
    ],
)
def test_it_stays_as_long_as_that_is_no_dearer(prices, length, expected):
    """Than at the one whose turn it would be; here the cheapest one."""

    async def main(router: Router) -> str:
        router.health.memory.remember(
            key := router.health.memory.key("chat", "conversation", _request(turn(1, 0, length))) or b"",
            ALPHA, 0.0, 4000,
        )  # fmt: skip
        assert key
        return await where(router, turn(1, 1, length, max_tokens=100))

    assert expected == played(main, config({**dict.fromkeys(NAMES, CHEAP), **prices}, select="cheapest"))


def _request(ask: dict[str, Any]) -> Any:
    from providers.types import Request

    return Request.of(ask)


def test_a_lower_tier_stays_one():
    """A conversation that was answered there comes back when the upper one can serve."""

    async def main(router: Router) -> list[str]:
        told = []
        for place in range(4):
            told.append(await where(router, turn(1, place)))
            await asyncio.sleep(20)
        return told

    entries = [ALPHA, {"deployment": "beta/m-beta", "priority": 2}]
    told = played(main, config(select="priority", deployments=entries), {"alpha": windows(UP, (0.0, 10.0, DOWN))})

    assert ["beta/m-beta", ALPHA, ALPHA, ALPHA] == told


def test_by_user():
    """Whatever he talks about; and who does not say who he is is spread."""

    async def main(router: Router, **more: Any) -> set[str]:
        return {await where(router, turn(number, 0, **more)) for number in range(12)}

    made = config(affinity="user")
    assert 1 == len(played(lambda router: main(router, user="ada"), made))
    assert 3 == len(played(main, made))


def test_nothing_of_a_conversation_is_in_memory():
    """Not a word of it."""

    async def main(router: Router) -> str:
        await router.complete({"model": "chat", "messages": [{"role": "user", "content": "CANARY"}], "user": "CANARY"})
        return repr(router.health.memory._warm)

    told = played(main, config())

    assert ALPHA in told or "/m-" in told
    assert "CANARY" not in told
