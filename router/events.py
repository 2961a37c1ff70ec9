"""What happened, as frozen records, and the hooks that receive them.

Knows the records and how a hook is called: a failing hook never hurts a request. Hooks observe; a hook that could change
a request would make the plan a lie.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from providers.errors import one_line
from providers.types import Attempt, Change, Cost
from router.learning import Fact

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
    """A logical request is over: *outcome* is `success` or the name of the error raised; *duration* is in seconds."""

    request: str
    route: str
    outcome: str
    duration: float
    deployment: str | None
    attempts: tuple[Attempt, ...]
    changes: tuple[Change, ...]
    cost: Cost


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


Event = AttemptEnded | RequestEnded | Learned | CircuitChanged | KeySetAside
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
    """The log's view of an event: failures and fallbacks are warnings, the rest is for debugging."""
    if isinstance(event, AttemptEnded):
        attempt = event.attempt
        if attempt.error is not None:
            log.warning("%s: attempt %d failed: %s", event.route, event.place, one_line(attempt.why))
        return
    if isinstance(event, CircuitChanged):
        log.warning("%s: the circuit is %s: %s", event.deployment, event.state, one_line(event.why))
        return
    if isinstance(event, KeySetAside):
        log.error("%s: key %s is set aside: %s", event.provider, event.label, one_line(event.why))
        return
    if isinstance(event, Learned):
        fact = event.fact
        text = f"{fact.deployment} does not take {fact.param} ({one_line(fact.said)})"
        log.warning("%s; from now on it is planned so. In your YAML: %s", text, fact.fix)
        return
    for change in event.changes:
        if change.how != "defaulted":
            log.info("%s: %s on %s", event.route, one_line(str(change)), event.deployment)
    if event.outcome != "success" or len(event.attempts) > 1:
        words = (event.route, event.outcome, event.deployment or "nobody", len(event.attempts), event.duration)
        log.warning("%s: %s by %s after %d attempts in %.3f s", *words)
