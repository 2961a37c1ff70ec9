"""The limits of an account that are known beforehand: requests and tokens per minute. Pure.

Knows a sliding minute and the order of those who wait: whoever comes first gets the first place, and a place that is not
wanted any more is given back. Time is an argument; sleeping until one's place is the caller's business.

Every plan asks, so the answer must not cost more the more calls a minute has: the youngest places that together fit into
the limit of tokens are *counted* with their sum, the older ones are *past*. When the last of these is a minute old there
is room again. Each place passes that border once, or comes back when others turn out smaller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MINUTE = 60.0


@dataclass(slots=True, eq=False)
class Place:
    """A request's place in the minute: it may go out at *at*. Two are never the same."""

    at: float
    tokens: int
    counted: bool = False


@dataclass(slots=True)
class Account:
    """One account's minute, shared by all its keys. None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    free_at: float = 0.0
    """Before this nobody goes out, whatever the places say: all that a snapshot keeps of them."""
    _past: deque[Place] = field(default_factory=deque)
    _counted: deque[Place] = field(default_factory=deque)
    _tokens: int = 0  # of all that are counted

    @property
    def places(self) -> tuple[Place, ...]:
        """All places of the last minute and those that are still to come, in order."""
        return (*self._past, *self._counted)

    def wait(self, now: float, tokens: int = 0) -> float:
        """Seconds that a request of *tokens* would have to wait."""
        self._forget(now)
        return max(self._earliest(now, tokens) - now, 0.0)

    def reserve(self, now: float, tokens: int) -> Place:
        """The next free place, taken."""
        self._forget(now)
        place = Place(self._earliest(now, tokens), tokens, counted=True)
        self._counted.append(place)
        self._weigh(tokens)
        return place

    def used(self, place: Place, tokens: int) -> None:
        """The call that went out at *place* has used so many *tokens*; reserved were an estimate."""
        more, place.tokens = tokens - place.tokens, tokens
        self._weigh(more if place.counted else 0)

    def give_back(self, place: Place) -> None:
        """A place that was not used: nothing was sent."""
        places = self._counted if place.counted else self._past
        if place in places:  # not where it was given back before
            places.remove(place)
            less, place.counted = (place.tokens if place.counted else 0), False
            self._weigh(-less)

    def snapshot(self, now: float) -> dict[str, Any]:
        """When the next request may go out, if it has to wait; ready for JSON."""
        self._forget(now)
        free_at = self._earliest(now, 0)
        return {"free_at": free_at} if free_at > now else {}

    def restore(self, said: Mapping[str, Any]) -> None:
        """Be as a `snapshot` says."""
        self._past.clear()
        self._counted.clear()
        self._tokens, self.free_at = 0, said.get("free_at", 0.0)

    def _forget(self, now: float) -> None:
        over = now - MINUTE
        while self._past and self._past[0].at <= over:
            self._past.popleft()
        while not self._past and self._counted and self._counted[0].at <= over:
            place = self._counted.popleft()
            self._tokens -= place.tokens
            place.counted = False

    def _weigh(self, more: int) -> None:
        """There are so many tokens *more* among the counted: the border moves to where the limit is kept."""
        self._tokens += more
        limit, past, counted = self.tokens_per_minute, self._past, self._counted
        if limit is None:
            return
        while counted and self._tokens > limit:
            place = counted.popleft()
            place.counted = False
            self._tokens -= place.tokens
            past.append(place)
        while past and self._tokens + past[-1].tokens <= limit:
            place = past.pop()
            place.counted = True
            self._tokens += place.tokens
            counted.appendleft(place)

    def _earliest(self, now: float, tokens: int) -> float:
        past, counted, at = self._past, self._counted, max(now, self.free_at)
        if counted or past:  # in order: never before a place that somebody has taken already
            at = max(at, (counted or past)[-1].at)
        requests = self.requests_per_minute
        if requests is not None and (before := len(past) + len(counted) - requests) >= 0:
            at = max(at, (past[before] if before < len(past) else counted[before - len(past)]).at + MINUTE)
        if self.tokens_per_minute is None:
            return at
        if past:
            at = max(at, past[-1].at + MINUTE)
        left, total = self.tokens_per_minute - tokens, self._tokens
        if total > left:
            for place in counted:
                if total <= left:
                    break
                total -= place.tokens
                at = max(at, place.at + MINUTE)
        return at
