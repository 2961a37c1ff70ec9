"""Routers on virtual time, sending into one world: the simulation itself.

Knows how a request comes, goes through the real `Router.stream` or `Router.complete`, and is counted. Refuses to know
what is done with the numbers, and every decision: those are the routers' own.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from providers.errors import ConfigError, RouterError, nearest
from router.lab.simulation.assumptions import Assumptions
from router.lab.simulation.clock import QuickLoop, Walk, run_quickly
from router.lab.simulation.course import expressible
from router.lab.simulation.exchange import SimulatedExchange
from router.lab.simulation.facts import Simulated
from router.lab.simulation.requests import Asked, Remembered, arrivals, sample
from router.lab.simulation.series import Series
from router.lab.simulation.world import World
from router.problems import Problem, together
from router.router import Router, end_of

if TYPE_CHECKING:
    from providers.client import Exchange, Limits
    from providers.types import Attempt, Completion, Request
    from providers.wire import Call
    from router.config import Config, Deployment, Route
    from router.events import Event
    from router.lab.script import Script
    from router.run import Run

BUCKETS = 120  # at most, over the whole time
WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)  # seconds of a bucket
GARBAGE = 100_000  # objects between two collections: nearly all of a request dies when it ends


@dataclass(frozen=True, slots=True)
class Scene:
    """What is simulated: *rate* requests a second for so many *seconds*, at *routers* of one configuration.

    *route*: a route, model or deployment; None: the first route of the file. *request*: what is asked, in place of a plain
    question. *faults*: scripts, the first one with a fault for a call counts.
    """

    rate: float = 10.0
    seconds: float = 600.0
    routers: int = 1
    seed: int = 0
    route: str | None = None
    request: Request | None = None
    faults: Sequence[Script] = ()
    assumptions: Assumptions = field(default_factory=Assumptions)

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


class SimulatedRouter(Router):
    """A router whose exchanges are simulated, and whose log is silent. All else is the router's own."""

    def __init__(
        self,
        config: Config,
        world: World,
        *,
        asked: Sequence[Asked],
        repeats: bool,
        rng: Random,
        hear: Callable[[Event], None],
        loop: QuickLoop,
    ) -> None:
        super().__init__(config, rng=rng, new_key=str)  # without hooks: of each request only the end is told
        self._world, self._hear = world, hear
        self._asked = {id(one.request): one for one in asked}
        self._repeats, self._texts = repeats, 0
        self._virtual = loop
        translate = Remembered(self._setting.translate, tuple(asked))
        self._setting = replace(self._setting, translate=translate, now=self._virtual.time)

    def exchange(
        self, call: Call, target: Deployment, request: Request, *, secret: str | None, limits: Limits
    ) -> Exchange:
        asked, name = self._asked[id(request)], target.name
        course, accounts = self._world.asked(
            name, self._virtual.clock, asked.prompt, asked.answer, streaming=call.streaming
        )
        if not self._repeats:
            self._texts += 1
        made: Any = SimulatedExchange(  # has all that an attempt asks of an `Exchange`
            course,
            accounts,
            limits,
            name=name,
            prompt=asked.prompt,
            text=f"{self._texts} ",
            streaming=call.streaming,
            loop=self._virtual,
        )
        return made  # type: ignore[no-any-return]  # see above

    def prompt_tokens(self, request: Request) -> int:
        return self._asked[id(request)].prompt

    def emit(self, event: Event) -> None:
        self._hear(event)

    def attempted(self, run: Run, attempt: Attempt) -> None:
        """Nobody wants to know: the end of a request tells of all its attempts."""

    def finished(self, run: Run, outcome: str, answer: Completion | None) -> None:
        self._hear(end_of(run, outcome, answer))


class _Fleet:
    """The routers, and the requests that come to them."""

    def __init__(self, config: Config, route: Route, scene: Scene, world: World, series: Series) -> None:
        self._config, self._scene, self._world, self._series = config, scene, world, series
        wanted = scene.request.model_copy(update={"model": route.name}) if scene.request is not None else route.name
        traffic = scene.assumptions.traffic
        self._asked, self._stream = sample(wanted, traffic), traffic.stream
        self._chance = Random(f"{scene.seed}/requests")
        self._times = arrivals(scene.rate, scene.seconds, traffic, Random(f"{scene.seed}/arrivals"))
        self._under_way, self._all_came = 0, False

    async def live(self, progress: Callable[[float], None] | None) -> None:
        """Until the last request has ended."""
        scene, loop = self._scene, asyncio.get_running_loop()
        assert isinstance(loop, QuickLoop)  # noqa: S101  # `simulate` made it
        self._loop, self._over = loop, loop.create_future()
        self._routers = [self._router(place) for place in range(scene.routers)]
        self._progress, self._due = progress, scene.width
        self._come(None)
        await self._over
        for router in self._routers:
            await router.close()

    def _come(self, at: float | None) -> None:
        """The request that comes at *at* comes, and the next one is awaited."""
        if at is not None:
            self._under_way += 1
            chance = self._chance.random
            asked = self._asked[int(chance() * len(self._asked))]
            router = self._routers[int(chance() * len(self._routers))]
            Walk(self._ask(router, asked), self._loop, self._ended).start()
            if self._progress is not None and at >= self._due:
                self._progress(at)
                self._due += self._scene.width
        following = next(self._times, None)
        if following is not None:
            self._loop.at(following, partial(self._come, following))
        else:
            self._all_came = True
            self._look()

    def _ended(self) -> None:
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
            hear=self._series.hear,
            loop=self._loop,
        )

    async def _ask(self, router: Router, asked: Asked) -> None:
        loop, first = self._loop, None
        began = loop.clock
        try:
            if self._stream:
                async for _ in router.stream(asked.request):
                    if first is None:
                        first = loop.clock - began
            else:
                await router.complete(asked.request)
        except RouterError:
            pass  # which one it was the event has told
        self._series.ended(began, first)


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
