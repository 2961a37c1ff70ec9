"""What happened, counted over time. Knows buckets of virtual time, and what of a request's end and of an attempt is counted.

A request counts where it came, with all that became of it; who was asked counts where it was asked. Refuses to know what is shown of it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from providers.types import Attempt
from router.estimate import sum_costs
from router.events import CircuitChanged, Event

SUCCESS = "success"


def _numbers() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Bucket:
    """A span of virtual time. Latencies are seconds, and only of requests that were answered."""

    requests: int = 0
    attempts: int = 0
    usd: float = 0.0
    unpriced: int = 0
    answered: Counter[str] = field(default_factory=Counter)  # by deployment
    asked: Counter[str] = field(default_factory=Counter)  # attempts by deployment
    errors: Counter[str] = field(default_factory=Counter)  # requests that failed, by class
    first: array[float] = field(default_factory=_numbers)
    total: array[float] = field(default_factory=_numbers)


class Series:
    """The counts of one simulation. `hear` is told what the routers tell; `ended` of every request after its end."""

    def __init__(self, seconds: float, width: float, deployments: Sequence[str]) -> None:
        self.width = width
        self.buckets = [Bucket() for _ in range(max(-int(-seconds // width), 1))]
        self.failed: dict[str, Counter[str]] = {name: Counter() for name in deployments}
        self.usd: dict[str, float] = dict.fromkeys(deployments, 0.0)
        self.wasted = 0.0  # dollars of attempts that failed
        self.opened: Counter[str] = Counter()  # circuits

    def hear(self, event: Event) -> None:
        """What a router tells."""
        if isinstance(event, CircuitChanged) and event.state == "open":
            self.opened[event.deployment] += 1

    def ended(
        self, began: float, outcome: str, attempts: Sequence[Attempt], *, first: float | None, duration: float
    ) -> None:
        """A request that came at *began* is over: after *duration* seconds, its first token after *first*."""
        bucket = self._bucket(began)
        bucket.requests += 1
        bucket.attempts += len(attempts)
        for attempt in attempts:
            self._attempt(attempt, self._bucket(began + attempt.started) if attempt.started else bucket)
        usd = attempts[0].cost.usd if len(attempts) == 1 else sum_costs([one.cost for one in attempts]).usd
        if usd is not None:
            bucket.usd += usd
        elif attempts:
            bucket.unpriced += 1
        if outcome != SUCCESS:
            bucket.errors[outcome] += 1
            return
        # Who has answered is recorded last: a second call that was left for it is recorded before.
        bucket.answered[attempts[-1].deployment] += 1
        bucket.total.append(duration)
        if first is not None:
            bucket.first.append(first)

    def answered(self, began: float, deployment: str, usd: float | None, first: float | None, duration: float) -> None:
        """As `ended`, for a request that its first attempt has answered."""
        bucket = self._bucket(began)
        bucket.requests += 1
        bucket.attempts += 1
        bucket.asked[deployment] += 1
        bucket.answered[deployment] += 1
        if usd is None:
            bucket.unpriced += 1
        else:
            bucket.usd += usd
            self.usd[deployment] += usd
        bucket.total.append(duration)
        if first is not None:
            bucket.first.append(first)

    def _attempt(self, attempt: Attempt, bucket: Bucket) -> None:
        """Who was asked counts in the *bucket* in which it was asked."""
        name, usd = attempt.deployment, attempt.cost.usd
        bucket.asked[name] += 1
        if usd:
            self.usd[name] += usd
        if attempt.outcome != SUCCESS:
            self.failed[name][attempt.outcome] += 1
            self.wasted += usd or 0.0

    def _bucket(self, at: float) -> Bucket:
        """The bucket of a time; what begins after the last request came (a retry) counts in the last one."""
        return self.buckets[min(int(at / self.width), len(self.buckets) - 1)]
