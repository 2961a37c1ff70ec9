"""A fleet on virtual time: the real router over virtual providers, and the scenarios that its promises are about.

`python -m tests.simulation.fleet` (or `scripts/fleet`) prints what was measured, beside what was promised.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

from providers.wire import HttpRequest
from router import Router
from router.config import Config
from router.decisions import DecisionRecorder
from router.errors import RouterError
from router.events import AttemptEnded, CircuitChanged, Event, RequestEnded
from router.lab.virtual import (
    DOWN,
    UP,
    Conduct,
    Script,
    VirtualProvider,
    VirtualResponse,
    VirtualTransport,
    VirtualTransports,
    alternating,
    always,
    run_virtually,
    windows,
)
from router.load import load

NAMES = ("alpha", "beta", "gamma")
MINUTES_10 = 600.0


@dataclass(slots=True)
class Story:
    """What happened, in order."""

    seed: int
    requests: int = 0
    ends: list[tuple[float, RequestEnded]] = field(default_factory=list)
    attempts: list[tuple[float, AttemptEnded]] = field(default_factory=list)
    moves: list[tuple[float, CircuitChanged]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)  # virtual seconds that a request took which was never sent
    lines: list[str] = field(default_factory=list)
    transports: Mapping[str, VirtualTransport] = field(default_factory=dict)
    load: Mapping[str, int] = field(default_factory=dict)
    wall: float = 0.0

    def hear(self, event: Event) -> None:
        """A hook."""
        now = asyncio.get_running_loop().time()
        if isinstance(event, CircuitChanged):
            self.moves.append((now, event))
            self.lines.append(f"{now!r} {event.deployment} {event.state} {event.why}")
        elif isinstance(event, AttemptEnded):
            self.attempts.append((now, event))
            one = event.attempt
            told = (one.deployment, one.outcome, one.status, one.started, one.duration, one.delay, one.why, one.cost)
            self.lines.append(f"{now!r} {event.request} attempt {event.place} {told!r}")
        elif isinstance(event, RequestEnded):
            self.ends.append((now, event))
            end = (event.outcome, event.deployment, event.duration, len(event.attempts), event.cost)
            self.lines.append(f"{now!r} {event.request} ended {end!r}")
        else:
            self.lines.append(f"{now!r} {event!r}")

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    @property
    def success(self) -> float:
        return sum(end.outcome == "success" for _, end in self.ends) / self.requests

    @property
    def per_request(self) -> float:
        return len(self.attempts) / self.requests

    def asked(self, begin: float = 0.0, end: float = float("inf")) -> Counter[str]:
        """Calls that arrived at each provider in a span."""
        return Counter(
            {
                name: sum(begin <= at < end for at in transport.provider.began)
                for name, transport in self.transports.items()
            }
        )

    def share(self, name: str, begin: float, end: float) -> float:
        """The share of the calls in a span that arrived at the provider *name*."""
        asked = self.asked(begin, end)
        return asked[name] / max(asked.total(), 1)

    def transitions(self, name: str) -> list[tuple[float, str]]:
        """When the provider's circuit was told to be what."""
        return [(at, move.state) for at, move in self.moves if move.deployment.startswith(f"{name}/")]

    def changes_of_use(self, name: str) -> int:
        """How often the provider was taken out of use and into it again: an open circuit that opens again is none."""
        states = [True, *(state == "closed" for _, state in self.transitions(name))]
        return sum(one != other for one, other in pairwise(states))


