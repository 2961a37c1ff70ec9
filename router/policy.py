"""What to do next. One pure function sees the whole history and answers: ask this one, then, for so long; or stop.

Knows every rule of retry and failover; they are two answers of the same function, not two nested loops. Refuses to do
anything, to read a clock and to throw dice: elapsed time and chance are arguments.

The rules, in the order in which they are asked:
1. A failure that the request itself caused is nobody else's to solve: stop, it is raised as itself.
2. The deadline is over, or the attempts are used up: stop.
3. It was the key that failed, and the account has another: the same deployment is asked with that one, at once.
4. `here_first`: the deployment that just failed quickly is asked once more, at once or when it said, before leaving it.
5. A deployment that has not been asked yet is asked at once, without delay; one that has asked for a rest, after it.
6. Otherwise one that has failed but may be asked again is, after full-jitter backoff, or when it said (`Retry-After`);
   never after a time-out, never beyond `attempts_per_deployment`, never when its bucket of retries is empty, never when
   the wait would outlast the deadline.
In all of this nobody is asked with whom the request would come to cost more than `max_cost`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

from providers.errors import CallerFault, ContextLengthExceeded, CredentialFailed, ProviderError, RateLimited
from providers.quick import quick
from providers.types import Attempt

if TYPE_CHECKING:
    from router.config import Backoff, Policy
    from router.plan import Candidate, Plan

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


_try = quick(Try)


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
        return _first(plan, elapsed, left, rng)
    if (stop := _must_stop(policy, attempts, left)) is not None:
        return stop
    if (step := _other_key(plan, attempts, left)) is not None:
        return step
    if policy.order == "here_first" and (step := _here(plan, attempts, elapsed, left, rng)) is not None:
        return step
    last = _last(attempts).error
    untried = _untried(plan, attempts) if not isinstance(last, CallerFault) else None
    if untried is not None and untried[1] == 0:
        return Try(untried[0], 0.0, _share(plan, untried[0], attempts, left), "not asked yet")
    again = _again(plan, attempts, elapsed, left, rng)
    if untried is not None and untried[1] <= min(left, LONGEST_WAIT):
        place, wait = untried
        delay = wait + rng.uniform(0, JITTER * wait)
        if delay < left and (isinstance(again, Stop) or delay < again.delay):
            return Try(place, delay, left - delay, "not asked yet, and resting until then")
    return again


def _first(plan: Plan, elapsed: float, left: float, rng: Random) -> Try | Stop:
    """The first step: nobody has been asked."""
    candidate = plan.candidate(0)
    if candidate is None:
        return Stop("nobody", "no deployment may serve this request")
    wait = candidate.wait if elapsed == 0.0 else plan.wait(candidate)  # a plan that was only just made knows
    if wait is None:
        return Stop("nobody", "no deployment may serve this request")
    if wait == 0:
        return _try(0, 0.0, _share(plan, 0, (), left), "first in order")
    delay = wait + rng.uniform(0, JITTER * wait)
    if delay >= left or wait > LONGEST_WAIT:
        return Stop("nobody", f"everybody rests for the next {wait:.3g} s")
    return Try(0, delay, left - delay, "everybody rests; the first one to be back")


def _must_stop(policy: Policy, attempts: Sequence[Attempt], left: float) -> Stop | None:
    error = _last(attempts).error
    if isinstance(error, ProviderError) and not error.here and not error.elsewhere and not error.should_retry:
        return Stop("caller", "the request itself is at fault")
    if left <= 0.001:
        return Stop("deadline", "the deadline is over")
    if len(attempts) >= policy.attempts:
        return Stop("exhausted", f"all {policy.attempts} attempts of the policy are used up")
    return None


def _untried(plan: Plan, attempts: Sequence[Attempt]) -> tuple[int, float] | None:
    """The first candidate that was not asked and may be, with the seconds that it rests; one that is ready at best."""
    asked = {attempt.deployment for attempt in attempts}
    soonest: tuple[int, float] | None = None
    place = 0
    while (candidate := plan.candidate(place)) is not None:
        may = candidate.deployment not in asked and _may_pay(plan, candidate, attempts)
        wait = plan.wait(candidate) if may else None
        if wait == 0:
            return place, 0.0
        if wait is not None and (soonest is None or wait < soonest[1]):
            soonest = place, wait
        place += 1
    return soonest


def _other_key(plan: Plan, attempts: Sequence[Attempt], left: float) -> Try | None:
    last = _last(attempts)
    if not isinstance(last.error, CredentialFailed | RateLimited):
        return None
    place = _place(plan, last.deployment)
    candidate = plan.candidate(place) if place is not None else None
    if place is None or candidate is None or not plan.other_key(candidate, last.credential):
        return None
    if not _may_pay(plan, candidate, attempts):
        return None
    return Try(place, 0.0, _share(plan, place, attempts, left), "the same deployment with another key")


def _share(plan: Plan, place: int, attempts: Sequence[Attempt], left: float) -> float:
    """How long an attempt may take: half of what is left while somebody else could still be asked after it."""
    last = len(attempts) + 1 >= plan.policy.attempts
    if last or not plan.may_have(place + 1):
        return left
    if attempts:
        asked = {attempt.deployment for attempt in attempts}
        behind = plan.candidate(place + 1)
        if behind is None or behind.deployment in asked:
            return left
    return left * RESERVE


def _here(plan: Plan, attempts: Sequence[Attempt], elapsed: float, left: float, rng: Random) -> Try | None:
    """Once more where it just failed, if it failed quickly and this is its first failure."""
    last = _last(attempts)
    tries = len(_own(attempts, last.deployment))
    if tries != 1 or plan.policy.attempts_per_deployment < 2 or not _may_again(last):
        return None
    place = _place(plan, last.deployment)
    candidate = plan.candidate(place) if place is not None else None
    if candidate is None or not plan.may_retry(candidate) or not _may_pay(plan, candidate, attempts):
        return None
    if plan.wait(candidate, failed=tries) is None:
        return None  # others have seen it fail too: its circuit is open
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
        own = _own(attempts, candidate.deployment)
        latest = next((one for one in reversed(attempts) if one.deployment == candidate.deployment), None)
        allowed = 0 < len(own) < plan.policy.attempts_per_deployment and latest is own[-1] and _may_again(own[-1])
        allowed = allowed and _may_pay(plan, candidate, attempts)
        if allowed and plan.may_retry(candidate) and plan.wait(candidate, failed=len(own)) is not None:
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
    most = plan.policy.max_cost
    if most is not None and not all(_may_pay(plan, candidate, attempts) for candidate in plan.candidates):
        return Stop("exhausted", f"with another attempt it would cost more than max_cost, ${most:g}")
    return Stop("exhausted", "nobody is left who may be asked")


def is_affordable(plan: Plan, candidate: Candidate, *, spent: float) -> bool:
    """Whether the request stays within its `max_cost` with another attempt, after *spent* dollars."""
    most = plan.policy.max_cost
    return most is None or spent + (candidate.cost.usd or 0.0) <= most


def _may_pay(plan: Plan, candidate: Candidate, attempts: Sequence[Attempt]) -> bool:
    if plan.policy.max_cost is None:
        return True
    return is_affordable(plan, candidate, spent=sum(attempt.cost.usd or 0.0 for attempt in attempts))


def _own(attempts: Sequence[Attempt], name: str) -> list[Attempt]:
    """The attempts that count against the deployment's share: not those where it was the key that failed."""
    return [
        attempt
        for attempt in attempts
        if attempt.deployment == name and not isinstance(attempt.error, CredentialFailed)
    ]


