"""The providers that a simulated fleet shares: their chance, their limits, their faults, and who is asked what.

Knows one state for all routers: an account is the same account, whoever asks. Refuses to know routers and clocks: the
time of an arrival is an argument, chance is the seed's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import TYPE_CHECKING

from providers.errors import RateLimited
from router.config import Limits
from router.lab.simulation.assumptions import Assumptions, Conduct
from router.lab.simulation.course import Course, Draw, course_of, healthy, refused
from router.limits import MINUTE

if TYPE_CHECKING:
    from router.config import Deployment
    from router.lab.faults import Fault
    from router.lab.script import Cast


@dataclass(slots=True)
class Account:
    """What an account takes, and what it has taken: in the last minute, and under way."""

    limits: Limits
    under_way: int = 0
    tokens: int = 0
    taken: deque[tuple[float, int]] = field(default_factory=deque)

    def wait(self, now: float, tokens: int) -> float | None:
        """Seconds until a call of *tokens* would be taken; None where it is."""
        limits, taken = self.limits, self.taken
        while taken and taken[0][0] <= now - MINUTE:
            self.tokens -= taken.popleft()[1]
        if limits.concurrency is not None and self.under_way >= limits.concurrency:
            return 1.0
        many = limits.requests_per_minute is not None and len(taken) >= limits.requests_per_minute
        if many or (limits.tokens_per_minute is not None and self.tokens + tokens > limits.tokens_per_minute):
            return max(taken[0][0] + MINUTE - now, 0.001) if taken else MINUTE
        return None

    def take(self, now: float, tokens: int) -> None:
        """A call is taken."""
        self.taken.append((now, tokens))
        self.tokens += tokens
        self.under_way += 1

    def left(self) -> None:
        """A call is over, however it went."""
        self.under_way -= 1


@dataclass(slots=True)
class Place:
    """One deployment: how it answers, by which chance, and the accounts that its calls are taken by."""

    conduct: Conduct
    rng: Random
    accounts: tuple[Account, ...]


class World:
    """Every deployment of the routes that are simulated."""

    def __init__(
        self, deployments: Sequence[Deployment], assumptions: Assumptions, casts: Sequence[Cast], *, seed: int
    ) -> None:
        self._casts = [(cast, Random(f"{seed}/{cast.script.seed}/{place}")) for place, cast in enumerate(casts)]
        self.met = [0] * len(casts)  # calls that the faults of each script have come to
        self._places: dict[str, Place] = {}
        accounts: dict[str, Account] = {}
        for deployment in deployments:
            name, provider = deployment.name, deployment.provider
            conduct = assumptions.conduct(name)
            owner = name if "limits" in assumptions.conducts.get(name, {}) else provider.name
            limits = provider.limits if conduct.limits is None else conduct.limits
            limited = limits != Limits()
            account = accounts.setdefault(owner, Account(limits)) if limited else None
            self._places[name] = Place(conduct, Random(f"{seed}/{name}"), (account,) if account is not None else ())

    def asked(
        self, name: str, now: float, prompt: int, answer: int, *, streaming: bool
    ) -> tuple[Course, tuple[Account, ...]]:
        """What the deployment *name* does with a call that arrives at *now*, and the accounts that it is under way at.

        *prompt*, *answer*: tokens.
        """
        place = self._places[name]
        conduct = place.conduct
        # One draw, always, so that a fault shifts nobody's chance.
        first = conduct.first_token * exp(place.rng.gauss(0.0, conduct.spread))
        draw = fault = None
        if self._casts and (fault := self._fault(name, now, streaming=streaming)) is not None:
            draw = Draw(conduct, first, answer, streaming)
            if fault.at_arrival:
                return course_of(draw, fault), ()
        for account in place.accounts:
            wait = account.wait(now, prompt + answer)
            if wait is not None:
                draw = draw or Draw(conduct, first, answer, streaming)
                return refused(draw, RateLimited, wait=round(wait, 3) if conduct.retry_after else None), ()
        for account in place.accounts:
            account.take(now, prompt + answer)
        if fault is not None and draw is not None:
            return course_of(draw, fault), place.accounts
        return healthy(conduct, first, answer, streaming=streaming), place.accounts

    def _fault(self, name: str, now: float, *, streaming: bool) -> Fault | None:
        for place, (cast, rng) in enumerate(self._casts):
            fault = cast.fault_for(name, now, rng, lambda fault: fault.fits(streaming=streaming, generates=True))
            if fault is not None:
                self.met[place] += 1
                return fault
        return None
