"""A second call while the first one is silent: after how long, how often, and to whom. Pure.

Knows what was observed of the first content of every deployment, and the share of the requests that may be hedged. Time
and history are arguments. Refuses to run anything (`race`).

There is one second call at most, to another deployment, before the caller has seen anything; never for a job that is
polled, and never where it would pass the deadline or `max_cost`. The share has no floor: a fresh router has none saved up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.policy import Try, is_affordable

if TYPE_CHECKING:
    from router.config import Hedge
    from router.plan import Plan

LEAST = 1.0  # seconds of silence before which no observed p95 sends a second call (reliability.md, 1.11)
KNOWN = 20  # observations from which a p95 can be told
KEPT = 200  # of them
SAVED = 5.0  # second calls that may be saved up: after a quiet hour they are not all spent at once


@dataclass(slots=True)
class Tail:
    """How long a deployment was silent, lately."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def p95(self) -> float | None:
        """The seconds that nineteen of twenty calls were not silent for; None while too few are known."""
        if len(self.seconds) < KNOWN:
            return None
        return sorted(self.seconds)[int(0.95 * len(self.seconds))]


@dataclass(slots=True)
class Hedges:
    """What hedging remembers. One per router."""

    saved: dict[str, float] = field(default_factory=dict)
    tails: dict[tuple[str, bool], Tail] = field(default_factory=dict)

    def observed(self, deployment: str, seconds: float, *, streaming: bool) -> None:
        """*deployment* was silent for so long; at least so long, where a second call was quicker."""
        tail = self.tails.get((deployment, streaming))
        if tail is None:
            tail = self.tails[(deployment, streaming)] = Tail()
        tail.seconds.append(seconds)

    def after(self, hedge: Hedge, deployment: str, *, streaming: bool) -> float | None:
        """Seconds of silence of *deployment* after which a second call may go out; None where there is none."""
        if hedge.after is not None:
            return hedge.after
        tail = self.tails.get((deployment, streaming))
        known = tail.p95 if tail is not None else None
        return None if known is None else max(known, LEAST)

    def credit(self, route: str, hedge: Hedge) -> None:
        """A request of *route* goes out: it pays in its share of a second call."""
        self.saved[route] = min(self.saved.get(route, 0.0) + hedge.budget, SAVED)

    def take(self, route: str) -> bool:
        """Whether a second call may be made now; then it is taken from what was saved."""
        saved = self.saved.get(route, 0.0)
        if saved < 1.0 - 1e-9:
            return False
        self.saved[route] = saved - 1.0
        return True


def may_hedge(plan: Plan, step: Try) -> bool:
    """Whether the first call of a request may have a second one beside it at all."""
    first = plan.candidate(step.place)
    return plan.policy.hedge is not None and first is not None and not first.call.polled and plan.policy.attempts > 1


def second(plan: Plan, step: Try, elapsed: float) -> Try | None:
    """The second call, *elapsed* seconds after the request came in; None where nobody may be asked now."""
    first = plan.candidate(step.place)
    left = plan.policy.deadline - elapsed
    place = 0
    while first is not None and left > 0 and (candidate := plan.candidate(place)) is not None:
        another = candidate.deployment != first.deployment and not candidate.call.polled and not candidate.trickle
        both = first.cost.usd or 0.0  # of the first one nothing is known yet but its estimate
        if another and plan.wait(candidate) == 0 and is_affordable(plan, candidate, spent=both):
            return Try(place, 0.0, left, "a second call: the first one is silent")
        place += 1
    return None
