"""The router: complete, stream, plan. The async shell around the pure parts.

Knows how one attempt is made, recorded and paid, and owns what must be closed. Refuses to decide: whom to ask is the
plan's business, what to do after a failure the policy's, what a call looks like the providers'.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from providers.client import Exchange, Limits
from providers.errors import ProviderError
from providers.transport import Transport
from providers.types import Attempt, Change, Chunk, Completion, Cost, Folder, Request, Usage
from router import estimate
from router.errors import DeadlineExceeded, StreamInterrupted, UnknownModel
from router.events import AttemptEnded, Event, Hook, Hooks, Learned, RequestEnded, log_event
from router.health import Health
from router.learning import learn
from router.plan import Candidate, Plan, Setting, make_plan
from router.run import Run

if TYPE_CHECKING:
    from providers.wire import Call
    from router.config import Config, Route

STREAM_HEADERS = 30.0  # seconds to the headers of a stream, where the policy names none (reliability.md, 1.10)


class Router:
    """Sends one canonical request to whichever deployment of its route can serve it.

    Open one with `Router.open` and close it, best by `async with`. It belongs to the event loop that first uses it.
    """

    def __init__(
        self,
        config: Config,
        *,
        hooks: Iterable[Hook] = (),
        rng: Random | None = None,
        tokenizer: estimate.Tokenizer = estimate.text_tokens,
    ) -> None:
        self.config = config
        self.health = Health()
        self._setting = Setting(self.health, config.sampling, tokenizer)
        self._hooks = Hooks((log_event, *hooks))
        self._rng = rng or Random()  # noqa: S311  # jitter and weights, not secrets
        self._transports: dict[str, Transport] = {}

    @classmethod
    def open(
        cls,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        catalog: Path | None = None,
        environ: Mapping[str, str] | None = None,
        hooks: Iterable[Hook] = (),
        rng: Random | None = None,
        tokenizer: estimate.Tokenizer = estimate.text_tokens,
    ) -> Self:
        """A router for a routes file; without one, for the packaged catalog and the keys in the environment.

        Args:
            source: path of a YAML file, or the same as a mapping.
            catalog: another catalog in place of the packaged one.
            environ: where `${NAME}` is looked up; the process's environment by default.
            hooks: called with every event of `router.events`; they observe and change nothing.
            rng: the chance behind jitter and weights; seed it to make them repeatable.
            tokenizer: counts the tokens of a text, to know whether a prompt fits; a rule of thumb by default.

        Raises:
            ConfigError: with every problem of the file, each with its line.
        """
        from router.load import load  # noqa: PLC0415  # YAML is read once; `import router` must stay cheap

        config = load(source, environ=os.environ if environ is None else environ, catalog=catalog)
        return cls(config, hooks=hooks, rng=rng, tokenizer=tokenizer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. May be called again."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.close()

    # -- the public verbs

    def plan(self, request: Request | Mapping[str, Any], *, streaming: bool = False) -> Plan:
        """Whom the request would be sent to, in order, as which call; and who is out, and why. No I/O.

        Raises:
            InvalidRequest, UnknownModel.
        """
        request = Request.of(request)
        return make_plan(request, self._route(request), self._setting, rng=Random(0), streaming=streaming)  # noqa: S311

    async def complete(self, request: Request | Mapping[str, Any]) -> Completion:
        """The whole answer.

        Raises:
            InvalidRequest, UnknownModel: the request cannot mean what it says; nothing was sent.
            NoDeployment: no deployment may serve it; nothing was sent.
            DeploymentsExhausted: everybody who could be asked has failed.
            DeadlineExceeded: the policy's deadline passed.
            ProviderError: the request itself was refused (400, 413, 422, a safety filter).
        """
        run = self._run(Request.of(request), streaming=False)
        try:
            answer = await run.through(self._whole)
        except Exception as error:
            self._ended(run, type(error).__name__)
            raise
        self._ended(run, "success", answer)
        return answer

    async def stream(self, request: Request | Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        """The answer as it comes. The last chunk carries `finish_reason`, `usage`, `cost` and the whole `completion`.

        Raises:
            As `complete`; and once something was delivered `StreamInterrupted`, or `DeadlineExceeded` with `.partial`.
        """
        run = self._run(Request.of(request), streaming=True)
        try:
            opened = await run.through(self._opened)
        except Exception as error:
            self._ended(run, type(error).__name__)
            raise
        try:
            while True:
                for chunk in opened.take():
                    yield chunk
                if opened.over or not await opened.more():
                    break
            for chunk in opened.last():
                yield chunk
        except ProviderError as error:
            opened.failed(error)
            raise opened.interrupted(error) from error
        finally:
            opened.close()
            self._ended(run, opened.outcome, opened.answer)

    # -- attempts

    def _route(self, request: Request) -> Route:
        route = self.config.route(request.model)
        if route is None:
            raise UnknownModel(request.model, self.config.names())
        return route

    def _run(self, request: Request, *, streaming: bool) -> Run:
        key = uuid4().hex
        plan = make_plan(request, self._route(request), self._setting, rng=self._rng, streaming=streaming, key=key)
        return Run(plan, key=key, rng=self._rng, loop=asyncio.get_running_loop())

    def _attempt(self, run: Run) -> Delivery:
        return Delivery(self, run, run.candidate)

    async def _whole(self, run: Run) -> Completion:
        delivery = self._attempt(run)
        try:
            while await delivery.more():
                pass
            return delivery.finish()
        except ProviderError as error:
            delivery.failed(error)
            raise
        except BaseException:
            delivery.canceled()
            raise
        finally:
            delivery.close()

    async def _opened(self, run: Run) -> Delivery:
        """A stream that has said something, or is over."""
        delivery = self._attempt(run)
        try:
            while not delivery.said_something and await delivery.more():
                pass
        except ProviderError as error:
            delivery.failed(error)
            delivery.close()
            raise
        except BaseException:
            delivery.canceled()
            delivery.close()
            raise
        return delivery

    def transport(self, provider: str) -> Transport:
        """The connections to one provider: its own, so that its hung calls block nobody else's."""
        found = self._transports.get(provider)
        if found is None:
            found = self._transports[provider] = Transport()
        return found

    def _ended(self, run: Run, outcome: str, answer: Completion | None = None) -> None:
        attempts = tuple(run.attempts)
        cost = answer.cost if answer is not None else estimate.sum_costs([attempt.cost for attempt in attempts])
        name = answer.deployment if answer is not None else None
        changes = answer.changes if answer is not None else ()
        self.emit(RequestEnded(run.key, run.plan.route, outcome, run.elapsed, name, attempts, changes, cost))

    def learn(self, error: ProviderError, call: Call) -> None:
        """Note what a refusal plainly says of the deployment; told once, used from the next request on."""
        fact = learn(error, call)
        if fact is not None and self.health.learned(fact, call.endpoint):
            self.emit(Learned(fact))

    def emit(self, event: Event) -> None:
        self._hooks.emit(event)


