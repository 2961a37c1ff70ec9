"""What to do next. One pure function sees the whole history and answers: ask this one, then, for so long; or stop.

Knows every rule of retry and failover; they are two answers of the same function, not two nested loops. Refuses to do
anything, to read a clock and to throw dice: elapsed time and chance are arguments.

The rules, in the order in which they are asked:
1. A failure that the request itself caused is nobody else's to solve: stop, it is raised as itself.
2. The deadline is over, or the attempts are used up: stop.
3. `here_first`: the deployment that just failed quickly is asked once more, at once or when it said, before leaving it.
4. A deployment that has not been asked yet is asked at once, without delay.
5. Otherwise one that has failed but may be asked again is, after full-jitter backoff, or when it said (`Retry-After`);
   never after a time-out, never beyond `attempts_per_deployment`, never when the wait would outlast the deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

from providers.errors import ContextLengthExceeded, ProviderError, RateLimited
from providers.types import Attempt

if TYPE_CHECKING:
    from router.config import Backoff, Policy
    from router.plan import Plan

LONGEST_WAIT = 60.0  # seconds of Retry-After that are ever slept; a longer one is as good as a refusal
QUICK_WAIT = 2.0  # seconds that a here_first deployment may ask us to wait
JITTER = 0.1  # on top of a Retry-After, so that a crowd does not come back at once
RESERVE = 0.5  # of the time left that one attempt leaves to the deployments behind it


@dataclass(frozen=True, slots=True)
class Try:
    """Ask the plan's candidate at *place* after *delay* seconds, for at most *limit* seconds. *why* for a person."""

    place: int
    delay: float
    limit: float
    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask nobody (any more). *how*: the caller's fault, the deadline, nobody left, or nobody there at all."""

    how: Literal["caller", "deadline", "exhausted", "nobody"]
    why: str


def next_step(plan: Plan, attempts: Sequence[Attempt], elapsed: float, rng: Random) -> Try | Stop:
    """The next step for a request that began *elapsed* seconds ago and has these *attempts* behind it."""
    policy = plan.policy
    left = policy.deadline - elapsed
    if not attempts:
        if left <= 0:
            return Stop("deadline", "the deadline was over before the first attempt")
        if plan.candidate(0) is None:
            return Stop("nobody", "no deployment may serve this request")
        return Try(0, 0.0, _share(plan, 0, attempts, left), "first in order")
    if (stop := _must_stop(policy, attempts, left)) is not None:
        return stop
    if policy.order == "here_first" and (step := _here(plan, attempts, elapsed, left, rng)) is not None:
        return step
    place = _untried(plan, attempts)
    if place is not None:
        return Try(place, 0.0, _share(plan, place, attempts, left), "not asked yet")
    return _again(plan, attempts, elapsed, left, rng)


def _must_stop(policy: Policy, attempts: Sequence[Attempt], left: float) -> Stop | None:
    error = attempts[-1].error
    if isinstance(error, ProviderError) and not error.here and not error.elsewhere:
        return Stop("caller", "the request itself is at fault")
    if left <= 0.001:
        return Stop("deadline", "the deadline is over")
    if len(attempts) >= policy.attempts:
        return Stop("exhausted", f"all {policy.attempts} attempts of the policy are used up")
    return None


def _untried(plan: Plan, attempts: Sequence[Attempt]) -> int | None:
    asked = {attempt.deployment for attempt in attempts}
    place = 0
    while (candidate := plan.candidate(place)) is not None:
        if candidate.deployment not in asked:
            return place
        place += 1
    return None


def _share(plan: Plan, place: int, attempts: Sequence[Attempt], left: float) -> float:
    """How long an attempt may take: half of what is left while somebody else could still be asked after it."""
    last = len(attempts) + 1 >= plan.policy.attempts
    asked = {attempt.deployment for attempt in attempts}
    behind = plan.candidate(place + 1)
    if last or behind is None or behind.deployment in asked:
        return left
    return left * RESERVE


def _here(plan: Plan, attempts: Sequence[Attempt], elapsed: float, left: float, rng: Random) -> Try | None:
    """Once more where it just failed, if it failed quickly and this is its first failure."""
    last = attempts[-1]
    tries = sum(1 for attempt in attempts if attempt.deployment == last.deployment)
    if tries != 1 or plan.policy.attempts_per_deployment < 2 or not _may_again(last):
        return None
    place = _place(plan, last.deployment)
    delay = _wait(last, plan.policy.backoff, 1, elapsed, rng)
    if place is None or delay is None or delay > QUICK_WAIT + 1 or delay >= left:
        return None
    if isinstance(last.error, RateLimited) and last.error.retry_after is None:
        return None  # it did not say when; another deployment is the better guess
    return Try(place, delay, _share(plan, place, attempts, left - delay), "here first: it failed quickly")


def _again(plan: Plan, attempts: Sequence[Attempt], elapsed: float, left: float, rng: Random) -> Try | Stop:
    """Everybody has been asked: the one of those that may be asked again that is ready first."""
    best: tuple[float, int] | None = None
    too_long: float | None = None
    place = 0
    while (candidate := plan.candidate(place)) is not None:
        own = [attempt for attempt in attempts if attempt.deployment == candidate.deployment]
        if 0 < len(own) < plan.policy.attempts_per_deployment and _may_again(own[-1]):
            delay = _wait(own[-1], plan.policy.backoff, len(own), elapsed, rng)
            if delay is None or delay >= left:
                too_long = max(too_long or 0.0, _asked_wait(own[-1]) or delay or 0.0)
            elif best is None or delay < best[0]:
                best = (delay, place)
        place += 1
    if best is not None:
        delay, place = best
        return Try(place, delay, left - delay, "asked again after a wait")
    if too_long is not None:
        return Stop("exhausted", f"the next one could be asked only after {too_long:.3g} s: too long to wait")
    return Stop("exhausted", "nobody is left who may be asked")


def _place(plan: Plan, name: str) -> int | None:
    place = 0
    while (candidate := plan.candidate(place)) is not None:
        if candidate.deployment == name:
            return place
        place += 1
    return None


def _may_again(attempt: Attempt) -> bool:
    return isinstance(attempt.error, ProviderError) and attempt.error.here


def _asked_wait(attempt: Attempt) -> float | None:
    return getattr(attempt.error, "retry_after", None)


def _wait(attempt: Attempt, backoff: Backoff, tries: int, elapsed: float, rng: Random) -> float | None:
    """Seconds before the deployment of *attempt* may be asked again; None where it said a time too far away."""
    asked = _asked_wait(attempt)
    if asked is None:
        return rng.uniform(0, min(backoff.max, backoff.initial * 2 ** (tries - 1)))
    if asked > LONGEST_WAIT:
        return None
    ready = attempt.started + attempt.duration + asked
    return max(ready - elapsed, 0.0) + rng.uniform(0, JITTER * asked)


def callers_own(attempts: Sequence[Attempt]) -> ProviderError | None:
    """The failure to raise as itself, where all that failed is the request."""
    last = attempts[-1].error
    if not isinstance(last, ProviderError):
        return None
    if not last.here and not last.elsewhere:
        return last
    if all(isinstance(attempt.error, ContextLengthExceeded) for attempt in attempts):
        return last
    return None
