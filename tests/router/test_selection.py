"""The order inside a tier."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from providers.types import Request
from router import Router
from router.plan import Setting, make_plan

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