@cache
def fleet_config(
    names: tuple[str, ...], select: str = "priority", written: str = "", concurrency: int | None = None
) -> Config:
    """A route `chat` over one deployment of each provider, under a policy *written* as `name=value,…`."""
    limits = {"limits": {"concurrency": concurrency}} if concurrency else {}
    settings: dict[str, Any] = {"on_interruption": "error"}
    if written:
        settings |= dict(pair.split("=") for pair in written.split(","))
    return load(
        {
            "providers": {
                name: {
                    "protocol": "chat_completions",
                    "base_url": f"http://{name}.test/v1",
                    "api_key": f"sk-{name}",
                    **limits,
                }
                for name in names
            },
            "models": {
                f"{name}-model": {"deployments": [{"provider": name, "model": "model", "context": 131072}]}
                for name in names
            },
            "routes": {
                "chat": {
                    "deployments": [f"{name}/{name}-model" for name in names],
                    "select": select,
                    "policy": "fleet",
                }
            },
            "policies": {"fleet": settings},
        },
        environ={},
    )


def simulate(
    scripts: Mapping[str, Script],
    *,
    rate: float,
    seconds: float,
    seed: int = 1,
    select: str = "priority",
    policy: str = "",
    per_minute: Mapping[str, int] | None = None,
    concurrency: int | None = None,
    streaming: bool = False,
    crowd: VirtualProvider | None = None,
    recorder: DecisionRecorder | None = None,
    config: Config | None = None,
) -> Story:
    """*rate* requests a second, by chance, for *seconds*, to providers that do as *scripts* say.

    *crowd* takes the place of the one of its name. *config*: in place of the one that the other arguments would make.
    *recorder*: takes every decision down.
    """
    story, began = Story(seed), time.perf_counter()
    config = config or fleet_config(tuple(scripts), select, policy, concurrency)
    limits = per_minute or {}
    providers = [
        crowd
        if crowd is not None and crowd.name == name
        else VirtualProvider(name, script, Random(f"{seed}/{name}"), limits.get(name))
        for name, script in scripts.items()
    ]
    logging.disable(logging.CRITICAL)  # the story is told by events; a warning for every failure tells it slower
    try:
        run_virtually(
            _simulate(story, config, providers, rate=rate, seconds=seconds, streaming=streaming, recorder=recorder)
        )
    finally:
        logging.disable(logging.NOTSET)
    story.wall = time.perf_counter() - began
    return story


async def _simulate(
    story: Story,
    config: Config,
    providers: list[VirtualProvider],
    *,
    rate: float,
    seconds: float,
    streaming: bool,
    recorder: DecisionRecorder | None,
) -> None:
    arrivals, loop = Random(f"{story.seed}/arrivals"), asyncio.get_running_loop()
    story.transports = transports = VirtualTransports(*providers)
    names = Random(f"{story.seed}/names")
    async with Router(
        config,
        hooks=[story.hear],
        rng=Random(f"{story.seed}/router"),
        transports=transports,
        new_key=lambda: f"{names.getrandbits(128):032x}",
        recorder=recorder,
    ) as router:
        async with asyncio.TaskGroup() as tasks:
            while (next_one := loop.time() + arrivals.expovariate(rate)) < seconds:
                await asyncio.sleep(next_one - loop.time())
                story.requests += 1
                tasks.create_task(_ask(router, story, streaming=streaming))
        story.load = {
            f"{provider.name}/{provider.name}-model": router.health.load(f"{provider.name}/{provider.name}-model")
            for provider in providers
        }


async def _ask(router: Router, story: Story, *, streaming: bool) -> None:
    request = {"model": "chat", "messages": [{"role": "user", "content": "17 * 23?"}]}
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        if streaming:
            async for _ in router.stream(request):
                pass
        else:
            await router.complete(request)
    except RouterError as error:
        if not getattr(error, "attempts", ()):
            story.refused.append(loop.time() - began)


# -- the scenarios ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A number that was promised: what was measured, and whether it holds."""

    what: str
    promised: str
    measured: str
    holds: bool


