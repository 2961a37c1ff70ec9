"""An account's minute, on virtual time: never too much in any sixty seconds, in order, and no longer than needed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.limits import MINUTE, Account, Place

EPSILON = 1e-6


def times(account: Account, *tokens: int, now: float = 0.0) -> list[float]:
    """When requests of so many *tokens* that all come at *now* may go out."""
    return [account.reserve(now, one).at for one in tokens]


@pytest.mark.parametrize(
    ("requests", "most_tokens", "asked", "expected"),
    [
        (None, None, [10, 10, 10], [0, 0, 0]),
        (2, None, [0, 0, 0, 0, 0], [0, 0, 60, 60, 120]),
        (None, 100, [60, 40, 1], [0, 0, 60]),
        (None, 100, [60, 60, 40], [0, 60, 60]),
        (None, 100, [500, 1], [0, 60]),  # more than a whole minute's: it goes alone
        (None, 100, [50, 500, 1], [0, 60, 120]),
        (1, 100, [1, 1, 1], [0, 60, 120]),
        (None, 100, [0, 0, 100, 0], [0, 0, 0, 0]),
    ],
)
def test_when_a_request_may_go_out(requests, most_tokens, asked, expected):
    """The next free place in the order of coming."""
    assert expected == pytest.approx(times(Account(requests, most_tokens), *asked))


def test_nobody_overtakes():
    """A small request does not slip in before a large one that came first."""
    assert [0, 60, 60] == times(Account(None, 100), 90, 90, 5)


def test_a_place_that_was_given_back_is_free_for_the_next():
    """Nothing was sent: the minute is as full as before."""
    account = Account(1)
    account.give_back(account.reserve(0.0, 0))

    assert 0.0 == account.reserve(0.0, 0).at


def test_giving_back_twice_or_too_late_takes_nobody_elses():
    """A place is known by itself, not by its looks."""
    account = Account(2)
    mine, other = account.reserve(0.0, 0), account.reserve(0.0, 0)
    account.give_back(mine)
    account.give_back(mine)
    account.give_back(Place(0.0, 0))

    assert [other] == list(account.places)


def test_asking_how_long_takes_no_place():
    """A plan may be looked at as often as anybody likes."""
    account = Account(1)
    for _ in range(5):
        assert 0.0 == account.wait(0.0)
    account.reserve(0.0, 0)

    assert [60.0, 60.0] == [account.wait(0.0), account.wait(0.0)]
    assert 0.0 == account.wait(60.0)


def test_what_is_over_is_forgotten():
    """The books do not grow with history."""
    account = Account(10)
    for number in range(1000):
        account.reserve(number * 7.0, 0)

    assert len(account.places) <= 10


def fits(account: Account, taken: list[Place], at: float, tokens: int) -> bool:
    """Whether one more at *at*, behind all that are taken, keeps the minute that ends there."""
    minute = [place for place in taken if at - MINUTE < place.at <= at]
    if account.requests_per_minute is not None and len(minute) >= account.requests_per_minute:
        return False
    total = sum(place.tokens for place in minute)
    return account.tokens_per_minute is None or total + tokens <= account.tokens_per_minute


def test_two_places_at_one_time_leave_together():
    """After a minute 80 of the 100 tokens are free, not 40."""
    account = Account(None, 100)
    times(account, 40, 40)
    account.reserve(10.0, 20)

    assert 60.0 == account.reserve(10.0, 80).at


@given(
    requests=st.none() | st.integers(1, 4),
    most=st.none() | st.integers(10, 30),
    history=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 10)), min_size=1, max_size=12),
)
@settings(max_examples=200, deadline=None)
def test_nobody_waits_longer_than_needed(requests, most, history):
    """The place given is the first that fits. Times differ here: the test above says why."""
    account, now = Account(requests, most), 0
    taken: list[Place] = []
    for seconds, tokens in history:
        now += seconds
        place = account.reserve(now, tokens)
        first = max(now, taken[-1].at) if taken else now
        starts = sorted({first, *(one.at + MINUTE for one in taken if one.at + MINUTE > first)})
        if len({one.at for one in taken}) < len(taken):
            return
        assert place.at == next(at for at in starts if fits(account, taken, at, tokens))
        taken.append(place)


class Plain:
    """A minute of tokens and requests as one would write it down first: looked through from one end to the other."""

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self.requests, self.tokens = requests, tokens
        self.places: list[Place] = []

    def earliest(self, now: float, tokens: int) -> float:
        places = [place for place in self.places if place.at > now - MINUTE]
        at = max(now, places[-1].at) if places else now
        if self.requests is not None and len(places) >= self.requests:
            at = max(at, places[-self.requests].at + MINUTE)
        within = [place for place in places if place.at > at - MINUTE]
        total = sum(place.tokens for place in within)
        for place in within:
            if self.tokens is None or total <= self.tokens - tokens:
                break
            total -= place.tokens
            at = max(at, place.at + MINUTE)
        return at

    def reserve(self, now: float, tokens: int) -> Place:
        self.places.append(Place(self.earliest(now, tokens), tokens))
        return self.places[-1]


MOVES = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 120)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("used"), st.integers(0, 200)),
    st.tuples(st.just("give_back"), st.just(0)),
)


@given(
    requests=st.none() | st.integers(1, 6),
    most=st.none() | st.integers(10, 200),
    moves=st.lists(st.tuples(MOVES, st.integers(0, 1000)), max_size=60),
)
@settings(max_examples=300, deadline=None)
def test_the_books_say_what_looking_through_all_of_them_would(requests, most, moves):
    """Whatever is reserved, given back, and turns out larger or smaller afterwards, in whichever order."""
    account, plain, now = Account(requests, most), Plain(requests, most), 0
    pairs: list[tuple[Place, Place]] = []
    for (move, number), which in moves:
        if move == "wait":
            now += number
        elif move == "reserve":
            pairs.append((account.reserve(now, number), plain.reserve(now, number)))
        elif pairs:
            mine, other = pairs[which % len(pairs)]
            if move == "used":
                account.used(mine, number)
                other.tokens = number
            else:
                account.give_back(mine)
                plain.places = [place for place in plain.places if place is not other]

        assert [plain.earliest(now, tokens) for tokens in (0, 1, 50)] == [
            now + account.wait(now, tokens) for tokens in (0, 1, 50)
        ]


class Untouchable(Place):
    """A place that must not be looked at."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(name)


