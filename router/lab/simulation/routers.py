"""The router of a simulation: the real one, whose exchanges are simulated and whose log is silent.

Knows two ways for a request: the one that every request of every router goes, and for the usual one, whose first attempt
goes well, the same steps without anything that waits between them. Both call the same parts in the same order, so that a
simulation is the same to the byte; a test holds them to it. Refuses to decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from providers.errors import RouterError
from router.delivery import Delivery
from router.lab.simulation.clock import QuickLoop
from router.lab.simulation.exchange import SimulatedExchange
from router.lab.simulation.requests import Asked, Remembered
from router.lab.simulation.series import SUCCESS
from router.lab.simulation.world import World
from router.policy import Try
from router.router import Router

if TYPE_CHECKING:
    from providers.client import Exchange, Limits
    from providers.types import Attempt, Completion, Request
    from providers.wire import Call
    from router.config import Config, Deployment
    from router.decisions.trace import Trace
    from router.events import Event
    from router.run import Run


class AtOnce(Delivery):
    """An attempt that is sent when its request comes, and of which it is known what will be heard, and when.

    Told `goes`, it calls *over* with its run when the request is over; *first* is then when its first token came.
    """

    __slots__ = ("_loop", "_over", "first")

    _shell: SimulatedRouter

    def goes(self, loop: QuickLoop, over: Callable[[AtOnce], None]) -> None:
        """On its way, to its first token or its end."""
        self._loop, self._over = loop, over
        self.first: float | None = None  # seconds
        course = self.opened.course
        if self.call.streaming:
            loop.at(loop.clock + course.first, self._speaks)
        else:
            loop.at(loop.clock + course.end, self._ends)

    @property
    def run(self) -> Run:
        """The request's."""
        return self._run

    @property
    def opened(self) -> SimulatedExchange:
        """Its exchange."""
        exchange: Any = self._exchange  # the router's `exchange` makes no others
        return exchange  # type: ignore[no-any-return]  # see above

    def _speaks(self) -> None:
        """The first token of a stream has come."""
        self.speaks()
        loop = self._loop
        self.first = passed = loop.clock - self._run.began
        loop.at(loop.clock + (self.opened.course.end - passed), self._ends)

    def _ends(self) -> None:
        """The whole answer has come; one that is no stream says its first word with it."""
        usage = self.opened.ends()
        if not self.said_something:
            self.speaks()
        self.settle(usage)
        self.close()
        self._shell.well(self._run)
        self._over(self)


class SimulatedRouter(Router):
    """A router of a fleet. *hear* is told its events; how a request has ended its `outcome` says."""

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
        self._world, self._hear, self._loop = world, hear, loop
        self._asked = {id(one.request): one for one in asked}
        self._repeats, self._texts = repeats, 0
        self._setting = replace(self._setting, translate=Remembered(self._setting.translate, tuple(asked)))
        self._begun: dict[int, Delivery] = {}  # first attempts that have begun, by the run they are of
        self.outcome = ""

    # -- what is otherwise than in any other router

    def exchange(
        self, call: Call, target: Deployment, request: Request, *, secret: str | None, limits: Limits
    ) -> Exchange:
        asked, name, loop, streaming = self._asked[id(request)], target.name, self._loop, call.streaming
        course, accounts = self._world.asked(name, loop.clock, asked.prompt, asked.answer, streaming=streaming)
        if not self._repeats:
            self._texts += 1
        # It has all that an attempt asks of an `Exchange`.
        made: Any = SimulatedExchange(course, accounts, limits, loop, name, asked.prompt, self._texts, streaming)
        return made  # type: ignore[no-any-return]  # see above

    def prompt_tokens(self, request: Request) -> int:
        return self._asked[id(request)].prompt

    def emit(self, event: Event) -> None:
        self._hear(event)

    def _watch(self, trace: Trace | None) -> None:
        """Nobody listens to decisions."""

    def attempted(self, run: Run, attempt: Attempt) -> None:
        """Nobody wants to know: the end of a request tells of all its attempts."""

    def finished(self, run: Run, outcome: str, answer: Completion | None) -> None:
        self.outcome = outcome

    def delivery(self, run: Run, step: Try, call: Call | None = None) -> Delivery:
        return self._begun.pop(id(run), None) or super().delivery(run, step, call)

    # -- a request, from its coming to its end

    def begin(self, asked: Asked, *, streaming: bool) -> Run:
        """*asked* comes: its plan, and the first decision.

        Raises:
            RouterError: it ends there.
        """
        return self._run(asked.request, streaming=streaming)

    def at_once(self, run: Run) -> AtOnce | None:
        """The first attempt of *run*, where it is sent at once and goes well; else None, and `through` goes on with it."""
        step, policy = run.step, run.plan.policy
        if not isinstance(step, Try) or step.delay or policy.hedge is not None or policy.hold is not None:
            return None
        delivery = AtOnce(self, run, step)
        exchange: Any = delivery.open_now()
        if exchange is not None and exchange.goes_well(policy.deadline):
            return delivery
        self._begun[id(run)] = delivery
        return None

    def well(self, run: Run) -> None:
        """The answer to *run* is whole, and the request is over."""
        self._ended(run, SUCCESS)

    async def through(self, asked: Asked, run: Run, first: Callable[[], None] | None) -> None:
        """The whole way that every request goes; *first* is called with every piece of a stream, and None for none."""
        try:
            if first is None:
                await self._completed(run)
                return
            async for _ in self._streamed(asked.request, run=run):
                first()
        except RouterError:
            return  # which one it was `outcome` says
