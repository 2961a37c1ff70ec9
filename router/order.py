"""The order inside a tier. Pure.

Knows the five ways to select, and no more of a deployment than its price, its weight, how busy and how quick it is.
Refuses to exclude anybody: an order is all that it makes.

What the first one costs to find does not grow with the deployments that were never asked: `priority` looks at nobody,
`weighted` and `least_busy` draw, `fastest` looks at those whose pace is known, and `cheapest` at the price lists that
differ. Only who reads on pays for the rest.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Protocol

from providers.types import Request
from router import estimate

if TYPE_CHECKING:
    from providers.types import Cost
    from router.config import Deployment, Tier

REDRAWS = 8  # draws of one that was drawn before, or is busy, until all are looked at instead
EXPLORE = 0.02  # of the calls of a `fastest` route go to another one first, to see how quick it is now
UNKNOWN = 0.1  # of them, while there are some whose pace nobody knows
ANSWER = 1000  # tokens of an answer, where a request asks for no fewer


class Paces(Protocol):
    """What an order asks of health."""

    def load(self, name: str) -> float:
        """Calls under way."""
        ...

    def timed(self) -> Collection[str]:
        """The deployments that were ever sent a call."""
        ...

    def seconds(self, name: str, tokens: int, now: float, *, streaming: bool) -> float | None:
        """How long it takes to answer with so many tokens, as lately observed; None if unknown."""
        ...


def in_order(
    tier: Tier,
    select: str,
    paces: Paces,
    *,
    rng: Random,
    tokens: int,
    request: Request,
    now: float = 0.0,
    streaming: bool = False,
) -> Iterable[Deployment]:
    """The deployments of *tier* as *select* wants them, worked out as they are read; ties in the order of the file."""
    members = tier.members
    if len(members) < 2 or select == "priority":
        return members
    if select == "weighted":
        return _weighted(tier, rng)
    if select == "cheapest":
        return _cheapest(tier, request, tokens) if len(tier.by_price) > 1 else members
    if select == "least_busy":
        return _least_busy(tier, paces, rng)
    return _fastest(tier, paces, request, now, rng, streaming=streaming)


def expected(request: Request, deployment: Deployment, tokens: int, cached: int = 0) -> Cost:
    """What *request* costs there: its *tokens*, of which some are *cached*, and as much answer as it allows."""
    return estimate.priced(tokens, request.max_tokens or ANSWER, cached, deployment.endpoint.price)


def _weighted(tier: Tier, rng: Random) -> Iterator[Deployment]:
    """Drawn one by one, each with the chance that its weight has among those left.

    Drawn as they are asked for, in steps that do not grow with the tier: a draw that was drawn before is drawn again, and
    only after many such is the rest looked at.
    """
    members, drawn = tier.members, set[int]()
    while len(drawn) < len(members):
        for _ in range(REDRAWS):
            place = _draw(tier.sums, rng)
            if place not in drawn:
                break
        else:
            rest = [place for place in range(len(members)) if place not in drawn]
            place = rng.choices(rest, weights=[members[one].weight for one in rest])[0]
        drawn.add(place)
        yield members[place]


def _draw(sums: Sequence[float], rng: Random) -> int:
    return bisect(sums, rng.random() * sums[-1])


def _least_busy(tier: Tier, paces: Paces, rng: Random) -> Iterator[Deployment]:
    """An idle one, drawn by weight; where several draws find nobody idle, the one with the least to do for its weight.

    Drawn, and not the first in the file: many processes with the same file would all begin with that one.
    """
    members = tier.members
    for _ in range(REDRAWS):
        first = members[_draw(tier.sums, rng)]
        if not paces.load(first.name):
            yield first
            break
    else:
        first = None
    # The sort keeps ties in the order of the file.
    for one in sorted(members, key=lambda one: paces.load(one.name) / one.weight):
        if one is not first:
            yield one


def _cheapest(tier: Tier, request: Request, tokens: int) -> Iterator[Deployment]:
    """By what this request costs. Whoever has the same price list costs the same, so that is looked at only once."""
    for group in sorted(tier.by_price, key=lambda group: dollars(expected(request, group[0], tokens))):
        yield from group


def dollars(cost: Cost) -> float:
    """For comparing: what nobody knows is dearer than all else."""
    return float("inf") if cost.usd is None else cost.usd


def _fastest(
    tier: Tier, paces: Paces, request: Request, now: float, rng: Random, *, streaming: bool
) -> Iterator[Deployment]:
    """By the time until this request's answer is there, the first token and the rest; then those of unknown pace.

    Unknown is not best, or one that never answers would be asked first for ever; it is tried now and then, and so is one
    that was slow.
    """
    answer, known = min(request.max_tokens or ANSWER, ANSWER), list[tuple[float, int]]()
    for place in _tried(tier, paces):
        seconds = paces.seconds(tier.members[place].name, answer, now, streaming=streaming)
        if seconds is not None:
            known.append((seconds, place))
    known.sort()
    order = [place for _, place in known]
    if (other := _explored(tier, order, rng)) is not None:
        yield tier.members[other]
    for place in order:
        if place != other:
            yield tier.members[place]
    seen = {*order, other}
    for place, one in enumerate(tier.members):
        if place not in seen:
            yield one


def _tried(tier: Tier, paces: Paces) -> list[int]:
    """The places of those that were ever asked: found on whichever side is shorter."""
    timed, places = paces.timed(), tier.places
    if len(timed) < len(tier.members):
        return [places[name] for name in timed if name in places]
    return [place for place, one in enumerate(tier.members) if one.name in timed]


def _explored(tier: Tier, known: Sequence[int], rng: Random) -> int | None:
    """Now and then somebody who is not the quickest; more often as long as some are unknown.

    Before anything is known the file's order is as good as any.
    """
    if not known:
        return None
    chance, count = rng.random(), len(tier.members)
    if len(known) < count and chance < UNKNOWN:
        for _ in range(REDRAWS):
            drawn = rng.randrange(count)
            if drawn not in known:
                return drawn
        return next(place for place in range(count) if place not in known)
    if len(known) > 1 and chance >= 1 - EXPLORE:
        return known[rng.randrange(1, len(known))]
    return None
