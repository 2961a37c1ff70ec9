"""Keys and deployments, on virtual time: who rests, why and how long, and whom an outcome speaks against."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentBlocked,
    ContextLengthExceeded,
    LocalFailure,
    ModelNotFound,
    OutOfCredit,
    Overloaded,
    PermissionDenied,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    RequestTooLarge,
    ServerError,
)
from providers.secret import Secret
from router.config import CircuitSettings, Deployment, Key, Provider, Tier
from router.health import GONE, LONGEST_COOLDOWN, RETRY_PER_SUCCESS, Health, Ticket
from router.keys import EMPTY, LONGEST, REFUSED, THROTTLED, THROTTLED_LONGEST, KeyPool
from router.known import RETRIES

CIRCUIT = CircuitSettings()
LIMIT = 10.0


def keys(*labels: str) -> tuple[Key, ...]:
    return tuple(Key(label, Secret(f"sk-{label}")) for label in labels)


def pool(*labels: str) -> KeyPool:
    return KeyPool(keys(*labels))


def deployment(*labels: str, name: str = "one/model") -> Deployment:
    """As much of a deployment as health looks at."""
    provider = Provider(name.partition("/")[0], "http://one.test/v1", keys(*labels), keyless=not labels)
    return Deployment(cast("Any", SimpleNamespace(name=name, price=None)), provider)


def began(health: Health, target: Deployment, now: float, *, retry: bool = False) -> Ticket:
    if retry:
        health.spend_retry(target)
    return health.began(target, now, limit=LIMIT, circuit=CIRCUIT)


# -- keys -------------------------------------------------------------------------------------------------------------


def test_keys_take_turns():
    """A pool spreads its load."""
    one = pool("a", "b", "c")

    assert ["a", "b", "c", "a"] == [one.take(0.0).label for _ in range(4)]


@pytest.mark.parametrize(
    ("error", "seconds", "dead"),
    [
        (AuthenticationFailed("no"), REFUSED, True),
        (PermissionDenied("no"), REFUSED, True),
        (OutOfCredit("no"), EMPTY, True),
        (RateLimited("no", retry_after=20), 20, False),
        (RateLimited("no", retry_after=1e9), LONGEST, False),
        (RateLimited("no"), THROTTLED, False),
    ],
)
def test_how_long_a_key_rests(error, seconds, dead):
    """A refused one long, a quick one as long as it was told, and none for ever."""
    one = pool("a", "b")
    one.failed("a", error, 100.0)

    assert 0.0 == one.ready_in(100.0)
    assert {"b"} == {one.take(100.0).label for _ in range(4)}
    assert (None if dead else pytest.approx(seconds)) == one.ready_in(100.0, besides="b")
    assert 0.0 == one.ready_in(100.0 + seconds + 0.01, besides="b")


def test_throttling_without_a_time_waits_longer_each_time():
    """1, 2, 4 … at most 30 seconds."""
    one, waits = pool("a"), []
    for number in range(7):
        now = 1000.0 * number
        one.failed("a", RateLimited("no"), now)
        waits.append(one.ready_in(now))

    assert [1, 2, 4, 8, 16, 30, THROTTLED_LONGEST] == pytest.approx(waits)


def test_refusals_that_come_together_are_one():
    """Ten calls were under way: nine of the refusals are no further ones."""
    one = pool("a")
    for _ in range(10):
        one.failed("a", RateLimited("no"), 5.0)

    assert THROTTLED == one.ready_in(5.0)


def test_a_spared_key_is_taken_last():
    """The others first; and where all are spared they are taken all the same."""
    one = pool("a", "b")
    one.spare("a", 0.0, 7.0)
    assert (["b", "b", "b"], 0.0) == ([one.take(1.0).label for _ in range(3)], one.spared_for(1.0))
    one.spare("b", 0.0, 9.0)

    assert {"a", "b"} == {one.take(1.0).label for _ in range(2)}
    assert (6.0, 0.0, 0.0) == (one.spared_for(1.0), one.spared_for(7.0), one.spared_for(20.0))


def test_to_spare_is_only_ever_extended():
    """Until an answer to what was sent later says nothing of it any more."""
    one = pool("a")
    one.spare("a", 0.0, 7.0)
    one.spare("a", 1.0, 2.0)
    one.succeeded("a", 1.0)
    assert 6.0 == one.spared_for(1.0)
    one.succeeded("a", 1.5)

    assert 0.0 == one.spared_for(2.0)


def test_a_spared_key_beside_one_that_rests():
    """Who rests does not help: it is spared as a whole."""
    one = pool("a", "b")
    one.spare("a", 0.0, 7.0)
    one.failed("b", RateLimited("no", retry_after=30.0), 0.0)

    assert 6.0 == one.spared_for(1.0)
    assert "a" == one.take(1.0).label


@pytest.mark.parametrize("kind", [ServerError, Overloaded, BadRequest, ProviderTimeout, ModelNotFound])
def test_what_is_not_the_keys_fault_leaves_it_alone(kind):
    """To the byte, as long as nothing was known of it."""
    one = pool("a")
    error = ProviderTimeout("no", phase="idle") if kind is ProviderTimeout else kind("no")

    assert not one.failed("a", error, 1.0)
    assert 0.0 == one.ready_in(1.0)


def test_a_dead_key_is_told_once():
    """Once, until it has lived again."""
    one = pool("a", "b")
    told = [one.failed("a", AuthenticationFailed("no"), now) for now in (0.0, 1.0, 400.0)]
    one.succeeded("a", 800.0)

    assert [True, False, False] == told
    assert one.failed("a", AuthenticationFailed("no"), 900.0)


def test_all_keys_dead_says_so_by_label():
    """And when one is asked again."""
    one = pool("first", "second")
    one.failed("first", AuthenticationFailed("no"), 0.0)
    one.failed("second", OutOfCredit("no"), 0.0)

    assert one.ready_in(1.0) is None
    assert "first" in one.why_dead(1.0)
    assert "second" in one.why_dead(1.0)
    assert "OutOfCredit" in one.why_dead(1.0)
    assert 0.0 == one.ready_in(REFUSED)  # a recheck is due


@pytest.mark.parametrize("first", [5.0, 60.0])
def test_a_later_answer_never_shortens_a_rest(first):
    """A slower 429 without a header, or with a smaller one."""
    one = pool("a")
    one.failed("a", RateLimited("no", retry_after=first), 0.0)
    one.failed("a", RateLimited("no"), 0.5)
    one.failed("a", RateLimited("no", retry_after=1), 0.6)

    assert first == one.ready_in(0.0)


def test_a_success_from_before_the_rest_ends_nothing():
    """It was under way already."""
    one = pool("a")
    one.failed("a", RateLimited("no", retry_after=30), 10.0)
    one.succeeded("a", 9.0)

    assert 30 == one.ready_in(10.0)


def test_a_dead_key_that_came_back_is_only_throttled():
    """Refused, rested, asked again and told to wait two seconds: that is worth waiting for."""
    one = pool("a")
    one.failed("a", AuthenticationFailed("no"), 0.0)
    one.failed("a", RateLimited("no", retry_after=2), REFUSED + 1)

    assert 2 == one.ready_in(REFUSED + 1)


# -- deployments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("no"),
        RequestTooLarge("no"),
        ContentBlocked("no"),
        ContextLengthExceeded("no"),
        LocalFailure("no"),
        AuthenticationFailed("no"),
        OutOfCredit("no"),
        RateLimited("no"),
        RateLimited("no", retry_after=5),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("before", [0, 2])
def test_what_is_nobodys_fault_leaves_the_circuit_as_it_was(error, before):
    """To the byte: caller, key, rate and our own machine say nothing of the deployment."""
    health, target = Health(Random(1)), deployment("a", "b")
    for number in range(before):
        health.failed(began(health, target, float(number)), ServerError("no"), number + 0.1)
    ticket = began(health, target, 5.0)
    was = repr(health.of(target).circuit)
    for _ in range(10):
        assert health.failed(ticket, error, 6.0) is None

    assert was == repr(health.of(target).circuit)


def test_a_canceled_call_leaves_the_circuit_as_it_was():
    """To the byte."""
    health, target = Health(Random(1)), deployment("a")
    ticket = began(health, target, 5.0)
    was = repr(health.of(target).circuit)
    health.canceled(ticket)

    assert was == repr(health.of(target).circuit)
    assert 0 == health.load(target.name)


def test_a_time_that_was_too_short_is_not_its_fault():
    """A deadline below what it usually takes says nothing; one above it does."""
    health, target = Health(Random(1)), deployment("a")
    health.of(target).latency = 20.0
    for number in range(5):
        ticket = began(health, target, float(number))
        health.failed(ticket, ProviderTimeout("no", phase="answer"), number + 0.1)
    assert "closed" == health.state(target.name)

    for number in range(3):
        ticket = health.began(target, 10.0 + number, limit=30.0, circuit=CIRCUIT)
        health.failed(ticket, ProviderTimeout("no", phase="answer"), 10.1 + number)
    assert "open" == health.state(target.name)


def test_a_model_that_is_not_there_is_not_asked_for_ten_minutes():
    """One answer is enough."""
    health, target = Health(Random(1)), deployment("a")
    health.failed(began(health, target, 0.0), ModelNotFound("no"), 0.1)
    bar = health.barred(target, 1.0)

    assert bar is not None
    assert bar.retry_in == pytest.approx(GONE - 0.9)
    assert health.barred(target, GONE + 0.2) is None


def test_a_late_404_does_not_shut_what_has_recovered():
    """17: it was sent before the circuit opened and closed again."""
    health, target = Health(Random(1)), deployment("a")
    late = began(health, target, 0.0)
    for _ in range(3):
        health.failed(began(health, target, 1.0), ServerError("no"), 1.1)
    health.succeeded(began(health, target, 10.0), 10.5)
    assert "closed" == health.state(target.name)
    health.failed(late, ModelNotFound("no"), 11.0)

    assert "closed" == health.state(target.name)


FAILURES: list[ProviderError] = [
    ServerError("no"),
    Overloaded("no", retry_after=7.0),
    Overloaded("no", retry_after=1e9),
    RateLimited("no"),
    RateLimited("no", retry_after=3.0),
    RateLimited("no", retry_after=1e9),
    AuthenticationFailed("no"),
    OutOfCredit("no"),
    BadRequest("no"),
    LocalFailure("no"),
    ProviderTimeout("no", phase="answer"),
    ProviderTimeout("no", phase="idle"),
]


class HealthMachine(RuleBasedStateMachine):
    """One account with two keys and a deployment without a key: calls that begin where they may and end anyhow."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.health = Health(Random(7))
        self.targets = [deployment("a", "b"), deployment(name="two/model")]
        self.calls: list[tuple[Deployment, Ticket]] = []
        self.cooling: dict[str, float] = {}
        self.rests: dict[str, float] = {}
        self.successes, self.retries = dict.fromkeys(("one/model", "two/model"), 0), {"one/model": 0, "two/model": 0}

    @rule(seconds=st.floats(0.001, 400.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(place=st.integers(0, 1), retry=st.booleans())
    def begin(self, place: int, *, retry: bool) -> None:
        self.now += 0.001
        target = self.targets[place]
        if self.health.barred(target, self.now) is not None:
            return
        retry = retry and self.health.may_retry(target)
        self.retries[target.name] += retry
        others = [key.label for key in target.provider.keys if self._rest(key.label) <= self.now]
        ticket = began(self.health, target, self.now, retry=retry)
        if place == 0:
            assert ticket.key is not None
            assert not others or ticket.key.label in others, "a key that rests is taken only when all do"
        self.calls.append((target, ticket))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), error=st.none() | st.sampled_from(FAILURES))
    def end(self, data: st.DataObject, error: ProviderError | None) -> None:
        self.now += 0.001
        target, ticket = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        if error is None:
            self.health.succeeded(ticket, self.now)
            self.successes[target.name] += 1
            if ticket.key is not None and self._rest(ticket.key.label) == 0.0:
                self.rests.pop(ticket.key.label, None)  # ended by a success that was sent after it
        else:
            self.health.key_failed(ticket, error, self.now)
            self.health.failed(ticket, error, self.now)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        _, ticket = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self.health.canceled(ticket)

    def _is_probed(self, label: str) -> bool:
        rest = self.health.account(self.targets[0].provider).keys().rests.get(label)
        return rest is not None and rest.probed is not None

    def _rest(self, label: str) -> float:
        rest = self.health.account(self.targets[0].provider).keys().rests.get(label)
        return rest.until if rest is not None else 0.0

    @invariant()
    def rests_only_extend(self) -> None:
        """11: and are never longer than a quarter of an hour from now."""
        for target in self.targets:
            name, until = target.name, self.health.of(target).cooling
            assert self.cooling.get(name, 0.0) <= until <= self.now + LONGEST_COOLDOWN
            self.cooling[name] = until
        for label in ("a", "b"):
            if self._is_probed(label):
                self.rests.pop(label, None)  # the probe's time is no rest, and its outcome is a new word
                continue
            until = self._rest(label)
            assert self.rests.get(label, 0.0) <= until <= self.now + LONGEST
            self.rests[label] = until

    @invariant()
    def the_load_is_what_is_under_way(self) -> None:
        """18."""
        for target in self.targets:
            assert sum(one is target for one, _ in self.calls) == self.health.load(target.name)

    @invariant()
    def retries_are_paid_for(self) -> None:
        """2."""
        for name, retries in self.retries.items():
            assert retries <= RETRIES + RETRY_PER_SUCCESS * self.successes[name] + 1e-6

    @invariant()
    def who_is_unhindered_is_so_by_every_question(self) -> None:
        """The one question stands for the four that it is asked in place of."""
        tier = Tier(tuple(self.targets))
        for target in self.targets:
            if self.health.unhindered(target, tier, self.now):
                assert self.health.barred(target, self.now) is None
                assert self.health.ready_in(target, self.now) == 0.0
                assert self.health.aside(target, self.now) is None
                assert self.health.slow(target, tier, self.now) is None

    @invariant()
    def nobody_is_barred_without_a_time(self) -> None:
        """15: closed is never a reason; and who is barred is told when to come again."""
        for target in self.targets:
            bar = self.health.barred(target, self.now)
            if bar is not None:
                assert bar.retry_in is not None
                assert bar.kind == "keys" or self.health.state(target.name) != "closed"
                assert 0.0 <= bar.retry_in <= LONGEST


TestHealth = HealthMachine.TestCase
TestHealth.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
