"""The order inside a tier."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from providers.types import Request
from router import Router
from router.config import Route, Tier
from router.order import in_order
from router.pace import Pace
from router.plan import Setting, make_plan
from tests.simulation.fleet import NAMES as FLEET
from tests.simulation.fleet import fleet_config

ASK = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
KEYS = {"MIXLAYER_API_KEY": "k-0123456789"}
NAMES = ["mixlayer/qwen3.5-27b", "mixlayer/qwen3.5-9b", "mixlayer/qwen3.5-4b"]


def orders(select, weights, count, seed=1):
    """The plans of *count* requests, as names."""
    entries = [{"deployment": name, "weight": weight} for name, weight in zip(NAMES, weights, strict=True)]
    router = Router.open({"routes": {"chat": {"deployments": entries, "select": select}}}, environ=KEYS)
    rng = Random(seed)

    route = router.config.route("chat")
    assert route is not None
    request, setting = Request.of(ASK), Setting(router.health)
    return [[one.deployment for one in make_plan(request, route, setting, rng=rng).candidates] for _ in range(count)]


def test_weights_are_shares():
    """7:2:1 over 10,000 picks, within 3 %; and whoever is left has the share that is left to him."""
    drawn = orders("weighted", [7, 2, 1], 10_000)
    first, second = Counter(order[0] for order in drawn), Counter(order[1] for order in drawn if order[0] == NAMES[0])

    assert [0.7, 0.2, 0.1] == [pytest.approx(first[name] / 10_000, abs=0.03) for name in NAMES]
    assert pytest.approx(2 / 3, abs=0.03) == second[NAMES[1]] / second.total()
    assert all(sorted(NAMES) == sorted(order) for order in drawn)


def test_weight_zero_is_never():
    """Not even last."""
    assert {(NAMES[0], NAMES[2])} | {(NAMES[2], NAMES[0])} == {
        tuple(order) for order in orders("weighted", [1, 0, 1], 200)
    }


def test_very_uneven_weights_still_give_everybody_a_place():
    """Without drawing for ever."""
    assert [NAMES] == [sorted(order, key=NAMES.index) for order in orders("weighted", [1e9, 1e-6, 1e-6], 1)]


def test_the_cheapest_is_first():
    """By the catalog's prices: the free one, the 9B, the 27B."""
    assert [[NAMES[2], NAMES[1], NAMES[0]]] == orders("cheapest", [1, 1, 1], 1)


# -- by what was observed ---------------------------------------------------------------------------------------------


class Observed:
    """What health would say, and how often it was asked."""

    def __init__(self, load=(), paces=()):
        self._load, self._paces, self.asked = dict(load), dict(paces), 0

    def load(self, name):
        self.asked += 1
        return self._load.get(name, 0)

    def timed(self):
        return self._paces.keys()

    def seconds(self, name, tokens, now, *, streaming):
        self.asked += 1
        found = self._paces.get(name)
        return None if found is None else found.seconds(tokens, streaming=streaming, now=now)


def pace(first, speed, count=3):
    """One whose streams begin after *first* seconds and bring *speed* tokens a second."""
    one = Pace()
    for call in range(count):
        one.sent(call, 0.0, streaming=True)
        one.spoke(call, first)
        one.answered(call, first + 100 / speed, 100)
    return one


def tier(size=3):
    """A tier of so many; no two of them cost the same."""
    route = fleet_config(tuple(f"p{place}" for place in range(size))).route("chat")
    assert isinstance(route, Route)
    return route.ranks[0]


def order(select, observed, *, of=None, seed=5, **more):
    """The names of a tier in the order of *select*."""
    members = of or tier()
    request = Request.of({**ASK, **more})
    found = in_order(members, select, observed, rng=Random(seed), tokens=10, request=request, now=9.0, streaming=True)
    return [one.name.partition("/")[0] for one in found]


def test_the_fastest_is_the_one_that_is_done_first():
    """A short answer by the first token, a long one by the tokens a second."""
    paces = {"p0/p0-model": pace(0.2, 10), "p1/p1-model": pace(1.0, 100), "p2/p2-model": pace(3.0, 50)}

    assert ["p0", "p1", "p2"] == order("fastest", Observed(paces=paces), max_tokens=5)
    assert ["p1", "p2", "p0"] == order("fastest", Observed(paces=paces), max_tokens=900)


