"""The way through a route's tiers for one request: who comes when, and who is out. Pure.

Knows what excludes a deployment and what moves it out of its place. Refuses to do I/O, to read clocks, and to keep state:
what is known of the deployments' health comes in as a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING

from providers.errors import Untranslatable
from providers.quick import quick
from providers.types import Change, Request
from router import estimate
from router.affinity import Warm
from router.candidates import Candidate, Excluded, Setting
from router.fidelity import asked_changes, forbidden, settled
from router.order import ANSWER, dollars, expected, in_order
from router.terms import Terms

if TYPE_CHECKING:
    from providers.dialect import Endpoint
    from providers.wire import Call
    from router.config import Affinity, Deployment, Route, Tier

PROBE = 10.0  # seconds that a slow deployment is left alone at least,
PROBES = 1 / 12  # until one in so many requests goes there first, to see whether it still is slow

DEAR, CHANGED, SLOW = 1, 2, 4  # what puts one behind others of its tier, in that order; they add up
_NOBODY_MOVED: Mapping[str, str] = {}

_candidate, _excluded = quick(Candidate), quick(Excluded)


class Walk:
    """The way through a route's tiers for one request.

    *passed*: who was passed over so far; who is put off behind all tiers may still become a candidate.
    """

    __slots__ = ("_ahead", "_full", "_hindered", "_key", "_moved", "_nobody", "_request", "_rest", "_resting", "_rng",
                 "_route", "_setting", "_shut", "_streaming", "_terms", "_tokens", "passed")  # fmt: skip

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
        self._tokens = estimate.prompt_tokens(request, setting.count) if tokens is None else tokens
        self.passed: list[Excluded] = []
        self._moved: Mapping[str, str] = _NOBODY_MOVED  # who comes first for another reason than its place, and why
        # Who is put off: those who carry no more, with why; who rest, and how long; whose circuit is open or keys are dead.
        self._full: tuple[tuple[Deployment, str], ...] = ()
        self._resting: tuple[tuple[float, Deployment], ...] = ()
        self._shut: tuple[tuple[Deployment, Excluded], ...] = ()
        self._nobody = True  # is a candidate so far
        self._rest: Iterable[Deployment] | None = None  # of the first tier, once its head was looked at
        self._ahead: Candidate | Excluded | None = None  # what was found there, if it is not the first candidate
        self._hindered: Deployment | None = None  # who stood there, where something spoke against it

    @property
    def shut(self) -> tuple[Deployment, ...]:
        """Who was met so far and is not to be asked for a while: their circuits are open, or their keys are dead."""
        return tuple([deployment for deployment, _ in self._shut])

    def anew(self, rng: Random | None = None) -> Walk:
        """The same way from its beginning, as things stand then; by the chance *rng*, or the same as before."""
        return Walk(self._request, self._route, self._terms, self._setting, rng=rng or self._rng,
                    streaming=self._streaming, key=self._key, tokens=self._tokens)  # fmt: skip

    def head(self) -> Candidate | None:
        """The first candidate, where that is who comes first in order: nearly always, and cheaper than to begin a walk.

        None where it is not so simple. In both cases `steps` goes on from there.
        """
        ranks, standing = self._route.ranks, self._setting.standing
        if not ranks:
            return None
        tier, now = ranks[0], self._setting.now()
        order = iter(self._in_order(tier))
        deployment = next(order)
        if standing.unhindered(deployment, tier, now):
            self._ahead = found = self._candidate(deployment)
            if isinstance(found, Candidate):
                group, why = self._group(found, tier, now, well=True)
                if not group:
                    self._nobody, self._rest, self._ahead = False, order, None
                    return _moved(found, why) if why else found
        else:
            self._hindered = deployment
        self._rest = chain((deployment,), order)
        return None

    def steps(self) -> Iterator[Candidate | Excluded]:
        """Candidates in order, and the excluded where they are met.

        Inside a tier those whom nothing asked changes for come first, and of those the ones that cost no more than is
        preferred. Who is slow comes at its end: never out, and never behind a lower tier, which is there for when the
        upper one *cannot* serve. Who carries no more at the moment comes after all tiers, and who has asked for a rest
        last, in the order in which they may be asked. Whose circuit is open is out; but when nobody else is there a
        trickle of calls still goes to them.
        """
        return chain(chain.from_iterable(map(self._tier, self._route.ranks)), self._late())

    def _members(self, tier: Tier) -> Iterable[Deployment]:
        """The tier in its order, as far as it was not looked at before."""
        rest, self._rest = self._rest, None
        return self._in_order(tier) if rest is None else rest

    def _tier(self, tier: Tier) -> Iterator[Candidate | Excluded]:
        """The candidates of one tier that may be asked now, and who is out for good; the others are noted."""
        behind: list[tuple[int, Candidate]] = []
        standing, clock = self._setting.standing, self._setting.now
        for deployment in self._members(tier):
            now = clock()
            ahead, self._ahead = self._ahead, None
            # Nearly always: then nothing else need be asked. Of the head that was asked before.
            well = deployment is not self._hindered and standing.unhindered(deployment, tier, now)
            if not well and self._is_put_off(deployment, now):
                continue
            found = ahead or self._candidate(deployment)
            if isinstance(found, Excluded):
                self.passed.append(found)
                yield found
                continue
            self._nobody = False
            group, why = self._group(found, tier, now, well=well)
            if why:
                found = _moved(found, why)
            if not group:
                yield found
                continue
            behind.append((group, found))
            if group >= SLOW:
                self.passed.append(Excluded(found.deployment, why))
        if behind:
            behind.sort(key=itemgetter(0))  # stable: inside a group the order stays
            yield from (candidate for _, candidate in behind)

    def _is_put_off(self, deployment: Deployment, now: float) -> bool:
        """Whether its state puts *deployment* behind all others: then it is noted, and no call is made for it so far."""
        standing, name = self._setting.standing, deployment.name
        if self._terms.narrow and self._terms.refuses(deployment) is not None:
            return False  # it is out, whatever its state
        if (bar := standing.barred(deployment, now)) is not None:
            excluded = _excluded(name, bar.why, retry_in=bar.retry_in)
            self._shut = (*self._shut, (deployment, excluded))
        elif wait := standing.ready_in(deployment, now):
            excluded = _excluded(name, f"it rests for {wait:.3g} s", (), wait)
            self._resting = (*self._resting, (wait, deployment))
        elif (why := standing.aside(deployment, now)) is not None:
            excluded = _excluded(name, why)
            self._full = (*self._full, (deployment, why))
        else:
            return False
        self.passed.append(excluded)
        return True

    def _late(self) -> Iterator[Candidate | Excluded]:
        """Who comes after all tiers."""
        for deployment, why in self._full:
            yield self._put_off(deployment, why=why)
        for wait, deployment in sorted(self._resting, key=itemgetter(0)):
            yield self._put_off(deployment, wait)
        for deployment, excluded in self._shut:
            yield self._trickle(deployment, excluded) if self._nobody else excluded
        for deployment in self._route.deployments:
            if deployment.weight == 0:
                self.passed.append(Excluded(deployment.name, "its weight is 0: it is never asked"))
                yield self.passed[-1]

    def _put_off(self, deployment: Deployment, wait: float = 0.0, *, why: str = "") -> Candidate | Excluded:
        found = self._candidate(deployment, wait, why=why)
        if isinstance(found, Excluded):
            self.passed.append(found)
        else:
            self._nobody = False
        return found

    def _group(self, candidate: Candidate, tier: Tier, now: float, *, well: bool) -> tuple[int, str]:
        """Inside a tier: 0 for the first ones; then DEAR, something asked is CHANGED, SLOW. And what moved it."""
        changes, standing, moved = candidate.call.changes, self._setting.standing, self._moved
        group = CHANGED if changes and asked_changes(changes) else 0
        if self._terms.prefer_price is not None and self._terms.is_dear(candidate.target):
            group += DEAR
        why = None if well else standing.slow(candidate.target, tier, now)
        if why is None:
            return group, moved.get(candidate.deployment, "") if moved else ""
        if standing.unasked_for(candidate.deployment, now) >= PROBE and self._rng.random() < self._probes(tier):
            return group, f"slow ({why}); asked to see whether it still is"
        return SLOW + group, f"slow: {why}"

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
            self._moved = {own.name: f"it answered the last turn, {now - warm.at:.3g} s ago"}
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

    def _candidate(
        self, deployment: Deployment, wait: float = 0.0, *, shut: bool = False, why: str = ""
    ) -> Candidate | Excluded:
        """*deployment* with its call, unless the terms or the call itself speak against it.

        *shut*: its circuit is open, and it is a candidate all the same. *why*: it has not its place.
        """
        request, tokens, name = self._request, self._tokens, deployment.name
        if self._terms.narrow and (out := self._terms.refuses(deployment)) is not None:
            return Excluded(name, out)
        endpoint = self._setting.standing.endpoint(deployment)
        try:
            call = self._call(endpoint)
        except Untranslatable as error:
            bad = self._forbidden(error.changes)
            return Excluded(name, "; ".join([str(error), *map(str, bad)]), error.changes)
        changes = call.changes
        if changes and (self._is_strict or asked_changes(changes)) and (bad := self._forbidden(changes)):
            return Excluded(name, "; ".join(str(change) for change in bad), call.changes)
        if endpoint.context is not None and (out := self._too_long(endpoint, endpoint.context)) is not None:
            return Excluded(name, out, call.changes)
        found = _candidate(name, call, deployment, tokens, request.max_tokens or ANSWER, shut, wait, why)
        if self._terms.policy.max_cost is not None and (out := self._terms.refuses_cost(found.cost.usd)) is not None:
            return Excluded(name, out, call.changes)
        return found

    @property
    def _is_strict(self) -> bool:
        """Whether a change of what was not even asked may exclude somebody."""
        return self._route.is_strict or self._request.fidelity is not None

    def _forbidden(self, changes: tuple[Change, ...]) -> list[Change]:
        """The changes that the fidelity of route and request does not let pass."""
        return forbidden(changes, settled(self._route.fidelity, self._request))

    def _too_long(self, endpoint: Endpoint, room: int) -> str | None:
        """Why the request does not fit into a context of *room* tokens; None where it does."""
        # Without a known max_output nobody has said that the answer's room is taken from the context beforehand.
        wanted = min(self._request.max_tokens or 0, endpoint.max_output or 0)
        if self._tokens * (1 - estimate.MARGIN) + wanted <= room:
            return None
        more = f" and max_tokens asks for {wanted} more" if wanted else ""
        return f"the prompt has about {self._tokens} tokens{more}; the context is {room}"

    def _trickle(self, deployment: Deployment, excluded: Excluded) -> Candidate | Excluded:
        standing, now = self._setting.standing, self._setting.now()
        if not standing.may_trickle(deployment, now):
            return excluded
        return self._candidate(deployment, standing.ready_in(deployment, now), shut=True)

    def _call(self, endpoint: Endpoint) -> Call:
        setting, wanted = self._setting, self._request.sampling or self._route.sampling
        advice = setting.advice.get(endpoint.model) if wanted is not None else None
        return setting.translate(
            self._request, endpoint, sampling=wanted, advice=advice, streaming=self._streaming, key=self._key
        )


def _moved(found: Candidate, why: str) -> Candidate:
    """*found*, and *why* it has not its place."""
    return _candidate(
        found.deployment, found.call, found.target, found.prompt, found.answer, found.trickle, found.wait, why
    )
