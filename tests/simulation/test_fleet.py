"""What a fleet promises, measured on the real router in virtual time. `scripts/fleet` prints the same numbers.

The promises that have a row in the fault matrix are held by `tests/matrix/test_2i.py`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from router import Router
from router.errors import RouterError
from router.lab.virtual import (
    DOWN,
    UP,
    Conduct,
    Standstill,
    VirtualProvider,
    VirtualTransports,
    always,
    run_virtually,
    windows,
)
from tests.simulation import fleet

ROOT = Path(__file__).resolve().parents[2]
REQUEST = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}


def held(scenario: Any, seed: int) -> fleet.Story:
    """The scenario's story, after every line of it has been found to hold and everything was given back."""
    story, lines = scenario(seed)
    broken = [f"{line.what}: promised {line.promised}, measured {line.measured}" for line in lines if not line.holds]
    assert [] == broken, f"seed {seed}"
    assert len(story.ends) == story.requests, "one record a request"
    assert {0} == set(story.load.values()), "nobody is busy when all is over"
    assert {0} == {transport.under_way for transport in story.transports.values()}, "every answer was given back"
    assert len(story.attempts) == story.asked().total(), "one record an attempt"
    return story


def test_every_move_of_a_circuit_is_told():
    """As `CircuitChanged` says: open, half-open, closed; and never a state that it was in already."""
    states = [state for _, state in fleet.recovery(1)[0].transitions("alpha")]

    assert ["open", "half_open", "closed"] == [states[0], *states[-2:]]
    assert all(one != other for one, other in pairwise(states))


def test_a_slow_one_loses_its_traffic_and_gets_it_back():
    """I8: ten times slower, and within a minute nine calls in ten go elsewhere (`select: fastest`), until it is quick."""
    held(fleet.slow, 1)


def test_a_slow_one_is_demoted_whatever_the_selection():
    """I8: a slow but not failing deployment is demoted."""
    begin = 60.0
    script = windows(UP, (begin, 1e9, replace(UP, latency=5.0)))
    story = fleet.simulate({"alpha": script, "beta": always(UP)}, rate=4, seconds=begin + 120, streaming=True)

    assert story.share("alpha", begin + 60, begin + 120) <= 0.1


def test_a_throttled_one_serves_what_it_can():
    """Who says 429 is asked again when it said; nobody notices, and its circuit does not move."""
    story = held(fleet.throttled, 1)

    assert story.asked()["alpha"] >= 290


@pytest.mark.parametrize("scripts", [always(DOWN), always(replace(UP, failing=0.5)), always(UP)])
def test_no_more_are_under_way_than_the_limit_allows(scripts):
    """18: at every step, whatever fails."""
    story = fleet.simulate(
        dict.fromkeys(fleet.NAMES, scripts), rate=20, seconds=30, concurrency=3, policy="deadline=5s"
    )

    assert max(transport.most for transport in story.transports.values()) <= 3
    assert {0} == set(story.load.values())


def overlapping() -> list[tuple[float, float]]:
    """All down, a second for each failure, twenty requests a second: calls to an open circuit beside another one."""
    slow_failure = replace(DOWN, latency=1.0)
    story = fleet.simulate(dict.fromkeys(fleet.NAMES, always(slow_failure)), rate=20, seconds=60, seed=1)
    found = []
    for transport in story.transports.values():
        opened = next(at for at, state in story.transitions(transport.provider.name) if state == "open")
        probes = sorted(span for span in transport.spans if span[0] > opened)
        found += [other for one, other in pairwise(probes) if other[0] < one[1]]
    return found


def test_an_open_circuit_has_one_call_under_way():
    """14, 15: one probe or trickle at a time; a retry that was decided before it opened waits for its place as well."""
    assert [] == overlapping()


def together(count: int, conduct: Conduct, names: tuple[str, ...] = ("alpha",)) -> tuple[list[Any], list[float]]:
    """What *count* requests get that come at one time, and when their calls arrived at the first provider."""

    async def main() -> tuple[list[Any], list[float]]:
        providers = [VirtualProvider(name, always(conduct), Random(name)) for name in names]
        transports = VirtualTransports(*providers)
        async with Router(fleet.fleet_config(names), rng=Random(1), transports=transports) as router:
            answers = await asyncio.gather(*(router.complete(REQUEST) for _ in range(count)), return_exceptions=True)
        return answers, providers[0].began

    fleet.logging.disable(fleet.logging.CRITICAL)
    try:
        return run_virtually(main())
    finally:
        fleet.logging.disable(fleet.logging.NOTSET)


def test_the_bucket_of_retries_is_not_overdrawn():
    """2: two hundred requests that fail together retry ten times, not two hundred times."""
    answers, began = together(200, DOWN)

    assert all(isinstance(answer, RouterError) for answer in answers)
    assert len(began) <= 200 + 10


# -- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_seed_tells_the_same_story():
    """40: to the byte; and another seed another one."""
    first, again, other = fleet.short(7), fleet.short(7), fleet.short(8)

    assert len(first.lines) > 500
    assert first.lines == again.lines
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_the_order_of_hashes_does_not_matter():
    """40: nor does the process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.fleet", "--digest", "--seed", "7"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert fleet.short(7).digest == done.stdout.strip()


# -- the harness itself -----------------------------------------------------------------------------------------------


def test_time_jumps():
    """An hour takes no time, timers fire in order, and a time-out is one."""
    told: list[tuple[float, str]] = []

    async def one(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        told.append((asyncio.get_running_loop().time(), name))

    async def main() -> None:
        await asyncio.gather(one("c", 3600.0), one("a", 1.0), one("b", 60.0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await asyncio.sleep(6.0)

    began = time.perf_counter()
    run_virtually(main())

    assert [(1.0, "a"), (60.0, "b"), (3600.0, "c")] == told
    assert time.perf_counter() - began < 1.0


def test_a_standstill_is_an_error():
    """Who waits for nobody would wait for ever."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Standstill):
        run_virtually(main())


def test_virtual_time_refuses_threads():
    """Time would jump while they work."""

    async def main() -> None:
        await asyncio.to_thread(time.monotonic)

    with pytest.raises(RuntimeError, match="threads"):
        run_virtually(main())
