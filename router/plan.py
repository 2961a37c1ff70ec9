"""Whom to ask, in which order, and why the others are out. Pure.

Knows a route's tiers, the order inside a tier, and what excludes a deployment. Refuses to do I/O, to read clocks, and to
keep state: what is known of the deployments' health comes in as a value.

A plan is worked out as far as it is looked at: the first candidate costs one translation, however many deployments
stand behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Protocol

from providers.client import encode
from providers.errors import Untranslatable
from providers.types import Change, Cost, Request, Usage
from providers.wire import Call
from router import estimate
from router.fidelity import asked_changes, forbidden, settled
from router.sampling import Advice, advised, mode_of, reported

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Deployment, Policy, Route


class Standing(Protocol):
    """What the planner asks of health; `router.health` answers, tests answer as they like."""

    def barred(self, deployment: Deployment) -> str | None:
        """Why the deployment must not be asked now; None if it may."""
        ...

    def endpoint(self, deployment: Deployment) -> Endpoint:
        """The deployment's endpoint, as it has shown itself to be."""
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


@dataclass(frozen=True, slots=True)
class Setting:
    """What planning goes by beside request and route.

    *standing*: what is known of the deployments. *advice*: the makers' sampling by model. *count*: tokens of a text.
    """

    standing: Standing
    advice: Mapping[str, Advice] = field(default_factory=dict)
    count: estimate.Tokenizer = estimate.text_tokens


def make_plan(
    request: Request, route: Route, setting: Setting, *, rng: Random, streaming: bool = False, key: str = "plan"
) -> Plan:
    """The plan for *request* on *route*. *rng* decides where the route leaves it to chance; *key* names the request."""
    walk = _Walk(request, route, setting, rng=rng, streaming=streaming, key=key)
    return Plan(request, route, walk.steps())


class _Walk:
    """The way through a route's tiers for one request."""

    def __init__(
        self, request: Request, route: Route, setting: Setting, *, rng: Random, streaming: bool, key: str
    ) -> None:
        self._request, self._route, self._setting = request, route, setting
        self._rng, self._streaming, self._key = rng, streaming, key
        self._fidelity = settled(route.fidelity, request)
        self._tokens = estimate.prompt_tokens(request, setting.count)

    def steps(self) -> Iterator[Candidate | Excluded]:
        """Candidates in order, those whom nothing asked changes for first; the excluded where they are met."""
        for tier in self._route.tiers:
            changed: list[Candidate] = []
            order = in_order(tier, self._route.select, self._setting.standing, self._rng, self._tokens, self._request)
            for deployment in order:
                found = self._consider(deployment)
                if isinstance(found, Candidate) and asked_changes(found.call.changes):
                    changed.append(found)
                else:
                    yield found
            yield from changed

    def _consider(self, deployment: Deployment) -> Candidate | Excluded:
        name, tokens = deployment.name, self._tokens
        if (why := self._setting.standing.barred(deployment)) is not None:
            return Excluded(name, why)
        endpoint = self._setting.standing.endpoint(deployment)
        try:
            call = self._call(endpoint)
        except Untranslatable as error:
            return Excluded(name, str(error))
        if bad := forbidden(call.changes, self._fidelity):
            return Excluded(name, "; ".join(str(change) for change in bad), call.changes)
        if endpoint.context is not None and tokens * (1 - estimate.MARGIN) > endpoint.context:
            why = f"the prompt has about {tokens} tokens; the context is {endpoint.context}"
            return Excluded(name, why, call.changes)
        return Candidate(name, call, deployment, _expected(self._request, deployment, tokens))

    def _call(self, endpoint: Endpoint) -> Call:
        wanted = self._request.sampling or self._route.sampling
        advice = self._setting.advice.get(endpoint.model)
        if wanted is None or advice is None:
            return encode(self._request, endpoint, streaming=self._streaming, key=self._key)
        asked = self._request if self._request.sampling else self._request.model_copy(update={"sampling": wanted})
        request, filled = advised(asked, endpoint, advice)
        call = encode(request, endpoint, streaming=self._streaming, key=self._key)
        return replace(call, changes=reported(call.changes, filled, mode_of(asked, endpoint))) if filled else call


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
