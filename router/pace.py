"""How quick one deployment is lately, how quick it usually is, and whether it has become slow. Pure.

Knows two paces, each with its own history: the first token of streams, and whole answers by their length. Time is an
argument. Refuses to know why somebody is slow, and who else is there beyond how quick they are.

A deployment is slow when the median of its last ten samples is more than three times what is usual for it, and more than
twice the best of its peers (reliability.md, 1.12); a first token within 50 ms is never slow. A call under way that has already taken longer than that counts as a
sample, so that calls which hang are seen before they end. What failed is no sample: that is the circuit's business.

What is usual is the median of its last ten minutes; a minute that was slow by that measure is not learned from, unless
it has been so for an hour. Otherwise slowness would be normal after a few minutes, and nobody would be slow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from router.snapshot import differing, rebuilt

RECENT = 10  # samples that count as lately; with fewer nobody is called slow
MOST = RECENT // 2 + 1  # of them that must be slow for their median to be so
KNOWN = 3  # samples from which a peer can be compared with
SLOW = 3.0  # times its own usual pace
BEHIND = 2.0  # times the pace of the best peer
AT_ONCE = 0.05  # seconds to a first token that nobody calls slow, however quick it usually is
MINUTE = 60.0
MINUTES = 10  # of history that say what is usual
SAMPLES = 64  # of one minute that are kept
STALE = 600.0  # seconds after which the last sample says nothing any more
NORMAL = 3600.0  # seconds of slowness after which it is what is usual
OPENING = 50  # tokens: what the beginning of a whole answer takes, in terms of its length
SPEED_TOKENS = 16  # tokens of a stream below which its speed says nothing
SMOOTHING = 0.2  # weight of the newest speed


def median(values: Iterable[float]) -> float:
    """The lower median: more than half of an even number must be larger before it is."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


@dataclass(slots=True)
class Series:
    """One kind of sample, in seconds; up to *least* none is slow. *usual* is None until something is known.

    *bound*: what is slow for itself takes longer; it follows from *usual*. *above*: how many of *recent* are above it.
    """

    least: float = 0.0
    usual: float | None = None
    bound: float = field(init=False)
    above: int = field(init=False)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    last: float = float("-inf")  # when the newest sample came
    waiting: dict[Hashable, float] = field(default_factory=dict)  # calls under way: since when, oldest first
    _minute: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _minutes: deque[float] = field(default_factory=lambda: deque(maxlen=MINUTES))
    _closes: float = float("-inf")  # when the current minute is over
    _odd: float | None = None  # since when whole minutes have been slow

    def __post_init__(self) -> None:
        self._bind()

    def _bind(self) -> None:
        self.bound = bound = float("inf") if self.usual is None else max(SLOW * self.usual, self.least)
        self.above = sum(1 for seconds in self.recent if seconds > bound)

    @property
    def lately(self) -> float | None:
        """The median of the last samples; None where there are none."""
        return median(self.recent) if self.recent else None

    def add(self, now: float, seconds: float) -> None:
        """A sample."""
        if now >= self._closes or (self.usual is None and len(self._minute) >= RECENT):
            self._close(now)
        self._minute.append(seconds)
        recent, bound, self.last = self.recent, self.bound, now
        if len(recent) == RECENT:
            self.above -= recent[0] > bound
        recent.append(seconds)
        self.above += seconds > bound

    def compared(self, now: float) -> float | None:
        """What others are compared with; None where too little is known, or nothing new."""
        return self.lately if len(self.recent) >= KNOWN and now - self.last <= STALE else None

    def is_calm(self, now: float, unit: float = 1.0) -> bool:
        """Whether it certainly is not slow: nearly always, and asked for every request.

        That needs more than half of the samples above the bound, those included that calls under way already are.
        *unit*: by what the seconds of a call under way are divided to be a sample.
        """
        over, latest = self.above, now - self.bound * unit
        for sent in self.waiting.values():
            if sent >= latest:
                break
            over += 1
            if over >= MOST:
                break
        return over < MOST

    def slowness(self, now: float, unit: float = 1.0) -> float | None:
        """The median of the last samples, where that is slow for itself; None where it is not. *unit*: as above."""
        bound = self.bound
        if self.usual is None or len(self.recent) < RECENT or now - self.last > STALE or self.is_calm(now, unit):
            return None
        late = self._overdue(now, bound * unit) if self.waiting else 0
        if late:
            ages = [(now - sent) / unit for sent in list(self.waiting.values())[:late]]
            lately = median([*list(self.recent)[late:], *ages])
        else:
            lately = self.lately or 0.0
        return lately if lately > bound else None

    def snapshot(self) -> dict[str, Any]:
        """What decides whether it is slow now, ready for JSON; the minutes that teach what is usual are left out."""
        said = differing(self, without=("waiting", "bound", "above", "_minute", "_minutes", "_closes", "_odd"))
        return said | ({"waiting": [*self.waiting.values()][:RECENT]} if self.waiting else {})

    @classmethod
    def restored(cls, said: Mapping[str, Any]) -> Self:
        """The series that a `snapshot` was taken of; calls under way have only their times."""
        return rebuilt(cls, {**said, "waiting": dict(enumerate(said.get("waiting", ())))})

    def _overdue(self, now: float, bound: float) -> int:
        """How many of the calls under way have taken longer, RECENT at most."""
        late = 0
        for sent in self.waiting.values():
            if now - sent <= bound or late == RECENT:
                break
            late += 1
        return late

    def _close(self, now: float) -> None:
        """A minute is over: it becomes part of what is usual, unless it was slow."""
        self._closes = now + MINUTE
        if not self._minute:
            return
        found = median(self._minute)
        self._minute.clear()
        if found <= self.bound:
            self._odd = None
        else:
            self._odd = now if self._odd is None else self._odd
            if now - self._odd < NORMAL:
                return
            self._minutes.clear()
            self._odd = None
        self._minutes.append(found)
        self.usual = median(self._minutes)
        self._bind()


