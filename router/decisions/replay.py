"""Decisions made again from their record: the same ones, or what another configuration would have decided.

Knows that the real planner and the real policy decide; all that is put in their way is what the record says was known.
Refuses to make up outcomes: how a deployment would have answered that nobody asked is not known, and there it ends.

While a replay goes the way of the record, every decision sees the health that was seen then. Once it has left it (only
under another configuration), it sees what was known last, and what its own attempts have told since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from providers.errors import ProviderError
from providers.types import Attempt
from router.affinity import Warm
from router.config import Config, Deployment, Route
from router.decisions.chance import Played
from router.decisions.record import Recorded, attempt_of, decision_facts, deployments_of, digest
from router.decisions.shape import request_of
from router.errors import UnknownModel
from router.health import Health
from router.plan import Excluded, Plan, Setting, make_plan
from router.policy import Stop, Try, next_step
from router.standing import Standing

UNASKED = "not known: nobody asked it"


@dataclass(frozen=True, slots=True)
class Turn:
    """One decision, made again.

    *elapsed*: seconds after the request came in. *then*: the decision on record, None where the record has none at this
    place. *now*: what is decided from it. *passed*: who was passed over, with why. *outcome*: what came of it, from the
    record, or why that is not known.
    """

    elapsed: float
    then: Mapping[str, Any] | None
    now: Mapping[str, Any]
    passed: tuple[Excluded, ...]
    outcome: str

    @property
    def is_same(self) -> bool:
        return self.then == self.now


@dataclass(frozen=True, slots=True)
class Replay:
    """All decisions of one request, made again. *is_as_then*: under the very facts that the record was made under."""

    recorded: Recorded
    turns: tuple[Turn, ...]
    is_as_then: bool
    is_other: bool

    @property
    def first_difference(self) -> int | None:
        """The place of the first decision that is another one; None if there is none."""
        for place, turn in enumerate(self.turns):
            if not turn.is_same:
                return place
        return None

    @property
    def is_same(self) -> bool:
        return self.first_difference is None


class Replayer:
    """Makes decisions again under *config*; *other*: it is not the one that they were recorded under."""

    def __init__(self, config: Config, *, other: bool = False) -> None:
        self._config, self._other = config, other
        self._digests: dict[str, str] = {}

    def replay(self, recorded: Recorded) -> Replay:
        """The decisions of one request again.

        Raises:
            UnknownModel: there is no such route.
        """
        name = recorded.facts["route"]
        route = self._config.route(name)
        if route is None:
            raise UnknownModel(name, self._config.names())
        if name not in self._digests:
            self._digests[name] = digest(self._config, route)
        again = _Again(recorded, self._config, route)
        turns = tuple(again.apart() if self._other else again.along())
        return Replay(recorded, turns, self._digests[name] == recorded.facts["digest"], self._other)


class _Conversation:
    """Stands for the memory of conversations: only that of this request is on record."""

    def __init__(self, warm: Warm | None) -> None:
        self._warm = warm

    def key(self, *_: object) -> bytes:
        return b""

    def warm(self, _: bytes, now: float, seconds: float) -> Warm | None:
        return self._warm if self._warm is not None and now - self._warm.at <= seconds else None


class _Remembered:
    """Stands where the planner asks for health: the one of the decision at hand."""

    def __init__(self) -> None:
        self.health, self.memory = Health(), _Conversation(None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.health, name)


class _Again:
    """One request under way again."""

    def __init__(self, recorded: Recorded, config: Config, route: Route) -> None:
        facts = recorded.facts
        self._steps: list[Mapping[str, Any]] = facts["steps"]
        self._record = [attempt_of(one) for one in facts["attempts"]]
        self._deployments = deployments_of(route)
        self._standing, self._chance, self._now = _Remembered(), Played(facts["id"]), 0.0
        setting = Setting(cast("Standing", self._standing), config.sampling, now=lambda: self._now)
        self._plan: Plan = make_plan(
            request_of(facts["request"]),
            route,
            setting,
            rng=self._chance,
            streaming=facts["streaming"],
            key=facts["id"],
            tokens=facts["tokens"],
        )
        self._seen = self._passed = 0

    def along(self) -> Iterator[Turn]:
        """Every decision on record, each made from what it was made from."""
        for place, step in enumerate(self._steps):
            self._remember(step)
            attempts = self._record[: step["attempts"]]
            decision = next_step(self._plan, attempts, step["elapsed"], self._chance)
            now, passed = self._told(decision)
            following = self._steps[place + 1]["attempts"] if place + 1 < len(self._steps) else len(self._record)
            outcome = "; ".join(_outcome(one) for one in self._record[step["attempts"] : following])
            yield Turn(step["elapsed"], step["decision"], now, passed, outcome if isinstance(decision, Try) else "")

    def apart(self) -> Iterator[Turn]:
        """As far as the record knows how the deployments answer."""
        attempts: list[Attempt] = []
        elapsed, is_along, place = 0.0, True, -1
        while True:
            place = self._next_step(place, len(attempts)) if is_along else len(self._steps)
            step = self._steps[place] if place < len(self._steps) else None
            if step is not None:
                elapsed = step["elapsed"]
                self._remember(step)
            else:
                self._chance.put_in(())
            decision = next_step(self._plan, attempts, elapsed, self._chance)
            now, passed = self._told(decision)
            then = step["decision"] if step is not None else None
            if isinstance(decision, Stop):
                yield Turn(elapsed, then, now, passed, "")
                return
            if now == then and self._next_step(place, len(attempts)) < len(self._steps):
                yield Turn(elapsed, then, now, passed, "decided anew before it was asked")
                continue
            known = self._known(now["try"], decision, attempts, elapsed, is_same=now == then)
            yield Turn(elapsed, then, now, passed, known if isinstance(known, str) else _outcome(known))
            if isinstance(known, str) or known.error is None:
                return
            is_along = is_along and then is not None and then.get("try") == now["try"]
            began, elapsed = elapsed + decision.delay, known.started + known.duration
            if any(attempt.deployment == known.deployment for attempt in attempts):
                self._standing.health.spend_retry(self._target(decision))
            self._note(decision, known, began=self._now + decision.delay, took=elapsed - began)
            attempts.append(known)

    def _next_step(self, place: int, attempts: int) -> int:
        """Where the next decision on record behind *place* stands that was made after so many attempts; else the end."""
        behind = range(place + 1, len(self._steps))
        return next((one for one in behind if self._steps[one]["attempts"] == attempts), len(self._steps))

    def _remember(self, step: Mapping[str, Any]) -> None:
        if step.get("anew"):
            self._plan, self._seen, self._passed = self._plan.renewed(), 0, 0
        self._now = step["now"]
        self._chance.put_in(step["draws"])
        self._standing.health = Health.restored(step["health"], self._deployments)
        self._standing.memory = _Conversation(Warm(*step["warm"]) if "warm" in step else None)

    def _told(self, decision: Try | Stop) -> tuple[Mapping[str, Any], tuple[Excluded, ...]]:
        plan = self._plan
        now = decision_facts(plan, decision, self._seen, self._passed)
        passed = tuple(plan.passed[self._passed :])
        self._seen, self._passed = len(plan.seen), len(plan.passed)
        return _as_read(now), passed

    def _known(self, name: str, step: Try, attempts: list[Attempt], elapsed: float, *, is_same: bool) -> Attempt | str:
        """How *name* answered when it was asked the next time; or why that is not known."""
        before = sum(attempt.deployment == name for attempt in attempts)
        own = [attempt for attempt in self._record if attempt.deployment == name]
        if not own:
            return UNASKED
        if before >= len(own):
            return f"not known: it was asked {len(own)} time{'s' if len(own) > 1 else ''} only"
        found = own[before]
        if found.outcome == "canceled":
            return "not known: the caller left before it had answered"
        if is_same:
            return found
        if found.duration > step.limit:
            return f"not known: it took {found.duration:.3g} s, and would have been given {step.limit:.3g} s"
        if getattr(found.error, "phase", None) == "answer":
            return (
                f"not known: it was given up after {found.duration:.3g} s, and would have been given {step.limit:.3g} s"
            )
        return replace(found, started=elapsed + step.delay, delay=step.delay)

    def _target(self, step: Try) -> Deployment:
        candidate = self._plan.candidate(step.place)
        assert candidate is not None  # noqa: S101  # a step names a candidate of its own plan
        return candidate.target

    def _note(self, step: Try, attempt: Attempt, *, began: float, took: float) -> None:
        """Let the health know of an attempt of the replay's own, as the router would have."""
        health = self._standing.health
        ticket = health.began(self._target(step), began, limit=step.limit, circuit=self._plan.policy.circuit)
        self._now = began + took
        if isinstance(attempt.error, ProviderError):
            health.key_failed(ticket, attempt.error, self._now)
            health.failed(ticket, attempt.error, self._now)


def _outcome(attempt: Attempt) -> str:
    if attempt.error is not None:
        return f"{attempt.outcome} after {attempt.duration:.3g} s"
    return ("answered" if attempt.outcome == "success" else attempt.outcome) + f" in {attempt.duration:.3g} s"


def _as_read(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """*facts* as they come back from JSON."""
    from json import dumps, loads

    said: Mapping[str, Any] = loads(dumps(facts))
    return said
