"""Virtual time for many requests: the loop of `router.lab.virtual`, without what a real event loop needs.

Knows a heap of timers, a queue of what is ready, and `Walk`: a task that costs little as long as it only waits for time
to pass (`pause`). 200 requests a second for an hour are two million waits. Whatever else a coroutine awaits (a semaphore,
a future, a task of its own) works as in asyncio. Refuses signals, threads and debug mode.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from heapq import heappop, heappush
from types import coroutine
from typing import Any, TypeVar

from router.lab.virtual import Standstill, VirtualLoop

T = TypeVar("T")
enter, leave = asyncio._enter_task, asyncio._leave_task  # noqa: SLF001  # documented under "Extending asyncio"


class Handle:
    """What stands for `asyncio.Handle`: it can be canceled."""

    __slots__ = ("_arguments", "_callback", "_context")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...], context: Context | None) -> None:
        self._callback: Callable[..., object] | None = callback
        self._arguments, self._context = arguments, context

    def cancel(self) -> None:
        """It will not be called."""
        self._callback, self._arguments = None, ()

    def cancelled(self) -> bool:
        return self._callback is None

    def __call__(self) -> None:
        if self._callback is None:
            return
        if self._context is None:
            self._callback(*self._arguments)
        else:
            self._context.run(self._callback, *self._arguments)


class QuickLoop(VirtualLoop):
    """A `VirtualLoop` whose timers cost a fraction; what is ready runs in the order in which it became so."""

    def __init__(self, clock: float = 0.0) -> None:
        super().__init__(clock)
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._soon: deque[Handle] = deque()
        self._made = 0
        self.walk: Walk | None = None  # the one that goes just now

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]  # a Handle of ours
        handle = Handle(callback, args, context)
        self._soon.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self.clock + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        handle = Handle(callback, args, context)
        self.at(when, handle)
        return handle

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Have *call* called at *when*; there is no way to cancel it."""
        self._made += 1
        heappush(self._timers, (when, self._made, call))

    def _run_once(self) -> None:
        """All that is ready; where nothing is, the next timers until something is: then the base loop looks up."""
        soon, timers = self._soon, self._timers
        if soon:
            while soon:
                soon.popleft()()
            return
        while not soon:
            if not timers:
                message = "everybody waits for something that nobody will do, and no timer is set"
                raise Standstill(message)
            when, _, call = heappop(timers)
            if when > self.clock:  # noqa: PLR1730  # a comparison, not `max`: there are millions of timers
                self.clock = when
            call()


@coroutine
def pause(seconds: float, loop: asyncio.AbstractEventLoop) -> Generator[Any, None, None]:
    """Let *seconds* of virtual time pass on *loop*."""
    if isinstance(loop, QuickLoop) and loop.walk is not None:
        yield seconds
    else:
        yield from asyncio.sleep(seconds).__await__()


class Walk:
    """A coroutine on its way through virtual time. As much of a task as `asyncio.timeout` asks for."""

    __slots__ = ("_cancels", "_coroutine", "_loop", "_over", "_pause", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None], loop: QuickLoop, over: Callable[[], None]) -> None:
        self._coroutine, self._loop, self._over = coroutine, loop, over
        self._waits_for: asyncio.Future[Any] | None = None
        self._cancels = 0
        self._pause = 0  # counts the pauses: the timer of one that was canceled says nothing

    def start(self) -> None:
        """Go as far as it goes without waiting."""
        self._go(None)

    def _go(self, error: BaseException | None) -> None:
        loop = self._loop
        task: Any = self  # as asyncio wants to be told of a task that is not its own ("Task lifetime support")
        enter(loop, task)
        loop.walk = self
        try:
            found = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except StopIteration:
            self._over()
            return
        finally:
            loop.walk = None
            leave(loop, task)
        if found.__class__ is float:
            self._pause = pause = self._pause + 1
            loop.at(loop.clock + found, partial(self._passed, pause))
        elif found is None:
            loop.call_soon(self._go, None)  # asyncio.sleep(0)
        else:
            found._asyncio_future_blocking = False  # noqa: SLF001  # whoever takes a future that is yielded says so
            self._waits_for = found
            found.add_done_callback(self._wake)

    def _passed(self, pause: int) -> None:
        if pause == self._pause:
            self._go(None)

    def _wake(self, _: asyncio.Future[Any]) -> None:
        self._waits_for = None
        self._go(None)  # what the future holds, the coroutine asks it for

    # -- what asyncio.timeout asks of a task

    def cancel(self, msg: object = None) -> bool:
        """Have what it waits for canceled."""
        self._cancels += 1
        if self._waits_for is not None:
            return self._waits_for.cancel()
        self._pause += 1  # its timer says nothing any more
        self._loop.call_soon(self._go, asyncio.CancelledError())
        return True

    def cancelling(self) -> int:
        return self._cancels

    def uncancel(self) -> int:
        self._cancels = max(self._cancels - 1, 0)
        return self._cancels


def run_quickly(main: Coroutine[Any, Any, T]) -> T:
    """What *main* returns, run to its end in virtual time, which begins at 0.

    Raises:
        Standstill: nothing can happen any more.
    """
    with asyncio.Runner(loop_factory=QuickLoop, debug=False) as runner:
        return runner.run(_without_hooks(main))


async def _without_hooks(main: Coroutine[Any, Any, T]) -> T:
    """*main*, while nobody keeps a list of the generators under way: each here is read to its end."""
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return await main
    finally:
        sys.set_asyncgen_hooks(*before)
