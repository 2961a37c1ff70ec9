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
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

from router.snapshot import differing, rebuilt

WINDOW = 60.0  # seconds of outcomes that the failure rate looks at
OUTCOMES = 200  # of these that are kept
LEAST = 5  # outcomes below which a rate says nothing
RATE = 0.5
JITTER = 0.2
FLAPPING = 120.0  # seconds within which two re-openings are flapping
SUCCESSES_AFTER_FLAPPING = 3
STEADY = 10.0  # seconds over which these successes must stretch: three can be had in any five good seconds
FORGIVEN = 60.0  # seconds of health after which a doubling is taken back
TRICKLE = 6.0  # seconds from a call that failed to the next one that goes out although the circuit is open

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
    leased: float = 0.0  # when that probe began
    trickled: float = float("-inf")
    successes: int = 0  # in a row, since it was opened
    reopenings: deque[float] = field(default_factory=lambda: deque(maxlen=2))
    outcomes: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=OUTCOMES))
    failed: int = 0  # of these

    def admits(self, now: float) -> bool:
        """Whether a call may go out now: a closed circuit's any, otherwise a single probe when it is time for one."""
        if self.state == "closed":
            return True
        return self.retry_in(now) == 0.0

    def retry_in(self, now: float) -> float:
        """Seconds until the next call may go out."""
        if self.state == "closed":
            return 0.0
        until = self.until if self.state == "open" else now
        return max(until, self.lease if self.lease is not None else now, now) - now

    def may_trickle(self, now: float) -> bool:
        """Whether a call may go out although the circuit is open, because nobody else is there.

        One at a time; the next one at once after a success, else after a while.
        """
        return (self.successes > 0 or now - self.trickled >= TRICKLE) and not self._is_leased(now)

    def began(self, now: float, limit: float) -> bool:
        """A call goes out that may take *limit* seconds. True if it is a probe and holds the lease.

        A trickle is a probe too, and its outcome is welcome; but as long as nothing is known the circuit stays open.
        """
        if self.state == "closed" or self._is_leased(now):
            return False
        self.trickled = now
        if self.state == "open" and now >= self.until:
            self._become("half_open", now)
        self.lease, self.leased = now + limit, now
        return True

    def success(self, now: float, began: float, *, probe: bool) -> bool:
        """A call that began at *began* has succeeded. True if the state changed."""
        if self._is_late(began, probe=probe):
            return False
        self._note(now, ok=True)
        self.in_a_row = 0
        if self.state == "closed":
            if self.opened and now - self.since > FORGIVEN * (1 + self.opened):
                self.opened -= 1
            return False
        self._give_back(began, probe=probe)
        self.successes += 1
        flapped = len(self.reopenings) == 2 and now - self.reopenings[0] <= FLAPPING
        if flapped and (self.successes < SUCCESSES_AFTER_FLAPPING or now - self.since < STEADY):
            return False
        self._become("closed", now)
        self.outcomes.clear()
        self.failed = 0
        return True

    def failure(self, now: float, began: float, rng: Random, *, probe: bool) -> bool:
        """A call that began at *began* has failed. True if the state changed."""
        if self._is_late(began, probe=probe):
            return False
        self._note(now, ok=False)
        self.in_a_row += 1
        before = self.state
        if before == "closed":
            if self.in_a_row < self.failures and not self._mostly_failing(now):
                return False
            if now - self.since <= FORGIVEN:
                self.reopenings.append(now)  # it had only just been closed
        else:
            self._give_back(began, probe=probe)
            if before == "half_open" and self.successes:
                self.successes = 0  # one failure among successes is no relapse; a second one in a row is
                return False
            if before == "half_open":
                self.reopenings.append(now)
        self._open(now, rng)
        return before != "open"

    def neutral(self, began: float, *, probe: bool) -> None:
        """A call has ended in a way that says nothing of the deployment: only its lease is given back."""
        self._give_back(began, probe=probe)

    def open_for(self, now: float, began: float, seconds: float) -> bool:
        """Open it for a known time: the model is not there, and asking again soon is no use. True if that is new."""
        if began < self.since:
            return False
        before = self.state
        self._become("open", now)
        self.until = max(self.until, now + seconds)
        return before != "open"

    def snapshot(self) -> dict[str, Any]:
        """What decides whether a call may go out, ready for JSON.

        The outcomes of the last minute only decide what the next one does to the circuit, and are left out.
        """
        return differing(self, without=("outcomes", "failed"))

    @classmethod
    def restored(cls, said: Mapping[str, Any]) -> Self:
        """The circuit that a `snapshot` was taken of."""
        return rebuilt(cls, said)

    def _is_leased(self, now: float) -> bool:
        return self.lease is not None and now < self.lease

    def _is_late(self, began: float, *, probe: bool) -> bool:
        """Whether a call began before the current state did; at the very same time only the probe that began it did not."""
        return began < self.since or (began == self.since and not probe)

    def _give_back(self, began: float, *, probe: bool) -> None:
        """A probe gives its own lease back, not that of one that came after it."""
        if probe and self.leased == began:
            self.lease = None

    def _note(self, now: float, *, ok: bool) -> None:
        if len(self.outcomes) == OUTCOMES:
            self._forget_first()
        self.outcomes.append((now, ok))
        self.failed += not ok

    def _forget_first(self) -> None:
        _, ok = self.outcomes.popleft()
        self.failed -= not ok

    def _mostly_failing(self, now: float) -> bool:
        while self.outcomes and now - self.outcomes[0][0] > WINDOW:
            self._forget_first()
        count = len(self.outcomes)
        return count >= LEAST and self.failed >= RATE * count

    def _open(self, now: float, rng: Random) -> None:
        seconds = min(self.cooldown * 2**self.opened, self.max_cooldown)
        self.opened = min(self.opened + 1, 16)
        self._become("open", now)
        self.until = now + seconds * rng.uniform(1 - JITTER, 1 + JITTER)

    def _become(self, state: State, now: float) -> None:
        self.state, self.since, self.successes = state, now, 0
        if state != "half_open":
            self.lease, self.in_a_row = None, 0
