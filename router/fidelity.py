"""Whether a change may serve: strict, declared or best_effort. Pure.

Knows which parameters bind and what each fidelity lets pass. Refuses to know how a change came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from providers.types import Change, Fidelity, Request

# What a caller relies on to mean the same everywhere (design, 4.3). `messages` stands for images and videos.
BINDING = frozenset(
    ("tools", "tool_choice", "response_format", "stop", "n", "max_tokens", "logprobs", "messages", "reasoning_effort")
)
_LOST = ("dropped", "inverted")
# An upper bound that is lowered is still kept; fewer choices than asked are not what was asked.
_EXACT = frozenset(("n", "stop"))

DEFAULT: Mapping[str, Fidelity] = {"default": "declared"}


def settled(route: Mapping[str, Fidelity], request: Request) -> Mapping[str, Fidelity]:
    """The fidelity of *request* on a route: what the request says comes before what the route says."""
    if request.fidelity is None:
        return route
    if isinstance(request.fidelity, str):
        return {"default": request.fidelity}
    return {**route, **request.fidelity}


def forbidden(changes: Iterable[Change], fidelity: Mapping[str, Fidelity]) -> list[Change]:
    """The changes that *fidelity* does not let pass.

    A `defaulted` change reports what the provider does where nothing was asked: it takes nothing away from what was
    asked, so it excludes only where that very field is held to `strict`.
    """
    default = fidelity.get("default", "declared")
    return [change for change in changes if not _passes(change, fidelity.get(change.param), default)]


def _passes(change: Change, own: Fidelity | None, default: Fidelity) -> bool:
    level = own or default
    if level == "best_effort":
        return True
    if level == "strict":
        return own is None and change.how == "defaulted"
    if change.param not in BINDING:
        return True
    return change.how not in _LOST and not (change.how == "clamped" and change.param in _EXACT)


def asked_changes(changes: Iterable[Change]) -> int:
    """How many changes concern something that was asked for; these put a deployment behind one that has none."""
    count = 0
    for change in changes:
        if change.how != "defaulted":
            count += 1
    return count
