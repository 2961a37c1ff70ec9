"""What a run's decisions are told to: events for the hooks and the log, and the trace of whoever records them.

Knows the order: what is known is looked at, the policy decides, then it is told. Refuses to decide. A run that nobody
listens to has none, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from router.events import Event, PassedOver, PlanChanged, Waiting
from router.policy import Stop, Try

if TYPE_CHECKING:
    from router.decisions.trace import Trace
    from router.run import Run


class Watch:
    """Told of every decision of one run. *emit* takes the events, *trace* what the decision was made from."""

    __slots__ = ("_emit", "_told", "_trace")

    def __init__(self, emit: Callable[[Event], None], trace: Trace | None = None) -> None:
        self._emit, self._trace = emit, trace
        self._told = 0  # of those who were passed over, how many have been told of

    def looks(self, run: Run, elapsed: float, *, is_anew: bool = False) -> None:
        """A decision is about to be made, *elapsed* seconds after the request came in; *is_anew*: by a new plan."""
        if is_anew:
            self._told = 0
        if self._trace is not None:
            self._trace.looks(elapsed, len(run.attempts), is_anew=is_anew)

    def decided(self, run: Run, step: Try | Stop) -> None:
        """*step* is what has been decided."""
        if self._trace is not None:
            self._trace.decided(run.plan, step)
        plan = run.plan
        for out in plan.passed[self._told :]:
            self._emit(PassedOver(run.key, plan.route, out.deployment, out.why, out.retry_in))
        self._told = len(plan.passed)
        name = run.candidate(step).deployment if isinstance(step, Try) else None
        delay = step.delay if isinstance(step, Try) else 0.0
        if run.attempts:
            self._emit(PlanChanged(run.key, plan.route, run.attempts[-1].deployment, name, delay, step.why))
        if name is not None and delay:
            self._emit(Waiting(run.key, plan.route, name, delay, step.why))

    def ended(self, run: Run, outcome: str, why: str) -> None:
        """The request is over."""
        if self._trace is not None:
            self._trace.done(outcome, why, run.attempts)
