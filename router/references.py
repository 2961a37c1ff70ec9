"""What one part of a configuration says of another: whatever is named must be there. Pure.

Knows which names refer to what, and what can only be seen of a row once its layers lie together. Refuses to judge what
merely disappoints (`lint`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from providers.dialect import DialectRow
from providers.errors import nearest
from providers.types import PARAMS
from router.documents import Document
from router.layers import Facts, Layer
from router.problems import Problem, Steps
from router.rows import RouteRow, RoutesFile

Broken = frozenset[Steps]

# Fields whose values are no numbers: a range would mean nothing there.
_NO_NUMBERS = frozenset(
    ("stop", "logprobs", "logit_bias", "tools", "tool_choice", "parallel_tool_calls", "response_format", "user")
)


def check_facts(facts: Facts, broken: Broken) -> Iterator[Problem]:
    """Providers without an address, deployments of providers that are not there, models that nobody serves."""
    for name, stack in facts.providers.items():
        if stack.last("base_url") is None and not _is_broken(broken, "providers", name, "base_url"):
            hint = "write e.g. https://api.example.com/v1"
            yield stack.top.problem("base_url", message="is required", hint=hint, code="required")
        for layer in stack.layers:
            yield from _ranges(layer)
    for served in facts.deployments.values():
        row = served.top.row
        if row.provider not in facts.providers and not _is_broken(broken, "providers", row.provider):
            named = served.top.document.quoted((*served.top.steps, "provider"), row.provider)
            message = f"the provider {named} is not known"
            hint = nearest(row.provider, facts.providers)
            yield served.top.problem("provider", message=message, hint=hint, code="unknown-name")
        if not served.last("model"):
            hint = "say what the provider calls the model"
            yield served.top.problem("model", message="is required", hint=hint, code="required")
        for placed in served.layers:
            yield from _ranges(placed)


def _ranges(layer: Layer[DialectRow]) -> Iterator[Problem]:
    for name, rule in layer.row.params.items():
        if rule is not None and rule.range is not None and name in _NO_NUMBERS:
            hint = "a range is for " + ", ".join(field for field in PARAMS if field not in _NO_NUMBERS)
            yield layer.problem("params", name, "range", message=f"{name} is no number", hint=hint)


def check_routes(rows: RoutesFile, document: Document, facts: Facts, broken: Broken) -> Iterator[Problem]:
    """Routes to deployments and policies that are not there, or to the same one twice, or to nobody."""
    for name in rows.models:
        if not facts.models[name] and not _is_broken(broken, "models", name, "deployments"):
            steps: Steps = ("models", name, "deployments")
            message = "is empty, and the catalog does not know the model"
            yield document.problem(steps, message, "name at least one", code="empty")
    for name, row in rows.routes.items():
        yield from _deployments(("routes", name, "deployments"), row, document, facts, broken)
        known = {"default", *rows.policies}
        policy = row.policy
        if isinstance(policy, str) and policy not in known and not _is_broken(broken, "policies", policy):
            place: Steps = ("routes", name, "policy")
            message = f"the policy {document.quoted(place, policy)} is not known"
            yield document.problem(place, message, nearest(policy, known), code="unknown-name")


def _deployments(steps: Steps, row: RouteRow, document: Document, facts: Facts, broken: Broken) -> Iterator[Problem]:
    seen: Counter[str] = Counter()
    for place, entry in enumerate(row.deployments):
        name = entry.deployment
        short, long = (*steps, place), (*steps, place, "deployment")
        named = document.quoted(long if long in document.filled else short, name)
        seen[name] += 1
        if seen[name] > 1:
            message = f"{named} stands twice in this route"
            yield document.problem(short, message, "say its weight once", code="named-twice")
        elif name not in facts.deployments and not _may_be_broken(name, broken):
            message = f"the deployment {named} is not known"
            yield document.problem(short, message, _meant(name, facts), code="unknown-name")
    if not row.deployments:
        yield document.problem(steps, "is empty", "name at least one", code="empty")
    elif all(entry.weight == 0 for entry in row.deployments):
        yield document.problem(steps, "every weight is 0: nobody may serve", "give one a weight", code="empty")


def _meant(name: str, facts: Facts) -> str:
    """The right way to say it: a model alone is no deployment."""
    if served := facts.models.get(name):
        return "a deployment is provider/model: " + ", ".join(served)
    return nearest(name, facts.deployments)


def _may_be_broken(name: str, broken: Broken) -> bool:
    provider, _, model = name.partition("/")
    return _is_broken(broken, "models", model, "deployments") or _is_broken(broken, "providers", provider)


def _is_broken(broken: Broken, *steps: str) -> bool:
    """Whether *steps*, or what is around it, had to be left out: then what is wrong has been said already."""
    return any(steps[: len(one)] == one for one in broken)
