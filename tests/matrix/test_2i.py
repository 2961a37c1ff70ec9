"""2.I: what a fleet does. Each row of the matrix by its name, on virtual time; `tests/simulation/fleet.py` has the scenarios.

I12 to I14 are the gateway's.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import pytest

from providers.types import Completion
from providers.wire import HttpRequest
from router import Router
from router.circuit import TRICKLE
from router.errors import BudgetExceeded, DeploymentsExhausted, RouterError
from router.lab.virtual import (
    DOWN,
    UP,
    VirtualProvider,
    VirtualResponse,
    VirtualTransports,
    always,
    run_virtually,
    windows,
)
from tests.matrix.timeline import QUICK, ask, says
from tests.simulation import fleet
from tests.simulation.test_fleet import REQUEST, held

SEED = 3  # `scripts/fleet --seed N` plays the scenarios under another
SELECTS = ("priority", "weighted", "cheapest", "fastest", "least_busy")


def test_i1_one_that_is_down():
    """Nobody notices, and it is asked three times and once in each open period."""
    story = held(fleet.primary_down, SEED)
    opened = [at for at, state in story.transitions("alpha") if state == "open"]

    assert all(other - one >= 2.0 * 0.8 for one, other in pairwise(opened)), "each period has its length"


def test_i2_all_are_down():
    """Next to nothing is sent, and who is not sent is told at once why, of each of them."""
    held(fleet.outage, SEED)
    told = ask(DOWN, *(0.1 * place for place in range(40)), beta=DOWN)
    last = told.heard[-1]

    assert isinstance(last.error, DeploymentsExhausted)
    assert last.seconds <= 0.01
    assert all(word in str(last.error) for word in ("alpha/alpha-model", "beta/beta-model", "circuit", "503"))


def test_i2_whoever_trickles_is_not_asked_again():
    """The trickle through an open circuit is one call; the next one is seconds away, whoever makes it."""
    told = ask(DOWN, *(0.1 * place for place in range(300)), alone=True)
    late = [at for at in told.asked["alpha"] if at > 1.0]  # those that opened it came before

    assert len(late) >= 3
    assert all(other - one >= TRICKLE for one, other in pairwise(late))


def test_i3_all_hang():
    """As many as came until the first ones were given up, and then probes."""
    held(fleet.hanging, SEED)


def test_i4_recovery():
    """Found within twenty seconds, by one probe at a time."""
    held(fleet.comeback, SEED)
    story = held(fleet.recovery, SEED)
    opened = next(at for at, state in story.transitions("alpha") if state == "open")
    closed = next(at for at, state in reversed(story.transitions("alpha")) if state == "closed")
    probes = sorted(span for span in story.transports["alpha"].spans if opened + 1 < span[0] < closed)

    assert probes
    assert all(other[0] >= one[1] for one, other in pairwise(probes))


def test_i5_who_is_back_is_not_overrun():
    """A hundred calls were under way when it fell; when it is back they come little by little, within ten seconds."""
    back = 60.0
    script = windows(replace(UP, latency=5.0), (30.0, back, DOWN))
    story = fleet.simulate({"alpha": script, "beta": always(UP)}, rate=20, seconds=back + 60, seed=SEED)
    closed = next(at for at, state in reversed(story.transitions("alpha")) if state == "closed")
    spans = story.transports["alpha"].spans

    def under_way(at: float) -> int:
        return sum(begun <= at < ended for begun, ended in spans)

    usual = under_way(29.0)
    assert usual >= 80
    assert under_way(closed + 0.9) <= 0.1 * usual
    assert under_way(closed + 4.9) <= 0.5 * usual
    assert under_way(closed + 20) >= 0.7 * usual
    assert story.success == 1.0


def test_i6_flapping():
    """Five seconds up, five down."""
    held(fleet.flapping, SEED)


def test_i7_brownout():
    """Three calls in ten are refused."""
    held(fleet.brownout, SEED)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("select", SELECTS)
def test_i8_gray_failure(select, streaming):
    """Ten times slower, and nothing fails: nine tenths of its traffic leave within a minute, and are back within five."""
    _, lines = fleet.gray(SEED, select, streaming=streaming)

    assert [] == [line for line in lines if not line.holds]


def test_i8_calls_that_hang_are_enough():
    """It falls silent: the traffic leaves before the first call has timed out."""
    script = windows(UP, (60.0, 1e9, replace(UP, kind="silent")))
    story = fleet.simulate({"alpha": script, "beta": always(UP)}, rate=4, seconds=110, streaming=True, seed=SEED)

    assert story.share("alpha", 70, 110) <= 0.1


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_i8_with_little_traffic_it_takes_twenty_calls(rate):
    """Then it has lost nine tenths of it, too."""
    begin = 200 / rate
    script = windows(UP, (begin, 1e9, replace(UP, latency=5.0)))
    story = fleet.simulate({"alpha": script, "beta": always(UP)}, rate=rate, seconds=begin + 220 / rate, seed=SEED)

    assert story.share("alpha", begin + 20 / rate, 1e9) <= 0.1


def test_i8_who_is_slow_by_nature_keeps_its_place():
    """The first in the file always was ten times slower: that is what was wanted."""
    scripts = {"alpha": always(replace(UP, latency=5.0)), "beta": always(UP)}
    story = fleet.simulate(scripts, rate=4, seconds=300, seed=SEED, streaming=True)

    assert story.share("alpha", 0, 300) == 1.0


def test_i8_when_all_are_slow_nobody_is():
    """Longer prompts, or our own line: the order stays, but for a look at the others now and then."""
    script = windows(UP, (120.0, 1e9, replace(UP, latency=5.0)))
    story = fleet.simulate({"alpha": script, "beta": script}, rate=4, seconds=420, seed=SEED, streaming=True)

    assert story.share("alpha", 180, 420) >= 0.85


def test_i9_garbage_is_a_failure():
    """A 200 that nobody can read opens the circuit as a 500 does."""
    garbage = says(200, {"Content-Type": "application/json"}, b'{"choices": [{"mess')
    told = ask(garbage, *(float(place) for place in range(60)))

    assert all(heard.error is None for heard in told.heard)
    assert len(told.asked["alpha"]) <= 3 + 60 / 2
    assert "closed" != told.health.state("alpha/alpha-model")


def test_i10_faults_of_three():
    """One call in ten fails, at each of them."""
    held(fleet.faults, SEED)


def test_i11_faults_of_one():
    """One call in ten fails, and there is nobody else: forty minutes of them, for ten say little of two in a hundred."""
    stories = [fleet.alone(seed)[0] for seed in (1, 2, 3, 4)]
    requests = sum(story.requests for story in stories)

    assert 0.98 <= sum(story.success * story.requests for story in stories) / requests
    assert 1.10 >= sum(len(story.attempts) for story in stories) / requests


@dataclass(slots=True)
class Allergic(VirtualProvider):
    """One that breaks down over a single prompt."""

    async def answer(self, http: HttpRequest, now: float) -> VirtualResponse:
        if "poison" in json.dumps(http.json):
            self.began.append(now)
            return VirtualResponse(500, "application/json", [(0.0, b'{"error": {"message": "internal"}}')])
        return await VirtualProvider.answer(self, http, now)


def test_i15_a_prompt_that_nobody_survives():
    """It is tried as often as the policy says, and shuts nobody for the others."""
    poison = {"model": "chat", "messages": [{"role": "user", "content": "poison"}]}

    async def main() -> tuple[list[int], list[str], list[str]]:
        providers = [Allergic(name, always(QUICK), Random(name)) for name in fleet.NAMES]
        outcomes = []
        config, transports = fleet.fleet_config(fleet.NAMES, "weighted"), VirtualTransports(*providers)
        async with Router(config, rng=Random(1), transports=transports) as router:
            counts = []
            for place in range(60):
                before = sum(len(provider.began) for provider in providers)
                try:
                    await router.complete(poison if place % 10 == 9 else REQUEST)
                    outcomes.append("success")
                except RouterError as error:
                    outcomes.append(type(error).__name__)
                    counts.append(sum(len(provider.began) for provider in providers) - before)
                await asyncio.sleep(1.0)
            states = [str(router.health.state(f"{name}/{name}-model")) for name in fleet.NAMES]
        return counts, outcomes, states

    fleet.logging.disable(fleet.logging.CRITICAL)
    try:
        counts, outcomes, states = run_virtually(main())
    finally:
        fleet.logging.disable(fleet.logging.NOTSET)

    assert [4] * 6 == counts
    assert (54, 6) == (outcomes.count("success"), outcomes.count("DeploymentsExhausted"))
    assert ["closed"] * 3 == states


def test_i16_the_money_is_used_up():
    """Refused before anything is sent; and many at once pass the limit by no more than they were estimated too low."""
    priced = {"provider": "alpha", "model": "m", "price": {"input": 0, "output": 1000}}
    written = {
        "providers": {"alpha": {"base_url": "http://alpha.test/v1", "api_key": "k"}},
        "models": {"m": {"deployments": [priced]}},
        "routes": {"chat": {"deployments": ["alpha/m"], "budget": {"limit": "$0.05", "per": "10m"}}},
    }

    async def main() -> tuple[float, int, int]:
        provider = VirtualProvider("alpha", always(QUICK), Random(1))
        async with Router.open(written, environ={}, transports=VirtualTransports(provider)) as router:
            asked = [router.complete({**REQUEST, "max_tokens": 10}) for _ in range(20)]
            told = await asyncio.gather(*asked, return_exceptions=True)
            spent = sum(one.cost.usd or 0.0 for one in told if isinstance(one, Completion))
        return spent, len(provider.began), sum(isinstance(one, BudgetExceeded) for one in told)

    spent, sent, refused = run_virtually(main())
    assert (5, 15) == (sent, refused)
    assert 0.05 == pytest.approx(spent)


@pytest.mark.parametrize("select", SELECTS)
def test_i17_nothing_is_known_yet(select):
    """The first request after the start is served; by the first in the file, where nothing is drawn."""
    told, _ = order_of_first(select, seed=SEED)

    assert sorted(fleet.NAMES) == sorted(told)
    if select not in ("weighted", "least_busy"):
        assert list(fleet.NAMES) == told


def order_of_first(select: str, seed: int) -> tuple[list[str], Router]:
    router = Router(fleet.fleet_config(fleet.NAMES, select), rng=Random(seed))
    return [one.deployment.partition("/")[0] for one in router.plan(REQUEST).candidates], router


def test_i17_unknown_is_not_best_for_ever():
    """One that never answers stays unknown: it is looked at now and then, and the quick one serves."""
    dead = replace(DOWN, latency=1.0)
    story = fleet.simulate(
        {"alpha": always(dead), "beta": always(replace(UP, latency=1.5)), "gamma": always(UP)},
        rate=4,
        seconds=300,
        seed=SEED,
        select="fastest",
        streaming=True,
    )

    assert story.success == 1.0
    assert story.share("alpha", 60, 300) <= 0.1
    assert story.share("gamma", 60, 300) >= 0.8
