"""What one request may ask otherwise than its route: whom, for how long, for how much. Over the whole pipeline."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from router import Request, Router
from router.errors import DeadlineExceeded, DeploymentsExhausted, InvalidRequest, NoDeployment, RouterError
from router.lab.virtual import DOWN, UP, Conduct, VirtualProvider, VirtualTransports, always, run_virtually

MESSAGES = [{"role": "user", "content": "17 * 23?"}]
PRICES = {"cheap": (0.1, 0.4), "middle": (0.5, 2.0), "dear": (2.0, 8.0), "secret": None}


def written(route: Mapping[str, Any] | None = None, policy: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A route over four deployments, in the order dear, middle, cheap, secret; nobody knows what the last one costs."""
    order = ("dear", "middle", "cheap", "secret")
    models: dict[str, Any] = {}
    for name in order:
        entry: dict[str, Any] = {"provider": name, "model": name}
        if (price := PRICES[name]) is not None:
            entry["price"] = {"input": price[0], "output": price[1]}
        models[f"m-{name}"] = {"deployments": [entry]}
    return {
        "providers": {name: {"base_url": f"http://{name}.test/v1", "api_key": f"key-{name}"} for name in order},
        "models": models,
        "routes": {"chat": {"deployments": [f"{name}/m-{name}" for name in order], "policy": "own", **(route or {})}},
        "policies": {
            "own": {"attempts": 4, "deadline": "60s", "on_interruption": "error", **(policy or {})},
            "other": {"attempts": 1, "deadline": "5s"},
        },
    }


def planned(route: Mapping[str, Any] | None = None, **asked: Any) -> list[str]:
    """Who would be asked, by the name of the provider."""
    plan = Router.open(written(route), environ={}).plan(Request(model="chat", messages=MESSAGES, **asked))
    return [candidate.deployment.partition("/")[0] for candidate in plan.candidates]


def why_out(name: str, route: Mapping[str, Any] | None = None, **asked: Any) -> str:
    plan = Router.open(written(route), environ={}).plan(Request(model="chat", messages=MESSAGES, **asked))
    return next(out.why for out in plan.excluded if out.deployment.startswith(name))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["dear", "middle", "cheap", "secret"]),
        ({"only": "cheap"}, ["cheap"]),
        ({"only": ["cheap/m-cheap", "dear"]}, ["dear", "cheap"]),
        ({"ignore": "dear"}, ["middle", "cheap", "secret"]),
        ({"ignore": ["dear/m-dear", "secret"]}, ["middle", "cheap"]),
        ({"only": ["cheap", "dear"], "ignore": ["dear"]}, ["cheap"]),
        ({"max_price": {"input": 0.5}}, ["middle", "cheap"]),
        ({"max_price": {"output": 0.4}}, ["cheap"]),
        ({"prefer_price": {"input": 0.5}}, ["middle", "cheap", "dear", "secret"]),
        ({"prefer_price": {"input": 0.1}, "max_price": {"output": 2}}, ["cheap", "middle"]),
    ],
)
def test_whom_a_request_leaves_in(asked, expected):
    assert expected == planned(**asked)


def test_each_that_is_out_says_why():
    assert why_out("dear", only="cheap") == "the request names others under `only`"
    assert why_out("dear", ignore="dear") == "the request names it under `ignore`"
    assert (
        why_out("dear", max_price={"input": 1})
        == "its input costs $2 per million tokens, more than $1: `max_price` does not allow it"
    )
    assert (
        why_out("secret", max_price={"output": 1}) == "its price of output is not known: `max_price` does not allow it"
    )
    assert "its price is not known" in why_out("secret", max_cost=1.0)
    assert "`max_cost` is $0.000300" in why_out("dear", max_cost=0.0003, max_tokens=100)


def test_a_route_says_it_for_all_and_the_tighter_limit_holds():
    assert ["middle", "cheap"] == planned({"max_price": {"input": "$0.50"}})
    assert ["cheap"] == planned({"max_price": {"input": "$0.50"}}, max_price={"input": 0.2})
    assert ["middle", "cheap"] == planned({"max_price": {"input": "$0.50"}}, max_price={"input": 5})
    assert ["cheap", "dear", "middle", "secret"] == planned({"prefer_price": {"output": 1}})


