"""An ordinary request, planned as if everybody were well, had a key, and money were no object. Pure.

Knows a request that asks for nothing which a provider might not have. Refuses to judge what becomes of it.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from providers.types import Request
from router.plan import Setting, make_plan

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Deployment, Route
    from router.load import Loaded
    from router.plan import Candidate, Plan
    from router.problems import Steps

ANSWER = 1000  # tokens
_ASKED = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "17 * 23?"}],
    "temperature": 0.7,
    "max_tokens": ANSWER,
}


class _AllWell:
    """The standing of deployments of which nothing bad is known."""

    def barred(self, *_: object) -> None:
        """Nobody is."""

    def ready_in(self, *_: object) -> float:
        """At once."""
        return 0.0

    def may_trickle(self, *_: object) -> bool:
        """No circuit is open."""
        return False

    def other_key(self, *_: object) -> bool:
        """No key has failed."""
        return False

    def may_retry(self, *_: object) -> bool:
        """No retry was taken."""
        return True

    def spend_retry(self, *_: object) -> None:
        """Nothing is asked."""

    def endpoint(self, deployment: Deployment) -> Endpoint:
        """As the configuration has it."""
        return deployment.endpoint

    def load(self, *_: object) -> float:
        """Nothing is under way."""
        return 0.0

    def latency(self, *_: object) -> None:
        """Nobody was asked."""


def plan(route: Route, loaded: Loaded) -> Plan:
    """Who would be asked an ordinary request on *route*, and who is out for what would be changed."""
    request = Request(model=route.name, **_ASKED)  # type: ignore[arg-type]  # checked by the model itself
    free = replace(route, policy=replace(route.policy, max_cost=None), budget=None, max_price=None, prefer_price=None)
    return make_plan(request, free, Setting(_AllWell(), advice=loaded.config.sampling), rng=Random(0))


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
