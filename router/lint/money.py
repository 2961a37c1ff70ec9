"""Prices that break a limit, or that nobody knows where they are needed. Pure.

Knows the limits of a route and what an ordinary request is estimated at. Refuses to know what a request will really
cost: what is said of a limit is said of one question and its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from providers.types import Request
from router.lint.ordinary import ANSWER, asked, at, candidates
from router.problems import Problem, Steps
from router.terms import above, terms

if TYPE_CHECKING:
    from router.config import Deployment, Route
    from router.load import Loaded
    from router.terms import Terms

_ORDINARY = f"an ordinary request (a question, up to {ANSWER:,} tokens of answer)"


def money(loaded: Loaded) -> Iterator[Problem]:
    """Every finding about the prices and the limits of money of *loaded*."""
    for route in loaded.config.routes.values():
        for rule in _RULES:
            yield from rule(route, loaded)


def _known(deployment: Deployment) -> bool:
    price = deployment.price
    return price is not None and price.input is not None and price.output is not None


# -- who is out -------------------------------------------------------------------------------------------------------


def _missing(route: Route, loaded: Loaded) -> Iterator[Problem]:
    for tier in route.tiers:
        for deployment in tier:
            why = None if _known(deployment) else _wanted(route, deployment, alone=len(tier) == 1)
            if why:
                price = deployment.price
                lacking = [key for key in ("input", "output") if getattr(price, key, None) is None]
                message = f"the price of {deployment.name} is not known ({', '.join(lacking)}): {why}"
                hint = "say price: {input: …, output: …} here, in dollars per million tokens"
                yield loaded.document.problem(at(route, deployment), message, hint, code="price-missing")


def _wanted(route: Route, deployment: Deployment, *, alone: bool) -> str:
    """What becomes of a *deployment* without a price; empty where nobody asks for it."""
    limits = [
        name for name, said in (("max_cost", route.policy.max_cost), ("budget", route.budget)) if said is not None
    ]
    if route.max_price is not None and above(deployment.price, route.max_price) is not None:
        limits.append("max_price")
    if limits:
        return f"under {' and '.join(limits)} it is never asked"
    if alone:
        return ""
    if route.select == "cheapest":
        return "cheapest asks it last"
    dear = route.prefer_price is not None and above(deployment.price, route.prefer_price) is not None
    return "under prefer_price it is asked last" if dear else ""


def _over(route: Route, loaded: Loaded) -> Iterator[Problem]:
    """Deployments that a limit of the route or of its policy leaves out, as far as their price is known."""
    agreed, costs = _agreed(route), _costs(route, loaded)
    for deployment in filter(_known, asked(route)):
        why = agreed.refuses(deployment)
        if why is None and costs.get(deployment.name) is not None:
            why = agreed.refuses_cost(costs[deployment.name])
            why = why and f"{_ORDINARY}: {why}"
        if why is not None:
            message = f"{deployment.name} is not asked: {why}"
            hint = "raise the limit, or take the deployment out of the route"
            yield loaded.document.problem(at(route, deployment), message, hint, code="price-over-limit")


def _agreed(route: Route) -> Terms:
    return terms(route, Request(model=route.name, messages=[{"role": "user", "content": "?"}]))


def _costs(route: Route, loaded: Loaded) -> dict[str, float | None]:
    """What an ordinary request is estimated at, by deployment."""
    return {one.deployment: one.cost.usd for one in candidates(route, loaded)}


# -- what cannot work -------------------------------------------------------------------------------------------------


def _budget(route: Route, loaded: Loaded) -> Iterator[Problem]:
    known = [dollars for dollars in _costs(route, loaded).values() if dollars is not None]
    if route.budget is None or not known or min(known) <= route.budget.limit:
        return
    message = (
        f"{_ORDINARY} is estimated at ${min(known):.6f} at the cheapest deployment, and the budget is"
        f" ${route.budget.limit:g} in {route.budget.per:g}s: it is refused"
    )
    steps: Steps = ("routes", route.name, "budget", "limit")
    yield loaded.document.problem(steps, message, "raise it", code="budget-below-request")


def _preferred(route: Route, loaded: Loaded) -> Iterator[Problem]:
    limit = route.prefer_price
    if limit is None:
        return
    dear = [{above(one.price, limit) is not None for one in tier} for tier in route.tiers]
    if all(len(kinds) == 1 for kinds in dear):
        message = "in no tier does it tell one deployment from another: all of a tier are above it, or none is"
        hint = "set it between their prices, or leave it out"
        steps: Steps = ("routes", route.name, "prefer_price")
        yield loaded.document.problem(steps, message, hint, code="prefer-price-no-effect")


_RULES: tuple[Callable[[Route, Loaded], Iterator[Problem]], ...] = (_missing, _over, _budget, _preferred)
