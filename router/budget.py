"""What a route may spend: so many dollars in a sliding span of time. Pure.

Knows what was spent, and what is set aside for requests that are under way, so that the limit is never passed by more
than their estimates were wrong. Time is an argument; whoever is refused is told when there will be money again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SLICES = (
    60  # of the span: what was spent in one of them is forgotten together, so that memory does not grow with requests
)


@dataclass(slots=True)
class Budget:
    """*limit* dollars in any *per* seconds. Times are seconds of one monotonic clock."""

    limit: float
    per: float
    under_way: float = 0.0
    spent: deque[list[float]] = field(default_factory=deque)  # [when a slice began, dollars]
    total: float = 0.0

    def left(self, now: float) -> float:
        """Dollars that are neither spent nor set aside."""
        self._forget(now)
        return self.limit - self.total - self.under_way

    def reserve(self, now: float, dollars: float) -> bool:
        """Set *dollars* aside for a request; False where there are not so many."""
        if dollars > self.left(now):
            return False
        self.under_way += dollars
        return True

    def settle(self, now: float, reserved: float, dollars: float) -> None:
        """A request for which *reserved* was set aside has cost *dollars*."""
        self.under_way = max(self.under_way - reserved, 0.0)
        if dollars <= 0:
            return
        if not self.spent or now - self.spent[-1][0] >= self.per / SLICES:
            self.spent.append([now, 0.0])
        self.spent[-1][1] += dollars
        self.total += dollars

    def retry_in(self, now: float, dollars: float) -> float | None:
        """Seconds until *dollars* are there, if nothing else is spent; None where they never will be."""
        if dollars > self.limit:
            return None
        missing = dollars - self.left(now)
        for began, amount in self.spent:
            if missing <= 0:
                break
            missing -= amount
            if missing <= 0:
                return max(began + self.per * (1 + 1 / SLICES) - now, 0.0)
        return 0.0 if missing <= 0 else self.per

    def _forget(self, now: float) -> None:
        # A slice is forgotten when the youngest of what is in it is old enough: never too early.
        while self.spent and now - self.spent[0][0] >= self.per * (1 + 1 / SLICES):
            self.total -= self.spent.popleft()[1]
        if not self.spent:
            self.total = 0.0
