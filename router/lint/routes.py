"""Routes that name deployments which nobody reaches, or words that never take effect. Pure.

Knows the rows of routes. Refuses to know what a deployment can do (`fallbacks`) and whose account it is (`accounts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from router.documents import Document
from router.problems import Problem, Steps
from router.rows import PolicyRow, RouteRow, RoutesFile


def routes(rows: RoutesFile, document: Document) -> Iterator[Problem]:
    """Every finding about the routes of *rows*, each seen alone."""
    for name, route in rows.routes.items():
        for rule in _RULES:
            yield from rule(route, rows, document, ("routes", name))


def _never_reached(route: RouteRow, rows: RoutesFile, document: Document, steps: Steps) -> Iterator[Problem]:
    """Deployments behind more others than there are attempts; inside a tier only where the file has the order."""
    policy = route.policy if isinstance(route.policy, PolicyRow) else rows.policies.get(route.policy or "default")
    attempts = (policy or PolicyRow()).attempts
    for place, entry in enumerate(route.deployments):
        if entry.weight == 0:
            continue
        before = sum(
            other.priority < entry.priority
            or (route.select == "priority" and other.priority == entry.priority and number < place)
            for number, other in enumerate(route.deployments)
            if other.weight > 0
        )
        if before >= attempts:
            message = (
                f"{entry.deployment} comes after {before} {'other' if before == 1 else 'others'}, and there"
                f" {'is 1 attempt' if attempts == 1 else f'are {attempts} attempts'}: when those fail, it is never asked"
            )
            hint = "raise attempts in the policy, or put it further up"
            yield document.problem((*steps, "deployments", place), message, hint, code="never-reached")


def _weight_zero(route: RouteRow, rows: RoutesFile, document: Document, steps: Steps) -> Iterator[Problem]:
    for place, entry in enumerate(route.deployments):
        if entry.weight == 0 and not _asked_somewhere(entry.deployment, rows):
            message = f"{entry.deployment} has weight 0 wherever it stands: no route ever asks it"
            hint = "give it a weight, or leave it out"
            yield document.problem((*steps, "deployments", place), message, hint, code="weight-zero")


def _asked_somewhere(name: str, rows: RoutesFile) -> bool:
    entries = (entry for route in rows.routes.values() for entry in route.deployments)
    return any(entry.deployment == name and entry.weight > 0 for entry in entries)


def _choices(route: RouteRow, _: RoutesFile, document: Document, steps: Steps) -> Iterator[Problem]:
    """What chooses among the deployments of a tier, where no tier has two."""
    tiers = _tiers(route)
    if max(tiers.values(), default=0) > 1:
        return
    each = "each tier has one deployment" if len(tiers) > 1 else "there is one deployment"
    hint = "leave it out, or give two of them the same priority"
    if route.select != "priority":
        message = f"{route.select} chooses among the deployments of a tier, and {each}"
        yield document.problem((*steps, "select"), message, hint, code="select-no-effect")
    if route.affinity is not None:
        message = f"it keeps to one of the deployments of a tier, and {each}"
        yield document.problem((*steps, "affinity"), message, hint, code="affinity-no-effect")


def _weights(route: RouteRow, _: RoutesFile, document: Document, steps: Steps) -> Iterator[Problem]:
    tiers = _tiers(route)
    for place, entry in enumerate(route.deployments):
        if "weight" not in entry.model_fields_set or entry.weight in (0, 1):
            continue  # 0 takes it out under every select; 1 is what it would be anyway
        if route.select not in ("weighted", "least_busy"):
            why = f"select: {route.select} does not look at it"
        elif tiers[entry.priority] == 1:
            why = "it stands alone in its tier"
        else:
            continue
        message = f"the weight {entry.weight:g} of {entry.deployment} has no effect: {why}"
        hint = "leave it out" if tiers[entry.priority] == 1 else "write select: weighted, or leave it out"
        where = (*steps, "deployments", place, "weight")
        yield document.problem(where, message, hint, code="weight-no-effect")


def _tiers(route: RouteRow) -> Counter[int]:
    """How many deployments are asked in each tier."""
    return Counter(entry.priority for entry in route.deployments if entry.weight > 0)


_RULES: tuple[Callable[[RouteRow, RoutesFile, Document, Steps], Iterator[Problem]], ...] = (
    _never_reached,
    _weight_zero,
    _choices,
    _weights,
)
