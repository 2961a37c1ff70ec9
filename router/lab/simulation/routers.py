"""The router of a simulation: the real one, whose exchanges are simulated and whose log is silent.

Knows the way that every request of every router goes, and whether one takes the shorter way (`shortcut`). Refuses to
decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from providers.errors import RouterError
from router.lab.simulation.clock import QuickLoop
from router.lab.simulation.exchange import SimulatedExchange
from router.lab.simulation.requests import Asked, Remembered
from router.lab.simulation.series import Series
from router.lab.simulation.shortcut import Shortcuts
from router.lab.simulation.world import World
from router.router import Router

if TYPE_CHECKING:
    from providers.client import Exchange, Limits
    from providers.types import Attempt, Completion, Request
    from providers.wire import Call
    from router.config import Config, Deployment
    from router.decisions.trace import Trace
    from router.events import Event
    from router.run import Run


class SimulatedRouter(Router):
    """A router of a fleet. *series* is told its events; how a request has ended its `outcome` says.

    *over* is called when a request that went the shorter way has ended.
    """

    def __init__(
        self,
        config: Config,
        world: World,
        *,
        asked: Sequence[Asked],
        repeats: bool,
        rng: Random,
        series: Series,
        loop: QuickLoop,
        over: Callable[[], None],
    ) -> None:
        super().__init__(config, rng=rng, new_key=str)  # without hooks: of each request only the end is told
        self._world, self._series, self._loop = world, series, loop
        self._asked = {id(one.request): one for one in asked}
        self._repeats, self._texts = repeats, 0
        self._setting = replace(self._setting, translate=Remembered(self._setting.translate, tuple(asked)))
        self.shortcuts = Shortcuts(self.health, world, series, loop, over)
        self.outcome = ""

    # -- what is otherwise than in any other router

    def exchange(
        self, call: Call, target: Deployment, request: Request, *, secret: str | None, limits: Limits
    ) -> Exchange:
        asked, name, loop, streaming = self._asked[id(request)], target.name, self._loop, call.streaming
        sent, self.shortcuts.sent = self.shortcuts.sent, None
        course, accounts = sent or self._world.asked(name, loop.clock, asked.prompt, asked.answer, streaming=streaming)
        if not self._repeats:
            self._texts += 1
        # It has all that an attempt asks of an `Exchange`.
        made: Any = SimulatedExchange(course, accounts, limits, loop, name, asked.prompt, self._texts, streaming)
        return made  # type: ignore[no-any-return]  # see above

    def prompt_tokens(self, request: Request) -> int:
        return self._asked[id(request)].prompt

    def emit(self, event: Event) -> None:
        self._series.hear(event)

    def _watch(self, trace: Trace | None) -> None:
        """Nobody listens to decisions."""

    def attempted(self, run: Run, attempt: Attempt) -> None:
        """Nobody wants to know: the end of a request tells of all its attempts."""

    def finished(self, run: Run, outcome: str, answer: Completion | None) -> None:
        self.outcome = outcome

    # -- a request, from its coming to its end

    def begin(self, asked: Asked, *, streaming: bool) -> Run:
        """*asked* comes: its plan, and the first decision.

        Raises:
            RouterError: it ends there.
        """
        return self._run(asked.request, streaming=streaming)

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
