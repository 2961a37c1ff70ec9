"""An attempt that is awaited: for its place among others, and for what it brings.

Knows the order of waiting, and what the caller is to see of what has come. Refuses to know how an attempt is recorded
(`router.under_way`), and what is done next.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from providers.types import Chunk
from router import estimate
from router.errors import NoPlace, Resting
from router.events import Waiting
from router.run import LOOK
from router.under_way import UnderWay

if TYPE_CHECKING:
    from providers.client import Exchange
    from providers.types import Choice
    from router.limits import Account
    from router.slots import Slots


class Delivery(UnderWay):
    """One attempt: an exchange with what came of it so far."""

    __slots__ = ()

    async def more(self) -> bool:
        """Read on; False when there was nothing more to read. Once `over` is true nothing more will come."""
        if self.over:
            return False
        exchange = self._exchange or self.open_now() or await self._wait_and_open()
        chunks = await exchange.next()
        self.took(chunks)
        return bool(chunks)

    async def _wait_and_open(self) -> Exchange:
        """Wait for the limits of account and deployment, in the order of coming, then open the exchange.

        Raises:
            NoPlace: they leave none within the time of this attempt. Nothing was sent.
        """
        target, known = self._candidate.target, self._ticket.known
        for slots in known.places(target):
            if not slots.take():
                await self._queue(slots)
            self._slots = (*self._slots, slots)
        for minute in known.minutes(target):
            await self._wait_for_place(minute)
        return self._open()

    @property
    def _left(self) -> float:
        """Seconds that the attempt may still take: what it has waited for a place is gone."""
        return self._step.limit - (self._run.elapsed - self._began)

    async def _queue(self, slots: Slots) -> None:
        """Wait until fewer calls are under way than the account or the deployment carries."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not turn.done():  # it may have been canceled just now: then `leave` gives the slot back
                turn.set_result(None)

        expected = slots.wait()
        waiter = slots.join(wake) if expected + slots.held < self._left else None  # the call takes its time too
        if waiter is None:
            raise self._no_place(max(expected, 1.0))
        self._waits(
            None, "as many calls are under way as the limit of concurrency, or what refusals have taught, allows"
        )
        try:
            await self._turn(turn, slots)
        except TimeoutError:
            slots.leave(waiter)
            raise self._no_place(max(slots.wait(), 1.0)) from None
        except BaseException:
            slots.leave(waiter)  # also where its turn has just come
            raise

    async def _turn(self, turn: asyncio.Future[None], slots: Slots) -> None:
        """Wait for *turn*.

        Raises:
            TimeoutError: it has not come within the time of this attempt.
            Resting: somebody else can be asked sooner.
        """
        until = self._run.now + self._left
        while not turn.done():
            left = until - self._run.now
            if left <= 0:
                raise TimeoutError
            await asyncio.wait((turn,), timeout=min(left, LOOK))
            if not turn.done():
                self._look_up(slots.wait())

    def _look_up(self, left: float) -> None:
        """Look whether somebody else can be asked, while there are *left* seconds to wait.

        Raises:
            Resting: he can. That is no attempt; it only leads to the next decision.
        """
        if self._run.could_be_sooner(self._candidate, left):
            message = "somebody else can be asked sooner"
            raise Resting(message, deployment=self.deployment)

    async def _wait_for_place(self, account: Account) -> None:
        """Wait until a minute, the account's or the deployment's own, has a place."""
        now = self._run.now
        place = account.reserve(now, self._prompt_tokens())
        self._places = (*self._places, (account, place))
        wait = place.at - now
        if wait <= 0:
            return
        if wait >= self._left:
            self._give_places_back()
            raise self._no_place(wait)
        self._waits(wait, "the requests or tokens per minute that it may have are used up")
        try:
            while (left := place.at - self._run.now) > 0:
                await asyncio.sleep(min(left, LOOK))
                self._look_up(place.at - self._run.now)
        except BaseException:
            self._give_places_back()
            raise

    def _give_places_back(self) -> None:
        """Nothing was sent: others may have them."""
        places, self._places = self._places, ()
        for account, place in reversed(places):
            account.give_back(place)

    def _waits(self, seconds: float | None, why: str) -> None:
        run = self._run
        self._shell.emit(Waiting(run.key, run.plan.route, self.deployment, seconds, why))

    def _no_place(self, wait: float) -> NoPlace:
        message = "the limits of the account, or of the deployment, leave no place within the time of this attempt"
        return NoPlace(message, status=NoPlace.usual, retry_after=wait, deployment=self.deployment)

    # -- what the caller is to see

    def take(self) -> list[Chunk]:
        """What has come since the last time and says something.

        Finish reasons, usage and cost are kept for `last`, so that they come once, and last, from every provider.
        """
        chunks, self.pending = self.pending, []
        return [
            chunk if chunk.finish_reason is None and chunk.usage is None else _only_text(chunk)
            for chunk in chunks
            if chunk.content or chunk.reasoning_content or chunk.tool_calls or chunk.logprobs is not None
        ]

    def last(self) -> list[Chunk]:
        """The end of every choice; the very last chunk carries the whole answer."""
        answer = self.finish()
        ends = [_end(choice) for choice in (*answer.choices[1:], *answer.choices[:1])]
        ends[-1].usage, ends[-1].cost, ends[-1].completion = answer.usage, answer.cost, answer
        return ends

    def has_visible(self, *, reasoning: bool) -> bool:
        """Whether something has come that the caller can see; reasoning counts where he wants to see it."""
        if not self.said_something:
            return False
        return reasoning or any(chunk.content or chunk.tool_calls for chunk in self.pending)

    @property
    def pending_tokens(self) -> int:
        """About how many tokens are held."""
        return sum(
            estimate.text_tokens((chunk.content or "") + (chunk.reasoning_content or "")) for chunk in self.pending
        )


def _end(choice: Choice) -> Chunk:
    return Chunk(finish_reason=choice.finish_reason, raw_finish_reason=choice.raw_finish_reason, index=choice.index)


def _only_text(chunk: Chunk) -> Chunk:
    return Chunk(chunk.content, chunk.reasoning_content, chunk.tool_calls, index=chunk.index, logprobs=chunk.logprobs)
