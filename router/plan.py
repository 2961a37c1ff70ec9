"""Whom to ask, in which order, and why the others are out. Pure.

Knows a route's tiers, the order inside a tier, and what excludes a deployment. Refuses to do I/O, to read clocks, and to
keep state: what is known of the deployments' health comes in as a value.

A plan is worked out as far as it is looked at: the first candidate costs one translation, however many deployments
stand behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Protocol

from providers.client import encode
from providers.errors import Untranslatable
from providers.quick import quick
from providers.types import Change, Cost, Request, Sampling, Usage
from providers.wire import Call
from router import estimate
from router.affinity import Warm
from router.fidelity import asked_changes, forbidden, settled
from router.order import dollars, expected, in_order
from router.sampling import Advice, advised, mode_of, reported
from router.terms import Terms, terms

PROBE = 10.0  # seconds that a slow deployment is left alone at least,
PROBES = 1 / 12  # until one in so many requests goes there first, to see whether it still is slow

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from router.config import Affinity, Deployment, Route, Tier
    from router.standing import Standing


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
    why: str = ""
    """What has moved it out of the order of its tier; empty where nothing has."""


_candidate = quick(Candidate)


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
    """The candidates of one request in order, and the deployments that are out. Worked out as it is read.

    *route*: its name. *policy*: the route's, with what the request says otherwise.
    """

    __slots__ = ("_candidates", "_count", "_excluded", "_passed", "_route", "_setting", "_source", "policy", "request",
                 "route")  # fmt: skip

    def __init__(
        self,
        request: Request,
        route: Route,
        terms: Terms,
        setting: Setting,
        source: Iterator[Candidate | Excluded],
        *,
        passed: Sequence[Excluded] = (),
    ) -> None:
        self.request, self.route, self.policy = request, route.name, terms.policy
        self._route, self._setting, self._source, self._passed = route, setting, source, passed
        self._count = len(route.deployments)
        self._candidates: list[Candidate] = []
        self._excluded: list[Excluded] = []

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        self._work_out(None)
        return tuple(self._candidates)

    @property
    def excluded(self) -> tuple[Excluded, ...]:
        self._work_out(None)
        return tuple(self._excluded)

    @property
    def seen(self) -> Sequence[Candidate]:
        """The candidates as far as they have been worked out; looks at none that has not been looked at."""
        return self._candidates

    @property
    def passed(self) -> Sequence[Excluded]:
        """The deployments that were passed over so far: out, or put off behind all others, each with its why.

        Only ever longer; who is put off may still become a candidate.
        """
        return self._passed

    @property
    def names(self) -> tuple[str, ...]:
        """Every deployment of the route, in the order of the file."""
        return tuple(deployment.name for deployment in self._route.deployments)

    def candidate(self, place: int) -> Candidate | None:
        """The candidate at *place*; None when there are not so many. Works out no more than that."""
        known = self._candidates
        if place >= len(known):
            self._work_out(place)
        return known[place] if place < len(known) else None

    def may_have(self, place: int) -> bool:
        """Whether there may be a candidate at *place*; looks at none that has not been looked at."""
        return place < len(self._candidates) or len(self._candidates) + len(self._excluded) < self._count

    def wait(self, candidate: Candidate, *, failed: int = 0) -> float | None:
        """Seconds until *candidate* may be asked, as things stand now; None if it may not.

        *failed*: how often this request has failed there. Where that alone would have opened the circuit, it does not
        keep this request away: how often one request may ask is the policy's to say. A trickle is one call, and no more.
        """
        standing, now = self._setting.standing, self._setting.now()
        bar = standing.barred(candidate.target, now)
        own = failed >= self.policy.circuit.failures
        if bar is not None and not (bar.kind == "circuit" and (own or (candidate.trickle and not failed))):
            return None
        return standing.ready_in(candidate.target, now)

    def give_back_retry(self, candidate: Candidate) -> None:
        """A retry that was taken out of *candidate*'s bucket and not made."""
        self._setting.standing.give_back_retry(candidate.deployment)

    def other_key(self, candidate: Candidate, label: str | None) -> bool:
        """Whether *candidate* may be asked again at once with another key than the one named *label*."""
        return self._setting.standing.other_key(candidate.target, label, self._setting.now())

    def may_retry(self, candidate: Candidate) -> bool:
        """Whether *candidate* has a retry left in its bucket."""
        return self._setting.standing.may_retry(candidate.deployment)

    def spend_retry(self, candidate: Candidate) -> None:
        """Take a retry out of *candidate*'s bucket."""
        self._setting.standing.spend_retry(candidate.deployment)

    def remember(self, candidate: Candidate, usage: Usage) -> None:
        """*candidate* has answered: where the route keeps conversations together, the next turn goes there too."""
        affinity = self._route.affinity
        if affinity is None:
            return
        setting = self._setting
        key = setting.standing.memory.key(self._route.name, affinity.by, self.request)
        if key is not None:
            tokens = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
            setting.standing.memory.remember(key, candidate.deployment, setting.now(), tokens)

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