def outage(seed: int = 1) -> tuple[Story, list[Line]]:
    """Everybody is down for ten minutes, at ten requests a second."""
    story = simulate({name: always(DOWN) for name in NAMES}, rate=10, seconds=MINUTES_10, seed=seed)
    most = 0.05 * story.requests + 30 * len(NAMES)
    asked, slowest = story.asked(), max(story.refused, default=0.0)
    return story, [
        Line("attempts, all deployments", f"<= {most:.0f}", str(asked.total()), asked.total() <= most),
        Line(
            "attempts at the busiest deployment",
            f"<= {0.05 * story.requests + 30:.0f}",
            str(max(asked.values())),
            max(asked.values()) <= 0.05 * story.requests + 30,
        ),
        Line("slowest of those that were not sent", "<= 10 ms", f"{slowest * 1000:.0f} ms", slowest <= 0.01),
    ]


def comeback(seed: int = 1) -> tuple[Story, list[Line]]:
    """Everybody is down for five minutes, and then up."""
    back = 300.0
    story = simulate(dict.fromkeys(NAMES, windows(UP, (0.0, back, DOWN))), rate=4, seconds=340.0, seed=seed)
    first = min((at for at, end in story.ends if end.outcome == "success"), default=9e9)
    last = max((at for at, end in story.ends if end.outcome != "success"), default=0.0)
    return story, [
        Line("the first success after", "<= 20 s", f"{first - back:.1f} s", first - back <= 20),
        Line("the last failure after", "<= 20 s", f"{last - back:.1f} s", last - back <= 20),
    ]


def hanging(seed: int = 1) -> tuple[Story, list[Line]]:
    """Everybody hangs for ten minutes, at five requests a second; a first token within ten seconds is demanded."""
    silent = always(replace(DOWN, kind="silent"))
    story = simulate(
        dict.fromkeys(NAMES, silent), rate=5, seconds=MINUTES_10, seed=seed, policy="deadline=30s", streaming=True
    )
    asked = story.asked()
    most = 30 * 5 + 3 + MINUTES_10
    busiest = max(asked.values())
    return story, [Line("attempts at the busiest deployment", f"<= {most:.0f}", str(busiest), busiest <= most)]


def primary_down(seed: int = 1) -> tuple[Story, list[Line]]:
    """The first one is down for ten minutes, the second is up."""
    story = simulate({"alpha": always(DOWN), "beta": always(UP)}, rate=4, seconds=MINUTES_10, seed=seed)
    first = story.asked()["alpha"]
    opened = sum(state == "open" for _, state in story.transitions("alpha"))
    return story, [
        Line("success", "100 %", f"{story.success:.3%}", story.success == 1.0),
        Line("calls to the one that is down", "<= 3 + 1 a period", f"{first} in {opened}", first <= 3 + opened + 3),
    ]


def faults(seed: int = 1) -> tuple[Story, list[Line]]:
    """One call in ten fails, on each of three, independently."""
    conduct = replace(UP, failing=0.1)
    story = simulate({name: always(conduct) for name in NAMES}, rate=10, seconds=MINUTES_10, seed=seed)
    return story, [
        Line("success", ">= 99.8 %", f"{story.success:.3%}", story.success >= 0.998),
        Line("attempts a request", "<= 1.12", f"{story.per_request:.4f}", story.per_request <= 1.12),
    ]


def recovery(seed: int = 1) -> tuple[Story, list[Line]]:
    """The first one comes back after five minutes."""
    back = 300.0
    script = windows(UP, (0.0, back, DOWN))
    story = simulate({"alpha": script, "beta": always(UP)}, rate=2, seconds=400.0, seed=seed)
    closed = min((at for at, state in story.transitions("alpha") if state == "closed" and at >= back), default=9e9)
    share = story.share("alpha", back + 20, 400.0)
    return story, [
        Line("in use again after", "<= 20 s", f"{closed - back:.1f} s", closed - back <= 20),
        Line("its share from then on", ">= 95 %", f"{share:.1%}", share >= 0.95),
        Line("success", "100 %", f"{story.success:.3%}", story.success == 1.0),
    ]