def test_a_preference_stays_inside_its_tier():
    """Preferring is an order among equals; the second tier is still only for when the first cannot serve."""
    entries = ["dear/m-dear", "middle/m-middle", {"deployment": "cheap/m-cheap", "priority": 2}]
    assert ["middle", "dear", "cheap"] == planned({"deployments": entries, "prefer_price": {"input": 0.5}})


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ({"deadline": 61}, "deadline", "61 is more than route 'chat' allows (60)"),
        ({"attempts": 5}, "attempts", "raise attempts in the policy 'own'"),
        ({"only": "chep"}, "only", "did you mean 'cheap'"),
        ({"ignore": ["mixlayer"]}, "ignore", "'mixlayer' is not in route 'chat'"),
        ({"policy": "othr"}, "policy", "did you mean 'other'"),
        ({"only": []}, "only", "leaves nobody"),
        ({"deadline": 0}, "deadline", "greater than 0"),
        ({"attempts": True}, "attempts", ""),
        ({"max_price": {"inptu": 1}}, "max_price.inptu", ""),
    ],
)
def test_what_is_more_or_unknown_is_refused_in_words(asked, field, says):
    router = Router.open(written(), environ={})
    with pytest.raises(InvalidRequest) as refused:
        router.plan({"model": "chat", "messages": MESSAGES, **asked})

    assert field == refused.value.field
    assert says in str(refused.value)


def test_the_same_is_said_of_a_max_cost_over_the_policys():
    router = Router.open(written(policy={"max_cost": "$0.01"}), environ={})
    with pytest.raises(InvalidRequest, match="is more than"):
        router.plan({"model": "chat", "messages": MESSAGES, "max_cost": 0.02})


def test_nobody_left_says_what_each_would_cost():
    router = Router.open(written(), environ={})
    plan = router.plan({"model": "chat", "messages": MESSAGES, "max_cost": 0.0})

    assert () == plan.candidates
    assert "max_cost" in str(NoDeployment(plan))


def heard(
    conduct: Mapping[str, Conduct], *, own: Mapping[str, Any] | None = None, say: str = "17 * 23?", **asked: Any
) -> tuple[list[str], Any, float]:
    """Who was asked, in order, what came of it, and after how long. Whoever is not named answers."""

    async def main() -> tuple[list[str], Any, float]:
        providers = [VirtualProvider(name, always(conduct.get(name, UP)), Random(1)) for name in PRICES]
        transports = VirtualTransports(*providers)
        async with Router.open(written(policy=own), environ={}, rng=Random(3), transports=transports) as router:
            request = {"model": "chat", "messages": [{"role": "user", "content": say}], **asked}
            try:
                found: Any = await router.complete(request)
            except RouterError as error:
                found = error
            return [one.deployment.partition("/")[0] for one in found.attempts], found, get_running_loop().time()

    return run_virtually(main())


def test_a_request_with_fewer_attempts_makes_fewer():
    asked, found, _ = heard({"dear": DOWN}, attempts=1)

    assert (["dear"], DeploymentsExhausted) == (asked, type(found))
    assert ["dear", "middle"] == heard({"dear": DOWN}, attempts=2)[0]


def test_another_policy_by_name():
    assert ["dear"] == heard({"dear": DOWN}, policy="other")[0]


def test_nobody_is_asked_with_whom_it_would_come_to_cost_too_much():
    """The prompt that `dear` took and dropped is paid; the rest is enough for `cheap`, and not for `middle`."""
    lost = {"dear": Conduct("reset")}
    asked, found, _ = heard(lost, say="word " * 800, max_tokens=10, max_cost=0.0022)

    assert ["dear", "cheap"] == asked
    assert 0.002 < found.cost.usd <= 0.0022

    asked, found, _ = heard({**lost, "cheap": DOWN}, say="word " * 800, max_tokens=10, max_cost=0.0022)
    assert (["dear", "cheap"], DeploymentsExhausted) == (asked[:2], type(found))
    assert "middle" not in asked

    asked, found, _ = heard(lost, say="word " * 800, max_tokens=10, max_cost=0.00209)
    assert ["dear"] == asked
    assert "would cost more than max_cost" in str(found)


def test_a_deadline_of_the_request_is_kept():
    """The policy's would be a minute."""
    silent = dict.fromkeys(PRICES, Conduct("silent"))
    _, found, seconds = heard(silent, deadline=8)

    assert isinstance(found, DeadlineExceeded | DeploymentsExhausted)
    assert seconds == pytest.approx(8, abs=0.25)
