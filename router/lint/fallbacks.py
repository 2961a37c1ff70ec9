"""Deployments that cannot serve what their route is for, or not what the first one can. Pure.

Knows how to ask the translation and the planner about requests that nobody has made yet. Refuses to keep a table of what
anybody can do: what a deployment can is what it can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, get_args

from providers.types import Request
from router.config import Need
from router.lint.needs import refusal, unmet
from router.plan import Setting, make_plan
from router.problems import Problem, Steps

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Deployment, Route
    from router.load import Loaded

_NEEDS: tuple[Need, ...] = get_args(Need)
_WORDS = {"json_object": "JSON", "json_schema": "a JSON schema", "reasoning_off": "reasoning off",
          "reasoning_levels": "levels of reasoning", "logprobs": "log probabilities"}  # fmt: skip
_FEWER = 0.5  # less than half as large is another size; one model is commonly offered with half its context
# What about every chat is: it asks for nothing that a provider might not have.
_PLAIN = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "17 * 23?"}],
    "temperature": 0.7,
    "max_tokens": 1000,
}


def fallbacks(loaded: Loaded) -> Iterator[Problem]:
    """Every finding about what the deployments of the routes of *loaded* can do."""
    for route in loaded.config.routes.values():
        for rule in _RULES:
            yield from rule(route, loaded)


def _at(route: Route, deployment: Deployment, *more: str) -> Steps:
    place = next(number for number, one in enumerate(route.deployments) if one is deployment)
    return ("routes", route.name, "deployments", place, *more)


def _asked(route: Route) -> list[Deployment]:
    """The deployments that are ever asked, those of the lowest priority number first."""
    return [deployment for tier in route.tiers for deployment in tier]


# -- for certain ------------------------------------------------------------------------------------------------------


def _missing_keys(route: Route, loaded: Loaded) -> Iterator[Problem]:
    for deployment in _asked(route):
        provider = deployment.provider
        if not provider.usable:
            names = " or ".join(provider.missing) or "its variable"
            message = f"{provider.name} has no API key: {deployment.name} is never asked"
            hint = f"set {names}, or api_key under providers.{provider.name}"
            yield loaded.document.problem(_at(route, deployment), message, hint, code="missing-key")


def _unmet(route: Route, loaded: Loaded) -> Iterator[Problem]:
    for place, need, why in unmet(route):
        name = route.deployments[place].name
        message = f"{name} cannot meet the need {need}: {why}"
        hint = f"take {name} out of the route, or {need} out of its needs"
        steps: Steps = ("routes", route.name, "deployments", place)
        yield loaded.document.problem(steps, message, hint, code="need-unmet")


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


def _excluded(route: Route, loaded: Loaded) -> Iterator[Problem]:
    """A fidelity that leaves an ordinary request with one deployment of several, or with none.

    More are said where the route says what it is for: then every deployment was meant to serve.
    """
    request = Request(model=route.name, **_PLAIN)  # type: ignore[arg-type]  # checked by the model itself
    plan = make_plan(request, route, Setting(_AllWell(), advice=loaded.config.sampling), rng=Random(0))
    served, asked = {one.deployment for one in plan.candidates}, _asked(route)
    if len(served) == len(asked) or (len(served) > 1 and not route.needs):
        return
    who = "nobody serves" if not served else f"only {', '.join(sorted(served))} serve{'s' if len(served) == 1 else ''}"
    for out in plan.excluded:
        deployment = next((one for one in asked if one.name == out.deployment), None)
        if deployment is None:
            continue
        message = (
            f"{who} an ordinary request (a question, temperature and max_tokens): the fidelity of the route leaves"
            f" {out.deployment} out: {out.why}"
        )
        hint = "lower the fidelity of that field, or add a deployment that serves it unchanged"
        yield loaded.document.problem(_at(route, deployment), message, hint, code="excluded-by-fidelity")


# -- beside the first one ---------------------------------------------------------------------------------------------


def _first(route: Route) -> Sequence[Deployment]:
    """Whom callers have learnt to know: the first deployment, or, where chance or price decide, all of its tier."""
    return route.tiers[0][:1] if route.select == "priority" else route.tiers[0]


def _lacks(route: Route, loaded: Loaded) -> Iterator[Problem]:
    row = loaded.rows.routes.get(route.name)
    if row is None or "needs" in row.model_fields_set or len(_asked(route)) < 2:
        return
    able = {one.name: {need for need in _NEEDS if not refusal(one.endpoint, need, route)} for one in _asked(route)}
    for deployment in _asked(route):
        other = max(_first(route), key=lambda one: len(able[one.name] - able[deployment.name]))
        lost = [need for need in _NEEDS if need in able[other.name] - able[deployment.name]]
        if lost:
            words = ", ".join(_WORDS.get(need, need) for need in lost)
            message = f"{deployment.name} cannot stand in for {other.name} where a request asks for: {words}"
            hint = f"say needs: [{', '.join(lost)}] for those that the callers rely on; needs: [] if none"
            yield loaded.document.problem(_at(route, deployment), message, hint, code="fallback-lacks")


def _smaller(route: Route, loaded: Loaded) -> Iterator[Problem]:
    for deployment in _asked(route):
        for key, what in (("context", "context"), ("max_output", "longest answer")):
            own: int | None = getattr(deployment.endpoint, key)
            sizes = [(getattr(one.endpoint, key) or 0, one.name) for one in _first(route)]
            largest, name = max(sizes)
            if own is not None and own < largest * _FEWER:
                message = f"the {what} of {deployment.name} is {own:,} tokens, that of {name} {largest:,}"
                hint = "put a larger one beside it, if such requests come"
                yield loaded.document.problem(_at(route, deployment), message, hint, code="fallback-smaller")


# -- words that need a fact -------------------------------------------------------------------------------------------


def _prices(route: Route, loaded: Loaded) -> Iterator[Problem]:
    if route.select != "cheapest":
        return
    for tier in route.tiers:
        for deployment in tier if len(tier) > 1 else ():
            price = deployment.price
            lacking = [key for key in ("input", "output") if price is None or getattr(price, key) is None]
            if lacking:
                message = f"the price of {deployment.name} is not known ({', '.join(lacking)}): cheapest asks it last"
                hint = "say price: {input: …, output: …} here, in dollars per million tokens"
                yield loaded.document.problem(_at(route, deployment), message, hint, code="price-missing")


def _sampling(route: Route, loaded: Loaded) -> Iterator[Problem]:
    if route.sampling is None or any(loaded.config.sampling.get(one.endpoint.model) for one in _asked(route)):
        return
    steps: Steps = ("routes", route.name, "sampling")
    models = ", ".join(dict.fromkeys(one.endpoint.model for one in _asked(route)))
    message = f"the makers' advice is not known for {models}: {route.sampling} has no effect"
    hint = "leave it out, or say the advice under models.<name>.sampling"
    yield loaded.document.problem(steps, message, hint, code="sampling-no-effect")


_Rule = Callable[[Any, Any], Iterator[Problem]]
_RULES: tuple[_Rule, ...] = (_missing_keys, _unmet, _excluded, _lacks, _smaller, _prices, _sampling)
