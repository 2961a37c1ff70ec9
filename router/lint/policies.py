"""Policies that do not fit their deadline, or say what never takes effect. Pure.

Knows the rows of policies and which routes use them. Refuses to know providers and requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from router.documents import Document
from router.problems import Problem, Steps
from router.rows import PolicyRow, RouteRow, RoutesFile


@dataclass(frozen=True, slots=True)
class _Place:
    """A policy where it is written, at *steps*, and the routes that use it: none for one that only models may use."""

    row: PolicyRow
    steps: Steps
    users: tuple[RouteRow, ...]
    rows: RoutesFile

    def says(self, key: str) -> bool:
        """Whether it says *key* itself."""
        return key in self.row.model_fields_set

    def tries(self) -> int | None:
        """How many attempts a request may take at most on any route that uses it; None where nobody can say.

        A second key is a further attempt, and `default` serves every model of the catalog too.
        """
        if not self.users or self.steps == ("policies", "default"):
            return None
        return max(self._tries(route) for route in self.users)

    def _tries(self, route: RouteRow) -> int:
        asked = [entry.deployment for entry in route.deployments if entry.weight > 0]
        keys = 1
        for name in asked:
            provider = self.rows.providers.get(name.partition("/")[0])
            keys = max(keys, len(provider.api_keys or ()) if provider is not None else 1)
        return len(asked) * (self.row.attempts_per_deployment + keys - 1)


def policies(rows: RoutesFile, document: Document) -> Iterator[Problem]:
    """Every finding about the policies of *rows*."""
    for place in _places(rows):
        for rule in _RULES:
            yield from rule(place, document)
    # A file without routes is not finished: that nobody uses its policies says nothing.
    for name in rows.policies if rows.routes else ():
        if name != "default" and not any(route.policy == name for route in rows.routes.values()):
            message = f"no route uses the policy {name}: only a request that names it is served by it"
            hint = "name it in a route, or leave it out"
            yield document.problem(("policies", name), message, hint, code="policy-unused")


def _places(rows: RoutesFile) -> Iterator[_Place]:
    for name, row in rows.policies.items():
        users = (route for route in rows.routes.values() if (route.policy or "default") == name)
        yield _Place(row, ("policies", name), tuple(users), rows)
    for name, route in rows.routes.items():
        if isinstance(route.policy, PolicyRow):
            yield _Place(route.policy, ("routes", name, "policy"), (route,), rows)


# -- time -------------------------------------------------------------------------------------------------------------


def _deadline(place: _Place, document: Document) -> Iterator[Problem]:
    row, timeouts = place.row, place.row.timeouts
    name, limit = ("headers", timeouts.headers) if timeouts.headers else ("first_token", timeouts.first_token)
    if limit is None or row.attempts == 1 or row.attempts * limit <= row.deadline:
        return
    message = (
        f"{row.attempts} attempts of up to {limit:g}s ({name}) can take {row.attempts * limit:g}s, the deadline is"
        f" {row.deadline:g}s: the last attempts are cut short, or may never be made"
    )
    hint = f"raise the deadline, or lower timeouts.{name} to {row.deadline / row.attempts:.3g}s"
    yield document.problem((*place.steps, "deadline"), message, hint, code="deadline-too-short")


def _timeouts(place: _Place, document: Document) -> Iterator[Problem]:
    timeouts, deadline = place.row.timeouts, place.row.deadline
    for phase in sorted(timeouts.model_fields_set):
        own = getattr(timeouts, phase)
        if own is not None and own > deadline:
            message = f"{own:g}s can never pass: the deadline of {deadline:g}s comes first"
            hint = "lower it, or raise the deadline"
            yield document.problem((*place.steps, "timeouts", phase), message, hint, code="timeout-never-fires")


def _hold(place: _Place, document: Document) -> Iterator[Problem]:
    hold, deadline = place.row.hold, place.row.deadline
    if hold is not None and hold.seconds is not None and hold.seconds >= deadline:
        message = (
            f"a stream is held for {hold.seconds:g}s, and the deadline is {deadline:g}s: nothing of it is seen early"
        )
        hint = "shorten it, raise the deadline, or write hold: all"
        yield document.problem((*place.steps, "hold"), message, hint, code="hold-outlasts-deadline")


# -- words that never take effect -------------------------------------------------------------------------------------


def _attempts(place: _Place, document: Document) -> Iterator[Problem]:
    row, steps = place.row, place.steps
    if place.says("attempts_per_deployment") and row.attempts_per_deployment > row.attempts:
        message = f"{row.attempts_per_deployment} can never be reached: there are {row.attempts} attempts in all"
        code = "attempts-per-deployment-unused"
        yield document.problem((*steps, "attempts_per_deployment"), message, "raise attempts", code=code)
    tries = place.tries()
    if place.says("attempts") and tries is not None and row.attempts > tries:
        message = f"{row.attempts} attempts, and the deployments of its routes may take {tries} together"
        hint = f"lower it to {tries}, or raise attempts_per_deployment ({row.attempts_per_deployment})"
        yield document.problem((*steps, "attempts"), message, hint, code="attempts-unused")


def _second_attempts(place: _Place, document: Document) -> Iterator[Problem]:
    row, steps = place.row, place.steps
    if min(row.attempts, row.attempts_per_deployment) > 1:
        return
    why = "there is one attempt" if row.attempts == 1 else "a deployment is asked once"
    if place.says("backoff"):
        message = f"{why}: there is nothing to wait for"
        yield document.problem((*steps, "backoff"), message, "leave it out, or allow more", code="backoff-unused")
    if place.says("order") and row.order == "here_first":
        message = f"{why}: nobody is asked again"
        yield document.problem((*steps, "order"), message, "leave it out, or allow more", code="order-unused")


def _recovery(place: _Place, document: Document) -> Iterator[Problem]:
    row, tries = place.row, place.tries()
    if row.on_interruption == "error" or not place.says("on_interruption"):
        return
    if row.attempts == 1 or tries == 1:
        why = "there is one attempt" if row.attempts == 1 else "there is one deployment, and it is asked once"
        message = f"{row.on_interruption} needs another attempt: {why}"
        hint = "allow more attempts, add a deployment, or write error"
        yield document.problem((*place.steps, "on_interruption"), message, hint, code="recovery-impossible")


def _hedge(place: _Place, document: Document) -> Iterator[Problem]:
    row = place.row
    if row.hedge is None:
        return
    alone = place.users and all(sum(entry.weight > 0 for entry in route.deployments) == 1 for route in place.users)
    if row.attempts == 1 or alone:
        why = "there is one attempt" if row.attempts == 1 else "there is one deployment"
        message = f"a second call goes to another deployment, as another attempt: {why}"
        hint = "leave it out, or allow more"
        yield document.problem((*place.steps, "hedge"), message, hint, code="hedge-impossible")
    after, limits = row.hedge.after, (row.timeouts.headers, row.timeouts.first_token)
    # A whole answer has no first token; so both of them must be there for every call to be over by then.
    over = min(row.deadline, max(limit or row.deadline for limit in limits))
    if after is not None and after >= over:
        message = f"after {after:g}s of silence the call is over: its limit is {over:g}s"
        hint = "lower it, or write p95"
        yield document.problem((*place.steps, "hedge", "after"), message, hint, code="hedge-never-fires")


_RULES: tuple[Callable[[_Place, Document], Iterator[Problem]], ...] = (
    _deadline,
    _timeouts,
    _hold,
    _attempts,
    _second_attempts,
    _recovery,
    _hedge,
)
