"""Requests and tokens per minute: the account's, and a deployment's own in its route. Whichever is tighter holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from router import Router
from router.errors import DeploymentsExhausted, NoPlace
from router.lab.virtual import UP, VirtualProvider, VirtualTransports, always, run_virtually

ASK = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}


def written(account: Mapping[str, Any], own: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "providers": {
            name: {"base_url": f"http://{name}.test/v1", "api_key": "k", **({"limits": account} if account else {})}
            for name in names
        },
        "models": {f"m-{name}": {"deployments": [{"provider": name, "model": "m"}]} for name in names},
        "routes": {
            "chat": {
                "deployments": [{"deployment": f"{name}/m-{name}", "limits": own} for name in names],
                "policy": {"deadline": "200s"},
            }
        },
    }


def calls(account: Mapping[str, Any], own: Mapping[str, Any], *names: str, count: int = 4) -> list[list[float]]:
    """When the calls of *count* requests, sent at once, arrive at each provider."""

    async def main() -> list[list[float]]:
        providers = [VirtualProvider(name, always(UP), Random(name)) for name in names]
        made = written(account, own, names)
        async with Router.open(made, environ={}, rng=Random(1), transports=VirtualTransports(*providers)) as router:
            await asyncio.gather(*(router.complete(ASK) for _ in range(count)))
        return [[round(at) for at in provider.began] for provider in providers]

    return run_virtually(main())


@pytest.mark.parametrize(
    ("account", "own"),
    [
        ({}, {"requests_per_minute": 2}),
        ({"requests_per_minute": 2}, {}),
        ({"requests_per_minute": 3}, {"requests_per_minute": 2}),
        ({"requests_per_minute": 2}, {"requests_per_minute": 3}),
        ({"tokens_per_minute": 100_000}, {"requests_per_minute": 2}),
    ],
)
def test_the_tighter_one_holds(account, own):
    """Two at once, and the next two when the minute has room for them, with a little jitter."""
    (times,) = calls(account, own, "alpha")

    assert [0, 0] == times[:2]
    assert all(60 <= at <= 66 for at in times[2:])


def test_who_is_full_is_left_for_whoever_is_free():
    assert [[0, 0], [0, 0]] == calls({}, {"requests_per_minute": 2}, "alpha", "beta")


def test_where_nobody_has_room_in_time_nothing_is_sent_and_no_place_is_taken():
    """Of neither minute: who comes later finds both as they were."""

    async def main() -> None:
        provider = VirtualProvider("alpha", always(UP), Random(1))
        made = written({"requests_per_minute": 10}, {"requests_per_minute": 1}, ("alpha",))
        async with Router.open(made, environ={}, transports=VirtualTransports(provider)) as router:
            await router.complete(ASK)
            with pytest.raises(DeploymentsExhausted) as refused:
                await router.complete({**ASK, "deadline": 5.0})

            assert all(isinstance(error, NoPlace) or "rests" in str(error) for error in refused.value.exceptions)
            deployment = router.config.routes["chat"].deployments[0]
            accounts = router.health.of(deployment).minutes(deployment)
            assert [1, 1] == [len(account.places) for account in accounts]
            assert 1 == len(provider.began)

    run_virtually(main())
