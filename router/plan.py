"""Whom to ask, in which order, and why the others are out. Pure.

Knows a route's tiers, the order inside a tier, and what excludes a deployment. Refuses to do I/O, to read clocks, and to
keep state: what is known of the deployments' health comes in as a value.

A plan is worked out as far as it is looked at: the first candidate costs one translation, however many deployments
stand behind it.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from router.terms import Terms, terms

REDRAWS = 8  # draws of one that was drawn before, until the rest is looked at instead
EXPLORE = 0.02  # of the calls of a `fastest` route go to another one first, to see how quick it is now

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Deployment, Policy, Route
    from router.health import Bar


class Standing(Protocol):
    """What planning and policy ask of health; `router.health` answers, tests answer as they like."""

    def barred(self, deployment: Deployment, now: float) -> Bar | None:
        """Why the deployment must not be asked now; None if it may."""
        ...

    def ready_in(self, deployment: Deployment, now: float) -> float:
        """Seconds that it is not to be asked for, because it said so or its limits are used up."""
        ...

    def may_trickle(self, deployment: Deployment, now: float) -> bool:
        """Whether it may be asked although its circuit is open, when nobody else is there."""
        ...

    def other_key(self, deployment: Deployment, label: str | None, now: float) -> bool:
        """Whether another key than the one named *label* may be used now."""
        ...

    def may_retry(self, name: str) -> bool:
        """Whether the bucket of same-deployment retries holds one."""
        ...

    def spend_retry(self, name: str) -> None:
        """Take one out of it."""
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
    trickle: bool = False
    """Its circuit is open; it is asked all the same, because nobody else is there."""
    wait: float = 0.0
    """Seconds that it is not to be asked for, when the plan was made."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A deployment that may not serve: *why*, and the *changes* that speak against it.

    *retry_in*: seconds after which it may be asked again, where it is its state that speaks against it.
    """

    deployment: str
    why: str
    changes: tuple[Change, ...] = ()
    retry_in: float | None = None


class Plan:
    """The candidates of one request in order, and the deployments that are out. Worked out as it is read."""

    def __init__(
        self, request: Request, route: Route, terms: Terms, setting: Setting, source: Iterator[Candidate | Excluded]
    ) -> None:
        self.request, self._route, self._terms, self._setting, self._source = request, route, terms, setting, source
        self._count = len(route.deployments)
        self._candidates: list[Candidate] = []
        self._excluded: list[Excluded] = []

    @property
    def route(self) -> str:
        return self._route.name

    @property
    def policy(self) -> Policy:
        """The route's policy, with what the request says otherwise."""
        return self._terms.policy

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

    def may_have(self, place: int) -> bool:
        """Whether there may be a candidate at *place*; looks at none that has not been looked at."""
        return place < len(self._candidates) or len(self._candidates) + len(self._excluded) < self._count

    def wait(self, candidate: Candidate, *, asked: bool = False) -> float | None:
        """Seconds until *candidate* may be asked, as things stand now; None if it may not.

        *asked*: this request has asked it before. Then an open circuit does not keep it away: it may have been opened by
        this very request's failures, and how often a request may ask is the policy's to say.
        """
        standing, now = self._setting.standing, self._setting.now()
        bar = standing.barred(candidate.target, now)
        if bar is not None and not (bar.kind == "circuit" and (asked or candidate.trickle)):
            return None
        return standing.ready_in(candidate.target, now)

    def other_key(self, candidate: Candidate, label: str | None) -> bool:
        """Whether *candidate* may be asked again at once with another key than the one named *label*."""
        return self._setting.standing.other_key(candidate.target, label, self._setting.now())

    def may_retry(self, candidate: Candidate) -> bool:
        """Whether *candidate* has a retry left in its bucket."""
        return self._setting.standing.may_retry(candidate.deployment)

    def spend_retry(self, candidate: Candidate) -> None:
        """Take a retry out of *candidate*'s bucket."""
        self._setting.standing.spend_retry(candidate.deployment)

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
    *now*: seconds of the clock that the standing goes by.
    """

    standing: Standing
    advice: Mapping[str, Advice] = field(default_factory=dict)
    count: estimate.Tokenizer = estimate.text_tokens
    now: Callable[[], float] = lambda: 0.0


def make_plan(
    request: Request, route: Route, setting: Setting, *, rng: Random, streaming: bool = False, key: str = "plan"
) -> Plan:
    """The plan for *request* on *route*. *rng* decides where the route leaves it to chance; *key* names the request.

    Raises:
        InvalidRequest: the request asks for more than the route allows, or names somebody who is not in it.
    """
    agreed = terms(route, request)
    walk = _Walk(request, route, agreed, setting, rng=rng, streaming=streaming, key=key)
    return Plan(request, route, agreed, setting, walk.steps())


class _Walk:
    """The way through a route's tiers for one request."""

    def __init__(
        self, request: Request, route: Route, terms: Terms, setting: Setting, *, rng: Random, streaming: bool, key: str
    ) -> None:
        self._request, self._route, self._terms, self._setting = request, route, terms, setting
        self._rng, self._streaming, self._key = rng, streaming, key
        self._fidelity = settled(route.fidelity, request)
        self._tokens = estimate.prompt_tokens(request, setting.count)

    def steps(self) -> Iterator[Candidate | Excluded]:
        """Candidates in order, and the excluded where they are met.

        Inside a tier those whom nothing asked changes for come first, and of those the ones that cost no more than is
        preferred. Who has asked for a rest comes last, in the order in which they may be asked. Whose circuit is open is
        out; but when nobody else is there a trickle of calls still goes to them.
        """
        resting: list[Candidate] = []
        shut: list[tuple[Deployment, Excluded]] = []
        alone = True
        for tier, sums in zip(self._route.tiers, self._route.sums, strict=True):
            for found in self._tier(tier, sums, resting, shut):
                alone = alone and isinstance(found, Excluded)
                yield found
        yield from sorted(resting, key=lambda candidate: candidate.wait)
        for deployment, excluded in shut:
            yield self._trickle(deployment, excluded) if alone and not resting else excluded
        for deployment in self._route.deployments:
            if deployment.weight == 0:
                yield Excluded(deployment.name, "its weight is 0: it is never asked")

    def _tier(
        self,
        tier: Sequence[Deployment],
        sums: Sequence[float],
        resting: list[Candidate],
        shut: list[tuple[Deployment, Excluded]],
    ) -> Iterator[Candidate | Excluded]:
        """One tier, in order. Those whose turn is later, or perhaps never, are put into *resting* and *shut*."""
        behind: tuple[list[Candidate], ...] = ([], [], [])
        for deployment in self._in_order(tier, sums):
            found = self._consider(deployment)
            if isinstance(found, Excluded):
                if found.retry_in is None:
                    yield found
                else:
                    shut.append((deployment, found))
            elif found.wait:
                resting.append(found)
            elif group := self._group(found):
                behind[group - 1].append(found)
            else:
                yield found
        for those in behind:
            yield from those

    def _group(self, candidate: Candidate) -> int:
        """Inside a tier: 0 for the first ones; 1: dear; 2: something asked is changed; 3: both."""
        dear = self._terms.is_dear(candidate.target)
        return dear + (2 if asked_changes(candidate.call.changes) else 0)

    def _in_order(self, tier: Sequence[Deployment], sums: Sequence[float]) -> Iterable[Deployment]:
        return in_order(
            tier,
            sums,
            self._route.select,
            self._setting.standing,
            rng=self._rng,
            tokens=self._tokens,
            request=self._request,
        )

    def _consider(self, deployment: Deployment, *, shut: bool = False) -> Candidate | Excluded:
        name, tokens, standing = deployment.name, self._tokens, self._setting.standing
        now = self._setting.now()
        if (why := self._terms.refuses(deployment)) is not None:
            return Excluded(name, why)
        if not shut and (bar := standing.barred(deployment, now)) is not None:
            return Excluded(name, bar.why, retry_in=bar.retry_in)
        endpoint = standing.endpoint(deployment)
        try:
            call = self._call(endpoint)
        except Untranslatable as error:
            bad = forbidden(error.changes, self._fidelity)
            return Excluded(name, "; ".join([str(error), *map(str, bad)]), error.changes)
        if bad := forbidden(call.changes, self._fidelity):
            return Excluded(name, "; ".join(str(change) for change in bad), call.changes)
        # Without a known max_output nobody has said that the answer's room is taken from the context beforehand.
        room, wanted = endpoint.context, min(self._request.max_tokens or 0, endpoint.max_output or 0)
        if room is not None and tokens * (1 - estimate.MARGIN) + wanted > room:
            more = f" and max_tokens asks for {wanted} more" if wanted else ""
            return Excluded(name, f"the prompt has about {tokens} tokens{more}; the context is {room}", call.changes)
        cost = _expected(self._request, deployment, tokens)
        if (why := self._terms.refuses_cost(cost.usd)) is not None:
            return Excluded(name, why, call.changes)
        return Candidate(name, call, deployment, cost, shut, standing.ready_in(deployment, now))

    def _trickle(self, deployment: Deployment, excluded: Excluded) -> Candidate | Excluded:
        if not self._setting.standing.may_trickle(deployment, self._setting.now()):
            return excluded
        return self._consider(deployment, shut=True)

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
    tier: Sequence[Deployment],
    sums: Sequence[float],
    select: str,
    standing: Standing,
    *,
    rng: Random,
    tokens: int,
    request: Request,
) -> Iterable[Deployment]:
    """The deployments of a tier as *select* wants them; ties stay in the order of the file."""
    if len(tier) < 2 or select == "priority":
        return tier
    if select == "weighted":
        return _weighted(tier, sums, rng)
    if select == "cheapest":
        return sorted(tier, key=lambda one: _dollars(_expected(request, one, tokens)))
    if select == "least_busy":
        return sorted(tier, key=lambda one: standing.load(one.name) / (one.weight or 1.0))
    order = sorted(tier, key=lambda one: standing.latency(one.name) or 0.0)
    if rng.random() < EXPLORE:  # else nobody would ever see that a slow one is quick again
        order.insert(0, order.pop(rng.randrange(1, len(order))))
    return order


def _weighted(tier: Sequence[Deployment], sums: Sequence[float], rng: Random) -> Iterator[Deployment]:
    """Drawn one by one, each with the chance that its weight has among those left.

    Drawn as they are asked for, in steps that do not grow with the tier: a draw that was drawn before is drawn again, and
    only after many such is the rest looked at. *sums*: the weights, summed up.
    """
    drawn: set[int] = set()
    while len(drawn) < len(tier):
        for _ in range(REDRAWS):
            place = bisect(sums, rng.random() * sums[-1])
            if place not in drawn:
                break
        else:
            rest = [place for place in range(len(tier)) if place not in drawn]
            place = rng.choices(rest, weights=[tier[one].weight for one in rest])[0]
        drawn.add(place)
        yield tier[place]


def _dollars(cost: Cost) -> float:
    return float("inf") if cost.usd is None else cost.usd
