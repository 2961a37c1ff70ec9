"""Deployments that cannot serve what their route is for, or not what the first one can. Pure.

Knows how to ask the translation and the planner about requests that nobody has made yet. Refuses to keep a table of what
anybody can do: what a deployment can is what it can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from router.config import Need
from router.lint.needs import refusal, unmet
from router.lint.ordinary import asked, at, plan
from router.problems import Problem, Steps

if TYPE_CHECKING:
    from router.config import Deployment, Route
    from router.load import Loaded

_NEEDS: tuple[Need, ...] = get_args(Need)
_WORDS = {"json_object": "JSON", "json_schema": "a JSON schema", "reasoning_off": "reasoning off",
          "reasoning_levels": "levels of reasoning", "logprobs": "log probabilities"}  # fmt: skip
_FEWER = 0.5  # less than half as large is another size; one model is commonly offered with half its context


def fallbacks(loaded: Loaded) -> Iterator[Problem]:
    """Every finding about what the deployments of the routes of *loaded* can do."""
    for route in loaded.config.routes.values():
        for rule in _RULES:
            yield from rule(route, loaded)


# -- for certain ------------------------------------------------------------------------------------------------------


def _missing_keys(route: Route, loaded: Loaded) -> Iterator[Problem]:
    for deployment in asked(route):
        provider = deployment.provider
        if not provider.usable:
            names = " or ".join(provider.missing) or "its variable"
            message = f"{provider.name} has no API key: {deployment.name} is never asked"
            hint = f"set {names}, or api_key under providers.{provider.name}"
            yield loaded.document.problem(at(route, deployment), message, hint, code="missing-key")


def _unmet(route: Route, loaded: Loaded) -> Iterator[Problem]:
    for place, need, why in unmet(route):
        name = route.deployments[place].name
        message = f"{name} cannot meet the need {need}: {why}"
        hint = f"take {name} out of the route, or {need} out of its needs"
        steps: Steps = ("routes", route.name, "deployments", place)
        yield loaded.document.problem(steps, message, hint, code="need-unmet")


def _excluded(route: Route, loaded: Loaded) -> Iterator[Problem]:
    """A fidelity that leaves an ordinary request with one deployment of several, or with none.

    More are said where the route says what it is for: then every deployment was meant to serve.
    """
    ordinary = plan(route, loaded)
    served, everybody = {one.deployment for one in ordinary.candidates}, asked(route)
    if len(served) == len(everybody) or (len(served) > 1 and not route.needs):
        return
    who = "nobody serves" if not served else f"only {', '.join(sorted(served))} serve{'s' if len(served) == 1 else ''}"
    for out in ordinary.excluded:
        deployment = next((one for one in everybody if one.name == out.deployment), None)
        if deployment is None:
            continue
        message = (
            f"{who} an ordinary request (a question, temperature and max_tokens): the fidelity of the route leaves"
            f" {out.deployment} out: {out.why}"
        )
        hint = "lower the fidelity of that field, or add a deployment that serves it unchanged"
        yield loaded.document.problem(at(route, deployment), message, hint, code="excluded-by-fidelity")


# -- beside the first one ---------------------------------------------------------------------------------------------


def _first(route: Route) -> Sequence[Deployment]:
    """Whom callers have learnt to know: the first deployment, or, where chance or price decide, all of its tier."""
    return route.tiers[0][:1] if route.select == "priority" else route.tiers[0]


def _lacks(route: Route, loaded: Loaded) -> Iterator[Problem]:
    row = loaded.rows.routes.get(route.name)
    if row is None or "needs" in row.model_fields_set or len(asked(route)) < 2:
        return
    able = {one.name: {need for need in _NEEDS if not refusal(one.endpoint, need, route)} for one in asked(route)}
    for deployment in asked(route):
        # One finding a deployment, about the one of the first that can most of what it cannot.
        other = max(_first(route), key=lambda one: len(able[one.name] - able[deployment.name]))
        lost = [need for need in _NEEDS if need in able[other.name] - able[deployment.name]]
        if lost:
            words = ", ".join(_WORDS.get(need, need) for need in lost)
            message = f"{deployment.name} cannot stand in for {other.name} where a request asks for: {words}"
            hint = f"say needs: [{', '.join(lost)}] for those that the callers rely on; needs: [] if none"
            yield loaded.document.problem(at(route, deployment), message, hint, code="fallback-lacks")


def _smaller(route: Route, loaded: Loaded) -> Iterator[Problem]:
    for deployment in asked(route):
        for key, what in (("context", "context"), ("max_output", "longest answer")):
            own: int | None = getattr(deployment.endpoint, key)
            sizes = [(getattr(one.endpoint, key) or 0, one.name) for one in _first(route)]
            largest, name = max(sizes)
            if own is not None and own < largest * _FEWER:
                message = f"the {what} of {deployment.name} is {own:,} tokens, that of {name} {largest:,}"
                hint = "put a larger one beside it, if such requests come"
                yield loaded.document.problem(at(route, deployment), message, hint, code="fallback-smaller")


# -- words that need a fact -------------------------------------------------------------------------------------------


def _sampling(route: Route, loaded: Loaded) -> Iterator[Problem]:
    if route.sampling is None or any(loaded.config.sampling.get(one.endpoint.model) for one in asked(route)):
        return
    steps: Steps = ("routes", route.name, "sampling")
    models = ", ".join(dict.fromkeys(one.endpoint.model for one in asked(route)))
    message = f"the makers' advice is not known for {models}: {route.sampling} has no effect"
    hint = "leave it out, or say the advice under models.<name>.sampling"
    yield loaded.document.problem(steps, message, hint, code="sampling-no-effect")


_RULES: tuple[Callable[[Route, Loaded], Iterator[Problem]], ...] = (
    _missing_keys,
    _unmet,
    _excluded,
    _lacks,
    _smaller,
    _sampling,
)
