"""What a route may spend: never more in any span than its limit, but for estimates that were too low."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import Router
from router.budget import Budget
from router.errors import BudgetExceeded
from router.lab.virtual import UP, VirtualProvider, VirtualTransports, always, run_virtually

PER = 60.0
steps = st.lists(
    st.tuples(
        st.floats(0, 20, allow_nan=False),  # seconds since the step before
        st.floats(0.01, 4),  # estimate
        st.floats(0, 1),  # what it comes to cost, as a part of the estimate
        st.integers(0, 3),  # how many steps later it is settled
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_in_no_span_is_more_spent_than_the_limit(story):
    """Whoever is let in may cost what was estimated; then the sum over every span of a minute stays within the limit."""
    budget, now = Budget(10.0, PER), 0.0
    waiting: list[tuple[int, float, float]] = []
    spent: list[tuple[float, float]] = []
    for place, (seconds, estimate, part, later) in enumerate(story):
        now += seconds
        for due, reserved, cost in [one for one in waiting if one[0] <= place]:
            waiting.remove((due, reserved, cost))
            budget.settle(now, reserved, cost)
            spent.append((now, cost))
        if budget.reserve(now, estimate):
            waiting.append((place + later, estimate, estimate * part))
        else:
            wait = budget.retry_in(now, estimate)
            assert wait is not None
            assert wait >= 0
        assert len(budget.spent) <= 62
        assert budget.left(now) >= -1e-9
        assert sum(cost for at, cost in spent if at > now - PER) + budget.under_way <= 10.0 + 1e-9


def test_it_says_when_there_is_room_again():
    budget = Budget(1.0, PER)
    assert budget.reserve(0.0, 0.9)
    assert not budget.reserve(0.0, 0.2)
    budget.settle(5.0, 0.9, 0.9)
    wait = budget.retry_in(5.0, 0.2)

    assert wait is not None
    assert not budget.reserve(5.0 + wait - 0.1, 0.2)
    assert budget.reserve(5.0 + wait + 0.1, 0.2)
    assert budget.retry_in(70.0, 2.0) is None


def written(budget: Mapping[str, Any], deployment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "providers": {"alpha": {"base_url": "http://alpha.test/v1", "api_key": "key"}},
        "models": {"m": {"deployments": [{"provider": "alpha", "model": "m", **deployment}]}},
        "routes": {"chat": {"deployments": ["alpha/m"], "budget": budget}},
    }


PRICE = {
    "price": {"input": 0, "output": 1000}
}  # a tenth of a cent a token: the virtual answer of 10 tokens costs a cent
ASKED = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


def test_a_route_refuses_when_its_budget_is_used_up_and_serves_again():
    """Before anything is sent; also when many come at once, for what is under way is set aside."""

    async def main() -> None:
        from asyncio import sleep

        provider = VirtualProvider("alpha", always(UP), Random(1))
        limited = written({"limit": "$0.05", "per": "1m"}, PRICE)
        async with Router.open(limited, environ={}, transports=VirtualTransports(provider)) as router:
            told = await gather(*(router.complete(ASKED) for _ in range(8)), return_exceptions=True)
            refused = [error for error in told if isinstance(error, BudgetExceeded)]

            assert (3, 5) == (len(refused), len(provider.began))
            assert "the budget of route 'chat' ($0.05 in 60 s)" in str(refused[0])
            with pytest.raises(BudgetExceeded) as error:
                await router.complete(ASKED)
            assert error.value.retry_after is not None
            await sleep(error.value.retry_after + 0.1)
            assert (await router.complete(ASKED)).cost.usd == pytest.approx(0.01)
            assert 6 == len(provider.began)

    run_virtually(main())


def test_what_was_set_aside_is_given_back_by_a_caller_who_leaves():
    async def main() -> None:
        provider = VirtualProvider("alpha", always(UP), Random(1))
        limited = written({"limit": "$0.01", "per": "1h"}, PRICE)
        async with Router.open(limited, environ={}, transports=VirtualTransports(provider)) as router:
            stream = router.stream(ASKED)
            async for _ in stream:
                break
            await stream.aclose()
            budget = router.health.budget(router.config.routes["chat"])

            assert budget is not None
            assert 0 == budget.under_way
            assert 0 < budget.total < 0.01

    run_virtually(main())


def test_nobody_whose_price_is_unknown_serves_a_route_with_a_budget():
    plan = Router.open(written({"limit": 1}, {}), environ={}).plan(ASKED)

    assert "its price is not known" in plan.excluded[0].why