def flapping(seed: int = 1) -> tuple[Story, list[Line]]:
    """The first one is up for five seconds and down for five, in turn."""
    story = simulate({"alpha": alternating(UP, DOWN, 5.0), "beta": always(UP)}, rate=4, seconds=MINUTES_10, seed=seed)
    moves = story.changes_of_use("alpha")
    return story, [
        Line("success", ">= 99 %", f"{story.success:.3%}", story.success >= 0.99),
        Line("transitions, in use or not", "<= 6", f"{moves}", moves <= 6),
    ]


def brownout(seed: int = 1) -> tuple[Story, list[Line]]:
    """The first one refuses three calls in ten."""
    story = simulate(
        {"alpha": always(replace(UP, failing=0.3)), "beta": always(UP)}, rate=4, seconds=MINUTES_10, seed=seed
    )
    return story, [
        Line("success", ">= 99.9 %", f"{story.success:.3%}", story.success >= 0.999),
        Line("attempts a request", "<= 1.35", f"{story.per_request:.3f}", story.per_request <= 1.35),
    ]


def alone(seed: int = 1) -> tuple[Story, list[Line]]:
    """There is only one, and one call in ten fails."""
    story = simulate({"alpha": always(replace(UP, failing=0.1))}, rate=4, seconds=MINUTES_10, seed=seed)
    return story, [
        Line("success", ">= 98 %", f"{story.success:.3%}", story.success >= 0.98),
        Line("attempts a request", "<= 1.10", f"{story.per_request:.4f}", story.per_request <= 1.10),
    ]


def slow(seed: int = 1) -> tuple[Story, list[Line]]:
    """The quicker of two becomes ten times slower after two minutes, for two minutes (`select: fastest`)."""
    begin, end = 120.0, 240.0
    quick, other = Conduct(latency=0.5), Conduct(latency=0.8)
    script = windows(quick, (begin, end, replace(quick, latency=5.0)))
    story = simulate(
        {"alpha": script, "beta": always(other)}, rate=4, seconds=end + 300, seed=seed, select="fastest", streaming=True
    )
    before, during = story.share("alpha", 60, begin), story.share("alpha", begin + 60, end)
    after = story.share("alpha", end + 240, end + 300)
    return story, [
        Line("its share before", ">= 80 %", f"{before:.1%}", before >= 0.8),
        Line("its share 60 s after it became slow", "<= 10 %", f"{during:.1%}", during <= 0.1),
        Line("its share 4 min after it became quick", ">= 80 %", f"{after:.1%}", after >= 0.8),
    ]


def gray(seed: int = 1, select: str = "priority", *, streaming: bool = True) -> tuple[Story, list[Line]]:
    """The first of two becomes ten times slower after two minutes, for five minutes, and fails nobody."""
    begin, end = 120.0, 420.0
    script = windows(UP, (begin, end, replace(UP, latency=5.0)))
    story = simulate(
        {"alpha": script, "beta": always(replace(UP, latency=0.6))},
        rate=4, seconds=end + 360, seed=seed, select=select, streaming=streaming,
    )  # fmt: skip
    before, during = story.share("alpha", 30, begin), story.share("alpha", begin + 60, end)
    after = story.share("alpha", end + 300, end + 360)
    return story, [
        Line("its share 60 s after it became slow", "<= 10 % of before", f"{during:.1%}", during <= 0.1 * before),
        Line("its share 5 min after it became quick", ">= 90 % of before", f"{after:.1%}", after >= 0.9 * before),
        Line("calls that look whether it is quick again", ">= 1 in 60 s", f"{during:.1%}", during * 4 * 60 >= 1),
        Line("success", "100 %", f"{story.success:.3%}", story.success == 1.0),
    ]


@dataclass(slots=True)
class Crowded(VirtualProvider):
    """One that carries *at_once* calls, and refuses the next one."""

    at_once: int = 10
    under_way: int = 0

    async def answer(self, http: HttpRequest, now: float) -> VirtualResponse:
        """As any other, if there is room."""
        if self.under_way >= self.at_once:
            self.began.append(now)
            return VirtualResponse(429, "application/json", [(0.0, b'{"error": {"code": "slow_down"}}')])
        self.under_way += 1
        try:
            return await VirtualProvider.answer(self, http, now)
        finally:
            self.under_way -= 1


