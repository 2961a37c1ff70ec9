"""Requests whose first attempt goes well take a shorter way through a simulation: it has to come to the same, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from router.config import Affinity, Config, Spending
from router.lab.simulation import Scene, simulate
from router.lab.simulation.shortcut import Shortcuts
from tests.lab.simulated import assumed, config, script

DOWN = script(
    {"who": "alpha", "what": "down", "when": {"from": "20s", "until": "40s"}},
    {"who": "beta", "what": {"cut_after": {"events": 4}}, "when": {"share": 0.05}},
    {"who": "alpha", "what": {"slow": {"times": 8}}, "when": {"from": "60s", "until": "80s"}},
    {"who": "gamma", "what": "silence", "when": {"share": 0.02}},
)
NAMES = ("alpha", "beta", "gamma")


def made(**said: Any) -> Callable[[], Config]:
    return lambda: config(*NAMES, **said)


def routed(**said: Any) -> Callable[[], Config]:
    """With what a route says that is not about its policy."""

    def one() -> Config:
        plain = config(*NAMES, select="weighted")
        return replace(plain, routes={"chat": replace(plain.routes["chat"], **said)})

    return one


CONFIGS: dict[str, Callable[[], Config]] = {
    "plain": made(),
    **{select: made(select=select) for select in ("weighted", "cheapest", "fastest", "least_busy")},
    "hedged": made(hedge={"after": "800ms"}),
    "held": made(hold="200ms"),
    "impatient": made(timeouts={"headers": "3s", "first_token": "700ms", "idle": "100ms"}, deadline="3s"),
    "one attempt": made(attempts=1),
    "restarted": made(on_interruption="restart"),
    "recovered": made(on_interruption="recover"),
    "few a minute": made(limits={"requests_per_minute": 220, "tokens_per_minute": 220_000}),
    "few at once": made(limits={"concurrency": 20}),
    "kept together": routed(affinity=Affinity()),
    "on a budget": routed(budget=Spending(0.05, 3600.0)),
}
WHOLE_WAY = ("hedged", "held", "on a budget")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_shorter_way_comes_to_the_same(monkeypatch, name, stream):
    """Every number of 100 s with faults, and both ways were gone."""
    assumptions = assumed({"stream": stream, "repeats": name == "recovered"}, all={"spread": 0.8})
    scene = Scene(rate=8, seconds=100, seed=5, routers=2, faults=[DOWN], assumptions=assumptions)
    gone: list[bool] = []
    real = Shortcuts.taken

    def taken(self: Any, *args: Any, **named: Any) -> bool:
        gone.append(real(self, *args, **named))
        return gone[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Shortcuts, "taken", taken)
        short = simulate(CONFIGS[name](), scene).facts

    assert short == simulate(CONFIGS[name](), replace(scene, shortcuts=False)).facts
    assert {True, False} == set(gone) or name in WHOLE_WAY


def test_a_request_that_ends_before_it_is_sent_counts_as_what_it_is():
    """A budget without room is an error of its own, and takes nobody else's end for it."""
    rich = config("alpha", "beta")
    route, scene = rich.routes["chat"], Scene(rate=5, seconds=60, seed=1)
    usual = simulate(rich, scene).facts
    poor = replace(rich, routes={"chat": replace(route, budget=Spending(0.01, 3600.0))})
    facts = simulate(poor, scene).facts

    assert usual["requests"] == facts["requests"]
    assert {} == usual["errors"]
    assert ["BudgetExceeded"] == list(facts["errors"])
    assert facts["cost"]["usd"] <= 0.01 + usual["cost"]["per_request"]
    assert facts["attempts"] == facts["requests"] - facts["errors"]["BudgetExceeded"]
