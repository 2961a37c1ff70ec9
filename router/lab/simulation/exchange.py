"""What stands for `providers.client.Exchange`: chunks and failures at the times that a course has, under the policy's limits.

Knows the time limits of one exchange as `providers.client.Limits` means them. Refuses to know why a course is as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from providers import errors as e
from providers.types import Chunk, Usage
from router.lab.simulation.clock import pause

if TYPE_CHECKING:
    from providers.client import Limits
    from router.lab.simulation.course import Course
    from router.lab.simulation.world import Account

_OVER: list[Chunk] = []


class SimulatedExchange:
    """One call under way: `next()` until it is empty, and `close()` in any case.

    *text*: what it says; two answers are the same to the letter where their texts are.
    """

    __slots__ = ("_accounts", "_course", "_limits", "_loop", "_name", "_prompt", "_sent", "_state", "_streaming",
                 "_text", "_total", "reader", "request_id", "status")  # fmt: skip

    def __init__(
        self,
        course: Course,
        accounts: tuple[Account, ...],
        limits: Limits,
        *,
        name: str,
        prompt: int,
        text: str,
        streaming: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._course, self._accounts, self._limits, self._total = course, accounts, limits, limits.total
        self._name, self._prompt, self._text, self._streaming, self._loop = name, prompt, text, streaming, loop
        self._sent = loop.time()
        self._state = 0
        self.status: int | None = None
        self.request_id: str | None = None
        self.reader: object = None

    @property
    def clock(self) -> Callable[[], float]:
        """Virtual, as all time here."""
        return self._loop.time

    def extend(self, total: float) -> None:
        """Let the exchange take *total* seconds from its start."""
        self._total = total

    def close(self, *, whole: bool = False) -> None:
        """It is over, for the provider too. May be called again."""
        accounts, self._accounts = self._accounts, ()
        for account in accounts:
            account.left()

    async def next(self) -> list[Chunk]:
        """The next chunks; empty when the answer is over. May be canceled, and called again.

        Raises:
            ProviderError: as the course has it, or a time limit.
        """
        try:
            if self._state == 0:
                if self._course.headers > 0.0:  # those of a stream come at once
                    await self._headers()
                self.status = self._course.status
                found = await (self._first() if self._streaming else self._whole())
                self._state = 1 if self._streaming else 2
                return found
            if self._state == 1:
                found = await self._rest()
                self._state = 2
                return found
        except e.ProviderError as error:
            error.deployment = self._name
            self.close()
            raise
        self.close()
        return _OVER

    # -- the moments of an answer

    async def _headers(self) -> None:
        """Until the status has come, or the connection broke before."""
        course, limits = self._course, self._limits
        first = limits.first_token if self._streaming else None
        await self._until(min(course.headers, course.end), ("headers", limits.headers), ("first_token", first))
        if course.failure is not None and course.end <= course.headers:
            self.status = course.status
            raise course.failure()

    async def _first(self) -> list[Chunk]:
        """The first token of a stream, or what comes in its place."""
        course = self._course
        if course.tokens:
            await self._until(course.first, ("first_token", self._limits.first_token))
            return [Chunk(self._text)]
        await self._until(inf if course.stalls else course.end, ("first_token", self._limits.first_token))
        raise course.failure() if course.failure is not None else e.EmptyReply("simulated", status=200)

    async def _rest(self) -> list[Chunk]:
        """All the other tokens of a stream; a time limit where they stop coming, or come too slowly."""
        course, idle = self._course, self._limits.idle
        silent_from = course.end if course.stalls else course.first
        slow = course.stalls or (idle is not None and course.end - course.first > idle * course.tokens)
        stuck = silent_from + idle if idle is not None and slow else None
        await self._until(inf if course.stalls else course.end, ("idle", stuck))
        if course.failure is not None:
            raise course.failure()
        return [self._last(None)]  # the text has all come with the first token: what matters is when

    async def _whole(self) -> list[Chunk]:
        """An answer that was asked for whole, which has come with its status; or a part of it, and no more."""
        course, idle = self._course, self._limits.idle
        if course.stalls:
            await self._until(inf, ("idle", None if idle is None else course.end + idle))
        if course.failure is not None:
            raise course.failure()
        return [self._last(self._text)]

    def _last(self, text: str | None) -> Chunk:
        tokens = self._course.tokens
        return Chunk(content=text, finish_reason="stop", usage=Usage(self._prompt, tokens, self._prompt + tokens))

    async def _until(self, when: float, *limits: tuple[e.Phase, float | None]) -> None:
        """Wait until *when* seconds after the call was sent.

        Raises:
            ProviderTimeout: one of *limits*, or the time of the whole exchange, is over sooner.
        """
        phase, at = "answer", inf if self._total is None else self._total
        for name, limit in limits:
            if limit is not None and limit < at:
                phase, at = name, limit
        left = min(when, at) - (self._loop.time() - self._sent)
        if left > 0:
            if left == inf:
                await self._loop.create_future()  # nothing limits the wait, and nobody will answer
            await pause(left, self._loop)
        if when > at:
            message = f"nothing that says anything came for {self._loop.time() - self._sent:.3g} s"
            raise e.ProviderTimeout(message, phase=phase, status=self.status)
