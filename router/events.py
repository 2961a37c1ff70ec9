"""What happened, as frozen records, and the hooks that receive them: attempts, transitions, waits, changes of plan.

Knows the records and how a hook is called: a failing hook never hurts a request. Hooks observe; a hook that could change
a request would make the plan a lie.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from providers.errors import one_line
from providers.types import Attempt, Change, Cost
from router.learning import Fact

if TYPE_CHECKING:
    from router.plan import Excluded

log = logging.getLogger("router")

HOOK_FAILURES = 10  # after so many a hook is not called any more


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """One HTTP exchange is over. *request* is the id of the logical request; *place* counts its attempts from 1."""

    request: str
    route: str
    place: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """A logical request is over: *outcome* is `success` or the name of the error raised; *duration* is in seconds.

    *why* says why it stopped there; *passed* are the deployments that were found to be out on the way, each with its why.
    """

    request: str
    route: str
    outcome: str
    duration: float
    deployment: str | None
    attempts: tuple[Attempt, ...]
    changes: tuple[Change, ...]
    cost: Cost
    why: str = ""
    passed: tuple[Excluded, ...] = ()


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A deployment of the route is not asked for this request; *why*, and in how many seconds it could be (None: never)."""

    request: str
    route: str
    deployment: str
    why: str
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """*failed* has failed: *deployment* is asked next, after *delay* seconds; None: nobody is any more. *why* says the rule."""

    request: str
    route: str
    failed: str
    deployment: str | None
    delay: float
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request waits before it is sent to *deployment*: for *seconds*, or (None) until there is a place; *why* says for what."""

    request: str
    route: str
    deployment: str
    seconds: float | None
    why: str


@dataclass(frozen=True, slots=True)
class CoolingDown:
    """A deployment, or one key of its account (*label*), is left alone for *seconds*: it asked for that; *why* is its word."""

    deployment: str
    label: str | None
    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Learned:
    """A refusal has taught something of a deployment; `fact.fix` is the line of YAML that says it for good."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """A deployment's circuit is now *state*: `open`, `half_open` or `closed`; *why* is the outcome that moved it."""

    deployment: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class KeySetAside:
    """A key, named by its *label*, was refused or has no credit left: it rests. Told once."""

    provider: str
    label: str
    why: str


Event = (
    AttemptEnded
    | RequestEnded
    | PassedOver
    | PlanChanged
    | Waiting
    | CoolingDown
    | Learned
    | CircuitChanged
    | KeySetAside
)
Hook = Callable[[Event], None]


class Hooks:
    """Calls every hook with every event; one that fails too often is left out. False when there is none."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = [*hooks]
        self._failures: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def emit(self, event: Event) -> None:
        for hook in tuple(self._hooks):
            try:
                hook(event)
            except Exception as error:  # noqa: BLE001  # whatever a user's hook raises is not the request's business
                self._failed(hook, error)

    def _failed(self, hook: Hook, error: Exception) -> None:
        count = self._failures[id(hook)] = self._failures.get(id(hook), 0) + 1
        log.warning("a hook failed (%s): %s", type(error).__name__, one_line(str(error)))
        if count >= HOOK_FAILURES:
            self._hooks.remove(hook)
            log.error("a hook failed %d times and is not called any more", count)


def log_event(event: Event) -> None:
    """The log's view of an event: failures and fallbacks are warnings, waits and detours for information."""
    _LOGGED[type(event)](event)


def _log_attempt(event: AttemptEnded) -> None:
    attempt = event.attempt
    if attempt.error is not None:
        log.warning("%s: attempt %d failed: %s", event.route, event.place, one_line(attempt.why))


def _log_end(event: RequestEnded) -> None:
    for change in event.changes:
        if change.how != "defaulted":
            log.info("%s: %s on %s", event.route, one_line(str(change)), event.deployment)
    if event.outcome != "success" or len(event.attempts) > 1:
        words = (event.route, event.outcome, event.deployment or "nobody", len(event.attempts), event.duration)
        log.warning("%s: %s by %s after %d attempts in %.3f s: %s", *words, one_line(event.why))


def _log_passed(event: PassedOver) -> None:
    log.debug("%s: %s is passed over: %s", event.route, event.deployment, one_line(event.why))


def _log_plan(event: PlanChanged) -> None:
    log.info("%s: %s failed, next is %s: %s", event.route, event.failed, event.deployment or "nobody", event.why)


def _log_wait(event: Waiting) -> None:
    how_long = "until there is a place" if event.seconds is None else f"for {event.seconds:.3g} s"
    log.info("%s: waits %s to ask %s: %s", event.route, how_long, event.deployment, event.why)


def _log_rest(event: CoolingDown) -> None:
    who = event.deployment if event.label is None else f"{event.deployment} with key {event.label}"
    log.info("%s rests for %.3g s: %s", who, event.seconds, one_line(event.why))


def _log_circuit(event: CircuitChanged) -> None:
    log.warning("%s: the circuit is %s: %s", event.deployment, event.state, one_line(event.why))


def _log_key(event: KeySetAside) -> None:
    log.error("%s: key %s is set aside: %s", event.provider, event.label, one_line(event.why))


def _log_fact(event: Learned) -> None:
    fact = event.fact
    text = f"{fact.deployment} does not take {fact.param} ({one_line(fact.said)})"
    log.warning("%s; from now on it is planned so. In your YAML: %s", text, fact.fix)


_LOGGED: dict[type, Callable[[Any], None]] = {
    AttemptEnded: _log_attempt,
    RequestEnded: _log_end,
    PassedOver: _log_passed,
    PlanChanged: _log_plan,
    Waiting: _log_wait,
    CoolingDown: _log_rest,
    CircuitChanged: _log_circuit,
    KeySetAside: _log_key,
    Learned: _log_fact,
}
