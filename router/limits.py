"""The limits of an account that are known beforehand: requests and tokens per minute. Pure.

Knows a sliding minute and the order of those who wait: whoever comes first gets the first place, and a place that is not
wanted any more is given back. Time is an argument; sleeping until one's place is the caller's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MINUTE = 60.0


@dataclass(slots=True)
class Place:
    """A request's place in the minute: it may go out at *at*."""

    at: float
    tokens: int


@dataclass(slots=True)
class Account:
    """One account's minute, shared by all its keys. None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    places: deque[Place] = field(default_factory=deque)
    free_at: float = 0.0
    """Before this nobody goes out, whatever the places say: all that a snapshot keeps of them."""

    def wait(self, now: float, tokens: int = 0) -> float:
        """Seconds that a request of *tokens* would have to wait."""
        self._forget(now)
        return max(self._earliest(now, tokens) - now, 0.0)

    def reserve(self, now: float, tokens: int) -> Place:
        """The next free place, taken."""
        self._forget(now)
        place = Place(self._earliest(now, tokens), tokens)
        self.places.append(place)
        return place

    def give_back(self, place: Place) -> None:
        """A place that was not used: nothing was sent."""
        for index, known in enumerate(self.places):
            if known is place:
                del self.places[index]
                return

    def snapshot(self, now: float) -> dict[str, Any]:
        """When the next request may go out, if it has to wait; ready for JSON."""
        self._forget(now)
        free_at = self._earliest(now, 0)
        return {"free_at": free_at} if free_at > now else {}

    def restore(self, said: Mapping[str, Any]) -> None:
        """Be as a `snapshot` says."""
        self.places.clear()
        self.free_at = said.get("free_at", 0.0)

    def _forget(self, now: float) -> None:
        while self.places and self.places[0].at <= now - MINUTE:
            self.places.popleft()

    def _earliest(self, now: float, tokens: int) -> float:
        # In order: never before a place that somebody has taken already.
        now = max(now, self.free_at)
        at = max(now, self.places[-1].at) if self.places else now
        if self.requests_per_minute is not None and len(self.places) >= self.requests_per_minute:
            at = max(at, self.places[-self.requests_per_minute].at + MINUTE)
        if self.tokens_per_minute is None:
            return at
        left = self.tokens_per_minute - tokens
        within = [place for place in self.places if place.at > at - MINUTE]
        total = sum(place.tokens for place in within)
        for place in within:
            if total <= left:
                break
            total -= place.tokens
            at = max(at, place.at + MINUTE)
        return at