class Delivery:
    """One attempt: an exchange with what came of it so far. Recorded exactly once, however it ends."""

    def __init__(self, router: Router, run: Run, candidate: Candidate) -> None:
        self._router, self._run, self._candidate = router, run, candidate
        target = candidate.target
        policy = run.plan.policy
        self._key = router.health.key(target.provider)
        self.call = run.call(candidate)
        times = policy.timeouts
        headers = times.headers
        if headers is None and self.call.streaming:
            headers = STREAM_HEADERS
        limits = Limits(times.connect, headers, times.first_token, times.idle, run.limit)
        self._began = run.elapsed
        self._exchange = Exchange(
            self.call,
            router.transport(target.provider.name),
            secret=self._key.secret.reveal() if self._key is not None else None,
            limits=limits,
        )
        self._folder = Folder()
        self._pending: list[Chunk] = []
        self._recorded = False
        self.said_something = False
        self.over = False
        self.outcome = "canceled"
        self.answer: Completion | None = None
        router.health.began(candidate.deployment)

    async def more(self) -> bool:
        """Read on; False when the answer is over."""
        chunks = await self._exchange.next()
        if not chunks:
            self.over = True
            return False
        folder = self._folder
        for chunk in chunks:
            folder.add(chunk)
        self._pending += chunks
        if not self.said_something and any(chunk.says_something for chunk in chunks):
            self.said_something = True
            self._exchange.extend(self._run.plan.policy.deadline - self._began)
            self._router.health.first_token(self._candidate.deployment, self._run.elapsed - self._began)
        return True

    def take(self) -> list[Chunk]:
        """What has come since the last time and says something.

        Finish reasons, usage and cost are kept for `last`, so that they come once, and last, from every provider.
        """
        chunks, self._pending = self._pending, []
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

    def interrupted(self, error: ProviderError) -> Exception:
        """What the caller of a broken stream gets: the failure, and all that he has seen."""
        partial = self._completion(self._usage())
        self.answer = partial
        if self._run.elapsed >= self._run.plan.policy.deadline:
            return DeadlineExceeded(self._run.plan.policy.deadline, self._run.attempts, partial)
        return StreamInterrupted(error, partial)

    # -- records: exactly one of these, once

    def finish(self) -> Completion:
        """The answer is whole: recorded as a success."""
        usage = self._usage()
        self._record("success", cost=self._cost(usage), usage=usage, status=self._exchange.status)
        self.answer = self._completion(usage)
        return self.answer

    def failed(self, error: ProviderError) -> None:
        """The attempt has failed."""
        self._router.learn(error, self.call)
        if self._exchange.status == 200 and error.billed is False:
            self._run.task_ended(self._candidate.deployment)
        usage = self._usage() if self.said_something else None
        self._record(type(error).__name__, error=error, cost=self._wasted(error, usage), usage=usage,
                     status=error.status)  # fmt: skip

    def canceled(self) -> None:
        """The caller does not want it any more: recorded, with what it may have cost, and no failure of anybody."""
        usage = self._usage() if self.said_something else Usage(estimate.prompt_tokens(self._run.plan.request), 0)
        self._record("canceled", cost=self._cost(usage), usage=usage, status=self._exchange.status)

    def close(self) -> None:
        """Give back what the attempt holds. A stream that is left early is recorded as canceled."""
        self._exchange.close()
        if not self._recorded:
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
        self._recorded, self.outcome = True, outcome
        name = self._candidate.deployment
        self._router.health.ended(name)
        attempt = Attempt(
            deployment=name,
            outcome=outcome,
            status=status,
            duration=self._run.elapsed - self._began,
            started=self._began,
            cost=cost,
            why=str(error) if error is not None else "",
            delay=self._run.delay,
            changes=self.changes,
            usage=usage,
            request_id=self._request_id,
            credential=self._key.label if self._key is not None else None,
            error=error,
        )
        self._run.attempts.append(attempt)
        self._router.emit(AttemptEnded(self._run.key, self._run.plan.route, len(self._run.attempts), attempt))

    # -- what is known of the answer

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was sent otherwise than asked, and what the answer shows to have been otherwise than sent."""
        seen: list[Change] = getattr(self._exchange.reader, "changes", [])
        return (*self.call.changes, *seen)

    @property
    def _request_id(self) -> str | None:
        headers = self._exchange.headers
        return headers.get("x-request-id") or headers.get("x-inference-id")

    def _usage(self) -> Usage:
        return estimate.usage_or_estimate(self._folder.usage or Usage(), self._run.plan.request,
                                          self._folder.completion())  # fmt: skip

    def _cost(self, usage: Usage) -> Cost:
        return self._folder.cost or estimate.price_of(usage, self._candidate.target.price)

    def _wasted(self, error: ProviderError, usage: Usage | None) -> Cost:
        """What a failed attempt cost: nothing where it was refused, an estimate where it was accepted."""
        if error.billed is False:
            return Cost(0.0, "estimated")
        return self._cost(usage or Usage(estimate.prompt_tokens(self._run.plan.request), 0))

    def _completion(self, usage: Usage) -> Completion:
        reader = self._exchange.reader
        attempts = tuple(self._run.attempts)
        return replace(
            self._folder.completion(),
            usage=usage,
            cost=estimate.sum_costs([attempt.cost for attempt in attempts]),
            id=getattr(reader, "id", "") or f"chatcmpl-{self._run.key}",
            model=getattr(reader, "model", "") or self.call.endpoint.wire_model,
            created=int(time.time()),
            deployment=self._candidate.deployment,
            request_id=self._request_id,
            changes=self.changes,
            attempts=attempts,
        )


def _only_text(chunk: Chunk) -> Chunk:
    return Chunk(
        chunk.content, chunk.reasoning_content, chunk.tool_calls, index=chunk.index, logprobs=chunk.logprobs
    )
