"""One deployment's circuit: closed, open, half-open. Pure.

Rule 1: everything that moves the state lives here, and time is an argument.
Rule 2: an outcome counts only for the state it began in. What was sent before the circuit opened says nothing about
what came after, so late results never move a newer state.
Rule 3: what is nobody's fault (`neutral`) leaves everything as it was, but for giving a probe's lease back.

Opens on *failures* in a row, or when at least half of at least five outcomes of the last minute failed. Stays open for
*cooldown* seconds, doubling with each time up to *max_cooldown*, jittered. Then one call may probe, held as a lease that
runs out: a probe that never reports cannot wedge the circuit. One success closes it; after it has flapped, three.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Literal

WINDOW = 60.0  # seconds of outcomes that the failure rate looks at
LEAST = 5  # outcomes below which a rate says nothing
RATE = 0.5
JITTER = 0.2
FLAPPING = 120.0  # seconds within which two re-openings are flapping
SUCCESSES_AFTER_FLAPPING = 3
FORGIVEN = 60.0  # seconds of health after which a doubling is taken back
TRICKLE = 1.0  # seconds between the calls that go out although the circuit is open, when all others are too

State = Literal["closed", "open", "half_open"]


@dataclass(slots=True)
class Circuit:
    """The state of one deployment. Times are seconds of one monotonic clock."""

    failures: int = 3
    cooldown: float = 2.0
    max_cooldown: float = 15.0
    state: State = "closed"
    since: float = float("-inf")  # when the current state began
    until: float = 0.0  # when an open one may be probed
    in_a_row: int = 0
    opened: int = 0  # doublings of the cooldown
    lease: float | None = None  # when the running probe's lease runs out
    trickled: float = float("-inf")
    successes: int = 0  # in a row, while half-open
    reopenings: deque[float] = field(default_factory=lambda: deque(maxlen=2))
    outcomes: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=200))

    def admits(self, now: float) -> bool:
        """Whether a call may go out now: a closed circuit's any, a half-open one's single probe."""
        if self.state == "closed":
            return True
        if self.state == "open":
            return now >= self.until
        return self.lease is None or now >= self.lease

    def retry_in(self, now: float) -> float:
        """Seconds until the next call may go out."""
        if self.state == "open":
            return max(self.until - now, 0.0)
        if self.state == "half_open" and self.lease is not None:
            return max(self.lease - now, 0.0)
        return 0.0

    def may_trickle(self, now: float) -> bool:
        """Whether a call may go out although the circuit is open, because nobody else is there."""
        return now - self.trickled >= TRICKLE and (self.lease is None or now >= self.lease)

    def began(self, now: float, limit: float) -> bool:
        """A call goes out that may take *limit* seconds. True if it is a probe and holds the lease."""
        if self.state == "closed":
            return False
        self.trickled = now
        if self.state == "open":
            if now < self.until:
                self.lease = now + limit  # a trickle is a probe too: its outcome is welcome
                self._become("half_open", now)
                return True
            self._become("half_open", now)
        self.lease = now + limit
        return True

    def success(self, now: float, began: float, *, probe: bool) -> bool:
        """A call that began at *began* has succeeded. True if the state changed."""
        if began < self.since:
            return False
        self.outcomes.append((now, True))
        self.in_a_row = 0
        if self.state == "closed":
            if self.opened and now - self.since > FORGIVEN * (1 + self.opened):
                self.opened -= 1
            return False
        if probe:
            self.lease = None
        self.successes += 1
        flapped = len(self.reopenings) == 2 and now - self.reopenings[0] <= FLAPPING
        if self.successes < (SUCCESSES_AFTER_FLAPPING if flapped else 1):
            return False
        self._become("closed", now)
        self.outcomes.clear()
        return True

    def failure(self, now: float, began: float, rng: Random, *, probe: bool) -> bool:
        """A call that began at *began* has failed. True if the state changed."""
        if began < self.since:
            return False
        self.outcomes.append((now, False))
        self.in_a_row += 1
        if self.state == "closed":
            if self.in_a_row < self.failures and not self._mostly_failing(now):
                return False
            self._open(now, rng)
            return True
        if probe:
            self.lease = None
        self.reopenings.append(now)
        self._open(now, rng)
        return True

    def neutral(self, began: float, *, probe: bool) -> None:
        """A call has ended in a way that says nothing of the deployment: only its lease is given back."""
        if probe and began >= self.since:
            self.lease = None

    def open_for(self, now: float, seconds: float) -> None:
        """Open it for a known time: the model is not there, and asking again soon is no use."""
        self._become("open", now)
        self.until = max(self.until, now + seconds)

    def _mostly_failing(self, now: float) -> bool:
        if len(self.outcomes) < LEAST:
            return False
        recent = [ok for at, ok in self.outcomes if now - at <= WINDOW]
        return len(recent) >= LEAST and recent.count(False) >= RATE * len(recent)

    def _open(self, now: float, rng: Random) -> None:
        seconds = min(self.cooldown * 2**self.opened, self.max_cooldown)
        self.opened = min(self.opened + 1, 16)
        self._become("open", now)
        self.until = now + seconds * rng.uniform(1 - JITTER, 1 + JITTER)

    def _become(self, state: State, now: float) -> None:
        self.state, self.since, self.successes = state, now, 0
        if state != "half_open":
            self.lease, self.in_a_row = None, 0
