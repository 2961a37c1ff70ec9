"""`Router.plan` looks at nothing but its arguments and what the router knows: no socket, no clock on the wall, no dice."""

from __future__ import annotations

import random
import socket
import time
from random import Random

import pytest

from providers.types import Request
from router import Router
from router.health import Health
from router.plan import Setting, make_plan

KEYS = dict.fromkeys(("MIXLAYER_API_KEY", "RUNWARE_API_KEY", "EMPIRIOLABS_API_KEY", "AIML_API_KEY"), "k-0123456789")
ROUTE = {
    "deployments": [
        {"deployment": "mixlayer/qwen3.5-27b", "weight": 2},
        "runware/qwen3.5-27b",
        {"deployment": "aiml/qwen3.6-35b-a3b", "priority": 2},
    ],
}
ASK = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}], "seed": 0, "reasoning_effort": "low"}


def told(plan):
    """All that a plan says, as values."""
    return (
        [(one.deployment, one.call.http.body, one.call.changes, one.cost) for one in plan.candidates],
        [(out.deployment, out.why, out.changes) for out in plan.excluded],
    )


@pytest.mark.parametrize("select", ["priority", "weighted", "cheapest", "fastest", "least_busy"])
def test_the_same_question_has_the_same_plan(select, monkeypatch):
    """Outside of any event loop, with sockets, wall clock and global dice forbidden."""
    router = Router.open({"routes": {"chat": {**ROUTE, "select": select}}}, environ=KEYS)

    def forbidden(*_, **__):
        pytest.fail("a plan is pure")

    for module, name in [
        (socket, "socket"), (socket, "getaddrinfo"), (time, "time"), (time, "sleep"), (random, "random"), (random, "choices")
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, forbidden)
    first, second = told(router.plan(ASK)), told(router.plan(ASK))

    assert first == second
    assert 3 == len(first[0]) + len(first[1])


def test_time_and_chance_are_arguments():
    """The pure function below it takes both; the same ones give the same plan, others may give another."""
    router = Router.open({"routes": {"chat": {**ROUTE, "select": "weighted"}}}, environ=KEYS)
    route = router.config.route("chat")
    assert route is not None
    plans = [
        told(make_plan(Request.of(ASK), route, Setting(Health(), now=lambda: 5.0), rng=Random(seed)))
        for seed in (1, 1, 2, 3, 4, 5)
    ]

    assert plans[0] == plans[1]
    assert any(plans[0] != plan for plan in plans[2:])


def test_what_is_asked_is_not_touched():
    """Mappings and lists of the caller are the same after as before."""
    router = Router.open({"routes": {"chat": ROUTE}}, environ=KEYS)
    ask = {**ASK, "tools": [{"type": "function", "function": {"name": "f", "description": None}}], "extra": {"a": [1]}}
    before = repr(ask)
    router.plan(ask)

    assert before == repr(ask)
