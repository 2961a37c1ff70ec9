"""Routers on virtual time, sending into one world: the simulation itself.

Knows how a request comes, goes through the real router, and is counted. Refuses to know what is done with the numbers,
and every decision: those are the routers' own.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from providers.errors import ConfigError, RouterError, nearest
from router.lab.simulation.assumptions import Assumptions
from router.lab.simulation.clock import QuickLoop, Walk, run_quickly
from router.lab.simulation.course import expressible
from router.lab.simulation.facts import Simulated
from router.lab.simulation.requests import Asked, arrivals, sample
from router.lab.simulation.routers import AtOnce, SimulatedRouter
from router.lab.simulation.series import Series
from router.lab.simulation.world import World
from router.problems import Problem, together

if TYPE_CHECKING:
    from providers.types import Request
    from router.config import Config, Route
    from router.lab.script import Script

BUCKETS = 120  # at most, over the whole time
WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)  # seconds of a bucket
GARBAGE = 300_000  # objects between two collections: nearly all of a request dies when it ends


@dataclass(frozen=True, slots=True)
class Scene:
    """What is simulated: *rate* requests a second for so many *seconds*, at *routers* of one configuration.

    *route*: a route, model or deployment; None: the first route of the file. *request*: what is asked, in place of a plain
    question. *faults*: scripts, the first one with a fault for a call counts. *shortcuts*: a request whose first attempt
    goes well takes them (`routers`); without, every request goes the whole way, which comes to the same and takes longer.
    """

    rate: float = 10.0
    seconds: float = 600.0
    routers: int = 1
    seed: int = 0
    route: str | None = None
    request: Request | None = None
    faults: Sequence[Script] = ()
    assumptions: Assumptions = field(default_factory=Assumptions)
    shortcuts: bool = True

    @property
    def width(self) -> float:
        """Seconds of a bucket."""
        return next((width for width in WIDTHS if self.seconds / width <= BUCKETS), self.seconds / BUCKETS)


def simulate(config: Config, scene: Scene, progress: Callable[[float], None] | None = None) -> Simulated:
    """What becomes of *scene* under *config*: the same to the byte for the same seed.

    *progress* is called with the virtual seconds that have passed.

    Raises:
        ConfigError: the scene names a route, a provider or a fault that is not there, or cannot be simulated.
    """
    route = _route(config, scene)
    order = tuple(deployment.name for tier in route.tiers for deployment in tier)
    _refuse(problem for script in scene.faults for problem in _problems(script, order))
    _refuse(scene.assumptions.strangers(order))
    casts = [script.cast(order) for script in scene.faults]
    world = World(route.deployments, scene.assumptions, casts, seed=scene.seed)
    series = Series(scene.seconds, scene.width, order)
    with _little_garbage():
        run_quickly(_Fleet(config, route, scene, world, series).live(progress))
    return Simulated.of(scene, route, order, series, world.met)


def _route(config: Config, scene: Scene) -> Route:
    name = scene.route or (scene.request.model if scene.request is not None else next(iter(config.routes), None))
    if name is None:
        raise ConfigError("has no routes", file=config.file, hint="say which model to simulate: --route MODEL")
    route = config.route(name)
    if route is None:
        raise ConfigError(f"nobody knows {name!r}", file=config.file, hint=nearest(name, config.names()))
    return route


def _problems(script: Script, order: Sequence[str]) -> Iterator[Problem]:
    yield from script.strangers(order)
    for trouble in script.troubles:
        if not expressible(trouble.what):
            message = f"{trouble.what.kind} is about the bytes of an answer, which a simulation has not"
            yield Problem(message, script.file, trouble.line, hint="try it with router drill")


def _refuse(problems: Iterator[Problem] | Sequence[Problem]) -> None:
    if found := list(problems):
        raise together(found)


class _Fleet:
    """The routers, and the requests that come to them."""

    def __init__(self, config: Config, route: Route, scene: Scene, world: World, series: Series) -> None:
        self._config, self.scene, self._world, self.series = config, scene, world, series
        wanted = scene.request.model_copy(update={"model": route.name}) if scene.request is not None else route.name
        traffic = scene.assumptions.traffic
        self._asked, self.streaming = sample(wanted, traffic), traffic.stream
        self._chance = Random(f"{scene.seed}/requests")
        self._times = arrivals(scene.rate, scene.seconds, traffic, Random(f"{scene.seed}/arrivals"))
        self._under_way, self._all_came = 0, False

    async def live(self, progress: Callable[[float], None] | None) -> None:
        """Until the last request has ended."""
        scene, loop = self.scene, asyncio.get_running_loop()
        assert isinstance(loop, QuickLoop)  # noqa: S101  # `simulate` made it
        self.loop, self._over = loop, loop.create_future()
        self._routers = [self._router(place) for place in range(scene.routers)]
        self._progress, self._due = progress, scene.width
        self._await_next()
        await self._over
        for router in self._routers:
            await router.close()

    def _await_next(self) -> None:
        """The next request comes when it is time."""
        following = next(self._times, None)
        if following is not None:
            self.loop.at(following, self._come)
        else:
            self._all_came = True
            self._look()

    def _come(self) -> None:
        """A request comes, and the next one is awaited."""
        self._under_way += 1
        chance, routers = self._chance.random, self._routers
        asked = self._asked[int(chance() * len(self._asked))]
        _Request(self, routers[int(chance() * len(routers))], asked).comes()
        if self._progress is not None and (at := self.loop.clock) >= self._due:
            self._progress(at)
            self._due += self.scene.width
        self._await_next()

    def left(self) -> None:
        """A request is over."""
        self._under_way -= 1
        if self._all_came:
            self._look()

    def _look(self) -> None:
        if not self._under_way and not self._over.done():
            self._over.set_result(None)

    def _router(self, place: int) -> SimulatedRouter:
        rng = Random(f"{self.scene.seed}/router/{place}")
        repeats = self.scene.assumptions.traffic.repeats
        return SimulatedRouter(
            self._config,
            self._world,
            asked=self._asked,
            repeats=repeats,
            rng=rng,
            hear=self.series.hear,
            loop=self.loop,
        )


class _Request:
    """One request on its way. Told `comes`, and counted once when it is over."""

    __slots__ = ("_asked", "_began", "_exchange", "_first", "_fleet", "_router", "_run")

    def __init__(self, fleet: _Fleet, router: SimulatedRouter, asked: Asked) -> None:
        self._fleet, self._router, self._asked = fleet, router, asked
        self._began, self._first = fleet.loop.clock, -1.0  # until there was a first token

    def comes(self) -> None:
        """It goes as far as it goes without waiting."""
        fleet, router = self._fleet, self._router
        try:
            self._run = run = router.begin(self._asked, streaming=fleet.streaming)
        except RouterError as error:
            fleet.series.ended(self._began, type(error).__name__, (), first=None, duration=0.0)
            fleet.left()
            return
        delivery = router.at_once(run) if fleet.scene.shortcuts else None
        if delivery is None:
            way = router.through(self._asked, run, self._speaks if fleet.streaming else None)
            Walk(way, fleet.loop, self._over).start()
        elif fleet.streaming:
            self._await(delivery.opened.first, partial(self._first_token, delivery))
        else:
            self._await(delivery.opened.end, partial(self._end, delivery))

    def _await(self, moment: float, then: Callable[[], None]) -> None:
        """Have *then* called so many seconds after the call was sent, which was when the request came."""
        clock = self._fleet.loop.clock
        self._fleet.loop.at(clock + (moment - (clock - self._began)), then)

    def _first_token(self, delivery: AtOnce) -> None:
        delivery.speaks()
        self._speaks()
        self._await(delivery.opened.end, partial(self._end, delivery))

    def _end(self, delivery: AtOnce) -> None:
        self._router.well(self._run, delivery)
        self._over()

    def _speaks(self) -> None:
        """Something comes that whoever asked can see."""
        if self._first < 0.0:
            self._first = self._fleet.loop.clock - self._began

    def _over(self) -> None:
        fleet, run = self._fleet, self._run
        duration = fleet.loop.clock - self._began
        first = self._first if self._first >= 0.0 else None
        fleet.series.ended(self._began, self._router.outcome, run.attempts, first=first, duration=duration)
        fleet.left()


@contextmanager
def _little_garbage() -> Iterator[None]:
    """The collector looks seldom: what was there before is kept aside, and what comes dies by itself."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(GARBAGE, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
