"""One attempt under way: what has come of it so far, what it costs, and its record.

Knows how an attempt is recorded and paid, exactly once, however it ends: as a success, as a failure, or as canceled.
Awaits nothing: what arrives is brought (`router.delivery`). Refuses to know what is done next.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from providers.client import Limits
from providers.errors import RateLimited
from providers.quick import quick
from providers.retry_after import nothing_left
from providers.types import Attempt, Change, Chunk, Completion, Cost, Folder, Request, Usage
from router import estimate
from router.errors import Resting
from router.events import CircuitChanged, CoolingDown, Event, KeySetAside

if TYPE_CHECKING:
    from providers.client import Exchange
    from providers.errors import ProviderError
    from providers.wire import Call, Reader
    from router.circuit import State
    from router.config import Deployment
    from router.delivery import Delivery
    from router.health import Health
    from router.limits import Account, Place
    from router.policy import Try
    from router.run import Run
    from router.slots import Slots

STREAM_HEADERS = 30.0  # seconds to the headers of a stream, where the policy names none (reliability.md, 1.10)
_attempt, _whole, _limits = quick(Attempt), quick(Completion), quick(Limits)


class Shell(Protocol):
    """What an attempt needs of the router around it."""

    health: Health

    def delivery(self, run: Run, step: Try, call: Call | None = None) -> Delivery:
        """The attempt that *step* says, begun; with *call* in place of the planned one."""
        ...

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


class UnderWay:
    """One attempt, from the moment that it takes its key. Recorded exactly once, however it ends."""

    __slots__ = ("_attempt", "_began", "_candidate", "_chosen", "_exchange", "_folder", "_is_none", "_places", "_run", "_sent",
                 "_shell", "_slots", "_step", "_ticket", "call", "over", "pending", "said_something")  # fmt: skip

    def __init__(self, shell: Shell, run: Run, step: Try, call: Call | None = None) -> None:
        self._shell, self._run, self._step = shell, run, step
        self._candidate = candidate = run.candidate(step)
        self.call = call or run.call(candidate)
        self._chosen = run.chosen(candidate, step)
        now = run.time()
        self._began = now - run.began
        circuit = run.plan.policy.circuit
        self._ticket = ticket = shell.health.began(candidate.target, now, limit=step.limit, circuit=circuit)
        if ticket.moved is not None:
            self._tell(ticket.moved, "a probe goes out")
        self._places: tuple[tuple[Account, Place], ...] = ()
        self._slots: tuple[Slots, ...] = ()
        self._sent: float | None = None  # when it left; None before that
        self._exchange: Exchange | None = None
        self._folder = Folder()
        self.pending: list[Chunk] = []
        self._attempt: Attempt | None = None  # its record, once it is over
        self.said_something = self.over = self._is_none = False

    @property
    def deployment(self) -> str:
        return self._candidate.deployment

    @property
    def outcome(self) -> str:
        """How it has ended, or would if it ended now."""
        return self._attempt.outcome if self._attempt is not None else "canceled"

    # -- what happens

    def open_now(self) -> Exchange | None:
        """Open the exchange, where the limits of account and deployment leave a place at once.

        None where it would have to wait for one; then nothing is taken.
        """
        target, known = self._candidate.target, self._ticket.known
        slots, minutes = known.places(target), known.minutes(target)
        for slot in slots:
            if slot.is_full:
                return None
        if minutes:
            now, tokens = self._run.time(), self._prompt_tokens()
            if any(minute.wait(now, tokens) > 0 for minute in minutes):
                return None
            self._places = tuple([(minute, minute.reserve(now, tokens)) for minute in minutes])
        for slot in slots:
            slot.take()
        self._slots = slots
        return self._open()

    def _open(self) -> Exchange:
        """Open the exchange: from here on the provider takes its time."""
        run, call, ticket, step, target = self._run, self.call, self._ticket, self._step, self._candidate.target
        times, key = run.plan.policy.timeouts, ticket.key
        headers = times.headers
        if headers is None and call.streaming:
            headers = STREAM_HEADERS
        now = self._sent = run.time()
        self._shell.health.sent(ticket, now, streaming=call.streaming)
        waited = now - ticket.began  # for a place
        exchange = self._exchange = self._shell.exchange(
            call,
            target,
            run.plan.request,
            secret=key.secret.reveal() if key is not None else None,
            limits=_limits(times.connect, headers, times.first_token, times.idle, step.limit - waited),
        )
        return exchange

    def took(self, chunks: list[Chunk]) -> None:
        """*chunks* have arrived; none of them: the answer is over."""
        if not chunks:
            self.over = True
            return
        folder = self._folder
        for chunk in chunks:
            folder.add(chunk)
            if not self.said_something and chunk.says_something:
                self.speaks()
        if self.pending:
            self.pending += chunks
        else:
            self.pending = chunks
        self.over = self._exchange is None or self._exchange.over

    def speaks(self) -> None:
        """The first word has come."""
        exchange, sent = self._exchange, self._sent
        assert exchange is not None and sent is not None  # noqa: S101, PT018  # it brings the word
        self.said_something = True
        run, policy, health = self._run, self._run.plan.policy, self._shell.health
        now = run.time()
        exchange.extend(policy.deadline - (sent - run.began))
        headers = exchange.headers
        health.spoke(self._ticket, now, nothing_left(headers) if headers else None)
        if policy.hedge is not None:
            silent = now - run.began - self._began
            health.hedges.observed(self.deployment, silent, streaming=self.call.streaming)

    # -- records: exactly one of these, once

    def settle(self, usage: Usage | None = None) -> None:
        """The answer is whole: recorded as a success, and paid. *usage*: by default what it has told."""
        run, ticket = self._run, self._ticket
        if usage is None:
            usage = self._usage()
        if self._places and usage.total_tokens is not None:
            for account, place in self._places:
                account.used(place, usage.total_tokens)  # reserved were an estimate
        now = run.time()
        state = self._shell.health.succeeded(ticket, now, usage.completion_tokens)
        run.plan.remember(self._candidate, usage)
        if state is not None:
            self._tell(state, "it answered")
        self._record("success", now, self._cost(usage), usage, self._status)

    def finish(self) -> Completion:
        """The answer, which is whole: settled."""
        self.settle()
        return self._completion()

    def failed(self, error: ProviderError) -> None:
        """The attempt has failed; or it is none, because it was left before anything was sent, for who can be asked sooner."""
        if isinstance(error, Resting):
            self._withdraw()
            return
        self._shell.learn(error, self.call)
        health, now = self._shell.health, self._run.time()
        if self._sent is None:
            health.canceled(self._ticket)  # nobody has said anything of anybody
        elif health.key_failed(self._ticket, error, now) and self._ticket.key is not None:
            self._shell.emit(KeySetAside(self._ticket.provider, self._ticket.key.label, str(error)))
        if self._sent is not None:
            self._tell(health.failed(self._ticket, error, now), str(error))
            if isinstance(error, RateLimited) or error.retry_after is not None:
                self._tell_rest(health.resting(self._ticket, now), error)
        if self._status == 200 and error.billed is False:
            self._run.task_ended(self.deployment)
        usage = self._usage() if self.said_something or self._folder.usage is not None else None
        self._record(type(error).__name__, now, self._wasted(error, usage), usage, error.status, error=error)

    def canceled(self) -> None:
        """The caller does not want it any more: recorded, with what it may have cost, and no failure of anybody."""
        usage = self._usage() if self.said_something else Usage(self._prompt_tokens(), 0)
        self._shell.health.canceled(self._ticket)
        self._record("canceled", self._run.time(), self._cost(usage), usage, self._status)

    def close(self) -> None:
        """Give back what the attempt holds. A stream that is left early is recorded as canceled."""
        if self._exchange is not None:
            self._exchange.close()
        if self._attempt is None and not self._is_none:
            self.canceled()

    def _withdraw(self) -> None:
        self._shell.health.canceled(self._ticket)
        self._run.unspend(self._candidate)
        slots, self._slots, self._is_none = self._slots, (), True
        for slot in slots:
            slot.give_back()

    def _tell(self, state: State | None, why: str) -> None:
        if state is not None:
            self._shell.emit(CircuitChanged(self.deployment, state, why))

    def _tell_rest(self, seconds: float, error: ProviderError) -> None:
        if seconds > 0:
            label = self._ticket.key.label if self._ticket.key is not None else None
            self._shell.emit(CoolingDown(self.deployment, label, seconds, str(error)))

    def _record(
        self,
        outcome: str,
        now: float,
        cost: Cost,
        usage: Usage | None,
        status: int | None,
        *,
        error: ProviderError | None = None,
    ) -> None:
        run, key, began = self._run, self._ticket.key, self._began
        slots, self._slots = self._slots, ()
        held = None if self._sent is None else now - self._sent
        for slot in slots:
            slot.give_back(held)
        attempt = self._attempt = _attempt(
            self._candidate.deployment,
            outcome,
            status,
            now - run.began - began,  # duration
            began,
            cost,
            str(error) if error is not None else "",
            self._step.delay,
            self.changes,
            usage,
            self._request_id,
            key.label if key is not None else None,
            self._chosen,
            error,
        )
        run.attempts.append(attempt)
        self._shell.attempted(run, attempt)

    # -- what is known of the answer

    def partial(self) -> Completion:
        """What had come when it broke, with what all attempts have cost."""
        return self._completion()

    def told(self) -> Folder:
        """All that has come, without how it ended: a copy to go on from."""
        return self._folder.copy()

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

    def _prompt_tokens(self) -> int:
        return estimate.prompt_tokens(self._run.plan.request)

    def _usage(self) -> Usage:
        found = self._folder.usage
        if found is not None and estimate.is_counted(found, reasoned=self._folder.has_reasoning):
            return found  # nearly always
        return estimate.usage_or_estimate(found or Usage(), self._run.plan.request, self._folder.choices())

    def _cost(self, usage: Usage) -> Cost:
        return self._folder.cost or estimate.price_of(usage, self._candidate.target.price)

    def _wasted(self, error: ProviderError, usage: Usage | None) -> Cost:
        """What a failed attempt cost: nothing where it was refused, an estimate where it was accepted."""
        if error.billed is False and usage is None:
            return Cost(0.0, "estimated")
        return self._cost(usage or Usage(self._prompt_tokens(), 0))

    def _completion(self) -> Completion:
        reader, run, attempt, exchange = self._reader, self._run, self._attempt, self._exchange
        attempts = tuple(run.attempts)
        usage = attempt.usage if attempt is not None else None
        return _whole(
            self._folder.choices(),
            usage if usage is not None else self._usage(),
            estimate.sum_costs([attempt.cost for attempt in attempts]),
            getattr(reader, "id", "") or f"chatcmpl-{run.key}",
            getattr(reader, "model", "") or self.call.endpoint.wire_model,
            int(exchange.clock() if exchange is not None else time.time()),
            self._candidate.deployment,
            attempt.request_id if attempt is not None else self._request_id,
            attempt.changes if attempt is not None else self.changes,
            attempts,
        )
