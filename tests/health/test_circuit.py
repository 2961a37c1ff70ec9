"""One circuit, on virtual time: what opens it, what closes it, and what must leave it alone."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.circuit import FLAPPING, FORGIVEN, JITTER, TRICKLE, WINDOW, Circuit

LIMIT = 10.0  # seconds that a call may take


class Dice(Random):
    """Chance that is none: the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def fail(circuit: Circuit, now: float, rng: Random | None = None) -> None:
    """One call that fails a tenth of a second after it began, ending at *now*."""
    probe = circuit.began(now - 0.1, LIMIT)
    circuit.failure(now, now - 0.1, rng or Dice(), probe=probe)


def succeed(circuit: Circuit, now: float) -> None:
    probe = circuit.began(now - 0.1, LIMIT)
    circuit.success(now, now - 0.1, probe=probe)


def opened(now: float = 1.0, **settings: Any) -> Circuit:
    """A circuit that three failures have opened at *now*."""
    circuit = Circuit(**settings)
    for _ in range(circuit.failures):
        fail(circuit, now)
    assert "open" == circuit.state
    return circuit


@pytest.mark.parametrize("failures", [1, 2, 3, 5])
def test_so_many_failures_in_a_row_open_it(failures):
    """And not one fewer."""
    circuit = Circuit(failures)
    for number in range(1, failures + 1):
        assert "closed" == circuit.state
        fail(circuit, float(number))

    assert "open" == circuit.state


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("ffsff", "open"),
        ("fsfsf", "open"),
        ("sfsf", "closed"),  # half of four says nothing yet
        ("ssssf", "closed"),
        ("sssff", "closed"),
        ("sffssf", "open"),
        ("sfssfsf", "closed"),
    ],
)
def test_half_of_at_least_five_failures_open_it(outcomes, state):
    """Though never three in a row."""
    circuit = Circuit()
    for number, outcome in enumerate(outcomes, 1):
        (fail if outcome == "f" else succeed)(circuit, float(number))
        if circuit.state == "open":
            break

    assert state == circuit.state


def test_what_is_older_than_a_minute_is_not_counted():
    """Two failures of an hour ago and two of now are no rate."""
    circuit = Circuit()
    for now, outcome in ((1.0, "f"), (2.0, "s"), (3.0, "f"), (4.0 + WINDOW, "s"), (5.0 + WINDOW, "f")):
        (fail if outcome == "f" else succeed)(circuit, now)

    assert "closed" == circuit.state


def test_each_opening_lasts_twice_as_long_up_to_the_most():
    """2, 4, 8, 15, 15 seconds."""
    circuit, now, lengths = opened(), 1.0, []
    for _ in range(5):
        lengths.append(circuit.until - now)
        now = circuit.until + 0.2
        fail(circuit, now)

    assert [2.0, 4.0, 8.0, 15.0, 15.0] == pytest.approx(lengths)


def test_an_opening_is_jittered():
    """By a fifth, both ways, so that a crowd of processes does not probe at once."""
    lengths = []
    for seed in range(200):
        circuit = Circuit()
        for _ in range(3):
            fail(circuit, 1.0, Random(seed))
        lengths.append(circuit.until - 1.0)

    assert 2 * (1 - JITTER) <= min(lengths) < 1.7
    assert 2.3 < max(lengths) <= 2 * (1 + JITTER)


def test_health_takes_a_doubling_back():
    """One for each minute, longer where there were more."""
    circuit = opened()
    succeed(circuit, circuit.until + 1)
    assert 1 == circuit.opened
    succeed(circuit, circuit.since + FORGIVEN)
    assert 1 == circuit.opened
    succeed(circuit, circuit.since + 2 * FORGIVEN + 1)

    assert 0 == circuit.opened


def test_half_open_admits_one_probe():
    """And the next one only when it has reported."""
    circuit = opened()
    now = circuit.until
    assert circuit.admits(now)
    assert circuit.began(now, LIMIT)

    assert not circuit.admits(now + 1)
    assert circuit.success(now + 1, now, probe=True)
    assert "closed" == circuit.state
    assert circuit.admits(now + 1)


def test_a_probe_that_never_reports_does_not_wedge_it():
    """Its lease runs out with the time that it may take."""
    circuit = opened()
    now = circuit.until
    circuit.began(now, LIMIT)

    assert not circuit.admits(now + LIMIT - 0.01)
    assert circuit.retry_in(now + 1) == pytest.approx(LIMIT - 1)
    assert circuit.admits(now + LIMIT)


