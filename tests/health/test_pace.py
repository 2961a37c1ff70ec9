"""Slowness, on virtual time: what is usual, who is slow, and that slowness is not learned as usual."""

from __future__ import annotations

from collections import deque
from statistics import median_low

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from router.pace import BEHIND, MINUTES, NORMAL, OPENING, RECENT, SAMPLES, SLOW, STALE, Pace


def pace(*seconds: float, every: float = 1.0, begin: float = 0.0) -> Pace:
    """One that took so many *seconds* to its first tokens, one call after the other."""
    return more(Pace(), *seconds, every=every, begin=begin)


def more(one: Pace, *seconds: float, every: float = 1.0, begin: float = 0.0) -> Pace:
    for place, taken in enumerate(seconds):
        sent = begin + place * every
        one.sent(place, sent, streaming=True)
        one.spoke(place, sent + taken)
        one.left(place)
    return one


def slow(one: Pace, now: float, *peers: Pace) -> bool:
    return one.slow(now, lambda: peers) is not None


def test_slow_is_more_than_three_times_what_is_usual_for_it():
    """The median of ten, so five of them are not enough and six are."""
    usual = [1.0] * 20
    assert not slow(pace(*usual, *[3.1] * 5), 30.0)
    assert slow(pace(*usual, *[3.1] * 6), 30.0)
    assert not slow(pace(*usual, *[2.9] * 10), 30.0)


def test_slow_is_more_than_twice_the_best_of_its_peers():
    """Where everybody is slow it is the prompts, or our own line: nobody is to blame."""
    own = pace(*[1.0] * 20, *[5.0] * 10)

    assert slow(own, 30.0, pace(*[2.4] * 5))
    assert not slow(own, 30.0, pace(*[2.6] * 5))
    assert slow(own, 30.0, pace(*[9.0] * 5), pace(*[2.4] * 5))


def test_a_peer_that_nobody_knows_has_the_benefit_of_the_doubt():
    """It is asked, and then it is known."""
    assert slow(pace(*[1.0] * 20, *[5.0] * 10), 30.0, Pace(), pace(9.0))


def test_with_few_samples_nobody_is_slow():
    """Nine say nothing, and neither do those of a quarter of an hour ago."""
    assert not slow(pace(*[0.1] * 4, *[5.0] * 5), 10.0)
    assert not slow(pace(*[0.1] * 20, *[5.0] * 10), 30.0 + STALE + 6)


def test_calls_that_hang_are_seen_before_they_end():
    """Six that have been silent for longer than the bound are as good as six slow answers."""
    one = pace(*[1.0] * 20)
    for call in range(100, 106):
        one.sent(call, 30.0, streaming=True)

    assert not slow(one, 32.9)
    assert slow(one, 33.1)
    for call in range(100, 106):
        one.left(call)
    assert not slow(one, 33.1), "they failed: that is the circuit's business"


def test_whole_answers_are_measured_by_their_length():
    """One with ten times the tokens may take ten times as long; a short one may not."""
    one = Pace()
    for call in range(20):
        one.sent(call, call * 10.0, streaming=False)
        one.answered(call, call * 10.0 + 2.0, 50)
    for call in range(10):
        one.sent(call, 300.0 + call, streaming=False)
        one.answered(call, 300.0 + call + 20.0, 1950)
    assert not slow(one, 330.0)

    for call in range(10):
        one.sent(call, 400.0 + call, streaming=False)
        one.answered(call, 400.0 + call + 20.0, 50)
    assert slow(one, 430.0)


def test_a_whole_answer_that_is_long_does_not_hang():
    """Those under way are measured by the longest of late."""
    one = Pace()
    for call in range(20):
        one.sent(call, call * 10.0, streaming=False)
        one.answered(call, call * 10.0 + 10.0, 1000 - OPENING)
    for call in range(100, 110):
        one.sent(call, 300.0, streaming=False)

    assert not slow(one, 329.0)
    assert slow(one, 331.0)


