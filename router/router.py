"""The router: complete, stream, plan. The async shell around the pure parts.

Knows how one attempt is made, recorded and paid, and owns what must be closed. Refuses to decide: whom to ask is the
plan's business, what to do after a failure the policy's, what a call looks like the providers'.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from providers.client import Exchange, Limits
from providers.errors import ProviderError, nearest, one_line
from providers.quick import quick
from providers.transport import Transport
from providers.types import Attempt, Chunk, Completion, Request
from router import estimate
from router.delivery import Delivery
from router.errors import BudgetExceeded, InvalidRequest, RouterError, UnknownModel
from router.events import AttemptEnded, Event, Hook, Hooks, Learned, RequestEnded, log, log_event
from router.flow import Flow
from router.health import Health
from router.learning import learn
from router.plan import Plan, Setting, make_plan
from router.policy import Stop
from router.run import Run
from router.watch import Watch

if TYPE_CHECKING:
    from providers.wire import Call
    from router.config import Config, Deployment, Provider, Route
    from router.decisions import DecisionRecorder
    from router.decisions.trace import Trace
    from router.policy import Try


def _over_sockets(_: Provider) -> Transport:
    return Transport()


def _new_key() -> str:
    return os.urandom(16).hex()


class Router:
    """Sends one canonical request to whichever deployment of its route can serve it.

    Open one with `Router.open` and close it, best by `async with`. It belongs to the event loop that first uses it; after
    a fork the child has it without connections, for a loop of its own.
    """

    def __init__(
        self,
        config: Config,
        *,
        hooks: Iterable[Hook] = (),
        rng: Random | None = None,
        tokenizer: estimate.Tokenizer = estimate.text_tokens,
        transports: Callable[[Provider], Transport] = _over_sockets,
        new_key: Callable[[], str] = _new_key,
        recorder: DecisionRecorder | None = None,
    ) -> None:
        self.config = config
        self._is_chance = rng is None
        self._rng = rng or Random()  # jitter and weights, not secrets
        self.health = Health(self._rng, secret=os.urandom(16))
        self._setting = Setting(self.health, config.sampling, tokenizer, _clock)
        self._hooks = Hooks(hooks)
        self._recorder = recorder
        self._make_transport, self._new_key = transports, new_key
        self._transports: dict[str, Transport] = {}
        self._closed = False
        self._home: asyncio.AbstractEventLoop | None = None
        _ROUTERS.add(self)

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
        transports: Callable[[Provider], Transport] = _over_sockets,
        new_key: Callable[[], str] = _new_key,
        recorder: DecisionRecorder | None = None,
    ) -> Self:
        """A router for a routes file; without one, for the packaged catalog and the keys in the environment.

        What the file allows and will disappoint, such as a policy that cannot fit its deadline, is a warning in the log.

        Args:
            source: path of a YAML file, or the same as a mapping.
            catalog: another catalog in place of the packaged one.
            environ: where `${NAME}` is looked up; the process's environment by default.
            hooks: called with every event of `router.events`; they observe and change nothing.
            rng: the chance behind jitter and weights; seed it to make them repeatable.
            tokenizer: counts the tokens of a text, to know whether a prompt fits; a rule of thumb by default.
            transports: makes the connections to one provider, when it is first asked; the router closes them. By
                default they go over sockets; `router.lab.in_memory` has another that needs none.
            new_key: makes the key of one request: 32 hexadecimal digits that no other request ever had, anywhere, for
                providers take two requests with one key for one. By default from the operating system; only a lab,
                where everything has to come out the same again, needs another.
            recorder: a `router.decisions.DecisionRecorder`: what every decision was made from, for `router replay`.

        Raises:
            ConfigError: with every problem of the file, each with its line.
        """
        from router.load import load  # YAML is read once; `import router` must stay cheap

        config = load(source, environ=os.environ if environ is None else environ, catalog=catalog)
        for warning in config.warnings:
            log.warning("%s", one_line(str(warning)))
        return cls(
            config,
            hooks=hooks,
            rng=rng,
            tokenizer=tokenizer,
            transports=transports,
            new_key=new_key,
            recorder=recorder,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. May be called again, also when it was canceled: what was not closed yet is."""
        self._closed = True
        while self._transports:
            name, transport = next(iter(self._transports.items()))
            await transport.close()
            self._transports.pop(name, None)
        if self._recorder is not None:
            self._recorder.close()

    # -- the public verbs

    def plan(self, request: Request | Mapping[str, Any], *, streaming: bool = False) -> Plan:
        """Whom the request would be sent to, in order, as which call; and who is out, and why. No I/O.

        Raises:
            InvalidRequest, UnknownModel.
        """
        request = Request.of(request)
        return make_plan(request, self._route(request), self._setting, rng=Random(0), streaming=streaming)

    async def complete(self, request: Request | Mapping[str, Any]) -> Completion:
        """The whole answer.

        Raises:
            InvalidRequest, UnknownModel: the request cannot mean what it says; nothing was sent.
            NoDeployment: no deployment may serve it; nothing was sent.
            BudgetExceeded: the route's budget has no room for it; nothing was sent.
            DeploymentsExhausted: everybody who could be asked has failed.
            DeadlineExceeded: the policy's deadline passed.
            ProviderError: the request itself was refused (400, 413, 422, a safety filter).
        """
        return await self._completed(self._run(Request.of(request), streaming=False))

    async def _completed(self, run: Run) -> Completion:
        try:
            delivery = await run.through(self._whole)
            try:
                answer = delivery.finish()
            finally:
                delivery.close()
        except BaseException as error:
            self._ended(run, type(error).__name__ if isinstance(error, Exception) else "canceled")
            raise
        self._ended(run, "success", answer)
        return answer

    def stream(self, request: Request | Mapping[str, Any], *, reasoning: bool = True) -> AsyncGenerator[Chunk, None]:
        """The answer as it comes. The last chunk carries `finish_reason`, `usage`, `cost` and the whole `completion`.

        *reasoning*: False leaves reasoning out of the chunks (not out of the completion); a stream that breaks before
        the first text is then begun again elsewhere, unseen.

        Raises:
            As `complete`; and once something was delivered `StreamInterrupted`, or `DeadlineExceeded` with `.partial`.
        """
        return self._streamed(request, reasoning=reasoning)

    async def _streamed(
        self, request: Request | Mapping[str, Any], *, reasoning: bool = True, run: Run | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """The stream; *run*: of the request, where it has begun before."""
        run = run or self._run(Request.of(request), streaming=True)
        flow = Flow(self, run, reasoning=reasoning)
        outcome = "canceled"
        try:
            while chunks := await flow.next():
                for chunk in chunks:
                    yield chunk
            outcome = "success"
        except RouterError as error:
            outcome = type(error).__name__
            raise
        finally:
            flow.close()
            if outcome == "canceled" and flow.over:
                outcome = "success"  # whoever leaves after the last chunk has had it all
            self._ended(run, outcome, flow.answer)

    def deliver(self, payload: Mapping[str, Any]) -> bool:
        """Hand over what a provider's webhook has brought; True if a request was waiting for it.

        May be called in any order and as often as the webhook comes: the first terminal result counts. Check who sent it
        before: Runware does not sign its webhooks, so put a token of your own into the URL (`webhook:` of the provider).

        Raises:
            InvalidRequest: the payload names no task.
        """
        data = payload.get("data")
        items = [item for item in data if isinstance(item, Mapping)] if isinstance(data, list) else [payload]
        tasks = [(str(item["taskUUID"]), item) for item in items if item.get("taskUUID")]
        if not tasks:
            message = "the payload of a webhook has a taskUUID"
            raise InvalidRequest(message, field="taskUUID")
        boxes = [transport.mailbox for transport in self._transports.values()]
        awaited = [box.deliver(task, item) for task, item in tasks for box in boxes]
        return any(awaited)

    # -- attempts

    def _route(self, request: Request) -> Route:
        route = self.config.route(request.model)
        if route is None:
            raise UnknownModel(request.model, self.config.names())
        if request.policy is None:
            return route
        if request.policy not in self.config.policies:
            message = f"there is no policy {request.policy!r}; {nearest(request.policy, self.config.policies)}"
            raise InvalidRequest(message, field="policy")
        return route.under(self.config.policies[request.policy])

    def _settle_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """The router belongs to *loop* from now on.

        Raises:
            RuntimeError: it belongs to another one.
        """
        if self._home is not None:
            ended = ", which has ended" if self._home.is_closed() else ""
            message = f"this router belongs to another event loop{ended}: open one in each loop, and close it there"
            raise RuntimeError(message)
        self._home, self._setting = loop, replace(self._setting, now=loop.time)

    def _forked(self) -> None:
        """This is a child process: what is open belongs to the parent, and so do its loop and the calls under way."""
        for transport in self._transports.values():
            transport.abandon()
        self._transports, self._home = {}, None
        self._setting = replace(self._setting, now=_clock)
        self.health.forget_load()
        if self._is_chance:
            self._rng.seed()  # or every child would wait the same jitter
        if self._recorder is not None:
            self._recorder.close()

    def _run(self, request: Request, *, streaming: bool) -> Run:
        key, route, rng = self._new_key(), self._route(request), self._rng
        loop = asyncio.get_running_loop()
        if loop is not self._home:
            self._settle_in(loop)
        setting, trace = self._setting, None
        if self._recorder is not None:
            trace = self._recorder.trace(request, route, self.config, key=key, streaming=streaming,
                                         health=self.health, rng=rng, clock=loop.time, count=setting.count)  # fmt: skip
            setting, rng = replace(setting, now=trace.now), trace.rng
        tokens = self.prompt_tokens(request)
        plan = make_plan(request, route, setting, rng=rng, streaming=streaming, key=key, tokens=tokens)
        run = Run(plan, key=key, rng=rng, loop=loop, hedges=self.health.hedges, watch=self._watch(trace))
        if route.budget is not None:
            self._set_aside(run, route)
        return run

    def _watch(self, trace: Trace | None) -> Watch | None:
        """What the decisions of a run are told to; None where nobody listens."""
        listening = trace is not None or self._hooks or log.isEnabledFor(logging.INFO)
        return Watch(self.emit, trace) if listening else None

    def _set_aside(self, run: Run, route: Route) -> None:
        """Set aside, of the route's budget, what the first attempt of *run* may cost.

        Raises:
            BudgetExceeded: there is no room for it.
        """
        budget, first = self.health.budget(route), run.plan.candidate(0)
        if budget is None or first is None:
            return
        dollars = first.cost.usd or 0.0
        if not budget.reserve(run.now, dollars):
            raise BudgetExceeded(route.name, budget.limit, budget.per, dollars, budget.retry_in(run.now, dollars))
        run.reserved = dollars

    def prompt_tokens(self, request: Request) -> int:
        """About how many tokens the prompt of *request* has."""
        return estimate.prompt_tokens(request, self._setting.count)

    async def _whole(self, run: Run, step: Try) -> Delivery:
        """An attempt that has all of the answer."""
        delivery = self.delivery(run, step)
        try:
            while not delivery.over:
                await delivery.more()
        except ProviderError as error:
            delivery.failed(error)
            delivery.close()
            raise
        except BaseException:
            delivery.close()
            raise
        return delivery

    def delivery(self, run: Run, step: Try, call: Call | None = None) -> Delivery:
        """The attempt that *step* says, begun; with *call* in place of the planned one."""
        return Delivery(self, run, step, call)

    def exchange(
        self, call: Call, target: Deployment, request: Request, *, secret: str | None, limits: Limits
    ) -> Exchange:
        """The exchange that sends *call*, in which *target* is told *request*, with the key *secret*."""
        return Exchange(call, self.transport(target.provider), secret=secret, limits=limits)

    def transport(self, provider: Provider) -> Transport:
        """The connections to one provider: its own, so that its hung calls block nobody else's."""
        found = self._transports.get(provider.name)
        if self._closed:
            message = "this router is closed: open another one"
            raise RuntimeError(message)
        if found is None:
            found = self._transports[provider.name] = self._make_transport(provider)
        return found

    def _ended(self, run: Run, outcome: str, answer: Completion | None = None) -> None:
        if run.reserved:
            self._settle(run)
        if run.watch is not None:
            run.watch.ended(run, outcome, _why(run, outcome))
        self.finished(run, outcome, answer)

    def _settle(self, run: Run) -> None:
        """What the request has cost, in place of what was set aside for it."""
        budget = self.health.budget(self._route(run.plan.request))
        if budget is not None:
            budget.settle(run.now, run.reserved, sum(attempt.cost.usd or 0.0 for attempt in run.attempts))

    def learn(self, error: ProviderError, call: Call) -> None:
        """Note what a refusal plainly says of the deployment; told once, used from the next request on."""
        fact = learn(error, call)
        if fact is not None and self.health.learned(fact, call.endpoint):
            self.emit(Learned(fact))

    def attempted(self, run: Run, attempt: Attempt) -> None:
        """Tell the log and the hooks that *attempt* is over; of one that went well only hooks want to know."""
        if self._hooks or attempt.error is not None:
            self.emit(AttemptEnded(run.key, run.plan.route, len(run.attempts), attempt))

    def finished(self, run: Run, outcome: str, answer: Completion | None) -> None:
        """Tell the log and the hooks that *run* is over; of one that went well at once only hooks want to know."""
        if not self._hooks and outcome == "success" and len(run.attempts) == 1 and not log.isEnabledFor(logging.INFO):
            return
        self.emit(end_of(run, outcome, answer))

    def emit(self, event: Event) -> None:
        """Tell the log and the hooks."""
        log_event(event)
        if self._hooks:
            self._hooks.emit(event)


_ended = quick(RequestEnded)
_ROUTERS: WeakSet[Router] = WeakSet()


def _after_fork() -> None:
    for router in tuple(_ROUTERS):
        router._forked()  # noqa: SLF001  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def end_of(run: Run, outcome: str, answer: Completion | None) -> RequestEnded:
    """What there is to tell of the end of *run*."""
    attempts = tuple(run.attempts)
    cost = answer.cost if answer is not None else estimate.sum_costs([attempt.cost for attempt in attempts])
    name = answer.deployment if answer is not None else None
    changes = answer.changes if answer is not None else ()
    why, passed = _why(run, outcome), tuple(run.plan.passed)
    return _ended(run.key, run.plan.route, outcome, run.elapsed, name, attempts, changes, cost, why, passed)


def _why(run: Run, outcome: str) -> str:
    """Why a request stopped where it did."""
    if outcome == "success":
        return "it was answered"
    if outcome == "canceled":
        return "the caller did not want it any more"
    if isinstance(run.step, Stop):
        return run.step.why
    return "the stream broke after it had begun, and nothing mends it"


def _clock() -> float:
    """The event loop's clock, which health goes by; outside of one (`plan` may be called anywhere) the same monotonic."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