def test_a_canceled_probe_is_no_success():
    """It gives its lease back, and the next one may probe: it neither closes nor opens."""
    circuit = opened()
    now = circuit.until
    circuit.began(now, LIMIT)
    circuit.neutral(now, probe=True)

    assert "half_open" == circuit.state
    assert circuit.admits(now)


def test_after_flapping_it_takes_three_successes():
    """Two re-openings within two minutes, and one success is not believed any more, nor three in five good seconds."""
    circuit = opened()
    for _ in range(2):
        fail(circuit, circuit.until + 0.2)
    states = []
    for number in range(3):
        succeed(circuit, circuit.until + 1 + 6 * number)
        states.append(circuit.state)

    assert ["half_open", "half_open", "closed"] == states


def test_flapping_is_forgotten():
    """Re-openings of long ago are none."""
    circuit = opened()
    for _ in range(2):
        fail(circuit, circuit.until + 0.2)
    succeed(circuit, circuit.until + FLAPPING)

    assert "closed" == circuit.state


def test_a_closing_that_does_not_last_is_flapping():
    """Closed by a probe and open again seconds later, twice: that is what flapping is."""
    circuit = opened()
    for _ in range(2):
        succeed(circuit, circuit.until + 0.2)
        for _ in range(3):
            fail(circuit, circuit.since + 1)
    succeed(circuit, circuit.until + 0.2)

    assert "half_open" == circuit.state


def test_a_trickle_is_one_a_second():
    """It goes out although the circuit is open; then not again so soon."""
    circuit = opened()
    assert circuit.may_trickle(1.5)
    assert circuit.began(1.5, LIMIT)
    circuit.failure(1.6, 1.5, Dice(), probe=True)

    assert not circuit.may_trickle(1.5 + TRICKLE - 0.01)
    assert circuit.may_trickle(1.5 + TRICKLE)


def test_a_trickle_that_succeeds_closes_it():
    """Its outcome is as good as a probe's."""
    circuit = opened()
    circuit.began(1.5, LIMIT)
    circuit.success(1.6, 1.5, probe=True)

    assert "closed" == circuit.state


def test_a_canceled_trickle_leaves_it_open():
    """Nothing is known that was not known before: the next call waits as long as it had to."""
    circuit = opened()
    circuit.began(1.5, LIMIT)
    circuit.neutral(1.5, probe=True)

    assert not circuit.admits(1.6)


def test_a_probe_gives_back_its_own_lease_only():
    """One whose lease has run out must not free the place of the one that came after it."""
    circuit = opened()
    now = circuit.until
    circuit.began(now, LIMIT)
    circuit.began(now + LIMIT, LIMIT)
    circuit.neutral(now, probe=True)

    assert not circuit.admits(now + LIMIT + 1)


def test_a_call_beside_a_probe_is_no_second_probe():
    """A retry that goes out all the same must not take the lease over."""
    circuit = opened()
    now = circuit.until
    circuit.began(now, LIMIT)

    assert not circuit.began(now + 1, LIMIT)


def test_late_is_late_within_one_turn_of_the_clock():
    """A call that began at the very time at which another one opened the circuit, but before that, is late."""
    circuit = Circuit()
    circuit.began(1.0, LIMIT)
    for _ in range(3):
        circuit.failure(1.0, 0.9, Dice(), probe=False)
    before = repr(circuit)
    circuit.failure(1.1, 1.0, Dice(), probe=False)

    assert before == repr(circuit)


@pytest.mark.parametrize("outcome", ["success", "failure", "neutral"])
@pytest.mark.parametrize("state", ["open", "half_open", "closed"])
def test_a_late_result_leaves_a_newer_state_alone(state, outcome):
    """To the byte: what was sent before says nothing of what came after."""
    circuit = opened()
    if state != "open":
        circuit.began(circuit.until, LIMIT)
    if state == "closed":
        circuit.success(circuit.until + 1, circuit.until, probe=True)
    assert state == circuit.state
    before, now = repr(circuit), circuit.until + 2
    {
        "success": lambda: circuit.success(now, 0.5, probe=False),
        "failure": lambda: circuit.failure(now, 0.5, Random(1), probe=False),
        "neutral": lambda: circuit.neutral(0.5, probe=False),
    }[outcome]()

    assert before == repr(circuit)