class Translate(Protocol):
    """What makes the calls of a plan: `translated`, or what remembers its answers."""

    def __call__(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        sampling: Sampling | None,
        advice: Advice | None,
        streaming: bool,
        key: str,
    ) -> Call:
        """The call, as `translated` makes it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What planning goes by beside request and route.

    *standing*: what is known of the deployments. *advice*: the makers' sampling by model. *count*: tokens of a text.
    *now*: seconds of the clock that the standing goes by. *translate*: makes the calls, as `translated` does.
    """

    standing: Standing
    advice: Mapping[str, Advice] = field(default_factory=dict)
    count: estimate.Tokenizer = estimate.text_tokens
    now: Callable[[], float] = lambda: 0.0
    translate: Translate = field(default_factory=lambda: translated)


def make_plan(
    request: Request,
    route: Route,
    setting: Setting,
    *,
    rng: Random,
    streaming: bool = False,
    key: str = "plan",
    tokens: int | None = None,
) -> Plan:
    """The plan for *request* on *route*. *rng* decides where the route leaves it to chance; *key* names the request.

    *tokens*: of the prompt, where somebody has counted them before.

    Raises:
        InvalidRequest: the request asks for more than the route allows, or names somebody who is not in it.
    """
    agreed = terms(route, request)
    walk = _Walk(request, route, agreed, setting, rng=rng, streaming=streaming, key=key, tokens=tokens)
    return Plan(request, route, agreed, setting, walk.steps(), passed=walk.passed)


@dataclass(slots=True)
class _Late:
    """Who comes after all tiers: who carries no more, who rests, whose circuit is open. *nobody* came before them."""

    full: list[Candidate] = field(default_factory=list)
    resting: list[Candidate] = field(default_factory=list)
    shut: list[tuple[Deployment, Excluded]] = field(default_factory=list)
    nobody: bool = True

    @property
    def nobody_else(self) -> bool:
        """Whether there are only those whose circuit is open."""
        return self.nobody and not self.full and not self.resting


