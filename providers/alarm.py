"""Time limits for the waits of one exchange, with one timer: nearly every wait ends long before its limit.

Knows when a wait is over, and that what has arrived by then comes first. Refuses to know what is waited for. Means what
`asyncio.timeout_at` means, for a fraction of what it costs: a stream waits for every one of its events.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Alarm:
    """`with alarm.until(at): await …` raises TimeoutError when the loop's clock has passed *at*; None: it never does.

    One wait at a time, each in whatever task it is. The timer is left to ring when a wait ends sooner, and is then set for
    the wait that is under way, if there is one: a thousand quick waits set few timers. `stop()` when there are no more.

    Code that blocks the loop makes every timer late, and then they fire all together: an answer that lies there readable
    is read before anybody gives it up, and who waits inside with a limit of his own speaks first, for he knows better what
    he waited for. So the time is over two turns of the loop after the timer has rung.
    """

    __slots__ = ("_at", "_cancellations", "_giving_up", "_loop", "_over", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at: float | None = None
        self._task: asyncio.Task[object] | None = None  # whose wait it is; None between two waits
        self._timer: asyncio.TimerHandle | None = None
        self._giving_up: asyncio.Handle | None = None
        self._over = False
        self._cancellations = 0  # of the task, before it waited

    def until(self, at: float | None) -> Self:
        """The next wait is over at *at*."""
        self._at = at
        return self

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        if task is None:
            message = "a wait with a limit belongs to a task"
            raise RuntimeError(message)
        self._task, self._over, self._cancellations = task, False, task.cancelling()
        at, timer = self._at, self._timer
        if at is not None and (timer is None or at < timer.when()):
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(at, self._rings)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if not self._over or task is None:
            return
        # A cancellation from elsewhere, before or beside ours, stays what it is: see `asyncio.Task.uncancel`.
        if task.uncancel() <= self._cancellations and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def stop(self) -> None:
        """There will be no other wait."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _rings(self) -> None:
        timer, self._timer = self._timer, None
        if self._task is None or self._at is None or timer is None:
            return
        if self._at <= timer.when():
            self._giving_up = self._loop.call_soon(self._wait_a_turn)
        else:
            self._timer = self._loop.call_at(self._at, self._rings)

    def _wait_a_turn(self) -> None:
        self._giving_up = self._loop.call_soon(self._give_up)

    def _give_up(self) -> None:
        self._giving_up = None
        if self._task is not None:
            self._over = True
            self._task.cancel()
