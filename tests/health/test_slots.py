"""Calls under way at once, on virtual time: never more than the limit, in the order of coming, and learned from refusals alone."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from providers.errors import BadRequest, Overloaded, ProviderError, RateLimited, ServerError
from router.errors import NoPlace
from router.slots import CUT, PAUSE, QUEUE, Slots, Waiter, throttles


def taken(slots: Slots, count: int) -> Slots:
    """*slots* with *count* calls under way."""
    for _ in range(count):
        assert slots.take()
    return slots


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RateLimited("no", status=429), True),
        (Overloaded("no", status=529), True),
        (Overloaded("no", status=503, code="slow_down"), True),
        (ServerError("no", status=500, code="SLOW_DOWN"), True),
        (Overloaded("no", status=503), False),
        (ServerError("no", status=500), False),
        (BadRequest("no", status=400), False),
        (NoPlace("no", status=429), False),
    ],
)
def test_what_throttles(error: ProviderError, *, told: bool):
    """What a provider refuses because too much comes; not an outage, and not what we refuse ourselves."""
    assert told == throttles(error)


def test_there_is_no_limit_until_the_first_refusal():
    """Then seven tenths of what was under way."""
    slots = taken(Slots(), 500)
    assert not slots.is_full
    slots.throttled(0.0)

    assert CUT * 500 == slots.limit
    assert slots.is_full


def test_refusals_that_come_together_cut_once():
    """A hundred within a second are one; the next one is a second later."""
    slots = taken(Slots(), 100)
    for number in range(100):
        slots.throttled(number / 101 * PAUSE)
    assert 70 == slots.limit

    slots.throttled(PAUSE)
    assert 49 == slots.limit


def test_it_never_falls_below_one():
    """Else nobody would ever be asked again."""
    slots = taken(Slots(), 1)
    for second in range(20):
        slots.throttled(float(second))

    assert 1 == slots.limit
    slots.give_back(1.0)
    assert slots.take()


def test_successes_raise_it_while_half_is_in_use():
    """A limit that nobody comes near says nothing."""
    slots = taken(Slots(), 100)
    slots.throttled(0.0)
    slots.succeeded(1.0)
    assert 71 == slots.limit
    for _ in range(70):
        slots.give_back(1.0)
    for _ in range(50):
        slots.succeeded(1.0)

    assert 71 == slots.limit


def test_what_was_sent_before_the_refusal_raises_nothing():
    """It says what was possible then."""
    slots = taken(Slots(), 10)
    slots.throttled(5.0)
    for _ in range(10):
        slots.succeeded(4.9)

    assert 7 == slots.limit


def test_what_is_known_is_never_exceeded():
    """However many successes there are."""
    slots = taken(Slots(3), 3)
    slots.throttled(0.0)
    for _ in range(100):
        slots.succeeded(1.0)

    assert 3 == slots.limit


def test_who_gives_up_passes_his_slot_on():
    """Also where he has just been given it; and nobody is forgotten."""
    slots, woken = taken(Slots(1), 1), list[str]()
    first, second = slots.join(lambda: woken.append("first")), slots.join(lambda: woken.append("second"))
    assert first is not None
    assert second is not None
    slots.give_back(1.0)
    assert ["first"] == woken
    slots.leave(first)

    assert ["first", "second"] == woken
    slots.leave(second)
    slots.leave(second)
    assert (0, 0) == (slots.under_way, slots.waiting)


def test_the_queue_is_bounded():
    """Who comes when a thousand wait is told at once."""
    slots = taken(Slots(1), 1)
    waiters = [slots.join(lambda: None) for _ in range(QUEUE)]

    assert all(waiters)
    assert slots.join(lambda: None) is None


def test_how_long_the_queue_takes():
    """As long as those before take, as many at once as the limit allows."""
    slots = taken(Slots(2), 2)
    slots.give_back(10.0)
    slots.take()
    assert pytest.approx(5.0) == slots.wait()
    slots.join(lambda: None)
    assert pytest.approx(10.0) == slots.wait()


class SlotsMachine(RuleBasedStateMachine):
    """Calls that come, wait, go out, end, are refused or give up."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.slots = Slots(6)
        self.holding = 0  # who took theirs at once
        self.waiters: list[Waiter] = []  # in the order of coming, until they are over
        self.woken: list[int] = []
        self.joined = 0
        self.cut = float("-inf")

    @rule(seconds=st.floats(0.0, 3.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def come(self) -> None:
        full = self.slots.is_full
        if self.slots.take():
            assert not full
            self.holding += 1
            return
        assert full
        number = self.joined = self.joined + 1
        waiter = self.slots.join(lambda: self.woken.append(number))
        assert waiter is not None
        self.waiters.append(waiter)

    @precondition(lambda self: self.slots.under_way)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "throttled", "canceled"]))
    def end(self, data: st.DataObject, how: str) -> None:
        before = self.slots.learned
        if how == "success":
            self.slots.succeeded(self.now)
        if how == "throttled":
            self.slots.throttled(self.now)
            if self.now - self.cut < PAUSE:
                assert before == self.slots.learned, "at most once a second"
            else:
                self.cut = self.now
        admitted = [waiter for waiter in self.waiters if waiter.has_slot]
        if self.holding and (not admitted or data.draw(st.booleans())):
            self.holding -= 1
            self.slots.give_back(1.0 if how != "canceled" else None)
        else:
            waiter = data.draw(st.sampled_from(admitted))
            self.waiters.remove(waiter)
            self.slots.leave(waiter)

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiters))
        self.waiters.remove(waiter)
        self.slots.leave(waiter)

    @invariant()
    def the_books_are_right(self) -> None:
        """18: whoever has a slot is under way, whoever has none waits."""
        assert self.slots.under_way == self.holding + sum(waiter.has_slot for waiter in self.waiters)
        assert self.slots.waiting == sum(not waiter.has_slot for waiter in self.waiters)
        assert self.slots.under_way <= 6

    @invariant()
    def nobody_overtakes(self) -> None:
        """19: those who waited were woken in the order of coming."""
        assert sorted(self.woken) == self.woken
        has = [waiter.has_slot for waiter in self.waiters]
        assert sorted(has, reverse=True) == has

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Where somebody waits all slots are in use, and there is always one."""
        assert self.slots.limit >= 1
        assert not self.slots.waiting or self.slots.under_way >= self.slots.limit


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
