"""One attempt: an exchange, what came of it so far, and its record.

Knows how an attempt is recorded and paid, exactly once, however it ends: as a success, as a failure, or as canceled.
Refuses to know what is done next.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from providers.client import Limits
from providers.errors import RateLimited
from providers.quick import quick
from providers.retry_after import nothing_left
from providers.types import Attempt, Change, Choice, Chunk, Completion, Cost, Folder, Request, Usage
from router import estimate
from router.errors import NoPlace
from router.events import CircuitChanged, CoolingDown, Event, KeySetAside, Waiting

if TYPE_CHECKING:
    from providers.client import Exchange
    from providers.errors import ProviderError
    from providers.wire import Call, Reader
    from router.circuit import State
    from router.config import Deployment
    from router.health import Health
    from router.limits import Account, Place
    from router.policy import Try
    from router.run import Run
    from router.slots import Slots

_attempt, _whole, _limits = quick(Attempt), quick(Completion), quick(Limits)
STREAM_HEADERS = 30.0  # seconds to the headers of a stream, where the policy names none (reliability.md, 1.10)


class Shell(Protocol):
    """What an attempt needs of the router around it."""

    health: Health

    def exchange(
        self, call: Call, target: Deployment, request: Request, *, secret: str | None, limits: Limits
    ) -> Exchange:
        """The exchange that sends *call*, in which *target* is told *request*, with the key *secret*."""
        ...

    def emit(self, event: Event) -> None:
        """Tell the hooks."""
        ...

    def attempted(self, run: Run, attempt: Attempt) -> None:
        """Tell them that *attempt*, the last one of *run*, is over."""
        ...

    def learn(self, error: ProviderError, call: Call) -> None:
        """Note what a refusal says of the deployment."""
        ...


class Delivery:
    """One attempt: an exchange with what came of it so far. Recorded exactly once, however it ends."""

    __slots__ = ("_attempt", "_began", "_candidate", "_chosen", "_exchange", "_folder", "_opened", "_places", "_run",
                 "_sent", "_shell", "_slots", "_step", "_ticket", "answer", "call", "outcome", "over", "pending", "ready",
                 "said_something")  # fmt: skip

    def __init__(self, shell: Shell, run: Run, step: Try, call: Call | None = None) -> None:
        self._shell, self._run, self._step = shell, run, step
        self._candidate = candidate = run.candidate(step)
        self.call = call or run.call(candidate)
        self._chosen = run.chosen(step)
        now = run.now
        self._began = self._opened = now - run.began  # the exchange may be opened later: a place was waited for
        policy = run.plan.policy
        self._ticket = ticket = shell.health.began(candidate.target, now, limit=step.limit, circuit=policy.circuit)
        if ticket.moved is not None:
            self._tell(ticket.moved, "a probe goes out")
        self._places: list[tuple[Account, Place]] = []
        self._slots: list[Slots] = []
        self._sent: float | None = None  # when it left; None before that
        self._exchange: Exchange | None = None
        self._folder = Folder()
        self.pending: list[Chunk] = []
        self._attempt: Attempt | None = None  # its record, once it is over
        self.said_something = False
        self.ready = False  # set by whoever takes the answer over from another attempt
        self.over = False
        self.outcome = "canceled"
        self.answer: Completion | None = None

    async def more(self) -> bool:
        """Read on; False when there was nothing more to read. Once `over` is true nothing more will come."""
        if self.over:
            return False
        exchange = self._exchange or await self._start()
        chunks = await exchange.next()
        if not chunks:
            self.over = True
            return False
        folder = self._folder
        for chunk in chunks:
            folder.add(chunk)
            if not self.said_something and chunk.says_something:
                self._speaks(exchange)
        self.pending += chunks
        self.over = exchange.over
        return True

    def _speaks(self, exchange: Exchange) -> None:
        """The first word has come."""
        self.said_something = True
        run, policy, health = self._run, self._run.plan.policy, self._shell.health
        now = run.now
        exchange.extend(policy.deadline - self._opened)
        health.spoke(self._ticket, now, nothing_left(exchange.headers))
        if policy.hedge is not None:
            silent = now - run.began - self._began
            health.hedges.observed(self.deployment, silent, streaming=self.call.streaming)

    async def _start(self) -> Exchange:
        """Wait for the limits of account and deployment, in the order of coming, then open the exchange.

        Raises:
            NoPlace: they leave none within the time of this attempt. Nothing was sent.
        """
        target, run, call, ticket = self._candidate.target, self._run, self.call, self._ticket
        health = self._shell.health
        for slots in ticket.known.places(target):
            if not slots.take():
                await self._queue(slots)
            self._slots.append(slots)
        for account in ticket.known.minutes(target):
            await self._wait_for_place(account)
        times, key = run.plan.policy.timeouts, ticket.key
        headers = times.headers
        if headers is None and call.streaming:
            headers = STREAM_HEADERS
        now = self._sent = run.now
        health.sent(ticket, now, streaming=call.streaming)
        waited = now - ticket.began
        self._opened = self._began + waited
        exchange = self._exchange = self._shell.exchange(
            call,
            target,
            run.plan.request,
            secret=key.secret.reveal() if key is not None else None,
            limits=_limits(times.connect, headers, times.first_token, times.idle, self._step.limit - waited),
        )
        return exchange

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
            async with asyncio.timeout(self._left):
                await turn
        except TimeoutError:
            slots.leave(waiter)
            raise self._no_place(max(slots.wait(), 1.0)) from None
        except BaseException:
            slots.leave(waiter)  # also where its turn has just come
            raise

    async def _wait_for_place(self, account: Account) -> None:
        """Wait until a minute, the account's or the deployment's own, has a place."""
        now = self._run.now
        place = account.reserve(now, estimate.prompt_tokens(self._run.plan.request))
        self._places.append((account, place))
        wait = place.at - now
        if wait <= 0:
            return
        if wait >= self._left:
            self._give_places_back()
            raise self._no_place(wait)
        self._waits(wait, "the requests or tokens per minute that it may have are used up")
        try:
            await asyncio.sleep(wait)
        except BaseException:
            self._give_places_back()
            raise

    def _give_places_back(self) -> None:
        """Nothing was sent: others may have them."""
        while self._places:
            account, place = self._places.pop()
            account.give_back(place)

    def _waits(self, seconds: float | None, why: str) -> None:
        run = self._run
        self._shell.emit(Waiting(run.key, run.plan.route, self._candidate.deployment, seconds, why))

    def _no_place(self, wait: float) -> NoPlace:
        message = "the limits of the account, or of the deployment, leave no place within the time of this attempt"
        return NoPlace(message, status=NoPlace.usual, retry_after=wait, deployment=self._candidate.deployment)

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
        ends = [
            Chunk(finish_reason=choice.finish_reason, raw_finish_reason=choice.raw_finish_reason, index=choice.index)
            for choice in (*answer.choices[1:], answer.choices[0])
        ]
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

    @property
    def deployment(self) -> str:
        return self._candidate.deployment

    def partial(self) -> Completion:
        """What had come when it broke, with what all attempts have cost."""
        choices = self._folder.choices()
        return self._completion(choices, self._usage(choices))

    # -- records: exactly one of these, once

    def finish(self) -> Completion:
        """The answer is whole: recorded as a success."""
        choices, run = self._folder.choices(), self._run
        usage = self._usage(choices)
        if usage.total_tokens is not None:
            for account, place in self._places:
                account.used(place, usage.total_tokens)  # reserved were an estimate
        state = self._shell.health.succeeded(self._ticket, run.now, usage.completion_tokens)
        run.plan.remember(self._candidate, usage)
        if state is not None:
            self._tell(state, "it answered")
        self._record("success", cost=self._cost(usage), usage=usage, status=self._status)
        answer = self.answer = self._completion(choices, usage)
        return answer

    def failed(self, error: ProviderError) -> None:
        """The attempt has failed."""
        self._shell.learn(error, self.call)
        health, now = self._shell.health, self._run.now
        if self._sent is None:
            health.canceled(self._ticket)  # nobody has said anything of anybody
        elif health.key_failed(self._ticket, error, now) and self._ticket.key is not None:
            self._shell.emit(KeySetAside(self._ticket.provider, self._ticket.key.label, str(error)))
        if self._sent is not None:
            self._tell(health.failed(self._ticket, error, now), str(error))
            if isinstance(error, RateLimited) or error.retry_after is not None:
                self._tell_rest(health.resting(self._ticket, now), error)
        if self._status == 200 and error.billed is False:
            self._run.task_ended(self._candidate.deployment)
        usage = self._usage() if self.said_something or self._folder.usage is not None else None
        self._record(type(error).__name__, error=error, cost=self._wasted(error, usage), usage=usage,
                     status=error.status)  # fmt: skip

    def canceled(self) -> None:
        """The caller does not want it any more: recorded, with what it may have cost, and no failure of anybody."""
        usage = self._usage() if self.said_something else Usage(estimate.prompt_tokens(self._run.plan.request), 0)
        self._shell.health.canceled(self._ticket)
        self._record("canceled", cost=self._cost(usage), usage=usage, status=self._status)

    def _tell(self, state: State | None, why: str) -> None:
        if state is not None:
            self._shell.emit(CircuitChanged(self._candidate.deployment, state, why))

    def _tell_rest(self, seconds: float, error: ProviderError) -> None:
        if seconds > 0:
            label = self._ticket.key.label if self._ticket.key is not None else None
            self._shell.emit(CoolingDown(self._candidate.deployment, label, seconds, str(error)))

    def close(self) -> None:
        """Give back what the attempt holds. A stream that is left early is recorded as canceled."""
        if self._exchange is not None:
            self._exchange.close()
        if self._attempt is None:
            self.canceled()

    def _record(
        self,
        outcome: str,
        *,
        cost: Cost,
        usage: Usage | None,
        status: int | None,
        error: ProviderError | None = None,
    ) -> None:
        self.outcome = outcome
        run, key = self._run, self._ticket.key
        now = run.now
        held = None if self._sent is None else now - self._sent
        while self._slots:
            self._slots.pop().give_back(held)
        attempt = self._attempt = _attempt(
            deployment=self._candidate.deployment,
            outcome=outcome,
            status=status,
            duration=now - run.began - self._began,
            started=self._began,
            cost=cost,
            why=str(error) if error is not None else "",
            delay=self._step.delay,
            changes=self.changes,
            usage=usage,
            request_id=self._request_id,
            credential=key.label if key is not None else None,
            chosen=self._chosen,
            error=error,
        )
        run.attempts.append(attempt)
        self._shell.attempted(run, attempt)

    # -- what is known of the answer

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was sent otherwise than asked, and what the answer shows to have been otherwise than sent."""
        seen: list[Change] | None = getattr(self._reader, "changes", None)
        return (*self.call.changes, *seen) if seen else self.call.changes

    @property
    def _reader(self) -> Reader | None:
        return self._exchange.reader if self._exchange is not None else None

    @property
    def _status(self) -> int | None:
        return self._exchange.status if self._exchange is not None else None

    @property
    def _request_id(self) -> str | None:
        return self._exchange.request_id if self._exchange is not None else None

    def _usage(self, choices: tuple[Choice, ...] | None = None) -> Usage:
        folder = self._folder
        if choices is None:
            choices = folder.choices()
        return estimate.usage_or_estimate(folder.usage or Usage(), self._run.plan.request, choices)

    def _cost(self, usage: Usage) -> Cost:
        return self._folder.cost or estimate.price_of(usage, self._candidate.target.price)

    def _wasted(self, error: ProviderError, usage: Usage | None) -> Cost:
        """What a failed attempt cost: nothing where it was refused, an estimate where it was accepted."""
        if error.billed is False and usage is None:
            return Cost(0.0, "estimated")
        return self._cost(usage or Usage(estimate.prompt_tokens(self._run.plan.request), 0))

    def _completion(self, choices: tuple[Choice, ...], usage: Usage) -> Completion:
        reader, attempts = self._reader, tuple(self._run.attempts)
        return _whole(
            choices,
            usage,
            estimate.sum_costs([attempt.cost for attempt in attempts]),
            id=getattr(reader, "id", "") or f"chatcmpl-{self._run.key}",
            model=getattr(reader, "model", "") or self.call.endpoint.wire_model,
            created=int(self._exchange.clock() if self._exchange is not None else time.time()),
            deployment=self._candidate.deployment,
            request_id=self._request_id,
            changes=self.changes,
            attempts=attempts,
        )


def _only_text(chunk: Chunk) -> Chunk:
    return Chunk(chunk.content, chunk.reasoning_content, chunk.tool_calls, index=chunk.index, logprobs=chunk.logprobs)