def _place(plan: Plan, name: str) -> int | None:
    place = 0
    while (candidate := plan.candidate(place)) is not None:
        if candidate.deployment == name:
            return place
        place += 1
    return None


def _last(attempts: Sequence[Attempt]) -> Attempt:
    """The last one that failed; behind it may stand one that was left because of that failure."""
    return next((attempt for attempt in reversed(attempts) if attempt.error is not None), attempts[-1])


def _may_again(attempt: Attempt) -> bool:
    error = attempt.error
    if not isinstance(error, ProviderError):
        return False
    return error.here if error.should_retry is None else error.should_retry


def _asked_wait(attempt: Attempt) -> float | None:
    return getattr(attempt.error, "retry_after", None)


def _wait(attempt: Attempt, backoff: Backoff, tries: int, elapsed: float, rng: Random) -> float | None:
    """Seconds before the deployment of *attempt* may be asked again; None where it said a time too far away."""
    asked = _asked_wait(attempt)
    if asked is None:
        return rng.uniform(0, min(backoff.max, backoff.initial * 2 ** min(tries - 1, 30)))
    if asked > LONGEST_WAIT:
        return None
    ready = attempt.started + attempt.duration + asked
    return max(ready - elapsed, 0.0) + rng.uniform(0, JITTER * asked)


def callers_own(attempts: Sequence[Attempt]) -> ProviderError | None:
    """The failure to raise as itself, where all that failed is the request."""
    last = _last(attempts).error
    if not isinstance(last, ProviderError):
        return None
    if not last.here and not last.elsewhere:
        return last
    if all(isinstance(attempt.error, ContextLengthExceeded) for attempt in attempts if attempt.error is not None):
        return last
    return None
