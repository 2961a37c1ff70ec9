"""How many calls may be under way at once: what is known beforehand, and what refusals teach. Pure.

Knows who holds a slot, who waits for one and in which order, and a limit that is learned from throttling alone: there is
none until the first refusal; each cuts it to 0.7 of what is under way, at most once a second; each success while at least
half of it is used adds one, if it was sent since; it never falls below one. Latency teaches nothing here: it follows the length of the answers.

Time is an argument. Waiting is the caller's business: whoever joins the queue gives a function that is called when it is
his turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from providers.errors import ProviderError, RateLimited
from router.snapshot import differing, rebuilt

CUT = 0.7  # of the calls under way that may be so after a refusal (AWS's adaptive mode; reliability.md, 1.6)
PAUSE = 1.0  # seconds in which refusals cut only once: those that come together were caused together
USED = 0.5  # of the limit that must be in use for a success to raise it
QUEUE = 1000  # calls that wait at most
SMOOTHING = 0.1  # weight of the newest call in how long a slot is held


def throttles(error: ProviderError) -> bool:
    """Whether a provider says by *error* that too much comes at once."""
    return isinstance(error, RateLimited) or error.status == 529 or slows_down(error)


def slows_down(error: ProviderError) -> bool:
    """Whether it wants fewer calls at once, and no pause (429 or 503 with the code `slow_down`)."""
    return error.code is not None and error.code.lower() == "slow_down" and error.retry_after is None


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a slot. *wake* is called when he has it."""

    wake: Callable[[], None]
    has_slot: bool = False


@dataclass(slots=True)
class Slots:
    """The slots of one account, or of one deployment. *most*: known beforehand; None for no limit."""

    most: int | None = None
    learned: float | None = None
    under_way: int = 0
    held: float = 0.0  # seconds that a slot is held, about
    _queue: deque[Waiter] = field(default_factory=deque)
    _cut: float = float("-inf")

    @property
    def limit(self) -> float:
        """Calls that may be under way at once; infinity where nothing is known."""
        known = float("inf") if self.most is None else self.most
        return known if self.learned is None else min(known, int(self.learned))

    @property
    def is_full(self) -> bool:
        """Whether one more would have to wait."""
        if self.most is None and self.learned is None:
            return False
        return self.under_way >= self.limit or bool(self._queue)

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def take(self) -> bool:
        """Take a slot, if one is free and nobody waits for it."""
        if self.is_full:
            return False
        self.under_way += 1
        return True

    def wait(self) -> float:
        """Seconds, about, until one who joined the queue now would have his slot."""
        return (len(self._queue) + 1) / max(self.limit, 1.0) * self.held if self.is_full else 0.0

    def join(self, wake: Callable[[], None]) -> Waiter | None:
        """Wait in the order of coming; None when too many wait already."""
        if len(self._queue) >= QUEUE:
            return None
        waiter = Waiter(wake)
        self._queue.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Somebody does not want his slot any more, whether he has it or still waits."""
        if waiter.has_slot:
            waiter.has_slot = False
            self.give_back()
        elif waiter in self._queue:
            self._queue.remove(waiter)

    def give_back(self, held: float | None = None) -> None:
        """A slot is free again, after *held* seconds; None where nothing was sent."""
        self.under_way -= 1
        if held is not None:
            self.held = held if self.held == 0 else self.held + SMOOTHING * (held - self.held)
        self._admit()

    def succeeded(self, began: float) -> None:
        """A call that was sent at *began* was answered, and still holds its slot.

        What was sent before the last refusal says nothing of how much more there may be since.
        """
        if self.learned is not None and began >= self._cut and self.under_way >= USED * self.learned:
            self.learned += 1.0
            self._admit()

    def throttled(self, now: float) -> None:
        """A call was refused because too much comes at once; it still holds its slot."""
        if now - self._cut < PAUSE:
            return
        self._cut = now
        self.learned = max(CUT * min(self.limit, self.under_way), 1.0)

    def snapshot(self) -> dict[str, Any]:
        """How full it is, ready for JSON; of those who wait only whether there are any."""
        said = differing(self, without=("_queue", "_cut", "held"))
        return said | ({"waiting": True} if self._queue else {})

    @classmethod
    def restored(cls, said: Mapping[str, Any]) -> Self:
        """Slots as full as those that a `snapshot` was taken of. Nobody is ever woken."""
        slots = rebuilt(cls, said)
        if said.get("waiting"):
            slots.join(lambda: None)
        return slots

    def _admit(self) -> None:
        while self._queue and self.under_way < self.limit:
            waiter = self._queue.popleft()
            waiter.has_slot = True
            self.under_way += 1
            waiter.wake()