@pytest.mark.parametrize("minutes", [1, 5, 30, 59])
def test_slowness_is_not_learned_as_usual(minutes):
    """Nor does it make a slow minute the measure of the next one."""
    one = pace(*[1.0] * 120)
    more(one, *[10.0] * (60 * minutes), begin=120.0)

    assert 1.0 == one.first.usual
    assert slow(one, 120.0 + 60 * minutes)


def test_what_is_slow_for_an_hour_is_usual():
    """It will not get better."""
    one = pace(*[1.0] * 120)
    more(one, *[10.0] * int(NORMAL + 180), begin=120.0)

    assert 10.0 == one.first.usual
    assert not slow(one, 120.0 + NORMAL + 180)


def test_a_drift_is_followed():
    """A slow rise over hours is no failure: what is usual is that of the last ten minutes."""
    one = pace(*[1.0 + second / 3600 for second in range(7200)])

    assert 2.8 < (one.first.usual or 0.0) < 3.0
    assert not slow(one, 7200.0)


def test_it_is_back_after_six_quick_answers():
    """As many as made it slow."""
    one = pace(*[1.0] * 20, *[9.0] * 10)
    assert slow(more(one, *[1.0] * 4, begin=50.0), 60.0)
    assert not slow(more(one, 1.0, begin=61.0), 63.0)


def test_how_long_an_answer_takes():
    """The first token and the rest of a stream; of a whole answer its time by length; unknown where nothing is known."""
    one = Pace()
    assert one.seconds(100, streaming=True, now=0.0) is None
    for call in range(3):
        one.sent(call, call * 10.0, streaming=True)
        one.spoke(call, call * 10.0 + 0.5)
        one.answered(call, call * 10.0 + 2.5, 100)

    assert pytest.approx(0.5 + 200 / 50) == one.seconds(200, streaming=True, now=30.0)
    assert pytest.approx(0.5 + 200 / 50) == one.seconds(200, streaming=False, now=30.0)
    assert one.seconds(200, streaming=True, now=30.0 + STALE) is None


class PaceMachine(RuleBasedStateMachine):
    """Calls that are sent, speak, end or fail, beside a plain account of the last ten samples."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.count = 0.0, 0
        self.one = Pace()
        self.under_way: dict[int, float] = {}
        self.samples: deque[float] = deque(maxlen=RECENT)
        self.heard = float("-inf")

    @rule(seconds=st.floats(0.01, 200.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def send(self) -> None:
        self.count += 1
        self.one.sent(self.count, self.now, streaming=True)
        self.under_way[self.count] = self.now

    @rule(data=st.data(), fails=st.booleans())
    def end(self, data: st.DataObject, *, fails: bool) -> None:
        if not self.under_way:
            return
        call = data.draw(st.sampled_from(sorted(self.under_way)))
        sent = self.under_way.pop(call)
        if not fails:
            self.one.spoke(call, self.now)
            self.samples.append(self.now - sent)
            self.heard = self.now
            self.one.answered(call, self.now + 1.0, 100)
        self.one.left(call)

    @invariant()
    def it_is_slow_by_the_median_and_nothing_else(self) -> None:
        usual = self.one.first.usual
        bound = SLOW * (usual or 0.0)
        hanging = sorted((self.now - sent for sent in self.under_way.values() if self.now - sent > bound), reverse=True)
        seen = [*list(self.samples)[len(hanging[:RECENT]) :], *hanging[:RECENT]]
        known = usual is not None and len(self.samples) == RECENT and self.now - self.heard <= STALE
        assert slow(self.one, self.now) == (known and median_low(seen) > bound)
        assert not slow(self.one, self.now, quickest(self.now, bound / BEHIND * 100 + 1000.0))

    @invariant()
    def nothing_grows(self) -> None:
        """Its memory is as large after a year."""
        first = self.one.first
        assert len(first.recent) <= RECENT
        assert len(first._minute) <= SAMPLES
        assert len(first._minutes) <= MINUTES
        assert set(first.waiting) == set(self.under_way)
        assert not self.one.speaking


def quickest(now: float, seconds: float) -> Pace:
    """A peer that takes so long that nobody is behind it."""
    one = Pace()
    for call in range(3):
        one.sent(call, now - seconds, streaming=True)
        one.spoke(call, now)
    return one


TestPace = PaceMachine.TestCase
TestPace.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