class _Walk:
    """The way through a route's tiers for one request."""

    def __init__(
        self,
        request: Request,
        route: Route,
        terms: Terms,
        setting: Setting,
        *,
        rng: Random,
        streaming: bool,
        key: str,
        tokens: int | None,
    ) -> None:
        self._request, self._route, self._terms, self._setting = request, route, terms, setting
        self._rng, self._streaming, self._key = rng, streaming, key
        self._fidelity = settled(route.fidelity, request)
        self._tokens = estimate.prompt_tokens(request, setting.count) if tokens is None else tokens
        self.passed: list[Excluded] = []
        self._moved: dict[str, str] = {}  # who comes first for another reason than its place, and why

    def steps(self) -> Iterator[Candidate | Excluded]:
        """Candidates in order, and the excluded where they are met.

        Inside a tier those whom nothing asked changes for come first, and of those the ones that cost no more than is
        preferred. Who is slow comes at its end: never out, and never behind a lower tier, which is there for when the
        upper one *cannot* serve. Who carries no more at the moment comes after all tiers, and who has asked for a rest
        last, in the order in which they may be asked. Whose circuit is open is out; but when nobody else is there a
        trickle of calls still goes to them.
        """
        late = _Late()
        for tier in self._route.ranks:
            yield from self._tier(tier, late)
        yield from late.full
        yield from sorted(late.resting, key=lambda candidate: candidate.wait)
        for deployment, excluded in late.shut:
            yield self._trickle(deployment, excluded) if late.nobody_else else excluded
        for deployment in self._route.deployments:
            if deployment.weight == 0:
                self.passed.append(Excluded(deployment.name, "its weight is 0: it is never asked"))
                yield self.passed[-1]

    def _tier(self, tier: Tier, late: _Late) -> Iterator[Candidate | Excluded]:
        """The candidates of one tier that may be asked now, and who is out for good; the others are noted as *late*."""
        behind: list[tuple[int, Candidate]] = []
        standing, clock = self._setting.standing, self._setting.now
        for deployment in self._in_order(tier):
            now = clock()
            found = self._consider(deployment, now)
            if isinstance(found, Excluded):
                self.passed.append(found)
                if found.retry_in is None:
                    yield found
                else:
                    late.shut.append((deployment, found))
            elif found.wait:
                late.resting.append(found)
                self.passed.append(Excluded(found.deployment, f"it rests for {found.wait:.3g} s", (), found.wait))
            elif (why := standing.aside(deployment, now)) is not None:
                late.full.append(replace(found, why=why))
                self.passed.append(Excluded(found.deployment, why))
            else:
                late.nobody = False
                group, why = self._group(found, tier, now)
                if why:
                    found = replace(found, why=why)
                if group:
                    behind.append((group, found))
                    if group >= 4:
                        self.passed.append(Excluded(found.deployment, why))
                else:
                    yield found
        if behind:
            behind.sort(key=itemgetter(0))  # stable: inside a group the order stays
            yield from (candidate for _, candidate in behind)

    def _group(self, candidate: Candidate, tier: Tier, now: float) -> tuple[int, str]:
        """Inside a tier: 0 for the first ones; then dear (1), something asked is changed (2), slow (4). And what moved it."""
        changes, standing = candidate.call.changes, self._setting.standing
        group = self._terms.is_dear(candidate.target) + (2 if changes and asked_changes(changes) else 0)
        why = standing.slow(candidate.target, tier, now)
        if why is None:
            return group, self._moved.get(candidate.deployment, "") if self._moved else ""
        if standing.unasked_for(candidate.deployment, now) >= PROBE and self._rng.random() < self._probes(tier):
            return group, f"slow ({why}); asked to see whether it still is"
        return 4 + group, f"slow: {why}"

    def _probes(self, tier: Tier) -> float:
        """The chance that a slow one keeps its place, so that one request in so many goes to it."""
        select = self._route.select
        if select == "fastest":
            return 1.0  # it comes first only where it is tried anyway
        return PROBES * (len(tier.members) if select in ("weighted", "least_busy") else 1)  # who is drawn comes first

    def _in_order(self, tier: Tier) -> Iterable[Deployment]:
        """The tier in its order; who answered this conversation last goes first, while that is worth it."""
        route, setting = self._route, self._setting
        if len(tier.members) < 2 or (route.select == "priority" and route.affinity is None):
            return tier.members
        order = in_order(
            tier,
            route.select,
            setting.standing,
            rng=self._rng,
            tokens=self._tokens,
            request=self._request,
            now=setting.now(),
            streaming=self._streaming,
        )
        return order if route.affinity is None else self._kept_together(iter(order), tier, route.affinity)

    def _kept_together(self, order: Iterator[Deployment], tier: Tier, affinity: Affinity) -> Iterator[Deployment]:
        first, now = next(order), self._setting.now()
        warm = self._warm(tier, first, affinity, now)
        own = first if warm is None else tier.members[tier.places[warm.deployment]]
        if warm is not None:
            self._moved[own.name] = f"it answered the last turn, {now - warm.at:.3g} s ago"
        yield own
        if own is not first:
            yield first
        for one in order:
            if one is not own:
                yield one

    def _warm(self, tier: Tier, first: Deployment, affinity: Affinity, now: float) -> Warm | None:
        """Who answered this conversation last, where it is still worth going there; *first* is whose turn it is otherwise.

        It is while it is well, and while the prompt costs no more there with what is cached than it does elsewhere.
        """
        standing = self._setting.standing
        key = standing.memory.key(self._route.name, affinity.by, self._request)
        warm = standing.memory.warm(key, now, affinity.seconds) if key is not None else None
        if warm is None or warm.deployment not in tier.places:
            return None
        own = tier.members[tier.places[warm.deployment]]
        if standing.slow(own, tier, now) is not None:
            return None
        here = dollars(expected(self._request, own, self._tokens, warm.tokens))
        return warm if here <= dollars(expected(self._request, first, self._tokens)) else None

    def _consider(self, deployment: Deployment, now: float, *, shut: bool = False) -> Candidate | Excluded:
        name, tokens, standing = deployment.name, self._tokens, self._setting.standing
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
        if call.changes and (bad := forbidden(call.changes, self._fidelity)):
            return Excluded(name, "; ".join(str(change) for change in bad), call.changes)
        # Without a known max_output nobody has said that the answer's room is taken from the context beforehand.
        room, wanted = endpoint.context, min(self._request.max_tokens or 0, endpoint.max_output or 0)
        if room is not None and tokens * (1 - estimate.MARGIN) + wanted > room:
            more = f" and max_tokens asks for {wanted} more" if wanted else ""
            return Excluded(name, f"the prompt has about {tokens} tokens{more}; the context is {room}", call.changes)
        cost = expected(self._request, deployment, tokens)
        if (why := self._terms.refuses_cost(cost.usd)) is not None:
            return Excluded(name, why, call.changes)
        return _candidate(name, call, deployment, cost, shut, standing.ready_in(deployment, now))

    def _trickle(self, deployment: Deployment, excluded: Excluded) -> Candidate | Excluded:
        now = self._setting.now()
        if not self._setting.standing.may_trickle(deployment, now):
            return excluded
        return self._consider(deployment, now, shut=True)

    def _call(self, endpoint: Endpoint) -> Call:
        setting, wanted = self._setting, self._request.sampling or self._route.sampling
        advice = setting.advice.get(endpoint.model) if wanted is not None else None
        return setting.translate(
            self._request, endpoint, sampling=wanted, advice=advice, streaming=self._streaming, key=self._key
        )


def translated(
    request: Request,
    endpoint: Endpoint,
    *,
    sampling: Sampling | None,
    advice: Advice | None,
    streaming: bool,
    key: str,
) -> Call:
    """*request* in the words of *endpoint*, with the makers' *advice* under it where *sampling* wants that.

    Raises:
        Untranslatable: there is no way to say it there.
    """
    if sampling is None or advice is None:
        return encode(request, endpoint, streaming=streaming, key=key)
    asked = request if request.sampling else request.model_copy(update={"sampling": sampling})
    filled_in, filled = advised(asked, endpoint, advice)
    call = encode(filled_in, endpoint, streaming=streaming, key=key)
    return replace(call, changes=reported(call.changes, filled, mode_of(asked, endpoint))) if filled else call