@dataclass(slots=True)
class Pace:
    """One deployment's. *speed* is tokens a second once it speaks; *asked*: when it was sent a call last."""

    first: Series = field(default_factory=lambda: Series(AT_ONCE))
    """Seconds to the first token of a stream."""
    whole: Series = field(default_factory=lambda: Series(AT_ONCE / OPENING))
    """Seconds of a whole answer for each of its tokens, and OPENING more."""
    speed: float | None = None
    asked: float = float("-inf")
    lengths: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))  # of the last whole answers, OPENING more
    longest: int = OPENING  # of these
    speaking: dict[Hashable, float] = field(default_factory=dict)  # streams under way: since when

    def sent(self, call: Hashable, now: float, *, streaming: bool) -> None:
        """A call has left."""
        self.asked = now
        (self.first if streaming else self.whole).waiting[call] = now

    def spoke(self, call: Hashable, now: float) -> float | None:
        """A call has said its first word: so many seconds after it was sent. None if it was not, or had before."""
        sent = self.first.waiting.pop(call, None)
        if sent is not None:
            self.first.add(now, now - sent)
            self.speaking[call] = now
            return now - sent
        sent = self.whole.waiting.get(call)
        return None if sent is None else now - sent

    def answered(self, call: Hashable, now: float, tokens: int) -> None:
        """An answer of *tokens* is whole."""
        spoke = self.speaking.pop(call, None)
        if spoke is not None:
            if tokens >= SPEED_TOKENS and now > spoke:
                speed = tokens / (now - spoke)
                self.speed = speed if self.speed is None else self.speed + SMOOTHING * (speed - self.speed)
            return
        sent = self.whole.waiting.pop(call, None)
        if sent is None:
            self.first.waiting.pop(call, None)
        else:
            length = OPENING + tokens
            self.lengths.append(length)
            self.longest = max(self.lengths)
            self.whole.add(now, (now - sent) / length)

    def left(self, call: Hashable) -> None:
        """A call is over, however it ended: what did not come is no sample."""
        self.speaking.pop(call, None)
        self.first.waiting.pop(call, None)
        self.whole.waiting.pop(call, None)

    def forget_calls(self) -> None:
        """Nothing is under way any more."""
        for calls in (self.first.waiting, self.whole.waiting, self.speaking):
            calls.clear()

    def snapshot(self) -> dict[str, Any]:
        """What decides how quick it is taken to be, ready for JSON."""
        series = {"first": self.first.snapshot(), "whole": self.whole.snapshot()}
        kept = {name: one for name, one in series.items() if one}
        return differing(self, without=("first", "whole", "speaking")) | kept

    @classmethod
    def restored(cls, said: Mapping[str, Any]) -> Self:
        """The pace that a `snapshot` was taken of."""
        series = {name: Series.restored(said.get(name, {})) for name in ("first", "whole")}
        return rebuilt(cls, {**said, **series})

    def seconds(self, tokens: int, *, streaming: bool, now: float) -> float | None:
        """How long an answer of *tokens* takes, as far as is known; None where nothing is, or nothing new."""
        if streaming and (first := self.first.compared(now)) is not None:
            return first + (tokens / self.speed if self.speed else 0.0)
        if (whole := self.whole.compared(now)) is not None:
            return whole * (OPENING + tokens)
        first = None if streaming else self.first.compared(now)
        return None if first is None else first + (tokens / self.speed if self.speed else 0.0)

    def is_calm(self, now: float) -> bool:
        """Whether it certainly is not slow."""
        first, whole = self.first, self.whole
        if first.usual is not None and not first.is_calm(now):
            return False
        return whole.usual is None or whole.is_calm(now, self.longest)

    def slow(self, now: float, peers: Callable[[], Sequence[Pace]]) -> str | None:
        """Why it is slow, in words; None where it is not.

        *peers* are those who could be asked instead; looked at only where it is slow for itself. Where nothing is known of any of them they get the benefit of the
        doubt: once they are asked it is known.
        """
        found = self.first.slowness(now)
        if found is not None and _is_behind(found, (peer.first for peer in peers()), now):
            return f"{found:.2g} s to the first token lately, {self.first.usual:.2g} s usually"
        found = self.whole.slowness(now, self.longest)
        if found is not None and _is_behind(found, (peer.whole for peer in peers()), now):
            return f"{found / (self.whole.usual or found):.2g} times as long as usual for whole answers lately"
        return None


def _is_behind(own: float, peers: Iterable[Series], now: float) -> bool:
    best = min((known for peer in peers if (known := peer.compared(now)) is not None), default=None)
    return best is None or own > BEHIND * best
