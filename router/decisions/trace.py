"""One request's decisions, as they are made: what is known beforehand, the draws, and the answer.

Knows that time stands still inside a decision: everything in it goes by one reading of the clock, which is on record.
Refuses to decide and to write files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from router.decisions.chance import Taped
from router.decisions.record import attempt_facts, decision_facts, deployments_of

if TYPE_CHECKING:
    from providers.types import Attempt
    from router.config import Route
    from router.health import Health
    from router.plan import Plan
    from router.policy import Stop, Try


class Trace:
    """What one run's decisions are made from. *facts* describe the request; `done` hands everything to *write*."""

    def __init__(
        self,
        facts: dict[str, Any],
        write: Callable[[dict[str, Any]], None],
        *,
        route: Route,
        health: Health,
        conversation: bytes | None,
        rng: Random,
        clock: Callable[[], float],
        text: bool,
    ) -> None:
        self.rng = Taped(rng)
        self._facts, self._write, self._text = facts, write, text
        self._deployments, self._health, self._clock = deployments_of(route), health, clock
        self._affinity, self._conversation = route.affinity, conversation
        self._steps: list[dict[str, Any]] = []
        self._still: float | None = None
        self._seen = self._passed = 0

    def now(self) -> float:
        """The clock that the plan goes by: it stands still while a decision is made."""
        return self._clock() if self._still is None else self._still

    def looks(self, elapsed: float, attempts: int, *, is_anew: bool = False) -> None:
        """A decision is about to be made after so many *attempts*; *is_anew*: by a new plan."""
        if is_anew:
            self._seen = self._passed = 0
        now = self._still = self._clock()
        self.rng.tape = []
        health = self._health.snapshot(self._deployments, now)
        step = {"elapsed": elapsed, "now": now, "attempts": attempts, "health": health}
        step |= {"anew": True} if is_anew else {}
        if self._affinity is not None and self._conversation is not None:
            warm = self._health.memory.warm(self._conversation, now, self._affinity.seconds)
            step |= {"warm": [warm.deployment, warm.at, warm.tokens]} if warm is not None else {}
        self._steps.append(step)

    def decided(self, plan: Plan, step: Try | Stop) -> None:
        """It has been made."""
        decision = decision_facts(plan, step, self._seen, self._passed)
        self._steps[-1] |= {"draws": self.rng.tape, "decision": decision}
        self._seen, self._passed, self._still = len(plan.seen), len(plan.passed), None

    def done(self, outcome: str, why: str, attempts: Sequence[Attempt]) -> None:
        """The request is over."""
        told = [attempt_facts(attempt, text=self._text) for attempt in attempts]
        self._write(self._facts | {"steps": self._steps, "attempts": told, "outcome": outcome, "why": why})
