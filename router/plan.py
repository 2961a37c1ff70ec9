"""Whom to ask, in which order, and why the others are out. Pure.

Knows a route's tiers, the order inside a tier, and what excludes a deployment. Refuses to do I/O, to read clocks, and to
keep state: what is known of the deployments' health comes in as a value.

A plan is worked out as far as it is looked at: the first candidate costs one translation, however many deployments
stand behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from providers.client import encode
from providers.errors import Untranslatable
from providers.types import Change, Cost, Fidelity, Request, Usage
from providers.wire import Call
from router import estimate
from router.fidelity import asked_changes, forbidden, settled

if TYPE_CHECKING:
    from router.config import Deployment, Policy, Route


class Standing(Protocol):
    """What the planner asks of health; `router.health` answers, tests answer as they like."""

    def barred(self, deployment: Deployment) -> str | None:
        """Why the deployment must not be asked now; None if it may."""
        ...

    def load(self, name: str) -> float:
        """Calls under way."""
        ...

    def latency(self, name: str) -> float | None:
        """Seconds to the first token, as lately observed; None if unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that may serve, and the very call that it would be sent."""

    deployment: str
    call: Call
    target: Deployment
    cost: Cost = Cost()
    """Estimated, for the prompt and as much answer as `max_tokens` allows (1,000 tokens where nothing is asked)."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A deployment that may not serve: *why*, and the *changes* that speak against it."""

    deployment: str
    why: str
    changes: tuple[Change, ...] = ()


class Plan:
    """The candidates of one request in order, and the deployments that are out. Worked out as it is read."""

    def __init__(self, request: Request, route: Route, source: Iterator[Candidate | Excluded]) -> None:
        self.request, self._route, self._source = request, route, source
        self._candidates: list[Candidate] = []
        self._excluded: list[Excluded] = []

    @property
    def route(self) -> str:
        return self._route.name

    @property
    def policy(self) -> Policy:
        return self._route.policy

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        self._work_out(None)
        return tuple(self._candidates)

    @property
    def excluded(self) -> tuple[Excluded, ...]:
        self._work_out(None)
        return tuple(self._excluded)

    def candidate(self, place: int) -> Candidate | None:
        """The candidate at *place*; None when there are not so many. Works out no more than that."""
        self._work_out(place)
        return self._candidates[place] if place < len(self._candidates) else None

    def _work_out(self, place: int | None) -> None:
        while place is None or len(self._candidates) <= place:
            found = next(self._source, None)
            if found is None:
                return
            if isinstance(found, Candidate):
                self._candidates.append(found)
            else:
                self._excluded.append(found)

    def __repr__(self) -> str:
        names = ", ".join(candidate.deployment for candidate in self.candidates)
        return f"<Plan {self.route}: {names or 'nobody'}; {len(self.excluded)} excluded>"


def make_plan(
    request: Request, route: Route, standing: Standing, *, rng: Random, streaming: bool = False, key: str = "plan"
) -> Plan:
    """The plan for *request* on *route*. *rng* decides where the route leaves it to chance; *key* names the request."""
    return Plan(request, route, _walk(request, route, standing, rng=rng, streaming=streaming, key=key))


def _walk(
    request: Request, route: Route, standing: Standing, *, rng: Random, streaming: bool, key: str
) -> Iterator[Candidate | Excluded]:
    fidelity = settled(route.fidelity, request)
    tokens = estimate.prompt_tokens(request)
    for tier in route.tiers:
        changed: list[tuple[int, Candidate]] = []
        for deployment in in_order(tier, route.select, standing, rng, tokens, request):
            found = _consider(request, deployment, fidelity, standing, tokens, streaming=streaming, key=key)
            if isinstance(found, Candidate) and (count := asked_changes(found.call.changes)):
                changed.append((count, found))
            else:
                yield found
        yield from (candidate for _, candidate in changed)


def _consider(
    request: Request,
    deployment: Deployment,
    fidelity: Mapping[str, Fidelity],
    standing: Standing,
    tokens: int,
    *,
    streaming: bool,
    key: str,
) -> Candidate | Excluded:
    name = deployment.name
    if (why := standing.barred(deployment)) is not None:
        return Excluded(name, why)
    endpoint = deployment.endpoint
    try:
        call = encode(request, endpoint, streaming=streaming, key=key)
    except Untranslatable as error:
        return Excluded(name, str(error))
    if bad := forbidden(call.changes, fidelity):
        return Excluded(name, "; ".join(str(change) for change in bad), call.changes)
    if endpoint.context is not None and tokens * (1 - estimate.MARGIN) > endpoint.context:
        return Excluded(name, f"the prompt has about {tokens} tokens; the context is {endpoint.context}", call.changes)
    return Candidate(name, call, deployment, _expected(request, deployment, tokens))


def _expected(request: Request, deployment: Deployment, tokens: int) -> Cost:
    return estimate.price_of(Usage(tokens, request.max_tokens or 1000), deployment.price)


# -- the order inside a tier ------------------------------------------------------------------------------------------


def in_order(
    tier: Sequence[Deployment], select: str, standing: Standing, rng: Random, tokens: int, request: Request
) -> Sequence[Deployment]:
    """The deployments of a tier as *select* wants them; ties stay in the order of the file."""
    if len(tier) < 2 or select == "priority":
        return tier
    if select == "weighted":
        return _weighted(tier, rng)
    if select == "cheapest":
        return sorted(tier, key=lambda one: _dollars(_expected(request, one, tokens)))
    if select == "least_busy":
        return sorted(tier, key=lambda one: standing.load(one.name) / (one.weight or 1.0))
    return sorted(tier, key=lambda one: standing.latency(one.name) or 0.0)


def _weighted(tier: Sequence[Deployment], rng: Random) -> list[Deployment]:
    """Drawn one by one, each with the chance that its weight has among those left; weight 0 is never drawn."""
    left = [deployment for deployment in tier if deployment.weight > 0]
    order = []
    while left:
        drawn = rng.choices(left, weights=[deployment.weight for deployment in left])[0]
        left.remove(drawn)
        order.append(drawn)
    return order


def _dollars(cost: Cost) -> float:
    return float("inf") if cost.usd is None else cost.usd
