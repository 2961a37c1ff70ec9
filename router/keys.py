"""A provider's keys: whose turn it is, and which of them rest, and why. Pure.

Knows that a key which was refused (401, 403) or whose account is empty (402) rests long, that one which was too fast
(429) rests as long as it was told, and that a rest is only ever extended. One whose last answer said that nothing is left
for a while is only spared: others go first, and it is taken where there are none. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from providers.errors import CredentialFailed, OutOfCredit, ProviderError, RateLimited
from router.snapshot import differing, rebuilt

if TYPE_CHECKING:
    from router.config import Key

REFUSED = 300.0  # seconds that a refused key rests before it is tried once more
EMPTY = 900.0  # seconds that an empty account rests
PROBE = 30.0  # seconds that the call which tries a dead key again may take before another one does
LONGEST = 900.0  # seconds of rest that a single answer can ask for
THROTTLED = 1.0  # seconds after a 429 that does not say how long; doubling with each in a row
THROTTLED_LONGEST = 30.0


@dataclass(slots=True)
class Rest:
    """Why and until when a key rests. *dead*: it is not worth waiting for."""

    until: float = 0.0
    why: str = ""
    dead: bool = False
    in_a_row: int = 0
    probed: float | None = None  # when the one call went out that tries a dead key again
    reported: bool = False


@dataclass(slots=True)
class KeyPool:
    """The keys of one account. *spared*: until when, and since when, by label; None for an account without keys."""

    keys: tuple[Key, ...]
    turn: int = 0
    rests: dict[str, Rest] = field(default_factory=dict)
    spared: dict[str | None, tuple[float, float]] = field(default_factory=dict)

    def ready_in(self, now: float, *, besides: str | None = None) -> float | None:
        """Seconds until some key may be used (0: now); None when all are dead. *besides*: not that one."""
        if not self.rests:
            return 0.0 if len(self.keys) > (besides is not None) else None
        waits = []
        for key in self.keys:
            rest = self.rests.get(key.label)
            if key.label != besides and (rest is None or not rest.dead or now >= rest.until):
                waits.append(0.0 if rest is None else max(rest.until - now, 0.0))
        return min(waits) if waits else None

    def take(self, now: float) -> Key:
        """The key whose turn it is among those that may be used, spared ones last; else the one that is ready soonest."""
        count = len(self.keys)
        if not self.rests and not self.spared:  # nearly always
            key, self.turn = self.keys[self.turn % count], (self.turn + 1) % count
            return key
        for spared in (False, True) if self.spared else (True,):
            for step in range(count):
                key = self.keys[(self.turn + step) % count]
                rest = self.rests.get(key.label)
                if (rest is None or now >= rest.until) and (spared or not self.is_spared(key.label, now)):
                    if rest is not None and rest.dead:  # one call tries it; the others wait for what becomes of that
                        rest.probed, rest.until = now, now + PROBE
                    self.turn = (self.turn + step + 1) % count
                    return key
        return min(self.keys, key=lambda key: self.rests[key.label].until)

    def spare(self, label: str | None, now: float, seconds: float) -> None:
        """An answer with the key *label* said that nothing is left for so many *seconds*; only ever extended."""
        until, _ = self.spared.get(label, (0.0, 0.0))
        self.spared[label] = max(until, now + min(seconds, LONGEST)), now

    def is_spared(self, label: str | None, now: float) -> bool:
        """Whether others should be asked first, for what an answer with the key *label* said."""
        found = self.spared.get(label)
        return found is not None and now < found[0]

    def spared_for(self, now: float) -> float:
        """Seconds for which all the keys that may be used are spared; 0 where one is not."""
        if not self.spared:
            return 0.0
        labels = [key.label for key in self.keys if (rest := self.rests.get(key.label)) is None or now >= rest.until]
        return min((max(self.spared.get(one, (now, now))[0] - now, 0.0) for one in labels or (None,)), default=0.0)

    def failed(self, label: str, error: ProviderError, now: float) -> bool:
        """Note what *error* says of the key *label*. True the first time that it is found dead."""
        rest = self.rests.setdefault(label, Rest())
        if rest.dead and (now >= rest.until or rest.probed is not None):
            rest.dead, rest.until, rest.probed = False, now, None  # it had its rest; what comes now is a new word
        if isinstance(error, RateLimited):
            rest.in_a_row += rest.in_a_row == 0 or now >= rest.until  # what comes while it rests was sent before
            seconds = error.retry_after
            if seconds is None:
                seconds = min(THROTTLED * 2 ** (rest.in_a_row - 1), THROTTLED_LONGEST)
            rest.until, rest.why = max(rest.until, now + min(seconds, LONGEST)), "too many requests"
            return False
        if not isinstance(error, CredentialFailed):
            return False
        seconds = EMPTY if isinstance(error, OutOfCredit) else REFUSED
        rest.until, rest.why, rest.dead = max(rest.until, now + seconds), type(error).__name__, True
        first, rest.reported = not rest.reported, True
        return first

    def succeeded(self, label: str | None, began: float) -> None:
        """A call with the key *label* that was sent at *began* has succeeded: whatever rest was older is over."""
        if self.spared and began > self.spared.get(label, (0.0, began))[1]:
            del self.spared[label]
        rest = self.rests.get(label) if label is not None else None
        if label is not None and rest is not None and (began >= rest.until or began == rest.probed):
            del self.rests[label]

    def snapshot(self) -> dict[str, Any]:
        """Whose turn it is, and which keys rest, by their labels; ready for JSON, and without a key."""
        rests = {label: differing(rest) for label, rest in self.rests.items()}
        said = {"turn": self.turn} | ({"rests": rests} if rests else {})
        spared = [[label, until, at] for label, (until, at) in self.spared.items()]  # a list: the label may be None
        return said | ({"spared": spared} if spared else {})

    def restore(self, said: Mapping[str, Any]) -> None:
        """Be as a `snapshot` says; rests of keys that are not here are nobody's."""
        labels = {key.label for key in self.keys}
        self.turn = said["turn"] % max(len(self.keys), 1)
        self.spared = {
            label: (until, at) for label, until, at in said.get("spared", ()) if label is None or label in labels
        }
        self.rests = {label: rebuilt(Rest, one) for label, one in said.get("rests", {}).items() if label in labels}

    def why_dead(self, now: float) -> str:
        """A sentence about keys that are all dead."""
        told = [
            f"key {label} ({rest.why}, asked again in {max(rest.until - now, 0.0):.0f} s)"
            for label, rest in self.rests.items()
        ]
        return "all its keys are dead: " + ", ".join(told)