@pytest.mark.parametrize("used", [100, 140])
def test_a_place_costs_no_more_the_more_calls_the_minute_had(used):
    """12,000 calls behind it, within their tokens or above: only those at the border and at the ends are looked at."""
    account = Account(None, 1_200_000)
    for number in range(12_000):
        account.used(account.reserve(number / 200.0, 100), used)
    for places in (account._past, account._counted):
        for place in range(20, len(places) - 20):
            places[place] = Untouchable(0.0, 0)

    for _ in range(5):
        account.wait(59.99)
        account.used(account.reserve(59.99, 100), used)


class AccountMachine(RuleBasedStateMachine):
    """Requests that come, wait for their places, go out or give up."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.asked = 0
        self.account = Account(4, 100)
        self.places: list[Place] = []  # all that were taken and not given back, in the order of coming

    @rule(seconds=st.floats(0.0, 50.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(tokens=st.integers(0, 100))
    def ask(self, tokens: int) -> None:
        told = self.account.wait(self.now, tokens)
        place = self.account.reserve(self.now, tokens)
        assert place.at == pytest.approx(self.now + told)
        assert place.at >= self.now
        if self.places:
            assert place.at >= max(one.at for one in self.places), "19: in order"
        self.places.append(place)
        self.asked += 1
        assert place.at <= self.now + MINUTE * self.asked, "19: everybody's turn comes"

    @precondition(lambda self: any(place.at > self.now for place in self.places))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        waiting = [place for place in self.places if place.at > self.now]
        place = waiting[data.draw(st.integers(0, len(waiting) - 1))]
        self.account.give_back(place)
        self.places = [one for one in self.places if one is not place]

    @invariant()
    def never_too_much_in_any_minute(self) -> None:
        """18: counted from every call backwards."""
        for last in self.places:
            minute = [one for one in self.places if last.at - MINUTE + EPSILON < one.at <= last.at]
            assert len(minute) <= 4
            assert sum(one.tokens for one in minute) <= 100


TestAccount = AccountMachine.TestCase
TestAccount.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
