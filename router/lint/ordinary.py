"""An ordinary request, planned as if everybody were well, had a key, and money were no object. Pure.

Knows a request that asks for nothing which a provider might not have. Refuses to judge what becomes of it.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from providers.types import Request
from router.config import Limits
from router.health import Health
from router.plan import Setting, make_plan

if TYPE_CHECKING:
    from router.config import Deployment, Provider, Route
    from router.load import Loaded
    from router.plan import Candidate, Plan
    from router.problems import Steps

ANSWER = 1000  # tokens
_ASKED = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "17 * 23?"}],
    "temperature": 0.7,
    "max_tokens": ANSWER,
}


def plan(route: Route, loaded: Loaded) -> Plan:
    """Who would be asked an ordinary request on *route*, and who is out for what would be changed."""
    request = Request(model=route.name, **_ASKED)  # type: ignore[arg-type]  # checked by the model itself
    free = replace(
        route,
        deployments=tuple(replace(one, provider=_open(one.provider), limits=Limits()) for one in route.deployments),
        policy=replace(route.policy, max_cost=None),
        budget=None,
        max_price=None,
        prefer_price=None,
    )
    # Of nobody is anything known yet: so everybody is well.
    return make_plan(request, free, Setting(Health(Random(0)), advice=loaded.config.sampling), rng=Random(0))


def _open(provider: Provider) -> Provider:
    """*provider* as if it wanted no key and had no limits."""
    return replace(provider, keys=(), missing=(), keyless=True, limits=Limits())


def candidates(route: Route, loaded: Loaded) -> tuple[Candidate, ...]:
    """Those who would be asked."""
    return tuple(plan(route, loaded).candidates)


def asked(route: Route) -> list[Deployment]:
    """The deployments of *route* that are ever asked, those of the lowest priority number first."""
    return [deployment for tier in route.tiers for deployment in tier]


def at(route: Route, deployment: Deployment) -> Steps:
    """Where *deployment* stands in *route*."""
    place = next(number for number, one in enumerate(route.deployments) if one is deployment)
    return ("routes", route.name, "deployments", place)