def test_who_is_unknown_comes_behind_and_is_tried_now_and_then():
    """One request in ten, shared; and before anything is known the file decides."""
    paces = {"p1/p1-model": pace(1.0, 100)}
    firsts = Counter(order("fastest", Observed(paces=paces), seed=seed)[0] for seed in range(3000))

    assert 0.07 <= (firsts["p0"] + firsts["p2"]) / 3000 <= 0.13
    assert min(firsts["p0"], firsts["p2"]) >= 90
    assert {("p0", "p1", "p2")} == {tuple(order("fastest", Observed(), seed=seed)) for seed in range(50)}


def test_known_ones_are_explored_a_little():
    """One request in fifty looks whether another one has become quicker."""
    paces = {f"p{place}/p{place}-model": pace(1.0 + place, 100) for place in range(3)}
    firsts = Counter(order("fastest", Observed(paces=paces), seed=seed)[0] for seed in range(5000))

    assert 0.97 <= firsts["p0"] / 5000 <= 0.99
    assert min(firsts["p1"], firsts["p2"]) >= 25


def test_the_least_busy_is_first():
    """An idle one, whichever; where nobody is idle the one with the least to do, and ties as in the file."""
    busy = {"p0/p0-model": 2, "p1/p1-model": 1, "p2/p2-model": 1}
    assert ["p1", "p2", "p0"] == order("least_busy", Observed(busy))
    idle = Counter(order("least_busy", Observed({"p0/p0-model": 1}), seed=seed)[0] for seed in range(1000))

    assert 0 == idle["p0"]
    assert min(idle["p1"], idle["p2"]) >= 400


def test_every_order_has_everybody_once():
    """Whatever is known, drawn or explored."""
    paces = {"p1/p1-model": pace(1.0, 100), "p2/p2-model": pace(2.0, 10), "other/x": pace(0.1, 10)}
    busy = {"p0/p0-model": 3}
    for select in ("priority", "weighted", "cheapest", "fastest", "least_busy"):
        for seed in range(200):
            assert ["p0", "p1", "p2"] == sorted(order(select, Observed(busy, paces), seed=seed))


@pytest.mark.parametrize("select", ["fastest", "least_busy"])
def test_the_first_costs_no_more_in_a_large_tier(select):
    """Those who were never asked are not looked at."""
    large = tier(300)
    observed = Observed({"p7/p7-model": 1}, {"p7/p7-model": pace(1.0, 100), "p9/p9-model": pace(2.0, 100)})
    for seed in range(50):
        observed.asked = 0
        found = in_order(large, select, observed, rng=Random(seed), tokens=10, request=Request.of(ASK), now=9.0)
        next(iter(found))
        assert observed.asked <= 9


def test_whoever_has_the_same_prices_is_priced_once():
    """A tier knows which price lists differ."""
    assert [300] == [len(group) for group in tier(300).by_price]
    assert [["mixlayer/qwen3.5-27b"], ["mixlayer/qwen3.5-9b"]] == [
        [one.name for one in group] for group in _rank("mixlayer/qwen3.5-27b", "mixlayer/qwen3.5-9b").by_price
    ]


def _rank(*names: str) -> Tier:
    route = Router.open({"routes": {"chat": {"deployments": list(names)}}}, environ=KEYS).config.route("chat")
    assert route is not None
    return route.ranks[0]


def test_a_slow_one_is_last_and_says_so():
    """In the plan, with its numbers; and in a tier of its own it stays where it is."""
    config = fleet_config(FLEET)
    router = Router(config)
    slow = router.health.of(config.deployments["alpha/alpha-model"]).pace = Pace()
    for call, seconds in enumerate([0.5] * 20 + [5.0] * 10):
        slow.sent(call, call * 1.0, streaming=True)
        slow.spoke(call, call + seconds)
        slow.left(call)
    route, lonely = config.route("chat"), config.route("alpha/alpha-model")
    assert route is not None
    assert lonely is not None
    setting = Setting(router.health, now=lambda: 36.0)
    found = make_plan(Request.of(ASK), route, setting, rng=Random(1)).candidates

    assert ["beta", "gamma", "alpha"] == [one.deployment.partition("/")[0] for one in found]
    assert ["", "", "slow: 5 s to the first token lately, 0.5 s usually"] == [one.why for one in found]
    assert [""] == [one.why for one in make_plan(Request.of(ASK), lonely, setting, rng=Random(1)).candidates]
