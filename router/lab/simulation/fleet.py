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
from random import Random
from typing import TYPE_CHECKING

from providers.errors import ConfigError, RouterError, nearest
from router.lab.simulation.assumptions import Assumptions
from router.lab.simulation.clock import QuickLoop, Walk, run_quickly
from router.lab.simulation.course import expressible
from router.lab.simulation.facts import Simulated
from router.lab.simulation.requests import Asked, arrivals, sample
from router.lab.simulation.routers import SimulatedRouter
from router.lab.simulation.series import Series
from router.lab.simulation.world import World
from router.problems import Problem, together

if TYPE_CHECKING:
    from providers.types import Attempt, Request
    from router.config import Config, Route
    from router.lab.script import Script
    from router.run import Run

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
        self._config, self._scene, self._world, self._series = config, scene, world, series
        self._shortcuts = scene.shortcuts
        wanted = scene.request.model_copy(update={"model": route.name}) if scene.request is not None else route.name
        traffic = scene.assumptions.traffic
        self._asked, self.streaming = sample(wanted, traffic), traffic.stream
        self._chance = Random(f"{scene.seed}/requests")
        self._times = arrivals(scene.rate, scene.seconds, traffic, Random(f"{scene.seed}/arrivals"))
        self._under_way, self._all_came = 0, False

    async def live(self, progress: Callable[[float], None] | None) -> None:
        """Until the last request has ended."""
        scene, loop = self._scene, asyncio.get_running_loop()
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
        """A request comes and goes as far as it goes without waiting; and the next one is awaited."""
        self._under_way += 1
        chance, routers, loop = self._chance.random, self._routers, self.loop
        asked = self._asked[int(chance() * len(self._asked))]
        router = routers[int(chance() * len(routers))]
        try:
            run = router.begin(asked, streaming=self.streaming)
        except RouterError as error:
            self.over(loop.clock, type(error).__name__, ())
        else:
            if not (self._shortcuts and router.shortcuts.taken(run, asked, streaming=self.streaming)):
                _Request(self, router, run).goes(asked)
        if self._progress is not None and loop.clock >= self._due:
            self._progress(loop.clock)
            self._due += self._scene.width
        self._await_next()

    def over(self, began: float, outcome: str, attempts: Sequence[Attempt], *, first: float | None = None) -> None:
        """A request that came at *began* is over."""
        self._series.ended(began, outcome, attempts, first=first, duration=self.loop.clock - began)
        self._left()

    def _left(self) -> None:
        """A request is over, and counted."""
        self._under_way -= 1
        if self._all_came:
            self._look()

    def _look(self) -> None:
        if not self._under_way and not self._over.done():
            self._over.set_result(None)

    def _router(self, place: int) -> SimulatedRouter:
        rng = Random(f"{self._scene.seed}/router/{place}")
        repeats = self._scene.assumptions.traffic.repeats
        return SimulatedRouter(
            self._config,
            self._world,
            asked=self._asked,
            repeats=repeats,
            rng=rng,
            series=self._series,
            loop=self.loop,
            over=self._left,
        )


class _Request:
    """A request on the whole way that every request goes, and when its first token came."""

    __slots__ = ("_first", "_fleet", "_router", "_run")

    def __init__(self, fleet: _Fleet, router: SimulatedRouter, run: Run) -> None:
        self._fleet, self._router, self._run = fleet, router, run
        self._first: float | None = None

    def goes(self, asked: Asked) -> None:
        """On its way, to its end."""
        way = self._router.through(asked, self._run, self._speaks if self._fleet.streaming else None)
        Walk(way, self._fleet.loop, self._over).start()

    def _speaks(self) -> None:
        """Something comes that whoever asked can see."""
        if self._first is None:
            self._first = self._fleet.loop.clock - self._run.began

    def _over(self) -> None:
        self._fleet.over(self._run.began, self._router.outcome, self._run.attempts, first=self._first)


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