def test_a_known_time_is_kept_open():
    """A model that is not there: never shorter than said."""
    circuit = Circuit()
    circuit.open_for(1.0, 1.0, 600.0)
    assert not circuit.admits(600.0)
    circuit.open_for(2.0, 2.0, 10.0)

    assert not circuit.admits(600.0)
    assert circuit.admits(601.0)


class CircuitMachine(RuleBasedStateMachine):
    """Calls that begin where the circuit allows it and end in any way, in any order; time only goes on.

    A call ends within LIMIT, as an attempt does: then its lease is its own. What happens when it does not stands above.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.rng = 0.0, Random(7)
        self.circuit = Circuit()
        self.calls: list[tuple[float, bool]] = []
        self.trickles: list[tuple[float, bool]] = []  # when, and whether the call before it had succeeded
        self.good = False  # the last call since this state began succeeded

    @rule(seconds=st.floats(0.001, 20.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        # Whoever runs out of time fails, at once and in order.
        for began, probe in [call for call in self.calls if call[0] + LIMIT <= self.now]:
            self.calls.remove((began, probe))
            self._checked(began, "failure", probe=probe)

    @rule()
    def begin(self) -> None:
        self.now += 0.001
        circuit = self.circuit
        if circuit.state == "closed":
            assert circuit.admits(self.now), "closed is never a reason to refuse"
        if circuit.admits(self.now):
            since = circuit.since
            self.calls.append((self.now, circuit.began(self.now, LIMIT)))
            self.good = self.good and since == circuit.since

    @rule()
    def trickle(self) -> None:
        self.now += 0.001
        if self.circuit.state != "closed" and self.circuit.may_trickle(self.now):
            self.trickles.append((self.now, self.good))
            since = self.circuit.since
            self.calls.append((self.now, self.circuit.began(self.now, LIMIT)))
            self.good = self.good and since == self.circuit.since

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(["success", "failure", "neutral"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        self.now += 0.001
        began, probe = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self._checked(began, outcome, probe=probe)

    def _checked(self, began: float, outcome: str, *, probe: bool) -> None:
        circuit, before = self.circuit, repr(self.circuit)
        late, lease = began < circuit.since, circuit.lease
        if outcome == "success":
            circuit.success(self.now, began, probe=probe)
        elif outcome == "failure":
            circuit.failure(self.now, began, self.rng, probe=probe)
        else:
            circuit.neutral(began, probe=probe)
            if probe and not late:
                assert circuit.lease is None
                circuit.lease = lease  # the rest must be as it was
                assert before == repr(circuit)
                circuit.lease = None
                return
        if late or outcome == "neutral":
            assert before == repr(circuit)
        else:
            self.good = outcome == "success"

    @invariant()
    def one_probe_at_a_time(self) -> None:
        """14."""
        if self.circuit.state == "half_open":
            assert sum(probe and began >= self.circuit.since for began, probe in self.calls) <= 1

    @invariant()
    def never_wedged(self) -> None:
        """14: a place is free again within the time that a call may take; 15: an opening has an end."""
        circuit = self.circuit
        most = {"closed": 0.0, "half_open": LIMIT, "open": circuit.max_cooldown * (1 + JITTER)}[circuit.state]
        seconds = circuit.retry_in(self.now)
        assert 0.0 <= seconds <= most + 1e-9
        assert circuit.admits(self.now + seconds + 1e-6)

    @invariant()
    def open_admits_nobody(self) -> None:
        """15."""
        circuit = self.circuit
        if circuit.state == "open" and self.now < circuit.until:
            assert not circuit.admits(self.now)

    @invariant()
    def trickles_keep_their_distance(self) -> None:
        """15: one in a while; the next one at once only after a success."""
        for (earlier, _), (later, good) in pairwise(self.trickles):
            assert good or later - earlier >= TRICKLE - 1e-9


TestCircuit = CircuitMachine.TestCase
TestCircuit.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_model_that_is_not_there_is_not_asked_again_for_its_earlier_successes():
    """What was before it opened says nothing: one call goes out now and then, where nobody else is there."""
    circuit = Circuit()
    for now in (0.0, 1.0, 2.0):
        circuit.success(now + 0.5, now, probe=circuit.began(now, 10.0))
    circuit.open_for(4.0, 3.0, 600.0)

    assert circuit.may_trickle(4.0)
    assert circuit.began(4.0, 10.0)
    circuit.open_for(4.1, 4.0, 600.0)
    assert not circuit.may_trickle(5.0)
