"""One request's state on its way, in tenacity's vocabulary.

Knows the plan, what was tried, and how a failure becomes the next step (`policy.next_step`). The first attempt, and the
one after a failure, are made without any machinery; from then on tenacity turns the crank. Refuses to know HTTP and
streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

from providers.client import encode
from providers.errors import ProviderError, one_line
from providers.types import Attempt
from providers.wire import Call
from router.errors import DeadlineExceeded, DeploymentsExhausted, NoDeployment, Resting, everybody_rests, not_asked
from router.hedge import Hedges, may_hedge, second
from router.plan import Candidate, Plan
from router.policy import Stop, Try, callers_own, next_step
from router.race import Entrant, race

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from router.config import Hedge
    from router.watch import Watch

T = TypeVar("T", bound=Entrant)
LOOK = 1.0  # seconds after which whoever waits looks whether somebody else is back
NAMED = 3  # deployments that were passed over which an attempt names, each with its why
Attempting = Callable[["Run", Try], Awaitable[T]]
"""Makes the attempt that a step says."""


class Run:
    """A request under way. Times are seconds since it came in, by the event loop's clock; *began* is when, by that clock."""

    __slots__ = ("_failed_tasks", "_hedges", "_named", "_rng", "attempts", "began", "key", "plan", "reserved", "step",
                 "time", "watch")  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        *,
        key: str,
        rng: Random,
        loop: asyncio.AbstractEventLoop,
        hedges: Hedges | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.plan, self.key = plan, key
        self._hedges = hedges
        self.attempts: list[Attempt] = []
        self.reserved = 0.0  # dollars of the route's budget
        self._rng, self.watch, self.time = rng, watch, loop.time
        self.began = loop.time()
        self._failed_tasks: dict[str, int] = {}
        self._named = 0  # of those who were passed over, how many an attempt has named
        self.step: Try | Stop = self._decided(0.0)

    @property
    def now(self) -> float:
        """The event loop's clock."""
        return self.time()

    @property
    def elapsed(self) -> float:
        return self.time() - self.began

    def candidate(self, step: Try) -> Candidate:
        """Whom *step* asks."""
        candidate = self.plan.candidate(step.place)
        assert candidate is not None  # noqa: S101  # a step names a candidate of its own plan
        return candidate

    def chosen(self, candidate: Candidate, step: Try) -> str:
        """Why *step* asks *candidate*, and who was passed over since the attempt before. Asked once for each attempt."""
        why = f"{step.why}; {candidate.why}" if candidate.why else step.why
        if len(self.plan.passed) == self._named:
            return why
        passed = self.plan.passed[self._named :]
        self._named += len(passed)
        named = [f"{out.deployment} ({one_line(out.why)})" for out in passed[:NAMED]]
        more = f" and {len(passed) - NAMED} more" if len(passed) > NAMED else ""
        return f"{why}; passed over: {', '.join(named)}{more}"

    def call(self, candidate: Candidate) -> Call:
        """The planned call; under a new name where the provider has said that the task of the old one has ended."""
        ended = self._failed_tasks.get(candidate.deployment) if self._failed_tasks else None
        if not ended:
            return candidate.call
        planned = candidate.call
        return encode(self.plan.request, planned.endpoint, streaming=planned.streaming, key=f"{self.key}/{ended}")

    def task_ended(self, deployment: str) -> None:
        """The provider has taken the call and said that it failed: a retry is another task."""
        self._failed_tasks[deployment] = self._failed_tasks.get(deployment, 0) + 1

    async def through(self, attempt: Attempting[T]) -> T:
        """What *attempt* returns, made as often and where the policy says.

        Raises:
            NoDeployment, DeploymentsExhausted, DeadlineExceeded, or the caller's own failure as itself.
        """
        if isinstance(self.step, Stop):
            raise self._ending(self.step, None)
        try:
            return await self._first(attempt, self.step)
        except ProviderError as error:
            failure = error
        return await self.again(attempt, failure)

    async def again(self, attempt: Attempting[T], failure: ProviderError) -> T:
        """As `through`, after *failure* has been recorded as an attempt."""
        # One failure is the usual number: the second attempt is made without machinery too, and costs what it must.
        self._advance()
        if isinstance(self.step, Try):
            try:
                return await self._try(attempt, self.step)
            except ProviderError as error:
                failure = error
            self._advance()
        if isinstance(self.step, Try):
            from tenacity import AsyncRetrying  # only now: most processes never need it, and `import router` is quicker

            if self.step.delay:
                await self._sleep(self.step.delay)
            crank = AsyncRetrying(retry=self._retry, wait=self._wait, stop=_never, sleep=self._sleep, reraise=True)
            try:
                return await crank(self._turn, attempt)
            except ProviderError as error:
                failure = error
        assert isinstance(self.step, Stop)  # noqa: S101  # nothing else ends the attempts
        ending = self._ending(self.step, failure)
        if ending is failure:
            raise failure
        raise ending from None

    def _try(self, attempt: Attempting[T], step: Try) -> Awaitable[T]:
        """The attempt that *step* says; where nothing is waited for nothing stands between it and whoever awaits it."""
        return self._later(attempt, step) if step.delay else attempt(self, step)

    async def _later(self, attempt: Attempting[T], step: Try) -> T:
        await self._sleep(step.delay)
        return await attempt(self, self._still_may())

    async def _sleep(self, seconds: float) -> None:
        """Wait as the step says; when meanwhile somebody could be asked sooner, it is decided anew."""
        until = self.time() + seconds
        while (left := until - self.time()) > 0 and isinstance(self.step, Try):
            await asyncio.sleep(min(left, LOOK))
            candidate = self.candidate(self.step)
            if self.could_be_sooner(candidate, until - self.time()):
                self.unspend(candidate)
                self._advance()
                until = self.time() + (self.step.delay if isinstance(self.step, Try) else 0.0)

    def could_be_sooner(self, awaited: Candidate, left: float) -> bool:
        """Whether, as things stand now, another one could be asked well before the *left* seconds are over."""
        if left <= LOOK or not self.plan.may_be_sooner(awaited, left - LOOK):
            return False
        dice = Random(0)  # a question: it draws nothing of the request's, and works out nothing of its plan
        plan = self.plan.renewed(dice)
        step = next_step(plan, self.attempts, self.elapsed, dice)
        if not isinstance(step, Try) or step.delay >= left - LOOK:
            return False
        found = plan.candidate(step.place)
        return found is not None and found.deployment != awaited.deployment

    def _still_may(self) -> Try:
        """The step, which was decided before a wait, if it still holds: others have made experiences meanwhile.

        Raises:
            Resting: whom it asks may not be asked any more. That is no attempt; it only leads to the next decision.
        """
        step = self.step
        if isinstance(step, Stop):
            raise Resting(step.why)
        candidate = self.candidate(step)
        wait = self.plan.wait(candidate, failed=self._failed(candidate)) if step.delay else 0.0
        if wait is None or self.could_be_sooner(candidate, wait):
            self.unspend(candidate)
            message = "it may not be asked any more, after the wait for it"
            raise Resting(message, deployment=candidate.deployment)
        return step

    def _failed(self, candidate: Candidate) -> int:
        """How often this request has failed there."""
        return sum(attempt.deployment == candidate.deployment for attempt in self.attempts)

    def unspend(self, candidate: Candidate) -> None:
        """A retry that was decided is not made."""
        if self._failed(candidate):
            self.plan.give_back_retry(candidate)

    def _first(self, attempt: Attempting[T], step: Try) -> Awaitable[T]:
        """The first attempt; and beside it a second one, where the policy hedges and this one is silent for too long."""
        hedge, hedges = self.plan.policy.hedge, self._hedges
        if hedge is None or hedges is None or not may_hedge(self.plan, step):
            return self._try(attempt, step)
        return self._hedged(attempt, step, hedge, hedges)

    async def _hedged(self, attempt: Attempting[T], step: Try, hedge: Hedge, hedges: Hedges) -> T:
        hedges.credit(self.plan.route, hedge)
        first, streaming = self.candidate(step).deployment, self.candidate(step).call.streaming
        seconds = hedges.after(hedge, first, streaming=streaming)
        if seconds is None:
            return await self._try(attempt, step)
        if step.delay:
            await self._sleep(step.delay)
            step = self._still_may()
            first = self.candidate(step).deployment
        began = self.elapsed
        won = await race(attempt(self, step), seconds, lambda: self._second(attempt, step, hedges))
        if won.deployment != first:
            hedges.observed(first, self.elapsed - began, streaming=streaming)
        return won

    def _second(self, attempt: Attempting[T], step: Try, hedges: Hedges) -> Awaitable[T] | None:
        beside = second(self.plan, step, self.elapsed)
        if beside is None or not hedges.take(self.plan.route):
            return None
        return attempt(self, beside)

    async def _turn(self, attempt: Attempting[T]) -> T:
        """One attempt; tenacity awaits only what is itself a coroutine function, and sleeps itself."""
        return await attempt(self, self._still_may())

    def _decided(self, elapsed: float) -> Try | Stop:
        """The policy's answer *elapsed* seconds after the request came in; told to whoever listens."""
        watch, is_anew = self.watch, elapsed > 0.0 and self.plan.is_outdated()
        if is_anew:
            self.plan, self._named = self.plan.renewed(), 0
        if watch is None:
            return next_step(self.plan, self.attempts, elapsed, self._rng)
        watch.looks(self, elapsed, is_anew=is_anew)
        step = next_step(self.plan, self.attempts, elapsed, self._rng)
        watch.decided(self, step)
        return step

    def _advance(self) -> None:
        self.step = self._decided(self.elapsed)
        if isinstance(self.step, Try):
            candidate = self.candidate(self.step)
            if self._failed(candidate):
                self.plan.spend_retry(candidate)  # taken with the decision: others decide while this one waits

    def _retry(self, state: RetryCallState) -> bool:
        """Whether there is a next step. Asked of *every* outcome: tenacity shows its predicate cancellations too."""
        outcome = state.outcome
        error = outcome.exception() if outcome is not None else None
        if not isinstance(error, ProviderError):
            return False
        self._advance()
        return isinstance(self.step, Try)

    def _wait(self, state: RetryCallState) -> float:
        return self.step.delay if isinstance(self.step, Try) else 0.0

    def _ending(self, stop: Stop, error: ProviderError | None) -> Exception:
        """What is raised in the end."""
        if stop.how == "nobody":
            return everybody_rests(self.plan) or NoDeployment(self.plan)
        if stop.how == "deadline":
            return DeadlineExceeded(self.plan.policy.deadline, self.attempts, why=stop.why)
        own = callers_own(self.attempts)
        if own is not None:
            return own
        if not self.attempts:
            return error or NoDeployment(self.plan)
        return DeploymentsExhausted(self.attempts, why=stop.why, others=not_asked(self.plan, self.attempts))


def _never(_: RetryCallState) -> bool:
    """Stopping is the retry predicate's answer: one function decides, not two."""
    return False