def crowded(seed: int = 1) -> tuple[Story, list[Line]]:
    """The first one carries ten calls at once and says nothing of it; twice as many come. The second is a lower tier."""
    provider = Crowded("alpha", always(replace(UP, latency=2.0)), Random(f"{seed}/alpha"))
    story = simulate({"alpha": provider.script, "beta": always(UP)}, rate=10, seconds=300.0, seed=seed, crowd=provider)
    asked = story.asked()["alpha"]
    refused = sum(one.attempt.status == 429 for _, one in story.attempts)
    served = (asked - refused) * 2.1 / 300  # seconds of work each second, about
    return story, [
        Line("success", "100 %", f"{story.success:.3%}", story.success == 1.0),
        Line("calls that were too many", "<= 1 in 10", f"{refused} of {asked}", refused <= asked / 10),
        Line("of what it carries, in use", ">= 50 %", f"{served / 10:.0%}", served >= 5),
    ]


def throttled(seed: int = 1) -> tuple[Story, list[Line]]:
    """The first one takes thirty calls a minute and says when it takes the next."""
    story = simulate(
        dict.fromkeys(("alpha", "beta"), always(UP)),
        rate=2,
        seconds=MINUTES_10,
        seed=seed,
        per_minute={"alpha": 30},
    )
    refused = sum(one.attempt.status == 429 for _, one in story.attempts)
    opened = len(story.transitions("alpha"))
    return story, [
        Line("success", "100 %", f"{story.success:.3%}", story.success == 1.0),
        Line("calls that were too many", "<= 1 in 5", f"{refused}", refused <= story.asked()["alpha"] / 5),
        Line("transitions", "none", str(opened), opened == 0),
    ]


SCENARIOS: Mapping[str, Callable[[int], tuple[Story, list[Line]]]] = {
    "total outage": outage,
    "back after an outage": comeback,
    "everybody hangs": hanging,
    "primary down": primary_down,
    "10 % faults on three": faults,
    "10 % faults on one": alone,
    "recovery": recovery,
    "flapping 5 s / 5 s": flapping,
    "brownout": brownout,
    "ten times slower": slow,
    "ten times slower, first in the file": gray,
    "carries ten at once": crowded,
    "throttled": throttled,
}


def main() -> int:
    """Print the table; 1 if a promise is not held."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description="The fleet's promises, measured in virtual time.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--digest", action="store_true", help="print only the digest of one short history")
    given = parser.parse_args()
    if given.digest:
        sys.stdout.write(short(given.seed).digest + "\n")
        return 0
    table = Table("scenario", "what", "promised", "measured", "holds", title=f"the fleet, seed {given.seed}")
    every, seconds, requests = True, 0.0, 0
    for name, scenario in SCENARIOS.items():
        story, lines = scenario(given.seed)
        seconds, requests = seconds + story.wall, requests + story.requests
        for place, line in enumerate(lines):
            every = every and line.holds
            table.add_row("" if place else name, line.what, line.promised, line.measured, "yes" if line.holds else "NO")
    console = Console()
    console.print(table)
    console.print(f"{requests} requests in {seconds:.1f} s")
    return 0 if every else 1


def short(seed: int) -> Story:
    """A little of everything, for comparing histories."""
    scripts = {
        "alpha": alternating(UP, replace(DOWN, kind="reset"), 7.0),
        "beta": windows(replace(UP, failing=0.3), (20.0, 40.0, DOWN)),
        "gamma": windows(UP, (25.0, 35.0, replace(DOWN, kind="unreachable"))),
    }
    return simulate(scripts, rate=5, seconds=60.0, seed=seed, select="weighted", per_minute={"gamma": 60})


if __name__ == "__main__":
    sys.exit(main())
