"""What is allowed and will disappoint: a policy that does not fit its deadline, words that never take effect. Pure.

Says only what is certain from the file alone. Refuses to know requests; `router check` asks the planner about those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from providers.dialect import DialectRow, ErrorRule
from router.documents import Document
from router.problems import Problem, Steps
from router.rows import EntryRow, PolicyRow, RouteRow, RoutesFile

_LISTS = ("stop", "tools")  # the fields of which max_items can speak


def lint(rows: RoutesFile, document: Document) -> Iterator[Problem]:
    """Every warning about *rows*, which stand in *document*."""
    for name, policy in rows.policies.items():
        yield from _policy(policy, document, ("policies", name))
    for name, route in rows.routes.items():
        if isinstance(route.policy, PolicyRow):
            yield from _policy(route.policy, document, ("routes", name, "policy"))
        yield from _unreachable(route, rows, document, ("routes", name, "deployments"))
    for name, provider in rows.providers.items():
        yield from _dialect(provider, document, ("providers", name))
    for name, model in rows.models.items():
        for place, row in enumerate(model.deployments):
            yield from _dialect(row, document, ("models", name, "deployments", place))


# -- policies ---------------------------------------------------------------------------------------------------------


def _policy(row: PolicyRow, document: Document, steps: Steps) -> Iterator[Problem]:
    timeouts, deadline = row.timeouts, row.deadline
    name, limit = ("headers", timeouts.headers) if timeouts.headers else ("first_token", timeouts.first_token)
    if limit is not None and row.attempts * limit > deadline:
        message = (
            f"{row.attempts} attempts of up to {limit:g}s ({name}) can take {row.attempts * limit:g}s,"
            f" the deadline is {deadline:g}s: the last attempts may never be made"
        )
        hint = f"raise the deadline, or lower timeouts.{name} to {deadline / row.attempts:.3g}s"
        yield document.problem((*steps, "deadline"), message, hint)
    for phase in sorted(timeouts.model_fields_set):
        own = getattr(timeouts, phase)
        if own is not None and own > deadline:
            message = f"{own:g}s can never pass: the deadline of {deadline:g}s comes first"
            yield document.problem((*steps, "timeouts", phase), message, "lower it, or raise the deadline")
    if "attempts_per_deployment" in row.model_fields_set and row.attempts_per_deployment > row.attempts:
        message = f"{row.attempts_per_deployment} can never be reached: there are {row.attempts} attempts in all"
        yield document.problem((*steps, "attempts_per_deployment"), message, "raise attempts")


# -- routes -----------------------------------------------------------------------------------------------------------


def _unreachable(route: RouteRow, rows: RoutesFile, document: Document, steps: Steps) -> Iterator[Problem]:
    policy = route.policy if isinstance(route.policy, PolicyRow) else rows.policies.get(route.policy or "default")
    attempts = (policy or PolicyRow()).attempts
    for place, entry in enumerate(route.deployments):
        if entry.weight == 0:
            if not _asked_somewhere(entry.deployment, rows):
                message = f"{entry.deployment} has weight 0 wherever it stands: no route ever asks it"
                yield document.problem((*steps, place), message, "give it a weight, or leave it out")
            continue
        before = sum(1 for other in route.deployments if other.weight > 0 and other.priority < entry.priority)
        if before >= attempts:
            message = (
                f"{entry.deployment} comes after {before} deployments of lower priority, and there are {attempts}"
                " attempts: when those fail, it is never asked"
            )
            yield document.problem(
                (*steps, place), message, "raise attempts in the policy, or lower its priority number"
            )


def _asked_somewhere(name: str, rows: RoutesFile) -> bool:
    entries: Iterable[EntryRow] = (entry for route in rows.routes.values() for entry in route.deployments)
    return any(entry.deployment == name and entry.weight > 0 for entry in entries)


# -- dialects ---------------------------------------------------------------------------------------------------------


def _dialect(row: DialectRow, document: Document, steps: Steps) -> Iterator[Problem]:
    for name, rule in row.params.items():
        if rule is None:
            continue
        for key, dead in (
            ("levels", rule.levels is not None and name != "reasoning_effort"),
            ("range", rule.range is not None and (name == "reasoning_effort" or set(rule.range) == {None})),
            ("exact", rule.exact and rule.levels is None),
            ("max_items", rule.max_items is not None and name not in _LISTS),
        ):
            if dead:
                message = f"{key} has no effect on {name} here"
                yield document.problem((*steps, "params", name, key), message, "leave it out")
    yield from _errors(row.errors, document, (*steps, "errors"))


def _errors(rules: Iterable[ErrorRule], document: Document, steps: Steps) -> Iterator[Problem]:
    seen: set[tuple[int | None, str | None, str | None]] = set()
    for place, rule in enumerate(rules):
        match = (rule.status, rule.code and rule.code.lower(), rule.text and rule.text.lower())
        if match in seen:
            yield document.problem(
                (*steps, place), "a line above it matches the same: it is never read", "leave it out"
            )
        seen.add(match)
